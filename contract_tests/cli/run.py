"""`contract-tests --base-url URL`: runs pytest with the suite's plugin, isolated from other settings and plugins."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
import time
import traceback
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from contract_tests.config.options import OPTIONS
from contract_tests.http.clock import Clock
from contract_tests.report.hiding import HidingStream
from flowcontract.config_file import read_arguments
from flowcontract.errors import FlowContractError
from flowcontract.output.command_line import Parser, add_common
from flowcontract.output.program import Interruption
from flowcontract.output.secrets import Secrets
from flowcontract.specs.model import list_apis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

WELL, PROBLEMS, MISUSE = 0, 1, 2
NEEDED = ("h11", "httpx", "jinja2", "pytest", "rich", "schemathesis", "xdist")  # the extra `suite`
_FOLDER = Path(__file__).parents[1]
_ALONE = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_THEME", "PYTEST_DEBUG")
_ENDING_S = 3.0  # after which a second Ctrl-C kills the process
SILENT = ("-qq", "--no-summary")  # the plugin prints the summary

EPILOG = """\
examples:
  contract-tests --base-url http://127.0.0.1:8080                       our mock, all APIs
  contract-tests --base-url https://api.example.com --api dify-chat --key dify-chat=app-... --report out
  contract-tests --target staging.toml --deviations known.toml          what is different there is known
  contract-tests --base-url http://127.0.0.1:8080 -n 2 -k sendChatMessage    what follows goes to pytest
  contract-tests explain 3f9a2c1                                       one cause of the last run
  curl -N ... | contract-tests judge --operation dify-chat/sendChatMessage -

a target file, everything may be left out:
  base_url = "https://api.example.com"
  read_only = false            # nothing but GET
  no_delete_all = true         # nothing that deletes what the suite did not make
  deterministic = false        # whether the same request gives the same answer twice
  rate = 5                     # requests per second
  reachable_url = "https://www.example.com/a.png"       # a file that the server can fetch
  timeouts = { connect_s = 5, answer_s = 30, silence_s = 20, stream_s = 120, stop_s = 5 }
  [api.dify-chat]
  base_url = "https://chat.example.com"
  key = "${DIFY_KEY}"                           # or by security scheme: keys = { apiKey = "${DIFY_KEY}" }
  values = { inputs = { name = "x" } }          # fields and parameters by name
  features = { text_to_speech = false }
  slow = true                                   # its flows may be silent for longer than silence_s
  second = { key = "${OTHER_KEY}" }             # another account; key, keys, values, slow
  failing = { key = "${FAILING_KEY}" }          # a flow that fails
  [api.agentbuilder]
  values = { flow_id = "..." }
  examples.runFlow.image = { values = { flow_id = "..." } }    # the flow that an example is for
  [provoke."dify-chat/sendChatMessage".app_unavailable]    # an error by its code, "event:KIND", "stream:NAME" or
  headers = { X-Test = "unavailable" }                      # "status:NUMBER", and what makes the server answer so:
  query = { a = "b" }                           # parameters and fields to add, or to replace
  body = { a = "b" }
  key = "${KEY_OF_AN_APP_THAT_IS_OFF}"          # another key; or by security scheme: keys = { apiKey = "..." }
  thorough = true                               # only with --thorough

Without a key the mock's own is sent, and only to the mock: what answers GET /__mock__/health as it does, or is asked
with --target mock.

exit status: 0 conforming; 1 violations; 2 no sound verdict: misuse, nobody answers, interrupted, crashed, incomplete,
or nothing was judged.
"""


def build_parser(whole: Callable[[], argparse.ArgumentParser] | None = None) -> Parser:
    """Return the parser of the suite's options; `whole` makes the parser that a shell's completion is written from."""
    command = Parser(
        prog="contract-tests",
        description="Does a server answer as documented? Asks, judges answers and streams, says what it could not ask.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_common(command, whole)
    for name, settings in OPTIONS.items():
        command.add_argument(name, **settings)
    return command


def main(typed: Sequence[str], whole: Callable[[], argparse.ArgumentParser]) -> int:
    """Run the suite; return the exit status. Raises FlowContractError for a file of options that is broken.

    ``whole``  makes the parser of the suite's options and of the commands beside it
    """
    build_parser(whole).parse_known_args(typed)  # --help and --version need no file, which may be broken
    given = read_arguments("contract-tests", OPTIONS, typed)
    arguments = [*given.arguments, *typed]
    secrets = Secrets(_find_keys(arguments))
    clock = Clock()
    with _hide_secrets(secrets), _handle_interrupts(clock):
        try:
            # Pytest parses the arguments again.
            parser = build_parser(whole)
            parser.sources = given.sources
            options, _ = parser.parse_known_args(arguments)
            missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
            if missing:
                names = ", ".join(missing)
                print(f"contract-tests: no {names} here. In the checkout: pip install '.[suite]'", file=sys.stderr)
                return MISUSE
            clock.limit(options.max_minutes)
            return _run(arguments, parser, clock, secrets)
        except KeyboardInterrupt:
            print("contract-tests: interrupted before anything was asked.", file=sys.stderr)
        except FlowContractError:  # of whoever typed it
            raise
        except Exception:  # noqa: BLE001 - a bug of ours: shown without keys, and no verdict
            traceback.print_exc()
    return MISUSE


def _run(arguments: list[str], parser: Parser, clock: Clock, secrets: Secrets) -> int:
    """Let pytest run the tests of this package with its own settings, whatever is in the current folder."""
    import pytest  # noqa: PLC0415 - `judge` must work without it

    from contract_tests.plugin.misuse import Misuse  # noqa: PLC0415 - the same
    from contract_tests.plugin.run import SharedState  # noqa: PLC0415 - the same

    ours = ["-c", str(_FOLDER / "pytest.ini"), "--rootdir", str(_FOLDER), "--noconftest", "-p", "contract_tests.plugin"]
    shared = SharedState(clock, secrets)
    with _isolate():
        status = pytest.main([*ours, "-p", "xdist", *SILENT, str(_FOLDER), *arguments], [shared, Misuse(parser)])
    if clock.interrupted and not shared.reported:  # while tests were collected
        raise Interruption
    return int(status) if status in (WELL, PROBLEMS) and not clock.interrupted else MISUSE


@contextmanager
def _isolate() -> Iterator[None]:
    """Ignore other settings and plugins of pytest, in this process and in its workers."""
    before = dict(os.environ)
    for name in _ALONE:
        os.environ.pop(name, None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _find_keys(arguments: list[str]) -> Iterator[str]:
    """Yield the keys on a command line, so that they are hidden from the first output on."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        name, _, rest = argument.partition("=")
        given = rest if name == "--key" else argument if before == "--key" else ""
        api, equals, key = given.partition("=")
        yield key if equals and api.partition(".")[0] in list_apis() else given


@contextmanager
def _hide_secrets(secrets: Secrets) -> Iterator[None]:
    """Hide secrets in all output of this process, including pytest's tracebacks."""
    out, err = HidingStream(sys.stdout, secrets), HidingStream(sys.stderr, secrets)
    with redirect_stdout(cast("TextIO", out)), redirect_stderr(cast("TextIO", err)):
        try:
            yield
        finally:
            out.flush()
            err.flush()


@contextmanager
def _handle_interrupts(clock: Clock) -> Iterator[None]:
    """Let Ctrl-C end the run in every thread."""
    first: list[float] = []

    def interrupt(_: int, __: FrameType | None) -> None:
        if first and time.monotonic() - first[0] > _ENDING_S:
            os._exit(MISUSE)
        if not first:
            first.append(time.monotonic())
            clock.interrupt()
            if not clock.is_ending:
                raise Interruption

    try:
        before: Any = signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not the main thread, so its owner handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
