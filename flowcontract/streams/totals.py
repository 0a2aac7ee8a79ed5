"""The rules of a stream by which events add up to what another event says: their texts, and their number."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from flowcontract.pointers import from_path, get_value
from flowcontract.streams.rules import Follower, Mismatch, Moment, Rule, Silent, has_come
from flowcontract.streams.showing import show, show_both

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.streams.order import Atom


_QUERY = re.compile(r"""(https?://[^\s?#"'<>()]+)\?[^\s"'<>()]*""")


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
    any_order: tuple[Atom, ...] = ()  # where two such events have come, pieces may stand in any order

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

    def list_guards(self) -> tuple[Atom, ...]:
        """Return the exceptions, and what the order depends on."""
        return (*self.unless, *self.any_order)


class _ConcatenationFollower(Silent):
    def __init__(self, rule: Concatenation) -> None:
        self._rule = rule
        self._pieces: dict[
            tuple[str, ...], dict[tuple[str, ...], list[str]]
        ] = {}  # by the values of `where`, then by that of `by`
        self._whole: str | None = None  # came before any piece
        self._sources = 0  # events after two of which the pieces may stand in any order

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        rule = self._rule
        self._sources += has_come(rule.any_order, moment)
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
        if not matches_joined(pieces, whole) and not (self._sources > 1 and _has_same_letters(pieces, whole)):
            rule, joined = self._rule, "".join(pieces)
            names = " and ".join(rule.events)
            wanted, got = show_both(whole, joined)
            expected = f"{rule.path} of {len(pieces)} {names}, joined, equal to {path} {wanted}"
            yield Mismatch(expected, got, from_path(path))


def matches_joined(pieces: list[str], whole: str) -> bool:
    """Tell whether pieces, joined, are a text; it may have more line breaks between them, and lack blanks before those.

    Servers separate the texts of several answer nodes by line breaks that no piece has, and strip each text. The
    queries of addresses may differ: a server signs the link to a file anew each time it shows it.
    """
    bare = [_QUERY.sub(r"\1", piece) for piece in pieces]
    return _matches(pieces, whole) or _matches(bare, _QUERY.sub(r"\1", whole))


def _matches(pieces: list[str], whole: str) -> bool:
    at, left = 0, len("".join(pieces).rstrip())
    for piece in pieces:
        said = piece[:left]  # without the trailing blanks of the whole
        left -= len(said)
        at = _skip_after(said, whole, at)
        if at < 0:
            return False
    return not whole[at:].strip()


def _has_same_letters(pieces: list[str], whole: str) -> bool:
    """Tell whether pieces have the letters of a text, in any order and with other white space.

    Nodes that run beside each other send their pieces as they come, and a server joins the texts node by node.
    """
    return Counter("".join("".join(pieces).split())) == Counter("".join(whole.split()))


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


class _CountFollower(Silent):
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
