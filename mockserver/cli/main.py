"""The command `mockserver`: finds the command that was asked for, and says in one line what is wrong."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from flowcontract.output.program import run_program

if TYPE_CHECKING:
    from collections.abc import Sequence

_RUN = {
    "serve": ("serve", "serve"),
    "proxy": ("proxy", "proxy"),
    "init": ("scenarios", "init"),
    "list": ("scenarios", "list_scenarios"),
    "check": ("scenarios", "check"),
    "import": ("importing", "run_import"),
    "torture": ("torture", "torture"),
    "mcp": ("mcp", "serve_tools"),
}
"""Command -> module and function; only the one that is asked for is imported, which takes longer than its work."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 well, 1 problems found, 2 misuse, or interrupted before there was a verdict.

    A server that is stopped by Ctrl-C has done what it was asked for; it sees to that itself.
    """
    return run_program("mockserver", lambda: _run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(arguments: list[str]) -> int:
    from flowcontract.output.command_line import parse_command, tell_sources  # noqa: PLC0415 - Ctrl-C may come meanwhile
    from mockserver.cli.options import build_parser, list_misspelt, read_given  # noqa: PLC0415 - the same
    from mockserver.cli.terminal import complain  # noqa: PLC0415 - the same

    given = read_given(arguments)
    for line in list_misspelt():
        complain(line)
    with tell_sources(given.sources):
        options = parse_command(build_parser(), [*arguments[:1], *given.arguments, *arguments[1:]], given.sources)
        module, function = _RUN[options.command]
        return int(getattr(import_module(f"mockserver.cli.{module}"), function)(options))


if __name__ == "__main__":
    sys.exit(main())
