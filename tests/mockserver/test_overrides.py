"""The ways to choose what happens, which of them wins, and what is said where a choice cannot be granted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mockserver.cli import main as cli
from mockserver.request.preferences import ScenarioPreference, take_off
from mockserver.state.overrides import Override, Overrides

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mock_calls import Answer, Caller

CHAT = {"query": "hello", "user": "abc-123", "inputs": {}}
QUOTA = "400-provider-quota-exceeded"


def chat(mock: Caller, key: str, user: str = "abc-123", **more: Any) -> Answer:
    """Send a chat message."""
    headers = {name: value for name, value in more.items() if name[0].isupper()}
    body = {name: value for name, value in more.items() if not name[0].isupper()}
    return mock.ask("POST", "/v1/chat-messages", key=key, json_body=CHAT | {"user": user} | body, **headers)


def put(mock: Caller, **override: Any) -> Answer:
    """Order an override."""
    return mock.ask("PUT", "/__mock__/overrides", json_body=override)


# The suffix on `user`.


@pytest.mark.parametrize(
    ("user", "bare", "preference"),
    [
        ("abc#mock:400-not-found", "abc", ScenarioPreference("400", "not-found", by="user")),
        ("abc#mock:not_found", "abc", ScenarioPreference(None, "not_found", by="user")),
        ("abc#mock:404", "abc", ScenarioPreference("404", None, by="user")),
        ("#mock:404", "", ScenarioPreference("404", None, by="user")),
        (["a#mock:404", "b", 5], ["a", "b", 5], ScenarioPreference("404", None, by="user")),
        ("abc#mocked", "abc#mocked", None),
        (None, None, None),
        (7, 7, None),
    ],
)
def test_suffix_is_taken_off_the_user(user: Any, bare: Any, preference: ScenarioPreference | None) -> None:
    """What follows the mark is a preference, by status, by name or by both, and what stands before it is the user."""
    holder = {"user": user, "other": "x#mock:404"}
    assert take_off(holder) == preference
    assert holder == {"user": bare, "other": "x#mock:404"}


@pytest.mark.parametrize("holder", [None, [], "user#mock:404", {}, {"query": "user#mock:404"}])
def test_body_without_a_user_asks_for_nothing(holder: Any) -> None:
    """Whatever a client sends as its body, looking for the suffix does not fail."""
    assert take_off(holder) is None


def test_suffix_in_json_chooses_and_the_user_stays_the_same(make_app: Callable[..., Caller]) -> None:
    """The scenario comes, and what the world keeps belongs to the bare user."""
    mock = make_app("dify-chat")
    assert chat(mock, "app-chat", f"abc-123#mock:{QUOTA}").json["code"] == "provider_quota_exceeded"
    said = chat(mock, "app-chat", "abc-123#mock:200-default").json
    page = mock.ask("GET", "/v1/conversations?user=abc-123", key="app-chat").json["data"]
    assert said["conversation_id"] in [one["id"] for one in page]


def test_suffix_in_a_query_chooses(make_app: Callable[..., Caller]) -> None:
    """Operations without a body have their user in the query."""
    mock = make_app("dify-chat")
    path = "/v1/conversations?user=abc-123%23mock:404-not-found"
    assert mock.ask("GET", path, key="app-chat").status == 404


def test_suffix_in_a_form_chooses(make_app: Callable[..., Caller]) -> None:
    """Uploads have their user in a form field."""
    part = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    body = part.format("user", "", "abc#mock:413-file-too-large") + part.format("file", '; filename="a.png"', "PNG")
    answer = make_app("dify-chat").ask(
        "POST",
        "/v1/files/upload",
        key="app-chat",
        body=f"{body}--x--\r\n".encode(),
        Content_Type="multipart/form-data; boundary=x",
    )
    assert (answer.status, answer.json["code"]) == (413, "file_too_large")


def test_suffix_is_served_even_if_the_rest_of_the_request_is_wrong(make_app: Callable[..., Caller]) -> None:
    """Asked for is asked for; the journal still tells what was wrong."""
    mock = make_app("dify-chat")
    body = {"user": f"abc#mock:{QUOTA}", "inputs": 5}
    answer = mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=body)
    assert answer.json["code"] == "provider_quota_exceeded"
    entry = mock.app.mock.journal.list_entries()[-1]
    assert {one["field"] for one in entry.violations} == {"query", "inputs"}


@pytest.mark.parametrize(
    ("mode", "comes"), [("blocking", "200-node-failed-blocking"), ("streaming", "200-node-failed")]
)
def test_wish_by_name_brings_the_kind_that_the_request_asks_for(
    make_app: Callable[..., Caller], mode: str, comes: str
) -> None:
    """A client that cannot send headers names a scenario once, for streams and for whole bodies."""
    mock = make_app("dify-workflow")
    body = {"inputs": {}, "response_mode": mode, "user": "abc-123#mock:node-failed"}
    assert mock.ask("POST", "/v1/workflows/run", key="app-workflow", json_body=body).status == 200
    assert mock.app.mock.journal.list_entries()[-1].scenario == comes


@pytest.mark.parametrize(
    ("scenario", "mode", "fitting", "unfitting"),
    [
        ("200-tts", "blocking", "200-default", "200-tts"),
        ("200-documented-blocking", "streaming", "200-tts", "200-documented-blocking"),
    ],
)
def test_scenario_of_the_other_kind_does_not_fit(
    make_app: Callable[..., Caller], scenario: str, mode: str, fitting: str, unfitting: str
) -> None:
    """501 lists those that answer what the request asks for, and leaves out the one that does not."""
    answer = chat(make_app("dify-chat"), "app-chat", f"abc#mock:{scenario}", response_mode=mode)
    assert (answer.status, answer.headers["Content-Type"]) == (501, "application/problem+json")
    assert fitting in answer.json["scenarios"]
    assert QUOTA in answer.json["scenarios"]
    assert unfitting not in answer.json["scenarios"]


def test_unknown_suffix_lists_what_there_is(make_app: Callable[..., Caller]) -> None:
    """A slip is told with what was perhaps meant."""
    answer = chat(make_app("dify-chat"), "app-chat", "abc#mock:provider-quota-exceded")
    assert answer.status == 501
    assert "provider-quota-exceeded" in answer.json["detail"]
    assert QUOTA in answer.json["scenarios"]


# Overrides.


def test_override_holds_as_often_as_it_says(make_app: Callable[..., Caller]) -> None:
    """`times: 2` is two answers, then the mock behaves as before."""
    mock = make_app("dify-chat")
    assert put(mock, operation="sendChatMessage", scenario=QUOTA, times=2).status == 200
    assert [chat(mock, "app-chat").status for _ in range(3)] == [400, 400, 200]
    assert mock.ask("GET", "/__mock__/overrides").json == []


def test_override_without_times_holds_until_it_is_deleted(make_app: Callable[..., Caller]) -> None:
    """It is listed, and DELETE by operation ends it."""
    mock = make_app("dify-chat")
    order = {"world": None, "operation": "dify-chat/sendChatMessage", "scenario": QUOTA, "times": None}
    assert put(mock, operation="dify-chat/sendChatMessage", scenario=QUOTA).json == [order]
    assert [chat(mock, "app-chat").status for _ in range(3)] == [400] * 3
    assert mock.ask("GET", "/__mock__/overrides").json == [order]
    assert mock.ask("DELETE", "/__mock__/overrides?operation=sendChatMessage").json == {"removed": 1}
    assert chat(mock, "app-chat").status == 200


@pytest.mark.parametrize("world", ["dify-chat-a", "app-chat-a"])
def test_override_of_a_world_leaves_the_others_alone(make_app: Callable[..., Caller], world: str) -> None:
    """A world is named by itself or by its key, and what is for it alone comes before what is for all."""
    mock = make_app("dify-chat")
    put(mock, operation="sendChatMessage", scenario="400-app-unavailable")
    put(mock, operation="sendChatMessage", scenario=QUOTA, world=world)
    assert chat(mock, "app-chat-a").json["code"] == "provider_quota_exceeded"
    assert chat(mock, "app-chat-b").json["code"] == "app_unavailable"
    mock.ask("DELETE", f"/__mock__/overrides?world={world}")
    assert chat(mock, "app-chat-a").json["code"] == "app_unavailable"


def test_later_override_replaces_the_one_before() -> None:
    """One order stands per world and operation."""
    overrides = Overrides()
    overrides.put(Override("x/y", "404"))
    overrides.put(Override("x/y", "500-oops", left=1))
    assert overrides.list_all() == [Override("x/y", "500-oops", left=1)]
    assert overrides.take("x", "x/y") == ScenarioPreference("500", "oops", by="override")
    assert overrides.take("x", "x/y") is None


def test_wrong_key_is_refused_whatever_is_ordered(make_app: Callable[..., Caller]) -> None:
    """An order belongs to worlds, and a wrong key opens none; the order is not used up."""
    mock = make_app("dify-chat")
    put(mock, operation="sendChatMessage", scenario=QUOTA, times=1)
    assert chat(mock, "nobody").status == 401
    assert chat(mock, "app-chat").status == 400


def test_name_that_two_apis_share_counts_where_the_scenario_is(make_app: Callable[..., Caller]) -> None:
    """Both Dify apps have uploads; the world's API, or a qualified name, tells one from the other."""
    mock = make_app("dify-chat", "dify-workflow")

    def ordered(**override: Any) -> list[str]:
        return [one["operation"] for one in put(mock, scenario="413-file-too-large", **override).json]

    assert ordered(operation="uploadFile") == ["dify-chat/uploadFile", "dify-workflow/uploadFile"]
    assert ordered(operation="uploadFile", world="app-workflow-x") == ["dify-workflow/uploadFile"]
    assert ordered(operation="dify-chat/uploadFile") == ["dify-chat/uploadFile"]


@pytest.mark.parametrize(
    ("order", "status", "told"),
    [
        ({"operation": "sendChatMessage", "scenario": "provider-quota-exceded"}, 501, "provider-quota-exceeded"),
        ({"operation": "sendChatMesage", "scenario": QUOTA}, 404, 'Did you mean "sendChatMessage"?'),
        ({"operation": "sendChatMessage", "scenario": QUOTA, "world": "app-chatt"}, 404, "app-chat"),
        ({"operation": "sendChatMessage", "scenario": QUOTA, "world": 7}, 400, "world"),
        ({"operation": "sendChatMessage"}, 400, "scenario"),
        ({"operation": "sendChatMessage", "scenario": QUOTA, "times": 0}, 400, "times"),
        ({"operation": "sendChatMessage", "scenario": QUOTA, "times": True}, 400, "times"),
        ({"operation": "sendChatMessage", "scenario": QUOTA, "often": 1}, 400, "often"),
        ([], 400, "JSON object"),
        (None, 400, "JSON object"),
    ],
)
def test_order_that_cannot_be_carried_out_says_why(
    make_app: Callable[..., Caller], order: Any, status: int, told: str
) -> None:
    """What was asked, what there is, what to do; and nothing is ordered."""
    mock = make_app("dify-chat")
    answer = mock.ask("PUT", "/__mock__/overrides", json_body=order)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert told in answer.json["detail"]
    assert mock.ask("GET", "/__mock__/overrides").json == []


# A scenario of one's own: what it matches, how often, after what.


@pytest.fixture
def own(tmp_path: Path, make_app: Callable[..., Caller]) -> Callable[..., Caller]:
    """Return what makes a mock of the chat app with scenarios of one's own: name -> request."""

    def make(**requests: str) -> Caller:
        for name, request in requests.items():
            path = tmp_path / "dify-chat" / "sendChatMessage" / f"429-{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                f"description: {name}\nrequest: {request}\nreply: {{body: {{code: {name}, message: {name}}}}}\n",
                encoding="utf-8",
            )
        return make_app("dify-chat", fixtures=tmp_path)

    return make


def test_scenario_answers_so_many_times_in_each_world(own: Callable[..., Caller]) -> None:
    """`times: 2` in one world does not use up another's."""
    mock = own(busy="{times: 2}")
    assert [chat(mock, "app-chat-a").status for _ in range(3)] == [429, 429, 200]
    assert chat(mock, "app-chat-b").status == 429


def test_scenarios_follow_one_another(own: Callable[..., Caller]) -> None:
    """The first that may still answer does; what is used up leaves room for the next."""
    mock = own(first="{times: 1}", second="{times: 1, body: {query: hello}}")
    answers = [chat(mock, "app-chat") for _ in range(3)]
    assert [answer.json.get("code") for answer in answers] == ["first", "second", None]


def test_scenario_waits_for_an_operation_to_succeed(own: Callable[..., Caller]) -> None:
    """`after` counts only what was answered well, in the same world."""
    mock = own(later="{after: getInfo}")
    assert chat(mock, "app-chat").status == 200
    mock.ask("GET", "/v1/info", key="app-chat", Prefer="code=500")
    mock.ask("GET", "/v1/info", key="app-chat-other")
    assert chat(mock, "app-chat").status == 200
    mock.ask("GET", "/v1/info", key="app-chat")
    assert chat(mock, "app-chat").status == 429


def test_scenario_that_waits_for_nothing_that_exists_is_told_at_the_start(own: Callable[..., Caller]) -> None:
    """It would never answer."""
    with pytest.raises(Exception, match=r'No operation "getInfos".* Did you mean "getInfo"'):
        own(never="{after: getInfos}")


def test_check_tells_what_a_scenario_waits_for_in_vain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`mockserver check` names the line."""
    path = tmp_path / "dify-chat" / "stopChatMessage" / "200-mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "description: Mine.\nrequest:\n  after: getInfos\nreply: {body: {result: success}}\n", encoding="utf-8"
    )
    assert cli.main(["check", "--api", "dify-chat", "--fixtures", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"{path}:3" in out
    assert 'no operation "getInfos"' in out


def test_scenario_matches_the_name_of_an_uploaded_file(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """One client can have every error of an upload by the names of its files."""
    folder = tmp_path / "dify-chat" / "uploadFile"
    folder.mkdir(parents=True)
    text = "description: Full.\nrequest: {files: {file: full.png}}\nreply: {body: {code: full, message: Full.}}\n"
    (folder / "413-full.yaml").write_text(text, encoding="utf-8")
    mock = make_app("dify-chat", fixtures=tmp_path)
    head = '--x\r\nContent-Disposition: form-data; name="file"; filename="{}"\r\nContent-Type: image/png\r\n\r\n'

    def upload(name: str) -> int:
        kind = "multipart/form-data; boundary=x"
        body = f"{head.format(name)}PNG\r\n--x--\r\n".encode()
        return mock.ask("POST", "/v1/files/upload", key="app-chat", body=body, Content_Type=kind).status

    assert [upload("full.png"), upload("other.png")] == [413, 201]


# The order of all.


def test_who_is_asked_first(own: Callable[..., Caller]) -> None:
    """Prefer, then the user, then an override, then a matching scenario, then the default."""
    mock = own(matched="{body: {query: hello}}")
    put(mock, operation="sendChatMessage", scenario=QUOTA)
    user = "abc#mock:400-app-unavailable"
    asked = [
        chat(mock, "app-chat", user, Prefer="code=404, example=not-found"),
        chat(mock, "app-chat", user),
        chat(mock, "app-chat"),
    ]
    mock.ask("DELETE", "/__mock__/overrides")
    asked += [chat(mock, "app-chat"), chat(mock, "app-chat", query="something else")]
    chosen = [(entry.by, entry.scenario) for entry in mock.app.mock.journal.list_entries()]
    assert chosen == [
        ("prefer", "404-not-found"),
        ("user", "400-app-unavailable"),
        ("override", QUOTA),
        ("request", "429-matched"),
        ("default", "200-default"),
    ]
    assert [answer.status for answer in asked] == [404, 400, 400, 429, 200]
    assert [answer.headers.get("Preference-Applied") for answer in asked] == [
        "code=404, example=not-found",
        None,
        None,
        None,
        None,
    ]


def test_suffix_goes_even_if_another_wish_wins(make_app: Callable[..., Caller]) -> None:
    """The world never sees a user with a suffix."""
    mock = make_app("dify-chat")
    chat(mock, "app-chat", "abc-123#mock:404", Prefer="code=200, example=default")
    page = mock.ask("GET", "/v1/conversations?user=abc-123", key="app-chat").json["data"]
    assert "hello" in [one["name"] for one in page]
