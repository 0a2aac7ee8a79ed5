"""What was sent of a stream, piece by piece with its times, and how it ended."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

from flowcontract.output.secret_texts import MASK
from mockserver.http.messages import AbortConnection
from mockserver.http.stream import Stream
from mockserver.journal.steering import PAUSED, Action, Steering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowcontract.output.secrets import Secrets
    from mockserver.http.live import LiveStream
    from mockserver.http.messages import End, Streamed
    from mockserver.journal.entry import Entry
    from mockserver.journal.journal import Listener

_KEPT_PIECES = 1000
_KEPT_BYTES = 64 << 10


@dataclass(slots=True)
class StreamLog:
    """What was sent of a stream, when, and how it ended.

    ``ended``   `complete`, `stopped`, `gone` (the client left), `cut` (by a fault, or because of the entry's `failure`)
                or `interrupted` (its worker has ended); None while it runs
    ``pieces``  how many were sent; of the first ones, `sent` has the time and the text
    ``size``    bytes sent
    """

    ended: str | None = None
    pieces: int = 0
    size: int = 0
    _times: array[float] = field(default_factory=lambda: array("d"))
    _ends: array[int] = field(default_factory=lambda: array("L"))
    _bytes: bytearray = field(default_factory=bytearray)
    _known: Callable[[str], Secrets] | None = field(default=None, repr=False)

    def hide(self, known: Callable[[str], Secrets]) -> None:
        """Show without the secrets that are `known` of what was sent, also where one is spread over several pieces."""
        self._known = known

    def add(self, after_s: float, data: bytes) -> None:
        """Note a piece that is sent `after_s` seconds after the sender first asked for one."""
        self.pieces += 1
        self.size += len(data)
        if self.pieces <= _KEPT_PIECES and self.size <= _KEPT_BYTES:
            self._bytes += data
            self._times.append(after_s)
            self._ends.append(len(self._bytes))

    @property
    def sent(self) -> list[tuple[float, str]]:
        """The pieces that are kept: seconds since the beginning, and text."""
        times, pieces = self._shown()
        return [(after_s, piece.decode("utf-8", "replace")) for after_s, piece in zip(times, pieces, strict=False)]

    def _shown(self) -> tuple[list[float], list[bytes]]:
        """Return times and pieces; a secret is masked in the piece in which it begins and missing in the next ones."""
        ends, data = list(self._ends), bytes(self._bytes)
        known = self._known(data.decode("utf-8", "replace")) if self._known else ()
        hidden = list(known.find_spans(data)) if known else []
        return list(self._times), list(_cut(data, ends, hidden))

    def as_json(self) -> dict[str, Any]:
        """Return it as `/__mock__/requests` shows it."""
        sent = [{"after_s": round(after_s, 4), "text": text} for after_s, text in self.sent]
        return {"ended": self.ended, "pieces": self.pieces, "bytes": self.size, "sent": sent}

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON that `of_record` reads."""
        times, pieces = self._shown()
        kept = {
            "times": times,
            "ends": list(accumulate(map(len, pieces))),
            "bytes": b"".join(pieces).decode("latin-1"),
        }
        return {"ended": self.ended, "pieces": self.pieces, "size": self.size, **kept}

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> StreamLog:
        """Return the log that `as_record` was asked of."""
        times, ends = array("d", record["times"]), array("L", record["ends"])
        return cls(
            record["ended"], record["pieces"], record["size"], times, ends, bytearray(record["bytes"], "latin-1")
        )


class LoggedStream:
    """A stream whose pieces and whose end are written down as they pass, and told to `noted`."""

    def __init__(
        self,
        stream: Streamed,
        entry: Entry,
        log: StreamLog,
        noted: Callable[[float], None] | None,
        listener: Listener | None,
    ) -> None:
        self._stream, self._entry, self._log, self._noted, self._listener = stream, entry, log, noted, listener
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

    @property
    def on_change(self) -> Callable[[], None]:
        """What is called when `advance` has to be asked at once."""
        return self._stream.on_change

    @on_change.setter
    def on_change(self, call: Callable[[], None]) -> None:
        self._stream.on_change = call

    @property
    def on_loop(self) -> bool:
        """Whether the stream has `on_arrival`."""
        return self._stream.on_loop

    @property
    def on_arrival(self) -> Callable[[], None] | None:
        """What a stream from elsewhere calls on the sender's loop."""
        return getattr(self._stream, "on_arrival", None)

    @on_arrival.setter
    def on_arrival(self, call: Callable[[], None] | None) -> None:
        cast("LiveStream", self._stream).on_arrival = call

    @property
    def ended(self) -> End | None:
        """How it ended; None while it goes on."""
        return self._stream.ended

    @property
    def failure(self) -> str | None:
        """What went wrong in the mock itself, and cut it off."""
        return self._stream.failure

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return what is due and when to ask again; None ends it."""
        self._began = now if self._began is None else self._began
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

    def stop(self) -> None:
        """End it as a stopped one ends."""
        self._stream.stop()

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
                self._listener.ended(self._entry)


def _cut(data: bytes, ends: list[int], hidden: list[tuple[int, int]]) -> Iterator[bytes]:
    """Cut data at `ends`, with a mask where something hidden begins."""
    start, waiting = 0, deque(hidden)
    for end in ends:
        piece = b""
        while waiting and waiting[0][0] < end:
            begun, stop = waiting.popleft()
            piece += data[start:begun] + (MASK.encode() if begun >= start else b"")
            start = max(start, min(stop, end))
            if stop > end:
                waiting.appendleft((begun, stop))
                break
        yield piece + data[start:end]
        start = max(start, end)
