"""Groups failures by cause (operation, rule, place and what came), the most severe first."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from flowcontract.provenance.evidence import BARS, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HANDLE = 7  # hex digits
_TELLING = 1000  # characters of a text that are searched
_SECURITY = re.compile(
    r"/keys/"  # the suite's own cases about keys
    r"|\b(?:an)?other[ _](?:user|account|app|flow)|\bstranger"  # journeys: what somebody else must not see
    r"|^(?:401|403)(?: or (?:401|403))*: "
)
"""Matches the name, or the expectation, of a test about who may see what."""
_ANSWERS = {"status", "outcome", "agree", "stop"}  # the rules that say what a test asks; others hold for every answer


def make_handle(name: str) -> str:
    """Return the short name of a cause, which is the same in every run.

    >>> handle("dify-chat/sendChatMessage#status 500")
    'c25e834'
    """
    return hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:_HANDLE]


def group_causes(failures: Iterable[Mapping[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the causes of failures (in the form of the JSON report), the most severe first.

    Each has the fields of its first failure, except `test`, and these:

    ``handle``    its short name
    ``kind``      `failure`, `note` or `deviation`: what all of them are
    ``severity``  `server-error`, `security` or `form`
    ``tests``     all tests that found it
    ``count``     how often it was found
    """
    found: dict[str, dict[str, Any]] = {}
    for failure in failures:
        new = {
            **failure,
            "handle": make_handle(failure["id"]),
            "kind": kind,
            "tests": {},
            "count": 0,
            "severity": "form",
        }
        cause = found.setdefault(failure["id"], new)
        cause["tests"][failure["test"]] = None
        cause["count"] += 1
        cause["severity"] = min(cause["severity"], rate_severity(failure), key=SEVERITIES.index)
    for cause in found.values():
        cause["tests"] = list(cause["tests"])
        del cause["test"]
    return sorted(found.values(), key=_rank)


SEVERITIES = ("server-error", "security", "form")


def rate_severity(failure: Mapping[str, Any]) -> str:
    """Return the severity of a failure, which is independent of its tier, except for a server error."""
    if failure["tier"] == Tier.SERVER_ERROR:
        return "server-error"
    told_by = ("test", "expected") if failure["rule"] in _ANSWERS else ("expected",)
    about_security = any(_SECURITY.search(failure[name][:_TELLING]) for name in told_by)
    return "security" if about_security else "form"


def _rank(cause: Mapping[str, Any]) -> tuple[Any, ...]:
    tier = Tier(cause["tier"])
    return (
        SEVERITIES.index(cause["severity"]),
        BARS.index(tier) if tier in BARS else 0,
        -len(cause["tests"]),
        cause["id"],
    )
