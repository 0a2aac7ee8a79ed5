"""What came out of a run: tests, failures by cause, coverage; and whether that is good enough."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from contract_tests.report.coverage import Key
from flowcontract.provenance.evidence import DEFAULT_BAR, Tier, fails

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contract_tests.http.target import Target
    from contract_tests.report.coverage import Coverage, Outcome
    from contract_tests.report.deviations import Deviations


Status = Literal["passed", "failed", "interrupted", "crashed", "incomplete"]
EXIT_CODES: dict[Status, int] = {"passed": 0, "failed": 1, "interrupted": 2, "crashed": 2, "incomplete": 2}


def last_words(trace: str) -> str:
    """Return the line of a traceback that says what went wrong; pytest marks it with an E."""
    lines = trace.strip().splitlines()
    marked = [line[1:].strip() for line in lines if line.startswith("E ")]
    return (marked or lines or ["no traceback"])[-1]


@dataclass(slots=True)
class Results:
    """Collects what each test reports, in this process or in a worker.

    ``demand``     the bar: violations of a tier beyond it are notes
    ``failures``   what fails the run
    ``notes``      violations beyond the bar: reported and counted, never red
    ``deviating``  known differences that occurred; ``fixed`` those that no longer do
    ``choices``    what the server did where a ruling leaves it the choice
    ``crashes``    tests that broke down, which is the suite's own fault: `test` and `trace`
    ``about``      when it began, how long it took, our version, the options it was given
    ``missing``    tests that were not run, because the run was interrupted or met its bound
    """

    target: Target
    coverage: Coverage
    deviations: Deviations
    demand: Tier = DEFAULT_BAR
    demand_fuzz: bool = False  # whether what fuzzing finds fails the run
    interrupted: bool = False
    exchanges: int = 0
    tests: dict[str, dict[str, Any]] = field(default_factory=dict)  # id -> outcome, seconds, reason
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)  # what is told and fails nothing
    deviating: list[dict[str, Any]] = field(default_factory=list)
    fixed: list[dict[str, Any]] = field(default_factory=list)  # known deviations that occur no longer: id, reason
    choices: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    crashes: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    minutes: float = math.inf  # that the run may take
    is_over: bool = False  # whether it took them
    streams: list[dict[str, Any]] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def add(self, report: dict[str, Any], outcome: str, seconds: float) -> None:
        """Take what a test saw."""
        test = report["test"]
        if report.get("unfinished"):
            self.missing.append(test)
        self.tests[test] = {"outcome": outcome, "seconds": round(seconds, 3), "reason": report.get("reason", "")}
        self.exchanges += report["exchanges"]
        for failure in report["failures"]:
            self._list_for(failure).append({**failure, "test": test})
            if failure["entry"]:
                self.deviations.occurred.add(failure["entry"])
        red = [failure for failure in report["failures"] if failure["known"] or self.fails_run(failure)]
        known = bool(red) and all(failure["known"] for failure in red)
        for operation, sort, name, well in report["seen"]:
            seen: Outcome = "passed" if well else "deviating" if known else "failed"
            self.coverage.count(Key(operation, sort, name), seen)
        for subject, reason in report["skipped"].items():
            self.coverage.explain(subject, reason)
        self.streams += [{**stream, "test": test} for stream in report["streams"]]
        for choice in report["choices"]:
            key = (choice["operation"], choice["name"], choice["took"])
            taken = self.choices.setdefault(key, {**choice, "count": 0})
            taken["count"] += 1

    def fails_run(self, failure: Mapping[str, Any]) -> bool:
        """Tell whether a failure fails the run: it rests on what is demanded, and is not known.

        What fuzzing finds fails a run that asks for that, or once it was accepted and its entry has expired.
        """
        looked_at = not failure["fuzzed"] or self.demand_fuzz or bool(failure["entry"])
        return looked_at and not failure["known"] and fails(failure["tier"], self.demand)

    def _list_for(self, failure: Mapping[str, Any]) -> list[dict[str, Any]]:
        if failure["known"]:
            return self.deviating
        return self.failures if self.fails_run(failure) else self.notes

    def finish(self, *, everything: bool, thorough: bool, prune: bool = False) -> None:
        """Say which known deviations are gone, of a run that asked everything; bring their file up to date."""
        asked = [name for name, test in self.tests.items() if test["outcome"] != "skipped"]
        operations = {"/".join(name.split("/")[:2]) for name in asked}
        gone = self.deviations.find_fixed([*asked, *operations], fuzzed=thorough) if everything else []
        self.fixed = [{"id": entry.id, "reason": entry.reason} for entry in gone]
        if self.deviations.accept or prune:
            self.deviations.write(self._collect_causes() if self.deviations.accept else {}, gone=gone if prune else ())

    def _collect_causes(self) -> dict[str, dict[str, Any]]:
        """Return the first failure of each cause that is to be known from now on, with the entries that covered it."""
        found: dict[str, dict[str, Any]] = {}
        for failure in [*self.failures, *self.deviating, *self._list_fuzzed_notes()]:
            first = found.setdefault(failure["id"], {**failure, "entries": []})
            first["entries"].append(failure["entry"])
        return found

    def _list_fuzzed_notes(self) -> list[dict[str, Any]]:
        """Return the notes that would be failures where fuzzing is demanded."""
        return [note for note in self.notes if note["fuzzed"] and fails(note["tier"], self.demand)]

    def status(self, problems: list[str]) -> Status:
        """Return how the run ended; `problems` is why it fails as a whole."""
        if self.interrupted:
            return "interrupted"
        if self.crashes:
            return "crashed"
        if self.missing or self.is_over or not self.exchanges:
            return "incomplete"
        return "failed" if problems or (self.failures and not self.deviations.accept) else "passed"

    @property
    def is_whole(self) -> bool:
        """Whether everything that was to be asked was asked."""
        return not (self.interrupted or self.crashes or self.missing or self.is_over)

    def list_failure_reasons(self) -> list[str]:
        """Return why the run as a whole fails, beyond single tests."""
        found = [f"crashed: {crash['test']}: {last_words(crash['trace'])}" for crash in self.crashes]
        if self.interrupted:
            found.append(f"interrupted: {len(self.missing) or 'some'} tests were not run")
        elif self.missing or self.is_over:
            left = f"{len(self.missing)} tests were not run" if self.missing else "the run was not over"
            found.append(f"incomplete: {left} within {self.minutes:g} minutes (--max-minutes)")
        found += [f"coverage: {below}" for below in self.coverage.find_shortfalls()] if self.is_whole else []
        if not self.exchanges:
            found.append("nothing was exercised: no request was sent")
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

    def _explain(self, choice: Mapping[str, Any]) -> dict[str, Any]:
        """Return a choice with what its ruling says."""
        rulings = self.target.apis[choice["operation"].partition("/")[0]].api.rulings
        ruling = rulings.get(choice["ruling"])
        return {**choice, "decision": ruling.decision if ruling else ""}

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
            "about": self.about,
            "demand": str(self.demand),
            "target": {name: api.base_url for name, api in self.target.apis.items()},
            "exchanges": self.exchanges,
            "coverage_percent": round(self.coverage.share(), 1),
            "problems": problems,
            "failures": self.failures,
            "notes": self.notes,
            "deviating": self.deviating,
            "fixed": self.fixed,
            "choices": [self._explain(choice) for _, choice in sorted(self.choices.items())],
            "crashes": self.crashes,
            "missing": self.missing,
            "complaints": self.deviations.list_complaints(),
            "tests": self.tests,
            "matrix": matrix,
            "streams": self.streams,
            "left_over": self.leftovers,
        }
