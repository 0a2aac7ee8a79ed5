"""What all commands have in common: `--version`, `--print-completion` for a shell, and what a slip is answered with."""

from __future__ import annotations

import argparse
import difflib
import re
from importlib import metadata
from typing import TYPE_CHECKING, Any

from flowcontract.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def parse_command(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Return what `PROGRAM COMMAND ...` asks for; raise UnknownNameError for an unknown command.

    Raises ConfigError for no command and for an unknown option. Of whatever else is wrong argparse tells, and exits.
    """
    commands = find_commands(parser)
    if not arguments:
        raise ConfigError(f"Which command? There is: {', '.join(commands)}. {parser.prog} --help shows examples.")
    name = arguments[0]
    if name.startswith("-") and not any(option.startswith(name.partition("=")[0]) for option in _list_options(parser)):
        raise ConfigError(f"Options come behind the command: {parser.prog} {next(iter(commands))} {name} ...")
    if name not in commands and not name.startswith("-"):
        raise UnknownNameError("command", name, commands, hint=f"{parser.prog} --help shows examples.")
    options, others = parser.parse_known_args(arguments)
    if others:
        raise refuse_unknown(commands.get(name, parser), others[0].partition("=")[0])
    return options


def find_commands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Return the parsers of a program's commands by their names."""
    for action in parser._actions:  # noqa: SLF001 - argparse offers no other way to them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def refuse_unknown(command: argparse.ArgumentParser, asked: str) -> ConfigError:
    """Return the error about an argument that a command does not understand, with the option that was meant."""
    close = difflib.get_close_matches(asked, _list_options(command), n=1)
    guess = f'Did you mean "{close[0]}"? ' if close else ""
    what = "option" if asked.startswith("-") else "argument"
    return ConfigError(f'"{asked}" is no {what} of {command.prog}. {guess}{command.prog} --help lists them.')


def _list_options(parser: argparse.ArgumentParser) -> list[str]:
    return ["-h", "--help", *re.findall(r"--[a-z][a-z-]*", parser.format_usage())]


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
