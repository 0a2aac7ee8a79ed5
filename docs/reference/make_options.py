"""Writes docs/reference/options.md from the commands' own parsers: `python docs/reference/make_options.py`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from contract_tests.cli import compare, explain, infer, judge, run
from flowcontract import cli as flowcontract
from flowcontract.lint import cli as lint
from mockserver.cli import options as mockserver

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).with_name("options.md")
_HEAD = """# Options of the commands

Generated from the commands' own parsers by `python docs/reference/make_options.py`; a test compares. Each command
prints the same with `--help`.

Each option of `mockserver` can be set in the environment as well, as `MOCKSERVER_` and its name in capitals
(`MOCKSERVER_MAX_UPLOAD_MB=10`); values of an option that may be repeated are separated by commas there. The command
line comes first, the environment second, then `flowcontract.toml`; an empty variable says nothing.

Exit codes, here and everywhere: 0 well, 1 violations or problems found, 2 no sound verdict (misuse, nobody there,
interrupted, crashed, incomplete, nothing judged; of recordings also an entry that cannot be read, where nothing is
wrong with the others).
"""
_DEFAULT = re.compile(r"\s*\(default: (.*)\)$")


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command, as one types it, with its parser."""
    for program, parser in (("mockserver", mockserver.build_parser()), ("flowcontract", flowcontract.build_parser())):
        for command, of_command in _commands(parser):
            if command != "lint":
                yield f"{program} {command}", of_command
    yield "contract-tests", run.build_parser()
    suite = argparse.ArgumentParser(prog="contract-tests")
    commands = suite.add_subparsers()
    for module in (judge, explain, infer, compare):
        module.add_parser(commands)
    for command, of_command in _commands(suite):
        yield f"contract-tests {command}", of_command
    yield "flowcontract lint", lint.build_parser()


def page() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *(line for command, parser in parsers() for line in _section(command, parser))])


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:  # noqa: SLF001 - argparse offers no other way to them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            yield from action.choices.items()


def _section(command: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {command}\n"
    if parser.description:
        yield f"{parser.description[0].upper()}{parser.description[1:].rstrip('.')}.\n"
    yield "| option | meaning | default |\n|---|---|---|"
    formatter = parser._get_formatter()  # noqa: SLF001
    for action in parser._actions:  # noqa: SLF001
        if action.dest not in ("help", "version"):
            yield _row(action, formatter._expand_help(action) if action.help else "")  # noqa: SLF001
    yield ""


def _row(action: argparse.Action, text: str) -> str:
    found = _DEFAULT.search(text)
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if not metavar and action.nargs != 0:
        metavar = "|".join(action.choices) if action.choices else action.dest.rpartition("_")[2].upper()
    name = f"{action.option_strings[-1]} {metavar}".strip() if action.option_strings else metavar
    cells = [f"`{name}`", _DEFAULT.sub("", text), found[1] if found else ""]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
