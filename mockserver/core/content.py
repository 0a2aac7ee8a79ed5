"""What the files say that a mock answers from: its scenarios and its apps, both as they were at one moment."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowcontract.scenarios.expressions import Context
from flowcontract.scenarios.releases import as_release
from mockserver.scenarios import selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.scenarios import Scenario, ScenarioSet
    from flowcontract.specs.model import Api, Operation
    from mockserver.config.apps import Apps


class Content:
    """Scenarios and apps of one moment, and what has been derived from them."""

    def __init__(self, apis: Mapping[str, Api], scenarios: ScenarioSet, apps: Apps) -> None:
        self.scenarios, self.apps = scenarios, apps
        self._apis = apis
        self.default_body = lru_cache(1024)(self._render_default_body)
        """API, suffix of the key, operationId -> the JSON that the key's app answers by default."""
        self.for_release = lru_cache(4096)(self._adapt)
        """Scenario, operation -> the scenario as the release in force sends it."""

    def find_refusing_operation(self, api: Api, word: str) -> Operation:
        """Return an operation that refuses by a word of `x-refusals` as its whole API does, not in words of its own."""
        key = api.refusals.get(word, "")
        operations = api.operations.values()
        shared = (operation for operation in operations if self._is_shared(operation, key))
        return next(shared, next(iter(operations)))

    def _is_shared(self, operation: Operation, key: str) -> bool:
        scenario = self.scenarios.read_scenarios(operation).get(key)
        return scenario is not None and scenario.operation is None

    def _render_default_body(self, api: str, suffix: str, operation_id: str) -> Any:
        app = self.apps.of(api, suffix)
        scenario = selection.find_default(self.scenarios, self._apis[api].operations[operation_id], app["scenarios"])
        return scenario.reply.template.render(Context(app=app))

    def _adapt(self, scenario: Scenario, operation: Operation) -> Scenario:
        return as_release(scenario, self._apis[operation.api], operation)
