"""`--state redis://`: several workers are one mock. What one was told the others know, at once and after a death."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import mock_redis
import pytest
import redis
from mock_calls import Answer, Caller, read
from mock_events import reading
from mock_processes import CHAT, FILES, RUN, USER, Answered, Server, chat_body, first_events
from mock_users import Live
from test_random_walk import STEPS, walk
from walkers import START
from werkzeug.datastructures import Headers

from flowcontract.errors import StateError, StateUnreachableError
from mockserver.blobs.blob import Blob
from mockserver.cli import main as cli
from mockserver.config.settings import Settings
from mockserver.http.messages import AbortConnection, Request
from mockserver.server.adapter import answer
from mockserver.server.mock_server import MockServer
from mockserver.state.quotas import Limits
from mockserver.state.redis import connection as link
from mockserver.state.usage import ScenarioUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mockserver.http.messages import Reply

pytestmark = pytest.mark.skipif(not mock_redis.is_installed(), reason=mock_redis.MISSING)
ME = {"user": "me"}  # of whom no world knows anything in the beginning
RUNNING = {"inputs": {}, "response_mode": "streaming", **USER}


@pytest.fixture(scope="module")
def redis_server() -> Iterator[mock_redis.RedisServer]:
    with mock_redis.RedisServer() as running:
        yield running


@pytest.fixture
def state(redis_server: mock_redis.RedisServer) -> str:
    """Return the address of an empty database."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def make_workers(make_app: Callable[..., Caller], state: str) -> Iterator[Callable[..., list[Caller]]]:
    """Return what makes workers that share a state, each an application of its own."""
    made: list[Caller] = []

    def make(count: int, **settings: Any) -> list[Caller]:
        new = [make_app(state=state, **settings) for _ in range(count)]
        made.extend(new)
        return new

    yield make
    for one in made:
        one.app.close()


def chat(worker: Caller, query: str, key: str = "app-chat", conversation: str = "", **headers: str) -> Answer:
    body = {**chat_body(query, conversation=conversation), **ME}
    return worker.ask("POST", "/v1/chat-messages", key=key, json_body=body, **headers)


def conversations(worker: Caller, key: str = "app-chat") -> list[str]:
    found = worker.ask("GET", "/v1/conversations?user=me&limit=100", key=key).json
    return [one["id"] for one in found["data"]]


def upload(worker: Caller, data: bytes) -> Answer:
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + data + b"\r\n--b--\r\n"
    return worker.ask(
        "POST", "/api/v2/files", body=form, Content_Type="multipart/form-data; boundary=b", x_api_key="sk-agentbuilder"
    )


def test_what_one_worker_was_told_the_others_know(make_workers: Callable[..., list[Caller]]) -> None:
    """A conversation goes on, is renamed, and is deleted, each on another worker."""
    one, two, three = make_workers(3)
    said = chat(one, "first").json
    again = chat(two, "second", conversation=said["conversation_id"]).json
    query = f"user=me&conversation_id={said['conversation_id']}"
    shown = three.ask("GET", f"/v1/messages?{query}", key="app-chat").json["data"]
    assert [(row["id"], row["query"]) for row in shown] == [(said["id"], "first"), (again["id"], "second")]
    path = f"/v1/conversations/{said['conversation_id']}"
    assert three.ask("POST", f"{path}/name", key="app-chat", json_body={"name": "new", **ME}).json["name"] == "new"
    assert one.ask("DELETE", path, key="app-chat", json_body=ME).status in (200, 204)
    assert [conversations(worker) for worker in (one, two, three)] == [[], [], []]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 7])
def test_file_of_one_worker_is_served_by_another(make_workers: Callable[..., list[Caller]], size: int) -> None:
    """Byte for byte, also where it is larger than one part; and deleted by a third it is gone."""
    one, two, three = make_workers(3)
    data = random.Random(size).randbytes(size)
    path = f"/api/v2/files/{upload(one, data).json['id']}"
    assert two.ask("GET", path, x_api_key="sk-agentbuilder").body == data
    assert three.ask("DELETE", path, x_api_key="sk-agentbuilder").status == 200
    assert [worker.ask("GET", path, x_api_key="sk-agentbuilder").status for worker in (one, two)] == [404, 404]


def test_download_goes_on_while_another_worker_deletes_the_file(make_workers: Callable[..., list[Caller]]) -> None:
    """Who has begun to read gets all of it."""
    one, two = make_workers(2)
    data = random.Random(1).randbytes(3 << 20)
    path = f"/api/v2/files/{upload(one, data).json['id']}"
    begun = two.open("GET", path, x_api_key="sk-agentbuilder")
    assert one.ask("DELETE", path, x_api_key="sk-agentbuilder").status == 200
    assert read(begun).body == data


def test_upload_on_one_worker_and_run_on_another(make_workers: Callable[..., list[Caller]]) -> None:
    """The workflow takes the file's id; the run is in the detail and in the log of a third worker."""
    one, two, three = make_workers(3)
    form = (
        b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\nabc-123\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        b"\x89PNG\r\n\x1a\n\r\n--b--\r\n"
    )
    sent = {"key": "app-workflow", "body": form, "Content_Type": "multipart/form-data; boundary=b"}
    file = one.ask("POST", "/v1/files/upload", **sent).json["id"]
    files = [{"type": "image", "transfer_method": "local_file", "upload_file_id": file}]
    body = {"inputs": {}, "files": files, "response_mode": "blocking", **USER}
    run = two.ask("POST", "/v1/workflows/run", key="app-workflow", json_body=body)
    assert run.status == 200, run.body
    detail = three.ask("GET", f"/v1/workflows/run/{run.json['workflow_run_id']}", key="app-workflow").json
    assert json.loads(detail["outputs"]) == run.json["data"]["outputs"]
    log = three.ask("GET", "/v1/workflows/logs?limit=1", key="app-workflow").json
    assert [row["workflow_run"]["id"] for row in log["data"]] == [run.json["workflow_run_id"]]


def test_keys_have_worlds_of_their_own_on_every_worker(make_workers: Callable[..., list[Caller]]) -> None:
    """Nobody sees what was said under another key."""
    one, two = make_workers(2)
    chat(one, "q", key="app-chat-a")
    chat(two, "q", key="app-chat-b")
    seen = [[conversations(worker, f"app-chat-{key}") for key in "ab"] for worker in (one, two)]
    assert seen[0] == seen[1]
    assert [len(found) for found in seen[0]] == [1, 1]
    assert seen[0][0] != seen[0][1]


def test_stream_is_stopped_by_another_worker(make_workers: Callable[..., list[Caller]]) -> None:
    """It ends with the status stopped, and says so in the detail that a third worker shows."""
    one, two, three = make_workers(3)
    live = Live(one.open("POST", "/v1/workflows/run", key="app-workflow", json_body=RUNNING).body)  # type: ignore[arg-type]
    begun = live.step()
    path = f"/v1/workflows/run/{begun['workflow_run_id']}"
    assert three.ask("GET", path, key="app-workflow").json["status"] == "running"
    stop = f"/v1/workflows/tasks/{begun['task_id']}/stop"
    assert three.ask("POST", stop, key="app-workflow", json_body={"user": "else"}).json == {"result": "success"}
    stopped = threading.Event()
    live.body.on_change = stopped.set
    assert two.ask("POST", stop, key="app-workflow", json_body=USER).json == {"result": "success"}
    assert stopped.wait(10), "nobody stopped it"
    live.wake = live.now
    last = live.rest()[-1]
    assert (last["event"], last["data"]["status"]) == ("workflow_finished", "stopped")
    assert three.ask("GET", path, key="app-workflow").json["status"] == "stopped"


def test_another_users_stop_reaches_no_stream(make_workers: Callable[..., list[Caller]]) -> None:
    """It is answered with success, as on one worker, and asks nobody to stop anything."""
    one, two = make_workers(2)
    live = Live(one.open("POST", "/v1/workflows/run", key="app-workflow", json_body=RUNNING).body)  # type: ignore[arg-type]
    task = live.step()["task_id"]
    called: list[object] = []
    two.app.mock.worlds.open("dify-workflow", "").store.call = called.append  # type: ignore[method-assign]
    stop = f"/v1/workflows/tasks/{task}/stop"
    assert two.ask("POST", stop, key="app-workflow", json_body={"user": "else"}).json == {"result": "success"}
    assert called == []
    assert live.rest()[-1]["data"]["status"] == "succeeded"


def test_journal_tells_what_all_workers_were_asked(make_workers: Callable[..., list[Caller]]) -> None:
    """Numbers are given once; each worker shows all of it, masked, and makes the same curl of it."""
    one, two = make_workers(2)
    chat(one, "q", key="app-chat-secret")
    Live(two.open("POST", "/v1/workflows/run", key="app-workflow", json_body=RUNNING).body).rest()  # type: ignore[arg-type]
    chat(two, "again", Prefer="code=400, example=nothing")
    seen = [worker.ask("GET", "/__mock__/requests").json for worker in (one, two)]
    assert seen[0] == seen[1]
    assert [row["number"] for row in seen[0]["requests"]] == [1, 2, 3]
    assert "app-chat-secret" not in json.dumps(seen[0])
    stream = seen[0]["requests"][1]["answer"]["stream"]
    assert stream["ended"] == "complete"
    assert len(stream["sent"]) == stream["pieces"] > 3
    curls = {worker.ask("GET", "/__mock__/requests/1/curl").body for worker in (one, two)}
    assert len(curls) == 1
    chosen = two.ask("GET", "/__mock__/requests?status=501").json["requests"]
    assert [row["number"] for row in chosen] == [3]
    assert two.ask("DELETE", "/__mock__/requests").status == 200
    assert one.ask("GET", "/__mock__/requests").json["requests"] == []


def test_journal_remembers_as_many_as_it_was_told(make_workers: Callable[..., list[Caller]]) -> None:
    """The oldest go, whichever worker was asked."""
    workers = make_workers(2, journal=4)
    for number in range(10):
        chat(workers[number % 2], str(number))
    assert [entry.number for entry in workers[0].app.mock.journal.list_entries()] == [7, 8, 9, 10]
    assert workers[1].app.mock.journal.count == 10


def test_events_of_all_workers_are_told_by_each_and_resumed_at_another(
    make_workers: Callable[..., list[Caller]],
) -> None:
    """A reader that comes back to another worker goes on where it was; what was forgotten is so for all."""
    one, other = make_workers(2)
    one.ask("GET", "/v1/info", key="app-chat")
    with reading(one) as reader:
        other.ask("GET", "/v1/info", key="app-chat")
        last = reader.events(3)[2][1]
    one.ask("GET", "/v1/info", key="app-chat")
    with reading(other, last) as reader:
        hello, third = reader.events(2)
        assert (hello[2]["resumed"], third[2]["number"]) == (True, 3)
        one.ask("DELETE", "/__mock__/requests")
        assert reader.events(3)[2][2]["resumed"] is False


def test_override_stands_for_all_workers_and_is_counted_once(make_workers: Callable[..., list[Caller]]) -> None:
    """Ordered twice from one worker, it answers twice in all; another worker can take it back."""
    one, two, three = make_workers(3)
    order = {"operation": "sendChatMessage", "scenario": "400-provider-quota-exceeded", "times": 2}
    assert one.ask("PUT", "/__mock__/overrides", json_body=order).status == 200
    assert two.ask("GET", "/__mock__/overrides").json == one.ask("GET", "/__mock__/overrides").json
    assert [chat(worker, "q").status for worker in (two, three, one, two)] == [400, 400, 200, 200]
    assert one.ask("PUT", "/__mock__/overrides", json_body={**order, "times": None}).status == 200
    assert two.ask("DELETE", "/__mock__/overrides").status == 200
    assert chat(three, "q").status == 200


def test_rate_is_counted_over_all_workers(make_workers: Callable[..., list[Caller]]) -> None:
    """A limit of two answers is reached by two workers with one each."""
    one, two = make_workers(2)
    limit = {"Prefer": "fault=rate-limit=2/60"}
    statuses = [chat(worker, "q", **limit).status for worker in (one, two, one, two)]
    assert statuses == [200, 200, 429, 429]


def test_reset_on_one_worker_is_a_new_beginning_for_all(make_workers: Callable[..., list[Caller]]) -> None:
    """Also for a stream that runs on another: it goes on, and nobody finds it."""
    one, two = make_workers(2)
    said = chat(one, "q").json
    live = Live(one.open("POST", "/v1/workflows/run", key="app-workflow", json_body=RUNNING).body)  # type: ignore[arg-type]
    run = live.step()["workflow_run_id"]
    assert conversations(two) == [said["conversation_id"]]
    assert two.ask("POST", "/__mock__/reset").status == 200
    assert conversations(one) == conversations(two) == []
    assert live.rest()[-1]["data"]["status"] == "succeeded"
    found = [worker.ask("GET", f"/v1/workflows/run/{run}", key="app-workflow").status for worker in (one, two)]
    assert found == [404, 404]
    assert chat(two, "q").json["conversation_id"] == said["conversation_id"], "ids begin anew, too"


def test_ids_are_given_once_when_workers_are_asked_at_once(make_workers: Callable[..., list[Caller]]) -> None:
    """Four workers at the same time in one world: no id twice, nothing lost."""
    workers = make_workers(4)

    def ask(worker: Caller) -> list[str]:
        return [chat(worker, str(number)).json["message_id"] for number in range(15)]

    with ThreadPoolExecutor(4) as pool:
        given = [identifier for ids in pool.map(ask, workers) for identifier in ids]
    assert len(set(given)) == 60
    assert {len(conversations(worker)) for worker in workers} == {60}


def test_worlds_that_are_too_many_are_forgotten_by_all(make_workers: Callable[..., list[Caller]]) -> None:
    """The one that was used longest ago goes, whoever used it."""
    one, two = make_workers(2, limits=Limits(worlds=2))
    for key in ("app-chat-a", "app-chat-b", "app-chat-c"):
        chat(one, "q", key=key)
    assert [len(conversations(two, f"app-chat-{key}")) for key in "cba"] == [1, 1, 0]


def test_run_of_a_worker_that_died_has_failed(make_workers: Callable[..., list[Caller]], state: str) -> None:
    """It was running on one worker; when that is gone the others say failed, and stop to look for it."""
    one, two = make_workers(2)
    live = Live(one.open("POST", "/v1/workflows/run", key="app-workflow", json_body=RUNNING).body)  # type: ignore[arg-type]
    run = live.step()["workflow_run_id"]
    path = f"/v1/workflows/run/{run}"
    assert two.ask("GET", path, key="app-workflow").json["status"] == "running"
    one.app.close()
    detail = two.ask("GET", path, key="app-workflow").json
    assert (detail["status"], detail["outputs"]) == ("failed", None)
    assert detail["error"]


@dataclass
class Several(Caller):
    """Asks one of several workers, another one each time; a stop goes to where the stream runs, which is at once."""

    others: list[Caller] = field(default_factory=list)
    chance: random.Random = field(default_factory=random.Random)

    def open(self, method: str, path: str, **request: Any) -> Reply:
        """Send a request to a worker."""
        task = path.split("/")[-2] if path.endswith("/stop") else ""
        running = [one for one in self.others if any(task in world.streams for world in worlds_of(one))]
        return self.chance.choice(running or self.others).open(method, path, **request)


def worlds_of(worker: Caller) -> list[Any]:
    return list(worker.app.mock.worlds._worlds.values())


@pytest.mark.parametrize("seed", range(6))
def test_every_read_is_what_was_written_on_other_workers(make_workers: Callable[..., list[Caller]], seed: int) -> None:
    """Random walks of two users under two keys, each step on another of three workers, contradict no model."""
    workers = make_workers(3, clock=START)
    called = walk(seed, lambda: Several(workers[0].app, others=workers, chance=random.Random(seed)))
    assert sum(Counter(called).values()) >= STEPS // 2


def test_nothing_changes_while_redis_is_away_and_all_goes_on_afterwards(
    make_app: Callable[..., Caller],
) -> None:
    """Requests are answered with a 503 that says what to do; nothing of it is half there."""
    with mock_redis.RedisServer() as server:
        worker = make_app(state=server.url)
        assert chat(worker, "before").status == 200
        server.stop()
        refused = read(answer(worker.app, request_of(worker), worker.now))
        assert refused.status == 503
        assert "Redis cannot be reached at unix://" in refused.json["detail"]
        server.start()  # it keeps nothing: everything begins anew
        assert conversations(worker) == []
        assert chat(worker, "after").status == 200
        assert len(conversations(worker)) == 1
        worker.app.close()


def request_of(worker: Caller) -> Any:
    """Return the request that a question is."""
    taken: list[Any] = []
    app, handle = worker.app, worker.app.handle
    app.handle = lambda request, now: taken.append(request) or handle(request, now)  # type: ignore[assignment, func-returns-value]
    with pytest.raises(StateUnreachableError):
        chat(worker, "meanwhile")
    del app.handle  # type: ignore[method-assign]
    return taken[0]


def test_redis_that_is_not_there_is_named_without_its_password(
    capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    """One line on standard error, exit code 2."""
    assert cli.main(["serve", "--port", "0", "--state", f"unix://joe:geheim@{tmp_path}/no?db=0"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "Redis cannot be reached at unix://***@" in said.err
    assert "geheim" not in said.err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://joe:geheim@host:1/0", "redis://***@host:1/0"),
        ("redis://:geheim@host", "redis://***@host"),
        ("unix:///a/b?password=geheim&db=0", "unix:///a/b?password=***&db=0"),
        ("redis://host:1/0", "redis://host:1/0"),
    ],
)
def test_address_is_shown_without_user_and_password(url: str, shown: str) -> None:
    """In messages it can be recognized, and nothing secret is in it."""
    assert link.mask_url(url) == shown


def test_address_that_cannot_be_read_is_refused() -> None:
    """A port that is no number is told as such."""
    with pytest.raises(StateError, match="is no address of Redis"):
        link.Link("redis://localhost:abc/0")


@pytest.mark.parametrize("state_option", [[], ["--state", "mock.db"]], ids=["in-memory", "file"])
def test_several_workers_need_a_state_that_they_share(
    state_option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without one `--workers 2` is misuse, and the message names the option."""
    assert cli.main(["serve", "--port", "0", "--workers", "2", *state_option]) == 2
    assert "--state redis://" in capsys.readouterr().err


def processes(client: httpx.Client, url: str, count: int) -> list[int]:
    """Return which processes answer, asking on new connections until so many have."""
    found: set[int] = set()
    for _ in range(2000):
        found.add(httpx.get(f"{url}/__mock__/health", trust_env=False, timeout=30).json()["process"])
        if len(found) == count:
            break
    return sorted(found)


class Load:
    """Clients who ask until they are told to end, whatever happens to their connections."""

    def __init__(self, server: Server, answered: Answered) -> None:
        self._server, self._answered = server, answered
        self._over = threading.Event()

    def ask(self, seed: int) -> None:
        """Ask, on a new connection each time one breaks."""
        chance = random.Random(seed)
        acts = [self._answered.chat, self._answered.run, self._answered.upload, self._answered.delete]
        while not self._over.is_set():
            try:
                with self._server.client() as client:
                    while not self._over.is_set():
                        chance.choice(acts)(client, chance)
                        self._count()
            except (httpx.TransportError, json.JSONDecodeError, IndexError):  # its worker was killed
                continue

    def _count(self) -> None:
        with self._answered.lock:
            self._answered.count += 1

    def end(self) -> None:
        """Let them end."""
        self._over.set()


def test_worker_that_is_killed_under_load_loses_nothing_that_it_answered(state: str) -> None:
    """Three workers, three clients; one after another is killed and replaced, and all that was answered is there."""
    answered = Answered()
    with Server(state, "--workers", "3", "--pace", "0") as server, ThreadPoolExecutor(3) as pool:
        load = Load(server, answered)
        working = [pool.submit(load.ask, seed) for seed in range(3)]
        with server.client() as client:
            for _ in range(3):
                before = answered.count
                victim = processes(client, server.url, 3)[0]
                while answered.count < before + 5:
                    client.get("/__mock__/health")
                os.kill(victim, signal.SIGKILL)
            load.end()
            for one in working:
                one.result(60)
            answered.check(client)
            assert answered.messages
            assert answered.files


def test_workers_are_one_mock_to_their_clients(state: str) -> None:
    """Over sockets: a stream that runs in one process is stopped through another, and ends within its time."""
    with Server(state, "--workers", "2", "--pace", "1000") as server, server.client() as client:
        body = {"inputs": {}, "response_mode": "streaming", **USER}
        with client.stream("POST", "/v1/workflows/run", headers=RUN, json=body) as stream:
            lines = stream.iter_lines()
            begun = first_events(lines, 1)[0]
            for number in range(8):  # new connections: some reach the other process
                stop = f"{server.url}/v1/workflows/tasks/{begun['task_id']}/stop"
                user = USER if number == 7 else {"user": f"else-{number}"}
                told = httpx.post(stop, headers=RUN, json=user, trust_env=False).json()
                assert told == {"result": "success"}
            last = first_events(lines, 1)[-1]
            assert (last["event"], last["data"]["status"]) == ("workflow_finished", "stopped")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_process_that_watches_over_them(state: str, how: signal.Signals) -> None:
    """However it ends: nobody holds the standard output any more, which they have from it."""
    with Server(state, "--workers", "2") as server:
        with server.client() as client:
            assert client.get("/api/v2/files", headers=FILES).status_code == 200
            assert client.get("/v1/conversations", headers=CHAT, params=USER).status_code == 200
        server.process.send_signal(how)
        assert server.process.stdout is not None
        assert "Traceback" not in server.process.stdout.read()
        assert server.process.wait() == (0 if how is not signal.SIGKILL else -9)


def test_file_that_vanishes_while_it_is_sent_ends_the_connection(
    state: str, redis_server: mock_redis.RedisServer
) -> None:
    """The rest of its announced length is neither another answer nor silence, and the next connection is served."""
    size = 24 << 20
    with MockServer(settings=Settings(pace=0, state=state)) as mock:
        with httpx.Client(base_url=mock.origin, trust_env=False, timeout=20) as client:
            file = client.post("/api/v2/files", headers=FILES, files={"file": ("a.bin", bytes(size))}).json()["id"]
        asked = f"GET /api/v2/files/{file} HTTP/1.1\r\nHost: a\r\nx-api-key: sk-agentbuilder\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", mock.port), timeout=20) as connection:
            connection.sendall(asked * 3)
            got = connection.recv(1 << 16)
            with redis_server.client() as client:
                client.delete(*client.keys("*content:*"))
            while piece := connection.recv(1 << 20):
                got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        assert f"Content-Length: {size}".encode() in head
        assert len(body) < size
        assert set(body) == {0}
        with httpx.Client(base_url=mock.origin, trust_env=False, timeout=20) as client:
            assert client.get("/api/v2/files", headers=FILES).status_code == 200


def test_streams_end_in_the_journal_as_what_they_are(make_workers: Callable[..., list[Caller]]) -> None:
    """One that runs has not ended; that of a worker that is gone was interrupted, for all who look."""
    one, two, three = make_workers(3)
    streams = [worker.open("POST", "/v1/workflows/run", key="app-workflow", json_body=RUNNING) for worker in (one, two)]
    for stream in streams:
        Live(stream.body).step()  # type: ignore[arg-type]

    def ended(worker: Caller) -> list[str | None]:
        found = worker.ask("GET", "/__mock__/requests?operation=runWorkflow").json["requests"]
        return [entry["answer"]["stream"]["ended"] for entry in found]

    assert ended(three) == [None, None]
    one.app.close()
    assert ended(two) == ended(three) == ["interrupted", None]
    Live(streams[1].body).rest()  # type: ignore[arg-type]
    assert ended(three) == ["interrupted", "complete"]
    assert three.ask("GET", "/__mock__/requests/1").json["answer"]["stream"]["ended"] == "interrupted"


def test_streams_of_a_killed_worker_were_interrupted(state: str) -> None:
    """Over sockets: the process that takes its place tells so."""
    with Server(state, "--workers", "2", "--pace", "1000") as server, server.client() as client:
        with client.stream("POST", "/v1/workflows/run", headers=RUN, json=RUNNING) as stream:
            lines = stream.iter_lines()
            first_events(lines, 1)
            for victim in processes(client, server.url, 2):
                os.kill(victim, signal.SIGKILL)
            with pytest.raises(httpx.TransportError):
                list(lines)
        said, waiting = "", threading.Event()
        for _ in range(200):
            with contextlib.suppress(httpx.TransportError):
                entry = httpx.get(f"{server.url}/__mock__/requests/1", trust_env=False, timeout=30).json()
                said = entry["answer"]["stream"]["ended"]
            if said:
                break
            waiting.wait(0.05)
        assert said == "interrupted"


def test_exception_leaves_nothing_in_redis(
    make_workers: Callable[..., list[Caller]], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed or was refused on one worker is on none, and others get the world at once."""
    one, two = make_workers(2)
    chat(one, "before")
    upload(one, b"before")

    def fail(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    before = kept(state)
    with monkeypatch.context() as patch:
        patch.setattr(ScenarioUsage, "note", fail)
        for act in (lambda: chat(one, "lost"), lambda: upload(one, b"lost"), lambda: conversations(one)):
            with pytest.raises(RuntimeError):
                act()
    assert kept(state) == before
    assert chat(one, "q", Prefer="fault=bom").status == 501
    assert kept(state) == before
    assert [len(conversations(worker)) for worker in (two, one)] == [1, 1]


def kept(state: str) -> dict[bytes, Any]:
    """Return what Redis keeps of worlds and orders, but not who holds them, nor when each was used."""
    found = {}
    with redis.Redis.from_url(state) as client:
        for key in client.keys("*"):
            kind = client.type(key)
            if kind == b"hash" and b"journal" not in key:
                found[key] = client.hgetall(key)
    return found


def test_override_of_a_refusal_stands_for_all_workers(make_workers: Callable[..., list[Caller]]) -> None:
    """Also one that is used up by it: where it stood it stands, with as many uses, unless another came meanwhile."""
    one, two = make_workers(2)
    for times in (1, 2):
        order = {"operation": "sendChatMessage", "scenario": "fault=bom", "times": times}
        one.ask("PUT", "/__mock__/overrides", json_body=order)
        stands = one.ask("GET", "/__mock__/overrides").json
        assert [chat(worker, "q").status for worker in (one, two)] == [501, 501]
        assert two.ask("GET", "/__mock__/overrides").json == stands
    two.ask("PUT", "/__mock__/overrides", json_body={**order, "times": None})
    stands = one.ask("GET", "/__mock__/overrides").json
    assert chat(one, "q").status == 501
    assert one.ask("GET", "/__mock__/overrides").json == stands


def test_upload_that_does_not_fit_into_redis_fails_alone(
    make_workers: Callable[..., list[Caller]], state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a 507 of the mock; what there was of it is deleted, so that there is room for others at once."""
    (worker,) = make_workers(1)
    before = upload(worker, b"small").json["id"]
    with redis.Redis.from_url(state) as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + (6 << 20))
        try:
            for _ in range(3):
                refused = read(answer(worker.app, form_request(bytes(12 << 20)), worker.now))
                assert refused.status == 507, refused.body
                assert "takes nothing more" in refused.json["detail"]
                assert upload(worker, b"small").status == 201
        finally:
            client.config_set("maxmemory", 0)
    assert capsys.readouterr().err.count("\n") == 1
    assert worker.ask("GET", f"/api/v2/files/{before}", x_api_key="sk-agentbuilder").body == b"small"


def form_request(data: bytes) -> Request:
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + data + b"\r\n--b--\r\n"
    headers = Headers({"Content-Type": "multipart/form-data; boundary=b", "x-api-key": "sk-agentbuilder"})
    return Request("POST", "/api/v2/files", headers=headers, body=Blob(form), peer="127.0.0.1")


def test_redis_that_does_not_answer_is_waited_for_once(
    make_app: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever comes after that is told at once, streams that run are cut; when it answers again all goes on."""
    monkeypatch.setattr(link, "_ANSWER_S", 1.0)
    with mock_redis.RedisServer() as server:
        worker = make_app(state=server.url)
        live = Live(worker.open("POST", "/v1/workflows/run", key="app-workflow", json_body=RUNNING).body)  # type: ignore[arg-type]
        live.step()
        answered = chat(worker, "before").json["conversation_id"]
        capsys.readouterr()
        server.pause()
        asked = plain_request()
        assert read(answer(worker.app, asked, worker.now)).status == 503
        asks = [0]
        send = redis.Redis.execute_command

        def count(client: redis.Redis, *command: Any, **options: Any) -> Any:
            asks[0] += threading.current_thread() is threading.main_thread()
            return send(client, *command, **options)

        monkeypatch.setattr(redis.Redis, "execute_command", count)
        assert [read(answer(worker.app, asked, worker.now)).status for _ in range(20)] == [503] * 20
        with pytest.raises(AbortConnection):
            live.rest()
        assert asks == [0], "nobody else waits for it"
        assert capsys.readouterr().err.count("\n") <= 3
        server.resume()
        waiting = threading.Event()
        for _ in range(200):
            if read(answer(worker.app, asked, worker.now)).status == 200:
                break
            waiting.wait(0.05)
        assert conversations(worker) == [answered]
        told = worker.ask("GET", "/__mock__/requests?operation=runWorkflow").json["requests"][0]
        assert told["answer"]["stream"]["ended"] == "cut"
        assert "Redis" in told["failure"]
        worker.app.close()


def plain_request() -> Request:
    return Request("GET", "/v1/info", headers=Headers({"Authorization": "Bearer app-chat"}), peer="127.0.0.1")
