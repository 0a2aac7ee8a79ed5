"""What the connections of one server share: the application, who is connected, and a slow clock."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

from mockserver.server.adapter import answer
from mockserver.server.pool import Pool
from mockserver.server.request_parser import remember_heads
from mockserver.server.transfer import ALONE, Transfers
from mockserver.server.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.http.application import Application, HoldingApplication
    from mockserver.http.messages import Reply, Request

PATIENCE_S = 60
"""How long a client may be silent in the middle of a request, between two requests, or without reading."""


class Connected(Protocol):
    """What is asked of a connection here.

    ``silent_since``  when its client was last heard, in seconds of the slow clock; infinite while it waits for us
    """

    silent_since: float

    def close(self) -> None:
        """Close it now."""


class Shared:
    """What the connections of one server share: the application, who is connected, and a slow clock."""

    def __init__(
        self,
        app: Application,
        *,
        clock: Callable[[], float] = time.time,
        ca_file: str | None = None,
        transfers: Transfers = ALONE,
    ) -> None:
        """Serve `app`; `clock` gives epoch seconds; `ca_file` has the certificates of servers that it asks.

        Connections may be handed over to other workers by `transfers`.
        """
        self.app = app
        self.transfers = transfers
        self._turn: Turn | None = None
        self.clock = clock
        self.pool = Pool(ca_file)
        self.connections: set[Connected] = set()
        self.heads = remember_heads()
        self.seconds = 0
        self.date = ""
        self.tick()

    def begin_turns(self, app: HoldingApplication) -> None:
        """Let what the requests of one turn of the loop have changed be stored at once; `app` is what is served."""
        self._turn = Turn(app)

    def ask(self, request: Request, send: Callable[[Reply], None], transfer: Callable[[int], bool]) -> None:
        """Answer a request: call `send` with the reply, now or later. `transfer` may hand it over to another worker."""
        if self._turn is None:
            send(answer(self.app, request, self.clock()))
        else:
            self._turn.ask(request, self.clock(), send, transfer)

    def tick(self) -> None:
        """Advance the slow clock by a second, and close the connections whose client has been silent for too long."""
        self.seconds += 1
        self.date = f"Date: {formatdate(self.app.fixed_clock, usegmt=True)}\r\n"
        for connection in list(self.connections):
            if connection.silent_since + PATIENCE_S < self.seconds:
                connection.close()

    def close(self) -> None:
        """Close every connection, whatever it is doing."""
        for connection in list(self.connections):
            connection.close()
        self.pool.close()
