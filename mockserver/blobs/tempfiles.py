"""The folder for bytes too large for memory: gone with the process, or when the next one begins, if it was killed."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # no POSIX: what a killed process leaves stays
    fcntl = None  # type: ignore[assignment]

_PREFIX = "mockserver-"
_LOCK = "lock"  # held as long as the folder's process lives, so that nobody else takes it for left behind


def create_file() -> tuple[IO[bytes], Path]:
    """Return a new file to write to, and its path. The name is ours: a client's name never reaches a path."""
    handle, name = tempfile.mkstemp(dir=_make_folder(os.getpid(), Path(tempfile.gettempdir())))
    return os.fdopen(handle, "wb"), Path(name)


@cache
def _make_folder(_process: int, base: Path) -> Path:
    """Make the folder of this process; remove those of processes that were killed."""
    for left in base.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # another user's
            _remove_if_left(left)
    unlocked = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=base))  # nobody looks here until the lock is held
    lock = (unlocked / _LOCK).open("wb")
    if fcntl is not None:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    folder = unlocked.rename(base / unlocked.name[1:])
    atexit.register(_remove, folder, lock)
    return folder


def _remove_if_left(lock: Path) -> None:
    if fcntl is None:
        return
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises BlockingIOError while its process lives
        shutil.rmtree(lock.parent)


def _remove(folder: Path, lock: IO[bytes]) -> None:
    lock.close()
    shutil.rmtree(folder, ignore_errors=True)
