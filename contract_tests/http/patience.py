"""How long the suite waits for an operation: in full until it hangs once, then less, in the end not at all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

_SHORTER_S = (5.0, 2.0, 1.0)  # after the first, the second and all further hangs of an operation
MAX_HANGS = 6  # on requests of one sort, after which no more of it are sent


class Sort(NamedTuple):
    """A sort of requests: if one of them hangs, the others are likely to."""

    operation: str
    refused: bool
    streamed: bool


@dataclass(slots=True)
class Patience:
    """Remembers which requests of a run hung and which were answered."""

    _hangs: Counter[Sort] = field(default_factory=Counter)
    _answered: set[Sort] = field(default_factory=set)

    def choose_seconds(self, sort: Sort, full_s: float) -> float:
        """Return how long to wait for the next piece of an answer: in full where requests of the sort were answered.

        A sort that was never sent, of an operation that hung on another sort, gets half. Requests that are to be
        refused differ from each other: an answer to one of them says little about the next.
        """
        hangs = sum(count for other, count in self._hangs.items() if other.operation == sort.operation)
        if not hangs or (sort in self._answered and not (sort.refused and self._hangs[sort])):
            return full_s
        if not self._hangs[sort]:
            return full_s / 2
        return min(full_s, _SHORTER_S[min(hangs, len(_SHORTER_S)) - 1])

    def is_exhausted(self, sort: Sort) -> bool:
        """Tell whether requests of a sort have hung so often that another one would show nothing new."""
        return self._hangs[sort] >= MAX_HANGS

    def note(self, sort: Sort, *, hung: bool) -> None:
        """Note whether a request hung."""
        if hung:
            self._hangs[sort] += 1
            self._answered.discard(sort)
        else:
            self._answered.add(sort)
