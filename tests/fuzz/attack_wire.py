"""Bytes to a server, its answer back: a client that sends whatever it is told to, and forgives nothing."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

BOUND_S = 10.0
"""No answer may take longer."""
_KEPT = 4 << 20
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Attack:
    """One bad request.

    ``kind``       the class that it is counted under
    ``name``       what is bad about it
    ``sent``       the bytes
    ``operation``  whom it is meant for, `dify-chat/sendChatMessage`; '' where that cannot be said
    ``asked``      a 5xx would be asked for: it carries a Prefer header
    ``silence``    the connection may be closed without an answer: HTTP itself cannot be read, or the client has left
    ``wanted``     the statuses that are right; none: any that the contract has
    ``drip``       bytes that are sent at once, with a pause after each; 0 sends everything at once
    ``ending``     what the client does when everything is sent: wait, say that nothing more comes, or leave
    """

    kind: str
    name: str
    sent: bytes
    operation: str = ""
    asked: bool = False
    silence: bool = False
    wanted: tuple[int, ...] = ()
    drip: int = 0
    ending: Literal["wait", "half-close", "leave"] = "wait"

    @property
    def method(self) -> str:
        """The method, by which the answer's end is found."""
        return self.sent.partition(b" ")[0].decode("latin-1")


@dataclass(slots=True)
class Outcome:
    """What came back. `trouble` is '' for a whole answer, else `reset`, `silent`, `hang` or `unreadable: why`."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    seconds: float = 0.0
    trouble: str = ""

    def header(self, name: str) -> str:
        """Return a header's value, '' without one."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


def send(address: tuple[str, int], attack: Attack, *, bound_s: float = BOUND_S) -> Outcome:
    """Send an attack on a connection of its own and read the answer to its end."""
    outcome, begun = Outcome(), time.monotonic()
    try:
        with socket.create_connection(address, timeout=bound_s) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(ConnectionError):  # it may answer, and close, before everything was sent
                _send_all(connection, attack)
            if attack.ending != "leave":
                _receive(connection, attack.method, outcome)
    except TimeoutError:
        outcome.trouble = "hang"
    except http.client.RemoteDisconnected:
        outcome.trouble = "silent"
    except ConnectionError:
        outcome.trouble = "reset"
    except (http.client.HTTPException, ValueError) as error:
        outcome.trouble = f"unreadable: {error!r}"
    outcome.seconds = time.monotonic() - begun
    if outcome.seconds > bound_s:
        outcome.trouble = "hang"
    return outcome


def _send_all(connection: socket.socket, attack: Attack) -> None:
    pause = threading.Event()
    for piece in _pieces(attack.sent, attack.drip or len(attack.sent) or 1):
        connection.sendall(piece)
        if attack.drip:
            pause.wait(0.01)
    if attack.ending == "half-close":
        connection.shutdown(socket.SHUT_WR)


def _pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def _receive(connection: socket.socket, method: str, outcome: Outcome) -> None:
    answer = http.client.HTTPResponse(connection, method=method)
    try:
        answer.begin()
        outcome.status, outcome.headers = answer.status, answer.getheaders()
        while piece := answer.read(_PIECE):
            if len(outcome.body) < _KEPT:
                outcome.body += piece
    finally:
        answer.close()
