"""Finds the entries of a HAR file that is not valid JSON by their brackets: one broken entry spoils no other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_ENTRIES: Final = ['"log"', '"entries"']
_LEVEL: Final = len(_ENTRIES) + 1  # brackets open between two entries


def cut_entries(text: str) -> Iterator[str]:
    """Yield the texts of the items of `log.entries`; of a truncated file, the last one as far as it goes.

    >>> list(cut_entries('{"log": {"entries": [{"a": [1, 2]}, {"b'))
    ['{"a": [1, 2]}', '{"b']
    """
    opened: list[str] = []  # the last text before each open bracket, which is its key
    last, start = "", -1
    for token in _TOKEN.finditer(text):
        mark = token[0]
        between = start >= 0 and len(opened) == _LEVEL
        if between and mark in (",", "]"):
            yield from _skip_blank(text[start : token.start()])
            start = token.end()
        if mark in ("[", "{"):
            opened.append(last)
            if len(opened) == _LEVEL and opened[1:] == _ENTRIES:
                start = token.end()
        elif mark in ("]", "}"):
            if between and mark == "]":
                return
            if between:
                break  # a bracket that was never opened: the entries can no longer be located
            del opened[-1:]
        elif mark != ",":
            last = mark
    if start >= 0:
        yield from _skip_blank(text[start:])


def _skip_blank(text: str) -> Iterator[str]:
    """Yield a text unless it is blank."""
    if text.strip():
        yield text.strip()
