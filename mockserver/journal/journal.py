"""What was asked and what was answered: a bounded memory of exchanges, each with its violations and the reason why."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from array import array
from collections import deque
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug.datastructures import Headers

from flowcontract.errors import StateError
from flowcontract.output import secrets
from mockserver.blobs.blob import Blob
from mockserver.http.messages import AbortConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flowcontract.output.secrets import Secrets
    from flowcontract.validation.request import RequestViolation
    from mockserver.http.messages import End, Reply, Request, Streamed
    from mockserver.journal.masking import Masking
    from mockserver.request.refusals import Refusal
    from mockserver.state.backends import Archive

KEPT_OF_REQUEST = 64 << 10
KEPT_OF_ANSWER = 64 << 10
"""Bytes that are kept of a body; its whole size is told beside them."""
_KEPT_PIECES = 1000
_KEPT_HEADERS = 100
_KEPT_TEXT = 4 << 10  # characters of a path, a query, a header's value, a field of a form

Problem = dict[str, Any]
"""A violation as it is shown: location, field, message, rule; where the contract tells them, expected, got, source."""
Pairs = list[tuple[str, str]]


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
        if self.pieces <= _KEPT_PIECES and self.size <= KEPT_OF_ANSWER:
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
        hidden = list(known.spans(data)) if known else []
        return list(self._times), list(_pieces(data, ends, hidden))

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


def _pieces(data: bytes, ends: list[int], hidden: list[tuple[int, int]]) -> Iterator[bytes]:
    """AbortConnection data at `ends`, with a mask where something hidden begins."""
    start, waiting = 0, deque(hidden)
    for end in ends:
        piece = b""
        while waiting and waiting[0][0] < end:
            begun, stop = waiting.popleft()
            piece += data[start:begun] + (secrets.MASK.encode() if begun >= start else b"")
            start = max(start, min(stop, end))
            if stop > end:
                waiting.appendleft((begun, stop))
                break
        yield piece + data[start:end]
        start = max(start, end)


class _Logged:
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
        self._began: float | None = None

    @property
    def on_change(self) -> Callable[[], None]:
        """What is called when `advance` has to be asked at once."""
        return self._stream.on_change

    @on_change.setter
    def on_change(self, call: Callable[[], None]) -> None:
        self._stream.on_change = call

    @property
    def on_loop(self) -> bool:
        """Whether `on_change` is only called on the sender's event loop."""
        return self._stream.on_loop

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
            pieces, wake = self._stream.advance(now)
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
            self._log.ended = self._stream.ended or otherwise
            self._entry.failure = self._stream.failure
            if self._noted is not None:
                self._noted(float("inf"))
            if self._listener is not None:
                self._listener.ended(self._entry)


class _Paced:
    """Calls at most once a second while something goes on, and at its end."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._next = 0.0

    def __call__(self, now: float) -> None:
        if now >= self._next:
            self._next = now + 1
            self._call()


@dataclass(slots=True)
class _Raw:
    """What is kept as it came; it is masked when somebody looks, since most exchanges are never looked at."""

    path: str
    query: str
    headers: Headers
    content: bytes
    masking: Masking
    form: Any = None
    answer_headers: Headers = field(default_factory=Headers)
    answer: bytes = b""
    _known: Secrets | None = None
    _sent: tuple[int, Secrets] | None = None

    def known(self) -> Secrets:
        """Return the secrets of both sides, but for what streams."""
        if self._known is None:
            self._known = self.masking.known(self._found())
        return self._known

    def known_with(self, text: str) -> Secrets:
        """Return them with those of a text that was sent, of which more may come."""
        if self._sent is None or self._sent[0] != len(text):
            self._sent = len(text), self.masking.known(chain(self._found(), self.masking.in_body(text, "")))
        return self._sent[1]

    def changed(self) -> None:
        """Forget the secrets that were found: there may be more."""
        self._known = self._sent = None

    def _found(self) -> Iterator[str]:
        headers = [*self.headers.items(), *self.answer_headers.items()]
        yield from self.masking.in_headers(headers[: 2 * _KEPT_HEADERS])
        yield from self.masking.in_query(self.query)
        yield from self.masking.in_body(_as_text(self.content), _media_type(self.headers))
        yield from self.masking.in_form(self.form)
        yield from self.masking.in_body(_as_text(self.answer), _media_type(self.answer_headers))


@dataclass(slots=True)
class Entry:
    """One exchange. Secrets are masked in everything that it tells.

    ``number``      counts from 1, also over those that are forgotten
    ``at``          when it came, epoch seconds of the mock's clock
    ``size``        bytes of the body; ``content`` is only its beginning if ``cut``
    ``world``       API and suffix of the key, `dify-chat-alice`; None without a valid key
    ``operation``   qualified; None where the path leads nowhere
    ``violations``  what of the request the contract forbids, also where a scenario was forced
    ``hints``       what the client probably meant, or what it says that the contract does not know; no violations
    ``scenario``    `<status>-<name>`; None where the mock itself answered
    ``by``          who chose it: prefer, user, override, request, app, default, problem or fault
    ``because``     more of that: what was preferred, or what is wrong
    ``faults``      what was done wrong on purpose, in the order in which it was
    ``status``      of the answer; None as long as there is none
    ``answer_size`` bytes of its body, of which ``answer`` has the first; what streams is in ``stream`` instead
    ``failure``     what went wrong in the mock itself
    ``began``       when it came, by `time.perf_counter`
    """

    number: int
    at: float
    method: str
    size: int
    _raw: _Raw = field(repr=False)
    cut: bool = False
    world: str | None = None
    operation: str | None = None
    violations: list[Problem] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    scenario: str | None = None
    by: str | None = None
    because: str | None = None
    faults: tuple[str, ...] = ()
    status: int | None = None
    answer_size: int = 0
    stream: StreamLog | None = None
    failure: str | None = None
    began: float = 0.0

    @property
    def raw_path(self) -> str:
        """The path as it came: with whatever stands in it."""
        return self._raw.path

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        return self._hide(self._raw.path)

    @property
    def query(self) -> str:
        """The query string as on the wire."""
        return self._hide(self._raw.masking.query(self._raw.query))[:_KEPT_TEXT]

    @property
    def headers(self) -> Pairs:
        """The request's headers in their order."""
        return self._hide_headers(self._raw.headers)

    @property
    def answer_headers(self) -> Pairs:
        """The headers of the answer."""
        return self._hide_headers(self._raw.answer_headers)

    @property
    def content(self) -> bytes:
        """The request's body, or its beginning."""
        return self._hide_body(self._raw.content, self._raw.headers)

    @property
    def form(self) -> Any:
        """The fields of a form instead of its bytes, a file as filename, content_type and size; None without a form."""
        return self._raw.known().mask_json(self._raw.masking.form(self._raw.form))

    @property
    def answer(self) -> bytes:
        """The beginning of the answer's body."""
        return self._hide_body(self._raw.answer, self._raw.answer_headers)

    def _hide(self, text: str) -> str:
        return self._raw.known().mask(text)

    def _hide_headers(self, headers: Headers) -> Pairs:
        masking, items = self._raw.masking, list(headers.items())[:_KEPT_HEADERS]
        return [(name, self._hide(masking.header(name, value))[:_KEPT_TEXT]) for name, value in items]

    def _hide_body(self, content: bytes, headers: Headers) -> bytes:
        shown = self._raw.masking.body(_as_text(content), _media_type(headers))
        return self._hide(shown).encode("utf-8", "surrogateescape")

    @property
    def json(self) -> Any:
        """The request's body as JSON; raise ValueError where it is none, or longer than what is kept."""
        if self.cut:
            raise ValueError(f"request {self.number} has {self.size} bytes; the journal keeps {KEPT_OF_REQUEST}")
        return json.loads(self.content)

    def take(self, reply: Reply) -> None:
        """Note status, headers and the beginning of a body that does not stream."""
        self.status, self._raw.answer_headers = reply.status, reply.headers
        self._raw.changed()
        if isinstance(reply.body, bytes):
            self._raw.answer, self.answer_size = reply.body[:KEPT_OF_ANSWER], len(reply.body)
        elif isinstance(reply.body, Blob):
            self.answer_size = reply.body.size

    def note_form(self, form: Any) -> None:
        """Note the fields of a form."""
        self._raw.form = form
        self._raw.changed()

    def begin(self) -> StreamLog:
        """Note that the answer streams, and return where to note its pieces."""
        self.stream = StreamLog()
        self.stream.hide(self._raw.known_with)
        return self.stream

    def settle(self) -> None:
        """Hide secrets in what is said about the request; all are known now."""
        if self.violations or self.hints or self.because or self.failure:
            known = self._raw.known()
            self.violations, self.hints = known.mask_json(self.violations), known.mask_json(self.hints)
            self.because, self.failure = known.mask_json(self.because), known.mask_json(self.failure)

    def choose(self, by: str, because: str | None = None) -> None:
        """Note who chooses the scenario, and why."""
        self.by, self.because = by, because

    def forbid(self, found: Sequence[RequestViolation], refusal: Refusal) -> None:
        """Note what the contract forbids: all that validation found, else why the request was refused.

        An id that the world does not know is no violation: no contract says which ids there are.
        """
        if found:
            self.violations = [_describe(violation) for violation in found]
        elif refusal.words[-1] != "unknown-id":
            names = ("field", "message", "rule", "location")
            self.violations = [{name: refusal.violation[name] for name in names}]

    def as_json(self) -> dict[str, Any]:
        """Return it as `/__mock__/requests` shows it."""
        return {
            "number": self.number,
            "at": self.at,
            "world": self.world,
            "operation": self.operation,
            "request": {
                "method": self.method,
                "path": self.path,
                "query": self.query,
                "headers": self.headers,
                "bytes": self.size,
                "body": _text(self.content) if self.form is None else self.form,
                "cut": self.cut,
            },
            "violations": self.violations,
            "hints": self.hints,
            "scenario": self.scenario,
            "by": self.by,
            "because": self.because,
            "faults": self.faults,
            "status": self.status,
            "answer": self._answer_as_json(),
            "failure": self.failure,
        }

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON that `of_record` reads: everything that is kept, and nothing that is masked."""
        record = {
            each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("_raw", "stream", "began")
        }
        record |= {"path": self.path, "query": self.query, "form": self.form}
        record |= {"headers": self.headers, "answer_headers": self.answer_headers}
        record |= {"content": self.content.decode("latin-1"), "answer": self.answer.decode("latin-1")}
        return {**record, "stream": self.stream and self.stream.as_record()}

    @classmethod
    def of_record(cls, record: dict[str, Any], masking: Masking) -> Entry:
        """Return the entry that `as_record` was asked of."""
        given = dict(record)
        raw = _Raw(
            given.pop("path"),
            given.pop("query"),
            Headers([(name, value) for name, value in given.pop("headers")]),
            given.pop("content").encode("latin-1"),
            masking,
            given.pop("form"),
            Headers([(name, value) for name, value in given.pop("answer_headers")]),
            given.pop("answer").encode("latin-1"),
        )
        stream = given.pop("stream")
        given["stream"] = stream and StreamLog.of_record(stream)
        given["faults"] = tuple(given["faults"])
        return cls(_raw=raw, **given)

    def _answer_as_json(self) -> dict[str, Any]:
        if self.stream is not None:
            return {"headers": self.answer_headers, "stream": self.stream.as_json()}
        cut = self.answer_size > len(self.answer)
        return {"headers": self.answer_headers, "bytes": self.answer_size, "body": _text(self.answer), "cut": cut}


class Listener(Protocol):
    """Who is told of exchanges as they are answered."""

    def answered(self, entry: Entry, delay_s: float = 0.0) -> None:
        """Hear that a request was answered, or what streams begins, `delay_s` from now."""

    def ended(self, entry: Entry) -> None:
        """Hear that what streamed has ended."""


class Journal:
    """The last exchanges. May be used from several threads."""

    def __init__(self, limit: int, masking: Masking, archive: Archive | None = None) -> None:
        """Remember `limit` exchanges, here or in an archive; 0 remembers none."""
        self.limit = limit
        self.listener: Listener | None = None
        self._count = 0
        self._archive = archive
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._unwritten: deque[tuple[Entry, bool]] = deque(maxlen=limit)
        self._masking = masking
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many requests have come."""
        return self._count if self._archive is None else self._archive.count

    def open(self, request: Request, now: float) -> Entry:
        """Begin to write down an exchange."""
        size, is_form = request.body.size, _is_form(request)
        content = _first(request.body, KEPT_OF_REQUEST) if size and self.limit and not is_form else b""
        raw = _Raw(request.path[:_KEPT_TEXT], request.query, request.headers, content, self._masking)
        cut = size > KEPT_OF_REQUEST and not is_form
        entry = Entry(0, now, request.method, size, raw, cut, began=time.perf_counter())
        if self._archive is not None:
            entry.number = self._archive.number()
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
            for name, value in list(form.items())[:_KEPT_HEADERS]:
                beginning = _beginning(value)
                left -= len(name) + len(str(beginning))
                if left >= 0:
                    kept[name] = beginning
            entry.note_form(kept)

    def close(self, entry: Entry, reply: Reply) -> Reply:
        """Note what is answered, and return what to send: what streams is noted while it is sent."""
        entry.take(reply)
        entry.settle()
        if isinstance(reply.body, bytes | Blob) or not (self.limit or self.listener):
            self._write(entry)
            if self.listener is not None:
                self.listener.answered(entry, reply.delay_s)
            return reply
        log = entry.begin()
        self._write(entry)
        noted = None if self._archive is None else _Paced(lambda: self._write(entry, again=True))
        if self.listener is not None:
            self.listener.answered(entry, reply.delay_s)
        body = _Logged(reply.body, entry, log, noted, self.listener)
        return replace(reply, body=body)  # behaviours know it with its own stream

    def fail(self, entry: Entry, error: Exception, status: int) -> None:
        """Note that the mock itself failed; the adapter answers that, with this status."""
        entry.status, entry.failure = status, f"{type(error).__name__}: {error}"
        entry.settle()
        self._write(entry)
        if self.listener is not None:
            self.listener.answered(entry)

    def _write(self, entry: Entry, *, again: bool = False) -> None:
        """Put an entry where others see it; where that is out of reach for now, it is put there with a later one."""
        if self._archive is None or not self.limit:
            return
        with self._lock, contextlib.suppress(StateError):
            self._unwritten.append((entry, again))
            while self._unwritten:
                first, known = self._unwritten[0]
                self._archive.write(first.number, first.as_record(), self.limit, again=known)
                self._unwritten.popleft()

    def entries(
        self, *, world: str | None = None, operation: str | None = None, status: int | None = None
    ) -> list[Entry]:
        """Return what is remembered, the newest last; `operation` is qualified or not."""
        return [
            entry
            for entry in self._all()
            if world in (None, entry.world)
            and status in (None, entry.status)
            and (operation is None or operation in (entry.operation, (entry.operation or "").partition("/")[2]))
        ]

    def _all(self) -> list[Entry]:
        if self._archive is not None:
            return [Entry.of_record(record, self._masking) for record in self._archive.read()]
        with self._lock:
            return list(self._entries)

    def entry(self, number: int) -> Entry | None:
        """Return an exchange by its number, None where it is forgotten or never was."""
        if self._archive is not None:
            return next((Entry.of_record(record, self._masking) for record in self._archive.read(number)), None)
        return next((entry for entry in self.entries() if entry.number == number), None)

    def clear(self, world: str | None = None) -> int:
        """Forget the exchanges of a world, or all; return how many."""
        if self._archive is not None:
            numbers = [entry.number for entry in self.entries(world=world)]
            self._archive.forget(numbers)
            return len(numbers)
        with self._lock:
            kept = [entry for entry in self._entries if world not in (None, entry.world)]
            forgotten = len(self._entries) - len(kept)
            self._entries = deque(kept, maxlen=self.limit)
            return forgotten


def _beginning(value: Any) -> Any:
    """Return what is kept of a field of a form."""
    if isinstance(value, list):
        return [_beginning(item) for item in value[:_KEPT_HEADERS]]
    if isinstance(value, dict):  # a file
        return {key: part[:_KEPT_TEXT] if isinstance(part, str) else part for key, part in value.items()}
    return value[:_KEPT_TEXT] if isinstance(value, str) else value


def _media_type(headers: Headers) -> str:
    return headers.get("Content-Type", "")


def _as_text(content: bytes) -> str:
    """Return a body as text from which the same bytes can be made again."""
    return content.decode("utf-8", "surrogateescape")


def _is_form(request: Request) -> bool:
    return request.fields.get("content-type", "").lstrip().lower().startswith("multipart/")


def _first(body: Blob, count: int) -> bytes:
    with body.open() as reader:
        return reader.read(count)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")


def _describe(found: RequestViolation) -> Problem:
    """Return a violation with what the contract expects, what came, and the lines that say so."""
    difference = found.violation
    source = list(difference.source)
    return {**found.as_mapping(), "expected": difference.expected, "got": difference.got, "source": source}
