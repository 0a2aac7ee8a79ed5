"""The rules of a stream about values: what each demands, and a follower that checks it while the stream runs.

A rule is frozen data, read from an `x-stream`; `follow()` returns a follower, which is given the events in sequence and
yields mismatches. Here is what the rules have in common, and those that compare one value with another; `pairs` and
`totals` have those that collect events first. The docstring of `flowcontract.streams.contract` has the form of each.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from flowcontract.pointers import from_path, get_value
from flowcontract.streams.showing import list_names, show, show_both

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.streams.order import Atom


class Moment(NamedTuple):
    """One event; `ended` tells whether the answer has ended with it or before it."""

    kind: str
    payload: object
    ended: bool


def has_come(guards: tuple[Atom, ...], moment: Moment) -> bool:
    """Tell whether an event is of one of some kinds and has the values that its guard asks for."""
    return any(atom.kind == moment.kind and atom.matches(moment.payload) for atom in guards)


class Mismatch(NamedTuple):
    """What a rule expected, what came instead, and the JSON pointer into the payload."""

    expected: str
    got: str
    where: str = ""


class Follower(Protocol):
    """Checks a rule in one stream."""

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        """Check the next event; yield mismatches."""

    def close(self) -> Iterator[Mismatch]:
        """Check the end of the stream; yield what is missing."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Common to all rules: the name of the rule, its place in the contract, its sources, its exceptions."""

    word: ClassVar[str]
    place: str  # within the contract: `x-stream/pairs/0`
    source: tuple[str, ...]
    unless: tuple[Atom, ...] = ()

    @abstractmethod
    def follow(self) -> Follower:
        """Return a follower for one stream."""

    @abstractmethod
    def list_fields(self) -> Iterator[tuple[str, str]]:
        """Yield each kind with a dotted path that its schema must have; `*` means at least two kinds."""

    def list_kinds(self) -> tuple[str, ...]:
        """Return the kinds that the rule names, without those of its exceptions."""
        return tuple(kind for kind, _ in self.list_fields() if kind != "*")

    def concerns(self, kind: str) -> bool:
        """Tell whether an event of this kind matters to the rule or to its exceptions."""
        every = any(named == "*" for named, _ in self.list_fields())
        return every or kind in self.list_kinds() or any(atom.kind == kind for atom in self.list_guards())

    def list_guards(self) -> tuple[Atom, ...]:
        """Return the events that the rule looks at besides: its exceptions."""
        return self.unless


class Silent:
    """A follower for which nothing can be missing at the end."""

    def close(self) -> Iterator[Mismatch]:
        """Yield nothing."""
        yield from ()


@dataclass(frozen=True, kw_only=True)
class Constant(Rule):
    """A value that never changes within a stream, in whichever event it occurs; absent fields are ignored."""

    word: ClassVar[str] = "constant"
    paths: Mapping[str, str]  # kind, or `*` for every kind -> path

    def follow(self) -> Follower:
        """Return a follower for one stream."""
        return _ConstantFollower(self)

    def list_fields(self) -> Iterator[tuple[str, str]]:
        """Yield each kind with its path."""
        yield from self.paths.items()


class _ConstantFollower(Silent):
    def __init__(self, rule: Constant) -> None:
        self._paths, self._every = rule.paths, rule.paths.get("*")
        self._first: tuple[Any, str] | None = None

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        path = self._paths.get(moment.kind) or self._every
        value = get_value(moment.payload, path) if path else None
        if value is None or path is None:
            return
        if self._first is None:
            self._first = (value, f"{path} of {moment.kind}")
        elif value != self._first[0]:
            first, got = show_both(self._first[0], value)
            yield Mismatch(f"{path} {first}, as in {self._first[1]} before", got, from_path(path))


@dataclass(frozen=True, kw_only=True)
class Equal(Rule):
    """Fields of one event that are equal."""

    word: ClassVar[str] = "equal"
    events: tuple[str, ...]
    paths: tuple[str, ...]

    def follow(self) -> Follower:
        """Return a follower for one stream."""
        return _EqualFollower(self)

    def list_fields(self) -> Iterator[tuple[str, str]]:
        """Yield each kind with each path."""
        yield from ((kind, path) for kind in self.events for path in self.paths)


class _EqualFollower(Silent):
    def __init__(self, rule: Equal) -> None:
        self._rule = rule

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        if moment.kind not in self._rule.events:
            return
        values = {path: get_value(moment.payload, path) for path in self._rule.paths}
        present = [(path, value) for path, value in values.items() if value is not None]
        for path, value in present[1:]:
            if value != present[0][1]:
                first, got = show_both(present[0][1], value)
                yield Mismatch(f"{path} equal to {present[0][0]} {first}", got, from_path(path))


@dataclass(frozen=True, kw_only=True)
class Increasing(Rule):
    """A number that increases from one event to the next."""

    word: ClassVar[str] = "increasing"
    events: tuple[str, ...]
    path: str

    def follow(self) -> Follower:
        """Return a follower for one stream."""
        return _IncreasingFollower(self)

    def list_fields(self) -> Iterator[tuple[str, str]]:
        """Yield each kind with the number."""
        yield from ((kind, self.path) for kind in self.events)


class _IncreasingFollower(Silent):
    def __init__(self, rule: Increasing) -> None:
        self._rule = rule
        self._last: int | None = None

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        rule = self._rule
        value = get_value(moment.payload, rule.path) if moment.kind in rule.events else None
        if not isinstance(value, int):
            return
        last, self._last = self._last, value
        if last is not None and value <= last:
            yield Mismatch(f"{rule.path} above {last}", show(value), from_path(rule.path))


@dataclass(frozen=True, kw_only=True)
class Reference(Rule):
    """A field that refers to a field of another event: of an earlier one, or of any in the stream."""

    word: ClassVar[str] = "refers"
    events: tuple[str, ...]
    path: str
    to: str
    its: str
    anywhere: bool = False

    def follow(self) -> Follower:
        """Return a follower for one stream."""
        return _ReferenceFollower(self)

    def list_fields(self) -> Iterator[tuple[str, str]]:
        """Yield each kind with the reference, and the kind that it refers to."""
        yield from ((kind, self.path) for kind in self.events)
        yield self.to, self.its


class _ReferenceFollower:
    def __init__(self, rule: Reference) -> None:
        self._rule = rule
        self._named: dict[str, None] = {}  # as a set that remembers the order
        self._waiting: dict[str, object] = {}  # names that a later event may still define

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        rule = self._rule
        name = get_value(moment.payload, rule.path) if moment.kind in rule.events else None
        if name is not None and rule.anywhere:
            self._waiting.setdefault(json.dumps(name), name)
        elif name is not None:
            yield from self._expect_named(name, " before")
        if moment.kind == rule.to:
            self._named[json.dumps(get_value(moment.payload, rule.its))] = None

    def close(self) -> Iterator[Mismatch]:
        for name in self._waiting.values():
            yield from self._expect_named(name, "")

    def _expect_named(self, name: object, when: str) -> Iterator[Mismatch]:
        rule = self._rule
        if json.dumps(name) not in self._named:
            there_is = list_names(self._named) or "none yet"
            expected = f"the {rule.its} of a {rule.to}{when}: {there_is}"
            yield Mismatch(expected, f"{rule.path} {show(name)}", from_path(rule.path))
