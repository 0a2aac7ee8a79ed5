"""`nox -s benign`: servers that go against no document; on each the suite must be green."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "mutants"))

from manner import APIS, FOLDER, REAL, Benign, Manner, Together, load
from proxy import Proxy
from running import Outcome, run_suite

from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer


def complaints(benign: Benign, api: str) -> list[str]:
    """Run the suite against one server; return what it found red, or why the server proves nothing."""
    together = benign.manners(api)
    with MockServer(settings=Settings(pace=benign.pace)) as mock, Proxy(mock.port, together) as proxy:
        chosen = f"({benign.tests}) and not fuzz" if benign.tests else "not fuzz"
        options = [f"--target={REAL / benign.target if benign.target else 'mock'}"]
        outcome = run_suite(proxy.port, list(filter(None, [api, benign.beside])), chosen, *options)
    if not benign.idle and not all(manner.applied for manner in together.manners[:1]):
        return ["never applied"]
    if benign.verdict in ("false", "unclear"):
        return told(outcome)
    wanted = "failures" if benign.verdict == "true" else "notes"
    found = {each["rule"] for each in outcome.found(wanted)} & set(benign.caught)
    return [] if found else [f"none of the {wanted} is by {' or '.join(benign.caught)}", *told(outcome)]


def complaints_of_all(api: str) -> list[str]:
    """Run the suite against one server of an API that has all manners at once; return what it found red."""
    together = Together([Manner(benign, api) for benign in load() if api in benign.apis and not benign.alone])
    with MockServer(settings=Settings(pace=0)) as mock, Proxy(mock.port, together) as proxy:
        outcome = run_suite(proxy.port, [api], "not fuzz", "--target=mock")
    idle = [f"never applied: {manner.benign.name}" for manner in together.manners if not manner.applied]
    return idle + told(outcome)


def told(outcome: Outcome) -> list[str]:
    """Return what was red in a run, or why it was none."""
    red = [f"{red['operation']} {red['rule']}: {red['expected']} / {red['got']}" for red in outcome.found("failures")]
    return red or ([] if outcome.status == 0 else [f"exit {outcome.status}: {outcome.report['status']}"])


def _complain(task: tuple[Benign, str]) -> list[str]:
    try:
        return complaints(*task)
    except RuntimeError as error:
        return [str(error)]


def _try_together(text: str) -> int:
    red = 0
    for api in APIS:
        for line in dict.fromkeys(complaints_of_all(api)) if text in api else ():
            red += not line.startswith("never applied")
            print(f"{api}: {line}", flush=True)  # noqa: T201 - a command's own output
    return int(red > 0)


def main() -> int:
    """Try all servers, or those whose name holds a text; print what was red on each."""
    parser = argparse.ArgumentParser(prog="benign", description=__doc__)
    parser.add_argument("text", nargs="?", default="", help="only servers whose name holds this")
    parser.add_argument("-n", type=int, default=os.cpu_count() or 1, help="how many at a time")
    parser.add_argument("--together", action="store_true", help="one server for each API that has all manners at once")
    parser.add_argument("--real", action="store_true", help="servers that answer as real releases of Dify did")
    options = parser.parse_args()
    if options.together:
        return _try_together(options.text)
    tasks = [
        (benign, api)
        for benign in load(REAL if options.real else FOLDER)
        for api in benign.apis
        if options.text in f"{api}: {benign.name}"
    ]
    started, green = time.monotonic(), 0
    with multiprocessing.get_context("fork").Pool(options.n, maxtasksperchild=8) as pool:
        for (benign, api), found in zip(tasks, pool.imap(_complain, tasks), strict=True):
            green += not found
            for line in dict.fromkeys(found):
                print(f"{api}: {benign.name}: {line}", flush=True)  # noqa: T201 - a command's own output
    print(f"{green} of {len(tasks)} servers as they should be, in {time.monotonic() - started:.0f} s")  # noqa: T201 - the same
    return int(green < len(tasks))


if __name__ == "__main__":
    sys.exit(main())
