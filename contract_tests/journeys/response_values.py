"""Reads the values of an answer: one that is missing or of another type is a violation, never a crash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from flowcontract import pointers
from flowcontract.schemas.violations import Violation
from flowcontract.streams.showing import show

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from contract_tests.http.exchange import Answer


@dataclass(frozen=True, slots=True)
class ResponseValue:
    """A JSON value at a place of an answer or of an event.

    ``value``     the JSON value itself, whatever it is; None for an answer that is no JSON
    ``complain``  is called with the violation where a value is missing, and raises, which ends the journey
    ``where``     JSON pointer of the place
    ``event``     number of the event within its stream; None outside a stream
    ``answer``    the whole answer, where this is its body
    """

    value: Any
    complain: Callable[[Violation], NoReturn]
    where: str = ""
    event: int | None = None
    answer: Answer | None = None

    def __getitem__(self, name: str) -> ResponseValue:
        """Return the value of a field, which must be there."""
        if not isinstance(self.value, dict):
            self._complain("type", f"an object with the field `{name}`")
        if name not in self.value:
            self._complain("required", f"an object with the field `{name}`")
        return ResponseValue(self.value[name], self.complain, f"{self.where}/{pointers.escape(name)}", self.event)

    def has(self, name: str) -> bool:
        """Tell whether this is an object with a field."""
        return isinstance(self.value, dict) and name in self.value

    def get(self, *names: str) -> Any:
        """Return the JSON value of a field, or of a nested field; None where there is none."""
        value = self.value
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    @property
    def text(self) -> str:
        """The value, which must be a text."""
        return cast("str", self._require(isinstance(self.value, str), "a text"))

    @property
    def flag(self) -> bool:
        """The value, which must be true or false."""
        return cast("bool", self._require(isinstance(self.value, bool), "true or false"))

    @property
    def number(self) -> float:
        """The value, which must be a number."""
        well = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        return cast("float", self._require(well, "a number"))

    @property
    def rows(self) -> list[ResponseValue]:
        """The items of the value, which must be a list."""
        items = self._require(isinstance(self.value, list), "a list")
        return [
            ResponseValue(item, self.complain, f"{self.where}/{index}", self.event) for index, item in enumerate(items)
        ]

    def _require(self, well: bool, expected: str) -> Any:
        if not well:
            self._complain("type", expected)
        return self.value

    def _complain(self, rule: str, expected: str) -> NoReturn:
        self.complain(Violation(rule, expected, show(self.value), self.where, self.event))


class Event(NamedTuple):
    """An event of a stream: when it arrived, in seconds after the request, its kind, and its payload."""

    at_s: float
    kind: str
    payload: ResponseValue
