"""What was asked and what was answered: a bounded memory of exchanges, each with its violations and the reason why."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mockserver.blobs.blob import Blob
from mockserver.journal.entry import KEPT_HEADERS, KEPT_OF_REQUEST, KEPT_TEXT, Entry, Raw
from mockserver.journal.listener import Both, Listener
from mockserver.journal.logged_stream import LoggedStream
from mockserver.state.changes import Changed, Changes

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.http.messages import Reply, Request
    from mockserver.journal.masking import Masking
    from mockserver.journal.meter import Meter
    from mockserver.state.archive import Archive

_EVERY_S, _SHARED_EVERY_S = 0.2, 1.0  # how often it is told that a stream goes on


class Journal:
    """The last exchanges. May be used from several threads."""

    def __init__(
        self, limit: int, masking: Masking, archive: Archive | None = None, meter: Meter | None = None
    ) -> None:
        """Remember `limit` exchanges, here or in an archive; 0 remembers none. A `meter` counts them."""
        self.limit = limit
        self.meter = meter
        self._told: Listener | None = None
        self.listener = None
        self._streams: dict[int, tuple[Entry, LoggedStream]] = {}  # some have no number yet
        self._count = 0
        self._archive = archive
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._masking = masking
        self._lock = threading.Lock()
        self._changes: Changes[Entry] = Changes(limit)

    @property
    def listener(self) -> Listener | None:
        """Who is told of exchanges, beside the meter."""
        return self._listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._listener = listener
        told = [each for each in (self.meter, listener) if each is not None]
        self._told = Both(*told) if len(told) > 1 else told[0] if told else None

    @property
    def count(self) -> int:
        """How many requests have come."""
        return self._count if self._archive is None else self._archive.count

    def list_streams(self) -> dict[int, LoggedStream]:
        """Return the streams that this process is sending now, by the number of their exchange."""
        return {entry.number: stream for entry, stream in list(self._streams.values())}

    def open(self, request: Request, now: float) -> Entry:
        """Begin to write down an exchange."""
        size, is_form = request.body.size, _is_form(request)
        content = request.body.read_beginning(KEPT_OF_REQUEST) if size and self.limit and not is_form else b""
        raw = Raw(request.path[:KEPT_TEXT], request.query, request.headers, content, self._masking)
        cut = size > KEPT_OF_REQUEST and not is_form
        entry = Entry(0, now, request.method, size, raw, cut, began=time.perf_counter())
        if self._archive is not None:  # it gets its number when it is written
            return entry
        with self._lock:
            self._count += 1
            entry.number = self._count
            self._entries.append(entry)
        return entry

    def note_form(self, entry: Entry, form: Any) -> None:
        """Note the fields of a form, which `open` leaves out: a file's bytes are not kept."""
        if self.limit and isinstance(form, dict):
            kept, left = {}, KEPT_OF_REQUEST
            for name, value in list(form.items())[:KEPT_HEADERS]:
                beginning = _cut(value)
                left -= len(name) + len(str(beginning))
                if left >= 0:
                    kept[name] = beginning
            entry.note_form(kept)

    def close(self, entry: Entry, reply: Reply) -> Reply:
        """Note what is answered, and return what to send: what streams is noted while it is sent."""
        reply = self.note_reply(entry, reply)
        self.announce(entry, reply.delay_s)
        return reply

    def note_reply(self, entry: Entry, reply: Reply) -> Reply:
        """Note what is answered as `close` does; `announce` follows when it may be sent."""
        entry.take(reply)
        entry.settle()
        if isinstance(reply.body, bytes | Blob) or not (self.limit or self._told):
            entry.finish(reply.delay_s)
            self._write(entry)
            return reply
        log = entry.begin()
        self._write(entry)
        noted = _Paced(lambda: self._write(entry, again=True), _SHARED_EVERY_S if self.shared else _EVERY_S)
        body = LoggedStream(reply.body, entry, log, noted, self._told)
        self._streams[id(entry)] = entry, body
        body.on_end = lambda: self._streams.pop(id(entry), None)
        return replace(reply, body=body)  # behaviours know it with its own stream

    def announce(self, entry: Entry, delay_s: float = 0.0) -> None:
        """Tell the listener that a request is answered."""
        if self._told is not None:
            self._told.note_answer(entry, delay_s)

    def close_passed(self, entry: Entry, reply: Reply, size: int) -> None:
        """Note another server's answer that has passed: `reply` has the beginning of its body, of `size` bytes."""
        entry.take(reply)
        entry.answer_size = size
        entry.settle()
        entry.finish()
        self._write(entry)
        self.announce(entry)

    def fail(self, entry: Entry, error: Exception, status: int) -> None:
        """Note that the mock itself failed; the adapter answers that, with this status."""
        self.note_failure(entry, error, status)
        self.announce(entry)

    def note_failure(self, entry: Entry, error: Exception, status: int) -> None:
        """Note that the mock itself failed, as `fail` does; `announce` follows."""
        entry.status, entry.failure = status, f"{type(error).__name__}: {error}"
        entry.settle()
        entry.finish()
        self._write(entry)

    def _write(self, entry: Entry, *, again: bool = False) -> None:
        """Put an entry, or what has changed in it, where others see it."""
        if self._archive is not None:
            self._archive.write(entry, self.limit)
        elif self.limit:
            self._changes.note(entry, again=again)

    @property
    def shared(self) -> bool:
        """Whether others write into it too, of which `watch` does not hear."""
        return self._archive is not None

    def watch(self, call: Callable[[], None]) -> None:
        """Call `call`, from any thread, whenever an exchange has changed."""
        self._changes.watch(call)

    def unwatch(self, call: Callable[[], None]) -> None:
        """Call it no more."""
        self._changes.unwatch(call)

    def list_changes(self, epoch: str, after: int, limit: int) -> Changed:
        """Return up to `limit` exchanges that have changed since the revision `after`; raise StateError."""
        if self._archive is None:
            return self._changes.list_since(epoch, after, limit)
        found = self._archive.list_changes(epoch, after, limit)
        return found._replace(
            rows=[(revision, Entry.from_record(record, self._masking)) for revision, record in found.rows]
        )

    def list_entries(
        self, *, world: str | None = None, operation: str | None = None, status: int | None = None
    ) -> list[Entry]:
        """Return what is remembered, the newest last; `operation` is qualified or not."""
        return [
            entry
            for entry in self._read_all()
            if world in (None, entry.world)
            and status in (None, entry.status)
            and (operation is None or operation in (entry.operation, (entry.operation or "").partition("/")[2]))
        ]

    def _read_all(self) -> list[Entry]:
        if self._archive is not None:
            return [Entry.from_record(record, self._masking) for record in self._archive.read()]
        with self._lock:
            return list(self._entries)

    def find_entry(self, number: int) -> Entry | None:
        """Return an exchange by its number, None where it is forgotten or never was."""
        if self._archive is not None:
            return next((Entry.from_record(record, self._masking) for record in self._archive.read(number)), None)
        return next((entry for entry in self.list_entries() if entry.number == number), None)

    def clear(self, world: str | None = None) -> int:
        """Forget the exchanges of a world, or all; return how many."""
        if self._archive is not None:
            numbers = [entry.number for entry in self.list_entries(world=world)]
            self._archive.forget(numbers)
            return len(numbers)
        with self._lock:
            kept = [entry for entry in self._entries if world not in (None, entry.world)]
            forgotten = len(self._entries) - len(kept)
            self._entries = deque(kept, maxlen=self.limit)
            self._changes.restart(kept)
            return forgotten


class _Paced:
    """Calls at most once in `every_s` seconds while something goes on, and at its end."""

    def __init__(self, call: Callable[[], None], every_s: float) -> None:
        self._call, self._every_s = call, every_s
        self._next = 0.0

    def __call__(self, now: float) -> None:
        if now >= self._next:
            self._next = now + self._every_s
            self._call()


def _cut(value: Any) -> Any:
    """Return what is kept of a field of a form."""
    if isinstance(value, list):
        return [_cut(item) for item in value[:KEPT_HEADERS]]
    if isinstance(value, dict):  # a file
        return {key: part[:KEPT_TEXT] if isinstance(part, str) else part for key, part in value.items()}
    return value[:KEPT_TEXT] if isinstance(value, str) else value


def _is_form(request: Request) -> bool:
    return request.fields.get("content-type", "").lstrip().lower().startswith("multipart/")
