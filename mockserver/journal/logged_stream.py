"""A stream on its way to the client: noted in the journal piece by piece, and steered by whoever watches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mockserver.http.messages import AbortConnection
from mockserver.http.stream import Stream
from mockserver.http.wrapping import WrappedStream
from mockserver.journal.steering import PAUSED, Action, Steering

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.http.messages import End, Streamed
    from mockserver.journal.entry import Entry
    from mockserver.journal.listener import Listener
    from mockserver.journal.stream_log import StreamLog


class LoggedStream(WrappedStream):
    """A stream whose pieces and whose end are written down as they pass, and told to `noted`."""

    def __init__(
        self,
        stream: Streamed,
        entry: Entry,
        log: StreamLog,
        noted: Callable[[float], None] | None,
        listener: Listener | None,
    ) -> None:
        super().__init__(stream)
        self._entry, self._log, self._noted, self._listener = entry, log, noted, listener
        self.on_end: Callable[[], object] = lambda: None
        self.steering: Steering | None = None
        self._began: float | None = None

    @property
    def held(self) -> str:
        """The name of the hold at which it waits; '' while it goes on."""
        if self.steering is not None and self.steering.paused:
            return PAUSED
        return str(getattr(self._stream, "held", ""))

    def steer(self, action: Action, data: bytes = b"", count: int = 1) -> None:
        """Do what somebody wants with what comes next. May be called from any thread."""
        self.steering = self.steering or Steering()
        self.steering.steer(action, data, count)
        if action == "continue" and isinstance(self._stream, Stream):
            self._stream.release()
        self.on_change()

    def describe(self) -> dict[str, Any]:
        """Return what `/__mock__/streams` shows of it."""
        entry, held = self._entry, self.held
        return {
            "number": entry.number,
            "at": entry.at,
            "operation": entry.operation,
            "world": entry.world,
            "path": entry.path,
            "scenario": entry.scenario,
            "by": entry.by,
            "pieces": self._log.pieces,
            "bytes": self._log.size,
            "state": "held" if held else "running",
            "hold": held or None,
        }

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return what is due and when to ask again; None ends it."""
        if self._began is None:
            self._began, self._log.begun_s = now, self._entry.elapsed_s
        try:
            if self.steering is None:
                pieces, wake = self._stream.advance(now)
            else:
                pieces, wake = self.steering.advance(self._stream, now)
        except AbortConnection:
            self._end("cut")
            raise
        for piece in pieces:
            self._log.add(now - self._began, piece)
        if wake is None:
            self._end("complete")
        elif pieces and self._noted is not None:
            self._noted(now)
        return pieces, wake

    def close(self) -> None:
        """Say that nothing more is sent."""
        self._stream.close()
        self._end("gone")

    def _end(self, otherwise: End) -> None:
        if self._log.ended is None:
            self._log.ended = "cut" if otherwise == "cut" else self._stream.ended or otherwise
            self.on_end()
            self._entry.failure = self._stream.failure
            self._entry.finish()
            if self._noted is not None:
                self._noted(float("inf"))
            if self._listener is not None:
                self._listener.note_end(self._entry)
