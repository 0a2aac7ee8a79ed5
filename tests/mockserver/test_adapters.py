"""Every adapter sends the same: status, headers and bytes, whatever the application answers."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flowcontract.specs.examples import list_example_requests
from mockserver.config.settings import Settings
from mockserver.server.asgi import AsgiAdapter
from mockserver.server.http1 import Connection, Shared
from mockserver.server.mock_server import load_app
from mockserver.server.wsgi import WsgiAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mockserver.core.app import App

NOW = 1_732_147_200.0
APIS = ("agentbuilder", "cybertron", "dify-chat", "dify-workflow")
OF_THE_CONNECTION = {"date", "connection", "transfer-encoding"}
BOUNDARY = "----a-boundary"


class Sent(NamedTuple):
    """What a client sends."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Got(NamedTuple):
    """What a client gets, without what belongs to the connection."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Ask = "Callable[[Sent], Got]"


def got(status: int, headers: Any, body: bytes) -> Got:
    told = sorted((name.lower(), value) for name, value in headers if name.lower() not in OF_THE_CONNECTION)
    return Got(status, told, body)


@contextlib.contextmanager
def over_wsgi(app: App) -> Iterator[Ask]:
    def ask(sent: Sent) -> Got:
        path, _, query = sent.target.partition("?")
        environ = EnvironBuilder(
            path=unquote(path), query_string=query, method=sent.method, headers=sent.headers, data=sent.body
        ).get_environ()
        body, status, headers = run_wsgi_app(WsgiAdapter(app, clock=lambda: NOW), environ)
        return got(int(status[:3]), headers, b"".join(body))

    yield ask


@contextlib.contextmanager
def over_asgi(app: App) -> Iterator[Ask]:
    adapter = AsgiAdapter(app, clock=lambda: NOW)

    async def exchange(sent: Sent) -> Got:
        path, _, query = sent.target.partition("?")
        halves = [sent.body[: len(sent.body) // 2], sent.body[len(sent.body) // 2 :]]
        messages = [{"type": "http.request", "body": half, "more_body": not last} for last, half in enumerate(halves)]
        answered: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            answered.append(message)

        scope = {
            "type": "http",
            "method": sent.method,
            "path": unquote(path),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.headers.items()],
        }
        await adapter(scope, receive, send)
        assert not answered[-1].get("more_body")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answered[0]["headers"]]
        return got(answered[0]["status"], headers, b"".join(message.get("body", b"") for message in answered[1:]))

    with asyncio.Runner() as runner:
        yield lambda sent: runner.run(exchange(sent))


@contextlib.contextmanager
def over_sockets(app: App) -> Iterator[Ask]:
    loop = asyncio.new_event_loop()
    shared = Shared(app, clock=lambda: NOW)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(
        loop.create_server(lambda: Connection(shared), "127.0.0.1", 0), loop
    ).result()
    client = http.client.HTTPConnection("127.0.0.1", listening.sockets[0].getsockname()[1], timeout=20)

    def ask(sent: Sent) -> Got:
        client.request(sent.method, sent.target, sent.body or None, sent.headers)
        answer = client.getresponse()
        return got(answer.status, answer.getheaders(), answer.read())

    async def end() -> None:
        listening.close()
        shared.close()
        await asyncio.sleep(0)

    try:
        yield ask
    finally:
        client.close()
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def requests_to(app: App, api_name: str) -> Iterator[tuple[str, Sent]]:
    """Yield every documented request, every scenario of every operation, and what goes wrong before one is chosen."""
    api = app.mock.apis[api_name]
    keys = {scheme.parameter: scheme.prefix + scheme.mock_key for scheme in api.schemes.values()}
    for example in list_example_requests(api):
        headers, body = {**keys, **example.headers}, b""
        if example.body is not None:
            kind, body = encoded(example.media_type, example.body, example.files)
            headers["Content-Type"] = kind
        name, path = f"{example.operation.id} {example.name}", api.base_path + example.path
        for more in ({}, {"Accept-Language": "é"}):
            yield name, Sent(example.operation.method, path, {**headers, **more}, body)
        yield f"{name} without a key", Sent(example.operation.method, path, dict(example.headers), body)
        yield f"{name} damaged", Sent(example.operation.method, path, headers, body[:-9] + b"\xff{")
        for scenario in app.mock.scenarios.read_scenarios(example.operation).values():
            preference = f"code={scenario.status}, example={scenario.name}"
            sent = Sent(example.operation.method, path, {**headers, "Prefer": preference}, body)
            yield f"{name} {scenario.key}", sent
    for method, path in (("GET", "/no%20where/%C3%A9?a=%ff"), ("PATCH", "/info"), ("HEAD", "/info"), ("OPTIONS", "/")):
        yield f"{method} {path}", Sent(method, api.base_path + path, keys, b"")


def encoded(media_type: str, value: Any, files: tuple[str, ...]) -> tuple[str, bytes]:
    """Return Content-Type and bytes of a body."""
    if "multipart" not in media_type:
        return media_type, json.dumps(value).encode()
    form = io.BytesIO()
    for name, text in value.items():
        file = f'; filename="{name}.wav"\r\nContent-Type: audio/wav' if name in files else ""
        content = b"RIFF" * 400_000 if name in files else str(text).encode()  # a file that does not stay in memory
        form.write(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode())
        form.write(content + b"\r\n")
    return f"multipart/form-data; boundary={BOUNDARY}", form.getvalue() + f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("over", [over_asgi, over_sockets])
def test_adapters_send_the_same(api: str, over: Callable[[App], Any]) -> None:
    """The others send what the WSGI adapter sends: documented requests, all scenarios, refusals, streams, uploads."""
    apps = [load_app([api], settings=Settings(pace=0)) for _ in range(2)]
    with over_wsgi(apps[0]) as ask, over(apps[1]) as ask_other:
        cases = list(requests_to(apps[0], api))
        differing = [name for name, sent in cases if ask(sent) != ask_other(sent)]
    assert len(cases) > len(apps[0].mock.apis[api].operations)
    assert differing == []
