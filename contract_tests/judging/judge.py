"""Judges an answer while it arrives: by the contract of its operation, and by what this request leads to expect."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from contract_tests.http.exchange import Answer, Exchange, SentRequest, TimedEvent
from contract_tests.judging.choices import Choice, describe_exchange, find_choices
from contract_tests.judging.error_codes import read_error_code
from contract_tests.judging.expectations import check_expectations, find_missed_status, weigh_status
from flowcontract.provenance.evidence import Tier
from flowcontract.schemas.media_types import find_media
from flowcontract.schemas.violations import Violation, cap_tier, rate
from flowcontract.streams.judge import StreamBudget, StreamJudge
from flowcontract.validation.response import find_response_violations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from contract_tests.http.client import Client, LiveAnswer
    from contract_tests.judging.expectations import Expected
    from flowcontract.provenance.sources import Ruling
    from flowcontract.specs.model import Api, Operation
    from flowcontract.streams.contract import StreamContract

MAX_EVENTS = 20_000  # of a stream; one with more counts as endless
MAX_STREAM_BYTES = 64 * 1024 * 1024
_ACCOUNT_BYTES = 64 * 1024  # of a stream, in which choices are looked for
_ARRIVE = ("observed: Dify 0.14.0, 1.4.1, 1.14.2; Langflow 1.4.3, 1.13.0",)
_FEW_EVENTS, _LONG_S = 3, 2.0  # fewer events, or a shorter stream, show nothing
_AT_ONCE = 0.05  # the share of a stream's time that is its end


@dataclass(frozen=True, slots=True)
class Verdict:
    """An exchange, what is wrong with it, and what it exercised of its operation."""

    exchange: Exchange
    violations: tuple[Violation, ...]
    code: str = ""
    kinds: tuple[str, ...] = ()
    transitions: tuple[tuple[str, str], ...] = ()
    rulings: Mapping[str, Ruling] = field(default_factory=dict)  # of the API
    choices: tuple[Choice, ...] = ()  # what the server did where a ruling accepts several behaviours
    missed: int = 0  # the status that was expected, where another one came


class Judge:
    """Follows one answer while it arrives, then gives the verdict."""

    def __init__(self, api: Api, operation: Operation, expected: Expected) -> None:
        """Judge an answer of `operation`."""
        self.api = api
        self.operation = operation
        self.expected = expected
        self.stream: StreamJudge | None = None
        self.events: list[TimedEvent] = []
        self._violations: list[Violation] = []
        self._started = 0.0
        self._text = bytearray()

    def begin(self, live: LiveAnswer, limit_s: float) -> bool:
        """Start with the head of an answer; tell whether a stream follows that is to be fed piece by piece."""
        self._started = live.started
        return self.watch(live, limit_s)

    def watch(self, head: LiveAnswer | Answer, limit_s: float | None = None, *, without: Collection[str] = ()) -> bool:
        """Start with the head of a recorded answer, whose times are not known; tell whether a stream follows.

        ``without``  rules of the stream's contract to leave out
        """
        contract = _find_stream_contract(self.operation, head.status, head.headers.get("content-type", ""))
        if contract is None:
            return False
        budget = StreamBudget(events=MAX_EVENTS, bytes=MAX_STREAM_BYTES, seconds=limit_s)
        started = None if limit_s is None else self._started
        self.stream = StreamJudge(contract, budget=budget, started=started, without=without)
        return True

    def feed(self, now: float, piece: bytes) -> Iterator[TimedEvent]:
        """Add a piece of the stream; yield the events that it completes."""
        assert self.stream is not None
        self._text += piece[: _ACCOUNT_BYTES - len(self._text)]
        self._violations += self.stream.feed(piece, now)
        fresh = [TimedEvent(now - self._started, event) for event in self.stream.fresh]
        self.events += fresh
        yield from fresh

    def end(self, now: float, *, broken: bool) -> None:
        """End the stream. One that broke off is not judged for what is missing at its end."""
        assert self.stream is not None
        if broken:
            self._violations += self.stream.feed(b"", now)
        else:
            self._violations += self.stream.close(now)

    def conclude(self, sent: SentRequest, answer: Answer) -> Verdict:
        """Return the verdict on the whole answer."""
        exchange = Exchange(sent, answer, tuple(self.events))
        if self.stream and self.expected.hangs:
            begun = [violation for violation in self._violations if violation.rule not in ("silence", "end")]
            return self._build_verdict(exchange, [*begun, *_check_goes_on(self.stream, self.expected, exchange)])
        body = b"" if self.stream else answer.body
        answered = find_response_violations(self.api.validators, self.operation, answer.status, answer.headers, body)
        found = [
            *_check_end(answer),
            *(weigh_status(violation, self.operation, self.expected, exchange) for violation in answered),
            *(violation for violation in self._violations if not self._is_excused(violation)),
            *(_check_buffering(self.events, self.stream.contract) if self.stream else ()),
            *check_expectations(self.operation, self.expected, exchange),
        ]
        return self._build_verdict(exchange, found)

    def _is_excused(self, violation: Violation) -> bool:
        """Tell whether a violation is only that nodes of a run that was stopped did not finish."""
        return self.expected.interrupted and violation.rule == "pairs" and violation.got.startswith("still open")

    def _build_verdict(self, exchange: Exchange, found: list[Violation]) -> Verdict:
        answer = exchange.answer
        assert answer is not None
        if not self.expected.promised:
            found = [cap_tier(violation, Tier.OBSERVED) for violation in found]
        return Verdict(
            exchange,
            tuple(rate(found, self.api.rulings)),
            read_error_code(self.operation, exchange),
            tuple(self.stream.kinds) if self.stream else (),
            tuple(sorted(self.stream.transitions)) if self.stream else (),
            self.api.rulings,
            self._find_choices(exchange),
            0 if self.expected.hangs else find_missed_status(self.expected, answer.status),
        )

    def _find_choices(self, exchange: Exchange) -> tuple[Choice, ...]:
        """Return what the server chose; a stream that breaks its contract shows no choice of order."""
        stream = self.stream
        order = stream.matched.name if stream and stream.complete and stream.matched else ""
        answer = exchange.answer.body[:_ACCOUNT_BYTES] if exchange.answer else b""
        text = (bytes(self._text) if stream else answer).decode("utf-8", "replace")
        return tuple(find_choices(self.operation, self.api.rulings, describe_exchange(exchange, text, order)))


def judge_unanswered(exchange: Exchange, expected: Expected) -> Verdict:
    """Return the verdict on a request without an answer."""
    violation = Violation("answer", expected.because, exchange.trouble, source=expected.source, tier=Tier.SERVER_ERROR)
    return Verdict(exchange, (violation,), missed=find_missed_status(expected, 0))


def ask(client: Client, sent: SentRequest, judge: Judge, wait_s: float) -> Verdict:
    """Send a request and judge the answer while it arrives; give up after `wait_s` of silence."""
    with client.open(sent, read_s=wait_s) as live:
        if not judge.begin(live, client.target.stream_s):
            body = b"".join(piece for _, piece in live.read_pieces(client.target.stream_s))
            return judge.conclude(sent, live.to_answer(body))
        for _ in follow(judge, live, client.target.stream_s, wait_s):
            pass
        judge.end(live.now, broken=bool(live.trouble))
        return judge.conclude(sent, live.to_answer())


def follow(judge: Judge, live: LiveAnswer, limit_s: float, silence_s: float) -> Iterator[TimedEvent]:
    """Yield the events of a stream as they arrive, until it ends, or nothing but pings came for `silence_s`."""
    assert judge.stream is not None
    ignored, last_s = judge.stream.contract.anywhere, live.now
    for now, piece in live.read_pieces(limit_s):
        for timed in judge.feed(now, piece):
            last_s = last_s if timed.event.kind in ignored else now
            yield timed
        if judge.stream.finished or now - last_s > silence_s:
            break
    if not judge.stream.finished and live.now - last_s >= silence_s:
        live.trouble = f"the stream hangs: no event but pings for {silence_s:g} s"


def _find_stream_contract(operation: Operation, status: int, content_type: str) -> StreamContract | None:
    response = operation.responses.get(status)
    name = find_media(response.media, content_type) if response else None
    return response.media[name].stream if response and name else None


def _check_goes_on(stream: StreamJudge, expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    """Yield a violation where a stream ended although its request was wrong."""
    if stream.ended:
        got = f"{exchange.status} and a whole stream"
        yield Violation("outcome", f"a refusal: {expected.because}", got, source=expected.source, tier=expected.outcome)


def _check_buffering(events: list[TimedEvent], contract: StreamContract) -> Iterator[Violation]:
    """Yield a violation where all events arrived at the end of a long stream: something in between buffers them."""
    times = [timed.at_s for timed in events if timed.event.kind not in contract.anywhere]
    if len(times) < _FEW_EVENTS or times[-1] < _LONG_S or times[-1] - times[0] > times[-1] * _AT_ONCE:
        return
    got = f"{len(times)} events within {times[-1] - times[0]:.2f} s, after {times[0]:.1f} s without one"
    yield Violation("arrival", "events while the run goes on", got, source=_ARRIVE)


def _check_end(answer: Answer) -> Iterator[Violation]:
    if answer.trouble:
        yield Violation("answer", "an answer that comes to its end", answer.trouble, tier=Tier.SERVER_ERROR)


def describe_former_cause(violation: Violation) -> str:
    """Return the cause of a violation as earlier versions wrote it: its rule, and its place without numbers."""
    where = re.sub(r"/\d+", "/*", violation.where)
    return f"{violation.rule} {where}".strip()


def shorten(violation: Violation, limit: int = 300) -> Violation:
    """Return a violation whose texts fit a report."""
    return replace(violation, expected=_truncate(violation.expected, limit), got=_truncate(violation.got, limit))


def _truncate(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
