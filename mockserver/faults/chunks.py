"""Faults of how bytes travel: in other pieces than the server wrote, slowly, or not all of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowcontract.scenarios import Piece
    from mockserver.faults.context import FaultContext, Pieces

_TICKS = 10  # pieces a second of a slow drip
_INSIDE = re.compile(rb"(?<=[\xc2-\xf4])(?=[\x80-\xbf])")  # behind the first byte of a character that has several
_CR_LF = re.compile(rb"(?<=\r)(?=\n)")


def split(pieces: Pieces, _ground: FaultContext, size: int) -> Pieces:
    """Send `size` bytes at a time."""
    for piece in pieces:
        yield from _cut_at(piece, range(size, len(piece.data), size))


def regroup(pieces: Pieces, _ground: FaultContext, sizes: list[int]) -> Pieces:
    """Send chunks of so many bytes, and what remains in one; each goes out once its last byte is due."""
    wanted, held, last = iter(sizes), b"", None
    size = next(wanted, None)
    for piece in pieces:
        last, held = piece, held + piece.data
        due: list[bytes] = []
        while size is not None and len(held) >= size:
            due.append(held[:size])
            held, size = held[size:], next(wanted, None)
        for number, chunk in enumerate(due, 1):
            payload = piece.payload if number == len(due) else None
            yield piece._replace(delay_ms=piece.delay_ms if number == 1 else 0, data=chunk, payload=payload)
        if not due:
            yield piece._replace(data=b"")
    if last is not None and held:
        yield last._replace(delay_ms=0, data=held, payload=None)


def split_at(pieces: Pieces, _ground: FaultContext, size: int) -> Pieces:
    """Send each event in two pieces, the first of `size` bytes."""
    for piece in pieces:
        yield from _cut_at(piece, [size] if size < len(piece.data) else [])


def split_character(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """Send each character of several bytes in two pieces."""
    for piece in pieces:
        yield from _cut_at(piece, [place.start() for place in _INSIDE.finditer(piece.data)])


def split_crlf(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """Send a piece up to each CR, and the next from its LF on."""
    for piece in pieces:
        yield from _cut_at(piece, [place.start() for place in _CR_LF.finditer(piece.data)])


def coalesce(pieces: Pieces, _ground: FaultContext, _value: None) -> Pieces:
    """Hold everything back until the end, and send it at once."""
    held: list[bytes] = []
    last = None
    for last in pieces:
        held.append(last.data)
        yield last._replace(data=b"")
    if last is not None:
        yield last._replace(delay_ms=0, data=b"".join(held), payload=None)


def drip(pieces: Pieces, _ground: FaultContext, rate: float) -> Pieces:
    """Send `rate` bytes a second, a tenth of that at a time."""
    size = max(1, int(rate / _TICKS))
    for piece in pieces:
        for part in _cut_at(piece, range(size, len(piece.data), size)):
            yield part._replace(delay_ms=part.delay_ms + len(part.data) * 1000 / rate)


def close(pieces: Pieces, _ground: FaultContext, size: int | None) -> Pieces:
    """Send `size` bytes and no more; None sends all."""
    for piece in pieces:
        if size is None:
            yield piece
            continue
        if len(piece.data) > size:
            if size:
                yield piece._replace(data=piece.data[:size], payload=None)
            return
        size -= len(piece.data)
        yield piece


def _cut_at(piece: Piece, places: Iterable[int]) -> Pieces:
    """AbortConnection a piece; the world hears of it when the last part is sent."""
    start = 0
    for place in places:
        yield piece._replace(delay_ms=piece.delay_ms if not start else 0, data=piece.data[start:place], payload=None)
        start = place
    yield piece._replace(delay_ms=piece.delay_ms if not start else 0, data=piece.data[start:])
