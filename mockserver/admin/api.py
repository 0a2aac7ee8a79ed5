"""`/__mock__`: what was asked and answered, what answers next, which scenarios there are, and a fresh start."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BaseConverter, Map, Rule

from flowcontract.errors import FlowContractError, StateError, UnknownNameError
from flowcontract.output.version import read_version
from mockserver.admin import access, contract, metrics, page, streams, torture, worlds
from mockserver.admin.asking import AdminRefusal, Asked, read_number, read_override
from mockserver.admin.feed import Feed
from mockserver.admin.timeline import describe_stream
from mockserver.core.controls import Controls
from mockserver.faults import FAULTS, FaultError
from mockserver.http.failures import make_problem
from mockserver.http.messages import Reply
from mockserver.journal.curl import to_curl
from mockserver.journal.near_matches import list_near_matches
from mockserver.request.credentials import NOBODYS
from mockserver.scenarios.selection import make_no_fault

if TYPE_CHECKING:
    from werkzeug.routing import MapAdapter

    from mockserver.core.mock import Mock
    from mockserver.http.application import HeldReply, HoldingApplication
    from mockserver.http.messages import Request
    from mockserver.journal.entry import Entry

_PREFIX = "/__mock__"
READY = f"{_PREFIX}/ready"
"""What is open to everybody: whether it is up, for those who start it."""
_METHODS = ("GET", "PUT", "POST", "DELETE")
_READERS = 16  # who may follow the events at the same time
_SHOWN = 100  # exchanges, unless `limit` says otherwise


class _Number(BaseConverter):
    regex = r"\d{1,15}"


class _Api(BaseConverter):
    regex = r"[\w-]+"


class _Case(BaseConverter):
    regex = r"[a-z0-9-]+"


_CONVERTERS = {"number": _Number, "api": _Api, "operation": _Api, "case": _Case}
Answer = Callable[[Asked], Reply]


class Admin:
    """An application with `/__mock__` in front: answers all under it, in JSON, and writes nothing into the journal."""

    def __init__(self, mock: Mock, behind: HoldingApplication) -> None:
        """Show and change the components of a mock; what is for its APIs is handed on to the application `behind`."""
        self.mock, self._behind = mock, behind
        self._controls = Controls(mock)
        self._readers: set[Feed] = set()
        self._routes: list[tuple[str, str, Answer]] = [
            ("GET", "", self._list_paths),
            ("GET", "/health", self._show_health),
            ("GET", "/ready", self._show_ready),
            ("GET", "/metrics", lambda _: metrics.make_reply(mock)),
            ("GET", "/events", self._follow),
            ("GET", "/requests", self._list_requests),
            ("DELETE", "/requests", self._forget_requests),
            ("GET", "/requests/{number}", self._show_request),
            ("GET", "/requests/{number}/curl", self._show_curl),
            ("GET", "/requests/{number}/misses", self._show_differences),
            ("GET", "/requests/{number}/timeline", self._show_timeline),
            ("GET", "/streams", self._list_streams),
            ("PUT", "/streams/{number}", self._steer_stream),
            ("GET", "/scenarios", self._list_scenarios),
            ("GET", "/faults", self._list_faults),
            ("GET", "/operations", self._list_operations),
            ("GET", "/operations/{api}/{operation}", self._show_operation),
            ("GET", "/quotes", self._show_quotes),
            ("GET", "/worlds", self._list_worlds),
            ("GET", "/openapi/{api}.json", self._show_openapi),
            ("GET", "/overrides", self._list_overrides),
            ("PUT", "/overrides", self._put_override),
            ("DELETE", "/overrides", self._remove_overrides),
            ("POST", "/reset", self._reset),
            ("POST", "/torture", self._begin_torture),
            ("GET", "/torture/{number}", self._show_torture),
            ("POST", "/torture/{number}/{case}", self._report_torture),
        ]

    @property
    def _paths(self) -> list[str]:
        return [f"{method} {_PREFIX}{path}" for method, path, _ in self._routes]

    @cached_property  # which has a lock in Python 3.11, where two threads must not compile at once (cpython#106905)
    def _map(self) -> MapAdapter:
        """Where each path leads; compiled when it is first asked for, and not at every start (17 ms)."""
        rules = [_build_rule(method, path, answer) for method, path, answer in self._routes]
        return Map(rules, merge_slashes=False, converters=_CONVERTERS).bind("mock")

    def wants_body_later(self, head: Request) -> bool:
        """Tell whether a request is answered while its body comes; nothing under `/__mock__` is."""
        return not _is_own(head.path) and self._behind.wants_body_later(head)

    @property
    def max_upload(self) -> int:
        """How many bytes of a body it takes."""
        return self._behind.max_upload

    @property
    def fixed_clock(self) -> float | None:
        """The epoch seconds at which its time stands still, None where it goes on."""
        return self._behind.fixed_clock

    def handle(self, request: Request, now: float) -> Reply:
        """Answer a request for the mock itself, or say who may ask; one for its APIs is the application's."""
        is_ours = _is_own(request.path)
        if (is_ours or request.path == "/") and (reply := self._show_page(request)):
            return reply
        return self._handle(request.require_stored()) if is_ours else self._behind.handle(request, now)

    def _show_page(self, request: Request) -> Reply | None:
        """Return a file of the page; None where another is asked for, or who asks may not look behind the mock.

        With a token whoever comes gets the page, which holds no data and asks for the token.
        """
        settings = self.mock.settings
        file = page.find_file(request) if settings.ui else ""
        if not file or (not settings.admin_token and access.explain_refusal(request, "")):
            return None
        return page.make_reply(request, file)

    @property
    def holds(self) -> bool:
        """Whether anything has to be stored."""
        return self._behind.holds

    def hold(self, request: Request, now: float) -> Reply | HeldReply:
        """Answer as `handle` does, but without waiting for what has to be stored where the application would."""
        if request.path == _PREFIX or request.path.startswith(f"{_PREFIX}/"):
            self.flush()  # what was asked for before has happened for whoever asks for it now
            return self.handle(request, now)
        return self._behind.hold(request, now)

    def flush(self) -> None:
        """Store the effects of all that is held."""
        self._behind.flush()

    def on_free(self, call: Callable[[str], None]) -> None:
        """Call, in any thread, with the name of a world that was awaited when it is free."""
        self._behind.on_free(call)

    def _handle(self, request: Request) -> Reply:
        if request.path == READY and request.method in ("GET", "HEAD"):
            return self._show_ready()
        token = self.mock.settings.admin_token
        asks_first = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        why_not = "" if asks_first and token else access.explain_refusal(request, token)  # no browser sends keys ahead
        if why_not:
            reply = make_problem(401 if token else 403, "Not for everyone", f"{_PREFIX} is closed: {why_not}.")
            if token:
                reply.headers["WWW-Authenticate"] = "Bearer"
            return reply
        reply = _permit() if asks_first else self._answer(request)
        if origin := request.headers.get("Origin"):
            reply.headers["Access-Control-Allow-Origin"] = origin
            reply.headers["Vary"] = "Origin"
        reply.headers["Cache-Control"] = "no-store"
        reply.headers["X-Content-Type-Options"] = "nosniff"
        return reply

    def _answer(self, request: Request) -> Reply:
        method = "GET" if request.method == "HEAD" else request.method
        path = request.path.rstrip("/")
        try:
            answer, values = cast("tuple[Answer, dict[str, str]]", self._map.match(path, method))
        except MethodNotAllowed:
            allowed = ", ".join(name for name in _METHODS if name in self._map.allowed_methods(path))
            reply = make_problem(405, "Not this method", f"{request.path} answers {allowed}.")
            reply.headers["Allow"] = allowed
            return reply
        except HTTPException:
            return make_problem(404, "Nothing here", f"There is no {request.path}.", paths=self._paths)
        try:
            return answer(Asked(request, values))
        except AdminRefusal as misused:
            return make_problem(misused.status, misused.title, str(misused))
        except UnknownNameError as error:
            return make_problem(404, "No such thing", str(error))
        except StateError:
            raise
        except FlowContractError as error:
            return make_problem(400, "Not understood", str(error))

    def _list_paths(self, _: Asked) -> Reply:
        return _answer_json({"paths": self._paths})

    def _show_ready(self, _: Asked | None = None) -> Reply:
        """Tell everybody whether requests are answered, and nothing else."""
        try:
            self.mock.overrides.list_all()
        except StateError:
            reply = _answer_json({"status": "down"})
            reply.status = 503
        else:
            reply = _answer_json({"status": "up"})
        reply.headers["Cache-Control"] = "no-store"
        return reply

    def _show_health(self, _: Asked) -> Reply:
        mock = self.mock
        mock.scenario_files.load_current(at_once=True)
        broken = mock.scenario_files.broken
        nobodys = {f"{name}{NOBODYS}" for name in mock.apis}
        content = {
            "status": "broken scenarios" if broken else "ok",
            "version": read_version(),
            "process": os.getpid(),
            "apis": {name: api.base_path for name, api in mock.apis.items()},
            "worlds": [name for name in mock.worlds.list_names() if name not in nobodys],
            "requests": mock.journal.count,
            "overrides": len(mock.overrides.list_all()),
            "broken": broken,
        }
        return _answer_json(content)

    def _follow(self, asked: Asked) -> Reply:
        if len(self._readers) >= _READERS:
            raise AdminRefusal(503, "Too many readers", f"{_READERS} follow the events already, and no more can.")
        feed = Feed(self.mock.journal, asked.last_event_id, self._readers.discard)
        self._readers.add(feed)
        return Reply(200, Headers([("Content-Type", "text/event-stream")]), feed)

    def _list_requests(self, asked: Asked) -> Reply:
        query, operation = asked.query, asked.query.get("operation")
        status, limit = read_number(query, "status"), read_number(query, "limit")
        if operation is not None:
            self._controls.find_operations(operation)
        found = self.mock.journal.list_entries(
            world=self._find_world(query.get("world")), operation=operation, status=status
        )
        shown = found[max(0, len(found) - (_SHOWN if limit is None else limit)) :]
        return _answer_json(
            {"requests": [entry.as_json() for entry in shown], "found": len(found), "ever": self.mock.journal.count}
        )

    def _forget_requests(self, asked: Asked) -> Reply:
        return _answer_json({"forgotten": self.mock.journal.clear(self._find_world(asked.query.get("world")))})

    def _show_request(self, asked: Asked) -> Reply:
        return _answer_json(self._find_entry(asked).as_json())

    def _show_curl(self, asked: Asked) -> Reply:
        return _answer_text(to_curl(self._find_entry(asked)))

    def _show_differences(self, asked: Asked) -> Reply:
        entry = self._find_entry(asked)
        if entry.operation is None:
            raise AdminRefusal(
                404, "No operation", f"Request {entry.number} leads to no operation, which has no scenarios."
            )
        (operation,) = self._controls.find_operations(entry.operation)
        return _answer_json(list_near_matches(entry, operation, self.mock.scenarios))

    def _show_timeline(self, asked: Asked) -> Reply:
        entry = self._find_entry(asked)
        operations = self._controls.find_operations(entry.operation) if entry.operation else []
        stream = operations[0].stream if operations else None
        shown = describe_stream(entry, stream, read_number(asked.query, "after") or 0)
        if shown is None:
            raise AdminRefusal(404, "No stream", f"The answer to request {entry.number} does not stream.")
        return _answer_json(shown)

    def _find_entry(self, asked: Asked) -> Entry:
        journal, number = self.mock.journal, asked.values["number"]
        entry = journal.find_entry(int(number))
        if entry is None:
            what = f"{journal.count} have come, and the last {journal.limit} are remembered unless they were cleared"
            raise AdminRefusal(404, "No such request", f"Request {number} is not remembered: {what}.")
        return entry

    def _list_scenarios(self, asked: Asked) -> Reply:
        name, apis = asked.query.get("operation"), self.mock.apis.values()
        every = [operation for api in apis for operation in api.operations.values()]
        operations = self._controls.find_operations(name) if name else every
        scenarios = self.mock.scenario_files.load_current(at_once=True)
        listed = {operation.name: sorted(scenarios.read_scenarios(operation).items()) for operation in operations}
        return _answer_json({name: {key: each.description for key, each in known} for name, known in listed.items()})

    def _list_faults(self, _: Asked) -> Reply:
        fields = ("name", "usage", "harm", "needs", "summary")
        return _answer_json([{name: getattr(fault, name) for name in fields} for fault in FAULTS.values()])

    def _list_operations(self, _: Asked) -> Reply:
        return _answer_json(contract.list_operations(self.mock.apis))

    def _show_operation(self, asked: Asked) -> Reply:
        (operation,) = self._controls.find_operations(f"{asked.values['api']}/{asked.values['operation']}")
        return _answer_json(contract.describe_operation(self.mock.apis[operation.api], operation))

    def _show_quotes(self, asked: Asked) -> Reply:
        sources = [source.strip() for source in asked.query.get("sources", "").split(",")]
        rulings = {name: each for api in self.mock.apis.values() for name, each in api.rulings.items()}
        return _answer_json(contract.quote_sources(sources, rulings))

    def _list_worlds(self, asked: Asked) -> Reply:
        name = self._find_world(asked.query.get("world"))
        return _answer_json(worlds.list_worlds(self.mock) if name is None else worlds.show_world(self.mock, name))

    def _show_openapi(self, asked: Asked) -> Reply:
        api = asked.values["api"]
        if api not in self.mock.apis:
            raise UnknownNameError("API", api, self.mock.apis)
        return _answer_json(self.mock.apis[api].bundle)

    def _list_overrides(self, _: Asked) -> Reply:
        return _answer_json([override.as_json() for override in self.mock.overrides.list_all()])

    def _put_override(self, asked: Asked) -> Reply:
        operation, scenario, times, named = read_override(asked.read_body())
        world, operations = self._find_world(named), self._controls.find_operations(operation)
        try:
            done = self._controls.add_override(operation, scenario, times=times, world=world)
        except UnknownNameError as error:
            listed = {each.name: list(self.mock.scenarios.list_keys(each)) for each in operations}
            return make_problem(501, "No such scenario", str(error), scenarios=listed)
        except FaultError as error:
            return make_no_fault(error, operations[0])
        return _answer_json([override.as_json() for override in done])

    def _remove_overrides(self, asked: Asked) -> Reply:
        world, name = self._find_world(asked.query.get("world")), asked.query.get("operation")
        if name and "exact" in asked.query:
            found = self._controls.find_operations(name)
            return _answer_json({"removed": sum(self.mock.overrides.withdraw(world, each.name) for each in found)})
        operations = [operation.name for operation in self._controls.find_operations(name)] if name else [None]
        removed = (self.mock.overrides.remove(world=world, operation=operation) for operation in operations)
        return _answer_json({"removed": sum(removed)})

    def _reset(self, asked: Asked) -> Reply:
        body = asked.read_body()
        world = self._find_world(body.get("world") if isinstance(body, dict) else asked.query.get("world"))
        return _answer_json({"worlds": self._controls.reset(world), "world": world})

    def _list_streams(self, _: Asked) -> Reply:
        return _answer_json({"streams": streams.show(self.mock)})

    def _steer_stream(self, asked: Asked) -> Reply:
        return _answer_json(streams.steer(self.mock, int(asked.values["number"]), asked.read_body()))

    def _begin_torture(self, asked: Asked) -> Reply:
        return _answer_json(torture.begin(self.mock, asked.read_body()))

    def _show_torture(self, asked: Asked) -> Reply:
        return _answer_json(torture.show(self.mock, asked.values["number"]))

    def _report_torture(self, asked: Asked) -> Reply:
        return _answer_json(torture.report(self.mock, asked.values["number"], asked.values["case"], asked.read_body()))

    def _find_world(self, name: Any) -> str | None:
        if name is None:
            return None
        if not isinstance(name, str):
            raise AdminRefusal(400, "No world", "`world` is a text: a world, or the key that opens it.")
        return self._controls.find_world(name)


def _is_own(path: str) -> bool:
    return path == _PREFIX or path.startswith(f"{_PREFIX}/")


def _answer_json(content: Any) -> Reply:
    return Reply(200, Headers([("Content-Type", "application/json")]), json.dumps(content, indent=1).encode())


def _answer_text(content: str) -> Reply:
    return Reply(200, Headers([("Content-Type", "text/plain; charset=utf-8")]), content.encode("utf-8", "replace"))


def _permit() -> Reply:
    """Tell a browser that a page may send what is asked of `/__mock__`."""
    headers = Headers([("Access-Control-Allow-Methods", ", ".join(_METHODS))])
    headers["Access-Control-Allow-Headers"] = "authorization, content-type"
    return Reply(204, headers)


def _build_rule(method: str, path: str, answer: Answer) -> Rule:
    """Return the rule of a path whose `{name}` are read by the converter of that name."""
    return Rule(_PREFIX + re.sub(r"\{(\w+)\}", r"<\1:\1>", path), endpoint=answer, methods=[method])
