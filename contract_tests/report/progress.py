"""Shows the progress of a run by API: redrawn on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from flowcontract.output.printable import make_printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.progress import TaskID

JOURNEYS = "journeys"
_TENTHS = 10  # plain lines of a run
_LONG_S = 10.0  # after which a test is mentioned


class ProgressReporter:
    """A pytest plugin that shows the progress of a run, with or without xdist."""

    def __init__(self, apis: Iterable[str], write_line: Callable[[str], None]) -> None:
        """Show nothing yet; plain lines are written by `write_line`."""
        names = sorted(apis, key=len, reverse=True)
        self._api = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b")
        self._write_line = write_line
        self._totals: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._printed_tenths = 0
        self._live: _Live | None = None

    def _find_api(self, nodeid: str) -> str:
        found = self._api.search(nodeid)
        return found[1] if found else JOURNEYS

    def _begin(self, nodeids: Iterable[str]) -> None:
        counts = Counter(map(self._find_api, nodeids))
        names = sorted(counts, key=lambda sort: (sort == JOURNEYS, sort))
        self._totals = Counter({sort: counts[sort] for sort in names})
        if self._totals and sys.stdout.isatty():
            self._live = _Live(self._totals)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Start, where the tests run in this process."""
        if not session.config.option.collectonly and session.items:
            self._begin(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)  # pytest-xdist's, where that is installed
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:  # noqa: ARG002 - its signature
        """Start, where the tests run in workers, all of which collect the same tests."""
        if not self._totals:
            self._begin(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Show the current test."""
        if self._live:
            self._live.ask(self._find_api(nodeid), nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count failures; mention a test that took long."""
        self._failed[self._find_api(report.nodeid)] += report.failed
        if report.when == "call" and report.duration >= _LONG_S and not self._live:
            self._write_line(f"{report.duration:.0f} s: {make_printable(_get_test_name(report.nodeid))}")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Count finished tests."""
        sort = self._find_api(nodeid)
        self._done[sort] += 1
        if self._live:
            self._live.show(sort, self._done[sort], self._failed[sort])
            return
        done, total = self._done.total(), self._totals.total()
        if total and done * _TENTHS // total > self._printed_tenths:
            self._printed_tenths = done * _TENTHS // total
            self._write_line(f"{100 * done // total:3} %  {', '.join(map(self._format_count, self._totals))}")

    def _format_count(self, sort: str) -> str:
        failed = f", {self._failed[sort]} failed" if self._failed[sort] else ""
        return f"{sort} {self._done[sort]}/{self._totals[sort]}{failed}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Remove the bars before the summary is printed."""
        if self._live:
            self._live.stop()


class _Live:
    """A bar for each API, redrawn in place, on a duplicate of standard output that pytest does not capture."""

    def __init__(self, totals: Counter[str]) -> None:
        file = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", errors="backslashreplace")
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        columns = (
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}", style="red", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}", style="dim", markup=False, table_column=rest),
        )
        self._progress = Progress(*columns, console=Console(file=file), transient=True, expand=True)
        self._tasks: dict[str, TaskID] = {
            sort: self._progress.add_task(sort, total=total, start=False, failed="", now="")
            for sort, total in totals.items()
        }
        self._progress.start()

    def ask(self, sort: str, nodeid: str) -> None:
        """Show the current test."""
        if sort in self._tasks:
            self._progress.start_task(self._tasks[sort])
            self._progress.update(
                self._tasks[sort], now=make_printable(_get_test_name(nodeid).removeprefix(f"{sort}/"))
            )

    def show(self, sort: str, done: int, failed: int) -> None:
        """Show the progress of an API."""
        if sort in self._tasks:
            text = f"{failed} failed" if failed else ""
            self._progress.update(self._tasks[sort], completed=done, failed=text, now="")

    def stop(self) -> None:
        """Remove the bars."""
        self._progress.stop()


def _get_test_name(nodeid: str) -> str:
    """Return a test's name without its file."""
    name = nodeid.partition("::")[2]
    return name.partition("[")[2].removesuffix("]") or name
