"""All state of the mock that belongs to one API key: what was created, what it is called, and what time it is."""

from __future__ import annotations

import copy
import random
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from mockserver.blobs import EMPTY, Blob
from mockserver.past import Past

if TYPE_CHECKING:
    from mockserver.replay import Stream

Record = dict[str, Any]
Seeds = Mapping[str, list[Record]]
"""Table name -> the records that every world begins with; each has an `id`."""


class Store(Protocol):
    """Where a world keeps its records: JSON objects by table and id, in the order in which they were first put."""

    def get(self, table: str, key: str) -> Record | None:
        """Return a record, or None."""

    def put(self, table: str, key: str, record: Record) -> None:
        """Add a record, or replace the one of the same key where it stands."""

    def delete(self, table: str, key: str) -> Record | None:
        """Take a record out and return it; None if there was none."""

    def rows(self, table: str) -> Iterator[Record]:
        """Yield all records of a table, the first put first."""

    def count(self, name: str) -> int:
        """Return 1, 2, 3, ... for each name of a counter."""


class MemoryStore:
    """A Store that is gone when the program ends."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, Record]] = {}
        self._counters: dict[str, int] = {}

    def get(self, table: str, key: str) -> Record | None:
        """Return a record, or None."""
        return self._tables.get(table, {}).get(key)

    def put(self, table: str, key: str, record: Record) -> None:
        """Add a record, or replace the one of the same key where it stands."""
        self._tables.setdefault(table, {})[key] = record

    def delete(self, table: str, key: str) -> Record | None:
        """Take a record out and return it; None if there was none."""
        return self._tables.get(table, {}).pop(key, None)

    def rows(self, table: str) -> Iterator[Record]:
        """Yield all records of a table, the first put first."""
        yield from list(self._tables.get(table, {}).values())

    def count(self, name: str) -> int:
        """Return 1, 2, 3, ... for each name of a counter."""
        self._counters[name] = self._counters.get(name, 0) + 1
        return self._counters[name]


class World:
    """What one key sees. Whoever reads or changes it holds `lock`.

    ``streams``  the running streams by task id
    ``past``     what was answered, as far as scenarios depend on it
    """

    def __init__(self, name: str, seed: int, store: Store, seeds: Seeds) -> None:
        """Begin with a copy of `seeds`, whose `bytes` are paths; ids depend on `seed` and `name` alone."""
        self.name = name
        self.lock = threading.RLock()
        self.store = store
        self.streams: dict[str, Stream] = {}
        self.past = Past()
        self._blobs: dict[tuple[str, str], Blob] = {}
        self._seed = seed
        for table, records in seeds.items():
            for record in map(copy.deepcopy, records):
                if "bytes" in record:
                    blob = Blob(record.pop("bytes"))
                    self._blobs[table, record["id"]] = blob
                    record["size"] = blob.size
                store.put(table, record["id"], record)

    def keep(self, table: str, key: str, blob: Blob) -> None:
        """Keep the bytes that belong to a record."""
        self._blobs[table, key] = blob

    def blob(self, table: str, key: str) -> Blob:
        """Return the bytes that belong to a record; none where it never had any."""
        return self._blobs.get((table, key), EMPTY)

    def delete(self, table: str, key: str) -> Record | None:
        """Take a record out with its bytes and return it; None if there was none."""
        self._blobs.pop((table, key), None)
        return self.store.delete(table, key)

    def new_id(self) -> str:
        """Return a UUID that this world has not had yet."""
        number = self.store.count("ids")
        source = random.Random(f"{self._seed}/{self.name}/id/{number}")  # noqa: S311 - reproducible on purpose, guards nothing
        return str(uuid.UUID(int=source.getrandbits(128), version=4))

    def reply_seed(self) -> str:
        """Return what tells the next reply of this world from all others."""
        return f"{self._seed}/{self.name}/{self.store.count('replies')}"

    def id_of(self, kind: str, name: str) -> str:
        """Return the UUID that always belongs to a name, for instance an end user's."""
        source = random.Random(f"{self._seed}/{self.name}/{kind}/{name}")  # noqa: S311 - reproducible on purpose
        return str(uuid.UUID(int=source.getrandbits(128), version=4))


class Worlds:
    """The worlds of all keys; each comes into being when its key is first used."""

    def __init__(self, seed: int, seeds: Callable[[str], Seeds]) -> None:
        """Derive ids from `seed`; `seeds` tells by API what its worlds begin with."""
        self._seed = seed
        self._seeds = cache(seeds)
        self._worlds: dict[str, World] = {}
        self._lock = threading.Lock()

    def open(self, api: str, suffix: str) -> World:
        """Return the world of an API's key with this suffix."""
        name = f"{api}{suffix}"
        with self._lock:
            if name not in self._worlds:
                self._worlds[name] = World(name, self._seed, MemoryStore(), self._seeds(api))
            return self._worlds[name]

    def names(self) -> list[str]:
        """Return the names of all worlds that have come into being."""
        with self._lock:
            return sorted(self._worlds)

    def reset(self, name: str | None = None) -> int:
        """Let a world, or all, begin anew when next used; return how many had begun. Running streams go on."""
        with self._lock:
            gone = [one for one in self._worlds if name in (None, one)]
            for one in gone:
                del self._worlds[one]
            return len(gone)
