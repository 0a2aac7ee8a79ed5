"""The request that a scenario answers, and the difference of a given request from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcontract.schemas.media_types import is_upload
from flowcontract.schemas.wording import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.scenarios.expressions import RequestView


def find_differences(expected: Any, actual: Any, where: str = "body") -> list[str]:
    """Return how a value differs from what is expected, one sentence each; empty if it matches.

    An object has to contain the expected fields; lists and scalars have to be equal; `true` is not 1.
    """
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping):
            return [f"{where} must be {describe(expected)}, is {describe(actual)}"]
        return [
            sentence
            for name, inner in expected.items()
            for sentence in (
                find_differences(inner, actual[name], f"{where}.{name}")
                if name in actual
                else [f"{where}.{name} is missing"]
            )
        ]
    if _is_same(expected, actual):
        return []
    return [f"{where} must be {describe(expected)}, is {describe(actual)}"]


def contains(expected: Any, actual: Any) -> bool:
    """Tell whether `difference` would be empty; much faster."""
    if isinstance(expected, dict):
        return isinstance(actual, Mapping) and all(
            name in actual and contains(inner, actual[name]) for name, inner in expected.items()
        )
    return _is_same(expected, actual)


def _is_same(expected: Any, actual: Any) -> bool:
    if isinstance(expected, list):
        return isinstance(actual, list) and len(expected) == len(actual) and all(map(_is_same, expected, actual))
    if isinstance(expected, dict):
        return (
            isinstance(actual, dict)
            and expected.keys() == actual.keys()
            and all(_is_same(value, actual[name]) for name, value in expected.items())
        )
    return bool(expected == actual) and isinstance(expected, bool) == isinstance(actual, bool)


@dataclass(frozen=True, slots=True)
class Match:
    """The request that a scenario answers: each part has to be contained in the request; absent parts match any.

    ``headers``  values by name; None for one that must not come
    ``files``  form field -> name of the uploaded file
    ``path``   values of the path's parameters
    ``times``  how often the scenario answers, None for always
    ``after``  an operation of the same API that must have succeeded before; the mock tracks both
    """

    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)
    path: Mapping[str, Any] = field(default_factory=dict)
    times: int | None = None
    after: str | None = None

    def find_differences(self, request: RequestView) -> list[str]:
        """Return how a request differs, one sentence each; empty if it matches."""
        return [sentence for part in self._pair_parts(request) for sentence in find_differences(*part)]

    def fits(self, request: RequestView) -> bool:
        """Tell whether a request matches; ten times faster than `difference`."""
        return all(contains(expected, actual) for expected, actual, _ in self._pair_parts(request))

    def _pair_parts(self, request: RequestView) -> Iterator[tuple[Any, Any, str]]:
        """Yield the expected value, the actual value and the name of each part of a request."""
        if self.body is not None:
            yield self.body, request.body, "body"
        if self.query:
            yield *_to_texts(self.query, request.query), "query"
        if self.headers:
            expected = {name.lower(): value for name, value in self.headers.items()}
            forbidden = {name: None for name, value in expected.items() if value is None}
            yield expected, {**forbidden, **request.headers}, "headers"
        if self.files:
            fields = request.body if isinstance(request.body, Mapping) else {}
            yield self.files, {name: part["filename"] for name, part in fields.items() if is_upload(part)}, "files"
        if self.path:
            yield *_to_texts(self.path, request.path), "path"

    @property
    def size(self) -> int:
        """How much it demands: of two that a request fits, the larger one is the more particular."""
        parts = (self.body, self.query, self.headers, self.files, self.path)
        return sum(map(_count_values, parts)) - sum(1 for part in parts[1:] if not part)

    def find_telling_text(self) -> tuple[tuple[str, ...], str] | None:
        """Return the path and the value of the first text that is expected in the body, or None."""
        return _find_first_text(self.body, ())


def _count_values(value: Any) -> int:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return (value is not None) + sum(1 + _count_values(item) for item in inner)


def _find_first_text(value: Any, where: tuple[str, ...]) -> tuple[tuple[str, ...], str] | None:
    if isinstance(value, str):
        return where, value
    if not isinstance(value, Mapping):
        return None
    return next((found for name, inner in value.items() if (found := _find_first_text(inner, (*where, name)))), None)


def _to_texts(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both as text, the only type that a query has."""
    return {name: _to_text(value) for name, value in expected.items()}, {
        name: _to_text(actual[name]) for name in actual
    }


def _to_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_to_text(item) for item in value]
    return value if isinstance(value, str) else json.dumps(value)
