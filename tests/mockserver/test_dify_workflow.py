"""The workflow app over an afternoon: upload and run, look runs up, list them, stop them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from mock_users import Live, User

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mock_calls import Caller

BLOCKING = {"inputs": {}, "response_mode": "blocking"}
STREAMING = {"inputs": {}, "response_mode": "streaming"}
COMPARED = ("status", "error", "elapsed_time", "total_tokens", "total_steps", "created_at", "finished_at")
FILES = {"document": "mail.txt", "image": "photo.PNG", "audio": "voice.mp3", "video": "film.mp4"}


@pytest.fixture
def worker(mock: Caller, request: pytest.FixtureRequest) -> User:
    """Return a user of the workflow app in a world that no other test sees."""
    return User(mock, "dify-workflow", f"-{abs(hash(request.node.nodeid))}")


def upload(worker: User, name: str = "mail.txt", data: bytes = b"Dear all") -> Any:
    """Upload a file; return what the app says of it."""
    answer = worker.call("uploadFile", form={"file": (name, data)})
    assert answer.status == 201
    return answer.json


def mail(identifier: str, kind: str = "document") -> dict[str, Any]:
    """Return inputs that hand over an uploaded file."""
    return {"orig_mail": [{"type": kind, "transfer_method": "local_file", "upload_file_id": identifier}]}


def runs(worker: User, **query: Any) -> Any:
    """Return a page of the log."""
    return worker.call("listWorkflowLogs", query=query).json


def detail(worker: User, run_id: str) -> Any:
    """Return what a run's detail says."""
    return worker.call("getWorkflowRun", workflow_run_id=run_id).json


def finished(answer: Any) -> Any:
    """Return what a blocking answer, or a stream's closing event, says of its run."""
    if answer.headers["Content-Type"].startswith("application/json"):
        return answer.json["data"]
    return next(event["data"] for event in answer.events if event["event"] == "workflow_finished")


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("mode", [BLOCKING, STREAMING], ids=["blocking", "streaming"])
def test_uploaded_file_goes_into_a_run(worker: User, kind: str, mode: dict[str, Any]) -> None:
    """A file of each type can be handed over, and the run's inputs say so."""
    file = upload(worker, FILES[kind])
    answer = worker.call("runWorkflow", {**mode, "inputs": mail(file["id"], kind)})
    assert (
        json.loads(detail(worker, finished(answer)["id"])["inputs"])["orig_mail"] == mail(file["id"], kind)["orig_mail"]
    )


def test_one_object_is_as_good_as_a_list_of_one_where_the_form_does_not_say(worker: User) -> None:
    """The older document hands over one object, the newer one a list."""
    file = mail(upload(worker)["id"])["orig_mail"]
    for value in (file, file[0]):
        assert worker.call("runWorkflow", {**BLOCKING, "inputs": {"orig_mail": value}}).status == 200


@pytest.mark.parametrize(
    ("variable", "listed", "why"),
    [("letterhead", True, "must be a file"), ("attachments", False, "must be a list of files")],
)
def test_the_form_says_whether_it_is_one_file_or_a_list(worker: User, variable: str, listed: bool, why: str) -> None:
    """A list for a `file` and an object for a `file-list` are refused, the other way round they run."""
    file = mail(upload(worker)["id"])["orig_mail"][0]
    wrong = worker.call("runWorkflow", {**BLOCKING, "inputs": {variable: [file] if listed else file}})
    assert (wrong.status, wrong.json["code"], why in wrong.json["message"]) == (400, "invalid_param", True)
    assert worker.call("runWorkflow", {**BLOCKING, "inputs": {variable: file if listed else [file]}}).status == 200


@pytest.mark.parametrize("place", ["inputs", "files"])
@pytest.mark.parametrize("wrong", ["unknown", "foreign", "of another type"])
def test_file_that_is_not_the_users_is_an_invalid_parameter(worker: User, wrong: str, place: str) -> None:
    """An unknown id, another user's file, an image that is called a document: nothing runs."""
    before = runs(worker)["total"]
    owner = User(worker.mock, "dify-workflow", worker.suffix, name="eve") if wrong == "foreign" else worker
    identifier = upload(owner, "photo.png" if wrong == "of another type" else "mail.txt")["id"]
    inputs = mail("00000000-0000-4000-8000-000000000000" if wrong == "unknown" else identifier)
    body = {**BLOCKING, "inputs": inputs} if place == "inputs" else {**BLOCKING, "files": inputs["orig_mail"]}
    answer = worker.call("runWorkflow", body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_param")
    assert runs(worker)["total"] == before


FORM = """
dify-workflow:
  parameters:
    user_input_form:
      - text-input: {label: Title, variable: title, required: true, max_length: 5}
      - paragraph: {label: Text, variable: text, required: false, max_length: 10}
      - select: {label: Mode, variable: mode, required: false, options: [fast, slow]}
      - number: {label: Count, variable: count, required: false}
      - file:
          label: Photo
          variable: photo
          required: false
          allowed_file_types: [image]
          allowed_file_upload_methods: [remote_url]
      - file-list: {label: Papers, variable: papers, required: false, max_length: 2, allowed_file_types: [document]}
    file_upload: {image: {enabled: true, number_limits: 1, transfer_methods: [remote_url]}}
"""


@pytest.fixture
def clerk(make_app: Callable[..., Caller], tmp_path: Path) -> User:
    """Return a user of an app with a strict form."""
    path = tmp_path / "app.yaml"
    path.write_text(FORM, encoding="utf-8")
    return User(make_app("dify-workflow", app=path), "dify-workflow")


def picture(kind: str = "image", **more: Any) -> dict[str, Any]:
    """Return a file that comes from elsewhere."""
    return {"type": kind, "transfer_method": "remote_url", "url": "https://example.com/a", **more}


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "title is required"),
        ({"title": ""}, "title is required"),
        ({"title": None}, "title is required"),
        ({"title": 5}, "title in input form must be a string"),
        ({"title": "longer"}, "title in input form must be less than 5 characters"),
        ({"title": "a", "text": "x" * 11}, "text in input form must be less than 10 characters"),
        ({"title": "a", "mode": "fastest"}, "one of the following: fast, slow"),
        ({"title": "a", "mode": ["fast"]}, "mode in input form must be a string"),
        ({"title": "a", "count": "many"}, "count in input form must be a valid number"),
        ({"title": "a", "count": True}, "count in input form must be a valid number"),
        ({"title": "a", "photo": "a.png"}, "photo in input form must be a file"),
        ({"title": "a", "photo": picture("document")}, "type document is not allowed for photo"),
        ({"title": "a", "photo": [picture(), picture()]}, "photo in input form must be a file"),
        ({"title": "a", "papers": [picture("document")] * 3}, "papers in input form takes at most 2 files"),
        (
            {"title": "a", "photo": {"type": "image", "transfer_method": "local_file", "upload_file_id": "ID"}},
            "transfer_method local_file is not allowed for photo",
        ),
    ],
)
@pytest.mark.parametrize("mode", [BLOCKING, STREAMING], ids=["blocking", "streaming"])
def test_inputs_are_judged_by_the_form(clerk: User, mode: dict[str, Any], inputs: dict[str, Any], told: str) -> None:
    """What the form does not allow is `invalid_param`, in words that name the variable; nothing is run."""
    if (inputs.get("photo") or {}) and "upload_file_id" in inputs["photo"]:
        inputs = {**inputs, "photo": {**inputs["photo"], "upload_file_id": upload(clerk, "a.png")["id"]}}
    answer = clerk.call("runWorkflow", {**mode, "inputs": inputs})
    assert (answer.status, answer.json["code"]) == (400, "invalid_param")
    assert told in answer.json["message"]


def test_inputs_that_the_form_allows_run(clerk: User) -> None:
    """Everything filled in at its limits, and what the form does not know, which is ignored."""
    inputs = {
        "title": "abcde",
        "text": "x" * 10,
        "mode": "slow",
        "count": "2.5",
        "photo": picture(),
        "papers": [picture("document")] * 2,
        "more": {"of": "that"},
    }
    assert clerk.call("runWorkflow", {**BLOCKING, "inputs": inputs}).status == 200


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([picture(), picture()], "at most 1 images"),
        (["local"], "images come by remote_url, not local_file"),
    ],
    ids=["too many", "another way"],
)
def test_images_come_as_announced(clerk: User, files: list[Any], told: str) -> None:
    """`file_upload.image` says how many, and which way."""
    if files == ["local"]:
        identifier = upload(clerk, "a.png")["id"]
        files = [{"type": "image", "transfer_method": "local_file", "upload_file_id": identifier}]
    answer = clerk.call("runWorkflow", {**BLOCKING, "inputs": {"title": "a"}, "files": files})
    assert (answer.status, answer.json["code"]) == (400, "invalid_param")
    assert told in answer.json["message"]


@pytest.mark.parametrize(
    "scenario",
    [
        "default",
        "default-streaming",
        "node-failed",
        "node-failed-blocking",
        "partial-succeeded",
        "partial-succeeded-blocking",
        "stopped",
        "stopped-blocking",
        "parallel-branches",
        "tts",
        "with-text-chunks",
        "documented-blocking",
        "documented-streaming",
    ],
)
def test_run_agrees_with_its_detail_and_its_log(worker: User, scenario: str) -> None:
    """However a run went, what its answer says of it is what can be read later: ids, outputs, tokens, times."""
    body = {**BLOCKING, "inputs": {"text": "agreement"}}
    told = finished(worker.call("runWorkflow", body, headers={"Prefer": f"code=200, example={scenario}"}))
    shown = detail(worker, told["id"])
    (logged,) = (one["workflow_run"] for one in runs(worker, keyword="agreement")["data"])
    assert logged["id"] == told["id"]
    assert (shown["id"], shown["workflow_id"]) == (told["id"], told["workflow_id"])
    for name in COMPARED:
        assert shown[name] == told.get(name) == logged[name], name
    assert (json.loads(shown["outputs"]) if shown["outputs"] else None) == told["outputs"]
    assert json.loads(shown["inputs"])["text"] == "agreement"
    if scenario.startswith(("node-failed", "partial", "stopped")):
        assert shown["status"] in ("failed", "partial-succeeded", "stopped")


def test_run_whose_stream_breaks_off_with_an_error_has_failed(worker: User) -> None:
    """The error's message is the run's."""
    events = worker.call("runWorkflow", STREAMING, headers={"Prefer": "example=in-stream-error"}).events
    shown = detail(worker, events[0]["workflow_run_id"])
    assert events[-1]["event"] == "error"
    assert (shown["status"], shown["error"]) == ("failed", events[-1]["message"])
    assert shown["finished_at"] >= shown["created_at"]


@pytest.mark.parametrize("seed", [0, 11])
def test_both_modes_give_the_same_outputs(make_app: Callable[..., Caller], seed: int) -> None:
    """With the same seed it makes no difference how the outputs are asked for."""
    worker = User(make_app("dify-workflow", seed=seed), "dify-workflow")
    one, other = (finished(worker.call("runWorkflow", mode)) for mode in (BLOCKING, STREAMING))
    for name in ("outputs", "status", "error", "total_tokens", "total_steps", "elapsed_time", "workflow_id"):
        assert one[name] == other[name], name


def test_run_is_running_while_it_runs(worker: User) -> None:
    """Detail and log say `running` as long as the stream goes on; no filter asks for that, and each finds it later."""
    live = Live(worker.open("runWorkflow", STREAMING).body)
    run = live.step("workflow_started")["workflow_run_id"]
    shown = detail(worker, run)
    assert (shown["status"], shown["finished_at"], shown["outputs"]) == ("running", None, None)
    assert runs(worker, limit=1)["data"][0]["workflow_run"]["status"] == "running"
    assert run not in [one["workflow_run"]["id"] for one in runs(worker, status="succeeded")["data"]]
    live.rest()
    assert detail(worker, run)["status"] == "succeeded"
    assert runs(worker, status="succeeded")["data"][0]["workflow_run"]["id"] == run


PREFER = {"succeeded": "default", "failed": "node-failed-blocking", "stopped": "stopped-blocking"}


def test_log_counts_pages_and_filters(worker: User) -> None:
    """`total` and `has_more` are those of what was asked for; the latest comes first, each run on one page."""
    printed = [one["workflow_run"]["id"] for one in runs(worker)["data"]]
    made = []
    for number in range(7):
        status = ("succeeded", "failed", "stopped")[number % 3]
        body = {**BLOCKING, "inputs": {"text": f"Nummer {number % 2}"}}
        made.append(finished(worker.call("runWorkflow", body, headers={"Prefer": f"example={PREFER[status]}"}))["id"])
    assert [one["workflow_run"]["id"] for one in runs(worker)["data"]] == made[::-1] + printed
    for limit in (1, 2, 3, 7):
        seen: list[str] = []
        for page in range(1, 12):
            answer = runs(worker, keyword="nummer", page=page, limit=limit)
            assert (answer["page"], answer["limit"], answer["total"]) == (page, limit, 7)
            seen += [one["workflow_run"]["id"] for one in answer["data"]]
            assert answer["has_more"] == (len(seen) < 7)
            if not answer["has_more"]:
                break
        assert seen == made[::-1]
    assert runs(worker, page=99)["data"] == []
    assert runs(worker, page=99)["has_more"] is False
    assert runs(worker, keyword="NUMMER 1")["total"] == 3
    assert runs(worker, status="failed")["total"] == 2
    assert runs(worker, keyword="Nummer 1", status="failed")["total"] == 1
    assert runs(worker, keyword="no such word")["data"] == []
    assert runs(worker, keyword=made[3])["total"] == 1


@pytest.mark.parametrize("word", ["delivery", "eve", "Grüße", 'a "quoted" word'])
def test_keyword_is_looked_for_in_outputs_inputs_and_user(worker: User, word: str) -> None:
    """A word of the answer, of what was put in, or the user's name finds the run."""
    User(worker.mock, "dify-workflow", worker.suffix, name="eve").call(
        "runWorkflow", {**BLOCKING, "inputs": {"text": 'Viele Grüße mit a "quoted" word'}}
    )
    assert runs(worker, keyword=word)["total"] == 1


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": "ten"}, {"page": 0}, {"page": "one"}, {"status": "running"}])
def test_wrong_page_or_filter_is_an_invalid_parameter(worker: User, query: dict[str, Any]) -> None:
    """Below 1, no number, no documented status."""
    answer = worker.call("listWorkflowLogs", query=query)
    assert (answer.status, answer.json["code"]) == (400, "invalid_param")


def test_limit_over_the_maximum_is_answered_as_the_maximum(worker: User) -> None:
    """The document says that the system's own limit is then returned."""
    assert runs(worker, limit=5000)["limit"] == 100


@pytest.mark.parametrize("pace", [1.0, 50.0])
@pytest.mark.parametrize("until", ["workflow_started", "node_started", "text_chunk"])
def test_stop_ends_the_stream_and_the_run_says_so(make_app: Callable[..., Caller], until: str, pace: float) -> None:
    """Within 100 ms, at any pace, `workflow_finished` comes with the status `stopped`, and nothing after it."""
    worker = User(make_app("dify-workflow", pace=pace), "dify-workflow")
    live = Live(worker.open("runWorkflow", STREAMING).body)
    event = live.step(until)
    asked = live.now
    assert worker.call("stopWorkflow", {}, task_id=event["task_id"]).json == {"result": "success"}
    rest = live.rest()
    assert live.now - asked <= 0.1
    assert [(one["event"], one["data"]["status"]) for one in rest] == [("workflow_finished", "stopped")]
    shown = detail(worker, event["workflow_run_id"])
    for name in COMPARED:
        assert shown[name] == rest[0]["data"][name], name
    assert shown["status"] == "stopped"
    assert runs(worker, status="stopped")["data"][0]["workflow_run"]["id"] == event["workflow_run_id"]


def test_stop_of_another_user_answers_success_and_stops_nothing(worker: User) -> None:
    """The stream goes on to its own end; so it does for an unknown task."""
    live = Live(worker.open("runWorkflow", STREAMING).body)
    event = live.step("node_started")
    eve = User(worker.mock, "dify-workflow", worker.suffix, name="eve")
    assert eve.call("stopWorkflow", {}, task_id=event["task_id"]).json == {"result": "success"}
    assert worker.call("stopWorkflow", {}, task_id="no-such-task").json == {"result": "success"}
    assert live.rest()[-1]["data"]["status"] == "succeeded"
    assert detail(worker, event["workflow_run_id"])["status"] == "succeeded"


def test_stop_through_another_key_stops_nothing(worker: User) -> None:
    """Tasks belong to a world, too."""
    live = Live(worker.open("runWorkflow", STREAMING).body)
    event = live.step("node_started")
    stranger = User(worker.mock, "dify-workflow", "-stranger")
    assert stranger.call("stopWorkflow", {}, task_id=event["task_id"]).json == {"result": "success"}
    assert live.rest()[-1]["data"]["status"] == "succeeded"


def test_run_whose_client_went_away_has_stopped(worker: User) -> None:
    """Nobody reads any more: the stream ends, the run is stopped, and stopping it again changes nothing."""
    live = Live(worker.open("runWorkflow", STREAMING).body)
    event = live.step("node_started")
    live.body.close()
    assert live.body.advance(live.now + 60) == ([], None)
    shown = detail(worker, event["workflow_run_id"])
    assert shown["status"] == "stopped"
    worker.call("stopWorkflow", {}, task_id=event["task_id"])
    assert detail(worker, event["workflow_run_id"]) == shown


LIMITS = {
    "dify-workflow": {
        "parameters": {
            "system_parameters": {
                "file_size_limit": 1,
                "image_file_size_limit": 2,
                "audio_file_size_limit": 3,
                "video_file_size_limit": 4,
            }
        }
    }
}


@pytest.mark.parametrize("kind", FILES)
def test_upload_may_be_as_large_as_announced_for_its_type(
    make_app: Callable[..., Caller], tmp_path: Path, kind: str
) -> None:
    """One byte more than `/parameters` says is 413 `file_too_large`."""
    path = tmp_path / "app.yaml"
    path.write_text(yaml.safe_dump(LIMITS), encoding="utf-8")
    worker = User(make_app("dify-workflow", app=path), "dify-workflow")
    announced = worker.call("getParameters").json["system_parameters"]
    limit = announced["file_size_limit" if kind == "document" else f"{kind}_file_size_limit"] << 20
    assert upload(worker, FILES[kind], b"x" * limit)["size"] == limit
    refused = worker.call("uploadFile", form={"file": (FILES[kind], b"x" * (limit + 1))})
    assert (refused.status, refused.json["code"]) == (413, "file_too_large")


@pytest.mark.parametrize("name", ["virus.exe", "archive.tar.gz"])
def test_upload_of_an_unknown_type_is_refused(worker: User, name: str) -> None:
    """An ending that no document lists is 415 `unsupported_file_type`."""
    refused = worker.call("uploadFile", form={"file": (name, b"x")})
    assert (refused.status, refused.json["code"]) == (415, "unsupported_file_type")


@pytest.mark.parametrize("name", ["file", "no-ending", ".txt"])
def test_upload_without_an_ending_is_taken(worker: User, name: str) -> None:
    """The printed command uploads `/path/to/file`, whose name has no ending that could be unsupported."""
    answer = worker.call("uploadFile", form={"file": (name, b"x")})
    assert (answer.status, answer.json["extension"]) == (201, "")


def test_upload_of_a_type_that_is_not_announced_is_refused(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """An app that takes images and `.log` files takes nothing else."""
    path = tmp_path / "app.yaml"
    allowed = {"allowed_file_types": ["image", "custom"], "allowed_file_extensions": [".LOG"]}
    tables = {"dify-workflow": {"parameters": {"user_input_form": [], "file_upload": allowed}}}
    path.write_text(yaml.safe_dump(tables), encoding="utf-8")
    worker = User(make_app("dify-workflow", app=path), "dify-workflow")
    for name in ("a.png", "a.log"):
        assert upload(worker, name)["name"] == name
    for name in ("a.txt", "a.mp3"):
        assert worker.call("uploadFile", form={"file": (name, b"x")}).json["code"] == "unsupported_file_type"


def test_upload_says_what_it_is(worker: User) -> None:
    """Name, size, ending and type are the file's; the same user is always the same uploader."""
    one, other = upload(worker, "Brief an Grüße.MD", b"# a"), upload(worker, "b.png", b"")
    assert (one["name"], one["size"], one["extension"]) == ("Brief an Grüße.MD", 3, "md")
    assert (other["size"], other["extension"], other["mime_type"]) == (0, "png", "image/png")
    assert one["created_by"] == other["created_by"]
    assert one["id"] != other["id"]
