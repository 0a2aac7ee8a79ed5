"""The command `contract-tests`: asks a server, explains, judges and infers from recordings, compares two servers."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowcontract.output.program import run_program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowcontract.output.command_line import Parser

_COMMANDS = ("judge", "explain", "infer", "compare")
_CLOSE = 0.8  # `--new-first` is pytest's, and no slip of `--new-target`


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return run_program("contract-tests", lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def _run(arguments: list[str]) -> int:
    if arguments[:1] and arguments[0] in _COMMANDS:
        return _run_command(arguments)
    if arguments and not arguments[0].startswith("-"):
        from flowcontract.errors import UnknownNameError  # noqa: PLC0415 - takes a while, in which Ctrl-C may come

        hint = "Without a command it asks a server: contract-tests --base-url URL"
        raise UnknownNameError("command", arguments[0], _COMMANDS, hint=hint)
    from contract_tests.cli import run  # noqa: PLC0415 - the same

    return run.main(arguments, build_whole)


def build_whole() -> Parser:
    """Return the parser of everything that can be typed, options of a run and commands, for a shell's completion."""
    from contract_tests.cli import run  # noqa: PLC0415 - as above

    parser = run.build_parser()
    _add_commands(parser)
    return parser


def _add_commands(parser: Parser) -> Any:
    commands = parser.add_subparsers(metavar="COMMAND")
    for name in _COMMANDS:
        import_module(f"contract_tests.cli.{name}").add_parser(commands)
    return commands


def _run_command(arguments: list[str]) -> int:
    from flowcontract.output.command_line import Parser, refuse_unknown  # noqa: PLC0415 - as above

    parser = Parser(prog="contract-tests")
    commands = _add_commands(parser)
    chosen, others = parser.parse_known_args(arguments)
    if arguments[0] == "compare":  # what it does not know is that of a run, or pytest's
        for other in others:
            _refuse_slip(commands.choices["compare"], other.partition("=")[0])
        return int(chosen.run(chosen, others))
    if others:
        raise refuse_unknown(commands.choices[arguments[0]], others[0].partition("=")[0])
    return int(chosen.run(chosen))


def _refuse_slip(command: Parser, asked: str) -> None:
    """Raise ConfigError for what is nearly an option of a command; a run that it starts would guess at its own."""
    import difflib  # noqa: PLC0415 - as above

    from contract_tests.config.options import OPTIONS  # noqa: PLC0415 - as above
    from flowcontract.output.command_line import list_options, refuse_unknown  # noqa: PLC0415 - as above

    ours = [name for name in list_options(command) if name.startswith("--")]
    if asked not in OPTIONS and difflib.get_close_matches(asked, ours, n=1, cutoff=_CLOSE):
        raise refuse_unknown(command, asked)


if __name__ == "__main__":
    sys.exit(main())
