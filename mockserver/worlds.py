"""All state of the mock that belongs to one API key: what was created, what it is called, and what time it is."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from flowcontract.expressions import uuid_of
from mockserver.blobs import Blob
from mockserver.limits import BoundedStore, Limits, Room
from mockserver.past import Past
from mockserver.stores import MemoryStore, Record, Store

if TYPE_CHECKING:
    from mockserver.replay import Stream

Seeds = Mapping[str, list[Record]]
"""Table name -> the records that every world begins with; each has an `id`."""


class World:
    """What one key sees. Whoever reads or changes it holds `lock`.

    ``streams``  the running streams by task id
    ``past``     what was answered, as far as scenarios depend on it
    """

    def __init__(self, name: str, seed: int, store: Store, seeds: Seeds, room: Room | None = None) -> None:
        """Begin with a copy of `seeds`, whose `bytes` are paths; ids depend on `seed` and `name` alone.

        What is kept later needs `room`.
        """
        self.name = name
        self.lock = threading.RLock()
        self.streams: dict[str, Stream] = {}
        self.past = Past()
        self._seed = seed
        for table, records in seeds.items():
            for record in map(copy.deepcopy, records):
                if "bytes" in record:
                    blob = Blob(record.pop("bytes"))
                    store.keep(table, record["id"], blob)
                    record["size"] = blob.size
                store.put(table, record["id"], record)
        self.store = BoundedStore(store, room or Room())

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


class Worlds:
    """The worlds of all keys; each comes into being when its key is first used."""

    def __init__(self, seed: int, seeds: Callable[[str], Seeds], limits: Limits | None = None) -> None:
        """Derive ids from `seed`; `seeds` tells by API what its worlds begin with."""
        self._seed = seed
        self._seeds = cache(seeds)
        self.room = Room(limits)
        self._worlds: dict[str, World] = {}
        self._lock = threading.Lock()

    def open(self, api: str, suffix: str) -> World:
        """Return the world of an API's key with this suffix."""
        name = f"{api}{suffix}"
        with self._lock:
            world = self._worlds.pop(name, None) or self._begin(name, api)
            self._worlds[name] = world  # the one used last stands last
            self._make_room(world)
            return world

    def names(self) -> list[str]:
        """Return the names of all worlds that have come into being."""
        with self._lock:
            return sorted(self._worlds)

    def reset(self, name: str | None = None) -> int:
        """Let a world, or all, begin anew when next used; return how many had begun. Running streams go on."""
        with self._lock:
            gone = [one for one in self._worlds if name in (None, one)]
            for one in gone:
                self._end(one)
            return len(gone)

    def _begin(self, name: str, api: str) -> World:
        return World(name, self._seed, MemoryStore(), self._seeds(api), self.room)

    def _end(self, name: str) -> None:
        self._worlds.pop(name).store.leave()

    def _make_room(self, used: World) -> None:
        """Forget the worlds that were used longest ago, but none in which a stream runs, nor the one just used."""
        limits = self.room.limits
        while len(self._worlds) > limits.worlds or self.room.state.total > limits.state:
            idle = (one.name for one in self._worlds.values() if one is not used and not one.streams)
            oldest = next(idle, None)
            if oldest is None:
                return
            self._end(oldest)
