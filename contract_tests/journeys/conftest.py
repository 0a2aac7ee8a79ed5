"""The APIs that journeys go through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contract_tests.journey import Journey

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract_tests.suite import Suite


@pytest.fixture
def begin(suite: Suite) -> Callable[[str], Journey]:
    """Return what begins a journey at an API, by its name."""
    return lambda api: Journey(suite, api)
