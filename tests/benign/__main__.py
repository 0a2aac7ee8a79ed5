"""`nox -s benign`: servers that go against no document; on each the suite must be green."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "mutants"))

from manner import Benign, Manner, load
from proxy import Proxy
from running import run_suite

from mockserver.server import MockServer
from mockserver.settings import Settings


def complaints(benign: Benign, api: str) -> list[str]:
    """Run the suite against one server; return what it found red, or why the server proves nothing."""
    manner = Manner(benign, api)
    with MockServer(settings=Settings(pace=benign.pace)) as mock, Proxy(mock.port, manner) as proxy:
        chosen = f"({benign.tests}) and not fuzz" if benign.tests else "not fuzz"
        outcome = run_suite(proxy.port, api, chosen)
    if not manner.applied:
        return ["never applied"]
    told = [f"{red['operation']} {red['rule']}: {red['expected']} / {red['got']}" for red in outcome.found("failures")]
    return told or ([] if outcome.status == 0 else [f"exit {outcome.status}: {outcome.report['status']}"])


def _complain(task: tuple[Benign, str]) -> list[str]:
    return complaints(*task)


def main() -> int:
    """Try all servers, or those whose name holds a text; print what was red on each."""
    parser = argparse.ArgumentParser(prog="benign", description=__doc__)
    parser.add_argument("text", nargs="?", default="", help="only servers whose name holds this")
    parser.add_argument("-n", type=int, default=os.cpu_count() or 1, help="how many at a time")
    options = parser.parse_args()
    tasks = [(benign, api) for benign in load() for api in benign.apis if options.text in f"{api}: {benign.name}"]
    started, green = time.monotonic(), 0
    with multiprocessing.get_context("fork").Pool(options.n, maxtasksperchild=8) as pool:
        for (benign, api), found in zip(tasks, pool.imap(_complain, tasks), strict=True):
            green += not found
            for line in dict.fromkeys(found):
                print(f"{api}: {benign.name}: {line}", flush=True)  # noqa: T201 - a command's own output
    print(f"{green} of {len(tasks)} benign servers green in {time.monotonic() - started:.0f} s")  # noqa: T201 - the same
    return int(green < len(tasks))


if __name__ == "__main__":
    sys.exit(main())
