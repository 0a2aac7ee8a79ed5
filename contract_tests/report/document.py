"""A run as one JSON document, from which everything else is made: bounded, and without the keys of the run."""

from __future__ import annotations

import importlib.metadata
import json
from typing import TYPE_CHECKING, Any, cast

from contract_tests.report.grouping import group_causes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from contract_tests.report.results import Results
    from flowcontract.output.secrets import Secrets

_OVER = "the run was over before"
_LONGEST = 10_000  # characters of a text: a server may send megabytes of anything


def version() -> str:
    """Return our own version."""
    return importlib.metadata.version("flowcontract")


def build_document(results: Results, problems: list[str], secrets: Secrets) -> dict[str, Any]:
    """Return everything that is known of a run.

    It is what `Results.as_json` has, and these:

    ``causes``     failures, notes and deviations, grouped (see `grouping.causes`)
    ``counts``     how many there are of each
    ``not_asked``  reason -> tests, and lines of the contract, that could not be asked for it
    """
    told = results.as_json(problems)
    kinds = {"failures": "failure", "notes": "note", "deviating": "deviation"}
    grouped = {name: group_causes(told[name], kind) for name, kind in kinds.items()}
    told["causes"] = [cause for found in grouped.values() for cause in found]
    told["not_asked"] = _group_not_asked(results)
    told["counts"] = {
        "causes": len(grouped["failures"]),
        "failed tests": len({failure["test"] for failure in told["failures"]}),
        "notes": len(grouped["notes"]),
        "deviations": len(grouped["deviating"]),
        "fixed": len(told["fixed"]),
        "choices": len(told["choices"]),
        "crashes": len(told["crashes"]),
        "not asked": sum(map(len, told["not_asked"].values())),
        "tests": len(told["tests"]),
    }
    return cast("dict[str, Any]", escape_unprintable(told, secrets.mask))


def _group_not_asked(results: Results) -> dict[str, list[str]]:
    """Return what was not asked by reason, the reason with the most first."""
    missing = [name for name in results.missing if name not in results.tests]
    found = {_OVER: missing} if missing else {}
    for reasons in (results.not_asked(), results.not_exercised()):
        for reason, names in reasons.items():
            found.setdefault(reason, []).extend(names)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def escape_unprintable(value: Any, mask: Callable[[str], str]) -> Any:
    """Return a JSON value whose texts and names are masked and of a bounded length."""
    known: dict[str, str] = {}

    def text(said: str) -> str:
        if said not in known:
            known[said] = truncate(mask(said))
        return known[said]

    def walk(node: Any) -> Any:
        if isinstance(node, str):
            return text(node)
        if isinstance(node, list | tuple):
            return [walk(item) for item in node]
        if isinstance(node, dict):
            return {text(str(name)): walk(inner) for name, inner in node.items()}
        return node

    return walk(value)


def truncate(text: str) -> str:
    """Return a text of a length that a report can hold."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def json_text(value: Mapping[str, Any]) -> str:
    """Return JSON text that is valid UTF-8 whatever a server said: half a surrogate pair becomes its escape."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return text.encode("utf-8", "backslashreplace").decode()
