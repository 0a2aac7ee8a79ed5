"""What all commands have in common: `--version`, and `--print-completion` for a shell."""

from __future__ import annotations

import argparse
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

SHELLS = ("bash", "zsh", "tcsh")


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has."""
    parser.add_argument("--version", action="version", version=f"flowcontract {metadata.version('flowcontract')}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help="print what completes this command in a shell",
    )


class _PrintCompletion(argparse.Action):
    """Prints a completion script and ends the program; what writes it is not loaded before."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - argparse's signature
        values: str | Sequence[Any] | None,
        option_string: str | None = None,  # noqa: ARG002 - the same
    ) -> None:
        import shtab  # noqa: PLC0415

        print(shtab.complete(parser, str(values)))  # noqa: T201 - it is what was asked for
        parser.exit()
