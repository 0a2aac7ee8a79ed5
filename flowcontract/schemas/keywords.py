"""Our own JSON Schema keywords: relations between the fields of one object.

    x-not-before: {LATER: EARLIER}     a number that is not below another, such as an end and its beginning; one second
                                       is tolerated, since both may be rounded
    x-sum: {TOTAL: [PART, PART, ...]}  a number, or decimal text, that is the sum of its parts

Absent fields and fields of other types are not checked: the rest of the schema does that.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_SECOND = Decimal(1)
_ROUNDED = Decimal("0.000001")  # prices have seven decimals and are rounded independently


class Contradiction(NamedTuple):
    """A field that contradicts the others: its name, what it should be, what it is."""

    field: str
    expected: str
    got: str


def check_not_before(rule: Mapping[str, str], instance: Mapping[str, Any]) -> Iterator[Contradiction]:
    """Yield numbers below the one that they must not be below."""
    for later, earlier in rule.items():
        end, begin = _to_decimal(instance.get(later)), _to_decimal(instance.get(earlier))
        if end is not None and begin is not None and end < begin - _SECOND:
            yield Contradiction(later, f"`{later}` not below `{earlier}`, {begin}", str(end))


def check_sum(rule: Mapping[str, list[str]], instance: Mapping[str, Any]) -> Iterator[Contradiction]:
    """Yield totals that differ from the sum of their parts."""
    for total, names in rule.items():
        whole, parts = _to_decimal(instance.get(total)), [_to_decimal(instance.get(name)) for name in names]
        known = [part for part in parts if part is not None]
        if whole is None or len(known) < len(parts):
            continue
        added = sum(known, Decimal())
        if abs(added - whole) > (_ROUNDED if isinstance(instance[total], str) else 0):
            fields = " and ".join(f"`{name}`" for name in names)
            yield Contradiction(total, f"`{total}` {added}, the sum of {fields}", str(whole))


RELATIONS: dict[str, Callable[[Any, Mapping[str, Any]], Iterator[Contradiction]]] = {
    "x-not-before": check_not_before,
    "x-sum": check_sum,
}


def find_contradiction(keyword: str, rule: Any, instance: object) -> Contradiction | None:
    """Return the first contradiction that a keyword finds in an object, or None."""
    return next(RELATIONS[keyword](rule, instance), None) if isinstance(instance, dict) else None


def _to_decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _make_keyword(name: str) -> type:
    """Return a keyword class for `jsonschema_rs`, made once per schema; its `validate` raises ValueError."""

    class Keyword:
        def __init__(self, _schema: object, rule: Any, _path: object) -> None:
            self._rule = rule

        def validate(self, instance: object) -> None:
            found = find_contradiction(name, self._rule, instance)
            if found:
                raise ValueError(found.expected)

    return Keyword


KEYWORDS: dict[str, type] = {name: _make_keyword(name) for name in RELATIONS}
"""The keywords as `jsonschema_rs` takes them."""
