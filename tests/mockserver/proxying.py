"""Proxies in a thread, servers that do what a test tells them step by step, and clients that see every byte."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from mockserver.config.settings import Settings
from mockserver.proxy.passing import Passing
from mockserver.proxy.servers import parse_server
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 20.0
"""How long anything may take before a test fails."""
CHAT = {"query": "Hi", "inputs": {}, "user": "u", "response_mode": "streaming"}
KEY = "Bearer app-secret-key-4711"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.contextmanager
def proxying(servers: dict[str, str], **options: Any) -> Iterator[MockServer]:
    """Run a proxy before some servers; `passing` of its mock has the summary."""
    fixtures = options.get("own")
    prepared = MockServer(list(servers), fixtures=fixtures, settings=Settings(pace=0))
    prepared.ca_file = options.pop("ca_file", None)
    with prepared as server:
        targets = {api: parse_server(api, url) for api, url in servers.items()}
        server.mock.passing = Passing(server.mock, targets, **options)
        yield server


def passing_of(server: MockServer) -> Passing:
    """Return what passes a proxy's requests on."""
    passing = server.mock.passing
    assert isinstance(passing, Passing)
    return passing


@dataclass
class Wire:
    """One end of a connection; reads exactly what a test asks for."""

    socket: socket.socket
    held: bytes = b""

    def send(self, data: bytes) -> None:
        """Send bytes in one go."""
        self.socket.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        """Send a chunk of a body."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def read_until(self, end: bytes) -> bytes:
        """Return everything to the first `end`, that included."""
        while end not in self.held:
            self.held += self._receive()
        found, self.held = self.held.split(end, 1)
        return found + end

    def read_exactly(self, count: int) -> bytes:
        """Return so many bytes."""
        while len(self.held) < count:
            self.held += self._receive()
        found, self.held = self.held[:count], self.held[count:]
        return found

    def read_chunk(self) -> bytes:
        """Return one chunk of a body; b'' at its end."""
        size = int(self.read_until(b"\r\n"), 16)
        data = self.read_exactly(size)
        assert self.read_exactly(2) == b"\r\n"
        return data

    def read_head(self) -> Head:
        """Return the head of a message."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines[1:] if line]
        return Head(lines[0], [(name.lower(), value) for name, value in pairs])

    def answer(self, reply: bytes = OK) -> None:
        """Answer the next request, whose head has to have come."""
        self.read_head()
        self.send(reply)

    def read_rest(self) -> bytes:
        """Return everything until the other end closes; raise ConnectionResetError if it resets."""
        while data := self.socket.recv(65536):
            self.held += data
        found, self.held = self.held, b""
        return found

    def _receive(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"the other end closed after {self.held!r}")
        return data

    def reset(self) -> None:
        """Close so that the other end sees it broken."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close as one does."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Head:
    """The first line of a message, and its headers with names in lower case."""

    line: str
    pairs: list[tuple[str, str]] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.line.split()[1])

    def __getitem__(self, name: str) -> str:
        return dict(self.pairs)[name]

    def get(self, name: str) -> str | None:
        """Return the last value of a header, None without one."""
        return dict(self.pairs).get(name)


class Upstream:
    """A server whose connections a test accepts and answers itself."""

    def __init__(self, port: int = 0) -> None:
        self.socket = socket.create_server(("127.0.0.1", port))
        self.socket.settimeout(WAIT_S)
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def accept(self) -> Wire:
        """Wait for a connection."""
        connected, _ = self.socket.accept()
        connected.settimeout(WAIT_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Wire(connected)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def connect(server: MockServer) -> Wire:
    connected = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Wire(connected)


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return the bytes of a request; underscores in names of headers are hyphens."""
    fields = {"Host": "proxy", "Authorization": KEY} | {name.replace("_", "-"): text for name, text in headers.items()}
    if body:
        fields.setdefault("Content-Length", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in fields.items() if text), "", ""]
    return "\r\n".join(lines).encode() + body


def chat(content: Any = None, **headers: str) -> bytes:
    """Return a request for a stream."""
    body = json.dumps(CHAT if content is None else content).encode()
    return request("POST", "/v1/chat-messages", body, **{"Content_Type": "application/json"} | headers)


def event(kind: str, **more: Any) -> bytes:
    return b"data: " + json.dumps({"event": kind, **more}).encode() + b"\n\n"
