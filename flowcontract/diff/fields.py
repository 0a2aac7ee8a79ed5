"""What a difference of two schemas means to those who send what they describe, and to those who read it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowcontract.diff.change import Change, Level, get_answer_levels, get_request_levels
from flowcontract.diff.schemas import ADDED, FORBIDDEN, REMOVED

if TYPE_CHECKING:
    from flowcontract.diff.schemas import Difference

# A property that came or went without being required: for clients, for servers.
_OF_REQUESTS = {
    ADDED: (Level.SAFE, Level.LOOK),
    REMOVED: (Level.LOOK, Level.SAFE),
    FORBIDDEN: (Level.BREAKING, Level.SAFE),
}
_OF_ANSWERS = {
    ADDED: (Level.SAFE, Level.SAFE),
    REMOVED: (Level.LOOK, Level.SAFE),
    FORBIDDEN: (Level.LOOK, Level.BREAKING),
}


def describe_request(operation: str, place: str, difference: Difference) -> Change:
    """Return a difference of what clients send, as a change."""
    levels = _OF_REQUESTS[difference.what] if difference.effect is None else get_request_levels(difference.effect)
    return _describe(operation, place, difference, levels)


def describe_answer(operation: str, place: str, difference: Difference) -> Change:
    """Return a difference of what servers send, as a change."""
    levels = _OF_ANSWERS[difference.what] if difference.effect is None else get_answer_levels(difference.effect)
    return _describe(operation, place, difference, levels)


def _describe(operation: str, place: str, difference: Difference, levels: tuple[Level, Level]) -> Change:
    path, within = ".".join(difference.path), ".".join(difference.within)
    change = Change(operation, f"{place} field {path}" if path else place, difference.what, *levels)
    return replace(change, schema=difference.schema, field=within, user=place) if difference.schema else change
