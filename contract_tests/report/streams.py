"""Reports on one raw stream: its events as they arrive, the violations, and the verdict."""

from __future__ import annotations

from itertools import groupby, islice
from typing import TYPE_CHECKING, NamedTuple

from contract_tests.judging.foreign_streams import Recogniser
from flowcontract.provenance.evidence import DEFAULT_BAR, Tier, fails
from flowcontract.schemas.violations import rate
from flowcontract.streams.judge import StreamBudget, StreamJudge

if TYPE_CHECKING:
    from flowcontract.schemas.violations import Violation
    from flowcontract.streams.contract import StreamContract

_NAMED = 10  # unknown kinds in a verdict


class Line(NamedTuple):
    """A line to print; `event` if it only says that an event came."""

    text: str
    event: bool = False


class StreamReport:
    """Judges a stream, and collects the lines to print.

    ``broken``    the number of violations of a tier that is demanded; ``notes`` that of the others
    ``known``     the number of events whose kind the contract names
    ``unjudged``  why there is no verdict; empty where there is one
    """

    def __init__(
        self,
        operation: str,
        contract: StreamContract,
        budget: StreamBudget,
        *,
        started: float | None = None,
        demand: Tier = DEFAULT_BAR,
    ) -> None:
        """Judge by the contract of `operation`, within `budget`, from the time `started` on."""
        self.operation = operation
        self.broken = 0
        self.notes = 0
        self.known = 0
        self._demand = demand
        self._rulings = contract.rulings
        self.unjudged = ""
        self._lines: list[Line] = []
        self._judge = StreamJudge(contract, budget=budget, started=started)
        self._recogniser = Recogniser(contract)

    @property
    def finished(self) -> bool:
        """Whether the judge needs no more of the stream."""
        return self._judge.finished

    def feed(self, data: bytes, now: float | None) -> None:
        """Add bytes that arrived at the time `now`."""
        found = self._judge.feed(data, now)
        fresh = self._judge.fresh
        self._recogniser.feed(fresh)
        foreign = self._recogniser.found
        if foreign and not foreign.judged:
            self.unjudged = str(foreign)
        by_event = {number: list(group) for number, group in groupby(found, key=lambda violation: violation.event)}
        for event in fresh:
            self.known += event.known
            meant = self._judge.misspelt.get(event.kind)
            guess = f": did you mean {meant}?" if meant else ""
            remark = "" if event.known else f"  (no document names it{guess})"
            self._lines.append(Line(f"{event.number:>6}  byte {event.offset:<8} {event.kind}{remark}", True))
            self._add_violations(by_event.pop(event.number, []))
        for left in by_event.values():
            self._add_violations(left)

    def close(self, now: float | None) -> None:
        """End the stream, and add the verdict."""
        self._add_violations(self._judge.close(now))
        foreign = self._recogniser.found
        if foreign and not self.unjudged:
            self.note(str(foreign))
        self._lines.append(Line(f"{self._format_verdict()} ({self._judge.count} events)"))

    def note(self, text: str) -> None:
        """Add a note."""
        self._lines.append(Line(f"  note: {text}"))

    def take_lines(self) -> list[Line]:
        """Return the lines that were added since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def _add_violations(self, found: list[Violation]) -> None:
        if self.unjudged:
            return
        for violation in rate(found, self._rulings):
            red = fails(violation.tier, self._demand)
            self.broken += red
            self.notes += not red
            place = "" if violation.event is None else f" at event {violation.event}"
            place += "" if violation.offset is None else f", byte {violation.offset}"
            place += f", {violation.where}" if violation.where else ""
            texts = [f"  {'WRONG' if red else 'note:'} {violation.rule}{place}"]
            texts += [f"        expected  {violation.expected}", f"        got       {violation.got}"]
            texts += [f"        source    {'; '.join(violation.source)}"] if violation.source else []
            texts += [f"        rests on  {violation.tier}"]
            self._lines += map(Line, texts)

    def _format_verdict(self) -> str:
        if self.unjudged:
            return f"not judged: {self.unjudged}"
        matched = self._judge.matched
        if self.broken:
            return f"broken: {self.broken} violation{'s' if self.broken > 1 else ''}"
        notes = f"; {self.notes} note{'s' if self.notes > 1 else ''} beyond what is demanded" if self.notes else ""
        if matched is None:
            return f"well: follows no order, which nothing demands{notes}{self._describe_unknown()}"
        return f'well: follows the {matched.tier} order "{matched.name}"{notes}{self._describe_unknown()}'

    def _describe_unknown(self) -> str:
        kinds = self._judge.unknown
        if not kinds:
            return ""
        slips = self._judge.misspelt
        named = [f"{kind} (did you mean {slips[kind]}?)" if kind in slips else kind for kind in islice(kinds, _NAMED)]
        more = f" and {len(kinds) - _NAMED} more" if len(kinds) > _NAMED else ""
        return f"; no document names {', '.join(named)}{more}"
