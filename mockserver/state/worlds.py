"""All state of the mock that belongs to one API key: what was created, what it is called, and what time it is."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from flowcontract.scenarios.expressions import derive_uuid, derive_uuids
from mockserver.blobs.blob import Blob
from mockserver.state.memory import MemoryStore
from mockserver.state.quotas import Ledger, Limits, Quota
from mockserver.state.store import Place, Record, Store
from mockserver.state.transactions import Transactions
from mockserver.state.usage import ScenarioUsage

if TYPE_CHECKING:
    from mockserver.http.stream import Stream
    from mockserver.state.group import Group

_IN_USE_S = 10.0
"""How long a world counts as used after a request: to read it again from the file with each one costs seconds."""
_MOST_IN_USE = 64
"""So many worlds that are in use stay in memory, whatever they weigh."""
Seeds = Mapping[str, list[Record]]
"""Table name -> the records that every world begins with; each has an `id`."""


class World:
    """What one key sees. Whoever reads or changes it does so `with world.transaction():`.

    ``streams``  the running streams by task id
    ``usage``    what was answered, as far as scenarios depend on it
    ``ledger``   what it weighs
    ``used_at``  when it was opened last, in seconds of a monotonic clock
    """

    def __init__(  # noqa: PLR0913 - what a world is made of, each by name
        self,
        name: str,
        store: Store,
        seeds: Seeds,
        *,
        seed: int = 0,
        start: float | None = None,
        quota: Quota | None = None,
        revive: Revive = lambda _world, _now: None,
        group: Group | None = None,
    ) -> None:
        """Begin with a copy of `seeds`, whose `bytes` are paths; ids depend on `seed` and `name` alone.

        A store that has had a seed already is not given it again. What is kept later needs `quota`. From `start` on, in
        epoch seconds, the clock goes on by a second with each request; without it, it is the adapter's. `revive` is
        called where something may have run in it that runs no more. With a `group` its changes are written with those
        of other worlds.
        """
        self.name = name
        self.streams: dict[str, Stream] = {}
        self.used_at = 0.0
        self._seed, self._start, self._revive = seed, start, revive
        self.store = store
        self._shared = store.shared
        lock = self._shared.lock if self._shared else None
        with Transactions(store, catch_up=self._shared.begin if self._shared else None, lock=lock)():
            sown = dict(_sow(store, seeds))
        self._workers = self._shared.workers if self._shared else frozenset[str]()
        self.ledger = Ledger(store, quota or Quota(), {} if store.fresh else sown)
        self.transaction = Transactions(store, self.ledger, self._catch_up if self._shared else None, group, lock)
        self.usage = ScenarioUsage(store)
        self._orphaned = not store.fresh
        self._ids: tuple[int, list[str]] = (-1, [])

    @property
    def stale(self) -> bool:
        """True once another worker has reset this world; this instance is the old one, which nobody else sees."""
        return self._shared is not None and self._shared.stale

    @property
    def worker(self) -> str:
        """The name of this program among those that share the world; '' where nobody does."""
        return self._shared.worker if self._shared else ""

    def _catch_up(self) -> None:
        """Apply other workers' writes, and note when one of them has died."""
        assert self._shared is not None
        self.ledger.count(self._shared.begin())
        self._orphaned = self._orphaned or not self._workers <= self._shared.workers
        self._workers = self._shared.workers

    def stop(self, task: str) -> None:
        """Stop a running stream, wherever it runs, once the request for it has succeeded."""
        if task in self.streams:
            self.transaction.on_commit(self.streams[task].stop)
        elif self._shared is not None:
            self.transaction.on_commit(partial(self._shared.call, task))

    def is_orphaned(self, record: Record) -> bool:
        """Tell whether the worker that ran something has ended, by the record's `worker`."""
        return self._shared is None or record.get("worker", "") not in self._shared.workers

    def tick(self, now: float) -> int:
        """Return what time it is for one more request, in epoch seconds; `now` is the adapter's clock."""
        self.transaction.pay()
        if self._orphaned:
            self._revive(self, self.get_time(now))
            self.transaction.on_commit(self._note_revived)
        if self._start is not None:
            self.store.count("ticks")
        return self.get_time(now)

    def _note_revived(self) -> None:
        self._orphaned = False

    def get_time(self, now: float) -> int:
        """Return what time it was for the last request."""
        return int(now) if self._start is None else int(self._start) + max(0, self.store.read_counter("ticks") - 1)

    def keep(self, table: str, key: str, blob: Blob) -> None:
        """Keep the bytes that belong to a record."""
        self.store.keep(table, key, blob)

    def get_blob(self, table: str, key: str) -> Blob:
        """Return the bytes that belong to a record; none where it never had any."""
        return self.store.get_blob(table, key)

    def delete(self, table: str, key: str) -> Record | None:
        """Take a record out with its bytes and return it; None if there was none."""
        return self.store.delete(table, key)

    def make_id(self) -> str:
        """Return a UUID that this world has not had yet."""
        return self.make_ids(1)[0]

    def make_ids(self, count: int) -> list[str]:
        """Return UUIDs that this world has not had yet."""
        last = self.store.count("ids", count)
        return [self._make_numbered_id(number) for number in range(last - count, last)]

    def _make_numbered_id(self, number: int) -> str:
        """Return the UUID of a number from 0; those of four numbers are derived together."""
        four, place = divmod(number, 4)
        if self._ids[0] != four:
            self._ids = four, derive_uuids(f"{self._seed}/{self.name}/ids/{four}")
        return self._ids[1][place]

    def derive_reply_seed(self) -> str:
        """Return what tells the next reply of this world from all others."""
        return f"{self._seed}/{self.name}/{self.store.count('replies')}"

    def derive_id(self, kind: str, name: str) -> str:
        """Return the UUID that always belongs to a name, for instance an end user's."""
        return derive_uuid(f"{self._seed}/{self.name}/{kind}/{name}")


Revive = Callable[[World, int], None]


def _sow(store: Store, seeds: Seeds) -> Iterator[tuple[Place, Record]]:
    """Put what a world begins with, where it has not had it, and yield all of it; `bytes` of a record are a path."""
    for table, records in seeds.items():
        for record in map(copy.deepcopy, records):
            blob = Blob(record.pop("bytes")) if "bytes" in record else None
            if blob is not None:
                record["size"] = blob.size
            if not store.read_counter(f"seed {table}/{record['id']}"):
                store.count(f"seed {table}/{record['id']}")
                if blob is not None:
                    store.keep(table, record["id"], blob)
                store.put(table, record["id"], record)
            yield (table, record["id"]), record


class WorldBackend(Protocol):
    """What keeps worlds: a file, or Redis."""

    @property
    def group(self) -> Group:
        """What has its worlds written together."""

    @property
    def shared(self) -> SharedWorldBackend | None:
        """The backend itself where other workers use the same place; None where nobody does."""

    def list_names(self) -> list[str]:
        """Return the names of all worlds."""

    def store(self, world: str) -> Store:
        """Return the store of one world; there must not be two at a time."""

    def forget(self, world: str) -> None:
        """Delete a world; what is still written into its store is not kept."""

    def close(self) -> None:
        """Close the file or the connections."""


class SharedWorldBackend(WorldBackend, Protocol):
    """What keeps the worlds of several workers.

    ``stored``   bytes of files that all of them keep
    ``on_free``  called in a thread with the name of a world that was awaited and is free now
    """

    stored: int
    on_free: Callable[[str], None]

    def hear(self, stop: Callable[[str, str], None]) -> None:
        """Call `stop` with world and task when another worker is asked to stop what may run in this one."""


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
        file: WorldBackend | None = None,
        revive: Callable[[str, World, int], None] = lambda _api, _world, _now: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Derive ids from `seed`; `seeds` tells by API what its worlds begin with.

        `start` is when their clocks begin, if they have their own. `revive` sees to a world of an API that comes out of
        the file, in which no stream runs any more. `clock` gives seconds.
        """
        self._seed = seed
        self._seeds = cache(seeds)
        self._start, self._file, self._revive, self._clock = start, file, revive, clock
        self.group = file.group if file else None
        self.shared = shared = file.shared if file else None
        self.quota = Quota(limits, stored=lambda: shared.stored if shared else 0)
        self._worlds: dict[str, World] = {}
        self._away: WeakValueDictionary[str, World] = WeakValueDictionary()  # let go of, but a stream still holds them
        self._lock = threading.Lock()

    def open(self, api: str, suffix: str) -> World:
        """Return the world of an API's key with this suffix."""
        name = f"{api}{suffix}"
        with self._lock:
            world = self._worlds.pop(name, None) or self._return(name)
            if world is None or self._is_stale(world):
                world = self._begin(name, api)
            self._worlds[name] = world  # the one used last stands last
            world.used_at = self._clock()
            self._make_room(world)
            return world

    def list_names(self) -> list[str]:
        """Return the names of all worlds that have come into being."""
        with self._lock:
            return sorted({*self._worlds, *(self._file.list_names() if self._file else ())})

    def peek(self, name: str) -> World | None:
        """Return a world that is in memory, without using it; None where it is not."""
        with self._lock:
            return self._worlds.get(name)

    def reset(self, name: str | None = None) -> int:
        """Reset a world, or all: the next use begins a fresh one. Return how many there were; running streams go on."""
        removed = [each for each in self.list_names() if name in (None, each)]
        with self._lock:
            for each in removed:
                self._end(each)
        return len(removed)

    def close(self) -> None:
        """Close the file or the connections."""
        if self._file:
            self._file.close()

    def _return(self, name: str) -> World | None:
        """Return a world that was let go of while something still holds it: there must not be two of one name."""
        world = self._away.pop(name, None)
        if world is not None:
            world.ledger.enter()
        return world

    def _begin(self, name: str, api: str) -> World:
        if self.shared:
            self.shared.hear(self._stop)
        if self.group is not None:
            self.group.flush()  # the world may be one that was let go of, with changes that still wait
        store = self._file.store(name) if self._file else MemoryStore()
        return World(
            name,
            store,
            self._seeds(api),
            seed=self._seed,
            start=self._start,
            quota=self.quota,
            revive=partial(self._revive, api),
            group=self.group,
        )

    def _is_stale(self, world: World) -> bool:
        """Tell whether another worker has reset a world; such a one is no longer part of the quota."""
        if world.stale:
            world.ledger.leave()
        return world.stale

    def _stop(self, name: str, task: str) -> None:
        """Stop a stream that runs here, as another worker has been asked."""
        with self._lock:
            world = self._worlds.get(name) or self._away.get(name)
        if world is not None and task in world.streams:
            world.streams[task].stop()

    def _end(self, name: str) -> None:
        """Drop a world; whoever still uses it goes on with an instance that nobody else sees."""
        world = self._worlds.pop(name, None) or self._away.pop(name, None)
        if world is not None:
            world.ledger.leave()
        if self._file:
            self._file.forget(name)

    def _make_room(self, used: World) -> None:
        """Let go of the worlds that were used longest ago, but of none in which a stream runs, nor of `used`.

        What is in the file stays there, and some that are in use stay in memory, too, whatever they weigh; what is in
        memory alone is forgotten.
        """
        limits = self.quota.limits
        while (too_many := len(self._worlds) > limits.worlds) or self.quota.state.total > limits.state:
            idle = (world for world in self._worlds.values() if world is not used and not world.streams)
            oldest = next(idle, None)
            if oldest is None:
                return
            if not self._file:
                self._end(oldest.name)
            elif too_many or len(self._worlds) > _MOST_IN_USE or used.used_at - oldest.used_at > _IN_USE_S:
                self._away[oldest.name] = self._worlds.pop(oldest.name)
                oldest.ledger.leave()
            else:
                return
