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
import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from flowcontract.errors import StateError, StateUnreachableError
from mockserver.blobs.blob import Blob, Parts
from mockserver.http.application import WorldAwaitedError
from mockserver.state.group import Group
from mockserver.state.redis.connection import LIFE_S, PREFIX, Link
from mockserver.state.redis.store import RedisStore, WorldSnapshot
from mockserver.state.store import escape, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mockserver.state.quotas import Limits
    from mockserver.state.redis.journal import SharedArchive
    from mockserver.state.written import WrittenStore

LEASE_S = 10
"""How long a worker may hold a world that others ask for; then they may take it, and what it writes is refused."""
HOLD_S = 0.03
"""How long a worker goes on with a world that it is using after others have asked for it."""
_UNUSED_S = 0.003  # a world that was not used for so long is let go of at once
_FEW = 4  # transactions; a world that had more of them since it was taken hold of is likely to be used again soon
_AGAIN_S = 0.1  # a world that is awaited is asked for again after so long: its worker may have died
_PART = 1 << 20  # bytes of a file that are sent and read at a time
_NOTED = 2000  # worlds of other workers
_ABANDONED_S = 600  # bytes of a file that nothing refers to after so long never will be
_HELD, _GONE = 0, 1  # what begin.lua returns
_NOTHING = -2  # a version for begin.lua


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
    def lease_ms(self) -> int:
        """How many milliseconds a world may be held that others ask for."""
        return round(LEASE_S * 1000)

    @property
    def shared(self) -> SharedState:
        """The backend itself: other workers use the same place."""
        return self

    def list_names(self) -> list[str]:
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
        self.link.run("reset", PREFIX, escape(world), self.link.worker, self.lease_ms)

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
        if len(self._elsewhere) > _NOTED:
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
        values = (PREFIX, escape(world), self.link.worker, self.lease_ms, LIFE_S, life, version)
        outcome, *found = self.link.run("begin", *values, self._limits.worlds, self._limits.state, siblings)
        if outcome == _HELD:
            holder = found[0].decode()
            raise WorldAwaitedError(
                world, self.link.get_place(holder) if siblings and holder.startswith(siblings) else None
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
        self.link.run("let_go", PREFIX, escape(world), self.link.worker, self.lease_ms)

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
        return io.BufferedReader(Parts(partial(self._read_part, content)), _PART)

    def _read_part(self, content: str, number: int) -> bytes:
        return self.link.run("part", number, keys=(f"{PREFIX}content:{content}",)) or b""

    def send(self, world: str, blob: Blob) -> str:
        """Send a file's bytes; return what refers to them, `<content> <size>`."""
        content = uuid.uuid4().hex
        key, lock = f"{PREFIX}content:{content}", f"{PREFIX}world:{escape(world)}:lock"
        try:
            for part, data in enumerate(blob.read_chunks(_PART)):
                self.link.ask("hset", key, str(part), data)
                self.link.ask("expire", key, _ABANDONED_S)
                if part and self.link.ask("pttl", lock) > 0 and self.link.ask("get", lock) == self.link.worker.encode():
                    self.link.ask("pexpire", lock, self.lease_ms)  # a large file takes longer than a lease
        except StateError:
            self.forget_contents([content])
            raise
        return f"{content} {blob.size}"


def _stop_aside(stop: Callable[[str, str], None], world: str, task: str) -> None:
    """Stop a task in a thread of its own: it may have to wait for a world, and who hears must never."""
    threading.Thread(target=stop, args=(world, task), name="stop", daemon=True).start()
