"""Renders causes as SARIF 2.1.0, at the lines of the specs that demand them.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowcontract import paths, yamlio
from flowcontract.output.version import read_version
from flowcontract.provenance.locations import find_place
from flowcontract.provenance.sources import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"failure": "error", "note": "note", "deviation": "warning"}
_RULES = {
    "status": "The status is none of those that were expected",
    "outcome": "A wrong request was accepted, or a right one refused",
    "code": "The error code is another one",
    "answer": "There is no answer, or it does not come to its end",
    "order": "Events come in an order that is not documented",
    "end": "A stream does not end as documented",
}


def render_sarif(document: Mapping[str, Any]) -> str:
    """Return the causes of a run as the text of a SARIF file."""
    causes = document["causes"]
    rules = sorted({cause["rule"] for cause in causes})
    titles = {name: _RULES.get(name, f"The rule `{name}` of the contract is broken") for name in rules}
    run = {
        "tool": {
            "driver": {
                "name": "flowcontract contract-tests",
                "semanticVersion": read_version(),
                "rules": [{"id": name, "shortDescription": {"text": titles[name]}} for name in rules],
            }
        },
        "invocations": [_build_invocation(document)],
        "columnKind": "unicodeCodePoints",
        "results": [_build_result(cause, rules) for cause in causes],
    }
    text = json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=1)
    return text.encode("utf-8", "backslashreplace").decode()


def _build_invocation(document: Mapping[str, Any]) -> dict[str, Any]:
    about = document["about"]
    times = {"startTimeUtc": about.get("started"), "endTimeUtc": about.get("ended")}
    return {
        "executionSuccessful": document["status"] in ("passed", "failed"),
        "exitCode": document["exit_code"],
        **{name: value for name, value in times.items() if value},
    }


def _build_result(cause: Mapping[str, Any], rules: list[str]) -> dict[str, Any]:
    demanded = find_place(cause["operation"], cause["source"], cause["where"])
    known = [{"kind": "external", "status": "accepted", "justification": cause["reason"]}]
    return {
        "ruleId": cause["rule"],
        "ruleIndex": rules.index(cause["rule"]),
        "level": _LEVELS[cause["kind"]],
        "message": {"text": f"{cause['operation']}: expected {cause['expected']}; got {cause['got']}"},
        "locations": [_build_location(demanded.file, {"startLine": demanded.line}, cause["operation"])],
        "relatedLocations": [*_list_printed(cause)],
        "partialFingerprints": {"cause/v1": cause["id"]},
        "occurrenceCount": cause["count"],
        "suppressions": known if cause["kind"] == "deviation" else [],
        "properties": {"tier": cause["tier"], "severity": cause["severity"], "tests": cause["tests"]},
    }


def _build_location(file: str, region: Mapping[str, Any], operation: str = "") -> dict[str, Any]:
    physical = {"artifactLocation": {"uri": file, "uriBaseId": "%SRCROOT%"}, "region": dict(region)}
    named = {"logicalLocations": [{"fullyQualifiedName": operation, "kind": "function"}]} if operation else {}
    return {"physicalLocation": physical, **named}


def _list_printed(cause: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the locations of the printed lines that a cause rests on."""
    documents = yamlio.load(paths.find_specs_root() / "sources.yaml")["documents"]
    for number, quote in enumerate(cause["quotes"], 1):
        lines = Source.parse(quote["source"])
        region = {"startLine": lines.first, "endLine": lines.last, "snippet": {"text": quote["text"]}}
        file = f"specs/documents/{documents[lines.document]['file']}"
        yield {"id": number, "message": {"text": quote["title"]}, **_build_location(file, region)}
