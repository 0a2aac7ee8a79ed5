"""Prefer, matching scenarios and defaults, in this order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from mock_calls import read
from mock_users import User

from mockserver.request.preferences import ScenarioPreference, parse_prefer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mock_calls import Caller

CHAT = {"query": "hello", "user": "abc-123", "inputs": {}}


@pytest.mark.parametrize(
    ("values", "preference"),
    [
        (["code=400, example=not-found"], ScenarioPreference("400", "not-found")),
        (["code=400"], ScenarioPreference("400", None)),
        (['example="not-found"'], ScenarioPreference(None, "not-found")),
        (["code=400; example=not-found"], ScenarioPreference("400", "not-found")),
        (["code=400", "example=not-found"], ScenarioPreference("400", "not-found")),
        (["Code = 400 , EXAMPLE = not-found"], ScenarioPreference("400", "not-found")),
        (["code=400, code=500"], ScenarioPreference("400", None)),
        (["respond-async, wait=100, code=400"], ScenarioPreference("400", None)),
        (["respond-async"], None),
        (["code="], None),
        ([""], None),
        ([], None),
    ],
)
def test_prefer_is_read_as_rfc_7240_writes_it(values: list[str], preference: ScenarioPreference | None) -> None:
    """Commas, several headers, quotes and parameters are all ways to write it; the first of two counts (section 2)."""
    assert parse_prefer(", ".join(values)) == preference


@pytest.mark.parametrize(
    ("prefer", "status", "applied"),
    [
        ("code=400, example=provider-quota-exceeded", 400, "code=400, example=provider-quota-exceeded"),
        ("code=400, example=provider_quota_exceeded", 400, "code=400, example=provider-quota-exceeded"),
        ("example=provider-quota-exceeded, code=400", 400, "code=400, example=provider-quota-exceeded"),
        ("example=400-provider-quota-exceeded", 400, "code=400, example=provider-quota-exceeded"),
        ("example=app-unavailable", 400, "example=app-unavailable"),
        ("code=500", 500, "code=500"),
        ("code=200", 200, "code=200"),
    ],
)
def test_wished_scenario_is_served_and_said_to_be(mock: Caller, prefer: str, status: int, applied: str) -> None:
    """Status and name, either alone, with hyphens or underscores; Preference-Applied says what was done."""
    answer = mock.ask("POST", "/v1/chat-messages", key="app-chat-preference", json_body=CHAT, Prefer=prefer)
    assert (answer.status, answer.headers["Preference-Applied"]) == (status, applied)


@pytest.mark.parametrize(
    "request_",
    [
        {"json_body": {}},
        {"body": b"{", "Content_Type": "application/json"},
        {"json_body": CHAT, "key": "nobody"},
        {"body": b"x", "Content_Type": "text/plain"},
    ],
    ids=["wrong fields", "no JSON", "no valid key", "wrong media type"],
)
def test_wish_comes_before_everything_that_is_wrong(mock: Caller, request_: dict[str, object]) -> None:
    """A forced scenario is served even if the request was wrong."""
    sent = {"key": "app-chat-preference", **request_, "Prefer": "code=200, example=default"}
    assert mock.ask("POST", "/v1/chat-messages", **sent).status == 200


def test_wish_does_not_make_a_path(mock: Caller) -> None:
    """An unknown path stays unknown."""
    assert mock.ask("POST", "/v1/nowhere", key="app-chat-preference", Prefer="code=200").status == 404


@pytest.mark.parametrize(
    ("prefer", "told"),
    [
        ("example=provider-quota-exceded", "provider-quota-exceeded"),
        ("code=418", "There is"),
        ("code=teapot", "There is"),
        ("code=" + "9" * 5000, "There is"),
        ("code=-1", "There is"),
    ],
)
def test_unknown_wish_lists_what_there_is(mock: Caller, prefer: str, told: str) -> None:
    """501 as a problem of the mock itself: what was asked, what there is, what was perhaps meant."""
    answer = mock.ask("POST", "/v1/chat-messages", key="app-chat-preference", json_body=CHAT, Prefer=prefer)
    assert (answer.status, answer.headers["Content-Type"]) == (501, "application/problem+json")
    assert told in answer.json["detail"]
    assert prefer.partition("=")[2][:40] in answer.json["detail"]  # of an endless preference its beginning
    assert "200-default" in answer.json["scenarios"]


@pytest.mark.parametrize(
    ("mode", "kind"), [("streaming", "text/event-stream"), ("blocking", "application/json"), (None, "application/json")]
)
def test_response_mode_chooses_stream_or_body(mock: Caller, mode: str | None, kind: str) -> None:
    """Nothing chosen, the request's own preference for a stream decides; missing means blocking."""
    body = CHAT | ({"response_mode": mode} if mode else {})
    answer = mock.ask("POST", "/v1/chat-messages", key="app-chat-preference", json_body=body)
    assert answer.headers["Content-Type"].startswith(kind)


@pytest.mark.parametrize(
    ("query", "kind"),
    [("?stream=true", "text/event-stream"), ("?stream=false", "application/json"), ("", "application/json")],
)
def test_query_chooses_stream_or_body(mock: Caller, query: str, kind: str) -> None:
    """A flow streams where the query says so."""
    path = f"/api/v1/run/a430cc57-06bb-4c11-be39-d3d4de68d2c4{query}"
    answer = mock.ask("POST", path, json_body={"input_value": "hi"}, x_api_key="sk-agentbuilder-preference")
    assert answer.headers["Content-Type"].startswith(kind)


SCENARIO = """
description: A greeting in return.
request: {body: {query: hello there}}
reply:
  body:
    message_id: $id.message
    conversation_id: $id.conversation
    mode: advanced-chat
    answer: General Kenobi.
    metadata: {usage: $world.usage}
    created_at: $now
"""


def test_users_scenario_answers_the_request_it_belongs_to(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """A scenario with a request is chosen by itself, and what it says is remembered like any other answer."""
    folder = tmp_path / "dify-chat" / "sendChatMessage"
    folder.mkdir(parents=True)
    (folder / "200-greeting.yaml").write_text(SCENARIO, encoding="utf-8")
    mock = make_app("dify-chat", fixtures=tmp_path)
    matched = mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=CHAT | {"query": "hello there"}).json
    assert matched["answer"] == "General Kenobi."
    other = mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=CHAT).json
    assert other["answer"] != "General Kenobi."
    path = f"/v1/messages?user=abc-123&conversation_id={matched['conversation_id']}"
    assert [one["answer"] for one in mock.ask("GET", path, key="app-chat").json["data"]] == ["General Kenobi."]


ODD: dict[str, Any] = {
    "nothing": None,
    "a list": [1],
    "no id": {"name": "x"},
    "ids that are none": {"id": 5, "message_id": [1], "conversation_id": 2, "workflow_run_id": {}, "task_id": 7},
    "fields of other kinds": {
        "workflow_run_id": "r", "task_id": "t", "message_id": "m", "conversation_id": "c",
        "answer": 5, "metadata": ["retriever_resources"], "data": "x",
    },
}  # fmt: skip
TAKING: dict[str, dict[str, Any]] = {
    "dify-chat/sendChatMessage": {"body": {"query": "hello", "inputs": {}}},
    "dify-chat/uploadFile": {"form": {"file": ("a.png", b"x")}},
    "dify-workflow/runWorkflow": {"body": {"inputs": {}, "response_mode": "blocking"}},
    "agentbuilder/uploadUserFile": {"form": {"file": ("a.png", b"x")}},
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("operation", TAKING)
def test_a_users_answer_may_be_anything(
    make_app: Callable[..., Caller], tmp_path: Path, operation: str, odd: str
) -> None:
    """What a world keeps of an answer is what the answer says; one that says nothing of it is sent as it stands."""
    api, _, name = operation.partition("/")
    folder = tmp_path / api / name
    folder.mkdir(parents=True)
    user = User(make_app(api), api)
    status = user.api.operations[name].success.status
    scenario = {"description": "Odd.", "reply": {"body": ODD[odd]}}
    (folder / f"{status}-odd.yaml").write_text(json.dumps(scenario), encoding="utf-8")
    user = User(make_app(api, fixtures=tmp_path), api)
    answer = read(user.open(name, **TAKING[operation], headers={"Prefer": f"code={status}, example=odd"}))
    assert answer.status == status
    assert answer.json == ODD[odd]
