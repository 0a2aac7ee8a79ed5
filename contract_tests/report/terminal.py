"""Formats the summary of a run for the terminal: the verdict, each cause, and the rest in short."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from contract_tests.report.baseline import count_differences, join_alike, summarize_differences
from contract_tests.report.coverage import SORTS
from flowcontract.output.printable import make_printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Document = dict[str, Any]
LINES = 60  # of a summary that is not verbose
_WIDTH = 160  # characters of a line of a summary
_PROBLEMS, _LISTED, _REASONS = 3, 2, 5  # lines of each in a summary
_DIFFERENCES = 12  # lines about an earlier run
_SHOWN = 4  # names of a reason
_SLOW_S = 10  # of a test that is worth a line
_PLURALS = {"status": "statuses"}


class Line(NamedTuple):
    """A line, and its colour on terminals that have colours."""

    text: str
    colour: str = ""


def count_noun(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 cause`, `2 causes`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def summarize(document: Document, *, verbose: bool = False) -> list[Line]:
    """Return the summary of a run: at most `LINES` lines, or everything. Control characters are escaped."""
    failures = select_causes(document, "failure")
    blocks = [[*format_cause(cause), *(_format_details(cause) if verbose else ())] for cause in failures]
    if verbose:
        lines = [*_format_verdict(document), *_flatten(blocks), *_list_rest(document, None)]
    else:
        room = LINES - 1 - len([*_format_verdict(document, _PROBLEMS)]) - len([*_list_rest(document, _REASONS)])
        fitting = _select_fitting(blocks, room)
        spare = room - len([*_flatten(fitting)])
        more = count_noun(len(blocks) - len(fitting), "more cause")
        hidden = [Line(f"... and {more}: -v, the reports, or contract-tests explain")] if fitting != blocks else []
        lines = [
            *_format_verdict(document, _PROBLEMS),
            *_flatten(fitting),
            *hidden,
            *_list_rest(document, _REASONS + spare),
        ]
    return [Line(_fit_line(line.text, verbose=verbose), line.colour) for line in lines]


def _flatten(blocks: list[list[Line]]) -> Iterator[Line]:
    yield from (line for lines in blocks for line in lines)


def _select_fitting(blocks: list[list[Line]], room: int) -> list[list[Line]]:
    fitting: list[list[Line]] = []
    for lines in blocks:
        room -= len(lines)
        if room < 0:
            break
        fitting.append(lines)
    return fitting


def _fit_line(text: str, *, verbose: bool) -> str:
    plain = make_printable(text)
    return plain if verbose or len(plain) <= _WIDTH else f"{plain[: _WIDTH - 3]}..."


def select_causes(document: Document, kind: str) -> list[dict[str, Any]]:
    """Return the causes of one kind."""
    return [cause for cause in document["causes"] if cause["kind"] == kind]


def format_headline(document: Document) -> str:
    """Return the verdict as one line."""
    counts = document["counts"]
    parts = [f"{document['status'].upper()}:"]
    if counts["causes"]:
        parts.append(f"{count_noun(counts['causes'], 'cause')} in {count_noun(counts['failed tests'], 'test')},")
    apis = count_noun(len(document["target"]), "API")
    parts.append(f"{count_noun(document['exchanges'], 'request')} to {apis}")
    seconds = document["about"].get("seconds")
    parts += [f"in {seconds:.0f} s"] if seconds is not None else []
    return " ".join(parts)


def _format_verdict(document: Document, most: int | None = None) -> Iterator[Line]:
    yield Line(format_headline(document), "green" if document["status"] == "passed" else "red")
    yield from (Line(f"  {text}", "red") for text in _limit(document["problems"], most))
    yield Line("")


def format_cause(cause: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the lines of a cause: what is wrong, what was expected, what came, the source, and how to learn more."""
    what = f"{cause['operation']}: {cause['rule']}{_format_place(cause)}"
    sort = "" if cause["severity"] == "form" else f"{cause['severity']}: "
    tests = count_noun(len(cause["tests"]), "test")
    yield Line(f"{sort}{what} ({tests}; explain {cause['handle']})", "red")
    yield Line(f"  expected {cause['expected'].strip()}")
    yield Line(f"  got      {cause['got'].strip()}")
    rulings = "".join(f"; {ruling['name']}: {ruling['decision']}" for ruling in cause["rulings"])
    if cause["source"]:
        yield Line(f"  by       {', '.join(cause['source'])} [{cause['tier']}]{rulings}")


def _format_details(cause: Mapping[str, Any]) -> Iterator[Line]:
    yield Line(f"  in       {', '.join(cause['tests'])}")
    yield Line(f"  {cause['curl']}")
    yield Line("")


def _format_place(cause: Mapping[str, Any]) -> str:
    place = [f"event {cause['event']}"] if cause["event"] else []
    place += [f"byte {cause['offset']}"] if cause["offset"] is not None else []
    place += [cause["where"]] if cause["where"] else []
    return f" at {', '.join(place)}" if place else ""


def format_failure(failure: Mapping[str, Any]) -> str:
    """Return a failure for the report of its test: what, where, the source, and a command that repeats the request."""
    lines = [
        f"{failure['operation']}: {failure['rule']}{_format_place(failure)}",
        f"  expected {failure['expected']}",
        f"  got      {failure['got']}",
    ]
    lines += [f"  demanded by {', '.join(failure['source'])} [{failure['tier']}]"] if failure["source"] else []
    lines += [f"  {ruling['name']}: {ruling['decision']}" for ruling in failure["rulings"]]
    lines += [f"  {failure['curl']}"] if failure["curl"] else []
    return "\n".join(lines)


# Below the causes.


def _list_rest(document: Document, reasons: int | None) -> Iterator[Line]:
    """Yield the other sections: a title, and below it at most so many lines."""
    most = None if reasons is None else _LISTED
    yield from map(Line, _list_baseline(document, reasons and _DIFFERENCES))
    for lines, listed, colour in (
        (_list_notes(document), most, ""),
        (_list_choices(document), 0 if most else None, ""),
        (_list_deviations(document), most, ""),
        (_list_fixed(document), most, "green"),
        (_list_reasons(document), reasons, ""),
    ):
        title, *below = lines
        if below:
            yield from (Line(text, colour) for text in [title, *_limit(below, listed)])
    yield from (Line(text, "green") for text in document["written"])
    yield from map(Line, _list_ending(document, verbose=reasons is None))


def _limit(lines: list[str], most: int | None) -> Iterator[str]:
    yield from lines[:most]
    if most and len(lines) > most:
        yield f"  ... and {len(lines) - most} more"


def _list_baseline(document: Document, most: int | None) -> Iterator[str]:
    baseline = document.get("baseline")
    if not baseline:
        return
    yield f"against {baseline['source']} of {baseline['started']}: {summarize_differences(baseline)}"
    counts = ", ".join(count_differences(baseline))
    yield from textwrap.wrap(counts, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    yield from (f"  {note}" for note in baseline["notes"])
    lines = []
    for each in join_alike(baseline["differences"]):
        change = f"{each['before'].strip() or 'nothing'} -> {each['after'].strip() or 'nothing'}"
        first, *others = each["operations"]
        where = f"{first} and {count_noun(len(others), 'more operation')}:" if others else first
        lines.append(f"  {each['sort']}: {where} {each['what']}: {change}")
    yield from _limit(lines, most)


def _list_notes(document: Document) -> Iterator[str]:
    notes = select_causes(document, "note")
    yield f"notes: {len(notes)}, which fail nothing: they rest on less than {document['demand']}, or fuzzing found them"
    for cause in notes:
        sort = "fuzzing" if cause["fuzzed"] else cause["tier"]
        got = f"got {cause['got'].strip()} (explain {cause['handle']})"
        yield f"  {len(cause['tests']):4} x {cause['id']} [{sort}]: {got}"


def _list_choices(document: Document) -> Iterator[str]:
    yield f"choices: {len(document['choices'])}, what this server does where a ruling allows several things (-v)"
    for choice in document["choices"]:
        yield f"  {choice['operation']}: {choice['name']}: {choice['took']} ({choice['count']} x)"


def _list_deviations(document: Document) -> Iterator[str]:
    counts: dict[tuple[str, str], int] = {}
    for failure in document["deviating"]:
        key = (failure["known"], failure["reason"])
        counts[key] = counts.get(key, 0) + 1
    complaints = document["complaints"]
    hint = f"; their file needs {count_noun(len(complaints), 'correction')} (-v)" if complaints else ""
    yield f"known deviations: {count_noun(len({name for name, _ in counts}), 'entry', 'entries')}{hint}"
    for (name, reason), count in sorted(counts.items()):
        yield f"  {count:4} x {name}: {reason or 'no reason given'}"
    yield from (f"  {complaint}" for complaint in complaints)


def _list_fixed(document: Document) -> Iterator[str]:
    yield f"fixed: {count_noun(len(document['fixed']), 'known deviation')} no longer there"
    for entry in document["fixed"]:
        yield f"  FIXED {entry['id']}: {entry['reason']}"


def _list_reasons(document: Document) -> Iterator[str]:
    reasons = document["not_asked"]
    yield f"not asked: {sum(map(len, reasons.values()))}"
    for reason, names in reasons.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"  {len(names):4} {reason}: {', '.join(names[:_SHOWN])}{more}"


def _list_ending(document: Document, *, verbose: bool) -> Iterator[str]:
    exercised = []
    for sort in SORTS:
        rows = [row for row in document["matrix"] if row["sort"] == sort and row["documented"]]
        seen = sum(row["outcome"] != "not exercised" for row in rows)
        exercised += [f"{seen} of {count_noun(len(rows), sort, _PLURALS.get(sort, ''))}"] if rows else []
    yield f"coverage: {document['coverage_percent']} % of the contract: {', '.join(exercised)}"
    slowest = sorted(document["tests"].items(), key=lambda item: -item[1]["seconds"])
    for name, test in slowest[: None if verbose else 1]:
        if verbose or test["seconds"] >= _SLOW_S:
            yield f"slow: {test['seconds']:.1f} s {name}"
    yield from (f"could not be removed: {name}" for name in document["left_over"][: None if verbose else 2])
