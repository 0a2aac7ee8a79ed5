"""What has happened in a world, for scenarios that answer only so often (`times`), or after something (`after`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowcontract.scenarios import Scenario
    from mockserver.state.store import Store


class ScenarioUsage:
    """The past of one world, whose lock is held while it is asked or told."""

    def __init__(self, store: Store) -> None:
        """Remember in counters of a store."""
        self._store = store

    def allows(self, scenario: Scenario) -> bool:
        """Tell whether a scenario may still, or already, answer."""
        match = scenario.request
        if match is None:
            return True
        often = match.times is None or self._store.read_counter(f"served {scenario.path}") < match.times
        return often and (match.after is None or self._store.read_counter(f"done {match.after}") > 0)

    def note_served(self, scenario: Scenario) -> None:
        """Count that a scenario has answered, where that matters."""
        if scenario.request is not None and scenario.request.times is not None:
            self._store.count(f"served {scenario.path}")

    def note(self, operation: str, status: int) -> None:
        """Remember that an operation has been answered; only success counts."""
        if status < 400 and not self._store.read_counter(f"done {operation}"):  # noqa: PLR2004 - the first status that refuses
            self._store.count(f"done {operation}")
