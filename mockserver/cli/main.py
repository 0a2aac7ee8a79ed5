"""`mockserver`: serve the mock, list its scenarios, check one's own."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import gc
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcontract.errors import FlowContractError, UnknownNameError
from flowcontract.output.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flowcontract.lint.findings import Finding
    from flowcontract.lint.project import Project
    from mockserver.journal.request_log import RequestLog
    from mockserver.server.mock_server import MockServer

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
  mockserver torture --port 8080                    whether your client copes with each of them
  mockserver check --fixtures my-scenarios          what is wrong with yours, and where
  curl -H 'Prefer: code=400, example=invalid-param' ...   ask for a scenario

Every option can also be set in the environment: MOCKSERVER_PORT=9000 mockserver serve
"""
OK, PROBLEMS, MISUSE = 0, 1, 2
_LAST_MOMENT = 253_000_000_000  # in the year 9987: dates end with 9999, and the clock goes on


def _number(kind: type[int | float], low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'"{text}" is no number') from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    return parse


def _moment(text: str) -> float:
    """Read epoch seconds or ISO 8601; a time without a zone is UTC."""
    try:
        return _number(float, 0, _LAST_MOMENT)(text)
    except argparse.ArgumentTypeError:
        pass
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'"{text}" is neither epoch seconds nor of the form 2024-07-18T09:30'
        ) from None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return _number(float, 0, _LAST_MOMENT)(str(zoned.timestamp()))


def _state(text: str) -> Path | str:
    """Read the path of a file, or an address of Redis."""
    if "://" not in text:
        return Path(text)
    from mockserver.state.backends import is_address  # noqa: PLC0415 - as the others

    if not is_address(text):
        scheme = text.partition("://")[0]
        raise argparse.ArgumentTypeError(f"{scheme}:// is no state: name a file, or redis://HOST:PORT/DB")
    return text


def _profile(text: str) -> tuple[str, str]:
    api, equals, name = text.partition("=")
    if not equals or not api or not name:
        raise argparse.ArgumentTypeError(f'"{text}" is not of the form API=NAME')
    return api, name


_OPTIONS: dict[str, dict[str, Any]] = {
    "--port": {
        "type": _number(int, 0, 65535),
        "default": 8080,
        "help": "port to listen on, 0 for any free one (default: 8080)",
    },
    "--host": {"default": "127.0.0.1", "help": "address to listen on (default: 127.0.0.1, this machine only)"},
    "--api": {"action": "append", "default": [], "metavar": "NAME", "help": "an API; may be repeated (default: all)"},
    "--pace": {
        "type": _number(float, 0, 1000),
        "default": 1.0,
        "help": "what delays are multiplied by; 0 sends at once (default: 1)",
    },
    "--seed": {
        "type": _number(int, 0, 2**63),
        "default": 0,
        "help": "what ids and invented values depend on (default: 0)",
    },
    "--clock": {
        "type": _moment,
        "metavar": "START",
        "help": "replace the clock: time begins there and goes on by a second with each request (epoch seconds or"
        " ISO 8601); with --seed every run of the same requests gives the same bytes (default: the machine's clock)",
    },
    "--state": {
        "type": _state,
        "metavar": "WHERE",
        "help": "a SQLite file that keeps all worlds, also when the mock is killed, or redis://HOST:PORT/DB (also"
        " rediss:// and unix://), where several mocks share them (default: in memory)",
    },
    "--workers": {
        "type": _number(int, 1, 256),
        "default": 1,
        "metavar": "N",
        "help": "processes that answer on the port; several need --state redis://... (default: 1)",
    },
    "--profile": {
        "type": _profile,
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
        "type": _number(int, 1, 1 << 20),
        "default": 1024,
        "help": "largest body of a request (default: 1024)",
    },
    "--journal": {
        "type": _number(int, 0, 1 << 20),
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
        "type": _number(int, 1, 1 << 24),
        "default": 4096,
        "help": "all files that are kept; beyond it uploads are refused as too large (default: 4096)",
    },
    "--max-worlds": {
        "type": _number(int, 1, 1 << 24),
        "default": 1000,
        "help": "worlds in memory or in Redis; beyond it the one used longest ago begins anew, unless a file keeps it"
        " (default: 1000)",
    },
    "--max-records": {
        "type": _number(int, 1, 1 << 24),
        "default": 1_000_000,
        "help": "runs, messages, files ... of one world; beyond it the oldest are forgotten (default: 1000000)",
    },
    "--max-state-mb": {
        "type": _number(int, 1, 1 << 20),
        "default": 256,
        "help": "records of all worlds, as JSON; beyond it the oldest are forgotten, unless --state keeps them"
        " (default: 256)",
    },
}
_OTHER_OPTIONS: dict[str, dict[str, Any]] = {
    "--faults": {"action": "store_true", "help": "print what can go wrong on purpose instead"},
    "--profiles": {"action": "store_true", "help": "print the releases that --profile takes instead"},
    "--operation": {
        "default": "dify-chat/sendChatMessage",
        "metavar": "NAME",
        "help": "an operation that streams (default: dify-chat/sendChatMessage)",
    },
}
"""Each option once: what argparse takes for it. MOCKSERVER_<NAME> in the environment comes second, the default last."""

_COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "serve": ("serve the APIs over HTTP", tuple(_OPTIONS)),
    "init": ("print what the apps are by default, for a file of your own to give to --app", ("--api",)),
    "list": (
        "print every scenario, by operation, or every fault, or every profile",
        ("--api", "--fixtures", "--faults", "--profiles"),
    ),
    "check": ("check a folder of scenarios", ("--api", "--fixtures")),
    "torture": (
        "try a client with one fault after the other, and print the verdicts",
        ("--operation", "--port", "--host", "--profile", "--fixtures", "--seed"),
    ),
}


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="mockserver",
        description="A mock of LLM-app platform APIs that answers as their contract says.",
        epilog=_EXAMPLES,
        formatter_class=shape,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (summary, options) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, epilog=_EXAMPLES, formatter_class=shape)
        for option in options:
            _add(command, option)
    return parser


def _add(command: argparse.ArgumentParser, option: str) -> None:
    """Add an option whose default is what the environment says; argparse checks that like an argument."""
    variable = f"MOCKSERVER_{option.removeprefix('--').upper().replace('-', '_')}"
    settings = dict((_OPTIONS | _OTHER_OPTIONS)[option])
    given = os.environ.get(variable)
    if given is not None and settings.get("action") == "append":
        parse = settings.get("type", str)
        try:
            settings["default"] = [parse(item) for item in given.split(",") if item]
        except argparse.ArgumentTypeError as error:
            command.error(f"{variable}: {error}")
    elif given is not None and settings.get("action") == "store_true":
        settings["default"] = given.lower() not in ("", "0", "false", "no")
    elif given is not None:
        settings["default"] = given
    command.add_argument(option, **settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 well, 1 problems found, 2 misuse."""
    options = _parser().parse_args(arguments)
    run = {"serve": _serve, "init": _init, "list": _list, "check": _check, "torture": _torture}[options.command]
    try:
        return run(options)
    except FlowContractError as error:
        return _misuse(str(error))
    except BrokenPipeError:  # `mockserver list | head`
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        return OK


def _misuse(message: str) -> int:
    _complain(message)
    return MISUSE


def _complain(message: str) -> None:
    print(f"mockserver: {printable(message, lines=True)}", file=sys.stderr)


def _say(line: str) -> None:
    """Print a line, in which names and texts of others may stand."""
    print(printable(line))


def _serve(options: argparse.Namespace) -> int:
    from mockserver.config.settings import Settings  # noqa: PLC0415
    from mockserver.server.mock_server import MockServer  # noqa: PLC0415 - the other commands start faster without a server
    from mockserver.state.quotas import Limits  # noqa: PLC0415 - as the others

    if options.fixtures is not None and not options.fixtures.is_dir():
        return _misuse(
            f"there is no folder {options.fixtures}. Name a folder with <api>/<operationId>/<status>-<name>.yaml."
        )
    if options.workers > 1 and (refused := _no_workers(options)):
        return _misuse(refused)
    settings = Settings(
        pace=options.pace,
        seed=options.seed,
        clock=options.clock,
        state=options.state,
        max_upload=options.max_upload_mb << 20,
        flows=tuple(options.flow),
        journal=options.journal,
        admin_token=options.admin_token,
        app=options.app,
        answers=options.answers,
        ui=not options.no_ui,
        limits=Limits(
            worlds=options.max_worlds,
            records=options.max_records,
            state=options.max_state_mb << 20,
            uploads=options.max_stored_mb << 20,
        ),
    )
    try:
        server = MockServer(
            options.api,
            host=options.host,
            port=options.port,
            profiles=dict(options.profile),
            fixtures=options.fixtures,
            settings=settings,
            workers=options.workers,
        )
    except OSError as error:
        return _misuse(
            f"cannot listen on {options.host}:{options.port}: {error.strerror}. Choose another with --port or --host."
        )
    for line in _greeting(server):
        _say(line)
    sys.stdout.flush()
    log = _show_requests(server, options)
    gc.freeze()  # what was read until here stays: collecting garbage shall not look at it again and again
    gc.set_threshold(50_000, 10, 10)  # nearly all that a request makes goes without: a tenth of the time went there
    try:
        _answer(server, options.workers)
    finally:
        server.close()
        if log is not None:
            log.close()
    return OK


def _show_requests(server: MockServer, options: argparse.Namespace) -> RequestLog | None:
    """Let requests be shown as they are answered; return what has to be closed, None where nothing is shown."""
    from mockserver.journal.request_log import RequestLog  # noqa: PLC0415 - as the others

    if options.quiet or sys.stdout is None:
        return None
    plain = [api.base_path + each.path for api in server.mock.apis.values() for each in api.operations.values()]
    plain = [path for path in plain if "{" not in path]
    log = RequestLog(sys.stdout, options.log_format, plain_paths=plain, alone=options.workers == 1)
    server.mock.journal.listener = log
    return log


def _answer(server: MockServer, count: int) -> None:
    """Answer in this process, or in so many others that it watches over."""
    if count == 1:
        server.serve()
        return
    from mockserver.server.workers import Workers  # noqa: PLC0415

    workers = Workers(server.sockets, bury=server.mock.backend.bury, say=_complain)
    worker = workers.run()
    if worker is not None:
        server.serve(worker)


def _no_workers(options: argparse.Namespace) -> str:
    """Return why there cannot be several workers, '' if there can."""
    from mockserver.state.backends import is_address  # noqa: PLC0415

    if not hasattr(os, "fork"):
        return f"--workers {options.workers} needs a system that can fork. Start several mocks on ports of their own."
    if not is_address(options.state):
        return f"--workers {options.workers} needs worlds that they share. Add --state redis://HOST:PORT/DB."
    return ""


def _greeting(server: MockServer) -> list[str]:
    """Return what is printed on start: per API its base URL, its key, and a command that works when pasted."""
    lines = []
    if server.host not in ("127.0.0.1", "::1", "localhost"):
        lines.append(f"Warning: listening on {server.host}; everyone who reaches this machine can use the mock.")
    for api in server.mock.apis:
        keys = ", ".join(f"{name}: {value}" for name, value in server.headers(api).items())
        lines += [
            f"{api}",
            f"  base URL  {server.url(api)}",
            f"  key       {keys}",
            f"  try       {_curl(server, api)}",
        ]
    lines.append(f"{server.origin}/__mock__/requests tells what was asked, and what of it the contract forbids.")
    return [*lines, "Ctrl-C stops it. `mockserver list` prints what can be asked for with the Prefer header."]


def _curl(server: MockServer, api: str) -> str:
    """Return a curl command for the first documented request that needs nothing but this line."""
    from flowcontract.specs.examples import typical_request  # noqa: PLC0415

    return typical_request(server.mock.apis[api]).curl(server.url(api), server.headers(api))


def _torture(options: argparse.Namespace) -> int:
    from mockserver.cli.torture import answer_until_whole, greeting  # noqa: PLC0415
    from mockserver.config.settings import Settings  # noqa: PLC0415
    from mockserver.server.mock_server import MockServer  # noqa: PLC0415

    settings = Settings(pace=0, seed=options.seed)
    try:
        mock = MockServer(
            host=options.host,
            port=options.port,
            profiles=dict(options.profile),
            fixtures=options.fixtures,
            settings=settings,
        )
    except OSError as error:
        return _misuse(
            f"cannot listen on {options.host}:{options.port}: {error.strerror}. Choose another with --port or --host."
        )
    session = mock.torture(options.operation)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a script's way of pressing Ctrl-C
    with contextlib.suppress(KeyboardInterrupt):
        for line in greeting(mock, session):
            _say(line)
        sys.stdout.flush()
        answer_until_whole(mock, session)
    print(session.table())
    return OK if all(outcome == "survived" for _, _, outcome, _ in session.rows()) else PROBLEMS


def _list_faults() -> int:
    from mockserver.faults import FAULTS  # noqa: PLC0415

    for fault in FAULTS.values():
        print(f"{fault.usage:<24} {fault.harm:<9} {fault.needs:<7} {fault.summary}")
    return OK


def _list_profiles(names: Sequence[str]) -> int:
    from flowcontract import paths  # noqa: PLC0415
    from flowcontract.specs.model import available_apis  # noqa: PLC0415
    from flowcontract.specs.profiles import available_profiles, load_profile  # noqa: PLC0415

    for api in names or available_apis():
        if api not in available_apis():
            raise UnknownNameError("API", api, available_apis())
        folder = paths.specs_root() / api
        for name in available_profiles(folder):
            print(f"{api:<14} {name:<6} {load_profile(folder, name).release}")
    return OK


def _init(options: argparse.Namespace) -> int:
    from flowcontract.specs.model import available_apis  # noqa: PLC0415
    from mockserver.config import apps  # noqa: PLC0415

    for name in options.api:
        if name not in available_apis():
            raise UnknownNameError("API", name, available_apis())
    print(apps.read_defaults(options.api or available_apis()), end="")
    return OK


def _list(options: argparse.Namespace) -> int:
    if options.faults:
        return _list_faults()
    if options.profiles:
        return _list_profiles(options.api)
    from flowcontract.scenarios import load_scenarios  # noqa: PLC0415
    from flowcontract.specs.model import load_apis  # noqa: PLC0415

    apis = load_apis(tuple(options.api))
    scenarios = load_scenarios(tuple(apis), options.fixtures)
    for api in apis.values():
        for operation in api.operations.values():
            _say(f"{operation.name}  {operation.method} {api.base_path}{operation.path}")
            for key, scenario in sorted(scenarios.for_operation(operation).items()):
                _say(f"  {key:<36} {scenario.description}")
    return OK


def _check(options: argparse.Namespace) -> int:
    from flowcontract import paths  # noqa: PLC0415
    from flowcontract.lint import project, scenarios  # noqa: PLC0415

    if options.fixtures is None or not options.fixtures.is_dir():
        return _misuse(f"check needs a folder: --fixtures DIR ({options.fixtures or 'none'} is none).")
    # A user's folder need not name its errors after documented codes.
    loaded = replace(project.load(paths.specs_root(), options.fixtures, options.api), ours=False)
    findings = {*_wrong_faults(loaded), *loaded.broken, *scenarios.check(loaded), *scenarios.check_other_files(loaded)}
    for finding in sorted(findings):
        print(finding)
    count = f"{len(findings)} problem{'' if len(findings) == 1 else 's'}"
    print(printable(f"{count} in {options.fixtures}"), file=sys.stderr)
    return PROBLEMS if findings else OK


def _wrong_faults(loaded: Project) -> Iterator[Finding]:
    """Yield what is wrong with the faults that scenarios name, which only the mock knows."""
    from flowcontract.lint.findings import Finding  # noqa: PLC0415
    from mockserver.faults import FaultError, parse  # noqa: PLC0415

    for file in loaded.files.values():
        faults = file.data.get("faults") if isinstance(file.data, dict) else None
        try:
            parse(faults) if isinstance(faults, str) else None
        except FaultError as error:
            yield Finding(file.path, file.lines["/faults"], str(error), "`mockserver list --faults` prints them")


if __name__ == "__main__":
    sys.exit(main())
