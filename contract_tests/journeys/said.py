"""What a server said, taken value by value: what is not there, or of another type, is a violation, never a crash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from flowcontract import pointers
from flowcontract.schemas.violations import Violation
from flowcontract.streams.rules import show

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from contract_tests.http.exchange import Answer


@dataclass(frozen=True, slots=True)
class Said:
    """A JSON value at a place of an answer or of an event.

    ``value``     the JSON value itself, whatever it is; None for an answer that is no JSON
    ``complain``  takes the violation where something is missing, and raises: the journey ends there
    ``where``     JSON pointer of the place
    ``event``     number of the event within its stream; None outside a stream
    ``answer``    the answer as a whole, where this is all that it said
    """

    value: Any
    complain: Callable[[Violation], NoReturn]
    where: str = ""
    event: int | None = None
    answer: Answer | None = None

    def __getitem__(self, name: str) -> Said:
        """Return what a field of this object says."""
        if not isinstance(self.value, dict):
            self._complain("type", f"an object with the field `{name}`")
        if name not in self.value:
            self._complain("required", f"an object with the field `{name}`")
        return Said(self.value[name], self.complain, f"{self.where}/{pointers.escape(name)}", self.event)

    def has(self, name: str) -> bool:
        """Tell whether this is an object with a field, whatever that says."""
        return isinstance(self.value, dict) and name in self.value

    def get(self, *names: str) -> Any:
        """Return the JSON value of a field, or of a field of a field; None where there is none."""
        value = self.value
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    @property
    def text(self) -> str:
        """The value, which must be a text."""
        return cast("str", self._of(isinstance(self.value, str), "a text"))

    @property
    def flag(self) -> bool:
        """The value, which must be true or false."""
        return cast("bool", self._of(isinstance(self.value, bool), "true or false"))

    @property
    def number(self) -> float:
        """The value, which must be a number."""
        well = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        return cast("float", self._of(well, "a number"))

    @property
    def rows(self) -> list[Said]:
        """The items of the value, which must be a list."""
        items = self._of(isinstance(self.value, list), "a list")
        return [Said(item, self.complain, f"{self.where}/{index}", self.event) for index, item in enumerate(items)]

    def _of(self, well: bool, expected: str) -> Any:
        if not well:
            self._complain("type", expected)
        return self.value

    def _complain(self, rule: str, expected: str) -> NoReturn:
        self.complain(Violation(rule, expected, show(self.value), self.where, self.event))


class Event(NamedTuple):
    """An event of a stream: when it came, in seconds after the request, what kind it is, and what it says."""

    at_s: float
    kind: str
    said: Said
