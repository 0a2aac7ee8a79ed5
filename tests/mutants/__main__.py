"""`nox -s mutants`: one wrong server after another; the suite must notice each, for the right reason, in its tier."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from mutant import Mutant, Mutation, load, name_tiers
from proxy import Proxy
from running import Outcome, run_suite

from flowcontract.provenance.evidence import Tier, fails
from flowcontract.specs.model import load_apis
from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator

APIS = load_apis()
FIRMEST = (Tier.SERVER_ERROR, Tier.DOCUMENT, Tier.RULING, Tier.OBSERVED, Tier.STANDARD)


class Fate(NamedTuple):
    """What became of a mutant; the firmest tier in which its own rule noticed it; all rules that did, and the time."""

    outcome: str
    tier: str
    rules: tuple[str, ...]
    seconds: float


def fate(mutant: Mutant) -> Fate:
    """Run the suite against a server with one mutant: first what asks its operation, then whole journeys."""
    started, found, applied = time.monotonic(), Fate("never applied", "", (), 0), 0
    for chosen in _chosen(mutant):
        mutation = _mutation(mutant)
        with MockServer(settings=Settings(pace=mutant.pace)) as mock, Proxy(mock.port, mutation) as proxy:
            outcome = run_suite(proxy.port, [mutant.api], chosen)
        applied += mutation.applied
        found = _judged(mutant, outcome)
        if found.outcome == "caught":
            break
    return found._replace(outcome=found.outcome if applied else "never applied", seconds=time.monotonic() - started)


def _chosen(mutant: Mutant) -> Iterator[str]:
    """Yield which of the suite's tests to ask, the quickest first."""
    if mutant.sort == "stop":
        yield "stopped"
    elif mutant.sort == "timing":
        yield f"/{mutant.op}/documented"
    else:
        yield f"/{mutant.op}/"
        yield f"/{mutant.op}/ or journeys"


def _mutation(mutant: Mutant) -> Mutation:
    api = APIS[mutant.api]
    operation = api.operations[mutant.op]
    # The proxy turns every key into the mock's own, so that `key: any` lets everybody in.
    keys = {
        api.schemes[name].parameter: api.schemes[name].prefix + api.schemes[name].mock_key
        for name in operation.security[0]
    }
    return Mutation(mutant, operation.method, api.base_path + operation.path, keys)


def _judged(mutant: Mutant, outcome: Outcome) -> Fate:
    """Tell whether the mutant's own rule noticed it, and in which tier; one beyond the bar must not be red."""
    found = outcome.found("failures", "notes")
    names = [each["rule"] for each in found]
    rules = tuple(sorted(set(names), key=lambda rule: -names.count(rule)))
    its = [each for each in found if each["rule"] in mutant.caught]
    if not its:
        return Fate("wrong reason" if rules else "survived", "", rules, 0)
    tier = min((Tier(each["tier"]) for each in its), key=FIRMEST.index)
    return Fate(_named(mutant, tier, outcome.found("failures")), tier, rules, 0)


def _named(mutant: Mutant, tier: Tier, red: list[dict[str, Any]]) -> str:
    if fails(tier) != any(each["rule"] in mutant.caught for each in red):
        return "wrong verdict"
    return "caught" if mutant.tier in ("", tier) else f"in {tier}"


def main() -> int:
    """Try all mutants, or those whose name holds a text; print the score and the survivors."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("text", nargs="?", default="", help="only mutants whose name holds this")
    parser.add_argument("-n", type=int, default=os.cpu_count() or 1, help="how many at a time")
    parser.add_argument("--name-tiers", action="store_true", help="write into the files in which tier each was noticed")
    options = parser.parse_args()
    mutants = [mutant for mutant in load() if options.text in mutant.name]
    started, caught = time.monotonic(), 0
    tiers: dict[str, str] = {}
    with multiprocessing.get_context("fork").Pool(options.n, maxtasksperchild=8) as pool:
        for mutant, its in zip(mutants, pool.imap(fate, mutants), strict=True):
            caught += its.outcome == "caught"
            if its.outcome != "caught":
                print(f"{its.outcome:14} {mutant.name}  rules: {', '.join(its.rules) or 'none'}", flush=True)  # noqa: T201 - a command's own output
            tiers |= {mutant.name: its.tier} if its.tier else {}
    if options.name_tiers:
        name_tiers(tiers)
    print(f"{caught} of {len(mutants)} mutants caught in {time.monotonic() - started:.0f} s")  # noqa: T201 - the same
    return int(caught < len(mutants))


if __name__ == "__main__":
    sys.exit(main())
