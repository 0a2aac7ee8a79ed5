"""What tests are called in reports, and which case of the contract one asks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from contract_tests.cases.case import Case
from contract_tests.suite.not_exercised import Withheld

if TYPE_CHECKING:
    import pytest

    from contract_tests.suite.not_exercised import NotExercised

_FOLDER = Path(__file__).parents[1]


def get_test_id(item: pytest.Item) -> str:
    """Return the name of a test, which does not depend on where the suite is installed."""
    case = get_case(item)
    if case:
        return case.id
    path = item.path.relative_to(_FOLDER) if item.path.is_relative_to(_FOLDER) else item.path
    return f"{path.stem.removeprefix('test_')}/{item.name.removeprefix('test_')}"


def get_case(item: pytest.Item) -> Case | None:
    """Return the case that a test is parametrized with; None for a journey."""
    callspec = getattr(item, "callspec", None)
    found = callspec.params.get("case") if callspec else None
    return found if isinstance(found, Case) else None  # a family without cases has one skipped test without a case


def get_journey_api(item: pytest.Item) -> str | None:
    """Return the API of a journey, which its module names; None for other tests."""
    return getattr(getattr(item, "module", None), "API", None)


def find_subject(item: pytest.Item, reason: NotExercised) -> str:
    """Return what a reason for skipping applies to in the matrix: a line, or an operation with all its lines."""
    case = get_case(item)
    if case is None:
        return item.name
    if case.provoke and case.expected.statuses:
        status = min(case.expected.statuses)
        code = min(case.expected.codes, default="")
        return f"{case.operation.name}|code|{status} {code}" if code else f"{case.operation.name}|status|{status}"
    return case.operation.name if isinstance(reason, Withheld) else item.name
