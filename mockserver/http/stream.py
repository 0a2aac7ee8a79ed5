"""A paced stream: pieces with the time between them, that knows what is due when; it never waits and never sends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mockserver.http.failures import complain
from mockserver.http.messages import AbortConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from flowcontract.scenarios import Piece
    from mockserver.http.messages import End

_TURN = 64 << 10
"""Bytes that are handed out at once; a piece that begins before them is handed out whole."""
_TURN_PIECES = 1000
_MADE_UP_S = 1.0
"""How far a stream catches up when nobody asked for a while: a server, too, waits until its client has read."""


class Transaction(Protocol):
    """In what a stream's pieces are handed out and heard: `with transaction():`, all of it or nothing.

    ``owed``  what could not be written down when it happened; called in a later transaction
    """

    owed: list[Callable[[], None]]

    def __call__(self) -> AbstractContextManager[Any]:
        """Return one transaction; it may be entered again by the thread that is in it."""


class _Alone:
    """The transaction of a stream that belongs to no world: one thread at a time."""

    def __init__(self) -> None:
        self.owed: list[Callable[[], None]] = []
        self._lock = threading.RLock()

    def __call__(self) -> AbstractContextManager[Any]:
        return self._lock


class KeepAlive(NamedTuple):
    """The block that is sent after so many seconds in which nothing else was."""

    block: bytes
    after_s: float


class Ending(NamedTuple):
    """How a stream ends when it is stopped; once `has_begun` says yes to a payload, it is too late for that.

    ``pieces``  are rendered then, with what `final_values` of the stream knows by then
    """

    pieces: Callable[[Mapping[str, Any]], Iterator[Piece]]
    has_begun: Callable[[Any], bool]


def _nothing() -> None:
    """Stand in where nobody listens."""


_AT_ONCE = Ending(lambda _values: iter(()), lambda _payload: False)


class Stream:
    """Pieces with the time between them. All methods may be called from any thread.

    ``on_piece``  is called with the payload of every piece when it is handed out
    ``on_pause``  is called when all that is due together has been handed out, before any of it leaves
    ``final_values``  returns what its ending has to tell when it is stopped, `$world.NAME` by name
    ``on_end``    is called once with how it ended: all was sent, it was stopped, the client left, a fault cut it off
    ``cut``       what ends the connection after the last piece, where a fault wants that
    ``failure``   what went wrong in the mock itself, and cut it off
    """

    def __init__(
        self,
        pieces: Iterator[Piece],
        *,
        pace: float = 1.0,
        ending: Ending = _AT_ONCE,
        keep_alive: KeepAlive | None = None,
        transaction: Transaction | None = None,
    ) -> None:
        """Send `pieces` at `pace` times their delays; they are handed out and heard in a `transaction` of the world."""
        self.on_change: Callable[[], None] = _nothing
        self.on_piece: Callable[[Any], None] = lambda _payload: None
        self.on_pause: Callable[[], None] = _nothing
        self.on_end: Callable[[End], None] = lambda _how: None
        self.final_values: Callable[[], Mapping[str, Any]] = dict
        self.ended: End | None = None
        self.cut: AbortConnection | None = None
        self.failure: str | None = None
        self._pieces = pieces
        self._pace = pace
        self._ending = ending
        self._keep_alive = keep_alive
        self._transaction = transaction or _Alone()
        self._next: Piece | None = None
        self._due: float | None = None  # when `_next` is to be sent; None: not yet looked at
        self._last = 0.0  # when something was sent last
        self._begun = self._stopped = self._finishing = False

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return the pieces due at `now`, a monotonic clock's seconds, and when to ask again; None ends the stream.

        What is due together and large comes in several turns, each of which is due when the one before has been sent.
        Raise AbortConnection where a fault wants that, and where what is due cannot be kept: it is not sent either.
        """
        try:
            with self._transaction():
                due, wake = self._advance(now)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client must not wait for ever
            self._break_off(error)
            raise AbortConnection("close") from None
        if wake is None and self.ended == "cut" and self.cut is not None:
            raise self.cut
        return due, wake

    def through(self, change: Callable[[Iterator[Piece]], Iterator[Piece]], *, mute: bool = False) -> None:
        """Send what a fault makes of the pieces, whose delays it sees as they will be; without pings if `mute`.

        A piece without bytes is heard and not sent. To be called before the first `advance`.
        """
        pace, stopped = self._pace, self._ending.pieces
        self._pieces = change(_apply_pace(self._pieces, pace))
        self._ending = self._ending._replace(pieces=lambda values: _apply_pace(stopped(values), min(pace, 1.0)))
        self._pace = 1.0
        self._keep_alive = None if mute else self._keep_alive

    def rehearse(self) -> Stream:
        """Return a stream of the same pieces that nobody hears. They are rendered now: they must be finitely many."""
        pieces = list(self._pieces)
        self._pieces = iter(pieces)
        return Stream(iter(pieces), pace=self._pace)

    def rest(self) -> Iterator[Piece]:
        """Return the pieces of a rehearsal with the delays that they would have."""
        return _apply_pace(self._pieces, self._pace)

    def stop(self) -> None:
        """Replace what remains by the ending, which is due at once."""
        with self._transaction():
            if self.ended or self._stopped or self._finishing:
                return
            self._stopped = True
            self._pieces, self._next, self._due = self._ending.pieces(self.final_values()), None, None
            self._pace = min(self._pace, 1.0)  # who stops is answered at once, however slowly the rest was told
            self.on_change()

    def close(self) -> None:
        """Note that nobody reads any further."""
        if self.ended:
            return
        try:
            with self._transaction():
                if not self.ended:
                    self._end("gone")
        except Exception as error:  # noqa: BLE001 - nobody is there to hear of it
            self._owe_end(error)

    def _break_off(self, error: Exception) -> None:
        """End because of what went wrong in the mock; nothing of what was due now is kept."""
        self.ended, self.failure = "cut", f"{type(error).__name__}: {error}"
        complain(error)
        try:
            with self._transaction():
                self.on_end("cut")
        except Exception as again:  # noqa: BLE001 - as above
            self._owe_end(again)

    def _owe_end(self, error: Exception) -> None:
        """Leave it to a later transaction to note how it ended: at present that cannot be written."""
        complain(error)
        how = self.ended = self.ended or "gone"
        self._transaction.owed.append(lambda: self.on_end(how))

    def _advance(self, now: float) -> tuple[list[bytes], float | None]:
        if self.ended:
            return [], None
        if not self._begun:
            self._begun, self._last = True, now
        due = list(self._take_due(now))
        self.on_pause()
        if self._due is None:
            return due, self._finish(now, due)
        wake = max(self._due, now)
        if self._keep_alive is None:
            return due, wake
        if not due and now >= self._last + self._keep_alive.after_s:
            due.append(self._keep_alive.block)
        if due:
            self._last = now
        return due, min(wake, self._last + self._keep_alive.after_s)

    def _take_due(self, now: float) -> Iterator[bytes]:
        """Yield what is due, and leave in `_due` when the piece after it is; None where there is none."""
        scheduled = now if self._due is None else self._due
        scheduled = self._due = max(scheduled, now - _MADE_UP_S)
        left, size = _TURN_PIECES, 0
        while True:
            if self._next is None:
                self._next = next(self._pieces, None)
                self._due = None if self._next is None else scheduled + self._next.delay_ms / 1000 * self._pace
            if self._next is None or self._due is None or self._due > now or not left or size >= _TURN:
                return
            piece, scheduled, self._next = self._next, self._due, None
            left, size = left - 1, size + len(piece.data)
            self._finishing = self._finishing or self._ending.has_begun(piece.payload)
            self.on_piece(piece.payload)
            if piece.data:
                yield piece.data

    def _finish(self, now: float, due: list[bytes]) -> float | None:
        """End; a stream that is cut off is asked once more, so that what is due leaves before."""
        if self.cut is None or self._stopped:
            self._end("stopped" if self._stopped else "complete")
            return None
        if due:
            return now
        self._end("cut")
        return None

    def _end(self, how: End) -> None:
        self.ended = how
        self.on_end(how)


def _apply_pace(pieces: Iterator[Piece], pace: float) -> Iterator[Piece]:
    return (piece._replace(delay_ms=piece.delay_ms * pace) for piece in pieces)
