"""Group commit: what several transactions have changed is written at once, and nobody is answered before it is.

A transaction that ends well only *waits* to be written. Then either
- its thread goes on when `flush` has written it, together with whatever else waited: the rule; or
- it ended within `hold()`: its thread goes on at once, answers nobody, and looks at the effects after a `flush`.

The event loop holds all requests of one turn and flushes once. Locks are taken in one order: the group's, then those of
worlds; nobody who holds a world waits for the group.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from flowcontract.errors import StateUnwritableError
from mockserver.http.failures import complain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from mockserver.state.written import WrittenStore


class Effect:
    """What one transaction has done that is not written yet.

    ``reading``     it succeeds without a trace where nothing can be written: it read, and only what was written
    ``on_commit``   called when it is written, ``on_discard`` when nothing of it remains
    ``error``       why it is not written; None where it is, or may yet be
    """

    __slots__ = ("error", "on_commit", "on_discard", "reading")

    def __init__(
        self, on_commit: list[Callable[[], None]], on_discard: list[Callable[[], None]], *, reading: bool
    ) -> None:
        self.on_commit, self.on_discard, self.reading = on_commit, on_discard, reading
        self.error: Exception | None = None

    def fail(self, error: Exception) -> None:
        """Note that nothing of it remains."""
        if self.reading and isinstance(error, StateUnwritableError):
            complain(error)
        else:
            self.error = error


class Member(Protocol):
    """The transactions of one world, as a group sees them."""

    lock: AbstractContextManager[object]

    @property
    def store(self) -> WrittenStore:
        """Where it writes."""

    def finish(self, error: Exception | None) -> list[Callable[[], None]]:
        """End what waited: it is written, or taken back because of an error. Return what is to be called then."""


class Group:
    """The worlds of a state in which something waits to be written. May be used from several threads."""

    def __init__(self, write: Callable[[Sequence[WrittenStore]], list[Exception | None]]) -> None:
        """Let `write` make last what waits in some stores, and tell for each why it could not."""
        self._write = write
        self._lock = threading.Lock()
        self._members: dict[Member, None] = {}
        self._own = threading.local()

    @property
    def holds(self) -> bool:
        """Whether this thread may not wait: it is within `hold`."""
        return getattr(self._own, "effects", None) is not None

    @property
    def is_polite(self) -> bool:
        """Whether this thread asks for no world that another worker has which can answer itself."""
        return getattr(self._own, "polite", False)

    @contextmanager
    def hold(self, *, polite: bool = False) -> Iterator[list[Effect]]:
        """Let the transactions of this thread wait for the next `flush`; yield the list that gets their effects."""
        effects: list[Effect] = []
        self._own.effects, self._own.polite = effects, polite
        try:
            yield effects
        finally:
            self._own.effects, self._own.polite = None, False

    def add(self, member: Member, effect: Effect) -> None:
        """Let a member wait, whose lock is held."""
        self._members[member] = None
        if self.holds:
            self._own.effects.append(effect)

    def flush(self) -> None:
        """Write all that waits; whoever wants to know how that went looks at its effects."""
        with self._lock, ExitStack() as locks:
            members = list(self._members)
            for member in members:
                locks.enter_context(member.lock)
                del self._members[member]
            calls = self._finish(members)
        for call in calls:
            call()

    def _finish(self, members: list[Member]) -> list[Callable[[], None]]:
        try:
            errors = self._write([member.store for member in members])
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may believe that it was written
            errors = [error] * len(members)
        return [call for member, error in zip(members, errors, strict=True) for call in member.finish(error)]
