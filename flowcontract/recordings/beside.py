"""Reads bodies that a recording keeps in separate files: from its own folder only, and of bounded size."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, Final

from flowcontract.recordings.coding import MAX_BODY_BYTES
from flowcontract.recordings.untrusted import Unreadable

_MAX_TOTAL_BYTES: Final = 4 * MAX_BODY_BYTES  # of all bodies of a recording; each entry may name the same large file
_OPEN = os.O_RDONLY  # neither waits for a FIFO's writer nor follows a link that has just been created
_OPEN |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Beside:
    """The folder of one recording."""

    def __init__(self, folder: Path | None) -> None:
        """Read from `folder`; None for a recording that came through a pipe."""
        self._folder = folder
        self._left = _MAX_TOTAL_BYTES

    def read(self, name: str) -> bytes:
        """Return the content of a file; raise Unreadable if it is not a regular file in the folder, or too large."""
        if self._folder is None:
            raise Unreadable(f"its body is in the file {name!r}, which standard input does not have beside it")
        try:
            path = self._resolve_path(self._folder, name)
            with open(os.open(path, _OPEN), "rb") as file:  # noqa: PTH123 - a descriptor
                return self._read_content(file, name)
        except (OSError, ValueError) as error:
            problem = error.strerror if isinstance(error, OSError) else str(error)
            raise Unreadable(f"its body is in the file {name!r}, which cannot be read: {problem}") from None

    @staticmethod
    def _resolve_path(folder: Path, name: str) -> Path:
        """Return the path of a file in the folder, links resolved."""
        home = folder.resolve()
        path = (home / name).resolve()
        away = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or ".." in PureWindowsPath(name).parts
        if away or path == home or not path.is_relative_to(home):
            raise Unreadable(f"its body is said to be in {name!r}, which is not within the recording's folder")
        return path

    def _read_content(self, file: BinaryIO, name: str) -> bytes:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable(f"its body is in {name!r}, which is not a regular file")
        if found.st_size > min(MAX_BODY_BYTES, self._left):
            raise Unreadable(f"its body is in the file {name!r}, which is too large: {found.st_size} bytes")
        content = file.read(found.st_size)
        self._left -= len(content)
        return content
