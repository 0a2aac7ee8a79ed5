"""All state of the mock that belongs to one API key: what was created, what it is called, and what time it is."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from flowcontract.expressions import uuid_of
from mockserver.blobs import Blob
from mockserver.limits import BoundedStore, Limits, Room
from mockserver.past import Past
from mockserver.stores import MemoryStore, Record, Store

if TYPE_CHECKING:
    from mockserver.replay import Stream
    from mockserver.state import StateFile

Seeds = Mapping[str, list[Record]]
"""Table name -> the records that every world begins with; each has an `id`."""


class _Lock:
    """A lock that its holder may take again; when it is let go of for good, what was written is made to last."""

    def __init__(self, commit: Callable[[], None]) -> None:
        self._lock = threading.RLock()
        self._commit = commit
        self._held = 0

    def __enter__(self) -> None:
        self._lock.acquire()
        self._held += 1

    def __exit__(self, *_: object) -> None:
        try:
            if self._held == 1:
                self._commit()
        finally:
            self._held -= 1
            self._lock.release()


class World:
    """What one key sees. Whoever reads or changes it holds `lock`.

    ``streams``  the running streams by task id
    ``past``     what was answered, as far as scenarios depend on it
    """

    def __init__(  # noqa: PLR0913 - what a world is made of, each by name
        self,
        name: str,
        store: Store,
        seeds: Seeds,
        *,
        seed: int = 0,
        start: float | None = None,
        room: Room | None = None,
    ) -> None:
        """Begin with a copy of `seeds`, whose `bytes` are paths; ids depend on `seed` and `name` alone.

        A store that has had a seed already is not given it again. What is kept later needs `room`. From `start` on, in
        epoch seconds, the clock goes on by a second with each request; without it, it is the adapter's.
        """
        self.name = name
        self.lock = _Lock(store.commit)
        self.streams: dict[str, Stream] = {}
        self._seed, self._start = seed, start
        for table, records in seeds.items():
            for record in map(copy.deepcopy, records):
                if not store.counted(f"seed {table}/{record['id']}"):
                    store.count(f"seed {table}/{record['id']}")
                    _sow(store, table, record)
        self.store = BoundedStore(store, room or Room())
        self.past = Past(store)

    def tick(self, now: float) -> int:
        """Return what time it is for one more request, in epoch seconds; `now` is the adapter's clock."""
        if self._start is not None:
            self.store.count("ticks")
        return self.time(now)

    def time(self, now: float) -> int:
        """Return what time it was for the last request."""
        return int(now) if self._start is None else int(self._start) + max(0, self.store.counted("ticks") - 1)

    def keep(self, table: str, key: str, blob: Blob) -> None:
        """Keep the bytes that belong to a record."""
        self.store.keep(table, key, blob)

    def blob(self, table: str, key: str) -> Blob:
        """Return the bytes that belong to a record; none where it never had any."""
        return self.store.blob(table, key)

    def delete(self, table: str, key: str) -> Record | None:
        """Take a record out with its bytes and return it; None if there was none."""
        return self.store.delete(table, key)

    def new_id(self) -> str:
        """Return a UUID that this world has not had yet."""
        number = self.store.count("ids")
        return uuid_of(f"{self._seed}/{self.name}/id/{number}")

    def reply_seed(self) -> str:
        """Return what tells the next reply of this world from all others."""
        return f"{self._seed}/{self.name}/{self.store.count('replies')}"

    def id_of(self, kind: str, name: str) -> str:
        """Return the UUID that always belongs to a name, for instance an end user's."""
        return uuid_of(f"{self._seed}/{self.name}/{kind}/{name}")


Revive = Callable[[str, World, int], None]


def _sow(store: Store, table: str, record: Record) -> None:
    """Put a record that a world begins with, whose `bytes` may be a path."""
    if "bytes" in record:
        blob = Blob(record.pop("bytes"))
        store.keep(table, record["id"], blob)
        record["size"] = blob.size
    store.put(table, record["id"], record)


class Worlds:
    """The worlds of all keys; each comes into being when its key is first used.

    With a `file` they are in it, and only those that are used are in memory too.
    """

    def __init__(  # noqa: PLR0913 - what worlds depend on, each by name
        self,
        seed: int,
        seeds: Callable[[str], Seeds],
        limits: Limits | None = None,
        *,
        start: float | None = None,
        file: StateFile | None = None,
        revive: Revive = lambda _api, _world, _now: None,
    ) -> None:
        """Derive ids from `seed`; `seeds` tells by API what its worlds begin with.

        `start` is when their clocks begin, if they have their own. `revive` sees to a world that comes out of the file,
        in which no stream runs any more.
        """
        self._seed = seed
        self._seeds = cache(seeds)
        self._start, self._file, self._revive = start, file, revive
        self.room = Room(limits)
        self._worlds: dict[str, World] = {}
        self._away: WeakValueDictionary[str, World] = WeakValueDictionary()  # let go of, but a stream still holds them
        self._lock = threading.Lock()

    def open(self, api: str, suffix: str, now: float = 0.0) -> World:
        """Return the world of an API's key with this suffix; `now`, in epoch seconds, is when."""
        name = f"{api}{suffix}"
        with self._lock:
            world = self._worlds.pop(name, None) or self._return(name) or self._begin(name, api, now)
            self._worlds[name] = world  # the one used last stands last
            self._make_room(world)
            return world

    def names(self) -> list[str]:
        """Return the names of all worlds that have come into being."""
        with self._lock:
            return sorted({*self._worlds, *(self._file.names() if self._file else ())})

    def reset(self, name: str | None = None) -> int:
        """Let a world, or all, begin anew when next used; return how many had begun. Running streams go on."""
        gone = [one for one in self.names() if name in (None, one)]
        with self._lock:
            for one in gone:
                self._end(one)
        return len(gone)

    def close(self) -> None:
        """Let go of the file."""
        if self._file:
            self._file.close()

    def _return(self, name: str) -> World | None:
        """Return a world that was let go of while something still holds it: there must not be two of one name."""
        world = self._away.pop(name, None)
        if world is not None:
            world.store.enter()
        return world

    def _begin(self, name: str, api: str, now: float) -> World:
        store = self._file.store(name) if self._file else MemoryStore()
        world = World(name, store, self._seeds(api), seed=self._seed, start=self._start, room=self.room)
        if not store.fresh:
            with world.lock:
                self._revive(api, world, world.time(now))
        return world

    def _end(self, name: str) -> None:
        """Begin a world anew; whoever still uses it goes on with what nobody else sees."""
        world = self._worlds.pop(name, None) or self._away.pop(name, None)
        if world is not None:
            world.store.leave()
            world.store.detach()
        if self._file:
            self._file.forget(name)

    def _make_room(self, used: World) -> None:
        """Let go of the worlds that were used longest ago, but of none in which a stream runs, nor of `used`.

        What is in the file stays there; what is in memory alone is forgotten.
        """
        limits = self.room.limits
        while len(self._worlds) > limits.worlds or self.room.state.total > limits.state:
            idle = (one.name for one in self._worlds.values() if one is not used and not one.streams)
            oldest = next(idle, None)
            if oldest is None:
                return
            if self._file:
                world = self._away[oldest] = self._worlds.pop(oldest)
                world.store.leave()
            else:
                self._end(oldest)
