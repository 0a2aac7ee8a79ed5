"""Failures of the mock itself: a problem for the client, a line for the terminal."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from http import HTTPStatus

from werkzeug.datastructures import Headers

from flowcontract.errors import FlowContractError, StateError, StateUnreachableError, StateUnwritableError
from flowcontract.output.printable import make_printable
from mockserver.http.messages import Reply

_QUIET_S = 10.0
"""How long the same line is not repeated on the terminal: a full disk fails the requests of all clients."""


def make_failure(error: Exception) -> Reply:
    """Return the problem that tells a client why the mock failed."""
    if isinstance(error, StateUnwritableError):
        return make_problem(HTTPStatus.INSUFFICIENT_STORAGE, "The mock cannot keep this", str(error))
    if isinstance(error, StateUnreachableError):  # nothing has changed, and it may be back soon
        return make_problem(HTTPStatus.SERVICE_UNAVAILABLE, "The shared state is out of reach", str(error))
    if isinstance(error, FlowContractError):  # a file of the contract, or a scenario, is broken
        return make_problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The mock cannot answer", str(error))
    return make_problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The mock failed",
        "This is a mistake in the mock itself; its terminal shows where.",
    )


def complain(error: BaseException) -> None:
    """Report an error on the terminal: a line if the state cannot be stored, the traceback if the mistake is ours."""
    if isinstance(error, StateError):
        tell(str(error))
    elif not isinstance(error, FlowContractError):
        sys.stderr.write(make_printable("".join(traceback.format_exception(error)), lines=True))


def tell(text: str) -> None:
    """Write a line to the terminal, unless it was the last one and is only seconds old."""
    _terminal.say(f"mockserver: {make_printable(text, lines=True)}\n")


def make_problem(status: int, title: str, detail: str, **more: object) -> Reply:
    """Return a problem (RFC 9457): nobody mistakes it for an answer of the API, which has other forms."""
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    headers = Headers([("Content-Type", "application/problem+json")])
    return Reply(status, headers, json.dumps(content, ensure_ascii=True).encode())


class _Terminal:
    """Standard error, without the same line again and again."""

    def __init__(self) -> None:
        self._last, self._until = "", 0.0
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        with self._lock:
            now = time.monotonic()
            if line == self._last and now < self._until:
                return
            self._last, self._until = line, now + _QUIET_S
        sys.stderr.write(line)


_terminal = _Terminal()
