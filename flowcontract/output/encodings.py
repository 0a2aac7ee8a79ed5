"""Decodes percent-encoding and the escapes of JSON and HTML, and maps places in the decoded bytes back."""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from typing import NamedTuple

LAYERS = 3  # JSON in JSON in a query
ENCODED = re.compile(
    rb"%([0-9a-fA-F]{2})"
    rb"|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})"
    rb"""|\\(["'\\/bfnrt])"""
    rb"|(&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|amp|lt|gt|quot|apos);)"
    rb"|\+"
)
"""A character that is percent-encoded, escaped in JSON or Python, or in HTML or XML; `+` may be a space."""
_NEEDLESS = {
    b"%": re.compile(rb"%(?:25)*(?:2[dDeE]|[3-7])"),
    b"\\u00": re.compile(rb"\\u00[2-7]"),
    b"\\x": re.compile(rb"\\x[2-7]"),
    b"&#": re.compile(rb"&#"),
}
_SHORT = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


class Layer(NamedTuple):
    """Offsets in decoded bytes and the offsets in the encoded bytes that correspond: both ends of each character."""

    inside: list[int]
    outside: list[int]


def encodes_needlessly(data: bytes) -> bool:
    """Tell whether bytes encode unreserved characters, too; hardly any do, so a cheap search comes first."""
    return any(begin in data and pattern.search(data) for begin, pattern in _NEEDLESS.items())


def is_encoded(data: bytes) -> bool:
    """Tell whether any character is encoded."""
    return ENCODED.search(data) is not None


def decode(data: bytes) -> tuple[bytes, Layer]:
    """Decode one layer of encodings; return the bytes and the offsets of what was decoded."""
    parts: list[bytes] = []
    layer, end, size = Layer([0], [0]), 0, 0
    for found in ENCODED.finditer(data):
        meant = _decode_character(found)
        size += found.start() - end
        layer.inside.extend((size, size + len(meant)))
        layer.outside.extend(found.span())
        parts += (data[end : found.start()], meant)
        size, end = size + len(meant), found.end()
    return b"".join([*parts, data[end:]]), layer


def _decode_character(found: re.Match[bytes]) -> bytes:
    percent, high, low, unit, byte, short, entity = found.groups()
    if short:
        return _SHORT.get(short, short)
    if entity:
        return html.unescape(entity.decode()).encode("utf-8", "surrogatepass")
    if percent or byte:
        return bytes.fromhex((percent or byte).decode())
    if high or unit:
        units = bytes.fromhex((high + low if high else unit).decode())
        return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")
    return b" "


def find_outer_offset(layers: list[Layer], place: int) -> int:
    """Return the offset in the outermost bytes of an offset in the innermost layer."""
    for layer in reversed(layers):
        index = bisect_right(layer.inside, place) - 1
        place = layer.outside[index] + place - layer.inside[index]
    return place
