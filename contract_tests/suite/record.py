"""What one test saw: the failures, what of the contract it exercised, the streams, and why something was skipped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from contract_tests.judging.causes import describe_cause
from contract_tests.judging.judge import shorten
from contract_tests.report.deviations import Names, name_difference
from contract_tests.report.hiding import hide, hide_json
from contract_tests.report.shapes import describe_answer
from flowcontract.output.secrets import Secrets
from flowcontract.provenance.evidence import DEFAULT_BAR, Tier, fails, list_cited_rulings, list_quotes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contract_tests.http.exchange import SentRequest
    from contract_tests.judging.choices import Choice
    from contract_tests.judging.judge import Verdict
    from contract_tests.report.deviations import Deviations
    from flowcontract.provenance.sources import Ruling
    from flowcontract.schemas.violations import Violation
    from flowcontract.specs.model import Operation

_MAX_EVENTS, _MAX_KIND = 500, 100  # events of a stream, and characters of a kind, that a report shows


@dataclass(frozen=True, slots=True)
class Failure:
    """A violation and the request that showed it."""

    operation: str
    violation: Violation
    curl: str = ""
    rulings: tuple[Ruling, ...] = ()  # that the violation's source names

    def list_names(self, test: str) -> Names:
        """Return the ids by which a deviations file may know this failure of a test."""
        return name_difference(test, self.operation, self.violation)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        violation = shorten(self.violation)
        names = ("rule", "expected", "got", "where", "event", "offset")
        fields = {name: getattr(violation, name) for name in names}
        more = {"source": list(violation.source), "cause": describe_cause(self.violation), "curl": self.curl}
        evidence = {
            "tier": str(violation.tier),
            "quotes": [quote._asdict() for quote in list_quotes(violation.source)],
            "rulings": [
                {"name": ruling.name, "decision": ruling.decision, "why": ruling.why} for ruling in self.rulings
            ],
        }
        return {"operation": self.operation, **fields, **more, **evidence}

    def as_known(self, test: str, deviations: Deviations) -> dict[str, Any]:
        """Return it as plain JSON, with its id and the entry of the deviations file that covers it.

        ``known``  the id of that entry; '' where there is none, or it has expired
        ``entry``  the same, expired or not
        """
        found = self.list_names(test)
        entry, known = deviations.find_entry(*found), deviations.find_valid_entry(*found)
        about = {"known": known.id if known else "", "entry": entry.id if entry else ""}
        reason = entry.reason if entry else ""
        if entry and not known:
            reason = f"was accepted until {entry.expires}: {reason}"
        return {**self.as_json(), "id": found.id, **about, "reason": reason, "fuzzed": test.startswith("fuzzing/")}


class Observation(NamedTuple):
    """A line of the coverage matrix that an exchange exercised; ``sort`` is status, code, event or transition."""

    operation: str
    sort: str
    name: str
    passed: bool


class EventMark(NamedTuple):
    """An event on a stream's time line."""

    at_s: float
    kind: str
    offset: int
    wrong: bool
    known: bool


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """A stream as a report shows it: its first events, and the number of the event (or None) of each violation."""

    operation: str
    events: tuple[EventMark, ...]
    total: int
    violations: tuple[str, ...]
    wrong: tuple[int | None, ...]

    @classmethod
    def from_verdict(cls, operation: Operation, verdict: Verdict) -> StreamSummary:
        """Summarize the stream of a verdict."""
        wrong = tuple(violation.event for violation in verdict.violations)
        events = tuple(
            EventMark(
                round(timed.at_s, 4),
                timed.event.kind[:_MAX_KIND],
                timed.event.offset,
                timed.event.number in wrong,
                timed.event.known,
            )
            for timed in verdict.exchange.events[:_MAX_EVENTS]
        )
        violations = tuple(str(shorten(violation)) for violation in verdict.violations)
        return cls(operation.name, events, len(verdict.exchange.events), violations, wrong)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "operation": self.operation,
            "events": [list(event) for event in self.events],
            "total": self.total,
            "violations": list(self.violations),
            "wrong": list(self.wrong),
        }


@dataclass(slots=True)
class Record:
    """Collects what one test saw; what it collects is frozen.

    ``demand``   what rests on less is a note, and leaves its line of the matrix passed
    ``last``     the last request, which further violations are attributed to
    ``skipped``  operation, or `operation|sort|name` -> why it was not exercised
    """

    demand: Tier = DEFAULT_BAR
    failures: list[Failure] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    seen: list[Observation] = field(default_factory=list)
    streams: list[StreamSummary] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)  # what they look like, for later runs
    exchanges: int = 0
    last: SentRequest | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=Secrets)

    def note(self, operation: Operation, verdict: Verdict) -> None:
        """Add an exchange and its verdict."""
        self.exchanges += 1
        self.last = verdict.exchange.sent
        for violation in verdict.violations:
            self.fail(operation, violation, verdict.rulings)
        self.choices += verdict.choices
        self.seen += _observe(operation, verdict, self.demand)
        self.answers.append(describe_answer(operation, verdict))
        if verdict.exchange.events:
            self.streams.append(StreamSummary.from_verdict(operation, verdict))

    def fail(self, operation: Operation, violation: Violation, rulings: Mapping[str, Ruling]) -> None:
        """Add a violation that the last exchange showed; `rulings` are those of the API."""
        expected, got, where = (
            hide(text, self.secrets) for text in (violation.expected, violation.got, violation.where)
        )
        hidden = replace(violation, expected=expected, got=got, where=where)
        curl = self.last.to_curl() if self.last else ""
        self.failures.append(Failure(operation.name, hidden, curl, list_cited_rulings(violation.source, rulings)))

    def as_json(self, test: str, deviations: Deviations) -> dict[str, Any]:
        """Return it as plain JSON; each failure with the id that an entry of known deviations would have."""
        others = {
            "choices": [choice._asdict() for choice in self.choices],
            "seen": [list(observation) for observation in self.seen],  # xdist cannot send named tuples
            "streams": [stream.as_json() for stream in self.streams],
            "answers": self.answers,
            "exchanges": self.exchanges,
            "skipped": self.skipped,
        }
        failures = [failure.as_known(test, deviations) for failure in self.failures]
        return {"test": test, "failures": failures, **hide_json(others, self.secrets)}


def _observe(operation: Operation, verdict: Verdict, demand: Tier) -> Iterator[Observation]:
    """Yield the lines of the matrix that an exchange exercised, and whether what is demanded held there."""
    demanded = [violation for violation in verdict.violations if fails(violation.tier, demand)]
    passed = not demanded
    status = verdict.exchange.status if passed else verdict.missed or verdict.exchange.status
    if status:
        yield Observation(operation.name, "status", str(status), passed)
    if verdict.code:
        yield Observation(operation.name, "code", f"{verdict.exchange.status} {verdict.code}", passed)
    wrong = _list_kinds(verdict, {violation.event for violation in demanded})
    misplaced = _list_kinds(verdict, {violation.event for violation in demanded if violation.rule in ("order", "end")})
    for kind in verdict.kinds:
        yield Observation(operation.name, "event", kind, kind not in wrong)
    for before, kind in verdict.transitions:
        yield Observation(operation.name, "transition", f"{before or 'start'} > {kind}", kind not in misplaced)


def _list_kinds(verdict: Verdict, numbers: set[int | None]) -> set[str]:
    """Return the kinds of the events with some numbers."""
    return {timed.event.kind for timed in verdict.exchange.events if timed.event.number in numbers}
