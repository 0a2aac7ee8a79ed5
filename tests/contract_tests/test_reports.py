"""What is shown of a run: every report is a view of one document, and survives whatever a server says."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest
from reported import APIS, CHAT, empty, failure, parsed, report, stream, told

from contract_tests.cli.main import main
from contract_tests.http.exchange import Answer, Exchange, ReceivedBody, SentRequest
from contract_tests.judging.judge import Verdict
from contract_tests.report import folder, github, terminal
from contract_tests.report.grouping import group_causes, make_handle
from contract_tests.report.html import build_grids, render_page
from contract_tests.report.progress import ProgressReporter
from contract_tests.report.sarif import render_sarif
from contract_tests.suite.record import Record
from flowcontract import paths
from flowcontract.output.secrets import Secrets
from flowcontract.provenance.evidence import Tier
from flowcontract.provenance.locations import find_place
from flowcontract.recordings import reading as recordings
from flowcontract.schemas.violations import Violation

HOSTILE = [
    "\ud800",
    "\0",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "\u2028",
    "\u202e",
    "</script><script>alert(1)</script>",
    "]]>",
    "<!--",
    "\r\n::error::gone",
    "##[error]gone",
    "{{ 7*7 }}{% x %}",
    "名前 \U0001f600",
    "x" * 3_000_000,
]
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028\ud800-\udfff]")


@pytest.fixture
def results():
    """Return the results of nothing yet."""
    return empty()


def hostile(text):
    """Return the results of a run in which a server said a text in every place that there is."""
    results = empty()
    said = {"expected": text, "got": text, "where": f"/{text}"}
    quote = {"source": "004:107", "title": "title", "text": text}
    found = {**failure(**said), "curl": text, "reason": text, "quotes": [quote], "id": f"{CHAT}#type {text[:99]}"}
    ruling = {"name": "n", "decision": text, "why": text}
    streams = [stream([text], [2], text[:100]), stream([], [], text[:100])]
    seen = [(CHAT, "event", text, False), (CHAT, "status", "200", False)]
    choice = {"operation": CHAT, "name": text, "took": text, "ruling": "n"}
    results.add(
        report(
            test=f"a/{text}",
            failures=[{**found, "rulings": [ruling]}, {**found, "tier": "standard"}, {**found, "known": text}],
            streams=streams,
            seen=seen,
            choices=[choice],
        ),
        "failed",
        0.1,
    )
    results.add({**report(test=f"b/{text}"), "reason": text}, "skipped", 0.1)
    results.crashes = [{"test": text, "trace": text}]
    results.fixed = [{"id": text, "reason": text}]
    results.leftovers = [text]
    return results


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_reports_are_written_and_read_back_whatever_a_server_says(tmp_path, text):
    """Each file is whole and well-formed, of a bounded length, and shows what was said as far as that can be shown."""
    folder.prepare(tmp_path)
    recorder = folder.create_recorder(tmp_path, "main", Secrets())
    recorder.test = text
    heard = ReceivedBody()
    heard.add(0.1, text.encode("utf-8", "surrogatepass"))
    headers = {"content-type": text, "location": text}
    recorder.record(SentRequest("POST", "http://x/", (("X", text),), b"\xff"), Answer(200, headers), heard, text)
    recorder.close()
    folder.write(tmp_path, told(hostile(text), [text]))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(set(folder.FILES) - {"junit.xml"})
    assert all(path.stat().st_size < 12_000_000 for path in tmp_path.iterdir())
    assert len(json.loads((tmp_path / "report.json").read_bytes())["causes"]) == 3
    assert len(json.loads((tmp_path / "report.sarif").read_bytes())["runs"][0]["results"]) == 3
    [entry] = json.loads((tmp_path / "exchanges.har").read_bytes())["log"]["entries"]
    assert entry["response"]["_pieces"] == [{"at_ms": 100, "bytes": len(text.encode("utf-8", "surrogatepass"))}]
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    parsed(html)
    assert not _OBEYED.search(html)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("verbose", [False, True])
def test_terminal_gets_nothing_that_it_would_obey(text, verbose):
    """Whatever a server says, lines are ours, and short where they are a summary."""
    lines = terminal.summarize(told(hostile(text), [text]), verbose=verbose)
    assert not any(_OBEYED.search(line.text) or "\n" in line.text for line in lines)
    assert verbose or all(len(line.text) <= 160 for line in lines)


def test_summary_has_sixty_lines_at_most_and_the_most_severe_first(results):
    """Server errors, then what concerns security, then form; what is left out is counted."""
    form = [failure(rule=f"rule{n}") for n in range(200)]
    secure = failure(rule="outcome", expected="401: the key is wrong")
    broken = failure(rule="status", tier="server-error", got="500")
    for number, found in enumerate([*form, secure, broken]):
        known = failure(rule=f"known{number}", known=f"x{number}")
        results.add(report(test=f"t{number}", failures=[found, known]), "failed", 0.1)
        results.add({**report(test=f"s{number}"), "reason": f"because of {number}"}, "skipped", 0.1)
    document = told(results, [f"problem {n}" for n in range(9)])
    lines = [line.text for line in terminal.summarize(document)]
    assert len(lines) <= 60
    assert lines[0].startswith("FAILED: 202 causes in 202 tests,")
    titles = [line for line in lines if "; explain " in line]
    assert titles[0].startswith(f"server-error: {CHAT}: status")
    assert titles[1].startswith(f"security: {CHAT}: outcome")
    assert f"... and {202 - len(titles)} more causes" in " ".join(lines)
    everything = [line.text for line in terminal.summarize(document, verbose=True)]
    assert sum("; explain " in line for line in everything) == 202
    assert sum("because of" in line for line in everything) == 202


def test_reasons_fill_what_causes_leave_free(results):
    """A run without failures tells each reason in a line of its own."""
    for number in range(30):
        results.add({**report(test=f"s{number}"), "reason": f"because of {number}"}, "skipped", 0.1)
    assert sum("because of" in line.text for line in terminal.summarize(told(results))) == 30


def test_what_an_interrupted_run_did_not_come_to_is_listed(results):
    """It is one reason among the others, with all tests."""
    results.add(report(test="a"), "passed", 0.1)
    results.missing, results.interrupted = ["a", "b", "c"], True
    document = told(results)
    assert document["not_asked"]["the run was over before"] == ["b", "c"]
    assert any("the run was over before: b, c" in line.text for line in terminal.summarize(document))


def test_tests_that_see_the_same_are_one_block():
    """Operation, rule, place and what came make a cause, whichever test saw it."""
    found = group_causes([{**failure(), "test": f"t{n}"} for n in range(20)], "failure")
    assert [(len(cause["tests"]), cause["count"]) for cause in found] == [(20, 20)]
    assert found[0]["handle"] == make_handle(f"{CHAT}#type")


def test_failure_stands_at_the_status_that_was_expected():
    """A 200 where a 400 was to come is a gap at 400; what is no failure stands where it is."""
    record = Record()
    wrong = Violation("status", "400: field `x` is missing", "200")
    exchange = Exchange(SentRequest("GET", "http://x/", ()), Answer(200, {}))
    operation = APIS["dify-chat"].operations["getInfo"]
    record.note(operation, Verdict(exchange, (wrong,), missed=400))
    record.note(operation, Verdict(exchange, (Violation("status", "400: x", "200", tier=Tier.STANDARD),), missed=400))
    assert record.seen == [(operation.name, "status", "400", False), (operation.name, "status", "200", True)]


def test_grid_has_troubled_operations_first_and_a_sign_for_every_outcome(results):
    """Colours are not all: each cell says in a sign how it went, or that no document names it."""
    seen = [("dify-chat/getMeta", "status", "404", False), ("dify-chat/getMeta", "status", "418", True)]
    results.add(report(failures=[failure()], seen=seen), "failed", 0.1)
    [_, chat] = sorted(build_grids(told(results)["matrix"]), key=lambda grid: grid.api)
    assert chat.operations[0].name == "getMeta"
    assert chat.statuses == sorted(chat.statuses)
    html = render_page(told(results))
    assert '<td class="failed" title="404: 1 failed">✗' in html
    assert '<td class="passed" title="418 (in no document): 1 passed">✓<sup>?</sup>' in html


def test_page_says_how_the_run_ended_and_what_it_was(results):
    """Date, duration, version and options are on top, without the keys; the badge is no guess."""
    results.about = {"started": "2031-05-17T10:00:00Z", "seconds": 4.2, "version": "9.9", "options": ["--api x"]}
    results.interrupted = True
    said = parsed(render_page(told(results)))
    for part in ("2031-05-17 10:00:00 UTC", "4.2 s", "flowcontract 9.9", "--api x", "interrupted"):
        assert part in said
    assert 'class="badge interrupted"' in render_page(told(results))


def test_time_line_marks_where_a_stream_is_wrong(results):
    """Broken streams come first; a violation without an event stands at the end."""
    results.add(report(streams=[stream([], []), stream(["event 2: order", "end: x"], [2, None])]), "failed", 0.1)
    html = render_page(told(results))
    drawn = html[html.index('<article class="stream broken">') :]
    svg = ET.fromstring(drawn[drawn.index("<svg") : drawn.index("</svg>") + 6])
    marks = [part for part in svg if part.get("class") == "wrong"]
    rules = {part.text for part in svg if part.tag == "text" and part.get("class") == "rule"}
    assert (len(marks), rules) == (1, {"2", "end"})
    assert html.index("stream broken") < html.index("sound stream")


def test_sarif_has_what_the_standard_requires_and_names_lines_of_the_specs(results):
    """Each cause is a result at a line that cites what it rests on; known ones are suppressed."""
    found = [failure(rule="required", where="/message_id", source=("004:109", "ruling message-end-names-the-message"))]
    found += [failure(rule="status", source=(), known="x"), failure(rule="order", tier="standard", source=("RFC 1",))]
    results.add(report(failures=found), "failed", 0.1)
    log = json.loads(render_sarif(told(results)))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    [run] = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == sorted(set(rules))
    assert run["invocations"][0]["exitCode"] == 1
    for result in run["results"]:
        assert result["ruleId"] == rules[result["ruleIndex"]]
        assert result["message"]["text"]
        location = result["locations"][0]["physicalLocation"]
        text = (paths.find_specs_root().parent / location["artifactLocation"]["uri"]).read_text(encoding="utf-8")
        assert 1 <= location["region"]["startLine"] <= text.count("\n") + 1
    by_rule = {result["ruleId"]: result for result in run["results"]}
    assert [by_rule[rule]["level"] for rule in ("required", "status", "order")] == ["error", "warning", "note"]
    assert [len(by_rule[rule]["suppressions"]) for rule in ("required", "status", "order")] == [0, 1, 0]
    uri = by_rule["required"]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "specs/dify-chat/events/message_end.yaml"


def test_place_of_a_demand_is_the_line_that_cites_its_source():
    """The nearest part is meant: of the field, of the operation; without any it is the operation."""
    file, line = find_place(CHAT, ["004:108"], "/task_id")
    lines = (paths.find_specs_root().parent / file).read_text(encoding="utf-8").split("\n")
    assert lines[line - 1].strip() == "task_id:"
    own = find_place("dify-chat/getInfo", [])
    own_lines = (paths.find_specs_root().parent / own.file).read_text(encoding="utf-8").split("\n")
    assert "operationId: getInfo" in own_lines[own.line]


def test_annotations_are_commands_that_a_server_cannot_change(results):
    """One for each cause, at a file and line; what a server said stays inside its message."""
    results.add(report(failures=[failure(got="a\n::add-mask::b%0A", where="/a:b,c")]), "failed", 0.1)
    [line] = github.annotate(told(results))
    assert re.fullmatch(r"::error file=specs/[\w/.-]+,line=\d+,title=[^:,]+%3A type::[^\n]+", line)
    assert line.endswith("got a%0A::add-mask::b%250A")


def test_github_obeys_nothing_that_is_said_between_two_tokens():
    """Commands are stopped while a server's words are printed, and allowed again afterwards."""
    written = []
    with github.suspend_commands(written.append):
        written.append("::error::gone")
    [stop, _, resume] = written
    assert stop == f"::stop-commands::{resume.strip(':')}"
    assert len(resume) > 30


def test_summary_of_a_step_is_a_table_that_a_server_cannot_leave(results, tmp_path, monkeypatch):
    """Bars, line breaks and markup of a server are text; the file is added to."""
    path = tmp_path / "summary"
    path.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    results.add(report(failures=[failure(got="a | b\n\n# <img src=x> `c` \ud800")]), "failed", 0.1)
    github.append_summary(told(results))
    text = path.read_text(encoding="utf-8")
    [row] = [line for line in text.splitlines() if "text &lt;b&gt;" in line]
    assert row.count("|") == 8
    assert "a &#124; b # &lt;img src=x&gt; &#96;c&#96; \\ud800".replace("\\", "&#92;") in row
    assert text.startswith("before\n## Contract tests: failed")


def test_har_has_every_exchange_without_keys_and_with_the_times_of_pieces(tmp_path):
    """Keys are hidden in addresses, headers and bodies; binary bodies are base64, long ones are cut."""
    key = "app-0123456789abcdef"
    recorder = folder.create_recorder(tmp_path, "main", Secrets([key]))
    recorder.test = "a/b"
    heard, long = ReceivedBody(), ReceivedBody()
    heard.add(0.5, b"\xff\xfe")
    heard.add(1.5, f'{{"echo": "{key}"}}'.encode())
    long.add(0.1, b"y" * 900_000)
    headers = (("Authorization", f"Bearer {key}"), ("Content-Type", "application/json"))
    sent = SentRequest("POST", f"http://x/p?key={key}&a=1", headers, f'{{"k": "{key}"}}'.encode())
    recorder.record(sent, Answer(200, {"content-type": "audio/wav", "set-cookie": "s=1"}, elapsed_s=2), heard)
    recorder.record(sent, Answer(200, {}), long)
    recorder.record(sent, None, ReceivedBody(), f"refused {key}")
    recorder.close()
    text = "".join(folder.merge_har([tmp_path / ".exchanges-main.jsonl"], "1"))
    assert key not in text
    log = json.loads(text)["log"]
    assert log["version"] == "1.2"
    first, second, third = log["entries"]
    assert first["request"]["url"] == "http://x/p?key=***&a=1"
    assert {"name": "set-cookie", "value": "***"} in first["response"]["headers"]
    assert first["response"]["content"]["encoding"] == "base64"
    assert first["response"]["_pieces"] == [{"at_ms": 500, "bytes": 2}, {"at_ms": 1500, "bytes": 32}]
    assert first["timings"] == {"send": 0, "wait": 500, "receive": 1500}
    assert first["_test"] == "a/b"
    assert second["response"]["content"]["comment"] == "the beginning of 900000 bytes"
    assert (third["response"]["status"], third["_trouble"]) == (0, "refused ***")
    needed = {"startedDateTime", "time", "request", "response", "cache", "timings"}
    assert all(needed <= set(entry) for entry in log["entries"])


def test_har_of_a_run_is_read_as_it_was_sent(tmp_path):
    """A binary body byte for byte, one that is cut not at all, and an empty answer as one that is empty."""
    recorder = folder.create_recorder(tmp_path, "main", Secrets())
    sent = SentRequest("POST", "http://x/p", (("Content-Type", "application/octet-stream"),), b"\x89PNG\xff")
    recorder.record(sent, Answer(200, {"content-type": "application/json"}), ReceivedBody())
    recorder.record(replace(sent, body=b"y" * 900_000), Answer(200, {}), ReceivedBody())
    recorder.close()
    text = "".join(folder.merge_har([tmp_path / ".exchanges-main.jsonl"], "1"))
    whole, cut = recordings.parse(text.encode(), "exchanges.har")
    assert (whole.asked, whole.answer.body) == (sent.body, b"")
    assert cut.asked is None


def test_exchanges_of_several_threads_do_not_mix(tmp_path):
    """Journeys ask several things at once: every line is one exchange, and none is lost."""
    recorder = folder.create_recorder(tmp_path, "main", Secrets())
    sent = SentRequest("POST", "http://x/p", (), b"y" * 3000)

    def record(_: int) -> None:
        recorder.record(sent, Answer(200, {}), ReceivedBody())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns in the middle of everything
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(record, range(500)))
    finally:
        sys.setswitchinterval(interval)
    recorder.close()
    text = "".join(folder.merge_har([tmp_path / ".exchanges-main.jsonl"], "1"))
    assert [entry["request"]["bodySize"] for entry in json.loads(text)["log"]["entries"]] == [3000] * 500


def test_har_of_a_process_that_was_killed_has_what_was_whole(tmp_path):
    """Half a line at the end is left out."""
    path = tmp_path / "x"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert json.loads("".join(folder.merge_har([path], "1")))["log"]["entries"] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("in_the_way", ["out", "out/report"])
def test_folder_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path, in_the_way):
    """It is misuse, in one line."""
    (tmp_path / "out").write_text("")
    with pytest.raises(folder.ReportError, match=r"--report .*: cannot be written: .*\. Name another folder\."):
        folder.prepare(tmp_path / in_the_way)


def test_report_that_cannot_be_written_costs_no_other(tmp_path, results, monkeypatch):
    """The rest is there, and it is said which is not, be that our own fault."""
    folder.prepare(tmp_path)
    (tmp_path / "report.sarif").mkdir()
    monkeypatch.setattr(folder, "to_json_text", lambda _: 1 / 0)
    with pytest.raises(
        folder.ReportError, match=r"(?s)report\.json: cannot be made: Zero.*report\.sarif: cannot be written"
    ):
        folder.write(tmp_path, told(results))
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "exchanges.har").is_file()


def test_keys_are_in_no_report(tmp_path, results):
    """Wherever a server echoes one, in whatever form."""
    keys = ["app-0123456789abcdef", "tok en/+9876543210"]
    text = f"a {keys[0]} b {keys[1]} c tok%20en%2F%2B9876543210"
    document = told(hostile(text), [text], keys)
    folder.prepare(tmp_path)
    folder.write(tmp_path, document)
    shown = "\n".join(line.text for line in terminal.summarize(document, verbose=True))
    for written in [shown, *(path.read_text() for path in tmp_path.iterdir())]:
        assert not re.search("0123456789abcdef|9876543210", written)


def explained(arguments, capsys):
    """Run `explain`; return its exit status and what it said."""
    status = main(["explain", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out + said.err


def test_explain_tells_all_of_a_cause(tmp_path, results, capsys):
    """Expected, got, the document's title and lines, the ruling with its text, all tests, and the curl."""
    quote = {"source": "004:1", "title": "The Document", "text": "line one\nline two"}
    ruling = {"name": "r", "decision": "the decision", "why": "the reason"}
    for test in ("a", "b"):
        found = {**failure(got=f"got {test}"), "quotes": [quote], "rulings": [ruling]}
        results.add(report(test=test, failures=[found, failure(rule="typo")]), "failed", 0.1)
    results.about = {"started": "2031-05-17T10:00:00Z", "seconds": 4.2, "version": "9.9", "options": []}
    folder.prepare(tmp_path)
    folder.write(tmp_path, told(results))
    for name in (make_handle(f"{CHAT}#type"), f"{CHAT}#type"):
        status, said = explained([name, "--report", tmp_path], capsys)
        assert status == 0
        for part in (
            "The Document, 004:1:",
            "  | line two",
            "the decision",
            "the reason",
            "got b",
            "curl x",
            "2 tests",
        ):
            assert part in said
        assert "typo" not in said
    status, said = explained(["#ty", "--report", tmp_path / "report.json"], capsys)
    assert (status, said.count("\n")) == (0, 3)
    status, said = explained(["--report", tmp_path], capsys)
    assert status == 0
    assert said.count(CHAT) == 2
    assert "\nbegun 2031-05-17T10:00:00Z: dify-chat at http" in said


@pytest.mark.parametrize("text", [None, "{}", "[]", "no", '{"causes": [{}]}', "[" * 100_000])
def test_explain_without_a_report_is_misuse(tmp_path, capsys, text):
    """It says in one line what it looked for and what to do."""
    path = tmp_path / "report.json"
    if text is not None:
        path.write_text(text)
    status, said = explained(["x", "--report", path], capsys)
    assert status == 2
    assert said.startswith("contract-tests: ")
    assert said.count("\n") == 1


def test_explain_prefers_the_operation_that_was_named(tmp_path, results, capsys):
    """The tutorial asks for an operation: what fuzzing found there as well does not make that ambiguous."""
    results.add(report(failures=[failure(), failure(operation=f"{CHAT}/fuzzed")]), "failed", 0.1)
    folder.prepare(tmp_path)
    folder.write(tmp_path, told(results))
    status, said = explained([CHAT, "--report", tmp_path], capsys)
    assert status == 0
    assert said.startswith(f"failure {make_handle(f'{CHAT}#type')}: {CHAT}#type\n")
    _, said = explained([CHAT[:-1], "--report", tmp_path], capsys)
    assert said.startswith(f'"{CHAT[:-1]}" fits 2 causes. Name one of them by its short name:\n')


def test_explain_of_an_unknown_cause_guesses(tmp_path, results, capsys):
    """It does not list hundreds of causes on one line."""
    results.add(report(failures=[failure()]), "failed", 0.1)
    folder.prepare(tmp_path)
    folder.write(tmp_path, told(results))
    status, said = explained([f"{CHAT}#tipe", "--report", tmp_path], capsys)
    assert status == 2
    assert f'Did you mean "{CHAT}#type"?' in said


def test_progress_is_plain_lines_by_api_where_there_is_no_terminal(capsys):
    """Each tenth of the tests is a line, with what failed so far."""

    class Outcome:
        when, duration, failed, nodeid = "call", 12.0, True, "test_operations.py::test_x[dify-chat/a/b]"

    written = []
    progress = ProgressReporter(["dify-chat", "cybertron"], written.append)
    nodeids = [f"test_operations.py::test_x[dify-chat/a/{n}]" for n in range(30)] + ["journeys/test_chat.py::test_y"]
    progress.pytest_xdist_node_collection_finished(None, nodeids)
    progress.pytest_runtest_logreport(Outcome())
    for nodeid in nodeids:
        progress.pytest_runtest_logstart(nodeid)
        progress.pytest_runtest_logfinish(nodeid)
    assert written[0] == "12 s: dify-chat/a/b"
    assert written[-1] == "100 %  dify-chat 30/30, 1 failed, journeys 1/1"
    shares = [int(line.split()[0]) for line in written[1:]]
    assert len(shares) == 10
    assert all(before < after for before, after in pairwise(shares))


@pytest.mark.parametrize(
    ("rule", "expected", "severity"),
    [
        ("status", "404: the run is another user's", "security"),
        ("agree", "a run that another user cannot stop", "security"),
        ("increasing", "data.index above 1", "form"),
        ("schema", "an object with the field `sequence_number`", "form"),
        ("code", "401 or 403: the key is wrong", "security"),
    ],
)
def test_only_what_a_test_asks_about_others_is_security(rule, expected, severity):
    """What every stream is judged by is no matter of security where the stream is one that another user stops."""
    seen = {**failure(rule=rule, expected=expected), "test": "chat/another_user_cannot_stop_an_answer"}
    assert [cause["severity"] for cause in group_causes([seen], "failure")] == [severity]
