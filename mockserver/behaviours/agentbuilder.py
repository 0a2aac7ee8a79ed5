"""AgentBuilder: files of a flow (v1) and of the account (v2) come back byte by byte, and flows run on them."""

from __future__ import annotations

import datetime as dt
import hashlib
import mimetypes
import re
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
    from mockserver.request.body import Upload
    from mockserver.state.store import Record

_LISTED = ("id", "name", "path", "size", "provider", "user_id", "created_at", "updated_at")
_LONGEST_NAME = 1000
_LONGEST_FILE_NAME = 255  # bytes, of most file systems
_OWN = "own"  # the account of a flow that does not say whose it is


def _find_flow(act: Action) -> Record:
    """Return the flow of the path, by its id or its endpoint's name; refuse by `unknown-id`, or as another's.

    Where `x-refusals` answers another account's flow with success, everybody may use it.
    """
    asked = act.request.path["flow_id"]
    problem = act.operation.refusals.get("other-account", "")
    for flow in act.world.store.list_rows("flows"):
        if asked.lower() in (flow["id"].lower(), flow.get("endpoint_name")):
            if flow.get("account", _OWN) == _OWN or problem.startswith("2"):
                return flow
            message = f"Flow identifier {asked} belongs to another account"
            raise Refusal("unknown-id", message, field="flow_id", location="path", finer=["other-account"])
    raise Refusal("unknown-id", f"Flow identifier {asked} not found", field="flow_id", location="path")


def _upload(act: Action) -> tuple[Upload, str]:
    """Return the file of a form and its name; refuse names as the operation's `x-refusals` say."""
    upload = act.upload()
    _refuse_name(act, upload.filename, "body", "file")
    return upload, upload.filename


def _refuse_name(act: Action, name: str, location: str, field: str) -> None:
    """Refuse a name that is a path, or that is too long, where the contract has a word for it."""
    said = {
        "path-in-name": "/" in name or ".." in name.split("/"),
        "backslash-in-name": "\\" in name,
        "long-name": len(name.encode("utf-8", "replace")) > _LONGEST_FILE_NAME,
    }
    for word in (word for word, is_so in said.items() if is_so and word in act.operation.refusals):
        raise Refusal("invalid-request", name, field=field, location=location, finer=[word])


def _strip_folders(filename: str) -> str:
    """Return a client's file name without the folders that some send; it never names anything on this machine."""
    return filename.replace("\\", "/").rpartition("/")[2] or "file"


def _split_filename(filename: str) -> tuple[str, str]:
    """Return a file name without its ending, and the ending with its dot."""
    stem, dot, ending = filename.rpartition(".")
    return (stem, f"{dot}{ending}") if stem else (filename, "")


def _name_table(flow: Record) -> str:
    return f"files of {flow['id']}"


def upload_flow_file(act: Action) -> Reply:
    """Keep a file with its flow, under its name and the time; the next free second where the name is taken."""
    flow, (upload, filename) = _find_flow(act), _upload(act)
    sent = _strip_folders(filename) if filename else _digest(upload)
    moment = dt.datetime.fromtimestamp(act.now, dt.UTC)
    while act.world.store.get(_name_table(flow), name := f"{moment:%Y-%m-%d_%H-%M-%S}_{sent}"):
        moment += dt.timedelta(seconds=1)
    act.world.store.put("used flows", flow["id"], {"id": flow["id"]})
    act.world.store.put(_name_table(flow), name, {"id": name})
    act.world.keep(_name_table(flow), name, upload.blob)
    return act.reply(file={"flow_id": flow["id"], "path": f"{flow['id']}/{name}"})


def upload_to_cache(act: Action) -> Reply:
    """Keep a file the deprecated way: named by the hash of its bytes."""
    flow, upload = _find_flow(act), act.upload()
    name = f"{_digest(upload)}{PurePosixPath(_strip_folders(upload.filename)).suffix}"
    return act.reply(file={"flow_id": flow["id"], "path": f"/var/cache/langflow/{flow['id']}/{name}"})


def _digest(upload: Upload) -> str:
    digest = hashlib.sha256()
    for chunk in upload.blob.read_chunks():
        digest.update(chunk)
    return digest.hexdigest()


def list_flow_files(act: Action) -> Reply:
    """List the names of a flow's files, in the order of a folder on a disk: none that a client could rely on."""
    flow = _find_flow(act)
    names = [str(row["id"]) for row in act.world.store.list_rows(_name_table(flow))]
    if not names and "never-used" in act.operation.refusals and not act.world.store.get("used flows", flow["id"]):
        raise Refusal("unknown-id", f"Flow {flow['id']} has no folder", location="path", finer=["never-used"])
    return act.reply(files=sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8", "replace")).digest()))


def download_flow_file(act: Action) -> Reply:
    """Give a flow's file back as it came."""
    flow, name = _find_flow(act), act.request.path["file_name"]
    _refuse_unprintable(act, name)
    if act.world.store.get(_name_table(flow), name) is None:
        raise Refusal(
            "unknown-id",
            f"File {name} not found in flow {flow['id']}",
            field="file_name",
            location="path",
            finer=["unknown-file"],
        )
    return _download(act, act.world.get_blob(_name_table(flow), name), name)


def delete_flow_file(act: Action) -> Reply:
    """Delete a flow's file; a name that is not there is as good as deleted."""
    flow, name = _find_flow(act), act.request.path["file_name"]
    act.world.delete(_name_table(flow), name)
    return act.reply(name=name)


def _refuse_unprintable(act: Action, name: str) -> None:
    """Refuse a name that does not fit into a header as it is, where the contract has a word for it."""
    if "unprintable-name" in act.operation.refusals and name.encode("latin-1", "ignore").decode("latin-1") != name:
        raise Refusal("unknown-id", f"{name} does not fit into a header", location="path", finer=["unprintable-name"])


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
    return act.reply(user=_get_account(act))


def _get_account(act: Action) -> Record:
    return next(act.world.store.list_rows("users"))


def upload_user_file(act: Action) -> Reply:
    """Keep a file with the account; a name that is taken gets a number."""
    (upload, filename), account = _upload(act), _get_account(act)
    stem, ending = _split_filename(filename or "file")
    moment = dt.datetime.fromtimestamp(act.now, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    new_id = act.world.make_id()
    file = {
        "id": new_id,
        "name": _choose_free_name(act, stem),
        "path": f"{account['id']}/{new_id}{PurePosixPath(f'x{filename}').suffix}",
        "size": upload.blob.size,
        "provider": None,
        "suffix": ending,
        "user_id": account["id"],
        "created_at": moment,
        "updated_at": moment,
    }
    reply = act.reply(file=file)
    keep_file(act, reply, "user_files", upload.blob, file)
    return reply


def _choose_free_name(act: Action, name: str) -> str:
    """Return a name, with a number above all that it has had where it, or it with a number, is taken."""
    alike = re.compile(rf"{re.escape(name)}(?: \(([0-9]{{1,9}})\))?")
    found = [alike.fullmatch(str(row["name"])) for row in act.world.store.list_rows("user_files")]
    numbers = [int(match[1] or 0) for match in found if match]
    return f"{name} ({max(numbers) + 1})" if numbers else name


def list_user_files(act: Action) -> Reply:
    """List the account's files."""
    rows = act.world.store.list_rows("user_files")
    return act.reply(files=[{name: _write(act, name, row[name]) for name in _LISTED if name in row} for row in rows])


def _write(act: Action, name: str, value: Any) -> Any:
    """Write a time with the zone that the contract demands, if it does; other values as they are."""
    zoned = act.contract["Timestamp"].get("format") == "date-time"
    return f"{value}Z" if zoned and name.endswith("_at") and not value.endswith("Z") else value


def _get_user_file(act: Action) -> Record:
    return act.record("user_files", act.request.path["file_id"])


def download_user_file(act: Action) -> Reply:
    """Give an account's file back as it came."""
    file = _get_user_file(act)
    name = f"{file['name']}{file.get('suffix', '')}"
    _refuse_unprintable(act, name)
    return _download(act, act.world.get_blob("user_files", file["id"]), name)


def rename_user_file(act: Action) -> Reply:
    """Rename a file; its path stays."""
    file = {**_get_user_file(act), "name": act.request.query["name"]}
    _refuse_name(act, file["name"], "query", "name")
    others = (row for row in act.world.store.list_rows("user_files") if row["id"] != file["id"])
    if "taken-name" in act.operation.refusals and any(row["name"] == file["name"] for row in others):
        raise Refusal("invalid-request", "the name is taken", field="name", location="query", finer=["taken-name"])
    act.world.store.put("user_files", file["id"], file)
    return act.reply(file=file)


def delete_user_file(act: Action) -> Reply:
    """Delete one of the account's files."""
    file = _get_user_file(act)
    act.world.delete("user_files", file["id"])
    return act.reply(file=file)


def delete_all_user_files(act: Action) -> Reply:
    """Delete all of the account's files."""
    files = list(act.world.store.list_rows("user_files"))
    for file in files:
        act.world.delete("user_files", file["id"])
    return act.reply(count=len(files))


def run_flow(act: Action) -> Reply:
    """Run a flow, if the files that its tweaks name are there."""
    flow, body = _find_flow(act), act.request.body or {}
    tweaks: Mapping[str, Any] = body.get("tweaks") or {}
    for component, tweak in tweaks.items():
        if not isinstance(tweak, dict):
            continue
        if body.get("input_value") and tweak.get("input_value") and component.startswith("ChatInput"):
            message = "If you pass an input_value to the chat input, you cannot pass a tweak with the same name."
            raise Refusal(
                "invalid-request", message, field=f"tweaks.{component}.input_value", finer=["input-value-twice"]
            )
        for path in _list_paths(tweak):
            if path in _list_texts(tweak.get("path")) and not _has_file(act, path):  # a Chat Input does not look
                raise Refusal(
                    "unknown-id",
                    f"File or directory not found: {path}",
                    field=f"tweaks.{component}",
                    finer=["unknown-file"],
                )
            if _is_image(path) and _has_user_file(act, path):
                message = f"{path} is an image of the account, which no flow reads; upload images into the flow (v1)"
                raise Refusal("invalid-request", message, field=f"tweaks.{component}", finer=["unreadable-file"])
    for component in flow.get("reads", ()):
        tweak = tweaks.get(component)
        if not isinstance(tweak, dict) or not any(_list_texts(tweak.get("path"))):
            message = "No files to process."
            raise Refusal("invalid-request", message, field=f"tweaks.{component}", finer=["unreadable-file"])
    spoken = [tweak["input_value"] for tweak in tweaks.values() if isinstance(tweak, dict) and tweak.get("input_value")]
    said = body.get("input_value") or next(iter(spoken), "")
    handed = [path for tweak in tweaks.values() if isinstance(tweak, dict) for path in _list_texts(tweak.get("files"))]
    answer = answers.answer(act, "input_value", said)
    wanted, outputs = body.get("output_component"), flow.get("outputs", act.context.app.get("outputs", ()))
    return act.reply_as(
        "no-output" if wanted and wanted not in outputs else "",
        files=handed,
        flow_id=flow["id"],
        session_id=body.get("session_id") or flow["id"],
        input_value=said,
        inputs={} if body.get("input_value") is None else {"input_value": body["input_value"]},
        answer=answer,
        pieces=answers.split_pieces(answer),
    )


def _list_paths(tweak: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of files that a tweak hands to its component, given as one text or as a list."""
    for name in ("files", "path"):
        yield from _list_texts(tweak.get(name))


def _list_texts(value: Any) -> Iterator[str]:
    """Yield the texts of a list, or a text that stands alone."""
    yield from (text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str) and text)


def _has_file(act: Action, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    if act.world.store.get(f"files of {folder}", name) is not None:
        return True
    return _has_user_file(act, path)


def _has_user_file(act: Action, path: str) -> bool:
    return any(row["path"] == path for row in act.world.store.list_rows("user_files"))


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
