"""Decodes content codings (RFC 9110, 8.4.1) within bounds, since a small file can decompress to any size."""

from __future__ import annotations

import importlib
import zlib
from typing import TYPE_CHECKING, Any, Final

from flowcontract.recordings.untrusted import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_MAX_RATIO: Final = 100  # of unpacked to packed; texts of events reach 30
_RATIO_FROM: Final = 1024 * 1024  # bytes that any body may decompress to
_BROTLI_STEP: Final = 16  # bytes given to brotli at once: not every version takes a limit, and ten can become 16 MiB
_GZIP: Final = b"\x1f\x8b"
_AUTO, _RAW = 47, -15  # zlib's window bits: with the header of gzip or zlib, and without any


def undo_codings(body: bytes, codings: str) -> bytes:
    """Return a body without its content codings; one that the recorder has decoded is returned unchanged."""
    for coding in reversed([name.strip().lower() for name in codings.split(",")]):
        if coding not in ("", "identity") and not _is_text(body):
            body = _decode_one(body, coding)
    return body


def _decode_one(body: bytes, coding: str) -> bytes:
    if coding not in _CODINGS:
        raise Unreadable(f"its body is compressed with {coding!r}, which is not read here: record it uncompressed")
    limit = min(MAX_BODY_BYTES, max(_RATIO_FROM, _MAX_RATIO * len(body)))
    unpacked = _CODINGS[coding](body, limit)
    if len(unpacked) > limit:
        raise Unreadable(f"its body unpacks to more than {limit} bytes")
    return unpacked


def _gunzip(body: bytes, limit: int) -> bytes:
    if not body.startswith(_GZIP):  # already decoded; binary bodies need not be text
        return body
    unpacked = bytearray()
    while body.startswith(_GZIP) and len(unpacked) <= limit:  # it may have several members
        unpacker = zlib.decompressobj(_AUTO)
        unpacked += _unpack(unpacker, body, limit + 1 - len(unpacked))
        body = unpacker.unused_data
    return bytes(unpacked)


def _inflate(body: bytes, limit: int) -> bytes:
    """Decode `deflate`, which should have a zlib header, but in practice often has none."""
    try:
        return _unpack(zlib.decompressobj(_AUTO), body, limit + 1)
    except Unreadable:
        return _unpack(zlib.decompressobj(_RAW), body, limit + 1)


def _unpack(unpacker: Any, body: bytes, size: int) -> bytes:
    """Return at most `size` decompressed bytes."""
    try:
        unpacked = bytes(unpacker.decompress(body, size))
    except zlib.error as error:
        raise Unreadable(f"its body cannot be unpacked: {error}") from None
    if not unpacker.eof and len(unpacked) < size:
        raise Unreadable("its body cannot be unpacked: the compressed data ends early")
    return unpacked


def _decompress_brotli(body: bytes, limit: int) -> bytes:
    try:
        brotli: Any = importlib.import_module("brotli")
    except ImportError:
        raise Unreadable("its body is compressed with br: pip install brotli, or record it uncompressed") from None
    unpacker = brotli.Decompressor()
    unpacked = bytearray()
    try:
        for at in range(0, len(body), _BROTLI_STEP):
            unpacked += unpacker.process(body[at : at + _BROTLI_STEP])
            if len(unpacked) > limit:
                break
    except brotli.error as error:
        raise Unreadable(f"its body cannot be unpacked: {error}") from None
    return bytes(unpacked)


_CODINGS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _decompress_brotli,
}


def _is_text(body: bytes) -> bool:
    """Tell whether a body is text, which compressed data never is."""
    try:
        return "\0" not in body.decode()
    except UnicodeDecodeError:
        return False
