"""The pytest plugin of the suite: options, cases as parameters, the verdict of each test."""

from __future__ import annotations

import importlib.metadata
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from contract_tests.config.options import OPTIONS
from contract_tests.http.clock import OutOfTimeError
from contract_tests.journeys.journey import Journey
from contract_tests.plugin.collector import SILENT, Collector
from contract_tests.plugin.names import find_subject, get_case, get_journey_api, get_test_id
from contract_tests.plugin.run import Run
from contract_tests.report import folder, terminal
from contract_tests.report.hiding import hide
from contract_tests.report.progress import ProgressReporter
from contract_tests.suite import preflight
from contract_tests.suite.not_exercised import NotExercised
from contract_tests.suite.record import Record
from flowcontract.errors import FlowContractError
from flowcontract.output.printable import make_printable
from flowcontract.provenance.evidence import fails

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from contract_tests.suite.session import Suite
    from flowcontract.output.secrets import Secrets


_RUN = pytest.StashKey[Run]()
_RECORD = pytest.StashKey[Record]()
_UNFINISHED = pytest.StashKey[bool]()  # whether the run reached its time limit during a test, or before it


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the options; `--base-url` only if pytest-base-url does not declare it."""
    group = parser.getgroup("contract tests", "Does a server answer as documented?")
    for name, settings in OPTIONS.items():
        if name != "--base-url" or not _is_base_url_declared(pluginmanager):
            group.addoption(name, **settings)


def _is_base_url_declared(pluginmanager: pytest.PytestPluginManager) -> bool:
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
    worker = getattr(config, "workerinput", {}).get("workerid", "")  # the controller collects and reports
    report = config.getoption("--report")
    try:
        if report and not worker:
            folder.prepare(report)
        run = config.stash[_RUN] = Run(config)
        if report and not config.option.collectonly:
            run.start_recording(report, worker or "main")
    except FlowContractError as error:
        raise pytest.UsageError(str(error)) from None
    if worker:
        return
    if report and not getattr(config.option, "xmlpath", None):
        config.option.xmlpath = str(report / folder.JUNIT)
    collector = Collector(config, run)
    config.pluginmanager.register(collector, "contract-tests-collector")
    if config.option.no_summary:
        config.option.verbose = SILENT
        config.pluginmanager.register(ProgressReporter(run.apis, collector.write_line), "contract-tests-progress")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Send each API a documented request; end the run where it is not accepted, and say what to correct."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    try:
        preflight.check(session.config.stash[_RUN].suite)
    except FlowContractError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test with the cases of the family that it is named after."""
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
    """Return the suite; remove what it created at the end."""
    run = request.config.stash[_RUN]
    yield run.suite
    run.suite.close()
    if run.recorder:
        run.recorder.close()
    run.results.leftovers += run.suite.leftovers
    if hasattr(request.config, "workeroutput"):
        request.config.workeroutput["leftovers"] = run.suite.leftovers


@pytest.fixture
def begin(suite: Suite) -> Callable[[str], Journey]:
    """Return a function that begins a journey at an API, by its name."""
    return partial(Journey, suite)


class ContractFailure(Exception):  # noqa: N818 - the server's failure, not ours
    """An answer is not as the contract demands; the text is the whole report."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Give each test its own record; fail it if the record has failures that are no known deviations."""
    run = item.config.stash[_RUN]
    if "suite" not in getattr(item, "fixturenames", ()):
        return (yield)
    record = run.suite.record = item.stash[_RECORD] = Record(run.demand, secrets=run.secrets)
    if run.recorder:
        run.recorder.test = get_test_id(item)
    try:
        run.clock.get_left_s()
        result = yield
    except OutOfTimeError:
        item.stash[_UNFINISHED] = True
        pytest.skip(f"the run met its bound of {run.clock.minutes:g} minutes")
    except NotExercised as reason:
        record.skipped.setdefault(find_subject(item, reason), str(reason))
        if not any(fails(failure.violation.tier, run.demand) for failure in record.failures):
            pytest.skip(str(reason))
        result = None
    test = get_test_id(item)
    found = record.as_json(test, run.deviations)["failures"]
    new = [failure for failure in found if run.results.fails_run(failure)]
    if new and not run.deviations.accept:
        raise ContractFailure("\n\n".join(dict.fromkeys(map(terminal.format_failure, new))))
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Add the record of a test to its report, as plain JSON, which xdist can send from a worker."""
    report = yield
    run = item.config.stash[_RUN]
    record = item.stash.get(_RECORD, None)
    ours = bool(call.excinfo and call.excinfo.errisinstance(ContractFailure))
    _clean_report(report, run.secrets, str(call.excinfo.value) if call.excinfo and ours else "")
    if report.failed and not ours:
        report.crash = {"test": get_test_id(item), "trace": str(report.longrepr)}
    if call.when != "call" or record is None:
        return report
    report.contract = record.as_json(get_test_id(item), run.deviations)
    report.contract["unfinished"] = item.stash.get(_UNFINISHED, False)
    if report.outcome == "skipped":
        report.contract["reason"] = getattr(call.excinfo.value, "msg", "") if call.excinfo else ""
    return report


def _clean_report(report: pytest.TestReport, secrets: Secrets, failure: str) -> None:
    """Hide secrets, and escape control characters, in what pytest itself may show or write of a test."""

    def clean(text: str) -> str:
        return make_printable(hide(text, secrets), lines=True)

    if isinstance(report.longrepr, tuple):  # of a test that was skipped
        path, line, reason = report.longrepr
        report.longrepr = (path, line, clean(reason))
    elif report.longrepr:
        report.longrepr = clean(failure or str(report.longrepr))
    report.sections = [(name, clean(text)) for name, text in report.sections]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remove the tests of families without cases, and the journeys of other APIs; let fuzzing come last.

    Pytest would report the former as skipped. What a run has no time for is then what was made up, not what the
    documents say.
    """
    apis = config.stash[_RUN].apis
    items[:] = [item for item in items if get_case(item) or "case" not in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if get_journey_api(item) in (None, *apis)]
    items.sort(key=lambda item: item.path.stem == "test_fuzzing")
