"""`mockserver torture`: what it tells its user, and how long it answers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from mockserver.admin.torture import PREFIX

if TYPE_CHECKING:
    from mockserver.server.mock_server import MockServer
    from mockserver.torture.session import Session

_SLICE_S = 0.5


def answer_until_whole(mock: MockServer, session: Session) -> None:
    """Answer until every case has been reported."""
    waiting = threading.Event()
    with mock:
        while not session.whole:
            waiting.wait(_SLICE_S)


def greeting(mock: MockServer, session: Session) -> list[str]:
    """Return the lines that tell a user what to ask, and where to report."""
    address = mock.url(session.api.name).removesuffix(session.api.base_path)
    lines = [f"{case.faults:<32} {case.harm:<9} key {case.key}" for case in session]
    return [
        f"{session.operation.name} on {mock.url(session.api.name)}: ask with each key, and report what was understood:",
        *lines,
        f'POST {address}{PREFIX}/{session.number}/CASE  {{"text": ..., "events": [...], "raised": ..., "hung": ...}}',
        f"GET  {address}{PREFIX}/{session.number}  shows the verdicts; the last report, or Ctrl-C, prints them.",
    ]
