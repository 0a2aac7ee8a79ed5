"""`contract-tests --base-url URL`: a thin front over pytest and the suite's plugin."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from typing import TYPE_CHECKING

from contract_tests.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

WELL, PROBLEMS, MISUSE = 0, 1, 2
NEEDED = ("httpx", "jinja2", "pytest", "rich", "schemathesis")  # the extra `flowcontract[suite]`

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
  timeouts = { connect_s = 5, answer_s = 30, stream_s = 120, stop_s = 5 }
  [api.dify-chat]
  key = "${DIFY_KEY}"
  values = { inputs = { name = "x" } }          # fields and parameters by name
  features = { text_to_speech = false }
  [provoke."dify-chat/sendChatMessage".app_unavailable]
  headers = { X-Test = "unavailable" }

exit status: 0 conforming, 1 violations, 2 misuse or nobody answers.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the suite's options."""
    command = argparse.ArgumentParser(
        prog="contract-tests",
        description="Does a server answer as documented? Asks, judges answers and streams, says what it could not ask.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name, settings in OPTIONS.items():
        command.add_argument(name, **settings)
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser().parse_known_args(arguments)  # answers --help and misuse; pytest reads the same options again
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        print(f"contract-tests: no {names} here. Run: pip install 'flowcontract[suite]'", file=sys.stderr)  # noqa: T201 - a command's own output
        return MISUSE
    import pytest  # noqa: PLC0415 - not everybody who judges recordings has it

    status = pytest.main(["-p", "contract_tests.plugin", "--pyargs", "contract_tests", *arguments])
    if status in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        return PROBLEMS
    return WELL if status == pytest.ExitCode.OK else MISUSE
