"""Runs that tests report about, without a server: what a test of the suite hands over."""

from __future__ import annotations

from html.parser import HTMLParser

from contract_tests.config.target import load_target
from contract_tests.report.coverage import Coverage
from contract_tests.report.deviations import Deviations
from contract_tests.report.document import build_document
from contract_tests.report.results import Results
from flowcontract.output.secrets import Secrets
from flowcontract.specs.model import load_apis

APIS = load_apis(["dify-chat", "cybertron"])
CHAT = "dify-chat/sendChatMessage"


def failure(rule="type", known="", source=("004:1",), operation=CHAT, **others):
    """Return a failure as a test reports it; those of one rule have one cause."""
    return {
        "operation": operation,
        "rule": rule,
        "id": f"{operation}#{rule}",
        "known": known,
        "entry": known,
        "fuzzed": False,
        "cause": rule,
        "source": list(source),
        "tier": "document",
        "quotes": [],
        "rulings": [],
        "expected": "text <b>",
        "got": "5 & more",
        "curl": "curl x",
        "reason": "we know" if known else "",
        "where": "/data/0/id",
        "event": 3,
        "offset": 120,
        **others,
    }


def report(test="a/b", failures=(), seen=(), skipped=None, **others):
    """Return what a test saw."""
    empty = {"streams": [], "choices": [], "exchanges": 1}
    found = {"test": test, "failures": list(failures), "seen": list(seen), "skipped": skipped or {}}
    return {**empty, **found, **others}


def stream(violations=("event 2: order",), wrong=(2,), kind="ping"):
    """Return a stream of two events as a test reports it."""
    events = [[0.1, "message", 0, False, True], [0.4, kind, 90, bool(wrong), True]]
    return {"operation": CHAT, "total": 2, "violations": list(violations), "wrong": list(wrong), "events": events}


def empty():
    """Return the results of nothing yet."""
    return Results(load_target(APIS, base_url="http://127.0.0.1:1"), Coverage(APIS), Deviations())


def told(results, problems=(), secrets=()):
    """Return the document of a run."""
    return build_document(results, list(problems), Secrets(secrets))


class Balanced(HTMLParser):
    """Checks that tags close, that nothing is fetched, and no script but ours; collects the text."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.scripts = [], [], 0

    def handle_starttag(self, tag, attrs):
        """Open a tag."""
        named = dict(attrs)
        assert "src" not in named
        assert named.get("href", "#").startswith("#")
        assert not any(name.startswith("on") or name == "style" for name in named)
        self.scripts += tag == "script"
        if tag not in ("meta", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Close the innermost tag."""
        if tag not in ("path", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        """Keep text."""
        self.text.append(data)


def parsed(text):
    """Return what a page says, having checked it."""
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert parser.scripts == 1
    return " ".join(parser.text)
