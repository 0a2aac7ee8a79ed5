"""The mock on a real port: what only sockets can show."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = {"Authorization": "Bearer app-chat-server"}
CHAT = {"query": "hello", "user": "abc-123", "inputs": {}}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=20) as one:
        yield one


def exchange(server: MockServer, raw: bytes, *, close: bool = True) -> bytes:
    """Send raw bytes and return everything that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        answer = b""
        with contextlib.suppress(OSError):  # a server may refuse before everything was sent
            connection.sendall(raw)
            if close:
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        return answer


def parts(answer: bytes) -> tuple[int, str, Any]:
    """Return status, Content-Type and the JSON of a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    kind = next((line.partition(": ")[2] for line in lines if line.lower().startswith("content-type:")), "")
    return int(lines[0].split()[1]), kind, json.loads(body)


def post(body: bytes, *headers: str) -> bytes:
    """Return a raw chat request."""
    lines = ["POST /v1/chat-messages HTTP/1.1", "Host: mock", "Authorization: Bearer app-chat-server", *headers]
    return "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode() + body


def test_browser_may_ask_from_anywhere(server: MockServer, client: httpx.Client) -> None:
    """A preflight is answered with what it asks for, and every answer may be read by a page of any origin."""
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    wanted = {"Access-Control-Request-Headers": "authorization, content-type, prefer"}
    preflight = client.options(f"{server.url('dify-chat')}/chat-messages", headers=asked | wanted)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == "authorization, content-type, prefer"
    assert preflight.headers["access-control-allow-methods"] == "POST"
    for path in ("/info", "/nowhere"):
        answer = client.get(server.url("dify-chat") + path, headers=KEY)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-expose-headers"] == "*"


@pytest.mark.parametrize("path", ["/info", "/parameters"])
def test_head_is_get_without_the_body(server: MockServer, client: httpx.Client, path: str) -> None:
    """Same status and headers, no body (RFC 9110, 9.3.2)."""
    get, head = (client.request(method, server.url("dify-chat") + path, headers=KEY) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_chunked_request_is_read(server: MockServer, client: httpx.Client) -> None:
    """A body without a length is a body."""

    def body() -> Iterator[bytes]:
        for character in json.dumps(CHAT):
            yield character.encode()

    answer = client.post(
        f"{server.url('dify-chat')}/chat-messages", content=body(), headers={**KEY, "Content-Type": "application/json"}
    )
    assert answer.status_code == 200


def test_broken_chunks_are_a_bad_request(server: MockServer) -> None:
    """Chunks that are none are a documented 400."""
    status, kind, body = parts(exchange(server, post(b"zz\r\nnothing\r\n", "Transfer-Encoding: chunked")))
    assert (status, kind, body["code"]) == (400, "application/json", "bad_request")


@pytest.mark.parametrize("length", [10_000, 5])
def test_wrong_content_length_is_a_bad_request(server: MockServer, length: int) -> None:
    """A body shorter or longer than announced is no JSON that could be read."""
    status, _, body = parts(exchange(server, post(json.dumps(CHAT).encode(), f"Content-Length: {length}")))
    assert (status, body["code"]) == (400, "bad_request")


@pytest.mark.parametrize("length", ["many", "-1", "1e3", "9" * 30])
def test_length_that_is_none_is_refused(server: MockServer, length: str) -> None:
    """A Content-Length that is no length is a 4xx with JSON."""
    status, kind, _ = parts(exchange(server, post(b"{}", f"Content-Length: {length}")))
    assert (status // 100, "json" in kind) == (4, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /v1/info\r\n\r\n\r\n",
        b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/info HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(500)) + b"\r\n",
        b"GET //[ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://[:: HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"BREW /v1/chat-messages HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/info?user=%ff HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer app-chat\r\n\r\n",
        b"GET /v1/info HTTP/1.1\r\nHost: a\r\nAuthorization: \xff\xfe\r\n\r\n",
    ],
)
def test_broken_http_never_gets_html_or_a_server_error(server: MockServer, raw: bytes) -> None:
    """Whatever bytes come, the answer is JSON with a 4xx, or no answer where HTTP itself could not be read."""
    answer = exchange(server, raw)
    assert b"<html" not in answer.lower()
    assert b"Traceback" not in answer
    if answer.startswith(b"HTTP/"):
        status, kind, _ = parts(answer)
        assert (status // 100, "json" in kind) == (4, True)


def test_stream_comes_in_chunks_as_it_goes_on() -> None:
    """The first event is there long before the last, and a stop from another connection ends the stream at once."""
    with (
        MockServer(["dify-chat"], settings=Settings(pace=100)) as slow,
        httpx.Client(trust_env=False, timeout=20) as client,
    ):
        base = slow.url("dify-chat")
        with client.stream(
            "POST", f"{base}/chat-messages", headers=KEY, json=CHAT | {"response_mode": "streaming"}
        ) as answer:
            assert answer.headers["transfer-encoding"] == "chunked"
            lines = answer.iter_lines()
            first = json.loads(next(line for line in lines if line.startswith("data: "))[6:])
            stop = client.post(f"{base}/chat-messages/{first['task_id']}/stop", headers=KEY, json={"user": "abc-123"})
            assert stop.json() == {"result": "success"}
            rest = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert rest[-1]["event"] == "message_end"
    assert any(event["event"] == "workflow_finished" and event["data"]["status"] == "stopped" for event in rest)


def test_client_that_leaves_ends_its_stream() -> None:
    """The server notices at the next event, and nothing of the stream runs on."""
    with MockServer(["dify-chat"], settings=Settings(pace=1)) as slow:
        raw = post(
            json.dumps(CHAT | {"response_mode": "streaming"}).encode(),
            f"Content-Length: {len(json.dumps(CHAT | {'response_mode': 'streaming'}))}",
        )
        ended = threading.Event()
        original = slow.app.handle

        def watched(*request: Any) -> Any:
            reply = original(*request)
            close = reply.body.close
            reply.body.close = lambda: (close(), ended.set())
            return reply

        slow.app.handle = watched  # type: ignore[method-assign]
        with socket.create_connection(("127.0.0.1", slow.port), timeout=20) as connection:
            connection.sendall(raw)
            connection.recv(100)
        assert ended.wait(20)
        assert slow.mock.worlds.open("dify-chat", "-server").streams == {}
        assert [one.stream.ended for one in slow.mock.journal.list_entries() if one.stream] == ["gone"]


def test_body_over_the_limit_is_refused_with_the_documented_status(client: httpx.Client) -> None:
    """An upload of more than --max-upload-mb is 413, with and without an announced length."""
    with MockServer(["agentbuilder"], settings=Settings(max_upload=1 << 20)) as small:
        url = f"{small.url('agentbuilder')}/v2/files"
        for headers in ({}, {"Transfer-Encoding": "chunked"}):
            answer = client.post(
                url, headers=small.headers("agentbuilder") | headers, files={"file": ("big.bin", b"x" * (3 << 20))}
            )
            assert answer.status_code == 413
            assert "detail" in answer.json()
        assert (
            client.post(url, headers=small.headers("agentbuilder"), files={"file": ("small.bin", b"x")}).status_code
            == 201
        )


def test_large_file_comes_back_byte_by_byte(server: MockServer, client: httpx.Client) -> None:
    """A file that does not stay in memory is the same afterwards."""
    data = bytes(range(251)) * 40_000
    headers = server.headers("agentbuilder", "-large")
    file = client.post(
        f"{server.url('agentbuilder')}/v2/files", headers=headers, files={"file": ("large.bin", data)}
    ).json()
    assert file["size"] == len(data)
    assert client.get(f"{server.url('agentbuilder')}/v2/files/{file['id']}", headers=headers).content == data


def test_many_clients_at_once_get_whole_answers(server: MockServer) -> None:
    """Forty threads upload and chat at the same time; each gets its own."""
    failures: list[str] = []

    def work(number: int) -> None:
        with httpx.Client(trust_env=False, timeout=30) as own:
            headers = {"Authorization": f"Bearer app-chat-crowd-{number % 4}"}
            answer = own.post(
                f"{server.url('dify-chat')}/chat-messages", headers=headers, json=CHAT | {"query": f"q{number}"}
            )
            page = own.get(
                f"{server.url('dify-chat')}/messages?user=abc-123&conversation_id={answer.json()['conversation_id']}",
                headers=headers,
            ).json()
            if [one["query"] for one in page["data"]] != [f"q{number}"]:
                failures.append(f"{number}: {page}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
