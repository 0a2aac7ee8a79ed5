"""What keeping worlds costs: in memory, in a file, and in Redis with one worker and two, for one world and for eight.

Run `python benchmarks/bench_shared.py`. CPU is that of all processes of a server, Redis counted, per blocking chat
request over 32 connections: unlike the time it does not depend on who else uses the machine. Rounds are interleaved.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import shutil
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import load
from servers import OURS, Running, Server, ours, post

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 32
WORLDS = (1, 8)
Figures = dict[str, dict[str, list[float]]]  # how it is kept -> measure -> one figure per round


def kept() -> Iterator[tuple[str, int, Server]]:
    """Yield each way to keep worlds: its name, how many such servers share the keys among them, and the server."""
    plain = next(server for server in ours() if server.name == OURS)
    serve = plain.command
    yield "memory", 1, plain
    yield "SQLite", 1, replace(plain, command=(*serve, "--state", "{folder}/mock.db"))
    if shutil.which("redis-server") is None:
        return
    start = "redis-server --port 0 --unixsocket {folder}/redis.socket --save '' > /dev/null & "
    wait = "until [ -S {folder}/redis.socket ]; do sleep 0.05; done; "
    for count in (1, 2):
        state = ("--workers", str(count), "--state", "unix://{folder}/redis.socket?db=0")
        command = ("sh", "-c", f"{start}{wait}exec {shlex.join((*serve, *state))}")
        shared = replace(plain, command=command)
        yield f"Redis, {count} worker{'s' if count > 1 else ''}", 1, shared
        if count == 1:
            yield "two Redis, 1 worker each, by key", 2, shared


def chat(world: int) -> load.Call:
    """Return a question to one of the worlds."""
    body = {"inputs": {}, "user": "abc-123", "query": "hello", "response_mode": "blocking"}
    return post("/v1/chat-messages", body, Authorization=f"Bearer app-chat-{world}")


async def ask(ports: list[int], worlds: int, seconds: float) -> load.Rate:
    """Ask so many worlds at once, each at one of the ports, and return what came of all of them."""
    each = CONNECTIONS // worlds
    rates = await asyncio.gather(
        *(
            load.hammer(ports[world % len(ports)], chat(world), connections=each, seconds=seconds)
            for world in range(worlds)
        )
    )
    return load.Rate(
        sum(rate.answered for rate in rates),
        sum(rate.failed for rate in rates),
        sum(rate.received for rate in rates),
        max(rate.seconds for rate in rates),
    )


def redis_seconds(running: Running) -> float:
    """Return the CPU seconds that the Redis of a server has used."""
    group = os.getpgid(running.process)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = stat.read_text().rpartition(") ")
            fields = rest.split()
            if name.endswith("(redis-server") and int(fields[2]) == group:
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def measure(server: Server, count: int, seconds: float) -> dict[str, float]:
    """Return what a kind of state costs with one world and with eight."""
    found = {}
    with contextlib.ExitStack() as stack:
        running = []
        for _ in range(count):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="b-"))  # a socket's path has to be short
            running.append(Running(server, Path(folder)))
            stack.callback(running[-1].end)
        ports = [each.port for each in running]
        for worlds in WORLDS:
            load.run(ask(ports, worlds, seconds / 3))  # what is read or compiled at first is not measured
            before = sum(each.usage()[0] for each in running), sum(map(redis_seconds, running))
            rate = load.run(ask(ports, worlds, seconds))
            after = sum(each.usage()[0] for each in running), sum(map(redis_seconds, running))
            answered = max(1, rate.answered)
            found[f"{worlds}: CPU us"] = (after[0] - before[0]) / answered * 1e6
            found[f"{worlds}: of it Redis"] = (after[1] - before[1]) / answered * 1e6
            found[f"{worlds}: /s"] = rate.per_second
            found[f"{worlds}: failed"] = rate.failed
    return found


def rounds(count: int, seconds: float, only: list[str] | None = None) -> Figures:
    """Return the figures of every kind of state, measured in turns."""
    figures: Figures = {}
    for _ in range(count):
        for name, servers, server in kept():
            if not only or name in only:
                for measured, figure in measure(server, servers, seconds).items():
                    figures.setdefault(name, {}).setdefault(measured, []).append(figure)
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
            least = statistics.median(first[name])
            cells.append(f"{median:,.0f} ({median / least:.2f})" if least else f"{median:,.0f}")
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
