"""What is wrong with one answer: by the contract of its operation, and by what was to be expected of this request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from contract_tests.http.exchange import Answer, Exchange, Sent, TimedEvent
from contract_tests.judging.choices import Choice, account, choices
from flowcontract.provenance.evidence import BARS, Tier, weakest
from flowcontract.provenance.sources import provenance
from flowcontract.schemas.media_types import find_media
from flowcontract.schemas.violations import Violation, cap_tier, rate
from flowcontract.streams.judge import StreamBudget, StreamJudge
from flowcontract.validation.response import response_violations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contract_tests.http.client import Client, LiveAnswer
    from flowcontract.provenance.sources import Ruling
    from flowcontract.specs.model import Api, Operation, Response
    from flowcontract.streams.contract import StreamContract

MAX_EVENTS = 20_000  # of a stream; one with more counts as endless
MAX_STREAM_BYTES = 64 * 1024 * 1024
_ACCOUNT_BYTES = 64 * 1024  # of a stream, from which choices are told
_ALLOW = ("RFC 9110, 15.5.6",)
_ARRIVE = ("observed: Dify 0.14.0, 1.4.1, 1.14.2; Langflow 1.4.3, 1.13.0",)
_FEW_EVENTS, _LONG_S, _AT_ONCE = 3, 2.0, 0.05  # of how few, and how short a stream nothing is told; the end of it
_SERVER_ERROR = HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer may be, beyond what its operation documents.

    ``because``   the reason in words, for the reader of a failure
    ``statuses``  empty: any that is documented
    ``codes``     error codes that may stand in a refusal; empty: any that is documented
    ``refused``   whether the request is to be refused; None: either way
    ``streamed``  whether the stream is to come rather than the whole body; None: either way
    ``events``    kinds that are to come in the stream
    ``allow``     the methods of which a 405 is to name some, and not the refused one; empty: none need be named
    ``source``    what the expectation rests on
    ``outcome``   the most that a refusal can be demanded with: whether there is one at all
    ``form``      the same for the way it is told: its status and its code
    ``hangs``     a stream may come instead that begins and then never goes on, as a release is known to do
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
    promised: bool = True


ANYTHING = Expected("an answer as documented")


@dataclass(frozen=True, slots=True)
class Verdict:
    """An exchange and what is wrong with it; what it exercised of its operation."""

    exchange: Exchange
    violations: tuple[Violation, ...]
    code: str = ""
    kinds: tuple[str, ...] = ()
    transitions: tuple[tuple[str, str], ...] = ()
    rulings: Mapping[str, Ruling] = field(default_factory=dict)  # of the API
    choices: tuple[Choice, ...] = ()  # what the server did where a ruling leaves it the choice
    missed: int = 0  # the status that was expected, where another one came


class Judge:
    """Follows one answer while it comes, then tells the verdict."""

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
        """Look at the head of an answer; tell whether a stream follows that is judged piece by piece."""
        self._started = live.started
        return self.watch(live, limit_s)

    def watch(self, head: LiveAnswer | Answer, limit_s: float | None = None) -> bool:
        """Do the same for an answer that is there already: of its time nothing is known."""
        contract = _stream_contract(self.operation, head.status, head.headers.get("content-type", ""))
        if contract is None:
            return False
        budget = StreamBudget(events=MAX_EVENTS, bytes=MAX_STREAM_BYTES, seconds=limit_s)
        self.stream = StreamJudge(contract, budget=budget, started=None if limit_s is None else self._started)
        return True

    def feed(self, now: float, piece: bytes) -> Iterator[TimedEvent]:
        """Take a piece of the stream; yield the events that it completed."""
        assert self.stream is not None
        self._text += piece[: _ACCOUNT_BYTES - len(self._text)]
        self._violations += self.stream.feed(piece, now)
        fresh = [TimedEvent(now - self._started, event) for event in self.stream.fresh]
        self.events += fresh
        yield from fresh

    def end(self, now: float, *, broken: bool) -> None:
        """Take the end of the stream. A stream that broke off is not judged for what it still owed."""
        assert self.stream is not None
        if broken:
            self._violations += self.stream.feed(b"", now)
        else:
            self._violations += self.stream.close(now)

    def verdict(self, sent: Sent, answer: Answer) -> Verdict:
        """Tell what is wrong with the answer as a whole."""
        exchange = Exchange(sent, answer, tuple(self.events))
        if self.stream and self.expected.hangs:
            return self._verdict(exchange, [*self._beginning(), *_goes_on(self.stream, self.expected, exchange)])
        body = b"" if self.stream else answer.body
        answered = response_violations(self.api.validators, self.operation, answer.status, answer.headers, body)
        found = [
            *_broken(answer),
            *(_of_status(one, self.operation, self.expected, exchange) for one in answered),
            *self._violations,
            *(_held_back(self.events, self.stream.contract) if self.stream else ()),
            *expectation_violations(self.operation, self.expected, exchange),
        ]
        return self._verdict(exchange, found)

    def _beginning(self) -> Iterator[Violation]:
        """Yield what is wrong with a stream that hangs, besides its silence and the end that it lacks."""
        return (violation for violation in self._violations if violation.rule not in ("silence", "end"))

    def _verdict(self, exchange: Exchange, found: list[Violation]) -> Verdict:
        answer = exchange.answer
        assert answer is not None
        if not self.expected.promised:
            found = [cap_tier(violation, Tier.OBSERVED) for violation in found]
        return Verdict(
            exchange,
            tuple(rate(found, self.api.rulings)),
            error_code(self.operation, exchange),
            tuple(self.stream.kinds) if self.stream else (),
            tuple(sorted(self.stream.transitions)) if self.stream else (),
            self.api.rulings,
            self._choices(exchange),
            0 if self.expected.hangs else missed(self.expected, answer.status),
        )

    def _choices(self, exchange: Exchange) -> tuple[Choice, ...]:
        """Return what the server chose; a stream that is not well shows no choice of order."""
        stream = self.stream
        order = stream.matched.name if stream and stream.complete and stream.matched else ""
        answer = exchange.answer.body[:_ACCOUNT_BYTES] if exchange.answer else b""
        text = (bytes(self._text) if stream else answer).decode("utf-8", "replace")
        return tuple(choices(self.operation, self.api.rulings, account(exchange, text, order)))


def _of_status(violation: Violation, operation: Operation, expected: Expected, exchange: Exchange) -> Violation:
    """Return a violation; one of an undocumented status weighs what the status of this answer can weigh."""
    if violation.rule != "status":
        return violation
    source = expected.source or violation.source
    return replace(violation, source=source, tier=_status_tier(operation, expected, exchange))


def _status_tier(operation: Operation, expected: Expected, exchange: Exchange) -> Tier:
    """Return the most that a status other than the expected one can weigh."""
    if exchange.status >= _SERVER_ERROR:
        return Tier.SERVER_ERROR
    if exchange.status < HTTPStatus.MULTIPLE_CHOICES and not expected.refused:
        return operation.success.tier  # it went well, under another number
    if expected.refused is None:
        return Tier.OBSERVED  # whether such a request is refused, and how
    if not expected.refused:
        return Tier.DOCUMENT
    return expected.form if is_refusal(operation, exchange) else expected.outcome


def unanswered(exchange: Exchange, expected: Expected) -> Verdict:
    """Return the verdict on a request that got no answer."""
    violation = Violation("answer", expected.because, exchange.trouble, source=expected.source, tier=Tier.SERVER_ERROR)
    return Verdict(exchange, (violation,), missed=missed(expected, 0))


def missed(expected: Expected, status: int) -> int:
    """Return the status that was expected where another one came; 0 where expectations were not of one sort."""
    sorts = {wanted // 100 for wanted in expected.statuses}
    return min(expected.statuses) if status not in expected.statuses and len(sorts) == 1 else 0


def ask(client: Client, sent: Sent, judge: Judge, wait_s: float) -> Verdict:
    """Send a request, judge the answer while it comes, as long as no silence lasts longer than `wait_s`."""
    with client.open(sent, read_s=wait_s) as live:
        if not judge.begin(live, client.target.stream_s):
            body = b"".join(piece for _, piece in live.pieces(client.target.stream_s))
            return judge.verdict(sent, live.answer(body))
        for _ in follow(judge, live, client.target.stream_s, wait_s):
            pass
        judge.end(live.now, broken=bool(live.trouble))
        return judge.verdict(sent, live.answer())


def follow(judge: Judge, live: LiveAnswer, limit_s: float, silence_s: float) -> Iterator[TimedEvent]:
    """Yield the events of a stream while they come, until it ends, or nothing but pings came for `silence_s`."""
    assert judge.stream is not None
    aside, heard = judge.stream.contract.anywhere, live.now
    for now, piece in live.pieces(limit_s):
        for timed in judge.feed(now, piece):
            heard = heard if timed.event.kind in aside else now
            yield timed
        if judge.stream.finished or now - heard > silence_s:
            break
    if not judge.stream.finished and live.now - heard >= silence_s:
        live.trouble = f"the stream hangs: no event but pings for {silence_s:g} s"


def _stream_contract(operation: Operation, status: int, content_type: str) -> StreamContract | None:
    response = operation.responses.get(status)
    name = find_media(response.media, content_type) if response else None
    return response.media[name].stream if response and name else None


def _goes_on(stream: StreamJudge, expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    """Yield that a stream came to its end although its request was wrong."""
    if stream.ended:
        got = f"{exchange.status} and a whole stream"
        yield Violation("outcome", f"a refusal: {expected.because}", got, source=expected.source, tier=expected.outcome)


def _held_back(events: list[TimedEvent], contract: StreamContract) -> Iterator[Violation]:
    """Tell a stream whose events all came at its end, although it took seconds: somebody in between collects them."""
    times = [timed.at_s for timed in events if timed.event.kind not in contract.anywhere]
    if len(times) < _FEW_EVENTS or times[-1] < _LONG_S or times[-1] - times[0] > times[-1] * _AT_ONCE:
        return
    got = f"{len(times)} events within {times[-1] - times[0]:.2f} s, after {times[0]:.1f} s without one"
    yield Violation("arrival", "events while the run goes on", got, source=_ARRIVE)


def _broken(answer: Answer) -> Iterator[Violation]:
    if answer.trouble:
        yield Violation("answer", "an answer that comes to its end", answer.trouble, tier=Tier.SERVER_ERROR)


def expectation_violations(operation: Operation, expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    """Yield where an answer is not what was to be expected of the request."""
    status, source = exchange.status, expected.source or operation.provenance
    if status not in operation.responses:
        return  # told already, by the operation's contract
    if expected.statuses and status not in expected.statuses:
        wanted = " or ".join(map(str, sorted(expected.statuses)))
        tier = _status_tier(operation, expected, exchange)
        got = f"{status}{_said(exchange)}"
        yield Violation("status", f"{wanted}: {expected.because}", got, source=source, tier=tier)
        return
    if expected.refused is not None and is_refusal(operation, exchange) != expected.refused:
        wanted = "a refusal" if expected.refused else "no refusal"
        tier = _status_tier(operation, expected, exchange)
        got = f"{status}{_said(exchange)}"
        yield Violation("outcome", f"{wanted}: {expected.because}", got, source=source, tier=tier)
        return
    yield from _code_violations(operation, expected, exchange)
    if expected.streamed is not None and status == operation.success.status:
        yield from _mode_violations(operation, expected, exchange)
    for kind in sorted(expected.events - {timed.event.kind for timed in exchange.events}):
        yield Violation("event", f"{kind}: {expected.because}", "a stream without it", source=source)
    if expected.allow and status == HTTPStatus.METHOD_NOT_ALLOWED:
        yield from _allow_violations(expected, exchange)


def _said(exchange: Exchange) -> str:
    """Return what an answer said, in short."""
    text = exchange.answer.body[:120].decode("utf-8", "replace") if exchange.answer else ""
    return f" {text}" if text else ""


def _code_violations(operation: Operation, expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    """Judge the error code: it is documented for the status, fits the request, and its `status` field is the status."""
    code = error_code(operation, exchange)
    documented = error_codes(operation, exchange.status)
    if not code or not documented:
        return
    response = operation.responses[exchange.status]
    source, tier = response.provenance, weakest((expected.form, _tier_of_codes(response)))
    if code not in documented and not _own_codes(operation, exchange.status):
        yield Violation("code", f"one of {', '.join(documented)}", code, "/code", source=source, tier=tier)
    elif expected.codes and code not in expected.codes:
        wanted = f"{' or '.join(sorted(expected.codes))}: {expected.because}"
        yield Violation("code", wanted, code, "/code", source=expected.source or source, tier=tier)
    told = exchange.json.get("status")
    repeated = any(body.get("status") == exchange.status for body in documented.values())
    if repeated and told not in (None, exchange.status):
        wanted = f"the status of the answer, {exchange.status}"
        yield Violation("equal", wanted, str(told), "/status", source=source, tier=Tier.OBSERVED)


def _tier_of_codes(response: Response) -> Tier:
    """Return how firmly the error codes of a status are demanded: as the firmest of its examples is."""
    examples = [example for media in response.media.values() for example in media.examples.values()]
    return min((example.tier for example in examples), key=BARS.index, default=response.tier)


def _own_codes(operation: Operation, status: int) -> bool:
    """Tell whether the contract's error codes are its own, since no document lists any: then others do as well."""
    return status < 400 and bool(error_codes(operation, status))  # noqa: PLR2004 - HTTP's own range


def _mode_violations(operation: Operation, expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    answer = exchange.answer
    assert answer is not None
    media = operation.success.media
    streamed = any(one.stream for name, one in media.items() if find_media({name: one}, answer.media_type))
    if streamed != expected.streamed:
        wanted = [one for one in media.values() if bool(one.stream) == expected.streamed]
        source = _mode_source(operation) or operation.success.provenance
        names = " or ".join(one.name for one in wanted)
        yield Violation("media-type", f"{names}: {expected.because}", answer.media_type or "none", source=source)


def _mode_source(operation: Operation) -> tuple[str, ...]:
    """Return what the field or parameter rests on by which a request says whether it wants the stream."""
    when = operation.stream.when if operation.stream else {}
    found = [one.provenance for one in operation.parameters if one.name in when.get("query", {})]
    for media in operation.request.values():
        fields = media.schema.get("properties", {})
        found += [provenance(fields[name]) for name in when.get("body", {}) if name in fields]
    return tuple(line for source in found for line in source)


def _allow_violations(expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    """Judge `Allow`; frameworks that keep the methods of a path apart name those of one of them only."""
    assert exchange.answer is not None
    allow = exchange.answer.headers.get("allow", "")
    told = {method.strip().upper() for method in allow.split(",") if method.strip()}
    if not told & expected.allow or exchange.sent.method in told:
        wanted = ", ".join(sorted(expected.allow))
        yield Violation("allow", f"the header `Allow` with methods of {wanted}", allow or "none", source=_ALLOW)


def is_refusal(operation: Operation, exchange: Exchange) -> bool:
    """Tell whether a request was refused: by its status, or, where all is status 200, by the code in the body."""
    return exchange.status >= 400 or bool(error_code(operation, exchange))  # noqa: PLR2004 - HTTP's own range


def error_code(operation: Operation, exchange: Exchange) -> str:
    """Return the error code of an answer as on the wire; '' where it has none or is no refusal."""
    code = exchange.json.get("code") if isinstance(exchange.json, dict) else None
    response = operation.responses.get(exchange.status)
    if not isinstance(code, str) or (response and code == _success_code(response)):
        return ""
    return code


def error_codes(operation: Operation, status: int) -> dict[str, dict[str, Any]]:
    """Return the documented error codes of a status, as on the wire, each with the body of its example."""
    response = operation.responses.get(status)
    if response is None:
        return {}
    examples = [example.value for media in response.media.values() for example in media.examples.values()]
    bodies = [value for value in examples if isinstance(value, dict) and isinstance(value.get("code"), str)]
    return {body["code"]: body for body in bodies if body["code"] != _success_code(response)}


def _success_code(response: Response) -> str | None:
    """Return what stands as `code` in the body of an answer that went well: in the first example of a 2xx."""
    if response.status >= 300:  # noqa: PLR2004 - HTTP's own range
        return None
    first = next((example.value for media in response.media.values() for example in media.examples.values()), None)
    return first.get("code") if isinstance(first, dict) else None


def cause(violation: Violation) -> str:
    """Return what violations of one cause have in common: the rule, and the place without its numbers."""
    where = re.sub(r"/\d+", "/*", violation.where)
    return f"{violation.rule} {where}".strip()


def shortened(violation: Violation, limit: int = 300) -> Violation:
    """Return a violation whose texts fit a report."""
    return replace(violation, expected=_cut(violation.expected, limit), got=_cut(violation.got, limit))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
