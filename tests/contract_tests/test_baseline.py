"""A run against an earlier one: what is new, gone and different, and nothing where nothing is."""

from __future__ import annotations

import copy
import json

import pytest
from reported import CHAT, Balanced, empty, failure, report, told

from contract_tests.report.baseline import SORTS, BaselineError, compare_runs, load_baseline
from contract_tests.report.html import render_page
from contract_tests.report.shapes import Shapes
from contract_tests.report.terminal import summarize

SEEN = [[CHAT, "status", "200", True], [CHAT, "event", "message", True]]


def answer(status="200", *, fields=None, texts=(), whole_s=0.1, part=""):
    """Return what one answer of the chat shows."""
    parts = {part or status: fields or {"": "object", "/answer": "text"}}
    times = {"whole_s": whole_s, "first_s": None}
    return {"operation": CHAT, "status": status, "parts": parts, "texts": list(texts), **times}


def choice(took):
    """Return a choice."""
    return {"operation": CHAT, "name": "what a deletion answers", "took": took, "ruling": "dify-chat/x"}


def run(*reports):
    """Return the document of a run, as it stands in report.json."""
    results = empty()
    for each in reports:
        results.add(each, "failed" if each["failures"] else "passed", 0.1)
    return json.loads(json.dumps(told(results)))


def differences(before, now):
    """Return the differences of two runs."""
    found = compare_runs(before, now, "old/report.json")["differences"]
    return [(each["sort"], each["what"], each["before"], each["after"]) for each in found]


def test_run_against_itself_has_no_difference():
    """Whatever it found."""
    one = run(report("a/b", [failure()], SEEN, choices=[choice("204")], answers=[answer()] * 9))
    assert differences(one, copy.deepcopy(one)) == []


def test_violations_are_new_gone_or_changed():
    """One whose test was not run again is not gone."""
    before = run(report("a/b", [failure("type"), failure("enum")], SEEN), report("c/d", [failure("order")], SEEN))
    now = run(report("a/b", [failure("enum", expected="a number"), failure("end")], SEEN))
    assert differences(before, now) == [
        ("new violation", "end", "", "failure: expected text <b>, got 5 & more"),
        ("gone violation", "type", "failure: expected text <b>, got 5 & more", ""),
        (
            "changed violation",
            "enum",
            "failure: expected text <b>, got 5 & more",
            "failure: expected a number, got 5 & more",
        ),
    ]


def test_choices_statuses_and_kinds_of_events_are_compared():
    """204 instead of 200, and an event that never came before."""
    before = run(report("a/b", (), SEEN, choices=[choice("200 with a body")]))
    now = run(report("a/b", (), [*SEEN, [CHAT, "event", "agent_thought", True]], choices=[choice("204")]))
    assert differences(before, now) == [
        ("choice", "what a deletion answers", "200 with a body", "204"),
        ("answered", "event agent_thought", "", "came"),
    ]


def test_fields_and_texts_of_answers_are_compared():
    """By operation, status and kind of event; a field within one that is new is not told again."""
    old = answer(fields={"": "object", "/a": "text", "/b": "number"}, part="200, event message")
    new = answer(fields={"": "object", "/a": "null", "/c": "object", "/c/d": "text"}, part="200, event message")
    before = run(report("a/b", (), SEEN, answers=[old, answer("400", texts=["user is missing"])]))
    now = run(report("a/b", (), SEEN, answers=[new, answer("400", texts=["user is required"])]))
    assert differences(before, now) == [
        ("field", "200, event message: /a", "text", "null"),
        ("field", "200, event message: /b", "number", ""),
        ("field", "200, event message: /c", "", "object"),
        ("text", "400", "user is missing", "user is required"),
    ]


@pytest.mark.parametrize(
    ("seconds", "told_of"),
    [
        ([0.1, 0.11, 0.12, 0.13, 0.14], False),  # within what both vary
        ([0.12] * 5, False),  # by less than a quarter
        ([0.5, 0.5, 0.5, 0.5], False),  # too few
        ([0.5, 0.51, 0.52, 0.5, 0.5], True),
    ],
)
def test_speed_counts_where_it_differs_by_more_than_noise(seconds, told_of):
    """Medians of at least five answers, further apart than both runs vary in themselves."""
    before = run(report("a/b", (), SEEN, answers=[answer(whole_s=each) for each in [0.1, 0.1, 0.11, 0.1, 0.1]]))
    now = run(report("a/b", (), SEEN, answers=[answer(whole_s=each) for each in seconds]))
    assert [each[:2] for each in differences(before, now)] == ([("speed", "whole answer")] if told_of else [])


def test_what_fuzzing_made_up_is_not_compared():
    """It is something else each time."""
    document = run(report("fuzzing/fuzz[x]", (), SEEN, answers=[answer()]))
    assert document["answers"] == {"fields": {}, "texts": {}, "times": {}}


def test_reports_show_the_differences():
    """The terminal, the page and the document; what a server said stays text."""
    results = empty()
    results.add(report("a/b", [failure("<script>")], SEEN), "failed", 0.1)
    document = told(results)
    document["baseline"] = compare_runs(run(report("a/b", (), SEEN)), document, "old/report.json")
    lines = [line.text for line in summarize(document)]
    assert any(line.startswith("against old/report.json of") and line.endswith(": 1 difference") for line in lines)
    assert "  new violations: 1" in lines
    page = render_page(document)
    parser = Balanced()
    parser.feed(page)
    assert "Against the earlier run" in page
    assert "<script>: " not in page


def test_earlier_report_of_an_older_version_is_compared_as_far_as_it_goes():
    """It has no fields, texts and times."""
    before, now = run(report("a/b", (), SEEN)), run(report("a/b", (), SEEN, answers=[answer()]))
    del before["answers"]
    assert "older version" in compare_runs(before, now, "x")["notes"][0]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(None, "cannot be read"), ("{", "is not JSON"), ("[]", "lacks causes"), ('{"causes": []}', "lacks choices")],
)
def test_file_that_is_no_report_is_refused(content, wanted, tmp_path):
    """In a line that says what to do."""
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BaselineError, match=wanted):
        load_baseline(path)


def test_number_of_fields_is_bounded():
    """A server may send millions of names."""
    shapes = Shapes()
    for letter in "abcde":
        shapes.add(answer(fields={f"/{letter * number}": "text" for number in range(1, 101)}))
    assert len(shapes.fields[CHAT]["200"]) == 300


def summarized(before, now):
    """Return what the terminal and the page say of two runs."""
    document = copy.deepcopy(now)
    document["baseline"] = compare_runs(before, now, "old/report.json")
    parser = Balanced()
    parser.feed(render_page(document))
    return [line.text for line in summarize(document)], " ".join(" ".join(parser.text).split())


def test_run_without_a_difference_says_so():
    """A line that is missing would say as well that nothing was compared."""
    lines, page = summarized(run(report("a/b", (), SEEN)), run(report("a/b", (), SEEN)))
    assert next(line for line in lines if line.startswith("against")).endswith(": nothing is different")
    assert "nothing is different." in page


def test_report_of_another_api_is_compared_with_nothing():
    """That no operation was asked in both runs is not that nothing is different; which API it is stands below."""
    before = run(report("a/b", (), SEEN))
    now = copy.deepcopy(before)
    now["matrix"] = [row for row in now["matrix"] if row["operation"].startswith("cybertron/")]
    before["matrix"] = [row for row in before["matrix"] if row["operation"].startswith("dify-chat/")]
    del now["target"]["dify-chat"]
    lines, page = summarized(before, now)
    place = next(number for number, line in enumerate(lines) if line.startswith("against"))
    assert lines[place].endswith(": nothing was compared, since no operation was asked in both runs")
    assert lines[place + 1] == "  only one of the runs asked dify-chat"
    assert "nothing was compared" in page


def test_all_counts_are_shown_however_many_there_are():
    """And what could not be compared, before the first differences."""
    before = run(report("a/b", (), SEEN))
    document = copy.deepcopy(before)
    document["baseline"] = compare_runs(before, document, "old/report.json")
    document["baseline"].update(counts=dict.fromkeys(SORTS, 1234), notes=["one note"])
    document["baseline"]["differences"] = [
        {"sort": "text", "operation": CHAT, "what": str(number), "before": "", "after": "x"} for number in range(99)
    ]
    lines = [line.text for line in summarize(document)]
    told_of = " ".join(" ".join(lines).split())
    assert [name for name in SORTS.values() if f"{name}: 1234" not in told_of] == []
    assert lines.index("  one note") < lines.index(f"  text: {CHAT} 0: nothing -> x")


def test_difference_that_operations_share_is_told_once():
    """In the terminal and in the page; the document has all."""
    before = run(report("a/b", (), SEEN))
    document = copy.deepcopy(before)
    document["baseline"] = compare_runs(before, document, "old/report.json")
    document["baseline"]["differences"] = [
        {"sort": "text", "operation": f"dify-chat/{name}", "what": "401", "before": "who?", "after": "no"}
        for name in ("getInfo", "getMeta", "getSite")
    ]
    assert "  text: dify-chat/getInfo and 2 more operations: 401: who? -> no" in [
        line.text for line in summarize(document)
    ]
    page = render_page(document)
    assert page.count("<td>who?</td>") == 1
    assert "<td>dify-chat/getInfo, dify-chat/getMeta, dify-chat/getSite</td>" in page


def test_folder_without_a_report_is_told_by_the_file_that_it_lacks(tmp_path):
    """The folder itself is there."""
    with pytest.raises(BaselineError, match=r"report\.json: cannot be read"):
        load_baseline(tmp_path)


def test_what_no_test_asked_again_is_not_missing():
    """With `-k` fewer statuses, fields and texts come; what never came before is told, and that tests were left out."""
    long = [
        report(
            f"{CHAT}/a", (), [*SEEN, [CHAT, "status", "400", True]], answers=[answer("400", texts=["a is missing"])]
        ),
        report(
            f"{CHAT}/b", (), SEEN, choices=[choice("204")], answers=[answer(fields={"": "object", "/a": "text"})] * 9
        ),
    ]
    short = [
        report(
            f"{CHAT}/b",
            (),
            [*SEEN, [CHAT, "event", "ping", True]],
            choices=[choice("200")],
            answers=[answer(fields={"": "object", "/b": "text"}, whole_s=0.5)] * 9,
        )
    ]
    chosen = ("choice", "what a deletion answers", "204", "200")
    told_of = [chosen, ("answered", "event ping", "", "came"), ("field", "200: /b", "", "text")]
    assert differences(run(*long), run(*short)) == told_of
    notes = ["this run left out 1 test of the other: what only their answers show is not compared"]
    assert compare_runs(run(*long), run(*short), "x")["notes"] == notes
    chosen = ("choice", "what a deletion answers", "200", "204")
    gone = [chosen, ("answered", "event ping", "came", ""), ("field", "200: /b", "text", "")]
    assert differences(run(*short), run(*long)) == gone


def test_text_with_or_and_and_in_it_is_one_text():
    """It is no list of several, though each of its parts may stand in the other run's."""
    pairs = [
        ("inputs and query are required", "inputs or query are required"),
        ("user or key is wrong", "key is wrong"),
    ]
    for old, new in pairs:
        before, now = (run(report("a/b", (), SEEN, answers=[answer("400", texts=[text])])) for text in (old, new))
        assert differences(before, now) == [("text", "400", old, new)]


def test_journey_that_was_left_out_concerns_every_operation():
    """Whichever it asks."""
    long = [report("chat/talk", (), [*SEEN, [CHAT, "status", "400", True]]), report(f"{CHAT}/b", (), SEEN)]
    assert differences(run(*long), run(long[1])) == []
    other = [report("cybertron/offlineUploadFile/a", (), [*SEEN, [CHAT, "status", "400", True]]), long[1]]
    assert differences(run(*other), run(long[1]))[0][:2] == ("answered", "status 400")
