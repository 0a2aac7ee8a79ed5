"""The rules of a stream about values: what each demands, and a follower that checks it while the stream runs.

A rule is frozen data, read from an `x-stream`; `follow()` returns a follower, which is given the events in sequence and
yields mismatches. The docstring of `flowcontract.streams.contract` has the form of every rule.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass, field
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
        return every or kind in self.list_kinds() or any(atom.kind == kind for atom in self.unless)


class _Silent:
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


class _ConstantFollower(_Silent):
    def __init__(self, rule: Constant) -> None:
        self._paths = rule.paths
        self._first: tuple[Any, str] | None = None

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        path = self._paths.get(moment.kind) or self._paths.get("*")
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


class _EqualFollower(_Silent):
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
class Pair(Rule):
    """One event opens what another closes; a field identifies the pair."""

    word: ClassVar[str] = "pairs"
    opens: str
    closes: str
    by: str
    agree: tuple[str, ...] = ()
    before: str | None = None
    waits_for: Mapping[str, str] = field(default_factory=dict)

    def follow(self) -> Follower:
        """Return a follower for one stream."""
        return _PairFollower(self)

    def list_fields(self) -> Iterator[tuple[str, str]]:
        """Yield each kind with each path."""
        yield from ((kind, path) for kind in (self.opens, self.closes) for path in (self.by, *self.agree))
        yield from ((self.opens, path) for item in self.waits_for.items() for path in item)

    def list_kinds(self) -> tuple[str, ...]:
        """Return the kinds that open, that close, and before which all pairs are closed."""
        return (self.opens, self.closes, *([self.before] if self.before else []))


class _PairFollower:
    def __init__(self, rule: Pair) -> None:
        self._rule = rule
        self._open: dict[str, object] = {}
        self._used: set[str] = set()
        self._awaited = {
            path: Counter[str]() for path in rule.waits_for.values()
        }  # value -> number of open pairs with it

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        rule = self._rule
        key = json.dumps(get_value(moment.payload, rule.by))
        if moment.kind == rule.opens:
            yield from self._open_pair(key, moment.payload)
        elif moment.kind == rule.closes:
            yield from self._close_pair(key, moment.payload)
        elif moment.kind == rule.before:
            yield from self._expect_all_closed(f"before {rule.before}")

    def close(self) -> Iterator[Mismatch]:
        if self._rule.before is None:
            yield from self._expect_all_closed("before the stream ends")

    def _open_pair(self, key: str, payload: object) -> Iterator[Mismatch]:
        rule = self._rule
        if key in self._used:
            yield Mismatch(f"a {rule.by} that no {rule.opens} had before", key, from_path(rule.by))
        for path, other in rule.waits_for.items():
            wanted = get_value(payload, path)
            if wanted is not None and self._awaited[other][json.dumps(wanted)]:
                expected = f"{rule.closes} of {path} {show(wanted)} first"
                yield Mismatch(expected, f"{rule.opens} while it is open", from_path(path))
        self._used.add(key)
        if key in self._open:
            self._count(self._open[key], -1)
        self._open[key] = payload
        self._count(payload, 1)

    def _count(self, opened: object, change: int) -> None:
        """Count an opened (1) or closed (-1) pair under the values that others wait for, so that no scan is needed."""
        for path, counts in self._awaited.items():
            counts[json.dumps(get_value(opened, path))] += change

    def _close_pair(self, key: str, payload: object) -> Iterator[Mismatch]:
        rule = self._rule
        if key not in self._open:
            yield Mismatch(f"the {rule.by} of an open {rule.opens}: {self._list_open()}", key, from_path(rule.by))
            return
        opened = self._open.pop(key)
        self._count(opened, -1)
        for path in rule.agree:
            before, now = get_value(opened, path), get_value(payload, path)
            if before is not None and now is not None and before != now:
                first, got = show_both(before, now)
                yield Mismatch(f"{path} {first}, as in its {rule.opens}", got, from_path(path))

    def _expect_all_closed(self, when: str) -> Iterator[Mismatch]:
        if self._open:
            yield Mismatch(
                f"{self._rule.closes} for every {self._rule.opens} {when}", f"still open: {self._list_open()}"
            )

    def _list_open(self) -> str:
        return list_names(self._open) or "none"


@dataclass(frozen=True, kw_only=True)
class Concatenation(Rule):
    """Pieces that, joined, equal a field of another event."""

    word: ClassVar[str] = "concatenates"
    events: tuple[str, ...]
    path: str
    equals: str  # with `by`, `{0}` stands for the first item of its value
    of: str
    by: str | None = None
    where: Mapping[str, int] = field(default_factory=dict)  # path of `of` -> which item of `by` it equals

    def follow(self) -> Follower:
        """Return a follower for one stream."""
        return _ConcatenationFollower(self)

    def list_fields(self) -> Iterator[tuple[str, str]]:
        """Yield each kind with each path, except a path that depends on a value."""
        yield from ((kind, path) for kind in self.events for path in (self.path, self.by) if path)
        yield from ((self.of, path) for path in self.where)
        if "{" not in self.equals:
            yield self.of, self.equals

    def list_kinds(self) -> tuple[str, ...]:
        """Return the kinds that are joined or counted, and the one that has the result."""
        return (*self.events, self.of)


class _ConcatenationFollower(_Silent):
    def __init__(self, rule: Concatenation) -> None:
        self._rule = rule
        self._pieces: dict[
            tuple[str, ...], dict[tuple[str, ...], list[str]]
        ] = {}  # by the values of `where`, then by that of `by`
        self._whole: str | None = None  # came before any piece

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        rule = self._rule
        if moment.kind in rule.events:
            self._add(moment.payload)
        elif moment.kind == rule.of and rule.by:
            yield from self._compare_parts(moment.payload)
        elif moment.kind == rule.of:
            whole = get_value(moment.payload, rule.equals)
            self._whole = whole if isinstance(whole, str) else None
        if self._whole is not None and not rule.by and (moment.ended or (self._pieces and moment.kind == rule.of)):
            yield from self._compare(self._pieces.get((), {}).get((), []), self._whole, rule.equals)
            self._whole = None

    def _add(self, payload: object) -> None:
        key = get_value(payload, self._rule.by) if self._rule.by else []
        piece = get_value(payload, self._rule.path)
        if not (isinstance(piece, str) and isinstance(key, list) and all(isinstance(part, str) for part in key)):
            return
        if all(n < len(key) for n in self._rule.where.values()):
            group = tuple(key[n] for n in self._rule.where.values())
            self._pieces.setdefault(group, {}).setdefault(tuple(key), []).append(piece)

    def _compare_parts(self, payload: object) -> Iterator[Mismatch]:
        group = tuple(get_value(payload, path) for path in self._rule.where)
        if not all(isinstance(part, str) for part in group):
            return
        for key, pieces in self._pieces.pop(group, {}).items():
            path = self._rule.equals.format(*key)
            whole = get_value(payload, path)
            if isinstance(whole, str):
                yield from self._compare(pieces, whole, path)

    def _compare(self, pieces: list[str], whole: str, path: str) -> Iterator[Mismatch]:
        if not matches_joined(pieces, whole):
            rule, joined = self._rule, "".join(pieces)
            names = " and ".join(rule.events)
            wanted, got = show_both(whole, joined)
            expected = f"{rule.path} of {len(pieces)} {names}, joined, equal to {path} {wanted}"
            yield Mismatch(expected, got, from_path(path))


def matches_joined(pieces: list[str], whole: str) -> bool:
    """Tell whether pieces, joined, are a text; it may have more line breaks between them, and lack blanks before those.

    Servers separate the texts of several answer nodes by line breaks that no piece has, and strip each text.
    """
    at, left = 0, len("".join(pieces).rstrip())
    for piece in pieces:
        said = piece[:left]  # without the trailing blanks of the whole
        left -= len(said)
        at = _skip_after(said, whole, at)
        if at < 0:
            return False
    return not whole[at:].strip()


def _skip_after(piece: str, whole: str, at: int) -> int:
    """Return the index after a piece that a text has at an index, line breaks skipped; -1 if it does not."""
    trimmed = piece.rstrip()
    while not whole.startswith(piece, at):
        if whole.startswith(f"{trimmed}\n", at):
            return at + len(trimmed)
        if not whole.startswith("\n", at):
            return -1
        at += 1
    return at + len(piece)


@dataclass(frozen=True, kw_only=True)
class Count(Rule):
    """The number of events of some kinds is a field of another event."""

    word: ClassVar[str] = "counts"
    events: tuple[str, ...]
    equals: str
    of: str

    def follow(self) -> Follower:
        """Return a follower for one stream."""
        return _CountFollower(self)

    def list_fields(self) -> Iterator[tuple[str, str]]:
        """Yield the kind with the number."""
        yield self.of, self.equals

    def list_kinds(self) -> tuple[str, ...]:
        """Return the kinds that are joined or counted, and the one that has the result."""
        return (*self.events, self.of)


class _CountFollower(_Silent):
    def __init__(self, rule: Count) -> None:
        self._rule = rule
        self._count = 0

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        rule = self._rule
        self._count += moment.kind in rule.events
        stated = get_value(moment.payload, rule.equals) if moment.kind == rule.of else None
        if stated is not None and stated != self._count:
            expected = f"{rule.equals} {self._count}, the number of {' and '.join(rule.events)} before"
            yield Mismatch(expected, show(stated), from_path(rule.equals))


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


class _IncreasingFollower(_Silent):
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
