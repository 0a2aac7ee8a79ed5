"""Renders a run as a self-contained HTML page: failures, coverage, choices, known deviations, reasons, streams."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from contract_tests.report.baseline import SORTS as DIFFERENCES
from contract_tests.report.baseline import join_alike, summarize_differences
from contract_tests.report.coverage import SORTS
from contract_tests.report.rendering import get_environment, read_template
from contract_tests.report.terminal import format_headline, select_causes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Json = dict[str, Any]
SIGNS = {"failed": "✗", "deviating": "≈", "passed": "✓", "not exercised": "·"}
_HEADINGS = {"code": "Error codes", "event": "Events", "transition": "Which event followed which"}
_MOST_STREAMS = 80  # whose time lines are drawn; broken ones first
_WIDTH, _LEFT, _LANE, _MARGIN = 1100, 190, 18, 14  # of a time line, in pixels


def render_page(document: Mapping[str, Any]) -> str:
    """Return the page. Scripts and styles are allowed by hash only, and nothing is loaded from elsewhere."""
    style, script = (read_template(name) for name in ("report.css", "report.js"))
    streams = sorted(document["streams"], key=lambda stream: not stream["violations"])
    return get_environment().get_template("report.html.j2").render(
        document=document,
        headline=format_headline(dict(document)),
        style=Markup(style),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
        hashes={"style": _hash(style), "script": _hash(script)},
        failures=select_causes(dict(document), "failure"),
        notes=select_causes(dict(document), "note"),
        deviations=select_causes(dict(document), "deviation"),
        sections=_group_differences(document.get("baseline")),
        differing=summarize_differences(document["baseline"]) if document.get("baseline") else "",
        grids=build_grids(document["matrix"]),
        signs=SIGNS,
        broken=[draw_time_line(stream) for stream in streams[:_MOST_STREAMS] if stream["violations"]],
        sound=[draw_time_line(stream) for stream in streams[:_MOST_STREAMS] if not stream["violations"]],
        left_out=max(0, len(streams) - _MOST_STREAMS),
    )  # fmt: skip


def _group_differences(baseline: Mapping[str, Any] | None) -> list[tuple[str, list[Json]]]:
    """Return the differences from an earlier run, by the heading of their sort."""
    found = join_alike(baseline["differences"]) if baseline else []
    grouped = [(heading, [each for each in found if each["sort"] == sort]) for sort, heading in DIFFERENCES.items()]
    return [(heading, each) for heading, each in grouped if each]


def _hash(text: str) -> str:
    """Return the hash by which a Content-Security-Policy allows a text (https://www.w3.org/TR/CSP3/#grammardef-hash-source)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


# Coverage.


@dataclass(frozen=True, slots=True)
class OperationRow:
    """An operation in the grid: its statuses by number, and its other lines by heading."""

    name: str
    statuses: Mapping[str, Json]
    others: Mapping[str, list[Json]]
    rows: list[Json]

    @property
    def outcome(self) -> str:
        """The worst outcome of all lines."""
        return _find_worst_outcome(self.rows)

    @property
    def of_others(self) -> str:
        """The worst outcome of the lines that are no statuses."""
        return _find_worst_outcome([row for rows in self.others.values() for row in rows])

    @property
    def exercised(self) -> int:
        """The percentage of its lines that were exercised."""
        seen = sum(1 for row in self.rows if row["outcome"] != "not exercised")
        return round(100 * seen / len(self.rows))


def _find_worst_outcome(rows: list[Json]) -> str:
    outcomes = {row["outcome"] for row in rows}
    return next((outcome for outcome in SIGNS if outcome in outcomes), "not exercised")


@dataclass(frozen=True, slots=True)
class Grid:
    """The operations of an API, those with failures first, and the statuses of all of them."""

    api: str
    statuses: list[str]
    operations: list[OperationRow]


def build_grids(matrix: Iterable[Json]) -> list[Grid]:
    """Return the matrix as a grid for each API."""
    by_api: dict[str, dict[str, list[Json]]] = {}
    for row in matrix:
        api = row["operation"].partition("/")[0]
        counts = ", ".join(f"{count} {name}" for name, count in row["counts"].items() if count)
        documented = "" if row["documented"] else " (in no document)"
        title = f"{row['name']}{documented}: {counts or row['reason']}"
        by_api.setdefault(api, {}).setdefault(row["operation"], []).append({**row, "title": title})
    grids = []
    for api, operations in by_api.items():
        rows = sorted((_build_row(name, lines) for name, lines in operations.items()), key=_rank_trouble)
        grids.append(Grid(api, sorted({status for row in rows for status in row.statuses}), rows))
    return grids


def _build_row(name: str, lines: list[Json]) -> OperationRow:
    statuses = {line["name"]: line for line in lines if line["sort"] == "status"}
    others = {_HEADINGS[sort]: [line for line in lines if line["sort"] == sort] for sort in SORTS if sort in _HEADINGS}
    others = {heading: found for heading, found in others.items() if found}
    return OperationRow(name.partition("/")[2], statuses, others, lines)


def _rank_trouble(row: OperationRow) -> tuple[int, int]:
    failed = sum(line["counts"]["failed"] for line in row.rows)
    return list(SIGNS).index(row.outcome), -failed


# Streams.


@dataclass(frozen=True, slots=True)
class TimeLine:
    """A drawing with a lane for each kind of event, and a mark for each event at its time.

    ``marks``  x, y, `wrong`, `known` or `unknown`, title
    ``rules``  x of each event with a violation, and its number
    """

    stream: Json
    lanes: list[tuple[int, str]]
    marks: list[tuple[float, int, str, str]]
    rules: list[tuple[float, str]]
    height: int
    begin: str
    end: str
    width: int = _WIDTH
    left: int = _LEFT


def draw_time_line(stream: Json) -> TimeLine:
    """Return the drawing of a stream. Violations of no particular event are drawn at its end."""
    events = stream["events"]
    kinds = list(dict.fromkeys(kind for _, kind, *_ in events))
    lanes = {kind: _MARGIN + 8 + _LANE * number for number, kind in enumerate(kinds)}
    begin, end = (events[0][0], events[-1][0]) if events else (0.0, 0.0)
    scale = (_WIDTH - _LEFT - 4 * _MARGIN) / ((end - begin) or 1)  # leaves room for violations at the end
    x = [_LEFT + _MARGIN + (at_s - begin) * scale for at_s, *_ in events]
    marks = []
    for number, (at_s, kind, offset, wrong, known) in enumerate(events):
        sort = "wrong" if wrong else "known" if known else "unknown"
        remark = " (wrong)" if wrong else "" if known else " (of no kind that the contract names)"
        title = f"event {number + 1}, {kind}, {at_s:.3f} s, byte {offset}{remark}"
        marks.append((x[number], lanes[kind], sort, title))
    at_end = float(_WIDTH - _MARGIN)
    places = {number: x[number - 1] if number and number <= len(x) else at_end for number in stream["wrong"]}
    rules = [(place, "end" if number is None else str(number)) for number, place in places.items()]
    total = f"{end:.2f} s, {stream['total']} events"
    height = _MARGIN + 8 + _LANE * len(kinds) + _MARGIN
    return TimeLine(stream, [(y, kind) for kind, y in lanes.items()], marks, rules, height, f"{begin:.2f} s", total)
