"""Connections to the servers that a proxy stands before: kept for the next request, one request at a time.

Our own, on the parser that reads our clients' requests (llhttp): what httpx and aiohttp give is a body, in which
neither the server's pieces nor an answer that comes before the request's end can be seen, at several times the cost
per piece.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Protocol, cast

import httptools

if TYPE_CHECKING:
    from mockserver.http.forwarding import Origin

CONNECT_S = 10.0
"""How long a server may take to accept a connection."""
_IDLE_S = 4.0  # most servers close an idle connection after five seconds or more
_IDLE = 64  # connections to one server that wait for the next request
_MUCH = 32 << 10  # bytes of one read, behind which there is probably more


class AnswerReader(Protocol):
    """Who asked, and is called with what comes back; it has the callbacks of `httptools.HttpResponseParser`, too.

    ``surplus``  the server sent more than was asked for
    """

    @property
    def surplus(self) -> bool: ...  # noqa: D102 - above

    def note_server_left(self, *, reset: bool) -> None:
        """Learn that the connection is closed."""

    def refuse_unreadable(self, detail: str) -> None:
        """Learn that what the server says is no HTTP."""

    def count_unread(self, size: int) -> None:
        """Learn how many bytes have come, whatever they are."""

    def hold_upload(self, *, hold: bool) -> None:
        """Learn whether the server reads more slowly than the client sends."""


class Pool:
    """The connections of one event loop."""

    def __init__(self, ca_file: str | None = None) -> None:
        """Check certificates by those of this machine, or of a file."""
        self._idle: dict[Origin, list[tuple[float, ServerConnection]]] = {}
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None

    def take(self, origin: Origin, now: float) -> ServerConnection | None:
        """Return a connection that waits for a request, if there is a fresh one."""
        idle = self._idle.get(origin, [])
        while idle:
            since, connection = idle.pop()
            if now - since < _IDLE_S and connection.usable:
                return connection
            connection.close()
        return None

    def give_back(self, origin: Origin, connection: ServerConnection, now: float) -> None:
        """Keep a connection for the next request."""
        idle = self._idle.setdefault(origin, [])
        idle.append((now, connection))
        if len(idle) > _IDLE:
            idle.pop(0)[1].close()

    async def connect(self, origin: Origin) -> ServerConnection:
        """Open a connection; raise OSError, or TimeoutError."""
        loop = asyncio.get_running_loop()
        context = self._get_tls_context() if origin.tls else None
        async with asyncio.timeout(CONNECT_S):
            made = await loop.create_connection(
                ServerConnection,
                origin.host,
                origin.port,
                ssl=context,
                server_hostname=origin.host if context else None,
            )
        return made[1]

    def close(self) -> None:
        """Close the connections that wait."""
        for idle in self._idle.values():
            for _, connection in idle:
                connection.close()
        self._idle.clear()

    def _get_tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self._ca_file)
        return self._context


class ServerConnection(asyncio.Protocol):
    """One connection to a server: bytes -> what an AnswerReader is told."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self.usable = True
        self.used = False  # for an earlier request
        self._may_send = True  # the client reads fast enough
        self._exchange: AnswerReader | None = None
        self._parser: Any = None
        self._lost: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is asked for."""
        self.usable = False
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.note_server_left(reset=exc is not None)

    def eof_received(self) -> bool:
        """Take the end of what the server sends as the end of the connection."""
        self.usable = False
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.note_server_left(reset=False)
        return False

    def data_received(self, data: bytes) -> None:
        """Parse what the server says; the exchange is called for each part of it."""
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
        exchange.count_unread(len(data))
        if exchange.surplus:  # what follows an answer unasked must not answer the next request
            self.close()
        elif len(data) >= _MUCH and self._exchange is not None:
            self._let_others_in()

    def _let_others_in(self) -> None:
        """Read on in the next turn of the loop: a server that sends faster than is judged has more, again and again.

        libuv reads a socket as often as it fills the buffer, before it looks at others, timers and signals.
        """
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._may_send and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Let the client wait: the server reads too slowly."""
        if self._exchange is not None:
            self._exchange.hold_upload(hold=True)

    def resume_writing(self) -> None:
        """Let the client go on."""
        if self._exchange is not None:
            self._exchange.hold_upload(hold=False)

    def _give_up(self, exchange: AnswerReader, detail: str) -> None:
        self._exchange = None
        exchange.refuse_unreadable(detail)
        self.close()

    # An exchange calls these.

    def begin(self, exchange: AnswerReader) -> None:
        """Send what comes back to an exchange."""
        self._exchange = exchange
        self._parser = httptools.HttpResponseParser(exchange)

    def end(self) -> None:
        """Send what comes back to nobody any more."""
        self._exchange = None
        self.used = self._may_send = True
        self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send bytes to the server."""
        self._transport.write(data)

    def let_server_send(self, may: bool) -> None:
        """Let the server go on sending, or not."""
        self._may_send = may
        if self._transport.is_closing():
            return
        self._transport.resume_reading() if may else self._transport.pause_reading()

    @property
    def status(self) -> int:
        """Of the answer whose head has come."""
        return int(self._parser.get_status_code())

    def keeps_alive(self) -> bool:
        """Tell whether the next request may follow on this connection."""
        return self.usable and self._parser.should_keep_alive() and not self._transport.is_closing()

    def close(self) -> None:
        """Close the connection now."""
        self.usable = False
        self._exchange = None
        self._transport.abort()
