"""Builds the JSON document of a run, from which all other reports are made: bounded in size, and without secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from contract_tests.report.baseline import compare_runs
from contract_tests.report.grouping import group_causes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from contract_tests.report.results import Results
    from flowcontract.output.secrets import Secrets

_OVER = "the run was over before"
_LONGEST = 10_000  # characters of a text: a server may send megabytes of anything


def build_document(
    results: Results, problems: list[str], secrets: Secrets, baseline: tuple[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the document of a run.

    It has the fields of `Results.as_json`, and these:

    ``causes``     failures, notes and deviations, grouped (see `group_causes`)
    ``counts``     how many there are of each
    ``not_asked``  reason -> tests and lines of the contract that were not exercised for this reason
    ``baseline``   how it differs from an earlier run (see `compare_runs`), which is given by name and document, or null
    """
    document = results.as_json(problems)
    kinds = {"failures": "failure", "notes": "note", "deviating": "deviation"}
    grouped = {name: group_causes(document[name], kind) for name, kind in kinds.items()}
    document["causes"] = [cause for found in grouped.values() for cause in found]
    document["not_asked"] = _group_not_asked(results)
    document["counts"] = {
        "causes": len(grouped["failures"]),
        "failed tests": len({failure["test"] for failure in document["failures"]}),
        "notes": len(grouped["notes"]),
        "deviations": len(grouped["deviating"]),
        "fixed": len(document["fixed"]),
        "choices": len(document["choices"]),
        "crashes": len(document["crashes"]),
        "not asked": sum(map(len, document["not_asked"].values())),
        "tests": len(document["tests"]),
    }
    document["baseline"] = compare_runs(baseline[1], document, baseline[0]) if baseline else None
    return cast("dict[str, Any]", sanitize(document, secrets.mask))


def _group_not_asked(results: Results) -> dict[str, list[str]]:
    """Return what was not exercised by reason, the most frequent reason first."""
    missing = [name for name in results.missing if name not in results.tests]
    found = {_OVER: missing} if missing else {}
    for reasons in (results.list_not_asked(), results.list_not_exercised()):
        for reason, names in reasons.items():
            found.setdefault(reason, []).extend(names)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def sanitize(value: Any, mask: Callable[[str], str]) -> Any:
    """Return a JSON value with all texts and names masked and truncated."""
    known: dict[str, str] = {}

    def mask_text(original: str) -> str:
        if original not in known:
            known[original] = truncate(mask(original))
        return known[original]

    def walk(node: Any) -> Any:
        if isinstance(node, str):
            return mask_text(node)
        if isinstance(node, list | tuple):
            return [walk(item) for item in node]
        if isinstance(node, dict):
            return {mask_text(str(name)): walk(inner) for name, inner in node.items()}
        return node

    return walk(value)


def truncate(text: str) -> str:
    """Return a text, truncated if it is too long for a report."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def to_json_text(value: Mapping[str, Any]) -> str:
    """Return JSON text that is valid UTF-8 whatever a server sent: an unpaired surrogate is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return text.encode("utf-8", "backslashreplace").decode()
