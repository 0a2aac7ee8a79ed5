"""The results of a run: tests, failures, coverage, and whether the run passes."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from contract_tests.report.coverage import Key
from contract_tests.report.shapes import Shapes
from flowcontract.provenance.evidence import DEFAULT_BAR, Tier, fails

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contract_tests.http.target import Target
    from contract_tests.report.coverage import Coverage, Outcome
    from contract_tests.report.deviations import Deviations


Status = Literal["passed", "failed", "interrupted", "crashed", "incomplete"]
EXIT_CODES: dict[Status, int] = {"passed": 0, "failed": 1, "interrupted": 2, "crashed": 2, "incomplete": 2}


def find_last_words(trace: str) -> str:
    """Return the line of a traceback with the error; pytest marks it with an E."""
    lines = trace.strip().splitlines()
    marked = [line[1:].strip() for line in lines if line.startswith("E ")]
    return (marked or lines or ["no traceback"])[-1]


@dataclass(slots=True)
class Results:
    """Collects the reports of all tests, in this process or in workers.

    ``demand``     the bar: violations of a tier beyond it are notes
    ``failures``   what fails the run
    ``notes``      violations beyond the bar: reported and counted, never red
    ``deviating``  known differences that occurred; ``fixed`` those that no longer do
    ``choices``    what the server did where a ruling accepts several behaviours
    ``crashes``    exceptions in the suite itself: `test` and `trace`
    ``about``      start, duration, our version, the options of the run
    ``shapes``     what the answers look like, and how fast they came
    ``missing``    tests that were not run, because the run was interrupted or reached its time limit
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
    notes: list[dict[str, Any]] = field(default_factory=list)  # reported, but no failures
    deviating: list[dict[str, Any]] = field(default_factory=list)
    fixed: list[dict[str, Any]] = field(default_factory=list)  # known deviations that no longer occur: id, reason
    written: list[str] = field(default_factory=list)  # what was changed in the file of known deviations
    choices: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    crashes: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    minutes: float = math.inf  # the time limit
    is_over: bool = False  # whether the run reached it
    streams: list[dict[str, Any]] = field(default_factory=list)
    shapes: Shapes = field(default_factory=Shapes)
    leftovers: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def add(self, report: dict[str, Any], outcome: str, seconds: float) -> None:
        """Add the report of a test."""
        test = report["test"]
        if report.get("unfinished"):
            self.missing.append(test)
        self.tests[test] = {"outcome": outcome, "seconds": round(seconds, 3), "reason": report.get("reason", "")}
        self.exchanges += report["exchanges"]
        for failure in report["failures"]:
            beyond = self.failures if self.fails_run(failure) else self.notes
            listed = self.deviating if failure["known"] else beyond
            listed.append({**failure, "test": test})
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
        if not test.startswith("fuzzing/"):
            for answer in report.get("answers", ()):
                self.shapes.add(answer)
        for choice in report["choices"]:
            key = (choice["operation"], choice["name"], choice["took"])
            taken = self.choices.setdefault(key, {**choice, "count": 0})
            taken["count"] += 1

    def fails_run(self, failure: Mapping[str, Any]) -> bool:
        """Tell whether a failure fails the run: its tier is demanded, and it is not known.

        One that fuzzing found fails only a run with --demand-fuzz, or if its entry among the known ones has expired.
        """
        looked_at = not failure["fuzzed"] or self.demand_fuzz or bool(failure["entry"])
        return looked_at and not failure["known"] and fails(failure["tier"], self.demand)

    def finish(self, *, everything: bool, thorough: bool, prune: bool = False) -> None:
        """Find the known deviations that a complete run no longer has, and update their file if that was asked for."""
        called = [name for name, test in self.tests.items() if test["outcome"] != "skipped"]
        operations = {"/".join(name.split("/")[:2]) for name in called}
        obsolete = self.deviations.find_fixed([*called, *operations], fuzzed=thorough) if everything else []
        self.fixed = [{"id": entry.id, "reason": entry.reason} for entry in obsolete]
        if self.deviations.accept or prune:
            self.written = self.deviations.write(
                self._collect_causes() if self.deviations.accept else {}, obsolete=obsolete if prune else ()
            )

    def _collect_causes(self) -> dict[str, dict[str, Any]]:
        """Return the first failure of each cause that is to be accepted, with the entries that covered it so far."""
        found: dict[str, dict[str, Any]] = {}
        fuzzed = [note for note in self.notes if note["fuzzed"] and fails(note["tier"], self.demand)]
        for failure in [*self.failures, *self.deviating, *fuzzed]:
            first = found.setdefault(failure["id"], {**failure, "entries": []})
            first["entries"].append(failure["entry"])
        return found

    def decide_status(self, reasons: list[str]) -> Status:
        """Return how the run ended; `reasons` is why it fails as a whole."""
        if self.interrupted:
            return "interrupted"
        if self.crashes:
            return "crashed"
        if self.missing or self.is_over or not self.exchanges:
            return "incomplete"
        return "failed" if reasons or (self.failures and not self.deviations.accept) else "passed"

    @property
    def is_whole(self) -> bool:
        """Whether all tests were run."""
        return not (self.interrupted or self.crashes or self.missing or self.is_over)

    def list_failure_reasons(self) -> list[str]:
        """Return why the run as a whole fails, apart from single tests."""
        found = [f"crashed: {crash['test']}: {find_last_words(crash['trace'])}" for crash in self.crashes]
        if self.interrupted:
            found.append(f"interrupted: {len(self.missing) or 'some'} tests were not run")
        elif self.missing or self.is_over:
            left = f"{len(self.missing)} tests were not run" if self.missing else "the run was not over"
            found.append(f"incomplete: {left} within {self.minutes:g} minutes (--max-minutes)")
        found += [f"coverage: {below}" for below in self.coverage.find_shortfalls()] if self.is_whole else []
        if not self.exchanges:
            why = "no request was sent" if self.tests else "no test is what -k or -m asks for"
            found.append(f"nothing was exercised: {why}")
        return found

    def list_not_asked(self) -> dict[str, list[str]]:
        """Return the tests that were skipped, by reason."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, test in self.tests.items():
            if test["outcome"] == "skipped":
                found[test["reason"]].append(name)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    def list_not_exercised(self) -> dict[str, list[str]]:
        """Return what was not exercised, as `operation name`, by reason."""
        found: dict[str, list[str]] = defaultdict(list)
        for key, row in self.coverage.rows.items():
            if row.outcome == "not exercised":
                found[self.coverage.find_reason(key)].append(f"{key.operation} {key.name}")
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    def _explain(self, choice: Mapping[str, Any]) -> dict[str, Any]:
        """Return a choice with the decision of its ruling."""
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
                "reason": self.coverage.find_reason(key) if row.outcome == "not exercised" else "",
            }
            for key, row in self.coverage.rows.items()
        ]
        status = self.decide_status(problems)
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
            "written": self.written,
            "tests": self.tests,
            "matrix": matrix,
            "answers": self.shapes.as_json(),
            "streams": self.streams,
            "left_over": self.leftovers,
        }
