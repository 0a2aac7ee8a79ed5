"""`--enforce` lets no wrong answer pass: the client gets the proxy's own word, which names what was wrong."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from proxying import CHAT, KEY, Head, Upstream, chat, connect, event, passing_of, proxying, request

from mockserver.config.settings import Settings
from mockserver.proxy.judging import KEPT_OF_BODY
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator


DIFY = "dify-chat"
INFO = b'{"name": "a", "description": "b", "tags": []}'


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[MockServer]:
    with proxying({DIFY: upstream.url}, enforce="error") as server:
        yield server


def whole(body: bytes, status: str = "200 OK", kind: str = "application/json", **headers: str) -> bytes:
    """Return an answer of known length."""
    fields = {"Content-Type": kind, "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def ask(upstream: Upstream, proxy: MockServer, said: bytes, asked: bytes = b"") -> tuple[Head, bytes]:
    """Return what a client gets where the server says this, and then closes."""
    with connect(proxy) as client:
        client.send(asked or request("GET", "/v1/info"))
        with upstream.accept() as server:
            server.read_head()
            server.send(said)
        head = client.read_head()
        return head, client.read_exactly(int(head["content-length"]))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (whole(b'{"name": 7}'), "type"),
        (whole(b"{oh"), "json"),
        (whole(b"{}", kind="text/html"), "media-type"),
        (whole(b"{}", "500 Oh"), "status"),
        (whole(gzip.compress(b'{"name": 7}'), Content_Encoding="gzip"), "type"),
        (whole(INFO)[:-1], "answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", "media-type"),
    ],
)
def test_wrong_answer_is_replaced(upstream: Upstream, proxy: MockServer, said: bytes, named: str) -> None:
    """By a 502 that says whose word it is, which status there was, and each violation with its source."""
    head, body = ask(upstream, proxy, said)
    assert (head.status, head["content-type"]) == (502, "application/problem+json")
    assert head["proxy-status"].startswith("mockserver; error=http_protocol_error; received-status=")
    problem = json.loads(body)
    assert problem["detail"].startswith("mockserver proxy: ")
    assert any(f"{named}: expected" in each["message"] for each in problem["violations"])
    (entry,) = proxy.mock.journal.list_entries()
    assert entry.status == 502
    assert entry.answer_violations
    assert passing_of(proxy).summary.wrong == {"server": 1}


def test_answer_whose_head_is_wrong_is_not_waited_for(upstream: Upstream, proxy: MockServer) -> None:
    """It may never end."""
    with connect(proxy) as client:
        client.send(request("GET", "/v1/info"))
        with upstream.accept() as server:
            server.read_head()
            server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
            assert client.read_head().status == 502


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_right_answer_passes_as_it_is(upstream: Upstream, proxy: MockServer, size: int) -> None:
    """Its headers, its pieces, its bytes; it comes when it is whole."""
    pieces = [INFO[at : at + size] for at in range(0, len(INFO), size)]
    with connect(proxy) as client:
        client.send(request("GET", "/v1/info"))
        with upstream.accept() as server:
            server.read_head()
            server.send(b"HTTP/1.1 200 Fine\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in pieces:
                server.send_chunk(piece)
            server.send(b"0\r\n\r\n")
            head = client.read_head()
            assert head.line == "HTTP/1.1 200 Fine"
            assert [client.read_chunk() for _ in pieces] == pieces
            assert client.read_chunk() == b""
        assert passing_of(proxy).summary.clean
        assert proxy.mock.journal.list_entries()[0].answer == INFO


def test_answer_without_a_body_passes(upstream: Upstream, proxy: MockServer) -> None:
    """There is nothing to wait for."""
    with connect(proxy) as client:
        client.send(
            request(
                "DELETE",
                "/v1/conversations/72fa9618-8f89-4a37-9b33-7e1178a24a67",
                b'{"user": "u"}',
                Content_Type="application/json",
            )
        )
        with upstream.accept() as server:
            server.read_head()
            server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert client.read_head().status == 204


@pytest.mark.parametrize("told", [True, False])
def test_answer_too_large_to_be_kept_back_passes(upstream: Upstream, proxy: MockServer, told: bool) -> None:
    """It is said that it was not judged; memory has a bound."""
    size = KEPT_OF_BODY + 100_000
    framing = f"Content-Length: {size}" if told else "Connection: close"
    with connect(proxy) as client:
        client.send(request("GET", "/v1/info", Connection="close"))
        with upstream.accept() as server:
            server.read_head()
            server.send(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{framing}\r\n\r\n".encode())
            sending = threading.Thread(target=server.send, args=(b"x" * size,))
            sending.start()
            head = client.read_head()
            assert head.status == 200
            body = client.read_exactly(size) if told else client.read_exactly(KEPT_OF_BODY)
            sending.join()
            server.close()
            body += client.read_rest()
    assert body.count(b"x") == size
    (entry,) = proxy.mock.journal.list_entries()
    assert any("--enforce" in hint for hint in entry.hints)


def test_secrets_and_long_texts_are_not_said_again(upstream: Upstream, proxy: MockServer) -> None:
    """The problem names at most ten violations, each in few words."""
    content = {"name": 7, "tags": [{"api_key": "sk-of-the-server-0815"}] * 30, "description": {"x": "y" * 100_000}}
    head, body = ask(upstream, proxy, whole(json.dumps(content).encode()))
    assert head.status == 502
    problem = json.loads(body)
    assert len(problem["violations"]) == 10
    assert "sk-of-the-server" not in body.decode()
    assert len(body) < 20_000


def test_fault_on_a_wrong_answer_gives_the_proxys_word(upstream: Upstream, proxy: MockServer) -> None:
    """What must not pass is not changed either."""
    head, _ = ask(upstream, proxy, whole(b'{"name": 7}'), request("GET", "/v1/info", Prefer='fault="close=5"'))
    assert head.status == 502


def test_streams_are_not_kept_back(upstream: Upstream, proxy: MockServer) -> None:
    """Each piece that keeps the contract passes when it comes."""
    with connect(proxy) as client:
        client.send(chat())
        with upstream.accept() as server:
            server.read_until(b'"streaming"}')
            server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert client.read_head().status == 200
            server.send_chunk(event("ping"))
            assert client.read_chunk() == event("ping")


def test_client_that_leaves_ends_what_is_kept_back(upstream: Upstream, proxy: MockServer) -> None:
    """The server is not kept busy for nobody, and the journal says how it ended."""
    with connect(proxy) as client:
        client.send(request("GET", "/v1/info"))
        with upstream.accept() as server:
            server.read_head()
            server.send(whole(INFO)[:-1])
            client.reset()
            with contextlib.suppress(ConnectionResetError):
                assert server.read_rest() == b""


def test_server_that_keeps_the_contract_answers_all(proxy: MockServer) -> None:
    """Through the proxy before the mock nothing is replaced."""
    with (
        MockServer([DIFY], settings=Settings(pace=0)) as real,
        proxying({DIFY: real.url(DIFY)}, enforce="cut") as front,
    ):
        headers = {"Authorization": "Bearer app-chat"}
        for path in ("info", "parameters", "meta", "conversations?user=u"):
            direct, passed = (
                httpx.get(f"{server.url(DIFY)}/{path}", headers=headers, trust_env=False) for server in (real, front)
            )
            assert (passed.status_code, passed.content) == (direct.status_code, direct.content)
        answer = httpx.post(
            f"{front.url(DIFY)}/chat-messages", json=CHAT, headers={"Authorization": KEY}, trust_env=False, timeout=20
        )
        assert answer.status_code == 401
        assert passing_of(front).summary.clean
