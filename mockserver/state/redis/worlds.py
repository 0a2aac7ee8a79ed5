"""Worlds in Redis: each worker has copies, applies the others' writes when it takes hold of one, writes its own.

A worker *leases* a world: it reads what others have written, once, and then answers from its copy. What the requests of
one turn have changed is written in one pipeline. It keeps the lease until another worker asks for it:

    free -> leased        `begin.lua`: the world's lock has the worker's name
    leased -> asked       another worker's `begin.lua` found the lock and said so; from now on the lock has an end
    asked -> free         what waits is written, and `let_go` gives the lock to whoever has asked: at once where the
                          world is not used, after `HOLD_S` where it is, so that busy workers do not wait for each other
    any -> lost           Redis was out of reach, or the lock's end has come: what waited has failed, and the world is
                          read anew

Workers of one program do not ask each other: they hand the request over to the one that leases the world, with its
connection (`mockserver/server/transfer.py`), where that is possible.

A lock is worth nothing once its worker is dead, which is known at once from its parent and after `LIFE_S` by its
silence.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from flowcontract.errors import StateError, StateUnreachableError, StateUnwritableError
from mockserver.blobs.blob import Blob, Parts
from mockserver.http.application import WorldAwaitedError
from mockserver.state.group import Group
from mockserver.state.redis.connection import LIFE_S, PREFIX, Link
from mockserver.state.store import WrittenStore, escape, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mockserver.state.quotas import Limits
    from mockserver.state.redis.journal import SharedArchive
    from mockserver.state.store import Changes, Place

LEASE_S = 10
"""How long a worker may hold a world that others ask for; then they may take it, and what it writes is refused."""
HOLD_S = 0.03
"""How long a worker goes on with a world that it is using after others have asked for it."""
_UNUSED_S = 0.003  # a world that was not used for so long is let go of at once
_FEW = 4  # transactions; a world that had more of them since it was taken hold of is likely to be used again soon
_AGAIN_S = 0.1  # a world that is awaited is asked for again after so long: its worker may have died
_PART = 1 << 20  # bytes of a file that are sent and read at a time
_REMEMBERED = 2000  # changes of a world that a worker may have missed before it reads the world as a whole
_ABANDONED_S = 600  # bytes of a file that nothing refers to after so long never will be
_HELD, _GONE, _TAKEN = 0, 1, 2  # what begin.lua and commit.lua return
_EVERYTHING, _NOTHING = -1, -2  # versions for begin.lua


class WorldSnapshot(NamedTuple):
    """What `begin.lua` tells of a world: triples of kind, place and text (None where it was deleted)."""

    life: str
    version: int
    whole: bool
    changes: list[bytes | None]


class SharedState:
    """All worlds in one database of Redis.

    ``stored``   bytes of files in all worlds, as they were when something was last written
    ``archive``  where the journal's entries wait that are written with the worlds
    ``on_free``  called in a thread with the name of a world that was awaited and is free now
    """

    def __init__(self, url: str, limits: Limits) -> None:
        """Connect; raise StateError where that is not possible."""
        self.link = Link(url)
        self.group = Group(self.write_group)
        self.stored = 0
        self.archive: SharedArchive | None = None
        self.on_free: Callable[[str], None] = lambda _world: None
        self._limits = limits
        self._stores: WeakValueDictionary[str, RedisStore] = WeakValueDictionary()
        self._asked: dict[str, float] = {}  # worlds that others ask for -> since when
        self._elsewhere: dict[str, tuple[float, int | None]] = {}  # worlds of others -> when that was seen, and who
        self.link.hears |= {"ask": self._hear_asked, "free": self._hear_free}
        self.link.attend = self._attend

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
        """Delete a world, when the worker that holds it has let go of it; what this one still writes is not kept."""
        if store := self._stores.pop(world, None):
            store.detach()
        self.acquire(world, "", _NOTHING)
        self.link.run("reset", PREFIX, escape(world), self.link.worker, LEASE_S * 1000)

    def hear(self, stop: Callable[[str, str], None]) -> None:
        """Call `stop` with world and task when another worker is asked to stop what may run in this one."""
        self.link.hears["stop"] = partial(_stop_aside, stop)
        self.link.start()

    def close(self) -> None:
        """Let go of the worlds and the connections."""
        with contextlib.suppress(StateError):
            self.group.flush()
        self.link.close()

    # Taking hold of a world

    def acquire(self, world: str, life: str, version: int) -> WorldSnapshot | None:
        """Take hold of a world, waiting for it; None where it was reset since `life` began."""
        until, wait_s = time.monotonic() + 2 * LEASE_S, 0.0005
        while True:
            with contextlib.suppress(WorldAwaitedError):
                return self.try_to_acquire(world, life, version)
            if time.monotonic() > until:
                raise StateUnreachableError(f"Another worker does not let go of {world}. Ask again.")
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, 0.01)

    def try_soon(self, world: str, life: str, version: int) -> WorldSnapshot | None:
        """Try to take hold of a world as `try_to_acquire` does, but not again and again."""
        now = time.monotonic()
        seen_at, place = self._elsewhere.get(world, (0.0, None))
        if now - seen_at < _AGAIN_S and (place is None or self.group.is_polite):
            raise WorldAwaitedError(world, place)
        if len(self._elsewhere) > _REMEMBERED:
            self._elsewhere.clear()
        self._elsewhere[world] = now, None
        try:
            found = self.try_to_acquire(world, life, version)
        except WorldAwaitedError as error:
            if world in self._elsewhere:  # else it became free meanwhile
                self._elsewhere[world] = now, error.place
            raise
        self._elsewhere.pop(world, None)
        return found

    def try_to_acquire(self, world: str, life: str, version: int) -> WorldSnapshot | None:
        """Take hold of a world; raise WorldAwaitedError where another worker has it, which is asked to let go.

        A thread that is polite asks no worker that could answer instead.
        """
        siblings = self.link.siblings if self.group.is_polite else ""
        values = (PREFIX, escape(world), self.link.worker, LEASE_S * 1000, LIFE_S, life, version)
        outcome, *found = self.link.run("begin", *values, self._limits.worlds, self._limits.state, siblings)
        if outcome == _HELD:
            holder = found[0].decode()
            raise WorldAwaitedError(
                world, self.link.place_of(holder) if siblings and holder.startswith(siblings) else None
            )
        if outcome == _GONE:
            return None
        began, latest, whole, changes, self.stored, alive, asked, forgotten = found
        self.link.alive = frozenset(worker.decode() for worker in alive)
        if asked:
            self._asked.setdefault(world, time.monotonic())
        for name in forgotten:
            if store := self._stores.pop(unescape(name.decode()), None):
                store.detach()
        return WorldSnapshot(began.decode(), latest, bool(whole), changes)

    # Letting go of it

    def _hear_asked(self, world: str) -> None:
        self._asked.setdefault(unescape(world), time.monotonic())

    def _hear_free(self, world: str) -> None:
        self._elsewhere.pop(unescape(world), None)
        self.on_free(unescape(world))

    def _attend(self) -> float:
        """Let go of what others have asked for, where that is due; return when to come back, in seconds."""
        for world in [world for world in list(self._asked) if self._is_due(world)]:
            with contextlib.suppress(StateError):
                self._let_go(world)
        return _UNUSED_S if self._asked else LEASE_S

    def _is_due(self, world: str) -> bool:
        store, now = self._stores.get(world), time.monotonic()
        return (
            store is None
            or not store.is_leased
            or now - store.used > (_UNUSED_S if store.uses < _FEW else HOLD_S / 2)
            or now - self._asked.get(world, now) > HOLD_S
        )

    def _let_go(self, world: str) -> None:
        """Write what waits in a world and let others have it; it stays asked for where it is in use just now."""
        store = self._stores.get(world)
        if store is None:
            self._give(world)
            return
        self.group.flush()
        if not store.lock.acquire(timeout=_UNUSED_S):  # it is being used, or taken hold of
            return
        try:
            if not store.waits:
                store.leave()
                self._give(world)
        finally:
            store.lock.release()

    def _give(self, world: str) -> None:
        self._asked.pop(world, None)
        self.link.run("let_go", PREFIX, escape(world), self.link.worker, LEASE_S * 1000)

    # Writing

    def write_group(self, stores: Sequence[WrittenStore]) -> list[Exception | None]:
        """Write what waits in some worlds, and in the journal, at once; return for each world why it is not written."""
        writes = [store.describe() if isinstance(store, RedisStore) else None for store in stores]
        scripts = [write.script for write in writes if write and write.script]
        entries = self.archive.describe() if self.archive else None
        try:
            results = self.link.run_all([*scripts, *([entries] if entries else [])])
        except StateError as error:
            results = [error] * (len(scripts) + 1)
        if entries and self.archive:
            self.archive.note(results.pop())
        left = iter(results)
        return [None if write is None else write.take(next(left)) if write.script else write.error for write in writes]

    def is_asked(self, world: str) -> bool:
        """Tell whether others have waited long enough for a world; they are given it with the next commit."""
        asked = self._asked.get(world)
        return asked is not None and time.monotonic() - asked > HOLD_S

    def note_given(self, world: str) -> None:
        """Note that those who have asked for a world have it."""
        self._asked.pop(world, None)

    def forget_contents(self, sent: Iterable[str]) -> None:
        """Delete the bytes of files that nothing will ever refer to: they may be what fills Redis."""
        with contextlib.suppress(StateError):
            for content in sent:
                self.link.ask("unlink", f"{PREFIX}content:{content}")

    def open(self, content: str) -> io.BufferedReader:
        """Return a reader of a file's bytes."""
        return io.BufferedReader(Parts(partial(self._part, content)), _PART)

    def _part(self, content: str, number: int) -> bytes:
        return self.link.run("part", number, keys=(f"{PREFIX}content:{content}",)) or b""

    def send(self, world: str, blob: Blob) -> str:
        """Send a file's bytes; return what refers to them, `<content> <size>`."""
        content = uuid.uuid4().hex
        key, lock = f"{PREFIX}content:{content}", f"{PREFIX}world:{escape(world)}:lock"
        try:
            for part, data in enumerate(blob.chunks(_PART)):
                self.link.ask("hset", key, str(part), data)
                self.link.ask("expire", key, _ABANDONED_S)
                if part and self.link.ask("pttl", lock) > 0 and self.link.ask("get", lock) == self.link.worker.encode():
                    self.link.ask("pexpire", lock, LEASE_S * 1000)  # a large file takes longer than a lease
        except StateError:
            self.forget_contents([content])
            raise
        return f"{content} {blob.size}"


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
            changes = [value for change in self._texts(store.changes()) for value in change]
        except StateError as error:
            self.error = self._drop(error)
            return
        self._size = len(changes) // 3
        fixed = [PREFIX, escape(world), worker, state.link.mark(), snapshot.life, int(store.is_busy), _REMEMBERED]
        self.script = "commit", (), [*fixed, LEASE_S * 1000, int(self._lets_go), *changes]

    def _texts(self, changes: Changes) -> Iterator[tuple[str, str, str]]:
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
        return self.fail(StateUnreachableError(f"This worker held {self._world} for more than {LEASE_S} s. Ask again."))

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
            self._table(table).put(key, record, number)
        return places

    def _hear_file(self, place: Place, text: bytes | None) -> None:
        if text is None or self._state is None:
            self._blobs.pop(place, None)
        else:
            content, _, size = text.decode().partition(" ")
            self._blobs[place] = Blob(partial(self._state.open, content), int(size))


_dump = json.JSONEncoder(separators=(",", ":")).encode


def _stop_aside(stop: Callable[[str, str], None], world: str, task: str) -> None:
    """Stop a task in a thread of its own: it may have to wait for a world, and who hears must never."""
    threading.Thread(target=stop, args=(world, task), name="stop", daemon=True).start()
