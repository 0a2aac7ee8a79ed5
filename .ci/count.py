"""Adds up what a nox run did: every test of the tests session, and every other session as one check."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def count(report: Path, tests: Path) -> tuple[int, int]:
    """Return how many checks passed and how many failed; a report that is missing is a failure."""
    passed = failed = 0
    sessions = json.loads(report.read_text(encoding="utf-8"))["sessions"] if report.is_file() else []
    for session in sessions:
        good = session["result"] == "success"
        if session["name"] == "tests" and tests.is_file():
            suites = ET.parse(tests).getroot().iter("testsuite")  # noqa: S314 - as above
            for suite in suites:
                wrong = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
                failed += wrong
                passed += int(suite.get("tests", 0)) - wrong - int(suite.get("skipped", 0))
            failed += not good and failed == 0
        else:
            passed += good
            failed += not good
    return passed, failed or int(not sessions)


if __name__ == "__main__":
    good, bad = count(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(f"{good} passed, {bad} failed\n")
