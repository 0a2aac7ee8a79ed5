"""Torture over HTTP, for clients in any language: `/__mock__/torture` tells cases, takes reports, shows verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract.errors import FlowContractError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockserver.core.mock import Mock
    from mockserver.torture.session import Case, Session

PREFIX = "/__mock__/torture"
"""Where sessions are."""
_FIELDS = {"text": str, "events": list, "raised": str, "hung": bool}


def begin(mock: Mock, body: Any) -> dict[str, Any]:
    """Begin a session: `{"operation": "sendChatMessage", "faults": ["split=1", "bom, cr"]}`, or without, all faults."""
    if mock.backend.shared:
        raise FlowContractError("Torture needs a mock of its own: start one without --state redis://...")
    body = body if isinstance(body, dict) else {}
    operation, faults = body.get("operation", "dify-chat/sendChatMessage"), body.get("faults", [])
    if not isinstance(operation, str) or not isinstance(faults, list) or not all(isinstance(f, str) for f in faults):
        raise FlowContractError('A session is {"operation": TEXT, "faults": [TEXT, ...]}; both may be left out.')
    return _show_session(mock.torture.begin(operation, faults))


def show(mock: Mock, number: str) -> dict[str, Any]:
    """Return a session with its verdicts."""
    return _show_session(_find_session(mock, number))


def report(mock: Mock, number: str, case: str, body: Any) -> dict[str, Any]:
    """Take what a client understood of a case, `{"text", "events", "raised", "hung"}`; return the verdict."""
    session = _find_session(mock, number)
    if case not in session.cases:
        raise UnknownNameError("case", case, session.cases)
    return _show_case(session, session.cases[case], session.cases[case].verdict(**_read_report(body)))


def _read_report(body: Any) -> Mapping[str, Any]:
    for name, value in body.items() if isinstance(body, dict) else [("report", body)]:
        if name not in _FIELDS or not isinstance(value, _FIELDS[name] | None):
            wanted = "text and raised are texts, events is a list of payloads or kinds, hung is true or false"
            raise FlowContractError(f"A report has no such {name}: {str(value)[:60]}. In a report {wanted}.")
    return {name: value for name, value in body.items() if value is not None}


def _find_session(mock: Mock, number: str) -> Session:
    session = mock.torture.find_session(int(number))
    if session is None:
        raise UnknownNameError("session", number, (), hint=f"POST {PREFIX} begins one.")
    return session


def _show_session(session: Session) -> dict[str, Any]:
    """Return a session as JSON: what to ask with which key, where to report, and the verdicts."""
    request = session.request()
    request["path"] = session.api.base_path + request["path"]
    cases = [_show_case(session, case, case.standing) for case in session]
    return {
        "session": session.number,
        "operation": session.operation.name,
        "request": request,
        "cases": cases,
        "table": session.table(),
    }


def _show_case(session: Session, case: Case, verdict: tuple[str, str]) -> dict[str, Any]:
    return {
        "case": case.name,
        "fault": case.faults,
        "harm": case.harm,
        "summary": case.summary,
        "key": case.key,
        "headers": dict(case.headers),
        "report": f"{PREFIX}/{session.number}/{case.name}",
        "verdict": verdict[0],
        "detail": verdict[1],
    }
