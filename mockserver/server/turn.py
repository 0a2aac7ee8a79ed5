"""One turn of the event loop: what its requests have changed is stored at once, and then all of them are answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mockserver.blobs.blob import EMPTY
from mockserver.http.messages import Reply
from mockserver.server.adapter import answer, hold, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.http.application import HeldReply, HoldingApplication
    from mockserver.http.messages import Request

    Send = Callable[[Reply], None]

_LARGE = 64 << 10
"""Bytes of a body that is answered by itself: where there is no room for it, there may be for the others."""
_AGAIN_S = 0.1
"""How often a world is asked for again that another worker holds: that worker may have died."""


class Asked:
    """A request that is held, and how to answer it."""

    __slots__ = ("held", "request", "send")

    def __init__(self, request: Request, held: HeldReply, send: Send) -> None:
        self.request, self.held, self.send = request, held, send


class Turn:
    """Asks the application on behalf of all connections of a loop. Nothing here waits: who awaits a world is parked."""

    def __init__(self, app: HoldingApplication) -> None:
        """Ask `app`."""
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._held: list[Asked] = []
        self._parked: dict[str, list[Asked]] = {}
        self._timer: asyncio.TimerHandle | None = None
        app.on_free(self._hear_free)

    def ask(self, request: Request, now: float, send: Send, transfer: Callable[[int], bool]) -> None:
        """Answer a request: call `send` with the reply, now or at the end of a turn.

        Where another worker can answer, by its number, `transfer` may hand the request over; it tells whether it has.
        """
        if request.body.size > _LARGE:
            self._app.flush()
            send(answer(self._app, request, now))
            return
        held = hold(self._app, request, now)
        if isinstance(held, Reply):
            send(held)
            return
        if held.awaited is not None and held.place is not None:
            if transfer(held.place):
                return
            held.ask_again()
        self._wait(Asked(request, held, send))

    def _wait(self, asked: Asked) -> None:
        """Let a request wait for the end of this turn, or for the world that it awaits."""
        if asked.held.awaited is not None:
            self._parked.setdefault(asked.held.awaited, []).append(asked)
            if self._timer is None:
                self._timer = self._loop.call_later(_AGAIN_S, self._resume_all)
            return
        asked.request.body = EMPTY
        if not self._held:
            self._loop.call_soon(self._end)
        self._held.append(asked)

    def _end(self) -> None:
        """Store what was changed, and answer."""
        waiting, self._held = self._held, []
        self._app.flush()
        for asked in waiting:
            asked.send(settle(asked.held))

    def _hear_free(self, world: str) -> None:
        self._loop.call_soon_threadsafe(self._resume, world)

    def _resume(self, world: str) -> None:
        """Ask again for those who await a world, until one of them has to wait on."""
        parked = self._parked.pop(world, [])
        for place, asked in enumerate(parked):
            asked.held.ask_again()
            self._wait(asked)
            if asked.held.awaited is not None:
                self._parked[asked.held.awaited] += parked[place + 1 :]
                return

    def _resume_all(self) -> None:
        self._timer = None
        for world in list(self._parked):
            self._resume(world)
