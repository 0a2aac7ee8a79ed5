"""What is in memory of a store that is kept elsewhere: in a file, or in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mockserver.state.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mockserver.blobs.blob import Blob
    from mockserver.state.store import Make, Place, Record


class Changes(NamedTuple):
    """What has changed in one world. None is what was deleted; a record comes with its number in its table.

    ``vacated``  table and number of each record that is gone, or has got another number
    """

    records: Mapping[Place, tuple[int, Record] | None]
    vacated: Sequence[tuple[str, int]]
    counters: Mapping[str, int]
    files: Mapping[Place, Blob | None]


class WrittenStore(MemoryStore):
    """What is in memory of a Store that is kept elsewhere: it tells what has to be written there.

    Several transactions may wait to be written together: each is `postpone`d, then all are written or taken back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.note_written()

    def postpone(self) -> None:
        """End a transaction: what it has changed waits to be written."""
        for place, entry in self._records_before.items():
            self._records_written.setdefault(place, entry)
        for name, value in self._counters_before.items():
            self._counters_written.setdefault(name, value)
        for place, blob in self._blobs_before.items():
            self._blobs_written.setdefault(place, blob)
        self._begin_change()

    @property
    def postponed(self) -> Sequence[Place]:
        """The records that wait to be written, those with other bytes too."""
        return [*{**self._records_written, **self._blobs_written}]

    def put_when_read(self, table: str, key: str, make: Make) -> None:
        """Put it at once: it has to last as far as it has been told."""
        record = make(self.get(table, key))
        if record is not None:
            self.put(table, key, record)

    def collect_changes(self) -> Changes:
        """Return what is not written yet, whether it waits or has only just changed."""
        before = {**self._records_before, **self._records_written}  # what waits has changed earlier
        records = {place: self._get_entry(*place) for place in before}
        moved = ((place[0], entry[0], records[place]) for place, entry in before.items() if entry is not None)
        return Changes(
            records,
            [(table, number) for table, number, now in moved if now is None or now[0] != number],
            {name: self._counters[name] for name in {**self._counters_written, **self._counters_before}},
            {place: self._blobs.get(place) for place in {**self._blobs_written, **self._blobs_before}},
        )

    def note_written(self) -> None:
        """Let what waited stand: it has been written."""
        self._records_written: dict[Place, tuple[int, Record] | None] = {}
        self._counters_written: dict[str, int] = {}
        self._blobs_written: dict[Place, Blob | None] = {}

    def take_back(self) -> None:
        """Let everything be as it was when it was last written; to be called between two transactions."""
        self._records_before, self._counters_before = self._records_written, self._counters_written
        self._blobs_before = self._blobs_written
        self.discard()
        self.note_written()
