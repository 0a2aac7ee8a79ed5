"""A scenario's reply -> bytes, or a stream that knows what is due when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from werkzeug.datastructures import Headers

from flowcontract import sse
from flowcontract.scenarios import Piece, render_body, render_events, render_headers
from flowcontract.stream_rules import value_at
from flowcontract.validation import find_media
from mockserver.blobs import Blob
from mockserver.messages import Reply

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from flowcontract.expressions import Context
    from flowcontract.scenarios import Scenario
    from flowcontract.specs import Operation
    from flowcontract.streams import StreamContract

End = Literal["complete", "stopped", "gone"]


def _nothing() -> None:
    """Stand in where nobody listens."""


class Stream:
    """Pieces with the time between them. All methods may be called from any thread.

    ``on_piece``  is called with the payload of every piece when it is handed out
    ``on_end``    is called once with how it ended: everything was sent, it was stopped, or the client has gone
    """

    def __init__(
        self,
        pieces: Iterator[Piece],
        *,
        pace: float = 1.0,
        ending: Callable[[], Iterator[Piece]] = lambda: iter(()),
        ping: bytes = b"",
        silence_s: float = 0.0,
        is_ending: Callable[[Any], bool] = lambda _payload: False,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        """Send `pieces` at `pace` times their delays; say `ping` after `silence_s` seconds without a piece.

        After a piece whose payload `is_ending` says yes to, it is too late to stop: the ending would come twice.
        """
        self.on_change: Callable[[], None] = _nothing
        self.on_piece: Callable[[Any], None] = lambda _payload: None
        self.on_end: Callable[[End], None] = lambda _how: None
        self.ended: End | None = None
        self._pieces = pieces
        self._pace = pace
        self._ending = ending
        self._ping, self._silence_s = ping, silence_s
        self._lock = lock or threading.RLock()
        self._next: Piece | None = None
        self._due: float | None = None  # when `_next` is to be sent; None: not yet looked at
        self._last = 0.0  # when something was sent last
        self._is_ending = is_ending
        self._begun = self._stopped = self._finishing = False

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return the pieces due at `now`, a monotonic clock's seconds, and when to ask again; None ends the stream."""
        with self._lock:
            if self.ended:
                return [], None
            if not self._begun:
                self._begun, self._last = True, now
            due = list(self._take_due(now))
            if self._due is None:
                self._end("stopped" if self._stopped else "complete")
                return due, None
            if not due and self._ping and now >= self._last + self._silence_s:
                due.append(self._ping)
            if due:
                self._last = now
            return due, min(self._due, self._last + self._silence_s) if self._ping else self._due

    def stop(self) -> None:
        """Replace what remains by the ending, which is due at once."""
        with self._lock:
            if self.ended or self._stopped or self._finishing:
                return
            self._stopped = True
            self._pieces, self._next, self._due = self._ending(), None, None
            self.on_change()

    def gone(self) -> None:
        """Note that nobody reads any further."""
        with self._lock:
            if not self.ended:
                self._end("gone")

    def _take_due(self, now: float) -> Iterator[bytes]:
        """Yield what is due, and leave in `_due` when the piece after it is; None where there is none."""
        scheduled = now if self._due is None else self._due
        while True:
            if self._next is None:
                self._next = next(self._pieces, None)
                self._due = None if self._next is None else scheduled + self._next.delay_ms / 1000 * self._pace
            if self._next is None or self._due is None or self._due > now:
                return
            piece, scheduled, self._next = self._next, self._due, None
            self._finishing = self._finishing or self._is_ending(piece.payload)
            self.on_piece(piece.payload)
            yield piece.data

    def _end(self, how: End) -> None:
        self.ended = how
        self.on_end(how)


def replay(
    scenario: Scenario,
    operation: Operation,
    context: Context,
    *,
    pace: float,
    ending: Scenario | None = None,
    lock: AbstractContextManager[Any] | None = None,
) -> Reply:
    """Render a scenario for one request; `ending` is the scenario whose `stopped` events end it when it is stopped."""
    content = scenario.reply
    headers = Headers(list(render_headers(content, context).items()))
    media_type = _media_type(scenario, operation)
    if media_type and "Content-Type" not in headers:
        headers["Content-Type"] = media_type
    reply = Reply(scenario.status, headers, delay_s=content.delay_ms / 1000 * pace)
    if content.streamed:
        headers.setdefault("Cache-Control", "no-cache")
        headers.setdefault("X-Accel-Buffering", "no")  # proxies would hold the events back
        reply.body = _stream(scenario, operation, context, pace=pace, ending=ending, lock=lock)
    elif content.kind == "file" and content.file is not None:
        reply.body = Blob(content.file)
    else:
        reply.body = render_body(content, context)
    return reply


def _stream(
    scenario: Scenario,
    operation: Operation,
    context: Context,
    *,
    pace: float,
    ending: Scenario | None,
    lock: AbstractContextManager[Any] | None,
) -> Stream:
    ping, silence_s = _ping(operation.stream) if scenario.reply.kind == "events" else (b"", 0.0)
    last = scenario if scenario.reply.stopped is not None or ending is None else ending
    field = operation.stream.kind if operation.stream else ""
    final = [kind for event in last.reply.stopped or () if (kind := value_at(event.data, field)) is not None]
    return Stream(
        render_events(scenario.reply, context),
        pace=pace,
        ending=lambda: render_events(last.reply, context, stopped=True),
        ping=ping,
        silence_s=silence_s,
        is_ending=lambda payload: value_at(payload, field) in final,
        lock=lock,
    )


def _ping(contract: StreamContract | None) -> tuple[bytes, float]:
    """Return the block that keeps a connection alive and the silence before it, where the contract has them."""
    spec = contract.spec if contract else {}
    kinds = spec.get("anywhere", [])
    if spec.get("framing") != "sse" or not kinds or not spec.get("silence_s"):
        return b"", 0.0
    return sse.encode(event=kinds[0]), float(spec["silence_s"])


def _media_type(scenario: Scenario, operation: Operation) -> str:
    """Return the Content-Type that the contract has for a reply, else the reply's own guess."""
    response = operation.responses.get(scenario.status)
    media = response.media if response else {}
    guess = scenario.reply.media_type
    if scenario.reply.streamed:
        name = next((name for name, one in media.items() if one.stream), guess)
        return name if "charset" in name else f"{name}; charset=utf-8"
    whole = {name: one for name, one in media.items() if not one.stream}
    if not guess or not whole or find_media(whole, guess) is not None:
        return guess
    return next((name for name in whole if "*" not in name), guess)
