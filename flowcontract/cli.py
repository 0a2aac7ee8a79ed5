"""The command `flowcontract`: what concerns the contract alone, `lint` and `diff`."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from flowcontract.diff.change import Level
from flowcontract.diff.contracts import compare_apis
from flowcontract.diff.report import FORMATS
from flowcontract.diff.sides import open_side
from flowcontract.errors import FlowContractError, SpecError, UnknownNameError
from flowcontract.output.command_line import add_common, parse_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowcontract.diff.change import Change
    from flowcontract.specs.model import Api

OK, BREAKS, MISUSE = 0, 1, 2

_EXAMPLES = """\
examples:
  flowcontract diff dify-workflow=older dify-workflow         what has changed since the older document
  flowcontract diff v1.0 HEAD --api dify-chat                 two git revisions of specs/
  flowcontract diff old/specs specs --for clients --format markdown
  flowcontract lint --api dify-chat
  flowcontract schema scenario > scenario.schema.json         for an editor that checks YAML

exit status: 0 nothing breaks, 1 something breaks (lint: findings), 2 misuse.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="flowcontract",
        description="Check the contract, or compare two contracts.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("lint", add_help=False, help="check specs, sources, rulings, stream contracts and scenarios")
    diff = commands.add_parser("diff", help="tell what of the difference between two contracts breaks whom")
    diff.add_argument("old", metavar="OLD", help="API, API=PROFILE, a folder of specs, or a git revision")
    diff.add_argument("new", metavar="NEW", help="the same")
    diff.add_argument("--api", action="append", default=[], metavar="NAME", help="compare this API only")
    diff.add_argument(
        "--for",
        dest="side",
        choices=("clients", "servers", "both"),
        default="both",
        help="leave out what is safe for everybody else (default: both)",
    )
    diff.add_argument("--format", choices=tuple(FORMATS), default="text", help="(default: text)")
    schema = commands.add_parser("schema", help="print the JSON Schema of a kind of file, for an editor")
    schema.add_argument("name", metavar="NAME", help=", ".join(find_schemas()))
    return parser


def find_schemas() -> dict[str, Path]:
    """Return the files of the JSON Schemas by name: scenario, app, target, x-stream, flowcontract (our options)."""
    folder = Path(__file__).with_name("published")
    return {path.name.removesuffix(".schema.json"): path for path in sorted(folder.glob("*.schema.json"))}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status. Ctrl-C ends it without a traceback."""
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        print("flowcontract: interrupted.", file=sys.stderr)
        return MISUSE


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["lint"]:
        from flowcontract.lint import cli as lint  # noqa: PLC0415 - needs the extra `lint`, which `diff` does without

        return lint.main(arguments[1:])
    try:
        options = parse_command(build_parser(), arguments)
        if options.command == "schema":
            _print(_read_schema(options.name))
            return OK
        changes = [change for change in _compare_sides(options) if _concerns(change, options.side)]
    except FlowContractError as error:
        print(f"flowcontract: {error}", file=sys.stderr)
        return MISUSE
    _print(FORMATS[options.format](changes))
    return BREAKS if any(_get_level(change, options.side) is Level.BREAKING for change in changes) else OK


def _read_schema(name: str) -> str:
    """Return a published schema; raise UnknownNameError."""
    known = find_schemas()
    if name not in known:
        raise UnknownNameError("schema", name, known)
    return known[name].read_text(encoding="utf-8").rstrip()


def _print(text: str) -> None:
    """Print a text; whoever closes the pipe early has read enough."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _compare_sides(options: argparse.Namespace) -> list[Change]:
    with ExitStack() as stack:
        old, new = (stack.enter_context(open_side(text, options.api)) for text in (options.old, options.new))
        return [
            change
            for name in _list_common_apis(old, new, options.old, options.new)
            for change in compare_apis(old[name], new[name])
        ]


def _list_common_apis(old: Mapping[str, Api], new: Mapping[str, Api], *texts: str) -> list[str]:
    names = [name for name in old if name in new]
    if not names:
        there_is = " and ".join(f"{text} has {', '.join(apis)}" for text, apis in zip(texts, (old, new), strict=True))
        raise SpecError(f"No API is on both sides: {there_is}. Compare two contracts of the same API.")
    return names


def _get_level(change: Change, side: str) -> Level:
    return {"clients": change.clients, "servers": change.servers}.get(side, change.level)


def _concerns(change: Change, side: str) -> bool:
    return side == "both" or _get_level(change, side) is not Level.SAFE


if __name__ == "__main__":
    sys.exit(main())
