"""The chat app: a conversation from its first word to its deletion, and who may see it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from contract_tests.journey import Journey, last, left_alone, uploaded
from contract_tests.suite import NotExercised

if TYPE_CHECKING:
    from collections.abc import Callable

    Begin = Callable[[str], Journey]


def body(chat: Journey, user: str, query: str, mode: str = "blocking", conversation: str = "") -> dict[str, Any]:
    """Return a message's request body for this app's form."""
    filled = chat.suite.example(chat.api.operations["sendChatMessage"], "blocking").body
    return {
        **filled,
        "inputs": {**chat.texts(), **filled["inputs"]},
        "user": user,
        "query": query,
        "response_mode": mode,
        "conversation_id": conversation,
    }


def say(chat: Journey, user: str, query: str, conversation: str = "") -> Any:
    """Send a message; return the whole answer."""
    return chat.call("sendChatMessage", body=body(chat, user, query, conversation=conversation)).json


def messages(chat: Journey, user: str, conversation: str, **query: str) -> Any:
    """Return a page of a conversation's messages."""
    return chat.call("listMessages", query={"conversation_id": conversation, "user": user, **query}).json


def test_conversation_goes_on_and_can_be_read_again(begin: Begin) -> None:
    """What was asked and answered, whole and streamed, is what the message list shows, page by page."""
    chat = begin("dify-chat")
    user = chat.user("talk")
    first = say(chat, user, "first question")
    conversation = first["conversation_id"]
    second = say(chat, user, "second question", conversation)
    chat.same("sendChatMessage", "the conversation that goes on,", conversation, second["conversation_id"], "004:52-54")
    streamed = chat.payloads("sendChatMessage", body=body(chat, user, "third question", "streaming", conversation))
    end = last(streamed, "message_end")
    chat.same(
        "sendChatMessage", "the conversation that goes on,", conversation, end["conversation_id"], "004:52-54, 004:110"
    )
    answers = {
        first["message_id"]: ["first question", first["answer"], quoted(first)],
        second["message_id"]: ["second question", second["answer"], quoted(second)],
        end.get("message_id") or end["id"]: ["third question", spoken(streamed), quoted(end)],
    }
    listed = paged(chat, user, conversation)
    inputs = body(chat, user, "first question")["inputs"]
    chat.same(
        "listMessages", "every message once,", sorted(answers), sorted(one["id"] for one in listed), "004:515-532"
    )
    for one in listed:
        if one["id"] in answers:
            chat.same(
                "listMessages",
                "question, answer and quotations as they were,",
                answers[one["id"]],
                [one["query"], one["answer"], one.get("retriever_resources") or []],
                "004:84, 004:95-100, 004:113, 004:520, 004:526, 004:530",
            )
        given = {name: one["inputs"].get(name) for name in inputs}
        chat.same("listMessages", "the inputs as they were,", inputs, given, "004:37-39, 004:519")
        chat.same("listMessages", "the conversation of the message,", conversation, one["conversation_id"], "004:518")


def quoted(answer: Any) -> list[Any]:
    """Return the passages that an answer, or the end of its stream, quotes."""
    return list(answer["metadata"].get("retriever_resources") or [])


def spoken(payloads: list[Any]) -> str:
    """Return the answer that a stream's pieces add up to; what replaces it replaces it."""
    text = ""
    for payload in payloads:
        if payload.get("event") == "message":
            text += payload["answer"]
        elif payload.get("event") == "message_replace":
            text = payload["answer"]
    return text


def paged(chat: Journey, user: str, conversation: str) -> list[Any]:
    """Return all three messages, two at a time; demand that pages go back in time."""
    newest = messages(chat, user, conversation, limit="2")
    chat.same("listMessages", "two messages on a page of two,", 2, len(newest["data"]), "004:511-513")
    chat.same("listMessages", "the limit that was asked for,", 2, newest["limit"], "004:512, 004:532")
    chat.same("listMessages", "`has_more` before the last page,", True, newest["has_more"], "004:531")
    oldest_shown = min(newest["data"], key=lambda one: one["created_at"])
    first = newest["data"][0] if newest["data"][0]["created_at"] <= newest["data"][-1]["created_at"] else oldest_shown
    rest = messages(chat, user, conversation, limit="2", first_id=first["id"])
    chat.same("listMessages", "`has_more` on the last page,", False, rest["has_more"], "004:531")
    times = [one["created_at"] for one in rest["data"]], [one["created_at"] for one in newest["data"]]
    so = max(times[0], default=0) <= min(times[1], default=0)
    chat.holds(
        "listMessages",
        "nothing on an earlier page that is newer than a later page",
        times,
        "004:499, 004:508-510",
        so=so,
    )
    return [*rest["data"], *newest["data"]]


def test_feedback_stays_with_the_message(begin: Begin) -> None:
    """Like, dislike and null are what the message list then shows."""
    chat = begin("dify-chat")
    user = chat.user("feedback")
    message = say(chat, user, "do you like this?")
    other = say(chat, user, "and this?", message["conversation_id"])["message_id"]
    for rating in ("like", "dislike", None):
        chat.call(
            "sendMessageFeedback", path={"message_id": message["message_id"]}, body={"rating": rating, "user": user}
        )
        found = messages(chat, user, message["conversation_id"])["data"]
        shown = {one["id"]: one["feedback"] for one in found}
        expected = {message["message_id"]: {"rating": rating} if rating else None, other: None}
        chat.same("listMessages", "the feedback that was given,", expected, shown, "004:411-419, 004:528-529")


def test_suggestions_follow_an_answer(begin: Begin) -> None:
    """Questions are suggested for a message that there is."""
    chat = begin("dify-chat")
    user = chat.user("suggest")
    message = say(chat, user, "what next?")
    found = chat.call("listSuggestedQuestions", path={"message_id": message["message_id"]}, query={"user": user}).json
    chat.same("listSuggestedQuestions", "success,", "success", found["result"], "004:475-485")


def test_conversations_are_renamed_sorted_and_paged(begin: Begin) -> None:
    """A new name is shown everywhere; each order sorts; pages show every conversation once."""
    chat = begin("dify-chat")
    user = chat.user("list")
    ids = [say(chat, user, "question 0")["conversation_id"]]
    time.sleep(1.1)  # times are whole seconds: only then does an order show
    ids += [say(chat, user, f"question {number}")["conversation_id"] for number in (1, 2)]
    time.sleep(1.1)  # the first one is touched last, or both orders would be the same
    say(chat, user, "question 3", ids[0])
    renamed = chat.call(
        "renameConversation", path={"conversation_id": ids[0]}, body={"name": "renamed", "user": user}
    ).json
    chat.same("renameConversation", "the new name,", "renamed", renamed["name"], "004:737-739, 004:749")
    chat.same("renameConversation", "the conversation that was named,", ids[0], renamed["id"], "004:734, 004:748")
    generated = chat.call(
        "renameConversation", path={"conversation_id": ids[1]}, body={"auto_generate": True, "user": user}
    ).json
    chat.holds(
        "renameConversation", "a title that was generated", generated["name"], "004:740-742", so=bool(generated["name"])
    )
    kept = {name: renamed[name] for name in ("name", "inputs", "status", "created_at")}
    for sort_by in ("created_at", "-created_at", "updated_at", "-updated_at", ""):
        query = {"user": user, "sort_by": sort_by} if sort_by else {"user": user}
        found = chat.call("listConversations", query=query).json["data"]
        chat.same(
            "listConversations",
            "every conversation of the user once,",
            sorted(ids),
            sorted(one["id"] for one in found),
            "004:609-617",
        )
        order = sort_by or "-updated_at"  # the default, 004:630
        times = [one[order.removeprefix("-")] for one in found]
        ordered = sorted(times, reverse=order.startswith("-"))
        chat.same("listConversations", f"times in the order of {order},", ordered, times, "004:629-633")
        shown: dict[str, Any] = next((one for one in found if one["id"] == ids[0]), {})
        told = {name: shown.get(name) for name in kept}
        chat.same("listConversations", "the conversation as renaming told it,", kept, told, "004:636-643, 004:747-754")
        so = shown.get("updated_at", 0) > shown.get("created_at", 0)
        what = "`updated_at` above `created_at` of a conversation that went on"
        chat.holds("listConversations", what, shown, "004:642-643", so=so)
        names = {one["name"] for one in found if one["id"] != ids[0]}
        chat.holds(
            "listConversations", "the other names as they were", sorted(names), "004:732", so="renamed" not in names
        )
    one_by_one(chat, user, ids)


def one_by_one(chat: Journey, user: str, ids: list[str]) -> None:
    """Demand that pages of one conversation each show them all."""
    seen: list[str] = []
    for number in range(len(ids)):
        after = {"last_id": seen[-1]} if seen else {}
        page = chat.call("listConversations", query={"user": user, "limit": "1", **after}).json
        chat.same("listConversations", "the limit that was asked for,", 1, page["limit"], "004:627, 004:645")
        chat.same(
            "listConversations",
            "`has_more` until the last page,",
            number < len(ids) - 1,
            page["has_more"],
            "004:644",
        )
        seen += [one["id"] for one in page["data"]]
    chat.same("listConversations", "every conversation once, over all pages,", sorted(ids), sorted(seen), "004:623-628")


def test_deleted_conversation_is_gone_everywhere(begin: Begin) -> None:
    """After deletion nothing lists, reads, renames, continues or deletes the conversation."""
    chat = begin("dify-chat")
    user = chat.user("delete")
    answer, other = say(chat, user, "forget this"), say(chat, user, "keep this")
    conversation, message = answer["conversation_id"], answer["message_id"]
    chat.call("deleteConversation", path={"conversation_id": conversation}, body={"user": user})
    listed = [one["id"] for one in chat.call("listConversations", query={"user": user}).json["data"]]
    chat.holds("listConversations", "no deleted conversation", listed, "004:682-690", so=conversation not in listed)
    kept = other["conversation_id"]
    chat.holds("listConversations", "the other conversation as before", listed, "004:690", so=kept in listed)
    chat.same("listMessages", "its message,", 1, len(messages(chat, user, kept)["data"]), "004:690, 004:515-526")
    gone(chat, user, conversation, message, {"why": "the conversation was deleted", "source": "004:690"})


def gone(chat: Journey, user: str, conversation: str, message: str, promise: dict[str, str]) -> None:
    """Demand that a user is refused everything about a conversation; what of its messages, no document says."""
    path = {"conversation_id": conversation}
    refused: dict[str, Any] = {"refused": "unknown-id", **promise}
    of_message: dict[str, Any] = {"refused": "unknown-id", "why": promise["why"]}
    chat.call("listMessages", query={"conversation_id": conversation, "user": user}, **refused)
    chat.call("renameConversation", path=path, body={"name": "x", "user": user}, **refused)
    chat.call("sendChatMessage", body=body(chat, user, "still there?", conversation=conversation), **refused)
    chat.call("sendMessageFeedback", path={"message_id": message}, body={"rating": "like", "user": user}, **of_message)
    if chat.suite.has(chat.api.name, "suggested_questions"):
        chat.call("listSuggestedQuestions", path={"message_id": message}, query={"user": user}, **of_message)
    chat.call("deleteConversation", path=path, body={"user": user}, **refused)


def test_another_user_sees_nothing(begin: Begin) -> None:
    """A conversation is its user's own: another user neither finds nor changes it."""
    chat = begin("dify-chat")
    alice, bob = chat.user("alice"), chat.user("bob")
    answer = say(chat, alice, "between us")
    conversation = answer["conversation_id"]
    listed = [one["id"] for one in chat.call("listConversations", query={"user": bob}).json["data"]]
    chat.holds(
        "listConversations", "no conversation of another user", listed, "004:620-622", so=conversation not in listed
    )
    promise = {"why": "the conversation is another user's", "source": "004:505-507, 004:695-697"}
    gone(chat, bob, conversation, answer["message_id"], promise)
    still = messages(chat, alice, conversation)["data"]
    chat.same(
        "listMessages",
        "the conversation as it was,",
        [answer["message_id"]],
        [one["id"] for one in still],
        "004:505-507",
    )


def test_answer_is_stopped_in_mid_stream(begin: Begin) -> None:
    """After stop the stream ends in good order, and the message list has what was said until then."""
    chat = begin("dify-chat")
    user = chat.user("stop")
    asked = body(chat, user, "a long story", "streaming")
    payloads = chat.stopped("sendChatMessage", "stopChatMessage", asked, "004:358-373")
    end = last(payloads, "message_end")
    shown = messages(chat, user, end["conversation_id"])["data"]
    chat.same(
        "listMessages",
        "the answer as far as it came,",
        [spoken(payloads)],
        [one["answer"] for one in shown],
        "004:358-373, 004:526",
    )


def test_another_user_cannot_stop_an_answer(begin: Begin) -> None:
    """Stop wants the user who sent the message."""
    chat = begin("dify-chat")
    asked = body(chat, chat.user("going-on"), "a long story", "streaming")
    left_alone(chat, "sendChatMessage", "stopChatMessage", asked, "004:370-371")


def test_both_modes_answer_the_same(begin: Begin) -> None:
    """Where the target is deterministic the pieces of the stream add up to the blocking answer."""
    chat = begin("dify-chat")
    if not chat.deterministic:
        raise NotExercised("the target is not deterministic")
    user = chat.user("modes")
    whole = say(chat, user, "the same question")
    streamed = chat.payloads("sendChatMessage", body=body(chat, user, "the same question", "streaming"))
    chat.same("sendChatMessage", "the blocking answer,", whole["answer"], spoken(streamed), "004:81, 004:95-100")
    end = last(streamed, "message_end")
    expected, used = ({**one["metadata"]["usage"], "latency": 0} for one in (whole, end))
    chat.same("sendChatMessage", "the usage of the blocking answer,", expected, used, "004:83, 004:112")
    chat.same("sendChatMessage", "its quotations,", quoted(whole), quoted(end), "004:84, 004:113")


def test_uploaded_file_goes_into_a_message(begin: Begin) -> None:
    """A file that was uploaded is told as it was sent, and stands as the user's among the files of the message."""
    chat = begin("dify-chat")
    user = chat.user("upload")
    file = uploaded(chat, user, "a PNG")
    one = {"type": "image", "transfer_method": "local_file", "upload_file_id": file["id"]}
    answer = chat.call("sendChatMessage", body={**body(chat, user, "what is this?"), "files": [one]}).json
    (shown, *_) = messages(chat, user, answer["conversation_id"])["data"]
    why = "an upload is for its own user only (004:303)"
    source = "004:303, ruling dify-workflow/uploads-belong-to-their-user"
    refused: dict[str, Any] = {"refused": "invalid-request", "why": why, "source": source}
    chat.call("sendChatMessage", body={**body(chat, chat.user("other"), "what is this?"), "files": [one]}, **refused)
    told = [[one["type"], one["belongs_to"]] for one in shown["message_files"] if one["belongs_to"] == "user"]
    chat.same("listMessages", "the file of the user,", [["image", "user"]], told, "004:55-66, 004:521-525")


def test_runs_are_numbered_upwards(begin: Begin) -> None:
    """The run behind an answer has a higher number than the run before it."""
    chat = begin("dify-chat")
    asked = body(chat, chat.user("numbers"), "count me", "streaming")
    runs = [last(chat.payloads("sendChatMessage", body=asked), "workflow_started") for _ in range(2)]
    first, second = (run["data"].get("sequence_number") for run in runs)
    if first is None or second is None:
        raise NotExercised("the target does not number its runs")  # which the stream's own judge tells
    chat.holds("sendChatMessage", f"a `sequence_number` above {first}", second, "004:138", so=second > first)


def test_speech_goes_both_ways(begin: Begin) -> None:
    """What is spoken has a header that fits its bytes; sound is turned into text."""
    chat = begin("dify-chat")
    user = chat.user("audio")
    heard = chat.call(
        "convertAudioToText",
        body={
            "file": chat.suite.example(chat.api.operations["convertAudioToText"], "with-user").body["file"],
            "user": user,
        },
    )
    chat.holds("convertAudioToText", "a text", heard.json, "004:805-806", so=isinstance(heard.json.get("text"), str))
    message = say(chat, user, "say this aloud")
    for request in ({"text": "hello"}, {"message_id": message["message_id"]}):
        answer = chat.call("convertTextToAudio", body={**request, "user": user}).answer
        assert answer is not None  # `call` ends the journey without one
        sound = answer.body[:12]
        fits = {"audio/wav": sound.startswith(b"RIFF"), "audio/x-wav": sound.startswith(b"RIFF")}
        mp3 = sound.startswith(b"ID3") or (sound[:1] == b"\xff" and sound[1:2] >= b"\xe0")
        so = fits.get(answer.media_type, mp3 if answer.media_type in ("audio/mpeg", "audio/mp3") else bool(sound))
        chat.holds("convertTextToAudio", f"sound that is {answer.media_type}", sound.hex(), "004:862-868", so=so)
