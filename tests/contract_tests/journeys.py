"""Goes the suite's journeys without pytest, against the mock behind a proxy that changes what it says."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from contract_tests.config.target import load_target
from contract_tests.journeys import test_chat, test_files, test_robot, test_workflow
from contract_tests.journeys.journey import Journey
from contract_tests.suite.not_exercised import NotExercised
from contract_tests.suite.record import Record
from contract_tests.suite.session import Suite
from flowcontract.provenance.evidence import fails
from flowcontract.specs.model import load_apis

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mutants"))

from mutant import read_blocks, write_block
from proxy import Proxy

APIS = load_apis()
JOURNEYS = {
    f"{module.__name__.rpartition('.test_')[2]}/{name.removeprefix('test_')}": function
    for module in (test_chat, test_files, test_robot, test_workflow)
    for name, function in vars(module).items()
    if name.startswith("test_") and function.__module__ == module.__name__
}


class Change:
    """What the proxy does: `ask` changes a request, or answers it; `reply` changes an answer, `live` passing blocks."""

    def __init__(self, reply=lambda reply: reply, ask=lambda question: None, live=None):
        self.mutant = SimpleNamespace(do={})
        self.live, self.wire = live is not None, {}
        self.troubles = []
        self._reply, self._ask, self._live = reply, ask, live

    def acting(self, _):
        """Change everything."""
        return self

    def head(self, reply):
        """Change nothing of a stream's head."""
        return reply

    def ask(self, question):
        """Change a request, or answer it in the server's place."""
        return self._attempt(self._ask, question)

    def answer(self, reply):
        """Change an answer."""
        return self._attempt(self._reply, reply)

    def passing(self, pieces):
        """Change the blocks of a stream while they pass."""
        left = b""
        for piece in pieces:
            *whole, left = (left + piece).split(b"\n\n")
            for block in read_blocks(b"\n\n".join(whole)):
                yield from map(write_block, self._attempt(self._live, block))

    def _attempt(self, change, what):
        try:
            return change(what)
        except Exception as trouble:  # a test's own mistake, which is not to be taken for the server's
            self.troubles.append(trouble)
            raise


def of_streams(change):
    """Return a change of the blocks of every stream."""

    def reply(reply):
        if not reply.streamed:
            return reply
        return replace(reply, raw=b"".join(write_block(block) for block in change(read_blocks(reply.raw))))

    return reply


@contextmanager
def suite_behind(port, change, **target):
    """Yield a suite that asks the mock on a port, whose answers are changed."""
    with Proxy(port, change) as proxy, suite_at(f"http://127.0.0.1:{proxy.port}", **target) as suite:
        yield suite
    assert change.troubles == [], change.troubles


@contextmanager
def suite_at(base_url, **changed):
    """Yield a suite that asks a server which takes the mock's keys."""
    target = load_target(APIS, base_url=base_url)
    for name, value in changed.items():
        object.__setattr__(target, name, value)
    suite = Suite(target)
    yield suite
    suite.close()


def go(suite, name):
    """Go one journey; return its record and why it ended early, if it did."""
    suite.record = Record()
    try:
        JOURNEYS[name](lambda api: Journey(suite, api))
    except NotExercised as reason:
        return suite.record, str(reason)
    return suite.record, ""


def red(record):
    """Return what fails a run, in words."""
    found = [failure for failure in record.failures if fails(failure.violation.tier)]
    return [f"{failure.operation} {failure.violation}" for failure in found]
