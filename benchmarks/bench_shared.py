"""What keeping worlds costs: in memory, in a file, and in Redis with one worker and two, for one world and for eight.

Run `python benchmarks/bench_shared.py`. CPU is that of all processes of a server, Redis counted, per blocking chat
request over 32 connections: unlike the time it does not depend on who else uses the machine. Rounds are interleaved.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import shutil
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import load
from servers import OURS, Running, Server, ours, post

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 32
WORLDS = (1, 8)
Figures = dict[str, dict[str, list[float]]]  # how it is kept -> measure -> one figure per round


def kept() -> Iterator[Server]:
    """Yield the mock with each kind of state; its command line is that of a user."""
    plain = next(server for server in ours() if server.name == OURS)
    serve = plain.command
    yield replace(plain, name="memory")
    yield replace(plain, name="SQLite", command=(*serve, "--state", "{folder}/mock.db"))
    if shutil.which("redis-server") is None:
        return
    start = "redis-server --port 0 --unixsocket {folder}/redis.socket --save '' > /dev/null & "
    wait = "until [ -S {folder}/redis.socket ]; do sleep 0.05; done; "
    for count in (1, 2):
        state = ("--workers", str(count), "--state", "unix://{folder}/redis.socket?db=0")
        command = ("sh", "-c", f"{start}{wait}exec {shlex.join((*serve, *state))}")
        yield replace(plain, name=f"Redis x{count}", command=command)


def chat(world: int) -> load.Call:
    """Return a question to one of the worlds."""
    body = {"inputs": {}, "user": "abc-123", "query": "hello", "response_mode": "blocking"}
    return post("/v1/chat-messages", body, Authorization=f"Bearer app-chat-{world}")


async def ask(port: int, worlds: int, seconds: float) -> load.Rate:
    """Ask so many worlds at once, and return what came of all of them."""
    each = CONNECTIONS // worlds
    rates = await asyncio.gather(
        *(load.hammer(port, chat(world), connections=each, seconds=seconds) for world in range(worlds))
    )
    return load.Rate(
        sum(rate.answered for rate in rates),
        sum(rate.failed for rate in rates),
        sum(rate.received for rate in rates),
        max(rate.seconds for rate in rates),
    )


def run(work: Any) -> Any:
    """Run it on uvloop, so that asking costs little."""
    import uvloop

    return uvloop.run(work)


def measure(server: Server, seconds: float) -> dict[str, float]:
    """Return what one server costs with one world and with eight."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="b-") as folder:  # the path of a socket has to be short
        running = Running(server, Path(folder))
        try:
            for worlds in WORLDS:
                run(ask(running.port, worlds, seconds / 3))  # what is read or compiled at first is not measured
                before = running.usage()[0]
                rate = run(ask(running.port, worlds, seconds))
                spent = running.usage()[0] - before
                found[f"{worlds}: CPU us"] = spent / max(1, rate.answered) * 1e6
                found[f"{worlds}: /s"] = rate.per_second
                found[f"{worlds}: failed"] = rate.failed
        finally:
            running.end()
    return found


def rounds(count: int, seconds: float, only: list[str] | None = None) -> Figures:
    """Return the figures of every kind of state, measured in turns."""
    figures: Figures = {}
    for _ in range(count):
        for server in kept():
            if not only or server.name in only:
                for name, figure in measure(server, seconds).items():
                    figures.setdefault(server.name, {}).setdefault(name, []).append(figure)
    return figures


def table(figures: Figures) -> Iterator[str]:
    """Yield a table of medians; in brackets what each is of the first line's."""
    first = next(iter(figures.values()))
    names = [name for name in first if "failed" not in name]
    titles = [name.replace(":", " world" if name.startswith("1:") else " worlds", 1) for name in names]
    yield f"| | {' | '.join(titles)} |"
    yield "|---" * (len(names) + 1) + "|"
    for kind, found in figures.items():
        cells = []
        for name in names:
            median = statistics.median(found[name])
            cells.append(f"{median:,.0f} ({median / statistics.median(first[name]):.2f})")
        failed = sum(sum(found[name]) for name in found if "failed" in name)
        yield f"| {kind}{f' ({failed:.0f} failed)' if failed else ''} | {' | '.join(cells)} |"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", action="append")
    parser.add_argument("--json", type=Path, help="write every figure of every round to this file")
    options = parser.parse_args()
    figures = rounds(options.rounds, options.seconds, options.only)
    print("\n".join(table(figures)))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
