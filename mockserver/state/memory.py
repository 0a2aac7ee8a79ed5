"""A store in memory: by table and id, in the order in which records came, and in any other order by page."""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from mockserver.blobs.blob import EMPTY, Blob
from mockserver.state.store import ANY, Page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mockserver.state.store import Equal, Make, Place, Record, SharedStore

_Part = tuple[Any, ...]
_Place = tuple[bool, Any, int, str]
"""Whether the field has a value, the value, the number of the record in its table, its key: compared in this order."""


class MemoryStore:
    """A Store that is gone when the program ends."""

    fresh = True
    lasts = False

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}
        self._counters: dict[str, int] = {}
        self._blobs: dict[Place, Blob] = {}
        self._growing: dict[str, dict[str, Make]] = {}  # what is put when its table is read
        self._grown: list[tuple[str, str, Make]] = []  # what of that was put since the last commit
        self._begin_change()

    @property
    def shared(self) -> SharedStore | None:
        """The store itself where other programs write into it too; here None: nobody else does."""
        return None

    def _begin_change(self) -> None:
        """Remember from now on how everything that changes was before."""
        self._records_before: dict[Place, tuple[int, Record] | None] = {}
        self._counters_before: dict[str, int] = {}
        self._blobs_before: dict[Place, Blob | None] = {}
        self._grown.clear()

    def get(self, table: str, key: str) -> Record | None:
        """Return a record, or None."""
        if table in self._growing:
            self.write_out(table)
        found = self._tables.get(table)
        return None if found is None else found.records.get(key)

    def put(self, table: str, key: str, record: Record) -> None:
        """Add a record, or replace the one of the same key where it stands."""
        self._remember(table, key)
        self._get_table(table).put(key, record)

    def put_when_read(self, table: str, key: str, make: Make) -> None:
        """Put what `make` returns when the table is read, as Store says."""
        self._growing.setdefault(table, {})[key] = make

    def write_out(self, table: str) -> None:
        """Put what was to be put into a table when it is read."""
        for key, make in self._growing.pop(table, {}).items():
            self._grown.append((table, key, make))
            record = make(self.get(table, key))
            if record is not None:
                self.put(table, key, record)

    def delete(self, table: str, key: str) -> Record | None:
        """Take a record out with its bytes and return it; None if there was none."""
        if table in self._growing:
            self.write_out(table)
        if not self._has(table, key):
            return None
        self._remember(table, key)
        if (table, key) in self._blobs:
            self._blobs_before.setdefault((table, key), self._blobs.pop((table, key)))
        return self._take_out(table, key)

    def _has(self, table: str, key: str) -> bool:
        found = self._tables.get(table)
        return (found is not None and key in found.records) or (table, key) in self._blobs

    def _take_out(self, table: str, key: str) -> Record | None:
        found = self._tables.get(table)
        if found is None:
            return None
        record = found.delete(key)
        if not found.records:
            del self._tables[table]
        return record

    def _remember(self, table: str, key: str) -> None:
        place = table, key
        if place not in self._records_before:
            self._records_before[place] = self._get_entry(table, key)

    def _get_entry(self, table: str, key: str) -> tuple[int, Record] | None:
        found = self._tables.get(table)
        return (found.numbers[key], found.records[key]) if found and key in found.records else None

    def list_rows(self, table: str) -> Iterator[Record]:
        """Yield all records of a table, the first put first."""
        self.write_out(table)
        found = self._tables.get(table)
        yield from [] if found is None else list(found.records.values())

    def read_page(  # noqa: PLR0913 - as Store says
        self,
        table: str,
        *,
        where: Equal = ANY,
        order: str = "",
        after: str | None = None,
        skip: int = 0,
        limit: int | None = None,
    ) -> Page:
        """Return up to `limit` of the records that `where` means, as Store says."""
        self.write_out(table)
        found = self._tables.get(table) or _Table()
        values = tuple(where[name] for name in sorted(where))
        backwards = order.startswith("-")
        index = found.index(tuple(sorted(where)), order.removeprefix("-"))
        places = index.get_part(values)
        behind = 0
        if after is not None:
            position = index.find_position(values, after)
            behind = len(places) - position if backwards else position + 1
        begin = min(behind + skip, len(places))
        end = len(places) if limit is None else min(begin + limit, len(places))
        shown = places[len(places) - end : len(places) - begin][::-1] if backwards else places[begin:end]
        return Page([found.records[place[3]] for place in shown], len(places), end < len(places))

    def count(self, name: str, by: int = 1) -> int:
        """Return 1, 2, 3, ... for each name of a counter, or the last number of several that are taken at once."""
        before = self._counters.get(name, 0)
        if name not in self._counters_before:
            self._counters_before[name] = before
        self._counters[name] = after = before + by
        return after

    def read_counter(self, name: str) -> int:
        """Return what `count` has returned last for a name, 0 before."""
        return self._counters.get(name, 0)

    def keep(self, table: str, key: str, blob: Blob) -> None:
        """Keep the bytes that belong to a record."""
        self._blobs_before.setdefault((table, key), self._blobs.get((table, key)))
        self._blobs[table, key] = blob

    def get_blob(self, table: str, key: str) -> Blob:
        """Return the bytes that belong to a record; none where it never had any."""
        return self._blobs.get((table, key), EMPTY)

    def list_everything(self) -> Iterator[tuple[str, str, Record]]:
        """Yield every record with its table and its key."""
        for name in list(self._growing):
            self.write_out(name)
        for name, table in self._tables.items():
            for key, record in table.records.items():
                yield name, key, record

    def count_rows(self) -> dict[str, int]:
        """Return how many records each table has."""
        return {name: len(table.records) for name, table in self._tables.items()}

    @property
    def changed(self) -> Sequence[Place]:
        """The records that were written or deleted since the last `commit` or `discard`, those with other bytes too."""
        if self._blobs_before:
            return [*{**self._records_before, **self._blobs_before}]
        return [*self._records_before]

    @property
    def has_changed(self) -> bool:
        """Whether anything was written since the last `commit` or `discard`, counters included."""
        return bool(self._records_before or self._counters_before or self._blobs_before or self._grown)

    def commit(self) -> None:
        """Let what has changed stand; there is nowhere to write it to."""
        self._begin_change()

    def discard(self) -> None:
        """Let everything be as it was at the last `commit`."""
        for name, value in self._counters_before.items():
            self._counters[name] = value
            if not value:
                del self._counters[name]
        for place, blob in self._blobs_before.items():
            self._blobs.pop(place, None)
            if blob is not None:
                self._blobs[place] = blob
        deleted = {place[0] for place, entry in self._records_before.items() if self._restore(place, entry)}
        for table in deleted:
            self._tables[table].sort()
        for table, key, make in self._grown:
            self._growing.setdefault(table, {}).setdefault(key, make)
        self._begin_change()

    def _restore(self, place: Place, before: tuple[int, Record] | None) -> bool:
        """Let a record be as it was; tell whether it does not stand where it stood."""
        now = self._get_entry(*place)
        if now is not None and (before is None or before[0] != now[0]):
            self._take_out(*place)
        if before is None:
            return False
        self._get_table(place[0]).put(place[1], before[1], before[0])
        return now is None or before[0] != now[0]

    def _get_table(self, name: str) -> _Table:
        if name not in self._tables:
            self._tables[name] = _Table()
        return self._tables[name]


class _Table:
    """Records in the order in which they came, with their numbers, and the orders in which they were asked for."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.numbers: dict[str, int] = {}
        self._next = 0
        self._indexes: dict[tuple[tuple[str, ...], str], _Index] = {}

    def put(self, key: str, record: Record, number: int | None = None) -> None:
        """Add or replace a record; `number` is where it stood in another table like this."""
        if key not in self.numbers:
            self.numbers[key] = self._next if number is None else number
            self._next = max(self._next, self.numbers[key] + 1)
        self.records[key] = record
        for index in self._indexes.values():
            index.put(key, self.numbers[key], record)

    def delete(self, key: str) -> Record | None:
        self.numbers.pop(key, None)
        for index in self._indexes.values():
            index.delete(key)
        return self.records.pop(key, None)

    def sort(self) -> None:
        """Let the records stand in the order of their numbers again."""
        self.numbers = dict(sorted(self.numbers.items(), key=itemgetter(1)))
        self.records = {key: self.records[key] for key in self.numbers}

    def index(self, fields: tuple[str, ...], order: str) -> _Index:
        """Return the records in one order; sorting happens once, and every later change finds its place."""
        if (fields, order) not in self._indexes:
            index = self._indexes[fields, order] = _Index(fields, order)
            index.fill((key, self.numbers[key], record) for key, record in self.records.items())
        return self._indexes[fields, order]


class _Index:
    """A table's records apart by some fields, and each part in the order of another.

    A part is a sorted list: to move 100,000 entries by one takes about as long as to parse one small JSON object.
    """

    def __init__(self, fields: tuple[str, ...], order: str) -> None:
        self._fields, self._order = fields, order
        self._parts: dict[_Part, list[_Place]] = {}
        self._known: dict[str, tuple[_Part, _Place]] = {}

    def get_part(self, values: _Part) -> list[_Place]:
        """Return the places of the records whose fields have these values."""
        return self._parts.get(values, [])

    def find_position(self, values: _Part, key: str) -> int:
        """Return where a record stands in its part; raise KeyError where it is in none or in another."""
        part, place = self._known[key]
        if part != values:
            raise KeyError(key)
        return bisect_left(self._parts[part], place)

    def fill(self, rows: Iterator[tuple[str, int, Record]]) -> None:
        """Sort all records of a table at once."""
        for place, part in sorted((self._build_place(*row), self._build_part(row[2])) for row in rows):
            self._add(part, place)

    def put(self, key: str, number: int, record: Record) -> None:
        """Give a record its place, which may no longer be the one it had."""
        entry = (self._build_part(record), self._build_place(key, number, record))
        if self._known.get(key) != entry:
            self.delete(key)
            self._add(*entry)

    def delete(self, key: str) -> None:
        """Take a record out."""
        if key not in self._known:
            return
        part, place = self._known.pop(key)
        places = self._parts[part]
        del places[bisect_left(places, place)]
        if not places:
            del self._parts[part]

    def _add(self, part: _Part, place: _Place) -> None:
        self._known[place[3]] = (part, place)
        insort(self._parts.setdefault(part, []), place)

    def _build_place(self, key: str, number: int, record: Record) -> _Place:
        value = record.get(self._order) if self._order else None
        return (value is not None, value or 0, number, key)

    def _build_part(self, record: Record) -> _Part:
        return tuple(record.get(name) for name in self._fields)
