"""The suite as a pytest plugin: options, the cases as parameters, the verdict of each test, the reports at the end."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contract_tests import cases, target, terminal
from contract_tests.coverage import Coverage
from contract_tests.deviations import Deviations
from contract_tests.not_exercised import NotExercised, Withheld
from contract_tests.options import OPTIONS
from contract_tests.page import page
from contract_tests.probes import probes
from contract_tests.results import Results
from contract_tests.suite import Record, Suite
from flowcontract.errors import FlowContractError
from flowcontract.evidence import Tier, fails
from flowcontract.specs import available_apis, load_apis

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from contract_tests.cases import Case
    from contract_tests.target import Target
    from flowcontract.specs import Api

_FOLDER = Path(__file__).parent


class Run:
    """What one pytest session knows: the APIs, the target, and what came out so far."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the options; raise FlowContractError for what cannot be."""
        names = config.getoption("--api")
        profiles = dict(_pair(option) for option in config.getoption("--profile"))
        self.apis: dict[str, Api] = load_apis(names or available_apis(), profiles=profiles)
        self.target: Target = target.load_target(
            self.apis,
            base_url=config.getoption("--base-url"),
            keys=config.getoption("--key"),
            file=config.getoption("--target"),
        )
        self.thorough: bool = config.getoption("--thorough")
        self.deviations = Deviations.load(
            config.getoption("--deviations"), accept=config.getoption("--accept"), prune=config.getoption("--prune")
        )
        self.coverage = Coverage(self.apis, config.getoption("--require"))
        self.demand = Tier(config.getoption("--demand"))
        self.results = Results(
            target=self.target,
            coverage=self.coverage,
            deviations=self.deviations,
            demand=self.demand,
            demand_fuzz=config.getoption("--demand-fuzz"),
        )
        self.suite = Suite(self.target)
        self.cases = list(self._cases())

    def _cases(self) -> Iterator[Case]:
        for api in self.apis.values():
            yield from cases.cases(api, self.apis.values())
            yield from probes(api)
            for operation in api.operations.values():
                ways = self.target.provoke.get(operation.name, {})
                wanted = [code for code, way in ways.items() if self.thorough or not way.get("thorough")]
                yield from cases.streams(api, operation, wanted)
                yield from cases.successes(api, operation, wanted)


_RUN = pytest.StashKey[Run]()
_RECORD = pytest.StashKey[Record]()


def _pair(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not equals:
        raise target.TargetError(f"--profile {option}: expected API=NAME.")
    return name, value


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the options. pytest-base-url declares `--base-url` itself: then its option is ours."""
    group = parser.getgroup("contract tests", "Does a server answer as documented?")
    for name, settings in OPTIONS.items():
        if name != "--base-url" or not _base_url_is_declared(pluginmanager):
            group.addoption(name, **settings)


def _base_url_is_declared(pluginmanager: pytest.PytestPluginManager) -> bool:
    if pluginmanager.has_plugin("pytest_base_url.plugin") or pluginmanager.has_plugin("base_url"):
        return True
    found = importlib.metadata.entry_points(group="pytest11", name="base_url")
    return (
        bool(found)
        and not pluginmanager.is_blocked("base_url")
        and not os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read contracts, target and deviations."""
    try:
        run = config.stash[_RUN] = Run(config)
    except FlowContractError as error:
        raise pytest.UsageError(str(error)) from None
    if hasattr(config, "workerinput"):
        return  # the controller collects and reports
    config.pluginmanager.register(_Collector(config, run), "contract-tests-collector")
    report = config.getoption("--report")
    if report:
        report.mkdir(parents=True, exist_ok=True)
        config.option.xmlpath = getattr(config.option, "xmlpath", None) or str(report / "junit.xml")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say in one line if nobody answers at all."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    for name, client in session.config.stash[_RUN].suite.clients.items():
        trouble = client.reach()
        if trouble:
            hint = "Start the server, or mend --base-url."
            raise pytest.UsageError(f"Nothing answers for {name} at {client.api.base_url}: {trouble}. {hint}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of every case of the family that a test asks for."""
    if "case" in metafunc.fixturenames:
        family = metafunc.function.__name__.removeprefix("test_")
        found = [case for case in metafunc.config.stash[_RUN].cases if case.family == family]
        metafunc.parametrize("case", found, ids=[case.id for case in found])
    if "api_name" in metafunc.fixturenames:
        metafunc.parametrize("api_name", list(metafunc.config.stash[_RUN].apis))


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    """Tell whether the run may take long."""
    return request.config.stash[_RUN].thorough


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest) -> Generator[Suite]:
    """Return what a test asks through; what it created is removed at the end."""
    run = request.config.stash[_RUN]
    yield run.suite
    run.suite.close()
    run.results.leftovers += run.suite.leftovers
    if hasattr(request.config, "workeroutput"):
        request.config.workeroutput["leftovers"] = run.suite.leftovers


class ContractFailure(Exception):  # noqa: N818 - the server's failure, not ours
    """An answer is not as the contract demands; the text says everything."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Give each test a record of its own; fail it for what stands in there that is no known deviation."""
    run = item.config.stash[_RUN]
    if "suite" not in getattr(item, "fixturenames", ()):
        return (yield)
    record = run.suite.record = item.stash[_RECORD] = Record(run.demand)
    try:
        result = yield
    except NotExercised as reason:
        record.skipped.setdefault(_subject(item, reason), str(reason))
        if not any(fails(failure.violation.tier, run.demand) for failure in record.failures):
            pytest.skip(str(reason))
        result = None
    test = test_id(item)
    found = record.as_json(test, run.deviations)["failures"]
    new = [failure for failure in found if run.results.counts(failure)]
    if new and not run.deviations.accept:
        raise ContractFailure("\n\n".join(dict.fromkeys(map(terminal.told, new))))
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Put what the test saw into its report, as plain JSON: it may have to travel from a worker."""
    report = yield
    record = item.stash.get(_RECORD, None)
    if call.when != "call" or record is None:
        return report
    if call.excinfo and call.excinfo.errisinstance(ContractFailure):
        report.longrepr = str(call.excinfo.value)
    deviations = item.config.stash[_RUN].deviations
    report.contract = record.as_json(test_id(item), deviations)
    if report.outcome == "skipped":
        report.contract["reason"] = getattr(call.excinfo.value, "msg", "") if call.excinfo else ""
    return report


def test_id(item: pytest.Item) -> str:
    """Return the name of a test that stays the same wherever the suite is installed."""
    case = _case(item)
    if case:
        return case.id
    path = item.path.relative_to(_FOLDER) if item.path.is_relative_to(_FOLDER) else item.path
    return f"{path.stem.removeprefix('test_')}/{item.name.removeprefix('test_')}"


def _case(item: pytest.Item) -> Case | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("case") if callspec else None


def _subject(item: pytest.Item, reason: NotExercised) -> str:
    """Return what a reason is about in the matrix: a line, or an operation with all its lines."""
    case = _case(item)
    if case is None:
        return item.name
    if case.provoke and case.expected.statuses:
        status = min(case.expected.statuses)
        code = min(case.expected.codes, default="")
        return f"{case.operation.name}|code|{status} {code}" if code else f"{case.operation.name}|status|{status}"
    return case.operation.name if isinstance(reason, Withheld) else item.name


class _Collector:
    """Collects what all tests saw, reports it, and decides whether the run was good enough."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self.config = config
        self.results = run.results
        self.problems: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test saw, in this process or in a worker."""
        if hasattr(report, "contract"):
            self.results.take(report.contract, report.outcome, report.duration)

    @pytest.hookimpl(optionalhook=True)  # pytest-xdist's, where that is installed
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker could not clean up."""
        self.results.leftovers += getattr(node, "workeroutput", {}).get("leftovers", [])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the reports; fail a run that is below what was asked for."""
        if self.config.option.collectonly:
            return
        option = self.config.option
        everything = not (option.keyword or option.markexpr)
        self.results.settle(everything=everything, thorough=option.thorough, prune=option.prune)
        self.problems = self.results.problems()
        if self.problems and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        report = self.config.getoption("--report")
        if report:
            (report / "report.json").write_text(self.results.json_text(self.problems), encoding="utf-8")
            (report / "report.html").write_text(page(self.results, self.problems), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what is wrong, grouped by cause, what was not exercised, and what took longest."""
        if not self.config.option.collectonly:
            for title, lines in terminal.sections(self.results, self.problems, self.config.getoption("--report")):
                terminalreporter.section(title)
                for line in lines:
                    terminalreporter.write_line(line)
