"""`flowcontract diff`: tells what of the difference between two contracts breaks whom."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from flowcontract.diff.change import Level
from flowcontract.diff.contracts import compare_apis
from flowcontract.diff.report import FORMATS
from flowcontract.diff.sides import open_side
from flowcontract.errors import SpecError

if TYPE_CHECKING:
    from flowcontract.diff.change import Change

OK, BREAKS = 0, 1
_EXAMPLES = """\
examples:
  flowcontract diff dify-chat=1.4 dify-chat=1.14              two releases of one API
  flowcontract diff dify-workflow=older dify-workflow         what has changed since the older document
  flowcontract diff v1.0 HEAD --api dify-chat                 two git revisions of specs/
  flowcontract diff old/specs specs --for clients --format markdown

exit status: 0 nothing breaks, 1 something breaks, 2 misuse.
"""


def add_parser(commands: Any) -> None:
    """Add the command to the others."""
    summary = "tell what of the difference between two contracts breaks whom"
    diff = commands.add_parser(
        "diff",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    diff.add_argument("old", metavar="OLD", help="API, API=PROFILE, a folder of specs, or a git revision")
    diff.add_argument("new", metavar="NEW", help="the same")
    diff.add_argument(
        "--api", action="append", default=[], metavar="NAME", help="compare this API only; may be repeated"
    )
    diff.add_argument(
        "--for",
        dest="side",
        choices=("clients", "servers", "both"),
        default="both",
        help="leave out what is safe for everybody else (default: both)",
    )
    diff.add_argument("--format", choices=tuple(FORMATS), default="text", help="(default: text)")
    diff.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the changes; return whether one of them breaks somebody."""
    changes = [
        change
        for change in _compare_sides(options)
        if options.side == "both" or _get_level(change, options.side) is not Level.SAFE
    ]
    _print(FORMATS[options.format](changes))
    return BREAKS if any(_get_level(change, options.side) is Level.BREAKING for change in changes) else OK


def _print(text: str) -> None:
    """Print a text; whoever closes the pipe early has read enough, and the verdict stands."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _compare_sides(options: argparse.Namespace) -> list[Change]:
    with ExitStack() as stack:
        old, new = (stack.enter_context(open_side(text, options.api)) for text in (options.old, options.new))
        common = [name for name in old if name in new]
        if not common:
            there_is = " and ".join(
                f"{text} has {', '.join(apis)}" for text, apis in ((options.old, old), (options.new, new))
            )
            raise SpecError(f"No API is on both sides: {there_is}. Compare two contracts of the same API.")
        return [change for name in common for change in compare_apis(old[name], new[name])]


def _get_level(change: Change, side: str) -> Level:
    return {"clients": change.clients, "servers": change.servers}.get(side, change.level)
