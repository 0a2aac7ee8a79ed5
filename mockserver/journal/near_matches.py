"""Why a scenario of one's own did not answer: what a remembered request lacks of each, the nearest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from flowcontract.scenarios.expressions import RequestView

if TYPE_CHECKING:
    from flowcontract.scenarios import ScenarioSet
    from flowcontract.specs.model import Operation
    from mockserver.journal.entry import Entry

_SHOWN = 20


def list_near_matches(entry: Entry, operation: Operation, scenarios: ScenarioSet) -> list[dict[str, Any]]:
    """Return for the scenarios that belong to requests what this one lacks, `[{scenario, lacks: [sentence]}]`.

    Nothing is lacking where it is another thing that kept it from answering: a preference, `times`, `after`, an error.
    """
    view = _build_view(entry)
    found = {
        **scenarios.find_differences(operation, view),
        **scenarios.find_differences(operation, view, streaming=True),
    }
    nearest = sorted(found.items(), key=lambda item: len(item[1]))
    return [{"scenario": key, "lacks": lacks} for key, lacks in nearest[:_SHOWN]]


def _build_view(entry: Entry) -> RequestView:
    """Return what of a request is remembered; secrets are masked in it."""
    query = {
        name: values[0] if len(values) == 1 else values
        for name, values in parse_qs(entry.query, keep_blank_values=True).items()
    }
    headers = {name.lower(): value for name, value in entry.headers}
    return RequestView(method=entry.method, query=query, headers=headers, body=_read_body(entry))


def _read_body(entry: Entry) -> Any:
    if entry.form is not None:
        return entry.form
    try:
        return entry.json
    except ValueError:
        return None
