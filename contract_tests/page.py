"""One self-contained HTML page: what is wrong, the coverage matrix, and the time line of each stream."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from contract_tests.coverage import SORTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contract_tests.coverage import Key, Row
    from contract_tests.results import Results

_OUTCOMES = ("failed", "deviating", "passed", "not exercised")
_HEADINGS = {"status": "Statuses", "code": "Error codes", "event": "Events", "transition": "Which event followed which"}
_MAX_STREAMS = 80
_WIDTH, _LEFT, _LANE = 1140, 170, 17  # of a time line, in pixels


def page(results: Results, problems: list[str]) -> str:
    """Return the page."""
    verdict = "failed" if results.failures or problems else "passed"
    parts = [
        *_head(results, problems, verdict),
        *_failures(results),
        *_matrix(results),
        *_reasons(results),
        *_streams(results),
    ]
    shell = files("contract_tests").joinpath("page.html").read_text(encoding="utf-8")
    return shell.replace("{{ verdict }}", verdict).replace("{{ body }}", "\n".join(parts))


def _head(results: Results, problems: list[str], verdict: str) -> Iterator[str]:
    yield f'<h1>Contract tests <span class="badge {verdict}">{verdict}</span></h1>'
    for name, api in results.target.apis.items():
        yield f'<p class="soft">{escape(name)} at {escape(api.base_url)}</p>'
    figures = {
        "requests answered": results.exchanges,
        "streams judged": len(results.streams),
        "violations": len(results.failures),
        "notes": len(results.notes),
        "known deviations": len(results.deviating),
        "of the contract exercised": f"{results.coverage.share():.1f} %",
    }
    cells = "".join(f'<div class="figure"><b>{value}</b>{name}</div>' for name, value in figures.items())
    yield f'<div class="figures">{cells}</div>'
    yield from (f'<p><span class="badge failed">failed</span> {escape(problem)}</p>' for problem in problems)


def _failures(results: Results) -> Iterator[str]:
    groups = results.groups()
    if groups:
        yield f"<h2>What is wrong, by cause: {len(groups)}</h2>"
    for group in groups:
        yield _failure(group.first, list(dict.fromkeys(group.tests)))
    if results.deviating:
        yield "<h2>Known deviations</h2>"
    known: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for failure in results.deviating:
        known[failure["known"]].append(failure)
    for found in known.values():
        yield _failure(found[0], [failure["test"] for failure in found], reason=found[0]["reason"])


def _failure(failure: Mapping[str, Any], tests: list[str], reason: str = "") -> str:
    place = [f"event {failure['event']}"] if failure["event"] else []
    place += [f"byte {failure['offset']}"] if failure["offset"] is not None else []
    rows = {
        "reason": reason,
        "expected": failure["expected"],
        "got": failure["got"],
        "where": ", ".join([*place, failure["where"]] if failure["where"] else place),
        "demanded by": ", ".join(failure["source"]),
        "seen in": f"{', '.join(tests[:6])}{f' and {len(tests) - 6} more' if len(tests) > 6 else ''}",  # noqa: PLR2004
    }
    said = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows.items() if value)
    curl = f"<pre>{escape(failure['curl'])}</pre>" if failure["curl"] else ""
    sort = "failure known" if reason else "failure"
    title = escape(f"{failure['operation']}: {failure['rule']}")
    return f'<div class="{sort}"><b>{title}</b><dl>{said}</dl>{curl}</div>'


def _matrix(results: Results) -> Iterator[str]:
    by_operation: dict[str, list[tuple[Key, Row]]] = defaultdict(list)
    for key, row in results.coverage.rows.items():
        by_operation[key.operation].append((key, row))
    yield "<h2>What was exercised</h2>"
    legend = "".join(f'<span class="cell {_css(outcome)}">{outcome}</span>' for outcome in _OUTCOMES)
    yield f"<p>{legend}</p>"
    api = ""
    for operation, rows in by_operation.items():
        if operation.partition("/")[0] != api:
            api = operation.partition("/")[0]
            yield f"<h3>{escape(api)}</h3>"
        yield f'<details{_opened(rows)}><summary><span class="name">{escape(operation)}</span>{_bar(rows)}</summary>'
        yield f'<div class="cells">{"".join(_cells(results, rows))}</div></details>'


def _opened(rows: list[tuple[Key, Row]]) -> str:
    return " open" if any(row.outcome == "failed" for _, row in rows) else ""


def _bar(rows: list[tuple[Key, Row]]) -> str:
    shares = {outcome: sum(row.outcome == outcome for _, row in rows) / len(rows) for outcome in _OUTCOMES}
    parts = (f'<i class="{_css(outcome)}" style="width:{100 * share:.1f}%"></i>' for outcome, share in shares.items())
    percent = f"{100 * (1 - shares['not exercised']):.0f} %"
    return f'<span class="soft">{percent}</span><span class="bar">{"".join(parts)}</span>'


def _cells(results: Results, rows: list[tuple[Key, Row]]) -> Iterator[str]:
    for sort in SORTS:
        of_sort = [(key, row) for key, row in rows if key.sort == sort]
        if of_sort:
            yield f"<h4>{_HEADINGS[sort]}</h4>"
        for key, row in of_sort:
            counts = ", ".join(f"{count} {name}" for name, count in row.counts.items() if count)
            title = counts or results.coverage.reason(key)
            name = key.name if row.documented else f"{key.name} (in no document)"
            yield f'<span class="cell {_css(row.outcome)}" title="{escape(title)}">{escape(name)}</span>'


def _css(outcome: str) -> str:
    return outcome.replace(" ", "-")


def _reasons(results: Results) -> Iterator[str]:
    found = {**results.not_exercised(), **{f"test: {reason}": names for reason, names in results.not_asked().items()}}
    if found:
        yield "<h2>What was not exercised, and why</h2><table><tr><th>lines</th><th>why</th><th>which</th></tr>"
        for reason, names in found.items():
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""  # noqa: PLR2004 - what fits a line
            which = escape(", ".join(names[:8]) + more)
            yield f"<tr><td>{len(names)}</td><td>{escape(reason)}</td><td>{which}</td></tr>"
        yield "</table>"


def _streams(results: Results) -> Iterator[str]:
    """Yield the time lines: those of broken streams first."""
    streams = sorted(results.streams, key=lambda stream: not stream["violations"])[:_MAX_STREAMS]
    if streams:
        yield f"<h2>Streams: {len(streams)} of {len(results.streams)}</h2>"
    for stream in streams:
        operation, test = escape(stream["operation"]), escape(stream["test"])
        yield f'<div class="stream"><b>{operation}</b> <span class="soft">{test}</span>'
        yield _time_line(stream["events"])
        yield "".join(f"<pre>{escape(violation)}</pre>" for violation in stream["violations"])
        yield "</div>"


def _time_line(events: list[list[Any]]) -> str:
    """Return a drawing with a lane for each kind and a mark for each event where it came; red where it is wrong."""
    kinds = list(dict.fromkeys(kind for _, kind, *_ in events))
    lanes = {kind: 9 + _LANE * number for number, kind in enumerate(kinds)}
    begin, end = (events[0][0], events[-1][0]) if events else (0.0, 0.0)
    scale = (_WIDTH - _LEFT - 12) / ((end - begin) or 1)
    drawn = [f'<text x="0" y="{y + 4}">{escape(kind)}</text>' for kind, y in lanes.items()]
    drawn += [f'<path d="M{_LEFT} {y}H{_WIDTH}" stroke="#e4e7ec"/>' for y in lanes.values()]
    for number, (at_s, kind, offset, wrong, known) in enumerate(events, 1):
        colour = "#c62f2d" if wrong else "#1a7f4b" if known else "#667085"
        x = _LEFT + 4 + (at_s - begin) * scale
        title = escape(f"event {number}, {kind}, {at_s:.3f} s, byte {offset}")
        place = f'cx="{x:.1f}" cy="{lanes[kind]}" r="4" fill="{colour}" fill-opacity=".8"'
        drawn.append(f"<circle {place}><title>{title}</title></circle>")
    bottom = _LANE * len(kinds) + 14
    drawn.append(f'<text x="{_LEFT}" y="{bottom}">{begin:.2f} s</text>')
    drawn.append(f'<text x="{_WIDTH}" y="{bottom}" text-anchor="end">{end:.2f} s, {len(events)} events</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {bottom + 4}" role="img">{"".join(drawn)}</svg>'
