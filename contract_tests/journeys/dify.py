"""Checks that both Dify apps share: stopping a run, required inputs, uploads of other users."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from contract_tests.cases import sample_files as samples
from contract_tests.cases.app_inputs import LOCAL
from contract_tests.journeys.journey import find_last_event
from contract_tests.suite.not_exercised import NotExercised

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from contract_tests.journeys.journey import Journey
    from contract_tests.journeys.response_values import Event, ResponseValue

_SEEN = "observed: Dify 0.14.0, 1.4.1"
_WELL = ("succeeded", "partial-succeeded")
_TOO_FAST = "the stream was over before a stop could show: a slower app would show it"


class App(NamedTuple):
    """What differs between the two apps: the operations, and the source of each demand.

    ``stopping``  a stop ends the run; ``whose``  only the user who started it may; ``ending``  status of a run;
    ``private``   uploads are for their own user; ``uploading``  answer to an upload;
    ``form``      a control says whether it is required; ``numbering``  of runs
    """

    run: str
    stop: str
    stopping: tuple[str, ...]
    whose: tuple[str, ...]
    ending: tuple[str, ...]
    private: tuple[str, ...]
    uploading: tuple[str, ...]
    form: tuple[str, ...]
    numbering: tuple[str, ...]


WORKFLOW = App(
    "runWorkflow",
    "stopWorkflow",
    stopping=("001:136", "001:352-391"),
    whose=("001:364-365",),
    ending=("001:129", "001:136"),
    private=("001:402", "ruling uploads-belong-to-their-user"),
    uploading=("001:411-417",),
    form=("001:616", "001:621", "001:626"),
    numbering=("001:92",),
)
CHAT = App(
    "sendChatMessage",
    "stopChatMessage",
    stopping=("004:180", "004:358-373"),
    whose=("004:370-371",),
    ending=("004:173", "004:180"),
    private=("004:303", "ruling dify-workflow/uploads-belong-to-their-user"),
    uploading=("004:316-321",),
    form=("004:944", "004:949", "004:954"),
    numbering=("004:138",),
)


class Interrupted(NamedTuple):
    """The events of a stream during which an action was taken, and how long it went on after that."""

    events: list[Event]
    went_on_s: float

    @property
    def status(self) -> Any:
        """The status of the run; None where the stream has none."""
        return read_status(self.events)


def read_status(events: list[Event]) -> Any:
    """Return the status of the last `workflow_finished`; None where there is none."""
    found = [event.payload.get("data", "status") for event in events if event.kind == "workflow_finished"]
    return found[-1] if found else None


def interrupt(journey: Journey, name: str, body: Any, act: Callable[[str], Any]) -> Interrupted:
    """Request a stream; call `act` with its task id as soon as an event has it, and read on."""
    events: list[Event] = []
    done_s: float | None = None
    began = time.monotonic()
    with journey.open_stream(name, interrupted=True, body=body) as stream:
        for event in stream:
            events.append(event)
            task = event.payload.get("task_id")
            if done_s is None and isinstance(task, str):
                act(task)
                done_s = time.monotonic() - began
    if done_s is None:
        raise NotExercised("no event of the stream has a task id")
    return Interrupted(events, events[-1].at_s - done_s)


def stop_run(journey: Journey, app: App, body: dict[str, Any]) -> list[Event]:
    """Request a stream and stop it; demand that the run ends as stopped, and return its events.

    A stream that goes on regardless is a violation; one that ended at once shows nothing.
    """
    run = interrupt(
        journey,
        app.run,
        body,
        lambda task: journey.call(app.stop, path={"task_id": task}, body={"user": body["user"]}),
    )
    if run.status not in _WELL:
        find_last_event(run.events, "workflow_finished")
        if run.status != "stopped" and run.status == read_status(journey.read_events(app.run, body=body)):
            raise NotExercised(f"this app's runs end as {run.status} anyway")
        journey.expect_equal(app.run, "a run that was stopped,", "stopped", run.status, *app.stopping)
        return run.events
    limit_s = journey.suite.target.stop_s
    if run.went_on_s <= limit_s:
        raise NotExercised(_TOO_FAST)
    expected = f"the end of the stream within {limit_s:g} s after the stop was granted"
    journey.add_violation(
        app.run, "stop", expected, f"{run.went_on_s:.1f} s more, and the run succeeded", *app.stopping
    )
    raise NotExercised("the stop had no effect")


def check_stop_by_other_user(journey: Journey, app: App, body: dict[str, Any]) -> None:
    """Demand that a run continues to its end when another user asks to stop it, whatever the answer to that."""
    journey.suite.apps.check_allowed(journey.api.operations[app.stop])
    other = journey.create_user("other")
    run = interrupt(
        journey, app.run, body, lambda task: journey.try_call(app.stop, path={"task_id": task}, body={"user": other})
    )
    if run.status in _WELL:
        if run.went_on_s <= journey.suite.target.stop_s:
            raise NotExercised(_TOO_FAST)
        return
    undisturbed = read_status(journey.read_events(app.run, body=body))
    if undisturbed == run.status:
        raise NotExercised(f"this app's runs end as {undisturbed} anyway")
    journey.expect_equal(app.run, "a run that another user cannot stop,", undisturbed, run.status, *app.whose)


def run_failing_flow(journey: Journey, app: App, body: dict[str, Any]) -> list[Event]:
    """Run a flow that fails; demand that its stream ends as failed, and return its events."""
    failing = journey.use_failing_flow()
    own = {name: value for name, value in failing.flow.values.items() if name in body}
    events = failing.read_events(app.run, body={**give_files(failing, body["user"], body), **own})
    finished = find_last_event(events, "workflow_finished")
    journey.expect_equal(app.run, "a run that failed,", "failed", finished.get("data", "status"), *app.ending)
    error = finished.get("data", "error")
    journey.expect(app.run, "the reason of the failure as `error`", error, _SEEN, condition=bool(error))
    return events


def check_required_inputs(journey: Journey, app: App, body: dict[str, Any]) -> None:
    """Demand that a run without an input that the app's form requires, and that has no default, is refused."""
    needed = [control.variable for control in journey.list_controls() if control.required and not control.default]
    if not needed:
        raise NotExercised("the app's form requires no input")
    for variable in needed:
        inputs = {name: value for name, value in body["inputs"].items() if name != variable}
        why = f"the form requires `{variable}`"
        journey.call(app.run, body={**body, "inputs": inputs}, refused="wrong-input", why=why, source=app.form)


def leave_out_files(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that hold no file: how a server tells which file it was given no document says."""
    return {name: value for name, value in inputs.items() if not _holds_file(value)}


def give_files(journey: Journey, user: str, value: Any) -> Any:
    """Return a value in which each file that the suite has uploaded is one that a user has: nobody else may use it."""
    if isinstance(value, list):
        return [give_files(journey, user, item) for item in value]
    if isinstance(value, dict) and value.get("transfer_method") == LOCAL and "upload_file_id" in value:
        return {**value, "upload_file_id": journey.upload("uploadFile", value["type"], user=user)[0]["id"].text}
    if isinstance(value, dict):
        return {name: give_files(journey, user, item) for name, item in value.items()}
    return value


def _holds_file(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return any(isinstance(item, dict) and "transfer_method" in item for item in items)


def upload_two_files(journey: Journey, app: App, user: str, hint: str) -> ResponseValue:
    """Upload two files; demand that each answer describes its file; return the first answer."""
    answers: list[ResponseValue] = []
    for number in (1, 2):
        file = samples.upload(hint, f"{journey.run}-{number}")
        answers.append(journey.call("uploadFile", body={"file": file, "user": user}))
        expected = [file.filename, len(file.content), file.filename.rpartition(".")[2], file.content_type]
        got = [answers[-1].get(name) for name in ("name", "size", "extension", "mime_type")]
        journey.expect_equal(
            "uploadFile", "name, size, ending and type as they were sent,", expected, got, *app.uploading
        )
    first, second = answers
    condition = first["id"].text != second["id"].text
    journey.expect("uploadFile", "another id for another file", second.get("id"), *app.uploading, condition=condition)
    owners = first.get("created_by"), second.get("created_by")
    journey.expect_equal("uploadFile", "the same owner for the same user,", *owners, *app.uploading)
    return first


def check_upload_is_private(journey: Journey, app: App, body: dict[str, Any]) -> None:
    """Demand that a run on a file that another user uploaded is refused."""
    why = "an upload is for its own user only"
    stranger = {**body, "user": journey.create_user("other")}
    journey.call(app.run, body=stranger, refused="other-users-file", why=why, source=app.private)


def check_numbering(journey: Journey, app: App, body: dict[str, Any]) -> None:
    """Demand that a run has a higher number than the run before it."""
    runs = [find_last_event(journey.read_events(app.run, body=body), "workflow_started")["data"] for _ in range(2)]
    if any(run.get("sequence_number") is None for run in runs):
        raise NotExercised("the target does not number its runs")  # which the judge of the stream has recorded
    first, second = (run["sequence_number"].number for run in runs)
    journey.expect(app.run, f"a `sequence_number` above {first}", second, *app.numbering, condition=second > first)
