"""What the requests of one turn have changed is written at once: all of them last, or each is told that it does not."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from mock_processes import CHAT, FILES, USER, chat_body
from mock_users import Live
from test_transactions import state_of
from werkzeug.datastructures import Headers

from flowcontract.errors import StateUnwritableError
from mockserver.blobs.blob import Blob
from mockserver.config.settings import Settings
from mockserver.http.messages import Reply, Request
from mockserver.server.adapter import hold, settle
from mockserver.server.mock_server import MockServer
from mockserver.state.group import Group
from mockserver.state.sqlite import StateFile
from mockserver.state.usage import ScenarioUsage
from mockserver.state.worlds import Worlds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mock_calls import Caller

    from mockserver.http.application import HeldReply


ME = {"user": "me"}  # of whom no world knows anything in the beginning


def post(key: str = "app-chat", query: str = "q") -> Request:
    headers = Headers({"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    return Request("POST", "/v1/chat-messages", "", headers, Blob(json.dumps({**chat_body(query), **ME}).encode()))


def get() -> Request:
    return Request("GET", "/v1/conversations", "user=me", Headers({"Authorization": "Bearer app-chat"}))


def held(mock: Caller, request: Request) -> HeldReply:
    found = hold(mock.app, request, mock.now)
    assert not isinstance(found, Reply)
    return found


@pytest.fixture
def mock(make_app: Callable[..., Caller], tmp_path: Path) -> Caller:
    """Return a mock with a state in a file, in which both worlds that are used have begun."""
    mock = make_app("dify-chat", pace=0, state=tmp_path / "mock.db")
    for key in ("app-chat", "app-chat-b"):
        mock.ask("GET", "/v1/info", key=key)
    return mock


def failing(*_: object) -> None:
    raise StateUnwritableError("no room for it")


def writes(patch: pytest.MonkeyPatch) -> list[int]:
    """Return what gets the number of worlds of each write from now on."""
    seen: list[int] = []
    write = StateFile.write

    def count(file: StateFile, worlds: Any) -> None:
        seen.append(len(worlds))
        write(file, worlds)

    patch.setattr(StateFile, "write", count)
    return seen


def test_requests_that_are_held_are_written_at_once(mock: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three requests in two worlds are one write; the answers are those that each would have got alone."""
    seen = writes(monkeypatch)
    asked = [held(mock, post(key)) for key in ("app-chat", "app-chat-b", "app-chat")]
    assert seen == []
    mock.app.flush()
    assert seen == [2]
    replies = [settle(each) for each in asked]
    assert [reply.status for reply in replies] == [200] * 3
    listed = mock.ask("GET", "/v1/conversations?user=me", key="app-chat").json["data"]
    assert len(listed) == 2


def test_all_requests_of_a_write_that_fails_leave_nothing(
    mock: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is a 507, in the journal too, and the next requests have the ids that these would have had."""
    before = state_of(mock.app)

    def refuse(*_: object) -> None:
        raise StateUnwritableError("no room for these three")  # a line that was just said is not said again

    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "write", refuse)
        asked = [held(mock, post(key)) for key in ("app-chat", "app-chat-b", "app-chat")]
        mock.app.flush()
        replies = [settle(each) for each in asked]
    assert [reply.status for reply in replies] == [507] * 3
    assert state_of(mock.app) == before
    assert [entry.status for entry in mock.app.mock.journal.list_entries()][-3:] == [507] * 3
    assert capsys.readouterr().err == "mockserver: no room for these three\n"
    assert mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=chat_body("q")).status == 200


def test_reading_succeeds_though_nothing_can_be_written(mock: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not behind a request that was not written: it may have seen what is not there."""
    before = state_of(mock.app)
    monkeypatch.setattr(StateFile, "write", failing)
    asked = [held(mock, request) for request in (get(), post(), get())]
    mock.app.flush()
    assert [settle(each).status for each in asked] == [200, 507, 507]
    assert state_of(mock.app) == before


def test_request_that_fails_takes_no_other_with_it(mock: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours in the second of three requests is a 500; the others last."""
    first = held(mock, post(query="one"))
    with monkeypatch.context() as patch:
        patch.setattr(ScenarioUsage, "note", lambda *_: 1 / 0)
        second = held(mock, post(query="two"))
    third = held(mock, post(query="three"))
    mock.app.flush()
    assert [settle(each).status for each in (first, second, third)] == [200, 500, 200]
    rows = mock.ask("GET", "/v1/conversations?user=me", key="app-chat").json["data"]
    assert len(rows) == 2


def test_same_bytes_alone_and_in_a_group(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """The same seed gives the same answers, in memory, one by one, and written together."""
    alone, together = make_app("dify-chat", seed=7), make_app("dify-chat", seed=7, state=tmp_path / "mock.db")
    asked = [held(together, post(query=str(number))) for number in range(5)]
    together.app.flush()
    expected = [alone.app.handle(post(query=str(number)), alone.now).body for number in range(5)]
    assert [settle(each).body for each in asked] == expected


def test_threads_are_written_together_and_each_waits_for_its_own(tmp_path: Path) -> None:
    """Many threads in several worlds: whoever leaves a transaction finds it in the file."""
    file = StateFile(tmp_path / "mock.db")
    worlds = Worlds(0, lambda _api: {}, file=file)

    def work(number: int) -> None:
        world = worlds.open("x", str(number % 3))
        for count in range(20):
            with world.transaction():
                world.store.put("t", f"{number}-{count}", {"id": count})
            assert f"{number}-{count}" in {key for _, key, *_ in file.load(world.name).records}

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    worlds.close()


def test_write_that_breaks_in_an_unknown_way_is_told_to_everybody(
    mock: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours while writing is a 500 for all, and nobody waits forever."""
    before = state_of(mock.app)
    monkeypatch.setattr(Group, "_write", None, raising=False)
    group = mock.app.mock.worlds.group
    assert group is not None
    monkeypatch.setattr(group, "_write", lambda _stores: 1 / 0)
    asked = [held(mock, post()) for _ in range(2)]
    mock.app.flush()
    assert [settle(each).status for each in asked] == [500, 500]
    assert state_of(mock.app) == before


def test_clients_of_one_turn_share_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over sockets: what came while something was written is written together, and an upload alone."""
    seen = writes(monkeypatch)
    with (
        MockServer(settings=Settings(pace=0, state=tmp_path / "mock.db")) as server,
        httpx.Client(base_url=server.origin, trust_env=False, timeout=30) as client,
    ):

        def ask(number: int) -> int:
            return client.post(
                "/v1/chat-messages", headers={"Authorization": f"Bearer app-chat-{number}"}, json=chat_body("q")
            ).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, [number % 4 for number in range(200)])) == {200}
        file = client.post("/api/v2/files", headers=FILES, files={"file": ("a.bin", bytes(200_000))})
        assert file.status_code == 201
        shown = client.get("/v1/conversations", headers=CHAT, params=USER)
        assert shown.status_code == 200
    assert sum(seen) >= 200 / 8
    assert max(seen) > 1, "no two worlds were ever written together"


def test_stop_of_a_stream_takes_effect_when_it_is_written(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """Held, the stream runs on; flushed, it ends as stopped."""
    mock = make_app("dify-workflow", pace=1, state=tmp_path / "mock.db")
    body = {"inputs": {}, "response_mode": "streaming", **USER}
    live = Live(mock.open("POST", "/v1/workflows/run", key="app-workflow", json_body=body).body)  # type: ignore[arg-type]
    task = live.step()["task_id"]
    headers = Headers({"Authorization": "Bearer app-workflow", "Content-Type": "application/json"})
    stop = Request(
        "POST", f"/v1/workflows/tasks/{task}/stop", "", headers, Blob(json.dumps(USER).encode()), peer="127.0.0.1"
    )
    changed = threading.Event()
    live.body.on_change = changed.set
    asked = held(mock, stop)
    assert not changed.is_set()
    mock.app.flush()
    assert changed.is_set()
    assert settle(asked).status == 200
    live.wake = live.now
    assert live.rest()[-1]["data"]["status"] == "stopped"
