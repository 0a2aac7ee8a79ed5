"""What all adapters share: reading a body within limits, asking the application, framing the reply."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from flowcontract.errors import StateUnwritableError
from mockserver.blobs.blob import EMPTY, Blob, BlobWriter
from mockserver.http.failures import complain, make_failure, make_problem
from mockserver.http.messages import put

if TYPE_CHECKING:
    from mockserver.http.application import Application, HeldReply, HoldingApplication
    from mockserver.http.incoming import BodyError
    from mockserver.http.messages import Reply, Request, Streamed

_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_MOST_DIGITS = 19  # of 2**63
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%]+\]|[\w.~%!$&'()*+,;=-]*)(?::\d*)?", re.ASCII)
"""Several Host headers, joined by comma and space, do not match; an empty one is right for targets without a host."""
_IN_MEMORY = 1 << 20  # bytes of a request that is being answered


def parse_content_length(text: str) -> int | None:
    """Return the number in a Content-Length header: 0 if it is empty, None if it is not a length."""
    text = text or "0"
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


class BodyReader:
    """Collects a request's body: in memory while it is small, then on disk, and nothing beyond `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._writer = BlobWriter(_IN_MEMORY)
        self._refused: BodyError = ""

    def feed(self, data: bytes) -> bool:
        """Add the next bytes; return whether more of them would be kept."""
        if self._refused:
            return False
        if self._writer.size + len(data) > self._limit:
            self.refuse()
            return False
        try:
            self._writer.write(data)
        except StateUnwritableError as error:
            self.refuse(error)
        return not self._refused

    def refuse(self, why: BodyError = "too large") -> None:
        """Drop the body: it exceeds the limit, or there is no room for it on this machine."""
        self._refused = why
        self._writer.discard()

    def finish(self, *, whole: bool) -> tuple[Blob, BodyError]:
        """Return the body and what is wrong with it; `whole` if everything arrived that was announced."""
        if not self._refused:
            try:
                return self._writer.finish(), "" if whole else "cut short"
            except StateUnwritableError as error:
                self.refuse(error)
        return EMPTY, self._refused


def answer(app: Application, request: Request, now: float) -> Reply:
    """Ask the application; if it fails, the client gets a problem as JSON and the terminal the traceback."""
    try:
        return _refuse_host(request.fields.get("host", "")) or app.handle(request, now)
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not end the server
        return _refuse_failed(error)
    finally:
        request.body = EMPTY  # a stream refers to its request; without this it would hold the bytes until it has ended


def hold(app: HoldingApplication, request: Request, now: float) -> Reply | HeldReply:
    """Ask the application without waiting; what is held is settled by `settle` after a flush."""
    held: Reply | HeldReply | None = None
    try:
        held = _refuse_host(request.fields.get("host", "")) or app.hold(request, now)
    except Exception as error:  # noqa: BLE001 - as above
        held = _refuse_failed(error)
    finally:
        if getattr(held, "awaited", None) is None:
            request.body = EMPTY
    return held


def settle(held: HeldReply) -> Reply:
    """Return the reply that was held, or why nothing remains of what it says."""
    try:
        return held.settle()
    except Exception as error:  # noqa: BLE001 - as above
        return _refuse_failed(error)


def _refuse_failed(error: Exception) -> Reply:
    complain(error)
    return make_failure(error)


def _refuse_host(host: str) -> Reply | None:
    """Return the refusal of a Host header that names no single host, None if there is nothing wrong with it."""
    if _HOST.fullmatch(host):
        return None
    detail = f"The Host header must be a host with an optional port (RFC 9112, 3.2), not {host[:200]}."
    return make_problem(HTTPStatus.BAD_REQUEST, "Bad Request", detail)


def frame(reply: Reply, *, head: bool) -> bytes | Blob | Streamed:
    """Set Content-Length if it is known; return what follows the headers: nothing for HEAD, 204 and 304."""
    body = reply.body
    if isinstance(body, bytes):
        size = len(body)
    elif isinstance(body, Blob):
        size = body.size
    else:
        if head or reply.status in _BODILESS:
            body.close()
            return b""
        return body
    if reply.status in _BODILESS:
        return b""
    put(reply.headers, {"Content-Length": str(size)})
    return b"" if head else body
