"""The mock under a profile answers the recorded requests as that release did."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mock_calls import Answer, Caller
from release_cases import RELEASES, Recording, apis_of, operation_of, recordings

from flowcontract.paths import find_specs_root
from flowcontract.specs.examples import list_example_requests
from flowcontract.streams.judge import judge
from mockserver.config.settings import Settings
from mockserver.server.mock_server import load_app

DIFY = [release for release in RELEASES if release.startswith("dify")]
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOBODYS = "00000000-0000-4000-8000-000000000000"


def mock_of(release: str, app: Path | None = None) -> Caller:
    """Return a mock that answers as a release does."""
    names = apis_of(release)
    return Caller(load_app(names, profiles=dict.fromkeys(names, RELEASES[release]), settings=Settings(app=app)))


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Recording, Answer]]]:
    """Ask the mock what each release was asked, its apps being those of the release."""
    folder = tmp_path_factory.mktemp("apps")
    return {release: list(_replayed(release, folder / f"{release}.yaml")) for release in DIFY}


def _replayed(release: str, app: Path) -> Any:
    app.write_text(json.dumps(_apps()), encoding="utf-8")
    mock = mock_of(release, app)
    for recording in filter(_can_be_asked_again, recordings(release)):
        body = {} if recording.sent is None else {"json_body": recording.sent}
        yield recording, mock.ask(recording.method, recording.path, key=f"app-{recording.app}", **body)


def _apps() -> dict[str, Any]:
    """Return the apps that all releases were asked: their forms and features are what /parameters said."""
    asked = [one for one in recordings("dify-1.4.1") if (one.method, one.path) == ("GET", "/v1/parameters")]
    said = {one.app: json.loads(one.body) for one in asked if one.status == 200 and one.app in ("workflow", "chat")}
    parts = ("user_input_form", "speech_to_text", "text_to_speech", "suggested_questions_after_answer")
    return {f"dify-{app}": {"parameters": {name: _told(each[name]) for name in parts}} for app, each in said.items()}


def _told(value: Any) -> Any:
    """Return a feature as whether it is on, and the form as it is."""
    return {"enabled": value["enabled"]} if isinstance(value, dict) else value


def _can_be_asked_again(recording: Recording) -> bool:
    """Tell whether a request needs no id of the recorded server, no header of its own, and leads somewhere."""
    own = {found[0] for found in _ID.finditer(recording.path + json.dumps(recording.sent))} - {_NOBODYS}
    plain = isinstance(recording.sent, dict) or (recording.sent is None and recording.method == "GET")
    known = operation_of(recording, RELEASES[recording.release]) or "unknown_path" in recording.name
    credentials = "_auth_" in recording.name or "no_token" in recording.name
    return bool(plain and known and not own and not credentials and recording.app in ("workflow", "chat"))


# Requests that the mock answers in another way, by a part of their names, and why.
OTHERWISE = {
    r"_slow|_fail_node|_stopped|_ping_|_rate_|_disconnects|_stop_by": "the recorded app's flow, and the moment",
    r"run_user_(int|object)|query_int|generate_name_string|inputs_pairs_list|input_name_empty": "a field of "
    "another type than the document says, which the release takes",
    r"run_files_(string|object)|file_bad_id|remote_bad_scheme|remote_no_url|(files|level)_bad": "files",
    r"upload_json_body": "a form that is none",
    r"suggested_unknown|tts_": "the mock looks at the switch of the app first",
}


def _different(pairs: list[tuple[Recording, Answer]]) -> dict[str, tuple[Any, Any]]:
    """Return what was recorded and what came, where they are not the same."""
    found = {}
    for recording, answer in pairs:
        was = shape(recording.status, recording.headers.get("content-type", ""), recording.body)
        now = shape(answer.status, answer.headers.get("Content-Type", ""), answer.body.decode("utf-8", "replace"))
        if was != now:
            found[recording.name] = (was, now)
    return found


@pytest.mark.parametrize("release", DIFY)
def test_the_mock_answers_as_the_release_did(release: str, answered: dict[str, list[tuple[Recording, Answer]]]) -> None:
    """Status, media type, code and fields of a refusal, and the order of a stream's kinds are as recorded."""
    different = _different(answered[release])
    assert {name: each for name, each in different.items() if not _otherwise(name)} == {}
    assert len(answered[release]) > 70
    assert len(different) < len(answered[release]) / 4


def test_every_exception_is_one(answered: dict[str, list[tuple[Recording, Answer]]]) -> None:
    """A reason that explains nothing any more is to be deleted."""
    names = [name for pairs in answered.values() for name in _different(pairs)]
    assert [part for part in OTHERWISE if not any(re.search(part, name) for name in names)] == []


def _otherwise(name: str) -> bool:
    return any(re.search(part, name) for part in OTHERWISE)


def shape(status: int, content_type: str, body: str) -> tuple[Any, ...]:
    """Return what is compared: status, media type, and the kinds of a stream or the code and fields of a refusal."""
    media_type = content_type.partition(";")[0]
    if media_type == "text/event-stream":
        kinds = re.findall(r'^(?:data: .*?"event": ?"|event: )(\w+)', body, re.MULTILINE)
        return status, media_type, *dict.fromkeys(kind for kind in kinds if kind != "text_chunk")  # of models only
    said = json.loads(body) if media_type == "application/json" and body else None
    refusal = said if isinstance(said, dict) and "code" in said else {}
    return status, media_type if status != 204 else "", refusal.get("code"), *sorted(refusal)


# --- our scenarios, as a release sends them ------------------------------------------------------------------------


PROFILES = [(path.parent.parent.name, path.stem) for path in sorted(find_specs_root().glob("*/profiles/*.yaml"))]
NO_ANSWER = {"200-hanging", "200-failed-streaming under 1.4"}  # what such a scenario is for


@pytest.mark.parametrize(("api", "profile"), PROFILES, ids=["=".join(pair) for pair in PROFILES])
def test_every_stream_that_can_be_asked_for_is_one_of_the_release(api: str, profile: str) -> None:
    """`Prefer` brings our scenarios with the kinds, the fields and the order of the release in force."""
    mock = Caller(load_app((api,), profiles={api: profile}))
    contract = mock.app.mock.apis[api]
    key = next(iter(contract.schemes.values()))
    sent = {key.parameter.replace("-", "_"): f"{key.prefix}{key.mock_key}"}
    operation, stream = next((each, each.stream) for each in contract.operations.values() if each.stream)
    assert stream
    example = next(each for each in list_example_requests(contract) if each.operation is operation)
    found = {}
    for name in mock.app.mock.scenarios.list_keys(operation):
        status, _, word = name.partition("-")
        asked = {"Prefer": f"code={status}, example={word}", **sent}
        answer = mock.ask(operation.method, contract.base_path + example.path, json_body=example.body, **asked)
        if (
            answer.headers["Content-Type"].startswith("text/event-stream")
            and not {name, f"{name} under {profile}"} & NO_ANSWER
        ):
            found[name] = [str(violation) for violation in judge(stream, answer.body)]
    assert len(found) > 4
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_a_status_that_a_release_does_not_have_cannot_be_asked_for() -> None:
    """0.14 deletes with 200, so there is no 204 of it."""
    for release, status in (("dify-0.14.0", 501), ("dify-1.4.1", 204)):
        path = f"/v1/conversations/{_NOBODYS}"
        answer = mock_of(release).ask("DELETE", path, key="app-chat", json_body={"user": "u"}, Prefer="code=204")
        assert answer.status == status


# --- what the recorded requests do not show ------------------------------------------------------------------------


def chat(mock: Caller, **more: Any) -> Answer:
    """Ask the chat app."""
    body = {"inputs": {}, "query": "床前明月光", "user": "u", "response_mode": "streaming", **more}
    return mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=body)


@pytest.mark.parametrize(
    ("release", "ends"),
    [("dify-1.4.1", ["workflow_finished", "message_end"]), ("dify-1.14.2", ["message_end", "workflow_finished"])],
)
def test_a_stream_ends_in_the_order_of_its_release(release: str, ends: list[str]) -> None:
    """Newer servers tell the end of the message before that of the run, and begin with a ping."""
    answer = chat(mock_of(release))
    assert [event["event"] for event in answer.events][-2:] == ends
    assert answer.body.startswith(b"event: ping\n\n") == (release == "dify-1.14.2")


@pytest.mark.parametrize(("release", "raw"), [("dify-0.14.0", False), ("dify-1.4.1", False), ("dify-1.14.2", True)])
def test_text_is_raw_or_escaped_as_its_release_writes_it(release: str, raw: bool) -> None:
    """1.14 sends UTF-8, older servers escape what is not ASCII."""
    assert ("床前明月光".encode() in chat(mock_of(release)).body) is raw


def test_an_unknown_conversation_hangs_on_the_newest_release_only() -> None:
    """A stream that has begun cannot be refused any more: one ping, and then silence; a blocking answer is a 404."""
    mock, unknown = mock_of("dify-1.14.2"), {"conversation_id": _NOBODYS}
    hanging = chat(mock, **unknown)
    assert (hanging.status, hanging.body) == (200, b"event: ping\n\n")
    assert chat(mock, response_mode="blocking", **unknown).status == 404
    assert chat(mock_of("dify-1.4.1"), **unknown).status == 404


@pytest.mark.parametrize("release", DIFY)
def test_a_deletion_is_answered_as_its_release_does(release: str) -> None:
    """0.14 says that it went well; later servers say nothing, with 204."""
    mock = mock_of(release)
    conversation = chat(mock).events[0]["conversation_id"]
    answer = mock.ask("DELETE", f"/v1/conversations/{conversation}", key="app-chat", json_body={"user": "u"})
    assert (answer.status, answer.body) == ((200, b'{"result": "success"}') if release == "dify-0.14.0" else (204, b""))


@pytest.mark.parametrize(("release", "status"), [("langflow-1.4.3", 500), ("langflow-1.13.0", 404)])
def test_agentbuilder_refuses_as_its_release_does(release: str, status: int) -> None:
    """An unknown file was an error in the server once, and a missing key was told in other words."""
    mock = mock_of(release)
    assert mock.ask("GET", f"/api/v2/files/{_NOBODYS}", x_api_key="sk-agentbuilder").status == status
    recorded = {one.body for one in recordings(release) if one.name == "whoami_basic_auth"}
    assert mock.ask("GET", "/api/v1/users/whoami").json == json.loads(recorded.pop())


def _paths(value: Any, path: str = "") -> set[str]:
    """Return the path of every field of a value."""
    if isinstance(value, dict):
        return {f"{path}.{name}" for name in value}.union(
            *(_paths(each, f"{path}.{name}") for name, each in value.items())
        )
    return set().union(*(_paths(each, f"{path}[]") for each in value)) if isinstance(value, list) else set()


def _lines(body: str) -> list[Any]:
    return [json.loads(part) for part in body.split("\n\n") if part.strip()]


@pytest.mark.parametrize("release", ["langflow-1.4.3", "langflow-1.13.0"])
def test_run_has_the_fields_of_its_release(release: str) -> None:
    """1.13 names in each message its run, says each twice, and counts tokens: no field is missing, none too many."""
    mock, flow = mock_of(release), "/api/v1/run/92f9a4c5-cfc8-4656-ae63-1f0881163c28"
    body = {"input_value": "hello", "input_type": "chat", "output_type": "chat"}
    said = {one.name: one.body for one in recordings(release)}
    whole = mock.ask("POST", f"{flow}?stream=false", json_body=body, x_api_key="sk-agentbuilder")
    assert _paths(whole.json) == _paths(json.loads(said["run_ok_by_endpoint_name"]))
    streamed = mock.ask("POST", f"{flow}?stream=true", json_body=body, x_api_key="sk-agentbuilder")
    was, now = _lines(said["run_stream_ok"]), _lines(streamed.body.decode())
    assert [_paths(now[place]) for place in (0, -2, -1)] == [_paths(each) for each in was]
    runs = set(re.findall(r'"run_id": "([^"]+)"', streamed.body.decode()))
    assert len(runs) == (release == "langflow-1.13.0")


def test_a_failed_component_says_so_as_its_release_does() -> None:
    """1.13 sends it as any other message, then the run's own error; the traceback, which ours has not, is a text."""
    mock, flow = mock_of("langflow-1.13.0"), "/api/v1/run/92f9a4c5-cfc8-4656-ae63-1f0881163c28"
    said = {one.name: one.body for one in recordings("langflow-1.13.0")}
    prefer = "example=200-failed-component-streaming"
    body = {"input_value": "hi"}
    answer = mock.ask("POST", f"{flow}?stream=true", json_body=body, x_api_key="sk-agentbuilder", Prefer=prefer)
    was, now = _lines(said["run_file_no_tweak_stream"]), _lines(answer.body.decode())
    assert [_paths(each) for each in now] == [_paths(each) for each in was]
    assert now[1] == was[1]


def test_where_no_key_is_needed_a_valid_one_still_opens_its_world() -> None:
    """1.4.3 gives the files of flows to anybody: without a key those of the first world, with one those of its own."""
    mock, flow = mock_of("langflow-1.4.3"), "92f9a4c5-cfc8-4656-ae63-1f0881163c28"
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nx\r\n--b--\r\n'
    sent = {"body": form, "Content_Type": "multipart/form-data; boundary=b", "x_api_key": "sk-agentbuilder-own"}
    path = mock.ask("POST", f"/api/v1/files/upload/{flow}", **sent).json["file_path"]
    assert mock.ask("GET", f"/api/v1/files/download/{path}", x_api_key="sk-agentbuilder-own").body == b"x"
    assert mock.ask("GET", f"/api/v1/files/download/{path}", x_api_key="wrong").status == 500
    assert mock.ask("GET", f"/api/v1/files/download/{flow}/2024-12-30_15-19-43_your_file.txt").status == 200


@pytest.mark.parametrize(("release", "ran_with"), [("langflow-1.4.3", None), ("langflow-1.13.0", "nothing")])
@pytest.mark.parametrize("wrong", [{"input_type": "nope"}, {"session_id": 5}, {"tweaks": []}])
def test_a_wrong_body_is_refused_or_dropped_whole(release: str, ran_with: str | None, wrong: dict[str, Any]) -> None:
    """1.13.0 drops it, what was right in it too, and runs the flow with nothing."""
    body = {"input_value": "hello", **wrong}
    run = "/api/v1/run/92f9a4c5-cfc8-4656-ae63-1f0881163c28"
    answer = mock_of(release).ask("POST", run, json_body=body, x_api_key="sk-agentbuilder")
    assert answer.status == (422 if ran_with is None else 200)
    if ran_with:
        assert answer.json["outputs"][0]["inputs"] == {}
