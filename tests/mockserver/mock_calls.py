"""Asking the application without sockets: a request in, an answer out whose stream has been read to its end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import Headers

from mockserver.admin.api import Admin
from mockserver.blobs.blob import Blob
from mockserver.http.messages import Reply, Request

if TYPE_CHECKING:
    from flowcontract.specs.examples import ExampleRequest
    from mockserver.core.app import App

NOW = 1_732_147_200.0


@dataclass
class Answer:
    """A reply whose body has been read to its end; `pieces` says for a stream what came when, in seconds."""

    status: int
    headers: Headers
    body: bytes
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The JSON of each server-sent event that has data."""
        lines = self.body.decode().split("\n")
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


@dataclass
class Caller:
    """Asks an application."""

    app: App
    peer: str = "127.0.0.1"
    now: float = NOW
    _served: Admin = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Put the admin API before it, once: compiling its routes takes longer than answering."""
        self._served = Admin(self.app.mock, self.app)

    def open(
        self, method: str, path: str, *, key: str = "", json_body: Any = None, body: bytes = b"", **headers: str
    ) -> Reply:
        """Send a request; `key` is a Dify key, header names have underscores for hyphens."""
        path, _, query = path.partition("?")
        sent = Headers([(name.replace("_", "-"), value) for name, value in headers.items()])
        if key:
            sent["Authorization"] = f"Bearer {key}"
        if json_body is not None:
            sent.setdefault("Content-Type", "application/json")
            body = json.dumps(json_body).encode()
        request = Request(method, path, query, sent, Blob(body), peer=self.peer)
        return self._served.handle(request, self.now)

    def ask(self, method: str, path: str, **request: Any) -> Answer:
        """Send a request and read the answer to its end."""
        return read(self.open(method, path, **request))


def read(reply: Reply) -> Answer:
    """Read a reply to its end; a stream's time is moved on to the moment it asks for, so nothing waits."""
    if isinstance(reply.body, bytes | Blob):
        body = reply.body if isinstance(reply.body, bytes) else reply.body.read()
        return Answer(reply.status, reply.headers, body)
    pieces, now = [], 0.0
    while True:
        due, wake = reply.body.advance(now)
        pieces += [(now, piece) for piece in due]
        if wake is None:
            return Answer(reply.status, reply.headers, b"".join(piece for _, piece in pieces), pieces)
        now = wake


def build_content(example: ExampleRequest) -> dict[str, Any]:
    """Return the body of a documented request as `httpx` takes it."""
    if example.media_type == "application/json":
        return {"json": example.body}
    if not example.media_type:
        return {}
    parts = {name: (None, value) for name, value in example.body.items() if name not in example.files}
    return {"files": {**parts, **dict.fromkeys(example.files, ("sample.mp3", b"ID3 bytes"))}}
