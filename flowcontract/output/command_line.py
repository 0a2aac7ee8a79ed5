"""What all commands have in common: `--version`, `--print-completion` for a shell, and what a slip is answered with."""

from __future__ import annotations

import argparse
import difflib
import re
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from flowcontract.errors import ConfigError, FlowContractError, UnknownNameError
from flowcontract.output.printable import make_printable
from flowcontract.output.version import read_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SHELLS = ("bash", "zsh", "tcsh")
_MISUSE = 2
_ARGUMENT = re.compile(r"argument (?:[^:]*/)?([^:/]+): ")


@contextmanager
def tell_sources(sources: Mapping[str, str]) -> Iterator[None]:
    """Add to an error which options were not typed, and where they come from: one of them may be its cause."""
    try:
        yield
    except FlowContractError as error:
        if sources:
            every = ", ".join(f"{option} ({source})" for option, source in sources.items())
            error.add_note(f"Not typed, but taken from elsewhere: {every}.")
        raise


class Parser(argparse.ArgumentParser):
    """Tells a mistake in a line, with the file or the variable that a wrong value comes from, and exits 2."""

    sources: Mapping[str, str] = MappingProxyType({})
    """Option -> where its value comes from, unless it was typed."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and which command tells more."""
        found = _ARGUMENT.match(message)
        if found:
            message = f"{self.sources.get(found[1], found[1])}: {message[found.end() :]}"
        self.exit(_MISUSE, f"{self.prog}: {make_printable(message)}\n{self.prog} --help lists what there is.\n")


def add_common(parser: argparse.ArgumentParser, whole: Callable[[], argparse.ArgumentParser] | None = None) -> None:
    """Add the options that every command has.

    ``whole``  makes the parser that a shell is to complete by, if it is another
    """
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        const=whole,
        choices=SHELLS,
        help="print what completes this command in a shell",
    )


def parse_command(
    parser: Parser, arguments: Sequence[str], sources: Mapping[str, str] = MappingProxyType({})
) -> argparse.Namespace:
    """Return what `PROGRAM COMMAND ...` asks for; raise UnknownNameError for an unknown command.

    Raises ConfigError for no command and for an unknown option. Of whatever else is wrong the parser tells, and exits.

    ``sources``  option -> where its value comes from, unless it was typed
    """
    commands = find_commands(parser)
    for each in (parser, *commands.values()):
        each.sources = sources
    if not arguments:
        raise ConfigError(f"Which command? There is: {', '.join(commands)}. {parser.prog} --help shows examples.")
    name = arguments[0]
    if name.startswith("-") and not any(option.startswith(name.partition("=")[0]) for option in list_options(parser)):
        raise ConfigError(f"Options come after the command: {parser.prog} {next(iter(commands))} {name} ...")
    if name not in commands and not name.startswith("-"):
        raise UnknownNameError("command", name, commands, hint=f"{parser.prog} --help shows examples.")
    options, others = parser.parse_known_args(arguments)
    if others:
        raise refuse_unknown(commands.get(name, parser), others[0].partition("=")[0])
    return options


def find_commands(parser: Parser) -> Mapping[str, Parser]:
    """Return the parsers of a program's commands by their names."""
    for action in parser._actions:  # noqa: SLF001 - argparse offers no other way to them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def refuse_unknown(command: argparse.ArgumentParser, asked: str) -> ConfigError:
    """Return the error about an argument that a command does not understand, with the option that was meant."""
    close = difflib.get_close_matches(asked, list_options(command), n=1)
    guess = f'Did you mean "{close[0]}"? ' if close else ""
    what = "option" if asked.startswith("-") else "argument"
    return ConfigError(f'"{asked}" is no {what} of {command.prog}. {guess}{command.prog} --help lists them.')


def list_options(parser: argparse.ArgumentParser) -> list[str]:
    """Return the options that a command has, short ones included."""
    return list(parser._option_string_actions)  # noqa: SLF001 - argparse offers no other way to them


class _PrintVersion(argparse.Action):
    """Prints the version and ends the program; argparse's own action wants to know it before."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - argparse's signature
        values: str | Sequence[Any] | None,  # noqa: ARG002 - the same
        option_string: str | None = None,  # noqa: ARG002 - the same
    ) -> None:
        print(f"flowcontract {read_version()}")  # noqa: T201 - it is what was asked for
        parser.exit()


class _PrintCompletion(argparse.Action):
    """Prints a completion script and ends the program; what writes it is not loaded before."""

    const: Callable[[], argparse.ArgumentParser] | None

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - argparse's signature
        values: str | Sequence[Any] | None,
        option_string: str | None = None,  # noqa: ARG002 - the same
    ) -> None:
        import shtab  # noqa: PLC0415

        whole = self.const() if self.const else parser
        for action in _list_actions(whole):
            if action.type is Path or (not action.option_strings and not action.choices):
                # An argument that says nothing of what completes it keeps zsh from completing options before it, too.
                action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(whole, str(values)))  # noqa: T201 - it is what was asked for
        parser.exit()


def _list_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the options and arguments of a program, and of its commands."""
    for action in parser._actions:  # noqa: SLF001 - as above
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from _list_actions(command)
