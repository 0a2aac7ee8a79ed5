"""`--workers N`: processes that answer on one port and keep their state in Redis; dead ones are replaced."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from flowcontract.errors import StateError
from mockserver.server.transfer import Transfers, make_inboxes

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

_MIN_LIFE_S = 1.0  # a worker that ends sooner is replaced after a pause of this length
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Worker(NamedTuple):
    """What one of the processes has.

    ``socket``     it listens on
    ``parent``     a pipe that becomes readable when the parent process has ended
    ``place``      its number among the workers, from 0
    ``transfers``  how it hands connections over
    """

    socket: socket.socket
    parent: int
    place: int
    transfers: Transfers


class Workers:
    """The processes that serve; this process starts and supervises them.

    Each has a socket of its own on the same port (SO_REUSEPORT); the kernel distributes the connections among these.
    The parent keeps all of them open, so that connections queued for a worker that died go to its replacement.
    """

    def __init__(
        self, sockets: Sequence[socket.socket], *, bury: Callable[[int], None], say: Callable[[str], None]
    ) -> None:
        """Prepare a worker for each socket; call `bury` with a process that died, `say` with what happened."""
        self._sockets = sockets
        self._inboxes = make_inboxes(len(sockets))
        self._bury, self._say = bury, say
        self._running: dict[int, tuple[int, float]] = {}  # process id -> index of its socket, and when it began
        self._ending = False

    def run(self) -> Worker | None:
        """Start the workers. Return a Worker in each of them, and None in this process after all have ended.

        They end on Ctrl-C, on SIGTERM to this process, and when it is killed.
        """
        reading, writing = os.pipe()
        handlers = {number: signal.signal(number, self._end) for number in _SIGNALS}
        waiting = list(range(len(self._sockets)))
        while waiting or self._running:
            if not waiting:
                waiting = self._wait()
            elif not self._begin(waiting[0]):
                os.close(writing)
                place = waiting[0]
                return Worker(self._sockets[place], reading, place, Transfers(place, self._inboxes))
            else:
                waiting.pop(0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
        return None

    def _begin(self, place: int) -> bool:
        """Start a worker; return False in the worker itself, True in this process."""
        process = os.fork()
        if not process:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends Ctrl-C to all; the parent ends us
            return False
        self._running[process] = (place, time.monotonic())
        if self._ending:  # the signal came in between
            self._end()
        return True

    def _wait(self) -> list[int]:
        """Wait until a worker has ended; return the index of its socket if another is to take its place."""
        process, status = os.wait()
        place, began = self._running.pop(process)
        if self._ending:
            return []
        how = os.waitstatus_to_exitcode(status)
        reason = f"exit code {how}" if how >= 0 else signal.Signals(-how).name
        self._say(f"Worker {process} has ended ({reason}); another takes its place.")
        try:
            self._bury(process)
        except StateError as error:  # the others notice after a while by its silence
            self._say(str(error))
        if time.monotonic() - began < _MIN_LIFE_S:
            time.sleep(_MIN_LIFE_S)
        return [] if self._ending else [place]

    def _end(self, *_: object) -> None:
        self._ending = True
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
