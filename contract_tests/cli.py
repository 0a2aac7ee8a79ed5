"""The command `contract-tests`: judges what real servers send by the contract."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from contract_tests import judge
from flowcontract.errors import FlowContractError

if TYPE_CHECKING:
    from collections.abc import Sequence

WELL, PROBLEMS, MISUSE = 0, 1, 2

_EPILOG = """\
example:
  curl -N https://api.example.com/v1/chat-messages -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' \\
    -d '{"inputs": {}, "query": "hello", "response_mode": "streaming", "user": "abc"}' \\
    | contract-tests judge --operation dify-chat/sendChatMessage -

exit status: 0 well, 1 problems found, 2 misuse.
`judge` is the only command so far: a run of all checks against a server is not part of this version.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    command = argparse.ArgumentParser(
        prog="contract-tests",
        description="Judge what an implementation of the APIs sends by the contract.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = command.add_subparsers(dest="command", required=True, metavar="COMMAND")
    judge.add_to(commands)
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    arguments = parser().parse_args(argv)
    try:
        broken = arguments.run(arguments)
    except FlowContractError as error:
        return _misuse(str(error))
    except OSError as error:
        return _misuse(f"{error.filename or 'standard input'} cannot be read: {error.strerror}.")
    return PROBLEMS if broken else WELL


def _misuse(problem: str) -> int:
    print(f"contract-tests: {problem}", file=sys.stderr)
    return MISUSE


if __name__ == "__main__":
    sys.exit(main())
