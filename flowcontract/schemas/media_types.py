"""Media types: finding the one of a body among those offered, and the rules for uploaded files."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final

JSON: Final = "application/json"
UNKNOWN_FILE: Final = "application/octet-stream"  # sent by clients that do not know the type


def find_media(offered: Mapping[str, Any], content_type: str) -> str | None:
    """Return the key that a Content-Type matches in a `content` mapping: exact, `audio/*`, `*/*`, or None."""
    if content_type in offered:
        return content_type
    sent = content_type.partition(";")[0].strip().lower()
    if not sent:
        return None
    known = {name.partition(";")[0].strip().lower(): name for name in offered}
    wanted = (sent, f"{sent.partition('/')[0]}/*", "*/*")
    return next((known[name] for name in wanted if name in known), None)


def fits_media_types(sent: str, filename: str, wanted: str) -> bool:
    """Tell whether a file fits a list like `image/*, audio/wav`: by its type, or by its name if it has none."""
    kind = sent.partition(";")[0].strip().lower()
    patterns, endings = _split_patterns(wanted)
    if kind == UNKNOWN_FILE and filename.lower().endswith(endings):
        return True
    kinds = {kind, mimetypes.guess_type(filename)[0] or kind} if kind == UNKNOWN_FILE else {kind}
    return any(fnmatchcase(kind, pattern) for kind in kinds for pattern in patterns)


@lru_cache(maxsize=256)
def _split_patterns(wanted: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the patterns of a list of media types, and the endings of file names that they stand for."""
    patterns = tuple(pattern.strip() for pattern in wanted.split(","))
    return patterns, tuple(f".{pattern.partition('/')[2]}" for pattern in patterns)


def is_upload(value: object) -> bool:
    """Tell whether the value of a form field is an uploaded file: `{filename, content_type, size}`."""
    return isinstance(value, Mapping) and "filename" in value


def is_file(schema: Any) -> bool:
    """Tell whether a form field's schema is an uploaded file: `format: binary`, or a media type other than JSON."""
    if not isinstance(schema, dict):
        return False
    inner = schema.get("items", schema) if schema.get("type") == "array" else schema
    media = inner.get("contentMediaType", JSON)
    return inner.get("format") == "binary" or (media != JSON and "contentEncoding" not in inner)
