"""`--workers N`: processes that answer on one port. What they know together is in Redis; a dead one is replaced."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from flowcontract.errors import StateError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

_SHORT_S = 1.0  # whoever lives shorter is not replaced at once
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Worker(NamedTuple):
    """What a worker answers on, and a pipe that can be read when the process that watches over it has ended."""

    socket: socket.socket
    parent: int


class Workers:
    """The processes that serve, and the one that watches over them: this one.

    Each has a socket of its own on the same port (SO_REUSEPORT), among which the system shares out the connections.
    They are held open here: who waits on the socket of a worker that died is answered by the next one.
    """

    def __init__(
        self, sockets: Sequence[socket.socket], *, bury: Callable[[int], None], say: Callable[[str], None]
    ) -> None:
        """Prepare one worker for each listening socket; `bury` is told which process died, `say` what happened."""
        self._sockets = sockets
        self._bury, self._say = bury, say
        self._running: dict[int, tuple[int, float]] = {}  # process -> its place, and when it began
        self._ending = False

    def run(self) -> Worker | None:
        """Begin the workers: return in each of them what it serves, and None in this process after all have ended.

        They end by Ctrl-C or SIGTERM to this process, and when it is killed.
        """
        reading, writing = os.pipe()
        before = {one: signal.signal(one, self._end) for one in _SIGNALS}
        waiting = list(range(len(self._sockets)))
        while waiting or self._running:
            if not waiting:
                waiting = self._wait()
            elif not self._begin(waiting[0]):
                os.close(writing)
                return Worker(self._sockets[waiting[0]], reading)
            else:
                waiting.pop(0)
        for one, handler in before.items():
            signal.signal(one, handler)
        os.close(reading)
        os.close(writing)
        return None

    def _begin(self, place: int) -> bool:
        """Begin a worker; return False in it."""
        process = os.fork()
        if not process:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal; the parent ends us
            return False
        self._running[process] = (place, time.monotonic())
        if self._ending:  # the signal came in between
            self._end()
        return True

    def _wait(self) -> list[int]:
        """Wait until a worker has ended; return its place if another is to take it."""
        process, status = os.wait()
        place, began = self._running.pop(process)
        if self._ending:
            return []
        how = os.waitstatus_to_exitcode(status)
        how_told = f"exit code {how}" if how >= 0 else signal.Signals(-how).name
        self._say(f"Worker {process} has ended ({how_told}); another takes its place.")
        try:
            self._bury(process)
        except StateError as error:  # the others notice after a while that it is silent
            self._say(str(error))
        if time.monotonic() - began < _SHORT_S:
            time.sleep(_SHORT_S)
        return [] if self._ending else [place]

    def _end(self, *_: object) -> None:
        self._ending = True
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
