"""Connections that are kept: what a server does with an idle one is no answer to the next request."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import httpx
import pytest

from contract_tests.http.clock import Clock
from contract_tests.http.wire import Wire

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Leaving:
    """Answers the first request of each connection, and resets the connection when the second one comes."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(4096))
                connection.sendall(ANSWER)
                if second := connection.recv(4096):
                    self.asked.append(second)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def close(self) -> None:
        """Serve nobody any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def leaving() -> Iterator[Leaving]:
    server = Leaving()
    yield server
    server.close()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(transport=Wire(Clock()), timeout=10) as client:
        yield client


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_safe_request_is_sent_again_where_an_idle_connection_is_reset(leaving, client, method):
    """RFC 9112, 9.3.1: it may; the server has promised nothing about a connection that waits."""
    assert client.get(leaving.url).json() == {}
    assert client.request(method, leaving.url).status_code == 200
    assert [request.split()[0] for request in leaving.asked] == [b"GET", method.encode(), method.encode()]


def test_request_that_changes_something_is_sent_once(leaving, client):
    """Nobody knows whether it was carried out."""
    assert client.get(leaving.url).json() == {}
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.post(leaving.url)
    assert [request.split()[0] for request in leaving.asked] == [b"GET", b"POST"]


def test_connection_that_was_idle_for_long_is_not_used_again(leaving, client, monkeypatch):
    """Many servers close theirs after two to five seconds, often just when the next request is sent."""
    assert client.get(leaving.url).json() == {}
    monkeypatch.setattr("contract_tests.http.wire._IDLE_S", 0.0)
    assert client.post(leaving.url).json() == {}
    assert [request.split()[0] for request in leaving.asked] == [b"GET", b"POST"]
