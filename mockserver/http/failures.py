"""What went wrong in the mock itself: a problem for the client, a line for the terminal."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from http import HTTPStatus

from werkzeug.datastructures import Headers

from flowcontract.errors import FlowContractError, StateError, StateUnreachableError, StateUnwritableError
from flowcontract.output.printable import printable
from mockserver.http.messages import Reply

_QUIET_S = 10.0
"""How long the terminal is not told again what it was told last: each of many clients meets the same full disk."""


def failure(error: Exception) -> Reply:
    """Return the problem that tells a client what went wrong."""
    if isinstance(error, StateUnwritableError):
        return problem(HTTPStatus.INSUFFICIENT_STORAGE, "The mock cannot keep this", str(error))
    if isinstance(error, StateUnreachableError):  # nothing has changed, and it may be back soon
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "The shared state is out of reach", str(error))
    if isinstance(error, FlowContractError):  # a file of the contract, or a scenario, is broken
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The mock cannot answer", str(error))
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The mock failed",
        "This is a mistake in the mock itself; its terminal shows where.",
    )


def complain(error: BaseException) -> None:
    """Tell the terminal: one line of what keeps the state, once in a while; all of a mistake of ours."""
    if isinstance(error, StateError):
        tell(str(error))
    elif not isinstance(error, FlowContractError):
        sys.stderr.write(printable("".join(traceback.format_exception(error)), lines=True))


def tell(text: str) -> None:
    """Tell the terminal something once in a while."""
    _terminal.say(f"mockserver: {printable(text, lines=True)}\n")


def problem(status: int, title: str, detail: str, **more: object) -> Reply:
    """Return what only the mock has to say (RFC 9457), so that it is never mistaken for the API's own answer."""
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    headers = Headers([("Content-Type", "application/problem+json")])
    return Reply(status, headers, json.dumps(content, ensure_ascii=True).encode())


class _Terminal:
    """Standard error, which is not told the same line again and again."""

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
