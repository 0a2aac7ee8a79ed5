"""An HTTP/1.1 transport that bounds everything: how long a head may take, what may precede it, when a body must end.

httpx's own transport restarts its timeout with each piece, so that a server that sends a byte now and then, or
`100 Continue` for ever, blocks it for ever.
"""

from __future__ import annotations

import math
import select
import socket
import time
import zlib
from collections import defaultdict
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import h11
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from contract_tests.http.clock import Clock

MAX_INFORMATIONAL = 16  # answers (1xx) before the final one
MAX_HEAD_BYTES = 100 * 1024
MAX_RATIO = 100  # decoded bytes per compressed byte
_FREE_BYTES = 1 << 20  # decoded before the ratio counts: a short text may be very regular
_PIECE_BYTES = 64 * 1024
_SLICE_S = 0.2  # after which a wait checks whether the run is to end
_IDLE_S = 1.0
"""How long a connection is kept for another request: many servers close theirs after two to five seconds of silence,
and a request that is sent at that very moment is answered by a reset."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_Origin = tuple[str, str, int]


class Wire(httpx.BaseTransport):
    """Sends requests; the deadline of a body is set on the response's `extensions["body"]`."""

    def __init__(self, clock: Clock) -> None:
        """Open no connection yet."""
        self._clock = clock
        self._idle: dict[_Origin, list[_Connection]] = defaultdict(list)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return its answer as soon as the head has arrived. Raises httpx's errors."""
        timeout: dict[str, float] = request.extensions["timeout"]
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        origin = (request.url.scheme, request.url.raw_host.decode("ascii"), port)
        connection = self._take_connection(origin, timeout["connect"])
        try:
            head = _send(connection, request, timeout)
        except (httpx.ReadError, httpx.RemoteProtocolError):
            if not connection.may_retry(request):
                raise
            connection = _Connection(origin, timeout["connect"], self._clock)
            head = _send(connection, request, timeout)
        body = Body(connection, timeout["read"], self._idle[origin])
        return httpx.Response(head.status_code, headers=list(head.headers), stream=body, extensions={"body": body})

    def close(self) -> None:
        """Close all idle connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    def _take_connection(self, origin: _Origin, timeout_s: float) -> _Connection:
        idle = self._idle[origin]
        while idle:
            connection = idle.pop()
            if connection.is_fresh() and connection.is_quiet():
                return connection
            connection.close()
        return _Connection(origin, timeout_s, self._clock)


def _send(connection: _Connection, request: httpx.Request, timeout: dict[str, float]) -> h11.Response:
    """Send a request and return the head of its answer; close the connection if none arrives."""
    try:
        connection.send(request, timeout["write"])
        return connection.read_head(timeout["read"])
    except BaseException:
        connection.close()
        raise


class Body(httpx.SyncByteStream):
    """A body that is still arriving. `deadline` (monotonic) is when it must have ended, whatever it still sends."""

    def __init__(self, connection: _Connection, silence_s: float, idle: list[_Connection]) -> None:
        """Read from a connection, and put it back at the end."""
        self.deadline = math.inf
        self._connection: _Connection | None = connection
        self._silence_s = silence_s
        self._idle = idle

    def __iter__(self) -> Iterator[bytes]:
        """Yield each piece as it arrives."""
        while self._connection:
            event = self._connection.read_event(self._silence_s, self.deadline)
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                connection, self._connection = self._connection, None
                if connection.is_reusable():
                    self._idle.append(connection)
                else:
                    connection.close()

    def close(self) -> None:
        """Drop the rest of the body."""
        if self._connection:
            self._connection.close()
            self._connection = None


class _Connection:
    """One connection, one request at a time."""

    def __init__(self, origin: _Origin, timeout_s: float, clock: Clock) -> None:
        self._clock = clock
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._is_reused = self._has_received = False
        self._quiet_since = time.monotonic()
        self._socket = _connect(origin, min(timeout_s, clock.get_left_s()))

    def is_quiet(self) -> bool:
        """Tell whether the server has neither closed the connection nor sent anything since the last answer."""
        return not select.select([self._socket], [], [], 0)[0]

    def is_fresh(self) -> bool:
        """Tell whether it was idle so briefly that the server will hardly be about to close it."""
        return time.monotonic() - self._quiet_since < _IDLE_S

    def may_retry(self, request: httpx.Request) -> bool:
        """Tell whether a request that failed may be sent again (RFC 9112, 9.3.1).

        It must be safe, and have failed on a reused connection before the first byte of its answer.
        """
        return self._is_reused and not self._has_received and request.method in _SAFE

    def is_reusable(self) -> bool:
        """Tell whether another request may follow, after an answer has ended."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._is_reused, self._has_received, self._quiet_since = True, False, time.monotonic()
        return True

    def close(self) -> None:
        self._socket.close()

    def send(self, request: httpx.Request, timeout_s: float) -> None:
        """Send a request; stop without an error if the server answers or hangs up first, so that its answer is read."""
        target = request.url.raw_path
        with _translate_errors():
            self._write(
                self._http.send(h11.Request(method=request.method, target=target, headers=request.headers.raw)),
                timeout_s,
            )
            for piece in request.stream:  # type: ignore[union-attr]
                self._write(self._http.send(h11.Data(data=piece)), timeout_s)
            self._write(self._http.send(h11.EndOfMessage()), timeout_s)

    def _write(self, data: bytes | None, timeout_s: float) -> None:
        rest = memoryview(data or b"")
        deadline = time.monotonic() + timeout_s
        while rest:
            try:
                self._wait(deadline, httpx.WriteTimeout(f"nothing could be sent for {timeout_s:g} s"))
                rest = rest[self._socket.send(rest[:_PIECE_BYTES]) :]
                deadline = time.monotonic() + timeout_s
            except TimeoutError:
                if not self.is_quiet():
                    return
            except OSError:
                return

    def read_head(self, timeout_s: float) -> h11.Response:
        """Return the head of the answer, which must be complete within `timeout_s` however many pieces arrive."""
        deadline = time.monotonic() + timeout_s
        for _ in range(MAX_INFORMATIONAL + 1):
            event = self.read_event(timeout_s, deadline)
            if isinstance(event, h11.Response):
                return event
        raise httpx.RemoteProtocolError(f"more than {MAX_INFORMATIONAL} informational answers (1xx)")

    def read_event(self, silence_s: float, deadline: float) -> h11.Event | type[h11.PAUSED]:
        """Return the next event; raise ReadTimeout after `silence_s` of silence."""
        silent_until = time.monotonic() + silence_s
        with _translate_errors():
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = self._read(min(silent_until, deadline), silence_s)
                self._has_received = self._has_received or bool(data)
                if not data and self._http.their_state is h11.SEND_RESPONSE:
                    raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
                self._http.receive_data(data)
            assert event is not h11.NEED_DATA
            return event  # type: ignore[return-value]

    def _read(self, deadline: float, silence_s: float) -> bytes:
        while True:
            self._wait(deadline, httpx.ReadTimeout(f"nothing came for {silence_s:g} s"))
            try:
                return self._socket.recv(_PIECE_BYTES)
            except TimeoutError:
                continue
            except OSError as error:
                raise httpx.ReadError(str(error)) from None

    def _wait(self, deadline: float, late: Exception) -> None:
        """Set a short timeout for the next socket call; raise `late` once the deadline has passed."""
        left = deadline - time.monotonic()
        slice_s = min(left, self._clock.get_left_s(), _SLICE_S)
        if left <= 0:
            raise late
        self._socket.settimeout(max(slice_s, 0.001))


def _connect(origin: _Origin, timeout_s: float) -> socket.socket:
    scheme, host, port = origin
    try:
        found = socket.create_connection((host, port), timeout_s)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _create_ssl_context().wrap_socket(found, server_hostname=host) if scheme == "https" else found
    except TimeoutError:
        raise httpx.ConnectTimeout(f"no connection within {timeout_s:g} s") from None
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(str(error)) from None


@lru_cache(maxsize=1)
def _create_ssl_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Turn h11's errors into httpx's."""
    try:
        yield
    except h11.RemoteProtocolError as error:
        raise httpx.RemoteProtocolError(str(error)) from None
    except h11.LocalProtocolError as error:
        raise httpx.LocalProtocolError(str(error)) from None


class TooMuchError(Exception):
    """A body is too large, or cannot be decoded; the text says why."""


class Decoder:
    """Decodes a body by its `Content-Encoding`, up to `limit` bytes, and no decompression bombs."""

    def __init__(self, encoding: str, limit: int) -> None:
        """Prepare for one body; raise TooMuchError for an encoding that is not supported."""
        self._limit = limit
        self._read = self._decoded_bytes = 0
        self._inflate = None
        if encoding in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        elif encoding not in ("", "identity"):
            raise TooMuchError(f"Content-Encoding {encoding}, which was not asked for")

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of a piece."""
        self._read += len(piece)
        for part in self._decompress(piece) if self._inflate else [piece]:
            self._decoded_bytes += len(part)
            yield part
            if self._decoded_bytes > self._limit:
                raise TooMuchError(f"more than {self._limit} bytes")
            if self._inflate and self._decoded_bytes > max(_FREE_BYTES, MAX_RATIO * self._read):
                raise TooMuchError(f"compressed more than {MAX_RATIO} times")

    def _decompress(self, piece: bytes) -> Iterator[bytes]:
        assert self._inflate is not None
        rest = piece
        while rest:
            try:
                part = self._inflate.decompress(rest, _PIECE_BYTES)
            except zlib.error as error:
                raise TooMuchError(f"a body that cannot be decompressed: {error}") from None
            if part:
                yield part
            rest = self._inflate.unconsumed_tail
            if self._inflate.eof:  # another member may follow (RFC 1952, 2.2)
                rest = self._inflate.unused_data
                self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
