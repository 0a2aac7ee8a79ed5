"""Records what the mock answers itself, as what passes is recorded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mockserver.blobs.blob import Blob
from mockserver.http.messages import AbortConnection, Reply
from mockserver.http.wrapping import WrappedStream
from mockserver.proxy.recording import KEPT_OF_REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcontract.recordings.jsonl import How
    from mockserver.http.messages import End, Request, Streamed
    from mockserver.journal.entry import Entry
    from mockserver.proxy.recording import RecordedExchange, Recorder

_HOW: dict[End, How] = {"complete": "complete", "stopped": "complete", "cut": "cut", "gone": "gone"}


class AnswerRecording:
    """Records requests to operations, and the mock's answers while they are sent."""

    def __init__(self, recorder: Recorder) -> None:
        """Append to a recording."""
        self.recorder = recorder

    def record(self, request: Request, entry: Entry, reply: Reply) -> None:
        """Record an exchange that the journal has; what streams is recorded while it is sent."""
        if entry.operation is None:
            return
        recorded = self.recorder.begin(entry.number, entry.at, request)
        url = f"{request.scheme}://{request.fields.get('host', '')}{request.target or request.path}"
        api, body = entry.operation.partition("/")[0], request.body
        kept = body.read() if body.size <= KEPT_OF_REQUEST else None
        recorded.write_request(api, entry.operation, request.method, url, list(request.headers), kept, body.size)
        begins = time.time() + reply.delay_s
        recorded.write_response(begins, reply.status, list(reply.headers))
        violations = [{"side": "client", **each} for each in entry.violations]
        if isinstance(reply.body, bytes | Blob):
            if request.method != "HEAD":
                for piece in [reply.body] if isinstance(reply.body, bytes) else reply.body.read_chunks():
                    recorded.write_piece(begins, piece)
            recorded.end(begins, "complete", violations)
        else:
            reply.body = _RecordedStream(reply.body, lambda how: recorded.end(time.time(), how, violations), recorded)


class _RecordedStream(WrappedStream):
    """A stream whose pieces are recorded when they are sent."""

    def __init__(self, stream: Streamed, end: Callable[[How], None], recorded: RecordedExchange) -> None:
        super().__init__(stream)
        self._end, self._recorded = end, recorded

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return what is due, and record it."""
        try:
            pieces, wake = self._stream.advance(now)
        except AbortConnection:
            self._end("cut")
            raise
        for piece in pieces:
            self._recorded.write_piece(time.time(), piece)
        if wake is None:
            self._end("complete")
        return pieces, wake

    def close(self) -> None:
        """Note that nothing more is sent."""
        self._stream.close()
        self._end(_HOW[self._stream.ended or "gone"])
