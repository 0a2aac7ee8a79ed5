"""What an attacker can no longer do to the mock: each test was an attack that worked, or one that must never work."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from mock_calls import Caller
from mock_users import spooled
from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header

from flowcontract.errors import ScenarioError
from mockserver.blobs import tempfiles as spool
from mockserver.blobs.blob import Blob, BlobWriter
from mockserver.core.app import App
from mockserver.http.messages import Request
from mockserver.http.stream import Stream
from mockserver.server import adapter as framing
from mockserver.server.http1 import Connection
from mockserver.server.mock_server import MockServer
from mockserver.server.shared import Shared
from mockserver.state.memory import MemoryStore
from mockserver.state.quotas import Ledger, Limits, Quota, StorageFull
from mockserver.state.transactions import Transactions
from mockserver.state.worlds import Worlds

CHAT = {"query": "hello", "user": "abc-123", "inputs": {}}
EVIL_NAMES = (
    "../../../../etc/passwd",
    "..\\..\\boot.ini",
    "/etc/passwd",
    "C:\\boot.ini",
    "..",
    ".",
    "~root/.ssh/id_rsa",
    "a\x00b.txt",
    "a%2f..%2fb",
    'quo"te.txt',
    "semi;filename=x.txt",
    "\u202egnp.exe",
    "\uff0e\uff0e\uff0fetc",
    "n" * 300 + ".txt",
    "\U0001f600.txt",
    "CON",
    "-rf",
    "$(id).txt",
)


def write(folder: Path, text: str) -> Path:
    """Write one more scenario of `sendChatMessage`, named `evil`; return its folder."""
    own = folder / "dify-chat" / "sendChatMessage"
    own.mkdir(parents=True)
    (own / "200-evil.yaml").write_text(text)
    return own


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: stolen=1", "a\nb", "\x00\x7f\x85", "\u2028", "\U0001f600"])
def test_echoed_value_never_begins_a_header_of_its_own(
    make_app: Callable[..., Caller], tmp_path: Path, text: str
) -> None:
    """A scenario may echo in a header what the client sent; line breaks and odd characters become question marks."""
    write(tmp_path, "description: e\nreply:\n  headers: {X-Echo: 'said {$request.body#/query}'}\n  body: {answer: x}\n")
    mock = make_app("dify-chat", fixtures=tmp_path)
    answer = mock.ask(
        "POST", "/v1/chat-messages", key="app-chat-echo", json_body=CHAT | {"query": text}, Prefer="example=evil"
    )
    assert answer.status == 200
    assert answer.headers["X-Echo"].startswith("said ")
    assert answer.headers["X-Echo"].isprintable()
    assert "Set-Cookie" not in answer.headers
    answer.headers["X-Echo"].encode("latin-1")


@pytest.mark.parametrize("wanted", ["\xff", "a\tb", "a, ", "x y", "", "a,\xe9", "a;b"])
def test_preflight_echoes_nothing_but_names_of_headers(mock: Caller, wanted: str) -> None:
    """What a browser would never ask for is not repeated in the answer."""
    asked = {"Origin": "https://evil.example", "Access_Control_Request_Method": "POST"}
    answer = mock.ask("OPTIONS", "/v1/info", **asked, Access_Control_Request_Headers=wanted)
    assert (answer.status, answer.headers["Access-Control-Allow-Headers"]) == (200, "*")


def test_browser_credentials_are_never_allowed(mock: Caller) -> None:
    """No origin is reflected and no credentials are allowed, so that no page can use what a browser remembers."""
    asked = {"Origin": "https://evil.example", "Cookie": "session=1"}
    for answer in (
        mock.ask("GET", "/v1/info", key="app-chat", **asked),
        mock.ask("OPTIONS", "/v1/info", **asked, Access_Control_Request_Method="GET"),
        mock.ask("GET", "/nowhere", **asked),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


def upload(mock: Caller, path: str, name: str, data: bytes, **headers: str) -> Any:
    """Upload a file under a name, quoted as browsers quote it (https://html.spec.whatwg.org/#multipart-form-data)."""
    quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n\r\n'.encode()
    body = head + data + b"\r\n--b--\r\n"
    return mock.ask("POST", path, body=body, Content_Type="multipart/form-data; boundary=b", **headers)


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_file_name_reaches_no_path_and_no_header(mock: Caller, name: str) -> None:
    """What is taken comes back under one well-formed name without folders (RFC 6266); what is refused is nowhere."""
    before = set(Path.cwd().iterdir())
    listed = mock.ask("GET", "/api/v2/files", x_api_key="sk-agentbuilder-names").json
    uploaded = upload(mock, "/api/v2/files", name, b"secret bytes", x_api_key="sk-agentbuilder-names")
    if uploaded.status == 400:
        assert mock.ask("GET", "/api/v2/files", x_api_key="sk-agentbuilder-names").json == listed
        assert set(Path.cwd().iterdir()) == before
        return
    file = uploaded.json
    answer = mock.ask("GET", f"/api/v2/files/{file['id']}", x_api_key="sk-agentbuilder-names")
    assert answer.body == b"secret bytes"
    disposition = answer.headers["Content-Disposition"]
    assert disposition.isascii()
    assert disposition.isprintable()
    kind, options = parse_options_header(disposition)
    assert kind == "attachment"
    assert set(options) == {"filename"}
    assert "/" not in options["filename"]
    assert ".." not in file["path"].split("/")
    assert set(Path.cwd().iterdir()) == before


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "/etc/passwd", "..", "%2e%2e", "a\x00"])
def test_path_parameter_is_never_a_path_of_the_host(mock: Caller, name: str) -> None:
    """Files are looked up by name in a world; no name leads out of it."""
    flow = mock.app.mock.settings.build_seeds("agentbuilder")["flows"][0]["id"]
    answer = mock.ask("GET", f"/api/v1/files/download/{flow}/{name}", x_api_key="sk-agentbuilder-names")
    assert answer.status >= 400
    assert b"root:" not in answer.body


def test_remote_url_is_never_fetched() -> None:
    """A file that is named by URL is taken note of; nobody connects to where it points."""
    apis = ("dify-chat", "dify-workflow", "agentbuilder")
    with socket.create_server(("127.0.0.1", 0)) as bait, MockServer(apis) as mock:
        url = f"http://127.0.0.1:{bait.getsockname()[1]}/latest/meta-data"
        file = {"type": "image", "transfer_method": "remote_url", "url": url}
        asked = {
            "user": "u",
            "response_mode": "blocking",
            "files": [file],
            "inputs": {"picture": file, "pictures": [file]},
        }
        flow = mock.app.mock.settings.build_seeds("agentbuilder")["flows"][0]["id"]
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("dify-chat", "/chat-messages", asked | {"query": f"what is {url}?"}),
            ("dify-workflow", "/workflows/run", asked),
            ("agentbuilder", f"/v1/run/{flow}", {"tweaks": {"Image": {"url": url}, "Chat": {"input_value": url}}}),
        ]
        with httpx.Client(trust_env=False, timeout=20) as client:
            for api, path, body in requests:
                answer = client.post(mock.url(api) + path, headers=mock.headers(api), json=body)
                assert answer.status_code == 200, answer.text
        bait.setblocking(False)
        with pytest.raises(BlockingIOError):
            bait.accept()


def test_nothing_listens_beyond_this_machine_unless_asked() -> None:
    """By default the only address is loopback's."""
    with MockServer(["cybertron"]) as mock:
        assert mock.sockets[0].getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("file", ["../../../../../../etc/passwd", "/etc/passwd", "..\\x", "link.txt"])
def test_scenario_sends_no_file_from_outside_its_folder(
    make_app: Callable[..., Caller], tmp_path: Path, file: str
) -> None:
    """`file:` names a file inside the API's folder; a symbolic link that leads out of it counts as outside."""
    own = write(tmp_path, f"description: reads\nreply:\n  file: {json.dumps(file)}\n")
    (own / "link.txt").symlink_to("/etc/passwd")
    with pytest.raises(ScenarioError, match="is not inside dify-chat/"):
        make_app("dify-chat", fixtures=tmp_path)


def worlds(**limits: int) -> Worlds:
    """Return worlds that begin with one printed record each."""
    return Worlds(0, lambda _api: {"printed": [{"id": "p"}]}, Limits(**limits))


def test_number_of_worlds_is_bounded() -> None:
    """The world used longest ago begins anew; the ones in use stay."""
    some = worlds(worlds=3)
    for suffix in ("-a", "-b", "-c"):
        some.open("api", suffix).store.put("runs", "r", {"id": "r"})
    some.open("api", "-a")
    some.open("api", "-d")
    assert some.list_names() == ["api-a", "api-c", "api-d"]
    assert some.open("api", "-a").store.get("runs", "r") == {"id": "r"}
    assert some.open("api", "-b").store.get("runs", "r") is None


def test_world_with_a_running_stream_is_not_forgotten() -> None:
    """A stream that runs can be stopped, however many other keys come."""
    some = worlds(worlds=2)
    running = some.open("api", "-a")
    running.streams["task"] = Stream(iter(()))
    for number in range(10):
        some.open("api", f"-{number}")
    assert some.open("api", "-a") is running
    running.streams.clear()
    some.open("api", "-x")
    some.open("api", "-y")
    assert "api-a" not in some.list_names()


def test_number_of_records_is_bounded() -> None:
    """What was written longest ago is forgotten with its bytes; what every world begins with stays."""
    world = worlds(records=3).open("api", "")
    for number in range(5):
        with world.transaction():
            world.store.put("files", str(number), {"id": str(number)})
            world.keep("files", str(number), Blob(b"bytes"))
        with world.transaction():
            world.store.put("files", "0", {"id": "0", "written": number})
    assert [row["id"] for row in world.store.list_rows("files")] == ["0", "3", "4"]
    assert world.get_blob("files", "1").size == 0
    assert world.get_blob("files", "4").size == 5
    assert world.store.get("printed", "p") == {"id": "p"}


def test_bytes_of_records_are_bounded() -> None:
    """A few huge records push the older ones out, and the worlds that were used longest ago."""
    some = worlds(state=100_000)
    big = {"id": "x", "inputs": "a" * 40_000}
    first = some.open("api", "-a")
    for key in ("1", "2", "3"):
        with first.transaction():
            first.store.put("runs", key, big)
    assert [key for key in ("1", "2", "3") if first.store.get("runs", key)] == ["2", "3"]
    second = some.open("api", "-b")
    with second.transaction():
        second.store.put("runs", "1", big)
    some.open("api", "-b")
    assert some.list_names() == ["api-b"]
    assert some.quota.state.total < 50_000


def test_weight_is_taken_off_again() -> None:
    """Whatever is put, replaced, deleted and forgotten, nothing is counted that is not there."""
    quota = Quota()
    store = MemoryStore()
    ledger = Ledger(store, quota)
    transaction = Transactions(store, ledger)
    for number in range(20):
        with transaction():
            store.put("t", str(number % 7), {"text": "a" * number})
            store.keep("t", str(number % 5), Blob(b"b" * number))
    with transaction():
        for number in range(7):
            store.delete("t", str(number))
    gc.collect()
    assert (quota.state.total, quota.uploads.total, ledger.weight) == (0, 0, 0)
    with transaction():
        store.put("t", "1", {})
    ledger.leave()
    with transaction():
        store.put("t", "2", {})
    assert quota.state.total == 0


def test_quota_says_what_is_full() -> None:
    """A full store is an error of its own; whoever answers makes a refusal of it."""
    quota = Quota(Limits(uploads=10), stored=lambda: 8)
    quota.admit(2)
    with pytest.raises(StorageFull, match=r"no room for 3 bytes: 8 bytes of files are kept already, and 10 are"):
        quota.admit(3)


def test_world_that_leaves_the_quota_twice_is_taken_off_once() -> None:
    """A world that was let go of may be reset afterwards, and may come back."""
    quota, store = Quota(), MemoryStore()
    ledger = Ledger(store, quota)
    transaction = Transactions(store, ledger)
    with transaction():
        store.put("t", "1", {"text": "a"})
    weight = ledger.weight
    assert quota.state.total == weight > 0
    ledger.leave()
    ledger.leave()
    assert quota.state.total == 0
    with transaction():
        store.put("t", "2", {"text": "a"})
    ledger.enter()
    ledger.enter()
    assert quota.state.total == ledger.weight == 2 * weight


def test_uploads_are_refused_when_there_is_no_room(make_app: Callable[..., Caller]) -> None:
    """All files together have a limit; the refusal is the documented one, and deleting makes room."""
    mock = make_app("agentbuilder", limits=Limits(uploads=1000))
    key = {"x_api_key": "sk-agentbuilder-full"}
    seeded = len(mock.ask("GET", "/api/v2/files", **key).json)
    first = upload(mock, "/api/v2/files", "a.txt", b"a" * 900, **key)
    assert first.status == 201
    second = upload(mock, "/api/v2/files", "b.txt", b"b" * 200, **key)
    assert second.status == 413
    assert second.json["detail"]
    assert len(mock.ask("GET", "/api/v2/files", **key).json) == seeded + 1
    mock.ask("DELETE", f"/api/v2/files/{first.json['id']}", **key)
    assert upload(mock, "/api/v2/files", "b.txt", b"b" * 200, **key).status == 201


@pytest.mark.parametrize("length", [300, 60_000])
def test_endless_key_opens_nothing(mock: Caller, length: int) -> None:
    """A key names a world; one that is longer than any key is wrong."""
    before = len(mock.app.mock.worlds.list_names())
    assert mock.ask("GET", "/v1/info", key="app-chat-" + "x" * length).status == 401
    assert len(mock.app.mock.worlds.list_names()) <= before + 1  # the one of those who have no valid key


def test_temporary_files_go_with_what_they_belong_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large bodies lie on disk only as long as somebody holds them, also when reading is broken off."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    writer = BlobWriter()
    writer.write(b"a" * (1 << 21))
    assert len(spooled(tmp_path)) == 1
    blob = writer.finish()
    assert sum(map(len, blob.read_chunks())) == 1 << 21
    del blob, writer
    gc.collect()
    assert spooled(tmp_path) == []
    for end in (lambda writer: writer.discard(), lambda _: None):
        abandoned = BlobWriter()
        abandoned.write(b"a" * (1 << 21))
        end(abandoned)
        del abandoned
        gc.collect()
        assert spooled(tmp_path) == []


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.reading = True

    def get_extra_info(self, _name: str) -> Any:
        """Know nothing."""
        return None

    def is_closing(self) -> bool:
        """Stay open."""
        return False

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written.append(data)

    def pause_reading(self) -> None:
        """Note that no more is wanted."""
        self.reading = False

    def resume_reading(self) -> None:
        """Note that more is wanted."""
        self.reading = True

    @property
    def answers(self) -> int:
        """How many answers were written."""
        return b"".join(self.written).count(b"HTTP/1.1 200")


ASKED = b"GET /v1/info HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer app-chat-pipe\r\n\r\n"


def connect(shared: Shared) -> tuple[Connection, Wire]:
    """Return a connection, and what it writes to."""
    connection, wire = Connection(shared), Wire()
    connection.connection_made(wire)  # type: ignore[arg-type]
    return connection, wire


async def turns(count: int) -> None:
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_client_that_asks_and_never_reads_fills_no_memory(shared_app: App) -> None:
    """Answers are made when there is room for them; when the client reads at last, all of them come."""

    async def ask() -> None:
        connection, wire = connect(Shared(shared_app))
        connection.pause_writing()
        connection.data_received(ASKED * 500)
        await turns(600)
        assert wire.answers <= 1
        assert not wire.reading
        connection.resume_writing()
        await turns(600)
        assert wire.answers == 500
        assert wire.reading

    asyncio.run(ask())


def test_client_that_asks_hundreds_of_times_lets_others_through(shared_app: App) -> None:
    """Who sends many requests at once gets one answer after everybody else has had one."""

    async def ask() -> None:
        shared = Shared(shared_app)
        (greedy, much), (modest, little) = connect(shared), connect(shared)
        greedy.data_received(ASKED * 300)
        await turns(1)
        modest.data_received(ASKED)
        await turns(1)
        assert little.answers == 1
        assert much.answers < 5
        await turns(300)
        assert much.answers == 300

    asyncio.run(ask())


def test_what_is_no_request_costs_no_answer_that_was_due(shared_app: App) -> None:
    """Requests that came before the rubbish are answered; the rubbish is not."""

    async def ask() -> None:
        connection, wire = connect(Shared(shared_app))
        wire.close = lambda: None  # type: ignore[attr-defined]
        wire.write_eof = lambda: None  # type: ignore[attr-defined]
        connection.data_received(ASKED * 3 + b"\xff\xfe rubbish\r\n\r\n")
        await turns(10)
        assert wire.answers == 3
        assert b"Connection: close" in wire.written[-1]

    asyncio.run(ask())


def test_endless_file_name_makes_no_endless_header(mock: Caller) -> None:
    """The longest name that is taken makes a header far below the 64 KB at which clients stop reading."""
    key = {"x_api_key": "sk-agentbuilder-endless"}
    assert upload(mock, "/api/v2/files", "\u00e9" * 20_000 + ".txt", b"abc", **key).status == 400
    file = upload(mock, "/api/v2/files", "\u00e9" * 125 + ".txt", b"abc", **key).json
    answer = mock.ask("GET", f"/api/v2/files/{file['id']}", **key)
    assert answer.body == b"abc"
    assert len(answer.headers["Content-Disposition"]) < 10_000
    assert answer.headers["Content-Disposition"].endswith(".txt")


def test_thousands_of_wrong_values_are_told_by_the_first(make_app: Callable[..., Caller]) -> None:
    """What is wrong with each of them would be gigabytes; one is enough to refuse the request."""
    mock = make_app("dify-chat")
    answer = mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=CHAT | {"files": [1] * 20_000})
    assert (answer.status, answer.json["code"]) == (400, "invalid_param")
    assert len(mock.app.mock.journal.list_entries()[-1].violations) == 1
    few = mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=CHAT | {"files": [1] * 3})
    assert few.status == 400
    assert len(mock.app.mock.journal.list_entries()[-1].violations) >= 3


@pytest.mark.parametrize(
    "change",
    [
        {"user": "u#mock:" + "x" * 1_000_000},
        {"user": "u#mock:400-" + " " * 1_000_000 + ";"},
        {"user": "u#mock:" + "9" * 1_000_000},
        {"inputs": {"x" * 1_000_000: {"type": "image", "transfer_method": "local_file", "upload_file_id": "none"}}},
        {"response_mode": "x" * 1_000_000},
    ],
)
def test_refusal_does_not_say_everything_again(make_app: Callable[..., Caller], change: dict[str, Any]) -> None:
    """However long the wrong text is, the answer and what the journal keeps of it stay short."""
    mock = make_app("dify-chat")
    answer = mock.ask(
        "POST", "/v1/chat-messages", key="app-chat", json_body=CHAT | {"response_mode": "blocking"} | change
    )
    assert answer.status in (400, 501)
    assert len(answer.body) < 20_000
    assert len(json.dumps(mock.app.mock.journal.list_entries()[-1].as_json())) < 200_000


def test_journal_keeps_little_of_a_huge_form(make_app: Callable[..., Caller]) -> None:
    """Names of files and of fields, and how many fields there are, are up to the client; the journal's size is not."""
    mock = make_app("dify-chat")
    parts = [("user" + str(number), "v" * 4000) for number in range(500)] + [("n" * 1_000_000, "v")]
    fields = "".join(f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in parts)
    file = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{"f" * 1_000_000}"\r\n\r\nabc\r\n--b--\r\n'
    kind = "multipart/form-data; boundary=b"
    mock.ask("POST", "/v1/files/upload", key="app-chat", body=(fields + file).encode(), Content_Type=kind)
    assert len(json.dumps(mock.app.mock.journal.list_entries()[-1].as_json())) < 200_000


def test_long_questions_leave_nothing_behind(make_app: Callable[..., Caller]) -> None:
    """What is worked out of a text is remembered for short ones only: clients may send any number of long ones."""
    mock = make_app("dify-chat", journal=0)

    def ask(number: int) -> int:
        body = {"query": f"{number} " + "q" * 500_000, "inputs": {}, "user": "u", "response_mode": "blocking"}
        status = mock.ask("POST", "/v1/chat-messages", key="app-chat-long", json_body=body).status
        mock.app.mock.worlds.reset()
        return status

    def measure() -> int:
        gc.collect()  # what the tests before have left behind is not ours, and no cycle counts as kept
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        assert ask(0) == 200
        before = measure()
        assert {ask(number) for number in range(1, 9)} == {200}
        assert measure() - before < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("front", "name", "behind"),
    [
        ("p" * 3_000_000, "a.txt", ""),
        ("", "n" * 3_000_000, ""),
        ("", "n" * 200_000, ""),
        ("", "a.txt", "e" * 3_000_000),
    ],
)
def test_form_collects_nothing_around_its_parts(mock: Caller, front: str, name: str, behind: str) -> None:
    """An endless head of a part is refused; what stands before the first part and behind the last one is not kept."""
    head = f'{front}\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = f"{head}abc\r\n--b--\r\n{behind}".encode()
    kind = "multipart/form-data; boundary=b"
    answer = mock.ask("POST", "/api/v2/files", x_api_key="sk-agentbuilder-around", body=body, Content_Type=kind)
    assert answer.status == (413 if len(name) > 5 else 201)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat-messages", b"{"),
        ("/v1/chat-messages", b'{"query": 1}'),
        ("/v1/chat-messages", json.dumps(CHAT | {"response_mode": "streaming"}).encode()),
        ("/v1/files/upload", b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'),
        ("/v1/files/upload", b'--b\r\nContent-Disposition: form-data; name="file"; filename="\xff"\r\n\r\n'),
        ("/v1/files/upload", b'--b\r\nContent-Disposition: form-data; filename="a"\r\n\r\n'),
        ("/v1/files/upload", b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n\xff\r\n--b--\r\n'),
        ("/v1/files/upload", b"--b\r\nContent-Length: x\r\n\r\n"),
        ("/v1/files/upload", b"--b\r\nX: " + b"y" * 300_000 + b"\r\n"),
        ("/v1/files/upload", b"--b\nX: y\n\n"),
        ("/v1/files/upload", b"--b?"),
    ],
)
def test_bodies_are_let_go_as_soon_as_they_are_answered(
    shared_app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, body: bytes
) -> None:
    """Refused or not, streamed or not, nothing holds a body's temporary file until the garbage is collected."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    writer = BlobWriter()
    writer.write(body + b" " * 300_000)
    kind = "multipart/form-data; boundary=b" if body.startswith(b"--b") else "application/json"
    headers = Headers({"Authorization": "Bearer app-chat-held", "Content-Type": kind})
    gc.disable()
    try:
        reply = framing.answer(shared_app, Request("POST", path, "", headers, writer.finish()), 0.0)
        assert spooled(tmp_path) == []
        assert reply.status < 500
    finally:
        gc.enable()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_ended_mock_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    """Files that are kept on disk are gone with the program; those of a killed one are, when the next one begins."""
    command = [sys.executable, "-m", "mockserver", "serve", "--port", "0", "--api", "agentbuilder"]
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        base = next(line.split()[-1] for line in process.stdout if "base URL" in line)
        files, key = {"file": ("large.bin", b"x" * (2 << 20))}, {"x-api-key": "sk-agentbuilder"}
        with httpx.Client(trust_env=False, timeout=20) as client:
            assert client.post(f"{base}/v2/files", headers=key, files=files).status_code == 201
        (kept,) = spooled(tmp_path)
        other, _ = spool.create_file()
        other.close()
        assert kept in spooled(tmp_path), "its process lives"
        process.send_signal(end)
        assert process.wait(20) == (0 if end == signal.SIGTERM else -end)
    assert kept.exists() == (end == signal.SIGKILL)
    elsewhere = "from mockserver.blobs import tempfiles; tempfiles.create_file()"
    subprocess.run([sys.executable, "-c", elsewhere], env=environment, check=True)
    assert not kept.parent.exists()
