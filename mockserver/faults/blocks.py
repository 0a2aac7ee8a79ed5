"""Faults of how events are written: other spellings of the same JSON and the same fields, and some that are none."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING

from mockserver.faults.context import change_text, replace_lines, split_lines
from mockserver.faults.events import BARE_PING

if TYPE_CHECKING:
    from mockserver.faults.context import FaultContext, Pieces

BOM = b"\xef\xbb\xbf"
RETRY_MS = 3000
_TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*")|([{,])')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_ENDS = (b"\r\n", b"\n", b"\r")  # in this order no CR is followed by a bare LF, which would make one line end of two


def raw_utf8(pieces: Pieces, context: FaultContext, _value: None) -> Pieces:
    """Write characters as they are; an event whose text is no JSON has them so already."""
    for piece in pieces:
        yield change_text(piece, context, _unescape)


def _unescape(text: bytes) -> bytes:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace")
    except ValueError:
        return text


def escapes(pieces: Pieces, context: FaultContext, _value: None) -> Pieces:
    r"""Write every character of every text and every name as `\uXXXX`."""
    for piece in pieces:
        yield change_text(
            piece, context, lambda text: _STRING.sub(lambda match: _escape(match[0]), text.decode()).encode()
        )


def _escape(literal: str) -> str:
    units = json.loads(literal).encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)) + '"'


def data_lines(pieces: Pieces, context: FaultContext, _value: None) -> Pieces:
    """Break the JSON after every comma, so that it comes in several `data` lines."""
    for piece in pieces:
        yield change_text(piece, context, lambda text: _TOKEN.sub(lambda match: match[1] or match[2] + b"\n", text))


def huge(pieces: Pieces, context: FaultContext, size: int) -> Pieces:
    """Write the first event with so much white space that it has `size` bytes."""
    for count, piece in enumerate(pieces):
        missing = max(0, size - len(piece.data))
        spaces = b"{" + b" " * missing
        yield piece if count else change_text(piece, context, lambda text, s=spaces: text.replace(b"{", s, 1))  # type: ignore[misc]


def extra_fields(pieces: Pieces, context: FaultContext, _value: None) -> Pieces:
    """Put a field that no document names into every event."""
    for piece in pieces:
        yield change_text(
            piece, context, lambda text: _add_field(text, b'{"note": ["no document names this", 1, null]}')
        )


def invalid_utf8(pieces: Pieces, context: FaultContext, _value: None) -> Pieces:
    """Put a field that no document names and that is no UTF-8 into every event; a conforming client reads U+FFFD."""
    for piece in pieces:
        yield change_text(piece, context, lambda text: _add_field(text, b'"\xff"'))


def _add_field(text: bytes, value: bytes) -> bytes:
    rest = text.removeprefix(b"{")
    return b'{"mock_extra": ' + value + (b", " if rest.strip() != b"}" else b"") + rest if rest != text else text


def comments(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """Put a comment and blank lines before every block, and a comment into it."""
    for piece in pieces:
        first, *rest = split_lines(piece)
        block = replace_lines(piece, [first, b":and another", *rest])
        yield block._replace(data=b": a comment\n\n\n\n" + block.data) if piece.data else piece


def no_space(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """Leave out the space after the colon."""
    for piece in pieces:
        yield replace_lines(piece, [re.sub(rb"^([a-z]+): ", rb"\1:", line) for line in split_lines(piece)])


def ids(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """Give every block an id; tell with the first how soon to reconnect."""
    for count, piece in enumerate(pieces, 1):
        retry = [f"retry: {RETRY_MS}".encode()] if count == 1 else []
        yield replace_lines(piece, [f"id: {count}".encode(), *retry, *split_lines(piece)])


def field_order(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """Write what is usually before the data behind it: `event: message`, which says nothing new, and an id."""
    for count, piece in enumerate(pieces, 1):
        lines = split_lines(piece)
        named = [] if any(line.startswith(b"event:") for line in lines) else [b"event: message"]
        yield replace_lines(piece, [*lines, f"id: {count}".encode(), *named])


def unknown_fields(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """Put a field that the standard does not know before and behind the others, and one without a colon."""
    for piece in pieces:
        yield replace_lines(piece, [b"mock: of no meaning", b"database: 1", *split_lines(piece), b"mock"])


def ping_inside(pieces: Pieces, _ground: FaultContext, number: int) -> Pieces:
    """Write a bare ping between the two halves of event `number`, as a server does whose timer waits for nobody."""
    for count, piece in enumerate(pieces, 1):
        if count != number:
            yield piece
            continue
        middle = len(piece.data) // 2
        yield piece._replace(data=piece.data[:middle], payload=None)
        yield piece._replace(delay_ms=0, data=BARE_PING, payload=None)
        yield piece._replace(delay_ms=0, data=piece.data[middle:])


def comment_inside(pieces: Pieces, context: FaultContext, number: int) -> Pieces:
    """Write a comment between two lines of event `number`, which comes slowly; inside a block that is allowed."""
    for count, piece in enumerate(pieces, 1):
        if count != number:
            yield piece
            continue
        (two,) = data_lines(iter([piece]), context, None)
        first, *rest = split_lines(two)
        yield piece._replace(data=first + b"\n", payload=None)
        yield piece._replace(delay_ms=0, data=b": ping\n", payload=None)
        yield replace_lines(piece, rest)._replace(delay_ms=0)


def no_final_blank(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """Leave out the last blank line: the last block never ends, and a conforming client is never told of it."""
    before = None
    for piece in pieces:
        if not piece.data:
            yield piece
            continue
        if before:
            yield before
        before = piece
    if before:
        yield before._replace(data=before.data.removesuffix(b"\n"))


def bom(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """Begin with a byte order mark."""
    for count, piece in enumerate(pieces):
        yield piece if count else piece._replace(data=BOM + piece.data)


def cr(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """End lines with CR."""
    for piece in pieces:
        yield piece._replace(data=piece.data.replace(b"\n", b"\r"))


def crlf(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """End lines with CR LF."""
    for piece in pieces:
        yield piece._replace(data=piece.data.replace(b"\n", b"\r\n"))


def mixed_line_ends(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """End lines in turn with CR LF, LF, CR."""
    ends = itertools.cycle(_ENDS)
    for piece in pieces:
        yield piece._replace(data=re.sub(b"\n", lambda _end: next(ends), piece.data))
