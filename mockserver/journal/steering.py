"""What somebody wants with a stream that is sent: hold it, go on, drop what comes next, put something in, end it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal, get_args

from mockserver.http.messages import AbortConnection

if TYPE_CHECKING:
    from mockserver.http.messages import Streamed

Action = Literal["continue", "hold", "drop", "inject", "close"]
ACTIONS: tuple[Action, ...] = get_args(Action)
PAUSED = "by hand"
"""The name of a hold that no scenario has."""
_FOREVER = float("inf")


class Steering:
    """What is still to be done with one stream. May be used from several threads.

    ``paused``  nothing more is taken from the stream
    """

    def __init__(self) -> None:
        """Let it go on."""
        self.paused = False
        self._dropping = 0
        self._added: list[bytes] = []
        self._closing = False
        self._lock = threading.Lock()

    def steer(self, action: Action, data: bytes, count: int) -> None:
        """Note what is wanted: `data` to put in, or how many pieces to drop."""
        with self._lock:
            if action in ("continue", "hold"):
                self.paused = action == "hold"
            elif action == "drop":
                self._dropping += count
            elif action == "inject":
                self._added.append(data)
            else:
                self._closing = True

    def advance(self, stream: Streamed, now: float) -> tuple[list[bytes], float | None]:
        """Return what is due of a stream that is steered; raise AbortConnection where it is to end."""
        with self._lock:
            added, self._added = self._added, []
            if self._closing:
                if added:
                    return added, now
                raise AbortConnection("close")
            paused = self.paused
        if paused:
            return added, _FOREVER
        pieces, wake = stream.advance(now)
        with self._lock:
            dropped = min(self._dropping, len(pieces))
            self._dropping -= dropped
        return [*added, *pieces[dropped:]], wake
