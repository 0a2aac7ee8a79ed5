"""The application behind any ASGI server: read a request, ask the application, wait and write; without threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from mockserver.blobs.blob import Blob
from mockserver.http.messages import PlainHeaders, Request
from mockserver.server.adapter import BodyReader, answer, frame, parse_content_length

if TYPE_CHECKING:
    from mockserver.http.application import Application
    from mockserver.http.messages import Streamed

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiAdapter:
    """An ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

    def __init__(self, app: Application, *, clock: Callable[[], float] = time.time) -> None:
        """Serve `app`; `clock` gives epoch seconds."""
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or acknowledge that the server starts and stops."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _acknowledge_lifespan(receive, send)
        else:  # a websocket: no API here has any
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        request = await self._read(scope, receive)
        if request is None:
            return
        reply = answer(self._app, request, self._clock())
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        body = frame(reply, head=request.method == "HEAD")
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if isinstance(body, bytes):
            await send({"type": "http.response.body", "body": body})
        elif isinstance(body, Blob):
            for chunk in body.read_chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})
        else:
            await _pump(body, receive, send, separate=reply.separate)

    async def _read(self, scope: Message, receive: Receive) -> Request | None:
        """Read a whole request; return None if the client leaves before its end."""
        headers = PlainHeaders((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        reader, more, whole = BodyReader(self._app.max_upload), True, True
        announced = parse_content_length(headers.get("Content-Length", ""))
        if announced is None:
            more = whole = False
        elif announced > self._app.max_upload:
            reader.refuse()
            more = False
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                reader.refuse()
                return None
            more = reader.feed(message.get("body", b"")) and message.get("more_body", False)
        body, body_error = reader.finish(whole=whole)
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        query = scope["query_string"].decode("latin-1")
        peer = (scope.get("client") or [""])[0]
        scheme = scope.get("scheme", "http")
        return Request(scope["method"].upper(), path, query, headers, body, body_error, peer, scheme=scheme)


async def _acknowledge_lifespan(receive: Receive, send: Send) -> None:
    """Confirm start and shutdown (https://asgi.readthedocs.io/en/latest/specs/lifespan.html): both need nothing."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _pump(stream: Streamed, receive: Receive, send: Send, *, separate: bool) -> None:
    """Send pieces when they are due, joined unless `separate`; sleep until the next is due or the stream changes."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    stream.on_change = partial(_wake, loop, changed)
    client = asyncio.ensure_future(_wait_for_disconnect(receive))
    client.add_done_callback(lambda _: changed.set())
    try:
        while not client.done():
            changed.clear()
            pieces, wake = stream.advance(time.monotonic())
            for piece in pieces if separate else [b"".join(pieces)]:
                if piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            if wake is None:
                await send({"type": "http.response.body"})
                return
            try:
                async with asyncio.timeout(wake - time.monotonic()):
                    await changed.wait()
            except TimeoutError:
                continue
    finally:
        client.cancel()
        stream.close()


def _wake(loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> None:
    loop.call_soon_threadsafe(changed.set)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
