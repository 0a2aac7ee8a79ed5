"""The command `flowcontract`: what concerns the contract alone, `lint`, `diff` and `schema`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flowcontract.output.program import run_program

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from flowcontract.output.command_line import Parser

_EXAMPLES = """\
examples:
  flowcontract diff dify-workflow=older dify-workflow         what has changed since the older document
  flowcontract diff v1.0 HEAD --api dify-chat                 two git revisions of specs/
  flowcontract diff old/specs specs --for clients --format markdown
  flowcontract lint --api dify-chat
  flowcontract schema scenario > scenario.schema.json         for an editor that checks YAML

exit status: 0 nothing breaks, 1 something breaks (lint: findings), 2 misuse.
"""


def build_parser(*, whole: bool = False) -> Parser:
    """Return the parser of the command line; the `whole` one knows the options of `lint` as well."""
    import argparse  # noqa: PLC0415 - all this takes a while, in which Ctrl-C may come

    from flowcontract.diff import cli as diff  # noqa: PLC0415 - the same
    from flowcontract.output.command_line import Parser, add_common  # noqa: PLC0415 - the same

    parser = Parser(
        prog="flowcontract",
        description="Check the contract, or compare two contracts.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(parser, partial(build_parser, whole=True))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    checks = "check specs, sources, rulings, stream contracts and scenarios"
    lint = commands.add_parser("lint", add_help=whole, help=checks)
    if whole:
        from flowcontract.lint.cli import add_options  # noqa: PLC0415 - needs the extra `lint`

        add_options(lint)
    diff.add_parser(commands)
    schema = commands.add_parser("schema", help="print the JSON Schema of a kind of file, for an editor")
    schema.add_argument("name", metavar="NAME", help=", ".join(find_schemas()))
    schema.set_defaults(run=_print_schema)
    return parser


def find_schemas() -> dict[str, Path]:
    """Return the files of the JSON Schemas by name: scenario, app, target, x-stream, flowcontract (our options)."""
    folder = Path(__file__).with_name("published")
    return {path.name.removesuffix(".schema.json"): path for path in sorted(folder.glob("*.schema.json"))}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run_program("flowcontract", lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["lint"]:
        from flowcontract.lint import cli as lint  # noqa: PLC0415 - needs the extra `lint`, which `diff` does without

        return lint.main(arguments[1:], "flowcontract lint")
    from flowcontract.output.command_line import parse_command  # noqa: PLC0415 - as above

    options = parse_command(build_parser(), arguments)
    return int(options.run(options))


def _print_schema(options: argparse.Namespace) -> int:
    from flowcontract.errors import UnknownNameError  # noqa: PLC0415 - as above

    known = find_schemas()
    if options.name not in known:
        raise UnknownNameError("schema", options.name, known)
    print(known[options.name].read_text(encoding="utf-8").rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
