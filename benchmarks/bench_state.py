"""What it costs to keep worlds in a file, and to list one page of many conversations.

Run `python benchmarks/bench_state.py`; times are medians in microseconds, without sockets.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.datastructures import Headers

from mockserver.blobs.blob import Blob
from mockserver.config.settings import Settings
from mockserver.http.messages import Request
from mockserver.server.mock_server import load_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.core.app import App

_NOW = 1_732_147_200.0
_TIMES = 500
_MANY = 100_000
_KEY = {"Authorization": "Bearer app-chat"}


def _ask(app: App) -> None:
    body = {"query": "hello", "inputs": {}, "user": "u0"}
    headers = Headers({**_KEY, "Content-Type": "application/json"})
    app.handle(Request("POST", "/v1/chat-messages", "", headers, Blob(json.dumps(body).encode())), _NOW)


def _list(app: App) -> None:
    app.handle(Request("GET", "/v1/conversations", "user=u1&limit=20", Headers(_KEY)), _NOW)


def _median(do: Callable[[], None]) -> float:
    """Return the median time in microseconds."""
    times = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        do()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6


def _fill(app: App, number: int) -> None:
    world = app.mock.worlds.open("dify-chat", "")
    with world.transaction():
        pattern = next(world.store.list_rows("conversations"))
        for one in range(number):
            row = {**pattern, "id": f"c{one}", "user": f"u{one % 3}", "updated_at": one, "created_at": one}
            world.store.put("conversations", row["id"], row)


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        for name, state in (("in memory", None), ("with --state", Path(folder) / "mock.db")):
            for number in (100, _MANY):
                app = load_app(
                    ("dify-chat",), settings=Settings(pace=0, state=state and state.with_suffix(f".{number}"))
                )
                _fill(app, number)
                asked, listed = _median(lambda app=app: _ask(app)), _median(lambda app=app: _list(app))  # type: ignore[misc]
                print(f"{name:13} {number:7} conversations: a question {asked:6.0f} us, a page {listed:6.0f} us")
                app.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
