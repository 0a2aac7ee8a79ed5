"""The violation: one difference between what came and what the contract demands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowcontract.provenance.evidence import Tier, find_tier, find_weakest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowcontract.provenance.sources import Ruling


@dataclass(frozen=True, slots=True)
class Violation:
    """One difference, with everything needed to correct the server.

    ``rule``      the name of the rule that was broken (``order``, ``constant``, ``schema``, ...)
    ``expected``  what the contract allows there, in words
    ``got``       what came instead, in words
    ``where``     JSON pointer into the body or the event's payload; empty for the whole of it
    ``event``     number of the event within its stream, from 1; None outside a stream
    ``offset``    byte offset of the event's first byte within its stream; None outside a stream
    ``source``    the lines the rule rests on: ``001:25-58``, the ruling, or where it was observed
    ``tier``      how firm that is, which decides whether the violation fails a run; at first an upper bound, which
                  `rate` lowers to what the sources support
    """

    rule: str
    expected: str
    got: str
    where: str = ""
    event: int | None = None
    offset: int | None = None
    source: tuple[str, ...] = ()
    tier: Tier = Tier.DOCUMENT

    def __str__(self) -> str:
        """Return the violation in one line: where, rule, expected, got, source."""
        place = [f"event {self.event}"] if self.event is not None else []
        place += [f"byte {self.offset}"] if self.offset is not None else []
        place += [self.where] if self.where else []
        head = f"{' '.join(place)}: {self.rule}" if place else self.rule
        tail = f" ({', '.join(self.source)})" if self.source else ""
        return " ".join(f"{head}: expected {self.expected}; got {self.got}{tail}".split())


def rate(violations: Iterable[Violation], rulings: Mapping[str, Ruling]) -> list[Violation]:
    """Return violations with the tiers that their sources support; one that is weaker already stays so."""
    return [cap_tier(violation, find_tier(violation.source, rulings)) for violation in violations]


def cap_tier(violation: Violation, tier: Tier) -> Violation:
    """Return a violation whose tier is at most the given one; a server error stays a server error."""
    if violation.tier is Tier.SERVER_ERROR:
        return violation
    return replace(violation, tier=find_weakest((violation.tier, tier)))
