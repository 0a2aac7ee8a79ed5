"""AgentBuilder: files come back byte by byte, are renamed and deleted, and go into runs; in both versions."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from contract_tests.suite import NotExercised

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract_tests.journey import Journey

    Begin = Callable[[str], Journey]


def same_bytes(files: Journey, name: str, content: bytes, source: str, **values: Any) -> str:
    """Demand that a download gives the bytes that were uploaded; return its Content-Disposition."""
    answer = files.call(name, **values).answer
    assert answer is not None  # `call` ends the journey without one
    files.same(name, "the bytes that were uploaded,", fingerprint(content), fingerprint(answer.body), source)
    return answer.headers.get("content-disposition", "")


def fingerprint(content: bytes) -> str:
    """Return what tells bytes apart and fits a line."""
    return f"{len(content)} bytes {content[:20].hex()}...{content[-20:].hex()}, SHA-256 {sha256(content).hexdigest()}"


def test_files_of_a_flow(begin: Begin) -> None:
    """A file of a flow is listed, comes back as it was, and is gone after deletion (v1)."""
    files = begin("agentbuilder")
    for hint in ("a note", "a PNG", "a PDF"):
        uploaded, content = files.upload("uploadFlowFile", hint)
        flow, _, name = uploaded["file_path"].partition("/")
        path = {"flow_id": flow, "file_name": name}
        files.same("uploadFlowFile", "the flow's id before the name,", uploaded["flowId"], flow, "003:18")
        listed = files.call("listFlowFiles", path={"flow_id": flow}).json["files"]
        so = listed.count(name) == 1
        files.holds("listFlowFiles", f"{name} in the list, once", listed[-20:], "003:31-34", so=so)
        disposition = same_bytes(files, "downloadFlowFile", content, "003:38-39", path=path)
        files.holds(
            "downloadFlowFile",
            "an attachment with its name",
            disposition,
            "003:38-39",
            so=not disposition or name in disposition,
        )
        told = files.call("deleteFlowFile", path=path).json.get("message", "")
        so = name in told and "deleted" in told
        files.holds("deleteFlowFile", f"a message that {name} was deleted", told, "003:43-44", so=so)
        listed = files.call("listFlowFiles", path={"flow_id": flow}).json["files"]
        files.holds("listFlowFiles", f"no {name} after its deletion", listed[-20:], "003:40-44", so=name not in listed)
        files.call("downloadFlowFile", path=path, refused="unknown-file", why="the file was deleted", source="003:44")


def test_two_files_of_one_name_are_two_files(begin: Begin) -> None:
    """Uploads under one name, one right after the other, come back each under the path that was told (v1)."""
    files = begin("agentbuilder")
    uploads = [files.upload("uploadFlowFile", "a note", f"twin-{files.run}.txt") for _ in range(2)]
    # The documented names tell seconds apart and no more: of two files with one path the later one counts.
    for file_path, content in {uploaded["file_path"]: content for uploaded, content in uploads}.items():
        flow, _, name = file_path.partition("/")
        same_bytes(
            files, "downloadFlowFile", content, "003:17-18, 003:38-39", path={"flow_id": flow, "file_name": name}
        )


def test_two_files_of_one_name_in_the_account_are_two_files(begin: Begin) -> None:
    """Uploads under a name that another file has, or had before it was renamed, come back by their ids (v2)."""
    files = begin("agentbuilder")
    name = f"twin-{files.run}.txt"
    uploads = [files.upload("uploadUserFile", "a note", name)]
    files.call("renameUserFile", path={"file_id": uploads[0][0]["id"]}, query={"name": f"former-{files.run}"})
    uploads += [files.upload("uploadUserFile", "a note", name) for _ in range(2)]
    for uploaded, content in uploads:
        path = {"file_id": uploaded["id"]}
        same_bytes(files, "downloadUserFile", content, "003:58, 003:83-84, 003:85-89", path=path)


def test_files_of_the_account(begin: Begin) -> None:
    """A file of the account is listed, comes back as it was, also under a new name, and is gone after deletion (v2)."""
    files = begin("agentbuilder")
    user = files.call("getCurrentUser").json["id"]
    for hint in ("a PDF", "a note"):
        account_file(files, user, hint)


def account_file(files: Journey, user: str, hint: str) -> None:
    """Demand of a file of the account what is documented, from its upload to its deletion."""
    uploaded, content = files.upload("uploadUserFile", hint)
    path = {"file_id": uploaded["id"]}
    files.same(
        "uploadUserFile",
        "the account's id before the name,",
        user,
        uploaded["path"].partition("/")[0],
        "003:52-55, 003:58",
    )
    files.same("uploadUserFile", "the size of the file,", len(content), uploaded["size"], "003:58")
    ending = {"a note": ".txt", "a PDF": ".pdf"}[hint]
    so = files.run in uploaded["name"] and not uploaded["name"].endswith(ending)
    files.holds("uploadUserFile", "the file's name without its ending", uploaded["name"], "003:58", so=so)
    so = uploaded["path"].endswith(ending)
    files.holds("uploadUserFile", f"a path that ends with {ending}", uploaded["path"], "003:51, 003:58", so=so)
    shown(files, uploaded)
    same_bytes(files, "downloadUserFile", content, "003:83-84", path=path)
    name = f"renamed-{files.run}"
    renamed = files.call("renameUserFile", path=path, query={"name": name}).json
    files.same("renameUserFile", "only another name,", {**uploaded, "name": name}, {**uploaded, **renamed}, "003:85-89")
    shown(files, renamed)
    disposition = same_bytes(files, "downloadUserFile", content, "003:83-84", path=path)
    files.holds(
        "downloadUserFile",
        f"an attachment named {name}",
        disposition,
        "003:83-84",
        so=not disposition or name in disposition,
    )
    told = str(files.call("deleteUserFile", path=path).json)
    files.holds("deleteUserFile", "a message that it was deleted", told, "003:93-94", so="deleted" in told)
    ids = [one["id"] for one in files.call("listUserFiles").json]
    files.holds("listUserFiles", "no deleted file", ids[-20:], "003:90-94", so=uploaded["id"] not in ids)
    for name in ("downloadUserFile", "deleteUserFile"):
        files.call(name, path=path, refused="unknown-id", why="the file was deleted", source="003:94")
    asked: dict[str, Any] = {"path": path, "query": {"name": "x"}}
    files.call("renameUserFile", **asked, refused="unknown-id", why="the file was deleted", source="003:94")


def shown(files: Journey, file: dict[str, Any]) -> None:
    """Demand that the list shows a file as its upload or renaming told it."""
    found = files.call("listUserFiles").json
    listed = {one["id"]: one for one in found}
    ids = [one["id"] for one in found]
    files.holds("listUserFiles", "every file once", ids[-20:], "003:75-78", so=len(listed) == len(ids))
    fields = ("id", "name", "path", "size")
    entry = listed.get(file["id"], {})
    files.same(
        "listUserFiles",
        "the file as it was told,",
        [file[name] for name in fields],
        [entry.get(name) for name in fields],
        "003:77-78",
    )


def test_all_files_of_the_account_are_deleted_at_once(begin: Begin) -> None:
    """After deleting all the list is empty, and no file can be downloaded."""
    files = begin("agentbuilder")
    files.suite.may_call(files.api.operations["deleteAllUserFiles"])
    uploaded = [files.upload("uploadUserFile", "a note")[0] for _ in range(2)]
    told = str(files.call("deleteAllUserFiles").json)
    files.holds("deleteAllUserFiles", "a message that they were deleted", told, "003:98-99", so="deleted" in told)
    listed = [one["id"] for one in files.call("listUserFiles").json]
    files.holds(
        "listUserFiles",
        "none of the files that were there",
        listed,
        "003:95-99",
        so=not {one["id"] for one in uploaded} & set(listed),
    )
    path = {"file_id": uploaded[0]["id"]}
    files.call("downloadUserFile", path=path, refused="unknown-id", why="all files were deleted", source="003:99")


def test_files_go_into_a_run(begin: Begin) -> None:
    """The path of an image of the flow, and that of a file of the account, are taken by a run."""
    files = begin("agentbuilder")
    image, _ = files.upload("uploadFlowFile", "a PNG")
    document, _ = files.upload("uploadUserFile", "a note")
    flow = {"flow_id": image["flowId"]}
    components = files.suite.clients["agentbuilder"].api.values.get("components", {})
    tweaks = {
        components.get("files", "ChatInput-b67sL"): {"files": image["file_path"], "input_value": "describe this image"},
        components.get("path", "File-1olS3"): {"path": [document["path"]]},
    }
    for component, tweak in tweaks.items():
        body = {"output_type": "chat", "input_type": "chat", "tweaks": {component: tweak}}
        files.call("runFlow", path=flow, query={"stream": "false"}, body=body)


def test_both_modes_of_a_run_answer_the_same(begin: Begin) -> None:
    """The last event of a stream carries the result that a run without a stream answers with."""
    files = begin("agentbuilder")
    if not files.deterministic:
        raise NotExercised("the target is not deterministic")
    body = {"input_value": "hello", "session_id": files.user("session")}
    whole = files.call("runFlow", query={"stream": "false"}, body=body).json
    payloads = files.payloads("runFlow", query={"stream": "true"}, body=body)
    results = [one["data"]["result"] for one in payloads if one.get("event") == "end"]
    files.same(
        "runFlow",
        "the texts of the run without a stream,",
        [texts(whole)],
        [texts(one) for one in results],
        "003:72-73",
    )


def texts(result: Any) -> list[Any]:
    """Return the session and the messages of a result, without its times and ids."""
    found = [part["results"]["message"]["text"] for one in result["outputs"] for part in one["outputs"] if part]
    return [result["session_id"], *found]
