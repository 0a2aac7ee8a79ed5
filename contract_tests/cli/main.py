"""The command `contract-tests`: asks a server, explains, judges and infers from recordings, compares two servers."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from contract_tests.cli import compare, explain, infer, judge, run
from flowcontract.errors import FlowContractError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {"judge": judge, "explain": explain, "infer": infer, "compare": compare}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] and arguments[0] in _COMMANDS:
        return _command(arguments)
    if arguments and not arguments[0].startswith("-"):
        hint = "Without a command it asks a server: contract-tests --base-url URL"
        return _misuse(str(UnknownNameError("command", arguments[0], _COMMANDS, hint=hint)))
    return run.main(arguments)


def _command(arguments: list[str]) -> int:
    command = argparse.ArgumentParser(prog="contract-tests")
    commands = command.add_subparsers()
    for module in _COMMANDS.values():
        module.add_parser(commands)
    chosen, others = command.parse_known_args(arguments)
    if others and arguments[0] != "compare":
        command.error(f"unrecognized arguments: {' '.join(others)}")
    try:
        return int(chosen.run(chosen, others) if arguments[0] == "compare" else chosen.run(chosen))
    except FlowContractError as error:
        return _misuse(str(error))


def _misuse(problem: str) -> int:
    print(f"contract-tests: {problem}", file=sys.stderr)
    return run.MISUSE


if __name__ == "__main__":
    sys.exit(main())
