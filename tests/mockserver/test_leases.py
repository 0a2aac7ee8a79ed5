"""A worker keeps a world until another asks for it: what happens when it lets go, dies, or cannot write."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import mock_redis
import pytest
from mock_processes import CHAT, RUN, Server, chat_body, first_events
from mock_users import Live
from test_shared_state import ME, RUNNING, chat, conversations, make_workers, processes, redis_server, state
from werkzeug.datastructures import Headers

from mockserver.blobs.blob import Blob
from mockserver.http.messages import Reply, Request
from mockserver.server.adapter import answer, hold, settle
from mockserver.state.redis import worlds as redis_worlds
from mockserver.state.redis.connection import PREFIX
from mockserver.state.redis.worlds import SharedState

if TYPE_CHECKING:
    from collections.abc import Callable

    from mock_calls import Caller

    from mockserver.http.application import HeldReply

ASKED = {**chat_body("q"), **ME}
pytestmark = pytest.mark.skipif(not mock_redis.is_installed(), reason=mock_redis.MISSING)
__all__ = ["make_workers", "redis_server", "state"]  # fixtures


def backend(worker: Caller) -> SharedState:
    found = worker.app.mock.backend.worlds
    assert isinstance(found, SharedState)
    return found


def holder(server: mock_redis.RedisServer, world: str = "dify-chat") -> str:
    """Return the worker that holds a world, '' where none does."""
    with server.client() as client:
        return (client.get(f"{PREFIX}world:{world}:lock") or b"").decode()


def question(key: str = "app-chat") -> Request:
    headers = Headers({"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    return Request("POST", "/v1/chat-messages", "", headers, Blob(json.dumps(ASKED).encode()))


def held(worker: Caller) -> HeldReply:
    found = hold(worker.app, question(), worker.now)
    assert not isinstance(found, Reply)
    return found


def test_world_is_read_once_while_nobody_else_asks_for_it(
    make_workers: Callable[..., list[Caller]], redis_server: mock_redis.RedisServer
) -> None:
    """Ten requests of one worker take hold of it once; then each is one command."""
    (one,) = make_workers(1)
    chat(one, "first")
    with redis_server.client() as client:
        client.config_resetstat()
        for _ in range(10):
            chat(one, "again")
        calls = client.info("commandstats")
    assert calls["cmdstat_hgetall"]["calls"] == 1 if "cmdstat_hgetall" in calls else True
    assert "cmdstat_lrange" not in calls
    assert holder(redis_server) == backend(one).link.worker


def test_whoever_asks_gets_the_world(
    make_workers: Callable[..., list[Caller]], redis_server: mock_redis.RedisServer
) -> None:
    """To and fro, also while a stream runs in it, which goes on: each sees what the other has written."""
    one, two = make_workers(2)
    live = Live(one.open("POST", "/v1/workflows/run", key="app-workflow", json_body=RUNNING).body)  # type: ignore[arg-type]
    begun = live.step()
    path = f"/v1/workflows/run/{begun['workflow_run_id']}"
    seen = []
    for _ in range(3):
        seen.append(two.ask("GET", path, key="app-workflow").json["status"])
        assert holder(redis_server, "dify-workflow") == backend(two).link.worker
        live.step()
        assert holder(redis_server, "dify-workflow") == backend(one).link.worker
    assert seen == ["running"] * 3
    assert live.rest()[-1]["data"]["status"] == "succeeded"
    assert two.ask("GET", path, key="app-workflow").json["status"] == "succeeded"


def test_event_loop_waits_for_no_other_worker(make_workers: Callable[..., list[Caller]]) -> None:
    """A request that is held awaits the world, which comes by a message; meanwhile nothing has happened."""
    one, two = make_workers(2)
    chat(one, "first")
    chat(two, "second")
    free = threading.Event()
    one.app.on_free(lambda world: free.set() if world == "dify-chat" else None)
    asked = held(one)
    assert asked.awaited == "dify-chat"
    assert free.wait(10)
    asked.ask_again()
    assert asked.awaited is None
    one.app.flush()
    assert settle(asked).status == 200
    assert len(conversations(two)) == 3


def test_what_waits_is_written_before_the_world_is_let_go_of(make_workers: Callable[..., list[Caller]]) -> None:
    """A held request is in the world that the other worker gets, whether or not it was flushed."""
    one, two = make_workers(2)
    chat(one, "first")
    asked = held(one)
    assert len(conversations(two)) == 2
    one.app.flush()
    assert settle(asked).status == 200
    assert len(conversations(one)) == 2


class Stuck:
    """A worker that hears nothing any more: it holds what it holds."""

    def __init__(self, worker: Caller, patch: pytest.MonkeyPatch) -> None:
        self.asked = threading.Event()
        state = backend(worker)
        patch.setattr(state.link, "attend", lambda: 1.0)
        patch.setitem(state.link.hears, "ask", lambda _world: self.asked.set())


def test_worker_that_dies_when_it_is_asked_costs_nothing_that_was_answered(
    make_workers: Callable[..., list[Caller]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked for the world and is killed before it lets go: the other gets it once it is known as dead."""
    one, two = make_workers(2)
    said = chat(one, "first").json["conversation_id"]
    stuck = Stuck(one, monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(conversations, two)
        assert stuck.asked.wait(10)
        assert not waiting.done()
        backend(two).link.ask("zrem", f"{PREFIX}workers", backend(one).link.worker)
        assert waiting.result(20) == [said]


def test_worker_that_never_lets_go_loses_the_world(
    make_workers: Callable[..., list[Caller]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the time of a lease another has it; what the first one writes then is refused, and it goes on."""
    monkeypatch.setattr(redis_worlds, "LEASE_S", 1)
    one, two = make_workers(2)
    said = chat(one, "first").json["conversation_id"]
    asked = held(one)
    Stuck(one, monkeypatch)
    assert conversations(two) == [said]
    one.app.flush()
    assert settle(asked).status == 503
    assert "for more than" in capsys.readouterr().err
    assert conversations(one) == [said]


def test_reset_on_another_worker_reaches_one_that_holds_the_world(make_workers: Callable[..., list[Caller]]) -> None:
    """Whatever it has held is over; its next request is the first one of the new world."""
    one, two = make_workers(2)
    first = chat(one, "q").json
    asked = held(one)
    assert two.ask("POST", "/__mock__/reset").status == 200
    one.app.flush()
    assert settle(asked).status == 200, "it was answered before the reset"
    assert conversations(one) == []
    assert chat(one, "q").json["conversation_id"] == first["conversation_id"]


def test_reset_of_a_world_that_this_worker_holds(make_workers: Callable[..., list[Caller]]) -> None:
    """With something that waits: it belongs to the world that is no more."""
    one, two = make_workers(2)
    chat(one, "q")
    asked = held(one)
    assert one.ask("POST", "/__mock__/reset").status == 200
    one.app.flush()
    assert settle(asked).status == 200
    assert conversations(one) == conversations(two) == []


def test_journal_has_what_was_held_as_soon_as_it_is_answered(make_workers: Callable[..., list[Caller]]) -> None:
    """Numbers are given when it is written, in the order of the requests; another worker reads all of it."""
    one, two = make_workers(2)
    asked = [held(one) for _ in range(3)]
    one.app.flush()
    assert [settle(each).status for each in asked] == [200] * 3
    assert [row["number"] for row in two.ask("GET", "/__mock__/requests").json["requests"]] == [1, 2, 3]
    chat(two, "q")
    assert one.app.mock.journal.count == 4


def test_write_that_redis_refuses_is_told_to_all_who_are_held(
    make_workers: Callable[..., list[Caller]], redis_server: mock_redis.RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Redis is full: each gets a 507, nothing remains, and when there is room all goes on with the same ids."""
    one, two = make_workers(2)
    said = chat(one, "q").json["conversation_id"]
    with redis_server.client() as client:
        client.config_set("maxmemory", 1)
        try:
            asked = [held(one) for _ in range(2)]
            one.app.flush()
            assert [settle(each).status for each in asked] == [507, 507]
        finally:
            client.config_set("maxmemory", 0)
    assert "takes nothing more" in capsys.readouterr().err
    assert conversations(two) == [said]
    assert len({said, chat(one, "q").json["conversation_id"]}) == 2
    assert len(conversations(two)) == 2


def test_redis_that_goes_away_is_told_to_all_who_are_held(make_app: Callable[..., Caller]) -> None:
    """Each gets a 503; afterwards the world is read anew."""
    with mock_redis.RedisServer() as server:
        worker = make_app("dify-chat", state=server.url)
        chat(worker, "q")
        asked = [held(worker) for _ in range(2)]
        server.stop()
        worker.app.flush()
        assert [settle(each).status for each in asked] == [503, 503]
        server.start()
        assert conversations(worker) == []
        worker.app.close()


def test_clients_of_a_world_are_with_one_worker(state: str, redis_server: mock_redis.RedisServer) -> None:
    """Whichever worker a connection reaches, the one that holds the world answers, and keeps it."""
    with Server(state, "--workers", "2", "--pace", "0") as server, server.client() as first:
        said = [first.post("/v1/chat-messages", headers=CHAT, json=ASKED).json()["conversation_id"]]
        keeper = holder(redis_server)
        assert keeper
        for _ in range(12):  # new connections: half of them reach the other worker
            told = httpx.post(f"{server.url}/v1/chat-messages", headers=CHAT, json=ASKED, trust_env=False)
            said.append(told.json()["conversation_id"])
            assert holder(redis_server) == keeper
        shown = first.get("/v1/conversations", headers=CHAT, params={**ME, "limit": "100"}).json()["data"]
        assert {row["id"] for row in shown} == set(said)
        large = {**chat_body("q" * 50_000)}  # is not handed over: the world comes instead
        for _ in range(8):
            told = httpx.post(f"{server.url}/v1/chat-messages", headers=CHAT, json=large, trust_env=False, timeout=30)
            assert told.status_code == 200


def test_worker_that_is_killed_while_clients_are_handed_over_to_it(state: str) -> None:
    """Its connections break, as they must; the next ones are answered by whoever takes its place."""
    with Server(state, "--workers", "2", "--pace", "1000") as server, server.client() as client:
        answered = client.post("/v1/chat-messages", headers=CHAT, json=ASKED).json()["conversation_id"]
        with client.stream("POST", "/v1/workflows/run", headers=RUN, json=RUNNING) as stream:
            first_events(stream.iter_lines(), 1)
            for victim in processes(client, server.url, 2):
                os.kill(victim, signal.SIGKILL)
        shown: Any = None
        waiting = threading.Event()
        for _ in range(200):
            try:
                shown = httpx.get(
                    f"{server.url}/v1/conversations", headers=CHAT, params=ME, trust_env=False, timeout=30
                ).json()
                break
            except (httpx.TransportError, json.JSONDecodeError):
                waiting.wait(0.05)
        assert [row["id"] for row in shown["data"]] == [answered]


def test_answer_of_a_world_that_nobody_lets_go_of_says_so(
    make_workers: Callable[..., list[Caller]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that may wait do so for twice a lease; then it is a 503 that says what to do."""
    one, two = make_workers(2)
    chat(one, "q")
    Stuck(one, monkeypatch)
    monkeypatch.setattr(redis_worlds, "LEASE_S", 0.1)
    monkeypatch.setattr(SharedState, "try_to_acquire", _refuse)
    reply = answer(two.app, question(), two.now)
    assert reply.status == 503
    assert b"does not let go" in bytes(reply.body)  # type: ignore[arg-type]


def _refuse(_state: SharedState, world: str, *_: object) -> None:
    raise redis_worlds.WorldAwaitedError(world)
