"""What came from elsewhere -> text that a terminal shows and does not obey."""

from __future__ import annotations

import re

_OBEYED = (
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: ESC [ 2 J clears a screen, and so does the single character U+009B
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions: text that reads otherwise than it is
    r"\u2028\u2029"  # line and paragraph separator
    r"\ud800-\udfff"  # half a character, which no encoding can print
)
_ANYWHERE = re.compile(f"[{_OBEYED}]")
_IN_LINES = re.compile(rf"(?![\n\t])[{_OBEYED}]")


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text with every character that a terminal would obey, or could not print, as a visible escape.

    Everything of servers, clients, recordings, scenarios and file names that goes to a terminal passes through here.
    With `lines`, line breaks and tabs stay what they are: for texts that are laid out in lines by us.

    >>> printable("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    return (_IN_LINES if lines else _ANYWHERE).sub(_escape, text)


_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_BYTE = 0xFF


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code <= _BYTE else f"\\u{code:04x}")
