"""A recording -> HAR 1.2, a line at a time: memory does not grow with what was recorded.

Beyond HAR: an entry has `_app` (the API), `_operation`, `_how` and `_violations`; `response.content` has `_pieces`,
each with `at` (milliseconds after the request) and `text`, or `base64`, `_partial` where the recorder left out the
body, or its end, and `_rewritten` where other texts stand in place of some of the server's. A `postData.text` that is
Base64 is said to be so in `encoding` and in `_encoding`: tools that read one of them do not read the other.
"""

from __future__ import annotations

import base64
import codecs
import datetime as dt
import json
import os
import re
from array import array
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from flowcontract.recordings.har import decode_base64, encode_utf8, split_url
from flowcontract.recordings.jsonl import (
    REASONS,
    VERSION,
    Pairs,
    RecordingHead,
    Taken,
    add_line,
    read_head,
    read_request,
    to_ms,
    write_bytes,
)
from flowcontract.recordings.untrusted import Unreadable, Untrusted, load_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_decoder = codecs.getincrementaldecoder("utf-8")
_PIECE = re.compile(
    rb'\{"type":"piece","id":(\d{1,18}),"at":(\d+(?:\.\d+)?),"(text|base64)":"((?:[^"\\]++|\\.)*+)"\}\n?', re.DOTALL
)
"""A piece as our recorder writes it: most lines are such, and are not parsed as JSON again and again."""


class _Line(NamedTuple):
    """One line of an exchange."""

    kind: str
    number: int
    content: Untrusted


class _Piece(NamedTuple):
    """A piece: of which exchange, when it came, and its bytes as `text` or `base64`, written as JSON does."""

    number: int
    at: float
    form: str
    literal: str

    def decode(self) -> bytes:
        """Return its bytes; raise Unreadable."""
        if self.form == "base64":
            return decode_base64(self.literal)
        return encode_utf8(str(load_json(f'"{self.literal}"'.encode())))


class _Lines:
    """Where the lines of one exchange stand in a recording, eight bytes for each, and what its body is.

    ``size``     of the body in bytes, so far
    ``is_text``  it is UTF-8, though a piece may end in a character
    """

    def __init__(self) -> None:
        self.places = array("Q")
        self.size = 0
        self.is_text = True
        self.last_at: float | None = None
        self._decoder = _decoder()

    def add(self, line: _Line | _Piece) -> None:
        """Measure the next line; raise Unreadable."""
        if isinstance(line, _Line):
            add_line(Taken(0, 0.0, "", None, "", "", (), None, 0), line.kind, line.content)
            return
        data = line.decode()
        self.size, self.last_at = self.size + len(data), line.at
        self._check(data)

    def finish(self) -> None:
        """Note that no more will come."""
        self._check(b"", final=True)

    def _check(self, data: bytes, *, final: bool = False) -> None:
        try:
            self._decoder.decode(data, final)
        except UnicodeDecodeError:
            self.is_text = False
            self._decoder.reset()


def save_har(recording: Path, target: Path) -> list[str]:
    """Write a recording as a HAR file that only its owner may read, which is whole or absent, also after Ctrl-C.

    Return what is left out: each line that cannot be read, and why. Raise OSError, or Unreadable where it is none of a
    recording.
    """
    left_out: list[str] = []
    part = target.with_name(f"{target.name}.part")
    try:
        with (
            recording.open("rb") as lines,
            open(part, "w", encoding="utf-8", errors="backslashreplace", opener=_open_private) as file,
        ):
            file.writelines(write_har(lines, left_out))
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return left_out


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_har(recording: BinaryIO, left_out: list[str] | None = None) -> Iterator[str]:
    """Yield the text of a HAR file, a part at a time; each line that cannot be read is noted in `left_out`.

    ``recording`` is read several times. Raise Unreadable if its first line is none of a recording.
    """
    recording.seek(0)
    head = read_head(Untrusted(load_json(recording.readline())))
    found = _find_lines(recording, [] if left_out is None else left_out)
    yield _write_opening(head)
    comma = ""
    for lines in found:
        yield comma
        yield from _write_entry(recording, lines)
        comma = ",\n"
    yield "\n]}}\n"


def _write_opening(head: RecordingHead) -> str:
    creator = {"name": head.tool or "mockserver proxy", "version": str(VERSION)}
    opening = {"version": "1.2", "creator": creator, "comment": f"recorded from {head.started}"}
    return '{"log":' + json.dumps(opening)[:-1] + ',"entries":[\n'


def _find_lines(recording: BinaryIO, left_out: list[str]) -> list[_Lines]:
    """Find the lines of each exchange, in the order of the requests; note those that are of none."""
    exchanges: dict[int, _Lines] = {}
    strays: dict[int, int] = {}  # lines by the exchange that they name, which has no request before them
    place = recording.tell()
    for number, raw in enumerate(recording, 2):  # the first one is its head
        try:
            line = _parse(raw)
            if isinstance(line, _Line) and line.kind == "request":
                read_request(line.number, line.content)
                exchanges.setdefault(line.number, _Lines())
            if line.number in exchanges:
                exchanges[line.number].add(line)
                exchanges[line.number].places.append(place)
            else:
                strays[line.number] = strays.get(line.number, 0) + 1
        except Unreadable as problem:
            is_whole = raw.endswith(b"\n")
            if raw.strip():
                left_out.append(f"line {number}: {problem if is_whole else 'the file ends in it'}")
        place += len(raw)
    left_out += [
        f"exchange {number}: {count} lines without its request before them" for number, count in strays.items()
    ]
    for lines in exchanges.values():
        lines.finish()
    return list(exchanges.values())


def _parse(raw: bytes) -> _Line | _Piece:
    found = _PIECE.fullmatch(raw)
    if found is not None:
        try:
            return _Piece(int(found[1]), float(found[2]), found[3].decode(), found[4].decode())
        except UnicodeDecodeError:
            raise Unreadable("it is no UTF-8") from None
    content = Untrusted(load_json(raw))
    line = _Line(content["type"].as_text(), content["id"].as_number(), content)
    if line.kind != "piece":
        return line
    taken = Taken(0, 0.0, "", None, "", "", (), None, 0)
    add_line(taken, "piece", content)
    ((form, text),) = write_bytes(taken.pieces[0].data).items()
    return _Piece(line.number, taken.pieces[0].at, form, _quote(text))


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _read_lines(recording: BinaryIO, lines: _Lines) -> Iterator[_Line | _Piece]:
    for place in lines.places:
        recording.seek(place)
        yield _parse(recording.readline())


def _read_pieces(recording: BinaryIO, lines: _Lines) -> Iterator[_Piece]:
    return (line for line in _read_lines(recording, lines) if isinstance(line, _Piece))


def _write_entry(recording: BinaryIO, lines: _Lines) -> Iterator[str]:
    """Yield one exchange as an entry; its body, which may be large, comes last, a piece at a time."""
    taken = _read_without_pieces(recording, lines)
    ended = next((at for at in (taken.ended_at, lines.last_at) if at is not None), taken.at)
    first = taken.answered_at if taken.answered_at is not None else ended
    started = dt.datetime.fromtimestamp(taken.at, dt.UTC).isoformat(timespec="milliseconds")
    entry: dict[str, Any] = {
        "startedDateTime": started.replace("+00:00", "Z"),
        "time": to_ms(taken.at, ended),
        "request": _describe_request(taken),
        "cache": {},
        "timings": {"send": 0, "wait": to_ms(taken.at, first), "receive": to_ms(first, ended)},
        "_app": taken.api,
        "_operation": taken.operation,
        "_how": taken.how,
        "_violations": taken.violations,
    }
    kind = next((value for name, value in taken.answer_headers if name.lower() == "content-type"), "x-unknown")
    yield f'{_open(entry)},"response":{_open(_describe_response(taken, lines))},"content":'
    marks = ({"_partial": True} if taken.partial else {}) | ({"_rewritten": True} if taken.rewritten else {})
    yield _open({"size": lines.size, "mimeType": kind} | ({} if lines.is_text else {"encoding": "base64"}) | marks)
    yield ',"text":"'
    pieces = _read_pieces(recording, lines)
    yield from _write_text(pieces) if lines.is_text else _write_base64(pieces)
    yield '","_pieces":['
    comma = ""
    for piece in _read_pieces(recording, lines):
        yield f'{comma}{{"at":{to_ms(taken.at, piece.at)},"{piece.form}":"{piece.literal}"}}'
        comma = ","
    yield "]}}}"


def _open(content: dict[str, Any]) -> str:
    """Return an object without its end."""
    return json.dumps(content, ensure_ascii=False)[:-1]


def _read_without_pieces(recording: BinaryIO, lines: _Lines) -> Taken:
    first, *rest = (line for line in _read_lines(recording, lines) if isinstance(line, _Line))
    taken = read_request(first.number, first.content)
    for line in rest:
        add_line(taken, line.kind, line.content)
    return taken


def _write_text(pieces: Iterable[_Piece]) -> Iterator[str]:
    decoder = _decoder()
    for piece in pieces:
        if piece.form == "text" and not decoder.getstate()[0]:
            yield piece.literal
        else:
            yield _quote(decoder.decode(piece.decode()))


def _write_base64(pieces: Iterable[_Piece]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        data = rest + piece.decode()
        whole = len(data) - len(data) % 3
        yield base64.b64encode(data[:whole]).decode()
        rest = data[whole:]
    yield base64.b64encode(rest).decode()


def _describe_request(taken: Taken) -> dict[str, Any]:
    request: dict[str, Any] = {
        "method": taken.method,
        "url": taken.url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _list_headers(taken.headers),
        "queryString": [{"name": name, "value": value} for name, values in _split_query(taken.url) for value in values],
        "headersSize": -1,
        "bodySize": taken.body_size,
    }
    if taken.body is not None:
        kind = next((value for name, value in taken.headers if name.lower() == "content-type"), "")
        request["postData"] = {"mimeType": kind, **_write_posted(taken.body)}
    return request


def _write_posted(body: bytes) -> dict[str, str]:
    """Return the body of a request as `postData` has it: as text where it is UTF-8, else in Base64."""
    written = write_bytes(body)
    if "text" in written:
        return written
    return {"text": written["base64"], "encoding": "base64", "_encoding": "base64"}


def _split_query(url: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    try:
        return split_url(url)[1].items()
    except Unreadable:
        return ()


def _describe_response(taken: Taken, lines: _Lines) -> dict[str, Any]:
    """Return an answer without its content."""
    response = {
        "status": taken.status or 0,
        "statusText": "",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _list_headers(taken.answer_headers),
        "redirectURL": next((value for name, value in taken.answer_headers if name.lower() == "location"), ""),
        "headersSize": -1,
        "bodySize": lines.size,
    }
    if taken.how != "complete":
        response["_error"] = REASONS.get(str(taken.how), str(taken.how))
    return response


def _list_headers(pairs: Pairs) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]
