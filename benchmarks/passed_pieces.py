"""What `mockserver proxy` does to pieces: how late each becomes, and how much memory a large or endless stream takes.

`python benchmarks/passed_pieces.py` measures in a minute; `nox -s bench` does, too. Server and clients are here, the
proxy is a process of its own; all on loopback, and bounded.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from load import run
from proxied import plain_proxy
from servers import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS = 100
PIECES = 40
APART_S = 0.05
LARGE = 1 << 30
ENDLESS_S = 10.0
_LIMIT_S = 120.0
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
_BODY = b'{"query": "hello", "inputs": {}, "response_mode": "streaming", "user": "abc-123"}'
_ASKED = (
    b"POST /v1/chat-messages HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer app-chat\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
) + _BODY
_ID = b"900bbd43-dc0b-4383-a372-aa6e6c414227"
_PIECE = (
    b'data: {"event": "message", "task_id": "%b", "message_id": "%b", "conversation_id": "%b", '
    b'"created_at": 1705398420, "answer": "%%020d"}\n\n' % (_ID, _ID, _ID)
)
_BLOCK = b'data: {"event": "message", "answer": "' + b"x" * 65_000 + b'"}\n\n'


class Passed(NamedTuple):
    """What was measured.

    ``late_ms``    from the server's write to the client's read, without and with the proxy: median, 99th of 100, most
    ``memory_mb``  of the proxy: before, after a stream of 1 GB, and after one that never ends
    ``endless_mb`` how much of the latter passed
    """

    late_ms: tuple[tuple[float, float, float], tuple[float, float, float]]
    memory_mb: tuple[float, float, float]
    endless_mb: float


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Read a request; answer and return False where it is one that asks whether we are there."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:  # the proxy looks whether somebody is there
        return False
    _, length, rest = head.lower().partition(b"content-length:")
    if length:
        await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        writer.write(_HEAD)
        return True
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()
    return False


async def _send_stamped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with pieces that say when they were sent."""
    if not await _read_request(reader, writer):
        return
    for _ in range(PIECES):
        await asyncio.sleep(APART_S)
        writer.write(_chunk(_PIECE % time.perf_counter_ns()))
    writer.write(b"0\r\n\r\n")
    writer.close()


async def _send_blocks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with blocks for ever."""
    if not await _read_request(reader, writer):
        return
    chunk = _chunk(_BLOCK)
    with suppress(OSError):
        while True:
            writer.write(chunk)
            await writer.drain()


async def _read_late_ms(port: int) -> list[float]:
    """Read a stream to its end; return how late each piece was."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_ASKED)
    await reader.readuntil(b"\r\n\r\n")
    late = []
    while (size := int(await reader.readuntil(b"\r\n"), 16)) > 0:
        data = await reader.readexactly(size + 2)
        late.append((time.perf_counter_ns() - int(data.partition(b'"answer": "')[2][:20])) / 1e6)
    writer.close()
    assert len(late) == PIECES
    return late


async def _read_blocks(port: int, most: int, seconds: float) -> int:
    """Read until so many bytes have come, or for so long; then leave. Return the bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_ASKED)
    until, size = time.perf_counter() + seconds, 0
    while size < most and time.perf_counter() < until:
        size += len(await reader.read(1 << 20))
    writer.transport.abort()
    return size


def _percentiles(late: list[float]) -> tuple[float, float, float]:
    return statistics.median(late), statistics.quantiles(late, n=100)[98], max(late)


async def _late(through: int, direct: int) -> list[tuple[float, float, float]]:
    found = []
    for port in (direct, through, direct, through):  # what is compiled or read at first is not measured
        async with asyncio.timeout(_LIMIT_S):
            late = await asyncio.gather(*(_read_late_ms(port) for _ in range(STREAMS)))
        found.append(_percentiles([each for stream in late for each in stream]))
    return found[2:]


async def _measure(folder: Path) -> Passed:
    stamped = await asyncio.start_server(_send_stamped, "127.0.0.1", 0, backlog=STREAMS)
    blocks = await asyncio.start_server(_send_blocks, "127.0.0.1", 0)
    ports = [server.sockets[0].getsockname()[1] for server in (stamped, blocks)]
    started = [await asyncio.to_thread(Running, plain_proxy(port), folder, loaded=False) for port in ports]
    try:
        late = await _late(started[0].port, ports[0])
        await _read_blocks(started[1].port, 64 << 20, _LIMIT_S)
        before = started[1].usage()[1]
        await _read_blocks(started[1].port, LARGE, _LIMIT_S)
        large = started[1].usage()[1]
        endless = await _read_blocks(started[1].port, 1 << 40, ENDLESS_S)
        return Passed((late[0], late[1]), (before, large, started[1].usage()[1]), endless / 1e6)
    finally:
        for running in started:
            running.end()
        stamped.close()
        blocks.close()


def measure() -> Passed:
    """Measure once."""
    with tempfile.TemporaryDirectory() as folder:
        result: Passed = run(_measure(Path(folder)))
        return result


def table(found: Passed) -> Iterator[str]:
    """Yield both as tables."""
    yield f"| a piece on its way, ms, {STREAMS} streams (goal: 20) | median | 99 of 100 | most |"
    yield "|---|---|---|---|"
    for name, late in zip(("without the proxy", "with `mockserver proxy`"), found.late_ms, strict=True):
        yield f"| {name} | {' | '.join(f'{figure:.1f}' for figure in late)} |"
    before, large, endless = found.memory_mb
    yield ""
    passed = f"{found.endless_mb:,.0f} MB"
    yield f"| the proxy's memory, MB | before | after a stream of 1 GB | after {passed} of an endless one |"
    yield "|---|---|---|---|"
    yield f"| | {before:.0f} | {large:.0f} | {endless:.0f} |"


if __name__ == "__main__":
    print("\n".join(table(measure())))
