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
    from collections.abc import Callable

VARIABLE = "FLOWCONTRACT_CACHE"
"""The environment variable that names another folder; if it is empty, nothing is cached."""


def load_or_compute(name: str, folder: Path, compute: Callable[[], Any]) -> Any:
    """Return a JSON value that depends only on the files in a folder; compute it only when they have changed.

    ``name``  distinguishes it from other values of the folder
    """
    place = find_cache_folder()
    if place is None:
        return compute()
    digest = hashlib.sha256(f"{folder}\n{name}".encode()).hexdigest()[:20]
    file, stamp = place / f"{name.replace('/', '-')}-{digest}.json", _stamp_folder(folder)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(file.read_bytes())
        if kept["stamp"] == stamp:
            return kept["value"]
    value = compute()
    with contextlib.suppress(OSError):
        write_private(file, json.dumps({"stamp": stamp, "value": value}).encode())
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
    here = Path(__file__).parents[1]
    return repr([(path.name, path.stat().st_mtime_ns) for path in sorted(here.rglob("*.py"))])


def _stamp_folder(folder: Path) -> str:
    """Return a stamp that changes when a file of a folder is written, added or removed: names, times and sizes."""
    digest = hashlib.sha256(_stamp_code().encode())
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            status = os.stat(os.path.join(parent, name))  # noqa: PTH116, PTH118 - a path each takes longer
            digest.update(f"{parent}/{name} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()


def write_private(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read, atomically, so that no other process reads half of it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    with os.fdopen(handle, "wb") as writer:
        writer.write(content)
    Path(name).replace(file)
