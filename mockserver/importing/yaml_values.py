"""What of recorded JSON a scenario's file can hold."""

from __future__ import annotations

from typing import Any, Final

_MAX_DEPTH: Final = 100  # levels of a value that is written as YAML


def can_be_written(value: Any, depth: int = 0) -> bool:
    """Tell whether a JSON value comes back from YAML: not too deep, finite numbers, no half surrogate pair."""
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return abs(value) < float("inf")
    if isinstance(value, dict):
        return depth < _MAX_DEPTH and all(
            can_be_written(name) and can_be_written(item, depth + 1) for name, item in value.items()
        )
    return not isinstance(value, list) or (
        depth < _MAX_DEPTH and all(can_be_written(item, depth + 1) for item in value)
    )
