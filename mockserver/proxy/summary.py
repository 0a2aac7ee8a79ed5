"""What passed, and what of it was wrong: told at the end, and the reason for the exit code."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 20  # kinds of violations that are listed
_COUNTED = {
    "client": "{} with violations by the client",
    "server": "{} with violations by the server",
    "proxy": "{} without an answer",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of violation: whose it is, of which operation, and what.

    ``whose``  `client` or `server`; `proxy` where the server did not answer
    """

    whose: str
    operation: str
    what: str


class Summary:
    """Counts what passed. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.passed = self.kept = 0
        self.wrong: Counter[str] = Counter()
        self._kinds: Counter[Fault] = Counter()

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong."""
        return not self._kinds

    def note(self, whose: str, operation: str, messages: Iterable[str], *, again: bool = False) -> None:
        """Count an exchange in which something was wrong, unless it was counted before, and what."""
        found = list(messages)
        if not found:
            return
        with self._lock:
            self.wrong[whose] += not again
            for what in found:
                if len(self._kinds) < 10 * _SHOWN or Fault(whose, operation, what) in self._kinds:
                    self._kinds[Fault(whose, operation, what)] += 1

    def count(self, *, kept: bool = False) -> None:
        """Count an exchange that passed, or one that the mock has answered itself."""
        with self._lock:
            self.kept += kept
            self.passed += not kept

    def render_lines(self) -> list[str]:
        """Return what is told at the end."""
        with self._lock:
            asked = f"{self.passed} request{'' if self.passed == 1 else 's'} passed"
            asked += f", {self.kept} answered here" if self.kept else ""
            if not self._kinds:
                return [f"{asked}, none with a violation."]
            counts = [_COUNTED[whose].format(count) for whose, count in sorted(self.wrong.items())]
            shown = [
                f"  {fault.whose}  {fault.operation}: {fault.what}{f' ({count} times)' if count > 1 else ''}"
                for fault, count in self._kinds.most_common(_SHOWN)
            ]
            more = len(self._kinds) - _SHOWN
            return [f"{asked}: {', '.join(counts)}.", *shown, *([f"  and {more} more kinds"] if more > 0 else [])]
