"""Runs the suite against a server on loopback, as `contract-tests` does, and returns its report."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence


class Outcome(NamedTuple):
    """The exit status of a run, and its report.json."""

    status: int
    report: dict[str, Any]

    def found(self, *lists: str) -> list[dict[str, Any]]:
        """Return what stands in the report's `failures`, `notes` ..."""
        return [failure for name in lists for failure in self.report[name]]


def run_suite(port: int, apis: Sequence[str], chosen: str, *options: str) -> Outcome:
    """Run those tests of some APIs that `chosen` names (pytest's `-k`); raise RuntimeError where they did not run."""
    with tempfile.TemporaryDirectory() as folder:
        own = [
            "--base-url",
            f"http://127.0.0.1:{port}",
            "--report",
            folder,
            *(f"--api={api}" for api in apis),
            *options,
        ]
        plugins = ["-p", "contract_tests.plugin", "-p", "no:randomly"]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = pytest.main([*plugins, "--pyargs", "contract_tests", "-q", "-k", chosen, *own])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            raise RuntimeError(f"the suite did not run: {said.getvalue()[-2000:]}")
        return Outcome(status, json.loads((Path(folder) / "report.json").read_text(encoding="utf-8")))
