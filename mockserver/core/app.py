"""The application: answers a request by its journey, and writes both sides into the journal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from werkzeug.datastructures import Headers

from mockserver.core.handler import Handler
from mockserver.http.application import WorldAwaitedError
from mockserver.http.failures import make_failure
from mockserver.http.messages import Reply, Request, put
from mockserver.request import hints

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.core.mock import Mock
    from mockserver.http.application import HeldReply
    from mockserver.state.group import Effect, Group

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
        reply = self._answer_preflight(request) if self._is_preflight(request) else self._record(request, now)
        if reply.forward is not None:
            return reply
        put(reply.headers, _OPEN_TO_PAGES)
        return reply

    def close(self) -> None:
        """Close the state."""
        self.mock.close()

    def _is_preflight(self, request: Request) -> bool:
        """Tell whether a browser asks what it may send; where requests are passed on the server's own answer counts."""
        if request.method != "OPTIONS" or "access-control-request-method" not in request.fields:
            return False
        return self.mock.passing is None or not self.mock.passing.covers(request.path)

    def _answer_preflight(self, request: Request) -> Reply:
        """Tell a browser that it may send what it asks for (https://fetch.spec.whatwg.org/#cors-preflight-fetch)."""
        router = self.mock.router
        manners = router.find_manners(request.path)
        methods = ", ".join(manners.preflight_methods or router.list_methods(request.path)) or "*"
        headers = Headers([("Access-Control-Allow-Methods", methods), ("Access-Control-Max-Age", "600")])
        wanted = request.fields.get("access-control-request-headers", "")
        headers["Access-Control-Allow-Headers"] = wanted if _NAMES.fullmatch(wanted) else "*"
        if manners.preflight_body:
            headers["Content-Type"] = "text/plain; charset=utf-8"
        return Reply(manners.preflight, headers, manners.preflight_body.encode())

    def _record(self, request: Request, now: float) -> Reply:
        """Answer, and keep both sides in the journal."""
        self.mock.refresh()
        entry = request.noted
        if entry is None:
            entry = self.mock.journal.open(request, now)
            request.noted = entry if request.incoming is not None else None
        else:
            entry.size = request.body.size
        try:
            reply = self._handler.handle(request, now, entry)
        except Exception as error:
            self.mock.journal.fail(entry, error, make_failure(error).status)
            raise
        if reply.forward is not None:  # it is noted when the answer comes
            return reply
        reply = self.mock.journal.close(entry, reply)
        hints.put(reply.headers, entry.hints)
        if self.mock.recording is not None:
            self.mock.recording.record(request, entry, reply)
        return reply

    @property
    def holds(self) -> bool:
        """Whether anything has to be stored."""
        return self.mock.worlds.group is not None

    def hold(self, request: Request, now: float) -> Reply | HeldReply:
        """Answer a request as `handle` does, but without waiting for what has to be stored, nor for other workers."""
        group = self.mock.worlds.group
        waits = self.mock.passing is None and self.mock.recording is None
        if group is None or not waits or self._is_preflight(request):
            return self.handle(request, now)
        self.mock.refresh()
        held = Held(self, self._handler, group, (request, now))
        held.ask(polite=True)
        return held

    def flush(self) -> None:
        """Store the effects of all that is held."""
        if self.mock.worlds.group is not None:
            self.mock.worlds.group.flush()

    def on_free(self, call: Callable[[str], None]) -> None:
        """Call, in any thread, with the name of a world that was awaited when it is free."""
        if self.mock.worlds.shared is not None:
            self.mock.worlds.shared.on_free = call


class Held:
    """A request whose answer may not be sent yet, as HeldReply says."""

    def __init__(self, app: App, handler: Handler, group: Group, asked: tuple[Request, float]) -> None:
        self.awaited: str | None = None
        self.place: int | None = None
        self._app, self._handler, self._group = app, handler, group
        self._asked = asked
        self._entry = app.mock.journal.open(*asked)
        self._reply: Reply | None = None
        self._error: Exception | None = None
        self._effects: list[Effect] = []

    def ask_again(self) -> None:
        """Ask for the answer again; a worker that holds the world is asked to let go."""
        self.ask(polite=False)

    def ask(self, *, polite: bool) -> None:
        """Ask for the answer; where that is `polite` no worker is asked for a world that can answer itself."""
        self.awaited = self.place = None
        with self._group.hold(polite=polite) as self._effects:
            try:
                reply = self._handler.handle(*self._asked, self._entry)
            except WorldAwaitedError as error:
                self.awaited, self.place = error.world, error.place
            except Exception as error:  # noqa: BLE001 - `settle` raises it
                self._fail(error)
            else:
                self._reply = self._app.mock.journal.note_reply(self._entry, reply)

    def settle(self) -> Reply:
        """Return the answer, or raise why there is none."""
        lost = next((effect.error for effect in self._effects if effect.error is not None), None)
        if lost is not None:
            self._fail(lost)
        if self._error is not None:
            self._app.mock.journal.announce(self._entry)
            raise self._error
        reply = self._reply
        assert reply is not None
        self._app.mock.journal.announce(self._entry, reply.delay_s)
        hints.put(reply.headers, self._entry.hints)
        put(reply.headers, _OPEN_TO_PAGES)
        return reply

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._app.mock.journal.note_failure(self._entry, error, make_failure(error).status)
