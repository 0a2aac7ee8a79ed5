"""What both Dify apps do: users, uploaded files, the app's form, tasks that can be stopped."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mockserver.behaviours.acts import listen
from mockserver.problems import Refusal
from mockserver.replay import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mockserver.behaviours.acts import Act, Behaviour
    from mockserver.messages import Reply
    from mockserver.stores import Record
    from mockserver.worlds import World

NOBODY = "DEFAULT-USER"
"""Whom Dify 0.14.0 and 1.4.1 take a request for that names no user."""


def user_of(act: Act) -> str:
    """Return the end user whom a request names."""
    body = act.request.body if isinstance(act.request.body, dict) else {}
    return str(body.get("user") or act.request.query.get("user") or NOBODY)


def end_user(act: Act, user: str) -> Record:
    """Return the end user as the log shows it."""
    return {"id": act.world.id_of("end-user", user), "type": "service_api", "is_anonymous": False, "session_id": user}


def upload_file(act: Act) -> Reply:
    """Keep a file for its user."""
    upload, user = act.upload(), user_of(act)
    act.context.ids["file"] = act.world.new_id()
    file = {
        "name": upload.filename,
        "size": upload.blob.size,
        "extension": PurePosixPath(upload.filename).suffix.removeprefix(".").lower(),
        "mime_type": upload.content_type,
        "created_by": act.world.id_of("end-user", user),
        "created_at": act.now,
    }
    reply = act.reply(file=file, **file)

    def hear(said: Record) -> None:
        act.world.store.put("files", said["id"], {**said, "user": user})
        act.world.keep("files", said["id"], upload.blob)

    listen(reply, hear)
    return reply


def check_inputs(act: Act) -> None:
    """Refuse inputs that the app's form does not allow, and files that are not the user's."""
    inputs: Mapping[str, Any] = act.request.body.get("inputs") or {}
    for control in act.answers("getParameters")["user_input_form"]:
        ((kind, settings),) = control.items()
        _check_input(kind, settings, inputs.get(settings["variable"]))
    user = user_of(act)
    for where, file in _files(act.request.body):
        known = act.world.store.get("files", file["upload_file_id"])
        if known is None or known.get("user") not in (None, user):
            raise Refusal("invalid-request", f"there is no file {file['upload_file_id']} of user {user}", field=where)


def _check_input(kind: str, settings: Mapping[str, Any], value: Any) -> None:
    field = f"inputs.{settings['variable']}"
    if value is None or value == "":
        if settings.get("required"):
            raise Refusal("invalid-request", f"{settings['variable']} is required in input form", field=field)
        return
    if kind in ("text-input", "paragraph", "select") and not isinstance(value, str):
        raise Refusal("invalid-request", f"{settings['variable']} in input form must be a string", field=field)
def forget_all_tasks(world: World) -> None:
    """Take note that no task runs any more."""
    for task in world.store.rows("tasks"):
        world.store.delete("tasks", task["id"])


    if kind == "select" and value not in settings.get("options", []):
        options = ", ".join(settings.get("options", []))
        raise Refusal("invalid-request", f"{settings['variable']} in input form must be one of: {options}", field=field)
    longest = settings.get("max_length")
    if longest and isinstance(value, str) and len(value) > longest:
        raise Refusal(
            "invalid-request", f"{settings['variable']} in input form must be at most {longest} characters", field=field
        )


def _files(body: Mapping[str, Any]) -> Iterator[tuple[str, Record]]:
    """Yield every uploaded file that a body names, and where: in `files`, or as an input, alone or in a list."""
    named = {"files": body.get("files")} | {
        f"inputs.{name}": value for name, value in (body.get("inputs") or {}).items()
    }
    for where, value in named.items():
        for file in value if isinstance(value, list) else [value]:
            if (
                isinstance(file, dict)
                and file.get("transfer_method") == "local_file"
                and isinstance(file.get("upload_file_id"), str)
            ):
                yield where, file


def remember_task(act: Act, reply: Reply, task_id: str, user: str) -> None:
    """Let a running stream be stopped by its task id, as long as it runs."""
    if isinstance(reply.body, Stream) and task_id not in act.world.streams:
        act.world.streams[task_id] = reply.body
        act.world.store.put("tasks", task_id, {"id": task_id, "user": user})


def forget_task(act: Act, task_id: str | None) -> None:
    """Take note that a task is over."""
    if task_id:
        act.world.streams.pop(task_id, None)
        act.world.store.delete("tasks", task_id)


def stop(act: Act) -> Reply:
    """Stop the user's task; succeed whether or not there is one, as real servers do."""
    task_id = act.request.path["task_id"]
    task = act.world.store.get("tasks", task_id)
    if task is not None and task["user"] == user_of(act) and task_id in act.world.streams:
        act.world.streams[task_id].stop()
    return act.reply()


BEHAVIOURS: Mapping[str, Behaviour] = {"uploadFile": upload_file}
