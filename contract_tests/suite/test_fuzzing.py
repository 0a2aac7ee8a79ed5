"""Fuzzing: Schemathesis generates requests from the contract, phase by phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contract_tests.suite import fuzzing as fuzz
from contract_tests.suite.not_exercised import NotExercised

if TYPE_CHECKING:
    from contract_tests.suite.session import Suite


@pytest.mark.parametrize("phase", fuzz.PHASES)
def test_fuzz(suite: Suite, api_name: str, phase: str, thorough: bool) -> None:
    """Every answer is documented, no server error, and no success if the request is wrong."""
    if phase == "stateful" and not fuzz.has_links(suite.get_api(api_name)):
        raise NotExercised(f"the contract of {api_name} has no links that lead from one operation to another")
    done = fuzz.run_phase(suite, api_name, phase, thorough=thorough)
    if done.errors:
        raise NotExercised(f"Schemathesis failed: {done.errors[0]}")
    if not done.answers:
        raise NotExercised(f"Schemathesis sent no request in the phase {phase}")
