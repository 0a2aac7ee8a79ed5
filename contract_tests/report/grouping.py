"""Violations of one cause are one block: operation, rule, place and what came; the most severe first."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from flowcontract.provenance.evidence import BARS, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HANDLE = 7  # hex digits
_TELLING = 1000  # characters of a text that are looked at
_SECURITY = re.compile(
    r"/keys/"  # the suite's own cases about keys
    r"|\b(?:an)?other[ _](?:user|account|app|flow)|\bstranger"  # journeys: what somebody else must not see
    r"|^(?:401|403)(?: or (?:401|403))*: "
)
"""Where a test's name, or what it expected, is about who may see what."""


def make_handle(name: str) -> str:
    """Return a short name of a cause, the same in every run.

    >>> handle("dify-chat/sendChatMessage#status 500")
    'c25e834'
    """
    return hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:_HANDLE]


def group_causes(failures: Iterable[Mapping[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the causes of some failures (as the JSON report has them), the most severe first.

    Each is its first failure, without `test`, and with these:

    ``handle``    its short name
    ``kind``      `failure`, `note` or `deviation`: what all of them are
    ``severity``  `server-error`, `security` or `form`
    ``tests``     all tests that saw it
    ``count``     how often it was seen
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
    """Return how bad a failure is, beyond its tier."""
    if failure["tier"] == Tier.SERVER_ERROR:
        return "server-error"
    about_security = any(_SECURITY.search(failure[name][:_TELLING]) for name in ("test", "expected"))
    return "security" if about_security else "form"


def _rank(cause: Mapping[str, Any]) -> tuple[Any, ...]:
    tier = Tier(cause["tier"])
    return (
        SEVERITIES.index(cause["severity"]),
        BARS.index(tier) if tier in BARS else 0,
        -len(cause["tests"]),
        cause["id"],
    )
