"""What every adapter does alike: how a body is read, how an answer is framed, what a failure of the mock says."""

from __future__ import annotations

import sys
import traceback
from http import HTTPStatus
from typing import TYPE_CHECKING

from flowcontract.errors import FlowContractError, StateUnreachableError
from mockserver import choosing
from mockserver.blobs import EMPTY, Blob, BlobWriter
from mockserver.messages import put

if TYPE_CHECKING:
    from mockserver.app import App
    from mockserver.messages import Damage, Reply, Request, Streamed

_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_MOST_DIGITS = 19  # of 2**63
_IN_MEMORY = 1 << 20  # of a request that is being answered


def announced_length(text: str) -> int | None:
    """Return what Content-Length says, 0 where it is empty, None if it is no length."""
    text = text or "0"
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


class BodyReader:
    """Collects a request's body: in memory while it is small, then on disk, and nothing beyond `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._writer = BlobWriter(_IN_MEMORY)
        self._too_large = False

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; tell whether more of them would be kept."""
        if self._too_large:
            return False
        if self._writer.size + len(data) > self._limit:
            self.refuse()
            return False
        self._writer.write(data)
        return True

    def refuse(self) -> None:
        """Forget the body, which is larger than the limit."""
        self._too_large = True
        self._writer.discard()

    def finish(self, *, whole: bool) -> tuple[Blob, Damage]:
        """Return the body and what is wrong with it; `whole` says that everything came that was announced."""
        if self._too_large:
            return EMPTY, "too large"
        return self._writer.finish(), "" if whole else "cut short"


def answer(app: App, request: Request, now: float) -> Reply:
    """Ask the application; whatever goes wrong in it, the client gets JSON and the terminal the rest."""
    try:
        return app.handle(request, now)
    except StateUnreachableError as error:  # nothing has changed, and it may be back soon
        return choosing.problem(503, "The shared state is out of reach", str(error))
    except FlowContractError as error:  # a file of the contract, or a scenario, is broken
        return choosing.problem(500, "The mock cannot answer", str(error))
    except Exception:  # noqa: BLE001 - a mistake of ours must not end the server
        traceback.print_exc(file=sys.stderr)
        return choosing.problem(
            500, "The mock failed", "This is a mistake in the mock itself; its terminal shows where."
        )
    finally:
        request.body = EMPTY  # what is kept of it is kept elsewhere; streams would hold it until they have ended


def frame(reply: Reply, *, head: bool) -> bytes | Blob | Streamed:
    """Put Content-Length where it is known, and return what follows the headers: nothing after HEAD, 204 and 304."""
    body = reply.body
    if isinstance(body, bytes | Blob):
        if reply.status in _BODILESS:
            return b""
        put(reply.headers, {"Content-Length": str(len(body) if isinstance(body, bytes) else body.size)})
        return b"" if head else body
    if head:
        body.gone()
        return b""
    return body
