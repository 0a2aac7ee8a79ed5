"""Streams of apps that no document describes, recognised by `strangers.yaml`: nobody is to mend a sound one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from flowcontract import yamlio
from flowcontract.pointers import value_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowcontract.streams.contract import StreamContract
    from flowcontract.streams.judge import JudgedEvent


@dataclass(frozen=True, slots=True)
class Stranger:
    """A sort of stream that no document describes; `judged` where the contract holds for it all the same."""

    name: str
    instead: str
    kinds: frozenset[str]
    first: tuple[str, str] | None  # the kind of the first event, and a path that it lacks
    judged: bool

    def __str__(self) -> str:
        """Tell what it is, and what the contract is of."""
        return f"This is {self.name}. {self.instead}"


@cache
def strangers() -> tuple[Stranger, ...]:
    """Return what `strangers.yaml` says."""
    text = files("contract_tests.judging").joinpath("foreign_streams.yaml").read_text(encoding="utf-8")
    return tuple(_stranger(spec) for spec in yamlio.loads(text, name="contract_tests/judging/foreign_streams.yaml"))


def _stranger(spec: dict[str, Any]) -> Stranger:
    first = spec.get("first")
    return Stranger(
        spec["name"],
        spec["instead"],
        frozenset(spec.get("kinds", ())),
        (first["kind"], first["lacks"]) if first else None,
        spec.get("judged", False),
    )


class Recogniser:
    """Follows one stream; `found` is what it is instead, once that is certain."""

    def __init__(self, contract: StreamContract) -> None:
        """Follow a stream that is judged by `contract`."""
        self.found: Stranger | None = None
        self._contract = contract
        self._begun = False

    def see(self, events: Iterable[JudgedEvent]) -> None:
        """Take the next events."""
        for event in events:
            if self.found is None or self.found.judged:
                self.found = next((one for one in strangers() if self._fits(one, event)), self.found)
            self._begun = self._begun or event.kind not in self._contract.anywhere

    def _fits(self, stranger: Stranger, event: JudgedEvent) -> bool:
        if event.kind in stranger.kinds:
            return event.kind not in self._contract.events
        if stranger.first is None or self._begun:
            return False
        kind, path = stranger.first
        return kind in self._contract.events and event.kind == kind and value_at(event.payload, path) is None
