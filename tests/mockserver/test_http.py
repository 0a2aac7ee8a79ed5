"""HTTP/1.1 itself, on raw sockets: offers of other protocols, hosts, versions, clients that speak something else."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from werkzeug.datastructures import Headers

from mockserver.config.settings import Settings
from mockserver.http import failures
from mockserver.http.messages import PlainHeaders, put
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = json.dumps({"query": "x", "inputs": {}, "response_mode": "blocking", "user": "u"}).encode()
CHUNKED = b"%x\r\n%b\r\n5\r\n%b\r\n0\r\n\r\n" % (len(BODY) - 5, BODY[:-5], BODY[-5:])
SETTINGS = "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"
OFFER = f"Connection: Upgrade, HTTP2-Settings\r\n{SETTINGS}\r\nUpgrade: h2c\r\n"
JDK = f"{OFFER}User-Agent: Java-http-client/17.0.9\r\n"
"""As java.net.http.HttpClient sends it with every request over http://."""


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer(["dify-chat"], settings=Settings(pace=0)) as running:
        yield running


def chat(headers: str, body: bytes = BODY, *, length: str | None = None, line: str = "") -> bytes:
    """Return a raw request to chat."""
    length = f"Content-Length: {len(body)}" if length is None else length
    line = line or "POST /v1/chat-messages HTTP/1.1\r\nHost: localhost:80"
    auth = "Authorization: Bearer app-chat-http\r\nContent-Type: application/json"
    return f"{line}\r\n{auth}\r\n{length}\r\n{headers}\r\n".encode() + body


def read_answers(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Read so many answers that have a length; status and body of each."""
    answers: list[tuple[int, bytes]] = []
    data = b""
    while len(answers) < count:
        head, end, rest = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if end and len(rest) >= length:
            answers.append((int(head.split()[1]), rest[:length]))
            data = rest[length:]
            continue
        more = connection.recv(65536)
        assert more, f"closed after {len(answers)} answers and {data!r}"
        data += more
    return answers


def ask(server: MockServer, *pieces: bytes, count: int = 1) -> list[tuple[int, bytes]]:
    """Send pieces, each on its own, and read so many answers."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # a server may refuse before everything was sent
            for piece in pieces:
                connection.sendall(piece)
        return read_answers(connection, count)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(
    "offer",
    [JDK, "Upgrade: TLS/1.2\r\nConnection: Upgrade\r\n", "connection: keep-alive, upgrade\r\nupgrade: websocket\r\n"],
    ids=["h2c", "TLS", "websocket"],
)
def test_offer_of_another_protocol_is_answered_as_http(server: MockServer, offer: str, chunked: bool) -> None:
    """With its body, by the same connection, as often as it is made (RFC 9110, 7.8); the next request is one again."""
    raw = chat(offer, CHUNKED, length="Transfer-Encoding: chunked") if chunked else chat(offer)
    plain = b"GET /v1/info HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer app-chat-http\r\n\r\n"
    answers = ask(server, raw + raw + plain + raw, count=4)
    assert [status for status, _ in answers] == [200] * 4
    assert [json.loads(body).get("mode") for _, body in answers[:2]] == ["chat"] * 2
    entry = server.requests("sendChatMessage")[-1]
    assert entry.content == BODY
    assert "upgrade" in [name.lower() for name, _ in entry.headers]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_offer_in_pieces_is_answered_as_http(server: MockServer, size: int) -> None:
    """Wherever the network cuts it."""
    raw = chat(JDK)
    assert ask(server, *[raw[start : start + size] for start in range(0, len(raw), size)])[0][0] == 200


def test_offer_without_a_body_is_answered_as_http(server: MockServer) -> None:
    """A GET of a JDK client; hundreds of them at once."""
    raw = f"GET /v1/info HTTP/1.1\r\n{JDK}Host: a\r\nAuthorization: Bearer app-chat-http\r\n\r\n".encode()
    assert [status for status, _ in ask(server, raw * 500, count=500)] == [200] * 500


def test_offer_that_expects_to_be_asked_on_is_asked_on(server: MockServer) -> None:
    """`Expect: 100-continue` holds beside an offer, too."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(chat(f"{JDK}Expect: 100-continue\r\n", b"", length=f"Content-Length: {len(BODY)}"))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert read_answers(connection, 1)[0][0] == 200


JAVA = """
import java.io.*; import java.net.URI; import java.net.http.*; import java.net.http.HttpRequest.BodyPublishers;
public class Ask { public static void main(String[] given) throws Exception {
  HttpClient client = HttpClient.newHttpClient();
  byte[] body = given[1].getBytes("UTF-8");
  for (var sent : new HttpRequest.BodyPublisher[] {
      BodyPublishers.ofByteArray(body), BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body)) }) {
    var request = HttpRequest.newBuilder(URI.create(given[0])).header("Authorization", "Bearer app-chat-http")
        .header("Content-Type", "application/json").POST(sent).build();
    System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
  } } }
"""


@pytest.mark.skipif(shutil.which("java") is None or shutil.which("javac") is None, reason="there is no JDK here")
def test_java_client_as_it_comes_is_answered(server: MockServer, tmp_path: Path) -> None:
    """`HttpClient.newHttpClient()` offers h2c with every request, with a length and in chunks."""
    source = tmp_path / "Ask.java"
    source.write_text(JAVA, encoding="utf-8")
    url = f"{server.url('dify-chat')}/chat-messages"
    done = subprocess.run(["java", str(source), url, BODY.decode()], capture_output=True, text=True, timeout=120)
    assert (done.stdout.split(), done.returncode) == (["200", "200"], 0), done.stderr


# Hosts and versions.


def get(headers: str, version: str = "HTTP/1.1", target: str = "/v1/info") -> bytes:
    return f"GET {target} {version}\r\nAuthorization: Bearer app-chat-http\r\n{headers}\r\n".encode()


@pytest.mark.parametrize(
    "raw",
    [
        get(""),
        get("Host: a\r\nHost: a\r\n"),
        get("Host: a\r\nhost: b\r\n"),
        get("Host: user@a\r\n"),
        get("Host: user:password@a:80\r\n"),
        get("Host: a, b\r\n"),
        get("Host: a b\r\n"),
        get("Host: a/b\r\n"),
        get("Host: a:port\r\n"),
        get("Host: [::1\r\n"),
        get("Host: a#b\r\n"),
        get("Host: a\r\nHost: b\r\n", "HTTP/1.0"),
        get("Host: a\r\n", target="http://user:password@a/v1/info"),
        get("Host: a\r\n", "HTTP/2.0"),
        get("Host: a\r\n", "HTTP/3.0"),
        get("Host: a\r\n", "HTTP/9.9"),
        get("Host: a\r\n", "HTTP/0.9"),
        get("Host: a\r\n", "HTTP/x"),
        get("Host: a\r\n", "RTSP/1.0"),
        get("Host: a\r\n", "ICY/1.1"),
        get("Host: a\r\n", "http/1.1"),
        b"SOURCE /v1/info ICE/1.0\r\nHost: a\r\n\r\n",
        b"GET /v1/info\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
)
def test_what_is_not_http_1_with_one_host_is_a_bad_request(server: MockServer, raw: bytes) -> None:
    """RFC 9112, 3.2: no host, two of them, or one that is none; and every other protocol."""
    for pieces in ([raw], [raw[start : start + 1] for start in range(len(raw))]):
        status, body = ask(server, *pieces)[0]
        assert (status, json.loads(body)["status"]) == (400, 400)


@pytest.mark.parametrize(
    "raw",
    [
        get("Host: a\r\n"),
        get("Host:\r\n"),
        get("Host: api.example.com:8080\r\n"),
        get("Host: my_service:80\r\n"),
        get("Host: [::1]:80\r\n"),
        get("Host: 127.0.0.1:\r\n"),
        get("", "HTTP/1.0"),
        get("Host: a\r\n", "HTTP/1.0"),
        get("Host: a\r\n", "HTTP/1.2"),
        get("Host: a\r\n", target="http://a/v1/info"),
    ],
)
def test_one_host_is_enough(server: MockServer, raw: bytes) -> None:
    """Whatever its form; HTTP/1.0 needs none, and a later HTTP/1.x is read as HTTP/1.1."""
    assert ask(server, raw)[0][0] == 200


# Other protocols.


@pytest.mark.parametrize(
    ("hello", "told"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "speaks HTTP/2 from its first byte"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), "speaks TLS"),
    ],
    ids=["HTTP/2", "TLS"],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_client_of_another_protocol_is_explained_in_one_line(
    hello: bytes, told: str, size: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal says what to change, once for the many attempts of a client; the client gets a 400."""
    monkeypatch.setattr("mockserver.http.failures._terminal", failures._Terminal())
    with MockServer(["dify-chat"]) as mock:
        for _ in range(3):
            with (
                socket.create_connection(("127.0.0.1", mock.port), timeout=20) as connection,
                contextlib.suppress(OSError),
            ):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for start in range(0, len(hello), size):
                    connection.sendall(hello[start : start + size])
                assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]


@pytest.mark.parametrize("kind", [Headers, PlainHeaders])
def test_plain_headers_are_werkzeugs_headers(kind: type[Headers]) -> None:
    """Headers that are taken and set without a check read as those that Werkzeug checked."""
    pairs = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    headers = kind(pairs)
    put(headers, {"Content-Length": "3", "Content-Type": "application/json"})
    expected = [*pairs[1:], ("Content-Length", "3"), ("Content-Type", "application/json")]
    assert list(headers) == list(headers.items()) == expected
    assert Headers(headers) == Headers(expected)
    assert headers.getlist("set-cookie") == ["a=1", "b=2"]
    headers["content-length"] = "4"
    assert headers["Content-Length"] == "4"
    assert "content-type" in headers
    assert kind([]).get("a") is None
