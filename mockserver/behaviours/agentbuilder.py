"""AgentBuilder: files of a flow (v1) and of the account (v2) come back byte by byte, and flows run on them."""

from __future__ import annotations

import datetime as dt
import hashlib
import mimetypes
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mockserver.behaviours import answers
from mockserver.behaviours.action import keep_file
from mockserver.request.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mockserver.behaviours.action import Action, Behaviour
    from mockserver.blobs.blob import Blob
    from mockserver.http.messages import Reply
    from mockserver.state.store import Record

_LISTED = ("id", "name", "path", "size", "provider", "user_id", "created_at", "updated_at")
_LONGEST_NAME = 1000


def _flow(act: Action) -> Record:
    """Return the flow of the path, by its id or its endpoint's name; refuse by `unknown-id`."""
    asked = act.request.path["flow_id"]
    for flow in act.world.store.rows("flows"):
        if asked.lower() in (flow["id"].lower(), flow.get("endpoint_name")):
            return flow
    raise Refusal("unknown-id", f"Flow identifier {asked} not found", field="flow_id", location="path")


def _base_name(filename: str) -> str:
    """Return a client's file name without the folders that some send; it never names anything on this machine."""
    return filename.replace("\\", "/").rpartition("/")[2] or "file"


def _table(flow: Record) -> str:
    return f"files of {flow['id']}"


def upload_flow_file(act: Action) -> Reply:
    """Keep a file with its flow, under its name and the time; the next free second where the name is taken."""
    flow, upload = _flow(act), act.upload()
    moment = dt.datetime.fromtimestamp(act.now, dt.UTC)
    while act.world.store.get(_table(flow), name := f"{moment:%Y-%m-%d_%H-%M-%S}_{_base_name(upload.filename)}"):
        moment += dt.timedelta(seconds=1)
    act.world.store.put(_table(flow), name, {"id": name})
    act.world.keep(_table(flow), name, upload.blob)
    return act.reply(file={"flow_id": flow["id"], "path": f"{flow['id']}/{name}"})


def upload_to_cache(act: Action) -> Reply:
    """Keep a file the deprecated way: named by the hash of its bytes."""
    flow, upload = _flow(act), act.upload()
    digest = hashlib.sha256()
    for chunk in upload.blob.chunks():
        digest.update(chunk)
    name = f"{digest.hexdigest()}{PurePosixPath(_base_name(upload.filename)).suffix}"
    return act.reply(file={"flow_id": flow["id"], "path": f"/var/cache/langflow/{flow['id']}/{name}"})


def list_flow_files(act: Action) -> Reply:
    """List the names of a flow's files."""
    return act.reply(files=[row["id"] for row in act.world.store.rows(_table(_flow(act)))])


def download_flow_file(act: Action) -> Reply:
    """Give a flow's file back as it came."""
    flow, name = _flow(act), act.request.path["file_name"]
    if act.world.store.get(_table(flow), name) is None:
        raise Refusal(
            "unknown-id",
            f"File {name} not found in flow {flow['id']}",
            field="file_name",
            location="path",
            finer=["unknown-file"],
        )
    return _download(act, act.world.blob(_table(flow), name), name)


def delete_flow_file(act: Action) -> Reply:
    """Delete a flow's file; a name that is not there is as good as deleted."""
    flow, name = _flow(act), act.request.path["file_name"]
    act.world.delete(_table(flow), name)
    return act.reply(name=name)


def _download(act: Action, blob: Blob, name: str) -> Reply:
    """Answer with the bytes that were uploaded, under their name (RFC 6266)."""
    name = name[-_LONGEST_NAME:]  # clients refuse endless headers; the ending tells what it is
    plain = name.encode("ascii", "replace").decode().replace("\\", "_").replace('"', "'").replace("?", "_")
    printable = "".join(character if character.isprintable() else "_" for character in plain)
    reply = act.reply(disposition=f"attachment; filename=\"{printable}\"; filename*=UTF-8''{quote(name, safe='')}")
    reply.body = blob
    return reply


def who_am_i(act: Action) -> Reply:
    """Show the account that the key belongs to."""
    return act.reply(user=_account(act))


def _account(act: Action) -> Record:
    return next(act.world.store.rows("users"))


def upload_user_file(act: Action) -> Reply:
    """Keep a file with the account; a name that is taken gets a number."""
    upload, account = act.upload(), _account(act)
    name = PurePosixPath(_base_name(upload.filename))
    moment = dt.datetime.fromtimestamp(act.now, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    new_id = act.world.new_id()
    file = {
        "id": new_id,
        "name": _free_name(act, name.stem or name.name),
        "path": f"{account['id']}/{new_id}{name.suffix}",
        "size": upload.blob.size,
        "provider": None,
        "suffix": name.suffix,
        "user_id": account["id"],
        "created_at": moment,
        "updated_at": moment,
    }
    reply = act.reply(file=file)
    keep_file(act, reply, "user_files", upload.blob, file)
    return reply


def _free_name(act: Action, name: str) -> str:
    taken = {row["name"] for row in act.world.store.rows("user_files")}
    numbered = (f"{name} ({number})" for number in range(1, len(taken) + 2))
    return name if name not in taken else next(free for free in numbered if free not in taken)


def list_user_files(act: Action) -> Reply:
    """List the account's files."""
    rows = act.world.store.rows("user_files")
    return act.reply(files=[{name: _told(act, name, row[name]) for name in _LISTED if name in row} for row in rows])


def _told(act: Action, name: str, value: Any) -> Any:
    """Write a time with the zone that the contract demands, if it does; other values as they are."""
    zoned = act.contract["Timestamp"].get("format") == "date-time"
    return f"{value}Z" if zoned and name.endswith("_at") and not value.endswith("Z") else value


def _user_file(act: Action) -> Record:
    return act.record("user_files", act.request.path["file_id"])


def download_user_file(act: Action) -> Reply:
    """Give an account's file back as it came."""
    file = _user_file(act)
    return _download(act, act.world.blob("user_files", file["id"]), f"{file['name']}{file.get('suffix', '')}")


def rename_user_file(act: Action) -> Reply:
    """Rename a file; its path stays."""
    file = {**_user_file(act), "name": act.request.query["name"]}
    act.world.store.put("user_files", file["id"], file)
    return act.reply(file=file)


def delete_user_file(act: Action) -> Reply:
    """Delete one of the account's files."""
    file = _user_file(act)
    act.world.delete("user_files", file["id"])
    return act.reply(file=file)


def delete_all_user_files(act: Action) -> Reply:
    """Delete all of the account's files."""
    files = list(act.world.store.rows("user_files"))
    for file in files:
        act.world.delete("user_files", file["id"])
    return act.reply(count=len(files))


def run_flow(act: Action) -> Reply:
    """Run a flow, if the files that its tweaks name are there."""
    flow, body = _flow(act), act.request.body or {}
    tweaks: Mapping[str, Any] = body.get("tweaks") or {}
    for component, tweak in tweaks.items():
        if not isinstance(tweak, dict):
            continue
        if body.get("input_value") and tweak.get("input_value") and component.startswith("ChatInput"):
            message = "If you pass an input_value to the chat input, you cannot pass a tweak with the same name."
            raise Refusal(
                "invalid-request", message, field=f"tweaks.{component}.input_value", finer=["input-value-twice"]
            )
        for path in _paths(tweak):
            if not _file_exists(act, path):
                raise Refusal(
                    "unknown-id",
                    f"File or directory not found: {path}",
                    field=f"tweaks.{component}",
                    finer=["unknown-file"],
                )
            if _is_image(path) and _user_file_at(act, path):
                message = f"{path} is an image of the account, which no flow reads; upload images into the flow (v1)"
                raise Refusal("invalid-request", message, field=f"tweaks.{component}", finer=["unreadable-file"])
    spoken = [tweak["input_value"] for tweak in tweaks.values() if isinstance(tweak, dict) and tweak.get("input_value")]
    said = body.get("input_value") or next(iter(spoken), "")
    handed = [path for tweak in tweaks.values() if isinstance(tweak, dict) for path in _texts(tweak.get("files"))]
    answer = answers.answer(act, "input_value", said)
    return act.reply(
        files=handed,
        flow_id=flow["id"],
        session_id=body.get("session_id") or flow["id"],
        input_value=said,
        answer=answer,
        pieces=answers.pieces(answer),
    )


def _paths(tweak: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of files that a tweak hands to its component, given as one text or as a list."""
    for name in ("files", "path"):
        yield from _texts(tweak.get(name))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a list, or a text that stands alone."""
    yield from (text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str) and text)


def _file_exists(act: Action, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    if act.world.store.get(f"files of {folder}", name) is not None:
        return True
    return _user_file_at(act, path)


def _user_file_at(act: Action, path: str) -> bool:
    return any(row["path"] == path for row in act.world.store.rows("user_files"))


def _is_image(path: str) -> bool:
    return (mimetypes.guess_type(path)[0] or "").startswith("image/")


BEHAVIOURS: Mapping[str, Behaviour] = {
    "uploadFlowFile": upload_flow_file,
    "createUploadFile": upload_to_cache,
    "listFlowFiles": list_flow_files,
    "downloadFlowFile": download_flow_file,
    "deleteFlowFile": delete_flow_file,
    "getCurrentUser": who_am_i,
    "uploadUserFile": upload_user_file,
    "listUserFiles": list_user_files,
    "downloadUserFile": download_user_file,
    "renameUserFile": rename_user_file,
    "deleteUserFile": delete_user_file,
    "deleteAllUserFiles": delete_all_user_files,
    "runFlow": run_flow,
}
