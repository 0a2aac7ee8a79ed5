"""The stream contract: reads what an `x-stream` says of the events of a stream.

The exact form of an `x-stream` (`?` marks optional keys; a PATH is dotted and relative to the payload; an ORDER is in
the language of `streams.order`; every rule and every alternative names its `source`, as text or a list):

    framing: sse | json-blank-line   how events are framed on the wire
    kind: PATH                       the payload's field that has the kind of the event
    first_line?: {field: data | event | id | retry, source, ruling?}   the field that a block with data begins with
    when: {body | query: {NAME: VALUE}}   which request gets the stream
    unknown: allowed | rejected      whether kinds that nothing below names are only noted, or violations
    anywhere?: [KIND, ...]           allowed between any two events, and ignored by orders and rules
    undocumented?: [KIND, ...]       observed on real servers, without a schema: noted; rules may name them
    silence_s?: NUMBER               longest time between two blocks, to which SILENCE_SLACK_S is added
    order: [{name, tier: documented | observed, source, is: ORDER, ruling?}, ...]   a stream follows one of them
    end: [KIND, ...]                 the first of these ends the answer
    after_end?: [KIND, ...]          the only kinds that may follow it, where the order allows them
    hangs?: [STATUS-NAME, ...]       refusals of `x-refusals` that begin as the stream does, and then never go on
    constant?:                       a value that never changes within a stream
      - {field: PATH} | {fields: {KIND: PATH}}
    equal?:                          fields of one event that agree
      - {events: [KIND, ...], fields: [PATH, ...]}
    pairs?:                          each `close` closes an `open` with the same value of `by`, which is unique
      - open: KIND
        close: KIND
        by: PATH
        agree?: [PATH, ...]          fields that are equal in both
        before?: KIND                all pairs are closed before it; by default before the stream ends
        open_after?: KIND {guard} | KIND ...   pairs may stay open once such an event has come
        waits_for?: {PATH: PATH}     no `open` while another is open whose second field equals its first
    concatenates?:                   `field` of the `events`, joined, is the field `equals` of the event `of`
      - events: [KIND, ...]
        field: PATH
        equals: PATH
        of: KIND
        by?: PATH                    a list of names: pieces are joined per value; `{1}` in `equals` is its second item
        where?: {PATH: N}            only those whose item N is the field of `of`
        any_order?: KIND {guard}     where two such events have come, pieces may stand in any order
    counts?:                         the number of `events` before `of` is its field `equals`
      - {events: [KIND, ...], equals: PATH, of: KIND}
    increasing?:                     a number that increases from each of the events to the next
      - {events: [KIND, ...], field: PATH}
    refers?:                         `field` is the field `its` of an event `to`, an earlier one or, with
                                     `named: anywhere`, any in the stream
      - {events: [KIND, ...], field: PATH, to: KIND, its: PATH, named?: before | anywhere}

Every rule may have `ruling`, and `unless: KIND {guard} | KIND ...`: it is suspended once such an event has come. Rules
ignore absent and null fields; only the schema can require them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from flowcontract.errors import SpecError
from flowcontract.provenance.sources import RULING, as_list
from flowcontract.streams.order import Alternatives, Atom, Choice, Order, parse
from flowcontract.streams.pairs import Pair
from flowcontract.streams.rules import Constant, Equal, Increasing, Reference, Rule
from flowcontract.streams.showing import show
from flowcontract.streams.sse import FRAMINGS, Framing
from flowcontract.streams.totals import Concatenation, Count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.provenance.sources import Ruling
    from flowcontract.schemas.violations import Violation

Tier = Literal["documented", "observed"]


@dataclass(frozen=True, slots=True)
class EventSchema:
    """One kind of event.

    ``kind``      the name on the wire
    ``pointer``   JSON pointer of the schema within the bundle
    ``schema``    the schema, with references resolved as deep as field paths reach
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
    """The field that every block with data begins with."""

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
    hangs: frozenset[str]
    rules: tuple[Rule, ...]
    events: Mapping[str, EventSchema]
    orders: Alternatives = field(compare=False, repr=False)
    spec: Mapping[str, Any] = field(compare=False, repr=False)  # the `x-stream` as written
    source: tuple[str, ...] = ()  # of the answer that is streamed
    rulings: Mapping[str, Ruling] = field(default_factory=dict, compare=False, repr=False)  # that sources may name

    @classmethod
    def from_spec(
        cls,
        x_stream: Mapping[str, Any],
        events: Mapping[str, EventSchema],
        source: tuple[str, ...] = (),
        rulings: Mapping[str, Ruling] | None = None,
    ) -> StreamContract:
        """Read an `x-stream` mapping; `events` maps every named kind to its schema. Raises SpecError with the place."""
        spec = _Reader(x_stream, "x-stream")
        alternatives = tuple(_read_alternative(item) for item in spec.take_items("order"))
        contract = cls(
            framing=cast("Framing", spec.take_word("framing", FRAMINGS)),
            first_line=next((_read_first_line(part) for part in spec.take_part("first_line")), None),
            kind=spec.take_text("kind"),
            when=spec.take_mapping("when"),
            unknown_allowed=spec.take_word("unknown", ("allowed", "rejected")) == "allowed",
            anywhere=frozenset(spec.take_names("anywhere", needed=False)),
            undocumented=frozenset(spec.take_names("undocumented", needed=False)),
            silence_s=spec.take_number("silence_s"),
            alternatives=alternatives,
            end=frozenset(spec.take_names("end")),
            after_end=frozenset(spec.take_names("after_end", needed=False)),
            hangs=frozenset(spec.take_names("hangs", needed=False)),
            rules=tuple(_RULES[word](item) for word in _RULES for item in spec.take_items(word, needed=False)),
            events=events,
            orders=Alternatives({alternative.name: alternative.order for alternative in alternatives}),
            spec=x_stream,
            source=source,
            rulings=rulings or {},
        )
        spec.check_nothing_left()
        return contract

    def get_alternative(self, name: str) -> Alternative:
        """Return the alternative of that name."""
        return next(alternative for alternative in self.alternatives if alternative.name == name)


class _Reader:
    """Reads a mapping key by key; raises SpecError with the place of what is missing, wrong or left over."""

    def __init__(self, data: object, place: str) -> None:
        self.place = place
        if not isinstance(data, Mapping):
            raise SpecError(f"{place} is {show(data)}, but should be a mapping.")
        self._left = dict(data)

    def take_text(self, key: str) -> str:
        return cast("str", self._take(key, str, "text"))

    def take_optional_text(self, key: str) -> str | None:
        return self.take_text(key) if key in self._left else None

    def take_number(self, key: str) -> float | None:
        return cast("float", self._take(key, (int, float), "a number")) if key in self._left else None

    def take_mapping(self, key: str, *, needed: bool = True) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self._take(key, Mapping, "a mapping")) if needed or key in self._left else {}

    def take_names(self, key: str, *, needed: bool = True) -> tuple[str, ...]:
        if not needed and key not in self._left:
            return ()
        names = self._take(key, list, "a list of names")
        if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise SpecError(f"{self.place}/{key} is {show(names)}, but should be a list of names, each once.")
        return tuple(names)

    def take_part(self, key: str) -> Iterator[_Reader]:
        """Yield the mapping under a key that may be left out."""
        if key in self._left:
            yield _Reader(self._left.pop(key), f"{self.place}/{key}")

    def take_items(self, key: str, *, needed: bool = True) -> Iterator[_Reader]:
        if needed or key in self._left:
            found = self._take(key, list, "a list")
            if not found:
                raise SpecError(f"{self.place}/{key} is empty. Leave it out, or say something.")
            for number, item in enumerate(found):
                yield _Reader(item, f"{self.place}/{key}/{number}")

    def take_word(self, key: str, known: tuple[str, ...]) -> str:
        word = self.take_text(key)
        if word not in known:
            raise SpecError(f'{self.place}/{key} is "{word}". There is: {", ".join(known)}.')
        return word

    def take_guards(self, key: str) -> tuple[Atom, ...]:
        """Take events with their guards, separated by `|`; none if the key is left out."""
        return _parse_guards(self.take_optional_text(key), f"{self.place}/{key}")

    def take_source(self) -> tuple[str, ...]:
        found = self._left.get("source")
        return (self.take_text("source"),) if isinstance(found, str) else self.take_names("source")

    def take_common_keys(self) -> dict[str, Any]:
        """Take the keys that every rule may have; raise SpecError if others are left."""
        rulings = tuple(f"{RULING}{name}" for name in as_list(self._left.pop("ruling", None)))
        common = {
            "place": self.place,
            "source": (*self.take_source(), *rulings),
            "unless": self.take_guards("unless"),
        }
        self.check_nothing_left()
        return common

    def check_nothing_left(self) -> None:
        if self._left:
            names = ", ".join(self._left)
            raise SpecError(f"{self.place} has {names}, which nothing reads. Remove it, or correct its name.")

    def _take(self, key: str, sort: type | tuple[type, ...], words: str) -> Any:
        if key not in self._left:
            raise SpecError(f"{self.place} has no {key}. Add it: {words}.")
        value = self._left.pop(key)
        if not isinstance(value, sort) or isinstance(value, bool):
            raise SpecError(f"{self.place}/{key} is {show(value)}, but should be {words}.")
        return value


def _parse_guards(text: str | None, place: str) -> tuple[Atom, ...]:
    if not text:
        return ()
    tree = parse(text)
    parts = tree.parts if isinstance(tree, Choice) else (tree,)
    atoms = tuple(part for part in parts if isinstance(part, Atom))
    if len(atoms) < len(parts):
        raise SpecError(f'{place} is "{text}", but should be kinds with their guards, separated by "|".')
    return atoms


def _read_first_line(spec: _Reader) -> FirstLine:
    field = spec.take_word("field", ("data", "event", "id", "retry"))
    return FirstLine(field, spec.take_common_keys()["source"])


def _read_alternative(spec: _Reader) -> Alternative:
    name, tier, order = (
        spec.take_text("name"),
        spec.take_word("tier", ("documented", "observed")),
        Order(spec.take_text("is")),
    )
    return Alternative(name, cast("Tier", tier), cast("tuple[str, ...]", spec.take_common_keys()["source"]), order)


def _read_constant(spec: _Reader) -> Rule:
    path = spec.take_optional_text("field")
    return Constant(paths={"*": path} if path else spec.take_mapping("fields"), **spec.take_common_keys())


def _read_equal(spec: _Reader) -> Rule:
    return Equal(events=spec.take_names("events"), paths=spec.take_names("fields"), **spec.take_common_keys())


def _read_pair(spec: _Reader) -> Rule:
    return Pair(
        opens=spec.take_text("open"),
        closes=spec.take_text("close"),
        by=spec.take_text("by"),
        agree=spec.take_names("agree", needed=False),
        before=spec.take_optional_text("before"),
        open_after=spec.take_guards("open_after"),
        waits_for=spec.take_mapping("waits_for", needed=False),
        **spec.take_common_keys(),
    )


def _read_concatenation(spec: _Reader) -> Rule:
    return Concatenation(
        events=spec.take_names("events"),
        path=spec.take_text("field"),
        equals=spec.take_text("equals"),
        of=spec.take_text("of"),
        by=spec.take_optional_text("by"),
        where=spec.take_mapping("where", needed=False),
        any_order=spec.take_guards("any_order"),
        **spec.take_common_keys(),
    )


def _read_count(spec: _Reader) -> Rule:
    return Count(
        events=spec.take_names("events"),
        equals=spec.take_text("equals"),
        of=spec.take_text("of"),
        **spec.take_common_keys(),
    )


def _read_increasing(spec: _Reader) -> Rule:
    return Increasing(events=spec.take_names("events"), path=spec.take_text("field"), **spec.take_common_keys())


def _read_reference(spec: _Reader) -> Rule:
    events, path = spec.take_names("events"), spec.take_text("field")
    to, its, anywhere = spec.take_text("to"), spec.take_text("its"), spec.take_optional_text("named") == "anywhere"
    return Reference(events=events, path=path, to=to, its=its, anywhere=anywhere, **spec.take_common_keys())


_RULES: Mapping[str, Callable[[_Reader], Rule]] = {
    "constant": _read_constant,
    "equal": _read_equal,
    "pairs": _read_pair,
    "concatenates": _read_concatenation,
    "counts": _read_count,
    "increasing": _read_increasing,
    "refers": _read_reference,
}
