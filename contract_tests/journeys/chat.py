"""What the journeys of the chat app ask, and what they read in its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contract_tests.journeys.dify import give_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contract_tests.journeys.journey import Journey
    from contract_tests.journeys.response_values import Event, ResponseValue


def build_inputs(chat: Journey) -> dict[str, Any]:
    """Return what goes into the variables of this app's form; its files are the suite's own."""
    return _add_texts(chat, _build_example(chat)["inputs"])


def build_body(chat: Journey, user: str, query: str, mode: str = "blocking", conversation: str = "") -> dict[str, Any]:
    """Return a message's request body for this app's form."""
    example = _build_example(chat)
    body = {
        **example,
        "inputs": _add_texts(chat, example["inputs"]),
        "user": user,
        "query": query,
        "response_mode": mode,
        "conversation_id": conversation,
    }
    given: dict[str, Any] = give_files(chat, user, body)
    return given


def _build_example(chat: Journey) -> Mapping[str, Any]:
    example: Mapping[str, Any] = chat.suite.values.build_example(
        chat.api.operations["sendChatMessage"], "blocking"
    ).body
    return example


def _add_texts(chat: Journey, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {**chat.list_sample_texts(), **inputs}


def send_message(chat: Journey, user: str, query: str, conversation: str = "") -> ResponseValue:
    """Send a message; return the whole answer."""
    return chat.call("sendChatMessage", body=build_body(chat, user, query, conversation=conversation))


def list_messages(chat: Journey, user: str, conversation: str, **query: str) -> ResponseValue:
    """Return a page of a conversation's messages."""
    return chat.call("listMessages", query={"conversation_id": conversation, "user": user, **query})


def list_conversations(chat: Journey, user: str, **query: str) -> ResponseValue:
    """Return a page of a user's conversations."""
    return chat.call("listConversations", query={"user": user, **query})


def read_ids(rows: list[ResponseValue]) -> list[str]:
    """Return the ids of the rows of a list."""
    return [row["id"].text for row in rows]


def read_quotations(answer: ResponseValue) -> list[Any]:
    """Return the passages that an answer, or the end of its stream, quotes."""
    return list_or_empty(answer.get("metadata", "retriever_resources"))


def list_or_empty(found: Any) -> list[Any]:
    """Return the passages of a field that may be absent."""
    return found if isinstance(found, list) else []


def remove_white_space(text: Any) -> Any:
    """Return a text without its white space."""
    return "".join(text.split()) if isinstance(text, str) else text


def join_answer(events: list[Event]) -> str:
    """Return the answer that the events of a stream add up to; `message_replace` replaces what came before."""
    text = ""
    for event in events:
        if event.kind == "message":
            text += event.payload["answer"].text
        elif event.kind == "message_replace":
            text = event.payload["answer"].text
    return text


def read_usages(*answers: ResponseValue) -> list[Any]:
    """Return the usage of answers, without the latency and fields that not all of them have: objects stay open."""
    usages = [answer.get("metadata", "usage") for answer in answers]
    if not all(isinstance(usage, dict) for usage in usages):
        return usages
    shared = [name for name in usages[0] if name != "latency" and all(name in usage for usage in usages)]
    return [{name: usage[name] for name in shared} for usage in usages]
