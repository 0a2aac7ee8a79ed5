"""Values as messages about a stream show them: as JSON, short, and where two of them differ."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_MAX_SHOWN = 60  # characters of a value in a message
_BEFORE, _AFTER = 20, 30  # characters shown around the place where two long texts differ
_MAX_NAMES = 10  # names in a message


def show(value: object) -> str:
    """Return a value as JSON, shortened to fit a message."""
    return _shorten(_to_json(value))


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 10]}...{text[-7:]}"


def show_both(wanted: object, got: object) -> tuple[str, str]:
    """Return two values that differ, as JSON; of long ones an excerpt around the first difference.

    >>> show_both("a" * 90 + "b", "a" * 90 + "c")[1]
    '..."aaaaaaaaaaaaaaaaaaaac", character 91 of 91'
    """
    first, second = _to_json(wanted), _to_json(got)
    if max(len(first), len(second)) <= _MAX_SHOWN:
        return first, second
    if isinstance(wanted, str) and isinstance(got, str):
        first, second = wanted, got
    shorter = min(len(first), len(second))
    place = next((n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), shorter)
    return _cut_around(first, place), _cut_around(second, place)


def _cut_around(text: str, place: int) -> str:
    """Return a text around an index."""
    start, end = max(0, place - _BEFORE), place + _AFTER
    where = f"character {place + 1} of {len(text)}" if place < len(text) else f"which ends after {len(text)} characters"
    return f"{'...' if start else ''}{_to_json(text[start:end])}{'...' if end < len(text) else ''}, {where}"


def list_names(names: Collection[str]) -> str:
    """Return the first of some names, and the number of the others."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(_shorten(name) for name in islice(names, _MAX_NAMES)) + more


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
