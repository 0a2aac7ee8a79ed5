"""Workers hand connections over to each other: a request goes to the worker that holds its world, with its connection.

Otherwise two workers whose clients use the same worlds would pull each world to and fro. A connection that was handed
over stays where it is, so that after one request each all clients of a world are with one worker. Each worker has an
inbox, a pair of datagram sockets that all of them inherit; what is sent is a file descriptor together with the bytes of
the request.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

LARGEST = 32 << 10
"""Bytes of a request that is handed over: datagrams are bounded."""


class Inbox(NamedTuple):
    """Both ends of what connections are handed over through."""

    reading: socket.socket
    writing: socket.socket


def make_inboxes(count: int) -> list[Inbox]:
    """Return an inbox for each of some workers; none where connections cannot be handed over (Windows)."""
    if not hasattr(socket, "send_fds"):
        return []
    inboxes = [Inbox(*socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)) for _ in range(count)]
    for end in (end for inbox in inboxes for end in inbox):
        end.setblocking(False)
    return inboxes


class Transfers:
    """What one worker hands over to the others, and takes from them."""

    def __init__(self, place: int, inboxes: Sequence[Inbox]) -> None:
        """Be the worker at a place among those that have `inboxes`."""
        self._place, self._inboxes = place, inboxes
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, place: int, connected: int, data: bytes) -> bool:
        """Give a connection, by its descriptor, and what was read from it to another worker; tell whether it has it."""
        if place == self._place or place >= len(self._inboxes):
            return False
        try:
            socket.send_fds(self._inboxes[place].writing, [data], [connected])
        except OSError:  # that worker's inbox is full, or this process may open no more files
            return False
        return True

    def receive(self, loop: asyncio.AbstractEventLoop, make: Callable[[bytes], asyncio.Protocol]) -> None:
        """Serve what others hand over: `make` makes a protocol that begins with what was read already."""
        if self._inboxes:
            loop.add_reader(self._inboxes[self._place].reading, self._take, loop, make)

    def _take(self, loop: asyncio.AbstractEventLoop, make: Callable[[bytes], asyncio.Protocol]) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(self._inboxes[self._place].reading, LARGEST, 1)
                for descriptor in descriptors:
                    connected = socket.socket(fileno=descriptor)
                    connected.setblocking(False)
                    task = loop.create_task(self._serve(loop, make, data, connected))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _serve(
        loop: asyncio.AbstractEventLoop,
        make: Callable[[bytes], asyncio.Protocol],
        data: bytes,
        connected: socket.socket,
    ) -> None:
        with contextlib.suppress(OSError):  # the client has left meanwhile
            await loop.connect_accepted_socket(lambda: make(data), connected)


ALONE = Transfers(0, ())
"""A worker that is the only one."""
