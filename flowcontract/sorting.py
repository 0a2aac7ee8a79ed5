"""Names in the order in which people count: `0.14`, `1.4`, `1.14`, and words after numbers."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"(\d+)")


def build_natural_key(name: str) -> tuple[str | int, ...]:
    """Return what names are sorted by, numbers in them as numbers.

    >>> sorted(["older", "1.14", "1.4", "0.14"], key=build_natural_key)
    ['0.14', '1.4', '1.14', 'older']
    """
    return tuple(int(part) if part.isdecimal() else part for part in _NUMBERS.split(name))
