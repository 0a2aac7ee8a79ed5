"""The language of event orders, compiled to a deterministic automaton.

    order  = series { "|" series }                one of the series
    series = item { item }                        the items in sequence
    item   = ( kind [ guard ] | "(" order ")" ) [ "*" | "+" | "?" ]
    guard  = "{" test { "," test } "}"            the event has these values
    test   = path ( "=" | "!=" ) value { "|" value }   one of the values; none of them, or the field is absent

    opened (piece | note)* ( closed{data.status!=failed} | closed{data.status=failed} failure )

A kind is letters, digits, `_`, `-`, `.`; a path is dotted (`data.status`); a value is compared with the JSON of the
field, text without its quotes.

An order is compiled by Glushkov's construction: each kind in the text is a position, and a state is the set of
positions where the stream may be, so that every step leads to exactly one state.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flowcontract.errors import OrderSyntaxError
from flowcontract.pointers import lookup

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

State = frozenset[int]
_START: Final = -1
_TOKEN = re.compile(r"\s*(?:(?P<kind>[A-Za-z_][\w.-]*)(?P<guard>\s*\{[^{}]*\})?|(?P<mark>[()|*+?]))")
_TEST = re.compile(r"\s*(?P<path>[\w.-]+)\s*(?P<no>!?)=\s*(?P<values>[^,=]*[^,=\s])\s*")


@dataclass(frozen=True, slots=True)
class Test:
    """A condition on a field: it has one of the values, or (`negated`) none of them."""

    path: str
    values: tuple[str, ...]
    negated: bool = False

    def holds(self, payload: object) -> bool:
        """Tell whether a payload meets the condition."""
        try:
            value = lookup(payload, self.path)
        except KeyError:
            return self.negated
        written = value if isinstance(value, str) else json.dumps(value)
        return (written in self.values) != self.negated

    def __str__(self) -> str:
        return f"{self.path}{'!' if self.negated else ''}={'|'.join(self.values)}"


@dataclass(frozen=True, slots=True)
class Atom:
    """An event in an order: its kind, and the conditions on its values there."""

    kind: str
    guard: tuple[Test, ...] = ()

    def matches(self, payload: object) -> bool:
        """Tell whether an event of this kind matches; None as payload matches every guard."""
        return payload is None or all(test.holds(payload) for test in self.guard)

    def is_possible(self) -> bool:
        """Tell whether any payload can meet the guard."""
        for path in {test.path for test in self.guard if not test.negated}:
            tests = [test for test in self.guard if test.path == path]
            allowed = set.intersection(*(set(test.values) for test in tests if not test.negated))
            if not allowed.difference(*(test.values for test in tests if test.negated)):
                return False
        return True

    def __str__(self) -> str:
        return self.kind + (f"{{{', '.join(map(str, self.guard))}}}" if self.guard else "")


@dataclass(frozen=True, slots=True)
class Series:
    """Parts in sequence."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Alternative parts."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part that is optional, may be repeated (`many`), or both."""

    part: Node
    optional: bool
    many: bool


Node = Atom | Series | Choice | Repeat


def parse(text: str) -> Node:
    """Parse an order; raise OrderSyntaxError with the position of a syntax error."""
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def parse(self) -> Node:
        node = self._parse_order()
        if self._text[self._position :].strip():
            raise self._build_syntax_error(
                "this parenthesis closes nothing" if self._peek() == ")" else "this is not a kind"
            )
        return node

    def _parse_order(self) -> Node:
        parts = [self._parse_series()]
        while self._peek() == "|":
            self._take()
            parts.append(self._parse_series())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _parse_series(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._parse_item())
        if not parts:
            raise self._build_syntax_error("a kind or a parenthesis is missing")
        return parts[0] if len(parts) == 1 else Series(tuple(parts))

    def _parse_item(self) -> Node:
        begun = self._position
        node: Node
        if self._peek() == "(":
            self._take()
            node = self._parse_order()
            if self._peek() != ")":
                self._position = begun
                raise self._build_syntax_error("this parenthesis is never closed")
            self._take()
        else:
            node = self._parse_atom()
        while (mark := self._peek()) and mark in "*+?":
            self._take()
            node = Repeat(node, optional=mark != "+", many=mark != "?")
        return node

    def _parse_atom(self) -> Atom:
        found = _TOKEN.match(self._text, self._position)
        if found is None or not found["kind"]:
            raise self._build_syntax_error("a kind is missing before this")
        guard = self._parse_guard(found["guard"], found.start("guard")) if found["guard"] else ()
        self._position = found.end()
        return Atom(found["kind"], guard)

    def _parse_guard(self, text: str, position: int) -> tuple[Test, ...]:
        tests = [_TEST.fullmatch(part) for part in text.strip()[1:-1].split(",")]
        if not all(tests):
            self._position = position
            raise self._build_syntax_error("a guard is {path=value, ...}")
        return tuple(
            Test(test["path"], tuple(value.strip() for value in test["values"].split("|")), bool(test["no"]))
            for test in tests
            if test
        )

    def _peek(self) -> str:
        """Return the next token: a mark, `kind`, or '' at the end and at a syntax error."""
        found = _TOKEN.match(self._text, self._position)
        return "" if found is None else found["mark"] or "kind"

    def _take(self) -> None:
        found = _TOKEN.match(self._text, self._position)
        self._position = found.end() if found else len(self._text)

    def _build_syntax_error(self, problem: str) -> OrderSyntaxError:
        position = self._position + len(self._text[self._position :]) - len(self._text[self._position :].lstrip())
        return OrderSyntaxError(self._text, position, problem)


@dataclass(frozen=True, slots=True)
class _Positions:
    """Glushkov's sets of a part: its first and last positions, and whether it accepts the empty sequence."""

    first: State
    last: State
    empty: bool


class Order:
    """An order of events as an automaton.

    >>> order = Order("opened piece* closed")
    >>> state = order.step(order.start, "opened")
    >>> [str(atom) for atom in order.allowed(state)], order.accepting(state)
    (['piece', 'closed'], False)
    """

    start: Final[State] = frozenset({_START})
    dead: Final[State] = frozenset()

    def __init__(self, text: str) -> None:
        """Compile `text`; raise OrderSyntaxError for a syntax error."""
        self.text = text
        self.tree = parse(text)
        self.atoms: list[Atom] = []
        self._follow: dict[int, set[int]] = {_START: set()}
        whole = self._add_positions(self.tree)
        self._follow[_START] |= whole.first
        self._last = whole.last | (self.start if whole.empty else frozenset())
        self._transitions: dict[tuple[State, str], tuple[State, bool]] = {}

    def list_kinds(self) -> tuple[str, ...]:
        """Return the kinds of the order without duplicates, in its sequence."""
        return tuple(dict.fromkeys(atom.kind for atom in self.atoms))

    def step(self, state: State, kind: str, payload: object = None) -> State:
        """Return the state after an event, `dead` if it is not allowed; None as payload meets every guard."""
        key = (state, kind)
        if key not in self._transitions:
            places = frozenset(place for place in self._find_successors(state) if self.atoms[place].kind == kind)
            self._transitions[key] = (places, any(self.atoms[place].guard for place in places))
        places, guarded = self._transitions[key]
        return frozenset(place for place in places if self.atoms[place].matches(payload)) if guarded else places

    def find_places(self, kind: str, payload: object = None) -> State:
        """Return all positions that match an event, whatever came before."""
        return frozenset(n for n, atom in enumerate(self.atoms) if atom.kind == kind and atom.matches(payload))

    def list_allowed(self, state: State) -> tuple[Atom, ...]:
        """Return the atoms that may come next, without duplicates, in the sequence of the order."""
        return tuple(dict.fromkeys(self.atoms[place] for place in sorted(self._find_successors(state))))

    def accepts(self, state: State) -> bool:
        """Tell whether the stream may end in this state."""
        return not self._last.isdisjoint(state)

    def find_example(self) -> tuple[Atom, ...] | None:
        """Return the shortest sequence that the order accepts, or None if there is none."""
        waiting: deque[tuple[State, tuple[Atom, ...]]] = deque([(self.start, ())])
        seen = {self.start}
        while waiting:
            state, series = waiting.popleft()
            if self.accepts(state):
                return series
            for place in sorted(self._find_successors(state)):
                here = frozenset({place})
                if here not in seen and self.atoms[place].is_possible():
                    seen.add(here)
                    waiting.append((here, (*series, self.atoms[place])))
        return None

    def is_empty(self) -> bool:
        """Tell whether the order accepts no sequence at all, because its guards contradict each other."""
        return self.find_example() is None

    def _find_successors(self, state: Iterable[int]) -> set[int]:
        return set().union(*(self._follow[place] for place in state))

    def _add_positions(self, node: Node) -> _Positions:
        """Add a position for every atom of a part, and the transitions between positions."""
        match node:
            case Atom():
                self.atoms.append(node)
                here = frozenset({len(self.atoms) - 1})
                self._follow[len(self.atoms) - 1] = set()
                return _Positions(here, here, empty=False)
            case Choice(parts):
                placed = [self._add_positions(part) for part in parts]
                return _Positions(
                    frozenset().union(*(part.first for part in placed)),
                    frozenset().union(*(part.last for part in placed)),
                    empty=any(part.empty for part in placed),
                )
            case Series(parts):
                return self._concatenate([self._add_positions(part) for part in parts])
            case Repeat(part, optional, many):
                inner = self._add_positions(part)
                if many:
                    self._link(inner.last, inner.first)
                return _Positions(inner.first, inner.last, empty=optional or inner.empty)

    def _concatenate(self, parts: list[_Positions]) -> _Positions:
        whole = parts[0]
        for part in parts[1:]:
            self._link(whole.last, part.first)
            whole = _Positions(
                whole.first | part.first if whole.empty else whole.first,
                whole.last | part.last if part.empty else part.last,
                empty=whole.empty and part.empty,
            )
        return whole

    def _link(self, before: State, after: State) -> None:
        for place in before:
            self._follow[place] |= after


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a stream in each alternative; empty once the alternative is ruled out."""

    states: tuple[State, ...]


class Alternatives:
    """Alternative orders, tracked in parallel; a stream must follow one of them."""

    def __init__(self, orders: Mapping[str, Order]) -> None:
        """Keep the orders by name."""
        self.orders = dict(orders)
        self.start = Progress(tuple(order.start for order in self.orders.values()))

    def step(self, progress: Progress, kind: str, payload: object = None) -> Progress:
        """Return the progress after an event."""
        pairs = zip(self.orders.values(), progress.states, strict=True)
        return Progress(tuple(order.step(state, kind, payload) for order, state in pairs))

    def resume(self, progress: Progress, kind: str, payload: object = None) -> Progress:
        """Return the progress as if the event had come in its place; unchanged if no order has one for it."""
        states = tuple(order.find_places(kind, payload) for order in self.orders.values())
        return Progress(states) if any(states) else progress

    def list_possible(self, progress: Progress) -> tuple[str, ...]:
        """Return the names of the alternatives that are still possible."""
        return tuple(name for name, state in zip(self.orders, progress.states, strict=True) if state)

    def complete(self, progress: Progress) -> tuple[str, ...]:
        """Return the names of the alternatives in which the stream may end here."""
        pairs = zip(self.orders.items(), progress.states, strict=True)
        return tuple(name for (name, order), state in pairs if order.accepts(state))

    def list_allowed(self, progress: Progress) -> tuple[Atom, ...]:
        """Return the atoms that may come next in any alternative that is still possible."""
        pairs = zip(self.orders.values(), progress.states, strict=True)
        return tuple(dict.fromkeys(atom for order, state in pairs for atom in order.list_allowed(state)))

    def list_kinds(self) -> tuple[str, ...]:
        """Return the kinds of all alternatives without duplicates."""
        return tuple(dict.fromkeys(kind for order in self.orders.values() for kind in order.list_kinds()))
