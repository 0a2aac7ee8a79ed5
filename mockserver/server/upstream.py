"""Connections to the servers that a proxy stands before: one request at a time, by llhttp (httptools), on one loop.

Our own, on the parser that reads our clients' requests: what httpx and aiohttp give is a body, in which neither the
server's pieces nor an answer that comes before the request's end can be seen, at several times the cost per piece.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, cast

import httptools

from mockserver.http.forwarding import AnswerHead, Incoming

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.http.forwarding import Break, Failure, Forward, Origin
    from mockserver.http.messages import Reply

CONNECT_S = 10.0
_IDLE_S = 4.0  # most servers close an idle connection after five seconds or more
_IDLE = 64  # connections to one server that wait for the next request
_HEAD_LIMIT = 256 << 10  # bytes of status lines and headers, those of informational answers and trailers included
_BODILESS = (204, 304)
_UPGRADED = 101
_FINAL = 200


class Pool:
    """The connections of one event loop."""

    def __init__(self, ca_file: str | None = None) -> None:
        """Check certificates by those of this machine, or of a file."""
        self._idle: dict[Origin, list[tuple[float, _Connection]]] = {}
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None

    def take(self, origin: Origin, now: float) -> _Connection | None:
        """Return a connection that waits for a request, if there is a fresh one."""
        idle = self._idle.get(origin, [])
        while idle:
            since, connection = idle.pop()
            if now - since < _IDLE_S and connection.usable:
                return connection
            connection.close()
        return None

    def give_back(self, origin: Origin, connection: _Connection, now: float) -> None:
        """Keep a connection for the next request."""
        idle = self._idle.setdefault(origin, [])
        idle.append((now, connection))
        if len(idle) > _IDLE:
            idle.pop(0)[1].close()

    async def connect(self, origin: Origin) -> _Connection:
        """Open a connection; raise OSError, or TimeoutError."""
        loop = asyncio.get_running_loop()
        context = self._tls() if origin.tls else None
        async with asyncio.timeout(CONNECT_S):
            made = await loop.create_connection(
                _Connection, origin.host, origin.port, ssl=context, server_hostname=origin.host if context else None
            )
        return made[1]

    def close(self) -> None:
        """Close the connections that wait."""
        for idle in self._idle.values():
            for _, connection in idle:
                connection.close()
        self._idle.clear()

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self._ca_file)
        return self._context


class _Connection(asyncio.Protocol):
    """One connection to a server: bytes -> what an Exchange is told."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self.usable = True
        self.used = False  # for an earlier request
        self._exchange: Exchange | None = None
        self._parser: Any = None
        self._lost: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.server_left(reset=exc is not None)

    def eof_received(self) -> bool:
        """Take the end of what the server sends as the end of the connection."""
        self.usable = False
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.server_left(reset=False)
        return False

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # nothing was asked for
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:  # also an upgrade, which nobody asked for
            self.usable = False
            cause = error.__context__
            if cause is not None and not isinstance(cause, httptools.HttpParserError):
                self._give_up(exchange, "")
                raise cause from None
            self._give_up(exchange, str(error))
            return
        exchange.fed(len(data))
        if exchange.surplus:  # what follows an answer unasked must not answer the next request
            self.close()

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.hold_upload(hold=True)

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.hold_upload(hold=False)

    def _give_up(self, exchange: Exchange, detail: str) -> None:
        self._exchange = None
        exchange.unreadable(detail)
        self.close()

    # An exchange calls these.

    def begin(self, exchange: Exchange) -> None:
        """Send what comes back to an exchange."""
        self._exchange = exchange
        self._parser = httptools.HttpResponseParser(exchange)

    def end(self) -> None:
        """Send what comes back to nobody any more."""
        self._exchange = None
        self.used = True
        self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def flow(self, may: bool) -> None:
        """Let the server go on sending, or not."""
        if self._transport.is_closing():
            return
        self._transport.resume_reading() if may else self._transport.pause_reading()

    def keeps_alive(self) -> bool:
        return self.usable and self._parser.should_keep_alive() and not self._transport.is_closing()

    def close(self) -> None:
        """Close the connection now."""
        self.usable = False
        self._exchange = None
        self._transport.abort()


class Exchange:
    """Sends a request on, and tells its Forward, and the client's connection, what comes back.

    ``send``    called with what the client gets, once
    ``inform``  called with an informational answer (1xx) for the client: the lines of its head
    """

    def __init__(
        self, pool: Pool, forward: Forward, *, send: Callable[[Reply], None], inform: Callable[[bytes], None]
    ) -> None:
        """Prepare to ask."""
        self._pool, self._forward, self._send, self._inform = pool, forward, send, inform
        self._outgoing = forward.outgoing
        self._loop = asyncio.get_running_loop()
        self._connection: _Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = self._answered = self._held = self._upload_over = False
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._status_seen = b""
        self._headers: list[tuple[str, str]] = []
        self._head_size = self._unread = 0
        self._understood = self.surplus = False
        forward.begin(self._flow, self.cancel)

    @property
    def upload_unfinished(self) -> bool:
        """Whether the client is still sending its request."""
        body = self._outgoing.body
        return isinstance(body, Incoming) and body.whole is None

    def start(self) -> None:
        """Send the request, on a connection that is there or on a new one."""
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(self._outgoing.silent_s, self._look)
        body = self._outgoing.body
        if isinstance(body, Incoming) and body.whole is False:
            self._client_broke_off()
            return
        found = self._pool.take(self._outgoing.origin, self._loop.time())
        if found is not None:
            self._ask(found)
        else:
            self._task = self._loop.create_task(self._connect())

    def cancel(self) -> None:
        """Want no more of it: the client has left, or gets something else."""
        if not self._over:
            self._leave()

    async def _connect(self) -> None:
        origin = self._outgoing.origin
        try:
            connection = await self._pool.connect(origin)
        except TimeoutError:
            self._fail("late", f"{origin} did not accept a connection within {CONNECT_S:g} s")
        except (OSError, UnicodeError) as error:
            self._fail("refused", f"{origin} cannot be reached: {_describe(error)}")
        else:
            if self._over:
                connection.close()
            else:
                self._ask(connection)

    def _ask(self, connection: _Connection) -> None:
        self._connection = connection
        connection.begin(self)
        body = self._outgoing.body
        if isinstance(body, Incoming):
            connection.write(self._outgoing.head)
            body.on_data = self._pass_on
            self._pass_on()
        else:
            connection.write(self._outgoing.head + body)

    def _pass_on(self) -> None:
        """Send what has come of the request's body, piece by piece."""
        body, connection = self._outgoing.body, self._connection
        assert isinstance(body, Incoming)
        if self._over or connection is None or self._held or self._upload_over:
            return
        self._heard = self._loop.time()
        for piece in body.take():
            connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._outgoing.chunked else piece)
        if body.whole is False:
            self._client_broke_off()
        elif body.whole:
            self._upload_over = True
            if self._outgoing.chunked:
                connection.write(b"0\r\n\r\n")

    def hold_upload(self, *, hold: bool) -> None:
        """Let the client wait while the server does not read."""
        self._held = hold
        if not hold:
            self._pass_on_if_any()

    def _pass_on_if_any(self) -> None:
        if isinstance(self._outgoing.body, Incoming):
            self._pass_on()

    def _flow(self, may: bool) -> None:
        """Let the server wait while the client does not read."""
        self._heard = self._loop.time()
        if self._connection is not None and not self._over:
            self._connection.flow(may)

    def _look(self) -> None:
        """Give up a server that has been silent for too long."""
        due = self._heard + self._outgoing.silent_s
        now = self._loop.time()
        if self._over:
            return
        if now < due:
            self._timer = self._loop.call_later(due - now, self._look)
        elif self._answered:
            self._break_off("timeout")
        else:
            self._fail("late", f"{self._outgoing.origin} was silent for {self._outgoing.silent_s:g} s")

    # httptools calls these.

    def on_message_begin(self) -> None:
        """Begin an answer, be it an informational one."""
        self.surplus = self._over
        self._headers = []
        self._status_seen = b""

    def on_status(self, status: bytes) -> None:
        """Add to the reason phrase."""
        self._status_seen += status
        self._count(len(status))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Add a header; trailers are not passed on, as RFC 9110, 6.5.1 allows."""
        if not self._answered:
            self._headers.append((name.decode("latin-1"), value.decode("latin-1") if value else ""))
        self._count(len(name) + len(value or b""))

    def on_headers_complete(self) -> None:
        """Pass on an informational answer, or begin the answer."""
        self._heard = self._loop.time()
        self._understood = True
        connection = self._connection
        if self._over or connection is None:
            return
        status = connection._parser.get_status_code()  # noqa: SLF001 - the two are one
        reason = self._status_seen.decode("latin-1")
        if status == _UPGRADED:
            self._fail("unreadable", f"{self._outgoing.origin} switched to another protocol, which nobody asked for")
        elif status < _FINAL:
            lines = [f"HTTP/1.1 {status} {reason}\r\n", *(f"{name}: {value}\r\n" for name, value in self._headers)]
            self._inform("".join([*lines, "\r\n"]).encode("latin-1"))
            self._count(len(lines[0]))  # there may be any number of them
        else:
            bodiless = self._outgoing.method == "HEAD" or status in _BODILESS
            self._answered = True
            self._give(self._forward.answer(AnswerHead(status, reason, tuple(self._headers), bodiless)))
            if bodiless and not self._over:
                self._finish()

    def on_body(self, body: bytes) -> None:
        """Pass on the next piece."""
        self._heard = self._loop.time()
        self._understood = True
        if not self._over:
            self._forward.feed(body)

    def on_message_complete(self) -> None:
        """End the answer; informational ones end at once."""
        if self._answered and not self._over:
            self._finish()

    def fed(self, size: int) -> None:
        """Hear how many bytes came; llhttp tells of a header, and of the size of a chunk, only when it ends."""
        self._unread = 0 if self._understood else self._unread + size
        self._understood = False
        self._bound(self._unread)

    def _count(self, size: int) -> None:
        self._head_size += size
        self._bound(self._head_size)

    def _bound(self, size: int) -> None:
        """Give up a server whose headers do not end."""
        if size <= _HEAD_LIMIT or self._over:
            return
        if self._answered:
            self._break_off("close")
        else:
            self._fail("unreadable", f"{self._outgoing.origin} answered with more than {_HEAD_LIMIT} bytes of headers")

    # The connection calls these.

    def server_left(self, *, reset: bool) -> None:
        """Hear that the connection has ended."""
        connection, self._connection = self._connection, None
        if self._over:
            return
        if self._answered:
            if not reset and not _has_length(self._headers):
                self._finish()  # it ends with the connection (RFC 9112, 6.3)
            else:
                self._break_off("reset" if reset else "close")
        elif connection is not None and connection.used and self._outgoing.idempotent and not self._head_size:
            self._task = self._loop.create_task(self._connect())  # it was closed while it waited (RFC 9112, 9.3.1)
        else:
            how = "reset" if reset else "closed"
            self._fail("broken", f"{self._outgoing.origin} {how} the connection without an answer")

    def unreadable(self, detail: str) -> None:
        """Hear that what came is no HTTP."""
        if self._over:
            return
        if self._answered:
            self._break_off("close")
        else:
            self._fail("unreadable", f"{self._outgoing.origin} did not answer with HTTP/1.1: {detail}")

    # Ways to end

    def _finish(self) -> None:
        connection = self._connection
        unfinished = self.upload_unfinished
        self._end()
        if connection is not None:
            if connection.keeps_alive() and not unfinished and self._outgoing.method != "HEAD":
                connection.end()
                self._pool.give_back(self._outgoing.origin, connection, self._loop.time())
            else:
                connection.close()
        self._give(self._forward.finish())

    def _break_off(self, how: Break) -> None:
        self._leave_quietly()
        self._give(self._forward.break_off(how))

    def _fail(self, why: Failure, detail: str) -> None:
        self._leave_quietly()
        self._give(self._forward.fail(why, detail))

    def _client_broke_off(self) -> None:
        """End an exchange whose request will never be whole."""
        if self._answered:
            self._leave()
        else:
            self._fail("gone", "The request ended before its announced length.")

    def _leave(self) -> None:
        """End the exchange for a client that has left."""
        self._leave_quietly()
        self._give(self._forward.break_off("gone"))

    def _leave_quietly(self) -> None:
        connection = self._connection
        self._end()
        if connection is not None:
            connection.close()

    def _end(self) -> None:
        self._over = True
        self._connection = None
        if self._timer is not None:
            self._timer.cancel()
        body = self._outgoing.body
        if isinstance(body, Incoming):
            body.drop()

    def _give(self, reply: Reply | None) -> None:
        if reply is not None:
            self._send(reply)


def _has_length(headers: list[tuple[str, str]]) -> bool:
    """Tell whether the end of a body is told by something else than that of the connection."""
    names = {name.lower() for name, _ in headers}
    return bool(names & {"content-length", "transfer-encoding"})


def _describe(error: Exception) -> str:
    """Return why a connection could not be made, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
