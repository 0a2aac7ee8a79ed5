"""The application behind any WSGI server: read a request, ask the application, wait and write."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import EnvironHeaders, Headers
from werkzeug.http import HTTP_STATUS_CODES

from mockserver.blobs.blob import Blob
from mockserver.http.messages import Request
from mockserver.server.adapter import BodyReader, answer, frame, parse_content_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mockserver.http.application import Application
    from mockserver.http.incoming import BodyError
    from mockserver.http.messages import Reply, Streamed

_CHUNK = 1 << 16


class WsgiAdapter:
    """A WSGI application."""

    def __init__(self, app: Application, *, clock: Callable[[], float] = time.time) -> None:
        """Serve `app`; `clock` gives epoch seconds."""
        self._app = app
        self._clock = clock

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        reply = answer(self._app, self._read(environ), self._clock())
        if reply.delay_s:
            threading.Event().wait(reply.delay_s)
        return _send(reply, start_response, head=environ["REQUEST_METHOD"] == "HEAD")

    def _read(self, environ: dict[str, Any]) -> Request:
        body, body_error = _read_body(environ, self._app.max_upload)
        return Request(
            method=environ["REQUEST_METHOD"].upper(),
            path=environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace") or "/",
            query=environ.get("QUERY_STRING", ""),
            headers=Headers(EnvironHeaders(environ)),
            body=body,
            body_error=body_error,
            peer=environ.get("REMOTE_ADDR", ""),
            scheme=environ.get("wsgi.url_scheme", "http"),
        )


def _read_body(environ: dict[str, Any], limit: int) -> tuple[Blob, BodyError]:
    """Read as many bytes as Content-Length says, or all of a chunked body, but never more than `limit`."""
    reader = BodyReader(limit)
    announced = parse_content_length(environ.get("CONTENT_LENGTH", ""))
    if announced is None:
        return reader.finish(whole=False)
    if announced > limit:
        reader.refuse()
        return reader.finish(whole=True)
    chunked = bool(environ.get("wsgi.input_terminated")) and "HTTP_TRANSFER_ENCODING" in environ
    left = limit + 1 if chunked else announced
    try:
        while left and (data := environ["wsgi.input"].read(min(left, _CHUNK))) and reader.feed(data):
            left -= len(data)
    except OSError:  # the client has left, is too slow, or its chunks are broken
        return reader.finish(whole=False)
    return reader.finish(whole=chunked or not left)


def _send(reply: Reply, start_response: Callable[..., Any], *, head: bool) -> Iterable[bytes]:
    body = frame(reply, head=head)
    phrase = HTTP_STATUS_CODES.get(reply.status, "Unknown")
    start_response(f"{reply.status} {phrase}", reply.headers.to_wsgi_list())
    if isinstance(body, bytes):
        return [body] if body else []
    return body.read_chunks() if isinstance(body, Blob) else _pump(body, separate=reply.separate)


def _pump(stream: Streamed, *, separate: bool) -> Iterator[bytes]:
    """Yield pieces when they are due, joined unless `separate`; sleep until the next is due or the stream changes."""
    changed = threading.Event()
    stream.on_change = changed.set
    try:
        yield b""  # the headers go out before the first event is due
        while True:
            pieces, wake = stream.advance(time.monotonic())
            yield from (piece for piece in (pieces if separate else [b"".join(pieces)]) if piece)
            if wake is None:
                return
            changed.wait(max(0.0, wake - time.monotonic()))
            changed.clear()
    finally:
        stream.close()
