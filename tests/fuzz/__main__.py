"""`python tests/fuzz`: attack the mock with tens of thousands of bad requests, and say what it made of them."""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import attack_crowd
import attack_leaks
import attack_room
import attack_schemathesis
import attack_stored
import attack_streams
from attack_kinds import KINDS, Material, mutations
from attack_requests import plain_requests
from attack_server import Victim
from attack_verdict import Judge, Report
from attack_wire import Attack, Outcome, send

from flowcontract.specs.model import load_apis

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_WORKERS = 6
_LARGE = 1 << 20
_LARGE_BOUND_S = 60.0  # for ten megabytes, also where other programs keep the machine busy
_SETTLE_S = 30.0
_HANDLES = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack; return 0 if nothing was found, 1 otherwise."""
    options = _parser().parse_args(arguments)
    apis = load_apis(())
    material = Material([plain for api in apis.values() for plain in plain_requests(api)], options.seed)
    judge, report = Judge(apis), Report()
    wanted = options.only or [*KINDS, *_OTHERS]
    with Victim(options.base_url, options.option) as victim:
        _attack_all(victim, judge, report, material, wanted)
        if "mutations" in wanted:
            missing = max(options.mutations, options.requests - sum(report.kinds.values()))
            _attack(victim, judge, report, itertools.islice(mutations(material), missing))
        if "stored" in wanted:
            attack_stored.attack(victim.address, judge, report, _flow(material))
        if "crowd" in wanted:
            attack_crowd.attack(victim.address, judge, report)
        if "schemathesis" in wanted:
            attack_schemathesis.attack(victim.address, apis, report, examples=options.examples, seed=options.seed)
        if "leaks" in wanted and options.base_url is None:
            attack_leaks.attack(victim, report)
        if "again" in wanted:
            _again(victim, judge, report, material)
        _look(victim, report)
        address = victim.address
    if "room" in wanted and options.base_url is None:
        attack_room.attack(report, seed=options.seed)
    if "streams" in wanted and options.base_url is None:
        attack_streams.attack(report)
    for line in report.lines(address):
        print(line)  # noqa: T201 - a command prints
    return 0 if report.clean else 1


def _attack_all(victim: Victim, judge: Judge, report: Report, material: Material, wanted: Sequence[str]) -> None:
    for name in (name for name in wanted if name in KINDS):
        _attack(victim, judge, report, KINDS[name](material))


_OTHERS = ("mutations", "stored", "crowd", "schemathesis", "leaks", "again", "room", "streams")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s fuzz --", description=__doc__)
    parser.add_argument("--base-url", help="attack the mock that runs there, instead of one of our own")
    parser.add_argument("--option", action="append", default=[], help="for `mockserver serve`; may be repeated")
    parser.add_argument("--requests", type=int, default=20_000, help="at least so many (default: 20000)")
    parser.add_argument("--mutations", type=int, default=5000, help="at least so many mutated ones (default: 5000)")
    parser.add_argument("--examples", type=int, default=50, help="of Schemathesis, per operation (default: 50)")
    parser.add_argument("--only", action="append", choices=[*KINDS, *_OTHERS], help="nothing but this; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _flow(material: Material) -> str:
    """Return the id of a flow that the documents print."""
    plain = next(one for one in material.plain if one.operation.id == "listFlowFiles")
    return plain.target.rpartition("/")[2]


def _again(victim: Victim, judge: Judge, report: Report, material: Material) -> None:
    """Send the same attacks several times: what they leave behind the first time is all that they may leave behind."""
    sizes = []
    for _ in range(_AGAIN):
        for name in ("json-texts", "framing", "preflights"):
            _attack(victim, judge, report, KINDS[name](material))
        sizes.append(victim.health().rss_kb or 0)
    report.notes.append(f"memory after the same {_AGAIN} times: {sizes} KB")
    if sizes[-1] > sizes[0] * 1.1:
        report.failures.append(f"memory grows when the same attacks come again: {sizes} KB")


_AGAIN = 4


def _attack(victim: Victim, judge: Judge, report: Report, attacks: Iterable[Attack]) -> None:
    """Send attacks, several at a time, until all were sent or the victim has gone."""
    begun, count, kind = time.monotonic(), 0, "nothing"
    with ThreadPoolExecutor(_WORKERS) as pool:
        for attack, outcome in _sent(pool, victim, attacks):
            report.add(attack, outcome, list(judge.faults(attack, outcome)))
            count += 1
            kind = attack.kind
    print(f"{kind}: {count} in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)  # noqa: T201 - a command prints
    if count and not victim.alive:
        report.failures.append(f"the mock has ended, {victim.end}, under {kind}")


def _sent(pool: ThreadPoolExecutor, victim: Victim, attacks: Iterable[Attack]) -> Iterator[tuple[Attack, Outcome]]:
    """Yield attacks with what came of them: some at a time, large ones one after the other and with more patience."""
    waiting = iter(attacks)
    while batch := list(itertools.islice(waiting, 50)):
        large = [attack for attack in batch if len(attack.sent) > _LARGE]
        small = [attack for attack in batch if len(attack.sent) <= _LARGE]
        if victim.alive:
            yield from zip(small, pool.map(lambda attack: send(victim.address, attack), small), strict=True)
            yield from ((attack, send(victim.address, attack, bound_s=_LARGE_BOUND_S)) for attack in large)


def _look(victim: Victim, report: Report) -> None:
    """Forget all worlds, and see whether memory, open files and temporary files were let go."""
    reset = b"POST /__mock__/reset HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    before = victim.health()
    send(victim.address, Attack("reset", "", reset))
    deadline = time.monotonic() + _SETTLE_S
    while (after := victim.health()).left_over and time.monotonic() < deadline:
        threading.Event().wait(0.2)
    for when, health in (("before", before), ("after", after)):
        told = f"memory {health.rss_kb} KB, open files {health.handles}, temporary files {health.left_over}"
        report.notes.append(f"{when} everything is forgotten: {told}")
    if after.left_over:
        report.failures.append(f"{after.left_over} temporary files are left when everything is forgotten")
    if (after.handles or 0) > _HANDLES:
        report.failures.append(f"{after.handles} files are open when nobody is connected")
    foreign = "mockserver: Somebody at "  # speaks another protocol, which the terminal is to be told
    complaints = "".join(line for line in victim.complaints().splitlines(keepends=True) if not line.startswith(foreign))
    if complaints.strip():
        report.failures.append(f"complaints on standard error:\n{complaints[:3000]}\n...\n{complaints[-3000:]}")


if __name__ == "__main__":
    sys.exit(main())
