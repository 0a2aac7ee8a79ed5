"""`contract-tests compare`: asks two servers the same, says where they differ, and whom the contract agrees with."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract_tests.cli.run import PROBLEMS, WELL
from contract_tests.config.target import RUN_VARIABLE
from contract_tests.report.files import write_whole
from contract_tests.report.side_by_side import compare_servers, keep_repeated, read_run
from contract_tests.report.terminal import count_noun
from flowcontract.errors import FlowContractError
from flowcontract.output.printable import make_printable
from flowcontract.specs.model import list_apis, load_api

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contract_tests.report.side_by_side import Finding

_EPILOG = """\
examples:
  contract-tests compare --old http://127.0.0.1:7860 --new http://127.0.0.1:7861 --api agentbuilder \\
    --old-key agentbuilder=sk-... --new-key agentbuilder=sk-...
  contract-tests compare --old URL --new URL --old-target old.toml --new-target new.toml --report out

Both are asked the same, at the same time, with the same invented names. Ids and times are matched, not compared; what
is different only once of --repeat times is left out. What follows goes to pytest: -k sendChatMessage.

exit status: 0 no difference, 1 differences, 2 no sound verdict: a run did not come to its end.
"""
_PLACES = ("old", "new")
_TESTS_SHOWN = 2
_REASONS = ("ERROR: ", "INCOMPLETE: ", "contract-tests: ")
_REASON_LINES = 4


def add_parser(commands: Any) -> None:
    """Add the command to the others."""
    command = commands.add_parser(
        "compare",
        help="compare two servers, the contract being the third voice",
        description="Asks two servers the same, and says where they differ, who of them is right, and by which line.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for place in _PLACES:
        command.add_argument(f"--{place}", metavar="URL", help=f"where the {place} server is (or in its target file)")
        command.add_argument(f"--{place}-target", type=Path, metavar="FILE", help=f"the {place} server's target file")
        command.add_argument(
            f"--{place}-key", action="append", default=[], metavar="API=KEY", help=f"a key of the {place} server"
        )
    command.add_argument("--api", action="append", default=[], metavar="NAME", help="an API; may be repeated")
    command.add_argument("--key", action="append", default=[], metavar="API=KEY", help="a key of both servers")
    command.add_argument(
        "--repeat", type=int, choices=range(1, 10), default=2, metavar="N",
        help="how often both are asked; only what differs each time is told (default: 2)",
    )  # fmt: skip
    command.add_argument(
        "--report", type=Path, metavar="DIR", help="write compare.json and the reports of all runs there"
    )
    command.add_argument("--max-minutes", default="10", metavar="N", help="what each run may take (default: 10)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, others: Sequence[str] = ()) -> int:
    """Ask both servers, and print the differences; return the exit status."""
    for place in _PLACES:
        if not getattr(arguments, place) and not getattr(arguments, f"{place}_target"):
            raise FlowContractError(f"Where is the {place} server? Add --{place} URL, or --{place}-target FILE.")
    with ExitStack() as stack:
        folder = arguments.report or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        apis = [load_api(name) for name in arguments.api or list_apis()]
        rounds: list[list[Finding]] = []
        for number in range(1, arguments.repeat + 1):
            folders = {place: folder / f"{place}-{number}" for place in _PLACES}
            _ask_both(arguments, others, folders)
            (old, known), (new, more) = (read_run(folders[place], apis) for place in _PLACES)
            rounds.append(compare_servers(old, new, {**known, **more}))
        found = keep_repeated(rounds)
        if arguments.report:
            _write(arguments, found)
        for line in write_lines(arguments, found, len(rounds[0])):
            print(make_printable(line))
    return PROBLEMS if found else WELL


def _ask_both(arguments: argparse.Namespace, others: Sequence[str], folders: dict[str, Path]) -> None:
    """Run the suite against both servers at once; raise FlowContractError where a run did not come to its end."""
    environment = {**os.environ, RUN_VARIABLE: secrets.token_hex(4)}
    with ExitStack() as stack:
        running = {}
        for place, folder in folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "contract_tests", *_list_options(arguments, place, folder), *others]
            with (folder / "output.txt").open("wb") as log:
                process = subprocess.Popen(  # noqa: S603 - our own command, with the options that it was given
                    command, env=environment, stdout=log, stderr=subprocess.STDOUT
                )
            running[place] = stack.enter_context(process)
            stack.callback(process.terminate)  # where the other one cannot be waited for
        ended = {place: process.wait() for place, process in running.items()}
    for place, status in ended.items():
        if status not in (WELL, PROBLEMS):
            said = (folders[place] / "output.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise FlowContractError(f"The run against the {place} server did not come to its end: {_find_reason(said)}")


def _find_reason(said: Sequence[str]) -> str:
    """Return what a run says about why it has no verdict: the line that begins so, and those that belong to it."""
    for place, line in enumerate(said):
        if line.startswith(_REASONS):
            more = takewhile(lambda other: other.startswith("  "), said[place + 1 : place + _REASON_LINES])
            return "\n".join([line.removeprefix("ERROR: "), *more])
    return said[-1] if said else "nothing was said"


def _list_options(arguments: argparse.Namespace, place: str, folder: Path) -> Iterator[str]:
    url, target = getattr(arguments, place), getattr(arguments, f"{place}_target")
    yield from ("--report", str(folder), "--max-minutes", arguments.max_minutes)
    yield from ("--base-url", url) if url else ()
    yield from ("--target", str(target)) if target else ()
    for name in arguments.api:
        yield from ("--api", name)
    for key in (*arguments.key, *getattr(arguments, f"{place}_key")):
        yield from ("--key", key)


def _write(arguments: argparse.Namespace, found: Sequence[Finding]) -> None:
    told = {"old": arguments.old, "new": arguments.new, "differences": [finding.as_json() for finding in found]}
    write_whole(arguments.report / "compare.json", [json.dumps(told, ensure_ascii=False, indent=1)])


def write_lines(arguments: argparse.Namespace, found: Sequence[Finding], all_of_first: int) -> Iterator[str]:
    """Yield the differences, an operation after the other, each with the contract's word."""
    operation = ""
    for finding in found:
        difference = finding.difference
        if difference.operation != operation:
            operation = difference.operation
            yield operation
        tests = list(finding.tests)
        more = f" and {len(tests) - _TESTS_SHOWN} more" if len(tests) > _TESTS_SHOWN else ""
        yield f"  {difference.status} {difference.what}: {difference.old or 'nothing'} -> {difference.new or 'nothing'}"
        yield f"    {finding.verdict} ({count_noun(finding.count, 'time')}: {', '.join(tests[:_TESTS_SHOWN])}{more})"
        yield from (f"    {line}" for line in finding.because)
    once = all_of_first - len(found)
    dropped = f"; {once} more were not there each time" if once else ""
    many = f"{len(found)} difference{'' if len(found) == 1 else 's'}"
    rounds = f"{arguments.repeat} round{'' if arguments.repeat == 1 else 's'}"
    yield f"{many} in {rounds}{dropped}."
