"""What the journal tells of an exchange, what it hides, and how much it keeps."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest
from mock_calls import NOW, read
from werkzeug.datastructures import Headers

from flowcontract.output.secrets import Secrets
from mockserver.blobs.blob import Blob
from mockserver.http.messages import AbortConnection, Reply, Request
from mockserver.journal.curl import to_curl
from mockserver.journal.entry import KEPT_OF_ANSWER, KEPT_OF_REQUEST, Entry
from mockserver.journal.journal import Journal
from mockserver.journal.masking import Masking
from mockserver.journal.stream_log import StreamLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from mock_calls import Caller

    from mockserver.server.mock_server import MockServer

CHAT = {"query": "hello", "user": "abc-123", "inputs": {}}
STREAM = CHAT | {"response_mode": "streaming"}
FORM = "multipart/form-data; boundary=x"
URLENCODED = "application/x-www-form-urlencoded"


def last(mock: Caller) -> Entry:
    """Return the newest exchange."""
    return mock.app.mock.journal.list_entries()[-1]


def form(*parts: tuple[str, str, str]) -> bytes:
    """Return a form of parts: name, what follows it in the header, content."""
    head = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    return ("".join(head.format(*part) for part in parts) + "--x--\r\n").encode()


def test_exchange_is_written_down(make_app: Callable[..., Caller]) -> None:
    """Who asked what, which operation that is, what answered, and why that."""
    mock = make_app("dify-chat")
    mock.ask("POST", "/v1/chat-messages?trace=1", key="app-chat-alice", json_body=CHAT, User_Agent="me/1")
    entry = last(mock)
    assert (entry.number, entry.at, entry.method, entry.path, entry.query) == (
        1,
        NOW,
        "POST",
        "/v1/chat-messages",
        "trace=1",
    )
    assert (entry.world, entry.operation) == ("dify-chat-alice", "dify-chat/sendChatMessage")
    assert (entry.scenario, entry.by, entry.status, entry.violations) == ("200-default", "default", 200, [])
    assert entry.json == CHAT
    assert ("User-Agent", "me/1") in entry.headers
    assert json.loads(entry.answer)["mode"] == "chat"
    assert dict(entry.answer_headers)["Content-Type"] == "application/json"
    assert json.loads(json.dumps(entry.as_json()))["request"]["body"] == json.dumps(CHAT)


@pytest.mark.parametrize(
    ("request_", "by", "because", "scenario"),
    [
        ({"json_body": CHAT}, "default", None, "200-default"),
        (
            {"json_body": CHAT, "Prefer": "code=400, example=bad-request"},
            "prefer",
            "400-bad-request",
            "400-bad-request",
        ),
        ({"json_body": CHAT, "Prefer": "example=nothing"}, "prefer", "nothing", None),
        ({"json_body": {}}, "problem", "missing-query", "400-invalid-param"),
        ({"json_body": CHAT, "key": "nobody"}, "problem", "wrong-token", "401-unauthorized"),
        ({"json_body": CHAT | {"conversation_id": "x"}}, "problem", "malformed-id", None),
        ({"json_body": CHAT | {"conversation_id": str(UUID(int=1))}}, "problem", "unknown-id", None),
    ],
)
def test_reason_is_told(
    make_app: Callable[..., Caller], request_: dict[str, Any], by: str, because: str | None, scenario: str | None
) -> None:
    """Who chose the scenario, and what was preferred or wrong."""
    mock = make_app("dify-chat")
    mock.ask("POST", "/v1/chat-messages", **{"key": "app-chat", **request_})
    entry = last(mock)
    assert (entry.by, entry.because) == (by, because)
    if scenario is not None or entry.status == 501:
        assert entry.scenario == scenario


def test_violations_are_told_with_what_was_expected(make_app: Callable[..., Caller]) -> None:
    """All of them, with the lines that say so, also where a scenario was forced."""
    mock = make_app("dify-chat")
    for prefer in ({}, {"Prefer": "code=200, example=default"}):
        mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body={"user": 7, "inputs": {}}, **prefer)
        found = {one["field"]: one for one in last(mock).violations}
        assert set(found) == {"query", "user"}
        assert found["user"]["got"] == "7"
        assert found["user"]["expected"] == "text"
        assert any(line.startswith("004:") for line in found["query"]["source"])
    assert last(mock).status == 200


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        ({"method": "GET", "path": "/v1/nowhere"}, "unknown-path"),
        ({"method": "PUT", "path": "/v1/info"}, "wrong-method"),
        ({"method": "GET", "path": "/elsewhere"}, "unknown-path"),
        ({"method": "GET", "path": "/v1/info", "key": ""}, "no-key"),
        (
            {"method": "POST", "path": "/v1/chat-messages", "body": b"{", "Content_Type": "application/json"},
            "malformed-body",
        ),
        ({"method": "POST", "path": "/v1/chat-messages", "body": b"x", "Content_Type": "text/x"}, "wrong-media-type"),
    ],
)
def test_what_never_reaches_validation_is_a_violation_too(
    make_app: Callable[..., Caller], request_: dict[str, Any], rule: str
) -> None:
    """A path, a method, a key or a body that the contract does not have."""
    mock = make_app("dify-chat")
    request_ = {"key": "app-chat", **request_}
    mock.ask(request_.pop("method"), request_.pop("path"), **request_)
    assert [one["rule"] for one in last(mock).violations] == [rule]


def test_unknown_id_is_no_violation(make_app: Callable[..., Caller]) -> None:
    """No contract says which ids there are."""
    mock = make_app("dify-chat")
    path = "/v1/conversations/11111111-1111-4111-8111-111111111111"
    answer = mock.ask("DELETE", path, key="app-chat", json_body={"user": "abc-123"})
    assert (answer.status, last(mock).violations) == (404, [])


def test_form_that_the_app_forbids_is_a_violation(make_app: Callable[..., Caller]) -> None:
    """What only a behaviour can notice counts where it says the request is invalid."""
    mock = make_app("dify-workflow")
    body = {"inputs": {}, "user": "abc-123", "response_mode": "blocking"}
    answer = mock.ask("POST", "/v1/workflows/run", key="app-workflow-form", json_body=body)
    assert answer.status == 400
    assert [one["field"].partition(".")[0] for one in last(mock).violations] == ["inputs"]


# Streams.


def test_stream_is_written_down_as_it_is_sent(make_app: Callable[..., Caller]) -> None:
    """Each piece with its time, and that it came to its end."""
    mock = make_app("dify-chat", pace=1)
    answer = mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=STREAM)
    log = last(mock).stream
    assert log is not None
    assert (log.ended, log.pieces, log.size) == ("complete", len(answer.pieces), len(answer.body))
    assert [text.encode() for _, text in log.sent] == [piece for _, piece in answer.pieces]
    assert [round(after, 6) for after, _ in log.sent] == [round(moment, 6) for moment, _ in answer.pieces]


def test_stream_that_is_stopped_or_left_says_so(make_app: Callable[..., Caller]) -> None:
    """`stopped` and `gone` are different ends, and a stream that runs has none yet."""
    mock = make_app("dify-chat", pace=1)
    stopped = mock.open("POST", "/v1/chat-messages", key="app-chat", json_body=STREAM)
    assert not isinstance(stopped.body, bytes | Blob)
    sent, _ = stopped.body.advance(0.0)
    task = json.loads(sent[0].decode().removeprefix("data: "))["task_id"]
    entry = last(mock)
    assert entry.stream is not None
    assert entry.stream.ended is None
    mock.ask("POST", f"/v1/chat-messages/{task}/stop", key="app-chat", json_body={"user": "abc-123"})
    read(stopped)
    assert entry.stream.ended == "stopped"
    left = mock.open("POST", "/v1/chat-messages", key="app-chat", json_body=STREAM)
    assert not isinstance(left.body, bytes | Blob)
    left.body.advance(0.0)
    left.body.close()
    left.body.close()
    log = last(mock).stream
    assert log is not None
    assert log.ended == "gone"


def test_stream_that_a_fault_cuts_says_so(make_app: Callable[..., Caller]) -> None:
    """What a fault breaks off is not taken for the client's leaving."""
    mock = make_app("dify-chat", pace=0)
    prefer = 'example=default-streaming, fault="cut=100"'
    request = Request("POST", "/v1/chat-messages", "", Headers({"Authorization": "Bearer app-chat", "Prefer": prefer}))
    request.headers["Content-Type"] = "application/json"
    request.body, request.capabilities = Blob(json.dumps(STREAM).encode()), frozenset({"pieces", "close", "reset"})
    reply = mock.app.handle(request, NOW)
    assert not isinstance(reply.body, bytes | Blob)
    stream = reply.body
    sent = b"".join(stream.advance(0.0)[0])
    with pytest.raises(AbortConnection):
        stream.advance(0.0)
    log = last(mock).stream
    assert log is not None
    assert (log.ended, log.size, len(sent)) == ("cut", 100, 100)


def test_journal_of_a_stream_is_bounded() -> None:
    """Of a long stream the beginning is kept and the rest is counted."""
    log = StreamLog()
    for number in range(5000):
        log.add(number, b"x" * 10)
    assert (log.pieces, log.size) == (5000, 50_000)
    assert len(log.sent) == 1000
    large = StreamLog()
    large.add(0.0, b"x" * (KEPT_OF_ANSWER + 1))
    assert (large.size, large.sent) == (KEPT_OF_ANSWER + 1, [])


def test_end_of_a_long_stream_is_kept_too() -> None:
    """Its last bytes, bounded, and when they were sent; also where another process reads them."""
    log = StreamLog()
    for number in range(5000):
        log.add(number, b"%06d\n" % number * 10)
    read_back = StreamLog.from_record(json.loads(json.dumps(log.as_record())))
    for each in (log, read_back):
        assert each.last_s == 4999
        assert each.end.endswith(b"004998\n" * 10 + b"004999\n" * 10)
        assert (16 << 10) - 7 <= len(each.end) <= (16 << 10) + 3
    short = StreamLog()
    short.add(1.5, b"data: x")
    assert (short.last_s, short.end) == (1.5, b"")


@pytest.mark.parametrize("left", range(16_300, 16_390, 7))
def test_end_of_a_long_stream_begins_with_no_part_of_a_secret(left: int) -> None:
    """A part is not recognised: of a line whose beginning is not kept nothing is told."""
    log = StreamLog()
    log.hide(lambda _: Secrets([secret]))
    secret = "app-zXq81Lk0PwvT55-RsM3"
    last = b"data: {}\n" * (left // 9) + b"z" * (left % 9)
    for piece in (b"x" * KEPT_OF_ANSWER, f"data: {secret}\n\n".encode(), last):
        log.add(1.0, piece)
    parts = [secret[at : at + 4].encode() for at in range(len(secret) - 3)]
    assert [part for part in parts if part in log.end] == []
    assert b"data: {}\n" in log.end


# What is kept.


def test_ring_forgets_the_oldest(make_app: Callable[..., Caller]) -> None:
    """Numbers go on, and what was forgotten is not there any more."""
    mock = make_app("dify-chat", journal=3)
    for _ in range(5):
        mock.ask("GET", "/v1/info", key="app-chat")
    assert [entry.number for entry in mock.app.mock.journal.list_entries()] == [3, 4, 5]
    assert mock.app.mock.journal.find_entry(2) is None
    assert mock.app.mock.journal.count == 5


def test_journal_of_nothing_keeps_nothing(make_app: Callable[..., Caller]) -> None:
    """`--journal 0` still answers, streams too."""
    mock = make_app("dify-chat", journal=0)
    assert mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=STREAM).status == 200
    assert mock.app.mock.journal.list_entries() == []


def test_large_body_is_kept_in_part(make_app: Callable[..., Caller]) -> None:
    """Its size is told, and JSON that is not all there is not read."""
    mock = make_app("dify-chat")
    mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=CHAT | {"query": "x" * KEPT_OF_REQUEST})
    entry = last(mock)
    assert (len(entry.content), entry.cut) == (KEPT_OF_REQUEST, True)
    assert entry.size > KEPT_OF_REQUEST
    with pytest.raises(ValueError, match=f"keeps {KEPT_OF_REQUEST}"):
        _ = entry.json


def test_form_is_kept_by_its_fields(make_app: Callable[..., Caller]) -> None:
    """A file is told by name, type and size; its bytes are not kept."""
    mock = make_app("dify-chat")
    body = form(("user", "", "abc-123"), ("file", '; filename="ä b.png"\r\nContent-Type: image/png', "PNG"))
    mock.ask("POST", "/v1/files/upload", key="app-chat", body=body, Content_Type=FORM)
    file = {"filename": "ä b.png", "content_type": "image/png", "size": 3}
    assert last(mock).form == {"user": "abc-123", "file": file}
    assert last(mock).content == b""


def test_failure_of_the_mock_is_written_down(make_app: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with us is not blamed on the client."""
    mock = make_app("dify-chat")
    monkeypatch.setattr("mockserver.core.handler.select_matching", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mock.ask("GET", "/v1/info", key="app-chat")
    assert (last(mock).status, last(mock).failure) == (500, "ZeroDivisionError: division by zero")


def test_filters_choose(make_app: Callable[..., Caller]) -> None:
    """By world, by operation with or without its API, by status; a world's part can be cleared alone."""
    mock = make_app("dify-chat")
    mock.ask("GET", "/v1/info", key="app-chat-a")
    mock.ask("GET", "/v1/info", key="app-chat-b", Prefer="code=500")
    mock.ask("GET", "/v1/meta", key="app-chat-b")
    journal = mock.app.mock.journal

    def numbers(**filters: Any) -> list[int]:
        return [entry.number for entry in journal.list_entries(**filters)]

    assert numbers(world="dify-chat-b") == [2, 3]
    assert numbers(operation="getInfo") == numbers(operation="dify-chat/getInfo") == [1, 2]
    assert numbers(status=500) == [2]
    assert numbers(world="dify-chat-a", status=500) == []
    assert journal.clear("dify-chat-b") == 2
    assert numbers() == [1]
    assert journal.clear() == 1


# What is hidden.

SECRETS = "hunter2"


@pytest.mark.parametrize(
    "request_",
    [
        {"path": "/v1/info", "Authorization": f"Bearer app-other-{SECRETS}"},
        {"path": "/v1/info", "Authorization": SECRETS},
        {"path": "/v1/info", "Cookie": f"session={SECRETS}"},
        {"path": "/v1/info", "X_Goog_Api_Key": SECRETS},
        {"path": "/api/v1/users/whoami", "x_api_key": f"sk-{SECRETS}"},
        {"path": f"/api/v1/users/whoami?x-api-key={SECRETS}&a=b"},
        {"path": f"/v1/info?access_token={SECRETS}&a=b"},
        {"path": "/openapi/v1/x", "cybertron_robot_token": SECRETS, "cybertron_robot_key": SECRETS},
        {"method": "POST", "path": "/v1/chat-messages", "json_body": {"inputs": {"openai_api_key": SECRETS}}},
        {"method": "POST", "path": "/v1/chat-messages", "json_body": {"password": f'x"{SECRETS}'}},
        {"method": "POST", "path": "/v1/chat-messages", "body": f'{{"token": "{SECRETS}'.encode()},
        {
            "method": "POST",
            "path": "/openapi/v1/chatflow/offline_upload_file/",
            "cybertron_robot_key": "robot-key",
            "cybertron_robot_token": "robot-token",
            "body": form(("api_key", "", SECRETS), ("inputs", "", f'{{"token": "{SECRETS}"}}')),
            "Content_Type": FORM,
        },
        {"method": "POST", "path": "/login", "body": f"user=u&password={SECRETS}".encode(), "Content_Type": URLENCODED},
        {"method": "POST", "path": "/login", "body": f"pass%77ord={SECRETS}%21&a=b".encode()},
        {"method": "POST", "path": "/v1/chat-messages", "json_body": {"inputs": {"accessToken": SECRETS}}},
        {"method": "POST", "path": "/v1/chat-messages", "json_body": {"inputs": {"clientSecret": [SECRETS, {"a": 1}]}}},
        {"method": "POST", "path": "/v1/chat-messages", "json_body": {"inputs": {"api_key": {"value": SECRETS}}}},
        {
            "method": "POST",
            "path": "/v1/chat-messages",
            "json_body": {"query": 7, "password": SECRETS, "user": SECRETS},
        },
        {
            "method": "POST",
            "path": "/v1/chat-messages",
            "json_body": {"query": f"https://u:{SECRETS}@h/?token={SECRETS}"},
        },
        {"method": "POST", "path": "/v1/chat-messages", "json_body": {"query": f'{{"password": "{SECRETS}"}}'}},
        {"method": "POST", "path": "/v1/chat-messages", "body": f'{{"pass\\u0077ord": ["{SECRETS}'.encode()},
        {"path": f"/v1/conversations?user=u&x%2Dapi%2Dkey={SECRETS}"},
        {"path": f"/v1/conversations?user=u;token={SECRETS}"},
        {"path": f"/v1/info?user[password]={SECRETS}"},
        {"path": f"/v1/{SECRETS}", "X_Access_Key": SECRETS},
        {"path": "/v1/info", "Ocp_Apim_Subscription_Key": SECRETS, "X_Other": f"it is {SECRETS}"},
        {"path": "/v1/info", "X_Functions_Key": SECRETS},
        {"path": "/v1/info", "Authorization": "Basic dXNlcjpodW50ZXIy", "X_Other": SECRETS},
        {"path": "/v1/info", "Referer": f"http://h/?accessToken={SECRETS}"},
    ],
)
def test_secrets_are_not_shown(make_app: Callable[..., Caller], request_: dict[str, Any]) -> None:
    """Keys in headers, queries, JSON and forms are masked, in the list, in the command and in what a test sees."""
    mock = make_app()
    mock.ask(request_.pop("method", "GET"), request_.pop("path"), **request_)
    entry = last(mock)
    shown = json.dumps(entry.as_json()) + to_curl(entry) + repr(entry) + json.dumps(entry.as_record())
    assert SECRETS not in shown
    assert "***" in shown


@pytest.mark.parametrize("fault", ["split=3", "split=13", "escapes", "raw-utf8", ""])
@pytest.mark.parametrize("secret", [SECRETS, 'h"unter2/ü'])
def test_secrets_that_a_stream_repeats_are_not_shown(make_app: Callable[..., Caller], secret: str, fault: str) -> None:
    """A run tells its inputs again, and a secret may be spread over several pieces."""
    mock = make_app("dify-workflow", pace=0)
    asked = {"inputs": {"password": secret, "note": f"it is {secret}!"}, "user": "u", "response_mode": "streaming"}
    headers = Headers({"Authorization": "Bearer app-workflow", "Content-Type": "application/json"})
    if fault:
        headers["Prefer"] = f'fault="{fault}"'
    can: frozenset[Any] = frozenset({"pieces", "close", "reset"})
    request = Request("POST", "/v1/workflows/run", "", headers, Blob(json.dumps(asked).encode()), capabilities=can)
    told = read(mock.app.handle(request, NOW)).body.decode()
    written = "".join(f"\\u{ord(letter):04x}" for letter in "unter2") if fault == "escapes" else "unter2"
    assert written in told
    entry = last(mock)
    shown = "".join(piece["text"] for piece in entry.as_json()["answer"]["stream"]["sent"])
    assert written not in shown
    assert "***" in shown
    assert written not in json.dumps(entry.as_record()).replace("\\\\", "\\")
    again = Entry.from_record(json.loads(json.dumps(entry.as_record())), Masking())
    assert json.dumps(again.as_json()) == json.dumps(entry.as_json())


def test_secrets_that_an_answer_repeats_are_not_shown(make_app: Callable[..., Caller]) -> None:
    """In a blocking answer, too."""
    mock = make_app("dify-workflow")
    asked = {"inputs": {"password": SECRETS}, "user": SECRETS, "response_mode": "blocking"}
    mock.ask("POST", "/v1/workflows/run", key="app-workflow", json_body=asked, Prefer="code=400")
    assert SECRETS not in json.dumps(last(mock).as_json())


def test_secrets_of_the_answer_itself_are_not_shown(make_app: Callable[..., Caller]) -> None:
    """What stands under a secret name there, and a cookie that it sets."""
    mock = make_app("dify-chat")
    entry = mock.app.mock.journal.open(Request("GET", "/v1/info"), NOW)
    headers = Headers([("Content-Type", "application/json"), ("Set-Cookie", f"sid={SECRETS}; Path=/")])
    mock.app.mock.journal.close(
        entry, Reply(200, headers, b'{"accessToken": {"jwt": "abcdefgh"}, "again": "abcdefgh"}')
    )
    shown = json.dumps(entry.as_json())
    assert "abcdefgh" not in shown
    assert SECRETS not in shown


def test_keys_that_everybody_knows_do_not_hide_words(make_app: Callable[..., Caller]) -> None:
    """The mock prints `robot-key` when it starts: an answer about the header `cybertron-robot-key` stays readable."""
    mock = make_app("cybertron")
    mock.ask("GET", "/openapi/v1/x", cybertron_robot_key="robot-key", cybertron_robot_token="wrong")
    assert ("cybertron-robot-key", "***") in [(name.lower(), value) for name, value in last(mock).headers]
    assert last(mock).as_json()["answer"]["body"] == last(mock).answer.decode()


def test_other_names_are_shown() -> None:
    """A keyword is no key, and a count of tokens no token."""
    masking = Masking(["X-Api-Key"])
    assert masking.mask_query("keyword=a&max_tokens=5&x-api-key=b") == "keyword=a&max_tokens=5&x-api-key=***"
    text = '{"total_tokens": "5", "keyword": "a"}'
    assert masking.mask_body(text, "application/json") == text
    assert masking.mask_header("Authorization", "Bearer abc") == "Bearer ***"
    assert masking.mask_header("Accept", "a b") == "a b"


# The command.


def entry_of(request: Request) -> Entry:
    """Write a request down."""
    return Journal(1, Masking(["x-api-key"])).open(request, NOW)


def test_command_sends_the_request_again(server: MockServer) -> None:
    """Pasted into a shell in which the key is set, it gets the same answer for the same bytes."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    key = "app-chat-again"
    body = {"query": 'what\'s "this"?\n $HOME `date` 你好', "user": "abc-123", "inputs": {}}
    headers = {"Authorization": f"Bearer {key}", "X-Odd": "it's; $5"}
    url = f"{server.url('dify-chat')}/chat-messages?a=%20b&c=d"
    with httpx.Client(trust_env=False) as client:
        assert client.post(url, json=body, headers=headers).status_code == 200
        command = client.get(f"http://127.0.0.1:{server.port}/__mock__/requests?world={key}").json()["requests"][-1]
        shell = client.get(f"http://127.0.0.1:{server.port}/__mock__/requests/{command['number']}/curl").text
    assert key not in shell
    environment = {"AUTHORIZATION": key, "PATH": "/usr/bin:/bin", "NO_PROXY": "*"}
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, timeout=30, check=True, env=environment)
    assert json.loads(done.stdout)["mode"] == "chat"
    first, again = (entry for entry in server.mock.journal.list_entries(world="dify-chat-again"))
    assert (again.content, again.path, again.query) == (first.content, first.path, first.query)
    assert {name.lower(): value for name, value in again.headers}["x-odd"] == "it's; $5"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request("GET", "/v1/info"), ["curl", "http://localhost:8080/v1/info"]),
        (Request("HEAD", "/v1/info"), ["curl", "-I", "http://localhost:8080/v1/info"]),
        (Request("DELETE", "/a b/ü"), ["curl", "-X", "DELETE", "http://localhost:8080/a%20b/%C3%BC"]),
        (
            Request("POST", "/x", "", Headers({"Host": "h:1", "Content-Length": "1"}), Blob(b"@x")),
            ["curl", "http://h:1/x", "--data-raw", "@x"],
        ),
        (
            Request("PUT", "/x", "", Headers(), Blob(b"'")),
            ["curl", "-X", "PUT", "http://localhost:8080/x", "--data-raw", "'"],
        ),
        (Request("POST", "/x"), ["curl", "-X", "POST", "http://localhost:8080/x"]),
        (Request("GET", "/x", "a[0]={1,2}"), ["curl", "-g", "http://localhost:8080/x?a[0]={1,2}"]),
    ],
)
def test_command_is_written_for_a_shell(request_: Request, words: list[str]) -> None:
    """Methods that curl implies are left out, and so are the headers that it makes itself."""
    assert shlex.split(to_curl(entry_of(request_)), comments=True) == words


def test_command_sends_a_form(make_app: Callable[..., Caller]) -> None:
    """Fields as they are, files by a name that leads nowhere else, and a remark that their bytes are not kept."""
    mock = make_app("dify-chat")
    file = '; filename="../../etc/pass\\"wd.png"\r\nContent-Type: image/png'
    body = form(("user", "", "@abc;'123'"), ("file", file, "PNG"))
    mock.ask("POST", "/v1/files/upload", key="app-chat", body=body, Content_Type=FORM)
    command = to_curl(last(mock))
    assert command.startswith("# The bytes of files are not kept")
    words = shlex.split(command, comments=True)
    assert words[words.index("--form-string") + 1] == "user=@abc;'123'"
    assert words[words.index("-F") + 1] == 'file=@"pass\\"wd.png";type=image/png'
    assert not any(word.lower().startswith("content-type") for word in words)


@pytest.mark.parametrize(
    ("body", "remark"),
    [(b"x" * (KEPT_OF_REQUEST + 1), "Only the first"), (b"\xff\xfe", "no text"), (b"a\0b", "no text")],
)
def test_command_says_what_is_missing(body: bytes, remark: str) -> None:
    """A body that is not all there, or that no shell could carry, is told in a comment."""
    command = to_curl(entry_of(Request("POST", "/x", "", Headers(), Blob(body))))
    assert command.startswith("# ")
    assert remark in command.partition("\n")[0]
