"""Decides what passes and what the mock answers itself, and writes the request that goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from mockserver.core.validation import authenticate, route, validate
from mockserver.http.failures import make_problem
from mockserver.http.forwarding import Outgoing
from mockserver.http.messages import Reply
from mockserver.journal.masking import Masking
from mockserver.proxy.changing import MOST_CHANGED
from mockserver.proxy.forwarding import Forwarding, Office
from mockserver.proxy.headers import VIA, build_request_headers, build_request_target, escapes_base
from mockserver.proxy.recording import KEPT_OF_REQUEST
from mockserver.proxy.servers import check_servers
from mockserver.proxy.suffixes import strip_body, watch_form
from mockserver.proxy.summary import Summary
from mockserver.request.preferences import parse_prefer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flowcontract.specs.model import Api, SecurityScheme
    from mockserver.core.choosing import Selection
    from mockserver.core.mock import Mock
    from mockserver.core.passing import Passed
    from mockserver.http.incoming import Incoming
    from mockserver.http.messages import Request
    from mockserver.journal.entry import Entry
    from mockserver.proxy.recording import RecordedExchange, Recorder
    from mockserver.proxy.servers import Server

_LOOKED_AT = ("application/json", "application/x-www-form-urlencoded")
"""Media types of bodies whose `user` may ask for something; they are small. All others pass while they come."""
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
SILENT_S = 300.0
_MOST_PROXIES = 8  # one behind the other


@dataclass(slots=True)
class Passing:
    """Passes the requests of some APIs on to their servers.

    ``servers``   by API; may change while it runs
    ``enforce``   '' lets all pass; else how a stream ends at its first violation: `error` or `cut`
    ``own``       the folder whose scenarios come before the server
    ``silent_s``  how long a server may be silent
    ``changed``   has a place for each stream that faults may change at once
    """

    mock: Mock
    servers: dict[str, Server]
    enforce: str = ""
    own: Path | None = None
    silent_s: float = SILENT_S
    recorder: Recorder | None = None
    summary: Summary = field(default_factory=Summary)
    changed: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(MOST_CHANGED))

    def __post_init__(self) -> None:
        check_servers(self.servers, self.mock.apis)

    @property
    def enforces(self) -> bool:
        """Whether what the contract forbids is refused instead."""
        return bool(self.enforce)

    def add(self, server: Server) -> None:
        """Pass the requests of one more API on; raise ServerError where its paths lead elsewhere already."""
        check_servers({**self.servers, server.api: server}, self.mock.apis)
        self.servers[server.api] = server

    # What core asks

    def covers(self, path: str) -> bool:
        """Tell whether a path is under the base path of an API whose requests are passed on."""
        return self._find_server(path) is not None

    def admit(self, request: Request) -> Request:
        """Return a request with keys that open the mock in place of those that open another server."""
        if not self.covers(request.path):
            return request
        apis = self._list_apis(request.path)
        if any(_has_own_key(scheme, request) for api in apis for scheme in api.schemes.values()):
            return request
        admitted = [_put_key(request, api) for api in apis]
        if len(admitted) > 1:  # they share their paths: the one that knows this path is meant
            routes = [route(self.mock.router, each).route for each in admitted]
            known = (each for each, way in zip(admitted, routes, strict=True) if way.operation and not way.refused)
            return next(known, admitted[0])
        return admitted[0]

    def wants_body_later(self, head: Request) -> bool:
        """Tell whether nothing looks at the body of a request before it is passed on."""
        kind = head.fields.get("content-type", "").partition(";")[0].strip().lower()
        if self.enforce or kind in _LOOKED_AT or not self.covers(head.path):
            return False
        if parse_prefer(head.fields.get("prefer", "")) is not None or escapes_base(
            head.path, self._find_base(head.path)
        ):
            return False
        routed = route(self.mock.router, self.admit(head))
        operation = routed.route.operation
        if operation is None or routed.preference is not None:
            return False
        if any(order.operation == operation.name for order in self.mock.overrides.list_all()):
            return False
        known = self.mock.content.scenarios.read_scenarios(operation).values()
        return not any(self._is_own(scenario.path) for scenario in known)

    def keeps(self, chosen: Selection) -> bool:
        """Tell whether the mock answers itself: it was asked to, a scenario of the user's own fits, or it refuses."""
        if chosen.is_preferred:
            return True
        if chosen.refusal is not None:
            return self.enforces
        return self._is_own(chosen.scenario.path)

    def note_kept(self, entry: Entry) -> None:
        """Count a request that the mock answers itself, and what of it the contract forbids."""
        self.summary.count(kept=True)
        name = entry.operation or entry.method
        self.summary.note("client", name, [each["message"] for each in entry.violations])

    def forward(self, passed: Passed) -> Reply:
        """Return a reply that says where the request goes."""
        request, entry = passed.visit.routed.request, passed.entry
        base = self._find_base(request.path)
        server = self._find_server(request.path)
        assert server is not None
        if problem := self._refuse(request, base):
            return problem
        entry.choose("forward", server.url)
        target = build_request_target(request, base, server.base_path)
        outgoing = self._write_request(passed, server, target)
        recorded = self._begin_recording(passed)
        forwarding = Forwarding(Office(self.mock, self.summary, self.changed, self.enforce), passed, outgoing, recorded)
        url = f"{server.origin}{target}"
        if isinstance(outgoing.body, bytes):
            self._record_request(recorded, passed, url, outgoing.body, len(outgoing.body))
        else:
            self._pass_on(outgoing.body, forwarding, passed, recorded, url)
        return Reply(200, request.headers, forward=forwarding)

    # Parts of it

    def _write_request(self, passed: Passed, server: Server, target: str) -> Outgoing:
        """Return what is sent on: without what the mock understood, all else as it came."""
        request = passed.visit.routed.request
        content_type = request.fields.get("content-type", "")
        body: bytes | Incoming = request.incoming or strip_body(request.body.read(), content_type)
        size = len(body) if isinstance(body, bytes) else None
        headers = build_request_headers(request, server.host, size)
        lines = [f"{request.method} {target} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in headers)]
        return Outgoing(
            server.origin,
            request.method,
            "".join([*lines, "\r\n"]).encode("latin-1", "replace"),
            body,
            chunked=size is None and "transfer-encoding" in request.fields,
            idempotent=request.method in _IDEMPOTENT and size is not None,
            silent_s=self.silent_s,
            patient=content_type.startswith("multipart/") and "expect" not in request.fields,
        )

    def _pass_on(
        self, body: Incoming, forwarding: Forwarding, passed: Passed, recorded: RecordedExchange | None, url: str
    ) -> None:
        """Have a body judged and recorded when it has passed, and recalled where it asks something of the mock."""
        watch = watch_form(passed.visit.routed.request.fields.get("content-type", ""))
        if watch is not None:
            body.watch(lambda piece: watch.feed(piece) and forwarding.withdraw())
        if body.recalled:
            return
        forwarding.before_answer = lambda: self._record_request(recorded, passed, url, None, body.size)
        if body.whole is None:
            body.on_end = lambda: self._judge_upload(passed, recorded, url)
        else:  # it came together with its head
            self._judge_upload(passed, recorded, url)

    def _refuse(self, request: Request, base: str) -> Reply | None:
        """Return what is answered where a request cannot be passed on as it came; None where it can."""
        if escapes_base(request.path, base):
            return make_problem(404, "Not passed on", f"{request.path} leads out of {base}, which is all that passes.")
        if request.fields.get("via", "").count(VIA[1]) > _MOST_PROXIES:
            return make_problem(508, "Loop Detected", "The request comes from this proxy. --to names the proxy itself.")
        if request.body_error == "too large":
            limit = self.mock.settings.max_upload >> 20
            detail = (
                f"The body has more than {limit} MB, and has to be looked at before it passes. Raise --max-upload-mb."
            )
            return make_problem(413, "Too large to be looked at", detail)
        if request.body_error == "cut short":
            return make_problem(
                400, "Bad Request", "The body ended before its announced length, and was not passed on."
            )
        return None

    def _judge_upload(self, passed: Passed, recorded: RecordedExchange | None, url: str) -> None:
        """Judge a request's body that has passed."""
        visit = passed.visit
        head = visit.routed.request
        incoming = head.incoming
        assert incoming is not None
        if incoming.whole and not incoming.copy_error and passed.known:
            whole = replace(head, body=incoming.copy, incoming=None)
            routed = visit.routed._replace(request=whole)
            checked = validate(routed, visit.operation, visit.api, authenticate(routed, visit.operation), _admit_all)
            if checked.refusal:
                passed.entry.forbid(checked.values.violations, checked.refusal)
            if checked.body.media_type.startswith("multipart/"):
                self.mock.journal.note_form(passed.entry, checked.body.value)
        passed.entry.size = incoming.size
        body = incoming.copy.read() if incoming.copy.size <= KEPT_OF_REQUEST else None
        self._record_request(recorded, passed, url, body if incoming.whole else None, incoming.size)

    def _begin_recording(self, passed: Passed) -> RecordedExchange | None:
        if self.recorder is None:
            return None
        return self.recorder.begin(passed.entry.number, time.time(), passed.visit.routed.request)

    def _record_request(
        self, recorded: RecordedExchange | None, passed: Passed, url: str, body: bytes | None, size: int
    ) -> None:
        if recorded is not None:
            request, visit = passed.visit.routed.request, passed.visit
            name = visit.operation.name if passed.known else None
            recorded.write_request(visit.api.name, name, request.method, url, list(request.headers), body, size)

    def _list_apis(self, path: str) -> list[Api]:
        apis = [self.mock.apis[name] for name in self.servers]
        return [api for api in apis if path == api.base_path or path.startswith(f"{api.base_path}/")]

    def _find_server(self, path: str) -> Server | None:
        return next((self.servers[api.name] for api in self._list_apis(path)), None)

    def _find_base(self, path: str) -> str:
        return next((api.base_path for api in self._list_apis(path)), "")

    def _is_own(self, path: Path) -> bool:
        return self.own is not None and path.is_relative_to(self.own)


def _admit_all(_size: int) -> None:
    """Find room for every file: none is kept."""


def _is_sent(scheme: SecurityScheme, value: str | None) -> bool:
    """Tell whether a header has a key of a scheme, whatever it opens."""
    if value is None:
        return False
    return not scheme.prefix or value.strip().lower().startswith(scheme.prefix.lower())


def _has_own_key(scheme: SecurityScheme, request: Request) -> bool:
    """Tell whether a request has the mock's own key already."""
    value = request.fields.get(scheme.parameter.lower(), "") if scheme.location == "header" else ""
    return bool(scheme.mock_key) and value.removeprefix(scheme.prefix).startswith(scheme.mock_key)


def _put_key(request: Request, api: Api) -> Request:
    """Return a request with an API's own keys in place of those that came."""
    fields, query = dict(request.fields), request.query
    for scheme in api.schemes.values():
        name = scheme.parameter.lower()
        if scheme.location == "header" and _is_sent(scheme, fields.get(name)):
            fields[name] = f"{scheme.prefix}{scheme.mock_key}"
        elif scheme.location == "query" and f"{scheme.parameter}=" in query:
            query = _replace_key(query, scheme)
    return replace(request, fields=fields, query=query, head=None)  # what is known of the head is of another key


def _replace_key(query: str, scheme: SecurityScheme) -> str:
    parts = [part.partition("=") for part in query.split("&")]
    return "&".join(
        f"{name}={scheme.mock_key}" if name == scheme.parameter and value else f"{name}{equals}{value}"
        for name, equals, value in parts
    )


def make_masking(apis: Mapping[str, Api]) -> Masking:
    """Return what knows the names of secrets in a recording; there even the keys that a mock prints are some."""
    return Masking(scheme.parameter for api in apis.values() for scheme in api.schemes.values())


def map_servers(servers: Mapping[str, Server]) -> dict[str, str]:
    """Return the URLs of servers, as a recording names them."""
    return {name: server.url for name, server in servers.items()}
