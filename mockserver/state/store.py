"""Where a world keeps its records: by table and id, in the order in which they came, and in any other order by page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import threading

    from mockserver.blobs.blob import Blob

Record = dict[str, Any]
Equal = Mapping[str, Any]
"""Field -> the value that a record must have there to be meant; values are texts, numbers or null."""
ANY: Equal = MappingProxyType({})


Make = Callable[[Record | None], Record | None]
"""Makes a record of the one that stands in its place."""
Place = tuple[str, str]
"""Table and key of a record."""


class Page(NamedTuple):
    """Some of a table's records: those shown, how many there are altogether, and whether more follow these."""

    rows: list[Record]
    total: int
    more: bool


class Store(Protocol):
    """JSON objects by table and id, and the bytes that belong to them.

    Records are never changed, but replaced by others: `discard` brings back the ones that were there.
    """

    @property
    def shared(self) -> SharedStore | None:
        """The store itself where other programs write into it too; None where nobody else does."""

    @property
    def fresh(self) -> bool:
        """Whether it began with nothing."""

    @property
    def lasts(self) -> bool:
        """Whether what is committed outlives this program, and takes no memory of anybody."""

    def get(self, table: str, key: str) -> Record | None:
        """Return a record, or None."""

    def put(self, table: str, key: str, record: Record) -> None:
        """Add a record, or replace the one of the same key where it stands."""

    def put_when_read(self, table: str, key: str, make: Make) -> None:
        """Put what `make` returns once somebody reads the table, or `write_out` is called: it may grow until then.

        `make` is given the record that stands there, if one does; where it returns None nothing is put.
        """

    def write_out(self, table: str) -> None:
        """Put what was to be put into a table when it is read."""

    def delete(self, table: str, key: str) -> Record | None:
        """Take a record out with its bytes and return it; None if there was none."""

    def list_rows(self, table: str) -> Iterator[Record]:
        """Yield all records of a table, the first put first."""

    def read_page(  # noqa: PLR0913 - what a list can be asked for, each by name
        self,
        table: str,
        *,
        where: Equal = ANY,
        order: str = "",
        after: str | None = None,
        skip: int = 0,
        limit: int | None = None,
    ) -> Page:
        """Return up to `limit` (None: all) of the records that `where` means, without looking at the others.

        They are ordered by the field `order` (null is before every value), and where that is equal, or '', as they
        came; a hyphen before it is that order from its end. They begin behind the record `after` if one is named
        (raise KeyError where it is not among them), and `skip` records further.
        """

    def count(self, name: str, by: int = 1) -> int:
        """Return 1, 2, 3, ... for each name of a counter, or the last number of several that are taken at once."""

    def read_counter(self, name: str) -> int:
        """Return what `count` has returned last for a name, 0 before."""

    def keep(self, table: str, key: str, blob: Blob) -> None:
        """Keep the bytes that belong to a record."""

    def get_blob(self, table: str, key: str) -> Blob:
        """Return the bytes that belong to a record; none where it never had any."""

    def list_everything(self) -> Iterator[tuple[str, str, Record]]:
        """Yield every record with its table and its key."""

    def count_rows(self) -> dict[str, int]:
        """Return how many records each table has."""

    @property
    def changed(self) -> Sequence[Place]:
        """The records that were written or deleted since the last `commit` or `discard`, those with other bytes too."""

    @property
    def has_changed(self) -> bool:
        """Whether anything was written since the last `commit` or `discard`, counters included."""

    def commit(self) -> None:
        """Make everything that was written so far outlive this program, if the store can; raise StateError."""

    def discard(self) -> None:
        """Let everything be as it was at the last `commit`. Records must not have been changed but by `put`."""


class SharedStore(Store, Protocol):
    """A Store that several programs, the workers, read and write.

    ``lock``  held by whoever is in a transaction of the world
    """

    lock: threading.RLock

    @property
    def stale(self) -> bool:
        """True once another worker has reset the world whose store this was."""

    @property
    def worker(self) -> str:
        """The name of this program among the workers."""

    @property
    def workers(self) -> frozenset[str]:
        """The names of the workers that are alive."""

    def begin(self) -> Sequence[Place] | None:
        """Take hold of the world and apply other workers' writes; return the places changed, None means everything."""

    def call(self, task: str) -> None:
        """Ask the worker in which a task runs to stop it."""


def escape(text: str) -> str:
    """Return a text as databases can hold it: without surrogates and null bytes, which clients may well send."""
    is_plain = text.isascii() and text.isprintable() and '"' not in text and "\\" not in text
    return text if is_plain else json.dumps(text)[1:-1]


def unescape(text: str) -> str:
    """Return the text that `escape` was given."""
    return str(json.loads(f'"{text}"')) if "\\" in text else text
