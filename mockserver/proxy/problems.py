"""What the proxy answers in its own words: problems (RFC 9457) whose `Proxy-Status` (RFC 9209) says why."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flowcontract.output.secret_texts import mask_text
from flowcontract.provenance.evidence import Tier, fails
from mockserver.http.failures import make_problem

if TYPE_CHECKING:
    from mockserver.http.forwarding import Origin
    from mockserver.http.messages import Reply
    from mockserver.journal.entry import Entry

_FAILED: dict[str, tuple[HTTPStatus, str]] = {
    "late": (HTTPStatus.GATEWAY_TIMEOUT, "connection_timeout"),
    "refused": (HTTPStatus.BAD_GATEWAY, "connection_refused"),
    "broken": (HTTPStatus.BAD_GATEWAY, "connection_terminated"),
    "unreadable": (HTTPStatus.BAD_GATEWAY, "http_protocol_error"),
    "gone": (HTTPStatus.BAD_REQUEST, "http_request_error"),
    "crowded": (HTTPStatus.SERVICE_UNAVAILABLE, "proxy_internal_error"),
}
"""Why there is no answer -> status (RFC 9110, 15.6.3 and 15.6.5), and its name in `Proxy-Status` (RFC 9209, 2.3)."""
_NAMED = 10  # violations of an answer that does not pass
_LONGEST = 500  # characters of what is said of each


def explain_missing_answer(origin: Origin, why: str, detail: str) -> Reply:
    """Return what a client gets in place of an answer; `why` is a Failure, or `crowded`: too much goes on here."""
    status, error = _FAILED[why]
    return _make(status, f"error={error}", detail, server=str(origin))


def explain_forbidden_answer(origin: Origin, status: int, entry: Entry) -> Reply:
    """Return what a client gets in place of an answer that the contract forbids: its status, and its violations."""
    found = [each for each in entry.answer_violations if fails(Tier(each["tier"]))]
    named = [
        {"message": mask_text(each["message"])[:_LONGEST], "where": each["where"][:_LONGEST], "source": each["source"]}
        for each in found[:_NAMED]
    ]
    more = f" The first {_NAMED} of {len(found)} are named." if len(found) > _NAMED else ""
    detail = f"The answer ({status}) breaks the contract, and --enforce does not let it pass.{more}"
    told = f"error=http_protocol_error; received-status={status}"
    return _make(HTTPStatus.BAD_GATEWAY, told, detail, server=str(origin), answered=status, violations=named)


def _make(status: HTTPStatus, told: str, detail: str, **more: object) -> Reply:
    reply = make_problem(int(status), status.phrase, f"mockserver proxy: {detail}", **more)
    reply.headers["Proxy-Status"] = f"mockserver; {told}"
    return reply
