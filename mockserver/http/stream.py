"""A paced stream: pieces and the time between them. It knows what is due when; it never waits and never sends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flowcontract.errors import FlowContractError
from mockserver.http.failures import complain
from mockserver.http.messages import AbortConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from flowcontract.scenarios import Piece
    from mockserver.http.messages import End

_TURN = 64 << 10
"""Bytes returned by one call of `advance`; the piece that exceeds them is still returned whole."""
_TURN_PIECES = 1000
HOLD_S = 30.0
"""How long a stream is held, unless said otherwise."""
_CATCH_UP_S = 1.0
"""How much delay is made up for after a while without calls: real servers wait for slow clients, too."""


class HoldError(FlowContractError):
    """A stream was held, and nobody released it."""

    def __init__(self, name: str, seconds: float) -> None:
        """Name the hold, and how long it lasted."""
        super().__init__(
            f"The stream was held at {name} for {seconds:g} s, and nobody released it: "
            f'mock_server.release("{name}"), or PUT /__mock__/streams/NUMBER {{"action": "continue"}}.'
        )


class Transaction(Protocol):
    """A stream's pieces are returned and their effects stored in `with transaction():`, all of it or nothing.

    ``owed``  calls whose effects could not be stored when they happened; a later transaction makes them
    """

    owed: list[Callable[[], None]]

    def __call__(self) -> AbstractContextManager[Any]:
        """Return a transaction; the thread that is in it may enter it again."""


class _LockOnly:
    """The transaction of a stream that belongs to no world: it only keeps other threads out."""

    def __init__(self) -> None:
        self.owed: list[Callable[[], None]] = []
        self._lock = threading.RLock()

    def __call__(self) -> AbstractContextManager[Any]:
        return self._lock


class KeepAlive(NamedTuple):
    """The block that is sent after `after_s` seconds without any other."""

    block: bytes
    after_s: float


class Ending(NamedTuple):
    """What a stopped stream ends with; after a payload for which `has_begun` is true it cannot be stopped.

    ``pieces``  are rendered then, with what `final_values` of the stream knows by then
    """

    pieces: Callable[[Mapping[str, Any]], Iterator[Piece]]
    has_begun: Callable[[Any], bool]


def _ignore() -> None:
    """Do nothing: the default of callbacks."""


_AT_ONCE = Ending(lambda _values: iter(()), lambda _payload: False)


class Stream:
    """Pieces with the time between them. All methods may be called from any thread.

    ``on_piece``  called with the payload of every piece when it is due
    ``on_pause``  called after the pieces that are due together, before any of them is sent
    ``final_values``  returns what the ending of a stopped stream says, `$world.NAME` by name
    ``on_end``    called once with how it ended: everything was sent, it was stopped, the client left, a fault cut it
    ``cut``       how a fault ends the connection after the last piece, None if it does not
    ``failure``   the error in the mock itself that ended the stream
    ``hold_s``    how long it waits for somebody to release it where its scenario holds it
    """

    on_loop = False

    def __init__(
        self,
        pieces: Iterator[Piece],
        *,
        pace: float = 1.0,
        ending: Ending = _AT_ONCE,
        keep_alive: KeepAlive | None = None,
        transaction: Transaction | None = None,
    ) -> None:
        """Send `pieces`, their delays multiplied by `pace`; store their effects in a `transaction` of the world."""
        self.on_change: Callable[[], None] = _ignore
        self.on_piece: Callable[[Any], None] = lambda _payload: None
        self.on_pause: Callable[[], None] = _ignore
        self.on_end: Callable[[End], None] = lambda _how: None
        self.final_values: Callable[[], Mapping[str, Any]] = dict
        self.ended: End | None = None
        self.cut: AbortConnection | None = None
        self.failure: str | None = None
        self.hold_s = HOLD_S
        self._held_until: float | None = None
        self._released = False
        self._pieces = pieces
        self._pace = pace
        self._ending = ending
        self._keep_alive = keep_alive
        self._transaction = transaction or _LockOnly()
        self._next: Piece | None = None
        self._due: float | None = None  # when `_next` is to be sent; None if it is not yet known
        self._last = 0.0  # when the last piece was sent
        self._begun = self._stopped = self._finishing = False

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return the pieces due at `now`, a monotonic clock's seconds, and when to ask again; None ends the stream.

        If much is due at once, it comes in several turns; the next one is due when the one before has been sent.
        Raise AbortConnection if a fault demands it, and if the effects of the pieces cannot be stored: then these are
        not sent either.
        """
        try:
            with self._transaction():
                due, wake = self._advance(now)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client must not wait forever
            self._break_off(error)
            raise AbortConnection("close") from None
        if wake is None and self.ended == "cut" and self.cut is not None:
            raise self.cut
        return due, wake

    def transform(self, change: Callable[[Iterator[Piece]], Iterator[Piece]], *, mute: bool = False) -> None:
        """Send what `change` makes of the pieces, whose delays it sees multiplied by the pace; no pings if `mute`.

        A piece without bytes has its effects and is not sent. To be called before the first `advance`.
        """
        pace, stopped = self._pace, self._ending.pieces
        self._pieces = change(_apply_pace(self._pieces, pace))
        self._ending = self._ending._replace(pieces=lambda values: _apply_pace(stopped(values), min(pace, 1.0)))
        self._pace = 1.0
        self._keep_alive = None if mute else self._keep_alive

    def rehearse(self) -> Stream:
        """Return a stream of the same pieces without effects. All of them are rendered now: there must be an end."""
        pieces = list(self._pieces)
        self._pieces = iter(pieces)
        return Stream(iter(pieces), pace=self._pace)

    def take_rest(self) -> Iterator[Piece]:
        """Return the remaining pieces of a rehearsal with the delays that they would have."""
        return _apply_pace(self._pieces, self._pace)

    def stop(self) -> None:
        """Replace the rest by the ending, which is due at once."""
        with self._transaction():
            if self.ended or self._stopped or self._finishing:
                return
            self._stopped, self._held_until = True, None
            self._pieces, self._next, self._due = self._ending.pieces(self.final_values()), None, None
            self._pace = min(self._pace, 1.0)  # stopping takes effect at once, however slow the rest was
            self.on_change()

    def close(self) -> None:
        """Note that the client has left; nothing happens if the stream has ended."""
        if self.ended:
            return
        try:
            with self._transaction():
                if not self.ended:
                    self._end("gone")
        except Exception as error:  # noqa: BLE001 - there is no client to tell
            self._owe_end(error)

    def _break_off(self, error: Exception) -> None:
        """End because of an error in the mock; what was due now has no effects."""
        self.ended, self.failure = "cut", f"{type(error).__name__}: {error}"
        complain(error)
        try:
            with self._transaction():
                self.on_end("cut")
        except Exception as again:  # noqa: BLE001 - as above
            self._owe_end(again)

    def _owe_end(self, error: Exception) -> None:
        """Let a later transaction store how the stream ended: now it cannot be stored."""
        complain(error)
        how = self.ended = self.ended or "gone"
        self._transaction.owed.append(lambda: self.on_end(how))

    def _advance(self, now: float) -> tuple[list[bytes], float | None]:
        if self.ended:
            return [], None
        if not self._begun:
            self._begun, self._last = True, now
        due = self._take_due(now)
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

    def _take_due(self, now: float) -> list[bytes]:
        """Return what is due; set `_due` to when the next piece is, None if there is none."""
        due: list[bytes] = []
        scheduled = now if self._due is None else self._due
        scheduled = self._due = max(scheduled, now - _CATCH_UP_S)
        left, size = _TURN_PIECES, 0
        while True:
            if self._next is None:
                self._next = next(self._pieces, None)
                self._due = None if self._next is None else scheduled + self._next.delay_ms / 1000 * self._pace
            if self._next is None or self._due is None or self._due > now or not left or size >= _TURN:
                if self._held_until is None or self._next is None or not self._is_released(now):
                    return due
            elif self._next.hold and not self._is_released(now):
                return due
            piece, scheduled, self._next = self._next, now if self._due is None else self._due, None
            left, size = left - 1, size + len(piece.data)
            self._finishing = self._finishing or self._ending.has_begun(piece.payload)
            self.on_piece(piece.payload)
            if piece.data:
                due.append(piece.data)

    @property
    def held(self) -> str:
        """The name of the hold at which it waits; '' while it goes on."""
        following = self._next
        return following.hold if following is not None and self._held_until is not None else ""

    def release(self) -> None:
        """Go on behind the hold at which it waits."""
        with self._transaction():
            self._released = self._held_until is not None
        self.on_change()

    def _is_released(self, now: float) -> bool:
        """Tell whether it may go on; begin to wait, and give up where nobody comes."""
        assert self._next is not None
        if self._released:
            self._released, self._held_until, self._due = False, None, now
            self._next = self._next._replace(hold="")
            return True
        if self._held_until is None:
            self._held_until = self._due = now + self.hold_s
        elif now >= self._held_until:
            raise HoldError(self._next.hold, self.hold_s)
        return False

    def _finish(self, now: float, due: list[bytes]) -> float | None:
        """End. Return `now` for a stream that is to be cut but has pieces to send first: it is asked again."""
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
