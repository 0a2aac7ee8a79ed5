"""A user of one API of the mock: calls operations by name, and every answer has to be what the contract allows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from mock_calls import Answer, Caller, read

from flowcontract.streams import StreamJudge
from flowcontract.validation import response_violations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.specs import Api, Operation
    from mockserver.messages import Reply, Streamed

File = tuple[str, bytes]


@dataclass
class User:
    """Someone with a key of an API. `name` is who the requests say they come from, '' for nobody."""

    mock: Caller
    api_name: str
    suffix: str = ""
    name: str = "abc-123"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def api(self) -> Api:
        """The contract."""
        return self.mock.app.apis[self.api_name]

    def call(self, operation_id: str, body: Any = None, **request: Any) -> Answer:
        """Call an operation and read its answer to the end; see `open`."""
        operation = self.api.operations[operation_id]
        answer = read(self.open(operation_id, body, **request))
        wrong = _violations(self.api, operation, answer)
        assert wrong == [], f"{operation.name} answers {answer.status} {answer.body[:300]!r}, but {wrong}"
        return answer

    def open(
        self,
        operation_id: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        form: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **path: str,
    ) -> Reply:
        """Send JSON (a mapping gets the user's name) or a form (a file is name and bytes); the rest is the path."""
        operation = self.api.operations[operation_id]
        target = self.api.base_path + operation.path
        for name, value in path.items():
            target = target.replace(f"{{{name}}}", value)
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        target += f"?{urlencode(asked)}" if asked else ""
        sent = {**self._credentials(operation), **self.headers, **(headers or {})}
        if form is not None:
            sent["Content_Type"] = "multipart/form-data; boundary=b"
            return self.mock.open(operation.method, target, body=multipart(self._named(form)), **sent)
        if isinstance(body, dict):
            body = self._named(body)
        return self.mock.open(operation.method, target, json_body=body, **sent)

    def _named(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"user": self.name, **body} if self.name else dict(body)

    def _credentials(self, operation: Operation) -> dict[str, str]:
        schemes = [self.api.schemes[name] for name in operation.security[0]]
        return {one.parameter.replace("-", "_"): f"{one.prefix}{one.mock_key}{self.suffix}" for one in schemes}


def _violations(api: Api, operation: Operation, answer: Answer) -> list[str]:
    """Return what the contract says against an answer, a stream's events included."""
    if operation.stream is not None and answer.headers["Content-Type"].startswith("text/event-stream"):
        judge = StreamJudge(operation.stream)
        return [str(one) for one in [*judge.feed(answer.body), *judge.close()]]
    headers = dict(answer.headers.items())
    return [str(one) for one in response_violations(api.validators, operation, answer.status, headers, answer.body)]


def multipart(fields: Mapping[str, Any]) -> bytes:
    """Return a form with the boundary `b`; a file is its name and its bytes, and has no type of its own."""
    parts = []
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            named, data = (f'; filename="{_quoted(item[0])}"', item[1]) if isinstance(item, tuple) else ("", item)
            head = f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode()
            parts.append(head + (data if isinstance(data, bytes) else str(data).encode()) + b"\r\n")
    return b"".join(parts) + b"--b--\r\n"


def _quoted(name: str) -> str:
    """Return a file name as browsers put it into a header (https://html.spec.whatwg.org/#multipart-form-data)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def segment(text: str) -> str:
    """Return a text as one segment of a path."""
    return quote(text, safe="")


class Live:
    """A stream that is being read while other things happen; its time is the test's."""

    def __init__(self, body: Streamed) -> None:
        self.body = body
        self.now = 0.0
        self.said = b""
        self.wake: float | None = 0.0
        body.on_change = self._ask_at_once

    def _ask_at_once(self) -> None:
        self.wake = self.now

    def step(self, until: str = "") -> dict[str, Any]:
        """Read on until an event of a kind (or any event) has come; return it."""
        while True:
            due = self._advance()
            for event in reversed(events_of(b"".join(due))):
                if until in ("", event["event"]):
                    return event
            assert self.wake is not None, f"no {until or 'event'} came"

    def rest(self) -> list[dict[str, Any]]:
        """Read to the end and return the events that still came."""
        said = len(self.said)
        while self.wake is not None:
            self._advance()
        return events_of(self.said[said:])

    def _advance(self) -> list[bytes]:
        self.now = max(self.now, self.wake or 0.0)
        due, self.wake = self.body.advance(self.now)
        self.said += b"".join(due)
        return due


def events_of(said: bytes) -> list[dict[str, Any]]:
    """Return the JSON of the server-sent events in some bytes."""
    return [json.loads(line[6:]) for line in said.decode().splitlines() if line.startswith("data: ")]
