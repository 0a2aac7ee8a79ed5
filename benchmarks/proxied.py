"""What `mockserver proxy` adds to a request and to an event: the same asked of the mock, directly and through it.

`python benchmarks/proxied.py` measures in a minute; `nox -s bench` does, too.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import load
from servers import APART_S, EVENTS, OURS, Running, Server, ours

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS = 100


class Proxied(NamedTuple):
    """Medians: without and with the proxy, and the proxy's own CPU.

    ``request_ms``  of a JSON POST over one connection
    ``late_ms``     by which an event of 100 paced streams comes late, the median and the 99th of 100
    """

    request_ms: tuple[float, float]
    cpu_us_per_request: float
    late_ms: tuple[tuple[float, float], tuple[float, float]]
    cpu_us_per_event: float
    recorded_cpu_us_per_event: float


def plain_proxy(port: int) -> Server:
    """Return a proxy before the server on a port, as it is started without further options."""
    mock = next(server for server in ours() if server.name == OURS)
    to = ("--to", f"dify-chat=http://127.0.0.1:{port}/v1")
    command = (sys.executable, "-m", "mockserver", "proxy", "--port", "{port}", *to)
    return replace(mock, name="proxy", command=command, files={}, extra={})


def measure(*, rounds: int = 3, seconds: float = 2.0) -> Proxied:
    """Measure in interleaved rounds."""
    mock = next(server for server in ours() if server.name == OURS)
    found: dict[str, list[float]] = {}

    def note(name: str, figure: float) -> None:
        found.setdefault(name, []).append(figure)

    with _started(mock) as direct:
        plain = plain_proxy(direct.port)
        recording = replace(plain, command=(*plain.command, "--record", "{folder}/recording"))
        with _started(plain) as proxy, _started(recording) as recorder:
            for _ in range(rounds):
                for name, running in (("direct", direct), ("proxy", proxy), ("recorded", recorder)):
                    _measure_one(name, running, note, seconds)
    middle = {name: statistics.median(figures) for name, figures in found.items()}
    late = [(middle[f"{name} p50"], middle[f"{name} p99"]) for name in ("direct", "proxy")]
    return Proxied(
        (middle["direct ms"], middle["proxy ms"]),
        middle["proxy us"],
        (late[0], late[1]),
        middle["proxy event us"],
        middle["recorded event us"],
    )


def _measure_one(name: str, running: Running, note: Any, seconds: float) -> None:
    server = running.server
    assert server.stream is not None
    before = running.usage()[0]
    rate = load.run(load.hammer(running.port, server.json, connections=1, seconds=seconds))
    note(f"{name} ms", 1000 * rate.seconds / max(1, rate.answered))
    note(f"{name} us", (running.usage()[0] - before) / max(1, rate.answered) * 1e6)
    before = running.usage()[0]
    result = load.run(load.stream(running.port, server.stream, count=STREAMS, events=EVENTS, apart_s=APART_S))
    assert result.completed == STREAMS, f"{name}: {result.completed} of {STREAMS} streams came to their end"
    note(f"{name} p50", result.late(50))
    note(f"{name} p99", result.late(99))
    note(f"{name} event us", (running.usage()[0] - before) / (STREAMS * EVENTS) * 1e6)


@contextlib.contextmanager
def _started(server: Server) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        running = Running(server, Path(folder))
        try:
            yield running
        finally:
            running.end()


def table(found: Proxied) -> Iterator[str]:
    """Yield what the proxy adds, as a table."""
    (direct, through), (late, late_through) = found.request_ms, found.late_ms
    yield f"| the same, without and with `mockserver proxy`, {STREAMS} streams | without | with | the proxy's CPU |"
    yield "|---|---|---|---|"
    yield f"| JSON POST, ms | {direct:.2f} | {through:.2f} | {found.cpu_us_per_request / 1000:.2f} |"
    cpu_ms = found.cpu_us_per_event / 1000
    yield f"| event late by, ms (median) | {late[0]:.1f} | {late_through[0]:.1f} | {cpu_ms:.3f} |"
    yield f"| event late by, ms (99 of 100) | {late[1]:.1f} | {late_through[1]:.1f} | |"
    yield f"| the same, recorded | | | {found.recorded_cpu_us_per_event / 1000:.3f} |"


if __name__ == "__main__":
    print("\n".join(table(measure())))
