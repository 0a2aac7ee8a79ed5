"""The options of all commands, as data, and the parser that is made of them."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowcontract.config_file import Given, find_misspelt, read_arguments
from flowcontract.output.command_line import Parser, add_common

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_EXAMPLES = """
examples:
  mockserver serve                                  all APIs on http://127.0.0.1:8080
  mockserver serve --api dify-chat --pace 0         one API, streams without delays
  mockserver serve --quiet                          without a line for each request
  mockserver serve --fixtures my-scenarios          with scenarios of your own
  mockserver init > my-app.yaml                     what the apps are, to change it
  mockserver serve --app my-app.yaml                with apps of your own
  mockserver list --api dify-chat                   every scenario of an API
  mockserver list --faults                          everything that can go wrong on purpose
  mockserver list --profiles                        the releases that an API can answer as
  mockserver serve --profile dify-chat=1.14         as one of them
  mockserver proxy --to dify-chat=https://api.example.com/v1 --record recordings   judge a real server, and its client
  mockserver torture --port 8080                    whether your client copes with each of them
  mockserver check --fixtures my-scenarios          what is wrong with yours, and where
  mockserver import recording.har --out mine        scenarios that answer as a recording does
  mockserver mcp                                    for an assistant: what came, what is wrong with it
  curl -H 'Prefer: code=400, example=invalid-param' ...   ask for a scenario

Every option can also be set in the environment: MOCKSERVER_PORT=9000 mockserver serve
"""
_LAST_MOMENT = 253_000_000_000  # in the year 9987: dates end with 9999, and the clock goes on


def _build_number_parser(kind: type[int | float], low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'"{text}" is no number') from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    return parse


def _parse_moment(text: str) -> float:
    """Read epoch seconds or ISO 8601; a time without a zone is UTC."""
    try:
        return _build_number_parser(float, 0, _LAST_MOMENT)(text)
    except argparse.ArgumentTypeError:
        pass
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'"{text}" is neither epoch seconds nor of the form 2024-07-18T09:30'
        ) from None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return _build_number_parser(float, 0, _LAST_MOMENT)(str(zoned.timestamp()))


def _parse_state(text: str) -> Path | str:
    """Read the path of a file, or an address of Redis."""
    if "://" not in text:
        return Path(text)
    from mockserver.state.backends import is_address  # noqa: PLC0415 - as the others

    if not is_address(text):
        scheme = text.partition("://")[0]
        raise argparse.ArgumentTypeError(f"{scheme}:// is no state: name a file, or redis://HOST:PORT/DB")
    return text


def _parse_address(text: str) -> str:
    """Read the address of a mock; one with a password, a path or a query is none."""
    parts = urlsplit(text) if text.isascii() and text.isprintable() else urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or set(text) & set("@?# ") or parts.path.strip("/"):
        raise argparse.ArgumentTypeError(f'"{text}" is not of the form http://HOST:PORT')
    return text


def _parse_host(text: str) -> str:
    """Read a name or an address; what no name may have would stand in what is printed."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f'"{text}" is no name and no address')
    return text


def _parse_server(text: str) -> tuple[str, str]:
    api, equals, url = text.partition("=")
    if not equals or not api or "://" not in url:
        raise argparse.ArgumentTypeError(f'"{text}" is not of the form API=URL')
    return api, url


def _parse_profile(text: str) -> tuple[str, str]:
    api, equals, name = text.partition("=")
    if not equals or not api or not name:
        raise argparse.ArgumentTypeError(f'"{text}" is not of the form API=NAME')
    return api, name


OPTIONS: dict[str, dict[str, Any]] = {
    "--port": {
        "type": _build_number_parser(int, 0, 65535),
        "default": 8080,
        "help": "port to listen on, 0 for any free one (default: 8080)",
    },
    "--host": {
        "type": _parse_host,
        "default": "127.0.0.1",
        "help": "address to listen on (default: 127.0.0.1, this machine only)",
    },
    "--api": {"action": "append", "default": [], "metavar": "NAME", "help": "an API; may be repeated (default: all)"},
    "--pace": {
        "type": _build_number_parser(float, 0, 1000),
        "default": 1.0,
        "help": "what delays are multiplied by; 0 sends at once (default: 1)",
    },
    "--seed": {
        "type": _build_number_parser(int, 0, 2**63),
        "default": 0,
        "help": "what ids and invented values depend on (default: 0)",
    },
    "--clock": {
        "type": _parse_moment,
        "metavar": "START",
        "help": "replace the clock: time begins there and goes on by a second with each request (epoch seconds or"
        " ISO 8601); with --seed every run of the same requests gives the same bytes (default: the machine's clock)",
    },
    "--state": {
        "type": _parse_state,
        "metavar": "WHERE",
        "help": "a SQLite file that keeps all worlds, also when the mock is killed, or redis://HOST:PORT/DB (also"
        " rediss:// and unix://), where several mocks share them (default: in memory)",
    },
    "--workers": {
        "type": _build_number_parser(int, 1, 256),
        "default": 1,
        "metavar": "N",
        "help": "processes that answer on the port; several need --state redis://... (default: 1)",
    },
    "--profile": {
        "type": _parse_profile,
        "action": "append",
        "default": [],
        "metavar": "API=NAME",
        "help": "answer as a certain release does (`mockserver list --profiles`); may be repeated (default: what the"
        " documents say)",
    },
    "--fixtures": {
        "type": Path,
        "metavar": "DIR",
        "help": "a folder of scenarios that add to ours or replace those of the same name",
    },
    "--app": {
        "type": Path,
        "metavar": "FILE",
        "help": "TOML or YAML that says what the apps are: form, limits, features, page (ours: `mockserver init`)",
    },
    "--answers": {
        "metavar": "NAME",
        "default": "",
        "help": "what questions and flows are answered with: faker, echo, or texts in --app (default: the app's)",
    },
    "--flow": {
        "action": "append",
        "default": [],
        "metavar": "ID",
        "help": "a flow that exists in AgentBuilder beside the documents' own; may be repeated",
    },
    "--max-upload-mb": {
        "type": _build_number_parser(int, 1, 1 << 20),
        "default": 1024,
        "help": "largest body of a request (default: 1024)",
    },
    "--journal": {
        "type": _build_number_parser(int, 0, 1 << 20),
        "default": 1000,
        "help": "exchanges that /__mock__/requests remembers (default: 1000)",
    },
    "--admin-token": {
        "metavar": "TOKEN",
        "default": "",
        "help": "what opens /__mock__ to other machines; without one it answers this machine only",
    },
    "--no-ui": {"action": "store_true", "help": "no page for browsers at / and /__mock__/ui"},
    "--quiet": {"action": "store_true", "help": "show no requests"},
    "--log-format": {
        "choices": ("text", "json"),
        "default": "text",
        "help": "how each request is shown: text for people, json for programs, a line each (default: text)",
    },
    "--max-stored-mb": {
        "type": _build_number_parser(int, 1, 1 << 24),
        "default": 4096,
        "help": "all files that are kept; beyond it uploads are refused as too large (default: 4096)",
    },
    "--max-worlds": {
        "type": _build_number_parser(int, 1, 1 << 24),
        "default": 1000,
        "help": "worlds in memory or in Redis; beyond it the one used longest ago begins anew, unless a file keeps it"
        " (default: 1000)",
    },
    "--max-records": {
        "type": _build_number_parser(int, 1, 1 << 24),
        "default": 1_000_000,
        "help": "runs, messages, files ... of one world; beyond it the oldest are forgotten (default: 1000000)",
    },
    "--max-state-mb": {
        "type": _build_number_parser(int, 1, 1 << 20),
        "default": 96,
        "help": "memory that the records of all worlds take; beyond it the oldest are forgotten, unless --state keeps"
        " them (default: 96)",
    },
}
_OTHER_OPTIONS: dict[str, dict[str, Any]] = {
    "RECORDING": {
        "type": Path,
        "nargs": "+",
        "help": "a HAR file (of a browser, a proxy, contract-tests --report), a recording.jsonl, or its folder",
    },
    "--out": {"type": Path, "metavar": "DIR", "help": "the folder of scenarios to write, new or empty"},
    "--har": {
        "type": Path,
        "metavar": "FILE",
        "help": "write the recording of a proxy as HAR 1.2, too, or instead, into a new file",
    },
    "--server": {
        "action": "append",
        "default": [],
        "metavar": "HOST",
        "help": "whose answers count, HOST or HOST:PORT; may be repeated (default: the one with most of an API's)",
    },
    "--faults": {"action": "store_true", "help": "print what can go wrong on purpose instead"},
    "--profiles": {"action": "store_true", "help": "print the releases that --profile takes instead"},
    "--to": {
        "type": _parse_server,
        "action": "append",
        "default": [],
        "metavar": "API=URL",
        "help": "where an API's requests go, with its base path: dify-chat=https://api.example.com/v1; may be repeated",
    },
    "--record": {
        "type": Path,
        "metavar": "DIR",
        "help": "a new or empty folder; what passes is appended to recording.jsonl as it happens, without secrets,"
        " and written as HAR at the end",
    },
    "--max-recording-mb": {
        "type": _build_number_parser(int, 1, 1 << 20),
        "default": 256,
        "help": "largest recording; beyond it nothing more is recorded (default: 256)",
    },
    "--redact": {
        "action": "append",
        "default": [],
        "metavar": "FIELD",
        "help": "what else is not recorded: a field by its name (email, users.email) or by a JSON pointer"
        " (/data/user); may be repeated",
    },
    "--words": {"action": "store_true", "help": "record words of the same length in place of all texts"},
    "--enforce": {
        "choices": ("error", "cut"),
        "nargs": "?",
        "const": "error",
        "default": "",
        "help": "let nothing pass that the contract forbids: a wrong request is refused, a stream ends at its first"
        " violation with an event that reports an error, or cut off (default: all passes and is judged)",
    },
    "--timeout": {
        "type": _build_number_parser(float, 0.1, 86400),
        "default": 300.0,
        "metavar": "SECONDS",
        "help": "how long a server may be silent before the proxy gives it up (default: 300)",
    },
    "--ca-file": {
        "type": Path,
        "metavar": "FILE",
        "help": "certificates (PEM) by which servers are trusted (default: those of this machine)",
    },
    "--mock": {
        "type": _parse_address,
        "default": "http://127.0.0.1:8080",
        "metavar": "URL",
        "help": "the mock that is asked what came, if it runs (default: http://127.0.0.1:8080)",
    },
    "--allow-changes": {"action": "store_true", "help": "let overrides be set and removed (default: nothing changes)"},
    "--operation": {
        "default": "dify-chat/sendChatMessage",
        "metavar": "NAME",
        "help": "an operation that streams (default: dify-chat/sendChatMessage)",
    },
}
"""Each option once: what argparse takes for it. MOCKSERVER_<NAME> in the environment comes second, the default last."""

FILE_OPTIONS = {name: settings for name, settings in (OPTIONS | _OTHER_OPTIONS).items() if name.startswith("--")}
"""What may stand in a file of options: those of all commands, each of which takes its own."""

_COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "serve": ("serve the APIs over HTTP", tuple(OPTIONS)),
    "proxy": (
        "stand before real servers: pass all on, judge both sides, record; exit 1 where something was wrong",
        (
            "--to",
            "--record",
            "--max-recording-mb",
            "--redact",
            "--words",
            "--enforce",
            "--timeout",
            "--ca-file",
            "--port",
            "--host",
            "--profile",
            "--fixtures",
            "--seed",
            "--max-upload-mb",
            "--journal",
            "--admin-token",
            "--quiet",
            "--log-format",
        ),
    ),
    "init": ("print what the apps are by default, for a file of your own to give to --app", ("--api",)),
    "list": (
        "print every scenario, by operation, or every fault, or every profile",
        ("--api", "--fixtures", "--faults", "--profiles"),
    ),
    "check": ("check a folder of scenarios", ("--api", "--fixtures")),
    "import": ("write scenarios that answer as a recording does", ("RECORDING", "--out", "--har", "--api", "--server")),
    "torture": (
        "try a client with one fault after the other, and print the verdicts",
        ("--operation", "--port", "--host", "--profile", "--fixtures", "--seed"),
    ),
    "mcp": (
        "let an assistant ask a mock and the contract, over standard input and output (MCP)",
        ("--mock", "--admin-token", "--api", "--profile", "--fixtures", "--allow-changes"),
    ),
}


def _select_examples(command: str) -> str:
    """Return the examples of one command, and what follows them."""
    examples, rest = _EXAMPLES.removeprefix("\nexamples:\n").split("\n\n", 1)
    ours = [line for line in examples.splitlines() if line.split()[:2] == ["mockserver", command]]
    return "\n".join(["examples:", *ours, "", rest])


def build_parser() -> Parser:
    """Return the parser of the command line."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="mockserver",
        description="A mock of LLM-app platform APIs that answers as their contract says.",
        epilog=_EXAMPLES,
        formatter_class=shape,
    )
    add_common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (summary, options) in _COMMANDS.items():
        examples = _select_examples(name)
        command = commands.add_parser(name, help=summary, description=summary, epilog=examples, formatter_class=shape)
        for option in options:
            _add(command, option)
    return parser


def find_variable(option: str) -> str:
    """Return the environment variable of an option: `--max-upload-mb` is MOCKSERVER_MAX_UPLOAD_MB."""
    return f"MOCKSERVER_{option.removeprefix('--').upper().replace('-', '_')}"


def read_given(arguments: Sequence[str]) -> Given:
    """Return what a command is given by the environment and the file of options that holds here; raise ConfigError."""
    command, *typed = arguments or [""]
    if command not in _COMMANDS:
        return Given([], {})
    found = read_arguments("mockserver", FILE_OPTIONS, typed, variable=find_variable)
    takes = _COMMANDS[command][1]
    return Given(
        [argument for argument in found.arguments if argument.partition("=")[0] in takes],
        {option: source for option, source in found.sources.items() if option in takes},
    )


def list_misspelt() -> list[str]:
    """Return a line for each variable of the environment that is none of ours, but close to one."""
    found = find_misspelt(FILE_OPTIONS, find_variable)
    return [f'note: {name} is no variable of ours. Did you mean "{close}"?' for name, close in found]


def _add(command: argparse.ArgumentParser, option: str) -> None:
    if option.startswith("--"):
        command.add_argument(option, **(OPTIONS | _OTHER_OPTIONS)[option])
    else:
        command.add_argument("recordings", metavar=option, **_OTHER_OPTIONS[option])
