"""Coverage, deviations and reports: what is counted, what is known, what is said."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from contract_tests import terminal
from contract_tests.coverage import Coverage, Key, lines, read_level
from contract_tests.deviations import Deviation, Deviations, deviation_id
from contract_tests.exchange import Answer, Exchange, Sent, TimedEvent
from contract_tests.judgement import Verdict
from contract_tests.page import page
from contract_tests.results import Results
from contract_tests.suite import Record
from contract_tests.target import TargetError, load_target
from flowcontract.specs import load_apis
from flowcontract.streams import JudgedEvent
from flowcontract.violations import Violation

APIS = load_apis(["dify-chat", "cybertron"])
CHAT = "dify-chat/sendChatMessage"


def failure(rule="type", where="/data/0/id", known="", source=("004:1",), operation=CHAT, tier="document"):
    """Return a failure as a test reports it."""
    texts = {"expected": "text <b>", "got": "5 & more", "curl": "curl x", "reason": "we know" if known else ""}
    place = {"where": where, "event": 3, "offset": 120}
    return {
        "operation": operation,
        "rule": rule,
        "id": "t#x",
        "known": known,
        "cause": rule,
        "source": list(source),
        "tier": tier,
        "quotes": [],
        "rulings": [],
        **texts,
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


@pytest.fixture
def results():
    """Return the results of nothing yet."""
    return Results(load_target(APIS, base_url="http://127.0.0.1:1"), Coverage(APIS), Deviations())


def test_matrix_has_every_line_of_the_contract():
    """Statuses, codes, events and transitions of every operation are lines."""
    keys = set(lines(APIS["dify-chat"]))
    assert Key(CHAT, "status", "404") in keys
    assert Key(CHAT, "code", "400 provider_quota_exceeded") in keys
    assert Key(CHAT, "event", "message_replace") in keys
    assert Key(CHAT, "transition", "start > workflow_started") in keys
    assert Key(CHAT, "transition", "message_end > workflow_started") not in keys
    assert {key.operation for key in keys} == {operation.name for operation in APIS["dify-chat"].operations.values()}


def test_worst_outcome_of_a_line_counts_and_unknown_lines_are_shown(results):
    """One failure marks a line as failed; what no document names becomes a line."""
    for well in (True, False):
        failures = [] if well else [failure()]
        seen = [(CHAT, "status", "200", well), (CHAT, "event", "surprise", True)]
        results.take(report(failures=failures, seen=seen), "passed", 0.1)
    rows = results.coverage.rows
    assert rows[Key(CHAT, "status", "200")].outcome == "failed"
    assert not rows[Key(CHAT, "event", "surprise")].documented
    assert rows[Key(CHAT, "status", "404")].outcome == "not exercised"


def test_known_differences_are_deviating_not_failed(results):
    """A test all of whose failures are known leaves its lines as deviating."""
    results.take(report(failures=[failure(known="t*")], seen=[(CHAT, "status", "200", False)]), "passed", 0.1)
    assert results.coverage.rows[Key(CHAT, "status", "200")].outcome == "deviating"
    assert results.failures == []
    assert results.deviations.occurred == {"t*"}


def test_reason_for_not_exercising_is_kept_per_line_and_per_operation(results):
    """What a test said it could not ask is what the matrix says."""
    results.take(
        report(skipped={f"{CHAT}|code|400 app_unavailable": "no way", "dify-chat/getInfo": "read only"}), "skipped", 0
    )
    reasons = results.not_exercised()
    assert reasons["no way"] == [f"{CHAT} 400 app_unavailable"]
    assert "dify-chat/getInfo 200" in reasons["read only"]


def test_levels_are_read_and_missed_ones_are_told(results):
    """`--require` takes one percentage or one per sort."""
    assert read_level("80") == {"": 80.0}
    assert read_level("codes=100, statuses=50") == {"code": 100.0, "status": 50.0}
    coverage = Coverage(APIS, "codes=1")
    assert coverage.below() == ["code: 0.0 % exercised, 1 % required"]
    for wrong in ("much", "codes", "colours=5", "101", ""):
        with pytest.raises(TargetError, match="expected a percentage"):
            read_level(wrong)


def test_failures_of_one_cause_are_one_group(results):
    """Rule, place and lines make a cause; items of a list are one place."""
    for test in ("a", "b"):
        results.take(report(test=test, failures=[failure()]), "failed", 0.1)
    results.take(report(test="c", failures=[failure(rule="enum")]), "failed", 0.1)
    assert [(group.first["rule"], group.tests) for group in results.groups()] == [("type", ["a", "b"]), ("enum", ["c"])]
    told = "\n".join(line for _, lines_ in terminal.sections(results, [], None) for line in lines_)
    for text in ("event 3, byte 120, /data/0/id", "demanded by 004:1", "in a, b", "curl x"):
        assert text in told


def test_id_of_a_difference_does_not_depend_on_items_or_values():
    """Positions in a list and what came are not part of it."""
    one, two = (Violation("type", "text", got, f"/data/{n}/id") for n, got in ((0, "5"), (7, "null")))
    assert deviation_id("a/b", "x/op", one) == deviation_id("a/b", "x/op", two) == "a/b#type /data/*/id"


def test_what_fuzzing_found_is_known_by_its_operation_and_need_not_occur_again():
    """Which phase comes upon it depends on the server's speed."""
    found = Violation("status", "200", "500")
    names = {deviation_id(f"fuzzing/fuzz[x-{phase}]", "x/op", found) for phase in ("examples", "stateful")}
    assert names == {"x/op/fuzzed#status"}
    known = Deviations([Deviation("x/op/fuzzed#status", "r"), Deviation("x/op/unknown/id#status", "r")])
    assert [one.id for one in known.gone([], everything=True)] == ["x/op/unknown/id#status"]


def test_deviations_are_read_matched_and_written_with_their_reasons(tmp_path):
    """A pattern matches, a reason survives, what is new has none yet."""
    path = tmp_path / "known.toml"
    path.write_text('[[deviation]]\nid = "a/*#status"\nreason = "older \\"server\\""\n')
    known = Deviations.load(path)
    assert known.known("a/b#status").reason == 'older "server"'
    assert known.known("b/b#status") is None
    known.occurred.add("a/*#status")
    known.write({"a/b#status": failure(), "x/y#type /z": failure()})
    again = Deviations.load(path)
    assert [one.id for one in again.entries] == ["a/*#status", "x/y#type /z"]
    assert again.entries[0].reason == 'older "server"'


def test_reason_for_what_fuzzing_found_survives_a_run_that_did_not_find_it(tmp_path):
    """Accepting once more does not throw away what a faster run needs."""
    path = tmp_path / "known.toml"
    Deviations([Deviation("x/op/fuzzed#status", "slow"), Deviation("a/b#status", "gone")], path).write({})
    assert [(one.id, one.reason) for one in Deviations.load(path).entries] == [("x/op/fuzzed#status", "slow")]


def test_deviation_that_did_not_occur_is_gone_only_if_its_test_ran():
    """Running a part of the suite says nothing about the rest."""
    known = Deviations([Deviation("a/b#status", "r"), Deviation("c/d#status", "r")])
    assert [one.id for one in known.gone(["a/b"], everything=False)] == ["a/b#status"]
    assert len(known.gone(["a/b"], everything=True)) == 2


@pytest.mark.parametrize("text", ["[[deviation]]\nid = 'x'\n", "deviation = 5", "not toml ="])
def test_wrong_deviations_file_is_told(tmp_path, text):
    """The file and the form are named."""
    path = tmp_path / "known.toml"
    path.write_text(text)
    with pytest.raises(TargetError, match=r"known\.toml"):
        Deviations.load(path)


class Balanced(HTMLParser):
    """Checks that tags close, and collects the text."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, attrs):
        """Open a tag; none may fetch anything."""
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag not in ("meta", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Close the innermost tag."""
        assert self.open.pop() == tag if tag not in ("path", "circle") else True

    def handle_data(self, data):
        """Keep text."""
        self.text.append(data)


def test_page_is_whole_self_contained_and_says_what_is_wrong(results):
    """Tags balance, nothing is fetched, texts are escaped, each stream has a time line with its wrong event in red."""
    stream = {
        "operation": CHAT,
        "total": 2,
        "violations": ["event 2: order"],
        "events": [[0.1, "message", 0, False, True], [0.4, "ping", 90, True, True]],
    }
    results.take(
        report(failures=[failure(), failure(known="t*")], streams=[stream], seen=[(CHAT, "status", "200", False)]),
        "failed",
        0.1,
    )
    text = page(results, ["deviation no longer occurs: <x>"])
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    said = " ".join(parser.text)
    for part in (
        "text <b>",
        "5 & more",
        "we know",
        "deviation no longer occurs: <x>",
        "event 2, ping, 0.400 s, byte 90",
        CHAT,
    ):
        assert part in said
    assert text.count("#c62f2d") >= 2
    assert (
        len(
            [
                line
                for line in ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6]).iter()
                if line.tag == "circle"
            ]
        )
        == 2
    )


def test_json_report_has_everything(results):
    """The machine's report is plain JSON with matrix, failures and streams."""
    results.take(report(failures=[failure()], seen=[(CHAT, "status", "200", False)]), "failed", 0.1)
    found = json.loads(results.json_text(["x"]))
    assert found["problems"] == ["x"]
    assert found["failures"][0]["operation"] == CHAT
    assert {"operation": CHAT, "sort": "status", "name": "200", "outcome": "failed"}.items() <= found["matrix"][
        next(n for n, row in enumerate(found["matrix"]) if row["name"] == "200" and row["operation"] == CHAT)
    ].items()


def test_only_the_events_that_are_wrong_are_marked_as_failed():
    """One wrong event in a stream leaves the others passed, and transitions fail by order and end only."""
    kinds = ("workflow_started", "message", "message_end")
    events = tuple(TimedEvent(0.1, JudgedEvent(n, 0, kind, {}, known=True)) for n, kind in enumerate(kinds, 1))
    exchange = Exchange(Sent("POST", "http://x/", ()), Answer(200, {}), events)
    transitions = (("", "workflow_started"), ("workflow_started", "message"), ("message", "message_end"))
    violations = (Violation("schema", "a", "b", event=2), Violation("order", "a", "b", event=3))
    record = Record()
    record.note(APIS["dify-chat"].operations["sendChatMessage"], Verdict(exchange, violations, "", kinds, transitions))
    assert {(sort, name): well for _, sort, name, well in record.seen} == {
        ("status", "200"): False,
        ("event", "workflow_started"): True,
        ("event", "message"): False,
        ("event", "message_end"): False,
        ("transition", "start > workflow_started"): True,
        ("transition", "workflow_started > message"): True,
        ("transition", "message > message_end"): False,
    }
