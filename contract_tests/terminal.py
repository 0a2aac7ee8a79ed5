"""What a run says on the terminal."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from contract_tests.coverage import SORTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from contract_tests.results import Results

_SHOWN = 4  # tests of a group, names of a reason


def told(failure: Mapping[str, Any]) -> str:
    """Return a failure as people read it: what, where, by which lines, and how to see it again."""
    place = [f"event {failure['event']}"] if failure["event"] else []
    place += [f"byte {failure['offset']}"] if failure["offset"] is not None else []
    place += [failure["where"]] if failure["where"] else []
    lines = [
        f"{failure['operation']}: {failure['rule']}{' at ' + ', '.join(place) if place else ''}",
        f"  expected {failure['expected']}",
        f"  got      {failure['got']}",
    ]
    lines += [f"  demanded by {', '.join(failure['source'])} [{failure['tier']}]"] if failure["source"] else []
    lines += [f"  {ruling['name']}: {ruling['decision']}" for ruling in failure["rulings"]]
    lines += [f"  {failure['curl']}"] if failure["curl"] else []
    return "\n".join(lines)


def sections(results: Results, problems: list[str], report: Path | None) -> Iterator[tuple[str, list[str]]]:
    """Yield each section with its lines."""
    groups = results.groups()
    if groups:
        failed = sum(len(group.tests) for group in groups)
        yield f"violations: {failed}, causes: {len(groups)}", list(_groups(results))
    if results.notes:
        yield f"notes: {len(results.notes)}, beyond what {results.demand} demands", list(_notes(results))
    if results.choices:
        yield "choices", list(_choices(results))
    if results.deviating or results.fixed or results.deviations.complaints():
        yield "known deviations", [*_deviating(results), *_fixed(results), *results.deviations.complaints()]
    yield "not exercised", list(_not_exercised(results)) or ["nothing: every line of the contract was exercised"]
    yield "contract", [*_coverage(results), *_slowest(results), *_ending(results, problems, report)]


def _groups(results: Results) -> Iterator[str]:
    for group in results.groups():
        yield told(group.first)
        names = list(dict.fromkeys(group.tests))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"  in {', '.join(names[:_SHOWN])}{more}"
        yield ""


def _notes(results: Results) -> Iterator[str]:
    for group in results.groups(results.notes):
        first = group.first
        yield f"{len(group.tests):4} x {first['operation']} [{first['tier']}] {first['cause']}: got {first['got']}"


def _choices(results: Results) -> Iterator[str]:
    for (operation, name, took), choice in sorted(results.choices.items()):
        yield f"{operation}: {name}: {took} ({choice['count']} x)"


def _deviating(results: Results) -> Iterator[str]:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for failure in results.deviating:
        counts[failure["known"], failure["reason"]] += 1
    for (name, reason), count in sorted(counts.items()):
        yield f"{count:4} x {name}: {reason}"


def _fixed(results: Results) -> Iterator[str]:
    for entry in results.fixed:
        yield f"FIXED {entry['id']}: {entry['reason']}"


def _not_exercised(results: Results) -> Iterator[str]:
    lines = [
        *results.not_exercised().items(),
        *((f"test: {reason}", names) for reason, names in results.not_asked().items()),
    ]
    for reason, names in lines:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"{len(names):4} {reason}: {', '.join(names[:_SHOWN])}{more}"


def _coverage(results: Results) -> Iterator[str]:
    for sort in SORTS:
        rows = [row for key, row in results.coverage.rows.items() if key.sort == sort]
        if rows:
            counts = {
                name: sum(row.outcome == name for row in rows)
                for name in ("passed", "failed", "deviating", "not exercised")
            }
            said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
            yield f"{sort:10} {len(rows):4}: {said}"


def _slowest(results: Results) -> Iterator[str]:
    slowest = sorted(results.tests.items(), key=lambda item: -item[1]["seconds"])[:_SHOWN]
    said = ", ".join(f"{name} {test['seconds']:.1f} s" for name, test in slowest)
    if said:
        yield f"slowest: {said}"


def _ending(results: Results, problems: list[str], report: Path | None) -> Iterator[str]:
    share = f"{results.coverage.share():.1f} % of the contract exercised"
    yield f"{results.exchanges} exchanges, {len(results.streams)} streams, {share}"
    if results.deviating or results.fixed:
        known = len({failure["known"] for failure in results.deviating})
        yield f"{known} known deviations, {len(results.fixed)} fixed"
    for name in results.leftovers:
        yield f"could not be removed: {name}"
    for problem in problems:
        yield f"FAILED: {problem}"
    if report:
        yield f"reports: {report}/report.html, report.json, junit.xml"
