"""Which exchanges have changed since somebody looked: what a watcher reads, and where one that comes back goes on.

Nothing is kept for a watcher. Each change has a revision; whoever remembers the last one they saw asks for what is
newer, however slowly they read, and sees of each exchange what it is now.
"""

from __future__ import annotations

import threading
import uuid
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Numbered(Protocol):
    """What changes: it has a number of its own."""

    number: int


_N = TypeVar("_N", bound=Numbered)


class Changed(NamedTuple):
    """What has changed.

    ``epoch``    the revisions count from its beginning; another one makes them meaningless
    ``resumed``  False where not all is known that changed since: then the rows are all that is remembered
    ``rows``     revision and content, in the order of the revisions
    """

    epoch: str
    resumed: bool
    rows: Sequence[tuple[int, Any]]


class Changes(Generic[_N]):
    """The last `limit` things that changed, each once. May be used from several threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._watchers: frozenset[Callable[[], None]] = frozenset()
        self._begin()

    def _begin(self) -> None:
        self._epoch = uuid.uuid4().hex[:12]
        self._revision = self._lost = 0
        self._rows: dict[int, tuple[int, _N]] = {}

    def note(self, changed: _N, *, again: bool = False) -> None:
        """Note that something has changed, and wake those who watch; `again` only if it was not forgotten meanwhile."""
        with self._lock:
            if again and changed.number not in self._rows:
                return
            self._add(changed)
        for call in self._watchers:
            call()

    def _add(self, changed: _N) -> None:
        self._revision += 1
        self._rows.pop(changed.number, None)
        self._rows[changed.number] = (self._revision, changed)
        if len(self._rows) > self._limit:
            self._lost, _ = self._rows.pop(next(iter(self._rows)))

    def restart(self, kept: Iterable[_N]) -> None:
        """Forget all but what is `kept`, in a new epoch, so that those who watch begin anew as well."""
        with self._lock:
            self._begin()
            for each in kept:
                self._add(each)
        for call in self._watchers:
            call()

    def list_since(self, epoch: str, after: int, limit: int) -> Changed:
        """Return up to `limit` of what has changed since the revision `after` of an epoch."""
        with self._lock:
            resumed = epoch == self._epoch and self._lost <= after <= self._revision
            first = after if resumed else 0
            rows = list(takewhile(lambda row: row[0] > first, reversed(self._rows.values())))
        return Changed(self._epoch, resumed, rows[::-1][:limit])

    def watch(self, call: Callable[[], None]) -> None:
        """Call `call` after each change."""
        with self._lock:
            self._watchers |= {call}

    def unwatch(self, call: Callable[[], None]) -> None:
        """Call it no more."""
        with self._lock:
            self._watchers -= {call}
