"""One HTTP/1.1 connection on an event loop: llhttp parses (httptools), the application answers, this waits and writes.

It does what an ASGI server and the ASGI adapter do together, without a task, an event and a dictionary per message.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import time
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import httptools
from werkzeug.datastructures import Headers
from werkzeug.http import HTTP_STATUS_CODES

from mockserver.blobs.blob import Blob
from mockserver.http.failures import complain, tell
from mockserver.http.messages import AbortConnection, PlainHeaders, Reply, Request
from mockserver.server.adapter import BodyReader, announced_length, answer, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mockserver.http.application import Application
    from mockserver.http.messages import Capability, Streamed

CAPABILITIES: frozenset[Capability] = frozenset({"pieces", "close", "reset"})
PATIENCE_S = 60
"""How long a client may be silent in the middle of a request, between two requests, or without reading."""
_HEADERS_LIMIT = 64 << 10  # bytes of request line and headers
_HEADER_COUNT_LIMIT = 200
_WAITING_LIMIT = 32  # requests that a client has sent ahead of their answers
_AT_ONCE = 1 << 20  # larger bodies are parsed in a thread, so that streams go on meanwhile
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST
_LAST_CHUNK = b"0\r\n\r\n"
_FIRST = 24  # bytes that tell what a client speaks: the preface of HTTP/2 has so many (RFC 9113, 3.4)
_OTHER_PROTOCOL = re.compile(rb"[\r\n]*[A-Z]+ [^ \r\n]+ (?!HTTP/1\.)[^ \r\n][^\r\n]*\r?\n")
"""A request line of another protocol; the parser takes RTSP and ICE as well."""
_FOREIGN = {
    b"PRI * HTTP/2": "speaks HTTP/2 from its first byte, and this port HTTP/1.1: have the client use HTTP/1.1",
    b"\x16\x03": "speaks TLS, and this port does not: have the client ask http:// instead of https://",
}
"""How clients begin that take the port for another one, and what to tell whoever runs them."""
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {HTTP_STATUS_CODES.get(status, 'Unknown')}\r\n" for status in range(100, 600)
}


class Shared:
    """What the connections of one server share: the application, who is connected, and a slow clock."""

    def __init__(self, app: Application, *, clock: Callable[[], float] = time.time) -> None:
        """Serve `app`; `clock` gives epoch seconds."""
        self.app = app
        self.clock = clock
        self.connections: set[Connection] = set()
        self.seconds = 0
        self.date = ""
        self.tick()

    def tick(self) -> None:
        """Move the slow clock on by a second, and let connections go whose client has been silent for too long."""
        self.seconds += 1
        self.date = f"Date: {formatdate(self.app.fixed_clock, usegmt=True)}\r\n"
        for connection in [one for one in self.connections if one.silent_since + PATIENCE_S < self.seconds]:
            connection.close()

    def close(self) -> None:
        """End every connection, whatever it is doing."""
        for connection in list(self.connections):
            connection.close()


class _Refused(Exception):  # noqa: N818 - what the server does, not what went wrong in it
    """HTTP itself is not followed."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        content = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": why}
        headers = Headers([("Content-Type", "application/problem+json")])
        self.reply = Reply(status, headers, json.dumps(content).encode())


def _no_http() -> _Refused:
    return _Refused(HTTPStatus.BAD_REQUEST, "This is no HTTP/1.1 request.")


def _foreign(first: bytes) -> str:
    """Return what a client speaks instead of HTTP/1.1, by the first bytes that it sent; '' where that is unclear."""
    return next((told for begins, told in _FOREIGN.items() if first.startswith(begins)), "")


class Connection(asyncio.Protocol):
    """Reads requests, answers them one after the other in their order.

    ``silent_since``  when the client was last heard, in seconds of the slow clock; infinite while it waits for us
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._parser = self._new_parser()
        self._transport = cast("asyncio.Transport", None)
        self._waiting: deque[tuple[Request, bool, bool]] = deque()
        self._answering = False
        self._answered = False  # a request of the bytes that are being parsed
        self._closing = False  # nothing that comes counts any more
        self._ended = False  # the client sends no more; it may still read
        self._due = False  # a request waits for nothing but its turn
        self._full = False  # the client reads more slowly than we write
        self._method = ""
        self._chunked = self._keep = self._modern = self._separate = False
        self._peer = ""
        self._first = b""  # of what came at all
        self._line: bytes | None = None  # a request line that is not all there
        self._offered: list[tuple[str, str]] | None = None  # headers of a request that offers another protocol
        self._stream: Streamed | None = None
        self._file: Iterator[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._held: Reply | None = None  # an answer whose delay is not over
        self.silent_since: float = shared.seconds
        self._begin()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._peer = (transport.get_extra_info("peername") or [""])[0]
        self._shared.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End whatever was going on."""
        self._shared.connections.discard(self)
        self._closing = True
        self._waiting.clear()
        self._forget_timer()
        bodies = [self._stream, self._held.body if self._held else None]
        self._stream = self._file = self._held = None
        for body in bodies:
            if body is not None and not isinstance(body, bytes | Blob):
                body.close()

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived."""
        if self._closing:
            return
        if not self._answering:
            self.silent_since = self._shared.seconds
        self._answered, size = False, len(data)
        if len(self._first) < _FIRST:
            self._first = (self._first + data)[:_FIRST]
        try:
            if self._line is not None or not self._in_message:
                self._guard_line(data)
            while data:
                data = self._feed(data)
            if self._in_message and self._reader is None:  # one endless header, of which the parser says nothing yet
                self._guard_head(size)
        except (httptools.HttpParserError, _Refused) as error:
            self._refuse(error)

    def _guard_line(self, data: bytes) -> None:
        """Refuse another protocol as soon as the request line is there; in most cases it comes whole."""
        line = data if self._line is None else self._line + data
        self._line = None if b"\n" in line.lstrip(b"\r\n") else line
        if self._line is None and _OTHER_PROTOCOL.match(line):
            raise _no_http()

    def _feed(self, data: bytes) -> bytes:
        """Parse; return the rest where a client offers another protocol. None is spoken here, and HTTP goes on.

        The parser takes what follows for that protocol. So it is given the head again, without the offer.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            head = self._head_without_offer() if self._offered is not None else b""
            self._parser = self._new_parser()
            if head:
                self._parser.feed_data(head)
            return data[upgrade.args[0] :]
        return b""

    def _head_without_offer(self) -> bytes:
        lines = [f"{name}: {value}\r\n" for name, value in self._headers if name.lower() != "upgrade"]
        first = b"%b %b HTTP/%b\r\n" % (self._parser.get_method(), self._url, self._parser.get_http_version().encode())
        return first + "".join(lines).encode("latin-1") + b"\r\n"

    def eof_received(self) -> bool:
        """Answer even a request that ends too early; the client may still read."""
        self._ended = True
        if self._in_message and self._reader is not None and not self._closing:
            self._end_request(whole=False)
        elif not self._answering:
            return False
        return True

    def pause_writing(self) -> None:
        """Wait until the client has read something."""
        self._full = True
        self.silent_since = self._shared.seconds

    def resume_writing(self) -> None:
        """Go on."""
        self._full = False
        self.silent_since = float("inf") if self._answering else self._shared.seconds
        if self._file is not None:
            self._send_file()
        elif self._stream is not None:
            self._pump()
        elif self._due:
            self._line_up()

    # The parser's callbacks

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(
            lenient_chunked_length=True,  # chunks count, as RFC 9112, 6.3 allows
            lenient_version=True,  # a later HTTP/1.x is read as HTTP/1.1 (RFC 9110, 2.5); others are refused here
        )
        return parser

    def _begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._head_size = 0
        self._reader: BodyReader | None = None
        self._in_message = False

    def on_message_begin(self) -> None:
        """Take note that a request begins."""
        self._begin()
        self._in_message = True

    def on_url(self, url: bytes) -> None:
        """Take note of the request's target, or of a part of it."""
        self._url += url
        self._guard_head(len(url))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Take note of a header."""
        value = value or b""
        if self._reader is not None:  # a trailer, behind the body
            return
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))
        self._guard_head(len(name) + len(value))

    def _guard_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > _HEADERS_LIMIT or len(self._headers) > _HEADER_COUNT_LIMIT:
            raise _Refused(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"Request line and headers have more than {_HEADERS_LIMIT} bytes, or {_HEADER_COUNT_LIMIT} headers.",
            )

    def on_headers_complete(self) -> None:
        """Prepare to read the body."""
        if self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT":
            self._offered = self._headers
            return
        if self._offered is not None:
            self._headers, self._offered = self._offered, None
        self._guard_version()
        self._reader = BodyReader(self._shared.app.max_upload)
        for name, value in self._headers:
            lower = name.lower()
            if lower == "content-length" and (announced_length(value) or 0) > self._shared.app.max_upload:
                self._reader.refuse()
            elif lower == "expect" and value.lower() == "100-continue" and not self._answering:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _guard_version(self) -> None:
        version = self._parser.get_http_version()
        if not version.startswith("1."):
            raise _no_http()
        if version != "1.0" and all(name.lower() != "host" for name, _ in self._headers):
            raise _Refused(HTTPStatus.BAD_REQUEST, "The request has no Host header (RFC 9112, 3.2).")
        if not self._url.startswith(b"/") and b"@" in self._url.partition(b"://")[2].partition(b"/")[0]:
            raise _Refused(HTTPStatus.BAD_REQUEST, "The request's target names a user (RFC 9110, 4.2.4).")

    def on_body(self, body: bytes) -> None:
        """Take the next bytes; what is beyond the limit is read, so that the client hears us then, and dropped."""
        if self._reader is not None:
            self._reader.feed(body)

    def on_message_complete(self) -> None:
        """Answer, or let the request wait for its turn."""
        if self._offered is None:
            self._end_request(whole=True)

    def _end_request(self, *, whole: bool) -> None:
        assert self._reader is not None
        body, body_error = self._reader.finish(whole=whole)
        method = self._parser.get_method().decode("ascii")
        path, query = _target(self._url)
        modern = self._parser.get_http_version() != "1.0"
        keep = whole and self._parser.should_keep_alive() and modern
        headers = PlainHeaders(self._headers)
        self._in_message, self._reader = not whole, None
        self._waiting.append(
            (Request(method, path, query, headers, body, body_error, self._peer, CAPABILITIES), keep, modern)
        )
        if not self._answering and self._answered:
            self._line_up()
        elif not self._answering:
            self._next()
        if len(self._waiting) >= _WAITING_LIMIT:
            self._transport.pause_reading()

    def _refuse(self, error: Exception) -> None:
        """Answer what is no HTTP; a request whose body cannot be read gets the API's own refusal."""
        refused = error if isinstance(error, _Refused) else error.__context__
        if self._reader is not None and not isinstance(refused, _Refused):
            self._end_request(whole=False)
        elif self._waiting:  # what came before is answered
            last, _, modern = self._waiting[-1]
            self._waiting[-1] = (last, False, modern)
        elif self._answering:
            self._reset()
        elif self._answered and not self._url:  # the rest of a body that is longer than announced
            self._transport.close()
        else:
            if (foreign := _foreign(self._first)) and not self._answered:
                tell(f"Somebody at {self._peer or 'an unknown address'} {foreign}.")
                refused = _Refused(HTTPStatus.BAD_REQUEST, f"Your client {foreign}.")
            elif not isinstance(refused, _Refused):
                refused = _no_http()
            self._method, self._keep, self._answering, self._in_message = "GET", False, True, True
            self._send(refused.reply)
        self._closing = True

    # Answers

    def _line_up(self) -> None:
        """Let the next request have its turn after other clients', and after this client has read what it asked for."""
        self._answering = self._due = True
        if not self._full:
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        if self._due and self._waiting and not self._full:
            self._due = False
            self._next()

    def _next(self) -> None:
        """Ask the application about the request whose turn it is."""
        request, self._keep, self._modern = self._waiting.popleft()
        self._method, self._answering = request.method, True
        self.silent_since = float("inf")
        if len(self._waiting) == _WAITING_LIMIT - 1:
            self._transport.resume_reading()
        if request.body.size > _AT_ONCE:
            asked = self._loop.run_in_executor(None, self._answer_large, request, self._shared.clock())
            asked.add_done_callback(lambda done: self._delay(reply) if (reply := done.result()) else None)
        else:
            self._delay(answer(self._shared.app, request, self._shared.clock()))

    def _answer_large(self, request: Request, now: float) -> Reply | None:
        """Answer, in a thread, unless the client has left while others had their turn."""
        return None if self._transport.is_closing() else answer(self._shared.app, request, now)

    def _delay(self, reply: Reply) -> None:
        if self._transport.is_closing():
            if not isinstance(reply.body, bytes | Blob):
                reply.body.close()
        elif reply.delay_s:
            self._held = reply
            self._timer = self._loop.call_later(reply.delay_s, self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        self._timer = self._held = None
        body = frame(reply, head=self._method == "HEAD")
        lines = [_STATUS_LINES[reply.status], self._shared.date]
        lines += [f"{name}: {value}\r\n" for name, value in reply.headers]
        streams = not isinstance(body, bytes | Blob) and "Content-Length" not in reply.headers
        self._chunked = self._modern and streams  # an older client is told the end by closing
        if self._chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        if not self._keep:
            lines.append("Connection: close\r\n")
        lines.append("\r\n")
        head = "".join(lines).encode("latin-1", "replace")
        if isinstance(body, bytes):
            self._transport.write(head + body)
            self._done()
        elif isinstance(body, Blob):
            self._transport.write(head)
            self._file = body.chunks()
            self._send_file()
        else:
            self._stream, self._separate = body, reply.separate
            body.on_change = self._wake
            self._pump(head)

    def _send_file(self) -> None:
        assert self._file is not None
        try:
            for chunk in self._file:
                self._transport.write(chunk)
                if self._full:
                    return
        except Exception as error:  # noqa: BLE001 - the rest of the file is gone: another answer must not take its place
            self._file = None
            complain(error)
            self._cut(AbortConnection("close"), b"")
            return
        self._file = None
        self._done()

    def _wake(self) -> None:
        self._loop.call_soon_threadsafe(self._pump)

    def _pump(self, head: bytes = b"") -> None:
        """Write what is due, everything that is due together at once, and come back when more is."""
        self._forget_timer()
        if self._stream is None or (self._full and not head):
            return
        try:
            pieces, wake = self._stream.advance(time.monotonic())
        except AbortConnection as cut:
            self._cut(cut, head)
            return
        written = [head, *self._chunks(pieces)]
        if wake is None:
            stream, self._stream = self._stream, None
            self._transport.write(b"".join([*written, _LAST_CHUNK] if self._chunked else written))
            stream.close()
            self._done()
            return
        if data := b"".join(written):
            self._transport.write(data)
        if not self._full:  # rounded up: a timer that fires early would only ask in vain
            self._timer = self._loop.call_later(ceil(max(0.0, wake - time.monotonic()) * 1000) / 1000, self._pump)

    def _chunks(self, pieces: list[bytes]) -> list[bytes]:
        """Return pieces as they go over the wire (RFC 9112, 7.1); an empty chunk would end the body."""
        if self._chunked and not self._separate and len(pieces) > 1:
            pieces = [b"".join(pieces)]
        return [b"%x\r\n%b\r\n" % (len(one), one) for one in pieces if one] if self._chunked else pieces

    def _cut(self, cut: AbortConnection, head: bytes) -> None:
        """End the connection in the middle of the answer, when everything that was due has left."""
        if head and not cut.headless:
            self._transport.write(head)
        if cut.how == "reset":
            self._reset()
        else:
            self._closing = True
            self._transport.close()

    def _done(self) -> None:
        """Answer the next request, or wait for one, or say goodbye."""
        self._answering, self._answered = False, True
        self.silent_since = self._shared.seconds
        if not self._keep:
            self._closing = True
            self._say_goodbye()
        elif self._waiting:
            self._line_up()
        elif self._ended:
            self._transport.close()

    def _say_goodbye(self) -> None:
        """Close; where the client is still sending, let it read the answer first: closing at once would reset it."""
        if self._in_message and not self._ended:
            self._transport.write_eof()
        else:
            self._transport.close()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """End the connection without another word."""
        self._transport.abort() if self._full else self._transport.close()

    def _reset(self) -> None:
        connected: socket.socket | None = self._transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()


def _target(url: bytes) -> tuple[str, str]:
    """Return path, percent-decoded, and query of a request's target (RFC 9112, 3.2)."""
    if not url.startswith(b"/"):  # http://host/path
        _, scheme, rest = url.partition(b"://")
        url = b"/" + rest.partition(b"/")[2] if scheme else url
    path, _, query = url.partition(b"?")
    text = path.decode("latin-1")
    if not text.isascii() or "%" in text:
        text = unquote(path.decode("utf-8", "replace"))
    return text, query.decode("latin-1")
