"""The whole way through real sockets: record what passes the proxy, import, check, serve, and ask the same again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from conftest import apis
from mock_calls import build_content
from replaying import NOW, Answer, exchanges_of, find_difference, make_request
from werkzeug.datastructures import Headers

from flowcontract.specs.examples import list_example_requests
from mockserver.cli.main import main
from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from mockserver.importing.exchanges import Exchange

NAMES = ("agentbuilder", "cybertron", "dify-chat", "dify-workflow")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Ask the mock what the documents ask, with a key and without one, through a proxy that records."""
    with MockServer(settings=Settings(pace=0)) as real, MockServer(settings=Settings(pace=0)) as proxy:
        for name in NAMES:
            proxy.proxy(name, to=real.url(name))
        proxy.record(tmp_path / "recording")
        for name in NAMES:
            with httpx.Client(timeout=30) as client:
                ask_everything(client, proxy, name)
        passed = proxy.requests()
        assert len(passed) == len(real.requests()) > 60  # nothing was answered on the way
        assert [entry.answer_violations for entry in passed if entry.answer_violations] == []
        proxy.end_proxy()
    return tmp_path / "recording"


def ask_everything(client: httpx.Client, proxy: MockServer, name: str) -> None:
    """Ask each operation of an API: as documented, twice, and once without its key."""
    api = apis(NAMES, ())[name]
    for example in list_example_requests(api):
        url, content = f"{proxy.url(name)}{example.path}", build_content(example)
        for keys in (proxy.headers(name), proxy.headers(name), {}):
            client.request(example.operation.method, url, headers={**example.headers, **keys}, **content)


def ask_again(client: httpx.Client, server: MockServer, exchange: Exchange) -> Answer:
    """Send a recorded request to a served folder."""
    asked = make_request(server, exchange)  # type: ignore[arg-type] - it has a `mock` as the application has
    target = f"{server.origin}{httpx.URL(path=asked.path).raw_path.decode()}{f'?{asked.query}' if asked.query else ''}"
    content: Any = asked.body.read()
    answer = client.request(asked.method, target, headers=list(asked.headers), content=content)
    return Answer(answer.status_code, Headers(answer.headers.multi_items()), answer.content)


@pytest.mark.parametrize("file", ["recording.jsonl", "recording.har"])
def test_what_passed_the_proxy_is_answered_the_same_by_what_was_imported(
    recording: Path, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every status, content type and body, ids and moments aside; `mockserver check` finds nothing wrong."""
    out, taken = tmp_path / "imported", recording / file
    assert main(["import", str(taken), "--out", str(out)]) == 0, capsys.readouterr()
    assert main(["check", "--fixtures", str(out)]) == 0, capsys.readouterr()
    exchanges = exchanges_of([taken], apis(NAMES, ()))
    assert len(exchanges) > 60
    with MockServer(fixtures=out, settings=Settings(pace=0, clock=NOW)) as served, httpx.Client(timeout=30) as client:
        pairs = [(exchange, find_difference(exchange, ask_again(client, served, exchange))) for exchange in exchanges]
        from_recording = [entry.scenario for entry in served.requests()]
    assert [f"{exchange.entry.place}, {exchange.operation.name}: {found}" for exchange, found in pairs if found] == []
    assert None not in from_recording
