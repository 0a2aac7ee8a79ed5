"""`/__mock__/events`: exchanges as they come, as server-sent events that a reader can resume.

An event tells what one exchange is now, and comes again whenever that has changed; the last one counts. Nothing is
kept for a reader but the event that it saw last (`Last-Event-ID`): what it has missed comes from the journal.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from flowcontract.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.http.messages import End
    from mockserver.journal.entry import Entry
    from mockserver.journal.journal import Journal

PING_S = 15.0
_TOGETHER = 200  # exchanges that are read at a time
_TOGETHER_S = 0.03  # changes of so long are told at once
_WAITING = 256 << 10  # bytes that may wait for a slow reader; then nothing more is read for it
_AT_ONCE = 64 << 10  # bytes
_POLL_S = 0.5  # how often a journal is read of whose changes nobody tells
_DIGITS = 15
_SHOWN = 300  # characters of a path, a world


def describe_row(entry: Entry) -> dict[str, Any]:
    """Return what a list of exchanges shows of one."""
    stream = entry.stream
    return {
        "number": entry.number,
        "at": entry.at,
        "method": entry.method[:_SHOWN],
        "path": entry.path[:_SHOWN],
        "status": entry.status,
        "operation": entry.operation,
        "scenario": entry.scenario,
        "by": entry.by,
        "world": entry.world and entry.world[:_SHOWN],
        "faults": list(entry.faults),
        "violations": len(entry.violations),
        "answer_violations": len(entry.answer_violations),
        "hints": len(entry.hints),
        "failure": entry.failure and entry.failure[:_SHOWN],
        "duration_ms": entry.duration_ms,
        "stream": stream and {"ended": stream.ended, "pieces": stream.pieces, "bytes": stream.size},
    }


class Feed:
    """The body of an answer: a stream (`Streamed`) of what changes in a journal, until the reader leaves.

    A thread of its own reads and masks, so that nobody else waits for that; `advance` only takes what is ready.
    """

    failure: str | None = None
    on_loop = False

    def __init__(self, journal: Journal, last_event_id: str, on_close: Callable[[Feed], None]) -> None:
        """Tell what has changed since an event, or everything that is remembered; call `on_close` at the end."""
        self.on_change: Callable[[], None] = lambda: None
        self.ended: End | None = None
        self._journal, self._on_close = journal, on_close
        self._epoch, _, number = last_event_id.partition("-")
        is_number = number.isascii() and number.isdecimal() and len(number) <= _DIGITS
        self._revision = int(number) if is_number else 0
        self._greeted = False
        self._ready: deque[bytes] = deque()
        self._put_bytes = self._taken_bytes = 0  # each is written by one thread alone
        self._changed, self._room = threading.Event(), threading.Event()
        self._sent_at: float | None = None
        journal.watch(self._changed.set)
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return what is ready, and when to send a ping."""
        if self.ended:
            return [], None
        pieces, size = [], 0
        while self._ready and size < _AT_ONCE:
            pieces.append(self._ready.popleft())
            size += len(pieces[-1])
        self._taken_bytes += size
        self._room.set()
        if self._sent_at is not None and not pieces and now >= self._sent_at + PING_S:
            pieces.append(b": ping\n\n")
        if pieces or self._sent_at is None:
            self._sent_at = now
        return pieces, now if self._ready else self._sent_at + PING_S

    def stop(self) -> None:
        """End as if the reader had left."""
        self.close()
        self.on_change()

    def close(self) -> None:
        """Read the journal no more."""
        if self.ended is None:
            self.ended = "gone"
            self._journal.unwatch(self._changed.set)
            self._changed.set()
            self._room.set()
            self._on_close(self)

    def _run(self) -> None:
        while not self.ended:
            self._changed.clear()
            count = 0
            with contextlib.suppress(StateError):  # out of reach for now
                count = self._read()
            if count:
                time.sleep(_TOGETHER_S if count < _TOGETHER else 0)
            else:
                self._changed.wait(_POLL_S if self._journal.shared else None)

    def _read(self) -> int:
        """Make what has changed ready to be sent; return how much that was."""
        changed = self._journal.list_changes(self._epoch, self._revision, _TOGETHER)
        if not (self._greeted and changed.resumed):
            self._epoch, self._greeted = changed.epoch, True
            self._revision = self._revision if changed.resumed else 0
            self._put("hello", {"resumed": changed.resumed, "remembered": self._journal.limit})
        for revision, entry in changed.rows:
            self._revision = revision
            self._put("exchange", describe_row(entry))
        self.on_change()
        return len(changed.rows)

    def _put(self, kind: str, content: Any) -> None:
        """Add an event to what is ready, as soon as there is room for it."""
        event_id = f"{self._epoch}-{self._revision}"
        block = f"event: {kind}\nid: {event_id}\ndata: {json.dumps(content)}\n\n".encode()
        while self._put_bytes - self._taken_bytes > _WAITING and not self.ended:
            self._room.clear()
            self.on_change()
            self._room.wait(1)
        self._put_bytes += len(block)
        self._ready.append(block)
