"""What every command says to a person, and how it ends."""

from __future__ import annotations

import sys

from flowcontract.output.printable import make_printable

OK, PROBLEMS, MISUSE = 0, 1, 2
"""Exit codes: all is well; problems were found; the command could not be understood or carried out."""


def complain(message: str) -> None:
    """Print a message for people beside the output."""
    print(f"mockserver: {make_printable(message, lines=True)}", file=sys.stderr)


def say(line: str) -> None:
    """Print a line, in which names and texts of others may stand."""
    print(make_printable(line))
