"""Replies -> bytes on a transport, no faster than the client reads them. Knows nothing of requests."""

from __future__ import annotations

import time
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, cast

from werkzeug.http import HTTP_STATUS_CODES

from mockserver.blobs.blob import Blob
from mockserver.http.failures import complain
from mockserver.http.messages import AbortConnection
from mockserver.server.adapter import frame

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from mockserver.http.live import LiveStream
    from mockserver.http.messages import Reply, Streamed

_FOREVER = float("inf")
_WHOLE = (bytes, Blob)  # bodies whose length is known
_LAST_CHUNK = b"0\r\n\r\n"
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {HTTP_STATUS_CODES.get(status, 'Unknown')}\r\n" for status in range(100, 600)
}
CONTINUE = f"{_STATUS_LINES[HTTPStatus.CONTINUE]}\r\n".encode()


class ReplyWriter:
    """Writes the replies of one connection, one after another.

    ``full``  the client reads more slowly than we write: nothing more is written until it has read
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        finish: Callable[[], None],
        abort: Callable[[AbortConnection], None],
    ) -> None:
        """Write to `transport`; call `finish` after each complete reply, `abort` where one has to break off."""
        self.full = False
        self._transport, self._loop = transport, loop
        self._finish, self._abort = finish, abort
        self._stream: Streamed | None = None
        self._file: Iterator[bytes] | None = None
        self._chunked = self._separate = False
        self._timer: asyncio.TimerHandle | None = None

    def send(self, reply: Reply, *, head_only: bool, keep_alive: bool, chunks: bool, date: str) -> None:
        """Write as much of a reply as is due; the rest follows by itself.

        ``head_only``   the request's method is HEAD
        ``keep_alive``  the connection stays open afterwards
        ``chunks``      the client understands a chunked body; it is told the end of others by closing
        ``date``        the header, as a line
        """
        body = frame(reply, head=head_only)
        lines = [_build_status_line(reply)]
        if reply.forward is None or "Date" not in reply.headers:  # a gateway leaves the server's in place
            lines.append(date)
        lines += [f"{name}: {value}\r\n" for name, value in reply.headers]
        whole = isinstance(body, _WHOLE)
        self._chunked = chunks and not whole and "Content-Length" not in reply.headers
        if self._chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        if not keep_alive:
            lines.append("Connection: close\r\n")
        lines.append("\r\n")
        head = "".join(lines).encode("latin-1", "replace")
        if isinstance(body, bytes):
            self._transport.write(head + body)
            self._finish()
        elif isinstance(body, Blob):
            self._transport.write(head)
            self._file = body.read_chunks()
            self._write_file()
        else:
            self._stream, self._separate = body, reply.separate
            body.on_change = self._wake
            if body.on_loop:  # a turn of the loop less for each piece
                cast("LiveStream", body).on_arrival = self._write_due
            self._write_due(head)

    def resume(self) -> None:
        """Go on with the reply: the client has read."""
        if self._file is not None:
            self._write_file()
        else:
            self._write_due()

    def discard(self) -> None:
        """Drop what is left of the reply: the client will not read it."""
        self._cancel_timer()
        stream, self._stream, self._file = self._stream, None, None
        if stream is not None:
            stream.close()

    def _write_file(self) -> None:
        assert self._file is not None
        try:
            for chunk in self._file:
                self._transport.write(chunk)
                if self.full:
                    return
        except Exception as error:  # noqa: BLE001 - the rest of the file is gone: another answer must not take its place
            complain(error)
            self.discard()
            self._abort(AbortConnection("close"))
            return
        self._file = None
        self._finish()

    def _wake(self) -> None:
        """Write what has become due; called from any thread."""
        self._loop.call_soon_threadsafe(self._write_due)

    def _write_due(self, head: bytes = b"") -> None:
        """Write the pieces of the stream that are due, together with its head, and come back when more are."""
        self._cancel_timer()
        if self._stream is None or (self.full and not head):
            return
        try:
            pieces, wake = self._stream.advance(time.monotonic())
        except AbortConnection as cut:
            if head and not cut.headless:
                self._transport.write(head)
            self.discard()
            self._abort(cut)
            return
        data = [head, *self._encode(pieces)]
        if wake is None:
            stream, self._stream = self._stream, None
            self._transport.write(b"".join([*data, _LAST_CHUNK] if self._chunked else data))
            stream.close()
            self._finish()
            return
        if joined := b"".join(data):
            self._transport.write(joined)
        if not self.full and wake != _FOREVER:
            delay_ms = ceil(max(0.0, wake - time.monotonic()) * 1000)  # a timer that fires early would ask in vain
            self._timer = self._loop.call_later(delay_ms / 1000, self._write_due)

    def _encode(self, pieces: list[bytes]) -> list[bytes]:
        """Return pieces as they go over the wire (RFC 9112, 7.1); an empty chunk would end the body."""
        if self._chunked and not self._separate and len(pieces) > 1:
            pieces = [b"".join(pieces)]
        return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece] if self._chunked else pieces

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _build_status_line(reply: Reply) -> str:
    """Return the first line of an answer; a server may have another phrase, and statuses that nobody registered."""
    if not reply.reason and reply.status in _STATUS_LINES:
        return _STATUS_LINES[reply.status]
    return f"HTTP/1.1 {reply.status} {reply.reason}\r\n"
