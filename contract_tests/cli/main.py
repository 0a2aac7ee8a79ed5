"""The command `contract-tests`: asks a server, explains, judges and infers from recordings, compares two servers."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = ("judge", "explain", "infer", "compare")
_NO_VERDICT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status. Ctrl-C ends it without a traceback, from the first import on."""
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        print("contract-tests: interrupted.", file=sys.stderr)
        return _NO_VERDICT


def _run(arguments: list[str]) -> int:
    from contract_tests.cli import run  # noqa: PLC0415 - takes a while, in which Ctrl-C may come
    from flowcontract.errors import UnknownNameError  # noqa: PLC0415 - the same

    if arguments[:1] and arguments[0] in _COMMANDS:
        return _run_command(arguments)
    if arguments and not arguments[0].startswith("-"):
        hint = "Without a command it asks a server: contract-tests --base-url URL"
        return _report_misuse(str(UnknownNameError("command", arguments[0], _COMMANDS, hint=hint)))
    return run.main(arguments)


def _run_command(arguments: list[str]) -> int:
    from flowcontract.errors import FlowContractError  # noqa: PLC0415 - as above
    from flowcontract.output.command_line import refuse_unknown  # noqa: PLC0415 - as above

    command = argparse.ArgumentParser(prog="contract-tests")
    commands = command.add_subparsers()
    for name in _COMMANDS:
        import_module(f"contract_tests.cli.{name}").add_parser(commands)
    chosen, others = command.parse_known_args(arguments)
    if others and arguments[0] != "compare":
        return _report_misuse(str(refuse_unknown(commands.choices[arguments[0]], others[0].partition("=")[0])))
    try:
        return int(chosen.run(chosen, others) if arguments[0] == "compare" else chosen.run(chosen))
    except FlowContractError as error:
        return _report_misuse(str(error))


def _report_misuse(problem: str) -> int:
    print(f"contract-tests: {problem}", file=sys.stderr)
    return _NO_VERDICT


if __name__ == "__main__":
    sys.exit(main())
