"""What a user does with a server over several requests: reads agree with writes."""

from __future__ import annotations

import json
import mimetypes
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mock_calls import Answer, Caller

USER = {"user": "abc-123"}


class Chat:
    """The chat app with a key of its own."""

    def __init__(self, mock: Caller, key: str) -> None:
        self.mock, self.key = mock, key

    def say(self, query: str, mode: str = "blocking", **more: Any) -> Answer:
        """Send a chat message."""
        body = {"query": query, "inputs": {}, "response_mode": mode, **USER, **more}
        return self.mock.ask("POST", "/v1/chat-messages", key=self.key, json_body=body)

    def get(self, path: str) -> Any:
        """Return the JSON of a read that succeeds."""
        answer = self.mock.ask("GET", path, key=self.key)
        assert answer.status == 200, answer.body
        return answer.json

    def messages(self, conversation: str, query: str = "") -> Any:
        """Return a page of a conversation."""
        return self.get(f"/v1/messages?user=abc-123&conversation_id={conversation}{query}")

    def send(self, method: str, path: str, body: Any) -> Answer:
        """Send JSON."""
        return self.mock.ask(method, path, key=self.key, json_body=body)


@pytest.fixture
def chat(mock: Caller, request: pytest.FixtureRequest) -> Chat:
    """Return a chat app in a world that no other test sees."""
    return Chat(mock, f"app-chat-{abs(hash(request.node.nodeid))}")


def test_conversation_goes_on_under_its_id(chat: Chat) -> None:
    """An empty id starts a conversation, its own id continues it, and both exchanges can be read, the older first."""
    first = chat.say("first question", conversation_id="").json
    second = chat.say("second question", conversation_id=first["conversation_id"]).json
    assert second["conversation_id"] == first["conversation_id"]
    assert second["message_id"] != first["message_id"]
    page = chat.messages(first["conversation_id"])
    assert [one["query"] for one in page["data"]] == ["first question", "second question"]
    assert [one["answer"] for one in page["data"]] == [first["answer"], second["answer"]]


def test_streamed_answer_is_what_can_be_read_later(chat: Chat) -> None:
    """The pieces of a stream, joined, are the answer in the list of messages."""
    events = chat.say("stream it", "streaming").events
    said = "".join(event["answer"] for event in events if event["event"] == "message")
    conversation = events[0]["conversation_id"]
    message = chat.messages(conversation)["data"][0]
    assert message["answer"] == said
    assert message["id"] == next(event["message_id"] for event in events if event["event"] == "message_end")


def test_blocking_and_streaming_say_the_same(chat: Chat) -> None:
    """One question has one answer, whichever way it comes."""
    events = chat.say("same?", "streaming").events
    assert (
        "".join(event["answer"] for event in events if event["event"] == "message") == chat.say("same?").json["answer"]
    )


def test_messages_page_backwards(chat: Chat) -> None:
    """`first_id` asks for what was said before it; within a page time goes forward."""
    conversation = chat.say("q0").json["conversation_id"]
    for number in range(1, 5):
        chat.say(f"q{number}", conversation_id=conversation)
    newest = chat.messages(conversation, "&limit=2")
    assert ([one["query"] for one in newest["data"]], newest["has_more"]) == (["q3", "q4"], True)
    older = chat.messages(conversation, f"&limit=2&first_id={newest['data'][0]['id']}")
    assert ([one["query"] for one in older["data"]], older["has_more"]) == (["q1", "q2"], True)
    oldest = chat.messages(conversation, f"&limit=2&first_id={older['data'][0]['id']}")
    assert ([one["query"] for one in oldest["data"]], oldest["has_more"]) == (["q0"], False)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "/v1/messages?user=abc-123&conversation_id=cd78daf6-f9e4-4463-9ff2-54257230a0ce&first_id=00000000-0000-4000-8000-000000000000",
            "First Message",
        ),
        ("/v1/conversations?user=abc-123&last_id=00000000-0000-4000-8000-000000000000", "Last Conversation"),
    ],
)
def test_page_behind_nothing_is_not_found(chat: Chat, path: str, told: str) -> None:
    """An id to go on from that is not there has its own words."""
    answer = chat.mock.ask("GET", path, key=chat.key)
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert told in answer.json["message"]


def test_conversations_page_and_sort(chat: Chat) -> None:
    """Each conversation comes once over all pages, in the order that was asked for."""
    made = [chat.say(f"question {number}", user="pager").json["conversation_id"] for number in range(5)]
    seen: list[str] = []
    last = ""
    while True:
        page = chat.get(f"/v1/conversations?user=pager&limit=2&sort_by=created_at&last_id={last}")
        seen += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        last = seen[-1]
    assert seen == made
    assert [one["id"] for one in chat.get("/v1/conversations?user=pager")["data"]] == made[::-1]


def test_renamed_conversation_has_its_new_name(chat: Chat) -> None:
    """A name that was given, and one that is made from the first question."""
    conversation = chat.say("How long does the battery last?").json["conversation_id"]
    path = f"/v1/conversations/{conversation}/name"
    assert chat.send("POST", path, {"name": "Battery", **USER}).json["name"] == "Battery"
    listed = {one["id"]: one["name"] for one in chat.get("/v1/conversations?user=abc-123")["data"]}
    assert listed[conversation] == "Battery"
    generated = chat.send("POST", path, {"name": "", "auto_generate": True, **USER}).json["name"]
    assert generated == "How long does the battery last?"


def test_nothing_of_a_deleted_conversation_is_served(chat: Chat) -> None:
    """Its messages, its name, its feedback and itself are gone, and a second delete says so."""
    said = chat.say("forget me").json
    path = f"/v1/conversations/{said['conversation_id']}"
    assert chat.send("DELETE", path, USER).json == {"result": "success"}
    assert chat.send("DELETE", path, USER).status == 404
    assert chat.send("POST", f"{path}/name", {"name": "n", **USER}).status == 404
    assert chat.send("POST", f"/v1/messages/{said['message_id']}/feedbacks", {"rating": "like", **USER}).status == 404
    assert (
        chat.mock.ask(
            "GET", f"/v1/messages?user=abc-123&conversation_id={said['conversation_id']}", key=chat.key
        ).status
        == 404
    )
    assert chat.say("still there?", conversation_id=said["conversation_id"]).status == 404


@pytest.mark.parametrize("rating", ["like", "dislike", None])
def test_feedback_is_seen_in_the_message(chat: Chat, rating: str | None) -> None:
    """A thumb up or down is kept, null takes it back."""
    said = chat.say("rate me").json
    for given in ("like", rating):
        answer = chat.send("POST", f"/v1/messages/{said['message_id']}/feedbacks", {"rating": given, **USER})
        assert answer.json == {"result": "success"}
    shown = chat.messages(said["conversation_id"])["data"][0]["feedback"]
    assert shown == (rating and {"rating": rating})


def test_other_users_see_nothing(chat: Chat) -> None:
    """Conversations and messages belong to the user who began them."""
    said = chat.say("secret").json
    assert (
        chat.mock.ask("GET", f"/v1/messages?user=eve&conversation_id={said['conversation_id']}", key=chat.key).status
        == 404
    )
    assert chat.say("let me in", conversation_id=said["conversation_id"], user="eve").status == 404
    assert chat.get("/v1/conversations?user=eve")["data"] == []


def test_keys_have_worlds_of_their_own(mock: Caller) -> None:
    """What happens under one key is unknown to another."""
    one, other = Chat(mock, "app-chat-one"), Chat(mock, "app-chat-other")
    said = one.say("hello").json
    assert (
        other.mock.ask(
            "GET", f"/v1/messages?user=abc-123&conversation_id={said['conversation_id']}", key=other.key
        ).status
        == 404
    )


def upload(mock: Caller, path: str, name: str, data: bytes, user: str = "", **headers: str) -> Answer:
    """Send one file as a form."""
    parts = [f'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\n{user}\r\n'.encode()] if user else []
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {kind}'
    body = b"".join(parts) + head.encode() + b"\r\n\r\n" + data + b"\r\n--b--\r\n"
    return mock.ask("POST", path, body=body, Content_Type="multipart/form-data; boundary=b", **headers)


def test_uploaded_file_goes_into_a_run_and_the_run_into_the_log(mock: Caller) -> None:
    """Upload, run, read the run, find it in the log: all four agree."""
    key = "app-workflow-journey"
    file = upload(mock, "/v1/files/upload", "mail.txt", b"Dear all", "abc-123", key=key).json
    assert (file["name"], file["size"], file["extension"], file["mime_type"]) == ("mail.txt", 8, "txt", "text/plain")
    mail = [{"transfer_method": "local_file", "upload_file_id": file["id"], "type": "document"}]
    run = mock.ask(
        "POST",
        "/v1/workflows/run",
        key=key,
        json_body={"inputs": {"orig_mail": mail}, "response_mode": "blocking", **USER},
    ).json
    detail = mock.ask("GET", f"/v1/workflows/run/{run['workflow_run_id']}", key=key).json
    for name in ("status", "error", "total_tokens", "total_steps", "elapsed_time"):
        assert detail[name] == run["data"][name]
    assert json.loads(detail["outputs"]) == run["data"]["outputs"]
    assert json.loads(detail["inputs"])["orig_mail"] == mail
    log = mock.ask("GET", "/v1/workflows/logs?limit=1", key=key).json
    assert log["data"][0]["workflow_run"]["id"] == run["workflow_run_id"]
    assert (log["total"], log["has_more"]) == (3, True), "the two printed runs and this one"


@pytest.mark.parametrize("user", ["eve", "abc-123"])
def test_only_its_own_user_runs_with_a_file(mock: Caller, user: str) -> None:
    """A file of another user, or none at all, is an invalid parameter."""
    key = "app-workflow-owner"
    file = upload(mock, "/v1/files/upload", "mail.txt", b"x", "abc-123", key=key).json
    identifier = file["id"] if user == "eve" else "00000000-0000-4000-8000-000000000000"
    inputs = {"orig_mail": [{"transfer_method": "local_file", "upload_file_id": identifier, "type": "document"}]}
    answer = mock.ask(
        "POST", "/v1/workflows/run", key=key, json_body={"inputs": inputs, "user": user, "response_mode": "blocking"}
    )
    assert (answer.status, answer.json["code"]) == (400, "invalid_param")


@pytest.mark.parametrize(
    ("inputs", "status"), [({}, 400), ({"query": ""}, 400), ({"query": 5}, 400), ({"query": "text"}, 200)]
)
def test_form_app_requires_its_input(mock: Caller, inputs: dict[str, Any], status: int) -> None:
    """Keys that begin with `app-workflow-form` belong to the app whose form, in `/parameters`, requires `query`."""
    key = "app-workflow-form-a"
    form = mock.ask("GET", "/v1/parameters", key=key).json["user_input_form"]
    assert form[0]["paragraph"]["required"] is True
    answer = mock.ask(
        "POST", "/v1/workflows/run", key=key, json_body={"inputs": inputs, "response_mode": "blocking", **USER}
    )
    assert answer.status == status
    if status == 400:
        assert "query" in answer.json["message"]


def test_streamed_run_is_running_until_it_is_over(mock: Caller) -> None:
    """While the stream goes on the run is `running`; afterwards it is what the stream said."""
    key = "app-workflow-live"
    stream: Any = mock.open(
        "POST", "/v1/workflows/run", key=key, json_body={"inputs": {}, "response_mode": "streaming", **USER}
    ).body
    first, wake = stream.advance(0.0)
    started = json.loads(first[0].decode().removeprefix("data: "))
    path = f"/v1/workflows/run/{started['workflow_run_id']}"
    assert mock.ask("GET", path, key=key).json["status"] == "running"
    said = b"".join(first)
    while wake is not None:
        due, wake = stream.advance(wake)
        said += b"".join(due)
    finished = next(json.loads(line[6:]) for line in said.decode().splitlines() if '"workflow_finished"' in line)
    detail = mock.ask("GET", path, key=key).json
    assert detail["status"] == finished["data"]["status"] == "succeeded"
    assert json.loads(detail["outputs"]) == finished["data"]["outputs"]


def test_run_whose_client_left_is_not_running_for_ever(mock: Caller) -> None:
    """A stream that nobody reads any more has stopped."""
    key = "app-workflow-left"
    stream: Any = mock.open(
        "POST", "/v1/workflows/run", key=key, json_body={"inputs": {}, "response_mode": "streaming", **USER}
    ).body
    first, _ = stream.advance(0.0)
    stream.close()
    run = json.loads(first[0].decode().removeprefix("data: "))["workflow_run_id"]
    assert mock.ask("GET", f"/v1/workflows/run/{run}", key=key).json["status"] == "stopped"


FLOW = "92f9a4c5-cfc8-4656-ae63-1f0881163c28"
NAMES = ["plain.txt", "with space.txt", "名前.txt", "no-ending", "a" * 296 + ".txt", "x;y.txt", "..txt"]


@pytest.mark.parametrize("data", [b"", bytes(range(256)) * 9], ids=["empty", "binary"])
@pytest.mark.parametrize("name", NAMES)
def test_bytes_of_a_flows_file_come_back(mock: Caller, name: str, data: bytes) -> None:
    """v1: upload, list, download, delete, whatever the name and the bytes are."""
    key = {"x_api_key": f"sk-agentbuilder-{NAMES.index(name)}-{len(data)}"}
    uploaded = upload(mock, f"/api/v1/files/upload/{FLOW}", name, data, **key)
    assert uploaded.status == 201
    stored = uploaded.json["file_path"].partition("/")[2]
    assert stored.endswith(f"_{name}")
    assert stored in mock.ask("GET", f"/api/v1/files/list/{FLOW}", **key).json["files"]
    downloaded = mock.ask("GET", f"/api/v1/files/download/{FLOW}/{stored}", **key)
    assert (downloaded.status, downloaded.body) == (200, data)
    assert mock.ask("DELETE", f"/api/v1/files/delete/{FLOW}/{stored}", **key).status == 200
    assert mock.ask("GET", f"/api/v1/files/download/{FLOW}/{stored}", **key).status == 404
    assert stored not in mock.ask("GET", f"/api/v1/files/list/{FLOW}", **key).json["files"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\\\temp\\\\notes.txt", "/etc/passwd"])
def test_folders_in_a_file_name_are_dropped(mock: Caller, name: str) -> None:
    """A client's path is no path of ours: only its last part is kept."""
    answer = upload(mock, f"/api/v1/files/upload/{FLOW}", name, b"x", x_api_key="sk-agentbuilder-paths")
    flow, _, stored = answer.json["file_path"].partition("/")
    assert flow == FLOW
    assert "/" not in stored
    assert "\\" not in stored


def test_two_uploads_in_one_second_are_two_files(mock: Caller) -> None:
    """The second one is not lost."""
    key = {"x_api_key": "sk-agentbuilder-twice"}
    paths = [
        upload(mock, f"/api/v1/files/upload/{FLOW}", "a.txt", data, **key).json["file_path"] for data in (b"1", b"2")
    ]
    contents = [mock.ask("GET", f"/api/v1/files/download/{path}", **key).body for path in paths]
    assert contents == [b"1", b"2"]


def test_accounts_file_is_uploaded_renamed_and_deleted(mock: Caller) -> None:
    """v2: the list follows every change; the path stays when the name changes."""
    key = {"x_api_key": "sk-agentbuilder-v2"}
    file = upload(mock, "/api/v2/files", "report.pdf", b"%PDF-1.4", **key).json
    assert (file["name"], file["size"]) == ("report", 8)
    assert file["path"].endswith(f"{file['id']}.pdf")
    renamed = mock.ask("PUT", f"/api/v2/files/{file['id']}?name=annual%20report", **key).json
    assert (renamed["name"], renamed["path"]) == ("annual report", file["path"])
    listed = {one["id"]: one["name"] for one in mock.ask("GET", "/api/v2/files", **key).json}
    assert listed[file["id"]] == "annual report"
    downloaded = mock.ask("GET", f"/api/v2/files/{file['id']}", **key)
    assert downloaded.body == b"%PDF-1.4"
    assert 'filename="annual report.pdf"' in downloaded.headers["Content-Disposition"]
    assert mock.ask("DELETE", f"/api/v2/files/{file['id']}", **key).status == 200
    assert mock.ask("DELETE", f"/api/v2/files/{file['id']}", **key).status == 404


def test_names_of_the_account_are_unique(mock: Caller) -> None:
    """A second file of a name gets a number."""
    key = {"x_api_key": "sk-agentbuilder-names"}
    names = [upload(mock, "/api/v2/files", "same.txt", b"x", **key).json["name"] for _ in range(3)]
    assert names == ["same", "same (1)", "same (2)"]


def test_delete_all_leaves_nothing(mock: Caller) -> None:
    """After deleting all there is an empty list."""
    key = {"x_api_key": "sk-agentbuilder-all"}
    upload(mock, "/api/v2/files", "a.txt", b"x", **key)
    assert mock.ask("DELETE", "/api/v2/files", **key).status == 200
    assert mock.ask("GET", "/api/v2/files", **key).json == []


def test_flow_runs_on_a_file_that_is_there(mock: Caller) -> None:
    """A v1 image as `files` and a v2 file as `path` of a component; what is not there stops the run."""
    key = {"x_api_key": "sk-agentbuilder-run"}
    image = upload(mock, f"/api/v1/files/upload/{FLOW}", "a.png", b"x", **key).json["file_path"]
    document = upload(mock, "/api/v2/files", "a.pdf", b"x", **key).json["path"]
    for tweak, status in (
        ({"files": image}, 200),
        ({"files": [image]}, 200),
        ({"path": [document]}, 200),
        ({"path": "nowhere/x.pdf"}, 404),
    ):
        body = {"input_value": "what do you see?", "tweaks": {"File-1olS3": tweak}}
        assert mock.ask("POST", f"/api/v1/run/{FLOW}?stream=false", json_body=body, **key).status == status


def test_flow_that_was_added_exists(make_app: Any) -> None:
    """`--flow` adds a flow beside the printed ones."""
    added = "11111111-1111-4111-8111-111111111111"
    key = {"x_api_key": "sk-agentbuilder"}
    assert make_app("agentbuilder").ask("GET", f"/api/v1/files/list/{added}", **key).status == 404
    assert make_app("agentbuilder", flows=(added,)).ask("GET", f"/api/v1/files/list/{added}", **key).json == {
        "files": []
    }


def test_same_seed_gives_the_same_bytes(make_app: Any) -> None:
    """Ids and invented values depend on the seed, the key and what was asked before, and on nothing else."""

    def story(seed: int) -> list[bytes]:
        chat = Chat(make_app("dify-chat", seed=seed), "app-chat")
        return [chat.say("one", "streaming").body, chat.say("two").body]

    assert story(7) == story(7)
    assert story(7) != story(8)
