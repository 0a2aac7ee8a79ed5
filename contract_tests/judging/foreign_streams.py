"""Recognises streams of apps that no document describes (`foreign_streams.yaml`): they are not wrong."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from flowcontract import yamlio
from flowcontract.pointers import get_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowcontract.streams.contract import StreamContract
    from flowcontract.streams.judge import JudgedEvent


@dataclass(frozen=True, slots=True)
class ForeignStream:
    """A sort of stream that no document describes; `judged` where the contract holds for it nevertheless."""

    name: str
    instead: str
    kinds: frozenset[str]
    first: tuple[str, str] | None  # the kind of the first event, and a path that it lacks
    judged: bool

    def __str__(self) -> str:
        """Return what it is, and what to do instead."""
        return f"This is {self.name}. {self.instead}"


@cache
def read_foreign_streams() -> tuple[ForeignStream, ...]:
    """Return the content of `foreign_streams.yaml`."""
    text = files("contract_tests.judging").joinpath("foreign_streams.yaml").read_text(encoding="utf-8")
    return tuple(
        _read_foreign_stream(spec) for spec in yamlio.loads(text, name="contract_tests/judging/foreign_streams.yaml")
    )


def _read_foreign_stream(spec: dict[str, Any]) -> ForeignStream:
    first = spec.get("first")
    return ForeignStream(
        spec["name"],
        spec["instead"],
        frozenset(spec.get("kinds", ())),
        (first["kind"], first["lacks"]) if first else None,
        spec.get("judged", False),
    )


class Recogniser:
    """Follows one stream; `found` is the foreign stream that it is, once that is certain."""

    def __init__(self, contract: StreamContract) -> None:
        """Follow a stream that is judged by `contract`."""
        self.found: ForeignStream | None = None
        self._contract = contract
        self._begun = False

    def feed(self, events: Iterable[JudgedEvent]) -> None:
        """Add the next events."""
        for event in events:
            if self.found is None or self.found.judged:
                self.found = next(
                    (foreign for foreign in read_foreign_streams() if self._matches(foreign, event)), self.found
                )
            self._begun = self._begun or event.kind not in self._contract.anywhere

    def _matches(self, foreign: ForeignStream, event: JudgedEvent) -> bool:
        if event.kind in foreign.kinds:
            return event.kind not in self._contract.events
        if foreign.first is None or self._begun:
            return False
        kind, path = foreign.first
        return kind in self._contract.events and event.kind == kind and get_value(event.payload, path) is None
