"""What a world's operations answer until told otherwise, for clients that can send neither header nor suffix."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mockserver.request.preferences import ScenarioPreference


@dataclass(slots=True)
class Override:
    """One order. `operation` is qualified; `world` None means every world; `left` is how often, None always."""

    operation: str
    scenario: str
    world: str | None = None
    left: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as `/__mock__/overrides` lists and takes it."""
        return {"world": self.world, "operation": self.operation, "scenario": self.scenario, "times": self.left}


OnDiscard = Callable[[Callable[[], None]], None]
"""Is given what takes something back."""


def ignore(_call: Callable[[], None]) -> None:
    """Take nothing back."""


class Overrides:
    """All orders that stand; at most one per world and operation. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: dict[tuple[str | None, str], Override] = {}

    def put(self, override: Override) -> None:
        """Add an order, or replace the one of the same world and operation."""
        with self._lock:
            self._orders[override.world, override.operation] = override

    def take(self, world: str, operation: str, on_discard: OnDiscard = ignore) -> ScenarioPreference | None:
        """Return what an operation has to answer in a world, and count it; what is for this world alone comes first.

        `on_discard` is told how to take that back.
        """
        with self._lock:
            order = self._orders.get((world, operation)) or self._orders.get((None, operation))
            if order is None:
                return None
            if order.left is not None:
                order.left -= 1
                on_discard(partial(self._give_back, order))
                if not order.left:
                    del self._orders[order.world, operation]
            return ScenarioPreference.from_name(order.scenario, "override")

    def _give_back(self, order: Override) -> None:
        """Take back that an order was counted, unless another one stands in its place by now."""
        with self._lock:
            if self._orders.setdefault((order.world, order.operation), order) is order:
                order.left = (order.left or 0) + 1

    def list_all(self) -> list[Override]:
        """Return all orders, the oldest first."""
        with self._lock:
            return list(self._orders.values())

    def remove(self, *, world: str | None = None, operation: str | None = None) -> int:
        """Remove what was ordered for a world, an operation, both, or everything; return how many there were."""
        with self._lock:
            removed = [key for key in self._orders if world in (None, key[0]) and operation in (None, key[1])]
            for key in removed:
                del self._orders[key]
            return len(removed)

    def withdraw(self, world: str | None, operation: str) -> int:
        """Remove the one order for a world, or for all of them together; return how many there were."""
        with self._lock:
            return 0 if self._orders.pop((world, operation), None) is None else 1
