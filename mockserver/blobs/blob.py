"""Bytes that may be large: in memory while small, then in a temporary file, gone when nobody holds them any more."""

from __future__ import annotations

import io
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

from flowcontract.errors import StateError, StateUnwritableError
from mockserver.blobs import tempfiles

if TYPE_CHECKING:
    from pathlib import Path

_KEPT_IN_MEMORY = 1 << 17  # many of these are kept at a time
_CHUNK = 1 << 16


Opener = Callable[[], IO[bytes]]
"""Returns a reader that stands at the first byte; each has its own place."""


class Blob:
    """Bytes that can be read from their start as often as wanted, by several readers at once."""

    _temporary: weakref.finalize[..., Blob] | None = None

    def __init__(self, source: bytes | Path | Opener, size: int = 0) -> None:
        """Hold bytes, or point to a file that stays as it is, or to what opens `size` bytes."""
        self._source = source
        self.size = size
        if not callable(source):
            self.size = len(source) if isinstance(source, bytes) else source.stat().st_size

    @property
    def in_memory(self) -> int:
        """How many of its bytes are in memory: all or none."""
        return self.size if isinstance(self._source, bytes) else 0

    def open(self) -> IO[bytes]:
        """Return a reader of its own that stands at the first byte."""
        source = self._source
        if isinstance(source, bytes):
            return io.BytesIO(source)
        return source() if callable(source) else source.open("rb")

    def read(self) -> bytes:
        """Return all bytes at once; raise as `chunks` does."""
        return self._source if isinstance(self._source, bytes) else b"".join(self.read_chunks(1 << 20))

    def read_beginning(self, size: int) -> bytes:
        """Return the first bytes, at most `size`."""
        if isinstance(self._source, bytes):
            return self._source[:size]
        with self.open() as reader:
            return reader.read(size)

    def read_chunks(self, size: int = _CHUNK) -> Iterator[bytes]:
        """Yield the bytes in pieces of at most `size`, each but the last of just that, and never more than there were.

        Raise StateError where some of them are gone, or can no longer be read.
        """
        left = self.size
        with _explain_errors("read"), self.open() as reader:
            while left:
                chunk = reader.read(min(size, left))
                if not chunk:
                    raise StateError(f"Of a file's {self.size} bytes the last {left} are gone.")
                left -= len(chunk)
                yield chunk

    def own(self, path: Path) -> None:
        """Delete the file that it points to when nobody holds the blob any more."""
        self._temporary = weakref.finalize(self, path.unlink, missing_ok=True)

    def move(self, opener: Opener) -> None:
        """Point to where its bytes have been copied to; who reads them already reads on."""
        self._source = opener
        if self._temporary is not None:
            self._temporary()


EMPTY = Blob(b"")


class Parts(io.RawIOBase):
    """Reads what is kept in parts: `part` returns one by its number from 0, and nothing behind the last."""

    def __init__(self, part: Callable[[int], bytes]) -> None:
        super().__init__()
        self._part = part
        self._number, self._rest = 0, b""

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what comes next, or its beginning."""
        if not self._rest:
            self._rest = self._part(self._number)
            self._number += 1
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


class BlobWriter:
    """Collects bytes into a Blob, in memory up to a limit and in a temporary file beyond that."""

    def __init__(self, in_memory: int = _KEPT_IN_MEMORY) -> None:
        self.size = 0
        self._in_memory = in_memory
        self._file: IO[bytes] = io.BytesIO()
        self._path: Path | None = None
        self._abandoned: weakref.finalize[..., BlobWriter] | None = None

    def write(self, data: bytes) -> None:
        """Add bytes at the end; raise StateUnwritableError where there is no room for them."""
        self.size += len(data)
        with _explain_unwritable():
            if self._path is None and self.size > self._in_memory:
                self._move_to_disk()
            self._file.write(data)

    def finish(self) -> Blob:
        """Return everything that was written; the temporary file, if there is one, lives as long as the Blob.

        Raise StateUnwritableError where there was no room for the last of it.
        """
        if self._path is None:
            assert isinstance(self._file, io.BytesIO)
            return Blob(self._file.getvalue())
        with _explain_unwritable():
            self._file.close()
        blob = Blob(self._path)
        blob.own(self._path)
        if self._abandoned is not None:
            self._abandoned.detach()
        return blob

    def discard(self) -> None:
        """Forget what was written."""
        with suppress(OSError):  # what it still has in memory may find no room
            self._file.close()
        if self._abandoned is not None:
            self._abandoned()

    def _move_to_disk(self) -> None:
        assert isinstance(self._file, io.BytesIO)
        written = self._file.getvalue()
        self._file, self._path = tempfiles.create_file()
        self._abandoned = weakref.finalize(self, _remove, self._file, self._path)  # of a client that left in between
        self._file.write(written)


def _remove(file: IO[bytes], path: Path) -> None:
    with suppress(OSError):
        file.close()
    path.unlink(missing_ok=True)


@contextmanager
def _explain_unwritable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = tempfile.gettempdir()
        raise StateUnwritableError(
            f"A large body cannot be kept in {folder}: {error.strerror or error}. Make room there, or set TMPDIR."
        ) from None


@contextmanager
def _explain_errors(what: str) -> Iterator[None]:
    """Tell an error of the system in one line."""
    try:
        yield
    except OSError as error:
        raise StateError(f"The bytes of a file cannot be {what}: {error.strerror or error}.") from None
