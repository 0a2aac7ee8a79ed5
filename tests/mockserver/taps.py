"""Taps on the wire: what a server answers is passed on byte for byte, and kept."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Self

import httptools

_WAIT_S = 20.0


@dataclass
class Answer:
    """An answer as far as it has come; `whole` once it has ended."""

    status: int
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    def agrees(self, sent: Answer) -> bool:
        """Tell whether this is what was sent, or the beginning of it where somebody has left."""
        same = sent.body == self.body if self.whole else sent.body.startswith(self.body)
        return self.status == sent.status and same and (sent.whole or not self.whole)


class Answers:
    """The answers that came over one connection."""

    def __init__(self) -> None:
        self.found: list[Answer] = []
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the connection."""
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        """Begin an answer."""
        self.found.append(Answer(self._parser.get_status_code()))

    def on_body(self, data: bytes) -> None:
        """Add to its body."""
        self.found[-1].body += data

    def on_message_complete(self) -> None:
        """End it."""
        self.found[-1].whole = True


class Tap:
    """A port before a server that passes everything on, both ways, and reads the answers."""

    def __init__(self, port: int) -> None:
        """Stand before the server on this port."""
        self._behind = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._connections: list[Answers] = []
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def answers(self) -> list[Answer]:
        """What has come of every answer but 1xx."""
        return [answer for each in self._connections for answer in each.found if answer.status >= 200]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._behind))
                answers = Answers()
                self._connections.append(answers)
                self._sockets += [client, server]
                self._start(client, server, None)
                self._start(server, client, answers)

    def _start(self, source: socket.socket, target: socket.socket, answers: Answers | None) -> None:
        thread = threading.Thread(target=self._pass_on, args=(source, target, answers), daemon=True)
        self._threads.append(thread)
        thread.start()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket, answers: Answers | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if answers is not None:  # before anybody else has them
                    answers.feed(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listening, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it
            each.close()
        for thread in self._threads:
            thread.join(_WAIT_S)


def find_differences(received: list[Answer], sent: list[Answer]) -> list[Answer]:
    """Return the answers of both sides that have no equal on the other, whatever connection they came over."""
    left, unlike = list(sent), []
    for answer in sorted(received, key=lambda answer: not answer.whole):
        equal = next((other for other in left if answer.agrees(other)), None)
        if equal is None:
            unlike.append(answer)
        else:
            left.remove(equal)
    return unlike + left
