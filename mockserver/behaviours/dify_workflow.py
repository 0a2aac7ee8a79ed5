"""The workflow app: a run can be stopped while it goes on, and looked up and found in the log afterwards."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from mockserver.behaviours import dify
from mockserver.behaviours import input_forms as forms
from mockserver.behaviours.action import find_text, listen, tell_when_stopped
from mockserver.state.store import Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockserver.behaviours.action import Action, Behaviour
    from mockserver.http.messages import End, Reply
    from mockserver.state.store import Record
    from mockserver.state.worlds import World

_OUTCOME = ("status", "outputs", "error", "elapsed_time", "total_tokens", "total_steps", "created_at", "finished_at")
_LOGGED = (
    "id",
    "version",
    "status",
    "error",
    "elapsed_time",
    "total_tokens",
    "total_steps",
    "created_at",
    "finished_at",
)


def run_workflow(act: Action) -> Reply:
    """Run, and keep what the reply says of the run."""
    forms.check_inputs(act, act.request.body.get("inputs") or {}, dify.get_user(act))
    act.context.ids["run"], act.context.ids["task"] = act.world.make_ids(2)
    reply = act.reply(sequence_number=act.world.store.count("runs"), steps=0)
    run = _Run(act, reply)
    listen(reply, run.hear, run.end)
    tell_when_stopped(reply, run.count_steps)
    return reply


class _Run:
    """One run, as far as its reply has told it."""

    def __init__(self, act: Action, reply: Reply) -> None:
        self._act, self._reply = act, reply
        self._user = dify.get_user(act)
        self._id: str | None = None
        self._task: str | None = None
        self._steps = 0
        self._error: str | None = None

    def hear(self, said: Any) -> None:
        """Take over what one event, or the whole body, says of the run."""
        if isinstance(said, dict) and said.get("event") == "error":
            self._error = find_text(said, "message")
        if not isinstance(said, dict) or not find_text(said, "workflow_run_id"):
            return
        if self._id is None:
            self._begin(said)
        if said.get("event") == "node_started":
            self._steps += 1
        data = said.get("data")
        if isinstance(data, dict) and said.get("event") in (None, "workflow_started", "workflow_finished"):
            outcome = {name: data[name] for name in ("workflow_id", *_OUTCOME) if name in data}
            record = self._act.world.store.get("runs", self._id or "")
            if record is not None:
                self._act.world.store.put("runs", record["id"], {**record, **outcome})

    def count_steps(self) -> Mapping[str, Any]:
        """Return how many steps a run has taken that is stopped now: as many as it has begun."""
        return {"steps": self._steps}

    def end(self, how: End) -> None:
        """Take note that no more is said: a run whose stream was left or cut short did not succeed."""
        dify.forget_task(self._act, self._task)
        record = self._act.world.store.get("runs", self._id or "")
        if record is not None and record["status"] == "running":
            status = "stopped" if how != "complete" else "failed"
            ended = {"status": status, "error": self._error, "finished_at": self._act.now}
            self._act.world.store.put("runs", record["id"], {**record, **ended})

    def _begin(self, said: Record) -> None:
        world, now = self._act.world, self._act.now
        self._id, self._task = said["workflow_run_id"], find_text(said, "task_id")
        inputs = {
            **(self._act.request.body.get("inputs") or {}),
            "sys.files": self._act.request.body.get("files") or [],
            "sys.user_id": self._user,
        }
        world.store.put(
            "runs",
            said["workflow_run_id"],
            {
                "id": said["workflow_run_id"],
                "workflow_id": "",
                "status": "running",
                "error": None,
                "outputs": None,
                "total_steps": 0,
                "total_tokens": 0,
                "created_at": now,
                "finished_at": None,
                "elapsed_time": 0.0,
                "inputs": inputs,
                "log_id": world.make_id(),
                "user": self._user,
                "worker": world.worker,
                "version": "2024-08-01 12:17:09.771832",
            },
        )
        if self._task:
            dify.remember_task(self._act, self._reply, self._task, self._user)


def fail_interrupted(world: World, now: int) -> None:
    """Take note that the runs that have not come to an end never will: the mock ended before them."""
    ended = {"status": "failed", "error": "Run was interrupted: the server ended", "finished_at": now}
    for run in filter(world.is_orphaned, world.store.read_page("runs", where={"status": "running"}).rows):
        world.store.put("runs", run["id"], {**run, **ended})


def get_run(act: Action) -> Reply:
    """Show a run as far as it has gone."""
    run = act.record("runs", act.request.path["workflow_run_id"])
    names = ("id", "workflow_id", "error", "total_steps", "total_tokens", "created_at", "finished_at", "elapsed_time")
    texts = {name: _write_value(act, name, run[name]) for name in ("inputs", "outputs")}
    times = {name: _write_time(act, name, run[name]) for name in ("created_at", "finished_at")}
    return act.reply(run={"status": run["status"], **{name: run[name] for name in names}, **texts, **times})


def _write_value(act: Action, name: str, value: Any) -> Any:
    """Write what a run was given or put out as the contract wants it: as JSON text, where it may be text."""
    if value is None or "string" in act.contract["WorkflowRun"]["properties"][name]["type"]:
        return None if value is None else _as_text(value)
    return json.loads(value) if isinstance(value, str) else value


def _write_time(act: Action, name: str, seconds: int | None) -> int | str | None:
    """Write a time as the contract wants it: epoch seconds, or the RFC 2822 text of the profile `older`."""
    schema = act.contract["WorkflowRun"]["properties"][name]
    return seconds if seconds is None or "integer" in schema["type"] else formatdate(seconds)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def list_logs(act: Action) -> Reply:
    """Show one page of the runs, the latest first."""
    query, store = act.request.query, act.world.store
    number, limit = query["page"], query["limit"]
    where, skip = {"status": query["status"]} if query.get("status") else {}, (number - 1) * limit
    if query.get("keyword"):
        every = store.read_page("runs", where=where, order="-created_at", limit=None).rows
        found = [run for run in every if _mentions(run, query["keyword"])]
        page = Page(found[skip : skip + limit], len(found), more=len(found) > skip + limit)
    else:
        page = store.read_page("runs", where=where, order="-created_at", skip=skip, limit=limit)
    data = [_build_log_entry(act, run) for run in page.rows]
    return act.reply(page=number, limit=limit, total=page.total, has_more=page.more, data=data)


def _mentions(run: Record, keyword: str) -> bool:
    """Tell whether a keyword is in a run's inputs or outputs, in its user's name or its id."""
    said = f"{_as_text(run['inputs'])} {_as_text(run['outputs'])}".lower()
    escaped = json.dumps(keyword.lower(), ensure_ascii=False)[1:-1]  # as JSON has it: a quotation mark, a line's end
    return escaped in said or keyword.lower() in f"{run['user']} {run['id']}".lower()


def _build_log_entry(act: Action, run: Record) -> Record:
    return {
        "id": run["log_id"],
        "workflow_run": {name: run[name] for name in _LOGGED},
        "created_from": "service-api",
        "created_by_role": "end_user",
        "created_by_account": None,
        "created_by_end_user": dify.end_user(act, run["user"]),
        "created_at": run["created_at"],
    }


BEHAVIOURS: Mapping[str, Behaviour] = {
    **dify.BEHAVIOURS,
    "runWorkflow": run_workflow,
    "getWorkflowRun": get_run,
    "stopWorkflow": dify.stop,
    "listWorkflowLogs": list_logs,
}
