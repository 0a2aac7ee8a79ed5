"""The chat app: a conversation from its first word to its deletion, and who may see it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from contract_tests.cases.app_inputs import LOCAL, read_file_upload
from contract_tests.journeys import dify
from contract_tests.journeys.chat import (
    build_body,
    join_answer,
    list_conversations,
    list_messages,
    read_ids,
    read_quotations,
    read_usages,
    remove_white_space,
    send_message,
)
from contract_tests.journeys.chat_lists import (
    check_messages,
    check_order,
    check_page_by_page,
    check_pages,
    check_renamed,
)
from contract_tests.journeys.dify import CHAT
from contract_tests.journeys.journey import find_last_event
from contract_tests.suite.not_exercised import NotExercised

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract_tests.journeys.journey import Journey

    Begin = Callable[[str], Journey]

API = "dify-chat"


def test_conversation_goes_on_and_can_be_read_again(begin: Begin) -> None:
    """What was asked and answered, whole and streamed, is what the message list shows, page by page."""
    chat = begin(API)
    user = chat.create_user("talk")
    began = time.monotonic()
    first = send_message(chat, user, "first question")
    conversation = first["conversation_id"].text
    send_message(chat, user, "in another conversation")
    chat.wait_for_next_second(began)
    began = time.monotonic()
    second = send_message(chat, user, "second question", conversation)
    goes_on = "the conversation that goes on,"
    chat.expect_equal("sendChatMessage", goes_on, conversation, second.get("conversation_id"), "004:52-54")
    chat.wait_for_next_second(began)
    streamed = chat.read_events(
        "sendChatMessage", body=build_body(chat, user, "third question", "streaming", conversation)
    )
    end = find_last_event(streamed, "message_end")
    chat.expect_equal("sendChatMessage", goes_on, conversation, end.get("conversation_id"), "004:52-54", "004:110")
    third = end["message_id" if end.has("message_id") else "id"].text
    order = [first["message_id"].text, second["message_id"].text, third]
    listed = check_pages(chat, user, conversation, order)
    expected = [
        ["first question", remove_white_space(first.get("answer")), read_quotations(first)],
        ["second question", remove_white_space(second.get("answer")), read_quotations(second)],
        ["third question", remove_white_space(join_answer(streamed)), read_quotations(end)],
    ]
    check_messages(chat, conversation, dict(zip(order, expected, strict=True)), listed)


def test_messages_of_one_second_are_all_shown(begin: Begin) -> None:
    """Pages show every message of a conversation once, those of the same second too."""
    chat = begin(API)
    user = chat.create_user("hasty")
    first = send_message(chat, user, "question 0")
    conversation = first["conversation_id"].text
    made = chat.create_in_one_second(
        lambda number: send_message(chat, user, f"question {number}", conversation)["message_id"].text,
        lambda: list_messages(chat, user, conversation, limit="100")["data"].rows,
        "created_at",
    )
    check_page_by_page(
        chat, "listMessages", "first_id", [first["message_id"].text, *made], conversation_id=conversation, user=user
    )


def test_conversations_of_one_second_are_all_shown(begin: Begin) -> None:
    """Pages show every conversation once, those of the same second too.

    They are sorted by when they were made: a title that is generated meanwhile may update them.
    """
    chat = begin(API)
    user = chat.create_user("hasty")
    made = chat.create_in_one_second(
        lambda number: send_message(chat, user, f"question {number}")["conversation_id"].text,
        lambda: list_conversations(chat, user, limit="100")["data"].rows,
        "created_at",
    )
    check_page_by_page(chat, "listConversations", "last_id", made, user=user, sort_by="-created_at")


def test_feedback_stays_with_the_message(begin: Begin) -> None:
    """Like, dislike and null are what the message list then shows."""
    chat = begin(API)
    user = chat.create_user("feedback")
    message = send_message(chat, user, "do you like this?")
    conversation, liked = message["conversation_id"].text, message["message_id"].text
    other = send_message(chat, user, "and this?", conversation)["message_id"].text
    for rating in ("like", "dislike", None):
        chat.call("sendMessageFeedback", path={"message_id": liked}, body={"rating": rating, "user": user})
        found = list_messages(chat, user, conversation)["data"].rows
        shown = {row["id"].text: row.get("feedback", "rating") for row in found}
        what = "the feedback that was given,"
        chat.expect_equal("listMessages", what, {liked: rating, other: None}, shown, "004:411-419", "004:528-529")


def test_suggestions_follow_an_answer(begin: Begin) -> None:
    """Questions are suggested for a message that there is."""
    chat = begin(API)
    user = chat.create_user("suggest")
    message = send_message(chat, user, "what next?")["message_id"].text
    found = chat.call("listSuggestedQuestions", path={"message_id": message}, query={"user": user})
    chat.expect_equal("listSuggestedQuestions", "success,", "success", found.get("result"), "004:475-485")


def test_conversations_are_renamed_sorted_and_paged(begin: Begin) -> None:
    """A new name is shown everywhere; each order sorts; pages show every conversation once."""
    chat = begin(API)
    user = chat.create_user("list")
    made = []
    for number in range(3):  # times are whole seconds: only then does an order show
        began = time.monotonic()
        made.append(send_message(chat, user, f"question {number}")["conversation_id"].text)
        chat.wait_for_next_second(began)
    send_message(chat, user, "question 3", made[0])  # the first one is touched last, or both orders would be the same
    renamed = chat.call("renameConversation", path={"conversation_id": made[0]}, body={"name": "renamed", "user": user})
    chat.expect_equal("renameConversation", "the new name,", "renamed", renamed.get("name"), "004:737-739", "004:749")
    chat.expect_equal(
        "renameConversation", "the conversation that was named,", made[0], renamed.get("id"), "004:734", "004:748"
    )
    generated = chat.call(
        "renameConversation", path={"conversation_id": made[1]}, body={"auto_generate": True, "user": user}
    )
    title = generated.get("name")
    chat.expect("renameConversation", "a title that was generated", title, "004:740-742", condition=bool(title))
    for sort_by in ("created_at", "-created_at", "updated_at", "-updated_at", ""):
        query = {"sort_by": sort_by} if sort_by else {}
        found = list_conversations(chat, user, **query)["data"].rows
        check_order(chat, made, found, sort_by or "-updated_at")  # the default, 004:630
        check_renamed(chat, renamed, found)
    check_page_by_page(chat, "listConversations", "last_id", made, user=user)


def test_deleted_conversation_is_gone_everywhere(begin: Begin) -> None:
    """After deletion nothing lists, reads, renames, continues or deletes the conversation."""
    chat = begin(API)
    user = chat.create_user("delete")
    answer, other = send_message(chat, user, "forget this"), send_message(chat, user, "keep this")
    conversation, kept = answer["conversation_id"].text, other["conversation_id"].text
    chat.call("deleteConversation", path={"conversation_id": conversation}, body={"user": user})
    listed = read_ids(list_conversations(chat, user)["data"].rows)
    chat.expect(
        "listConversations", "no deleted conversation", listed, "004:682-690", condition=conversation not in listed
    )
    chat.expect("listConversations", "the other conversation as before", listed, "004:690", condition=kept in listed)
    shown = list_messages(chat, user, kept)["data"].rows
    chat.expect_equal("listMessages", "its message,", 1, len(shown), "004:690", "004:515-526")
    deleted = ("004:682-690",)
    check_conversation_is_refused(chat, user, conversation, "the conversation was deleted", *deleted)
    # That the list does not show its messages is all that is promised of them.
    check_message_is_refused(
        chat,
        user,
        answer["message_id"].text,
        "the conversation was deleted",
        "ruling messages-of-deleted-conversations",
    )


def check_conversation_is_refused(chat: Journey, user: str, conversation: str, why: str, *source: str) -> None:
    """Demand that a user is refused every request with the id of a conversation."""
    path = {"conversation_id": conversation}
    refused: dict[str, Any] = {"refused": "unknown-id", "why": why, "source": source}
    chat.call("listMessages", query={"conversation_id": conversation, "user": user}, **refused)
    chat.call("renameConversation", path=path, body={"name": "x", "user": user}, **refused)
    for mode in ("blocking", "streaming"):
        chat.call("sendChatMessage", body=build_body(chat, user, "still there?", mode, conversation), **refused)
    chat.call("deleteConversation", path=path, body={"user": user}, **refused)


def check_message_is_refused(chat: Journey, user: str, message: str, why: str, *source: str) -> None:
    """Demand that a user is refused every request with the id of a message."""
    refused: dict[str, Any] = {"refused": "unknown-id", "why": why, "source": source}
    chat.call("sendMessageFeedback", path={"message_id": message}, body={"rating": "like", "user": user}, **refused)
    if chat.suite.apps.has_feature(chat.api.name, "suggested_questions"):
        chat.call("listSuggestedQuestions", path={"message_id": message}, query={"user": user}, **refused)


def test_another_user_sees_nothing(begin: Begin) -> None:
    """A conversation is its user's own: another user neither finds nor changes it."""
    chat = begin(API)
    alice, bob = chat.create_user("alice"), chat.create_user("bob")
    answer = send_message(chat, alice, "between us")
    conversation, message = answer["conversation_id"].text, answer["message_id"].text
    listed = read_ids(list_conversations(chat, bob)["data"].rows)
    what = "no conversation of another user"
    chat.expect("listConversations", what, listed, "004:609", "004:620-622", condition=conversation not in listed)
    check_conversation_is_refused(chat, bob, conversation, "the conversation is another user's", "004:48-51", "004:609")
    check_message_is_refused(chat, bob, message, "the message is another user's", "004:48-51", "004:414-416")
    still = read_ids(list_messages(chat, alice, conversation)["data"].rows)
    chat.expect_equal("listMessages", "the conversation as it was,", [message], still, "004:505-507")


def test_another_app_sees_nothing(begin: Begin) -> None:
    """A conversation is its app's own: the same user does not find it with another app's key."""
    chat = begin(API)
    other = chat.use_second_account()
    user = chat.create_user("alice")
    answer = send_message(chat, user, "in this app")
    conversation, message = answer["conversation_id"].text, answer["message_id"].text
    listed = read_ids(list_conversations(other, user)["data"].rows)
    what = "no conversation of another app"
    chat.expect("listConversations", what, listed, "004:51", "004:609", condition=conversation not in listed)
    why = "the conversation is another app's"
    check_conversation_is_refused(other, user, conversation, why, "004:51", "004:609")
    check_message_is_refused(other, user, message, why, "004:51", "004:609")
    still = read_ids(list_messages(chat, user, conversation)["data"].rows)
    chat.expect_equal("listMessages", "the conversation as it was,", [message], still, "004:505-507")


def test_answer_is_stopped_in_mid_stream(begin: Begin) -> None:
    """After stop the stream ends in good order, and the message list has what was said until then."""
    chat = begin(API)
    user = chat.create_user("stop")
    events = dify.stop_run(chat, CHAT, build_body(chat, user, "a long story", "streaming"))
    end = find_last_event(events, "message_end")
    shown = [
        remove_white_space(row.get("answer"))
        for row in list_messages(chat, user, end["conversation_id"].text)["data"].rows
    ]
    lines = ("004:358-373", "004:526")
    chat.expect_equal(
        "listMessages", "the answer as far as it came,", [remove_white_space(join_answer(events))], shown, *lines
    )


def test_another_user_cannot_stop_an_answer(begin: Begin) -> None:
    """Only the user who sent a message can stop its answer."""
    chat = begin(API)
    dify.check_stop_by_other_user(
        chat, CHAT, build_body(chat, chat.create_user("going-on"), "a long story", "streaming")
    )


def test_answer_that_fails_says_so(begin: Begin) -> None:
    """A run that fails ends its stream with an error, or with the message's end."""
    chat = begin(API)
    events = dify.run_failing_flow(
        chat, CHAT, build_body(chat, chat.create_user("failing"), "this will not do", "streaming")
    )
    kinds = [event.kind for event in events]
    condition = bool({"error", "message_end"} & set(kinds))
    what = "an `error` or a `message_end` after a run that failed"
    chat.expect("sendChatMessage", what, kinds[-3:], "004:107", "004:188-189", condition=condition)


def test_required_inputs_are_demanded(begin: Begin) -> None:
    """A message without an input that the form requires is refused at once."""
    chat = begin(API)
    dify.check_required_inputs(chat, CHAT, build_body(chat, chat.create_user("lacking"), "hello"))


def test_required_inputs_are_demanded_of_streams(begin: Begin) -> None:
    """So is one that asks for a stream: a stream that begins and then says nothing is no refusal."""
    chat = begin(API)
    dify.check_required_inputs(chat, CHAT, build_body(chat, chat.create_user("lacking"), "hello", "streaming"))


def test_both_modes_answer_the_same(begin: Begin) -> None:
    """Where the target is deterministic the pieces of the stream add up to the blocking answer."""
    chat = begin(API)
    if not chat.deterministic:
        raise NotExercised("the target is not deterministic")
    user = chat.create_user("modes")
    whole = send_message(chat, user, "the same question")
    streamed = chat.read_events("sendChatMessage", body=build_body(chat, user, "the same question", "streaming"))
    lines = ("004:81", "004:95-100")
    chat.expect_equal(
        "sendChatMessage",
        "the blocking answer,",
        remove_white_space(whole.get("answer")),
        remove_white_space(join_answer(streamed)),
        *lines,
    )
    end = find_last_event(streamed, "message_end")
    expected, used = read_usages(whole, end)
    chat.expect_equal("sendChatMessage", "the usage of the blocking answer,", expected, used, "004:83", "004:112")
    chat.expect_equal(
        "sendChatMessage", "its quotations,", read_quotations(whole), read_quotations(end), "004:84", "004:113"
    )


def test_uploaded_file_goes_into_a_message(begin: Begin) -> None:
    """A picture that was uploaded is among the message's files, as the user's; another user cannot use it."""
    chat = begin(API)
    takes = read_file_upload(chat.suite.apps.read_parameters(chat.api.name).get("file_upload"))
    if takes is None or "image" not in takes.sorts or LOCAL not in takes.methods:
        raise NotExercised("this app takes no pictures with a message")
    user = chat.create_user("picture")
    file = dify.upload_two_files(chat, CHAT, user, "a PNG")
    picture = {"type": "image", "transfer_method": "local_file", "upload_file_id": file["id"].text}
    request = {**build_body(chat, user, "what is this?"), "files": [picture]}
    answer = chat.call("sendChatMessage", body=request)
    dify.check_upload_is_private(chat, CHAT, request)
    rows = list_messages(chat, user, answer["conversation_id"].text)["data"].rows
    entries = [file for row in rows for file in row["message_files"].rows]
    pairs = [[entry.get("type"), entry.get("belongs_to")] for entry in entries]
    of_user = [pair for pair in pairs if pair[1] == "user"]
    chat.expect_equal("listMessages", "the file of the user,", [["image", "user"]], of_user, "004:55-66", "004:521-525")


def test_runs_are_numbered_upwards(begin: Begin) -> None:
    """The run behind an answer has a higher number than the run before it."""
    chat = begin(API)
    dify.check_numbering(chat, CHAT, build_body(chat, chat.create_user("numbers"), "count me", "streaming"))


def test_speech_goes_both_ways(begin: Begin) -> None:
    """What is spoken has a header that fits its bytes; sound is turned into text."""
    chat = begin(API)
    user = chat.create_user("audio")
    file = chat.suite.values.build_example(chat.api.operations["convertAudioToText"], "with-user").body["file"]
    heard = chat.call("convertAudioToText", body={"file": file, "user": user})
    chat.expect(
        "convertAudioToText", "a text", heard.value, "004:805-806", condition=isinstance(heard.get("text"), str)
    )
    message = send_message(chat, user, "say this aloud")["message_id"].text
    for request in ({"text": "hello"}, {"message_id": message}):
        answer = chat.call("convertTextToAudio", body={**request, "user": user}).answer
        assert answer is not None  # `call` ends the journey without one
        sound = answer.body[:12]
        fits = {"audio/wav": sound.startswith(b"RIFF"), "audio/x-wav": sound.startswith(b"RIFF")}
        mp3 = sound.startswith(b"ID3") or (sound[:1] == b"\xff" and sound[1:2] >= b"\xe0")
        condition = fits.get(
            answer.media_type, mp3 if answer.media_type in ("audio/mpeg", "audio/mp3") else bool(sound)
        )
        chat.expect(
            "convertTextToAudio", f"sound that is {answer.media_type}", sound.hex(), "004:862-868", condition=condition
        )
