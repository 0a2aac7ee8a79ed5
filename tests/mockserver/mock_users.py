"""A user of one API of the mock: calls operations by name, and every answer has to be what the contract allows."""

from __future__ import annotations

import json
import mimetypes
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from mock_calls import Answer, Caller, read
from werkzeug.datastructures import Headers

from flowcontract.streams.judge import StreamJudge
from flowcontract.validation.response import find_response_violations
from mockserver.blobs.blob import Blob
from mockserver.http.messages import Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flowcontract.specs.model import Api, Operation
    from mockserver.http.messages import Reply, Streamed

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
        return self.mock.app.mock.apis[self.api_name]

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
        """Send JSON (an object gets the user's name) or a form (a file is name and bytes).

        `query` and `headers` go along, and what else is named stands in the path.
        """
        operation = self.api.operations[operation_id]
        target = self.api.base_path + operation.path
        for name, value in path.items():
            target = target.replace(f"{{{name}}}", value)
        asked = urlencode({name: value for name, value in (query or {}).items() if value is not None})
        sent = Headers([*self._credentials(operation).items(), *self.headers.items(), *(headers or {}).items()])
        content = b""
        if form is not None:
            sent["Content-Type"] = "multipart/form-data; boundary=b"
            content = multipart(self._named(form))
        elif body is not None:
            sent["Content-Type"] = "application/json"
            content = json.dumps(self._named(body) if isinstance(body, dict) else body).encode()
        request = Request(operation.method, unquote(target), asked, sent, Blob(content), peer=self.mock.peer)
        return self.mock.app.handle(request, self.mock.now)

    def _named(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"user": self.name, **body} if self.name else dict(body)

    def _credentials(self, operation: Operation) -> dict[str, str]:
        schemes = [self.api.schemes[name] for name in operation.security[0]]
        return {one.parameter: f"{one.prefix}{one.mock_key}{self.suffix}" for one in schemes}


def _violations(api: Api, operation: Operation, answer: Answer) -> list[str]:
    """Return what the contract says against an answer, a stream's events included."""
    if operation.stream is not None and answer.headers["Content-Type"].startswith("text/event-stream"):
        judge = StreamJudge(operation.stream)
        return [str(one) for one in [*judge.feed(answer.body), *judge.close()]]
    headers = dict(answer.headers.items())
    return [
        str(one) for one in find_response_violations(api.validators, operation, answer.status, headers, answer.body)
    ]


def multipart(fields: Mapping[str, Any]) -> bytes:
    """Return a form with the boundary `b`; a file is its name and its bytes, and of the type that its name tells."""
    parts = []
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            named, data = (f'; filename="{_quoted(item[0])}"', item[1]) if isinstance(item, tuple) else ("", item)
            typed = f"\r\nContent-Type: {_type_of(item[0])}" if named else ""
            head = f'--b\r\nContent-Disposition: form-data; name="{name}"{named}{typed}\r\n\r\n'.encode()
            parts.append(head + (data if isinstance(data, bytes) else str(data).encode()) + b"\r\n")
    return b"".join(parts) + b"--b--\r\n"


def _type_of(name: str) -> str:
    """Return what curl says of a file; Python before 3.14 knows `audio/wav` by its old name."""
    return (mimetypes.guess_type(name)[0] or "application/octet-stream").replace("audio/x-", "audio/")


def _quoted(name: str) -> str:
    """Return a file name as browsers put it into a header (https://html.spec.whatwg.org/#multipart-form-data)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


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


def spooled(folder: Path) -> list[Path]:
    """Return the files that a mock keeps in a folder for temporary files."""
    return [path for path in folder.glob("mockserver-*/*") if path.name != "lock"]
