"""How fast the mock is beside what people would pick instead: one run, interleaved rounds, medians and ratios.

Run `nox -s bench` (`nox -s bench -- --quick` for a minute's worth). Everything stays on loopback and ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import bench_shared
import growth
import load
import memory
import proxied
import suite
from servers import APART_S, EVENTS, FLAT_EVENTS, OURS, Running, Server, servers

if TYPE_CHECKING:
    from collections.abc import Iterator

IDEAL_S = (EVENTS - 1) * APART_S
Figures = dict[str, dict[str, list[float]]]  # measure -> server -> one figure per round


class Bench:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.seconds = 0.7 if options.quick else 3.0
        self.streams = (1, 100, 200) if options.quick else (1, 100, 200, 500, 1000, 2000)
        self.figures: Figures = defaultdict(lambda: defaultdict(list))
        self.validates: dict[str, str] = {}

    def note(self, measure: str, server: str, figure: float) -> None:
        """Keep a figure."""
        self.figures[measure][server].append(figure)

    def measure_start(self, server: Server) -> None:
        """Measure how one server begins."""
        with _started(server, loaded=False) as running:
            self.note("cold start, s", server.name, running.start_s)
            self.note("idle memory, MB", server.name, running.usage()[1])

    def measure(self, running: Running) -> None:
        """Measure one server under load once."""
        server, port = running.server, running.port
        name = server.name
        if server.wrong is not None:
            self.validates[name] = "yes" if running.status(server.wrong) // 100 == 4 else "no"
        for call in (server.json, server.get, server.upload):  # what is read or compiled at first is not measured
            load.run(load.hammer(port, call, connections=4, seconds=self.seconds / 3))
        for measure, call in (
            ("JSON POST/s", server.json),
            ("JSON POST, each of another user/s", server.varied),
            ("GET/s", server.get),
            ("upload of 100 KB/s", server.upload),
        ):
            if call is None:
                continue
            before = running.usage()[0]
            rate = load.run(load.hammer(port, call, connections=32, seconds=self.seconds))
            self.note(measure, name, rate.per_second if rate.failed <= rate.answered / 100 else float("nan"))
            self.note(
                f"CPU us per {measure.removesuffix('/s')}",
                name,
                (running.usage()[0] - before) / max(1, rate.answered) * 1e6,
            )
        if server.flat is not None:
            before = running.usage()[0]
            rate = load.run(load.hammer(port, server.flat, connections=8, seconds=self.seconds))
            spent = (running.usage()[0] - before) / max(1, rate.answered * FLAT_EVENTS) * 1e6
            self.note("CPU us per event", name, spent)
            self.note("flat out, events/s", name, rate.per_second * FLAT_EVENTS)
            self.note("flat out, MB/s", name, rate.received / rate.seconds / 1e6)
        if server.stream is not None:
            for count in self.streams:
                self._stream(running, count)
        self.note("memory afterwards, MB", name, running.usage()[1])

    def _stream(self, running: Running, count: int) -> None:
        server, name = running.server, running.server.name
        assert server.stream is not None
        before = running.usage()[0]
        result = load.run(load.stream(running.port, server.stream, count=count, events=server.events, apart_s=APART_S))
        self.note(f"{count} streams: completed", name, result.completed)
        self.note(f"{count} streams: total, s (ideal {IDEAL_S:.2f})", name, result.seconds)
        self.note(f"{count} streams: late p50, ms", name, result.late(50))
        self.note(f"{count} streams: late p99, ms", name, result.late(99))
        spent = running.usage()[0] - before
        self.note(f"{count} streams: CPU, s", name, spent)
        self.note(f"{count} streams: CPU ms per stream", name, spent / count * 1000)

    def rounds(self) -> None:
        """Measure every server in turn, several times."""
        known = [one for one in servers(self.options.peers) if not self.options.only or one.name in self.options.only]
        for number in range(1 if self.options.quick else self.options.rounds):
            for server in known:
                print(f"round {number + 1}: {server.name}", file=sys.stderr, flush=True)
                try:
                    self.measure_start(server)
                except (RuntimeError, OSError) as error:
                    print(f"  skipped: {error}", file=sys.stderr)
                    continue
                with _started(server) as running:
                    self.measure(running)

    def table(self) -> Iterator[str]:
        """Yield a table of medians, for each server one line, and what our own is of each."""
        names = list(dict.fromkeys(name for by_server in self.figures.values() for name in by_server))
        for group in _groups(self.figures):
            yield ""
            yield f"| | {' | '.join(group)} |"
            yield "|---" * (len(group) + 1) + "|"
            for name in names:
                cells = [self._cell(measure, name) for measure in group]
                if any(cells):
                    note = {"yes": " (validates)", "no": " (does not validate)"}.get(self.validates.get(name, ""), "")
                    yield f"| {name}{note} | {' | '.join(cells)} |"

    def _cell(self, measure: str, name: str) -> str:
        median, ours = self._median(measure, name), self._median(measure, OURS)
        if median is None:
            return ""
        ratio = f" ({ours / median:.2f}x)" if ours and median and name != OURS else ""
        return f"{median:,.0f}{ratio}" if abs(median) >= 100 else f"{median:.2f}{ratio}"

    def _median(self, measure: str, name: str) -> float | None:
        figures = self.figures[measure].get(name)
        return statistics.median(figures) if figures else None


@contextlib.contextmanager
def _started(server: Server, *, loaded: bool = True) -> Iterator[Running]:
    """Start a server for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        running = Running(server, Path(folder), loaded=loaded)
        try:
            yield running
        finally:
            running.end()


def _groups(figures: Figures) -> Iterator[list[str]]:
    """Yield the measures that stand in one table together."""
    yield [one for one in figures if "streams:" not in one and not one.startswith("CPU")]
    yield [one for one in figures if one.startswith("CPU")]
    for count in sorted({int(one.partition(" ")[0]) for one in figures if "streams:" in one}):
        yield [one for one in figures if one.startswith(f"{count} streams:")]


def machine() -> dict[str, object]:
    """Return where and when this was measured."""
    cpu = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "").partition(": ")[2]
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return {"date": moment, "cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version()}


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main() -> int:
    """Measure, print tables, and write everything as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, fewer streams, short")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--peers", type=Path, help="a folder whose node_modules has the other servers")
    parser.add_argument("--only", action="append", help="measure only this server; may be repeated")
    parser.add_argument("--json", type=Path, help="write every figure of every round to this file")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory over 200,000 requests")
    parser.add_argument("--curves", type=Path, help="draw the curves as SVG into this folder (needs matplotlib)")
    parser.add_argument("--no-growth", action="store_true", help="do not measure how cost grows with what is kept")
    parser.add_argument("--no-suite", action="store_true", help="do not measure a run of the contract suite")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bench = Bench(options)
    bench.rounds()
    grown = {} if options.no_growth else growth.measure(quick=options.quick)
    kept = None if options.no_memory or options.quick else memory.measure()
    passed = None if options.quick else proxied.measure()
    suite_run = None if options.no_suite or options.quick else suite.measure()
    shared = bench_shared.rounds(1 if options.quick else options.rounds, 1.0 if options.quick else 3.0)
    where = machine()
    print(f"Measured {where['date']} on {where['cores']} cores, {where['cpu']}, Python {where['python']}.")
    print(f"Medians; in brackets the figure of `{OURS}` divided by this one.")
    print("\n".join([*bench.table(), "", *growth.table(grown)]))
    if kept is not None:
        print("\n".join(["", *memory.table(kept)]))
    if passed is not None:
        print("\n".join(["", *proxied.table(passed)]))
    print("\nWhat keeping worlds costs, per blocking chat request; in brackets what that is of the first line's.")
    print("\n".join(bench_shared.table(shared)))
    if suite_run is not None:
        print(f"\n{suite.line(suite_run)}")
    if options.json:
        content = {"machine": where, "figures": bench.figures, "validates": bench.validates, "growth": grown}
        content["memory"] = kept
        content["proxied"] = passed and passed._asdict()
        content["shared"] = shared
        content["suite"] = suite_run and suite_run._asdict()
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=1))
    if options.curves:
        import curves

        for path in curves.draw(bench.figures, kept or [], options.curves):
            print(f"drew {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
