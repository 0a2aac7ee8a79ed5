"""The contract's own requests, taken apart so that every part can be spoilt on its own."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flowcontract.specs.examples import list_example_requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.specs.model import Api, Operation

BOUNDARY = b"fuzz-boundary"
TEXT_ESCAPED = "surrogatepass"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body; `head` is what stands above the empty line, without the last line break."""

    head: bytes
    data: bytes

    @classmethod
    def of(cls, name: str, data: bytes, filename: str | None = None, kind: str = "") -> Part:
        """Return an orderly part."""
        head = f'Content-Disposition: form-data; name="{name}"'
        head += f'; filename="{filename}"' if filename is not None else ""
        head += f"\r\nContent-Type: {kind}" if kind else ""
        return cls(head.encode("utf-8", TEXT_ESCAPED), data)


def multipart(parts: list[Part], boundary: bytes = BOUNDARY) -> bytes:
    """Return an orderly body of parts."""
    body = b"".join(b"--" + boundary + b"\r\n" + part.head + b"\r\n\r\n" + part.data + b"\r\n" for part in parts)
    return body + b"--" + boundary + b"--\r\n"


@dataclass(frozen=True, slots=True)
class Plain:
    """A request in parts. `target` is the whole target; `body` is JSON, a list of parts, or bytes."""

    operation: Operation
    method: str
    target: str
    headers: Mapping[str, str]
    body: Any = None
    media_type: str = ""
    extra: tuple[bytes, ...] = field(default=())

    def payload(self) -> bytes:
        """Return the body's bytes."""
        if isinstance(self.body, bytes):
            return self.body
        if self.media_type.startswith("multipart"):
            return multipart(self.body)
        return b"" if self.body is None else json.dumps(self.body).encode()

    def raw(self) -> bytes:
        """Return it as it goes over the wire, with a length that is right and a connection that is closed behind it."""
        payload = self.payload()
        headers = {"Host": "mock", "Connection": "close", **self.headers}
        if self.media_type:
            headers.setdefault("Content-Type", self.content_type)
        if payload:
            headers.setdefault("Content-Length", str(len(payload)))
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        head = b"\r\n".join(map(_bytes, lines))
        return b"\r\n".join([head, *self.extra]) + b"\r\n\r\n" + payload

    @property
    def content_type(self) -> str:
        """The Content-Type that fits the body."""
        whole = self.media_type.startswith("multipart")
        return f"{self.media_type}; boundary={BOUNDARY.decode()}" if whole else self.media_type

    def with_headers(self, **headers: str) -> Plain:
        """Return it with more headers; underscores stand for hyphens."""
        return replace(self, headers={**self.headers, **{name.replace("_", "-"): headers[name] for name in headers}})


def _bytes(line: str) -> bytes:
    """Return a line as Latin-1 where that is possible, so that a value may hold any byte."""
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode("utf-8", TEXT_ESCAPED)


def plain_requests(api: Api) -> Iterator[Plain]:
    """Yield every documented request of an API, with the mock's own key."""
    for example in list_example_requests(api):
        operation = example.operation
        keys = {}
        for name in operation.security[0] if operation.security else ():
            scheme = api.schemes[name]
            keys[scheme.parameter] = f"{scheme.prefix or ''}{scheme.mock_key}-fuzz"
        body = copy.deepcopy(example.body)
        if "multipart" in example.media_type:
            body = [_part(name, value, example.files) for name, value in body.items()]
        elif isinstance(body, dict) and operation.stream:
            body["response_mode"] = "blocking"
        target = api.base_path + example.path
        yield Plain(operation, operation.method, target, {**keys, **example.headers}, body, example.media_type)


def _part(name: str, value: Any, files: tuple[str, ...]) -> Part:
    text = value if isinstance(value, str) else json.dumps(value)
    if name in files:
        return Part.of(name, b"RIFF0000WAVEfmt some bytes", "a.wav", "audio/wav")
    return Part.of(name, text.encode())
