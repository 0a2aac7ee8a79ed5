"""`/__mock__/metrics`: counted as it happens, summed over workers, in the form that Prometheus reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mock_redis
import pytest
from mock_calls import Caller
from prometheus_client.parser import text_string_to_metric_families

from mockserver.core import mock as components
from mockserver.core.app import App

if TYPE_CHECKING:
    from collections.abc import Callable

CHAT = {"query": "hello", "inputs": {}, "user": "abc-123"}
SEND = "dify-chat/sendChatMessage"


def scrape(mock: Caller) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and the values of its labels."""
    answer = mock.ask("GET", "/__mock__/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name.removeprefix("flowcontract_mock_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def test_what_goes_on_is_counted(make_app: Callable[..., Caller]) -> None:
    """Requests, violations, streams, events, bytes, worlds, memory."""
    mock = make_app("dify-chat")
    mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=CHAT)
    mock.ask("POST", "/v1/chat-messages", key="app-chat-a", json_body={**CHAT, "response_mode": "x"})
    stream = mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body={**CHAT, "response_mode": "streaming"})
    running = mock.open("POST", "/v1/chat-messages", key="app-chat", json_body={**CHAT, "response_mode": "streaming"})
    found = scrape(mock)
    assert (found["requests_total", SEND, "200"], found["requests_total", SEND, "400"]) == (3, 1)
    assert found["violations_total", SEND] == 1
    assert found["streams_total", "complete", SEND] == 1
    assert found["events_total", SEND] == len(stream.events)
    assert found["received_bytes_total", SEND] > 4 * len('{"query": "hello"}')
    assert found["sent_bytes_total", SEND] > len(stream.body)
    assert (found["streams_open",], found["worlds",]) == (1, 2)
    assert found["memory_bytes",] > 1 << 20
    running.body.close()  # type: ignore[union-attr]
    assert scrape(mock)["streams_open",] == 0
    assert scrape(mock)["streams_total", "gone", SEND] == 1


def test_metrics_are_for_those_who_may_ask(make_app: Callable[..., Caller]) -> None:
    """As everything else under /__mock__."""
    assert Caller(make_app("dify-chat").app, "192.0.2.7").ask("GET", "/__mock__/metrics").status == 403


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, shared_app: App) -> None:
    """And nothing is counted."""
    monkeypatch.setattr(components, "find_spec", lambda _name: None)
    made = components.Mock(shared_app.mock.apis, shared_app.mock.scenario_files, shared_app.mock.settings)
    answer = Caller(App(made)).ask("GET", "/__mock__/metrics")
    assert (answer.status, made.journal.meter) == (501, None)
    assert answer.json["detail"] == "Metrics need a library. In the checkout: pip install '.[metrics]'."


@pytest.mark.skipif(not mock_redis.is_installed(), reason=mock_redis.MISSING)
def test_workers_count_together(make_app: Callable[..., Caller]) -> None:
    """Whichever worker is asked tells of all; the one that is gone keeps its counts, and not its gauges."""
    with mock_redis.RedisServer() as redis:
        one, other = (make_app("dify-chat", state=redis.url) for _ in range(2))
        try:
            for worker in (one, other, other):
                worker.ask("GET", "/v1/info", key="app-chat")
            streaming = {**CHAT, "response_mode": "streaming"}
            running = other.open("POST", "/v1/chat-messages", key="app-chat", json_body=streaming)
            other.app.mock.journal.meter.flush()  # type: ignore[union-attr]
            found = scrape(one)
            assert found["requests_total", "dify-chat/getInfo", "200"] == 3
            assert found["streams_open",] == 1
            running.body.close()  # type: ignore[union-attr]
            other.app.mock.journal.meter.flush()  # type: ignore[union-attr]
            assert scrape(one) | {("memory_bytes",): 0.0} == scrape(other) | {("memory_bytes",): 0.0}
        finally:
            other.app.close()
        assert scrape(one)["requests_total", "dify-chat/getInfo", "200"] == 3
        one.app.close()
