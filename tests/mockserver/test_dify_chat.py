"""The chat app over an afternoon: talk, stop, read again, rate, rename, delete, listen and speak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from mock_users import Live, User

from flowcontract import paths, yamlio
from flowcontract.lint import media

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mock_calls import Answer, Caller

LATER = 1_732_147_200  # the tests' clock


@pytest.fixture
def chat(mock: Caller, request: pytest.FixtureRequest) -> User:
    """Return a user of the chat app who has said nothing yet, in a world that no other test sees."""
    return User(mock, "dify-chat", f"-{abs(hash(request.node.nodeid))}", name="ann")


def ask(chat: User, query: str = "How large is it?", prefer: str = "", **body: Any) -> Answer:
    """Ask a question, blocking unless the body says otherwise."""
    body = {"query": query, "inputs": {}, "response_mode": "blocking", **body}
    return chat.call("sendChatMessage", body, headers={"Prefer": f"example={prefer}"} if prefer else {})


def begin(chat: User, query: str = "How large is it?", **body: Any) -> str:
    """Begin a conversation and return its id."""
    return str(ask(chat, query, **body).json["conversation_id"])


def messages(chat: User, conversation: str, **query: Any) -> Any:
    """Return a page of a conversation."""
    query = {"user": chat.name, "conversation_id": conversation, **query}
    return chat.call("listMessages", query=query).json


def conversations(chat: User, **query: Any) -> Any:
    """Return a page of the user's conversations."""
    return chat.call("listConversations", query={"user": chat.name, **query}).json


def refused(answer: Answer, status: int, code: str) -> bool:
    """Tell whether an answer is this refusal."""
    return (answer.status, answer.json["code"]) == (status, code)


@pytest.mark.parametrize("mode", ["blocking", "streaming"])
@pytest.mark.parametrize("empty", [{"conversation_id": ""}, {}], ids=["empty", "absent"])
def test_conversation_starts_with_an_empty_id_and_goes_on_with_its_own(
    chat: User, mode: str, empty: dict[str, str]
) -> None:
    """The same conversation id comes back, each message has an id of its own, and the older one stands first."""
    first = begin(chat, "one", **empty)
    answer = ask(chat, "two", response_mode=mode, conversation_id=first)
    ids = (
        {event["conversation_id"] for event in answer.events}
        if mode == "streaming"
        else {answer.json["conversation_id"]}
    )
    assert ids == {first}
    page = messages(chat, first)
    assert [one["query"] for one in page["data"]] == ["one", "two"]
    assert len({one["id"] for one in page["data"]}) == 2
    assert conversations(chat)["data"][0]["id"] == first


@pytest.mark.parametrize("mode", ["blocking", "streaming"])
@pytest.mark.parametrize("whose", ["eve's", "nobody's"])
def test_conversation_of_another_user_or_unknown_is_not_found(chat: User, mode: str, whose: str) -> None:
    """Neither can it be continued nor read, renamed, or deleted."""
    eve = User(chat.mock, "dify-chat", chat.suffix, name="eve")
    conversation = begin(eve) if whose == "eve's" else "00000000-0000-4000-8000-000000000000"
    assert ask(chat, conversation_id=conversation, response_mode=mode).status == 404
    page = chat.call("listMessages", query={"user": "ann", "conversation_id": conversation})
    assert refused(page, 404, "not_found")
    rename = chat.call("renameConversation", {"name": "mine"}, conversation_id=conversation)
    assert refused(rename, 404, "not_found")
    assert refused(chat.call("deleteConversation", {}, conversation_id=conversation), 404, "not_found")
    assert conversations(chat)["data"] == []
    if whose == "eve's":
        assert [one["name"] for one in conversations(eve)["data"]] == ["How large is it?"]


def test_messages_page_backwards_with_first_id(chat: User) -> None:
    """Every page goes on where the one before it began; each message comes once, whatever the limit."""
    conversation = begin(chat, "0")
    for number in range(1, 7):
        ask(chat, str(number), conversation_id=conversation)
    for limit in (1, 2, 3, 7, 100):
        seen: list[str] = []
        first = None
        while True:
            page = messages(chat, conversation, limit=limit, first_id=first)
            assert page["limit"] == limit
            seen = [one["query"] for one in page["data"]] + seen
            if not page["has_more"]:
                break
            first = page["data"][0]["id"]
        assert seen == list("0123456")
    oldest = messages(chat, conversation)["data"][0]["id"]
    assert messages(chat, conversation, first_id=oldest) == {"limit": 20, "has_more": False, "data": []}


def test_first_id_of_another_conversation_is_not_found(chat: User) -> None:
    """A page begins only at a message of its own conversation."""
    one, other = begin(chat, "one"), begin(chat, "other")
    foreign = messages(chat, other)["data"][0]["id"]
    answer = chat.call("listMessages", query={"user": "ann", "conversation_id": one, "first_id": foreign})
    assert refused(answer, 404, "not_found")


SORTED = {"created_at": "012", "-created_at": "210", "updated_at": "120", "-updated_at": "021"}


@pytest.mark.parametrize("sort_by", [*SORTED, None])
@pytest.mark.parametrize("limit", [1, 2, 3, 20])
def test_conversations_page_with_last_id_in_every_order(
    make_app: Callable[..., Caller], sort_by: str, limit: int
) -> None:
    """Three conversations, the first of them talked in again; without an order the last change comes first."""
    chat = User(make_app("dify-chat"), "dify-chat", name="ann")
    chat.mock.now = LATER
    made = []
    for number in range(3):
        chat.mock.now += 60
        made.append(begin(chat, str(number)))
    chat.mock.now += 60
    ask(chat, "again", conversation_id=made[0])
    seen: list[str] = []
    last = None
    while True:
        page = conversations(chat, sort_by=sort_by, limit=limit, last_id=last)
        seen += [one["name"] for one in page["data"]]
        if not page["has_more"]:
            break
        last = page["data"][-1]["id"]
    assert "".join(seen) == SORTED.get(sort_by, SORTED["-updated_at"])


@pytest.mark.parametrize("operation", ["listConversations", "listMessages"])
@pytest.mark.parametrize("limit", ["0", "-1", "ten", "1.5", "999999"])
def test_limit_is_clamped_above_and_refused_below(chat: User, operation: str, limit: str) -> None:
    """Over the maximum the answer is that of the maximum; below 1, or no number, is `invalid_param`."""
    query = {"user": "ann", "limit": limit, "conversation_id": begin(chat) if operation == "listMessages" else None}
    answer = chat.call(operation, query=query)
    if limit == "999999":
        assert (answer.status, answer.json["limit"]) == (200, 100)
    else:
        assert refused(answer, 400, "invalid_param")


def test_unknown_order_or_last_id_is_refused(chat: User) -> None:
    """An order that no document names is `invalid_param`, an id that is not in the list is not found, or no id."""
    assert refused(chat.call("listConversations", query={"user": "ann", "sort_by": "name"}), 400, "invalid_param")
    eve = User(chat.mock, "dify-chat", chat.suffix, name="eve")
    for last, status, code in (("nowhere", 400, "invalid_param"), (begin(eve), 404, "not_found")):
        assert refused(chat.call("listConversations", query={"user": "ann", "last_id": last}), status, code)


def test_conversation_is_renamed_by_hand_or_by_itself(chat: User) -> None:
    """The name that was sent, or one made of the first question; the list shows it, and the rest stays."""
    conversation = begin(
        chat, "How long\ndoes the battery of this very large telephone last?", auto_generate_name=False
    )
    before = conversations(chat)["data"][0]
    assert before["name"] == "New conversation"
    for body, name in (
        ({"name": "Akku 🔋"}, "Akku 🔋"),
        ({"name": "", "auto_generate": True}, "How long does the battery of this very l..."),
        ({"auto_generate": True}, "How long does the battery of this very l..."),
        ({"name": "By hand", "auto_generate": False}, "By hand"),
    ):
        renamed = chat.call("renameConversation", body, conversation_id=conversation).json
        assert renamed["name"] == name
        assert renamed == conversations(chat)["data"][0]
        assert {**renamed, "name": 0, "updated_at": 0} == {**before, "name": 0, "updated_at": 0}


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"auto_generate": False}, {"name": None}])
def test_renaming_needs_a_name_or_auto_generate(chat: User, body: dict[str, Any]) -> None:
    """Neither of them is `invalid_param`."""
    answer = chat.call("renameConversation", body, conversation_id=begin(chat))
    assert refused(answer, 400, "invalid_param")


def test_nothing_of_a_deleted_conversation_is_served(chat: User) -> None:
    """Its messages, its name, what was thought and suggested of it, its sound; the others stay."""
    kept, conversation = begin(chat, "kept"), begin(chat, "forget me")
    message = messages(chat, conversation)["data"][0]["id"]
    assert chat.call("deleteConversation", {}, conversation_id=conversation).json == {"result": "success"}
    asked = [
        chat.call("deleteConversation", {}, conversation_id=conversation),
        chat.call("renameConversation", {"name": "n"}, conversation_id=conversation),
        chat.call("listMessages", query={"user": "ann", "conversation_id": conversation}),
        chat.call("sendMessageFeedback", {"rating": "like"}, message_id=message),
        chat.call("listSuggestedQuestions", query={"user": "ann"}, message_id=message),
        chat.call("convertTextToAudio", {"message_id": message}),
        chat.call("listConversations", query={"user": "ann", "last_id": conversation}),
        ask(chat, conversation_id=conversation),
    ]
    assert [answer.status for answer in asked] == [404] * len(asked)
    assert [one["id"] for one in conversations(chat)["data"]] == [kept]


def test_conversation_that_is_deleted_while_it_is_answered_stays_deleted(chat: User) -> None:
    """What the stream still says goes nowhere."""
    body = {"query": "?", "inputs": {}, "response_mode": "streaming"}
    live = Live(chat.open("sendChatMessage", body).body)
    event = live.step("message")
    chat.call("deleteConversation", {}, conversation_id=event["conversation_id"])
    assert live.rest()[-1]["event"] == "message_end"
    assert conversations(chat)["data"] == []
    feedback = chat.call("sendMessageFeedback", {"rating": "like"}, message_id=event["message_id"])
    assert feedback.status == 404


def test_feedback_is_seen_in_the_message(chat: User) -> None:
    """Like, dislike and null, in turn; each replaces the one before, and other messages have none."""
    conversation = begin(chat)
    ask(chat, "two", conversation_id=conversation)
    first = messages(chat, conversation)["data"][0]["id"]
    for rating in ("like", "dislike", None, "dislike"):
        assert chat.call("sendMessageFeedback", {"rating": rating}, message_id=first).json == {"result": "success"}
        shown = [one["feedback"] for one in messages(chat, conversation)["data"]]
        assert shown == [rating and {"rating": rating}, None]


@pytest.mark.parametrize("rating", ["love", 1, ""])
def test_feedback_is_like_dislike_or_null(chat: User, rating: Any) -> None:
    """Anything else is `invalid_param`, and changes nothing."""
    conversation = begin(chat)
    message = messages(chat, conversation)["data"][0]["id"]
    answer = chat.call("sendMessageFeedback", {"rating": rating}, message_id=message)
    assert refused(answer, 400, "invalid_param")
    assert messages(chat, conversation)["data"][0]["feedback"] is None


def test_another_user_neither_rates_nor_hears_nor_gets_suggestions(chat: User) -> None:
    """Messages belong to who asked."""
    message = ask(chat).json["message_id"]
    eve = User(chat.mock, "dify-chat", chat.suffix, name="eve")
    assert eve.call("sendMessageFeedback", {"rating": "like"}, message_id=message).status == 404
    assert eve.call("listSuggestedQuestions", query={"user": "eve"}, message_id=message).status == 404
    assert eve.call("convertTextToAudio", {"message_id": message}).status == 404


def test_suggested_questions_are_about_the_question(chat: User) -> None:
    """What is suggested goes on from what was asked."""
    message = ask(chat, "Wie groß ist es?").json["message_id"]
    suggested = chat.call("listSuggestedQuestions", query={"user": "ann"}, message_id=message).json
    assert suggested["result"] == "success"
    assert "Wie groß ist es?" in suggested["data"][0]


@pytest.mark.parametrize("pace", [1.0, 50.0])
@pytest.mark.parametrize("until", ["workflow_started", "message"])
def test_stopped_answer_ends_at_once_and_keeps_what_was_said(
    make_app: Callable[..., Caller], until: str, pace: float
) -> None:
    """Within 100 ms the stream ends as the contract wants it, and the message is what had come until then."""
    chat = User(make_app("dify-chat", pace=pace), "dify-chat", name="ann")
    live = Live(chat.open("sendChatMessage", {"query": "?", "inputs": {}, "response_mode": "streaming"}).body)
    event = live.step(until)
    asked = live.now
    eve = User(chat.mock, "dify-chat", name="eve")
    assert eve.call("stopChatMessage", {}, task_id=event["task_id"]).json == {"result": "success"}
    assert chat.call("stopChatMessage", {}, task_id=event["task_id"]).json == {"result": "success"}
    rest = live.rest()
    assert live.now - asked <= 0.1
    assert [one["event"] for one in rest] == ["workflow_finished", "message_end"]
    assert rest[0]["data"]["status"] == "stopped"
    message = messages(chat, event["conversation_id"])["data"][0]
    assert message["answer"] == event.get("answer", "")


@pytest.mark.parametrize("kind", ["mp3", "mp4", "mpeg", "mpga", "m4a", "wav", "webm"])
@pytest.mark.parametrize("typed", [True, False], ids=["typed", "by name"])
def test_each_documented_sound_becomes_text(chat: User, kind: str, typed: bool) -> None:
    """All seven formats, told by their type or, where the client knows none, by the file's name."""
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="speech.{kind}"\r\n'
    head += f"Content-Type: {f'audio/{kind}' if typed else 'application/octet-stream'}\r\n\r\n"
    answer = chat.mock.ask(
        "POST",
        "/v1/audio-to-text",
        key="app-chat",
        body=head.encode() + b"sound\r\n--b--\r\n",
        Content_Type="multipart/form-data; boundary=b",
    )
    assert answer.status == 200
    assert f"speech.{kind}" in answer.json["text"]


@pytest.mark.parametrize(
    ("file", "status", "code"),
    [
        (("speech.wav", b"x" * (15 << 20)), 200, None),
        (("speech.wav", b"x" * ((15 << 20) + 1)), 413, "audio_too_large"),
        (("speech.txt", b"x"), 415, "unsupported_audio_type"),
        (("speech.flac", b"x"), 415, "unsupported_audio_type"),
        ("not a file", 400, "bad_request_key_error"),
    ],
    ids=["15 MB", "more", "text", "flac", "no file"],
)
def test_sound_is_limited_in_size_and_type(chat: User, file: Any, status: int, code: str | None) -> None:
    """15 MB are accepted, a byte more is not; other types, and no file, have their own codes."""
    answer = chat.call("convertAudioToText", form={"file": file})
    assert (answer.status, answer.json.get("code")) == (status, code)


def test_text_becomes_a_sound_that_plays(chat: User, tmp_path: Path) -> None:
    """The bytes are what the header says, whether a message or a text is read out."""
    message = ask(chat).json["message_id"]
    for body in ({"text": "hello"}, {"message_id": message}, {"message_id": message, "text": "hello"}):
        answer = chat.call("convertTextToAudio", body)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "audio/mpeg")
        (tmp_path / "sound.mp3").write_bytes(answer.body)
        assert not media.find_error(tmp_path / "sound.mp3")


def test_message_id_wins_over_text(chat: User) -> None:
    """A message that is not there is not found, although there would be a text; neither of both is `invalid_param`."""
    body = {"message_id": "00000000-0000-4000-8000-000000000000", "text": "hello"}
    assert refused(chat.call("convertTextToAudio", body), 404, "not_found")
    assert refused(chat.call("convertTextToAudio", {}), 400, "invalid_param")


def said(events: list[dict[str, Any]]) -> str:
    """Return what a stream's messages add up to, a replacement in their place."""
    answer = ""
    for event in events:
        if event["event"] == "message":
            answer += event["answer"]
        elif event["event"] == "message_replace":
            answer = event["answer"]
    return answer


@pytest.mark.parametrize("query", ["How large is it?", "它有多大", "a\nb\n\nc  ", "x" * 3000])
def test_stream_adds_up_to_the_blocking_answer_and_to_the_message(chat: User, query: str) -> None:
    """The pieces joined are the blocking answer, and what `/messages` shows of either."""
    events = ask(chat, query, response_mode="streaming").events
    blocking = ask(chat, query).json
    assert said(events) == blocking["answer"]
    for conversation in (events[0]["conversation_id"], blocking["conversation_id"]):
        assert messages(chat, conversation)["data"][0]["answer"] == blocking["answer"]
    end = next(event for event in events if event["event"] == "message_end")
    shown = messages(chat, events[0]["conversation_id"])["data"][0]
    assert shown["id"] == end["message_id"]
    assert shown["retriever_resources"] == end["metadata"]["retriever_resources"]


@pytest.mark.parametrize(
    "scenario",
    [
        "default-streaming",
        "answer-node-order",
        "llm-order",
        "newer-order",
        "message-replaced",
        "moderated",
        "parallel-branches",
        "stopped",
        "tts",
        "with-file",
        "documented-streaming",
        "provider-quota-exceeded",
        "node-failed-then-error",
    ],
)
def test_message_is_what_its_stream_said(chat: User, scenario: str) -> None:
    """Whatever a stream says, replaces, shows, speaks or fails with: `/messages` has the message it amounts to."""
    user = User(chat.mock, "dify-chat", chat.suffix, name="abc-123")
    events = ask(user, "What now?", prefer=scenario, response_mode="streaming").events
    named = next(event for event in events if event.get("message_id") and event.get("conversation_id"))
    (shown,) = (one for one in messages(user, named["conversation_id"])["data"] if one["id"] == named["message_id"])
    assert shown["query"] == "What now?"
    assert shown["answer"] == said(events)
    files = [event["id"] for event in events if event["event"] == "message_file"]
    assert [file["id"] for file in shown["message_files"]] == files
    errors = [event["message"] for event in events if event["event"] == "error"]
    assert (shown["status"], shown["error"]) == (("error", errors[0]) if errors else ("normal", None))


def test_each_kind_of_stream_is_among_these(chat: User) -> None:
    """The scenarios above do replace, show a file, speak and fail."""
    kinds = {"message-replaced": "message_replace", "with-file": "message_file", "tts": "tts_message"}
    kinds |= {"provider-quota-exceeded": "error", "node-failed-then-error": "error"}
    for scenario, kind in kinds.items():
        events = ask(chat, prefer=scenario, response_mode="streaming").events
        assert kind in [event["event"] for event in events], scenario


@pytest.mark.parametrize("mode", ["blocking", "streaming"])
def test_inputs_and_files_are_kept_with_the_message(chat: User, mode: str) -> None:
    """What was put in and handed over can be read again; the conversation has the inputs that it began with."""
    uploaded = chat.call("uploadFile", form={"file": ("photo.png", b"\x89PNG")}).json["id"]
    files = [
        {"type": "image", "transfer_method": "local_file", "upload_file_id": uploaded},
        {"type": "document", "transfer_method": "remote_url", "url": "https://example.com/a.pdf"},
    ]
    ask(chat, "see", inputs={"name": "Ann", "more": [1, {"a": None}]}, files=files, response_mode=mode)
    conversation = conversations(chat)["data"][0]
    assert conversation["inputs"] == {"name": "Ann", "more": [1, {"a": None}]}
    ask(chat, "and now?", conversation_id=conversation["id"], inputs={"name": "Bob"}, response_mode=mode)
    first, second = messages(chat, conversation["id"])["data"]
    assert (first["inputs"], second["inputs"]) == ({"name": "Ann", "more": [1, {"a": None}]}, {"name": "Bob"})
    assert [(file["type"], file["belongs_to"]) for file in first["message_files"]] == [
        ("image", "user"),
        ("document", "user"),
    ]
    assert uploaded in first["message_files"][0]["url"]
    assert first["message_files"][1]["url"] == "https://example.com/a.pdf"
    assert second["message_files"] == []
    assert conversations(chat)["data"][0]["inputs"]["name"] == "Ann"


def test_files_are_those_of_the_user_and_no_more_images_than_announced(chat: User) -> None:
    """A foreign or unknown file, one that is called what it is not, and a fourth picture are `invalid_param`."""
    eve = User(chat.mock, "dify-chat", chat.suffix, name="eve")
    foreign = eve.call("uploadFile", form={"file": ("photo.png", b"x")}).json["id"]
    own = chat.call("uploadFile", form={"file": ("photo.png", b"x")}).json["id"]
    local = {"type": "image", "transfer_method": "local_file"}
    wrong = [
        [{**local, "upload_file_id": foreign}],
        [{**local, "upload_file_id": "00000000-0000-4000-8000-000000000000"}],
        [{**local, "upload_file_id": own, "type": "video"}],
        [{"type": "image", "transfer_method": "remote_url", "url": "https://example.com/a.png"}] * 4,
    ]
    for files in wrong:
        assert refused(ask(chat, files=files), 400, "invalid_param")
    assert ask(chat, files=[{**local, "upload_file_id": own}]).status == 200


def test_scenario_of_ones_own_that_matches_the_body_answers(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """The user's own words come before any default, and are kept like them."""
    folder = tmp_path / "dify-chat" / "sendChatMessage"
    folder.mkdir(parents=True)
    scenario = yamlio.load(paths.find_fixtures_root() / "dify-chat" / "sendChatMessage" / "200-default.yaml")
    scenario["request"] = {"body": {"query": "hello"}}
    scenario["reply"]["body"]["answer"] = "Hello, {$request.body#/user}!"
    (folder / "200-greeting.yaml").write_text(yaml.safe_dump(scenario), encoding="utf-8")
    chat = User(make_app("dify-chat", fixtures=tmp_path), "dify-chat", name="ann")
    greeting = ask(chat, "hello").json
    assert greeting["answer"] == "Hello, ann!"
    assert messages(chat, greeting["conversation_id"])["data"][0]["answer"] == "Hello, ann!"
    assert ask(chat, "goodbye").json["answer"] != "Hello, ann!"


def test_two_texts_have_two_sounds_and_a_message_wins_over_a_text(chat: User) -> None:
    """Nobody mistakes the one for the other; the sound of a message is that of its answer (004:837-842)."""

    def sound(**body: str) -> bytes:
        answer = chat.call("convertTextToAudio", body)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "audio/mpeg")
        return answer.body

    said = chat.call("sendChatMessage", {"query": "hello", "inputs": {}}).json
    message = said["message_id"]
    sounds = [sound(text=text) for text in ("a", "b", "你好", "a long text " * 200, "a long text " * 200 + "x")]
    assert len(set(sounds)) == len(sounds)
    assert sound(text="a") == sounds[0]
    assert sound(message_id=message, text="a") == sound(message_id=message) == sound(text=said["answer"]) != sounds[0]


def test_every_sound_is_an_mp3_that_plays(chat: User, tmp_path: Path) -> None:
    """Whole frames in a row, none of which borrows bits from another."""
    path = tmp_path / "sound.mp3"
    path.write_bytes(chat.call("convertTextToAudio", {"text": "hello"}).body)
    assert media.find_error(path) is None
    assert {path.read_bytes()[start + 4] for start in range(0, path.stat().st_size, 180)} == {0}
