"""A proxy on loopback that lets one mutant change what passes."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from mutant import Mutation, Question, Reply, read_query, write_query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "host"}


class Proxy:
    """Runs while it is entered; `port` is where the suite is to ask."""

    def __init__(self, upstream: int, mutation: Mutation) -> None:
        """Listen on a free port."""
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.upstream = upstream  # type: ignore[attr-defined]
        self._server.mutation = mutation  # type: ignore[attr-defined]
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        """Answer in a thread."""
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when the suite leaves a stream that it has judged."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        """Pass one request on, whatever its method is."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self._pass_on(self.server.mutation)  # type: ignore[attr-defined]

    def _pass_on(self, mutation: Mutation) -> None:
        path, _, query = self.path.partition("?")
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        question = Question(self.command, path, read_query(query), list(self.headers.items()), raw)
        everybody = mutation.mutant.do.get("everybody")
        if everybody and _same_user(question, everybody):
            mutation.applied += 1
        acting = mutation.acting(question)
        reply = acting.ask(question) if acting else None
        changed = acting and (question.raw != raw or question.query != read_query(query))
        target = f"{path}?{write_query(question.query)}" if changed or everybody else self.path
        if reply is not None:
            self._send(reply)
            return
        self._forward(question, target, acting)

    def _forward(self, question: Question, target: str, mutation: Mutation | None) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)  # type: ignore[attr-defined]
        with contextlib.closing(upstream) as connection:
            self._exchange(connection, question, target, mutation)

    def _exchange(
        self, connection: http.client.HTTPConnection, question: Question, target: str, mutation: Mutation | None
    ) -> None:
        connection.putrequest(question.method, target, skip_accept_encoding=True)
        for name, value in question.headers:
            if name.lower() not in _HOP:
                connection.putheader(name, value)
        if question.raw or "content-length" in {name.lower() for name, _ in question.headers}:
            connection.putheader("Content-Length", str(len(question.raw)))
        connection.endheaders(question.raw or None)
        answer = connection.getresponse()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
        reply = Reply(answer.status, kept, b"")
        if reply.streamed and (mutation is None or mutation.live):
            pieces = iter(lambda: answer.read1(65536), b"")
            self._stream(mutation.head(reply) if mutation else reply, mutation.passing(pieces) if mutation else pieces)
        else:
            reply.raw = answer.read()
            self._send(mutation.answer(reply) if mutation else reply, mutation)

    def _stream(self, reply: Reply, pieces: Iterator[bytes]) -> None:
        self._head(reply, chunked=True)
        for piece in pieces:
            self._chunk(piece)
        self._chunk(b"")

    def _send(self, reply: Reply, mutation: Mutation | None = None) -> None:
        if reply.streamed and mutation and "pause_s" in mutation.mutant.do:
            self._head(reply, chunked=True)
            for piece in mutation.pauses(reply.raw):
                self._chunk(piece)
            self._chunk(b"")
            return
        wire = mutation.wire if mutation else {}
        chunked = "chunked" in wire or ("hang" in wire and reply.streamed)
        self._head(reply, chunked=chunked)
        if chunked:
            self._chunk(reply.raw)
            if "hang" in wire:
                self.connection.recv(1)  # until whoever asked has had enough
            self._chunk(b"")
        else:
            self.wfile.write(reply.raw)

    def _head(self, reply: Reply, *, chunked: bool = False) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif reply.status != http.HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(reply.raw)))
        if self._wire.get("close"):
            self.send_header("Connection", "close")
        self.end_headers()

    @property
    def _wire(self) -> Mapping[str, Any]:
        wire: Mapping[str, Any] = self.server.mutation.wire  # type: ignore[attr-defined]
        return wire

    def _chunk(self, piece: bytes) -> None:
        """Send a piece; an empty one, of which the end consists, as it is."""
        size = self._wire.get("chunk") or len(piece) or 1
        for start in range(0, len(piece) or 1, size):
            part = piece[start : start + size]
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.flush()


def _same_user(question: Question, user: str) -> bool:
    """Replace every user by the same one; tell whether there was any."""
    found = any(name == "user" for name, _ in question.query)
    question.query = [(name, user if name == "user" else value) for name, value in question.query]
    if isinstance(question.body, dict) and "user" in question.body:
        question.raw = json.dumps({**question.body, "user": user}).encode()
        found = True
    return found
