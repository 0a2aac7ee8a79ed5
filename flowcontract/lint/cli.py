"""The command `python -m flowcontract.lint`: prints one line per finding, and their number."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flowcontract import paths
from flowcontract.errors import FlowContractError, UnknownNameError
from flowcontract.lint.run import run
from flowcontract.output.command_line import Parser
from flowcontract.output.program import run_program
from flowcontract.specs import model as specs

if TYPE_CHECKING:
    import argparse

_WIDTH = 72


def build_parser(prog: str = "python -m flowcontract.lint") -> Parser:
    """Return the parser of the command line; `prog` is what the command is called."""
    parser = Parser(
        prog=prog,
        description="Check the contract: specs, sources, rulings, stream contracts, profiles and scenarios.",
        epilog=f"Example: {prog} --api dify-chat. Exit: 0 clean, 1 findings, 2 misuse.",
    )
    add_options(parser)
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--specs", type=Path, default=paths.find_specs_root(), metavar="DIR", help="the contract's folder"
    )
    parser.add_argument(
        "--fixtures", type=Path, default=paths.find_fixtures_root(), metavar="DIR", help="the scenarios' folder"
    )
    parser.add_argument(
        "--api", action="append", default=[], metavar="NAME", help="check this API only; may be repeated"
    )


def _show_progress(what: str) -> None:
    """Show the current check on one line of the terminal; in a log, each on its own line."""
    if sys.stderr.isatty():
        print(f"\r{what[:_WIDTH]:<{_WIDTH}}", end="", file=sys.stderr, flush=True)
    else:
        print(f"checking {what}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None, prog: str = "python -m flowcontract.lint") -> int:
    """Run the command, which is called `prog`; return its exit code: 0 clean, 1 findings, 2 misuse."""
    return run_program("flowcontract", lambda: _check(build_parser(prog).parse_args(arguments)))


def _check(options: argparse.Namespace) -> int:
    _require_input(options.specs, options.fixtures, options.api)
    findings = run(options.specs, options.fixtures, options.api, progress=_show_progress)
    if sys.stderr.isatty():
        print(f"\r{'':<{_WIDTH}}\r", end="", file=sys.stderr, flush=True)
    for finding in findings:
        print(finding)
    apis = options.api or specs.list_apis(options.specs)
    files = len({finding.path for finding in findings})
    where = f" in {_count(files, 'file')}" if findings else ""
    print(f"{_count(len(apis), 'API')} checked: {_count(len(findings), 'finding')}{where}.")
    return 1 if findings else 0


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _require_input(specs_root: Path, fixtures_root: Path, names: list[str]) -> None:
    """Raise FlowContractError if a folder or an API that was named does not exist."""
    for folder in (specs_root, fixtures_root):
        if not folder.is_dir():
            raise FlowContractError(f'No folder "{folder}". Name one that exists with --specs or --fixtures.')
    known = specs.list_apis(specs_root)
    if not known:
        raise FlowContractError(f'"{specs_root}" has no folder with an openapi.yaml. Name the folder of the contract.')
    for name in names:
        if name not in known:
            raise UnknownNameError("API", name, known)
