"""The end of a run: the records of all tests, the reports, the summary, the exit status."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from contract_tests.config.options import OPTIONS
from contract_tests.plugin.names import get_test_id
from contract_tests.report import folder, github, last_run, terminal
from contract_tests.report.document import build_document, to_json_text
from contract_tests.report.hiding import hide
from contract_tests.report.results import EXIT_CODES
from flowcontract.errors import FlowContractError
from flowcontract.output.printable import make_printable
from flowcontract.output.version import read_version

if TYPE_CHECKING:
    from contract_tests.plugin.run import Run

SILENT = -2  # the verbosity of `-qq`, with which the command silences pytest's own output
_WORKERS_END_S = 0.5  # that workers get to end an interrupted run; xdist would wait for ten seconds


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


class Collector:
    """Collects the records of all tests, writes the reports, and decides whether the run passes."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self.config = config
        self.run = run
        self.results = run.results
        self.verbose = config.option.verbose > (SILENT if config.option.no_summary else 0)
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
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter and self.config.option.no_summary:  # the summary says so; pytest would print the exception's name
            reporter._report_keyboardinterrupt = lambda: None  # noqa: SLF001 - no hook leaves it out
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
