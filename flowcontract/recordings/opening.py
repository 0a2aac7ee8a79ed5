"""Identifies the beginning of what may be a raw stream, and skips the heads of answers that `curl -i` prints."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any, Final

from flowcontract.recordings.reading import MAX_RECORDING_BYTES

if TYPE_CHECKING:
    from flowcontract.streams.sse import Framing

_MAX_UNDECIDED: Final = 64 * 1024  # bytes that suffice to identify anything but unfinished JSON
_MAX_SHOWN: Final = 200
_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_ARCHIVES: Final = {
    b"\x1f\x8b": "compressed with gzip: use curl --compressed, or unpack it",
    b"PK\x03\x04": "a ZIP archive: unpack it, and judge the .har file in it",
}
_OF_ERRORS: Final = {"code", "detail", "error", "errors", "message"}
_OF_ANSWERS: Final = {"answer", "data", "id", "outputs"}
_HEAD = re.compile(rb"HTTP/\d(?:\.\d)? \d{3}\b")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r){2}")
_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,8}\r?\n(?:data|event|id|retry)?:")
_FIELD = re.compile(rb"(?:\A|[\r\n])(?:data|event|id|retry)?:")
_RECORDING = re.compile(rb'\{\s*(?:"log"\s*:|"type"\s*:\s*"recording")')  # a HAR file, or what a proxy records
_TITLE = re.compile(r"<title[^>]*>(.{0,300}?)</title>", re.DOTALL | re.IGNORECASE)
_OTHERS: Final = {
    re.compile(rb'^data: ?\{[^\n]{0,200}"object": ?"chat\.completion\.chunk"'): "a stream of the OpenAI form",
    re.compile(rb"^event: ?message_start\r?\ndata: ?\{[^\n]{0,200}\"message_start\""): "a stream of the Anthropic form",
}


class Opening:
    """Buffers the beginning of some bytes until it is identified.

    ``notes``      what was skipped before the stream
    ``other``      what the bytes are, if not a stream; empty while they may be one
    ``recording``  whether they are a HAR file, which is then buffered in `whole`
    """

    def __init__(self, framings: set[Framing]) -> None:
        """Expect a stream in one of the framings."""
        self.notes: list[str] = []
        self.other = ""
        self.recording = False
        self._json = "json-blank-line" in framings
        self._held = bytearray()
        self._decided = False

    @property
    def whole(self) -> bytes:
        """The buffered bytes."""
        return bytes(self._held)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those that are known to belong to a stream."""
        if self._decided:
            return data
        self._held += data
        return self._decide(ended=False)

    def close(self) -> bytes:
        """End the input; return the rest of a stream."""
        return b"" if self._decided else self._decide(ended=True)

    def _decide(self, *, ended: bool) -> bytes:
        """Identify the bytes as soon as possible; return them if they are a stream."""
        if self.other:
            return b""
        self._skip_heads()
        ended = ended or (not self.recording and len(self._held) > _MAX_UNDECIDED and not self._is_json())
        certain = self._identify(ended=ended)
        if not certain or self.other or self.recording:
            return b""
        self._decided = True
        stream, self._held = bytes(self._held), bytearray()
        return stream

    def _skip_heads(self) -> None:
        """Remove the heads of answers; after a redirect there are several."""
        while _HEAD.match(self._held) and (end := _HEAD_END.search(self._held)):
            line = self._held.splitlines()[0].decode("utf-8", "replace")
            self.notes.append(f"skipped the head of the answer, as curl -i prints it: {line[:_MAX_SHOWN]}")
            del self._held[: end.end()]

    def _is_json(self) -> bool:
        return self._start()[:1] in (b"{", b"[", b'"')

    def _start(self) -> bytes:
        return bytes(self._held[: _MAX_UNDECIDED + len(_BOM)]).removeprefix(_BOM).lstrip(b" \t\r\n")

    def _identify(self, *, ended: bool) -> bool:
        """Set `other` for anything but a stream; return whether the bytes are identified."""
        start = self._start()
        if not ended and len(start) < len(b"HTTP/1.1 200"):
            return False
        if start.startswith(_UTF16) or b"\0" in start[:2]:
            self.other = "UTF-16, as PowerShell redirects: save it as UTF-8 (curl -o FILE instead of > FILE)"
        elif archive := next((name for magic, name in _ARCHIVES.items() if start.startswith(magic)), ""):
            self.other = archive
        elif _HEAD.match(start):
            self.other = f"the head of an answer without its body: {_shorten(start)}" if ended else ""
            return ended
        elif start.startswith(b"<"):
            return self._identify_page(start, ended=ended)
        elif _CHUNK.match(start):
            self.other = "a body in chunks (Transfer-Encoding), as curl --raw prints it: leave --raw out"
        elif self._is_json():
            return self._identify_json(start, ended=ended)
        elif start and not _FIELD.search(start):
            self.other = f"a text without an event: {_shorten(start)}" if ended else ""
            return ended
        else:
            self.other = next((name for pattern, name in _OTHERS.items() if pattern.match(start)), "")
        return True

    def _identify_page(self, start: bytes, *, ended: bool) -> bool:
        """Identify an HTML page; wait for its title, which often says what went wrong."""
        title = _TITLE.search(start.decode("utf-8", "replace"))
        if not title and not ended and b"</html>" not in start:
            return False
        shown = " ".join(unescape(title[1]).split()) if title else _shorten(start)
        self.other = f"an HTML page: {shown}" if b"<html" in start.lower() or title else f"markup: {shown}"
        return True

    def _identify_json(self, start: bytes, *, ended: bool) -> bool:
        """Identify JSON: a HAR file, a body, or lines; return whether the bytes are identified."""
        if _RECORDING.match(start):
            self.recording = True
            if len(self._held) > MAX_RECORDING_BYTES:
                self.other = f"a recording of more than {MAX_RECORDING_BYTES} bytes"
            return ended
        lines = [line for line in start.split(b"\n", 3)[:3] if line.strip()]
        first = _load_json(lines[0]) if b"\n" in start else None
        if self._json and (_BLANK_LINE.search(start.rstrip()) or (ended and _is_event(first))):
            return True
        if not self._json and _is_event(first) and len(lines) > 1:
            self.other = (
                "lines of JSON (NDJSON) without `data:` before and blank lines between them, as DevTools copies"
            )
        elif ended:
            body = _load_json(bytes(self._held).removeprefix(_BOM))
            if self._json and _is_event(body):
                return True
            self.other = f"{name_body(body)}: {_shorten(start)}"
        elif len(self._held) > MAX_RECORDING_BYTES:
            self.other = f"JSON of more than {MAX_RECORDING_BYTES} bytes"
        return ended or bool(self.other)


def name_body(body: Any) -> str:
    """Return a description of a complete JSON body."""
    if body is None:
        return "JSON that is broken or cut off"
    if isinstance(body, dict) and _OF_ERRORS & body.keys() and not _OF_ANSWERS & body.keys():
        return "a JSON error body"
    return "a JSON body, an answer that is not streamed" if isinstance(body, dict) else "JSON, but no object"


def _is_event(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("event"), str)


def _load_json(text: bytes) -> Any:
    """Parse JSON; return None if it is invalid."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _shorten(data: bytes) -> str:
    text = " ".join(data[: _MAX_SHOWN * 4].decode("utf-8", "replace").split())
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
