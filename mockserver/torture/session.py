"""Whether a client copes: one fault after the other, what was sent, what the client understood of it, and a verdict.

Each case has a key of its own, and whatever is asked with that key suffers the case's faults; so any client can be
driven, also one that can send nothing else of ours.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlencode

from flowcontract.errors import UnknownNameError
from flowcontract.output.printable import make_printable
from flowcontract.pointers import get_value
from flowcontract.scenarios.streaming import ask_for_stream
from flowcontract.specs.examples import list_example_requests
from mockserver.faults import FAULTS, FaultError, parse
from mockserver.http.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flowcontract.scenarios import Piece
    from flowcontract.specs.model import Api, Operation
    from flowcontract.streams.contract import StreamContract
    from mockserver.faults import Harm
    from mockserver.faults.context import FaultContext
    from mockserver.http.messages import Reply

Outcome = Literal["survived", "misread", "hung", "crashed", "trusted a broken stream", "not run"]
_QUICK = {
    "latency": "latency=50",
    "latency-lognormal": "latency-lognormal=20",
    "rate-limit": "rate-limit=0/5",
    "silence": "silence=0.3",
    "slow-first": "slow-first=0.3",
    "jitter": "jitter=2",
    "drip": "drip=50000",
    "tiny": "tiny=20000",
    "cut": "cut=1000",
    "close": "close=1000",
    "endless": "endless=1",
}
"""Values with which a case needs no patience. Silence that a client has to notice itself stays as long as it is."""
_TOGETHER = ("no-charset, raw-utf8", "raw-utf8, split=1", "split=1, crlf", "coalesce, raw-utf8")
"""Faults that break clients together which survive each of them alone."""
_LONGEST_S = 10.0
"""After how long an answer without end is ended in a session: a client that never gives up gets its verdict, too."""
_SHOWN = 120  # characters of what a client raised


class Understood(NamedTuple):
    """What a client made of an answer.

    ``text``    the pieces of text put together; None where the client does not do that
    ``events``  the payloads it was given, or their kinds; None where it does not give them
    ``raised``  what it raised
    ``hung``    whether it had to be ended from outside
    """

    text: str | None = None
    events: Sequence[Any] | None = None
    raised: str | None = None
    hung: bool = False


class Verdict(NamedTuple):
    """How a client coped with one case; `detail` is the first difference, or what it raised."""

    outcome: Outcome
    detail: str = ""

    def __str__(self) -> str:
        """Tell it in one line."""
        return f"{self.outcome}: {self.detail}" if self.detail else self.outcome


class StreamTranscript:
    """Everything that the server said in one stream, sent or not."""

    def __init__(self) -> None:
        self._payloads: list[Any] = []
        self._source: Iterator[Piece] = iter(())
        self._lock = threading.Lock()

    def listen(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Hear the pieces as they are taken."""
        self._source = pieces
        return iter(self._take, None)

    def payloads(self) -> list[Any]:
        """Return the payloads of all events, those that nobody has waited for included."""
        while self._take() is not None:
            pass
        return [payload for payload in self._payloads if payload is not None]

    def _take(self) -> Piece | None:
        with self._lock:
            piece = next(self._source, None)
            if piece is not None:
                self._payloads.append(piece.payload)
            return piece


@dataclass(slots=True)
class Case:
    """One fault, or several, and what happened.

    ``name``     of the case, as it stands in the key: `split-at-20`
    ``key``      that suffers it; ``headers`` are those that authenticate with it
    ``asked``    how many requests have come; the last one counts
    ``unfit``    why the faults do not fit the answer, if they do not
    ``overlong`` whether the client read an answer that has no end until the mock ended it
    """

    operation: Operation
    name: str
    faults: str
    key: str
    headers: Mapping[str, str]
    asked: int = 0
    transcript: StreamTranscript | None = None
    unfit: str = ""
    overlong: bool = False
    result: Verdict | None = None

    @property
    def harm(self) -> Harm:
        """`harmless` if a correct client must read the same events, `breaking` if it must notice."""
        return "breaking" if any(chosen.fault.harm == "breaking" for chosen in parse(self.faults)) else "harmless"

    @property
    def summary(self) -> str:
        """What happens, in one line."""
        return "; ".join(chosen.fault.summary for chosen in parse(self.faults))

    def watch(self, reply: Reply) -> None:
        """Take note of a reply before the faults change it."""
        self.asked += 1
        self.transcript, self.unfit, self.overlong = None, "", False
        if isinstance(reply.body, Stream):
            self.transcript = StreamTranscript()
            reply.body.transform(self.transcript.listen)

    def bind(self, context: FaultContext) -> FaultContext:
        """Return a context on which nothing lasts for ever, and take note if the client waits until then."""
        return replace(context, longest_s=_LONGEST_S, gave_up=self._note_overlong)

    def _note_overlong(self) -> None:
        self.overlong = True

    def verdict(
        self,
        *,
        text: str | None = None,
        events: Sequence[Any] | None = None,
        raised: object = None,
        hung: bool = False,
    ) -> Verdict:
        """Judge what a client understood, and remember it."""
        self.result = self._judge(Understood(text, events, None if raised is None else _describe_raised(raised), hung))
        return self.result

    @property
    def standing(self) -> Verdict:
        """The verdict as it stands: a client that has asked and said nothing since hangs."""
        return self.result or (Verdict("hung", "asked, and reported nothing") if self.asked else Verdict("not run"))

    def _judge(self, understood: Understood) -> Verdict:
        if not self.asked or self.unfit:
            return Verdict("not run", self.unfit or f"no request came with the key {self.key}")
        if understood.hung or self.overlong:
            late = f"still reading when the mock ended the answer after {_LONGEST_S:g} s"
            return Verdict("hung", late if self.overlong else "")
        if self.harm == "breaking":
            return self._judge_broken(understood)
        if understood.raised is not None:
            return Verdict("crashed", understood.raised)
        if self.transcript is None:
            return Verdict("not run", "the mock did not answer with a stream; /__mock__/requests tells why")
        difference = _find_difference(self.transcript.payloads(), understood, self._contract)
        return Verdict("misread", difference) if difference else Verdict("survived")

    def _judge_broken(self, understood: Understood) -> Verdict:
        if understood.raised is not None:
            return Verdict("survived", understood.raised)
        kinds = {_get_kind(event, self._contract) for event in understood.events or ()}
        said = (
            {_get_kind(payload, self._contract) for payload in self.transcript.payloads()} if self.transcript else set()
        )
        for kind in (kinds - said) & self._contract.end:  # an event that ends the answer, but not as it was to end
            return Verdict("survived", f"it was given the event {kind}")
        count = "nothing" if understood.events is None else f"{len(understood.events)} events"
        took = repr(understood.text[-20:]) if understood.text else count
        return Verdict("trusted a broken stream", f"took {took} for the end of a whole answer")

    @property
    def _contract(self) -> StreamContract:
        assert self.operation.stream is not None
        return self.operation.stream


def _describe_raised(raised: object) -> str:
    name = f"{type(raised).__name__}: " if isinstance(raised, BaseException) else ""
    return " ".join(f"{name}{raised}".split())[:_SHOWN]


def _get_kind(event: Any, contract: StreamContract) -> Any:
    return event if isinstance(event, str) else get_value(event, contract.kind)


def _find_difference(said: Sequence[Any], understood: Understood, contract: StreamContract) -> str:
    """Return the first thing that a client has read otherwise than it was said; '' where there is none."""
    if understood.text is not None and (want := _join_text(said, contract)) != understood.text:
        return _describe_text_difference(want, understood.text)
    if understood.events is None:
        return "" if understood.text is not None else "the client understood neither text nor events"
    sent = [event for event in said if _counts(event, contract)]
    read = [event for event in understood.events if _counts(event, contract)]
    for number, (want_event, got_event) in enumerate(zip(sent, read, strict=False), 1):
        if _get_kind(want_event, contract) != _get_kind(got_event, contract):
            return f"event {number}: sent {_get_kind(want_event, contract)}, read {_get_kind(got_event, contract)}"
        if not isinstance(got_event, str) and (where := _find_unlike(want_event, got_event)):
            return f"event {number} ({_get_kind(want_event, contract)}): {where}"
    if len(sent) != len(read):
        more = f", the first missing one {_get_kind(sent[len(read)], contract)}" if len(read) < len(sent) else ""
        return f"sent {len(sent)} events, read {len(read)}{more}"
    return ""


def _counts(event: Any, contract: StreamContract) -> bool:
    """Tell whether both sides must have an event: one that the contract names, has its place and says something."""
    kind = _get_kind(event, contract)
    named = kind in contract.events and kind not in contract.anywhere
    return named and not any(get_value(event, path) == "" for path in _list_text_fields(kind, contract))


def _list_text_fields(kind: Any, contract: StreamContract) -> list[str]:
    rules = contract.spec.get("concatenates", [])
    return [rule["field"] for rule in rules if kind in rule["events"]]


def _join_text(said: Sequence[Any], contract: StreamContract) -> str:
    fields = [(event, path) for event in said for path in _list_text_fields(_get_kind(event, contract), contract)]
    return "".join(str(get_value(event, path) or "") for event, path in fields)


def _describe_text_difference(want: str, got: str) -> str:
    at = next((at for at, (a, b) in enumerate(zip(want, got, strict=False)) if a != b), min(len(want), len(got)))
    return f"text, character {at + 1}: sent {want[at : at + 20]!r}, read {got[at : at + 20]!r}"


def _find_unlike(want: Any, got: Any, where: str = "") -> str:
    """Return where a client's value differs; it may leave out and add fields, and turn numbers into text."""
    if isinstance(want, dict) and isinstance(got, dict):
        both = ((name, want[name], got[name]) for name in want if name in got)
        return next((found for name, a, b in both if (found := _find_unlike(a, b, f"{where}.{name}".strip(".")))), "")
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        pairs = enumerate(zip(want, got, strict=True))
        return next((found for at, (a, b) in pairs if (found := _find_unlike(a, b, f"{where}.{at}"))), "")
    same = want == got or got is None or _to_number(want) == _to_number(got) is not None
    return "" if same else f"{where}: sent {str(want)[:40]!r}, read {str(got)[:40]!r}"


def _to_number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


@dataclass(slots=True)
class Session:
    """One client's way through all cases of an operation."""

    number: int
    api: Api
    operation: Operation
    cases: dict[str, Case] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Case]:
        """Go through the cases."""
        return iter(self.cases.values())

    def add(self, faults: str) -> Case:
        """Add a case; raise FaultError where the faults cannot be read."""
        parse(faults)
        name = re.sub(r"[^a-z0-9]+", "-", faults.lower()).strip("-")
        schemes = [self.api.schemes[scheme] for scheme in self.operation.security[0]]
        keys = {scheme.parameter: f"{scheme.mock_key}{self.suffix(name)}" for scheme in schemes}
        headers = {scheme.parameter: f"{scheme.prefix}{keys[scheme.parameter]}" for scheme in schemes}
        self.cases[name] = Case(self.operation, name, faults, keys[schemes[0].parameter], headers)
        return self.cases[name]

    def suffix(self, name: str) -> str:
        """Return what the key of a case ends with."""
        return f"-torture-{self.number}-{name}"

    def request(self) -> dict[str, Any]:
        """Return a request that streams, below the API's base URL: method, path, JSON body (None for none)."""
        found = [
            one for one in list_example_requests(self.api) if one.operation.id == self.operation.id and not one.files
        ]
        query, body = ask_for_stream(self.operation, {}, found[0].body)
        path = found[0].path.partition("?")[0] + (f"?{urlencode(query)}" if query else "")
        return {"method": self.operation.method, "path": path, "body": body if isinstance(body, dict) else None}

    @property
    def whole(self) -> bool:
        """Whether every case has been reported."""
        return all(case.result for case in self)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return the verdicts: fault, harm, outcome, detail."""
        return [(case.faults, case.harm, *case.standing) for case in self]

    def table(self) -> str:
        """Return the verdicts for people, and how many there are of each."""
        rows = self.rows()
        counts = Counter(outcome for _, _, outcome, _ in rows)
        lines = [
            make_printable(f"{fault:<22} {harm:<9} {outcome:<24} {detail}".rstrip())
            for fault, harm, outcome, detail in rows
        ]
        return "\n".join([*lines, ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())])


class Torture:
    """All sessions of a mock. May be used from several threads."""

    def __init__(self, apis: Mapping[str, Api]) -> None:
        """Torture clients of these APIs."""
        self._apis = apis
        self._sessions: dict[int, Session] = {}
        self._by_world: dict[str, Case] = {}
        self._lock = threading.Lock()

    def begin(self, operation: str, faults: Sequence[str] = ()) -> Session:
        """Begin a session on an operation that streams, qualified or not, with all faults that fit it or with some.

        Raises UnknownNameError and FaultError, saying what there is.
        """
        api, found = self._find(operation)
        with self._lock:
            number = len(self._sessions) + 1
            session = self._sessions[number] = Session(number, api, found)
            for text in faults or list_fitting_faults(found):
                case = session.add(text)
                self._by_world[api.name + session.suffix(case.name)] = case
        return session

    def find_session(self, number: int) -> Session | None:
        """Return a session by its number."""
        return self._sessions.get(number)

    def find_case(self, world: str, operation: Operation) -> Case | None:
        """Return the case that an operation suffers in a world, if it is one."""
        case = self._by_world.get(world)
        return case if case is not None and case.operation.name == operation.name else None

    def _find(self, name: str) -> tuple[Api, Operation]:
        streaming = {
            operation.name: api
            for api in self._apis.values()
            for operation in api.operations.values()
            if operation.stream
        }
        found = [full for full in streaming if name in (full, full.partition("/")[2])]
        if not found:
            raise UnknownNameError("operation that streams", name, streaming)
        return streaming[found[0]], streaming[found[0]].operations[found[0].partition("/")[2]]


def list_fitting_faults(operation: Operation) -> list[str]:
    """Return the faults, alone and together, that an operation's stream can have."""
    if operation.stream is None:
        raise FaultError(f"{operation.name} never streams. Choose an operation that does.")
    sse = operation.stream.framing == "sse"
    texts = [*(_QUICK.get(name, name) for name in FAULTS), *_TOGETHER]
    return [text for text in texts if sse or all(chosen.fault.needs != "sse" for chosen in parse(text))]
