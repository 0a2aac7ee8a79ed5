"""`split=1, bom` -> the faults that are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flowcontract.errors import FlowContractError, UnknownNameError
from mockserver.faults.registry import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mockserver.faults.registry import Fault, Value


class FaultError(FlowContractError):
    """Faults were asked for that do not exist, cannot be read, or do not fit."""


class Chosen(NamedTuple):
    """A fault with its value."""

    fault: Fault
    value: Any

    def __str__(self) -> str:
        """Return it as one writes it: `rate-limit=5/10`."""
        if self.value is None:
            return self.fault.name
        parts = self.value if isinstance(self.value, list | tuple) else [self.value]
        return f"{self.fault.name}={'/'.join(map(str, parts))}"


def parse(text: str) -> tuple[Chosen, ...]:
    """Read faults, separated by commas, each `name` or `name=value`; return them in the order of their stages.

    Raises FaultError saying what there is.
    """
    found = [_read(part) for part in text.split(",") if part.strip()]
    if not found:
        raise FaultError(f'"{text}" names no fault. There is: {", ".join(sorted(FAULTS))}.')
    named = {chosen.fault.name for chosen in found}
    implied = dict.fromkeys(chosen.fault.also for chosen in found if chosen.fault.also)
    return sort_faults([*(_read(name) for name in implied if name not in named), *found])


def sort_faults(faults: Iterable[Chosen]) -> tuple[Chosen, ...]:
    """Return faults in the order in which they are applied."""
    return tuple(sorted(faults, key=lambda chosen: chosen.fault.stage))


def _read(part: str) -> Chosen:
    name, equals, text = (word.strip() for word in part.partition("="))
    fault = FAULTS.get(name.lower().replace("_", "-"))
    if fault is None:
        raise FaultError(str(UnknownNameError("fault", name, FAULTS)))
    return Chosen(fault, _parse_value(fault, text) if equals else fault.value and fault.value.default)


def _parse_value(fault: Fault, text: str) -> Any:
    if fault.value is None:
        raise FaultError(f'The fault {fault.name} takes no value, but "{text}" was given. Write `{fault.name}` alone.')
    try:
        value = fault.value.read(text)
        fits = not fault.value.high or fault.value.low <= value <= fault.value.high
    except ValueError:
        fits = False
    if not fits:
        meaning = "" if fault.value.high else f" ({fault.summary})"  # numbers have their bounds in the words
        raise FaultError(
            f'The fault {fault.usage} was given "{text}", but takes {_describe_value(fault.value)}{meaning}.'
        )
    return value


def _describe_value(value: Value) -> str:
    """Say what a value may be."""
    if value.high:
        return f"a{' whole' if value.read is int else ''} number from {value.low:.0f} to {value.high:.0f}"
    example = value.default if isinstance(value.default, str) else "/".join(map(str, value.default))
    return f"for instance {example}"
