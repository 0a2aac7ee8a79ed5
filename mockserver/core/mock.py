"""What a mock is made of: the contract, the scenarios, the state of its worlds, the journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from flowcontract.errors import FlowContractError, UnknownNameError
from mockserver.behaviours import revive
from mockserver.config.apps import Apps
from mockserver.core.content import Content
from mockserver.journal.journal import Journal
from mockserver.journal.masking import Masking
from mockserver.journal.meter import Meter
from mockserver.request.routing import Router
from mockserver.state.backends import open_backend
from mockserver.state.worlds import Worlds
from mockserver.torture.session import Torture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.scenarios import ScenarioSet
    from flowcontract.specs.model import Api
    from mockserver.config.settings import Settings
    from mockserver.core.passing import Passing, Recording
    from mockserver.scenarios.files import ScenarioFiles
    from mockserver.state.backends import Backend
    from mockserver.state.overrides import Overrides
    from mockserver.state.worlds import Seeds


@dataclass(slots=True, eq=False, repr=False)
class Mock:
    """The components of one mock, made from its contract, its scenario files and its settings. Threads may share it.

    ``content``  what the scenario files and the file of the apps say now; `refresh` replaces it as a whole
    ``passing``  where requests go that it does not answer itself; None where it answers all
    ``recording``  what records its answers, None for nothing

    Raise StateError where the state cannot be opened, AppError where the file of the apps is wrong.
    """

    apis: Mapping[str, Api]
    scenario_files: ScenarioFiles
    settings: Settings
    content: Content = field(init=False)
    router: Router = field(init=False)
    backend: Backend = field(init=False)
    worlds: Worlds = field(init=False)
    overrides: Overrides = field(init=False)
    torture: Torture = field(init=False)
    journal: Journal = field(init=False)
    passing: Passing | None = field(init=False, default=None)
    recording: Recording | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        settings = self.settings
        self.content = self._read_content(self.scenario_files.load_current())
        if settings.app is not None:
            self.scenario_files.watch(settings.app)
        self.router = Router(self.apis)
        self.backend = open_backend(settings.state, settings.limits)
        self.overrides = self.backend.overrides
        self.worlds = Worlds(
            settings.seed,
            self._read_seeds,
            settings.limits,
            start=settings.clock,
            file=self.backend.worlds,
            revive=revive,
        )
        self.torture = Torture(self.apis)
        schemes = [scheme for api in self.apis.values() for scheme in api.schemes.values()]
        masking = Masking((scheme.parameter for scheme in schemes), (scheme.mock_key for scheme in schemes))
        meter = Meter(self.backend.tally) if find_spec("prometheus_client") else None  # which nobody could ask for
        self.journal = Journal(settings.journal, masking, self.backend.archive, meter)

    @property
    def scenarios(self) -> ScenarioSet:
        """The scenarios that are served now."""
        return self.content.scenarios

    def get_api(self, name: str) -> Api:
        """Return an API that is served; raise UnknownNameError for any other."""
        if name not in self.apis:
            raise UnknownNameError("API", name, self.apis)
        return self.apis[name]

    def refresh(self) -> Content:
        """Return the content as the files have it now, or had it a moment ago; a broken file changes nothing."""
        scenarios = self.scenario_files.load_current()
        if scenarios is not self.content.scenarios:
            try:
                self.content = self._read_content(scenarios)
            except FlowContractError as error:
                self.content = Content(self.apis, scenarios, self.content.apps)
                self.scenario_files.complain(error)
        return self.content

    def close(self) -> None:
        """Close the state."""
        self.worlds.close()

    def _read_content(self, scenarios: ScenarioSet) -> Content:
        settings, limit = self.settings, self.settings.max_upload >> 20
        apps = Apps(self.apis, scenarios, settings.app, answers=settings.answers, max_upload_mb=limit)
        return Content(self.apis, scenarios, apps)

    def _read_seeds(self, api: str) -> Seeds:
        """Return the records that worlds of an API begin with: those of its file, and the flows of its apps."""
        seeds = self.settings.build_seeds(api)
        added = [dict(flow) for flow in self.content.apps.list_flows(api)]
        return {**seeds, "flows": [*seeds["flows"], *added]} if added else seeds
