"""Judges an answer: by the contract of its operation, and by what this request leads to expect."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from contract_tests.http.exchange import Answer, Exchange, SentRequest, TimedEvent
from contract_tests.judging.choices import Choice, describe_exchange, find_choices
from flowcontract.provenance.evidence import BARS, Tier, find_weakest
from flowcontract.provenance.sources import read_provenance
from flowcontract.schemas.media_types import find_media
from flowcontract.schemas.violations import Violation, cap_tier, rate
from flowcontract.streams.judge import StreamBudget, StreamJudge
from flowcontract.validation.response import find_response_violations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contract_tests.http.client import Client, LiveAnswer
    from flowcontract.provenance.sources import Ruling
    from flowcontract.specs.model import Api, Operation, Response
    from flowcontract.streams.contract import StreamContract

MAX_EVENTS = 20_000  # of a stream; one with more counts as endless
MAX_STREAM_BYTES = 64 * 1024 * 1024
_ACCOUNT_BYTES = 64 * 1024  # of a stream, in which choices are looked for
_ALLOW = ("RFC 9110, 15.5.6",)
_ARRIVE = ("observed: Dify 0.14.0, 1.4.1, 1.14.2; Langflow 1.4.3, 1.13.0",)
_FEW_EVENTS, _LONG_S, _AT_ONCE = (
    3,
    2.0,
    0.05,
)  # fewer events or a shorter stream show nothing; the share of its time that is its end
_SERVER_ERROR = HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass(frozen=True, slots=True)
class Expected:
    """What to expect of an answer, beyond what its operation documents.

    ``because``   the reason in words, for the reader of a failure
    ``statuses``  empty: any that is documented
    ``codes``     error codes that may stand in a refusal; empty: any that is documented
    ``refused``   whether the request is to be refused; None: either way
    ``streamed``  whether the stream is to come rather than the whole body; None: either way
    ``events``    kinds that are to come in the stream
    ``allow``     the methods of which a 405 is to name some, and not the refused one; empty: none need be named
    ``source``    what the expectation rests on
    ``outcome``   the tier of the demand that there is a refusal at all
    ``form``      the tier of the demand for its status and its code
    ``hangs``     a stream may come instead that begins and then never goes on, as a release is known to do
    ``interrupted``  the run is stopped on the way: its nodes need not finish, whatever it says of its status
    ``promised``  whether a document says anything of such a request; else nothing in its answer is more than observed
    """

    because: str
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()
    refused: bool | None = None
    streamed: bool | None = None
    events: frozenset[str] = frozenset()
    allow: frozenset[str] = frozenset()
    source: tuple[str, ...] = ()
    outcome: Tier = Tier.DOCUMENT
    form: Tier = Tier.DOCUMENT
    hangs: bool = False
    interrupted: bool = False
    promised: bool = True


ANYTHING = Expected("an answer as documented")


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

    def watch(self, head: LiveAnswer | Answer, limit_s: float | None = None) -> bool:
        """Do the same for an answer that has been recorded: its times are not known."""
        contract = _find_stream_contract(self.operation, head.status, head.headers.get("content-type", ""))
        if contract is None:
            return False
        budget = StreamBudget(events=MAX_EVENTS, bytes=MAX_STREAM_BYTES, seconds=limit_s)
        self.stream = StreamJudge(contract, budget=budget, started=None if limit_s is None else self._started)
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
            *(_weigh_status(violation, self.operation, self.expected, exchange) for violation in answered),
            *(violation for violation in self._violations if not self._is_excused(violation)),
            *(_check_buffering(self.events, self.stream.contract) if self.stream else ()),
            *_check_expectations(self.operation, self.expected, exchange),
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


def _weigh_status(violation: Violation, operation: Operation, expected: Expected, exchange: Exchange) -> Violation:
    """Return a violation; that of an undocumented status gets the tier of `_find_status_tier`."""
    if violation.rule != "status":
        return violation
    source = expected.source or violation.source
    return replace(violation, source=source, tier=_find_status_tier(operation, expected, exchange))


def _find_status_tier(operation: Operation, expected: Expected, exchange: Exchange) -> Tier:
    """Return the tier of the violation that a status is not the expected one."""
    if exchange.status >= _SERVER_ERROR:
        return Tier.SERVER_ERROR
    if exchange.status < HTTPStatus.MULTIPLE_CHOICES and not expected.refused:
        return operation.success.tier  # a success, with another status
    if expected.refused is None:
        return Tier.OBSERVED  # whether such a request is refused, and how
    if not expected.refused:
        return Tier.DOCUMENT
    return expected.form if is_refusal(operation, exchange) else expected.outcome


def judge_unanswered(exchange: Exchange, expected: Expected) -> Verdict:
    """Return the verdict on a request without an answer."""
    violation = Violation("answer", expected.because, exchange.trouble, source=expected.source, tier=Tier.SERVER_ERROR)
    return Verdict(exchange, (violation,), missed=find_missed_status(expected, 0))


def find_missed_status(expected: Expected, status: int) -> int:
    """Return the status that was expected instead of the one that came; 0 if several classes of statuses were."""
    sorts = {wanted // 100 for wanted in expected.statuses}
    return min(expected.statuses) if status not in expected.statuses and len(sorts) == 1 else 0


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


def _check_expectations(operation: Operation, expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    """Yield where an answer is not as expected."""
    status, source = exchange.status, expected.source or operation.provenance
    if status not in operation.responses:
        return  # the operation's contract has that violation already
    if expected.statuses and status not in expected.statuses:
        wanted = " or ".join(map(str, sorted(expected.statuses)))
        tier = _find_status_tier(operation, expected, exchange)
        got = f"{status}{_quote_answer(exchange)}"
        yield Violation("status", f"{wanted}: {expected.because}", got, source=source, tier=tier)
        return
    if expected.refused is not None and is_refusal(operation, exchange) != expected.refused:
        wanted = "a refusal" if expected.refused else "no refusal"
        tier = _find_status_tier(operation, expected, exchange)
        got = f"{status}{_quote_answer(exchange)}"
        yield Violation("outcome", f"{wanted}: {expected.because}", got, source=source, tier=tier)
        return
    yield from _check_code(operation, expected, exchange)
    if expected.streamed is not None and status == operation.success.status:
        yield from _check_mode(operation, expected, exchange)
    for kind in sorted(expected.events - {timed.event.kind for timed in exchange.events}):
        yield Violation("event", f"{kind}: {expected.because}", "a stream without it", source=source)
    if expected.allow and status == HTTPStatus.METHOD_NOT_ALLOWED:
        yield from _check_allow(expected, exchange)


def _quote_answer(exchange: Exchange) -> str:
    """Return the beginning of a body."""
    text = exchange.answer.body[:120].decode("utf-8", "replace") if exchange.answer else ""
    return f" {text}" if text else ""


def _check_code(operation: Operation, expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    """Judge the error code: it is documented for the status, fits the request, and its `status` field is the status."""
    code = read_error_code(operation, exchange)
    documented = list_error_codes(operation, exchange.status)
    if not code or not documented:
        return
    response = operation.responses[exchange.status]
    source, tier = response.provenance, find_weakest((expected.form, _find_codes_tier(response)))
    is_open = exchange.status < HTTPStatus.BAD_REQUEST  # no document lists the codes in an envelope with status 200
    if code not in documented and not is_open:
        yield Violation("code", f"one of {', '.join(documented)}", code, "/code", source=source, tier=tier)
    elif expected.codes and code not in expected.codes:
        wanted = f"{' or '.join(sorted(expected.codes))}: {expected.because}"
        yield Violation("code", wanted, code, "/code", source=expected.source or source, tier=tier)
    repeated = exchange.json.get("status")
    is_repeated = any(body.get("status") == exchange.status for body in documented.values())
    if is_repeated and repeated not in (None, exchange.status):
        wanted = f"the status of the answer, {exchange.status}"
        yield Violation("equal", wanted, str(repeated), "/status", source=source, tier=Tier.OBSERVED)


def _find_codes_tier(response: Response) -> Tier:
    """Return the tier of the error codes of a status: the firmest of its examples."""
    examples = [example for media in response.media.values() for example in media.examples.values()]
    return min((example.tier for example in examples), key=BARS.index, default=response.tier)


def _check_mode(operation: Operation, expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    answer = exchange.answer
    assert answer is not None
    media = operation.success.media
    streamed = any(kind.stream for name, kind in media.items() if find_media({name: kind}, answer.media_type))
    if streamed != expected.streamed:
        names = " or ".join(kind.name for kind in media.values() if bool(kind.stream) == expected.streamed)
        source = _find_mode_source(operation) or operation.success.provenance
        yield Violation("media-type", f"{names}: {expected.because}", answer.media_type or "none", source=source)


def _find_mode_source(operation: Operation) -> tuple[str, ...]:
    """Return the source of the field or parameter by which a request says whether it wants the stream."""
    when = operation.stream.when if operation.stream else {}
    found = [parameter.provenance for parameter in operation.parameters if parameter.name in when.get("query", {})]
    for media in operation.request.values():
        fields = media.schema.get("properties", {})
        found += [read_provenance(fields[name]) for name in when.get("body", {}) if name in fields]
    return tuple(line for source in found for line in source)


def _check_allow(expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    """Judge `Allow`; some frameworks name only the methods of one of several routes with the same path."""
    assert exchange.answer is not None
    allow = exchange.answer.headers.get("allow", "")
    allowed = {method.strip().upper() for method in allow.split(",") if method.strip()}
    if not allowed & expected.allow or exchange.sent.method in allowed:
        wanted = ", ".join(sorted(expected.allow))
        yield Violation("allow", f"the header `Allow` with methods of {wanted}", allow or "none", source=_ALLOW)


def is_refusal(operation: Operation, exchange: Exchange) -> bool:
    """Tell whether a request was refused: by its status, or, where all is status 200, by the code in the body."""
    return exchange.status >= 400 or bool(read_error_code(operation, exchange))  # noqa: PLR2004 - HTTP's own range


def read_error_code(operation: Operation, exchange: Exchange) -> str:
    """Return the error code of an answer as on the wire; '' where it has none or is no refusal."""
    code = exchange.json.get("code") if isinstance(exchange.json, dict) else None
    response = operation.responses.get(exchange.status)
    if not isinstance(code, str) or (response and code == _read_success_code(response)):
        return ""
    return code


def list_error_codes(operation: Operation, status: int) -> dict[str, dict[str, Any]]:
    """Return the documented error codes of a status, as on the wire, each with the body of its example."""
    response = operation.responses.get(status)
    if response is None:
        return {}
    examples = [example.value for media in response.media.values() for example in media.examples.values()]
    bodies = [value for value in examples if isinstance(value, dict) and isinstance(value.get("code"), str)]
    return {body["code"]: body for body in bodies if body["code"] != _read_success_code(response)}


def _read_success_code(response: Response) -> str | None:
    """Return the `code` in the body of a success: that of the first example of a 2xx."""
    if response.status >= 300:  # noqa: PLR2004 - HTTP's own range
        return None
    first = next((example.value for media in response.media.values() for example in media.examples.values()), None)
    return first.get("code") if isinstance(first, dict) else None


def describe_former_cause(violation: Violation) -> str:
    """Return the cause of a violation as earlier versions wrote it: its rule, and its place without numbers."""
    where = re.sub(r"/\d+", "/*", violation.where)
    return f"{violation.rule} {where}".strip()


def shorten(violation: Violation, limit: int = 300) -> Violation:
    """Return a violation whose texts fit a report."""
    return replace(violation, expected=_truncate(violation.expected, limit), got=_truncate(violation.got, limit))


def _truncate(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
