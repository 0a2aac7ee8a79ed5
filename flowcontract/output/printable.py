"""Escapes control characters in text from elsewhere, so that a terminal shows and does not obey it."""

from __future__ import annotations

import re

_OBEYED = (
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: ESC [ 2 J clears a screen, and so does the single character U+009B
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls, which change the reading order
    r"\u2028\u2029"  # line and paragraph separator
    r"\ud800-\udfff"  # lone surrogates, which no encoding can represent
)
_ANYWHERE = re.compile(f"[{_OBEYED}]")
_IN_LINES = re.compile(rf"(?![\n\t])[{_OBEYED}]")


def make_printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text with control characters and unprintable ones as visible escapes.

    All text from servers, clients, recordings, scenarios and file names has to pass through here before it is printed.
    With `lines`, line breaks and tabs are kept, for text that we have laid out in lines.

    >>> make_printable("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    return (_IN_LINES if lines else _ANYWHERE).sub(_escape, text)


_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_BYTE = 0xFF


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code <= _BYTE else f"\\u{code:04x}")
