"""Hints: what a newcomer is told beside the API's own answer, which stays what it is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from mock_calls import Answer, Caller

from flowcontract.output.printable import make_printable
from mockserver.request.hints import HEADER, Hints

if TYPE_CHECKING:
    from collections.abc import Callable

CHAT = "/v1/chat-messages"
RUN = "/api/v1/run/a430cc57-06bb-4c11-be39-d3d4de68d2c4"
BODY = {"query": "hello", "user": "abc-123", "inputs": {}, "response_mode": "blocking"}
RAW = json.dumps(BODY).encode()
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
SECRET = "app-zXq81Lk0PwvT55"
REMOTE = {"type": "image", "transfer_metod": "remote_url", "url": "http://a/b.png"}


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in BODY.items() if name not in names}


# Each request, with what its hint says: (method, path, what is sent) -> hint.
MISTAKES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a path with a typing error": (
        *("POST", "/v1/chat-message", {"key": "app-chat", "json_body": BODY}),
        "no operation POST /v1/chat-message; did you mean /v1/chat-messages?",
    ),
    "a path without its base": ("POST", "/chat-messages", {"key": "app-chat", "json_body": BODY}, "the path lacks /v1"),
    "a path of AgentBuilder without its base": ("GET", "/v2/files", {"x_api_key": "sk-agentbuilder"}, "lacks /api"),
    "a base twice": ("POST", "/v1/v1/chat-messages", {"key": "app-chat"}, "did you mean /v1/chat-messages?"),
    "a base of somebody else": ("GET", "/api/v1/info", {"key": "app-chat"}, "did you mean /v1/info?"),
    "a parameter in the path": (
        "POST",
        "/v1/messages/7/feedback",
        {"key": "app-chat"},
        "mean /v1/messages/7/feedbacks?",
    ),
    "a slash too much": ("GET", "/v1/info/", {"key": "app-chat"}, "did you mean /v1/info?"),
    "a path of nowhere": ("GET", "/zzz", {"key": "app-chat"}, "begin with /api, /openapi/v1 or /v1"),
    "a path that is like none of its method": (
        "POST",
        "/v1/chat/completions",
        {"key": "app-chat"},
        "no operation POST /v1/chat/completions; the paths of the APIs here begin with",
    ),
    "a wrong method": ("GET", CHAT, {"key": "app-chat"}, f"no operation GET {CHAT}; this path takes POST"),
    "the other app's key": (
        *("POST", CHAT, {"key": "app-workflow-alice", "json_body": BODY}),
        "the key app-workflow opens the workflow app, and /chat-messages belongs to the chat app",
    ),
    "another API's key": ("GET", "/v1/meta", {"key": "sk-agentbuilder"}, "the key sk-agentbuilder opens agentbuilder"),
    "no key": ("GET", "/v1/info", {}, "no key came: send the header `Authorization: Bearer app-"),
    "an empty key": ("GET", "/v1/info", {"Authorization": ""}, "the header Authorization is empty"),
    "a key alone": ("GET", "/v1/info", {"Authorization": SECRET}, "the header Authorization names no scheme"),
    "another scheme": ("GET", "/v1/info", {"Authorization": f"Token {SECRET}"}, "has another scheme than Bearer"),
    "a scheme twice": ("GET", "/v1/info", {"Authorization": f"Bearer Bearer {SECRET}"}, "names its scheme twice"),
    "a real key": ("GET", "/v1/info", {"key": SECRET}, "this key opens nothing here, and app-"),
    "a key in another header": ("POST", CHAT, {"x_api_key": "app-chat"}, "stands where this API does not look"),
    "half of two keys": (
        *("POST", "/openapi/v1/chatflow/offline_upload_file/", {"cybertron_robot_key": "robot-key"}),
        "no key came: send the header `cybertron-robot-token: robot-token`",
    ),
    "broken JSON": (
        *("POST", CHAT, {"key": "app-chat", "body": RAW.replace(b'": {}', b'"; {}'), "Content_Type": JSON}),
        "the body is no JSON: line 1, column 47",
    ),
    "JSON on two lines": (
        *("POST", CHAT, {"key": "app-chat", "body": b'{"a": 1,\n "b": }', "Content_Type": JSON}),
        "the body is no JSON: line 2, column 7",
    ),
    "JSON as a form": (
        *("POST", CHAT, {"key": "app-chat", "body": RAW, "Content_Type": FORM}),
        f"the body is JSON, and Content-Type says {FORM}: send `Content-Type: {JSON}`",
    ),
    "JSON as nothing": ("POST", CHAT, {"key": "app-chat", "body": RAW}, "the body is JSON, and no Content-Type came"),
    "a form as JSON": (
        *("POST", CHAT, {"key": "app-chat", "body": b"query=a&user=b", "Content_Type": JSON}),
        f"the body is a form, and Content-Type says {JSON}",
    ),
    "a form where JSON belongs": (
        *("POST", CHAT, {"key": "app-chat", "body": b"query=a&user=b", "Content_Type": FORM}),
        f"sendChatMessage takes {JSON}",
    ),
    "JSON where a form belongs": (
        *("POST", "/v1/files/upload", {"key": "app-chat", "json_body": BODY}),
        "uploadFile takes multipart/form-data",
    ),
    "JSON as multipart": (
        *(
            "POST",
            "/v1/files/upload",
            {"key": "app-chat", "body": RAW, "Content_Type": "multipart/form-data; boundary=b"},
        ),
        "the body is JSON, and Content-Type says multipart/form-data",
    ),
    "no boundary": (
        *("POST", "/v1/files/upload", {"key": "app-chat", "body": b"--b", "Content_Type": "multipart/form-data"}),
        "without a boundary: leave Content-Type to your HTTP library",
    ),
    "a missing field": (
        "POST",
        CHAT,
        {"key": "app-chat", "json_body": without("query")},
        "required field `query` is missing",
    ),
    "a misspelt field that is needed": (
        *("POST", CHAT, {"key": "app-chat", "json_body": {**without("query"), "qurey": "a"}}),
        "`qurey` is no field; did you mean `query`?",
    ),
    "a misspelt field of an item": (
        *("POST", CHAT, {"key": "app-chat", "json_body": {**BODY, "files": [REMOTE]}}),
        "`files.transfer_metod` is no field; did you mean `files.transfer_method`?",
    ),
}
NOTES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a misspelt field": (
        *("POST", CHAT, {"key": "app-chat", "json_body": {**without("response_mode"), "respons_mode": "blocking"}}),
        "`respons_mode` is no field; did you mean `response_mode`?",
    ),
    "beside the right one": (
        *("POST", CHAT, {"key": "app-chat", "json_body": {**BODY, "respons_mode": "blocking"}}),
        "`respons_mode` is no field; did you mean `response_mode`?",
    ),
    "another spelling": (
        *("POST", CHAT, {"key": "app-chat", "json_body": {**BODY, "conversationId": ""}}),
        "`conversationId` is no field; did you mean `conversation_id`?",
    ),
    "stream: true": (
        *("POST", CHAT, {"key": "app-chat", "json_body": {**BODY, "stream": True}}),
        '`stream` is no field; a stream is asked for by `response_mode: "streaming"`',
    ),
    "stream: true at AgentBuilder": (
        *("POST", RUN, {"x_api_key": "sk-agentbuilder", "json_body": {"input_value": "a", "stream": True}}),
        "`stream` is no field; a stream is asked for by `?stream=true`",
    ),
    "a misspelt parameter": (
        *("POST", f"{RUN}?steam=true", {"x_api_key": "sk-agentbuilder", "json_body": {"input_value": "a"}}),
        "`steam` is no query parameter; did you mean `stream`?",
    ),
}


def ask(mock: Caller, method: str, path: str, request: dict[str, Any]) -> Answer:
    return mock.ask(method, path, **request)


@pytest.mark.parametrize(
    ("prefer", "hint"),
    [
        ("code=200, exmaple=welcome", "`exmaple` is no preference; did you mean `example`?"),
        ("faults=bom", "`faults` is no preference; did you mean `fault`?"),
        ("respond-async, wait=10, handling=lenient, return=minimal", None),
    ],
)
def test_misspelt_preference_is_told_and_others_are_somebody_elses(mock: Caller, prefer: str, hint: str | None) -> None:
    """The answer is that without it (RFC 7240, 2)."""
    answer = mock.ask("POST", CHAT, key="app-chat", json_body=BODY, Prefer=prefer)
    assert (answer.status, answer.headers.get(HEADER)) == (200, hint)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_newcomer_is_told_what_to_mend(mock: Caller, mistake: str) -> None:
    """In a header of the refusal, and in the journal."""
    method, path, request, hint = MISTAKES[mistake]
    answer = ask(mock, method, path, request)
    assert answer.status >= 400 or answer.json["code"] != 200
    assert hint in answer.headers[HEADER]
    assert hint in "; ".join(mock.app.mock.journal.list_entries()[-1].hints)


@pytest.mark.parametrize("note", NOTES)
def test_what_the_contract_does_not_know_is_a_note_and_no_violation(mock: Caller, note: str) -> None:
    """The request is served; header and journal say what was probably meant."""
    method, path, request, hint = NOTES[note]
    answer = ask(mock, method, path, request)
    entry = mock.app.mock.journal.list_entries()[-1]
    assert (answer.status, answer.headers[HEADER]) == (200, hint)
    assert (entry.violations, entry.hints, entry.as_json()["hints"]) == ([], [hint], [hint])


@pytest.mark.parametrize(
    "body", [{}, {"temperature": 1, "x": 2}, {"stream": False}, {"inputs": {"quer": 1, "usr": 2, "stream": True}}]
)
def test_request_that_means_what_it_says_gets_no_hint(mock: Caller, body: dict[str, Any]) -> None:
    """Fields that are close to none, and whatever stands where the contract lets anything stand."""
    answer = mock.ask("POST", CHAT, key="app-chat", json_body=BODY | body)
    assert (answer.status, HEADER in answer.headers) == (200, False)


@pytest.mark.parametrize("mistake", [*MISTAKES, *NOTES])
def test_answer_stays_byte_for_byte_what_it_was(
    make_app: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    """With and without hints: the same status, the same body, and the same headers but for that one."""
    method, path, request, _ = (MISTAKES | NOTES)[mistake]
    names = ("dify-workflow", "dify-chat", "agentbuilder", "cybertron")
    hinted = ask(make_app(*names, clock=1_732_147_200.0), method, path, request)
    monkeypatch.setattr(Hints, "explain", lambda *_args, **_more: [])
    plain = ask(make_app(*names, clock=1_732_147_200.0), method, path, request)
    assert (hinted.status, hinted.body) == (plain.status, plain.body)
    assert [pair for pair in hinted.headers if pair[0] != HEADER] == list(plain.headers)
    assert HEADER in hinted.headers
    assert HEADER not in plain.headers


EVIL = "\r\nSet-Cookie: a=b\x1b[2J\x9b\u202e\u00e9\ud800\U0001f600"


@pytest.mark.parametrize(
    ("path", "request_of"),
    [
        (f"/v1/{EVIL}/chat-messages", {"key": "app-chat"}),
        (CHAT, {"key": "app-chat", "json_body": {**BODY, f"respons_mode{EVIL}": 1}}),
        (CHAT, {"key": "app-chat", "json_body": {**BODY, "response_mode": EVIL}}),
        (CHAT, {"key": "app-chat", "body": RAW, "Content_Type": f"text/{'x' * 9000}\x9b"}),
        ("/v1/" + "a" * 60_000, {"key": "app-chat"}),
        (CHAT, {"key": "app-chat", "json_body": {f"query{number}": 1 for number in range(2000)}}),
        (CHAT, {"key": "app-chat", "json_body": {**BODY, "response_mode": "x" * 100_000}}),
    ],
)
def test_hint_is_one_short_line_of_printable_ascii(mock: Caller, path: str, request_of: dict[str, Any]) -> None:
    """Whatever stands in a request, a header's value is what RFC 9110 allows, and bounded."""
    answer = mock.ask("POST", path, **request_of)
    assert re.fullmatch(r"[ -~]{1,2000}", answer.headers[HEADER])
    assert all(len(line) < 1200 for line in mock.app.mock.journal.list_entries()[-1].hints)
    assert make_printable(answer.headers[HEADER]) == answer.headers[HEADER]


@pytest.mark.parametrize(
    ("path", "request_of"),
    [
        (f"/v1/{SECRET}/chat-messages", {"key": SECRET}),
        (f"/v1/x{SECRET}", {"Authorization": f"Basic {SECRET}"}),
        (CHAT, {"Authorization": SECRET}),
        (CHAT, {"key": "app-chat", "json_body": {**BODY, "response_mode": SECRET, "api_key": SECRET}}),
        (CHAT, {"key": "app-chat", "body": b"{" + SECRET.encode(), "Content_Type": JSON, "X_Api_Key": SECRET}),
        (f"/v1/{'a' * (199 - len(SECRET) // 2 - 4)}{SECRET}", {"key": SECRET}),
    ],
)
def test_hint_repeats_no_secret(mock: Caller, path: str, request_of: dict[str, Any]) -> None:
    """Neither in the header nor in the journal, nor a piece of one that a bound cuts off."""
    told = mock.ask("POST", path, **request_of).headers[HEADER] + str(mock.app.mock.journal.list_entries()[-1].hints)
    assert SECRET not in told
    assert SECRET[:10] not in told


def test_public_keys_may_be_named(mock: Caller) -> None:
    """Those that the mock prints when it starts are no secrets, so a hint can say which to send."""
    answer = mock.ask("GET", "/v1/info", key=SECRET)
    assert re.search(r"Authorization: Bearer app-(chat|workflow)`", answer.headers[HEADER])


def test_a_method_that_both_apps_take_is_named_once(mock: Caller) -> None:
    """The two Dify apps share paths."""
    answer = mock.ask("DELETE", "/v1/info", key="app-chat")
    assert answer.headers["X-Mock-Hint"] == "no operation DELETE /v1/info; this path takes GET"
