"""The curves of a benchmark as SVG, for the documentation: streams at once, and memory over the requests answered."""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "flowcontract"  # the same figures give the same bytes
mpl.rcParams["svg.fonttype"] = "none"  # text stays text

from matplotlib import pyplot as plt  # noqa: E402 - what is above has to be said first

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_STREAMS = re.compile(r"(\d+) streams: (.+)")
_DRAWN = {
    "total, s (ideal 0.95)": ("streams-wall", "seconds until all streams have arrived (ideal: 0.95)"),
    "late p99, ms": ("streams-late", "milliseconds by which the latest 1 % of events come too late"),
    "CPU ms per stream": ("streams-cpu", "milliseconds of CPU per stream of 20 events"),
}


def draw(
    figures: Mapping[str, Mapping[str, list[float]]], memory: list[tuple[int, float]], folder: Path
) -> Iterator[Path]:
    """Draw what was measured into a folder, and yield the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for measure, (name, label) in _DRAWN.items():
        curves = _curves(figures, measure)
        if curves:
            yield _plot(folder / f"{name}.svg", curves, "streams at once", label)
    if memory:
        yield _plot(folder / "memory.svg", {"mockserver serve": memory}, "requests answered", "MB of memory")


def _curves(figures: Mapping[str, Mapping[str, list[float]]], measure: str) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for name, by_server in figures.items():
        match = _STREAMS.fullmatch(name)
        if match and match[2] == measure:
            for server, values in by_server.items():
                curves.setdefault(server, []).append((int(match[1]), statistics.median(values)))
    return {server: sorted(points) for server, points in curves.items() if len(points) > 1}


def _plot(path: Path, curves: Mapping[str, list[tuple[int, float]]], across: str, up: str) -> Path:
    figure, axes = plt.subplots(figsize=(7, 4))
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    axes.set(xlabel=across, ylabel=up)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path
