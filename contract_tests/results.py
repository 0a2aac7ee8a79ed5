"""What came out of a run: tests, failures by cause, coverage; and whether that is good enough."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from contract_tests.coverage import Key
from flowcontract.evidence import DEFAULT_BAR, Tier, fails

if TYPE_CHECKING:
    from contract_tests.coverage import Coverage, Outcome
    from contract_tests.deviations import Deviations
    from contract_tests.target import Target


Status = Literal["passed", "failed", "interrupted", "crashed", "incomplete"]
EXIT_CODES: dict[Status, int] = {"passed": 0, "failed": 1, "interrupted": 2, "crashed": 2, "incomplete": 2}


class Group(NamedTuple):
    """Failures with one cause: the first of them, and where it was seen."""

    first: dict[str, Any]
    tests: list[str]


@dataclass(slots=True)
class Results:
    """Collects what each test reports, in this process or in a worker.

    ``demand``     the bar: violations of a tier beyond it are notes
    ``failures``   what fails the run
    ``notes``      violations beyond the bar: reported and counted, never red
    ``deviating``  known differences that occurred; ``fixed`` those that no longer do
    ``choices``    what the server did where a ruling leaves it the choice
    ``crashes``    tests that broke down, which is the suite's own fault: `test` and `trace`
    """

    target: Target
    coverage: Coverage
    deviations: Deviations
    demand: Tier = DEFAULT_BAR
    interrupted: bool = False
    exchanges: int = 0
    tests: dict[str, dict[str, Any]] = field(default_factory=dict)  # id -> outcome, seconds, reason
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    deviating: list[dict[str, Any]] = field(default_factory=list)
    fixed: list[dict[str, Any]] = field(default_factory=list)
    choices: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    crashes: list[dict[str, Any]] = field(default_factory=list)
    streams: list[dict[str, Any]] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    def take(self, report: dict[str, Any], outcome: str, seconds: float) -> None:
        """Take what a test saw."""
        test = report["test"]
        self.tests[test] = {"outcome": outcome, "seconds": round(seconds, 3), "reason": report.get("reason", "")}
        self.exchanges += report["exchanges"]
        for failure in report["failures"]:
            self._take_failure({**failure, "test": test})
        red = [failure for failure in report["failures"] if fails(failure["tier"], self.demand)]
        known = bool(red) and all(failure["known"] for failure in red)
        for operation, sort, name, well in report["seen"]:
            seen: Outcome = "passed" if well else "deviating" if known else "failed"
            self.coverage.see(Key(operation, sort, name), seen)
        for subject, reason in report["skipped"].items():
            self.coverage.explain(subject, reason)
        self.streams += [{**stream, "test": test} for stream in report["streams"]]
        for choice in report["choices"]:
            key = (choice["operation"], choice["name"], choice["took"])
            taken = self.choices.setdefault(key, {**choice, "count": 0})
            taken["count"] += 1

    def _take_failure(self, failure: dict[str, Any]) -> None:
        if failure["known"]:
            self.deviations.occurred.add(failure["known"])
            self.deviating.append(failure)
        elif fails(failure["tier"], self.demand):
            self.failures.append(failure)
        else:
            self.notes.append(failure)

    def accept(self) -> None:
        """Write the deviations file: every difference of this run, known or new."""
        self.deviations.write({failure["id"]: failure for failure in [*self.deviating, *self.failures]})

    def groups(self, failures: list[dict[str, Any]] | None = None) -> list[Group]:
        """Return failures (those that are red, by default) grouped by cause, the most frequent first."""
        found: dict[tuple[Any, ...], Group] = {}
        for failure in self.failures if failures is None else failures:
            key = (failure["operation"].partition("/")[0], failure["cause"], *failure["source"])
            found.setdefault(key, Group(failure, [])).tests.append(failure["test"])
        return sorted(found.values(), key=lambda group: -len(group.tests))

    def status(self, problems: list[str]) -> Status:
        """Return how the run ended; `problems` is why it fails as a whole."""
        if self.interrupted:
            return "interrupted"
        if self.crashes:
            return "crashed"
        if self.failures or problems:
            return "failed"
        return "passed" if self.exchanges else "incomplete"

    def problems(self, *, everything: bool) -> list[str]:
        """Return why the run as a whole fails, beyond single tests."""
        found = [f"coverage: {below}" for below in self.coverage.below()]
        if not self.exchanges:
            found.append("nothing was exercised: no request was sent")
        if not self.deviations.accept:
            gone = self.deviations.gone(self.tests, everything=everything)
            found += [f"deviation no longer occurs: {one.id} ({one.reason})" for one in gone]
        return found

    def not_asked(self) -> dict[str, list[str]]:
        """Return the tests that could not ask, by reason."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, test in self.tests.items():
            if test["outcome"] == "skipped":
                found[test["reason"]].append(name)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    def not_exercised(self) -> dict[str, list[str]]:
        """Return what was not exercised, as `operation name`, by reason."""
        found: dict[str, list[str]] = defaultdict(list)
        for key, row in self.coverage.rows.items():
            if row.outcome == "not exercised":
                found[self.coverage.reason(key)].append(f"{key.operation} {key.name}")
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    def as_json(self, problems: list[str]) -> dict[str, Any]:
        """Return everything as plain JSON."""
        matrix = [
            {
                **key._asdict(),
                "outcome": row.outcome,
                "documented": row.documented,
                "counts": row.counts,
                "reason": self.coverage.reason(key) if row.outcome == "not exercised" else "",
            }
            for key, row in self.coverage.rows.items()
        ]
        status = self.status(problems)
        return {
            "status": status,
            "exit_code": EXIT_CODES[status],
            "demand": str(self.demand),
            "target": {name: api.base_url for name, api in self.target.apis.items()},
            "exchanges": self.exchanges,
            "coverage_percent": round(self.coverage.share(), 1),
            "problems": problems,
            "failures": self.failures,
            "notes": self.notes,
            "deviating": self.deviating,
            "fixed": self.fixed,
            "choices": list(self.choices.values()),
            "crashes": self.crashes,
            "tests": self.tests,
            "matrix": matrix,
            "streams": self.streams,
            "left_over": self.leftovers,
        }

    def json_text(self, problems: list[str]) -> str:
        """Return everything as JSON text."""
        return json.dumps(self.as_json(problems), ensure_ascii=False, indent=1)
