"""What faults borrow from the contract's own scenarios: an event that reports an error, a refusal."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from flowcontract.pointers import get_value
from flowcontract.scenarios import render_body
from flowcontract.scenarios.expressions import Context
from mockserver.faults.context import FaultContext
from mockserver.faults.parsing import FaultError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.scenarios import Scenario, ScenarioSet
    from flowcontract.specs.model import Operation

_TOO_MANY = ("429-", "-too-many-requests")
"""How the scenario begins, or ends where an API knows only one status, that refuses too many requests."""


def make_context(scenarios: ScenarioSet, operation: Operation, seed: str) -> FaultContext:
    """Return what faults know of an operation's replies."""
    return FaultContext(
        random=Random(seed),  # noqa: S311 - reproducible on purpose, guards nothing
        contract=operation.stream,
        error=lambda: _find_error(scenarios, operation),
        refusal=lambda status: _find_refusal(scenarios, operation, status),
    )


def find_rate_limit_scenario(scenarios: ScenarioSet, operation: Operation) -> Scenario:
    """Return the scenario that refuses too many requests; raise FaultError where the contract has none."""
    for key, scenario in scenarios.read_scenarios(operation).items():
        if key.startswith(_TOO_MANY[0]) or key.endswith(_TOO_MANY[1]):
            return scenario
    raise FaultError(
        f"{operation.name} has no scenario that refuses too many requests. Add one: 429-rate-limited.yaml."
    )


def _find_error(scenarios: ScenarioSet, operation: Operation) -> Mapping[str, Any]:
    """Return the first event that ends an answer otherwise than the default answer ends."""
    contract = operation.stream
    if contract is None:
        return {}
    usual = {
        get_value(event.data, contract.kind)
        for event in scenarios.select_default(operation, streaming=True).reply.events
    }
    for scenario in scenarios.read_scenarios(operation).values():
        for event in scenario.reply.events:
            if event.template and get_value(event.data, contract.kind) in contract.end - usual:
                found: Mapping[str, Any] = event.template.render(Context())
                return found
    return {contract.kind: min(contract.end - usual, default="error")}


def _find_refusal(scenarios: ScenarioSet, operation: Operation, status: int) -> bytes:
    found = (scenario for key, scenario in scenarios.read_scenarios(operation).items() if key.startswith(f"{status}-"))
    scenario = next(found, None)
    return render_body(scenario.reply, Context()) if scenario else b'{"message": "Something went wrong."}'
