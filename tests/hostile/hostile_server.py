"""Servers that mean harm, or that somebody broke: each is a function that is given a request and a pen."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

Behaviour = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


class Hostile:
    """Answers as `behave` wants while it is entered; `url` is where, `asked` what came."""

    def __init__(self, behave: Behaviour, *, but: dict[str, bytes] | None = None) -> None:
        """Behave like that, but give a good JSON answer to some paths."""
        self._behave = behave
        self._but = {path: json_answer(body) for path, body in (but or {}).items()}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.asked: list[Asked] = []
        self.url = ""

    def __enter__(self) -> Self:
        """Listen on a free port."""
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._talk, "127.0.0.1", 0)

    def __exit__(self, *_: object) -> None:
        """Hang up on everybody."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while asked := await _read(reader):
                self.asked.append(asked)
                known = self._but.get(asked.path.partition("?")[0])
                if known is not None:
                    writer.write(known)
                    await writer.drain()
                else:
                    await self._behave(asked, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Asked(method, path, headers, body)


def json_answer(body: bytes, status: str = "200 OK") -> bytes:
    """Return a good answer with a JSON body."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def head(*lines: str) -> bytes:
    """Return the head of an answer whose end nothing tells but the end of the connection."""
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "Connection: close", "", ""]).encode()


async def _for_ever(writer: asyncio.StreamWriter, piece: bytes, gap_s: float = 0.0) -> None:
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(gap_s)


async def endless_body(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Say one number after the other."""
    writer.write(head("Content-Type: application/json") + b"[")
    await _for_ever(writer, b"1," * 32768)


async def dripping_body(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Never be silent for long, and never come to an end."""
    writer.write(head("Content-Type: application/json"))
    await _for_ever(writer, b" ", 0.05)


async def endless_events(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Send events of a kind that is documented."""
    writer.write(head("Content-Type: text/event-stream"))
    await _for_ever(writer, b'data: {"event": "ping"}\n\n' * 1000)


async def endless_event(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Send one event that has no end."""
    writer.write(head("Content-Type: text/event-stream") + b"data: ")
    await _for_ever(writer, b"x" * 65536)


def _zeros() -> bytes:
    compress = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(compress.compress(bytes(1 << 20)) for _ in range(200)), compress.flush()])


_BOMB = _zeros()  # 200 MB; and as many of them one after another as somebody reads


async def gzip_bomb(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Send little that says much."""
    writer.write(head("Content-Type: application/json", "Content-Encoding: gzip"))
    await _for_ever(writer, _BOMB)


async def informational(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Tell to go on, for ever."""
    await _for_ever(writer, b"HTTP/1.1 100 Continue\r\n\r\n", 0.001)


async def dripping_head(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Begin a header and never end it."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-A: ")
    await _for_ever(writer, b"a", 0.05)


async def endless_head(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Send one header after another."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await _for_ever(writer, b"X-A: " + b"a" * 1000 + b"\r\n")


async def redirects(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Send everybody to where they are."""
    host = asked.headers["host"]
    line = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{host}{asked.path}\r\nContent-Length: 0\r\n\r\n"
    writer.write(line.encode())
    await writer.drain()


async def silent(_: Asked, __: asyncio.StreamWriter) -> None:
    """Say nothing, and keep the connection."""
    await asyncio.Event().wait()


async def empty_object(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Answer everything with nothing."""
    writer.write(json_answer(json.dumps({}).encode()))
    await writer.drain()


def relay(port: int, *, keys: dict[str, str], instead: dict[str, bytes] | None = None) -> Behaviour:
    """Pass everything on to a server on this machine, with other keys; answer some paths `instead`."""

    def forward(asked: Asked) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {name: value for name, value in asked.headers.items() if name not in ("host", "connection")}
        for ours, theirs in keys.items():
            headers = {name: value.replace(ours, theirs) for name, value in headers.items()}
        connection.request(asked.method, asked.path, asked.body or None, headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        kept = [(n, v) for n, v in answer.getheaders() if n.lower() not in ("transfer-encoding", "content-length")]
        lines = [f"HTTP/1.1 {answer.status} X", *(f"{name}: {value}" for name, value in kept)]
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        known = (instead or {}).get(asked.path.partition("?")[0])
        writer.write(known if known is not None else await asyncio.to_thread(forward, asked))
        await writer.drain()

    return behave


ALL = {
    behave.__name__: behave
    for behave in (
        endless_body, dripping_body, endless_events, endless_event, gzip_bomb, informational, dripping_head,
        endless_head, redirects, silent,
    )
}  # fmt: skip
