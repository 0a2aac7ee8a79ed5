"""Bytes that may be large: in memory while small, then in a temporary file, gone when nobody holds them any more."""

from __future__ import annotations

import io
import os
import tempfile
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_MEMORY = 1 << 16  # many of these are kept at a time
_CHUNK = 1 << 16


class Blob:
    """Bytes that can be read from their start as often as wanted, by several readers at once."""

    def __init__(self, source: bytes | Path) -> None:
        """Hold bytes, or point to a file that stays as it is."""
        self._source = source
        self.size = len(source) if isinstance(source, bytes) else source.stat().st_size

    @property
    def in_memory(self) -> int:
        """How many of its bytes are in memory: all or none."""
        return self.size if isinstance(self._source, bytes) else 0

    def open(self) -> IO[bytes]:
        """Return a reader of its own that stands at the first byte."""
        return io.BytesIO(self._source) if isinstance(self._source, bytes) else self._source.open("rb")

    def read(self) -> bytes:
        """Return all bytes at once."""
        return self._source if isinstance(self._source, bytes) else self._source.read_bytes()

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces of at most 64 KiB."""
        with self.open() as reader:
            while chunk := reader.read(_CHUNK):
                yield chunk


EMPTY = Blob(b"")


class BlobWriter:
    """Collects bytes, in memory up to 64 KiB and in a temporary file beyond that, into a Blob."""

    def __init__(self) -> None:
        self.size = 0
        self._file: IO[bytes] = io.BytesIO()
        self._path: Path | None = None
        self._abandoned: weakref.finalize[..., BlobWriter] | None = None

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        self.size += len(data)
        if self._path is None and self.size > _IN_MEMORY:
            self._move_to_disk()
        self._file.write(data)

    def finish(self) -> Blob:
        """Return everything that was written; the temporary file, if there is one, lives as long as the Blob."""
        if self._path is None:
            assert isinstance(self._file, io.BytesIO)
            return Blob(self._file.getvalue())
        self._file.close()
        blob = Blob(self._path)
        weakref.finalize(blob, self._path.unlink, missing_ok=True)
        if self._abandoned is not None:
            self._abandoned.detach()
        return blob

    def discard(self) -> None:
        """Forget what was written."""
        self._file.close()
        if self._abandoned is not None:
            self._abandoned()

    def _move_to_disk(self) -> None:
        assert isinstance(self._file, io.BytesIO)
        handle, name = tempfile.mkstemp(prefix="mockserver-")  # a name of ours: a client's name never reaches a path
        written = self._file.getvalue()
        self._path = Path(name)
        self._file = os.fdopen(handle, "wb")
        self._abandoned = weakref.finalize(self, _remove, self._file, self._path)  # of a client that left in between
        self._file.write(written)


def _remove(file: IO[bytes], path: Path) -> None:
    file.close()
    path.unlink(missing_ok=True)
