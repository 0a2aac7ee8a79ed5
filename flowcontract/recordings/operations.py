"""Finds the operation that a recorded request is of, by its method, its path and the API that the recorder named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowcontract.recordings.exchange import Recorded
    from flowcontract.specs.model import Api, Operation


class Asked(NamedTuple):
    """An operation that a request may be of, and the values of its path's parameters."""

    api: Api
    operation: Operation
    path: Mapping[str, str]


class Operations:
    """The operations of some APIs; with `only`, the one of that name alone."""

    def __init__(self, apis: Iterable[Api], only: str = "") -> None:
        self._patterns = [
            (_compile_path(api, operation), api, operation)
            for api in apis
            for operation in api.operations.values()
            if only in ("", operation.name)
        ]

    def find(self, recorded: Recorded) -> list[Asked]:
        """Return those that a request may be of; only those of the API that it names, where it does."""
        matches = [
            (len(match["prefix"]), Asked(api, operation, _read_values(match)))
            for pattern, api, operation in self._patterns
            if operation.method == recorded.method and (match := pattern.fullmatch(recorded.path))
        ]
        shortest = min((prefix for prefix, _ in matches), default=0)
        found = [asked for prefix, asked in matches if prefix == shortest]
        return [asked for asked in found if recorded.app and recorded.app in asked.api.name] or found


def _compile_path(api: Api, operation: Operation) -> re.Pattern[str]:
    """Return a pattern for the paths of an operation; a proxy may have added a prefix."""
    parts = re.split(r"\{(\w+)\}", api.base_path + operation.path)
    texts = [f"(?P<value_{part}>[^/]+)" if number % 2 else re.escape(part) for number, part in enumerate(parts)]
    return re.compile(f"(?P<prefix>(?:/.*)?){''.join(texts)}", re.DOTALL)


def _read_values(match: re.Match[str]) -> dict[str, str]:
    values = {name: text for name, text in match.groupdict().items() if name != "prefix"}
    return {name.removeprefix("value_"): unquote(text) for name, text in values.items()}
