"""A small load generator: raw sockets on loopback, bounded in connections and time, for requests and for streams."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

_END_OF_CHUNKS = b"0\r\n\r\n"
COUNT = "########"
"""What stands in a body for a number that is another one each time it is sent."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it goes over the wire."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def raw(self, port: int) -> bytes:
        """Return its bytes."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: */*"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(slots=True)
class Rate:
    """What a number of connections got out of a server in a time."""

    answered: int = 0
    failed: int = 0
    received: int = 0  # bytes
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers with a 2xx status per second."""
        return self.answered / self.seconds if self.seconds else 0.0


class _Client(asyncio.Protocol):
    """Sends the same request again and again, the next one when the answer to the last is complete."""

    def __init__(self, raws: Iterator[bytes], rate: Rate, until: float, done: asyncio.Future[None]) -> None:
        self._raws, self._rate, self._until, self._done = raws, rate, until, done
        self._buffer = b""
        self._usual = -1  # length of the last answer; most are the same
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(next(self._raws))

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer = data = self._buffer + data if self._buffer else data
        if len(data) != self._usual and not is_complete(data):
            return
        head = data.partition(b"\r\n\r\n")[0].lower()
        self._usual = -1 if b"connection: close" in head or b"content-length:" not in head else len(data)
        self._buffer = b""
        self._rate.received += len(data)
        if data[9:10] == b"2":
            self._rate.answered += 1
        else:
            self._rate.failed += 1
        closes = self._usual < 0 and b"connection: close" in data.partition(b"\r\n\r\n")[0].lower()
        if closes or time.perf_counter() >= self._until:
            self._transport.close()
        else:
            self._transport.write(next(self._raws))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._buffer:
            self._rate.failed += 1
        if not self._done.done():
            self._done.set_result(None)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run something on uvloop where it is installed: the load generator shall not be what is measured."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.run(work)
    return asyncio.run(work)


def is_complete(data: bytes) -> bool:
    """Tell whether an answer has arrived whole, by its length or its last chunk."""
    head, gap, body = data.partition(b"\r\n\r\n")
    if not gap:
        return False
    head = head.lower()
    if b"transfer-encoding: chunked" in head:
        return body.endswith(_END_OF_CHUNKS)
    _, found, rest = head.partition(b"content-length:")
    return bool(found) and len(body) >= int(rest.partition(b"\r\n")[0])


def _numbered(raw: bytes) -> Iterator[bytes]:
    """Yield a request again and again, each time with another number where it has a place for one."""
    before, place, after = raw.partition(COUNT.encode())
    if not place:
        yield from itertools.repeat(raw)
    for number in itertools.count():
        yield b"%b%0*d%b" % (before, len(COUNT), number, after)


async def hammer(port: int, call: Call, *, connections: int, seconds: float) -> Rate:
    """Send a request over some connections for some seconds; who is disconnected connects again."""
    rate, begun = Rate(), time.perf_counter()
    until, raws, loop = begun + seconds, _numbered(call.raw(port)), asyncio.get_running_loop()

    async def connection() -> None:
        while time.perf_counter() < until:
            done = loop.create_future()
            try:
                transport, _ = await loop.create_connection(
                    lambda done=done: _Client(raws, rate, until, done), "127.0.0.1", port
                )
            except OSError:
                rate.failed += 1
                await asyncio.sleep(0.01)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done, until - time.perf_counter() + 5)
            transport.abort()

    await asyncio.gather(*(connection() for _ in range(connections)))
    rate.seconds = time.perf_counter() - begun
    return rate


@dataclass(slots=True)
class Streams:
    """What became of a number of streams that were opened at once.

    ``completed``  how many arrived whole, with as many events as expected
    ``seconds``    from the first request to the last byte of the last stream
    ``late_ms``    by how much each event came after the moment at which it was due, in the order of arrival
    """

    completed: int = 0
    seconds: float = 0.0
    late_ms: list[float] = field(default_factory=list)

    def late(self, percent: float) -> float:
        """Return a percentile of the lateness in milliseconds."""
        if len(self.late_ms) < 2:
            return self.late_ms[0] if self.late_ms else float("nan")
        return statistics.quantiles(self.late_ms, n=1000, method="inclusive")[min(998, round(percent * 10) - 1)]


class _Reader(asyncio.Protocol):
    """Notes when each event of one stream arrives."""

    def __init__(self, raw: bytes, done: asyncio.Future[list[float]]) -> None:
        self._raw, self._done = raw, done
        self._arrivals: list[float] = []
        self._tail = b""
        self._in_body = self._complete = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._raw)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        data = self._tail + data
        if not self._in_body:
            head, gap, data = data.partition(b"\r\n\r\n")
            if not gap:
                self._tail = head
                return
            self._in_body = True
        self._arrivals += [now] * data.count(b"data:")
        self._tail = data[-4:]  # `data:` may be cut in two, and so may the last chunk
        if data.endswith(_END_OF_CHUNKS):
            self._complete = True
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if not self._done.done():
            self._done.set_result(self._arrivals if self._complete else [])


async def stream(  # noqa: PLR0913 - each by name
    port: int, call: Call, *, count: int, events: int, apart_s: float, limit_s: float = 60
) -> Streams:
    """Open `count` streams at once and read each to its end; `events` are due `apart_s` apart, the first at once."""
    raw, loop, begun = call.raw(port), asyncio.get_running_loop(), time.perf_counter()
    result = Streams()

    async def one() -> None:
        done: asyncio.Future[list[float]] = loop.create_future()
        try:
            transport, _ = await loop.create_connection(lambda: _Reader(raw, done), "127.0.0.1", port)
            arrivals = await asyncio.wait_for(done, limit_s)
        except (OSError, TimeoutError):
            return
        transport.abort()
        if len(arrivals) == events:
            result.completed += 1
            first = arrivals[0]
            result.late_ms += [1000 * (when - first - apart_s * index) for index, when in enumerate(arrivals) if index]

    await asyncio.gather(*(one() for _ in range(count)))
    result.seconds = time.perf_counter() - begun
    return result
