"""How fast the contract suite is: a whole run against our mock, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from servers import Running, ours


class SuiteRun(NamedTuple):
    """One run: what it asked, in how many seconds, and the CPU seconds that the mock needed for it."""

    exchanges: int
    seconds: float
    mock_cpu_s: float


def measure() -> SuiteRun:
    """Run the suite once; raise RuntimeError where the mock does not conform."""
    with tempfile.TemporaryDirectory() as name:
        running = Running(next(ours()), Path(name) / "mock")
        try:
            command = [sys.executable, "-m", "contract_tests", "--base-url", f"http://127.0.0.1:{running.port}"]
            begun, before = time.perf_counter(), running.usage()[0]
            done = subprocess.run([*command, "--report", name], capture_output=True, text=True, check=False)
            seconds, cpu = time.perf_counter() - begun, running.usage()[0] - before
            if done.returncode:
                raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
            report = json.loads((Path(name) / "report.json").read_text(encoding="utf-8"))
        finally:
            running.end()
    return SuiteRun(report["exchanges"], seconds, cpu)


def line(run: SuiteRun) -> str:
    """Return what is printed of it."""
    rate = run.exchanges / run.seconds
    return (
        f"contract-tests against the mock: {run.exchanges:,} exchanges in {run.seconds:.0f} s, {rate:.0f}/s,"
        f" the mock itself busy for {run.mock_cpu_s:.1f} s"
    )
