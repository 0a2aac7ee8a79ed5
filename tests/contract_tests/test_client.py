"""Requests as bytes, commands that send them again, answers with their limits; against a server of a few lines."""

from __future__ import annotations

import base64
import email
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from contract_tests.config.target import load_target
from contract_tests.http.client import Client, Rate, encode
from contract_tests.http.exchange import Request, SentRequest, Upload
from flowcontract.specs.model import load_apis


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked, or in the way that the path says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Echo the body."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.path, dict(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        """Hang, break off, or send pieces."""
        self.server.asked.append((self.path, dict(self.headers), b""))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"2\r\nab\r\n")
        self.wfile.flush()
        if "hang" in self.path:
            self.server.released.wait(10)
        if "break" in self.path:
            self.close_connection = True
            return
        self.wfile.write(b"2\r\ncd\r\n0\r\n\r\n")

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def server():
    """Run the server of a few lines."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    running.asked, running.released = [], threading.Event()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.released.set()
    running.shutdown()
    running.server_close()


@pytest.fixture
def client(server):
    """Return a client of one API with a secret key and little patience."""
    apis = load_apis(["dify-chat"])
    target = load_target(apis, base_url=f"http://127.0.0.1:{server.server_port}", keys=["dify-chat=app-secret"])
    talking = Client(target, target.apis["dify-chat"])
    yield talking
    talking.close()


def test_request_goes_out_as_it_was_meant(client, server):
    """Path values are quoted, repeated query values repeated, the key is added, and nothing more."""
    request = Request(
        "POST", "/a/{id}", {"id": "x/y z"}, {"q": ("1", "2")}, {"X-A": "b"}, {"k": "é"}, "application/json"
    )
    exchange = client.send(request)
    path, headers, body = server.asked[-1]
    assert path == "/v1/a/x%2Fy%20z?q=1&q=2"
    assert headers["Authorization"] == "Bearer app-secret"
    assert (headers["X-A"], headers["Content-Type"]) == ("b", "application/json")
    assert body == b'{"k": "\\u00e9"}'
    assert exchange.json == {"k": "é"}
    assert "User-Agent" not in headers


def test_curl_sends_the_same_bytes_again(client, server):
    """The printed command, with the key in the environment, is the same request; binary bodies go through base64."""
    for body, media_type in (({"it's": 'a "test" $x'}, "application/json"), (b"\x00\xff", "application/octet-stream")):
        sent = client.prepare(Request("POST", "/x", body=body, media_type=media_type))
        command = sent.to_curl()
        assert "app-secret" not in command
        subprocess.run(
            ["bash", "-c", command], env={"KEY": "app-secret", "PATH": "/usr/bin:/bin"}, capture_output=True, check=True
        )
        path, headers, received = server.asked[-1]
        assert (path, received) == ("/v1/x", sent.body)
        assert headers["Authorization"] == "Bearer app-secret"


def test_curl_of_a_large_body_says_so():
    """A body that no terminal can paste is named by its size."""
    sent = SentRequest("POST", "http://x/", (), b"\x00" * 10_000)
    assert "body of 10000 bytes" in sent.to_curl()


def test_body_of_a_form_is_read_by_the_standard_library():
    """Files and texts of a form arrive with name, type and bytes."""
    content_type, body = encode(
        {"user": "a", "file": Upload('a"b.txt', "text/plain", b"x\r\ny")}, "multipart/form-data"
    )
    message = email.message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    text, file = message.get_payload()
    assert text.get_payload() == "a"
    assert file.get_filename() == "a%22b.txt"
    assert file.get_payload(decode=True) == b"x\r\ny"


def test_silent_answer_is_left_after_the_given_time(client, server):
    """A server that goes silent in the middle is told as trouble, not waited for."""
    with client.open(client.prepare(Request("GET", "/hang")), read_s=0.2) as live:
        pieces = [piece for _, piece in live.read_pieces(5)]
    assert pieces == [b"ab"]
    assert "ReadTimeout" in live.trouble


def test_answer_that_breaks_off_is_told(client):
    """A chunked body without its end is no whole body."""
    exchange = client.send(Request("GET", "/break"))
    assert exchange.answer.body == b"ab"
    assert exchange.answer.trouble


def test_nobody_there_is_told_without_the_key():
    """A refused connection is an exchange without an answer."""
    apis = load_apis(["agentbuilder"])
    target = load_target(apis, base_url="http://127.0.0.1:9", keys=["agentbuilder=sk-secret"])
    exchange = Client(target, target.apis["agentbuilder"]).send(Request("GET", "/x"))
    assert exchange.answer is None
    assert exchange.trouble.startswith("ConnectError")
    assert "sk-secret" not in exchange.trouble + exchange.sent.to_curl()


def test_rate_spaces_requests(monkeypatch):
    """With 4 requests a second the third waits half a second from the first."""
    slept = []
    monkeypatch.setattr("contract_tests.http.client.time.sleep", slept.append)
    monkeypatch.setattr("contract_tests.http.client.time.monotonic", lambda: 100.0)
    rate = Rate(4)
    for _ in range(3):
        rate.wait()
    assert slept == [0, 0.25, 0.5]


def test_base64_in_the_command_is_the_body():
    """What the command decodes is what was sent."""
    sent = SentRequest("POST", "http://x/", (), b"\xff\x00")
    assert base64.b64decode(sent.to_curl().split()[1]) == b"\xff\x00"
