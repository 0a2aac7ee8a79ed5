"""What every adapter does alike: how a body is read, how an answer is framed, what a failure of the mock says."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from flowcontract.errors import StateUnwritableError
from mockserver.blobs.blob import EMPTY, Blob, BlobWriter
from mockserver.http.failures import complain, failure, problem
from mockserver.http.messages import put

if TYPE_CHECKING:
    from mockserver.http.application import Application
    from mockserver.http.messages import BodyError, Reply, Request, Streamed

_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_MOST_DIGITS = 19  # of 2**63
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%]+\]|[\w.~%!$&'()*+,;=-]*)(?::\d*)?", re.ASCII)
"""Of several a comma and a space would stand between; an empty one is for targets without a host."""
_IN_MEMORY = 1 << 20  # of a request that is being answered


def parse_content_length(text: str) -> int | None:
    """Return what Content-Length says, 0 where it is empty, None if it is no length."""
    text = text or "0"
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


class BodyReader:
    """Collects a request's body: in memory while it is small, then on disk, and nothing beyond `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._writer = BlobWriter(_IN_MEMORY)
        self._refused: BodyError = ""

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; tell whether more of them would be kept."""
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
        """Forget the body, which is larger than the limit, or than the room that there is for it."""
        self._refused = why
        self._writer.discard()

    def finish(self, *, whole: bool) -> tuple[Blob, BodyError]:
        """Return the body and what is wrong with it; `whole` says that everything came that was announced."""
        if not self._refused:
            try:
                return self._writer.finish(), "" if whole else "cut short"
            except StateUnwritableError as error:
                self.refuse(error)
        return EMPTY, self._refused


def answer(app: Application, request: Request, now: float) -> Reply:
    """Ask the application; whatever goes wrong in it, the client gets JSON and the terminal the rest."""
    try:
        return _wrong_host(request.fields.get("host", "")) or app.handle(request, now)
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not end the server
        complain(error)
        return failure(error)
    finally:
        request.body = EMPTY  # what is kept of it is kept elsewhere; streams would hold it until they have ended


def _wrong_host(host: str) -> Reply | None:
    if _HOST.fullmatch(host):
        return None
    wanted = "Host is one host without user, perhaps with a port (RFC 9112, 3.2)"
    return problem(HTTPStatus.BAD_REQUEST, "Bad Request", f"{wanted}, not {host[:200]}.")


def frame(reply: Reply, *, head: bool) -> bytes | Blob | Streamed:
    """Put Content-Length where it is known, and return what follows the headers: nothing after HEAD, 204 and 304."""
    body = reply.body
    if isinstance(body, bytes):
        size = len(body)
    elif isinstance(body, Blob):
        size = body.size
    else:
        if head:
            body.close()
        return b"" if head else body
    if reply.status in _BODILESS:
        return b""
    put(reply.headers, {"Content-Length": str(size)})
    return b"" if head else body
