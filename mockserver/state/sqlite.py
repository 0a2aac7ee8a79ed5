"""`--state FILE`: worlds in SQLite, so that what was answered is still there however the mock ended."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sqlite3
import threading
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from flowcontract.errors import StateError, StateUnwritableError
from mockserver.blobs.blob import Blob, Parts
from mockserver.state.group import Group
from mockserver.state.store import escape, unescape
from mockserver.state.written import WrittenStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mockserver.state.store import Place, Record
    from mockserver.state.written import Changes

APPLICATION = 0x666C6F77
"""What tells our files from other people's: "flow" (https://sqlite.org/fileformat.html, 1.3)."""
VERSION = 2
_EARLIER = 1
"""The version that is brought up to ours: each record was found by its id, and written into a page of its own."""
_HEAD = 100  # bytes at the beginning of every SQLite file
_MAGIC = b"SQLite format 3\0"
_PART = 1 << 20  # bytes of a file in one row: SQLite reads and writes a row as a whole
_LOG = 5 << 20  # bytes that SQLite's log may have: it begins anew after 1000 pages and what is being written
_PATIENCE_S = 1.0  # of a mock that starts while the one before it is still ending
# Records stand in the order in which they come, so that those of one turn share pages.
_RECORDS = """
CREATE TABLE records (world TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL
  CHECK (typeof(number) = 'integer'), id TEXT NOT NULL, body TEXT NOT NULL);
CREATE UNIQUE INDEX places ON records (world, kind, number)
"""
_TABLES = f"""
{_RECORDS};
CREATE TABLE counters (world TEXT, name TEXT, value INTEGER NOT NULL, PRIMARY KEY (world, name)) WITHOUT ROWID;
CREATE TABLE files (world TEXT, kind TEXT, id TEXT, content INTEGER NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (world, kind, id)) WITHOUT ROWID;
CREATE TABLE contents (content INTEGER, part INTEGER, bytes BLOB NOT NULL, PRIMARY KEY (content, part))
"""
_MIGRATE = f"""
ALTER TABLE records RENAME TO earlier;
{_RECORDS};
INSERT INTO records SELECT world, kind, row_number() OVER (PARTITION BY world, kind ORDER BY number, id) - 1, id, body
  FROM earlier ORDER BY world, number;
DROP TABLE earlier
"""  # noqa: S608 - all of it stands here
_PUT = """
INSERT INTO records VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (world, kind, number) DO UPDATE SET id = excluded.id, body = excluded.body
"""
# an empty file has no part, and one that is deleted may still have some
_LATEST = "SELECT max(content) FROM (SELECT content FROM files UNION ALL SELECT content FROM contents)"
_FORGET = (
    "DELETE FROM records WHERE world = ?",
    "DELETE FROM counters WHERE world = ?",
    "DELETE FROM files WHERE world = ?",
)


class Kept(NamedTuple):
    """What a file has of one world: records in the order of their numbers, counters, files."""

    records: list[tuple[str, str, int, Record]]
    counters: dict[str, int]
    files: dict[Place, Blob]


class _Rows(NamedTuple):
    """What has changed in one world, as rows of the tables."""

    put: list[tuple[Any, ...]]
    vacated: list[tuple[Any, ...]]
    counters: list[tuple[Any, ...]]

    @classmethod
    def from_changes(cls, world: str, changes: Changes) -> _Rows:
        records, name = changes.records.items(), escape(world)
        return cls(
            [
                (name, escape(place[0]), entry[0], escape(place[1]), json.dumps(entry[1]))
                for place, entry in records
                if entry
            ],
            [(name, escape(table), number) for table, number in changes.vacated],
            [(name, escape(counter), value) for counter, value in changes.counters.items()],
        )


class StateFile:
    """A file that keeps worlds. One process has it at a time; several threads may use it."""

    shared = None

    def __init__(self, path: Path) -> None:
        """Open a file, or begin one; raise StateError where it is in use, broken or not ours, and leave it as it is."""
        self.path = path
        self.group = Group(self._write_group)
        self._lock = threading.RLock()
        self._read_by: WeakValueDictionary[int, Blob] = WeakValueDictionary()
        self._stores: WeakValueDictionary[str, KeptStore] = WeakValueDictionary()
        _refuse_foreign(path)
        with self._explain_errors("be opened"):
            _refuse_broken(path)
            self._database = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)
        try:
            with self._explain_errors("be used"):
                self._begin()
        except StateError:
            self._database.close()
            raise
        (latest,) = self._ask(_LATEST)[0]
        self._next = (latest or 0) + 1
        self._unused = {
            content for (content,) in self._ask("SELECT content FROM contents EXCEPT SELECT content FROM files")
        }

    def list_names(self) -> list[str]:
        """Return the names of all worlds in the file."""
        return [unescape(name) for (name,) in self._ask("SELECT DISTINCT world FROM counters")]

    def store(self, world: str) -> KeptStore:
        """Return the store of one world; there must not be two at a time."""
        store = self._stores[world] = KeptStore(self, world)
        return store

    def load(self, world: str) -> Kept:
        """Return what there is of a world; raise StateError where something else has written into it."""
        name = escape(world)
        rows = self._ask("SELECT kind, id, number, body FROM records WHERE world = ?", name)
        counters = self._ask("SELECT name, value FROM counters WHERE world = ?", name)
        files = self._ask("SELECT kind, id, content, size FROM files WHERE world = ?", name)
        with self._explain_errors("be read"):
            rows.sort(key=itemgetter(2))
            return Kept(
                [(unescape(kind), unescape(key), number, json.loads(body)) for kind, key, number, body in rows],
                {unescape(name): value for name, value in counters},
                {(unescape(kind), unescape(key)): self._open_blob(content, size) for kind, key, content, size in files},
            )

    def _write_group(self, stores: Sequence[WrittenStore]) -> list[Exception | None]:
        """Write what waits in some stores, all or nothing; return for each why it is not written."""
        kept = [store for store in stores if isinstance(store, KeptStore) and store.world is not None]
        error = None
        try:
            self.write([(store.world, store.collect_changes()) for store in kept if store.world is not None])
        except StateError as found:
            error = found
        return [error if store in kept else None for store in stores]

    def write(self, worlds: Sequence[tuple[str, Changes]]) -> None:
        """Write all changes or none; what has been written survives the end of this process. Raise StateError."""
        worlds = [(world, changes) for world, changes in worlds if any(changes)]
        if not worlds:
            return
        new: dict[int, Blob] = {}
        unused: set[int] = set()
        rows = [_Rows.from_changes(world, changes) for world, changes in worlds]
        files = sum(blob.size for _, changes in worlds for blob in changes.files.values() if blob)
        self._guard_room(files)
        size = files + sum(len(body) for each in rows for *_, body in each.put)
        with self._lock, self._write_beside_log(size), self._run_transaction():
            cleared = self._clear()
            for each in rows:
                self._run_each("DELETE FROM records WHERE world = ? AND kind = ? AND number = ?", each.vacated)
                self._run_each(_PUT, each.put)
                self._run_each("INSERT OR REPLACE INTO counters VALUES (?, ?, ?)", each.counters)
            for world, changes in worlds:
                for place, blob in changes.files.items():
                    unused |= self._delete_file(_escape_place(world, place))
                    if blob is not None:
                        new[self._write_file(_escape_place(world, place), blob)] = blob
        self._unused = (self._unused - cleared) | unused
        for content, blob in new.items():
            self._read_by[content] = blob
            blob.move(partial(_open, self, content))

    def forget(self, world: str) -> None:
        """Delete a world; what is still written into its store is not kept."""
        if store := self._stores.pop(world, None):
            store.detach()
        with self._run_transaction():
            unused = self._ask("SELECT content FROM files WHERE world = ?", escape(world))
            for statement in _FORGET:
                self._run(statement, escape(world))
        self._unused |= {content for (content,) in unused}

    def read_part(self, content: int, part: int) -> bytes:
        """Return some of the bytes of a file; nothing behind its end."""
        found = self._ask("SELECT bytes FROM contents WHERE content = ? AND part = ?", content, part)
        return bytes(found[0][0]) if found else b""

    def close(self) -> None:
        """Let go of the file; everything that was answered is in it already."""
        with self._lock:
            self._database.close()

    def _begin(self) -> None:
        """Take hold of the file, and make the tables of a new one, at once or not at all."""
        self._run("PRAGMA locking_mode = EXCLUSIVE")
        is_earlier = self._ask("PRAGMA user_version") == [(_EARLIER,)]
        if is_earlier:  # what is in a log alone an older mock does not see, which looks at the head of the file
            self._run("PRAGMA journal_mode = DELETE")
        with self._run_transaction("EXCLUSIVE"):
            is_new = not self._ask("SELECT name FROM sqlite_master")
            if is_new or is_earlier:
                for statement in (_TABLES if is_new else _MIGRATE).split(";"):
                    self._run(statement)
                self._run(f"PRAGMA application_id = {APPLICATION}")
                self._run(f"PRAGMA user_version = {VERSION}")
        self._run("PRAGMA journal_mode = WAL")
        self._run(f"PRAGMA journal_size_limit = {_LOG}")
        self._run("PRAGMA synchronous = NORMAL")  # the end of the process loses nothing, that of the machine little

    def _write_file(self, place: tuple[str, str, str], blob: Blob) -> int:
        content, self._next = self._next, self._next + 1
        self._run("INSERT INTO files VALUES (?, ?, ?, ?, ?)", *place, content, blob.size)
        for part, data in enumerate(blob.read_chunks(_PART)):
            self._run("INSERT INTO contents VALUES (?, ?, ?)", content, part, data)
        return content

    def _delete_file(self, place: tuple[str, str, str]) -> set[int]:
        """Forget whose bytes these are; return their number."""
        found = self._ask("SELECT content FROM files WHERE world = ? AND kind = ? AND id = ?", *place)
        self._run("DELETE FROM files WHERE world = ? AND kind = ? AND id = ?", *place)
        return {content for (content,) in found}

    def _clear(self) -> set[int]:
        """Delete the bytes of deleted files, except those that a download still reads; return their numbers."""
        cleared = {content for content in self._unused if content not in self._read_by}
        for content in cleared:
            self._run("DELETE FROM contents WHERE content = ?", content)
        return cleared

    def _guard_room(self, size: int) -> None:
        """Raise StateUnwritableError where files of so many bytes would leave the log no room to grow."""
        if not size:
            return
        needed, free = size + min(_LOG, 16 * size), shutil.disk_usage(self.path.absolute().parent).free
        if free < needed:
            raise StateUnwritableError(
                f"{self.path} cannot be written: {size} bytes of files need {needed} on its disk, and {free} are free. "
                "Make room there."
            )

    @contextlib.contextmanager
    def _write_beside_log(self, size: int) -> Iterator[None]:
        """Let large changes be written straight into the file.

        Through the log they would need twice the room, could be in it for good where the file cannot grow, and would
        leave it as large as they are when there was no room for them.
        """
        if size < _PART:
            yield
            return
        with self._explain_errors("be written"):
            self._run("PRAGMA journal_mode = DELETE")
            try:
                yield
            finally:
                with contextlib.suppress(sqlite3.Error):  # without a log it is slower, and as safe
                    self._run("PRAGMA journal_mode = WAL")

    def _open_blob(self, content: int, size: int) -> Blob:
        blob = Blob(partial(_open, self, content), size)
        self._read_by[content] = blob
        return blob

    def _run(self, statement: str, *values: Any) -> None:
        self._database.execute(statement, values)

    def _run_each(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        self._database.executemany(statement, rows)

    def _ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock, self._explain_errors("be read"):
            return self._database.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _run_transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        with self._lock, self._explain_errors("be written"):
            self._run(f"BEGIN {kind}")
            try:
                yield
                self._run("COMMIT")
            except BaseException:
                self._take_back()
                raise

    def _take_back(self) -> None:
        """Undo a transaction that has failed, and empty the log, which may have filled the disk with what it wrote."""
        with contextlib.suppress(sqlite3.Error):  # what is not undone now is when the file is used next
            if self._database.in_transaction:
                self._run("ROLLBACK")
            self._run("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextlib.contextmanager
    def _explain_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise StateError(
                    f"{self.path} is in use by another mock. Stop that one, or give each its own --state."
                ) from None
            if what == "be written":
                raise StateUnwritableError(
                    f"{self.path} cannot be written: {error}. See to its disk and its folder."
                ) from None
            raise StateError(f"{self.path} cannot {what}: {error}.") from None
        except (sqlite3.Error, ValueError) as error:
            raise StateError(
                f"{self.path} is broken ({' '.join(str(error).split())}). It stays as it is; name another file."
            ) from None


class KeptStore(WrittenStore):
    """A Store that a file keeps. Everything but files is in memory too; `commit` writes what has changed."""

    lasts = True

    def __init__(self, file: StateFile, world: str) -> None:
        """Begin with what the file has of this world; `fresh` says that this is nothing."""
        super().__init__()
        kept = file.load(world)
        self.fresh = not kept.counters
        self._counters, self._blobs = kept.counters, kept.files
        for table, key, number, record in kept.records:
            self._get_table(table).put(key, record, number)
        self._file = file
        self.world: str | None = world
        """Its name; None once it was reset, and is written no more."""

    def commit(self) -> None:
        """Write what has changed since the last time; raise StateError where that fails."""
        if self.world is not None:
            self._file.write([(self.world, self.collect_changes())])
            self.note_written()
        super().commit()

    def detach(self) -> None:
        """Write nothing into the file any more."""
        self.world = None


def _open(file: StateFile, content: int) -> io.BufferedReader:
    return io.BufferedReader(Parts(partial(file.read_part, content)), 1 << 16)


def _refuse_foreign(path: Path) -> None:
    """Raise StateError for a file that is not ours, without opening it as a database."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        if path.parent.is_dir():
            return
        raise StateError(f"There is no folder {path.parent} for the state. Make it, or name another file.") from None
    except OSError as error:
        raise StateError(f"{path} cannot be read as state: {error.strerror}. Name another file.") from None
    if not head:
        return
    if not head.startswith(_MAGIC) or head[68:72] != APPLICATION.to_bytes(4, "big"):
        raise StateError(f"{path} is no state of the mock, and stays as it is. Name another file, or a new one.")
    version = int.from_bytes(head[60:64], "big")
    if version not in (_EARLIER, VERSION):
        raise StateError(f"{path} is state of version {version}, and this mock reads {VERSION}. Name another file.")


def _refuse_broken(path: Path) -> None:
    """Raise sqlite3.DatabaseError for a broken file, opened for reading only: writers move its log into it.

    Without a log it is opened as `immutable`, which makes no files beside it (https://sqlite.org/uri.html). A file
    whose first transaction was interrupted is repaired by whoever opens it next.
    """
    if not path.exists() or not path.stat().st_size or Path(f"{path}-journal").exists():
        return
    how = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    address = f"{path.absolute().as_uri()}?{how}"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE_S)) as database:
        found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _escape_place(world: str, place: Place) -> tuple[str, str, str]:
    return escape(world), escape(place[0]), escape(place[1])
