"""Compares a run with the report of an earlier one: violations, choices, what answers have and say, their speed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from flowcontract.errors import FlowContractError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

MAX_BYTES: Final = 256 * 1024 * 1024
SORTS: Final = {
    "new violation": "new violations",
    "gone violation": "gone violations",
    "changed violation": "changed violations",
    "choice": "other choices",
    "answered": "other statuses, codes and events",
    "field": "new and missing fields",
    "text": "other texts",
    "speed": "other speed",
}
"""The sorts of differences, in their order, each with the heading of its section."""
_FEWEST_TIMES: Final = 5  # a few times say nothing
_LEAST_SHARE, _LEAST_S = 0.25, 0.02  # what two runs of the same server differ by at least, on a busy machine
_VARYING = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\d+(?:\.\d+)?")
_JOINTS: Final = {"choice": " and ", "field": " or ", "text": " | "}
"""What stands between several things of one side of a difference."""
_SEEN: Final = {"status": "status", "code": "code", "event": "event"}
_NEEDED: Final = {"causes": list, "choices": list, "matrix": list, "tests": dict, "about": dict, "target": dict}


class BaselineError(FlowContractError):
    """The earlier report cannot be read, or is none."""


class Difference(NamedTuple):
    """One difference of two runs; `before` and `after` are '' where there was nothing.

    ``sort``  one of SORTS
    """

    sort: str
    operation: str
    what: str
    before: str
    after: str


def load_baseline(path: Path) -> dict[str, Any]:
    """Return the document of an earlier run, from its `report.json` or its folder; raise BaselineError."""
    file = path / "report.json" if path.is_dir() else path
    todo = "Name the report.json of an earlier run with --report."
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BaselineError(f"--baseline {path}: it has more than {MAX_BYTES} bytes. {todo}")
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise BaselineError(f"--baseline {file}: cannot be read: {error.strerror}. {todo}") from None
    except (ValueError, RecursionError) as error:
        raise BaselineError(f"--baseline {path}: is not JSON: {error}. {todo}") from None
    fields = found if isinstance(found, dict) else {}
    wrong = [name for name, kind in _NEEDED.items() if not isinstance(fields.get(name), kind)]
    if wrong:
        raise BaselineError(f"--baseline {path}: is not the report of a run, it lacks {', '.join(wrong)}. {todo}")
    return fields


def compare_runs(before: Mapping[str, Any], now: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the section `baseline` of a run's document.

    ``compared``     how many operations both runs asked
    ``differences``  in the order of SORTS
    ``notes``        what could not be compared, and why
    """
    asked = {row["operation"] for row in now["matrix"]} & {
        str(row.get("operation")) for row in _list_rows(before["matrix"])
    }
    found = [each for each in _compare_causes(before, now) if each.operation in asked]
    left_out = [_find_left_out(*runs) for runs in ((now, before), (before, now))]
    for compare in (_compare_choices, _compare_seen, _compare_fields, _compare_texts, _compare_times):
        found += [each for each in compare(before, now) if each.operation in asked and _is_sure(each, *left_out)]
    ordered = sorted(found, key=lambda difference: list(SORTS).index(difference.sort))
    return {
        "source": source,
        "started": str(before["about"].get("started", "")),
        "version": str(before["about"].get("version", "")),
        "target": {str(name): str(url) for name, url in before["target"].items()},
        "status": str(before.get("status", "")),
        "compared": len(asked),
        "differences": [difference._asdict() for difference in ordered],
        "counts": {sort: sum(difference.sort == sort for difference in ordered) for sort in SORTS},
        "notes": list(_list_notes(before, now)),
    }


class _LeftOut(NamedTuple):
    """Tests that only the other run has (`-k`): what their answers show cannot be found missing.

    ``operations``  those that such tests are about
    ``journeys``    whether some of them are journeys, which are about any
    """

    total: int
    operations: frozenset[str]
    journeys: bool

    def concerns(self, operation: str) -> bool:
        """Tell whether answers of an operation may be missing for want of a test."""
        return self.journeys or operation in self.operations


def _find_left_out(run: Mapping[str, Any], other: Mapping[str, Any]) -> _LeftOut:
    names = [name for name in _list_run(other["tests"]) - set(run["tests"]) if not name.startswith("fuzzing/")]
    about = {"/".join(name.split("/")[:2]) for name in names}
    known = {str(row.get("operation")) for row in _list_rows(other["matrix"])}
    return _LeftOut(len(names), frozenset(about & known), bool(about - known))


def _is_sure(difference: Difference, now: _LeftOut, before: _LeftOut) -> bool:
    """Tell whether a difference of what answers show would be there with all tests, too.

    What is missing in a run counts where the run has every test that could show it.
    """
    all_now, all_before = (not run.concerns(difference.operation) for run in (now, before))
    if all_now and all_before:
        return True
    if difference.sort == "speed":
        return False
    joint = _JOINTS.get(difference.sort, "\n")
    old, new = (set(filter(None, text.split(joint))) for text in (difference.before, difference.after))
    return bool(old - new and all_now) or bool(new - old and all_before)


def _list_notes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if before.get("status") in ("interrupted", "crashed", "incomplete"):
        yield f"the earlier run was {before['status']}: what it did not ask is not compared"
    for one, left_out in (("this run", _find_left_out(now, before)), ("the earlier run", _find_left_out(before, now))):
        if left_out.total:
            tests = f"{left_out.total} test{'' if left_out.total == 1 else 's'}"
            yield f"{one} left out {tests} of the other: what only their answers show is not compared"
    others = sorted(set(before["target"]) ^ set(now["target"]))
    if others:
        yield f"only one of the runs asked {', '.join(map(str, others))}"
    if before.get("demand") != now["demand"]:
        yield f"the earlier run demanded {before.get('demand')}, this one {now['demand']}"
    if not isinstance(before.get("answers"), dict):
        yield "the earlier report has no fields, texts and times: it was written by an older version"


def _list_rows(found: Any) -> list[Mapping[str, Any]]:
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _compare_causes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield causes that only one run found; one is gone only where a test that found it was run again."""
    old, new = ({str(cause.get("id")): cause for cause in _list_rows(run["causes"])} for run in (before, now))
    ran_before, ran = (_list_run(run["tests"]) for run in (before, now))
    for name, cause in new.items():
        if name not in old and ran_before & set(cause["tests"]):
            yield Difference("new violation", cause["operation"], _name_cause(cause), "", _tell_cause(cause))
        elif name in old and _build_key(old[name]) != _build_key(cause):
            what = _name_cause(cause)
            yield Difference("changed violation", cause["operation"], what, _tell_cause(old[name]), _tell_cause(cause))
    for name, cause in old.items():
        tests = cause.get("tests")
        if name not in new and isinstance(tests, list) and ran & set(map(str, tests)):
            yield Difference("gone violation", str(cause.get("operation")), _name_cause(cause), _tell_cause(cause), "")


def _list_run(tests: Mapping[str, Any]) -> set[str]:
    """Return the tests that were not skipped."""
    return {name for name, test in tests.items() if isinstance(test, dict) and test.get("outcome") != "skipped"}


def _name_cause(cause: Mapping[str, Any]) -> str:
    return str(cause.get("id", "")).partition("#")[2] or str(cause.get("rule", ""))


def _tell_cause(cause: Mapping[str, Any]) -> str:
    return f"{cause.get('kind')}: expected {cause.get('expected')}, got {cause.get('got')}"


def _build_key(cause: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what of a cause is the same in every run of the same server."""
    texts = (str(cause.get(name, "")) for name in ("kind", "severity", "tier", "expected"))
    return tuple(_VARYING.sub("*", text) for text in texts)


def _compare_choices(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    old, new = (_collect_choices(run["choices"]) for run in (before, now))
    for operation, name in sorted(old.keys() & new.keys()):
        earlier, later = old[operation, name], new[operation, name]
        if earlier != later:
            yield Difference("choice", operation, name, " and ".join(sorted(earlier)), " and ".join(sorted(later)))


def _collect_choices(choices: Any) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for choice in _list_rows(choices):
        key = (str(choice.get("operation")), str(choice.get("name")))
        found.setdefault(key, set()).add(str(choice.get("took")))
    return found


def _compare_seen(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield statuses, error codes and kinds of events that only one of the servers sent."""
    old, new = (_collect_seen(run["matrix"]) for run in (before, now))
    for operation, sort, name in sorted(old.symmetric_difference(new)):
        gone = (operation, sort, name) in old
        yield Difference("answered", operation, f"{_SEEN[sort]} {name}", "came" if gone else "", "" if gone else "came")


def _collect_seen(matrix: Any) -> set[tuple[str, str, str]]:
    rows = [row for row in _list_rows(matrix) if row.get("sort") in _SEEN and row.get("outcome") != "not exercised"]
    return {(str(row.get("operation")), str(row["sort"]), str(row.get("name"))) for row in rows}


def _get_part(run: Mapping[str, Any], name: str) -> dict[str, Any]:
    answers = run.get("answers")
    found = answers.get(name) if isinstance(answers, dict) else None
    return found if isinstance(found, dict) else {}


def _pair_parts(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield what two objects have under the same names."""
    if isinstance(old, dict) and isinstance(new, dict):
        yield from ((name, old[name], new[name]) for name in new if name in old)


def _compare_fields(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for operation, old_parts, new_parts in _pair_parts(_get_part(before, "fields"), _get_part(now, "fields")):
        for part, old, new in _pair_parts(old_parts, new_parts):
            if not isinstance(old, dict):
                continue
            for pointer in sorted({*old, *new}):
                earlier, later = (_join(found.get(pointer)) for found in (old, new))
                parent = pointer.rpartition("/")[0]
                told_of_parent = pointer and not (parent in old and parent in new)
                if earlier != later and not told_of_parent:
                    yield Difference("field", operation, f"{part}: {pointer or 'the whole'}", earlier, later)


def _join(kinds: Any) -> str:
    return " or ".join(sorted(map(str, kinds))) if isinstance(kinds, list) else ""


def _compare_texts(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for operation, old_statuses, new_statuses in _pair_parts(_get_part(before, "texts"), _get_part(now, "texts")):
        for status, old, new in _pair_parts(old_statuses, new_statuses):
            earlier, later = ({str(text) for text in found} for found in (old, new))
            if earlier != later:
                gone, fresh = sorted(earlier - later), sorted(later - earlier)
                yield Difference("text", operation, status, " | ".join(gone), " | ".join(fresh))


def _compare_times(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield medians that differ by more than both runs vary in themselves."""
    words = {"first_s": "first event", "whole_s": "whole answer"}
    for operation, old_times, new_times in _pair_parts(_get_part(before, "times"), _get_part(now, "times")):
        for name, old, new in _pair_parts(old_times, new_times):
            if name in words and _is_slower_or_faster(old, new):
                texts = (f"{each['median_s']:.3f} s (median of {each['count']})" for each in (old, new))
                yield Difference("speed", operation, words[name], *texts)


def _is_slower_or_faster(old: Any, new: Any) -> bool:
    try:
        fewest = min(int(old["count"]), int(new["count"]))
        noise = sum(float(each["high_s"]) - float(each["low_s"]) for each in (old, new))
        middles = float(old["median_s"]), float(new["median_s"])
    except (KeyError, TypeError, ValueError):
        return False
    difference = abs(middles[1] - middles[0])
    return fewest >= _FEWEST_TIMES and difference > max(noise, _LEAST_SHARE * max(middles), _LEAST_S)


def summarize_differences(baseline: Mapping[str, Any]) -> str:
    """Return in a few words how much is different: that nothing was compared is not that nothing is different."""
    if not baseline["compared"]:
        return "nothing was compared, since no operation was asked in both runs"
    found = len(baseline["differences"])
    return f"{found} difference{'' if found == 1 else 's'}" if found else "nothing is different"


def join_alike(differences: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return differences with their `operations`: what is the same for several of them is told once."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for each in differences:
        key = tuple(each[name] for name in ("sort", "what", "before", "after"))
        found.setdefault(key, {**each, "operations": []})["operations"].append(each["operation"])
    return list(found.values())


def count_differences(baseline: Mapping[str, Any]) -> Iterable[str]:
    """Yield how many differences there are of each sort that has some: `new violations: 2`."""
    for sort, count in baseline["counts"].items():
        if count:
            yield f"{SORTS[sort]}: {count}"
