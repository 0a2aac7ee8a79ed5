"""A disk without room, a folder that cannot be written: what does not fit fails alone, at once, and says why."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from mock_processes import CHAT, FILES, RUN, USER, Server, chat_body, first_events
from mock_users import Live, spooled

from flowcontract.errors import StateError, StateUnwritableError
from mockserver.blobs.blob import Blob
from mockserver.config.settings import Settings
from mockserver.http.messages import AbortConnection, Request
from mockserver.server.adapter import answer
from mockserver.server.mock_server import MockServer
from mockserver.state.sqlite import StateFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mock_calls import Caller

_MB = 1 << 20
LARGEST = 6 * _MB
"""Bytes that a file of the mock may have where the system says that a disk is full (RLIMIT_FSIZE)."""
RUNNING = {"inputs": {}, "response_mode": "streaming", **USER}


def upload(client: httpx.Client, size: int) -> httpx.Response:
    return client.post("/api/v2/files", headers=FILES, files={"file": ("a.bin", bytes(size))})


def listed(client: httpx.Client) -> list[str]:
    found = client.get("/api/v2/files", headers=FILES)
    assert found.status_code == 200
    return [file["id"] for file in found.json()]


def assert_no_room(refused: httpx.Response) -> None:
    assert (refused.status_code, refused.headers["Content-Type"]) == (507, "application/problem+json")
    assert refused.json()["title"] == "The mock cannot keep this"


def complaints(server: Server) -> list[str]:
    """End a server and return what it has said since it said that it listens, beside its lines of requests."""
    server.kill()
    assert server.process.stdout is not None
    said = server.process.stdout.read().splitlines()
    return [line for line in said if not re.match(r"\d\d:\d\d:\d\d |  (?:violation|hint|failure): ", line)]


# Real ones.


def test_upload_that_does_not_fit_into_the_state_fails_alone(tmp_path: Path) -> None:
    """The ones before are kept, those after it are judged by themselves, and all is there after a restart."""
    state = tmp_path / "mock.db"
    with Server(state, "--pace", "0", largest_file=LARGEST) as server, server.client() as client:
        seeded = listed(client)
        first = upload(client, 4 * _MB)
        assert first.status_code == 201
        for _ in range(3):
            assert_no_room(upload(client, 4 * _MB))
            assert listed(client) == [*seeded, first.json()["id"]]
        for _ in range(30):
            assert client.post("/v1/chat-messages", headers=CHAT, json=chat_body("q")).status_code == 200
        second = upload(client, 1000)
        assert second.status_code == 201
        assert client.delete(f"/api/v2/files/{first.json()['id']}", headers=FILES).status_code == 200
        third = upload(client, 4 * _MB)  # into the room that was left
        assert third.status_code == 201
        told = complaints(server)
    assert [line for line in told if not line.startswith(f"mockserver: {state} cannot be written")] == []
    assert len(told) == 1, "the same line is not said for each"
    assert not list(tmp_path.glob("*-journal"))
    with Server(state, "--pace", "0") as server, server.client() as client:
        assert listed(client) == [*seeded, second.json()["id"], third.json()["id"]]
        assert client.get(f"/api/v2/files/{third.json()['id']}", headers=FILES).content == bytes(4 * _MB)


def test_body_that_does_not_fit_into_the_folder_for_temporary_files(tmp_path: Path) -> None:
    """It is the mock's own 507 and one line of its terminal, not the API's refusal; nothing of it is left."""
    with (
        Server(tmp_path / "mock.db", "--pace", "0", largest_file=LARGEST, temporary=tmp_path) as server,
        server.client() as client,
    ):
        seeded = listed(client)
        for size in (20 * _MB, LARGEST + 1):
            assert_no_room(upload(client, size))
        body = json.dumps({"query": "q" * 8 * _MB, "inputs": {}, **USER}).encode()
        assert_no_room(
            client.post("/v1/chat-messages", headers={**CHAT, "Content-Type": "application/json"}, content=body)
        )
        assert upload(client, 100).status_code == 201
        assert len(listed(client)) == len(seeded) + 1
        journal = client.get("/__mock__/requests?status=507").json()["requests"]
        assert len(journal) == 3
        assert all(str(tmp_path) in entry["failure"] for entry in journal)
        assert spooled(tmp_path) == []
        told = complaints(server)
    assert len(told) == 1
    assert told[0].startswith(f"mockserver: A large body cannot be kept in {tmp_path}: ")


# As if.


class Full:
    """A disk that is full whenever a test says so."""

    def __init__(self, patch: pytest.MonkeyPatch, error: str = "database or disk is full") -> None:
        self.now = False
        self._run = StateFile._run

        def run(file: StateFile, statement: str, *values: Any) -> None:
            if self.now and statement.startswith(("INSERT", "DELETE", "COMMIT")):
                raise sqlite3.OperationalError(error)
            self._run(file, statement, *values)

        patch.setattr(StateFile, "_run", run)


@pytest.fixture(params=["database or disk is full", "attempt to write a readonly database", "disk I/O error"])
def full(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Full:
    """Return what makes the state's disk full, or the file one that cannot be written."""
    return Full(monkeypatch, request.param)


@pytest.fixture
def mock(tmp_path: Path) -> Iterator[MockServer]:
    with MockServer(settings=Settings(pace=0.05, state=tmp_path / "mock.db")) as running:
        yield running


@pytest.fixture
def client(mock: MockServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=mock.origin, trust_env=False, timeout=20) as one:
        yield one


@pytest.mark.parametrize("api", ["chat", "workflow"])
def test_stream_whose_state_cannot_be_written_is_cut(
    mock: MockServer, client: httpx.Client, full: Full, api: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client is not left waiting, journal and terminal say why; with room again it has ended for everybody."""
    path, key, body = ("/v1/workflows/run", RUN, RUNNING)
    if api == "chat":
        path, key, body = ("/v1/chat-messages", CHAT, chat_body("tell me", "streaming"))
    with client.stream("POST", path, headers=key, json=body) as stream:
        lines = stream.iter_lines()
        begun = first_events(lines, 1)
        full.now = True
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)
    entry = mock.requests()[-1]
    assert entry.stream is not None
    assert entry.stream.ended == "cut"
    assert "cannot be written" in str(entry.failure)
    said = capsys.readouterr().err
    assert said.startswith("mockserver: ")
    assert said.count("\n") == 1
    assert client.post(path, headers=key, json=body).status_code == 507
    assert client.get("/v1/parameters", headers=key, params=USER).status_code == 200
    full.now = False
    assert client.get("/v1/parameters", headers=key, params=USER).status_code == 200
    world = mock.app.mock.worlds.open("dify-chat" if api == "chat" else "dify-workflow", "")
    assert (world.streams, list(world.store.list_rows("tasks")), world.transaction.owed) == ({}, [], [])
    if api == "workflow":
        run = client.get(f"/v1/workflows/run/{begun[0]['workflow_run_id']}", headers=RUN).json()
        assert run["status"] == "stopped"


def test_stream_that_breaks_by_a_mistake_of_ours_is_cut(
    make_app: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is raised while a stream is handed out ends it; the terminal shows where."""
    mock = make_app("dify-workflow")
    live = Live(mock.open("POST", "/v1/workflows/run", key="app-workflow", json_body=RUNNING).body)  # type: ignore[arg-type]
    run = live.step()["workflow_run_id"]
    world = mock.app.mock.worlds.open("dify-workflow", "")
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "put", None)
        with pytest.raises(AbortConnection):
            live.rest()
    entry = mock.app.mock.journal.list_entries()[-1]
    assert entry.stream is not None
    assert entry.stream.ended == "cut"
    assert str(entry.failure).startswith("TypeError")
    assert "Traceback" in capsys.readouterr().err
    assert mock.ask("GET", f"/v1/workflows/run/{run}", key="app-workflow").json["status"] == "stopped"


def test_reading_goes_on_where_nothing_can_be_written(client: httpx.Client, full: Full) -> None:
    """What was kept can be read, byte for byte; what would have to be kept is refused, and then is not there."""
    me = {"user": "me"}  # of whom no world knows anything in the beginning
    question = {**chat_body("q"), **me}
    file = upload(client, 1000).json()["id"]
    said = client.post("/v1/chat-messages", headers=CHAT, json=question).json()
    full.now = True
    for _ in range(3):
        assert_no_room(client.post("/v1/chat-messages", headers=CHAT, json=question))
        assert_no_room(upload(client, 10))
        assert_no_room(client.delete(f"/api/v2/files/{file}", headers=FILES))
        assert client.get(f"/api/v2/files/{file}", headers=FILES).content == bytes(1000)
        page = client.get("/v1/conversations", headers=CHAT, params=me).json()
        assert [row["id"] for row in page["data"]] == [said["conversation_id"]]
    full.now = False
    assert client.post("/v1/chat-messages", headers=CHAT, json=question).status_code == 200
    assert len(client.get("/v1/conversations", headers=CHAT, params=me).json()["data"]) == 2


def test_reset_that_cannot_be_written_is_a_507_and_resets_nothing(client: httpx.Client, full: Full) -> None:
    """Nor is it a mistake of whoever asked."""
    file = upload(client, 1000).json()["id"]
    full.now = True
    assert_no_room(client.post("/__mock__/reset"))
    full.now = False
    assert file in listed(client)
    assert client.post("/__mock__/reset").status_code == 200
    assert file not in listed(client)


def test_files_leave_the_log_its_room(
    make_app: Callable[..., Caller], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that is nearly full an upload is refused before a byte of it is written, and chats go on."""
    mock = make_app(state=tmp_path / "mock.db", pace=0)
    builder = {"x_api_key": "sk-agentbuilder"}
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(100_000) + b"\r\n--b--\r\n"
    )
    sent = {"body": form, "Content_Type": "multipart/form-data; boundary=b", **builder}
    before = mock.ask("GET", "/api/v2/files", **builder).json
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 1 * _MB}))
        with pytest.raises(StateError, match="Make room"):
            mock.ask("POST", "/api/v2/files", **sent)
        assert mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=chat_body("q")).status == 200
    assert mock.ask("GET", "/api/v2/files", **builder).json == before
    assert mock.ask("POST", "/api/v2/files", **sent).status == 201
    mock.app.close()


@pytest.mark.parametrize("size", [300_000, 3 * _MB], ids=["part", "body"])
def test_folder_that_cannot_be_written_is_a_507(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    """A folder that is gone, for instance: small uploads need none, and the connection goes on."""
    with MockServer(settings=Settings(pace=0)) as mock:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
        connection = http.client.HTTPConnection("127.0.0.1", mock.port, timeout=20)
        for count, expected in ((size, 507), (100, 201), (size, 507), (100, 201)):
            head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            headers = {**FILES, "Content-Type": "multipart/form-data; boundary=b"}
            connection.request("POST", "/api/v2/files", head + bytes(count) + b"\r\n--b--\r\n", headers)
            reply = connection.getresponse()
            content = json.loads(reply.read())
            assert reply.status == expected, content
        connection.close()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(tmp_path / "gone") in said


def test_admin_says_so_too(make_app: Callable[..., Caller]) -> None:
    """A body for `/__mock__` that found no room is no mistake of whoever sent it."""
    mock = make_app("dify-chat")
    request = Request("PUT", "/__mock__/overrides", body_error=StateUnwritableError("no room"), peer="127.0.0.1")
    assert answer(mock.app, request, mock.now).status == 507


# What was there, and is not any more.


def vanishing(path: Path, size: int) -> Blob:
    """Return a file that has become shorter since it was begun to be sent."""
    path.write_bytes(bytes(size))
    blob = Blob(path)
    path.write_bytes(bytes(size // 2))
    return blob


@pytest.mark.parametrize("half", [False, True], ids=["all", "half"])
def test_download_whose_bytes_are_gone_ends_the_connection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, half: bool
) -> None:
    """No other answer takes their place: what was asked for behind it is not answered on this connection."""
    with (
        MockServer(settings=Settings(pace=0)) as mock,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", mock.port, timeout=20)) as connection,
    ):
        with httpx.Client(base_url=mock.origin, trust_env=False) as client:
            file = upload(client, 100).json()["id"]
        blob = vanishing(tmp_path / "a", 3 * _MB)
        if not half:
            (tmp_path / "a").unlink()
        world = mock.app.mock.worlds.open("agentbuilder", "")
        with world.transaction():
            world.keep("user_files", file, blob)
        connection.request("GET", f"/api/v2/files/{file}", headers=FILES)
        reply = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as broken:
            reply.read()
        assert set(broken.value.partial) <= {0}
        said = capsys.readouterr().err
        assert said.startswith("mockserver: ")
        assert said.count("\n") == 1


def test_file_that_grows_is_sent_as_long_as_it_was_announced(tmp_path: Path) -> None:
    """Its further bytes would be taken for the next answer."""
    (tmp_path / "a").write_bytes(b"a" * 100)
    blob = Blob(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"a" * 200)
    assert b"".join(blob.read_chunks(64)) == blob.read() == b"a" * 100


def test_client_that_leaves_while_nothing_can_be_written(mock: MockServer, client: httpx.Client, full: Full) -> None:
    """The end of its stream is noted as soon as it can be."""
    with client.stream("POST", "/v1/workflows/run", headers=RUN, json=RUNNING) as stream:
        run = first_events(stream.iter_lines(), 1)[0]["workflow_run_id"]
        full.now = True
    world = mock.app.mock.worlds.open("dify-workflow", "")
    waiting = threading.Event()
    for _ in range(200):
        if world.transaction.owed:
            break
        waiting.wait(0.05)
    full.now = False
    assert client.get(f"/v1/workflows/run/{run}", headers=RUN).json()["status"] == "stopped"
    assert world.transaction.owed == []
