"""Caches, as JSON in the user's cache folder, what was computed from the packaged files, until one of them changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VARIABLE = "FLOWCONTRACT_CACHE"
"""The environment variable that names another folder; if it is empty, nothing is cached."""


class FolderCache:
    """JSON values that depend only on the files in a folder, as these are when this object is made."""

    def __init__(self, folder: Path) -> None:
        """Look at each file's time and size once."""
        self._folder, self._place = folder, find_cache_folder()
        self._stamp = _stamp_folder(folder) if self._place is not None else ""

    def load_or_compute(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return a value; compute it only when a file of the folder has changed.

        ``name``  distinguishes it from other values of the folder
        """
        if self._place is None:
            return compute()
        digest = hashlib.sha256(f"{self._folder}\n{name}".encode()).hexdigest()[:20]
        file = self._place / f"{name.replace('/', '-')}-{digest}.json"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(file.read_bytes())
            if kept["stamp"] == self._stamp:
                return kept["value"]
        value = compute()
        with contextlib.suppress(OSError):
            write_private(file, json.dumps({"stamp": self._stamp, "value": value}).encode())
        return value


def find_cache_folder() -> Path | None:
    """Return the cache folder (https://specifications.freedesktop.org/basedir-spec/latest/); None for no cache."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return Path(chosen) if chosen else None
    system = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):  # no home folder
        return (Path(system) if system else Path.home() / ".cache") / "flowcontract"
    return None


@cache
def _stamp_code() -> str:
    """Return a stamp of this code, since another version may compute other values."""
    return repr([*_list_files(Path(__file__).parents[1], ".py")])


def _stamp_folder(folder: Path) -> str:
    """Return a stamp that changes when a file of a folder is written, added or removed: names, times and sizes."""
    digest = hashlib.sha256(_stamp_code().encode())
    for name, written_ns, size in _list_files(folder):
        digest.update(f"{name} {written_ns} {size}\n".encode())
    return digest.hexdigest()


def _list_files(folder: Path, ending: str = "") -> Iterator[tuple[str, int, int]]:
    """Yield path, time in nanoseconds and size of each file below a folder, in the same order each time.

    Of one that somebody deletes meanwhile both are 0.
    """
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for path in (f"{parent}/{name}" for name in sorted(names) if name.endswith(ending)):  # a Path takes longer
            try:
                status = os.stat(path)  # noqa: PTH116 - the same
            except FileNotFoundError:
                yield path, 0, 0
            else:
                yield path, status.st_mtime_ns, status.st_size


def write_private(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read, atomically, so that no other process reads half of it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    with os.fdopen(handle, "wb") as writer:
        writer.write(content)
    Path(name).replace(file)
