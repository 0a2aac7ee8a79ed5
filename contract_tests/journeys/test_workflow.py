"""The workflow app: what a run's stream says, its detail and the log say too; a run can be stopped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from contract_tests.journey import Journey, last, left_alone, uploaded
from contract_tests.suite import NotExercised

if TYPE_CHECKING:
    from collections.abc import Callable

    Begin = Callable[[str], Journey]

OUTCOME = ("workflow_id", "status", "error", "total_tokens", "total_steps", "created_at", "finished_at")


def body(journey: Journey, user: str, mode: str, **inputs: Any) -> dict[str, Any]:
    """Return a run's request body for this app's form."""
    operation = journey.api.operations["runWorkflow"]
    filled = journey.suite.example(operation, "curl", response_mode=mode)
    return {**filled.body, "user": user, "inputs": {**journey.texts(), **filled.body["inputs"], **inputs}}


def test_run_is_the_same_in_stream_detail_and_log(begin: Begin) -> None:
    """What `workflow_finished` says stands in the run's detail and in the log."""
    workflow = begin("dify-workflow")
    user = workflow.user("run")
    payloads = workflow.payloads("runWorkflow", body=body(workflow, user, "streaming"))
    finished = last(payloads, "workflow_finished")
    told_alike(workflow, user, finished["workflow_run_id"], finished["data"])


def test_run_is_the_same_in_blocking_answer_detail_and_log(begin: Begin) -> None:
    """What the blocking answer says stands in the run's detail and in the log; another run has ids of its own."""
    workflow = begin("dify-workflow")
    user = workflow.user("whole")
    first, second = (workflow.call("runWorkflow", body=body(workflow, user, "blocking")).json for _ in range(2))
    for field in ("workflow_run_id", "task_id"):
        so = first[field] != second[field]
        workflow.holds("runWorkflow", f"another `{field}` for another run", second[field], "001:63-64", so=so)
    expected, got = first["data"]["workflow_id"], second["data"]["workflow_id"]
    workflow.same("runWorkflow", "the workflow that ran before,", expected, got, "001:67")
    users = {entry["created_by_end_user"]["id"] for run in (first, second) for entry in entries(workflow, user, run)}
    so = len(users) <= 1
    workflow.holds("listWorkflowLogs", "one end user for two runs of one user", sorted(users), "001:500-501", so=so)


def entries(workflow: Journey, user: str, run: dict[str, Any]) -> list[Any]:
    """Demand that all accounts of a blocking run agree; return its entry in the log, if it has one."""
    entry = told_alike(workflow, user, run["workflow_run_id"], run["data"])
    return [entry] if entry else []


def told_alike(workflow: Journey, user: str, run: str, data: dict[str, Any]) -> Any:
    """Demand that a run's detail and its entry in the log say what its answer said; return the entry."""
    detail = workflow.call("getWorkflowRun", path={"workflow_run_id": run}).json
    workflow.same("getWorkflowRun", "the id of the run,", run, detail["id"], "001:87, 001:310")
    same_outcome(workflow, "getWorkflowRun", data, detail, "001:66-75, 001:133-143, 001:309-320")
    for field, expected in (("outputs", data["outputs"]), ("inputs", body(workflow, user, "blocking")["inputs"])):
        told = json.loads(detail[field]) if isinstance(detail[field], str) else detail[field]
        got = {key: told.get(key) for key in expected or {}} if field == "inputs" and isinstance(told, dict) else told
        workflow.same("getWorkflowRun", f"the {field} of the run,", expected or None, got or None, "001:313-314")
    entry = next((one for one in logged(workflow) if one["workflow_run"]["id"] == run), None)
    workflow.holds(
        "listWorkflowLogs", f"an entry of the run {run} among the latest", entry, "001:480-505", so=entry is not None
    )
    if entry:
        same_outcome(workflow, "listWorkflowLogs", data, entry["workflow_run"], "001:133-143, 001:487-496")
        expected = ["service-api", "end_user", user]
        got = [entry["created_from"], entry["created_by_role"], (entry["created_by_end_user"] or {}).get("session_id")]
        workflow.same("listWorkflowLogs", "where the run came from, and whose it is,", expected, got, "001:497-504")
    return entry


def same_outcome(workflow: Journey, name: str, expected: dict[str, Any], got: dict[str, Any], source: str) -> None:
    """Demand that two accounts of a run agree; times only where both are numbers, since older details had dates."""
    for field in OUTCOME:
        one, other = expected.get(field), got.get(field)
        if field in expected and field in got and not (field.endswith("_at") and isinstance(other, str)):
            workflow.same(name, f"`{field}` as the run answered,", one or None, other or None, source)
    one, other = expected.get("elapsed_time"), got.get("elapsed_time")
    if isinstance(one, int | float) and isinstance(other, int | float):
        what = f"`elapsed_time` within a second of what the run answered, {one}"
        workflow.holds(name, what, other, source, so=abs(one - other) <= 1)


def logged(workflow: Journey, **query: str) -> list[Any]:
    """Return one page of the log; demand that its numbers are those of its entries."""
    asked = {"limit": "20", **query}
    found = workflow.call("listWorkflowLogs", query=asked).json
    before, data = (int(asked.get("page", "1")) - 1) * int(asked["limit"]), list(found["data"])
    total = found["total"]
    counted = before + len(data)
    what = f"a total above {counted}" if found["has_more"] else f"the total {counted}, since no more follow,"
    so = total > counted if found["has_more"] else total == counted or not data
    workflow.holds("listWorkflowLogs", what, total, "001:482-485", so=so)
    ids = [entry["id"] for entry in data]
    workflow.holds("listWorkflowLogs", "every entry once", ids, "001:485-486", so=len(set(ids)) == len(ids))
    return data


def test_runs_are_numbered_upwards(begin: Begin) -> None:
    """A run has a higher number than the run before it."""
    workflow = begin("dify-workflow")
    asked = body(workflow, workflow.user("numbers"), "streaming")
    runs = (last(workflow.payloads("runWorkflow", body=asked), "workflow_started") for _ in range(2))
    first, second = (run["data"].get("sequence_number") for run in runs)
    if first is None or second is None:
        raise NotExercised("the target does not number its runs")  # which the stream's own judge tells
    workflow.holds("runWorkflow", f"a `sequence_number` above {first}", second, "001:92", so=second > first)


def test_both_modes_answer_the_same(begin: Begin) -> None:
    """Where the target is deterministic the stream ends with what the blocking answer says."""
    workflow = begin("dify-workflow")
    if not workflow.deterministic:
        raise NotExercised("the target is not deterministic")
    user = workflow.user("modes")
    whole = workflow.call("runWorkflow", body=body(workflow, user, "blocking")).json["data"]
    finished = last(workflow.payloads("runWorkflow", body=body(workflow, user, "streaming")), "workflow_finished")[
        "data"
    ]
    for field in ("status", "outputs", "error"):
        workflow.same(
            "runWorkflow",
            f"`{field}` as in the blocking answer,",
            whole[field],
            finished[field],
            "001:61-75, 001:133-143",
        )


def test_uploaded_file_goes_into_a_run(begin: Begin) -> None:
    """A file that was uploaded can be handed to a run, whose detail knows it."""
    workflow = begin("dify-workflow")
    user = workflow.user("upload")
    file = uploaded(workflow, user, "a note")
    one = {"type": "document", "transfer_method": "local_file", "upload_file_id": file["id"]}
    name, value = file_variable(workflow, one)
    run = workflow.call("runWorkflow", body=body(workflow, user, "blocking", **{name: value})).json
    stranger = body(workflow, workflow.user("other"), "blocking", **{name: value})
    why = "an upload is for its own user only (001:402)"
    source = "001:402, ruling uploads-belong-to-their-user"
    workflow.call("runWorkflow", body=stranger, refused="invalid-request", why=why, source=source)
    detail = workflow.call("getWorkflowRun", path={"workflow_run_id": run["workflow_run_id"]}).json
    said = json.dumps(detail["inputs"])
    workflow.holds(
        "getWorkflowRun", f"the file {file['id']} among the inputs", detail["inputs"], "001:313", so=file["id"] in said
    )


def file_variable(workflow: Journey, one: dict[str, str]) -> tuple[str, Any]:
    """Return a variable of the app's form that takes a file, with the file as it wants it; else the document's."""
    for control in workflow.suite.parameters("dify-workflow").get("user_input_form", []):
        for kind, settings in control.items():
            if kind in ("file", "file-list"):
                return settings["variable"], one if kind == "file" else [one]
    return "orig_mail", [one]


def test_log_is_filtered_paged_and_newest_first(begin: Begin) -> None:
    """Each filter keeps what it says, two pages have nothing in common, times never grow."""
    workflow = begin("dify-workflow")
    user = workflow.user("log")
    runs = [workflow.call("runWorkflow", body=body(workflow, user, "blocking")).json for _ in range(3)]
    ids = {run["workflow_run_id"] for run in runs if run["data"]["status"] == "succeeded"}
    times = [entry["created_at"] for entry in logged(workflow)]
    workflow.holds(
        "listWorkflowLogs",
        "entries from the latest to the earliest",
        times,
        "001:464, 001:485",
        so=times == sorted(times, reverse=True),
    )
    for status in ("succeeded", "failed", "stopped"):
        found = {entry["workflow_run"]["status"] for entry in logged(workflow, status=status)}
        workflow.holds(
            "listWorkflowLogs",
            f"entries with the status {status} only",
            sorted(found),
            "001:470-472",
            so=found <= {status},
        )
    for filters in ({"status": "succeeded"}, {"keyword": user}):
        shown = {entry["workflow_run"]["id"] for entry in logged(workflow, **filters)}
        what = f"the runs that fit {filters}"
        workflow.holds("listWorkflowLogs", what, sorted(shown), "001:467-472", so=ids <= shown)
    nothing = workflow.call("listWorkflowLogs", query={"keyword": f"nobody-said-{workflow.run}"}).json
    workflow.same("listWorkflowLogs", "nothing for a keyword that nobody said,", 0, nothing["total"], "001:467-469")
    pages(workflow)


def pages(workflow: Journey) -> None:
    """Demand of the log's first two pages what holds even if others run something meanwhile."""
    first, second = (workflow.call("listWorkflowLogs", query={"limit": "1", "page": page}).json for page in ("1", "2"))
    for number, page in ((1, first), (2, second)):
        workflow.same("listWorkflowLogs", "the page that was asked for,", number, page["page"], "001:473-475, 001:481")
        workflow.same("listWorkflowLogs", "the limit that was asked for,", 1, page["limit"], "001:476-478, 001:482")
        workflow.same(
            "listWorkflowLogs", "`has_more` where more follow,", page["total"] > number, page["has_more"], "001:484"
        )
        workflow.same("listWorkflowLogs", "as many entries as the limit,", 1, len(page["data"]), "001:476-478")
    ids = [page["data"][0]["id"] for page in (first, second) if page["data"]]
    workflow.holds(
        "listWorkflowLogs", "different entries on different pages", ids, "001:473-475", so=len(set(ids)) == len(ids)
    )


def test_run_is_stopped_in_mid_stream(begin: Begin) -> None:
    """After stop the stream ends as stopped, and the detail and the log say so."""
    workflow = begin("dify-workflow")
    user = workflow.user("stop")
    payloads = workflow.stopped("runWorkflow", "stopWorkflow", body(workflow, user, "streaming"), "001:352-391")
    finished = last(payloads, "workflow_finished")
    workflow.same(
        "runWorkflow", "a run that was stopped,", "stopped", finished["data"]["status"], "001:68, 001:352-391"
    )
    run = finished["workflow_run_id"]
    detail = workflow.call("getWorkflowRun", path={"workflow_run_id": run}).json
    workflow.same("getWorkflowRun", "a run that was stopped,", "stopped", detail["status"], "001:312")
    ids = [entry["workflow_run"]["id"] for entry in logged(workflow, status="stopped")]
    workflow.holds("listWorkflowLogs", f"the run {run} among the stopped", ids, "001:470-472", so=run in ids)


def test_another_user_cannot_stop_a_run(begin: Begin) -> None:
    """Stop wants the user who began the run."""
    workflow = begin("dify-workflow")
    asked = body(workflow, workflow.user("going-on"), "streaming")
    left_alone(workflow, "runWorkflow", "stopWorkflow", asked, "001:364-365")
