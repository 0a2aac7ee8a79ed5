"""`--state`: what was answered is still there after the mock was killed, and no file is harmed that it cannot use."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from mock_processes import CHAT, RUN, USER, Answered, Server, chat_body, first_events, work

from flowcontract.errors import StateError
from mockserver.blobs.blob import Blob
from mockserver.cli import main as cli
from mockserver.cli import options
from mockserver.state.memory import MemoryStore
from mockserver.state.quotas import Limits
from mockserver.state.sqlite import APPLICATION, VERSION, StateFile
from mockserver.state.store import Store
from mockserver.state.worlds import Worlds

if TYPE_CHECKING:
    from collections.abc import Callable

    from mock_calls import Answer, Caller


def test_nothing_that_was_answered_is_lost_when_the_mock_is_killed(tmp_path: Path) -> None:
    """Killed again and again while three clients ask, it comes back each time with all that it had answered."""
    answered, state, chance = Answered(), tmp_path / "mock.db", random.Random(3)
    for round_ in range(5):
        with Server(state, "--pace", "0") as server, ThreadPoolExecutor(3) as pool:
            with server.client() as client:
                answered.check(client)
            enough, limit = threading.Event(), answered.count + chance.randint(1, 25)
            work_on = [pool.submit(work, answered, server, 100 * round_ + one, enough, limit) for one in range(3)]
            assert enough.wait(60)
            server.kill()
            for one in work_on:
                one.result(60)
    with Server(state, "--pace", "0") as server, server.client() as client:
        answered.check(client)
    assert answered.messages
    assert answered.runs
    assert answered.files or answered.deleted


def test_run_that_was_interrupted_comes_back_as_failed(tmp_path: Path) -> None:
    """It was running when the mock was killed; then it has failed, in its detail and in the log."""
    state, body = tmp_path / "mock.db", {"inputs": {}, "response_mode": "streaming", **USER}
    with (
        Server(state, "--pace", "1000") as server,
        server.client() as client,
        client.stream("POST", "/v1/workflows/run", headers=RUN, json=body) as stream,
    ):
        run = first_events(stream.iter_lines(), 1)[0]["workflow_run_id"]
        path = f"/v1/workflows/run/{run}"
        assert httpx.get(server.url + path, headers=RUN, trust_env=False).json()["status"] == "running"
        server.kill()
    with Server(state) as server, server.client() as client:
        detail = client.get(path, headers=RUN).json()
        assert (detail["status"], detail["outputs"]) == ("failed", None)
        assert detail["error"]
        assert detail["finished_at"] >= detail["created_at"]
        log = client.get("/v1/workflows/logs", headers=RUN, params={"status": "failed"}).json()
        assert [one["workflow_run"]["id"] for one in log["data"]] == [run]
        assert client.post(f"/v1/workflows/tasks/{run}/stop", headers=RUN, json=USER).json() == {"result": "success"}


def test_what_a_stream_had_said_is_kept(tmp_path: Path) -> None:
    """The pieces of an answer that came before the mock was killed are in the message afterwards."""
    state = tmp_path / "mock.db"
    events: list[Any] = []
    with (
        Server(state, "--pace", "0.2") as server,
        server.client() as client,
        client.stream("POST", "/v1/chat-messages", headers=CHAT, json=chat_body("tell me", "streaming")) as stream,
    ):
        lines = stream.iter_lines()
        while sum(one["event"] == "message" for one in events) < 3:
            events += first_events(lines, 1)
        server.kill()
    said = "".join(one["answer"] for one in events if one["event"] == "message")
    conversation = events[0]["conversation_id"]
    with Server(state) as server, server.client() as client:
        page = client.get("/v1/messages", headers=CHAT, params={"conversation_id": conversation, **USER}).json()
        assert [one["query"] for one in page["data"]] == ["tell me"]
        assert page["data"][0]["answer"].startswith(said)
        assert said


def refused(state: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line in which `mockserver serve` refuses a state; the file, and its folder, stay as they are."""

    def look() -> dict[str, bytes]:
        return {one.name: one.read_bytes() for one in state.parent.glob("*") if one.is_file()}

    before = look()
    assert cli.main(["serve", "--port", "0", "--state", str(state)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert look() == before
    return said.err


def test_two_mocks_do_not_share_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second one is told that the file is in use, and the first goes on."""
    state = tmp_path / "mock.db"
    with Server(state) as server, server.client() as client:
        assert client.post("/v1/chat-messages", headers=CHAT, json=chat_body("q")).status_code == 200
        assert "in use by another mock" in refused(state, capsys)
        assert client.post("/v1/chat-messages", headers=CHAT, json=chat_body("q")).status_code == 200


def filled(path: Path) -> Path:
    """Write a state with something in it."""
    file = StateFile(path)
    store = file.store("w")
    for number in range(500):
        store.put("t", str(number), {"text": "x" * 100})
        store.count("n")
    store.commit()
    file.close()
    return path


def foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (a)")
    database.close()


def newer_version(path: Path) -> None:
    filled(path)
    data = bytearray(path.read_bytes())
    data[60:64] = (VERSION + 1).to_bytes(4, "big")
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    data = filled(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def scribbled_over(path: Path) -> None:
    data = bytearray(filled(path).read_bytes())
    for place in range(4096, len(data), 4096):
        data[place : place + 100] = b"\xff" * 100
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.write_text("notes of mine\n" * 50), "no state of the mock"),
        (lambda path: path.write_text("x"), "no state of the mock"),
        (foreign_database, "no state of the mock"),
        (newer_version, f"version {VERSION + 1}"),
        (cut_short, "broken"),
        (scribbled_over, "broken"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
    ids=["text", "one-byte", "foreign-database", "newer", "cut-short", "scribbled-over", "folder"],
)
def test_file_that_cannot_be_used_is_refused_and_left_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], None], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what is wrong with it, exit code 2, and not a byte of it has changed."""
    state = tmp_path / "mock.db"
    spoil(state)
    assert told in refused(state, capsys)


def test_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is made for a file in a folder that does not exist."""
    assert str(tmp_path / "no") in refused(tmp_path / "no" / "mock.db", capsys)
    assert not (tmp_path / "no").exists()


def test_file_says_whose_it_is_and_in_which_version(tmp_path: Path) -> None:
    """The head of the file has our mark and the version from the beginning, whatever is still in its log."""
    file = StateFile(tmp_path / "mock.db")
    head = (tmp_path / "mock.db").read_bytes()[:100]
    assert (head[68:72], head[60:64]) == (APPLICATION.to_bytes(4, "big"), VERSION.to_bytes(4, "big"))
    file.close()


VERSION_1 = """
CREATE TABLE records (world TEXT, kind TEXT, id TEXT, number INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (world, kind, id)) WITHOUT ROWID;
CREATE TABLE counters (world TEXT, name TEXT, value INTEGER NOT NULL, PRIMARY KEY (world, name)) WITHOUT ROWID;
CREATE TABLE files (world TEXT, kind TEXT, id TEXT, content INTEGER NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (world, kind, id)) WITHOUT ROWID;
CREATE TABLE contents (content INTEGER, part INTEGER, bytes BLOB NOT NULL, PRIMARY KEY (content, part));
INSERT INTO records VALUES ('w', 't', 'a', 7, '{"n": 7}'), ('w', 't', 'b', 2, '{"n": 2}'), ('w', 'u', 'a', 2, '{}'),
  ('other', 't', 'a', 0, '{"n": 0}');
INSERT INTO counters VALUES ('w', 'ids', 4);
INSERT INTO files VALUES ('w', 't', 'a', 1, 5);
INSERT INTO contents VALUES (1, 0, x'6279746573');
PRAGMA user_version = 1;
"""


def test_file_of_the_version_before_is_brought_up_to_ours(tmp_path: Path) -> None:
    """All that it has is there in the same order, and goes on; an older mock refuses it from then on."""
    with contextlib.closing(sqlite3.connect(tmp_path / "mock.db")) as database:
        database.executescript(f"{VERSION_1} PRAGMA application_id = {APPLICATION}; PRAGMA journal_mode = WAL;")
    for _ in range(2):
        file = StateFile(tmp_path / "mock.db")
        head = (tmp_path / "mock.db").read_bytes()[60:64]
        assert head == VERSION.to_bytes(4, "big")  # at once: an older mock looks there, whatever is in the log
        store = file.store("w")
        assert list(store.list_rows("t")) == [{"n": 2}, {"n": 7}]
        assert list(store.list_rows("u")) == [{}]
        assert list(file.store("other").list_rows("t")) == [{"n": 0}]
        assert (store.read_counter("ids"), store.get_blob("t", "a").read()) == (4, b"bytes")
        file.close()
    file = StateFile(tmp_path / "mock.db")
    store = file.store("w")
    store.put("t", "c", {"n": 8})
    store.delete("t", "b")
    store.commit()
    file.close()
    file = StateFile(tmp_path / "mock.db")
    assert list(file.store("w").list_rows("t")) == [{"n": 7}, {"n": 8}]
    file.close()


def test_record_that_goes_and_comes_again_stands_last(tmp_path: Path) -> None:
    """In one write or in two, also where its table was empty meanwhile, whose numbers then begin anew."""
    for in_one in (True, False):
        path = tmp_path / f"{in_one}.db"
        file = StateFile(path)
        store = file.store("w")
        for key in ("a", "b"):
            store.put("t", key, {"id": key})
        store.put("alone", "a", {"n": 1})
        store.commit()
        for table, key in (("t", "a"), ("alone", "a")):
            store.delete(table, key)
        if not in_one:
            store.commit()
        store.put("t", "a", {"id": "again"})
        store.put("alone", "b", {"n": 2})
        store.commit()
        file.close()
        file = StateFile(path)
        again = file.store("w")
        assert list(again.list_rows("t")) == [{"id": "b"}, {"id": "again"}]
        assert (again.get("alone", "a"), again.get("alone", "b")) == (None, {"n": 2})
        file.close()


def test_empty_file_is_begun(tmp_path: Path) -> None:
    """Who made an empty file for the state, with `mktemp` for instance, may use it."""
    (tmp_path / "mock.db").touch()
    StateFile(tmp_path / "mock.db").close()
    StateFile(tmp_path / "mock.db").close()


ODD = ["", "a", "\0", "\ud800", "名前", "'; DROP TABLE records; --", "\\u0041", '"', "a\nb"]


def test_whatever_a_client_sends_is_kept_as_it_is(tmp_path: Path) -> None:
    """Names with null bytes, surrogates, quotes: tables, keys, values, counters and worlds."""
    file = StateFile(tmp_path / "mock.db")
    for world in ODD:
        store = file.store(world)
        for text in ODD:
            store.put(text, text, {text: [text, None, 1.5, 2**70, True]})
            store.keep(text, text, Blob(repr(text).encode()))
            store.count(text)
        store.commit()
    file.close()
    file = StateFile(tmp_path / "mock.db")
    assert sorted(file.list_names()) == sorted(ODD)
    for world in ODD:
        again = file.store(world)
        for text in ODD:
            assert again.get(text, text) == {text: [text, None, 1.5, 2**70, True]}
            assert again.get_blob(text, text).read() == repr(text).encode()
            assert again.read_counter(text) == 1
    file.close()


def pages(store: Store, rows: dict[str, dict[str, Any]], chance: random.Random) -> None:
    """Compare a page with what sorting all rows gives."""
    order = chance.choice(["", "-", "at", "-at"])
    where = chance.choice([{}, {"user": "a"}, {"user": "b", "open": True}, {"user": "nobody"}, {"user": None}])
    fitting = [one for one in rows.values() if all(one.get(name) == value for name, value in where.items())]
    if order.endswith("at"):
        fitting.sort(key=lambda row: (row["at"] is not None, row["at"] or 0))
    if order.startswith("-"):
        fitting.reverse()
    skip, limit, after = chance.choice([0, 0, 1, 7]), chance.choice([None, 0, 1, 5, 100]), None
    begin = skip
    if fitting and chance.random() < 0.5:
        position = chance.randrange(len(fitting))
        after, begin = fitting[position]["id"], position + 1 + skip
    end = len(fitting) if limit is None else min(begin + limit, len(fitting))
    page = store.read_page("t", where=where, order=order, after=after, skip=skip, limit=limit)
    assert page.rows == fitting[begin:end]
    assert page.total == len(fitting)
    assert page.more == (max(begin, end) < len(fitting))


@pytest.mark.parametrize("seed", range(5))
def test_pages_are_what_sorting_everything_would_give(tmp_path: Path, seed: int) -> None:
    """In memory, in a file, and in a file that is read again, while records come, change and go."""
    chance, rows = random.Random(seed), dict[str, dict[str, Any]]()
    file = StateFile(tmp_path / "mock.db")
    memory, kept = MemoryStore(), file.store("w")
    for step in range(400):
        key = f"k{chance.randrange(60)}"
        if chance.random() < 0.7:
            record = {"id": key, "user": chance.choice(["a", "b", None]), "at": chance.choice([None, *range(5)])}
            record["open"] = chance.random() < 0.5
            rows[key] = record
            memory.put("t", key, record)
            kept.put("t", key, record)
        else:
            expected = rows.pop(key, None)
            assert memory.delete("t", key) == kept.delete("t", key) == expected
        pages(memory, rows, chance)
        pages(kept, rows, chance)
        if step % 50 == 49:
            kept.commit()
            file.close()
            file = StateFile(tmp_path / "mock.db")
            kept = file.store("w")
            assert list(kept.list_rows("t")) == list(rows.values())
    file.close()


def test_page_behind_a_record_of_another_kind_is_none() -> None:
    """A record that `where` does not mean is not among those that are paged through."""
    store = MemoryStore()
    store.put("t", "a", {"user": "one"})
    for where, after in (({"user": "two"}, "a"), ({}, "b")):
        with pytest.raises(KeyError):
            store.read_page("t", where=where, after=after)


def test_failed_write_is_told_and_made_up_for(tmp_path: Path) -> None:
    """Where the disk is full a write fails as a whole; once there is room the next one writes everything."""
    file = StateFile(tmp_path / "mock.db")
    store = file.store("w")
    store.put("t", "a", {"n": 1})
    store.commit()
    pages_used = file._ask("PRAGMA page_count")[0][0]
    file._run(f"PRAGMA max_page_count = {pages_used}")
    store.put("t", "b", {"text": "x" * 100_000})
    store.put("t", "a", {"n": 2})
    with pytest.raises(StateError, match="full"):
        store.commit()
    file._run("PRAGMA max_page_count = 1000000")
    assert [one[3] for one in file.load("w").records] == [{"n": 1}]
    store.commit()
    file.close()
    file = StateFile(tmp_path / "mock.db")
    again = file.store("w")
    assert (again.get("t", "a"), again.get("t", "b")) == ({"n": 2}, {"text": "x" * 100_000})
    file.close()


def test_deleted_bytes_leave_the_file_when_nobody_reads_them(tmp_path: Path) -> None:
    """A download goes on while its file is deleted; afterwards the bytes are gone."""
    file = StateFile(tmp_path / "mock.db")
    store, data = file.store("w"), random.Random(0).randbytes((2 << 20) + 3)
    store.put("t", "a", {})
    store.keep("t", "a", Blob(data))
    store.commit()
    blob = store.get_blob("t", "a")
    assert blob.in_memory == 0
    download = blob.read_chunks()
    read = next(download)
    store.delete("t", "a")
    for _ in range(2):
        store.count("n")
        store.commit()
    read += b"".join(download)
    assert read == data
    del blob, download
    store.count("n")
    store.commit()
    assert file._ask("SELECT count(*) FROM contents") == [(0,)]
    file.close()


def test_empty_file_stays_empty_when_another_comes_after_a_restart(tmp_path: Path) -> None:
    """An empty file has no bytes in the database, and its number still is its own."""
    for name, data in (("a", b""), ("b", b"xyz"), ("c", b"")):
        file = StateFile(tmp_path / "mock.db")
        store = file.store("w")
        store.put("t", name, {})
        store.keep("t", name, Blob(data))
        store.commit()
        file.close()
    file = StateFile(tmp_path / "mock.db")
    store = file.store("w")
    assert [store.get_blob("t", name).read() for name in "abc"] == [b"", b"xyz", b""]
    file.close()


def test_bytes_that_nothing_refers_to_are_cleared_at_the_next_start(tmp_path: Path) -> None:
    """A mock that is killed while a deleted file is still read leaves bytes behind; the next one deletes them."""
    file = StateFile(tmp_path / "mock.db")
    store = file.store("w")
    store.keep("t", "a", Blob(b"x"))
    store.commit()
    held = store.get_blob("t", "a")
    store.delete("t", "a")
    store.commit()
    file.close()
    assert held.size == 1
    file = StateFile(tmp_path / "mock.db")
    store = file.store("w")
    store.count("n")
    store.commit()
    assert file._ask("SELECT count(*) FROM contents") == [(0,)]
    file.close()


def test_reset_empties_the_file_too(tmp_path: Path) -> None:
    """A world that begins anew does so after a restart as well, and the others stay."""
    file = StateFile(tmp_path / "mock.db")
    worlds = Worlds(0, lambda _api: {}, file=file)
    for suffix in ("-a", "-b"):
        world = worlds.open("x", suffix)
        with world.transaction():
            world.store.put("t", "k", {"of": suffix})
            world.make_id()
    old = worlds.open("x", "-a")
    assert worlds.reset("x-a") == 1
    with old.transaction():
        old.store.put("t", "late", {"from": "a stream that goes on"})
    assert worlds.list_names() == ["x-b"]
    worlds.close()
    worlds = Worlds(0, lambda _api: {}, file=StateFile(tmp_path / "mock.db"))
    assert worlds.list_names() == ["x-b"]
    assert worlds.open("x", "-a").store.get("t", "late") is None
    assert worlds.open("x", "-b").store.get("t", "k") == {"of": "-b"}
    assert worlds.reset() == 2
    worlds.close()


def test_world_that_was_let_go_of_comes_back_from_the_file(tmp_path: Path) -> None:
    """With a file, many keys cost memory for a few worlds only, and none of them forgets anything."""
    worlds = Worlds(0, lambda _api: {}, Limits(worlds=3), file=StateFile(tmp_path / "mock.db"))
    for number in range(20):
        world = worlds.open("x", f"-{number}")
        with world.transaction():
            world.store.put("t", "k", {"n": number})
    assert len(worlds._worlds) == 3
    assert [worlds.open("x", f"-{number}").store.get("t", "k") for number in range(20)] == [
        {"n": number} for number in range(20)
    ]
    worlds.close()


def test_world_in_a_file_forgets_no_record(tmp_path: Path) -> None:
    """The limits of what is in memory delete nothing that the file has."""
    worlds = Worlds(0, lambda _api: {}, Limits(records=3, state=100), file=StateFile(tmp_path / "mock.db"))
    world = worlds.open("x", "")
    with world.transaction():
        for number in range(10):
            world.store.put("t", str(number), {"text": "x" * 50})
    worlds.open("x", "-other")
    assert len(list(worlds.open("x", "").store.list_rows("t"))) == 10
    worlds.close()


def test_worlds_in_use_stay_in_memory_whatever_they_weigh(tmp_path: Path) -> None:
    """To read them again with each request would take seconds; one that was not used for a while goes."""
    file, now, loaded = StateFile(tmp_path / "mock.db"), [0.0], []
    load = file.load
    file.load = lambda name: loaded.append(name) or load(name)  # type: ignore[method-assign,func-returns-value]
    worlds = Worlds(0, lambda _api: {}, Limits(state=100), file=file, clock=lambda: now[0])
    for number in range(30):
        now[0] += 1
        world = worlds.open("x", f"-{number % 3}")
        with world.transaction():
            world.store.put("t", str(number), {"text": "x" * 50})
    del world
    assert loaded == ["x-0", "x-1", "x-2"]
    now[0] += 20
    worlds.open("x", "-3")
    assert [name for name in ("x-0", "x-1", "x-2", "x-3") if worlds.peek(name)] == ["x-3"]
    assert worlds.open("x", "-0").store.get("t", "27") == {"text": "x" * 50}
    for number in range(500):  # all at once: they are many
        world = worlds.open("x", f"-many-{number}")
        with world.transaction():
            world.store.put("t", "k", {"text": "x" * 50})
    assert len(worlds._worlds) == 64
    worlds.close()


def test_there_are_never_two_of_one_world(tmp_path: Path) -> None:
    """A world that was let go of while something still holds it is that one when it comes back."""
    worlds = Worlds(0, lambda _api: {}, Limits(worlds=1), file=StateFile(tmp_path / "mock.db"))
    held = worlds.open("x", "-held")
    worlds.open("x", "-other")
    assert worlds.open("x", "-held") is held
    worlds.close()


def test_seed_that_was_deleted_stays_deleted_and_a_new_one_comes(tmp_path: Path) -> None:
    """What a world began with is not begun with again; `--flow` still adds a flow to a world that there is."""

    def begin(*flows: str) -> Worlds:
        seeds = {"flows": [{"id": flow} for flow in flows]}
        return Worlds(0, lambda _api: seeds, file=StateFile(tmp_path / "mock.db"))

    worlds = begin("a", "b")
    world = worlds.open("x", "")
    with world.transaction():
        world.delete("flows", "a")
    worlds.close()
    worlds = begin("a", "b", "c")
    assert [flow["id"] for flow in worlds.open("x", "").store.list_rows("flows")] == ["b", "c"]
    worlds.close()


def test_scenario_that_answers_twice_is_not_renewed_by_a_restart(
    tmp_path: Path, make_app: Callable[..., Caller]
) -> None:
    """How often a scenario has answered belongs to the state."""
    folder = tmp_path / "own" / "dify-chat" / "sendChatMessage"
    folder.mkdir(parents=True)
    (folder / "200-twice.yaml").write_text(
        "description: Answers twice.\nrequest: {times: 2, body: {query: twice}}\nreply: {body: {event: message,"
        " task_id: t, id: m, message_id: m, conversation_id: c, mode: chat, answer: mine, metadata: {},"
        " created_at: 1}}\n"
    )
    answers = []
    for _ in range(3):
        mock = make_app("dify-chat", fixtures=tmp_path / "own", state=tmp_path / "mock.db")
        answers.append(mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=chat_body("twice")).json)
        mock.app.close()
    assert [one["answer"] == "mine" for one in answers] == [True, True, False]


# The clock.


def form(name: str, data: bytes, **fields: str) -> dict[str, Any]:
    """Return a request's form with one file."""
    parts = [f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n'
    body = "".join(parts).encode() + head.encode() + data + b"\r\n--b--\r\n"
    return {"body": body, "Content_Type": "multipart/form-data; boundary=b"}


def story(chance: random.Random, mock: Caller, conversations: list[str], files: list[str]) -> Answer:
    """Ask one of many things, right or wrong, under one of three keys."""
    key = chance.choice(["app-chat", "app-chat-two"])
    mode, user = chance.choice(["blocking", "streaming"]), chance.choice(["abc-123", "bob"])
    conversation = chance.choice(["", "", *conversations])
    builder = {"x_api_key": "sk-agentbuilder"}
    asked: list[Callable[[], Answer]] = [
        lambda: mock.ask(
            "POST",
            "/v1/chat-messages",
            key=key,
            json_body={**chat_body(f"q{chance.random()}", mode, conversation), "user": user},
        ),
        lambda: mock.ask(
            "POST",
            "/v1/workflows/run",
            key="app-workflow",
            json_body={"inputs": {}, "response_mode": mode, "user": user},
        ),
        lambda: mock.ask("GET", f"/v1/conversations?user={user}&sort_by=-updated_at", key=key),
        lambda: mock.ask("GET", f"/v1/messages?user={user}&conversation_id={conversation}", key=key),
        lambda: mock.ask("GET", "/v1/workflows/logs?limit=5", key="app-workflow"),
        lambda: mock.ask("POST", "/api/v2/files", **form("a.txt", b"data", user=user), **builder),
        lambda: mock.ask("POST", "/v1/files/upload", key=key, **form("a.txt", b"data", user=user)),
        lambda: mock.ask("GET", "/api/v2/files", **builder),
        lambda: mock.ask("GET", f"/api/v2/files/{chance.choice(['none', *files])}", **builder),
        lambda: mock.ask("POST", "/v1/chat-messages", key=key, json_body={"inputs": 1}),
        lambda: mock.ask("GET", "/v1/nowhere", key=key),
        lambda: mock.ask("GET", "/v1/info", key="app-wrong"),
    ]
    answer = chance.choice(asked)()
    if answer.status == 200 and b'"conversation_id": "' in answer.body:
        conversations.append(answer.body.split(b'"conversation_id": "')[1].split(b'"')[0].decode())
    if answer.status == 201 and b'"path"' in answer.body:
        files.append(answer.json["id"])
    return answer


def whole_story(start: Callable[[], Caller], *, restart_after: int = 0) -> list[Any]:
    """Ask 200 things and return every byte of the answers, and what the journal says of the time."""
    chance, mock = random.Random(11), start()
    conversations: list[str] = []
    files: list[str] = []
    told: list[Any] = []
    for number in range(200):
        if restart_after and number == restart_after:
            mock.app.close()
            mock = start()
        answer = story(chance, mock, conversations, files)
        told.append((answer.status, answer.headers.to_wsgi_list(), answer.body))
        told.append([one.at for one in mock.app.mock.journal.list_entries()][-1])
    mock.app.close()
    return told


def test_same_requests_give_the_same_bytes(tmp_path: Path, make_app: Callable[..., Caller]) -> None:
    """With a seed and a clock of its own, 200 requests and streams are answered alike, over a restart as well."""
    fixed = {"pace": 0, "seed": 5, "clock": 1_732_147_200.0}
    first = whole_story(lambda: make_app(**fixed))
    assert whole_story(lambda: make_app(**fixed)) == first
    assert whole_story(lambda: make_app(**fixed, state=tmp_path / "a.db"), restart_after=87) == first
    assert len({one[2] for one in first[::2]}) > 80, "the requests are not all the same"
    assert {one[0] for one in first[::2]} >= {200, 201, 400, 401, 404}


def test_clock_goes_on_by_a_second_with_each_request_of_a_world(make_app: Callable[..., Caller]) -> None:
    """The first request comes at the start; other keys have clocks of their own."""
    mock = make_app("dify-chat", pace=0, clock=1000.0)

    def created(key: str) -> int:
        return int(mock.ask("POST", "/v1/chat-messages", key=key, json_body=chat_body("q")).json["created_at"])

    assert [created("app-chat-a") for _ in range(3)] == [1000, 1001, 1002]
    assert created("app-chat-b") == 1000
    assert mock.ask("GET", "/v1/info", key="app-chat-a").status == 200
    assert created("app-chat-a") == 1004


@pytest.mark.parametrize("start", ["1732147200", "2024-11-21T00:00:00Z", "2024-11-21", "2024-11-21T01:00+01:00"])
def test_clock_is_read_as_seconds_or_as_iso_8601(start: str) -> None:
    """A time without a zone is UTC."""
    assert options.build_parser().parse_args(["serve", "--clock", start]).clock == 1_732_147_200


@pytest.mark.parametrize("start", ["soon", "-1", "nan", "1e30", "9999-12-31", ""])
def test_clock_that_is_no_time_is_misuse(start: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is neither is told, with what is wanted."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--port", "0", f"--clock={start}"])
    assert ended.value.code == 2
    assert "--clock" in capsys.readouterr().err


def test_head_of_an_answer_tells_the_clock_too(tmp_path: Path) -> None:
    """`Date` is when the clock began: nothing that is sent depends on the machine's."""
    with Server(tmp_path / "mock.db", "--clock", "1732147200", "--pace", "0") as server, server.client() as client:
        answer = client.post("/v1/chat-messages", headers=CHAT, json=chat_body("q"))
        assert answer.json()["created_at"] == 1_732_147_200
        assert answer.headers["Date"] == "Thu, 21 Nov 2024 00:00:00 GMT"
