"""What can be changed and asked about a running mock, by `/__mock__` and by a test alike."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from flowcontract.errors import UnknownNameError
from mockserver import faults
from mockserver.request.preferences import ScenarioPreference
from mockserver.scenarios import selection
from mockserver.state.overrides import Override

if TYPE_CHECKING:
    from flowcontract.specs.model import Operation
    from mockserver.core.mock import Mock


class Controls:
    """The controls of one mock. May be used from several threads."""

    def __init__(self, mock: Mock) -> None:
        """Control a mock."""
        self._mock = mock

    def find_operations(self, name: str, *, api: str | None = None) -> list[Operation]:
        """Return the operations of a name, `dify-chat/uploadFile` or `uploadFile`; raise UnknownNameError for none."""
        known = [
            operation
            for each in self._mock.apis.values()
            for operation in each.operations.values()
            if api in (None, each.name)
        ]
        found = [operation for operation in known if name in (operation.name, operation.id)]
        if not found:
            raise UnknownNameError(
                "operation", name, {operation.name if "/" in name else operation.id for operation in known}
            )
        return found

    def find_world(self, name: str) -> str:
        """Return a world's name, given that or its key (`app-chat-alice`); raise UnknownNameError."""
        beginnings = {api.name: api.name for api in self._mock.apis.values()}
        for api in self._mock.apis.values():
            beginnings |= {scheme.mock_key: api.name for scheme in api.schemes.values()}
        fitting = [beginning for beginning in beginnings if name == beginning or name.startswith(f"{beginning}-")]
        if not fitting:
            raise UnknownNameError("world", name, beginnings, hint="Worlds begin with one of these and a hyphen.")
        longest = max(fitting, key=len)
        return beginnings[longest] + name.removeprefix(longest)

    def get_api(self, world: str) -> str:
        """Return the API that a world belongs to."""
        return max((name for name in self._mock.apis if world == name or world.startswith(f"{name}-")), key=len)

    def add_override(
        self, operation: str, scenario: str, *, times: int | None = None, world: str | None = None
    ) -> list[Override]:
        """Let an operation answer with a scenario, always or so many times, in one world or in all.

        An operation's name that two APIs share counts for each that has the scenario. Raise UnknownNameError or
        FaultError, which list what there is.
        """
        preference, scenarios = (
            ScenarioPreference.from_name(scenario, "override"),
            self._mock.scenario_files.load_current(at_once=True),
        )
        if preference.fault:
            faults.parse(preference.fault)
        concerned = self.find_operations(operation, api=None if world is None else self.get_api(world))
        orders: list[Override] = []
        for each in concerned:
            with contextlib.suppress(UnknownNameError):
                if preference.chooses:
                    selection.find(scenarios, each, preference, streaming=None)
                orders.append(Override(each.name, scenario, world, times))
        if not orders:
            selection.find(scenarios, concerned[0], preference, streaming=None)  # says what there is
        for order in orders:
            self._mock.overrides.put(order)
        return orders

    def reset(self, world: str | None = None) -> int:
        """Reset a world, or all, with its overrides; return how many worlds there were. The journal stays."""
        self._mock.overrides.remove(world=world)
        return self._mock.worlds.reset(world)
