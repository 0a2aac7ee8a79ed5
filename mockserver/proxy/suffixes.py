"""What a `user` in a body asks of the mock: found while a form arrives, and taken off before the body goes on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from multipart import MultipartSegment

from mockserver.proxy.headers import remove_suffix
from mockserver.proxy.rewriting import find_scalars
from mockserver.request.body import make_parser, parse_disposition, parse_options
from mockserver.request.preferences import MARK

if TYPE_CHECKING:
    from collections.abc import Callable

    from multipart import PushMultipartParser

_USER = "user"
_MARK = MARK.encode()
_UNIT = re.compile(r"\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL)
"""A character of a JSON text as it is written."""
_HEAD_END = b"\r\n\r\n"


class FormWatch:
    """Looks at a multipart form that is passed on while it comes, and keeps nothing of it.

    >>> form = '--b|Content-Disposition: form-data; name="user"||me#mock:429|--b--|'.replace("|", chr(13) + chr(10))
    >>> watch = FormWatch("b")
    >>> [watch.feed(form[:55].encode()), watch.feed(form[55:].encode())]
    [False, True]
    """

    def __init__(self, boundary: str) -> None:
        """Look at the parts between the lines of this boundary."""
        self._parser: PushMultipartParser | None = make_parser(boundary)
        self._in_user = False
        self._tail = b""  # the end of what has come of a `user`

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether a `user` in them asks for something. A broken form asks for nothing."""
        if self._parser is None or not data:
            return False
        try:
            for event in self._parser.parse(data):
                if isinstance(event, MultipartSegment):
                    self._in_user, self._tail = _is_user(event["Content-Disposition"]), b""
                elif event is not None and self._in_user:
                    text = self._tail + event
                    if _MARK in text:
                        return True
                    self._tail = bytes(text[1 - len(_MARK) :])
        except ValueError:
            self._parser = None
        return False


def watch_form(content_type: str) -> FormWatch | None:
    """Return what looks at a body of this type while it passes; None where it is no form."""
    media_type, options = parse_options(content_type)
    boundary = options.get("boundary", "")
    return FormWatch(boundary) if boundary and media_type == "multipart/form-data" else None


def strip_body(body: bytes, content_type: str) -> bytes:
    """Return a body without what its `user` asks of the mock; every other byte stays."""
    if b"mock" not in body and b"\\u" not in body:
        return body
    media_type, options = parse_options(content_type)
    if media_type == "multipart/form-data":
        return _strip_form(body, options.get("boundary", ""))
    text = body.decode("latin-1")  # a character for each byte
    strip: Callable[[str], str] = remove_suffix if media_type == "application/x-www-form-urlencoded" else _strip_json
    return strip(text).encode("latin-1")


def _strip_json(text: str) -> str:
    kept, end = [], 0
    for scalar in find_scalars(text):
        if scalar.path == (_USER,) and text[scalar.start] == '"':
            kept += [text[end : scalar.start], _strip_literal(text[scalar.start : scalar.end])]
            end = scalar.end
    return "".join([*kept, text[end:]])


def _strip_literal(literal: str) -> str:
    """Return a JSON text without the suffix, which may be written with escapes."""
    units = _UNIT.findall(literal[1:-1])
    try:
        said = "".join(json.loads(f'"{unit}"') if unit.startswith("\\") else unit for unit in units)
    except ValueError:  # of a body that is no JSON nothing was understood
        return literal
    return f'"{"".join(units[: said.index(MARK)])}"' if MARK in said else literal


def _strip_form(body: bytes, boundary: str) -> bytes:
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    first, *parts = (b"\r\n" + body).split(delimiter)
    for place, part in enumerate(parts):
        head, gap, value = part.partition(_HEAD_END)
        if _MARK in value and any(_is_user(line) for line in _unfold(head)):
            parts[place] = head + gap + value.partition(_MARK)[0]
    return delimiter.join([first, *parts])[2:]


def _unfold(head: bytes) -> list[str]:
    """Return the values of Content-Disposition in the head of a part."""
    lines = head.decode("latin-1").replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return [value for name, _, value in pairs if name.strip().lower() == "content-disposition"]


def _is_user(disposition: str) -> bool:
    options = parse_disposition(disposition)
    return options.get("name") == _USER and "filename" not in options
