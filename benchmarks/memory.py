"""How much memory the mock takes while it answers 200,000 requests, each of another user."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from load import hammer, run
from servers import Running, ours

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUESTS = 200_000
_SLICE_S = 2.0
_MOST_SLICES = 300
Curve = list[tuple[int, float]]
"""Requests answered so far -> MiB of the whole service, the first before any."""


def measure() -> Curve:
    """Return how memory grows with the requests that were answered."""
    server = next(ours())
    assert server.varied is not None
    with tempfile.TemporaryDirectory() as folder:
        running = Running(server, Path(folder), loaded=True)
        try:
            curve, answered = [(0, running.usage()[1])], 0
            for _ in range(_MOST_SLICES):
                rate = run(hammer(running.port, server.varied, connections=32, seconds=_SLICE_S))
                answered += rate.answered
                curve.append((answered, running.usage()[1]))
                if answered >= REQUESTS:
                    break
        finally:
            running.end()
    return curve


def table(curve: Curve) -> Iterator[str]:
    """Yield a table of the curve at round numbers of requests."""
    yield "| requests | memory, MB |\n|---|---|"
    marks = [0, 10_000, 20_000, 50_000, 100_000, 150_000, REQUESTS]
    for mark in marks:
        at = next(((count, size) for count, size in curve if count >= mark), None)
        if at is not None:
            yield f"| {at[0]:,} | {at[1]:.0f} |"
