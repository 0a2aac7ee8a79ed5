"""The command `mockserver`: finds the command that was asked for, and says in one line what is wrong."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from flowcontract.errors import FlowContractError
from flowcontract.output.command_line import parse_command
from mockserver.cli.options import add_from_file, build_parser
from mockserver.cli.terminal import OK, refuse

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
}
"""Command -> module and function; only the one that is asked for is imported, which takes longer than its work."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 well, 1 problems found, 2 misuse, or interrupted before there was a verdict.

    A server that is stopped by Ctrl-C has done what it was asked for; it sees to that itself.
    """
    try:
        options = parse_command(build_parser(), add_from_file(sys.argv[1:] if arguments is None else arguments))
        module, function = _RUN[options.command]
        return int(getattr(import_module(f"mockserver.cli.{module}"), function)(options))
    except FlowContractError as error:
        return refuse(str(error))
    except BrokenPipeError:  # `mockserver list | head`
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        return refuse("interrupted.")


if __name__ == "__main__":
    sys.exit(main())
