"""A request happens as a whole or not at all: what is refused, fails or cannot be kept leaves nothing behind."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mock_processes import chat_body
from mock_users import Live, multipart
from werkzeug.datastructures import Headers

from flowcontract.errors import StateUnwritableError
from flowcontract.specs.examples import list_example_requests
from mockserver.blobs.blob import Blob
from mockserver.http.messages import Reply, Request
from mockserver.server.adapter import answer
from mockserver.state.memory import MemoryStore
from mockserver.state.quotas import Limits
from mockserver.state.sqlite import StateFile
from mockserver.state.store import Record
from mockserver.state.usage import ScenarioUsage
from mockserver.state.worlds import World, Worlds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mock_calls import Caller

    from flowcontract.specs.examples import ExampleRequest
    from flowcontract.specs.model import Api
    from mockserver.core.app import App

STREAMING = {"inputs": {}, "response_mode": "streaming", "user": "abc-123"}


def everything(world: World) -> Any:
    """Return all that a world knows, in its order."""
    store, ledger = world.store, world.ledger
    assert isinstance(store, MemoryStore)
    records = [(table, key, copy.deepcopy(record)) for table, key, record in store.list_everything()]
    files = {place: blob.read() for place, blob in store._blobs.items()}
    return records, dict(store._counters), files, list(world.streams), list(ledger._weights.items()), ledger.weight


def state_of(app: App) -> Any:
    """Return all that an application knows of its worlds and overrides."""
    worlds = {name: everything(world) for name, world in app.mock.worlds._worlds.items()}
    return worlds, [copy.copy(order) for order in app.mock.overrides.list_all()]


def request_of(api: Api, example: ExampleRequest, **more: str) -> Request:
    """Return a documented request with the key of its API."""
    sent = Headers(list(example.headers.items()))
    for name in example.operation.security[0]:
        sent[api.schemes[name].parameter] = f"{api.schemes[name].prefix}{api.schemes[name].mock_key}"
    for name, value in more.items():
        sent[name] = value
    body = b"" if example.body is None else json.dumps(example.body).encode()
    if example.files:
        body = multipart(example.body | {name: (example.body[name] or "a.png", b"data") for name in example.files})
        sent["Content-Type"] = "multipart/form-data; boundary=b"
    elif example.media_type:
        sent["Content-Type"] = example.media_type
    path, _, query = (api.base_path + example.path).partition("?")
    return Request(example.operation.method, path, query, sent, Blob(body), peer="127.0.0.1")


def documented(app: App) -> Iterator[tuple[Api, ExampleRequest]]:
    """Yield every documented request that can be written as JSON or as a form."""
    for api in app.mock.apis.values():
        for example in list_example_requests(api):
            if example.media_type in ("", "application/json", "multipart/form-data"):
                yield api, example


# What is refused by the mock itself.


def test_fault_that_does_not_fit_changes_nothing(make_app: Callable[..., Caller]) -> None:
    """Every documented request that is answered with a whole body is a 501 with a fault of streams, and no more."""
    mock = make_app(pace=0)
    for api, example in documented(mock.app):  # every world has begun
        mock.app.handle(request_of(api, example, Prefer="fault=latency=1"), mock.now)
    refused = set()
    for api, example in documented(mock.app):
        before = state_of(mock.app)
        reply = mock.app.handle(request_of(api, example, Prefer="fault=bom"), mock.now)
        if reply.status == 501:
            refused.add(example.operation.method)
            assert state_of(mock.app) == before, example.path
    assert refused >= {"GET", "POST", "DELETE"}


@pytest.mark.parametrize("prefer", ["fault=nonsense", "fault=cut=1", "example=nothing-like-it", "code=999"])
def test_wish_that_cannot_be_granted_changes_nothing(make_app: Callable[..., Caller], prefer: str) -> None:
    """No fault of that name, none that this adapter can do, no scenario: 501, and no conversation, id or second."""
    mock = make_app("dify-chat", pace=0, clock=1000)
    mock.ask("GET", "/v1/info", key="app-chat")
    before = state_of(mock.app)
    refused = mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=chat_body("q"), Prefer=prefer)
    assert refused.status == 501
    assert state_of(mock.app) == before
    assert mock.app.mock.journal.list_entries()[-1].scenario is None


@pytest.mark.parametrize("scenario", ["fault=bom", "200-default-streaming"])
def test_override_that_cannot_be_followed_is_not_used_up(make_app: Callable[..., Caller], scenario: str) -> None:
    """It is a 501 as often as it is asked for, and stands for the request that it fits."""
    mock = make_app("dify-chat", pace=0)
    order = {"operation": "sendChatMessage", "scenario": scenario, "times": 1}
    assert mock.ask("PUT", "/__mock__/overrides", json_body=order).status == 200
    stands = mock.ask("GET", "/__mock__/overrides").json
    for _ in range(2):
        assert mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=chat_body("q")).status == 501
        assert mock.ask("GET", "/__mock__/overrides").json == stands
    body = chat_body("q", "streaming")
    assert mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=body).status == 200
    assert mock.ask("GET", "/__mock__/overrides").json == []


def test_scenario_that_did_not_answer_has_not_been_used(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """One that answers once is there for the first request that it answers, whatever was refused before."""
    folder = tmp_path / "dify-chat" / "sendChatMessage"
    folder.mkdir(parents=True)
    (folder / "200-once.yaml").write_text(
        "description: Answers once.\nrequest: {times: 1, body: {query: once}}\nreply: {body: {event: message,"
        " task_id: t, id: m, message_id: m, conversation_id: c, mode: chat, answer: mine, metadata: {},"
        " created_at: 1}}\n"
    )
    mock = make_app("dify-chat", fixtures=tmp_path, pace=0)

    def ask(conversation: str = "", **headers: str) -> Any:
        body = chat_body("once", conversation=conversation)
        return mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=body, **headers)

    assert ask(Prefer="fault=bom").status == 501
    assert ask(conversation="00000000-0000-4000-8000-000000000000").status == 404
    assert [ask().json["answer"] == "mine" for _ in range(2)] == [True, False]


def test_stop_that_is_refused_stops_nothing(make_app: Callable[..., Caller]) -> None:
    """A stream runs on to its end when the request to stop it carried a fault that does not fit."""
    mock = make_app("dify-workflow", pace=1)
    live = Live(mock.open("POST", "/v1/workflows/run", key="app-workflow", json_body=STREAMING).body)  # type: ignore[arg-type]
    stop = f"/v1/workflows/tasks/{live.step()['task_id']}/stop"
    user = {"user": "abc-123"}
    assert mock.ask("POST", stop, key="app-workflow", json_body=user, Prefer="fault=bom").status == 501
    assert live.rest()[-1]["data"]["status"] == "succeeded"


def test_rate_is_not_counted_for_what_was_refused(make_app: Callable[..., Caller]) -> None:
    """A limit of one answer stands after a request that was none."""
    mock = make_app("dify-chat", pace=0)

    def ask(fault: str) -> int:
        body = chat_body("q")
        return mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=body, Prefer=f'fault="{fault}"').status

    assert [ask(one) for one in ("rate-limit=1/60, bom", "rate-limit=1/60", "rate-limit=1/60")] == [501, 200, 429]


# What fails.


@pytest.mark.parametrize("kept", [False, True], ids=["in-memory", "file"])
def test_exception_in_a_request_leaves_nothing_of_it(
    make_app: Callable[..., Caller], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    """Whatever a documented request has done when a mistake of ours ends it: the answer is a 500, and it is undone."""
    mock = make_app(pace=0, state=tmp_path / "mock.db" if kept else None, clock=1000)
    for api, example in documented(mock.app):
        mock.app.handle(request_of(api, example), mock.now)

    def fail(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr(ScenarioUsage, "note", fail)
        for api, example in documented(mock.app):
            before = state_of(mock.app)
            assert answer(mock.app, request_of(api, example), mock.now).status == 500
            assert state_of(mock.app) == before, example.path
    expected = {name: everything(world)[:3] for name, world in mock.app.mock.worlds._worlds.items()}
    mock.app.close()
    if kept:
        again = make_app(state=tmp_path / "mock.db", clock=1000).app.mock
        for name, (records, counters, files) in expected.items():
            api = max((one for one in again.apis if name.startswith(one)), key=len)
            found = everything(again.worlds.open(api, name.removeprefix(api)))
            by_table = sorted(records, key=lambda row: row[0])
            assert (sorted(found[0], key=lambda row: row[0]), found[1], found[2]) == (by_table, counters, files)
        again.close()


UNWRITTEN = {
    *("convertAudioToText 415", "convertTextToAudio 200", "createUploadFile 201", "offlineUploadFile 200"),
    *("deleteAllUserFiles 200", "deleteConversation 404", "deleteFlowFile 200", "deleteUserFile 404"),
    *("renameUserFile 404", "runFlow 404", "stopChatMessage 200", "stopWorkflow 200"),
}
"""What the documented requests, sent a second time, do without changing anything."""


def test_commit_that_fails_is_taken_back_in_memory(
    make_app: Callable[..., Caller], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is known of what could not be written, now or later; the next request has the ids that it would have."""
    twin = make_app(pace=0, seed=7)
    mock = make_app(pace=0, seed=7, state=tmp_path / "mock.db")
    posts = [(api, one) for api, one in documented(mock.app) if one.operation.method != "GET"]
    for api, example in documented(mock.app):
        for app in (mock.app, twin.app):
            app.handle(request_of(api, example), mock.now)

    refused, unwritten = list[object](), set[str]()

    def fail(*asked: object) -> None:
        refused.append(asked)
        raise StateUnwritableError("no room for it")

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "write", fail)
        before = state_of(mock.app)
        for api, example in posts:
            refused.clear()
            reply = answer(mock.app, request_of(api, example), mock.now)
            if refused:
                assert (reply.status, reply.headers["Content-Type"]) == (507, "application/problem+json")
            else:  # there was nothing to write
                unwritten.add(f"{example.operation.id} {reply.status}")
            assert state_of(mock.app) == before, example.path
        assert unwritten == UNWRITTEN
        for api, example in documented(mock.app):  # reading goes on
            if example.operation.method == "GET":
                assert answer(mock.app, request_of(api, example), mock.now).status < 500
                assert state_of(mock.app) == before, example.path
    assert capsys.readouterr().err == "mockserver: no room for it\n"
    failed = [entry for entry in mock.app.mock.journal.list_entries() if entry.failure]
    assert {entry.status for entry in failed} == {507}
    for api, example in posts:
        replies = [app.handle(request_of(api, example), mock.now) for app in (mock.app, twin.app)]
        assert body_of(replies[0]) == body_of(replies[1])
    mock.app.close()


def body_of(reply: Reply) -> bytes:
    if isinstance(reply.body, bytes):
        return reply.body
    return reply.body.read() if isinstance(reply.body, Blob) else b""


# The mechanism itself.


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kept", [False, True], ids=["in-memory", "file"])
def test_discarded_transactions_leave_no_trace(tmp_path: Path, seed: int, *, kept: bool) -> None:
    """Random records, bytes and counters that come, change and go: after a failure all is as it was, in its order."""
    chance = random.Random(seed)
    file = StateFile(tmp_path / "mock.db") if kept else None
    worlds = Worlds(0, lambda _api: {"t": [{"id": "seed", "at": 3}]}, Limits(records=25), file=file)
    world = worlds.open("x", "")
    for _ in range(120):
        before, pages, fails = everything(world), pages_of(world), chance.random() < 0.5
        uploads = worlds.quota.uploads.total
        try:
            with world.transaction():
                for _ in range(chance.randrange(8)):
                    change(world, chance)
                end(fails)
        except InterruptedError:
            assert everything(world) == before
            assert pages_of(world) == pages
            assert worlds.quota.uploads.total == uploads
    if kept:
        known = everything(world)
        worlds.close()
        again = Worlds(0, lambda _api: {"t": [{"id": "seed", "at": 3}]}, file=StateFile(tmp_path / "mock.db"))
        assert everything(again.open("x", ""))[1:3] == known[1:3]
        assert pages_of(again.open("x", "")) == pages_of(world)
        again.close()


def end(fails: bool) -> None:
    if fails:
        raise InterruptedError


def change(world: World, chance: random.Random) -> None:
    """Do one of the things that behaviours do."""
    table, key = chance.choice("tu"), f"k{chance.randrange(12)}"
    act = chance.randrange(6)
    if act < 3:
        world.store.put(table, key, {"id": key, "at": chance.randrange(5), "n": chance.random()})
    elif act == 3:
        world.delete(table, chance.choice([key, "seed"]))
    elif act == 4 and world.store.get(table, key):
        world.keep(table, key, Blob(chance.randbytes(chance.randrange(50))))
    else:
        world.store.count(chance.choice(["a", "b"]))


def pages_of(world: World) -> list[list[Record]]:
    """Return the records of both tables in several orders."""
    orders = ("", "-", "at", "-at")
    return [copy.deepcopy(world.store.read_page(table, order=order).rows) for table in "tu" for order in orders]


def test_inner_transaction_belongs_to_the_outer_one() -> None:
    """What was done inside lasts or goes with the whole; and what was to be called afterwards is called then, once."""
    world = Worlds(0, lambda _api: {}).open("x", "")
    called: list[str] = []
    with world.transaction():
        with world.transaction():
            world.store.put("t", "a", {"id": "a"})
            world.transaction.on_commit(lambda: called.append("committed"))
            world.transaction.on_discard(lambda: called.append("discarded"))
        assert called == []
    assert called == ["committed"]
    with pytest.raises(InterruptedError), world.transaction():  # noqa: PT012 - what is inside is the point
        with world.transaction():
            world.store.put("t", "b", {"id": "b"})
            world.transaction.on_commit(lambda: called.append("committed"))
            world.transaction.on_discard(lambda: called.append("discarded"))
        raise InterruptedError
    assert called == ["committed", "discarded"]
    assert [row["id"] for row in world.store.list_rows("t")] == ["a"]


def test_behaviours_replace_records_and_never_change_them(
    make_app: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put is what is there at the end of each request: only so can it be brought back."""
    put, commit = MemoryStore.put, MemoryStore.commit
    written: dict[tuple[int, str, str], str] = {}

    def put_and_note(store: MemoryStore, table: str, key: str, record: Record) -> None:
        written[id(store), table, key] = json.dumps(record)
        put(store, table, key, record)

    def check_and_commit(store: MemoryStore) -> None:
        for table, key, record in store.list_everything():
            assert written.get((id(store), table, key), json.dumps(record)) == json.dumps(record)
        commit(store)

    monkeypatch.setattr(MemoryStore, "put", put_and_note)
    monkeypatch.setattr(MemoryStore, "commit", check_and_commit)
    mock = make_app(pace=1)
    for _ in range(2):
        for api, example in documented(mock.app):
            reply = mock.app.handle(request_of(api, example), mock.now)
            if not isinstance(reply.body, bytes | Blob):
                Live(reply.body).rest()
    said = mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=chat_body("q")).json
    rating = {"rating": "like", "user": "abc-123"}
    path = f"/v1/messages/{said['message_id']}/feedbacks"
    assert mock.ask("POST", path, key="app-chat", json_body=rating).status == 200
    assert len(written) > 20
