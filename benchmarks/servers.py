"""The servers that are measured side by side: how each is started, and which requests ask the same of it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from load import COUNT, Call

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
EVENTS, APART_S, FLAT_EVENTS = 20, 0.05, 1000
OURS = "mockserver serve"
_FILE = os.urandom(75_000).hex().encode()[:100_000]
_BOUNDARY = "a-boundary"
_ANSWER = {"message_id": "5ad4cb98-f0c7-4085-b384-88c403be6290", "answer": "Hello.", "mode": "chat", "metadata": {}}
_EVENT = {"event": "message", "task_id": "900bbd43-dc0b-4383-a372-aa6e6c414227", "answer": " word", "created_at": 1}


def form(**fields: str) -> bytes:
    """Return a multipart form with a file of 100 KB."""
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    parts.append(
        b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n' + _FILE
    )
    opening = f"--{_BOUNDARY}\r\n".encode()
    return b"".join(opening + part + b"\r\n" for part in parts) + f"--{_BOUNDARY}--\r\n".encode()


def post(path: str, body: object, **headers: str) -> Call:
    """Return a request with a JSON body."""
    return Call("POST", path, {**headers, "Content-Type": "application/json"}, json.dumps(body).encode())


def upload(path: str, **headers: str) -> Call:
    """Return a request with a file of 100 KB."""
    kind = f"multipart/form-data; boundary={_BOUNDARY}"
    return Call("POST", path, {**headers, "Content-Type": kind}, form(user="abc-123", purpose="assistants"))


@dataclass(frozen=True, slots=True)
class Server:
    """One server. A request that it has nothing for is None.

    ``command``  `{port}` and `{folder}` are filled in; ``files`` are written into the folder before
    ``varied``   as `json`, each time of another user: another question would measure Faker, which takes a millisecond
    ``extra``    files that it needs for the figures under load, not to begin
    ``wrong``    a request that a server which validates refuses
    ``events``   how many events its paced stream has, 50 ms apart
    """

    name: str
    command: tuple[str, ...]
    json: Call
    get: Call
    upload: Call
    stream: Call | None = None
    flat: Call | None = None
    wrong: Call | None = None
    varied: Call | None = None
    events: int = EVENTS
    files: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)


def servers(peers: Path | None) -> Iterator[Server]:
    """Yield every server that can be started here; `peers` is a folder with node_modules."""
    yield from ours()
    yield from _bare()
    if peers is not None and shutil.which("node"):
        yield from _node(peers / "node_modules")
    jar = next(iter((peers or HERE).glob("node_modules/wiremock/build/wiremock-standalone-*.jar")), None)
    if jar is not None and shutil.which("java"):
        yield _wiremock(jar)


def ours() -> Iterator[Server]:
    """Yield the mock, first as `mockserver serve` starts it."""
    key, chat = {"Authorization": "Bearer app-chat"}, {"inputs": {}, "user": "abc-123"}
    calls: dict[str, Any] = {
        "json": post("/v1/chat-messages", {**chat, "query": "hello", "response_mode": "blocking"}, **key),
        "varied": post(
            "/v1/chat-messages", {**chat, "query": "hello", "user": COUNT, "response_mode": "blocking"}, **key
        ),
        "get": Call("GET", "/v1/info", key),
        "upload": upload("/v1/files/upload", **key),
        "stream": post("/v1/chat-messages", {**chat, "query": "twenty events", "response_mode": "streaming"}, **key),
        "flat": post("/v1/chat-messages", {**chat, "query": "a thousand events", "response_mode": "streaming"}, **key),
        "wrong": post("/v1/chat-messages", {**chat, "query": 7}, **key),
        "extra": {
            "dify-chat/sendChatMessage/200-twenty-events.yaml": _scenario("twenty events", EVENTS, 1000 * APART_S),
            "dify-chat/sendChatMessage/200-a-thousand-events.yaml": _scenario("a thousand events", FLAT_EVENTS, 0),
        },
    }
    python = (sys.executable, "-m")
    serve = (*python, "mockserver", "serve", "--port", "{port}", "--fixtures", "{folder}")
    yield Server(OURS, serve, **calls)
    uvicorn = ("--http", "httptools", "--loop", "uvloop", "--log-level", "error", "--no-access-log")
    asgi = (*python, "uvicorn", "--app-dir", str(HERE), *uvicorn, "--port", "{port}", "apps:asgi")
    yield Server("mockserver, ASGI (uvicorn)", asgi, **calls)
    yield Server("mockserver, WSGI (Werkzeug)", (sys.executable, str(HERE / "apps.py"), "mock", "{port}"), **calls)
    if shutil.which("redis-server") and importlib.util.find_spec("redis"):
        shared = ("--workers", "2", "--state", "unix://{folder}/redis.socket?db=0")
        redis = (
            "redis-server --port 0 --unixsocket {folder}/redis.socket --save '' & until [ -S {folder}/redis.socket ]"
        )
        command = ("sh", "-c", f"{redis}; do :; done; exec {shlex.join((*serve, *shared))}")
        yield Server("mockserver, 2 workers (Redis)", command, **calls)


def _scenario(query: str, count: int, apart_ms: float) -> str:
    """Return a scenario of so many events, each with four values that no two answers share."""
    ids = {"task_id": "$id.task", "message_id": "$id.message", "conversation_id": "$id.conversation"}
    said = [{"event": "message", **ids, "created_at": "$now", "answer": f" word {number}"} for number in range(count)]
    events = [{"data": one, "delay_ms": int(apart_ms) if number else 0} for number, one in enumerate(said)]
    return json.dumps({"description": query, "request": {"body": {"query": query}}, "reply": {"events": events}})


def _bare() -> Iterator[Server]:
    calls: dict[str, Any] = {
        "json": post("/json", {"query": "hello", "user": "abc-123"}),
        "get": Call("GET", "/info"),
        "upload": upload("/upload"),
        "stream": post("/stream", {}),
        "flat": post("/flat", {}),
    }
    uvicorn = ("--http", "httptools", "--loop", "uvloop", "--log-level", "error", "--no-access-log")
    asgi = (sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), *uvicorn, "--port", "{port}", "apps:bare_asgi")
    yield Server("bare ASGI (uvicorn)", asgi, **calls)
    yield Server("bare Werkzeug", (sys.executable, str(HERE / "apps.py"), "bare", "{port}"), **calls)


def _node(modules: Path) -> Iterator[Server]:
    chat = {"inputs": {}, "user": "abc-123", "query": "hello", "response_mode": "blocking"}
    key = {"Authorization": "Bearer app-chat"}
    calls: dict[str, Any] = {
        "json": post("/chat-messages", chat, **key),
        "get": Call("GET", "/info", key),
        "upload": upload("/files/upload", **key),
        "wrong": post("/chat-messages", {**chat, "query": 7}, **key),
    }
    prism = str(modules / ".bin" / "prism")
    if Path(prism).exists():
        command = (prism, "mock", "-p", "{port}", "-v", "error", "{folder}/openapi.json")
        yield Server("Prism", command, **calls, files={"openapi.json": json.dumps(_openapi())})
    mockoon = str(modules / ".bin" / "mockoon-cli")
    if Path(mockoon).exists():
        command = (mockoon, "start", "-d", "{folder}/mockoon.json", "-p", "{port}", "--disable-log-to-file")
        yield Server("Mockoon", command, **calls, files={"mockoon.json": json.dumps(_mockoon())})
    aimock = str(modules / ".bin" / "llmock")
    if Path(aimock).exists():
        yield _aimock(aimock)


def _aimock(command: str) -> Server:
    """AIMock speaks OpenAI's API: role, 17 pieces of text, end and [DONE] are the twenty events."""
    fixtures = [
        {"match": {"userMessage": "twenty"}, "response": {"content": " word" * 17}},
        {"match": {"userMessage": "thousand"}, "response": {"content": " word" * (FLAT_EVENTS - 3)}, "latency": 0},
        {"match": {"userMessage": "hello"}, "response": {"content": "Hello."}},
    ]

    def chat(text: str, **more: object) -> Call:
        content = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}
        return post("/v1/chat/completions", content, Authorization="Bearer mock")

    options = ("-f", "{folder}", "-l", "50", "-c", "5", "--log-level", "silent")
    return Server(
        "AIMock",
        (command, "-p", "{port}", *options),
        json=chat("hello"),
        get=Call("GET", "/v1/models", {"Authorization": "Bearer mock"}),
        upload=upload("/v1/files", Authorization="Bearer mock"),
        stream=chat("twenty", stream=True),
        flat=chat("thousand", stream=True),
        wrong=chat("hello", temperature="hot"),
        files={"chat.json": json.dumps({"fixtures": fixtures})},
    )


def _wiremock(jar: Path) -> Server:
    def mapping(method: str, path: str, **response: object) -> str:
        return json.dumps({"request": {"method": method, "urlPath": path}, "response": {"status": 200, **response}})

    stream = {"headers": {"Content-Type": "text/event-stream"}}
    block = f"data: {json.dumps(_EVENT)}\n\n"
    dribble = {"numberOfChunks": EVENTS, "totalDuration": int(EVENTS * APART_S * 1000)}
    files = {
        "json": mapping("POST", "/chat-messages", jsonBody=_ANSWER),
        "get": mapping("GET", "/info", jsonBody={"name": "a"}),
        "upload": mapping("POST", "/files/upload", jsonBody={"id": "a"}),
        "stream": mapping("POST", "/stream", **stream, body=block * EVENTS, chunkedDribbleDelay=dribble),
        "flat": mapping("POST", "/flat", **stream, body=block * FLAT_EVENTS),
    }
    threads = ("--container-threads", "2100")  # each stream holds one; by default there are 25
    options = ("--root-dir", "{folder}", "--disable-banner", "--no-request-journal", *threads)
    return Server(
        "WireMock",
        ("java", "-jar", str(jar), "--port", "{port}", *options),
        json=post("/chat-messages", {"query": "hello"}),
        get=Call("GET", "/info"),
        upload=upload("/files/upload"),
        stream=post("/stream", {}),
        flat=post("/flat", {}),
        wrong=post("/chat-messages", {"query": 7}),
        files={f"mappings/{name}.json": content for name, content in files.items()},
    )


def _openapi() -> dict[str, object]:
    """Return the part of the contract that is asked for, in a version that Prism reads."""

    def answer(status: str, example: object) -> dict[str, object]:
        return {status: {"description": "ok", "content": {"application/json": {"example": example}}}}

    texts = {name: {"type": "string"} for name in ("query", "user", "response_mode")}
    chat = {"type": "object", "required": ["query", "user"], "properties": {**texts, "inputs": {"type": "object"}}}
    file = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
    paths = {
        "/chat-messages": {
            "post": {
                "requestBody": {"required": True, "content": {"application/json": {"schema": chat}}},
                "responses": answer("200", _ANSWER),
            }
        },
        "/info": {"get": {"responses": answer("200", {"name": "a"})}},
        "/files/upload": {
            "post": {
                "requestBody": {"content": {"multipart/form-data": {"schema": file}}},
                "responses": answer("201", {"id": "a"}),
            }
        },
    }
    return {"openapi": "3.1.0", "info": {"title": "a", "version": "1"}, "paths": paths}


def _mockoon() -> dict[str, object]:
    def route(number: int, method: str, endpoint: str, body: object) -> dict[str, object]:
        answer: dict[str, object] = {
            "uuid": f"r{number}",
            "body": json.dumps(body),
            "statusCode": 200,
            "latency": 0,
            "default": True,
        }
        answer["headers"] = [{"key": "Content-Type", "value": "application/json"}]
        return {"uuid": f"{number}", "method": method, "endpoint": endpoint, "responses": [answer], "type": "http"}

    routes = [
        route(1, "post", "chat-messages", _ANSWER),
        route(2, "get", "info", {"name": "a"}),
        route(3, "post", "files/upload", {"id": "a"}),
    ]
    children = [{"type": "route", "uuid": one["uuid"]} for one in routes]
    return {"uuid": "e", "name": "a", "port": 3000, "routes": routes, "rootChildren": children, "lastMigration": 33}


class Running:
    """A server in processes of its own, ended whatever happens."""

    def __init__(self, server: Server, folder: Path, *, loaded: bool = True) -> None:
        """Start it and wait for its first answer; raise RuntimeError where it does not come.

        Unless `loaded`, it begins as a user's would, without what only the figures under load need.
        """
        self.server = server
        for name, content in {**server.files, **(server.extra if loaded else {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        self.port = _free_port()
        command = [part.replace("{port}", str(self.port)).replace("{folder}", str(folder)) for part in server.command]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["BENCH_FIXTURES"] = str(folder)  # for apps.py
        begun = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=environment
        )
        try:
            self._wait()
        except BaseException:
            self.end()
            raise
        self.start_s = time.perf_counter() - begun

    def _wait(self) -> None:
        until = time.monotonic() + 60
        raw = self.server.get.raw(self.port)
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    connection.sendall(raw)
                    if connection.recv(12)[9:10] == b"2":
                        return
            except OSError:
                time.sleep(0.005)
        raise RuntimeError(f"{self.server.name} does not answer")

    @property
    def process(self) -> int:
        """The number of its first process, which leads the group of all of them."""
        return self._process.pid

    def status(self, call: Call) -> int:
        """Return the status that a request gets."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(call.raw(self.port))
            return int(connection.recv(12)[9:12])

    def usage(self) -> tuple[float, float]:
        """Return the CPU seconds that its processes have used, and the MB that they occupy (Linux only, else 0)."""
        seconds = megabytes = 0.0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if int(fields[2]) == self._process.pid:  # its process group
                seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                megabytes += int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        return seconds, megabytes

    def end(self) -> None:
        """End all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
