"""What has happened in a world, for scenarios that answer only so often (`times`), or after something (`after`)."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowcontract.scenarios import Scenario


class Past:
    """The past of one world. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._served: Counter[Path] = Counter()
        self._done: set[str] = set()

    def choose(self, find: Callable[[Callable[[Scenario], bool]], Scenario | None]) -> Scenario | None:
        """Let `find` look among the scenarios that may still, or already, answer; count the one that it finds."""
        with self._lock:
            scenario = find(self._allows)
            if scenario is not None and scenario.request is not None and scenario.request.times is not None:
                self._served[scenario.path] += 1
            return scenario

    def note(self, operation: str, status: int) -> None:
        """Remember that an operation has been answered; only success counts."""
        if status < 400:  # noqa: PLR2004 - the first status that refuses
            with self._lock:
                self._done.add(operation)

    def _allows(self, scenario: Scenario) -> bool:
        match = scenario.request
        if match is None:
            return True
        often = match.times is None or self._served[scenario.path] < match.times
        return often and (match.after is None or match.after in self._done)
