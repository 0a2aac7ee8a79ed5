"""Two servers that are asked the same: where they differ, whom the contract is with, and what is only chance."""

from __future__ import annotations

import json

import pytest

from contract_tests.cli.main import main
from contract_tests.report.side_by_side import compare_servers, keep_repeated, read_run
from flowcontract.specs.model import load_api

CHAT = load_api("dify-chat")
ID, OTHER = "8f1d2c3b-0000-4000-8000-00000000000a", "8f1d2c3b-0000-4000-8000-00000000000b"


def entry(answer, *, status=200, test="a/b", path="/v1/info"):
    """Return an exchange of the suite's HAR file."""
    streamed = isinstance(answer, list)
    text = "".join(f"data: {json.dumps(each)}\n\n" for each in answer) if streamed else json.dumps(answer)
    kind = "text/event-stream" if streamed else "application/json"
    return {
        "request": {"method": "POST" if streamed else "GET", "url": f"http://h{path}"},
        "response": {"status": status, "headers": [], "content": {"mimeType": kind, "text": text}},
        "_test": test,
    }


def failure(rule, expected, where="", test="a/b", operation="dify-chat/getInfo"):
    """Return a violation as report.json has it."""
    told = {"rule": rule, "expected": expected, "got": "something else", "where": where}
    return {**told, "test": test, "operation": operation, "source": ["002:1"], "tier": "document"}


def compared(tmp_path, old, new, *, old_failures=(), new_failures=()):
    """Return the findings for two runs of exchanges and violations."""
    runs = []
    for name, entries, failures in (("old", old, old_failures), ("new", new, new_failures)):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "exchanges.har").write_text(json.dumps({"log": {"entries": entries}}))
        document = {"failures": list(failures), "notes": [], "deviating": []}
        (folder / "report.json").write_text(json.dumps(document))
        runs.append(read_run(folder, [CHAT]))
    return compare_servers(runs[0][0], runs[1][0], {**runs[0][1], **runs[1][1]})


def told(findings):
    """Return what differs, and the verdicts."""
    return [(each.difference.what, each.difference.old, each.difference.new, each.verdict) for each in findings]


def test_ids_and_times_are_matched_and_not_compared(tmp_path):
    """Where they stand for each other throughout; another id in one of two places is a difference."""
    old = {"a": ID, "b": ID, "url": f"/files/{ID}", "at": 1_732_147_200, "on": "2026-11-20T21:42:25"}
    new = {"a": OTHER, "b": OTHER, "url": f"/files/{OTHER}", "at": 1_795_211_550, "on": "2026-11-29T10:00:00"}
    assert compared(tmp_path, [entry(old)], [entry(new)]) == []
    found = compared(tmp_path, [entry(old)], [entry({**new, "b": ID})])
    assert [each.difference.what for each in found] == ["body /b"]


def test_the_contract_says_who_is_right(tmp_path):
    """By the line that one of them breaks where they differ; where none does, both are allowed."""
    old = {"name": "x", "description": "y", "tags": [], "mode": "chat"}
    new = {"name": "x", "tags": None, "mode": "advanced-chat"}
    missing = failure("required", "an object with the field `description`")
    wrong = failure("type", "a list", "/tags")
    found = compared(tmp_path, [entry(old)], [entry(new)], old_failures=[wrong], new_failures=[missing, wrong])
    assert told(found) == [
        ("body /description", '"y"', "", "the old server is right"),
        ("body /mode", '"chat"', '"advanced-chat"', "the contract allows both"),
        ("body /tags", "[]", "null", "neither is right"),
    ]
    assert found[0].because == [
        "new: expected an object with the field `description`, got something else, by 002:1 [document]"
    ]


def test_status_is_told_before_all_else(tmp_path):
    """Two answers with different statuses have nothing else in common."""
    wrong = failure("status", "200: the request is documented")
    found = compared(tmp_path, [entry({"a": 1}, status=404)], [entry({"b": 1})], old_failures=[wrong])
    assert told(found) == [("status", "404", "200", "the new server is right")]


def test_streams_are_compared_by_kinds_and_first_payloads(tmp_path):
    """How many pieces a text has is chance; an event of another kind is not."""
    old = [{"event": "message", "answer": "a"}] * 3 + [{"event": "message_end"}]
    new = [{"event": "message", "answer": "a", "more": 1}, {"event": "error"}, {"event": "message_end"}]
    path = "/v1/chat-messages"
    found = compared(tmp_path, [entry(old, path=path)], [entry(new, path=path)])
    assert told(found) == [
        ("event message /more", "", "1", "the contract allows both"),
        ("events", "message message_end", "message error message_end", "the contract allows both"),
    ]


def test_only_what_differs_each_time_is_told(tmp_path):
    """A field that is there once is chance, and so is a verdict that changes."""
    one = compared(tmp_path, [entry({"a": 1, "b": 1})], [entry({"a": 2, "b": 2})])
    other = compared(tmp_path, [entry({"a": 1, "b": 1})], [entry({"a": 2, "b": 1})])
    assert [finding.difference.what for finding in keep_repeated([one, other])] == ["body /a"]


@pytest.mark.parametrize(
    ("typed", "asked", "meant"),
    [
        ("--odl http://127.0.0.1:9 --new http://127.0.0.1:9", "--odl", "--old"),
        ("--old http://127.0.0.1:9 --new http://127.0.0.1:9 --repaet=3", "--repaet", "--repeat"),
    ],
)
def test_slip_in_an_option_of_its_own_is_told_before_a_run_begins(typed, asked, meant, capsys):
    """The run would guess at an option of a run."""
    assert main(["compare", *typed.split()]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f'contract-tests: "{asked}" is no option of contract-tests compare. Did you mean "{meant}"?')


def test_what_fuzzing_made_up_is_not_compared(tmp_path):
    """It depends on what each server answered before."""
    assert compared(tmp_path, [entry({"a": 1}, test="fuzzing/x")], [entry({"a": 2}, test="fuzzing/x")]) == []


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--new", "http://127.0.0.1:1"], "Where is the old server? Add --old URL"),
        (
            ["--old", "http://127.0.0.1:1", "--new", "http://127.0.0.1:1", "--api", "dify-chat"],
            "old server did not come to its end: Nothing answers for dify-chat",
        ),
    ],
)
def test_server_that_is_not_there_is_named(arguments, wanted, capsys):
    """In a line, with exit code 2: there is no verdict."""
    assert main(["compare", *arguments]) == 2
    assert wanted in capsys.readouterr().err
