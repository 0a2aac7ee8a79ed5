"""How much the mock keeps: worlds, records, bytes. What was used or written longest ago goes first."""

from __future__ import annotations

import marshal
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from mockserver.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mockserver.blobs import Blob
    from mockserver.stores import Place, Record, Store

_MB = 1 << 20
_NOTHING: Mapping[Place, Record] = MappingProxyType({})
_ODD = 1 << 20  # bytes that a record counts for whose size cannot be told


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept at most.

    ``worlds``   how many; beyond it the one that was used longest ago is forgotten, unless a stream runs in it
    ``records``  in one world, beside those it began with; beyond it the one that was written longest ago is forgotten
                 (with `--state` nothing is: worlds that are not used are only in the file)
    ``state``    bytes of records and of the files that are in memory; in one world records go, in all of them worlds
    ``uploads``  bytes of all files; beyond it an upload is refused as too large
    """

    worlds: int = 1000
    records: int = 1_000_000
    state: int = 256 * _MB
    uploads: int = 4096 * _MB


class Scale:
    """A sum that several threads add to."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()

    def add(self, weight: int) -> None:
        """Add a weight; a negative one takes it off again."""
        with self._lock:
            self.total += weight


class Room:
    """What all worlds of a mock share: how much may be kept, and how much is."""

    def __init__(self, limits: Limits | None = None, stored: Callable[[], int] = lambda: 0) -> None:
        """Begin empty; `stored` tells the bytes of files that others have kept in the same place."""
        self.limits = limits or Limits()
        self._stored = stored
        self.state = Scale()
        self.uploads = Scale()

    def admit(self, size: int) -> None:
        """Refuse files of so many bytes, by `too-large`, where there is no room for them."""
        kept, limit = max(self.uploads.total, self._stored()), self.limits.uploads
        if kept + size > limit:
            why = f"{kept} bytes of files are kept already, and {limit} are the limit (--max-stored-mb)"
            raise Refusal("too-large", f"there is no room for {size} bytes: {why}. Delete some, or reset a world.")


class BoundedStore:
    """A Store that forgets what was written longest ago. What its world began with counts once it is rewritten.

    ``weight``  bytes of what counts
    """

    def __init__(self, store: Store, room: Room, sown: Mapping[Place, Record] = _NOTHING) -> None:
        """Bound `store`, which needs a part of `room`; `sown` is what the world began with."""
        self.weight = 0
        self._sown = sown
        self._store = store
        self._limits = room.limits
        self._state = self._shared = room.state
        self._uploads = room.uploads
        self._weights: OrderedDict[tuple[str, str], int] = OrderedDict()  # written longest ago first
        self._files: dict[tuple[str, str], int] = {}
        self.get, self.rows, self.page = store.get, store.rows, store.page  # what only reads is not our concern
        self.count, self.counted, self.blob, self.commit = store.count, store.counted, store.blob, store.commit
        self.detach, self.call = store.detach, store.call
        if not store.fresh:
            self._weigh_all()

    def put(self, table: str, key: str, record: Record) -> None:
        """Add a record, or replace the one of the same key; forget others if there are too many."""
        self._store.put(table, key, record)
        self._weigh((table, key), _size(record) + self._files.get((table, key), 0))
        self._make_room()

    def keep(self, table: str, key: str, blob: Blob) -> None:
        """Keep the bytes that belong to a record; they go with it."""
        place = (table, key)
        self._store.keep(table, key, blob)
        self._carry(place, blob)
        self._make_room()

    def delete(self, table: str, key: str) -> Record | None:
        """Take a record out with its bytes and return it; None if there was none."""
        self._add(-self._weights.pop((table, key), 0))
        self._files.pop((table, key), None)
        return self._store.delete(table, key)

    @property
    def worker(self) -> str:
        """Who runs what is begun now."""
        return self._store.worker

    @property
    def workers(self) -> frozenset[str]:
        """Who is alive."""
        return self._store.workers

    def hear(self, places: Sequence[Place] | None) -> None:
        """Count what others have written in these places; None is everything."""
        if places is None:
            self._add(-self.weight)
            self._weights.clear()
            self._files.clear()
            self._weigh_all()
            return
        for place in places:
            self._add(-self._weights.pop(place, 0))
            self._files.pop(place, None)
        for table, key in places:
            record = self._store.get(table, key)
            if record is not None:
                self._weigh_kept(table, key, record)

    def enter(self) -> None:
        """Count again."""
        self._state = self._shared
        self._state.add(self.weight)

    def leave(self) -> None:
        """Count for nothing any more; streams that still run may go on writing."""
        self._state.add(-self.weight)
        self._state = Scale()

    def _weigh_all(self) -> None:
        """Count what was in the store before."""
        for table, key, record in self._store.everything():
            self._weigh_kept(table, key, record)

    def _weigh_kept(self, table: str, key: str, record: Record) -> None:
        if self._sown.get((table, key)) == record:
            return
        self._weigh((table, key), _size(record))
        blob = self._store.blob(table, key)
        if blob.size:
            self._carry((table, key), blob)

    def _carry(self, place: tuple[str, str], blob: Blob) -> None:
        self._uploads.add(blob.size)
        weakref.finalize(blob, self._uploads.add, -blob.size)  # a download may still read what has been deleted
        self._weigh(place, self._weights.get(place, 0) - self._files.get(place, 0) + blob.in_memory)
        self._files[place] = blob.in_memory

    def _weigh(self, place: tuple[str, str], weight: int) -> None:
        self._add(weight - self._weights.pop(place, 0))
        self._weights[place] = weight

    def _add(self, weight: int) -> None:
        self.weight += weight
        self._state.add(weight)

    def _make_room(self) -> None:
        if self._store.lasts:
            return
        while len(self._weights) > self._limits.records or (
            self.weight > self._limits.state and len(self._weights) > 1
        ):
            self.delete(*next(iter(self._weights)))


def _size(record: Record) -> int:
    """Return about how many bytes a record has; marshal tells it ten times faster than JSON would."""
    try:
        return len(marshal.dumps(record))
    except ValueError:
        return _ODD
