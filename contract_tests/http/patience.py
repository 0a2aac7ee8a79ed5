"""How long the suite waits: in full until an operation has hung once, afterwards shorter, and in the end not at all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

_SHORTER_S = (5.0, 2.0, 1.0)  # after the first, the second and all further hangs of an operation
MAX_HANGS = 6  # hangs on requests of one sort, after which it is asked no more


class Sort(NamedTuple):
    """Requests of which one that hangs is a reason to expect the same of the others."""

    operation: str
    refused: bool
    streamed: bool


@dataclass(slots=True)
class Patience:
    """Remembers what hung and what was answered in this run."""

    _hangs: Counter[Sort] = field(default_factory=Counter)
    _answered: set[Sort] = field(default_factory=set)

    def seconds(self, sort: Sort, full_s: float) -> float:
        """Return how long to wait for the next piece of an answer, which for what has been answered before is in full.

        What has never been asked, of an operation that hung on something else, gets half of that. Requests that are to
        be refused are different from each other: that one was answered does not mean that the next one will be.
        """
        hangs = sum(count for other, count in self._hangs.items() if other.operation == sort.operation)
        if not hangs or (sort in self._answered and not (sort.refused and self._hangs[sort])):
            return full_s
        if not self._hangs[sort]:
            return full_s / 2
        return min(full_s, _SHORTER_S[min(hangs, len(_SHORTER_S)) - 1])

    def is_exhausted(self, sort: Sort) -> bool:
        """Tell whether requests of a sort have hung so often that nothing is learnt from one more."""
        return self._hangs[sort] >= MAX_HANGS

    def note(self, sort: Sort, *, hung: bool) -> None:
        """Take what came of a request."""
        if hung:
            self._hangs[sort] += 1
            self._answered.discard(sort)
        else:
            self._answered.add(sort)

    def hanging(self) -> set[str]:
        """Return the names of the operations that hung."""
        return {sort.operation for sort in self._hangs}
