"""One world as a worker sees it that shares it with others through Redis, and what is written of it."""

from __future__ import annotations

import json
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcontract.errors import StateError, StateUnreachableError, StateUnwritableError
from mockserver.blobs.blob import Blob
from mockserver.state.redis.connection import PREFIX
from mockserver.state.store import escape
from mockserver.state.written import WrittenStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mockserver.state.redis.worlds import SharedState
    from mockserver.state.store import Place
    from mockserver.state.written import Changes

_REMEMBERED = 2000  # changes of a world that a worker may have missed before it reads the world as a whole
_GONE, _TAKEN = 1, 2  # what commit.lua returns
_EVERYTHING = -1  # a version for begin.lua


class WorldSnapshot(NamedTuple):
    """What `begin.lua` tells of a world: triples of kind, place and text (None where it was deleted)."""

    life: str
    version: int
    whole: bool
    changes: list[bytes | None]


class _Write:
    """What is written of one store: a script, and what its result means; without a script why nothing can be."""

    def __init__(self, state: SharedState, store: RedisStore, world: str, snapshot: WorldSnapshot) -> None:
        self._state, self._store, self._world = state, store, world
        self._sent: dict[str, Blob] = {}
        self._size = 0
        self.error: StateError | None = None
        self.script: tuple[str, tuple[str, ...], list[Any]] | None = None
        self._lets_go = state.is_asked(world)
        worker = store.worker
        try:
            changes = [value for change in self._list_texts(store.collect_changes()) for value in change]
        except StateError as error:
            self.error = self._drop(error)
            return
        self._size = len(changes) // 3
        fixed = [PREFIX, escape(world), worker, state.link.mark(), snapshot.life, int(store.is_busy), _REMEMBERED]
        self.script = "commit", (), [*fixed, state.lease_ms, int(self._lets_go), *changes]

    def _list_texts(self, changes: Changes) -> Iterator[tuple[str, str, str]]:
        """Yield changes as they are written; the bytes of files are there before anything refers to them."""
        for name, value in changes.counters.items():
            yield "c", _dump(name), str(value)
        for place, entry in changes.records.items():
            yield "r", _dump(place), "" if entry is None else _dump(entry)
        for place, blob in changes.files.items():
            yield "f", _dump(place), "" if blob is None else self._send(blob)

    def _send(self, blob: Blob) -> str:
        text = self._state.send(self._world, blob)
        self._sent[text.partition(" ")[0]] = blob
        return text

    def take(self, result: Any) -> StateError | None:
        """Note what came of it; return why it is not written."""
        if isinstance(result, StateError):
            return self.fail(result)
        outcome, *stored = result
        if outcome == _TAKEN:
            (self._state.stored,) = stored
            self._store.advance(self._size)
            if self._lets_go:
                self._store.leave()
                self._state.note_given(self._world)
            for content, blob in self._sent.items():
                blob.move(partial(self._state.open, content))
            return None
        if outcome == _GONE:
            self._store.detach()
            return self._drop(StateUnreachableError(f"{self._world} was reset meanwhile. Ask again."))
        self._state.link.lose()
        return self.fail(
            StateUnreachableError(
                f"This worker held {self._world} for more than {self._state.lease_ms / 1000:g} s. Ask again."
            )
        )

    def fail(self, error: StateError) -> StateError:
        """Note that it is not written, or that nobody knows whether it is."""
        if not isinstance(error, StateUnwritableError):
            self._store.lose()
        return self._drop(error)

    def _drop(self, error: StateError) -> StateError:
        self._state.forget_contents(self._sent)
        return error


class RedisStore(WrittenStore):
    """A Store in Redis of which this worker has a copy; whoever leases the world has its latest state.

    ``lock``  held by whoever is in a transaction of the world
    ``used``  when the last transaction began, by the monotonic clock
    ``uses``  how many have begun since the world was taken hold of
    """

    def __init__(self, state: SharedState, world: str) -> None:
        """Begin with nothing; `begin` brings what there is."""
        super().__init__()
        self.fresh, self.stale = True, False
        self.worker = ""
        self.lock = threading.RLock()
        self.used, self.uses = 0.0, 0
        self._state: SharedState | None = state
        self._world = world
        self._snapshot: WorldSnapshot | None = None
        self._lease = ""  # the name of this worker as which it holds the world
        self._whole = False

    @property
    def shared(self) -> RedisStore:
        """The store itself: other workers write into it."""
        return self

    @property
    def workers(self) -> frozenset[str]:
        """The workers that are alive."""
        return self._state.link.alive if self._state else frozenset()

    @property
    def is_leased(self) -> bool:
        """Whether this worker holds the world."""
        return self._state is not None and bool(self._lease) and self._lease == self._state.link.worker

    @property
    def is_busy(self) -> bool:
        """Whether something may run in the world."""
        return "tasks" in self._tables

    @property
    def waits(self) -> bool:
        """Whether anything is not written yet."""
        return self.has_changed or bool(self._records_written or self._counters_written or self._blobs_written)

    def begin(self) -> list[Place] | None:
        """Take hold of the world, and apply other workers' writes; return the places changed, None means everything.

        Raise WorldAwaitedError where another worker has it, and this thread may not wait.
        """
        state, self.used, self.uses = self._state, time.monotonic(), self.uses + 1
        if state is None or self.is_leased:
            return []
        known = self._snapshot
        life, version = (known.life, known.version) if known else ("", 0)
        version = _EVERYTHING if self._whole else version
        if not state.group.holds:
            snapshot = state.acquire(self._world, life, version)
        else:
            snapshot = state.try_soon(self._world, life, version)
        self._lease = self.worker = state.link.worker
        if snapshot is None:
            self.detach()
            return []
        return self._catch_up(snapshot)

    def _catch_up(self, snapshot: WorldSnapshot) -> list[Place] | None:
        first = self._snapshot is None
        changes = snapshot.changes
        texts = {(changes[at], changes[at + 1]): changes[at + 2] for at in range(0, len(changes), 3)}
        if snapshot.whole:
            self._tables, self._counters, self._blobs = {}, {}, {}
        places = self._take(texts)
        self._snapshot = snapshot._replace(changes=[])
        self.fresh = first and not self._counters
        self._whole = False
        return None if snapshot.whole and not first else places

    def commit(self) -> None:
        """Write what has changed now; where nobody knows whether it was written, everything is read again."""
        if self._state is not None:
            (error,) = self._state.write_group([self])
            if error is not None:
                raise error
        super().commit()

    def describe(self) -> _Write | None:
        """Return what has to be written; None where the world was reset."""
        if self._state is None or self._snapshot is None:
            return None
        return _Write(self._state, self, self._world, self._snapshot)

    def advance(self, count: int) -> None:
        """Note that so many changes of this worker are in Redis."""
        if self._snapshot is not None:
            self._snapshot = self._snapshot._replace(version=self._snapshot.version + count)

    def leave(self) -> None:
        """Note that this worker has let go of the world."""
        self._lease, self.uses = "", 0

    def lose(self) -> None:
        """Note that nobody knows what is in Redis: everything has to be read again."""
        self._lease, self._whole = "", True

    def detach(self) -> None:
        """Read and write nothing of other workers any more: the world was reset."""
        self._state, self.stale = None, True

    def call(self, task: str) -> None:
        """Ask the worker in which a task runs to stop it."""
        if self._state is not None:
            self._state.link.publish(self._world, task)

    def _take(self, texts: dict[tuple[Any, Any], bytes | None]) -> list[Place]:
        """Apply what other workers wrote; records in the order of their numbers, behind what was deleted."""
        records: list[tuple[int, Place, Any]] = []
        places: list[Place] = []
        for (kind, place_text), text in texts.items():
            place = json.loads(place_text)
            if kind == b"c":
                self._counters[place] = int(text or 0)
                continue
            table, key = place
            places.append((table, key))
            if kind == b"f":
                self._hear_file((table, key), text)
                continue
            number, record = json.loads(text) if text is not None else (-1, None)
            found = self._tables.get(table)
            if found and key in found.records and found.numbers[key] != number:
                found.delete(key)
                if not found.records:
                    del self._tables[table]
            if record is not None:
                records.append((number, (table, key), record))
        for number, (table, key), record in sorted(records, key=lambda entry: entry[0]):
            self._get_table(table).put(key, record, number)
        return places

    def _hear_file(self, place: Place, text: bytes | None) -> None:
        if text is None or self._state is None:
            self._blobs.pop(place, None)
        else:
            content, _, size = text.decode().partition(" ")
            self._blobs[place] = Blob(partial(self._state.open, content), int(size))


_dump = json.JSONEncoder(separators=(",", ":")).encode
