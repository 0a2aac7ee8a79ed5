"""Every wrong turn gets the refusal that the API documents, as JSON, and never a 5xx."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from flowcontract.errors import SpecError
from flowcontract.validation.response import find_response_violations
from mockserver.request.http_conventions import read_manners

if TYPE_CHECKING:
    from mock_calls import Answer, Caller

KEYS = {
    "cybertron": {"cybertron_robot_key": "robot-key", "cybertron_robot_token": "robot-token"},
    "dify-chat": {"Authorization": "Bearer app-chat-refusals"},
    "dify-workflow": {"Authorization": "Bearer app-workflow-refusals"},
    "agentbuilder": {"x_api_key": "sk-agentbuilder-refusals"},
}
NOWHERE = "00000000-0000-4000-8000-000000000000"

CHAT = {"query": "hello", "user": "abc-123", "inputs": {}}


def chat(mock: Caller, **request: Any) -> Answer:
    return mock.ask("POST", "/v1/chat-messages", **{"key": "app-chat-refusals", **request})


def raw_chat(mock: Caller, body: bytes, **headers: str) -> Answer:
    return chat(mock, body=body, **{"Content_Type": "application/json", **headers})


@pytest.mark.parametrize(
    ("api", "path", "status"),
    [
        ("cybertron", "/openapi/v1/nothing", 404),
        ("cybertron", "/openapi/v1/chatflow/offline_upload_file", 404),
        ("dify-chat", "/v1/nothing/here", 404),
        ("dify-workflow", "/v1", 404),
        ("agentbuilder", "/api/v3/files", 404),
    ],
)
def test_unknown_path_gets_the_apis_own_not_found(mock: Caller, api: str, path: str, status: int) -> None:
    """Under a base path, an unknown path is the API's 404 in its own envelope."""
    answer = mock.ask("GET", path, **KEYS[api])
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json


def test_path_outside_every_base_path_lists_the_base_paths(mock: Caller) -> None:
    """Outside all APIs the mock itself says where they are."""
    answer = mock.ask("GET", "/")
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["apis"] == {
        "agentbuilder": "/api",
        "cybertron": "/openapi/v1",
        "dify-chat": "/v1",
        "dify-workflow": "/v1",
    }


@pytest.mark.parametrize(
    ("api", "path", "status"),
    [
        ("agentbuilder", "/api/v2/files/", 200),
        ("agentbuilder", "/api/v2/files", 200),
        ("agentbuilder", "/api/v1/users/whoami/", 307),
        ("agentbuilder", "/api/v1/nowhere/", 404),
        ("dify-chat", "/v1/info/", 404),
        ("dify-chat", "/v1/info", 200),
        ("dify-chat", "/v1//info", 404),
    ],
)
def test_slash_at_the_end_matters_where_the_contract_says_so(mock: Caller, api: str, path: str, status: int) -> None:
    """AgentBuilder takes both forms of one path and redirects from others, as real servers do; elsewhere none does."""
    assert mock.ask("GET", path, **KEYS[api]).status == status


@pytest.mark.parametrize(
    ("method", "path", "location"),
    [
        ("GET", "/api/v1/users/whoami/", "http://mock:80/api/v1/users/whoami"),
        ("POST", "/api/v1/run/x%20ü/?stream=false&a=/", "http://mock:80/api/v1/run/x%2520%C3%BC?stream=false&a=/"),
        ("GET", "/api/v2/files/3fd63a45-3fea-4fb7-9353-8f117f143600/", None),
        ("PATCH", "/api/v1/users/whoami//", "http://mock:80/api/v1/users/whoami"),
    ],
)
def test_slash_leads_to_the_path_without(mock: Caller, method: str, path: str, location: str | None) -> None:
    """307, so that method and body stay; without a key, too, and with the query (Langflow 1.4.3, 1.13.0)."""
    answer = mock.ask(method, path, Host="mock:80")
    assert (answer.status, answer.body) == (307, b"")
    assert answer.headers["Location"] == (location or f"http://mock:80{path.rstrip('/')}")
    assert mock.ask(method, path).headers["Location"].startswith("/api/")
    assert mock.app.mock.journal.list_entries()[-1].status == 307


def test_options_tell_methods_where_real_servers_do(mock: Caller) -> None:
    """Dify does, without a key; Langflow has no such method. A preflight is answered by both."""
    answer = mock.ask("OPTIONS", "/v1/parameters")
    assert (answer.status, answer.headers["Allow"], answer.body) == (200, "GET, HEAD, OPTIONS", b"")
    assert mock.ask("OPTIONS", "/v1/nowhere", **KEYS["dify-chat"]).status == 404
    assert mock.ask("OPTIONS", "/api/v1/users/whoami", **KEYS["agentbuilder"]).status == 405
    asked = {
        "Access_Control_Request_Method": "GET",
        "Access_Control_Request_Headers": "x-api-key",
        "Origin": "http://x",
    }
    preflight = mock.ask("OPTIONS", "/api/v1/users/whoami", **asked)
    assert (preflight.status, preflight.body, preflight.headers["Access-Control-Max-Age"]) == (200, b"OK", "600")
    assert preflight.headers["Access-Control-Allow-Methods"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


def test_head_is_what_it_is_on_the_real_servers(mock: Caller) -> None:
    """The same as GET on Dify; a wrong method on Langflow, whether the path has GET or not."""
    assert mock.ask("HEAD", "/v1/parameters", **KEYS["dify-chat"]).status == 200
    for path in ("/api/v1/users/whoami", "/api/v2/files"):
        assert mock.ask("HEAD", path, **KEYS["agentbuilder"]).status == 405
    assert mock.ask("HEAD", "/api/v1/nowhere", **KEYS["agentbuilder"]).status == 404


@pytest.mark.parametrize("told", [{"head": "perhaps"}, {"heads": "get"}, {"trailing-slash": "307"}])
def test_what_a_contract_cannot_say_about_http_is_told(told: dict[str, str]) -> None:
    """With what it can say."""
    with pytest.raises(SpecError, match="It says head: get or wrong-method"):
        read_manners({"x-http": told})


def test_base_path_ends_at_a_segment(mock: Caller) -> None:
    """`/v1x` is not under `/v1`."""
    assert mock.ask("GET", "/v1x/info", **KEYS["dify-chat"]).headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("api", "method", "path", "allowed"),
    [
        ("cybertron", "GET", "/openapi/v1/chatflow/offline_upload_file/", "POST"),
        ("dify-chat", "PATCH", "/v1/chat-messages", "OPTIONS, POST"),
        ("dify-chat", "POST", "/v1/parameters", "GET, HEAD, OPTIONS"),
        ("dify-workflow", "DELETE", "/v1/workflows/run", "OPTIONS, POST"),
        ("agentbuilder", "PATCH", "/api/v2/files", "POST"),
        ("agentbuilder", "POST", "/api/v2/files/3fd63a45-3fea-4fb7-9353-8f117f143600", "GET"),
        ("agentbuilder", "HEAD", "/api/v1/users/whoami", "GET"),
        ("agentbuilder", "OPTIONS", "/api/v2/files", "POST"),
        ("dify-chat", "HEAD", "/v1/chat-messages", "OPTIONS, POST"),
    ],
)
def test_wrong_method_names_those_that_the_path_has(
    mock: Caller, api: str, method: str, path: str, allowed: str
) -> None:
    """405 carries an Allow header (RFC 9110, 15.5.6), with what real servers name there."""
    answer = mock.ask(method, path, **KEYS[api])
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("headers", "status", "telling"),
    [
        ({}, 401, "unauthorized"),
        ({"Authorization": "Bearer nobody"}, 401, "unauthorized"),
        ({"Authorization": "Basic app-chat"}, 401, "unauthorized"),
        ({"Authorization": "app-chat"}, 401, "unauthorized"),
        ({"Authorization": "Bearer app-chatter"}, 401, "unauthorized"),
        ({"Authorization": "Bearer app-workflow"}, 400, "not_chat_app"),
    ],
)
def test_wrong_key_gets_the_documented_refusal(
    mock: Caller, headers: dict[str, str], status: int, telling: str
) -> None:
    """No key, a wrong one and one of the other app are told apart."""
    answer = mock.ask("POST", "/v1/chat-messages", json_body=CHAT, **headers)
    assert (answer.status, answer.json["code"]) == (status, telling)
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_chat_key_does_not_open_the_workflow_app(mock: Caller) -> None:
    """The other way round the refusal is the workflow app's."""
    answer = mock.ask("POST", "/v1/workflows/run", key="app-chat", json_body={"inputs": {}, "user": "u"})
    assert (answer.status, answer.json["code"]) == (400, "not_workflow_app")


@pytest.mark.parametrize("path", ["/v1/info", "/v1/parameters"])
def test_key_tells_which_app_answers_on_a_shared_path(mock: Caller, path: str) -> None:
    """Both Dify apps have `/info`; each key gets its own app's answer."""
    answers = {key: mock.ask("GET", path, key=key) for key in ("app-chat", "app-workflow")}
    assert {answer.status for answer in answers.values()} == {200}
    assert answers["app-chat"].json != answers["app-workflow"].json


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"cybertron_robot_key": "robot-key-a", "cybertron_robot_token": "robot-token-a"}, False),
        ({"cybertron_robot_key": "robot-key", "cybertron_robot_token": "robot-token"}, False),
        ({"cybertron_robot_key": "robot-key-a", "cybertron_robot_token": "robot-token-b"}, True),
        ({"cybertron_robot_key": "robot-key-a"}, True),
        ({"cybertron_robot_key": "robot-key", "cybertron_robot_token": "x"}, True),
        ({}, True),
    ],
)
def test_cybertron_wants_key_and_token_of_one_suffix(mock: Caller, headers: dict[str, str], refused: bool) -> None:
    """Its refusals are 200 with another code than 000000 and no data."""
    path = "/openapi/v1/chatflow/offline_upload_file/"
    form = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % pair
        for pair in [(b"mode", b"2"), (b"username", b"me"), (b"flow_uuid", b"xxxxxxx"), (b"tenant_name", b"t")]
    )
    answer = mock.ask("POST", path, body=form + b"--b--\r\n", Content_Type="multipart/form-data; boundary=b", **headers)
    assert answer.status == 200
    assert (answer.json["code"] != "000000", answer.json["data"] is None) == (refused, refused)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x_api_key": "sk-agentbuilder"}, 200),
        ({"x_api_key": "nobody"}, 403),
        ({}, 403),
        ({"Authorization": "Bearer nobody"}, 401),
    ],
)
def test_agentbuilder_tells_wrong_keys_from_wrong_tokens(mock: Caller, headers: dict[str, str], status: int) -> None:
    """A wrong key is 403, a wrong token 401, where the operation takes both."""
    assert mock.ask("GET", "/api/v2/files", **headers).status == status


BAD_JSON = {
    "nothing": b"",
    "cut off": b'{"query": "hel',
    "not UTF-8": b'{"query": "\xff", "user": "u"}',
    "NaN": b'{"query": "q", "user": "u", "inputs": {"a": NaN}}',
    "infinity": b'{"query": "q", "user": "u", "inputs": {"a": -Infinity}}',
    "a key twice": b'{"query": "q", "user": "u", "user": "v"}',
    "half a surrogate pair": b'{"query": "\\ud800", "user": "u"}',
    "half a surrogate pair as a key": b'{"query": "q", "user": "u", "inputs": {"\\uDFFF": 1}}',
    "deep nesting": b'{"query": "q", "user": "u", "inputs": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "a number of 5000 digits": b'{"query": "q", "user": "u", "inputs": {"a": ' + b"9" * 5000 + b"}}",
    "two values": b"{} {}",
    "UTF-16": '{"query": "q", "user": "u"}'.encode("utf-16"),
    "a null byte": b'{"query": "q\x00", "user": "u"}',
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_unreadable_json_is_a_bad_request(mock: Caller, name: str) -> None:
    """Whatever is wrong with the text, it is a documented 4xx and never more."""
    answer = raw_chat(mock, BAD_JSON[name])
    assert answer.status == 400
    assert answer.json["code"] in ("bad_request", "invalid_param")


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b'{"query": 1e400, "user": "u"}', b"9" * 400])
def test_json_of_another_type_is_an_invalid_request(mock: Caller, body: bytes) -> None:
    """Readable JSON that is no request is refused as such, huge numbers included."""
    answer = raw_chat(mock, body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_param")


def test_surrogate_pair_is_a_character(mock: Caller) -> None:
    """Two halves that belong together are fine."""
    answer = raw_chat(mock, rb'{"query": "\ud83d\ude00", "user": "u"}')
    assert answer.status == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"query": None}, "query"),
        ({"user": 7}, "user"),
        ({"inputs": []}, "inputs"),
        ({"response_mode": "morse"}, "response_mode"),
        ({"files": [{"type": "image", "transfer_method": "remote_url"}]}, "url"),
    ],
)
def test_refusal_names_the_field(mock: Caller, change: dict[str, Any], field: str) -> None:
    """A missing or wrong field gets the documented error, which names it."""
    answer = chat(mock, json_body=CHAT | change)
    assert (answer.status, answer.json["code"]) == (400, "invalid_param")
    assert field in json.dumps(answer.json)


def test_missing_field_is_named(mock: Caller) -> None:
    """Without `user` the refusal says so."""
    answer = chat(mock, json_body={"query": "hello"})
    assert answer.status == 400
    assert "user" in answer.json["message"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "x"])
def test_wrong_media_type_is_unsupported(mock: Caller, content_type: str) -> None:
    """A body of a type that the operation does not take is 415."""
    answer = raw_chat(mock, b"{}", Content_Type=content_type)
    assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")


def test_charset_beside_the_media_type_is_fine(mock: Caller) -> None:
    """Parameters of the media type do not matter."""
    assert raw_chat(mock, json.dumps(CHAT).encode(), Content_Type="application/json; charset=utf-8").status == 200


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1&limit=2", "sort_by=name", "user=%ff", "limit=" + "9" * 5000]
)
def test_wrong_query_is_an_invalid_request(mock: Caller, query: str) -> None:
    """A parameter out of bounds, of a wrong type, repeated or undecodable is `invalid_param`."""
    answer = mock.ask("GET", f"/v1/conversations?user=u&{query}", key="app-chat-refusals")
    assert answer.status in (200, 400)
    if not query.startswith("limit=999"):
        assert (answer.status, answer.json["code"]) == (400, "invalid_param")


def test_limit_over_the_maximum_is_lowered(mock: Caller) -> None:
    """The documents say that the system's own limit is then answered."""
    assert mock.ask("GET", "/v1/conversations?user=u&limit=1000", key="app-chat-refusals").json["limit"] == 100
    assert mock.ask("GET", "/v1/workflows/logs?limit=1000", key="app-workflow-refusals").json["limit"] == 100


BAD_FORMS = {
    "no boundary": (b"--b--\r\n", "multipart/form-data"),
    "never closed": (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
        "multipart/form-data; boundary=b",
    ),
    "nothing at all": (b"", "multipart/form-data; boundary=b"),
    "no disposition": (b"--b\r\n\r\nabc\r\n--b--\r\n", "multipart/form-data; boundary=b"),
    "a part without name": (
        b"--b\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--b--\r\n",
        "multipart/form-data; boundary=b",
    ),
    "headers that are no UTF-8": (
        b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nabc\r\n--b--\r\n',
        "multipart/form-data; boundary=b",
    ),
    "text that is no UTF-8": (
        b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\n\xff\r\n--b--\r\n',
        "multipart/form-data; boundary=b",
    ),
    "junk": (bytes(range(256)) * 8, "multipart/form-data; boundary=b"),
    "a boundary that is a pattern": (b"--(.*--\r\n", "multipart/form-data; boundary=(.*"),
    "no line break behind the headers": (
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n--b--',
        "multipart/form-data; boundary=b",
    ),
}


@pytest.mark.parametrize("name", BAD_FORMS)
def test_unreadable_form_is_a_bad_request(mock: Caller, name: str) -> None:
    """A multipart body that is broken, in whatever way, is a documented 4xx."""
    body, content_type = BAD_FORMS[name]
    answer = mock.ask("POST", "/v1/files/upload", key="app-chat-refusals", body=body, Content_Type=content_type)
    assert answer.status == 400
    assert answer.json["code"]


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """Return a multipart body with the boundary `b`."""
    body = b""
    for name, filename, data in parts:
        named = f'; filename="{filename}"' if filename is not None else ""
        body += f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + data + b"\r\n"
    return body + b"--b--\r\n"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([("user", None, b"u")], "no_file_uploaded"),
        ([("file", None, b"text instead of a file")], "no_file_uploaded"),
        ([("file", "a.txt", b"1"), ("file", "b.txt", b"2")], "too_many_files"),
        ([("file", "", b"1")], "filename_not_exists_error"),
    ],
)
def test_upload_without_exactly_one_file_has_its_own_codes(
    mock: Caller, parts: list[tuple[str, str | None, bytes]], code: str
) -> None:
    """The upload's own codes say what was wrong with the form."""
    answer = mock.ask(
        "POST",
        "/v1/files/upload",
        key="app-chat-refusals",
        body=form(*parts),
        Content_Type="multipart/form-data; boundary=b",
    )
    assert (answer.status, answer.json["code"]) == (400, code)


def test_text_is_no_audio(mock: Caller) -> None:
    """Speech to text takes the documented formats only."""
    body, kind = form(("file", "notes.txt", b"abc")), "multipart/form-data; boundary=b"
    answer = mock.ask("POST", "/v1/audio-to-text", key="app-chat-refusals", body=body, Content_Type=kind)
    assert (answer.status, answer.json["code"]) == (415, "unsupported_audio_type")


@pytest.mark.parametrize(
    ("method", "path", "key", "body"),
    [
        ("GET", f"/v1/messages?conversation_id={NOWHERE}&user=u", "app-chat-refusals", None),
        ("POST", "/v1/conversations/nowhere/name", "app-chat-refusals", {"name": "n", "user": "u"}),
        ("DELETE", "/v1/conversations/nowhere", "app-chat-refusals", {"user": "u"}),
        ("POST", "/v1/messages/nowhere/feedbacks", "app-chat-refusals", {"rating": "like", "user": "u"}),
        ("GET", "/v1/messages/nowhere/suggested?user=u", "app-chat-refusals", None),
        ("POST", "/v1/chat-messages", "app-chat-refusals", CHAT | {"conversation_id": NOWHERE}),
        ("GET", "/v1/workflows/run/nowhere", "app-workflow-refusals", None),
    ],
)
def test_unknown_id_is_not_found(mock: Caller, method: str, path: str, key: str, body: Any) -> None:
    """An id that was neither printed nor issued is the API's 404, as the contract has it."""
    answer = mock.ask(method, path, key=key, json_body=body)
    assert answer.status == 404
    api = mock.app.mock.apis["dify-chat" if "chat" in key else "dify-workflow"]
    operation = next(one for one in api.operations.values() if one.method == method and 404 in one.responses)
    assert find_response_violations(api.validators, operation, 404, dict(answer.headers), answer.body) == []


def test_wrong_field_is_refused_before_the_id_is_looked_up(mock: Caller) -> None:
    """Validation comes first, so that a 404 never hides it."""
    answer = mock.ask(
        "POST", "/v1/messages/nowhere/feedbacks", key="app-chat-refusals", json_body={"rating": 5, "user": "u"}
    )
    assert answer.status == 400


@pytest.mark.parametrize("path", ["/v1/messages/%00/suggested?user=u", "/v1/messages/\ufffd/suggested?user=u"])
def test_odd_ids_are_just_unknown(mock: Caller, path: str) -> None:
    """Control characters and undecodable bytes in a path are an unknown id."""
    assert mock.ask("GET", path, key="app-chat-refusals").status == 404


@pytest.mark.parametrize("size", [17 << 20])
def test_json_beyond_the_limit_is_too_large(mock: Caller, size: int) -> None:
    """JSON of more than 16 MB is refused unread, with a documented status."""
    answer = raw_chat(mock, b" " * size)
    assert answer.status in (400, 413)
    assert answer.json["code"]


@pytest.mark.parametrize("api", ["dify-chat", "dify-workflow", "agentbuilder"])
def test_an_unknown_path_is_told_as_the_whole_api_tells_it(mock: Caller, api: str) -> None:
    """Nobody who mistypes a path is told about a conversation or a file that does not exist."""
    path = "/api/v1/nothing" if api == "agentbuilder" else "/v1/nothing"
    said = mock.ask("GET", path, **KEYS[api]).body.decode().lower()
    assert "not found" in said
    assert not any(thing in said for thing in ("conversation", "file", "flow", "run"))


@pytest.mark.parametrize(
    ("key", "body", "status"),
    [("sk-agentbuilder", b"{", 422), ("nobody", b"{", 422), ("nobody", b"{}", 403), ("nobody", b"[]", 403)],
)
def test_a_body_that_cannot_be_read_is_told_before_the_key(mock: Caller, key: str, body: bytes, status: int) -> None:
    """A body that can be read is judged after it."""
    run = "/api/v1/run/92f9a4c5-cfc8-4656-ae63-1f0881163c28"
    assert mock.ask("POST", run, body=body, Content_Type="application/json", x_api_key=key).status == status


@pytest.mark.parametrize(
    "body",
    [
        {"input_type": "x" * 1_000_000},
        {"input_value": ["x" * 1_000_000]},
        {"tweaks": {"k" * 1_000_000: [1]}},
        {"tweaks": {f"k{number}": [1] for number in range(20_000)}},
        ["x" * 1_000_000],
    ],
    ids=["text", "list", "name", "names", "no object"],
)
def test_a_wrong_megabyte_is_neither_said_again_nor_kept(mock: Caller, body: Any) -> None:
    """A refusal tells the beginning of what was sent, and the journal keeps no more of it than of any request."""
    run = "/api/v1/run/92f9a4c5-cfc8-4656-ae63-1f0881163c28"
    answer = mock.ask("POST", run, json_body=body, **KEYS["agentbuilder"])
    assert answer.status == 422
    assert len(answer.body) < 20_000
    [kept] = mock.ask("GET", "/__mock__/requests?limit=1").json["requests"]
    assert kept["violations"]
    assert len(json.dumps({name: kept[name] for name in ("violations", "hints", "because")})) < 10_000
