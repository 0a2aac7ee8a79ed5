"""A stream that comes from elsewhere while it is sent: what arrives is due at once, unless a fault changes it."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from mockserver.http.failures import complain
from mockserver.http.incoming import HELD
from mockserver.http.messages import AbortConnection
from mockserver.http.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowcontract.scenarios import Piece
    from mockserver.http.messages import End

    Change = Callable[[Iterator[Piece]], Iterator[Piece]]

FOREVER = float("inf")


class LiveStream(Stream):
    """What arrives is put in at one end and sent from the other. All of it happens on one event loop.

    ``on_arrival``  called on the loop when `advance` has to be called at once; without one `on_change` is
    ``on_flow``   called with whether more may be put in: not while the client reads too slowly
    ``on_end``    called once with how it ended for the client
    """

    on_loop = True

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__(iter(()))
        self.on_flow: Callable[[bool], None] = lambda _may: None
        self.on_arrival: Callable[[], None] | None = None
        self._arrived: deque[bytes] = deque()
        self._waiting = 0
        self._whole: bool | None = None
        self._break: AbortConnection | None = None
        self._stopped_flow = False

    def put(self, data: bytes) -> None:
        """Send the next bytes, in a piece of their own."""
        if self.ended:
            return
        self._arrived.append(data)
        self._waiting += len(data)
        if self._waiting > HELD and not self._stopped_flow:
            self._stopped_flow = True
            self.on_flow(False)
        self._arrive()

    def _arrive(self) -> None:
        """Have the sender ask at once."""
        (self.on_arrival or self.on_change)()

    def finish(self) -> None:
        """Note that all has arrived."""
        self._whole = True
        if not self._arrived and not self._begun:
            self._end("complete")  # nothing follows the headers, and nobody may ever ask for it
        self._arrive()

    def break_off(self, how: AbortConnection) -> None:
        """Note that no more will come: what has arrived is sent, then the connection ends in the same way."""
        self._whole, self._break = False, how
        self._arrive()

    def advance(self, now: float) -> tuple[list[bytes], float | None]:  # noqa: ARG002 - as all streams
        """Return what has arrived; None at its end."""
        self._begun = True
        if self.ended:
            return [], None
        due = list(self._arrived)
        self._arrived.clear()
        self._waiting = 0
        if self._stopped_flow:
            self._stopped_flow = False
            self.on_flow(True)
        if self._whole is None:
            return due, FOREVER
        if self._whole:
            self._end("complete")
            return due, None
        if due:
            return due, time.monotonic()
        self._end("cut")
        raise self._break or AbortConnection("close")

    def stop(self) -> None:
        """Do nothing: what the server says is not the mock's to stop."""

    def close(self) -> None:
        """Note that the client has left, unless everything was sent."""
        if not self.ended:
            self._end("complete" if self._whole and not self._arrived else "gone")
        self._arrived.clear()


class ChangedStream(Stream):
    """Events that arrive, changed by faults. These ask for the next event and wait for it: each stream has a thread.

    ``on_done``  called once, in any thread, when it has no thread any more and will have none
    """

    def __init__(self) -> None:
        """Begin without an event; `transform` says what becomes of them."""
        super().__init__(iter(()))
        self.on_flow: Callable[[bool], None] = lambda _may: None
        self.on_done: Callable[[], None] = lambda: None
        self._source: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._waiting = 0  # bytes in the source
        self._changes: list[Change] = []
        self._ready: deque[tuple[float, bytes]] = deque()
        self._ready_size = 0
        self._lock = threading.Lock()
        self._room = threading.Event()  # for more that is ready
        self._made = self._left = self._stopped_flow = False
        self._thread: threading.Thread | None = None
        self._break: AbortConnection | None = None

    def transform(self, change: Change, *, mute: bool = False) -> None:  # noqa: ARG002 - the server's pings are its own
        """Send what `change` makes of the events."""
        self._changes.append(change)

    def put(self, piece: Piece) -> None:
        """Give the next event to the faults."""
        with self._lock:
            self._waiting += len(piece.data)
        self._source.put(piece)
        if self._waiting > HELD and not self._stopped_flow:
            self._stopped_flow = True
            self.on_flow(False)

    def finish(self) -> None:
        """Note that all has arrived."""
        self._source.put(None)

    def break_off(self, how: AbortConnection) -> None:
        """Note that no more will come: what was made of the rest is sent, then the connection ends in the same way."""
        self._break = self._break or how
        self._source.put(None)

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return what is due, and when the next is; None at its end."""
        if self.ended:
            return [], None
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="faults", daemon=True)
            self._thread.start()
        if self._stopped_flow and self._waiting <= HELD // 2:
            self._stopped_flow = False
            self.on_flow(True)
        due, wake, over = self._take_ready(now)
        if not over:
            return due, wake
        cut = self.cut or self._break
        if cut is not None and due:
            return due, now
        self._end("cut" if cut is not None else "complete")
        if cut is not None:
            raise cut
        return due, None

    def _take_ready(self, now: float) -> tuple[list[bytes], float, bool]:
        """Return what is due, when the next is, and whether that was the last."""
        due: list[bytes] = []
        with self._lock:
            while self._ready and self._ready[0][0] <= now:
                due.append(self._ready.popleft()[1])
            self._ready_size -= sum(map(len, due))
            if not self._is_ahead(2):
                self._room.set()
            wake = self._ready[0][0] if self._ready else FOREVER
            return due, wake, self._made and not self._ready

    def _is_ahead(self, part: int) -> bool:
        """Tell whether more than this part of what may wait is ready."""
        return self._ready_size > HELD // part or len(self._ready) > _AHEAD // part

    def stop(self) -> None:
        """Do nothing: what the server says is not the mock's to stop."""

    def close(self) -> None:
        """Note that the client has left, unless everything was sent."""
        if not self.ended:
            self._end("gone")

    def _end(self, how: End) -> None:
        super()._end(how)
        self._left = True
        self._source.put(None)
        self._room.set()
        if self._thread is None:
            self.on_done()

    def _run(self) -> None:
        """Make what is sent; in the thread."""
        try:
            self._make()
        except Exception as error:  # noqa: BLE001 - whatever it is, the client must not wait forever
            complain(error)
            self.failure = f"{type(error).__name__}: {error}"
            self._break = AbortConnection("close")
        self._made = True
        self.on_done()
        self.on_change()

    def _make(self) -> None:
        pieces = self._take_arrived()
        for change in self._changes:
            pieces = change(pieces)
        scheduled = 0.0
        for piece in pieces:
            if self._left:
                return
            scheduled = max(scheduled, time.monotonic()) + piece.delay_ms / 1000
            with self._lock:
                self._ready.append((scheduled, piece.data))
                self._ready_size += len(piece.data)
                self._room.clear()
                is_ahead = self._is_ahead(1)
            self.on_change()
            if is_ahead and not self._left:  # a fault may repeat an event for ever
                self._room.wait()

    def _take_arrived(self) -> Iterator[Piece]:
        while not self._left and (piece := self._source.get()) is not None:
            with self._lock:
                self._waiting -= len(piece.data)
            if self._stopped_flow and self._waiting <= HELD // 2:
                self.on_change()  # also where nothing comes of this event
            yield piece


_AHEAD = 1000
"""Pieces that may wait to be sent."""
