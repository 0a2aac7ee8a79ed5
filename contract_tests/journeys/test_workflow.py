"""The workflow app: what a run's stream says, its detail and the log say too; a run can be stopped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from contract_tests.cases.app_inputs import LOCAL
from contract_tests.journeys import dify
from contract_tests.journeys.dify import WORKFLOW
from contract_tests.journeys.journey import find_last_event
from contract_tests.suite.not_exercised import NotExercised

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract_tests.journeys.journey import Journey
    from contract_tests.journeys.response_values import ResponseValue

    Begin = Callable[[str], Journey]

API = "dify-workflow"
OUTCOME = ("workflow_id", "status", "error", "total_tokens", "total_steps")
TIMES = ("created_at", "finished_at", "elapsed_time")
SEEN = "observed: Dify 0.14.0, 1.4.1, 1.14.2"
BY_USER = "observed: Dify 0.14.0, 1.4.1, 1.14.2 (150_logs_keyword)"

OF_APP = "observed: Dify 0.14.0, 1.14.2 (088_rundetail_other_app_key)"  # no line says what one key opens of another's


def build_body(journey: Journey, user: str, mode: str, **inputs: Any) -> dict[str, Any]:
    """Return a run's request body for this app's form."""
    example = journey.suite.values.build_example(journey.api.operations["runWorkflow"], "curl", response_mode=mode)
    filled = dify.give_files(journey, user, example.body)
    return {**filled, "user": user, "inputs": {**journey.list_sample_texts(), **filled["inputs"], **inputs}}


def run_workflow(workflow: Journey, user: str) -> ResponseValue:
    """Run the workflow; return the whole answer."""
    return workflow.call("runWorkflow", body=build_body(workflow, user, "blocking"))


def test_run_is_the_same_in_stream_detail_and_log(begin: Begin) -> None:
    """What `workflow_finished` says stands in the run's detail and in the log."""
    workflow = begin(API)
    user = workflow.create_user("run")
    events = workflow.read_events("runWorkflow", body=build_body(workflow, user, "streaming"))
    finished = find_last_event(events, "workflow_finished")
    check_detail_and_log(workflow, user, finished["workflow_run_id"].text, finished["data"])


def test_run_is_the_same_in_blocking_answer_detail_and_log(begin: Begin) -> None:
    """What the blocking answer says stands in the run's detail and in the log; another run has ids of its own."""
    workflow = begin(API)
    user = workflow.create_user("whole")
    first, second = (run_workflow(workflow, user) for _ in range(2))
    for field in ("workflow_run_id", "task_id"):
        condition = first[field].text != second[field].text
        workflow.expect(
            "runWorkflow", f"another `{field}` for another run", second.get(field), "001:63-64", condition=condition
        )
    for answer in (first, second):
        what, expected = "`data.id` equal to `workflow_run_id`", answer.get("workflow_run_id")
        lines = ("001:63", "001:66", "ruling run-ids-agree")
        workflow.expect_equal("runWorkflow", what, expected, answer.get("data", "id"), *lines)
    of_one_workflow = (first.get("data", "workflow_id"), second.get("data", "workflow_id"))
    workflow.expect_equal("runWorkflow", "the workflow that ran before,", *of_one_workflow, "001:67")
    entries = [
        check_detail_and_log(workflow, user, answer["workflow_run_id"].text, answer["data"])
        for answer in (first, second)
    ]
    users = {entry["created_by_end_user"]["id"].text for entry in entries if entry}
    condition = len(users) <= 1
    workflow.expect(
        "listWorkflowLogs", "one end user for two runs of one user", sorted(users), "001:500-501", condition=condition
    )


def check_detail_and_log(workflow: Journey, user: str, run: str, data: ResponseValue) -> ResponseValue | None:
    """Demand that a run's detail and its entry in the log agree with its answer; return the entry."""
    detail = workflow.call("getWorkflowRun", path={"workflow_run_id": run})
    workflow.expect_equal("getWorkflowRun", "the id of the run,", run, detail.get("id"), "001:87", "001:310")
    check_outcome(workflow, "getWorkflowRun", data, detail, "001:66-75", "001:133-143", "001:309-320")
    given = dify.leave_out_files(build_body(workflow, user, "blocking")["inputs"])
    for field, expected in (("outputs", data.get("outputs")), ("inputs", given)):
        value = parse_if_text(detail.get(field))
        got = {key: value.get(key) for key in expected} if field == "inputs" and isinstance(value, dict) else value
        workflow.expect_equal(
            "getWorkflowRun", f"the {field} of the run,", expected or None, got or None, "001:313-314"
        )
    entry = next((entry for entry in list_log(workflow) if entry.get("workflow_run", "id") == run), None)
    what = f'an entry among the latest of the run "{run}"'
    workflow.expect("listWorkflowLogs", what, entry and entry.value, "001:480-505", condition=entry is not None)
    if entry:
        check_origin(workflow, user, entry)
        check_outcome(workflow, "listWorkflowLogs", data, entry["workflow_run"], "001:133-143", "001:487-496")
    return entry


def check_origin(workflow: Journey, user: str, entry: ResponseValue) -> None:
    """Demand that an entry of the log has the origin and the user of the run."""
    got = [entry.get("created_from"), entry.get("created_by_role")]
    lines = ("001:497-498", "001:536-537")
    workflow.expect_equal("listWorkflowLogs", "where the run came from,", ["service-api", "end_user"], got, *lines)
    session = entry.get("created_by_end_user", "session_id")
    workflow.expect_equal("listWorkflowLogs", "the user as the session,", user, session, SEEN)


def parse_if_text(value: Any) -> Any:
    """Return a JSON value; one that is sent as a text of JSON is parsed."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def check_outcome(workflow: Journey, name: str, expected: ResponseValue, got: ResponseValue, *source: str) -> None:
    """Demand that two descriptions of a run agree; times within a second, and only where both are numbers."""
    for field in OUTCOME:
        if expected.has(field) and got.has(field):
            before, now = expected.get(field), got.get(field)
            workflow.expect_equal(name, f"`{field}` as the run answered,", before or None, now or None, *source)
    for field in TIMES:
        before, now = expected.get(field), got.get(field)
        if isinstance(before, int | float) and isinstance(now, int | float):
            what = f"`{field}` within a second of what the run answered, {before}"
            lines = (*source, "ruling elapsed-time-is-measured-twice")
            workflow.expect(name, what, now, *lines, condition=abs(before - now) <= 1)


def list_log(workflow: Journey, **query: str) -> list[ResponseValue]:
    """Return a page of the log; demand that its numbers agree with its entries."""
    query = {"limit": "20", **query}
    found = workflow.call("listWorkflowLogs", query=query)
    before, data = (int(query.get("page", "1")) - 1) * int(query["limit"]), found["data"].rows
    total = found["total"].number
    counted, more = before + len(data), found["has_more"].flag
    what = f"a total above {counted}" if more else f"the total {counted}, since no more follow,"
    condition = total > counted if more else total == counted or not data
    workflow.expect("listWorkflowLogs", what, total, "001:482-485", condition=condition)
    ids = [entry["id"].text for entry in data]
    workflow.expect("listWorkflowLogs", "every entry once", ids, "001:485-486", condition=len(set(ids)) == len(ids))
    return data


def run_ids(entries: list[ResponseValue]) -> set[str]:
    """Return the ids of the runs of some entries."""
    return {entry["workflow_run"]["id"].text for entry in entries}


def test_runs_are_numbered_upwards(begin: Begin) -> None:
    """A run has a higher number than the run before it."""
    workflow = begin(API)
    dify.check_numbering(workflow, WORKFLOW, build_body(workflow, workflow.create_user("numbers"), "streaming"))


def test_both_modes_answer_the_same(begin: Begin) -> None:
    """Where the target is deterministic the stream ends with what the blocking answer says."""
    workflow = begin(API)
    if not workflow.deterministic:
        raise NotExercised("the target is not deterministic")
    user = workflow.create_user("modes")
    whole = run_workflow(workflow, user)
    finished = find_last_event(
        workflow.read_events("runWorkflow", body=build_body(workflow, user, "streaming")), "workflow_finished"
    )
    for field in ("status", "outputs", "error"):
        what, lines = f"`{field}` as in the blocking answer,", ("001:61-75", "001:133-143")
        workflow.expect_equal("runWorkflow", what, whole.get("data", field), finished.get("data", field), *lines)


def test_uploaded_file_goes_into_a_run(begin: Begin) -> None:
    """A file that was uploaded can be handed to a run, whose detail knows it; another user cannot use it."""
    workflow = begin(API)
    user = workflow.create_user("upload")
    variable, kind = find_file_variable(workflow)
    file = dify.upload_two_files(workflow, WORKFLOW, user, "a note")["id"].text
    document = {"type": "document", "transfer_method": "local_file", "upload_file_id": file}
    request = build_body(workflow, user, "blocking", **{variable: document if kind == "file" else [document]})
    answer = workflow.call("runWorkflow", body=request)
    dify.check_upload_is_private(workflow, WORKFLOW, request)
    detail = workflow.call("getWorkflowRun", path={"workflow_run_id": answer["workflow_run_id"].text})
    inputs = detail.get("inputs")
    condition = file in json.dumps(inputs)
    workflow.expect("getWorkflowRun", f'among the inputs the file "{file}"', inputs, "001:313", condition=condition)


def find_file_variable(workflow: Journey) -> tuple[str, str]:
    """Return a variable of the app's form that takes documents, and whether it takes one (`file`) or several."""
    for control in workflow.list_controls():
        takes = control.files
        if control.kind in ("file", "file-list") and "document" in takes.sorts and LOCAL in takes.methods:
            return control.variable, control.kind
    raise NotExercised("the app's form takes no document")


def test_log_is_filtered_paged_and_newest_first(begin: Begin) -> None:
    """Each filter keeps what it says, two pages have nothing in common, times never increase."""
    workflow = begin(API)
    user = workflow.create_user("log")
    request = build_body(workflow, user, "blocking", **fill_texts(workflow, user))
    made = [workflow.call("runWorkflow", body=request) for _ in range(3)]
    ids = {answer["workflow_run_id"].text for answer in made if answer.get("data", "status") == "succeeded"}
    times = [entry["created_at"].number for entry in list_log(workflow)]
    what = "entries from the latest to the earliest"
    condition = times == sorted(times, reverse=True)
    workflow.expect("listWorkflowLogs", what, times, "001:464", "001:485", condition=condition)
    for status in ("succeeded", "failed", "stopped"):
        found = {entry["workflow_run"]["status"].text for entry in list_log(workflow, status=status)}
        what = f"entries with the status {status} only"
        workflow.expect("listWorkflowLogs", what, sorted(found), "001:470-472", condition=found <= {status})
    shown = run_ids(list_log(workflow, status="succeeded"))
    what = "the latest runs that succeeded"
    workflow.expect("listWorkflowLogs", what, sorted(shown), "001:467-472", condition=ids <= shown)
    shown = run_ids(list_log(workflow, keyword=user))
    # What a keyword is looked for in is not printed: it stands in the inputs, too, unless the form takes no such text.
    lines = ("001:467-469",) if user in request["inputs"].values() else (BY_USER,)
    workflow.expect(
        "listWorkflowLogs", f'the runs for the keyword "{user}"', sorted(shown), *lines, condition=ids <= shown
    )
    nothing = workflow.call("listWorkflowLogs", query={"keyword": f"nobody-said-{workflow.run}"})
    what = "nothing for a keyword that nobody said,"
    workflow.expect_equal("listWorkflowLogs", what, 0, nothing.get("total"), "001:467-469")
    check_two_pages(workflow)


def fill_texts(workflow: Journey, text: str) -> dict[str, str]:
    """Return a text as the value of each control of the app's form that it fits."""
    wide = [control for control in workflow.list_controls() if not 0 < control.longest < len(text)]
    return {control.variable: text for control in wide if control.takes("text")}


def check_two_pages(workflow: Journey) -> None:
    """Demand of the first two pages of the log what holds even if others start runs meanwhile."""
    pages = [workflow.call("listWorkflowLogs", query={"limit": "1", "page": page}) for page in ("1", "2")]
    for number, page in enumerate(pages, 1):
        check_page(workflow, number, page)
    ids = [row["id"].text for page in pages for row in page["data"].rows[:1]]
    condition = len(set(ids)) == len(ids)
    workflow.expect("listWorkflowLogs", "different entries on different pages", ids, "001:473-475", condition=condition)


def check_page(workflow: Journey, number: int, page: ResponseValue) -> None:
    """Demand that a page of one entry has the right number, limit and `has_more`."""
    what = "the page that was asked for,"
    workflow.expect_equal("listWorkflowLogs", what, number, page.get("page"), "001:473-475", "001:481")
    workflow.expect_equal(
        "listWorkflowLogs", "the limit that was asked for,", 1, page.get("limit"), "001:476-478", "001:482"
    )
    more = page["total"].number > number
    workflow.expect_equal("listWorkflowLogs", "`has_more` where more follow,", more, page.get("has_more"), "001:484")
    count = len(page["data"].rows)
    workflow.expect_equal("listWorkflowLogs", "as many entries as the limit,", 1, count, "001:476-478")


def test_runs_of_one_second_are_all_shown(begin: Begin) -> None:
    """Pages of the log show every run once, those of the same second too."""
    workflow = begin(API)
    user = workflow.create_user("hasty")
    made = workflow.create_in_one_second(
        lambda _: run_workflow(workflow, user)["workflow_run_id"].text,
        lambda: list_log(workflow, keyword=user, limit="100"),
        "created_at",
    )
    if run_ids(list_log(workflow, keyword=user, limit="100")) != set(made):
        raise NotExercised("the log cannot be narrowed to the runs of one user")
    pages = [list_log(workflow, keyword=user, limit="1", page=str(number)) for number in range(1, len(made) + 1)]
    shown = [entry["workflow_run"]["id"].text for page in pages for entry in page]
    what = f"each of {len(made)} runs once, over all pages"
    lines = ("001:473-478", "001:484-486")
    workflow.expect("listWorkflowLogs", what, sorted(shown), *lines, condition=sorted(shown) == sorted(made))


def test_run_is_stopped_in_mid_stream(begin: Begin) -> None:
    """After stop the stream ends as stopped, and the detail and the log say so."""
    workflow = begin(API)
    user = workflow.create_user("stop")
    events = dify.stop_run(workflow, WORKFLOW, build_body(workflow, user, "streaming"))
    ended = find_last_event(events, "workflow_finished")["workflow_run_id"].text
    detail = workflow.call("getWorkflowRun", path={"workflow_run_id": ended})
    workflow.expect_equal(
        "getWorkflowRun", "a run that was stopped,", "stopped", detail.get("status"), "001:312", "001:352-391"
    )
    ids = run_ids(list_log(workflow, status="stopped"))
    what = f'among the stopped the run "{ended}"'
    workflow.expect("listWorkflowLogs", what, sorted(ids), "001:470-472", condition=ended in ids)


def test_another_user_cannot_stop_a_run(begin: Begin) -> None:
    """Stop wants the user who began the run."""
    workflow = begin(API)
    dify.check_stop_by_other_user(
        workflow, WORKFLOW, build_body(workflow, workflow.create_user("going-on"), "streaming")
    )


def test_run_that_fails_says_so(begin: Begin) -> None:
    """A run that fails ends its stream as failed, and its detail says so."""
    workflow = begin(API)
    events = dify.run_failing_flow(
        workflow, WORKFLOW, build_body(workflow, workflow.create_user("failing"), "streaming")
    )
    finished = find_last_event(events, "workflow_finished")
    path = {"workflow_run_id": finished["workflow_run_id"].text}
    detail = workflow.use_failing_flow().try_call("getWorkflowRun", path=path)
    if detail.has("workflow_id"):  # a flow that is made to fail need not keep its runs
        workflow.expect_equal("getWorkflowRun", "a run that failed,", "failed", detail.get("status"), "001:312")


def test_another_app_sees_nothing(begin: Begin) -> None:
    """A run is its app's own: another app's key neither finds it nor lists it."""
    workflow = begin(API)
    other = workflow.use_second_account()
    ran = run_workflow(workflow, workflow.create_user("own"))["workflow_run_id"].text
    listed = run_ids(list_log(other))
    what = f'no run of another app, "{ran}"'
    workflow.expect("listWorkflowLogs", what, sorted(listed), "001:464", OF_APP, condition=ran not in listed)
    why = "the run is another app's"
    other.call("getWorkflowRun", path={"workflow_run_id": ran}, refused="unknown-id", why=why, source=(OF_APP,))


def test_required_inputs_are_demanded(begin: Begin) -> None:
    """A run without an input that the form requires is refused at once."""
    workflow = begin(API)
    dify.check_required_inputs(workflow, WORKFLOW, build_body(workflow, workflow.create_user("lacking"), "blocking"))


def test_required_inputs_are_demanded_of_streams(begin: Begin) -> None:
    """So is one that asks for a stream: a stream that begins and then says nothing is no refusal."""
    workflow = begin(API)
    dify.check_required_inputs(workflow, WORKFLOW, build_body(workflow, workflow.create_user("lacking"), "streaming"))
