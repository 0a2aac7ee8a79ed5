"""One stream contract as an automaton over events: which may come next, and whether the stream may end here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from flowcontract.streams.contract import StreamContract
    from flowcontract.streams.order import Progress


@dataclass(frozen=True, slots=True)
class Symbol:
    """An event as an order sees it: its kind, and the values of the fields that a guard asks about."""

    kind: str
    values: tuple[tuple[str, str], ...] = ()

    def build_payload(self) -> dict[str, Any]:
        """Return the smallest payload that an order reads as this symbol."""
        payload: dict[str, Any] = {}
        for path, value in self.values:
            *above, last = path.split(".")
            holder = payload
            for name in above:
                holder = holder.setdefault(name, {})
            holder[last] = value
        return payload

    def __str__(self) -> str:
        return self.kind + (f"{{{', '.join(f'{path}={value}' for path, value in self.values)}}}" if self.values else "")


class State(NamedTuple):
    """How far a stream has come under one contract."""

    progress: Progress
    ended: bool


class Machine:
    """One stream contract as an automaton over symbols; it steps as `StreamJudge` does."""

    def __init__(self, contract: StreamContract) -> None:
        """Read the orders and the ends of a contract."""
        self.contract = contract
        self.start = State(contract.orders.start, ended=False)

    def step(self, state: State, symbol: Symbol) -> State | None:
        """Return the state after an event; None where the contract forbids it there."""
        return self.follow(state, symbol.kind, symbol.build_payload())

    def follow(self, state: State, kind: str, payload: object) -> State | None:
        """Return the same for an event by its kind and what it says."""
        contract = self.contract
        known = kind in contract.events
        if not known and not contract.unknown_allowed and kind not in contract.undocumented:
            return None
        if kind in contract.anywhere:
            return state
        if state.ended and kind not in contract.after_end:
            return None
        if not known:
            return state
        progress = contract.orders.step(state.progress, kind, payload)
        return State(progress, state.ended or kind in contract.end) if contract.orders.list_possible(progress) else None

    def accepts(self, state: State) -> bool:
        """Tell whether a stream may end here."""
        return state.ended and bool(self.contract.orders.complete(state.progress))
