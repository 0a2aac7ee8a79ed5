"""The recording that `mockserver proxy` appends to while exchanges happen: JSON Lines, one line for each thing.

    {"type": "recording", "version": 1, "tool": "mockserver proxy 0.1.0", "started": "...", "servers": {"API": "URL"}}
    {"type": "request", "id": 1, "at": 1.5, "api": "dify-chat", "operation": "dify-chat/sendChatMessage" or null,
     "method": "POST", "url": "...", "headers": [["name", "value"]], "body": {"text": "..."}, "bodySize": 52}
    {"type": "response", "id": 1, "at": 1.6, "status": 200, "headers": [["name", "value"]]}
    {"type": "piece", "id": 1, "at": 1.7, "text": "data: ..."}          or "base64" for what is no UTF-8
    {"type": "end", "id": 1, "at": 1.9, "how": "complete", "violations": []}

Times are epoch seconds. Secrets were masked before a line was written. `bodySize` is that of the wire; `body` is absent
where none was sent, or where it was too large to be kept. `"partial": true` in an `end` says that the recorder left out
the answer's body, or its end: it could not be read, or the recording was full. A killed recorder leaves no `end` and at
most half a line. `"rewritten": true` in a `response` says that other texts stand in place of some of the server's.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from flowcontract.recordings.exchange import Recorded, RecordedAnswer, RecordedPiece
from flowcontract.recordings.har import decode_base64, encode_utf8, split_url
from flowcontract.recordings.untrusted import Unreadable, Untrusted, load_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME: Final = "recording.jsonl"
"""The file in the recorder's folder."""
VERSION: Final = 1
How = Literal["complete", "cut", "gone", "timeout"]
"""All came; the server or a fault broke off; the client left; the server was silent for too long."""
Pairs = tuple[tuple[str, str], ...]
_MAX_EXCHANGES: Final = 100_000


@dataclass(frozen=True, slots=True)
class RecordingHead:
    """The first line: who recorded, when (RFC 3339), and each API's server."""

    tool: str
    started: str
    servers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TakenPiece:
    """Bytes of an answer that arrived together, and when: epoch seconds."""

    at: float
    data: bytes = field(repr=False)


@dataclass(slots=True)
class Taken:
    """One exchange as it was recorded.

    ``at``           when the request came, epoch seconds; ``answered_at``, ``ended_at`` likewise, None if it never did
    ``body``         of the request; None where there was none, or where it was not kept: ``body_size`` tells
    ``status``       None where no answer came
    ``how``          how it ended; None where the recorder was killed before
    ``violations``   what the recorder found, as JSON objects
    ``partial``      whether the recorder left out the answer's body, or its end
    ``rewritten``    whether it wrote other texts, or `***`, in place of some of the answer's
    """

    number: int
    at: float
    api: str
    operation: str | None
    method: str
    url: str
    headers: Pairs
    body: bytes | None
    body_size: int
    status: int | None = None
    answer_headers: Pairs = ()
    answered_at: float | None = None
    pieces: list[TakenPiece] = field(default_factory=list)
    how: str | None = None
    ended_at: float | None = None
    violations: list[Any] = field(default_factory=list)
    partial: bool = False
    rewritten: bool = False

    @property
    def answer(self) -> bytes:
        """The body of the answer, as far as it came."""
        return b"".join(piece.data for piece in self.pieces)


# Writing


def write_line(content: Mapping[str, Any]) -> bytes:
    """Return one line."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


def write_bytes(data: bytes) -> dict[str, str]:
    """Return bytes as a line has them: as text where they are UTF-8, else in Base64."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


# Reading


def is_recording(data: bytes) -> bool:
    """Tell whether bytes begin as such a recording does."""
    first = data[:4096].lstrip().partition(b"\n")[0]
    return first.startswith(b"{") and b'"type"' in first and b'"recording"' in first


def parse_lines(data: bytes) -> tuple[RecordingHead, list[Taken | Unreadable]]:
    """Read a recording; what cannot be read of it is an Unreadable in its place.

    Raise Unreadable if the first line is none, or of a version that is not known here.
    """
    lines = data.split(b"\n")
    head = read_head(Untrusted(load_json(lines[0])))
    return head, _Reader().read(lines[1:])


def read_head(line: Untrusted) -> RecordingHead:
    """Return what the first line of a recording says; raise Unreadable."""
    if not isinstance(line.value, dict) or line["type"].value != "recording":
        raise Unreadable("its first line does not say that it is a recording")
    version = line["version"].as_number()
    if version != VERSION:
        raise Unreadable(f"it is of version {version}; this program reads version {VERSION}")
    named = line["servers"].value
    servers = {str(name): str(url) for name, url in named.items()} if isinstance(named, dict) else {}
    texts = (line["tool"].value, line["started"].value)
    tool, started = (text if isinstance(text, str) else "" for text in texts)
    return RecordingHead(tool, started, servers)


class _Reader:
    """Puts the lines of exchanges that happened at the same time together again."""

    def __init__(self) -> None:
        self._found: list[Taken | Unreadable] = []
        self._running: dict[int, Taken] = {}

    def read(self, lines: Sequence[bytes]) -> list[Taken | Unreadable]:
        for number, line in enumerate(lines, 2):
            if not line.strip():
                continue
            try:
                self._add(Untrusted(load_json(line)))
            except Unreadable as problem:
                cut = " (the file ends in it)" if number == len(lines) + 1 else ""
                self._found.append(Unreadable(f"line {number}: {problem}{cut}"))
        return self._found

    def _add(self, line: Untrusted) -> None:
        kind, number = line["type"].as_text(), line["id"].as_number()
        if kind == "request":
            taken = read_request(number, line)
            if number in self._running:
                raise Unreadable(f"there are two requests with the id {number}")
            if len(self._found) >= _MAX_EXCHANGES:
                raise Unreadable(f"it has more than {_MAX_EXCHANGES} exchanges")
            self._running[number] = taken
            self._found.append(taken)
            return
        running = self._running.get(number)
        if running is None:
            raise Unreadable(f"the {kind} of request {number}, which is not there")
        add_line(running, kind, line)


def read_request(number: int, line: Untrusted) -> Taken:
    """Return what the first line of an exchange says; raise Unreadable."""
    operation = line["operation"]
    return Taken(
        number,
        _read_time(line),
        line["api"].as_text(),
        operation.as_text() if operation else None,
        line["method"].as_text().upper(),
        line["url"].as_text(),
        _read_pairs(line),
        _read_bytes(line["body"]) if line["body"] else None,
        line["bodySize"].as_number() if line["bodySize"] else 0,
    )


def _read_response(taken: Taken, line: Untrusted) -> None:
    taken.status, taken.answered_at = line["status"].as_number(), _read_time(line)
    taken.answer_headers = _read_pairs(line)
    taken.rewritten = line["rewritten"].value is True


def _read_piece(taken: Taken, line: Untrusted) -> None:
    taken.pieces.append(TakenPiece(_read_time(line), _read_bytes(line)))


def _read_end(taken: Taken, line: Untrusted) -> None:
    taken.how, taken.ended_at = line["how"].as_text(), _read_time(line)
    violations = line["violations"].value
    taken.violations = violations if isinstance(violations, list) else []
    taken.partial = line["partial"].value is True


def _skip(_taken: Taken, _line: Untrusted) -> None:
    """Leave out a line of a kind that a later version may have."""


def add_line(taken: Taken, kind: str, line: Untrusted) -> None:
    """Add what a later line of an exchange says; raise Unreadable."""
    _CONTINUE.get(kind, _skip)(taken, line)


_CONTINUE: Final = {"response": _read_response, "piece": _read_piece, "end": _read_end}


def _read_time(line: Untrusted) -> float:
    value = line["at"].value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable("it has no time (`at`)")
    return float(value)


def _read_pairs(line: Untrusted) -> Pairs:
    pairs = []
    for pair in line["headers"].as_items():
        name, value = [*pair.as_items(), *2 * [Untrusted(None, pair.place)]][:2]
        pairs.append((name.as_text(), value.as_text()))
    return tuple(pairs)


def _read_bytes(content: Untrusted) -> bytes:
    if content["base64"]:
        return decode_base64(content["base64"].as_text())
    return encode_utf8(content["text"].as_text())


# As what others read


def as_recorded(taken: Taken) -> Recorded:
    """Return an exchange as all readers of recordings give it."""
    path, query = split_url(taken.url)

    def read_answer() -> RecordedAnswer:
        if taken.status is None:
            why = "partial" if taken.partial else taken.how
            raise Unreadable(f"no answer was recorded{(why and f' ({REASONS.get(why, why)})') or ''}")
        if taken.partial and not taken.pieces:
            raise Unreadable(f"its body was not recorded: {REASONS['partial']}")
        headers = {name.lower(): value for name, value in taken.answer_headers}
        left = REASONS["gone"] if taken.how == "gone" else REASONS["partial"] if taken.partial else ""
        broken = "" if taken.how in ("complete", "gone") else REASONS.get(str(taken.how), REASONS["cut"])
        cut = "" if left else broken
        times = [taken.answered_at] if taken.answered_at is not None else [piece.at for piece in taken.pieces[:1]]
        came = [piece for piece in taken.pieces if piece.data]
        pieces = tuple(RecordedPiece(to_ms(taken.at, piece.at), len(piece.data)) for piece in came)
        notes = (broken,) if broken else ()
        wait_ms = to_ms(taken.at, *times) if times else 0.0
        return RecordedAnswer(
            taken.status, headers, taken.answer, notes, left, cut, wait_ms, pieces, rewritten=taken.rewritten
        )

    headers = {name.lower(): value for name, value in taken.headers}
    asked, operation = taken.body, taken.operation or ""
    return Recorded(
        taken.number, taken.method, taken.url, path, query, asked, read_answer, taken.api, operation, headers, taken.at
    )


REASONS: Final = {
    "complete": "complete",
    "cut": "the answer was cut off",
    "gone": "aborted: the client left",
    "timeout": "the server was silent for too long",
    "partial": "the recorder left it out",
    "None": "the recorder was ended before the answer was",
}


def to_ms(since: float, until: float) -> float:
    """Return the milliseconds between two moments; 0 where they are the wrong way round."""
    return round(max(0.0, until - since) * 1000, 3)
