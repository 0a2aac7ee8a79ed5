"""The same request with different answers: how often each answers (`times`), and after what (`after`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mockserver.importing.requests import REFUSES_KEYS
from mockserver.importing.substitution import write_canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mockserver.importing.exchanges import Exchange

_ERRORS = 400


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer in the order of those to the same request; `exchanges` are those that had it.

    ``number``  from 1, of `count`; both 1 where a request always had the same answer
    """

    exchanges: tuple[Exchange, ...]
    number: int = 1
    count: int = 1
    times: int | None = None
    after: str | None = None


@dataclass(slots=True)
class _Successes:
    """When each operation first succeeded, by the place of the exchange."""

    first: dict[str, int] = field(default_factory=dict)

    def find_between(self, start: int, stop: int, *, but: str) -> str | None:
        """Return the operation that succeeded for the first time between two places, the latest; None for none."""
        found = [(place, name) for name, place in self.first.items() if start < place < stop and name != but]
        return max(found)[1] if found else None


def order(exchanges: Sequence[Exchange]) -> list[Turn]:
    """Return the answers to each request, in the order in which they were recorded."""
    groups: dict[str, list[Exchange]] = {}
    successes: dict[str, _Successes] = {}
    for exchange in exchanges:
        groups.setdefault(f"{exchange.operation.name} {write_canonical(exchange.request)}", []).append(exchange)
        if exchange.status < _ERRORS and exchange.operation.method != "GET":
            first = successes.setdefault(exchange.operation.api, _Successes()).first
            first.setdefault(exchange.operation.id, exchange.place)
    return [
        turn
        for group in groups.values()
        for turn in _order_group(group, successes.get(group[0].operation.api, _Successes()))
    ]


def _order_group(group: Sequence[Exchange], successes: _Successes) -> Iterable[Turn]:
    runs: list[list[Exchange]] = []
    for exchange in group:
        if runs and runs[-1][-1].answer_key == exchange.answer_key:
            runs[-1].append(exchange)
        else:
            runs.append([exchange])
    turns = [Turn(tuple(run), number, len(runs), times=len(run)) for number, run in enumerate(runs, 1)]
    for number in range(1, len(turns)):
        turns[number] = replace(turns[number], after=_find_cause(turns[number - 1], turns[number], successes))
    return [replace(turn, times=_count_times(turns, number)) for number, turn in enumerate(turns)]


def _find_cause(before: Turn, turn: Turn, successes: _Successes) -> str | None:
    """Return what made the answer another one; an answer that needed it before keeps needing it."""
    first, operation = turn.exchanges[0], turn.exchanges[0].operation
    if first.status in REFUSES_KEYS and "headers" in first.request:
        return None
    start, stop = before.exchanges[-1].place, turn.exchanges[0].place
    return successes.find_between(start, stop, but=operation.id) or before.after


def _count_times(turns: Sequence[Turn], number: int) -> int | None:
    """Return how often an answer comes: for ever if it is the last, or the last before something else happened."""
    turn = turns[number]
    if number == len(turns) - 1:
        return None
    waits = turns[number + 1].after is not None and turns[number + 1].after != turn.after
    return None if waits and turn.after is None else turn.times
