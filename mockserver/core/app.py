"""The application: answers a request by its journey, and writes both sides into the journal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from werkzeug.datastructures import Headers

from mockserver.core.handler import Handler
from mockserver.http.failures import make_failure
from mockserver.http.messages import Reply, Request, put
from mockserver.request import hints

if TYPE_CHECKING:
    from mockserver.core.mock import Mock

_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]+(?:, ?[\w!#$%&'*+.^`|~-]+)*", re.ASCII)  # RFC 9110, 5.1
_OPEN_TO_PAGES = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*"}


class App:
    """A mock without sockets: an Application (`mockserver/http/application.py`) for its APIs, without `/__mock__`."""

    def __init__(self, mock: Mock) -> None:
        """Answer from the components of a mock."""
        self.mock = mock
        self._handler = Handler(mock)

    @property
    def max_upload(self) -> int:
        """How many bytes of a body it takes."""
        return self.mock.settings.max_upload

    @property
    def fixed_clock(self) -> float | None:
        """The epoch seconds at which its time stands still, None where it goes on."""
        return self.mock.settings.clock

    def wants_body_later(self, head: Request) -> bool:
        """Tell whether a request goes to another server and its body may go there while it comes."""
        passing = self.mock.passing
        return passing is not None and passing.wants_body_later(head)

    def handle(self, request: Request, now: float) -> Reply:
        """Answer a request at `now`, in epoch seconds; raise StateError where what has to be kept cannot be."""
        is_preflight = request.method == "OPTIONS" and "access-control-request-method" in request.fields
        if is_preflight and self.mock.passing is not None and self.mock.passing.covers(request.path):
            is_preflight = False  # the server's own answer counts
        reply = self._answer_preflight(request) if is_preflight else self._record(request, now)
        if reply.forward is not None:
            return reply
        put(reply.headers, _OPEN_TO_PAGES)
        return reply

    def close(self) -> None:
        """Close the state."""
        self.mock.close()

    def _answer_preflight(self, request: Request) -> Reply:
        """Tell a browser that it may send what it asks for (https://fetch.spec.whatwg.org/#cors-preflight-fetch)."""
        router = self.mock.router
        manners = router.manners(request.path)
        methods = ", ".join(manners.preflight_methods or router.methods(request.path)) or "*"
        headers = Headers([("Access-Control-Allow-Methods", methods), ("Access-Control-Max-Age", "600")])
        wanted = request.fields.get("access-control-request-headers", "")
        headers["Access-Control-Allow-Headers"] = wanted if _NAMES.fullmatch(wanted) else "*"
        if manners.preflight_body:
            headers["Content-Type"] = "text/plain; charset=utf-8"
        return Reply(manners.preflight, headers, manners.preflight_body.encode())

    def _record(self, request: Request, now: float) -> Reply:
        """Answer, and keep both sides in the journal."""
        self.mock.refresh()
        journal = self.mock.journal
        entry = journal.open(request, now)
        try:
            reply = self._handler.handle(request, now, entry)
        except Exception as error:
            journal.fail(entry, error, make_failure(error).status)
            raise
        if reply.forward is not None:  # it is noted when the answer comes
            return reply
        reply = journal.close(entry, reply)
        hints.put(reply.headers, entry.hints)
        return reply
