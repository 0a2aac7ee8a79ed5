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
_SLICE = 16 << 10  # bytes that are parsed before others have their turn
_NOTHING = memoryview(b"")


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
        self._unparsed = _NOTHING  # what has come and is not parsed yet
        self._waits = False  # for the next turn
        self._is_read = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is asked for."""
        self._parse_rest()
        self.usable = False
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.note_server_left(reset=exc is not None)

    def eof_received(self) -> bool:
        """Take the end of what the server sends as the end of the connection."""
        self._parse_rest()
        self.usable = False
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.note_server_left(reset=False)
        return False

    def data_received(self, data: bytes) -> None:
        """Parse what the server says, a part of it in each turn of the loop.

        A server may send faster than is judged: others, timers and signals must not wait until it has nothing more.
        libuv, too, reads a socket as often as it fills the buffer, before it looks at anything else.
        """
        self._unparsed = memoryview(bytes(self._unparsed) + data) if self._unparsed else memoryview(data)
        if len(self._unparsed) == len(data):  # else its turn comes
            self._parse_slice()

    def _parse_slice(self) -> None:
        data, self._unparsed = self._unparsed[:_SLICE], self._unparsed[_SLICE:]
        self._parse(data)
        if self._exchange is None:
            if self._unparsed:  # behind the end of an answer, unasked
                self.close()
        elif len(data) == _SLICE:  # there is probably more
            self._transport.pause_reading()
            self._wait_for_turn()
        elif not self._is_read:
            self._resume()

    def _parse_rest(self) -> None:
        """Parse all that has come: there will be no more turns."""
        rest, self._unparsed = self._unparsed, _NOTHING
        if rest and self._exchange is not None:
            self._parse(rest)

    def _wait_for_turn(self) -> None:
        self._is_read = False
        if not self._waits:
            self._waits = True
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        """Go on where `_parse_slice` has stopped, unless the client reads more slowly."""
        self._waits = False
        if not self._may_send or self._transport.is_closing():
            return
        if self._unparsed:
            self._parse_slice()
        else:
            self._resume()

    def _resume(self) -> None:
        if self._may_send and not self._transport.is_closing():
            self._is_read = True
            self._transport.resume_reading()

    def _parse(self, data: memoryview) -> None:
        """Parse; the exchange is called for each part of it."""
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
        """Send what comes back to nobody any more; what has come already must not answer the next request."""
        if self._unparsed:
            self.close()
            return
        self._exchange = None
        self.used = self._may_send = True
        self._resume()

    def write(self, data: bytes) -> None:
        """Send bytes to the server."""
        self._transport.write(data)

    def let_server_send(self, may: bool) -> None:
        """Let the server go on sending, or not."""
        self._may_send = may
        if self._transport.is_closing():
            return
        if may and self._unparsed:
            self._wait_for_turn()
        elif may:
            self._resume()
        else:
            self._transport.pause_reading()

    @property
    def status(self) -> int:
        """Of the answer whose head has come."""
        return int(self._parser.get_status_code())

    def keeps_alive(self) -> bool:
        """Tell whether the next request may follow on this connection."""
        if self._unparsed or not self.usable:
            return False
        return bool(self._parser.should_keep_alive()) and not self._transport.is_closing()

    def close(self) -> None:
        """Close the connection now."""
        self.usable = False
        self._exchange, self._unparsed = None, _NOTHING
        self._transport.abort()
