"""What has happened in a world, for scenarios that answer only so often (`times`), or after something (`after`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcontract.scenarios import Scenario
    from mockserver.stores import Store


class Past:
    """The past of one world, whose lock is held while it is asked or told."""

    def __init__(self, store: Store) -> None:
        """Remember in counters of a store."""
        self._store = store

    def choose(self, find: Callable[[Callable[[Scenario], bool]], Scenario | None]) -> Scenario | None:
        """Let `find` look among the scenarios that may still, or already, answer; count the one that it finds."""
        scenario = find(self._allows)
        if scenario is not None and scenario.request is not None and scenario.request.times is not None:
            self._store.count(f"served {scenario.path}")
        return scenario

    def note(self, operation: str, status: int) -> None:
        """Remember that an operation has been answered; only success counts."""
        if status < 400 and not self._store.counted(f"done {operation}"):  # noqa: PLR2004 - the first status that refuses
            self._store.count(f"done {operation}")

    def _allows(self, scenario: Scenario) -> bool:
        match = scenario.request
        if match is None:
            return True
        often = match.times is None or self._store.counted(f"served {scenario.path}") < match.times
        return often and (match.after is None or self._store.counted(f"done {match.after}") > 0)
