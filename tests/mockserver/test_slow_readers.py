"""Who stops reading a stream and goes on later gets no burst: each turn is bounded, and lost time stays lost."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flowcontract.scenarios import Piece
from mockserver.config.settings import Settings
from mockserver.http.stream import Stream
from mockserver.server.asgi import AsgiAdapter
from mockserver.server.http1 import Connection
from mockserver.server.mock_server import load_app
from mockserver.server.shared import Shared
from mockserver.server.wsgi import WsgiAdapter

if TYPE_CHECKING:
    from mockserver.core.app import App

TURN = 64 << 10
MEGABYTE = 1 << 20
CHAT = json.dumps({"query": "x", "inputs": {}, "user": "u", "response_mode": "streaming"}).encode()
HEADERS = {"Authorization": "Bearer app-chat-slow", "Content-Type": "application/json"}


def endless(delay_ms: float, size: int) -> Stream:
    return Stream(itertools.repeat(Piece(delay_ms, b"x" * size, None)))


def test_time_in_which_nobody_asked_is_not_made_up_for() -> None:
    """An hour later a stream of a piece every millisecond hands out a second's worth and goes on at its pace."""
    stream = endless(1, 10)
    stream.advance(0.0)
    now, count = 3600.0, 0
    while True:
        pieces, wake = stream.advance(now)
        count += len(pieces)
        assert wake is not None
        if wake > now:
            break
    assert 900 <= count <= 1100
    assert wake == pytest.approx(now + 0.001)


@pytest.mark.parametrize(("delay_ms", "size"), [(0, 100), (0, 50_000), (0, 3 * MEGABYTE), (0, 0), (0.001, 1000)])
def test_each_turn_is_bounded(delay_ms: float, size: int) -> None:
    """However much is due: 64 KiB, or one piece that is larger; and what brings no bytes ends a turn as well."""
    stream = endless(delay_ms, size)
    for now in (0.0, 0.0, 100.0, 100.0):
        pieces, wake = stream.advance(now)
        assert sum(map(len, pieces)) <= max(size, TURN + size - 1)
        assert wake is not None
        assert wake >= now


def test_what_is_due_at_once_comes_whole_over_several_turns() -> None:
    """Nothing is lost between turns, and the last one ends the stream."""
    stream = Stream(iter([Piece(0, b"%06d" % number, None) for number in range(50_000)]))
    got: list[bytes] = []
    wake: float | None = 5.0
    while wake is not None:
        assert wake == 5.0
        pieces, wake = stream.advance(5.0)
        got += pieces
    assert b"".join(got) == b"".join(b"%06d" % number for number in range(50_000))
    assert stream.ended == "complete"


# The adapters: a stream of which twenty megabytes are due at once.


@pytest.fixture(scope="module")
def app() -> App:
    return load_app(["dify-chat"], settings=Settings(pace=0))


FLOOD = HEADERS | {"Prefer": 'fault="tiny=100000"'}


def test_wsgi_hands_out_a_turn_at_a_time(app: App) -> None:
    """The server asks for the next one when the last has been written."""
    environ = EnvironBuilder(path="/v1/chat-messages", method="POST", headers=[*FLOOD.items()], data=CHAT).get_environ()
    body, _, _ = run_wsgi_app(WsgiAdapter(app), environ)
    sizes = [len(chunk) for chunk in body]
    assert sum(sizes) > 10 * MEGABYTE
    assert max(sizes) < 2 * TURN


def test_asgi_sends_a_turn_at_a_time(app: App) -> None:
    """The server lets us go on when the last has been written."""
    sizes: list[int] = []

    async def exchange() -> None:
        messages = [{"type": "http.request", "body": CHAT}]

        async def receive() -> Any:
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sizes.append(len(message.get("body", b"")))

        headers = [(name.lower().encode(), value.encode()) for name, value in FLOOD.items()]
        scope = {"type": "http", "method": "POST", "path": "/v1/chat-messages", "query_string": b"", "headers": headers}
        await AsgiAdapter(app)(scope, receive, send)

    asyncio.run(exchange())
    assert sum(sizes) > 10 * MEGABYTE
    assert max(sizes) < 2 * TURN


def raw_request() -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in FLOOD.items())
    return f"POST /v1/chat-messages HTTP/1.1\r\nHost: a\r\n{head}Content-Length: {len(CHAT)}\r\n\r\n".encode() + CHAT


def test_connection_keeps_little_for_clients_that_do_not_read(app: App) -> None:
    """Twenty clients ask and read nothing: far less than a megabyte waits for each; who reads then gets it all."""
    loop, shared = asyncio.new_event_loop(), Shared(app)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def call(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    async def waiting() -> list[int]:
        return [each._transport.get_write_buffer_size() for each in shared.connections if each._writer.full]

    listening = call(loop.create_server(lambda: Connection(shared), "127.0.0.1", 0))
    clients = [socket.create_connection(listening.sockets[0].getsockname(), timeout=30) for _ in range(20)]
    try:
        for client in clients:
            client.sendall(raw_request())
        deadline = time.monotonic() + 60
        while len(sizes := call(waiting())) < len(clients) and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        assert len(sizes) == len(clients)
        assert max(sizes) < MEGABYTE // 2
        received = 0
        tail = b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            data = clients[0].recv(MEGABYTE)
            assert data, "the stream broke off"
            received, tail = received + len(data), (tail + data)[-7:]
        assert received > 10 * MEGABYTE
    finally:
        for client in clients:
            client.close()
        loop.call_soon_threadsafe(listening.close)  # asyncio closes a server on its own loop only
        call(asyncio.sleep(0))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
