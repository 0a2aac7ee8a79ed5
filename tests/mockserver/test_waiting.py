"""What adapters on an event loop do while nothing is due: notice that a client leaves, or has gone silent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from mockserver.config.settings import Settings
from mockserver.http.messages import AbortConnection, PlainHeaders, Reply
from mockserver.server.asgi import AsgiAdapter
from mockserver.server.http1 import Connection
from mockserver.server.mock_server import load_app
from mockserver.server.shared import PATIENCE_S, Shared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mockserver.core.app import App

CHAT = json.dumps({"query": "hello", "user": "abc-123", "inputs": {}, "response_mode": "streaming"}).encode()
HEADERS = {"Authorization": "Bearer app-chat", "Content-Type": "application/json", "Content-Length": str(len(CHAT))}
POST = (
    b"POST /v1/chat-messages HTTP/1.1\r\nHost: mock\r\n"
    + "".join(f"{n}: {v}\r\n" for n, v in HEADERS.items()).encode()
    + b"\r\n"
)
INFO = b"GET /v1/info HTTP/1.1\r\nHost: mock\r\nAuthorization: Bearer app-chat\r\n\r\n"


@pytest.fixture(scope="module")
def app() -> App:
    """Make an application whose streams take minutes."""
    return load_app(["dify-chat"], settings=Settings(pace=1000))


@contextlib.asynccontextmanager
async def listening(app: App) -> AsyncIterator[tuple[Shared, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect one client."""
    shared = Shared(app)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(shared), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield shared, reader, writer
    finally:
        writer.close()
        server.close()
        shared.close()
        await asyncio.sleep(0)


def last_ended(app: App) -> str | None:
    """Return how the last stream of the journal ended."""
    stream = app.mock.journal.list_entries()[-1].stream
    assert stream is not None
    return stream.ended


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is so, ten seconds at most."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


def test_asgi_client_that_leaves_ends_its_stream(app: App) -> None:
    """The server's `http.disconnect` ends the stream at once, although its next event is minutes away."""

    async def exchange() -> None:
        requests = [{"type": "http.request", "body": CHAT}]
        began, left = asyncio.Event(), asyncio.Event()

        async def receive() -> Any:
            if requests:
                return requests.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                began.set()

        headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
        scope = {"type": "http", "method": "POST", "path": "/v1/chat-messages", "query_string": b"", "headers": headers}
        task = asyncio.create_task(AsgiAdapter(app)(scope, receive, send))
        await asyncio.wait_for(began.wait(), 10)
        left.set()
        await asyncio.wait_for(task, 10)

    asyncio.run(exchange())
    assert last_ended(app) == "gone"


def test_asgi_lifespan_and_websockets_are_answered(app: App) -> None:
    """Servers ask an application to start and stop; a websocket is refused rather than left hanging."""

    async def told(scope: str, *messages: str) -> list[str]:
        waiting, sent = [{"type": message} for message in messages], []

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await AsgiAdapter(app)({"type": scope}, receive, send)
        return sent

    completed = ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert asyncio.run(told("lifespan", "lifespan.startup", "lifespan.shutdown")) == completed
    assert asyncio.run(told("websocket", "websocket.connect")) == ["websocket.close"]


def test_client_that_resets_ends_its_stream(app: App) -> None:
    """A connection that is lost ends the stream that it carried."""

    async def exchange() -> None:
        async with listening(app) as (_, reader, writer):
            writer.write(POST + CHAT)
            await reader.readuntil(b"data:")
            connected = writer.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await until(lambda: last_ended(app) is not None)

    asyncio.run(exchange())
    assert last_ended(app) == "gone"


@pytest.mark.parametrize("sent", [b"", INFO, POST[:-9], POST + CHAT[:-9]])
def test_silent_client_is_let_go(app: App, sent: bytes) -> None:
    """Who says nothing for a minute, in the middle of a request or after one, is disconnected."""

    async def exchange() -> bytes:
        async with listening(app) as (shared, reader, writer):
            writer.write(sent)
            await until(lambda: any(each._parser.mid_request or sent in (b"", INFO) for each in shared.connections))
            if sent == INFO:
                await reader.readuntil(b"}")
            for _ in range(PATIENCE_S):
                shared.tick()
            assert shared.connections
            for _ in range(3):
                shared.tick()
                await asyncio.sleep(0)
            return await asyncio.wait_for(reader.read(), 10)

    assert asyncio.run(exchange()) == b""


def test_client_that_waits_for_a_stream_is_not_silent(app: App) -> None:
    """A stream may take longer than the patience with clients."""

    async def exchange() -> int:
        async with listening(app) as (shared, reader, writer):
            writer.write(POST + CHAT)
            await reader.readuntil(b"data:")
            for _ in range(PATIENCE_S + 5):
                shared.tick()
            await asyncio.sleep(0)
            return len(shared.connections)

    assert asyncio.run(exchange()) == 1


@pytest.mark.parametrize(("how", "headless"), [("close", False), ("reset", False), ("close", True), ("reset", True)])
def test_cut_ends_the_connection_as_it_says(how: Any, headless: bool) -> None:
    """A cut closes or resets the connection without the body's end, before or after the headers."""

    class Broken:
        """Sends one piece, then breaks off."""

        on_change = staticmethod(lambda: None)
        on_loop = False
        pieces: list[bytes] = [] if headless else [b"data: a\n\n"]

        def advance(self, now: float) -> tuple[list[bytes], float | None]:
            if self.pieces:
                return [self.pieces.pop()], now
            raise AbortConnection(how, headless=headless)

        def stop(self) -> None:
            """Go on."""

        def close(self) -> None:
            """Know nothing."""

    class Breaking:
        """Breaks off every answer."""

        max_upload = 1000
        fixed_clock = None

        def wants_body_later(self, *_: Any) -> bool:
            return False

        def handle(self, *_: Any) -> Reply:
            return Reply(200, PlainHeaders([]), Broken())

    async def exchange() -> bytes:
        async with listening(Breaking()) as (_, reader, writer):  # type: ignore[arg-type]
            writer.write(INFO)
            return await asyncio.wait_for(reader.read(), 10)

    if how == "reset":
        with pytest.raises(ConnectionResetError):
            asyncio.run(exchange())
        return
    answer = asyncio.run(exchange())
    assert answer == b"" if headless else answer.endswith(b"\r\n\r\n9\r\ndata: a\n\n\r\n")
