"""The workflow app: what a run's stream says, its detail and the log say too; a run can be stopped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from contract_tests.cases.app_inputs import LOCAL
from contract_tests.journeys import dify
from contract_tests.journeys.dify import WORKFLOW
from contract_tests.journeys.journey import last
from contract_tests.suite.not_exercised import NotExercised

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract_tests.journeys.journey import Journey
    from contract_tests.journeys.said import Said

    Begin = Callable[[str], Journey]

OUTCOME = ("workflow_id", "status", "error", "total_tokens", "total_steps")
TIMES = ("created_at", "finished_at", "elapsed_time")
SEEN = "observed: Dify 0.14.0, 1.4.1, 1.14.2"
BY_USER = "observed: Dify 0.14.0, 1.4.1, 1.14.2 (150_logs_keyword)"

OF_APP = "observed: Dify 0.14.0, 1.14.2 (088_rundetail_other_app_key)"  # no line says what one key opens of another's


def body(journey: Journey, user: str, mode: str, **inputs: Any) -> dict[str, Any]:
    """Return a run's request body for this app's form."""
    operation = journey.api.operations["runWorkflow"]
    filled = journey.suite.values.example(operation, "curl", response_mode=mode)
    return {**filled.body, "user": user, "inputs": {**journey.texts(), **filled.body["inputs"], **inputs}}


def run(workflow: Journey, user: str) -> Said:
    """Run the workflow; return the whole answer."""
    return workflow.call("runWorkflow", body=body(workflow, user, "blocking"))


def test_run_is_the_same_in_stream_detail_and_log(begin: Begin) -> None:
    """What `workflow_finished` says stands in the run's detail and in the log."""
    workflow = begin("dify-workflow")
    user = workflow.user("run")
    events = workflow.events("runWorkflow", body=body(workflow, user, "streaming"))
    finished = last(events, "workflow_finished")
    told_alike(workflow, user, finished["workflow_run_id"].text, finished["data"])


def test_run_is_the_same_in_blocking_answer_detail_and_log(begin: Begin) -> None:
    """What the blocking answer says stands in the run's detail and in the log; another run has ids of its own."""
    workflow = begin("dify-workflow")
    user = workflow.user("whole")
    first, second = (run(workflow, user) for _ in range(2))
    for field in ("workflow_run_id", "task_id"):
        so = first[field].text != second[field].text
        workflow.expect(
            "runWorkflow", f"another `{field}` for another run", second.get(field), "001:63-64", condition=so
        )
    for answer in (first, second):
        what, expected = "`data.id` equal to `workflow_run_id`", answer.get("workflow_run_id")
        lines = ("001:63", "001:66", "ruling run-ids-agree")
        workflow.same("runWorkflow", what, expected, answer.get("data", "id"), *lines)
    of_one_workflow = (first.get("data", "workflow_id"), second.get("data", "workflow_id"))
    workflow.same("runWorkflow", "the workflow that ran before,", *of_one_workflow, "001:67")
    entries = [told_alike(workflow, user, one["workflow_run_id"].text, one["data"]) for one in (first, second)]
    users = {entry["created_by_end_user"]["id"].text for entry in entries if entry}
    so = len(users) <= 1
    workflow.expect(
        "listWorkflowLogs", "one end user for two runs of one user", sorted(users), "001:500-501", condition=so
    )


def told_alike(workflow: Journey, user: str, run: str, data: Said) -> Said | None:
    """Demand that a run's detail and its entry in the log say what its answer said; return the entry."""
    detail = workflow.call("getWorkflowRun", path={"workflow_run_id": run})
    workflow.same("getWorkflowRun", "the id of the run,", run, detail.get("id"), "001:87", "001:310")
    same_outcome(workflow, "getWorkflowRun", data, detail, "001:66-75", "001:133-143", "001:309-320")
    given = body(workflow, user, "blocking")["inputs"]
    for field, expected in (("outputs", data.get("outputs")), ("inputs", given)):
        told = unpacked(detail.get(field))
        got = {key: told.get(key) for key in expected} if field == "inputs" and isinstance(told, dict) else told
        workflow.same("getWorkflowRun", f"the {field} of the run,", expected or None, got or None, "001:313-314")
    entry = next((entry for entry in logged(workflow) if entry.get("workflow_run", "id") == run), None)
    what = f'an entry among the latest of the run "{run}"'
    workflow.expect("listWorkflowLogs", what, entry and entry.value, "001:480-505", condition=entry is not None)
    if entry:
        told_by_whom(workflow, user, entry)
        same_outcome(workflow, "listWorkflowLogs", data, entry["workflow_run"], "001:133-143", "001:487-496")
    return entry


def told_by_whom(workflow: Journey, user: str, entry: Said) -> None:
    """Demand that an entry of the log says where the run came from, and whose it is."""
    got = [entry.get("created_from"), entry.get("created_by_role")]
    lines = ("001:497-498", "001:536-537")
    workflow.same("listWorkflowLogs", "where the run came from,", ["service-api", "end_user"], got, *lines)
    session = entry.get("created_by_end_user", "session_id")
    workflow.same("listWorkflowLogs", "the user as the session,", user, session, SEEN)


def unpacked(value: Any) -> Any:
    """Return a JSON value that may be written as text; a text that is none stays one."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def same_outcome(workflow: Journey, name: str, expected: Said, got: Said, *source: str) -> None:
    """Demand that two accounts of a run agree; in their times to a second, and where both are numbers, not dates."""
    for field in OUTCOME:
        if expected.has(field) and got.has(field):
            before, now = expected.get(field), got.get(field)
            workflow.same(name, f"`{field}` as the run answered,", before or None, now or None, *source)
    for field in TIMES:
        before, now = expected.get(field), got.get(field)
        if isinstance(before, int | float) and isinstance(now, int | float):
            what = f"`{field}` within a second of what the run answered, {before}"
            lines = (*source, "ruling elapsed-time-is-measured-twice")
            workflow.expect(name, what, now, *lines, condition=abs(before - now) <= 1)


def logged(workflow: Journey, **query: str) -> list[Said]:
    """Return one page of the log; demand that its numbers are those of its entries."""
    asked = {"limit": "20", **query}
    found = workflow.call("listWorkflowLogs", query=asked)
    before, data = (int(asked.get("page", "1")) - 1) * int(asked["limit"]), found["data"].rows
    total = found["total"].number
    counted, more = before + len(data), found["has_more"].flag
    what = f"a total above {counted}" if more else f"the total {counted}, since no more follow,"
    so = total > counted if more else total == counted or not data
    workflow.expect("listWorkflowLogs", what, total, "001:482-485", condition=so)
    ids = [entry["id"].text for entry in data]
    workflow.expect("listWorkflowLogs", "every entry once", ids, "001:485-486", condition=len(set(ids)) == len(ids))
    return data


def runs(entries: list[Said]) -> set[str]:
    """Return the ids of the runs of some entries."""
    return {entry["workflow_run"]["id"].text for entry in entries}


def test_runs_are_numbered_upwards(begin: Begin) -> None:
    """A run has a higher number than the run before it."""
    workflow = begin("dify-workflow")
    dify.numbered_upwards(workflow, WORKFLOW, body(workflow, workflow.user("numbers"), "streaming"))


def test_both_modes_answer_the_same(begin: Begin) -> None:
    """Where the target is deterministic the stream ends with what the blocking answer says."""
    workflow = begin("dify-workflow")
    if not workflow.deterministic:
        raise NotExercised("the target is not deterministic")
    user = workflow.user("modes")
    whole = run(workflow, user)
    finished = last(workflow.events("runWorkflow", body=body(workflow, user, "streaming")), "workflow_finished")
    for field in ("status", "outputs", "error"):
        what, lines = f"`{field}` as in the blocking answer,", ("001:61-75", "001:133-143")
        workflow.same("runWorkflow", what, whole.get("data", field), finished.get("data", field), *lines)


def test_uploaded_file_goes_into_a_run(begin: Begin) -> None:
    """A file that was uploaded can be handed to a run, whose detail knows it; another user cannot use it."""
    workflow = begin("dify-workflow")
    user = workflow.user("upload")
    variable, kind = file_variable(workflow)
    file = dify.uploaded(workflow, WORKFLOW, user, "a note")["id"].text
    document = {"type": "document", "transfer_method": "local_file", "upload_file_id": file}
    asked = body(workflow, user, "blocking", **{variable: document if kind == "file" else [document]})
    answer = workflow.call("runWorkflow", body=asked)
    dify.refused_to_others(workflow, WORKFLOW, asked)
    detail = workflow.call("getWorkflowRun", path={"workflow_run_id": answer["workflow_run_id"].text})
    inputs = detail.get("inputs")
    so = file in json.dumps(inputs)
    workflow.expect("getWorkflowRun", f'among the inputs the file "{file}"', inputs, "001:313", condition=so)


def file_variable(workflow: Journey) -> tuple[str, str]:
    """Return a variable of the app's form that takes documents, and whether it takes one (`file`) or several."""
    for control in workflow.controls():
        takes = control.files
        if control.kind in ("file", "file-list") and "document" in takes.sorts and LOCAL in takes.methods:
            return control.variable, control.kind
    raise NotExercised("the app's form takes no document")


def test_log_is_filtered_paged_and_newest_first(begin: Begin) -> None:
    """Each filter keeps what it says, two pages have nothing in common, times never grow."""
    workflow = begin("dify-workflow")
    user = workflow.user("log")
    asked = body(workflow, user, "blocking", **everywhere(workflow, user))
    made = [workflow.call("runWorkflow", body=asked) for _ in range(3)]
    ids = {one["workflow_run_id"].text for one in made if one.get("data", "status") == "succeeded"}
    times = [entry["created_at"].number for entry in logged(workflow)]
    what = "entries from the latest to the earliest"
    so = times == sorted(times, reverse=True)
    workflow.expect("listWorkflowLogs", what, times, "001:464", "001:485", condition=so)
    for status in ("succeeded", "failed", "stopped"):
        found = {entry["workflow_run"]["status"].text for entry in logged(workflow, status=status)}
        what = f"entries with the status {status} only"
        workflow.expect("listWorkflowLogs", what, sorted(found), "001:470-472", condition=found <= {status})
    shown = runs(logged(workflow, status="succeeded"))
    what = "the latest runs that succeeded"
    workflow.expect("listWorkflowLogs", what, sorted(shown), "001:467-472", condition=ids <= shown)
    shown = runs(logged(workflow, keyword=user))
    # What a keyword is looked for in is not printed: it stands in the inputs, too, unless the form takes no such text.
    lines = ("001:467-469",) if user in asked["inputs"].values() else (BY_USER,)
    workflow.expect(
        "listWorkflowLogs", f'the runs for the keyword "{user}"', sorted(shown), *lines, condition=ids <= shown
    )
    nothing = workflow.call("listWorkflowLogs", query={"keyword": f"nobody-said-{workflow.run}"})
    what = "nothing for a keyword that nobody said,"
    workflow.same("listWorkflowLogs", what, 0, nothing.get("total"), "001:467-469")
    two_pages(workflow)


def everywhere(workflow: Journey, text: str) -> dict[str, str]:
    """Return a text as the value of each control of the app's form that is wide enough for it."""
    wide = [control for control in workflow.controls() if not 0 < control.longest < len(text)]
    return {control.variable: text for control in wide if control.takes("text")}


def two_pages(workflow: Journey) -> None:
    """Demand of the log's first two pages what holds even if others run something meanwhile."""
    pages = [workflow.call("listWorkflowLogs", query={"limit": "1", "page": page}) for page in ("1", "2")]
    for number, page in enumerate(pages, 1):
        page_as_asked(workflow, number, page)
    ids = [row["id"].text for page in pages for row in page["data"].rows[:1]]
    so = len(set(ids)) == len(ids)
    workflow.expect("listWorkflowLogs", "different entries on different pages", ids, "001:473-475", condition=so)


def page_as_asked(workflow: Journey, number: int, page: Said) -> None:
    """Demand of a page of one entry that it is the page, as long, and says whether more follow."""
    asked = "the page that was asked for,"
    workflow.same("listWorkflowLogs", asked, number, page.get("page"), "001:473-475", "001:481")
    workflow.same("listWorkflowLogs", "the limit that was asked for,", 1, page.get("limit"), "001:476-478", "001:482")
    more = page["total"].number > number
    workflow.same("listWorkflowLogs", "`has_more` where more follow,", more, page.get("has_more"), "001:484")
    count = len(page["data"].rows)
    workflow.same("listWorkflowLogs", "as many entries as the limit,", 1, count, "001:476-478")


def test_runs_of_one_second_are_all_shown(begin: Begin) -> None:
    """Pages of the log show every run once, those of the same second too."""
    workflow = begin("dify-workflow")
    user = workflow.user("hasty")
    made = workflow.in_one_second(
        lambda _: run(workflow, user)["workflow_run_id"].text,
        lambda: logged(workflow, keyword=user, limit="100"),
        "created_at",
    )
    if runs(logged(workflow, keyword=user, limit="100")) != set(made):
        raise NotExercised("the log cannot be narrowed to the runs of one user")
    pages = [logged(workflow, keyword=user, limit="1", page=str(number)) for number in range(1, len(made) + 1)]
    shown = [entry["workflow_run"]["id"].text for page in pages for entry in page]
    what = f"each of {len(made)} runs once, over all pages"
    lines = ("001:473-478", "001:484-486")
    workflow.expect("listWorkflowLogs", what, sorted(shown), *lines, condition=sorted(shown) == sorted(made))


def test_run_is_stopped_in_mid_stream(begin: Begin) -> None:
    """After stop the stream ends as stopped, and the detail and the log say so."""
    workflow = begin("dify-workflow")
    user = workflow.user("stop")
    events = dify.stopped(workflow, WORKFLOW, body(workflow, user, "streaming"))
    ended = last(events, "workflow_finished")["workflow_run_id"].text
    detail = workflow.call("getWorkflowRun", path={"workflow_run_id": ended})
    workflow.same(
        "getWorkflowRun", "a run that was stopped,", "stopped", detail.get("status"), "001:312", "001:352-391"
    )
    ids = runs(logged(workflow, status="stopped"))
    what = f'among the stopped the run "{ended}"'
    workflow.expect("listWorkflowLogs", what, sorted(ids), "001:470-472", condition=ended in ids)


def test_another_user_cannot_stop_a_run(begin: Begin) -> None:
    """Stop wants the user who began the run."""
    workflow = begin("dify-workflow")
    dify.left_alone(workflow, WORKFLOW, body(workflow, workflow.user("going-on"), "streaming"))


def test_run_that_fails_says_so(begin: Begin) -> None:
    """A run that fails ends its stream as failed, and its detail says so."""
    workflow = begin("dify-workflow")
    events = dify.failed(workflow, WORKFLOW, body(workflow, workflow.user("failing"), "streaming"))
    finished = last(events, "workflow_finished")
    path = {"workflow_run_id": finished["workflow_run_id"].text}
    detail = workflow.failing().ask_anyhow("getWorkflowRun", path=path)
    if detail.has("workflow_id"):  # a flow that is made to fail need not keep its runs
        workflow.same("getWorkflowRun", "a run that failed,", "failed", detail.get("status"), "001:312")


def test_another_app_sees_nothing(begin: Begin) -> None:
    """A run is its app's own: another app's key neither finds it nor lists it."""
    workflow = begin("dify-workflow")
    other = workflow.second()
    ran = run(workflow, workflow.user("own"))["workflow_run_id"].text
    listed = runs(logged(other))
    what = f'no run of another app, "{ran}"'
    workflow.expect("listWorkflowLogs", what, sorted(listed), "001:464", OF_APP, condition=ran not in listed)
    why = "the run is another app's"
    other.call("getWorkflowRun", path={"workflow_run_id": ran}, refused="unknown-id", why=why, source=(OF_APP,))


def test_required_inputs_are_demanded(begin: Begin) -> None:
    """A run without an input that the form requires is refused at once."""
    workflow = begin("dify-workflow")
    dify.required_inputs_are_demanded(workflow, WORKFLOW, body(workflow, workflow.user("lacking"), "blocking"))


def test_required_inputs_are_demanded_of_streams(begin: Begin) -> None:
    """So is one that asks for a stream: a stream that begins and then says nothing is no refusal."""
    workflow = begin("dify-workflow")
    dify.required_inputs_are_demanded(workflow, WORKFLOW, body(workflow, workflow.user("lacking"), "streaming"))
