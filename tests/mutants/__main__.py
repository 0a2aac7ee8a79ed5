"""`nox -s mutants`: one wrong server after another; the suite must notice each, for the right reason."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from mutant import Mutant, Mutation, load
from proxy import Proxy

from flowcontract.specs import load_apis
from mockserver.server import MockServer
from mockserver.settings import Settings

APIS = load_apis()


class Fate(NamedTuple):
    """What became of a mutant: caught, wrong reason, survived, or never applied; and the rules that noticed it."""

    outcome: str
    rules: tuple[str, ...]
    seconds: float


def fate(mutant: Mutant) -> Fate:
    """Run the suite against a server with one mutant."""
    started = time.monotonic()
    api = APIS[mutant.api]
    operation = api.operations[mutant.op]
    # The proxy turns every key into the mock's own, so that `key: any` lets everybody in.
    keys = {
        api.schemes[name].parameter: api.schemes[name].prefix + api.schemes[name].mock_key
        for name in operation.security[0]
    }
    mutation = Mutation(mutant, operation.method, api.base_path + operation.path, keys)
    with MockServer(settings=Settings(pace=mutant.pace)) as mock, Proxy(mock.port, mutation) as proxy:
        rules = noticed(mutant, proxy.port)
    seconds = time.monotonic() - started
    if not mutation.applied:
        return Fate("never applied", rules, seconds)
    if not rules:
        return Fate("survived", rules, seconds)
    return Fate("caught" if set(rules) & set(mutant.caught) else "wrong reason", rules, seconds)


def noticed(mutant: Mutant, port: int) -> tuple[str, ...]:
    """Run what touches the mutant's operation; return the rules that failed, the most frequent first."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--base-url", f"http://127.0.0.1:{port}", "--api", mutant.api, "--report", folder]
        chosen = "stopped" if mutant.sort == "stop" else f"/{mutant.op}/ or journeys"
        if mutant.sort == "timing":
            chosen = f"/{mutant.op}/documented"
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = pytest.main(
                [
                    "-p",
                    "contract_tests.plugin",
                    "-p",
                    "no:randomly",
                    "--pyargs",
                    "contract_tests",
                    "-q",
                    "-k",
                    chosen,
                    *arguments,
                ]
            )
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            raise RuntimeError(f"the suite did not run against {mutant.name}: {said.getvalue()[-2000:]}")
        report = json.loads((Path(folder) / "report.json").read_text())
    found = [failure["rule"] for failure in report["failures"]]
    return tuple(sorted(set(found), key=lambda rule: -found.count(rule)))


def main() -> int:
    """Try all mutants, or those whose name holds a text; print the score and the survivors."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("text", nargs="?", default="", help="only mutants whose name holds this")
    parser.add_argument("-n", type=int, default=os.cpu_count() or 1, help="how many at a time")
    options = parser.parse_args()
    mutants = [one for one in load() if options.text in one.name]
    started = time.monotonic()
    fates: dict[str, Fate] = {}
    with multiprocessing.get_context("fork").Pool(options.n, maxtasksperchild=8) as pool:
        for one, its in zip(mutants, pool.imap(fate, mutants), strict=True):
            fates[one.name] = its
            if its.outcome != "caught":
                print(f"{its.outcome:14} {one.name}  rules: {', '.join(its.rules) or 'none'}", flush=True)  # noqa: T201 - a command's own output
    caught = sum(its.outcome == "caught" for its in fates.values())
    print(f"{caught} of {len(mutants)} mutants caught in {time.monotonic() - started:.0f} s")  # noqa: T201 - the same
    return int(caught < len(mutants))


if __name__ == "__main__":
    sys.exit(main())
