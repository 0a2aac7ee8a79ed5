"""Worlds in Redis: each worker has copies, applies the others' writes when it locks one, and writes its own changes."""

from __future__ import annotations

import contextlib
import io
import json
import random
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from flowcontract.errors import StateError, StateUnreachableError, StateUnwritableError
from mockserver.blobs.blob import Blob, Parts
from mockserver.state.redis.connection import LIFE_S, PREFIX, Link
from mockserver.state.store import WrittenStore, escape, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mockserver.state.quotas import Limits
    from mockserver.state.store import Changes, Place

LEASE_S = 10
"""How long a worker may hold a world; then others may take it, and what it writes afterwards is refused."""
_PART = 1 << 20  # bytes of a file that are sent and read at a time
_REMEMBERED = 2000  # changes of a world that a worker may have missed before it reads the world as a whole
_UNUSED_S = 600  # bytes of a file that nothing refers to after so long never will be
_HELD, _GONE, _TAKEN = 0, 1, 2  # what begin.lua and commit.lua return


class WorldSnapshot(NamedTuple):
    """What `begin.lua` tells of a world: triples of kind, place and text (None where it was deleted)."""

    life: str
    version: int
    whole: bool
    changes: list[bytes | None]
    stored: int
    overrides: int
    workers: list[bytes]


class SharedState:
    """All worlds in one database of Redis.

    ``stored``     bytes of files in all worlds, ``overrides`` how many orders stand, ``workers`` who is alive:
                   all as they were when a world was last taken hold of
    """

    def __init__(self, url: str, limits: Limits) -> None:
        """Connect; raise StateError where that is not possible."""
        self.link = Link(url)
        self.stored = self.overrides = 0
        self.workers: frozenset[str] = frozenset()
        self._limits = limits
        self._stores: WeakValueDictionary[str, RedisStore] = WeakValueDictionary()

    @property
    def shared(self) -> SharedState:
        """The backend itself: other workers use the same place."""
        return self

    def names(self) -> list[str]:
        """Return the names of all worlds."""
        return [unescape(name.decode()) for name in self.link.ask("zrange", f"{PREFIX}worlds", 0, -1)]

    def store(self, world: str) -> RedisStore:
        """Return the store of one world; there must not be two at a time in one worker."""
        store = self._stores[world] = RedisStore(self, world)
        return store

    def forget(self, world: str) -> None:
        """Delete a world; what is still written into its store is not kept."""
        if store := self._stores.pop(world, None):
            store.detach()
        self.link.run("reset", PREFIX, escape(world))

    def hear(self, stop: Callable[[str, str], None]) -> None:
        """Call `stop` with world and task when another worker is asked to stop what may run in this one."""
        self.link.start(stop)

    def close(self) -> None:
        """Let go of the connections."""
        self.link.close()

    def begin(self, world: str, token: str, life: str, version: int) -> WorldSnapshot | None:
        """Lock a world, waiting for it; None where it was reset since `life` began."""
        values = (PREFIX, escape(world), token, LEASE_S * 1000, LIFE_S, life, version)
        until, wait_s = time.monotonic() + 2 * LEASE_S, 0.0002
        while True:
            outcome, *fields = self.link.run("begin", *values, self._limits.worlds, self._limits.state)
            if outcome == _TAKEN:
                found = WorldSnapshot(fields[0].decode(), fields[1], bool(fields[2]), *fields[3:])
                self.stored, self.overrides = found.stored, found.overrides
                self.workers = frozenset(worker.decode() for worker in found.workers)
                return found
            if outcome == _GONE:
                return None
            if time.monotonic() > until:
                raise StateUnreachableError(f"Another worker does not let go of {world}. Ask again.")
            time.sleep(wait_s * random.uniform(0.5, 1))  # noqa: S311 - so that two do not ask in step
            wait_s = min(2 * wait_s, 0.01)

    def commit(self, world: str, snapshot: WorldSnapshot, token: str, changes: Changes, *, busy: bool) -> bool:
        """Write changes and unlock a world; tell whether it has not been reset meanwhile.

        Raise StateUnwritableError where nothing was written and it is still held, StateError where that is not known.
        """
        sent: dict[str, Blob] = {}
        try:
            values = [value for change in self._texts(world, token, changes, sent) for value in change]
            fixed = (PREFIX, escape(world), token, snapshot.life, int(busy), _REMEMBERED)
            outcome = self.link.run("commit", *fixed, *values)
        except StateUnwritableError:
            self._forget_contents(sent)
            raise
        if outcome == _HELD and values:
            self._forget_contents(sent)
            self.link.lose()
            raise StateUnreachableError(f"This worker held {world} for more than {LEASE_S} s. Ask again.")
        for content, blob in sent.items():
            blob.move(partial(self.open, content))
        return bool(outcome != _GONE)

    def release(self, world: str, snapshot: WorldSnapshot, token: str) -> None:
        """Unlock a world without writing; where Redis cannot be reached the lease expires by itself."""
        with contextlib.suppress(StateError):
            self.link.run("commit", PREFIX, escape(world), token, snapshot.life, 0, _REMEMBERED)

    def _forget_contents(self, sent: Iterable[str]) -> None:
        """Delete the bytes of files that nothing will ever refer to: they may be what fills Redis."""
        with contextlib.suppress(StateError):
            for content in sent:
                self.link.ask("unlink", f"{PREFIX}content:{content}")

    def open(self, content: str) -> io.BufferedReader:
        """Return a reader of a file's bytes."""
        return io.BufferedReader(Parts(partial(self._part, content)), _PART)

    def _part(self, content: str, number: int) -> bytes:
        return self.link.run("part", number, keys=(f"{PREFIX}content:{content}",)) or b""

    def _texts(self, world: str, token: str, changes: Changes, sent: dict[str, Blob]) -> Iterator[tuple[str, str, str]]:
        """Yield changes as they are written; the bytes of files are there before anything refers to them.

        `sent` becomes the files whose bytes are there, or begin to be, by what refers to them.
        """
        for name, value in changes.counters.items():
            yield "c", json.dumps(name), str(value)
        for place, entry in changes.records.items():
            yield "r", json.dumps(place), "" if entry is None else json.dumps(entry)
        for place, blob in changes.files.items():
            yield "f", json.dumps(place), "" if blob is None else self._send(world, token, blob, sent)

    def _send(self, world: str, token: str, blob: Blob, sent: dict[str, Blob]) -> str:
        """Send a file's bytes; return what refers to them, `<content> <size>`."""
        content = uuid.uuid4().hex
        sent[content] = blob
        key, lock = f"{PREFIX}content:{content}", f"{PREFIX}world:{escape(world)}:lock"
        for part, data in enumerate(blob.chunks(_PART)):
            self.link.ask("hset", key, str(part), data)
            self.link.ask("expire", key, _UNUSED_S)
            if self.link.ask("get", lock) == token.encode():  # a large file takes longer than a lease
                self.link.ask("pexpire", lock, LEASE_S * 1000)
        return f"{content} {blob.size}"


class RedisStore(WrittenStore):
    """A Store in Redis of which this worker has a copy; whoever holds the world's lock has its latest state."""

    def __init__(self, state: SharedState, world: str) -> None:
        """Begin with nothing; `begin` brings what there is."""
        super().__init__()
        self.fresh, self.stale = True, False
        self.worker, self.workers = "", frozenset[str]()
        self._state: SharedState | None = state
        self._world = world
        self._snapshot: WorldSnapshot | None = None
        self._token = ""
        self._whole = self._held = False

    @property
    def shared(self) -> RedisStore:
        """The store itself: other workers write into it."""
        return self

    def begin(self) -> list[Place] | None:
        """Acquire the lock and apply other workers' writes; return the places changed, None means everything."""
        if self._state is None:
            return []
        self._token = self._state.link.token()
        known, first = self._snapshot, self._snapshot is None
        life, version = (known.life, known.version) if known else ("", 0)
        self._snapshot = self._state.begin(self._world, self._token, life, -1 if self._whole else version)
        self.worker, self.workers = self._token.partition(" ")[0], self._state.workers
        if self._snapshot is None:
            self.detach()
            return []
        self._held = True
        changes = self._snapshot.changes
        texts = {(changes[at], changes[at + 1]): changes[at + 2] for at in range(0, len(changes), 3)}
        if self._snapshot.whole:
            self._tables, self._counters, self._blobs = {}, {}, {}
        places = self._take(texts)
        self.fresh = first and not self._counters
        whole, self._whole = self._snapshot.whole, False
        return None if whole and not first else places

    def commit(self) -> None:
        """Write what has changed and unlock; where nobody knows whether it was written, everything is read again."""
        if self._state is not None and self._snapshot is not None:
            changes = self.changes()
            try:
                alive = self._state.commit(
                    self._world, self._snapshot, self._token, changes, busy="tasks" in self._tables
                )
            except StateUnreachableError:
                self._whole, self._held = True, False
                raise
            self._held = False
            size = sum(len(part) for part in changes)
            self._snapshot = self._snapshot._replace(version=self._snapshot.version + size, changes=[])
            if not alive:
                self.detach()
        super().commit()

    def discard(self) -> None:
        """Undo everything since the world was locked, and unlock it."""
        super().discard()
        if self._held and self._state is not None and self._snapshot is not None:
            self._state.release(self._world, self._snapshot, self._token)
        self._held = False

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
            self._table(table).put(key, record, number)
        return places

    def _hear_file(self, place: Place, text: bytes | None) -> None:
        if text is None or self._state is None:
            self._blobs.pop(place, None)
        else:
            content, _, size = text.decode().partition(" ")
            self._blobs[place] = Blob(partial(self._state.open, content), int(size))
