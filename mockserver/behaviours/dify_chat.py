"""The chat app: a conversation goes on where it stopped, and everything that was said in it can be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from mockserver.behaviours import answers, dify
from mockserver.behaviours import input_forms as forms
from mockserver.behaviours.action import find_text, listen, read_page_after, tell_when_stopped
from mockserver.request.refusals import Refusal
from mockserver.state.store import ANY, Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockserver.behaviours.action import Action, Behaviour
    from mockserver.http.messages import End, Reply
    from mockserver.state.store import Equal, Record
    from mockserver.state.worlds import World

_NAME_LENGTH = 40


def send_message(act: Action) -> Reply:
    """Answer, and keep question and answer as the reply tells them.

    What was put in when a conversation began need not be put in again.
    """
    asked = act.request.body.get("conversation_id")
    begun = _require_readable(act, "conversations", asked, "conversation_id", "body") if asked else None
    conversation = act.record("conversations", begun, user=dify.get_user(act)) if begun else None
    user = dify.get_user(act)
    inputs = {**(conversation or {}).get("inputs", {}), **(act.request.body.get("inputs") or {})}
    forms.check_inputs(act, inputs, user)
    first, message, task, run = act.world.make_ids(4)
    act.context.ids |= {"conversation": begun or first, "message": message, "task": task, "run": run}
    answer = answers.answer(act, "query", act.request.body["query"])
    unquoted: dict[str, Any] = {"retriever_resources": []} if dify.is_off(act, "retriever_resource") else {}
    number = act.world.store.count("runs")
    reply = act.reply(sequence_number=number, steps=0, answer=answer, pieces=answers.split_pieces(answer), **unquoted)
    exchange = _Exchange(act, reply, user)
    listen(reply, exchange.hear, exchange.end, exchange.save)
    tell_when_stopped(reply, exchange.count_steps)
    return reply


class _Exchange:
    """One question and its answer, as far as the reply has told it."""

    def __init__(self, act: Action, reply: Reply, user: str) -> None:
        self._act, self._reply, self._user = act, reply, user
        self._message: Record | None = None
        self._kept: Record = {}
        self._task: str | None = None
        self._steps = 0
        self._said_more = False

    def hear(self, said: Any) -> None:
        """Take over what one event, or the whole body, says of the message."""
        if not isinstance(said, dict):
            return
        if said.get("event") == "node_started":
            self._steps += 1
        if self._task is None and (task := find_text(said, "task_id")):
            self._task = task
            dify.remember_task(self._act, self._reply, task, self._user)
        if self._message is None:
            conversation, message = find_text(said, "conversation_id"), find_text(said, "message_id")
            self._message = self._begin(conversation, message) if conversation and message else None
        if self._message is not None:
            self._take(said, self._message)
            self._said_more = True

    def save(self) -> None:
        """Keep the message as far as it has been told."""
        message = self._message
        if message is not None and self._said_more:
            self._said_more = False
            self._kept = {**message}
            table = _name_messages(message["conversation_id"])
            self._act.world.store.put_when_read(table, message["id"], self._make_record)

    def _make_record(self, stored: Record | None) -> Record | None:
        """Return the message as it is kept, but for what a user thinks of it; None where its conversation is gone."""
        kept = self._kept
        if self._act.world.store.get("messages", kept["id"]) is None:
            return None
        return {**kept, "feedback": (stored or kept)["feedback"]}

    def count_steps(self) -> Mapping[str, Any]:
        """Return how many steps a run has taken that is stopped now: as many as it has begun."""
        return {"steps": self._steps}

    def end(self, how: End) -> None:  # noqa: ARG002 - what was said stands, however it ended
        """Take note that no more is said."""
        if self._message is not None:
            self._act.world.store.write_out(_name_messages(self._message["conversation_id"]))
        dify.forget_task(self._act, self._task)

    def _take(self, said: Record, message: Record) -> None:
        kind = said.get("event")
        if (answer := find_text(said, "answer")) is not None:
            message["answer"] = answer if kind == "message_replace" or "mode" in said else message["answer"] + answer
        if kind == "message_file":
            file = {name: said[name] for name in ("id", "type", "url", "belongs_to") if name in said}
            message["message_files"] = [*message["message_files"], file]
        if kind == "error":
            message |= {"status": "error", "error": said.get("message")}
        metadata = said.get("metadata")
        if isinstance(metadata, dict) and "retriever_resources" in metadata:
            message["retriever_resources"] = metadata["retriever_resources"]

    def _begin(self, conversation_id: str, message_id: str) -> Record:
        world, body, now = self._act.world, self._act.request.body, self._act.now
        conversation = world.store.get("conversations", conversation_id) or self._converse(conversation_id)
        world.store.put("conversations", conversation_id, {**conversation, "updated_at": now})
        world.store.put(
            "messages", message_id, {"id": message_id, "conversation_id": conversation_id, "user": self._user}
        )
        return {
            "id": message_id,
            "conversation_id": conversation_id,
            "inputs": body.get("inputs") or {},
            "query": body["query"],
            "answer": "",
            "message_files": [_build_message_file(world, file) for file in body.get("files") or []],
            "feedback": None,
            "retriever_resources": [],
            "created_at": now,
            "status": "normal",
            "error": None,
        }

    def _converse(self, conversation_id: str) -> Record:
        body, now = self._act.request.body, self._act.now
        name = _make_name(body["query"]) if body.get("auto_generate_name", True) else "New conversation"
        opening = self._act.answers("getParameters").get("opening_statement", "")
        return {
            "id": conversation_id,
            "name": name,
            "inputs": body.get("inputs") or {},
            "status": "normal",
            "introduction": opening,
            "created_at": now,
            "updated_at": now,
            "user": self._user,
        }


def _require_readable(act: Action, table: str, asked: str, field: str, location: str) -> str:
    """Return the id that is asked for; refuse by `malformed-id` one that servers, who keep UUIDs, cannot read.

    The documents print an id that is none (004:672): what there is can be asked for.
    """
    if act.world.store.get(table, asked) is not None:
        return asked
    try:
        return str(UUID(asked))
    except ValueError:
        raise Refusal(
            "unknown-id", f"{asked} is not a valid uuid.", field=field, location=location, finer=["malformed-id"]
        ) from None


def _name_messages(conversation_id: str) -> str:
    """Return the name of the table that holds one conversation's messages."""
    return f"messages of {conversation_id}"


def _make_name(query: str) -> str:
    line = " ".join(query.split())
    return line if len(line) <= _NAME_LENGTH else f"{line[:_NAME_LENGTH]}..."


def _build_message_file(world: World, file: Record) -> Record:
    url = file.get("url") or f"/files/{file.get('upload_file_id')}/file-preview"
    return {"id": world.make_id(), "type": file["type"], "url": url, "belongs_to": "user"}


def _show(record: Record) -> Record:
    """Return a record as the API shows it."""
    return {name: value for name, value in record.items() if name != "user"}


def _read_page(act: Action, field: str, table: str, *, order: str, where: Equal = ANY) -> Page:
    """Return a page behind a record, whose id is one that servers can read."""
    if asked := act.request.query.get(field):
        _require_readable(act, table, asked, field, "query")
    return read_page_after(act, field, table, order=order, where=where)


def list_messages(act: Action) -> Reply:
    """Show one page of a conversation; pages go backwards in time, and within a page time goes forward."""
    query, page = act.request.query, Page([], 0, more=False)
    if asked := query["conversation_id"]:
        conversation = _require_readable(act, "conversations", asked, "conversation_id", "query")
        act.record("conversations", conversation, user=dify.get_user(act))
        page = _read_page(act, "first_id", _name_messages(conversation), order="-")
    return act.reply(
        page={
            "limit": query["limit"],
            "has_more": page.more,
            "data": [act.complete(row, "Message") for row in page.rows[::-1]],
        }
    )


def list_conversations(act: Action) -> Reply:
    """Show one page of a user's conversations."""
    query = act.request.query
    page = _read_page(act, "last_id", "conversations", order=query["sort_by"], where={"user": dify.get_user(act)})
    data = [_show(row) for row in page.rows]
    return act.reply(page={"limit": query["limit"], "has_more": page.more, "data": data})


def rename_conversation(act: Action) -> Reply:
    """Give a conversation the name that was sent, or one made from its first question."""
    body = act.request.body
    conversation = act.record("conversations", act.request.path["conversation_id"], user=dify.get_user(act))
    name = body.get("name")
    if body.get("auto_generate"):
        first = act.world.store.read_page(_name_messages(conversation["id"]), limit=1).rows
        name = _make_name(first[0]["query"]) if first else conversation["name"]
    if not name:
        raise Refusal(
            "invalid-request", "name is required when auto_generate is false", field="name", finer=["missing-name"]
        )
    renamed = {**conversation, "name": name, "updated_at": act.now}
    act.world.store.put("conversations", conversation["id"], renamed)
    return act.reply(conversation=_show(renamed))


def delete_conversation(act: Action) -> Reply:
    """Delete a conversation with everything that was said in it."""
    conversation = act.record("conversations", act.request.path["conversation_id"], user=dify.get_user(act))
    for message in act.world.store.list_rows(_name_messages(conversation["id"])):
        act.world.store.delete(_name_messages(conversation["id"]), message["id"])
        act.world.store.delete("messages", message["id"])
    act.world.store.delete("conversations", conversation["id"])
    return act.reply()


def _get_message(act: Action, message_id: str) -> Record:
    """Return a message of the user's; refuse by `unknown-id` otherwise."""
    entry = act.record("messages", message_id, user=dify.get_user(act))
    return act.record(_name_messages(entry["conversation_id"]), message_id)


def give_feedback(act: Action) -> Reply:
    """Note what a user thinks of an answer; null takes it back."""
    message = _get_message(act, act.request.path["message_id"])
    rating = act.request.body.get("rating")
    rated = {**message, "feedback": {"rating": rating} if rating else None}
    act.world.store.put(_name_messages(message["conversation_id"]), message["id"], rated)
    return act.reply()


def suggest(act: Action) -> Reply:
    """Suggest what to ask next, for a message that there is."""
    dify.refuse_if_off(act, "suggested_questions_after_answer")
    message = _get_message(act, act.request.path["message_id"])
    return act.reply(query=message["query"])


def speak(act: Action) -> Reply:
    """Read out a message or a text; where both are sent the message counts."""
    dify.refuse_if_off(act, "text_to_speech")
    message_id = act.request.body.get("message_id")
    return act.reply(said=_get_message(act, message_id)["answer"] if message_id else act.request.body["text"])


def listen_to(act: Action) -> Reply:
    """Turn a recording into text."""
    dify.refuse_if_off(act, "speech_to_text")
    return act.reply()


BEHAVIOURS: Mapping[str, Behaviour] = {
    **dify.BEHAVIOURS,
    "sendChatMessage": send_message,
    "stopChatMessage": dify.stop,
    "sendMessageFeedback": give_feedback,
    "listSuggestedQuestions": suggest,
    "listMessages": list_messages,
    "listConversations": list_conversations,
    "renameConversation": rename_conversation,
    "deleteConversation": delete_conversation,
    "convertAudioToText": listen_to,
    "convertTextToAudio": speak,
}
