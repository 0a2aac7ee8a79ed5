"""Access to JSON from others: errors name the place of what is missing or of another type."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from flowcontract.errors import FlowContractError
from flowcontract.schemas.wording import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

_T = TypeVar("_T")
_WORDS: dict[type, str] = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


class Unreadable(FlowContractError):  # noqa: N818 - what it is called in reports
    """A part of a recording cannot be read, or lacks what is to be judged; the message says which part, and why."""


def load_json(text: str | bytes) -> Any:
    """Parse JSON; raise Unreadable, which says what is wrong with it."""
    try:
        return json.loads(text)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"it is not JSON: {error}") from None


class Untrusted:
    """A JSON value with its place; null counts as absent."""

    def __init__(self, value: object, place: str = "") -> None:
        """Wrap a parsed value; `place` is its path, for messages."""
        self.value = value
        self.place = place

    def __getitem__(self, name: str) -> Untrusted:
        """Return a field of an object; absent ones have the value None."""
        fields = self._expect(dict)
        return Untrusted(fields.get(name), f"{self.place}/{name}".lstrip("/"))

    def __bool__(self) -> bool:
        """Tell whether the value is present: neither null nor absent."""
        return self.value is not None

    def as_text(self) -> str:
        """Return it as text."""
        return self._expect(str)

    def as_number(self) -> int:
        """Return it as a whole number."""
        if isinstance(self.value, bool):
            raise self._build_type_error(int)
        return self._expect(int)

    def as_items(self) -> Iterator[Untrusted]:
        """Yield the items of a list."""
        for number, item in enumerate(self._expect(list)):
            yield Untrusted(item, f"{self.place}/{number}")

    def _expect(self, wanted: type[_T]) -> _T:
        if not isinstance(self.value, wanted):
            raise self._build_type_error(wanted)
        return self.value

    def _build_type_error(self, wanted: type) -> Unreadable:
        place = self.place or "the whole"
        if self.value is None:
            return Unreadable(f"it has no {place}")
        return Unreadable(f"{place} is {describe(self.value)}, but should be {_WORDS[wanted]}")
