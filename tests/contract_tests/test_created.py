"""What a run creates: found in answers, used again, removed at the end, and forgotten once it is removed."""

from __future__ import annotations

import json
from dataclasses import replace

from contract_tests.cases.examples import choose_example
from contract_tests.http.exchange import Answer, Exchange, SentRequest
from contract_tests.suite.created import CreatedResources
from flowcontract.specs.model import load_apis

CHAT = load_apis(["dify-chat"])["dify-chat"]
SEND, DELETE = CHAT.operations["sendChatMessage"], CHAT.operations["deleteConversation"]


def exchange(status, body):
    """Return an exchange that was answered so."""
    return Exchange(SentRequest("POST", "http://x/", ()), Answer(status, {}, json.dumps(body).encode()))


def created(status=200, body=None):
    """Return what is noted of a message of alice that is answered so."""
    request = choose_example(CHAT, SEND).request
    request = replace(request, body={**request.body, "user": "alice"})
    resources = CreatedResources()
    resources.note(SEND, request, exchange(status, {"conversation_id": "c1"} if body is None else body))
    return resources


def test_created_resource_is_removed_as_its_own_user():
    """The removal names the resource and the user who created it."""
    [resource] = created()
    operation, request = resource.build_removal(CHAT)
    assert (operation.id, request.path_values, request.body["user"]) == (
        "deleteConversation",
        {"conversation_id": "c1"},
        "alice",
    )
    assert str(resource) == "dify-chat conversation_id c1"


def test_refused_or_unusable_answers_create_nothing():
    """Neither a refusal nor an answer without the id."""
    assert list(created(status=400)) == []
    assert list(created(body={})) == []
    assert list(created(body={"conversation_id": 5})) == []


def test_removed_resource_is_forgotten_with_the_values_of_its_api():
    """Other values may have been removed with it."""
    resources = created()
    resources.get_values("dify-chat")["message_id", ""] = "m1"
    [resource] = resources
    _, request = resource.build_removal(CHAT)
    resources.note(DELETE, request, exchange(404, {}))
    assert list(resources) == [resource]
    resources.note(DELETE, request, exchange(200, {}))
    assert (list(resources), resources.get_values("dify-chat")) == ([], {})
