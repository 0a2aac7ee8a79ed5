"""The stream contract, and the judge of a stream, event by event, while it runs.

The exact form of an `x-stream` (`?` marks what may be left out; a PATH is dotted and relative to the payload; an ORDER
is the language of `flowcontract.order`; every rule and every alternative names its `source`, as text or a list):

    framing: sse | json-blank-line   how events stand on the wire
    kind: PATH                       the payload's field that says what an event is
    first_line?: {field: data | event | id | retry, source, ruling?}   with which a block that carries data begins
    when: {body | query: {NAME: VALUE}}   which request gets the stream
    unknown: allowed | rejected      what of kinds that nothing below names: they are noted, or violations
    anywhere?: [KIND, ...]           may stand between any two others, and count for nothing
    undocumented?: [KIND, ...]       seen on real servers but without a schema: noted; rules may name them
    silence_s?: NUMBER               longest time between two blocks; SILENCE_SLACK_S is granted on top
    order: [{name, tier: documented | observed, source, is: ORDER, ruling?}, ...]   a stream follows one of them
    end: [KIND, ...]                 the answer has ended with the first of these
    after_end?: [KIND, ...]          what may still follow it, as far as the order lets it; anything else may not
    constant?:                       a value that never changes within a stream
      - {field: PATH} | {fields: {KIND: PATH}}
    equal?:                          fields of one event that agree
      - {events: [KIND, ...], fields: [PATH, ...]}
    pairs?:                          what `open` opens `close` closes, told apart by `by`, which no two opens share
      - open: KIND
        close: KIND
        by: PATH
        agree?: [PATH, ...]          fields that the two have in common
        before?: KIND                all are closed when it comes; without it, when the stream ends
        waits_for?: {PATH: PATH}     no open while another is open whose second field has the value of its first
    concatenates?:                   `field` of the pieces, joined, is the field `equals` of the event `of`
      - events: [KIND, ...]
        field: PATH
        equals: PATH
        of: KIND
        by?: PATH                    a list of names: pieces are joined per value; `{1}` in `equals` is its second item
        where?: {PATH: N}            and only for an `of` whose field is item N of it
    counts?:                         how many `events` came before `of` is its field `equals`
      - {events: [KIND, ...], equals: PATH, of: KIND}
    increasing?:                     a number that grows from each of the events to the next
      - {events: [KIND, ...], field: PATH}
    refers?:                         `field` is what an event `to` before has as its field `its`
      - {events: [KIND, ...], field: PATH, to: KIND, its: PATH}

Every rule may carry `ruling`, and `unless: KIND {guard} | KIND ...`: it does not hold once such an event has come.
Where a field is absent or null, no rule but the schema demands it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from flowcontract.errors import BlockTooLargeError, SpecError
from flowcontract.order import Alternatives, Atom, Choice, Order, Progress, parse
from flowcontract.sse import FRAMINGS, MAX_BLOCK_BYTES, Block, Decoder, Framing
from flowcontract.stream_check import check
from flowcontract.stream_rules import (
    Concatenation,
    Constant,
    Count,
    Equal,
    Follower,
    Increasing,
    Moment,
    Pair,
    Problem,
    Reference,
    Rule,
    show,
    value_at,
)
from flowcontract.violations import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

SILENCE_SLACK_S = 2.0  # seconds a network and a busy server may add to the longest silence

__all__ = [
    "SILENCE_SLACK_S",
    "Alternative",
    "EventSchema",
    "JudgedEvent",
    "StreamBudget",
    "StreamContract",
    "StreamJudge",
    "check",
    "judge",
]

Tier = Literal["documented", "observed"]


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
class Alternative:
    """One order that a stream may follow."""

    name: str
    tier: Tier
    source: tuple[str, ...]
    order: Order = field(compare=False)


@dataclass(frozen=True, slots=True)
class FirstLine:
    """With which field every block that carries data begins."""

    field: str
    source: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamContract:
    """An `x-stream` with the kinds and schemas of its events; the module's docstring says what each part means."""

    framing: Framing
    first_line: FirstLine | None
    kind: str
    when: Mapping[str, Mapping[str, Any]]
    unknown_allowed: bool
    anywhere: frozenset[str]
    undocumented: frozenset[str]
    silence_s: float | None
    alternatives: tuple[Alternative, ...]
    end: frozenset[str]
    after_end: frozenset[str]
    rules: tuple[Rule, ...]
    events: Mapping[str, EventSchema]
    orders: Alternatives = field(compare=False, repr=False)
    spec: Mapping[str, Any] = field(compare=False, repr=False)  # the `x-stream` as it stands

    @classmethod
    def from_spec(cls, x_stream: Mapping[str, Any], events: Mapping[str, EventSchema]) -> StreamContract:
        """Read an `x-stream` mapping; `events` maps every named kind to its schema. Raises SpecError with the place."""
        spec = _Reader(x_stream, "x-stream")
        alternatives = tuple(_alternative(one) for one in spec.items("order"))
        contract = cls(
            framing=cast("Framing", spec.one_of("framing", FRAMINGS)),
            first_line=next((_first_line(one) for one in spec.part("first_line")), None),
            kind=spec.text("kind"),
            when=spec.mapping("when"),
            unknown_allowed=spec.one_of("unknown", ("allowed", "rejected")) == "allowed",
            anywhere=frozenset(spec.names("anywhere", needed=False)),
            undocumented=frozenset(spec.names("undocumented", needed=False)),
            silence_s=spec.number("silence_s"),
            alternatives=alternatives,
            end=frozenset(spec.names("end")),
            after_end=frozenset(spec.names("after_end", needed=False)),
            rules=tuple(_RULES[word](one) for word in _RULES for one in spec.items(word, needed=False)),
            events=events,
            orders=Alternatives({one.name: one.order for one in alternatives}),
            spec=x_stream,
        )
        spec.nothing_left()
        return contract

    def alternative(self, name: str) -> Alternative:
        """Return the alternative of that name."""
        return next(one for one in self.alternatives if one.name == name)


class _Reader:
    """A mapping that is read key by key; what is missing, of a wrong sort, or left over is said with its place."""

    def __init__(self, data: object, place: str) -> None:
        self.place = place
        if not isinstance(data, Mapping):
            raise SpecError(f"{place} is {show(data)}, but is to be a mapping.")
        self._left = dict(data)

    def text(self, key: str) -> str:
        return cast("str", self._take(key, str, "text"))

    def optional(self, key: str) -> str | None:
        return self.text(key) if key in self._left else None

    def number(self, key: str) -> float | None:
        return cast("float", self._take(key, (int, float), "a number")) if key in self._left else None

    def mapping(self, key: str, *, needed: bool = True) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self._take(key, Mapping, "a mapping")) if needed or key in self._left else {}

    def names(self, key: str, *, needed: bool = True) -> tuple[str, ...]:
        if not needed and key not in self._left:
            return ()
        names = self._take(key, list, "a list of names")
        if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise SpecError(f"{self.place}/{key} is {show(names)}, but is to be a list of names, each once.")
        return tuple(names)

    def part(self, key: str) -> Iterator[_Reader]:
        """Yield the mapping under a key that may be left out."""
        if key in self._left:
            yield _Reader(self._left.pop(key), f"{self.place}/{key}")

    def items(self, key: str, *, needed: bool = True) -> Iterator[_Reader]:
        if needed or key in self._left:
            found = self._take(key, list, "a list")
            if not found:
                raise SpecError(f"{self.place}/{key} is empty. Leave it out, or say something.")
            for number, item in enumerate(found):
                yield _Reader(item, f"{self.place}/{key}/{number}")

    def one_of(self, key: str, known: tuple[str, ...]) -> str:
        word = self.text(key)
        if word not in known:
            raise SpecError(f'{self.place}/{key} is "{word}". There is: {", ".join(known)}.')
        return word

    def source(self) -> tuple[str, ...]:
        found = self._left.get("source")
        return (self.text("source"),) if isinstance(found, str) else self.names("source")

    def common(self) -> dict[str, Any]:
        """Take what every rule may carry, and say that nothing else may be left."""
        self._left.pop("ruling", None)
        unless = self.optional("unless")
        common = {
            "place": self.place,
            "source": self.source(),
            "unless": _atoms(unless, f"{self.place}/unless") if unless else (),
        }
        self.nothing_left()
        return common

    def nothing_left(self) -> None:
        if self._left:
            names = ", ".join(self._left)
            raise SpecError(f"{self.place} has {names}, which nothing reads. Remove it, or mend its name.")

    def _take(self, key: str, sort: type | tuple[type, ...], words: str) -> Any:
        if key not in self._left:
            raise SpecError(f"{self.place} has no {key}. Add it: {words}.")
        value = self._left.pop(key)
        if not isinstance(value, sort) or isinstance(value, bool):
            raise SpecError(f"{self.place}/{key} is {show(value)}, but is to be {words}.")
        return value


def _atoms(text: str, place: str) -> tuple[Atom, ...]:
    tree = parse(text)
    parts = tree.parts if isinstance(tree, Choice) else (tree,)
    atoms = tuple(part for part in parts if isinstance(part, Atom))
    if len(atoms) < len(parts):
        raise SpecError(f'{place} is "{text}", but is to be kinds with their guards, separated by "|".')
    return atoms


def _first_line(spec: _Reader) -> FirstLine:
    field = spec.one_of("field", ("data", "event", "id", "retry"))
    return FirstLine(field, spec.common()["source"])


def _alternative(spec: _Reader) -> Alternative:
    name, tier, order = spec.text("name"), spec.one_of("tier", ("documented", "observed")), Order(spec.text("is"))
    return Alternative(name, cast("Tier", tier), cast("tuple[str, ...]", spec.common()["source"]), order)


def _constant(spec: _Reader) -> Rule:
    path = spec.optional("field")
    return Constant(paths={"*": path} if path else spec.mapping("fields"), **spec.common())


def _equal(spec: _Reader) -> Rule:
    return Equal(events=spec.names("events"), paths=spec.names("fields"), **spec.common())


def _pair(spec: _Reader) -> Rule:
    return Pair(
        opens=spec.text("open"),
        closes=spec.text("close"),
        by=spec.text("by"),
        agree=spec.names("agree", needed=False),
        before=spec.optional("before"),
        waits_for=spec.mapping("waits_for", needed=False),
        **spec.common(),
    )


def _concatenation(spec: _Reader) -> Rule:
    return Concatenation(
        events=spec.names("events"),
        path=spec.text("field"),
        equals=spec.text("equals"),
        of=spec.text("of"),
        by=spec.optional("by"),
        where=spec.mapping("where", needed=False),
        **spec.common(),
    )


def _count(spec: _Reader) -> Rule:
    return Count(events=spec.names("events"), equals=spec.text("equals"), of=spec.text("of"), **spec.common())


def _increasing(spec: _Reader) -> Rule:
    return Increasing(events=spec.names("events"), path=spec.text("field"), **spec.common())


def _reference(spec: _Reader) -> Rule:
    events, path = spec.names("events"), spec.text("field")
    return Reference(events=events, path=path, to=spec.text("to"), its=spec.text("its"), **spec.common())


_RULES: Mapping[str, Callable[[_Reader], Rule]] = {
    "constant": _constant,
    "equal": _equal,
    "pairs": _pair,
    "concatenates": _concatenation,
    "counts": _count,
    "increasing": _increasing,
    "refers": _reference,
}


@dataclass(frozen=True, slots=True)
class StreamBudget:
    """How much of a stream is judged before it counts as endless; None is no limit."""

    events: int | None = None
    bytes: int | None = None
    seconds: float | None = None


class JudgedEvent(NamedTuple):
    """One event as the judge saw it: number from 1, byte offset, kind, payload, and whether the contract names it."""

    number: int
    offset: int
    kind: str
    payload: object
    known: bool


class _Watch:
    """A rule and its follower in this stream; once lifted by an `unless`, it stays silent."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._follower: Follower = rule.follow()
        self._lifted = False

    def see(self, moment: Moment) -> Iterator[Problem]:
        for atom in self.rule.unless:
            if atom.kind == moment.kind and atom.matches(moment.payload):
                self._lifted = True
        problems = self._follower.see(moment)
        return iter(list(problems)[:0]) if self._lifted else problems

    def close(self) -> Iterator[Problem]:
        return iter(()) if self._lifted else self._follower.close()


class StreamJudge:
    """Judges one stream while its bytes arrive.

    ``ended``        whether an event that ends the answer came
    ``complete``     whether the stream may stop here
    ``count``        number of events so far
    ``fresh``        the events of the last `feed`
    ``kinds``        how often each kind came
    ``transitions``  (kind before, kind) pairs, without what may stand anywhere; `""` is the beginning
    ``unknown``      kinds that the contract does not name, in order of appearance
    ``finished``     whether the judge has stopped listening: closed, over its budget, or unreadable

    Times are seconds of any one clock, such as `time.monotonic`; without them silence and time are not judged.
    """

    def __init__(
        self,
        contract: StreamContract,
        *,
        budget: StreamBudget | None = None,
        started: float | None = None,
        max_block_bytes: int = MAX_BLOCK_BYTES,
    ) -> None:
        """Judge by `contract`, within `budget`, from the time `started` on."""
        self.contract = contract
        self.count = 0
        self.ended = False
        self.finished = False
        self.fresh: list[JudgedEvent] = []
        self.kinds: dict[str, int] = {}
        self.transitions: set[tuple[str, str]] = set()
        self.unknown: list[str] = []
        self._budget = budget or StreamBudget()
        self._decoder = Decoder(contract.framing, max_block_bytes=max_block_bytes)
        self._progress: Progress = contract.orders.start
        self._followed = True  # no event so far was out of order
        self._watches = [_Watch(rule) for rule in contract.rules]
        self._by_kind: dict[str, list[_Watch]] = {}
        self._bytes = 0
        self._started = self._heard = started
        self._before = ""

    @property
    def complete(self) -> bool:
        """Whether the stream may stop here: the answer has ended and an order is fulfilled."""
        return self.ended and bool(self.contract.orders.complete(self._progress))

    @property
    def matched(self) -> Alternative | None:
        """The alternative that the stream follows, fulfilled ones first; None once an event was out of order."""
        if not self._followed:
            return None
        names = self.contract.orders.complete(self._progress) or self.contract.orders.alive(self._progress)
        return self.contract.alternative(names[0])

    def feed(self, data: bytes, now: float | None = None) -> list[Violation]:
        """Take the next bytes, at the time `now`; return what is wrong with them. No bytes: time has passed."""
        self.fresh = []
        if self.finished:
            return []
        self._bytes += len(data)
        found: list[Violation] = []
        try:
            blocks = self._decoder.feed(data)
        except BlockTooLargeError as error:
            blocks = error.before
            self.finished = True
            found.append(self._framing("blocks that end with a blank line", str(error), self._bytes))
        found += self._silence(now, heard=bool(blocks))
        for block in blocks:
            found += self._block(block)
            if self._over(self.count, self._budget.events, "events", found):
                return found
        self._over(self._bytes, self._budget.bytes, "bytes", found)
        if now is not None and self._started is not None:
            self._over(now - self._started, self._budget.seconds, "seconds", found)
        return found

    def close(self, now: float | None = None) -> list[Violation]:
        """Take the end of the stream; return what is missing. After the budget was spent, nothing is."""
        self.fresh = []
        if self.finished:
            return []
        self.finished = True
        found = self._silence(now, heard=False)
        for block in self._decoder.close():
            got = f"the stream ended inside a block: {block.raw[:60]!r}"
            found.append(self._framing("a blank line after every block", got, block.start))
        for watch in self._watches:
            found += [self._violation(watch.rule.word, one, watch.rule.source) for one in watch.close()]
        return found + self._missing()

    def _watching(self, kind: str) -> list[_Watch]:
        """Return the rules to which a kind means something; to some, any event that ends the answer does."""
        if kind not in self._by_kind:
            ends = kind in self.contract.end
            self._by_kind[kind] = [watch for watch in self._watches if ends or watch.rule.concerns(kind)]
        return self._by_kind[kind]

    def _missing(self) -> list[Violation]:
        """Tell what a stream that stopped here still owes."""
        got = f"the stream ended after {self._before or 'nothing'}"
        if not self.ended:
            return [self._violation("end", Problem(self._allowed(), got), self._sources())]
        if self._followed and not self.complete:
            return [self._violation("order", Problem(self._allowed(), got), self._sources())]
        return []

    def _block(self, block: Block) -> list[Violation]:
        """Judge one block: read the payload, then the event."""
        if block.event is None:
            return self._bare_block(block)
        data = block.event.data
        self.count += 1
        if "\ufffd" in data and not _is_utf8(block.raw):
            return [self._framing("UTF-8", f"bytes that are none, in {block.raw[:60]!r}", block.start)]
        try:
            payload = _strict_json(data)
        except (ValueError, RecursionError) as error:
            return [self._framing("data that is JSON", f"{error}: {data[:60]!r}", block.start)]
        kind = value_at(payload, self.contract.kind)
        if not isinstance(kind, str):
            expected = f'an object whose "{self.contract.kind}" says what it is'
            return [self._violation("kind", Problem(expected, show(payload)), offset=block.start)]
        named = block.event.type
        found = self._event(kind, payload, block.start)
        if named not in ("message", kind):
            return [*found, self._framing(f'"event: {kind}" or none', f'"event: {named}"', block.start)]
        return [*found, *self._beginning(block)]

    def _beginning(self, block: Block) -> list[Violation]:
        """Judge the first line of a block that carries data."""
        first = self.contract.first_line
        if first is None or block.raw.startswith(f"{first.field}:".encode()):
            return []
        return [
            Violation(
                "framing",
                f'a block that begins with "{first.field}:"',
                repr(block.raw[:60])[1:],
                event=self.count or None,
                offset=block.start,
                source=first.source,
            )
        ]

    def _bare_block(self, block: Block) -> list[Violation]:
        """Judge a block that a client never dispatches: a bare event, comments and ids, or something else."""
        names = {item.name for item in block.fields}
        if "event" in names:
            kind = next(item.value for item in reversed(block.fields) if item.name == "event")
            self.count += 1
            return self._event(kind, {self.contract.kind: kind}, block.start)
        if names & {"", "id", "retry"}:
            return []
        self.count += 1
        return [self._framing('a block with "data:"', repr(block.raw[:60])[1:], block.start)]

    def _event(self, kind: str, payload: object, offset: int) -> list[Violation]:
        known = kind in self.contract.events
        self.fresh.append(JudgedEvent(self.count, offset, kind, payload, known))
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        found = self._schema(kind, payload, offset) if known else self._note(kind, offset)
        if kind in self.contract.anywhere:
            return found
        found += self._place(kind, payload, offset, known=known)
        moment = Moment(kind, payload, self.ended)
        for watch in self._watching(kind):
            rule = watch.rule
            found += [self._violation(rule.word, problem, rule.source, offset) for problem in watch.see(moment)]
        self.transitions.add((self._before, kind))
        self._before = kind
        return found

    def _schema(self, kind: str, payload: object, offset: int) -> list[Violation]:
        event = self.contract.events[kind]
        return [
            Violation("schema", one.expected, one.got, one.where, self.count, offset, one.source or event.source)
            for one in event.validate(payload)
        ]

    def _note(self, kind: str, offset: int) -> list[Violation]:
        if kind not in self.unknown:
            self.unknown.append(kind)
        if self.contract.unknown_allowed or kind in self.contract.undocumented:
            return []
        return [self._violation("unknown", Problem("a kind that the contract names", kind), offset=offset)]

    def _place(self, kind: str, payload: object, offset: int, *, known: bool) -> list[Violation]:
        """Judge whether the event may come now, and go on; one that is out of order is taken as if in its place."""
        if self.ended and kind not in self.contract.after_end:
            return [self._violation("end", Problem(self._allowed(kind), kind), self._sources(), offset)]
        if not known:
            return []
        found = []
        progress = self.contract.orders.step(self._progress, kind, payload)
        if not self.contract.orders.alive(progress):
            found = [self._violation("order", Problem(self._allowed(kind), kind), self._sources(), offset)]
            self._followed = False
            progress = self.contract.orders.resume(self._progress, kind, payload)
        self._progress = progress
        self.ended = self.ended or kind in self.contract.end
        return found

    def _allowed(self, came: str = "") -> str:
        """Say in words what could have come here; guards only where they tell something about the kind that came."""
        atoms = self.contract.orders.allowed(self._progress)
        often = {atom.kind for atom in atoms if sum(other.kind == atom.kind for other in atoms) > 1} - {came}
        names = list(dict.fromkeys(atom.kind if atom.kind in often else str(atom) for atom in atoms))
        names += ["the end of the stream"] if self.complete else []
        return f"{' or '.join(names)} after {self._before or 'the beginning'}"

    def _sources(self) -> tuple[str, ...]:
        """Return the sources of the orders that were possible until now."""
        alive = self.contract.orders.alive(self._progress)
        return tuple(dict.fromkeys(line for name in alive for line in self.contract.alternative(name).source))

    def _silence(self, now: float | None, *, heard: bool) -> list[Violation]:
        if now is None:
            return []
        since = now if self._heard is None else self._heard
        if self._started is None:
            self._started = now
        limit = self.contract.silence_s
        quiet = now - since
        if limit is None or quiet <= limit + SILENCE_SLACK_S:
            self._heard = now if heard else since
            return []
        self._heard = now
        problem = Problem(f"at most {limit:g} s without a block", f"{quiet:.1f} s")
        return [self._violation("silence", problem)]

    def _over(self, spent: float, limit: float | None, unit: str, found: list[Violation]) -> bool:
        if self.finished or limit is None or spent <= limit:
            return False
        self.finished = True
        problem = Problem(f"the end of the stream within {limit:g} {unit}", f"{spent:g} {unit} and no end")
        found.append(self._violation("budget", problem))
        return True

    def _framing(self, expected: str, got: str, offset: int) -> Violation:
        return Violation("framing", expected, got, event=self.count or None, offset=offset)

    def _violation(
        self, rule: str, problem: Problem, source: tuple[str, ...] = (), offset: int | None = None
    ) -> Violation:
        event = self.count or None
        return Violation(rule, problem.expected, problem.got, problem.where, event, offset, source)


def judge(contract: StreamContract, data: bytes) -> list[Violation]:
    """Judge a whole stream at once."""
    judging = StreamJudge(contract)
    return judging.feed(data) + judging.close()


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _strict_json(text: str) -> Any:
    """Parse JSON as RFC 8259 has it: no NaN, no key twice."""
    return _DECODER.decode(text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f'key "{next(key for key in keys if keys.count(key) > 1)}" twice')
    return found


_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_no_key_twice)
