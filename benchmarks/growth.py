"""How the cost of one request grows with what the mock keeps: scenarios, conversations of a world, the journal."""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mockserver.blobs.blob import Blob
from mockserver.config.settings import Settings
from mockserver.http.messages import PlainHeaders, Request
from mockserver.server.mock_server import load_app
from mockserver.state.quotas import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mockserver.core.app import App

_KEY = [("Authorization", "Bearer app-chat"), ("Content-Type", "application/json")]
_LIMITS = dataclasses.replace(Limits(), records=1_000_000, state=8 << 30)
_PER_ROUND = 100
Grown = dict[str, dict[int, float]]  # what grows -> its size -> microseconds of a request


def measure(*, quick: bool) -> Grown:
    """Return what one request costs at each size."""
    sizes = (100, 1000) if quick else (100, 1000, 10_000)
    more = () if quick else (100_000,)
    return {
        "scenarios": _interleaved({size: _with_scenarios(size) for size in sizes}),
        "conversations in a world": _interleaved({size: _with_conversations(size) for size in (*sizes, *more)}),
        "exchanges in the journal": _interleaved({size: _with_journal(size) for size in sizes}),
    }


def _interleaved(calls: dict[int, Callable[[], object]]) -> dict[int, float]:
    """Return the median cost of each, measured in turns so that the machine's moods hit all alike."""
    for call in calls.values():
        call()
    costs: dict[int, list[float]] = {size: [] for size in calls}
    for _ in range(15):
        for size, call in calls.items():
            begun = time.process_time()
            for _ in range(_PER_ROUND):
                call()
            costs[size].append((time.process_time() - begun) / _PER_ROUND * 1e6)
    return {size: statistics.median(figures) for size, figures in costs.items()}


def _ask(app: App, method: str, path: str, query: str = "", body: object = None) -> int:
    content = b"" if body is None else json.dumps(body).encode()
    return app.handle(Request(method, path, query, PlainHeaders(_KEY), Blob(content)), time.time()).status


def _chat(app: App, query: str) -> int:
    return _ask(app, "POST", "/v1/chat-messages", body={"query": query, "inputs": {}, "user": "abc-123"})


def _with_scenarios(size: int) -> Callable[[], object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "dify-chat" / "sendChatMessage"
        folder.mkdir(parents=True)
        for number in range(size):
            request, reply = {"body": {"query": f"question {number}"}}, {"body": {"answer": f"answer {number}"}}
            scenario = {"description": "one of many", "request": request, "reply": reply}
            (folder / f"200-number-{number}.yaml").write_text(json.dumps(scenario))
        app = load_app(["dify-chat"], fixtures=Path(name), settings=Settings(journal=100))
    kept = app.mock.scenario_files.load_current()
    app.mock.scenario_files.load_current = lambda **_: kept  # type: ignore[method-assign] - the files are gone
    return lambda: _chat(app, f"question {size // 2}")


def _with_conversations(size: int) -> Callable[[], object]:
    app = load_app(["dify-chat"], settings=Settings(limits=_LIMITS, journal=100))
    store = app.mock.worlds.open("dify-chat", "").store
    for number in range(size):
        record = {"id": f"c{number}", "name": f"number {number}", "inputs": {}, "status": "normal", "user": "abc-123"}
        store.put("conversations", record["id"], {**record, "created_at": number, "updated_at": number})
    return lambda: _ask(app, "GET", "/v1/conversations", "user=abc-123&limit=20")


def _with_journal(size: int) -> Callable[[], object]:
    app = load_app(["dify-chat"], settings=Settings(journal=size))
    for _ in range(size):
        _ask(app, "GET", "/v1/info")
    return lambda: _ask(app, "GET", "/v1/info")


def table(grown: Grown) -> Iterator[str]:
    """Yield a table: microseconds per request, and what that is of the smallest size's."""
    sizes = sorted({size for costs in grown.values() for size in costs})
    if not sizes:
        return
    yield f"| microseconds per request with so many | {' | '.join(f'{size:,}' for size in sizes)} |"
    yield "|---" * (len(sizes) + 1) + "|"
    for what, costs in grown.items():
        least = costs[min(costs)]
        cells = [f"{costs[size]:.0f} ({costs[size] / least:.2f}x)" if size in costs else "" for size in sizes]
        yield f"| {what} | {' | '.join(cells)} |"
