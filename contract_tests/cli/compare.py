"""`contract-tests compare`: asks two servers the same, says where they differ, and whom the contract agrees with."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract_tests.cli.run import PROBLEMS, WELL
from contract_tests.config.target import RUN_VARIABLE
from contract_tests.report.files import write_whole
from contract_tests.report.folder import prepare
from contract_tests.report.side_by_side import compare_servers, count_compared, find_chance, keep_repeated, read_run
from contract_tests.report.terminal import count_noun
from flowcontract.errors import FlowContractError
from flowcontract.output.printable import make_printable
from flowcontract.specs.model import list_apis, load_api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from contract_tests.report.side_by_side import Answered, Finding
    from flowcontract.specs.model import Operation

_EPILOG = """\
examples:
  contract-tests compare --old http://127.0.0.1:7860 --new http://127.0.0.1:7861 --api agentbuilder \\
    --old-key agentbuilder=sk-... --new-key agentbuilder=sk-...
  contract-tests compare --old URL --new URL --old-target old.toml --new-target new.toml --report out

Both are asked the same, at the same time, with the same invented names. Ids and times are matched, not compared; what
is different only once of --repeat times, or where one server differs from itself, is left out. What follows goes to
pytest: -k sendChatMessage.

exit status: 0 no difference, 1 differences, 2 no sound verdict: a run did not come to its end.
"""
_PLACES = ("old", "new")
_TESTS_SHOWN = 2
_REASONS = ("ERROR: ", "INCOMPLETE: ", "contract-tests: ")
_REASON_LINES = 4
_LONGEST = 400  # characters of a line of a reason: an upload as a command is no help here


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
        counts: list[tuple[int, int]] = []
        runs: dict[str, list[Answered]] = {place: [] for place in _PLACES}
        operations: dict[str, Operation] = {}
        for number in range(1, arguments.repeat + 1):
            print(f"Round {number} of {arguments.repeat}: both servers are asked.", file=sys.stderr, flush=True)
            folders = {place: folder / f"{place}-{number}" for place in _PLACES}
            _ask_both(arguments, others, folders)
            for place in _PLACES:
                answered, known = read_run(folders[place], apis)
                runs[place].append(answered)
                operations.update(known)
            old, new = (runs[place][-1] for place in _PLACES)
            counts.append(count_compared(old, new))
            if not counts[-1][0]:
                raise FlowContractError("Nothing was compared: no test asked both the same. Name other tests with -k.")
            rounds.append(compare_servers(old, new, operations))
        compared, apart = min(counts)
        found = keep_repeated(rounds, set().union(*(find_chance(runs[place], operations) for place in _PLACES)))
        if arguments.report:
            _write(arguments, found, compared, apart)
        many = f"{count_noun(len(found), 'difference')} in the answers to {count_noun(compared, 'request')}"
        for line in (*write_lines(found), *_end(arguments, many, len(rounds[0]) - len(found), apart)):
            print(make_printable(line))
    return PROBLEMS if found else WELL


def _ask_both(arguments: argparse.Namespace, others: Sequence[str], folders: dict[str, Path]) -> None:
    """Run the suite against both servers at once; raise FlowContractError as soon as one of them has no verdict."""
    environment = {**os.environ, RUN_VARIABLE: secrets.token_hex(4)}
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(folders)))
        running = {}
        for place, folder in folders.items():
            prepare(folder)
            command = [sys.executable, "-m", "contract_tests", *_list_options(arguments, place, folder), *others]
            with (folder / "output.txt").open("wb") as log:
                process = subprocess.Popen(  # noqa: S603 - our own command, with the options that it was given
                    command, env=environment, stdout=log, stderr=subprocess.STDOUT
                )
            running[pool.submit(stack.enter_context(process).wait)] = place
            stack.callback(process.terminate)  # where the other one has no verdict, or nobody waits any longer
        for ended in as_completed(running):
            if ended.result() not in (WELL, PROBLEMS):
                place = running[ended]
                said = (folders[place] / "output.txt").read_text(encoding="utf-8", errors="replace")
                reason = _name_options(_find_reason(said.strip().splitlines()), place)
                raise FlowContractError(f"The run against the {place} server did not come to its end: {reason}")


def _find_reason(said: Sequence[str]) -> str:
    """Return what a run says about why it has no verdict: the line that begins so, and those that belong to it."""
    for number, line in enumerate(said):
        prefix = next((prefix for prefix in _REASONS if line.startswith(prefix)), "")
        if prefix:
            more = takewhile(lambda other: other.startswith("  "), said[number + 1 : number + _REASON_LINES])
            shown = line if prefix == "INCOMPLETE: " else line.removeprefix(prefix).removeprefix("contract-tests: ")
            return "\n".join([shown, *(other for other in more if len(other) <= _LONGEST)])
    return said[-1] if said else "nothing was said"


def _name_options(reason: str, place: str) -> str:
    """Return a reason with the options of this command instead of those of the run that it started."""
    return reason.replace("--base-url", f"--{place}").replace("--target", f"--{place}-target")


def _list_options(arguments: argparse.Namespace, place: str, folder: Path) -> Iterator[str]:
    url, target = getattr(arguments, place), getattr(arguments, f"{place}_target")
    yield from ("--report", str(folder), "--max-minutes", arguments.max_minutes)
    yield from ("--base-url", url) if url else ()
    yield from ("--target", str(target)) if target else ()
    for name in arguments.api:
        yield from ("--api", name)
    for key in (*arguments.key, *getattr(arguments, f"{place}_key")):
        yield from ("--key", key)


def _write(arguments: argparse.Namespace, found: Sequence[Finding], compared: int, apart: int) -> None:
    told = {
        "old": arguments.old,
        "new": arguments.new,
        "compared": compared,
        "not_compared": apart,
        "differences": [finding.as_json() for finding in found],
    }
    write_whole(arguments.report / "compare.json", [json.dumps(told, ensure_ascii=False, indent=1)])


def write_lines(found: Iterable[Finding]) -> Iterator[str]:
    """Yield the differences by operation, each with the contract's word; what several operations share comes once."""
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for finding in found:
        key = (*finding.difference[1:5], finding.verdict, *finding.because)
        alike.setdefault(key, []).append(finding)
    groups: dict[str, list[list[Finding]]] = {}
    for findings in sorted(alike.values(), key=lambda findings: len(findings) > 1):  # else in the order of operations
        groups.setdefault(", ".join(finding.difference.operation for finding in findings), []).append(findings)
    for operations, those in groups.items():
        yield operations
        for findings in those:
            yield from _write_finding(findings)


def _write_finding(findings: Sequence[Finding]) -> Iterator[str]:
    difference = findings[0].difference
    tests = list(dict.fromkeys(test for finding in findings for test in finding.tests))
    count = sum(finding.count for finding in findings)
    more = f" and {len(tests) - _TESTS_SHOWN} more" if len(tests) > _TESTS_SHOWN else ""
    yield f"  {difference.status} {difference.what}: {difference.old or 'nothing'} -> {difference.new or 'nothing'}"
    yield f"    {findings[0].verdict} ({count_noun(count, 'time')}: {', '.join(tests[:_TESTS_SHOWN])}{more})"
    yield from (f"    {line}" for line in findings[0].because)


def _end(arguments: argparse.Namespace, many: str, once: int, apart: int) -> Iterator[str]:
    """Yield what all of it comes to, and what was not compared."""
    dropped = (
        f"; {once} more {'was' if once == 1 else 'were'} not there each time, or one server differs so from itself"
        if once
        else ""
    )
    yield f"{many}, in {count_noun(arguments.repeat, 'round')}{dropped}."
    if apart:
        requests = count_noun(apart, "request")
        yield f"Not compared: {requests} that only one server was asked, since its answers led there."
    if arguments.old and arguments.old == arguments.new:
        yield f"Both are {arguments.old}: these are answers of one server."
