"""Lines for an open file, which are formatted and written in batches, and never waited for.

Whoever reads the file too slowly, or not at all, loses lines and is told how many. Lines are formatted many at a time:
with cold caches, between two requests, each would take several times as long. That is done where they are put, and
writing too where it cannot wait, since two threads that take turns at it cost more than the lines; a thread of its own
writes what is left.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT = 10_000  # lines that wait to be written
_TOGETHER_S = 0.1  # lines of so long are written at once: waking up for each would cost more than the line
_RARELY_S = 1.0  # how often the thread looks while lines are written without it: waking up costs what 50 lines cost
_FORMATTED_TOGETHER = 160  # with 40 a line costs half as much again
_AT_ONCE = 64 << 10  # bytes
_AMONG_OTHERS = getattr(select, "PIPE_BUF", 512)
"""Bytes that reach a pipe as a whole, beside those of other workers, and without waiting once it is ready (POSIX)."""
_NO_ROOM = (errno.EAGAIN, errno.ENOSPC, errno.EDQUOT)  # there may be some later
_FAREWELL_S = 0.5
_T = TypeVar("_T")


class LineWriter(Generic[_T]):
    """Formats lines in batches and writes them, in a thread where that waits; what has no room is dropped and counted.

    A line may be several, of which nothing comes between: what stands below a line stays there, whatever others write.
    """

    def __init__(
        self,
        descriptor: int,
        tell_dropped: Callable[[int], str],
        *,
        form: Callable[[_T], str] = str,
        encoding: str = "utf-8",
        alone: bool = True,
    ) -> None:
        """Write to an open file, `alone` or beside other processes.

        ``form``          makes a line of what is put; called where it was put, or in the thread
        ``tell_dropped``  makes the line that says how many are missing
        """
        self._descriptor, self._tell_dropped, self._form = descriptor, tell_dropped, form
        self._encoding, self._at_once = encoding, _AT_ONCE if alone else _AMONG_OTHERS
        self._put: deque[_T] = deque()  # not yet formatted
        self._formatting = threading.Lock()  # lines stay in the order in which they were put
        self._lines: deque[bytes] = deque()  # the first may be the rest of one
        self._writing = threading.Lock()  # here too
        self._ask_room = _find_room(descriptor) if alone else _say_none
        self._dropped = 0
        self._batches = 0  # that were written without the thread
        self._idle = True  # the thread waits to be woken
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._until = float("inf")  # so long is waited for room

    def put(self, line: _T) -> None:
        """Have a line formatted and written soon; drop and count it where there is no room."""
        waiting = len(self._put)
        if waiting + len(self._lines) >= _KEPT:
            self._dropped += 1
            return
        if self._dropped:  # say so before this line
            self._format_unless_busy()
        self._put.append(line)
        if waiting >= _FORMATTED_TOGETHER:
            self._format_unless_busy()
            if self._writing.acquire(blocking=False):
                try:
                    self._write_some()
                finally:
                    self._writing.release()
        if self._idle:
            self._wake()

    def close(self) -> None:
        """Write what waits, unless nobody takes it."""
        self._until = time.monotonic() + _FAREWELL_S
        self._closing.set()
        self._ready.set()
        if self._thread is not None:
            self._thread.join(_FAREWELL_S)

    def _format_unless_busy(self) -> None:
        """Format what was put, unless another thread is at it."""
        if self._formatting.acquire(blocking=False):
            try:
                self._format()
            finally:
                self._formatting.release()

    def _format(self) -> None:
        """Make lines of what was put, and behind them say how many were dropped since."""
        put, form = self._put, self._form
        texts = [form(put.popleft()) for _ in range(len(put))]
        if self._dropped and len(self._lines) < _KEPT:
            count, self._dropped = self._dropped, 0
            texts.append(self._tell_dropped(count))
        self._lines.extend(f"{text}\n".encode(self._encoding, "backslashreplace") for text in texts)

    def _wake(self) -> None:
        with self._lock:
            self._idle = False
            self._ready.set()
            if self._thread is None:  # not before the first line: workers are forked until then
                self._thread = threading.Thread(target=self._run, name="request log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # nobody will ever read it: what comes from now on waits until all is full
            while not self._closing.is_set() or self._put or self._lines:
                self._ready.wait()
                self._pause()
                if not self._closing.is_set():
                    self._ready.clear()
                self._idle = True  # from now on whoever puts a line wakes this thread for it
                with self._writing:
                    self._write_all()

    def _pause(self) -> None:
        """Wait for more lines, and as long as they are written without this thread."""
        pause_s, seen = _TOGETHER_S, -1
        while seen != self._batches and not self._closing.is_set():
            seen = self._batches
            self._closing.wait(pause_s)
            pause_s = _RARELY_S

    def _write_some(self) -> None:
        """Write what there is room for at once."""
        with contextlib.suppress(OSError):  # the thread meets the same error
            while self._lines and (room := self._ask_room()) >= len(self._lines[0]):
                self._write_batch(room)
                self._batches += 1

    def _write_all(self) -> None:
        """Write all that waits, in the thread: wait for room, but for what cannot be written at all raise OSError."""
        waits = True
        while waits:
            with self._formatting:
                self._format()
            try:
                while self._lines:
                    self._write_batch(self._at_once)
            except OSError as error:
                if error.errno not in _NO_ROOM or time.monotonic() > self._until:
                    raise
                if not (error.errno == errno.EAGAIN and _await_room(self._descriptor)):
                    time.sleep(_TOGETHER_S)
            waits = bool(self._lines or self._dropped)

    def _write_batch(self, size: int) -> None:
        """Write as many whole lines of what waits as `size` bytes have room for, but at least one.

        What the file has no room for waits on, and the OSError is raised.
        """
        batch: list[bytes] = []
        while self._lines and (not batch or size >= len(self._lines[0])):
            batch.append(self._lines.popleft())
            size -= len(batch[-1])
        data = b"".join(batch)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            left = len(data) if error.errno in _NO_ROOM else 0
            while left > 0:
                self._lines.appendleft(batch[-1][-left:])
                left -= len(batch.pop())
            raise


def _find_room(descriptor: int) -> Callable[[], int]:
    """Return what tells how many bytes an open file takes without waiting."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return lambda: _AT_ONCE
    if not stat.S_ISFIFO(mode) or not hasattr(select, "poll"):
        return _say_none
    pipe = select.poll()
    pipe.register(descriptor, select.POLLOUT)
    return lambda: _AMONG_OTHERS if pipe.poll(0) else 0  # it is ready when it has so much room (pipe(7))


def _say_none() -> int:
    return 0


def _await_room(descriptor: int) -> bool:
    """Wait a moment for room in an open file that others made non-blocking; return False where that cannot be done."""
    if not hasattr(select, "poll"):
        return False
    pipe = select.poll()
    pipe.register(descriptor, select.POLLOUT)
    pipe.poll(_TOGETHER_S * 1000)
    return True
