"""What a `user` asks of the mock by `#mock:` never reaches the server, in whichever body and pieces it comes."""

from __future__ import annotations

import json
import socket

import httpx
import pytest
from proxying import CHAT, KEY, Upstream, chat, connect, passing_of, proxying, request

from mockserver.config.settings import Settings
from mockserver.proxy.suffixes import FormWatch, strip_body
from mockserver.server.mock_server import MockServer

DIFY = "dify-chat"
FORM = "multipart/form-data; boundary=b"
MINE = b"#mock:413-file-too-large"
CREATED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def part(name: str, value: bytes, more: str = "") -> bytes:
    """Return a part of a form."""
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


FILE = part("file", b"see #mock:503 in\r\n--a our docs", '; filename="a.txt"\r\nContent-Type: text/plain')
USER = part("user", b"me" + MINE)
FORMS = {"user first": USER + FILE + b"--b--\r\n", "file first": FILE + USER + b"--b--\r\n"}
HARMLESS = (
    FILE + part("user", b"me") + part("note", b"u#mock:413") + part("user", MINE, '; filename="f"') + b"--b--\r\n"
)


@pytest.mark.parametrize("order", FORMS)
def test_suffix_is_found_wherever_the_form_is_cut(order: str) -> None:
    """In two pieces, cut at each byte, and in pieces of one byte."""
    form = FORMS[order]
    for cut in range(len(form) + 1):
        watch = FormWatch("b")
        assert watch.feed(form[:cut]) | watch.feed(form[cut:]), cut
    watch = FormWatch("b")
    assert any(watch.feed(form[at : at + 1]) for at in range(len(form)))


def test_only_a_users_text_asks_for_something() -> None:
    """A file with such a text in it does not, nor other fields, nor what is no form."""
    for cut in range(len(HARMLESS) + 1):
        watch = FormWatch("b")
        assert not watch.feed(HARMLESS[:cut]) | watch.feed(HARMLESS[cut:]), cut
    broken = FormWatch("b")
    assert not broken.feed(b"--b\r\nno header\r\n\r\n")
    assert not broken.feed(USER)


@pytest.mark.parametrize(
    ("kind", "body", "stripped"),
    [
        (FORM, FORMS["file first"], FORMS["file first"].replace(MINE, b"")),
        (FORM, HARMLESS, HARMLESS),
        (FORM, USER.replace(b"Content-D", b"content-type:\r\n a/b\r\ncontent-d") + b"--b--", None),
        ("application/json", b' {"a": ["#mock:1"],\n"user" : "me#mock:404", "b":"\xff#mock:2"} ', None),
        ("application/json", rb'{"user": "\u20ac\\u0023\u0023mo\u0063k:404\n"}', rb'{"user": "\u20ac\\u0023"}'),
        ("application/json", b'{"user": {"user": "#mock:1"}}', b'{"user": {"user": "#mock:1"}}'),
        ("application/json", rb'{"user": "\q#mock:1"}', rb'{"user": "\q#mock:1"}'),
        (
            "application/x-www-form-urlencoded",
            b"a=%23mock:1&user=m%20e%23mock%3A404&b=2",
            b"a=%23mock:1&user=m%20e&b=2",
        ),
        ("text/plain", b"user=me#mock:404", b"user=me#mock:404"),
    ],
)
def test_nothing_but_the_suffix_is_taken_off(kind: str, body: bytes, stripped: bytes | None) -> None:
    """All other bytes stay as they are written."""
    expected = body.replace(MINE, b"").replace(b"me#mock:404", b"me") if stripped is None else stripped
    assert strip_body(body, kind) == expected


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("order", FORMS)
def test_upload_that_asks_for_a_scenario_is_answered_by_the_mock(order: str, chunked: bool) -> None:
    """Also where a part of it has been passed on: the server never gets it whole, and the suffix not at all."""
    form = FORMS[order]
    framing = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": str(len(form))}
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy:
        for cut in range(0, len(form), 7):
            with connect(proxy) as client:
                client.send(request("POST", "/v1/files/upload", Content_Type=FORM, **framing))
                with upstream.accept() as server:
                    server.read_head()
                    for piece in filter(None, (form[:cut], form[cut:])):
                        client.send_chunk(piece) if chunked else client.send(piece)
                    client.send(b"0\r\n\r\n" if chunked else b"")
                    head = client.read_head()
                    assert head.status == 413
                    assert json.loads(client.read_exactly(int(head["content-length"])))["code"] == "file_too_large"
                    try:
                        passed = server.read_rest()
                    except ConnectionResetError:
                        passed = server.held
                assert MINE not in passed
                client.send(chat(CHAT | {"user": "u#mock:400-app-unavailable"}))  # the connection goes on
                assert client.read_head().status == 400
        entries = proxy.mock.journal.list_entries()
        assert {entry.scenario for entry in entries} == {"413-file-too-large", "400-app-unavailable"}
        upload = next(entry for entry in entries if entry.operation == "dify-chat/uploadFile")
        assert (upload.by, upload.size, upload.violations) == ("user", len(form), [])
        assert upload.form["user"] == "me"
        assert passing_of(proxy).summary.passed == 0


def test_upload_that_comes_with_its_head_is_answered_by_the_mock() -> None:
    """Nothing of it reaches the server."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        client.send(request("POST", "/v1/files/upload", FORMS["file first"], Content_Type=FORM))
        assert client.read_head().status == 413
        upstream.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            upstream.accept()


def test_upload_that_asks_for_a_fault_passes_without_the_suffix() -> None:
    """It is read first, then sent on with its new length; the fault changes the server's answer."""
    form = FORMS["file first"].replace(MINE, b"#mock:fault=latency=1")
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        client.send(request("POST", "/v1/files/upload", Content_Type=FORM, Content_Length=str(len(form))))
        begun = upstream.accept()
        begun.read_head()
        client.send(form)
        with upstream.accept() as server, begun:
            wanted = FORMS["file first"].replace(MINE, b"")
            assert server.read_head()["content-length"] == str(len(wanted))
            assert server.read_exactly(len(wanted)) == wanted
            server.send(CREATED)
            head = client.read_head()
            assert (head.status, client.read_exactly(2)) == (201, b"{}")
        (entry,) = proxy.mock.journal.list_entries()
        assert entry.faults == ("latency=1.0",)


def test_upload_that_asks_for_nothing_passes_byte_for_byte() -> None:
    """In pieces of any size."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        client.send(request("POST", "/v1/files/upload", Content_Type=FORM, Content_Length=str(len(HARMLESS))))
        with upstream.accept() as server:
            server.read_head()
            for at in range(0, len(HARMLESS), 3):
                client.send(HARMLESS[at : at + 3])
                assert server.read_exactly(len(HARMLESS[at : at + 3])) == HARMLESS[at : at + 3]
            server.send(CREATED)
            assert client.read_head().status == 201


def test_upload_that_is_answered_early_keeps_that_answer() -> None:
    """What a form asks for behind it comes too late."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        form = FORMS["file first"]
        client.send(request("POST", "/v1/files/upload", Content_Type=FORM, Content_Length=str(len(form))))
        with upstream.accept() as server:
            server.read_head()
            server.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            assert client.read_head().status == 401
            client.send(form)
        assert proxy.mock.journal.list_entries()[-1].by == "forward"


def test_upload_that_breaks_off_is_refused() -> None:
    """What it asked for does not count then."""
    form = FORMS["user first"]
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        client.send(request("POST", "/v1/files/upload", Content_Type=FORM, Content_Length=str(len(form))))
        with upstream.accept() as server:
            server.read_head()
            client.send(form[:-20])
            client.socket.shutdown(socket.SHUT_WR)
            assert client.read_head().status == 400


def test_absent_server_is_no_reason_not_to_ask_the_mock() -> None:
    """That nobody is there is told when the form has come and asks for nothing."""
    with MockServer([DIFY], settings=Settings(pace=0)) as closed:
        url = closed.url(DIFY)
    with proxying({DIFY: url}) as proxy, connect(proxy) as client:
        for form, status in ((FORMS["file first"], 413), (HARMLESS, 502)):
            client.send(request("POST", "/v1/files/upload", Content_Type=FORM, Content_Length=str(len(form))))
            for _ in range(20):  # which the proxy needs to hear that nobody is there
                httpx.get(f"{proxy.url(DIFY)}/info", headers={"Authorization": KEY}, trust_env=False)
            client.send(form)
            head = client.read_head()
            client.read_exactly(int(head["content-length"]))
            assert head.status == status
