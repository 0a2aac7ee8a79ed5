"""Following `/__mock__/events` without a socket, as a connection does."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mockserver.admin.feed import Feed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mock_calls import Caller

WAIT_S = 10


class Reader:
    """Reads a feed as a connection does: asks when it is told that something is ready."""

    def __init__(self, caller: Caller, last: str = "") -> None:
        reply = caller.open("GET", "/__mock__/events", Last_Event_ID=last)
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "text/event-stream"
        assert isinstance(reply.body, Feed)
        self.feed = reply.body
        self.changed = threading.Event()
        self.feed.on_change = self.changed.set
        self.text = ""
        self.found: list[tuple[str, str, Any]] = []

    def events(self, count: int) -> list[tuple[str, str, Any]]:
        """Return the first events, kind, id and content, as soon as there are so many."""
        while True:
            self.changed.clear()
            pieces, due = self.feed.advance(0.0)
            *blocks, self.text = (self.text + b"".join(pieces).decode()).split("\n\n")
            for kind, number, data in (block.split("\n") for block in blocks if block.startswith("event: ")):
                self.found.append((kind[7:], number[4:], json.loads(data[6:])))
            if len(self.found) >= count:
                return self.found
            assert due == 0.0 or self.changed.wait(WAIT_S), len(self.found)  # more may be ready already


@contextmanager
def reading(caller: Caller, last: str = "") -> Iterator[Reader]:
    """Follow the events of a mock."""
    reader = Reader(caller, last)
    try:
        yield reader
    finally:
        reader.feed.close()
