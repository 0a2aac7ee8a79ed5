"""Runs that tests report about, without a server: what a test of the suite hands over."""

from __future__ import annotations

from contract_tests.coverage import Coverage
from contract_tests.deviations import Deviations
from contract_tests.reporting.document import document
from contract_tests.results import Results
from contract_tests.target import load_target
from flowcontract.secrets import Secrets
from flowcontract.specs import load_apis

APIS = load_apis(["dify-chat", "cybertron"])
CHAT = "dify-chat/sendChatMessage"


def failure(
    rule="type",
    where="/data/0/id",
    known="",
    source=("004:1",),
    operation=CHAT,
    tier="document",
    expected="text <b>",
    got="5 & more",
):
    """Return a failure as a test reports it; those of one rule have one cause."""
    place = {"where": where, "event": 3, "offset": 120}
    return {
        "operation": operation,
        "rule": rule,
        "id": f"{operation}#{rule}",
        "known": known,
        "entry": known,
        "fuzzed": False,
        "cause": rule,
        "source": list(source),
        "tier": tier,
        "quotes": [],
        "rulings": [],
        "expected": expected,
        "got": got,
        "curl": "curl x",
        "reason": "we know" if known else "",
        **place,
    }


def report(test="a/b", failures=(), seen=(), skipped=None, streams=(), choices=()):
    """Return what a test saw."""
    return {
        "test": test,
        "failures": list(failures),
        "seen": list(seen),
        "skipped": skipped or {},
        "streams": list(streams),
        "choices": list(choices),
        "exchanges": 1,
    }


def stream(violations=("event 2: order",), wrong=(2,), kind="ping"):
    """Return a stream of two events as a test reports it."""
    events = [[0.1, "message", 0, False, True], [0.4, kind, 90, bool(wrong), True]]
    return {"operation": CHAT, "total": 2, "violations": list(violations), "wrong": list(wrong), "events": events}


def empty():
    """Return the results of nothing yet."""
    return Results(load_target(APIS, base_url="http://127.0.0.1:1"), Coverage(APIS), Deviations())


def told(results, problems=(), secrets=()):
    """Return the document of a run."""
    return document(results, list(problems), Secrets(secrets))
