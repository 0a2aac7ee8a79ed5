"""AgentBuilder: files come back byte by byte, are renamed and deleted, and go into runs; in both versions."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from contract_tests.judging.choices import Choice
from contract_tests.suite.not_exercised import NotExercised

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract_tests.journeys.journey import Journey
    from contract_tests.journeys.response_values import ResponseValue

    Begin = Callable[[str], Journey]

API = "agentbuilder"
ATTEMPTS = 4  # pairs of uploads, of which one at least falls into one second


def check_bytes(files: Journey, name: str, content: bytes, *source: str, **values: Any) -> str:
    """Demand that a download has the bytes that were uploaded; return its Content-Disposition."""
    answer = files.call(name, **values).answer
    assert answer is not None  # `call` ends the journey without one
    files.expect_equal(
        name, "the bytes that were uploaded,", describe_bytes(content), describe_bytes(answer.body), *source
    )
    return answer.headers.get("content-disposition", "")


def describe_bytes(content: bytes) -> str:
    """Return a line that identifies bytes."""
    return f"{len(content)} bytes {content[:20].hex()}...{content[-20:].hex()}, SHA-256 {sha256(content).hexdigest()}"


def read_path(uploaded: ResponseValue) -> dict[str, str]:
    """Return the path parameters of a file of a flow, from the answer to its upload."""
    flow, _, name = uploaded["file_path"].text.partition("/")
    return {"flow_id": flow, "file_name": name}


def list_names(files: Journey, flow: str) -> list[str]:
    """Return the names of a flow's files."""
    return [row.text for row in files.call("listFlowFiles", path={"flow_id": flow})["files"].rows]


def test_files_of_a_flow(begin: Begin) -> None:
    """A file of a flow is listed, comes back as it was, and is gone after deletion (v1)."""
    files = begin(API)
    for hint in ("a note", "a PNG", "a PDF"):
        uploaded, content = files.upload("uploadFlowFile", hint)
        path = read_path(uploaded)
        flow, name = path["flow_id"], path["file_name"]
        files.expect_equal("uploadFlowFile", "the flow's id before the name,", uploaded.get("flowId"), flow, "003:18")
        listed = list_names(files, flow)
        files.expect(
            "listFlowFiles",
            f'in the list, once, "{name}"',
            listed[-20:],
            "003:31-34",
            condition=listed.count(name) == 1,
        )
        disposition = check_bytes(files, "downloadFlowFile", content, "003:38-39", path=path)
        check_file_name(files, "downloadFlowFile", disposition, name)
        message = str(files.call("deleteFlowFile", path=path).get("message"))
        condition = name in message and "deleted" in message
        files.expect(
            "deleteFlowFile", f'a message that it was deleted, "{name}"', message, "003:43-44", condition=condition
        )
        listed = list_names(files, flow)
        files.expect(
            "listFlowFiles", f'after its deletion no "{name}"', listed[-20:], "003:40-44", condition=name not in listed
        )
        files.call(
            "downloadFlowFile", path=path, refused="unknown-file", why="the file was deleted", source=("003:40-44",)
        )


def check_file_name(files: Journey, operation: str, disposition: str, name: str) -> None:
    """Demand that a Content-Disposition, if there is one, has the name of the file."""
    condition = not disposition or name in disposition
    source = "ruling disposition-names-the-file"
    files.expect(operation, f'an attachment named "{name}"', disposition, source, condition=condition)


def test_two_files_of_one_name_are_two_files(begin: Begin) -> None:
    """Uploads under one name, one right after the other, come back each under the path that was told (v1).

    The documented names tell seconds apart: pairs are uploaded until one has fallen into one second.
    """
    files = begin(API)
    for number in range(ATTEMPTS):
        uploads = [files.upload("uploadFlowFile", "a note", f"twin-{files.run}-{number}.txt") for _ in range(2)]
        lines = ("003:17-18", "003:26", "003:35-39", "ruling uploads-of-one-second-are-two-files")
        paths = [uploaded["file_path"].text for uploaded, _ in uploads]
        files.expect(
            "uploadFlowFile", "another path for another file", paths, *lines, condition=len(set(paths)) == len(paths)
        )
        for uploaded, content in uploads:
            check_bytes(files, "downloadFlowFile", content, *lines, path=read_path(uploaded))


def test_two_files_of_one_name_in_the_account_are_two_files(begin: Begin) -> None:
    """Uploads under a name that another file has, or had before it was renamed, come back by their ids (v2)."""
    files = begin(API)
    name = f"twin-{files.run}.txt"
    uploads = [files.upload("uploadUserFile", "a note", name)]
    files.call("renameUserFile", path={"file_id": uploads[0][0]["id"].text}, query={"name": f"former-{files.run}"})
    uploads += [files.upload("uploadUserFile", "a note", name) for _ in range(2)]
    for uploaded, content in uploads:
        path = {"file_id": uploaded["id"].text}
        check_bytes(files, "downloadUserFile", content, "003:58", "003:83-84", "003:85-89", path=path)


def test_renaming_to_a_taken_name_loses_nothing(begin: Begin) -> None:
    """A file gets the name that another one has, or is refused it; both stay what they were (v2)."""
    files = begin(API)
    (first, content), (second, other) = (files.upload("uploadUserFile", "a note") for _ in range(2))
    taken, own = first["name"].text, second["name"].text
    operation = files.api.operations["renameUserFile"]
    answer = files.try_call("renameUserFile", path={"file_id": second["id"].text}, query={"name": taken}, may_fail=True)
    renamed = answer.answer is not None and answer.answer.status == operation.success.status
    took = "renamed" if renamed else f"refused with {answer.answer.status}" if answer.answer else "no answer"
    files.suite.record.choices.append(
        Choice(operation.name, "a name that another file has", took, "agentbuilder/taken-names-are-a-server-error")
    )
    check_is_listed(files, {**first.value})
    check_is_listed(files, {**second.value, "name": taken if renamed else own})
    for uploaded, sent in ((first, content), (second, other)):
        check_bytes(files, "downloadUserFile", sent, "003:83-84", "003:85-89", path={"file_id": uploaded["id"].text})


def test_files_of_the_account(begin: Begin) -> None:
    """A file of the account is listed, comes back as it was, also under a new name, and is gone after deletion (v2)."""
    files = begin(API)
    user = files.call("getCurrentUser")["id"].text
    for hint in ("a PDF", "a note"):
        check_account_file(files, user, hint)


def check_account_file(files: Journey, user: str, hint: str) -> None:
    """Demand of a file of the account what is documented, from its upload to its deletion."""
    uploaded, content = files.upload("uploadUserFile", hint)
    check_upload(files, user, uploaded, content, {"a note": ".txt", "a PDF": ".pdf"}[hint])
    check_is_listed(files, uploaded.value)
    path = {"file_id": uploaded["id"].text}
    check_bytes(files, "downloadUserFile", content, "003:83-84", path=path)
    name = f"renamed-{files.run}"
    renamed = files.call("renameUserFile", path=path, query={"name": name})
    expected = {**uploaded.value, "name": name}
    now = {key: renamed.get(key) if renamed.has(key) else value for key, value in uploaded.value.items()}
    files.expect_equal("renameUserFile", "only another name,", expected, now, "003:85-89")
    check_is_listed(files, expected)
    check_file_name(
        files, "downloadUserFile", check_bytes(files, "downloadUserFile", content, "003:83-84", path=path), name
    )
    message = str(files.call("deleteUserFile", path=path).value)
    files.expect(
        "deleteUserFile", "a message that it was deleted", message, "003:93-94", condition="deleted" in message
    )
    ids = [row["id"].text for row in files.call("listUserFiles").rows]
    files.expect("listUserFiles", "no deleted file", ids[-20:], "003:90-94", condition=path["file_id"] not in ids)
    check_is_refused(files, path, "the file was deleted", "003:90-94")


def check_upload(files: Journey, user: str, uploaded: ResponseValue, content: bytes, ending: str) -> None:
    """Demand that the answer to an upload describes the file."""
    account = uploaded["path"].text.partition("/")[0]
    files.expect_equal("uploadUserFile", "the account's id before the name,", user, account, "003:52-55", "003:58")
    files.expect_equal("uploadUserFile", "the size of the file,", len(content), uploaded.get("size"), "003:58")
    name, path = uploaded["name"].text, uploaded["path"].text
    condition = files.run in name and not name.endswith(ending)
    files.expect("uploadUserFile", "the file's name without its ending", name, "003:58", condition=condition)
    condition = path.endswith(ending)
    files.expect("uploadUserFile", f"a path that ends with {ending}", path, "003:51", "003:58", condition=condition)


def check_is_refused(files: Journey, path: dict[str, str], why: str, *source: str) -> None:
    """Demand that downloading, renaming and deleting a file of an account is refused."""
    refused: dict[str, Any] = {"path": path, "refused": "unknown-id", "why": why, "source": source}
    for name in ("downloadUserFile", "deleteUserFile"):
        files.call(name, **refused)
    files.call("renameUserFile", query={"name": "x"}, **refused)


def check_is_listed(files: Journey, file: dict[str, Any]) -> None:
    """Demand that the list has a file as its upload or renaming answered."""
    found = files.call("listUserFiles").rows
    ids = [row["id"].text for row in found]
    files.expect("listUserFiles", "every file once", ids[-20:], "003:75-78", condition=len(set(ids)) == len(ids))
    fields = ("id", "name", "path", "size")
    entry = next((row for row in found if row.get("id") == file.get("id")), None)
    expected, listed = [file.get(name) for name in fields], [entry.get(name) if entry else None for name in fields]
    files.expect_equal("listUserFiles", "the file as it was told,", expected, listed, "003:77-78")


def test_all_files_of_the_account_are_deleted_at_once(begin: Begin) -> None:
    """After deleting all the list is empty, and no file can be downloaded."""
    files = begin(API)
    files.suite.apps.check_allowed(files.api.operations["deleteAllUserFiles"])
    ids = {files.upload("uploadUserFile", "a note")[0]["id"].text for _ in range(2)}
    message = str(files.call("deleteAllUserFiles").value)
    files.expect(
        "deleteAllUserFiles", "a message that they were deleted", message, "003:98-99", condition="deleted" in message
    )
    listed = [row["id"].text for row in files.call("listUserFiles").rows]
    what = "none of the files that were there"
    files.expect("listUserFiles", what, listed, "003:95-99", condition=not ids & set(listed))
    why = "all files were deleted"
    files.call("downloadUserFile", path={"file_id": min(ids)}, refused="unknown-id", why=why, source=("003:95-99",))


def test_another_account_sees_nothing(begin: Begin) -> None:
    """A file is its account's own: another account neither lists nor gets, renames nor deletes it (v2)."""
    files = begin(API)
    other = files.use_second_account()
    uploaded, content = files.upload("uploadUserFile", "a note")
    path = {"file_id": uploaded["id"].text}
    listed = [row["id"].text for row in other.call("listUserFiles").rows]
    what = "no file of another account"
    files.expect("listUserFiles", what, listed[-20:], "003:6", "003:75-78", condition=path["file_id"] not in listed)
    check_is_refused(other, path, "the file is another account's", "003:6", "003:49-50")
    check_is_listed(files, uploaded.value)
    check_bytes(files, "downloadUserFile", content, "003:83-84", path=path)


def test_flow_that_was_never_used_has_no_files(begin: Begin) -> None:
    """The list of a flow without files is empty, and has no file of another flow (v1)."""
    files = begin(API)
    other = files.use_second_account()
    files.upload("uploadFlowFile", "a note")
    listed = [row.text for row in other.call("listFlowFiles")["files"].rows]
    mine = [name for name in listed if files.run in name]
    files.expect("listFlowFiles", "no file of another flow", mine, "003:31-34", condition=not mine)


def test_image_goes_into_a_run(begin: Begin) -> None:
    """The path of an image of the flow is taken by a run."""
    files = begin(API).use_example_flow("runFlow", "image")
    example = files.build_example("runFlow", "image")
    image, _ = files.upload("uploadFlowFile", "a PNG")
    body = tweak_body(example.body, files=image["file_path"].text)
    files.call("runFlow", query={"stream": "false"}, body=body)


def test_file_of_the_account_goes_into_a_run(begin: Begin) -> None:
    """The path of a file of the account is taken by a run."""
    files = begin(API).use_example_flow("runFlow", "document")
    example = files.build_example("runFlow", "document")
    document, _ = files.upload("uploadUserFile", "a note")
    files.call("runFlow", query={"stream": "false"}, body=tweak_body(example.body, path=[document["path"].text]))


def tweak_body(body: dict[str, Any], **tweak: Any) -> dict[str, Any]:
    """Return the body of a run with other settings for its component."""
    ((component, settings),) = body["tweaks"].items()
    return {**body, "tweaks": {component: {**settings, **tweak}}}


def test_run_on_a_file_that_is_not_there_says_so(begin: Begin) -> None:
    """A stream of a run that cannot read its file is refused, or ends with an event: it never ends without a word."""
    files = begin(API).use_example_flow("runFlow", "document")
    example = files.build_example("runFlow", "document")
    user = files.call("getCurrentUser")["id"].text
    body = tweak_body(example.body, path=[f"{user}/not-there-{files.run}.txt"])
    files.try_call("runFlow", query={"stream": "true"}, body=body, may_fail=True)


def test_both_modes_of_a_run_answer_the_same(begin: Begin) -> None:
    """The last event of a stream carries the result that a run without a stream answers with."""
    files = begin(API)
    if not files.deterministic:
        raise NotExercised("the target is not deterministic")
    body = {"input_value": "hello", "session_id": files.create_user("session")}
    whole = files.call("runFlow", query={"stream": "false"}, body=body)
    events = files.read_events("runFlow", query={"stream": "true"}, body=body)
    results = [event.payload["data"]["result"] for event in events if event.kind == "end"]
    expected, got = [read_texts(whole)], [read_texts(result) for result in results]
    files.expect_equal("runFlow", "the texts of the run without a stream,", expected, got, "003:72-73")


def read_texts(result: ResponseValue) -> list[Any]:
    """Return the session and the messages of a result, without its times and ids."""
    parts = [part for output in result["outputs"].rows for part in output["outputs"].rows if part.value]
    return [result.get("session_id"), *(part.get("results", "message", "text") for part in parts)]
