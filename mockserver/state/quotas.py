"""How much the mock keeps: worlds, records, bytes. What was used or written longest ago goes first."""

from __future__ import annotations

import marshal
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mockserver.caching import memoize_by_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mockserver.blobs.blob import Blob
    from mockserver.state.store import Place, Record, Store

Container = dict[str, Any] | list[Any]
_MB = 1 << 20
_NOTHING: Mapping[Place, Record] = MappingProxyType({})
_PLACE = 400  # bytes of a record's place in its table, in its orders and in the ledger
_VALUE = 60  # bytes beside those of a value itself, and its name in an object
_SMALL = 16 << 10  # bytes of a container that is remembered with what it weighs
_CONTAINER = 200  # bytes of an object or a list
_ODD = 1 << 20  # bytes that a record counts for whose size cannot be told


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept at most.

    ``worlds``   how many; beyond it the one that was used longest ago is forgotten, unless a stream runs in it
    ``records``  in one world, beside those it began with; beyond it the one that was written longest ago is forgotten
                 (with `--state` nothing is: worlds that are not used are only in the file)
    ``state``    bytes of memory that records and small files take; in one world records go, in all of them worlds
    ``uploads``  bytes of all files; beyond it an upload is refused as too large
    """

    worlds: int = 1000
    records: int = 1_000_000
    state: int = 96 * _MB
    uploads: int = 4096 * _MB


class StorageFull(Exception):  # noqa: N818 - what there is, not what went wrong
    """There is no room for more files; the message says how much there is."""


class Counter:
    """A sum that several threads add to."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()

    def add(self, weight: int) -> None:
        """Add a weight; a negative one takes it off again."""
        with self._lock:
            self.total += weight


class Quota:
    """What all worlds of a mock share: how much may be kept, and how much is."""

    def __init__(self, limits: Limits | None = None, stored: Callable[[], int] = lambda: 0) -> None:
        """Begin empty; `stored` tells the bytes of files that others have kept in the same place."""
        self.limits = limits or Limits()
        self._stored = stored
        self.state = Counter()
        self.uploads = Counter()
        self._held: weakref.WeakSet[Blob] = weakref.WeakSet()

    def hold(self, blob: Blob) -> None:
        """Count a file once, as long as anybody holds it: a download may still read what has been deleted."""
        if blob not in self._held:
            self._held.add(blob)
            self.uploads.add(blob.size)
            weakref.finalize(blob, self.uploads.add, -blob.size)

    def admit(self, size: int) -> None:
        """Raise StorageFull where there is no room for files of so many bytes."""
        kept, limit = max(self.uploads.total, self._stored()), self.limits.uploads
        if kept + size > limit:
            why = f"{kept} bytes of files are kept already, and {limit} are the limit (--max-stored-mb)"
            raise StorageFull(f"there is no room for {size} bytes: {why}. Delete some, or reset a world.")


class Ledger:
    """What a world weighs; what was written longest ago goes first. What it began with counts once it is rewritten.

    ``weight``  bytes of what counts
    """

    def __init__(self, store: Store, quota: Quota, sown: Mapping[Place, Record] = _NOTHING) -> None:
        """Count what is in `store`, which needs a part of `quota`; `sown` is what the world began with."""
        self.weight = 0
        self._sown = sown
        self._store, self._quota = store, quota
        self._is_counted = True
        self._weights: OrderedDict[Place, int] = OrderedDict()  # written longest ago first
        if not store.fresh:
            self.count(None)

    def count(self, places: Sequence[Place] | None) -> None:
        """Count anew what has been written in these places; None is everything."""
        weights, change = self._weights, 0
        if places is None:
            change = -self.weight
            weights.clear()
            places = [(table, key) for table, key, _ in self._store.list_everything()]
        for place in places:
            weight = self._weigh(place)
            change += weight - weights.pop(place, 0)
            if weight:
                weights[place] = weight
        if change:
            self._add(change)

    def make_room(self) -> None:
        """Forget what was written longest ago where there is too much."""
        limits = self._quota.limits
        while len(self._weights) > limits.records or (self.weight > limits.state and len(self._weights) > 1):
            place, weight = self._weights.popitem(last=False)
            self._add(-weight)
            self._store.delete(*place)

    def enter(self) -> None:
        """Count as a part of the quota again."""
        if not self._is_counted:
            self._is_counted = True
            self._quota.state.add(self.weight)

    def leave(self) -> None:
        """Count as no part of the quota any more; streams that still run may go on writing."""
        if self._is_counted:
            self._is_counted = False
            self._quota.state.add(-self.weight)

    def _weigh(self, place: Place) -> int:
        """Return what a record weighs with its bytes, which are counted as uploads, too; 0 for what does not count."""
        record = self._store.get(*place)
        if record is None or (place in self._sown and self._sown[place] == record):
            return 0
        weight = _weigh_record(record)
        blob = self._store.get_blob(*place)
        if blob.size:
            self._quota.hold(blob)
            weight += blob.in_memory
        return weight

    def _add(self, weight: int) -> None:
        self.weight += weight
        if self._is_counted:
            self._quota.state.add(weight)


def _weigh_record(record: Record) -> int:
    """Return about how many bytes of memory a record takes: its values, and what Python adds to each of them.

    Measured: a quarter more than the process grows by for chats, half more for runs, up to three times as much for deep
    inputs, which a conversation shares with its messages.
    """
    try:
        weight = len(marshal.dumps(record))  # ten times faster than JSON would tell it
    except ValueError:
        return _ODD
    weight += _PLACE + _VALUE * len(record)
    for value in record.values():
        if value and (type(value) is dict or type(value) is list):
            weight += _weigh_shared(value)
    return weight


@memoize_by_identity(256, keeps=lambda weight: weight <= _SMALL)
def _weigh_shared(value: Container) -> int:
    """Return what Python adds to a container, once for those of scenarios, which all records share."""
    return _weigh_container(value)


def _weigh_container(value: Container) -> int:
    """Return what Python adds to the values in an object or a list."""
    inner = value.values() if isinstance(value, dict) else value
    containers = (each for each in inner if each and isinstance(each, (dict, list)))
    return _CONTAINER + _VALUE * len(value) + sum(map(_weigh_container, containers))
