"""What published clients and people send gets from the mock what real servers give (tests/data/field-cases)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flowcontract import yamlio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mock_calls import Answer, Caller

DATA = Path(__file__).parent.parent / "data" / "field-cases"
DIFY = ("dify-chat", "dify-workflow")
CASES = yamlio.load(DATA / "requests.yaml")


def _requests() -> Iterator[Any]:
    for case in CASES:
        for number, request in enumerate(case["requests"], 1):
            for profile in request.get("profiles", [request.get("profile")]):
                name = f"{case['case']} #{number} {request['to'].partition('?')[0]} {profile or ''}".rstrip()
                yield pytest.param(case, {**request, "profile": profile}, id=name)


@pytest.fixture
def asked(make_app: Callable[..., Caller]) -> Callable[[dict[str, Any], dict[str, Any]], Answer]:
    """Return what asks a mock of both Dify apps, as a case has it."""

    def ask(case: dict[str, Any], request: dict[str, Any]) -> Answer:
        profiles = dict.fromkeys(DIFY, request["profile"]) if request["profile"] else None
        mock = make_app(*DIFY, profiles=profiles, app=DATA / case["app"] if "app" in case else None)
        key = request.get("key") or ("workflow" if "/workflows/" in request["to"] else "chat")
        places = _hold_chat(mock)
        method, path = _filled(request["to"], places).split(" ")
        return mock.ask(method, path, **_headers(key), **_body(_filled(request.get("send", {}), places)))

    return ask


def _hold_chat(mock: Caller) -> dict[str, str]:
    """Chat once; return the ids that requests name."""
    body = {"query": "x", "inputs": {}, "user": "u", "response_mode": "blocking"}
    said = mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=body).json
    conversation = said["conversation_id"]
    return {"conversation": conversation, "CONVERSATION": conversation.upper(), "message": said["message_id"]}


def _filled(value: Any, places: dict[str, str]) -> Any:
    text = json.dumps(value)
    for name, identifier in places.items():
        text = text.replace(f"{{{name}}}", identifier)
    return json.loads(text)


def _headers(key: str) -> dict[str, str]:
    if key == "none":
        return {}
    literal = key.removeprefix("as it is: ")
    return {"Authorization": literal if literal != key else f"Bearer app-{key}"}


def _body(send: dict[str, Any]) -> dict[str, Any]:
    if "json" in send:
        return {"json_body": send["json"]}
    if "form" in send:
        head = "\r\n".join([f'Content-Disposition: form-data; name="file"; {send["form"][0]}', *send["form"][1:]])
        return {
            "Content_Type": "multipart/form-data; boundary=b",
            "body": f"--b\r\n{head}\r\n\r\nhello\r\n--b--\r\n".encode(),
        }
    return {"Content_Type": send["empty"]} if "empty" in send else {}


@pytest.mark.parametrize(("case", "request_"), list(_requests()))
def test_request_of_the_field_is_answered_as_real_servers_answer_it(
    asked: Callable[[dict[str, Any], dict[str, Any]], Answer], case: dict[str, Any], request_: dict[str, Any]
) -> None:
    """Its status, and what its body has or says."""
    answer = asked(case, request_)
    assert answer.status == request_["status"], answer.body
    assert request_.get("says", "") in answer.body.decode("utf-8", "replace")
    for name, value in request_.get("has", {}).items():
        said = answer.json[name]
        assert said == value or (isinstance(value, dict) and value.items() <= said.items()), answer.body


@pytest.mark.parametrize("profile", [None, "0.14", "1.4", "1.14"])
def test_messages_and_their_end_carry_both_ids(make_app: Callable[..., Caller], profile: str | None) -> None:
    """The documents print `id` (004:91, 004:285), the lists `message_id`: clients read the one or the other."""
    mock = make_app("dify-chat", profiles={"dify-chat": profile} if profile else None)
    body = {"query": "x", "inputs": {}, "user": "u", "response_mode": "streaming"}
    events = mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=body).events
    said = [event for event in events if event["event"] in ("message", "message_end")]
    assert {event["event"] for event in said} == {"message", "message_end"}
    assert len({(event["id"], event["message_id"]) for event in said}) == 1
    assert said[0]["id"] == said[0]["message_id"]
