"""Requests that Schemathesis derives from the bundles, right and wrong ones, with its checks where they apply."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Any

import schemathesis
from attack_verdict import Report
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.specs.model import Api

_CHECKS: dict[str, Any] = {
    # Forms are judged by their bytes and clamps lower instead of refusing; our own tests refuse field by field.
    "negative_data_rejection": {"enabled": False},
    "positive_data_acceptance": {"enabled": False},
}
_OTHERWISE = {
    "cybertron": {"ignored_auth": {"enabled": False}},  # its document knows no status but 200, see its rulings
    "agentbuilder": {"allow_header_conformance": {"enabled": False}},  # Starlette names the first route's, see `x-http`
}


def attack(address: tuple[str, int], apis: Mapping[str, Api], report: Report, *, examples: int, seed: int) -> None:
    """Let Schemathesis ask every operation; what it finds goes into the report."""
    for api in apis.values():
        _attack_api(f"http://{address[0]}:{address[1]}{api.base_path}", api, report, examples, seed)


def _attack_api(base_url: str, api: Api, report: Report, examples: int, seed: int) -> None:
    operation = next(iter(api.operations.values()))
    keys = {
        scheme.parameter: f"{scheme.prefix or ''}{scheme.mock_key}-schemathesis"
        for scheme in (api.schemes[name] for name in operation.security[0])
    }
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": base_url,
            "headers": keys,
            "max-stream-events": 1000,
            "request-timeout": 20,
            "continue-on-failure": True,
            "generation": {
                "database": "none",
                "max-examples": examples,
                "mode": "all",
                "with-security-parameters": False,
            },
            "phases": {"stateful": {"enabled": True, "max-steps": 6}},
            "checks": {**_CHECKS, **_OTHERWISE.get(api.name, {})},
            "suppress-health-check": ["all"],
        }
    )
    schema = schemathesis.openapi.from_dict(copy.deepcopy(api.bundle), config=config)
    kind = f"schemathesis, {api.name}"
    statuses: Counter[str] = Counter()
    for event in from_schema(schema).execute():
        if isinstance(event, ScenarioFinished):
            _take(event, kind, statuses, report)
        elif isinstance(event, NonFatalError):
            report.failures.append(f"Schemathesis cannot go on with {event.label}: {event.info.message[:600]}")
    report.kinds[kind] = sum(statuses.values())
    report.statuses[kind] = statuses


def _take(event: ScenarioFinished, kind: str, statuses: Counter[str], report: Report) -> None:
    for interaction in event.recorder.interactions.values():
        response = interaction.response
        statuses["silent" if response is None else str(response.status_code)] += 1
        if response is not None:
            slowest = report.slowest.get(kind, (0.0, ""))
            report.slowest[kind] = max(slowest, (response.elapsed, event.label or ""))
        elif not interaction.response:
            report.failures.append(f"no answer to {interaction.request.method} {interaction.request.uri[:300]}")
    for checks in event.recorder.checks.values():
        for check in checks:
            if check.status == Status.FAILURE and check.failure_info is not None:
                failure = check.failure_info.failure
                group = report.groups[f"{check.name}: {failure.title}", f"{kind}, {event.label}"]
                group.count += 1
                group.names.append(f"{failure.message[:400]}\n    {check.failure_info.code_sample}")
