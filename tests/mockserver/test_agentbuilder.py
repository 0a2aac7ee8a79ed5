"""AgentBuilder over an afternoon: files of flows and of the account, and flows that run on them."""

from __future__ import annotations

import http.client
import json
import tracemalloc
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest
from mock_calls import Answer, read
from mock_users import User, multipart, spooled
from werkzeug.datastructures import Headers

from mockserver.blobs.blob import BlobWriter
from mockserver.config.settings import Settings
from mockserver.http.messages import Request
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mock_calls import Caller

FLOW, OTHER = "92f9a4c5-cfc8-4656-ae63-1f0881163c28", "a430cc57-06bb-4c11-be39-d3d4de68d2c4"
NAMES = [
    "plain.txt",
    "with space.txt",
    "名前 и имя.txt",
    "émoji 😀.png",
    "no-ending",
    "a" * 296 + ".txt",
    "長" * 296 + ".txt",
    "x;y=z,w.txt",
    "it's 100% #1?.txt",
    "..txt",
    "...",
    "CON.txt",
]
CONTENTS = {
    "empty": b"",
    "bytes": bytes(range(256)) * 9,
    "lines": b"\r\n--c\r\n--\r\n",
    "large": b"\x00\xff" * (1 << 20),
}


@pytest.fixture
def builder(mock: Caller, request: pytest.FixtureRequest) -> User:
    """Return a user of AgentBuilder in a world that no other test sees."""
    return User(mock, "agentbuilder", f"-{abs(hash(request.node.nodeid))}", name="")


def put(builder: User, name: str, data: bytes = b"x", flow: str = FLOW) -> str:
    """Upload a file to a flow; return its path."""
    answer = builder.call("uploadFlowFile", form={"file": (name, data)}, flow_id=flow)
    assert (answer.status, answer.json["flowId"]) == (201, flow)
    return str(answer.json["file_path"])


def stored(builder: User, flow: str = FLOW) -> list[str]:
    """Return the names of a flow's files."""
    return list(builder.call("listFlowFiles", flow_id=flow).json["files"])


def get(builder: User, path: str) -> Answer:
    """Download a flow's file by its path."""
    flow, _, name = path.partition("/")
    return builder.call("downloadFlowFile", flow_id=flow, file_name=quote(name))


def offered_name(answer: Answer) -> str:
    """Return the file name that a download offers (RFC 6266)."""
    return unquote(answer.headers["Content-Disposition"].partition("filename*=UTF-8''")[2])


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", NAMES)
def test_flows_file_comes_back_byte_by_byte(builder: User, name: str, content: str) -> None:
    """v1: whatever the name and the bytes, upload, list, download and delete know the same file."""
    path = put(builder, name, CONTENTS[content])
    assert path.startswith(f"{FLOW}/2024-")
    assert path.endswith(f"_{name}")
    assert path.partition("/")[2] in stored(builder)
    answer = get(builder, path)
    assert (answer.status, answer.body, offered_name(answer)) == (200, CONTENTS[content], path.partition("/")[2])
    assert stored(builder, OTHER) == ["2024-11-27_14-47-50_image-file.png"], "files belong to their flow"


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", [name for name in NAMES if len(name.encode()) <= 255])
def test_accounts_file_comes_back_byte_by_byte(builder: User, name: str, content: str) -> None:
    """v2: the same, by id; the path has the id and the ending, the name has no ending."""
    answer = builder.call("uploadUserFile", form={"file": (name, CONTENTS[content])})
    assert answer.status == 201
    file = answer.json
    assert file["size"] == len(CONTENTS[content])
    assert file["path"].startswith(f"{builder.call('getCurrentUser').json['id']}/{file['id']}")
    assert name.startswith(file["name"])
    downloaded = builder.call("downloadUserFile", file_id=file["id"])
    assert (downloaded.status, downloaded.body, offered_name(downloaded)) == (200, CONTENTS[content], name)
    listed = {one["id"]: one for one in builder.call("listUserFiles").json}
    assert {name: listed[file["id"]][name] for name in file} == file


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "C:\\temp\\passwd", "a/../../passwd", "..", "....//passwd", "\x7fpasswd"],
)
def test_file_name_reaches_no_path_of_the_host(
    builder: User, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large files go to the disk under names of our own; a flow's file loses its folders, an account's is refused."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = put(builder, name, b"x" * (2 << 20))
    assert "/" not in path.partition("/")[2]
    assert "\\" not in path
    assert get(builder, path).body == b"x" * (2 << 20)
    kept = builder.call("uploadUserFile", form={"file": (name, b"y" * (2 << 20))})
    if "/" in name or name == "..":
        assert (kept.status, "Invalid file name" in kept.json["detail"]) == (400, True)
    else:
        assert builder.call("downloadUserFile", file_id=kept.json["id"]).body == b"y" * (2 << 20)
    assert len(spooled(tmp_path)) == 1 + (kept.status == 201)
    assert [one for one in tmp_path.rglob("*") if "passwd" in one.name] == []
    for wrong in ("..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "..%5C..%5Cpasswd"):
        assert builder.call("downloadFlowFile", flow_id=FLOW, file_name=wrong).status == 404


def test_files_of_one_name_are_several_files(builder: User) -> None:
    """Two uploads in one second, by flow and by account: each has its own bytes, and all are listed."""
    paths = [put(builder, "a.txt", data) for data in (b"1", b"2", b"3")]
    assert [get(builder, path).body for path in paths] == [b"1", b"2", b"3"]
    assert len(set(stored(builder))) == 4
    files = [builder.call("uploadUserFile", form={"file": ("a.txt", data)}).json for data in (b"1", b"2", b"3")]
    assert [file["name"] for file in files] == ["a", "a (1)", "a (2)"]
    bodies = [builder.call("downloadUserFile", file_id=file["id"]).body for file in files]
    assert bodies == [b"1", b"2", b"3"]


def test_flows_file_is_deleted_once_and_missed_never(builder: User) -> None:
    """After the delete it is neither listed nor served; deleting again says the same."""
    path = put(builder, "a b.txt")
    flow, _, name = path.partition("/")
    for _ in range(2):
        answer = builder.call("deleteFlowFile", flow_id=flow, file_name=quote(name))
        assert (answer.status, answer.json["message"]) == (200, f"File {name} deleted successfully")
        assert name not in stored(builder)
        assert get(builder, path).status == 404


@pytest.mark.parametrize("name", ["new name", "名前", "a" * 255, "a&c=d", "..up", "report.final"])
def test_accounts_file_is_renamed(builder: User, name: str) -> None:
    """Any name is taken as it is; path, id, size and bytes stay, and the download has the new name."""
    file = builder.call("uploadUserFile", form={"file": ("old.pdf", b"%PDF")}).json
    renamed = builder.call("renameUserFile", file_id=file["id"], query={"name": name}).json
    assert renamed == {**file, "name": name}
    downloaded = builder.call("downloadUserFile", file_id=file["id"])
    assert (downloaded.body, offered_name(downloaded)) == (b"%PDF", f"{name}.pdf")
    assert name in [one["name"] for one in builder.call("listUserFiles").json]


@pytest.mark.parametrize(("name", "says"), [("../up", "Invalid"), ("", "Invalid"), ("長" * 86, "Maximum 255 bytes")])
def test_a_name_that_no_file_can_have_changes_nothing(builder: User, name: str, says: str) -> None:
    """Paths, nothing and more than 255 bytes are refused with 400, as an upload's names are."""
    file = builder.call("uploadUserFile", form={"file": ("old.pdf", b"%PDF")}).json
    refused = builder.call("renameUserFile", file_id=file["id"], query={"name": name})
    assert (refused.status, says in refused.json["detail"]) == (400, True)
    assert "old" in [one["name"] for one in builder.call("listUserFiles").json]


@pytest.mark.parametrize(("query", "name"), [("name=a,b", "b"), ("name=p1&name=p2", "p2"), ("name=a%2Cb&name=c", "c")])
def test_of_several_values_the_last_one_counts(mock: Caller, query: str, name: str) -> None:
    """A comma separates values like a second parameter does."""
    path = "/api/v2/files/c7b22c4c-d5e0-4ec9-af97-5d85b7657a34"
    assert mock.ask("PUT", f"{path}?{query}", x_api_key="sk-agentbuilder-commas").json["name"] == name


def test_renamed_file_does_not_come_back_under_its_old_name(builder: User) -> None:
    """A real server has served the wrong bytes: rename, then upload another file under the old name."""
    first = builder.call("uploadUserFile", form={"file": ("a.txt", b"first")}).json
    builder.call("renameUserFile", file_id=first["id"], query={"name": "b"})
    second = builder.call("uploadUserFile", form={"file": ("a.txt", b"second")}).json
    assert second["name"] == "a"
    assert builder.call("downloadUserFile", file_id=first["id"]).body == b"first"
    assert builder.call("downloadUserFile", file_id=second["id"]).body == b"second"


def test_accounts_files_are_deleted_one_by_one_or_all(builder: User) -> None:
    """Deleted files are not found a second time; after deleting all the list is empty, and stays so."""
    files = [builder.call("uploadUserFile", form={"file": (f"{number}.txt", b"x")}).json for number in range(3)]
    assert builder.call("deleteUserFile", file_id=files[0]["id"]).json == {"message": "File deleted successfully"}
    for operation in ("deleteUserFile", "downloadUserFile"):
        assert builder.call(operation, file_id=files[0]["id"]).status == 404
    assert builder.call("renameUserFile", file_id=files[0]["id"], query={"name": "n"}).status == 404
    assert files[1]["id"] in [one["id"] for one in builder.call("listUserFiles").json]
    for _ in range(2):
        assert builder.call("deleteAllUserFiles").json == {"message": "All files deleted successfully"}
        assert builder.call("listUserFiles").json == []
    assert builder.call("downloadUserFile", file_id=files[1]["id"]).status == 404


def run(builder: User, tweaks: dict[str, Any], flow: str = FLOW, **body: Any) -> Answer:
    """Run a flow on something."""
    body = {"input_type": "chat", "output_type": "chat", "tweaks": tweaks, **body}
    return builder.call("runFlow", body, flow_id=flow, query={"stream": "false"})


@pytest.mark.parametrize("as_list", [False, True], ids=["text", "list"])
def test_image_goes_through_v1_into_a_run(builder: User, as_list: bool) -> None:
    """The `file_path` of the upload is what the Chat Input's tweak takes; the stream's question shows it."""
    path = put(builder, "photo 1.png", b"\x89PNG")
    tweak = {"files": [path] if as_list else path, "input_value": "describe this image"}
    assert run(builder, {"ChatInput-b67sL": tweak}).status == 200
    asked = {"tweaks": {"ChatInput-b67sL": tweak}}
    stream = builder.call("runFlow", asked, flow_id=FLOW, query={"stream": "true"}).body.decode()
    assert f'"{path}"' in stream.partition("\n\n")[0]
    assert '"describe this image"' in stream.partition("\n\n")[0]


@pytest.mark.parametrize("as_list", [False, True], ids=["text", "list"])
def test_accounts_file_goes_into_a_run_by_its_path(builder: User, as_list: bool) -> None:
    """A `path` tweak of a file that is there runs; once the file is deleted the same run is not found."""
    file = builder.call("uploadUserFile", form={"file": ("manual.pdf", b"%PDF")}).json
    tweaks = {"File-1olS3": {"path": [file["path"]] if as_list else file["path"]}}
    assert run(builder, tweaks, input_value="what do you see?").status == 200
    builder.call("deleteUserFile", file_id=file["id"])
    refused = run(builder, tweaks, input_value="what do you see?")
    assert refused.status == 404
    assert file["path"] in str(refused.json["detail"])


@pytest.mark.parametrize("path", ["nowhere/x.pdf", "../../etc/passwd", f"{FLOW}/never.png"])
def test_run_on_a_file_that_is_not_there_is_not_found(builder: User, path: str) -> None:
    """No file of the host is ever one of these; a stream tells it as an error, and a Chat Input does not look."""
    tweaks = {"File-1olS3": {"path": path}}
    assert run(builder, tweaks).status == 404
    stream = builder.call("runFlow", {"tweaks": tweaks}, flow_id=FLOW, query={"stream": "yes"})
    assert (stream.status, json.loads(stream.body)["event"]) == (200, "error")
    assert path in json.loads(stream.body)["data"]["error"]
    assert run(builder, {"ChatInput-b67sL": {"files": path}}).status == 200


@pytest.mark.parametrize("stream", ["false", "true"])
def test_the_output_of_a_component_that_is_not_there_is_none(builder: User, stream: str) -> None:
    """The flow runs all the same; the component that it has gives what it says, in both modes."""
    given = {}
    for component in ("Nope-12345", "ChatOutput-oUt01"):
        body = {"input_value": "hi", "output_component": component}
        answer = builder.call("runFlow", body, flow_id=FLOW, query={"stream": stream}).body.decode()
        last = json.loads(answer.rstrip("\n").split("\n\n")[-1])
        result = last["data"]["result"] if stream == "true" else last
        given[component] = [len(each["outputs"]) for each in result["outputs"]]
    assert given == {"Nope-12345": [0], "ChatOutput-oUt01": [1]}


@pytest.mark.parametrize("component", ["File-1olS3", "ChatInput-b67sL"])
def test_image_of_the_account_goes_into_no_run(builder: User, component: str) -> None:
    """v2 keeps an image like any file, but cannot send it to a flow (003:60); the run fails, as a flow's does."""
    image = builder.call("uploadUserFile", form={"file": ("photo.png", b"PNG")}).json
    refused = run(builder, {component: {"files" if component.startswith("Chat") else "path": [image["path"]]}})
    assert refused.status == 500
    assert "No files to process" in refused.json["detail"]
    assert builder.call("downloadUserFile", file_id=image["id"]).status == 200


def test_streamed_run_has_the_real_framing(builder: User) -> None:
    """JSON objects, each followed by a blank line, with no field names; the last is `end` and has the whole result."""
    body = {"input_value": "hi", "session_id": "mine"}
    answer = builder.call("runFlow", body, flow_id=FLOW, query={"stream": "true"})
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert b"data:" not in answer.body
    assert answer.body.endswith(b"}\n\n")
    whole = builder.call("runFlow", body, flow_id=FLOW, query={"stream": "false"}).json
    assert (whole["session_id"], b'"session_id": "mine"' in answer.body) == ("mine", True)
    told = whole["outputs"][0]["outputs"][0]["results"]["message"]["text"]
    events = [json.loads(block) for block in answer.body.decode().split("\n\n") if block]
    assert "".join(event["data"]["chunk"] for event in events if event["event"] == "token") == told
    assert events[-1]["event"] == "end"
    assert events[-1]["data"]["result"]["outputs"][0]["outputs"][0]["results"]["message"]["text"] == told


@pytest.mark.parametrize(
    "body",
    [{"input_value": "你好 😀"}, {"tweaks": {"ChatInput-b67sL": {"input_value": "你好 😀"}}}],
    ids=["body", "tweak"],
)
def test_a_flow_answers_what_it_was_asked(make_app, body):
    """The answer hangs on what was put in, the same in both modes; `--answers echo` gives it back to the letter."""
    echo = User(make_app("agentbuilder", answers="echo"), "agentbuilder")
    assert _said(echo, body) == "你好 😀"
    faker = User(make_app("agentbuilder"), "agentbuilder")
    assert "你好 😀" in _said(faker, body)
    assert _said(faker, body) == _said(faker, body) != _said(faker, {"input_value": "something else"})


def _said(user: User, body: Any) -> str:
    """Return a flow's answer, which its tokens add up to as well."""
    lines = user.call("runFlow", body, flow_id=FLOW, query={"stream": "true"}).body.decode().split("\n\n")
    events = [json.loads(line) for line in lines if line]
    tokens = "".join(event["data"]["chunk"] for event in events if event["event"] == "token")
    whole = user.call("runFlow", body, flow_id=FLOW, query={"stream": "false"}).json
    assert whole["outputs"][0]["outputs"][0]["results"]["message"]["text"] == tokens
    return tokens


@pytest.mark.parametrize("operation", ["uploadFlowFile", "listFlowFiles", "downloadFlowFile", "runFlow"])
def test_unknown_flow_is_not_found(builder: User, operation: str) -> None:
    """Files and runs need a flow that there is."""
    more: dict[str, Any] = {"form": {"file": ("a.txt", b"x")}} if operation == "uploadFlowFile" else {}
    more |= {"file_name": "a.txt"} if operation == "downloadFlowFile" else {}
    more |= {"body": {}} if operation == "runFlow" else {}
    assert builder.call(operation, flow_id="11111111-1111-4111-8111-111111111111", **more).status == 404


V2 = ("uploadUserFile", "listUserFiles", "downloadUserFile", "renameUserFile", "deleteUserFile", "deleteAllUserFiles")


@pytest.mark.parametrize("operation", V2)
def test_v2_opens_with_key_or_token_and_with_nothing_else(make_app: Callable[..., Caller], operation: str) -> None:
    """The key in its header, or a Bearer token, which counts first; a wrong key is 403, a wrong token 401, none 403."""
    more: dict[str, Any] = {"form": {"file": ("a.txt", b"x")}} if operation == "uploadUserFile" else {}
    more |= {"query": {"name": "n"}} if operation == "renameUserFile" else {}
    more |= {"file_id": "3a290013-fe1e-4d3d-a454-cacae81288f3"} if operation.endswith("UserFile") else {}
    more = {name: value for name, value in more.items() if not (operation == "uploadUserFile" and name == "file_id")}
    for credentials, statuses in (
        ({"X-Api-Key": "sk-agentbuilder"}, (200, 201)),
        ({"Authorization": "Bearer token-agentbuilder"}, (200, 201)),
        ({"Authorization": "Bearer token-agentbuilder", "X-Api-Key": "sk-wrong"}, (200, 201)),
        ({"Authorization": "Bearer sk-agentbuilder"}, (401,)),
        ({"Authorization": "Bearer wrong", "X-Api-Key": "sk-agentbuilder"}, (401,)),
        ({"Authorization": "Basic abc", "X-Api-Key": "sk-agentbuilder"}, (200, 201)),
        ({"Authorization": "Basic abc"}, (403,)),
        ({"X-Api-Key": "sk-wrong"}, (403,)),
        ({"X-Api-Key": ""}, (403,)),
        ({"Authorization": "Bearer wrong"}, (401,)),
        ({}, (403,)),
    ):
        nobody = _Keyless(make_app("agentbuilder"), "agentbuilder", name="", headers=credentials)
        assert nobody.call(operation, **more).status in statuses, credentials


class _Keyless(User):
    """A user whose credentials are in `headers` alone."""

    def _credentials(self, operation: Any) -> dict[str, str]:
        return {}


def test_key_and_token_of_one_name_open_one_world(mock: Caller) -> None:
    """What is uploaded with the key can be fetched with the token."""
    file = User(mock, "agentbuilder", "-both", name="").call("uploadUserFile", form={"file": ("a.txt", b"x")}).json
    token = _Keyless(mock, "agentbuilder", name="", headers={"Authorization": "Bearer token-agentbuilder-both"})
    assert token.call("downloadUserFile", file_id=file["id"]).body == b"x"


def test_a_token_opens_all_but_runs(mock: Caller) -> None:
    """v2, whoami and the files of flows take one; a run looks at keys only, whatever token comes beside one."""
    token = {"Authorization": "Bearer token-agentbuilder"}
    assert _Keyless(mock, "agentbuilder", name="", headers=token).call("listFlowFiles", flow_id=FLOW).status == 200
    run = f"/api/v1/run/{FLOW}"
    assert mock.ask("POST", run, json_body={}, **token).status == 403
    assert mock.ask("POST", run, json_body={}, x_api_key="sk-agentbuilder", Authorization="Bearer x").status == 200


def test_a_key_in_the_query_counts_before_the_header(mock: Caller) -> None:
    """Whatever the header says, the query decides."""
    asked = "/api/v1/users/whoami?x-api-key="
    assert mock.ask("GET", f"{asked}sk-agentbuilder", x_api_key="wrong").status == 200
    assert mock.ask("GET", f"{asked}wrong", x_api_key="sk-agentbuilder").status == 403


def test_whoami_owns_the_files(builder: User) -> None:
    """The id is the one that paths of v2 files begin with, the same at every call."""
    account = builder.call("getCurrentUser").json
    assert account == builder.call("getCurrentUser").json
    path = builder.call("uploadUserFile", form={"file": ("a.txt", b"x")}).json["path"]
    assert path.partition("/")[0] == account["id"]


UPLOADS = {f"/api/v1/files/upload/{FLOW}": 201, "/api/v2/files": 201, f"/api/v1/upload/{FLOW}": 201}


@pytest.mark.parametrize("path", UPLOADS)
def test_body_over_the_limit_is_413_over_http(path: str) -> None:
    """`--max-upload-mb` counts the whole body; up to it uploads succeed, and the refusal names the limit."""
    around = len(multipart({"file": ("a.bin", b"")}))
    headers = {"X-Api-Key": "sk-agentbuilder", "Content-Type": "multipart/form-data; boundary=b"}
    with MockServer(["agentbuilder"], settings=Settings(max_upload=1 << 20)) as server:
        for size, status in (((1 << 20) - around, 201), ((1 << 20) - around + 1, 413), (3 << 20, 413)):
            connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
            connection.request("POST", path, multipart({"file": ("a.bin", b"x" * size)}), headers)
            response = connection.getresponse()
            assert response.status == status, size
            told = response.read().decode()
            assert status == 201 or "Maximum allowed is 1MB" in told
            connection.close()


def test_default_limit_is_the_documents(make_app: Callable[..., Caller]) -> None:
    """1024 MB, in the settings and in the refusal."""
    assert Settings().max_upload == 1024 << 20
    forced = User(make_app("agentbuilder"), "agentbuilder", name="").call(
        "uploadUserFile", form={"file": ("a.txt", b"x")}, headers={"Prefer": "code=413"}
    )
    assert "Maximum allowed is 1024MB" in forced.json["detail"]


@pytest.mark.parametrize("path", UPLOADS)
def test_large_upload_stays_out_of_memory(mock: Caller, path: str) -> None:
    """48 MB are read from the disk and kept there: at no time is more than a small part of them in memory."""
    size = 48 << 20
    head, _, tail = multipart({"file": ("large.bin", b"BYTES")}).partition(b"BYTES")
    writer = BlobWriter()
    for piece in (head, *([b"x" * (1 << 20)] * 48), tail):
        writer.write(piece)
    body, headers = writer.finish(), Headers({"X-Api-Key": "sk-agentbuilder-large"})
    headers["Content-Type"] = "multipart/form-data; boundary=b"
    tracemalloc.start()
    try:
        reply = mock.app.handle(Request("POST", path, "", headers, body), 1_732_147_200.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read(reply).status == 201
    assert peak < size // 8
