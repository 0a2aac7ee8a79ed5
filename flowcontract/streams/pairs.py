"""The rule of a stream that what one event opens, another closes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from flowcontract.pointers import from_path, get_value
from flowcontract.streams.rules import Follower, Mismatch, Moment, Rule, has_come
from flowcontract.streams.showing import list_names, show, show_both

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.streams.order import Atom


@dataclass(frozen=True, kw_only=True)
class Pair(Rule):
    """One event opens what another closes; a field identifies the pair."""

    word: ClassVar[str] = "pairs"
    opens: str
    closes: str
    by: str
    agree: tuple[str, ...] = ()
    before: str | None = None
    open_after: tuple[Atom, ...] = ()  # once such an event has come, pairs may stay open
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

    def list_guards(self) -> tuple[Atom, ...]:
        """Return the exceptions, and after what pairs may stay open."""
        return (*self.unless, *self.open_after)


class _PairFollower:
    def __init__(self, rule: Pair) -> None:
        self._rule = rule
        self._open: dict[str, object] = {}
        self._used: set[str] = set()
        self._may_stay_open = False
        self._awaited = {
            path: Counter[str]() for path in rule.waits_for.values()
        }  # value -> number of open pairs with it

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        rule = self._rule
        self._may_stay_open |= has_come(rule.open_after, moment)
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
        if self._open and not self._may_stay_open:
            yield Mismatch(
                f"{self._rule.closes} for every {self._rule.opens} {when}", f"still open: {self._list_open()}"
            )

    def _list_open(self) -> str:
        return list_names(self._open) or "none"
