"""The stream contract, and the judge of a stream, event by event, while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flowcontract.violations import Violation


@dataclass(frozen=True, slots=True)
class EventSchema:
    """What the contract says of one kind of event.

    ``kind``      the name on the wire
    ``pointer``   JSON pointer of the schema within the bundle
    ``schema``    the schema, references resolved at least as far as field paths are looked up in it
    ``validate``  payload -> violations (``where`` is a pointer into the payload)
    ``source``    ``x-source`` or ``x-observed`` of the event
    """

    kind: str
    pointer: str
    schema: Mapping[str, Any]
    validate: Callable[[object], list[Violation]]
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamContract:
    """An ``x-stream`` with the kinds and schemas of its events."""

    spec: Mapping[str, Any]
    events: Mapping[str, EventSchema]

    @classmethod
    def from_spec(cls, x_stream: Mapping[str, Any], events: Mapping[str, EventSchema]) -> StreamContract:
        """Read an ``x-stream`` mapping; ``events`` maps every named kind to its schema."""
        return cls(x_stream, events)
