"""The state of a run: what its options say, the target, the cases, the results so far."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from contract_tests.cases.derive import derive_cases
from contract_tests.cases.probes import derive_probes
from contract_tests.cases.provoked import derive_streams, derive_successes
from contract_tests.config import target
from contract_tests.http.clock import Clock
from contract_tests.http.target import TargetError
from contract_tests.report import folder
from contract_tests.report.baseline import load_baseline
from contract_tests.report.coverage import Coverage
from contract_tests.report.deviations import Deviations
from contract_tests.report.results import Results
from contract_tests.suite import preflight
from contract_tests.suite.session import Suite
from flowcontract.provenance.evidence import Tier
from flowcontract.specs.model import list_apis, load_apis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from contract_tests.cases.case import Case
    from contract_tests.http.target import Target
    from contract_tests.report.har import Recorder
    from flowcontract.output.secrets import Secrets
    from flowcontract.specs.model import Api


@dataclass(slots=True, eq=False)
class SharedState:
    """What the command shares with the plugin: the time limit, the secrets to hide in all output, how far it came."""

    clock: Clock
    secrets: Secrets
    reported: bool = False  # whether the report was printed


class Run:
    """The state of a pytest session: the APIs, the target, and the results so far."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the options; raise FlowContractError for invalid ones."""
        plugins = config.pluginmanager.get_plugins()
        shared = next((plugin for plugin in plugins if isinstance(plugin, SharedState)), None)
        self.shared = shared
        self.clock = shared.clock if shared else Clock(config.getoption("--max-minutes"))
        names = config.getoption("--api")
        profiles = dict(_split_profile(option) for option in config.getoption("--profile"))
        self.apis: dict[str, Api] = load_apis(names or list_apis(), profiles=profiles)
        self.deviations = Deviations.load(
            config.getoption("--deviations"), accept=config.getoption("--accept"), prune=config.getoption("--prune")
        )
        earlier = config.getoption("--baseline")
        self.baseline = (str(earlier), load_baseline(earlier)) if earlier else None
        self.target: Target = target.load_target(  # the first that asks the server
            self.apis,
            base_url=config.getoption("--base-url"),
            keys=config.getoption("--key"),
            file=config.getoption("--target"),
            is_mock=partial(preflight.is_mock, clock=self.clock),
        )
        if shared:
            for secret in self.target.secrets:
                shared.secrets.add(secret)
        self.thorough: bool = config.getoption("--thorough")
        self.coverage = Coverage(self.apis, config.getoption("--require"))
        self.demand = Tier(config.getoption("--demand"))
        self.results = Results(
            target=self.target,
            coverage=self.coverage,
            deviations=self.deviations,
            demand=self.demand,
            demand_fuzz=config.getoption("--demand-fuzz"),
            minutes=self.clock.minutes,
        )
        self.secrets = self.target.secrets
        self.suite = Suite(self.target, self.clock)
        self.cases = list(self._derive_cases())
        self.recorder: Recorder | None = None

    def start_recording(self, report: Path, worker: str) -> None:
        """Record all exchanges of this process for the reports."""
        self.recorder = folder.create_recorder(report, worker, self.secrets)
        for client in self.suite.sender.clients.values():
            client.on_exchange = self.recorder.record

    def _derive_cases(self) -> Iterator[Case]:
        for api in self.apis.values():
            yield from derive_cases(api, self.apis.values())
            yield from derive_probes(api)
            for operation in api.operations.values():
                ways = self.target.provoke.get(operation.name, {})
                wanted = [code for code, way in ways.items() if self.thorough or not way.get("thorough")]
                yield from derive_streams(api, operation, wanted)
                yield from derive_successes(api, operation, wanted)


def _split_profile(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not equals:
        raise TargetError(f"--profile {option}: expected API=NAME.")
    return name, value
