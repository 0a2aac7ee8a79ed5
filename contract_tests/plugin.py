"""The pytest plugin of the suite: options, cases as parameters, the verdict of each test, the reports at the end."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contract_tests.cases.case import Case
from contract_tests.cases.derive import derive_cases
from contract_tests.cases.probes import derive_probes
from contract_tests.cases.provoked import derive_streams, derive_successes
from contract_tests.config import target
from contract_tests.config.options import OPTIONS
from contract_tests.http.clock import Clock, OutOfTimeError
from contract_tests.http.target import TargetError
from contract_tests.journeys.journey import Journey
from contract_tests.report import folder, github, last_run, terminal
from contract_tests.report.baseline import load_baseline
from contract_tests.report.coverage import Coverage
from contract_tests.report.deviations import Deviations
from contract_tests.report.document import build_document, read_version, to_json_text
from contract_tests.report.hiding import hide
from contract_tests.report.progress import ProgressReporter
from contract_tests.report.results import EXIT_CODES, Results
from contract_tests.suite import preflight
from contract_tests.suite.not_exercised import NotExercised, Withheld
from contract_tests.suite.record import Record
from contract_tests.suite.session import Suite
from flowcontract.errors import FlowContractError
from flowcontract.output.printable import make_printable
from flowcontract.provenance.evidence import Tier, fails
from flowcontract.specs.model import list_apis, load_apis

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from contract_tests.http.target import Target
    from contract_tests.report.har import Recorder
    from flowcontract.output.secrets import Secrets
    from flowcontract.specs.model import Api

_FOLDER = Path(__file__).parent
_SILENT = -2  # the verbosity of `-qq`, with which the command silences pytest's own output
_WORKERS_END_S = 0.5  # that workers get to end an interrupted run; xdist would wait for ten seconds


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


_RUN = pytest.StashKey[Run]()
_RECORD = pytest.StashKey[Record]()
_UNFINISHED = pytest.StashKey[bool]()  # whether the run reached its time limit during a test, or before it


def _split_profile(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not equals:
        raise TargetError(f"--profile {option}: expected API=NAME.")
    return name, value


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
    collector = _Collector(config, run)
    config.pluginmanager.register(collector, "contract-tests-collector")
    if config.option.no_summary:
        config.option.verbose = _SILENT
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
        record.skipped.setdefault(_find_subject(item, reason), str(reason))
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


def get_test_id(item: pytest.Item) -> str:
    """Return the name of a test, which does not depend on where the suite is installed."""
    case = _get_case(item)
    if case:
        return case.id
    path = item.path.relative_to(_FOLDER) if item.path.is_relative_to(_FOLDER) else item.path
    return f"{path.stem.removeprefix('test_')}/{item.name.removeprefix('test_')}"


def _get_case(item: pytest.Item) -> Case | None:
    callspec = getattr(item, "callspec", None)
    found = callspec.params.get("case") if callspec else None
    return found if isinstance(found, Case) else None  # a family without cases has one skipped test without a case


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Remove the tests of families without cases, which pytest would report as skipped; let fuzzing come last.

    What a run has no time for is then what was made up, not what the documents say.
    """
    items[:] = [item for item in items if _get_case(item) or "case" not in getattr(item, "fixturenames", ())]
    items.sort(key=lambda item: item.path.stem == "test_fuzzing")


def _find_subject(item: pytest.Item, reason: NotExercised) -> str:
    """Return what a reason for skipping applies to in the matrix: a line, or an operation with all its lines."""
    case = _get_case(item)
    if case is None:
        return item.name
    if case.provoke and case.expected.statuses:
        status = min(case.expected.statuses)
        code = min(case.expected.codes, default="")
        return f"{case.operation.name}|code|{status} {code}" if code else f"{case.operation.name}|status|{status}"
    return case.operation.name if isinstance(reason, Withheld) else item.name


def _describe_options(option: Any) -> list[str]:
    """Return the options of a run as on the command line, with masked keys."""
    described = []
    for name, settings in OPTIONS.items():
        value = getattr(option, name.removeprefix("--").replace("-", "_"), None)
        if value in (None, False, [], settings.get("default")):
            continue
        values = value if isinstance(value, list) else [value]
        texts = [f"{str(item).partition('=')[0]}=***" if name == "--key" else str(item) for item in values]
        described += [name if value is True else f"{name} {text}" for text in texts]
    return [*described, f"-k {option.keyword}"] if option.keyword else described


class _Collector:
    """Collects the records of all tests, writes the reports, and decides whether the run passes."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self.config = config
        self.run = run
        self.results = run.results
        self.verbose = config.option.verbose > (_SILENT if config.option.no_summary else 0)
        self.document: dict[str, Any] = {}
        self._began = time.monotonic()
        self.results.about = {
            "version": read_version(),
            "started": _format_now(),
            "options": _describe_options(config.option),
        }

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Print nothing for a test in a run of the command, which has its own progress display."""
        return (report.outcome, "", "") if self.config.option.no_summary else None

    def write_line(self, text: str, colour: str = "") -> None:
        """Write a line to the terminal."""
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter:
            reporter.write_line(text, **({colour: True} if colour else {}))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the record of a test, of this process or of a worker."""
        if hasattr(report, "contract"):
            self.results.add(report.contract, report.outcome, report.duration)
        if hasattr(report, "crash"):
            self.results.crashes.append(report.crash)
        elif report.failed and not hasattr(report, "contract"):  # xdist's report of a worker that crashed
            self._add_crash(report.nodeid, str(report.longrepr))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record test modules that cannot be imported."""
        if report.failed:
            self._add_crash(report.nodeid, str(report.longrepr))

    def pytest_internalerror(self, excrepr: object) -> None:
        """Record an exception outside of all tests."""
        self._add_crash("pytest", str(excrepr))

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note that the user interrupted the run, unless it was its own time limit."""
        excinfo.traceback = excinfo.traceback[-1:]  # formatting all of it would take longer than the rest of the ending
        self.results.interrupted = self.run.clock.interrupted or not self.run.clock.is_over
        workers = self.config.pluginmanager.get_plugin("dsession")
        if workers and workers.nodemanager:
            workers.nodemanager.EXIT_TIMEOUT = _WORKERS_END_S
            self.results.leftovers.append("what the workers made: they were ended at once")

    def _add_crash(self, name: str, trace: str) -> None:
        self.results.crashes.append({"test": name, "trace": hide(trace, self.run.secrets)})

    @pytest.hookimpl(optionalhook=True)  # pytest-xdist's, where that is installed
    def pytest_testnodedown(self, node: Any) -> None:
        """Add what a worker could not remove."""
        self.results.leftovers += getattr(node, "workeroutput", {}).get("leftovers", [])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the reports, and set the exit status."""
        option, results = self.config.option, self.results
        if option.collectonly or session.exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        self.run.clock.is_ending = True
        results.interrupted |= self.run.clock.interrupted
        results.is_over = self.run.clock.is_over and not results.interrupted
        if results.interrupted or results.is_over:
            ran = results.tests.keys() | set(results.missing)
            results.missing += [name for name in map(get_test_id, getattr(session, "items", ())) if name not in ran]
        everything = results.is_whole and not (option.keyword or option.markexpr)
        results.finish(everything=everything, thorough=option.thorough, prune=option.prune and everything)
        results.about |= {"ended": _format_now(), "seconds": round(time.monotonic() - self._began, 1)}
        session.exitstatus = self._report()
        if self.run.clock.interrupted and not results.interrupted:  # while the reports were written
            results.interrupted = True
            session.exitstatus = self._report()
        if option.no_summary:  # with which older pytests ask no plugin for one
            self._summarize()

    def _report(self) -> int:
        """Build the document of the run and write the reports; return the exit status."""
        problems = self.results.list_failure_reasons()
        status = EXIT_CODES[self.results.decide_status(problems)]
        self.document = build_document(self.results, problems, self.run.secrets, self.run.baseline)
        report = self.config.getoption("--report")
        try:
            if self.run.recorder:
                self.run.recorder.close()
            with contextlib.suppress(OSError):  # the cache is optional
                last_run.remember(to_json_text(self.document))
            if report:
                folder.write(report, self.document)
        except FlowContractError as error:
            self.write_line(str(error), "red")
            return status or pytest.ExitCode.USAGE_ERROR
        return status

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Hide secrets in the JUnit XML that pytest itself has written."""
        report = self.config.getoption("--report")
        if report and len(self.run.secrets):
            folder.hide(report, self.run.secrets)

    def pytest_terminal_summary(self) -> None:
        """Print the summary, unless the command has printed it."""
        if self.document and not self.config.option.no_summary:
            self._summarize()

    def _summarize(self) -> None:
        """Print failures by cause, what was not exercised, and where the reports are."""
        lines = terminal.summarize(self.document, verbose=self.verbose)
        if not github.is_running():
            self._write_lines(lines)
            return
        with github.suspend_commands(self.write_line):
            self._write_lines(lines)
        for line in github.annotate(self.document):
            self.write_line(line)
        github.append_summary(self.document)

    def _write_lines(self, lines: list[terminal.Line]) -> None:
        if self.run.shared:
            self.run.shared.reported = True
        for line in lines:
            self.write_line(line.text, line.colour)
        report = self.config.getoption("--report")
        if report:
            self.write_line(make_printable(f"reports: {report}: {', '.join(folder.FILES)}"))


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
