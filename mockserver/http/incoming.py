"""The body of a request while it arrives, piece by piece. No sockets."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from flowcontract.errors import StateUnwritableError
from mockserver.blobs.blob import EMPTY, Blob

if TYPE_CHECKING:
    from collections.abc import Callable

BodyError = Literal["", "too large", "cut short"] | StateUnwritableError
"""Why a body is not what the client meant to send; '' where it is."""
HELD = 256 << 10
"""Bytes that wait for a slower side before the faster one has to wait."""


def _ignore(*_: object) -> None:
    """Do nothing: the default of callbacks."""


class Incoming:
    """A request's body that is still arriving. The adapter feeds it; whoever takes it is told when there is more.

    ``on_data``   called when there is something to take, or the end
    ``on_flow``   called with whether the client may go on sending
    ``whole``     None while more may come; then whether all of it has come
    ``size``      bytes that have come
    ``copy``      what has come, for judging it afterwards; ``copy_error`` tells why it is not all
    ``recalled``  it must not be passed on while it comes: the adapter has the request answered when it is whole
    """

    def __init__(self) -> None:
        self.on_data: Callable[[], None] = _ignore
        self.on_flow: Callable[[bool], None] = _ignore
        self.on_end: Callable[[], None] = _ignore
        self.on_recall: Callable[[], None] = _ignore
        self.recalled = False
        self.whole: bool | None = None
        self.size = 0
        self.copy: Blob = EMPTY
        self.copy_error: BodyError = ""
        self._look: Callable[[bytes], bool] | None = None
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._stopped = self._dropped = False

    def feed(self, data: bytes) -> None:
        """Add the next bytes, unless nobody wants them any more."""
        self.size += len(data)
        if self._look is not None and self._look(data):
            self._recall()
        if self._dropped:
            return
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting > HELD and not self._stopped:
            self._stopped = True
            self.on_flow(False)
        self.on_data()

    def watch(self, look: Callable[[bytes], bool]) -> None:
        """Look at each piece before it is taken, and at those that wait."""
        self._look = look
        if any(look(piece) for piece in self._pieces):
            self._recall()

    def _recall(self) -> None:
        self.recalled, self._look = True, None
        self.drop()
        self.on_recall()

    def finish(self, copy: Blob, error: BodyError, *, whole: bool) -> None:
        """Note the end, or that it broke off."""
        self.whole, self.copy, self.copy_error = whole, copy, error
        self.on_end()
        self.on_data()

    def take(self) -> list[bytes]:
        """Return what has come since the last time, each piece as it came."""
        pieces = list(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        if self._stopped:
            self._stopped = False
            self.on_flow(True)
        return pieces

    def drop(self) -> None:
        """Take no more: what still comes is for nobody."""
        self._dropped = True
        self.on_data = _ignore
        self.take()
