"""What happens in a world happens as a whole or not at all: `with world.transaction():`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

from flowcontract.errors import StateUnwritableError
from mockserver.http.failures import complain
from mockserver.state.group import Effect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from mockserver.state.group import Group
    from mockserver.state.quotas import Ledger
    from mockserver.state.store import Place, Store
    from mockserver.state.written import WrittenStore


class Transactions:
    """The transactions of one world, one at a time. Whoever is in one may enter it again; only the outermost counts.

    At its end what was written is made to last. Where an exception leaves it, or that fails, nothing of it remains.

    ``owed``  what could not be written down when it happened; each is called in the next transaction of a request
    ``lock``  held by whoever is in one
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger | None = None,
        catch_up: Callable[[], object] | None = None,
        group: Group | None = None,
        lock: AbstractContextManager[object] | None = None,
    ) -> None:
        """Write into `store`, and count in `ledger` what has changed, if there is one.

        `catch_up` is called at the beginning of each, to apply what others have written. With a `group` the store is a
        WrittenStore, and what was done is written with what is done in other worlds. The `lock` may be entered again.
        """
        self.owed: list[Callable[[], None]] = []
        self.lock = lock or threading.RLock()
        self._store, self._ledger = store, ledger
        self._catch_up = catch_up
        self._group = group
        self._depth = 0
        self._on_commit: list[Callable[[], None]] = []
        self._on_discard: list[Callable[[], None]] = []
        self._waiting: list[Effect] = []

    def __call__(self, *, reading: bool = False) -> AbstractContextManager[None]:
        """Return one transaction; where nothing can be written one that is only `reading` succeeds without a trace."""
        return _Transaction(self, reading)

    def on_commit(self, call: Callable[[], None]) -> None:
        """Call when the transaction has succeeded, and never otherwise: for what cannot be taken back."""
        self._on_commit.append(call)

    def on_discard(self, call: Callable[[], None]) -> None:
        """Call when nothing of the transaction remains: to take back what is not in the store."""
        self._on_discard.append(call)

    def pay(self) -> None:
        """Make up for what could not be written down; it stays owed until it is."""
        if self.owed:
            for call in self.owed:
                call()
            self.on_commit(self.owed.clear)

    def enter(self) -> None:
        """Wait for the turn of this thread, and begin."""
        self.lock.__enter__()
        try:
            if not self._depth and self._catch_up is not None:
                self._catch_up()
        except BaseException:
            self.lock.__exit__(None, None, None)
            raise
        self._depth += 1

    def leave(self, *, succeeded: bool, reading: bool) -> None:
        """End, for good or for the part that was entered last."""
        effect = None
        try:
            if self._depth == 1 and succeeded and self._group is not None:
                effect = self._postpone(self._group, reading=reading)
            elif self._depth == 1 and succeeded:
                self._commit(reading=reading)
            elif self._depth == 1:
                self._discard(())
        finally:
            self._depth -= 1
            self.lock.__exit__(None, None, None)
        if effect is not None and self._group is not None and not self._group.holds:
            self._group.flush()
            if effect.error is not None:
                raise effect.error

    # Alone

    def _commit(self, *, reading: bool) -> None:
        if not self._store.has_changed and not self._on_commit:  # most requests only look
            self._on_discard.clear()
            return
        written = self._store.changed
        try:
            self._make_room(written)
            self._store.commit()
        except BaseException as error:
            self._discard(() if self._store.lasts else self._store.changed)
            if not (reading and isinstance(error, StateUnwritableError)):
                raise
            complain(error)
            return
        if self._ledger is not None and self._store.lasts:
            self._ledger.count(written)
        self._on_discard.clear()
        calls, self._on_commit = self._on_commit, []
        for call in calls:
            call()

    def _make_room(self, written: Sequence[Place]) -> None:
        if self._ledger is not None and not self._store.lasts:  # what is forgotten now is part of the transaction
            self._ledger.count(written)
            self._ledger.make_room()

    def _discard(self, counted: Sequence[Place]) -> None:
        self._store.discard()
        if self._ledger is not None:
            self._ledger.count(counted)
        self._on_commit.clear()
        calls, self._on_discard = self._on_discard[::-1], []
        for call in calls:
            call()

    # In a group

    @property
    def store(self) -> WrittenStore:
        """The store, of which a group writes what waits."""
        return cast("WrittenStore", self._store)

    def _postpone(self, group: Group, *, reading: bool) -> Effect | None:
        """Let what was done wait to be written; None where that is nothing, and nothing that was seen waits."""
        if not self._store.has_changed and not self._on_commit and not self._waiting:
            self._on_discard.clear()
            return None
        written = self._store.changed
        try:
            self._make_room(written)
        except BaseException:
            self._discard(self._store.changed)
            raise
        self.store.postpone()
        has_read_waiting = any(not effect.reading for effect in self._waiting)
        effect = Effect(self._on_commit, self._on_discard, reading=reading and not has_read_waiting)
        self._on_commit, self._on_discard = [], []
        self._waiting.append(effect)
        group.add(self, effect)
        return effect

    def finish(self, error: Exception | None) -> list[Callable[[], None]]:
        """End what waited: it is written, or taken back because of an error. Return what is to be called then."""
        waiting, self._waiting = self._waiting, []
        written = self.store.postponed
        if error is None:
            self.store.note_written()
            if self._ledger is not None and self._store.lasts:
                self._ledger.count(written)
            return [call for effect in waiting for call in effect.on_commit]
        self.store.take_back()
        if self._ledger is not None and not self._store.lasts:
            self._ledger.count(written)
        for effect in waiting:
            effect.fail(error)
        return [call for effect in waiting[::-1] for call in effect.on_discard[::-1]]


class _Transaction:
    """One of them, to be entered with `with`."""

    __slots__ = ("_all", "_reading")

    def __init__(self, transactions: Transactions, reading: bool) -> None:
        self._all, self._reading = transactions, reading

    def __enter__(self) -> None:
        self._all.enter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._all.leave(succeeded=kind is None, reading=self._reading)
