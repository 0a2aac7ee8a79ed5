"""The application behind any WSGI server: reads a request, asks the application, then waits and writes."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import EnvironHeaders, Headers
from werkzeug.http import HTTP_STATUS_CODES

from flowcontract.errors import FlowContractError
from mockserver import choosing
from mockserver.blobs import EMPTY, Blob, BlobWriter
from mockserver.messages import Damage, Reply, Request, Streamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mockserver.app import App

_CHUNK = 1 << 16


class WsgiAdapter:
    """A WSGI application."""

    def __init__(self, app: App, *, clock: Callable[[], float] = time.time) -> None:
        """Serve `app`; `clock` gives epoch seconds."""
        self._app = app
        self._clock = clock

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        try:
            reply = self._app.handle(self._read(environ), self._clock())
        except FlowContractError as error:  # a file of the contract, or a scenario, is broken
            reply = choosing.problem(500, "The mock cannot answer", str(error))
        except Exception:  # noqa: BLE001 - whatever is wrong in here, the client gets JSON and the terminal the rest
            traceback.print_exc(file=sys.stderr)
            reply = choosing.problem(
                500, "The mock failed", "This is a mistake in the mock itself; its terminal shows where."
            )
        if reply.delay_s:
            threading.Event().wait(reply.delay_s)
        return _send(reply, start_response, head=environ["REQUEST_METHOD"] == "HEAD")

    def _read(self, environ: dict[str, Any]) -> Request:
        body, damage = _read_body(environ, self._app.settings.max_upload)
        return Request(
            method=environ["REQUEST_METHOD"].upper(),
            path=environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace") or "/",
            query=environ.get("QUERY_STRING", ""),
            headers=Headers(EnvironHeaders(environ)),
            body=body,
            damage=damage,
        )


def _read_body(environ: dict[str, Any], limit: int) -> tuple[Blob, Damage]:
    """Read as many bytes as were announced, or all of a chunked body, but never more than `limit`."""
    announced = _announced(environ)
    if announced is None:
        return EMPTY, "cut short"
    if announced > limit:
        return EMPTY, "too large"
    chunked = bool(environ.get("wsgi.input_terminated")) and "HTTP_TRANSFER_ENCODING" in environ
    writer, left = BlobWriter(), limit + 1 if chunked else announced
    try:
        while left and (data := environ["wsgi.input"].read(min(left, _CHUNK))):
            writer.write(data)
            left -= len(data)
    except OSError:  # the client has gone, is too slow, or its chunks are broken
        return writer.finish(), "cut short"
    if writer.size > limit:
        writer.discard()
        return EMPTY, "too large"
    return writer.finish(), "" if chunked or not left else "cut short"


def _announced(environ: dict[str, Any]) -> int | None:
    """Return Content-Length, 0 without one, None if it is no length."""
    length = environ.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else None  # noqa: PLR2004 - digits of 2**63


def _send(reply: Reply, start_response: Callable[..., Any], *, head: bool) -> Iterable[bytes]:
    headers = reply.headers
    if isinstance(reply.body, bytes | Blob) and reply.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        headers["Content-Length"] = str(len(reply.body) if isinstance(reply.body, bytes) else reply.body.size)
    phrase = HTTP_STATUS_CODES.get(reply.status, "Unknown")
    start_response(f"{reply.status} {phrase}", headers.to_wsgi_list())
    if isinstance(reply.body, bytes):
        return [] if head else [reply.body]
    if isinstance(reply.body, Blob):
        return [] if head else reply.body.chunks()
    if head:
        reply.body.gone()
        return []
    return _pump(reply.body)


def _pump(stream: Streamed) -> Iterator[bytes]:
    """Yield what is due when it is due, in one piece what is due together; sleep until then or until it changes."""
    changed = threading.Event()
    stream.on_change = changed.set
    try:
        yield b""  # the headers go out before the first event is due
        while True:
            pieces, wake = stream.advance(time.monotonic())
            if pieces:
                yield b"".join(pieces)
            if wake is None:
                return
            changed.wait(max(0.0, wake - time.monotonic()))
            changed.clear()
    finally:
        stream.gone()
