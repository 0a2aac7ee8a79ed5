"""Decodes bytes to blocks and events by the WHATWG rules, and encodes them; incremental, without I/O.

A `Block` is everything between two blank lines, as received, with its offsets. Its `event` is what a conforming client
dispatches for it: nothing for a bare `event: ping`, nothing for the unterminated block at the end. The same input gives
the same blocks in whichever pieces it arrives.

The rules: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

The second framing, `json-blank-line`, is JSON objects each followed by a blank line (Langflow's `run?stream=true`):
the same blocks, each of which is the data of one event.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from flowcontract.errors import BlockTooLargeError, StreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Framing = Literal["sse", "json-blank-line"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)
MAX_BLOCK_BYTES = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
# Atomic groups: without them the engine would backtrack and read CR LF as two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n?|\n)")
_LINE_END = re.compile(r"\r\n|\r|\n")  # not str.splitlines: U+2028 and U+0085 are ordinary characters
_LAST_END = re.compile(r"(?:\r\n|\r|\n)\Z")  # which only an unterminated block has
# What precedes a last line of data: `event` and `id` in either order, or nothing.
_HEADS = {
    end: re.compile(
        f"(?:id: ?(?P<first>[^\0\r\n]*){end})?(?:event: ?(?P<kind>[^\r\n]*){end})?"
        f"(?:id: ?(?P<last>[^\0\r\n]*){end})?data: ?"
    )
    for end in ("\n", "\r\n")
}
_MILLISECONDS = re.compile(r"[0-9]{1,18}")  # longer would be millions of years


class Event(NamedTuple):
    """What a conforming client dispatches: type (`message` by default), data, and the last event id so far."""

    type: str
    data: str
    last_event_id: str


class Field(NamedTuple):
    """One line of a block: a field, or a comment, whose name is empty."""

    name: str
    value: str


class Block(NamedTuple):
    """The lines between two blank lines.

    ``raw``       the bytes of its lines, without the last line end and the blank line
    ``start``     byte offset of its first byte in the stream
    ``end``       byte offset behind its last byte
    ``complete``  whether a blank line followed; clients drop an incomplete block
    ``event``     what a client dispatches for it, if anything
    """

    raw: bytes
    start: int
    end: int
    complete: bool
    event: Event | None

    @property
    def fields(self) -> tuple[Field, ...]:
        """Its lines in order, as fields and comments."""
        return tuple(_parse_fields(self.raw.decode("utf-8", "replace")))


# The constructors of the fast path (`_split_uniform`). Those of the classes are Python functions around
# `tuple.__new__`, and would take a third of the time in which a stream is split; these call it without a detour, so
# they check nothing: every field has to be given, in its order.
_new_event: Callable[[tuple[str, str, str]], Event] = partial(tuple.__new__, Event)
_new_block: Callable[[tuple[bytes, int, int, bool, Event | None]], Block] = partial(tuple.__new__, Block)


class Decoder:
    """Decodes the bytes of one stream into blocks, as they arrive.

    >>> decoder = Decoder()
    >>> decoder.feed(b"data: a")
    []
    >>> decoder.feed(b"b" + bytes([10, 10]))[0].event
    Event(type='message', data='ab', last_event_id='')
    """

    def __init__(self, framing: Framing = "sse", *, max_block_bytes: int = MAX_BLOCK_BYTES) -> None:
        """Decode `framing`; buffer at most `max_block_bytes` of an unfinished block."""
        if framing not in FRAMINGS:
            raise StreamError(f'No framing "{framing}". There is: {", ".join(FRAMINGS)}.')
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self._prefix = "data: " if framing == "sse" else ""  # of a block of one line that is all data
        self._interpret = self._interpret_fields if framing == "sse" else _interpret_json
        self._max = max_block_bytes
        self._pending = bytearray()  # an unfinished block; never begins with a line end
        self._offset = 0  # of its first byte in the stream
        self._at_start = True

    def feed(self, data: bytes) -> list[Block]:
        """Decode the next bytes; return the blocks that they complete.

        Raises BlockTooLargeError, which has the blocks before the one that is too large; the stream cannot be decoded
        any further.
        """
        if self._at_start:
            data = self._strip_bom(data)
        searched = len(self._pending)
        if searched:
            self._pending += data
            if not self._at_start and _BLANK_LINE.search(self._pending, max(0, searched - 2)):
                data = bytes(self._pending)
                self._pending.clear()
            else:
                self._check_held()
                return []
        return self._split(data)

    def close(self) -> list[Block]:
        """End the stream; return the unterminated block, if there is one."""
        rest, self._pending = bytes(self._pending), bytearray()
        start = self._offset
        self._offset += len(rest)
        return [Block(rest, start, self._offset, complete=False, event=None)] if rest else []

    def _strip_bom(self, data: bytes) -> bytes:
        """Return the first bytes without a byte order mark, or nothing while they may still be part of one."""
        data = bytes(self._pending) + data
        self._pending.clear()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._pending += data
            return b""
        self._at_start = False
        if data.startswith(_BOM):
            self._offset = len(_BOM)
            return data[len(_BOM) :]
        return data

    def _split(self, data: bytes) -> list[Block]:
        """Split bytes that begin with a block; buffer the unfinished one."""
        blocks: list[Block] = []
        try:
            ends = data.count(b"\r")
            if not ends:
                rest = self._split_uniform(data, "\n", blocks)
            elif ends == data.count(b"\n") == data.count(b"\r\n"):
                rest = self._split_uniform(data, "\r\n", blocks)
            else:
                rest = self._split_mixed(data, blocks)
            held = rest.lstrip(b"\r\n")
            self._offset += len(rest) - len(held)
            self._pending += held
            self._check_held()
        except BlockTooLargeError as error:
            error.before = blocks
            raise
        return blocks

    def _split_uniform(self, data: bytes, end: str, blocks: list[Block]) -> bytes:
        """Split bytes whose line ends are all the same: the fast path, a few calls for many blocks."""
        blank, step = end * 2, len(end) * 2
        parts = data.split(blank.encode())
        texts = data.decode("utf-8", "replace").split(blank)  # a blank line never splits a code point
        rest = parts.pop()
        start, add = self._offset, blocks.append
        limit, prefix, skip, last_event_id = self._max, self._prefix, len(self._prefix), self.last_event_id
        head = _HEADS[end].match if prefix else _match_nothing
        for raw, text in zip(parts, texts, strict=False):
            size = len(raw)
            if text and text[:skip] == prefix and end not in text and size <= limit:
                # One line of data: what real servers send.
                event = _new_event(("message", text[skip:], last_event_id))
                add(_new_block((raw, start, start + size, True, event)))
            elif size <= limit and (found := head(text)) and end not in (value := text[found.end() :]):
                first, kind, last = found.groups()
                if first is not None or last is not None:
                    last_event_id = self.last_event_id = first if last is None else last
                event = _new_event((kind or "message", value, last_event_id))
                add(_new_block((raw, start, start + size, True, event)))
            else:
                self._add_block(raw, text, start, blocks)
                last_event_id = self.last_event_id
            start += size + step
        self._offset = start
        return rest

    def _split_mixed(self, data: bytes, blocks: list[Block]) -> bytes:
        """Split bytes whose line ends differ."""
        base, position = self._offset, 0
        for blank in _BLANK_LINE.finditer(data):
            raw = data[position : blank.start()]
            self._add_block(raw, raw.decode("utf-8", "replace"), base + position, blocks)
            position = blank.end()
        self._offset = base + position
        return data[position:]

    def _add_block(self, raw: bytes, text: str, start: int, blocks: list[Block]) -> None:
        """Add a block, unless it is only blank lines; further ones before it are not part of it."""
        lines = raw.lstrip(b"\r\n")
        self._check_size(len(lines))
        if lines:
            stop = start + len(raw)
            event = self._interpret(text.lstrip("\r\n"))
            blocks.append(Block(lines, stop - len(lines), stop, complete=True, event=event))

    def _check_size(self, size: int) -> None:
        if size > self._max:
            raise BlockTooLargeError(self._max)

    def _check_held(self) -> None:
        """Raise BlockTooLargeError if the buffer is too large, its last line end not counted, as in a whole block."""
        if len(self._pending) > self._max:
            self._check_size(len(self._pending.rstrip(b"\r\n")))

    def _interpret_fields(self, text: str) -> Event | None:
        """Interpret the fields of a block; an id takes effect even if nothing is dispatched."""
        kind, data = "", []
        for line in _split_lines(text):
            name, _, value = line.partition(":")
            if value[:1] == " ":
                value = value[1:]
            if name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                self.last_event_id = value
            elif name == "retry" and _MILLISECONDS.fullmatch(value):
                self.retry_ms = int(value)
        return Event(kind or "message", "\n".join(data), self.last_event_id) if data else None


def _match_nothing(_text: str) -> None:
    """Match nothing: `json-blank-line` has no fields."""


def _interpret_json(text: str) -> Event:
    return Event("message", text, "")


def _parse_fields(text: str) -> Iterator[Field]:
    """Parse lines as fields: name, colon, at most one space, value; a line without a colon is a name."""
    for line in _split_lines(_LAST_END.sub("", text)):
        name, _, value = line.partition(":")
        yield Field(name, value.removeprefix(" "))


def encode(
    data: str | None = None,
    *,
    event: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name on the wire
    retry: int | None = None,
    comment: str | None = None,
) -> bytes:
    r"""Return one block as UTF-8 with its blank line; multi-line data and comments become several fields.

    >>> encode("a", event="tick")
    b'event: tick\ndata: a\n\n'
    """
    lines = [f": {line}" for line in _split_lines(comment)] if comment is not None else []
    lines += [f"event: {_require_single_line('event', event)}"] if event is not None else []
    lines += [f"id: {_require_single_line('id', id)}"] if id is not None else []
    lines += [f"retry: {retry}"] if retry is not None else []
    lines += [f"data: {line}" for line in _split_lines(data)] if data is not None else []
    if not lines:
        raise StreamError("An empty block cannot be encoded. Give it data, event, id, retry or comment.")
    return ("\n".join(lines) + "\n\n").encode()


def encode_json(text: str) -> bytes:
    """Return one JSON text in the framing `json-blank-line`: the text, then a blank line."""
    raw = text.encode().strip(b"\r\n")
    if not raw or _BLANK_LINE.search(raw):
        raise StreamError(f"{text[:60]!r} is empty or has a blank line, which would end it early. Send it on one line.")
    return raw + b"\n\n"


def _split_lines(text: str) -> list[str]:
    return _LINE_END.split(text) if "\r" in text else text.split("\n")


def _require_single_line(name: str, value: str) -> str:
    if _LINE_END.search(value) or "\0" in value:
        raise StreamError(f"The field {name} cannot be {value!r}: a field other than data is one line without NUL.")
    return value
