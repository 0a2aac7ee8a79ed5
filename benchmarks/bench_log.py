"""What the request log costs: CPU per request of `mockserver serve` with lines to a file or a pipe, beside --quiet.

Run `python benchmarks/bench_log.py [ROUNDS]`. All servers run at once and are asked in turn, for a moment each, so that
a machine whose speed drifts does so for all; the ratio is taken in each round, and the median of the rounds is printed.
"""

from __future__ import annotations

import contextlib
import shlex
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import load
from servers import Running, Server, ours

if TYPE_CHECKING:
    from load import Call

SECONDS = 0.5
QUIET = "--quiet"
OUTPUTS = {
    QUIET: "exec {} --quiet",
    "text to a file": "exec {} >{{folder}}/log",
    "text to a pipe": "{} | setsid cat >/dev/null",  # in a group of its own: what reading costs is not counted
    "JSON to a file": "exec {} --log-format json >{{folder}}/log",
    "JSON to a pipe": "{} --log-format json | setsid cat >/dev/null",
}
"""How each server is started, by what is measured."""


def variants(server: Server) -> list[Server]:
    """Return the mock with every kind of output."""
    command = shlex.join(server.command).replace("'", "")  # {port} and {folder} are filled in later
    return [replace(server, name=name, command=("sh", "-c", how.format(command))) for name, how in OUTPUTS.items()]


def measure(running: Running, call: Call) -> float:
    """Return the microseconds of CPU that a request costs."""
    before = running.usage()[0]
    rate = load.run(load.hammer(running.port, call, connections=16, seconds=SECONDS))
    return (running.usage()[0] - before) / max(1, rate.answered) * 1e6


def main() -> int:
    """Measure, and print a row for each output and request."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        servers = [Running(server, _folder(stack)) for server in variants(next(ours()))]
        for server in servers:
            stack.callback(server.end)
        for number in range(rounds + 1):
            order = servers if number % 2 else servers[::-1]
            for kind in ("JSON POST", "GET"):
                for server in order:
                    cost = measure(server, server.server.json if kind == "JSON POST" else server.server.get)
                    if number:  # the first round warms up
                        figures[kind, server.server.name].append(cost)
    print("| request | output | CPU us per request | of --quiet |\n|---|---|---|---|")
    for (kind, name), costs in figures.items():
        ratios = [cost / quiet for cost, quiet in zip(costs, figures[kind, QUIET], strict=True)]
        print(f"| {kind} | {name} | {statistics.median(costs):.0f} | {statistics.median(ratios):.3f} |")
    return 0


def _folder(stack: contextlib.ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


if __name__ == "__main__":
    sys.exit(main())
