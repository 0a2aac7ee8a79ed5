"""Coverage, deviations and reports: what is counted, what is known, what is said."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import date

import pytest
from reported import APIS, CHAT, empty, failure, parsed, report, stream, told

from contract_tests.http.exchange import Answer, Exchange, SentRequest, TimedEvent
from contract_tests.http.target import TargetError
from contract_tests.judging.judge import Verdict
from contract_tests.report import terminal
from contract_tests.report.coverage import Coverage, Key, list_lines, read_level
from contract_tests.report.deviations import Deviation, Deviations, name_difference
from contract_tests.report.document import to_json_text
from contract_tests.report.html import render_page
from contract_tests.suite.record import Failure, Record
from flowcontract.schemas.violations import Violation
from flowcontract.streams.judge import JudgedEvent


@pytest.fixture
def results():
    """Return the results of nothing yet."""
    return empty()


def test_matrix_has_every_line_of_the_contract():
    """Statuses, codes, events and transitions of every operation are lines."""
    keys = set(list_lines(APIS["dify-chat"]))
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
        results.add(report(failures=failures, seen=seen), "passed", 0.1)
    rows = results.coverage.rows
    assert rows[Key(CHAT, "status", "200")].outcome == "failed"
    assert not rows[Key(CHAT, "event", "surprise")].documented
    assert rows[Key(CHAT, "status", "404")].outcome == "not exercised"


def test_known_differences_are_deviating_not_failed(results):
    """A test all of whose failures are known leaves its lines as deviating."""
    results.add(report(failures=[failure(known="t*")], seen=[(CHAT, "status", "200", False)]), "passed", 0.1)
    assert results.coverage.rows[Key(CHAT, "status", "200")].outcome == "deviating"
    assert results.failures == []
    assert results.deviations.occurred == {"t*"}


def test_reason_for_not_exercising_is_kept_per_line_and_per_operation(results):
    """What a test said it could not ask is what the matrix says."""
    results.add(
        report(skipped={f"{CHAT}|code|400 app_unavailable": "no way", "dify-chat/getInfo": "read only"}), "skipped", 0
    )
    reasons = results.list_not_exercised()
    assert reasons["no way"] == [f"{CHAT} 400 app_unavailable"]
    assert "dify-chat/getInfo 200" in reasons["read only"]


def test_levels_are_read_and_missed_ones_are_told(results):
    """`--require` takes one percentage or one per sort."""
    assert read_level("80") == {"": 80.0}
    assert read_level("codes=100, statuses=50") == {"code": 100.0, "status": 50.0}
    coverage = Coverage(APIS, "codes=1")
    assert coverage.find_shortfalls() == ["code: 0.0 % exercised, 1 % required"]
    for wrong in ("much", "codes", "colours=5", "101", ""):
        with pytest.raises(TargetError, match="expected a percentage"):
            read_level(wrong)


def test_failures_of_one_cause_are_one_group(results):
    """Rule, place and lines make a cause; items of a list are one place."""
    for test in ("a", "b"):
        results.add(report(test=test, failures=[failure()]), "failed", 0.1)
    results.add(report(test="c", failures=[failure(rule="enum")]), "failed", 0.1)
    document = told(results)
    assert [(cause["rule"], cause["tests"]) for cause in document["causes"]] == [("type", ["a", "b"]), ("enum", ["c"])]
    said = "\n".join(line.text for line in terminal.summarize(document))
    for text in ("event 3, byte 120, /data/0/id", "by       004:1", "(2 tests; explain "):
        assert text in said
    of_a_test = terminal.format_failure(document["failures"][0])
    for text in ("event 3, byte 120, /data/0/id", "demanded by 004:1", "curl x"):
        assert text in of_a_test


def test_id_of_a_difference_does_not_depend_on_items_or_values():
    """Positions in a list and the value that came are not part of it; the operation is, whichever test asked."""
    one, two = (Violation("type", "text", got, f"/data/{n}/id") for n, got in ((0, "5"), (7, "-12")))
    assert (
        name_difference("a/b", "x/op", one).id == name_difference("c", "x/op", two).id == "x/op#type /data/*/id number"
    )
    assert name_difference("a/b", "x/op", replace(one, got="null")).id == "x/op#type /data/*/id null"


@pytest.mark.parametrize(
    ("violation", "told"),
    [
        (Violation("status", "400: field `x` must be text", "500 {}"), "status 500"),
        (Violation("status", "400: field `x` must be text", "200"), "status 200"),
        (Violation("status", "200 or 204: the request is documented", "500"), "status 500 instead of success"),
        (Violation("outcome", "a refusal: no key", '200 {"code": "x"}'), "outcome 200"),
        (Violation("code", "invalid_param: why", "too_many_files", "/code"), "code /code too_many_files"),
        (Violation("order", "message after message", "message_end", event=3), "order message_end"),
        (Violation("unknown", "a kind that the contract names", "k12"), "unknown k*"),
        (Violation("media-type", "audio/*", "application/json"), "media-type application/json"),
        (Violation("schema", "one of a, b", 'the text "c"', "/data/mode"), "schema /data/mode text"),
        (Violation("agree", "`elapsed_time` as answered, 0.2", "0.3"), "agree `elapsed_time` as answered"),
        (Violation("agree", "no note-ab12-1.txt after its deletion", "x"), "agree no * after its deletion"),
        (Violation("required", "an object with the field `id`", "{}", "/a/0"), "required /a/*/id missing"),
        (Violation("required", "the field", "none", f"/icons/{'k' * 999}"), f"required /icons/{'k' * 150}..."),
    ],
)  # fmt: skip
def test_id_says_rule_place_and_what_came(violation, told):
    """500 that turns into 200 is another difference, and so is one for a request that was to succeed."""
    assert name_difference("t", "x/op", violation).id == f"x/op#{told}"


def test_what_fuzzing_found_has_an_id_of_its_own():
    """It is the same in every phase, and never hides what the suite's own cases find."""
    found = Violation("status", "200: well", "500")
    ids = {name_difference(f"fuzzing/fuzz[x-{phase}]", "x/op", found).id for phase in ("examples", "stateful")}
    assert ids == {"x/op/fuzzed#status 500 instead of success"}
    known = Deviations([Deviation("x/op/fuzzed#status 500", "r"), Deviation("x/op#status 500", "r")])
    assert [one.id for one in known.find_fixed(["x/op"], fuzzed=False)] == ["x/op#status 500"]
    assert len(known.find_fixed(["x/op"], fuzzed=True)) == 2


def test_deviations_are_read_matched_and_written_with_their_reasons(tmp_path):
    """A pattern matches, a reason survives, what is new has none yet."""
    path = tmp_path / "known.toml"
    path.write_text('[[deviation]]\nid = "a/*#status"\nreason = "older \\"server\\""\n')
    known = Deviations.load(path)
    assert known.find_valid_entry("a/b#status").reason == 'older "server"'
    assert known.find_valid_entry("b/b#status") is None
    known.occurred.add("a/*#status")
    known.accept = True
    changes = known.write({"a/b#status": failure(), "x/y#type /z": failure()})
    assert changes == [f"accepted: 1 new in {path}; write a reason for each"]
    again = Deviations.load(path)
    assert [one.id for one in again.entries] == ["a/*#status", "x/y#type /z"]
    assert [one.reason for one in again.entries] == ['older "server"', ""]
    assert again.list_complaints() == [f"{path}: write a reason for x/y#type /z"]
    assert "# expected text <b>; got 5 & more" in path.read_text()


def test_accepting_removes_nothing_and_pruning_what_is_gone(tmp_path):
    """What a person wrote around an entry stays with it, and a reason for what this run did not see is kept."""
    path = tmp_path / "known.toml"
    mine = '# mine\n\n[[deviation]]\nid = "x/a#status 500"\n# ticket 7\nreason = "slow"\n'
    path.write_text(f'{mine}\n[[deviation]]\nid = "x/b#status 500"\nreason = "r"\n')
    known = Deviations.load(path)
    known.write({"x/c#order": failure()})
    assert [one.id for one in Deviations.load(path).entries] == ["x/a#status 500", "x/b#status 500", "x/c#order"]
    assert path.read_text().startswith(mine)
    known = Deviations.load(path)
    known.write({}, obsolete=known.find_fixed(["x/b"], fuzzed=False))
    assert [one.id for one in Deviations.load(path).entries] == ["x/a#status 500", "x/c#order"]


def test_deviation_that_did_not_occur_is_fixed_only_if_its_operation_was_asked():
    """Running a part of the suite says nothing about the rest."""
    known = Deviations(
        [Deviation("x/a#status 500", "r"), Deviation("x/b#status 500", "r"), Deviation("x/*#order", "r")]
    )
    assert [one.id for one in known.find_fixed(["x/a"], fuzzed=False)] == ["x/a#status 500", "x/*#order"]
    assert known.find_fixed(["x/ab", "y/a"], fuzzed=False) == [Deviation("x/*#order", "r")]


def test_ids_of_earlier_versions_still_match_and_are_replaced_with_their_reasons(tmp_path):
    """An entry for each test becomes one for each cause, which keeps all that was said."""
    path = tmp_path / "known.toml"
    former = ("x/op/invalid/a type", "x/op/invalid/b type", "journeys/never_ran")
    path.write_text("\n".join(f'[[deviation]]\nid = "{test}#status"\nreason = "of {test}"\n' for test in former))
    known = Deviations.load(path)
    found = Violation("status", "400: why", "200")
    both = [name_difference(test, "x/op", found) for test in former[:2]]
    assert [known.find_valid_entry(*one).reason for one in both] == [f"of {test}" for test in former[:2]]
    known.write({both[0].id: {**failure(), "entries": [one.former for one in both]}})
    again = Deviations.load(path).entries
    assert [(one.id, one.reason) for one in again] == [
        ("journeys/never_ran#status", "of journeys/never_ran"),
        ("x/op#status 200", "of x/op/invalid/a type\nof x/op/invalid/b type"),
    ]


def test_expired_entry_fails_again_and_says_so(tmp_path):
    """The last day counts; accepting once more takes the date away and leaves the reason."""
    path = tmp_path / "known.toml"
    path.write_text('[[deviation]]\nid = "x/op#status 500"\nreason = "ticket 7"\nexpires = 2031-05-17\n')
    assert Deviations.load(path, today=date(2031, 5, 17)).find_valid_entry("x/op#status 500")
    known = Deviations.load(path, today=date(2031, 5, 18))
    assert known.find_valid_entry("x/op#status 500") is None
    assert known.list_complaints() == [f"{path}: x/op#status 500 was accepted until 2031-05-17: ticket 7"]
    record = Record(failures=[Failure("x/op", Violation("status", "400: why", "500"))])
    [told] = record.as_json("t", known)["failures"]
    assert (told["known"], told["reason"]) == ("", "was accepted until 2031-05-17: ticket 7")
    known.write({"x/op#status 500": told})
    assert Deviations.load(path).entries == (Deviation("x/op#status 500", "ticket 7"),)


@pytest.mark.parametrize(
    "character", ["\0", "\x1b", "\x7f", "\x85", "\u2028", "\ud800", "\ufeff", "\U0001f600", '"', "\\"]
)
@pytest.mark.parametrize("field", ["where", "got", "expected"])
def test_file_can_be_read_again_whatever_a_server_answers(tmp_path, character, field):
    """The difference is known the next time, and nothing that was known is lost."""
    path = tmp_path / "known.toml"
    path.write_text('[[deviation]]\nid = "a/b#status 500"\nreason = "mine"\n')
    violation = replace(Violation("type", "text", "got", "/data"), **{field: f"/data{character}{'x' * 9_000_000}"})
    found = name_difference("t", "x/op", violation)
    known = Deviations.load(path, accept=True)
    known.write({found.id: Failure("x/op", violation).as_json()})
    again = Deviations.load(path)
    assert again.find_valid_entry(*found)
    assert again.entries[0].reason == "mine"
    assert path.stat().st_size < 5000


def test_file_stays_as_it_was_when_it_cannot_be_written_whole(tmp_path, monkeypatch):
    """It is written beside itself first; nothing is left over."""
    path = tmp_path / "known.toml"
    path.write_text('[[deviation]]\nid = "a#b"\nreason = "mine"\n')
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        Deviations.load(path).write({"x#y": failure()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_fuzzing_finds_is_a_note_unless_it_is_demanded(results):
    """It is told apart, and fails the run by itself only once its own entry has expired."""
    found = {**failure(), "fuzzed": True}
    results.add(report(failures=[found], seen=[(CHAT, "status", "200", False)]), "passed", 0.1)
    assert (results.failures, [note["rule"] for note in results.notes]) == ([], ["type"])
    assert results.fails_run({**found, "entry": "expired"})
    results.demand_fuzz = True
    assert results.fails_run(found)


def test_fixed_deviation_is_good_news(results, tmp_path):
    """It is told with its remark, counted, and is no problem of the run."""
    path = tmp_path / "known.toml"
    path.write_text(f'[[deviation]]\nid = "{CHAT}#status 500"\nreason = "ticket 7"\n')
    results.deviations = Deviations.load(path)
    results.add(report(test=f"{CHAT}/documented/x"), "passed", 0.1)
    results.finish(everything=True, thorough=False)
    said = "\n".join(line.text for line in terminal.summarize(told(results)))
    assert f"FIXED {CHAT}#status 500: ticket 7" in said
    assert "fixed: 1 known deviation no longer there" in said
    assert results.list_failure_reasons() == []


@pytest.mark.parametrize(
    "text",
    [
        "[[deviation]]\nid = 'x'\n",
        "deviation = 5",
        "not toml =",
        "[[deviation]]\nid='x'\nreason='y'\nexpires='soon'\n",
        "[[deviation]]\nid='x'\nreason='y'\nexpire=2030-01-01\n",
    ],
)
def test_wrong_deviations_file_is_told(tmp_path, text):
    """The file and the form are named."""
    path = tmp_path / "known.toml"
    path.write_text(text)
    with pytest.raises(TargetError, match=r"known\.toml"):
        Deviations.load(path)


def test_page_is_whole_self_contained_and_says_what_is_wrong(results):
    """Tags balance, nothing is fetched, texts are escaped, each stream has a time line with its wrong event marked."""
    results.add(
        report(failures=[failure(), failure(known="t*")], streams=[stream()], seen=[(CHAT, "status", "200", False)]),
        "failed",
        0.1,
    )
    text = render_page(told(results, ["deviation no longer occurs: <x>"]))
    said = parsed(text)
    for part in (
        "text <b>",
        "5 & more",
        "we know",
        "deviation no longer occurs: <x>",
        "event 2, ping, 0.400 s, byte 90",
        CHAT,
    ):
        assert part in said
    drawing = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    marks = [part for part in drawing if part.get("class") in ("wrong", "known")]
    assert [part.get("class") for part in marks] == ["known", "wrong"]


def test_json_report_has_everything(results):
    """The machine's report is plain JSON with matrix, failures and streams."""
    results.add(report(failures=[failure()], seen=[(CHAT, "status", "200", False)]), "failed", 0.1)
    found = json.loads(to_json_text(told(results, ["x"])))
    assert found["problems"] == ["x"]
    assert found["failures"][0]["operation"] == CHAT
    assert {"operation": CHAT, "sort": "status", "name": "200", "outcome": "failed"}.items() <= found["matrix"][
        next(n for n, row in enumerate(found["matrix"]) if row["name"] == "200" and row["operation"] == CHAT)
    ].items()


def test_only_the_events_that_are_wrong_are_marked_as_failed():
    """One wrong event in a stream leaves the others passed, and transitions fail by order and end only."""
    kinds = ("workflow_started", "message", "message_end")
    events = tuple(TimedEvent(0.1, JudgedEvent(n, 0, kind, {}, known=True)) for n, kind in enumerate(kinds, 1))
    exchange = Exchange(SentRequest("POST", "http://x/", ()), Answer(200, {}), events)
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


def test_server_error_is_red_as_it_comes_from_a_report(results):
    """A tier travels as text from a worker; that of a server error lies on no bar."""
    results.add(report(failures=[failure(tier="server-error")]), "failed", 0.1)
    assert len(results.failures) == 1


def test_many_causes_take_time_in_proportion_to_their_number(tmp_path):
    """Entries are looked up by their ids, not one after another: only those with a * for any text are tried."""
    known = Deviations([Deviation(f"x/op#type /k{n}x/*/y null", "r") for n in range(2000)])
    assert known._patterns == []
    assert known.find_valid_entry("x/op#type /k1999x/*/y null").reason == "r"
    assert Deviations([Deviation("x/*#type *", "r")]).find_valid_entry("x/op#type /a/*/b null")
