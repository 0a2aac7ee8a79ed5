"""What both Dify apps do: users, uploaded files, the app's form, tasks that can be stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mockserver.behaviours import input_forms as forms
from mockserver.behaviours.action import keep_file
from mockserver.http.stream import Stream
from mockserver.request.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockserver.behaviours.action import Action, Behaviour
    from mockserver.http.messages import Reply
    from mockserver.state.store import Record
    from mockserver.state.worlds import World

NOBODY = "DEFAULT-USER"
"""Whom Dify 0.14.0 and 1.4.1 take a request for that names no user."""


def get_user(act: Action) -> str:
    """Return the end user whom a request names."""
    body = act.request.body if isinstance(act.request.body, dict) else {}
    return str(body.get("user") or act.request.query.get("user") or NOBODY)


def end_user(act: Action, user: str) -> Record:
    """Return the end user as the log shows it."""
    return {
        "id": act.world.derive_id("end-user", user),
        "type": "service_api",
        "is_anonymous": False,
        "session_id": user,
    }


def upload_file(act: Action) -> Reply:
    """Keep a file for its user."""
    upload, user = act.upload(), get_user(act)
    kind = forms.check_upload(act, upload)
    act.context.ids["file"] = act.world.make_id()
    file = {
        "name": upload.filename,
        "size": upload.blob.size,
        "extension": forms.get_extension(act, upload),
        "mime_type": upload.content_type,
        "created_by": act.world.derive_id("end-user", user),
        "created_at": act.now,
    }
    reply = act.reply(file=file, **file)

    keep_file(act, reply, "files", upload.blob, file, user=user, type=kind)
    return reply


def is_off(act: Action, feature: str) -> bool:
    """Tell whether the app says that a feature is not enabled."""
    return act.answers("getParameters").get(feature, {}).get("enabled") is False


def refuse_if_off(act: Action, feature: str) -> None:
    """Refuse where the app says that a feature is not enabled."""
    if is_off(act, feature):
        raise Refusal("invalid-request", f"{feature} is not enabled", finer=["switched-off"])


def remember_task(act: Action, reply: Reply, task_id: str, user: str) -> None:
    """Let a running stream be stopped by its task id, as long as it runs."""
    if isinstance(reply.body, Stream) and task_id not in act.world.streams:
        act.world.streams[task_id] = reply.body
        act.world.store.put("tasks", task_id, {"id": task_id, "user": user, "worker": act.world.worker})


def forget_task(act: Action, task_id: str | None) -> None:
    """Take note that a task is over."""
    if task_id:
        act.world.streams.pop(task_id, None)
        act.world.store.delete("tasks", task_id)


def forget_orphaned_tasks(world: World) -> None:
    """Take note that tasks run no more whose mock has ended."""
    for task in filter(world.is_orphaned, world.store.list_rows("tasks")):
        world.streams.pop(task["id"], None)
        world.store.delete("tasks", task["id"])


def stop(act: Action) -> Reply:
    """Stop the user's task; succeed whether or not there is one, as real servers do."""
    task_id = act.request.path["task_id"]
    task = act.world.store.get("tasks", task_id)
    if task is not None and task["user"] == get_user(act):
        act.world.stop(task_id)
    return act.reply()


BEHAVIOURS: Mapping[str, Behaviour] = {"uploadFile": upload_file}
