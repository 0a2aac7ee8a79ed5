"""Two servers that are asked the same: where they differ, whom the contract is with, and what is only chance."""

from __future__ import annotations

import json
import socket

import pytest

from contract_tests.cli.compare import write_lines
from contract_tests.cli.main import main
from contract_tests.report.side_by_side import compare_servers, count_compared, find_chance, keep_repeated, read_run
from flowcontract.specs.model import load_api
from mockserver import MockServer, Settings

CHAT = load_api("dify-chat")
CHAT_OPERATIONS = {operation.name: operation for operation in CHAT.operations.values()}
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


def write_run(folder, entries, failures=()):
    """Write the two reports of a run that are compared."""
    folder.mkdir(exist_ok=True)
    (folder / "exchanges.har").write_text(json.dumps({"log": {"entries": entries}}))
    document = {"failures": list(failures), "notes": [], "deviating": []}
    (folder / "report.json").write_text(json.dumps(document))


def compared(tmp_path, old, new, *, old_failures=(), new_failures=()):
    """Return the findings for two runs of exchanges and violations."""
    runs = []
    for name, entries, failures in (("old", old, old_failures), ("new", new, new_failures)):
        write_run(tmp_path / name, entries, failures)
        runs.append(read_run(tmp_path / name, [CHAT]))
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


def test_what_one_server_answers_differently_each_time_is_no_difference(tmp_path):
    """What a model says is another text each time; that one server says null there is told: the other never does."""
    runs = {"old": [], "new": []}
    for number, answers in enumerate((("a", "b", None), ("c", "d", None))):
        said, other, nothing = answers
        old = [entry({"answer": said, "more": said, "mode": "x"})]
        new = [entry({"answer": other, "more": nothing, "mode": "y"})]
        for place, entries in (("old", old), ("new", new)):
            write_run(tmp_path / f"{place}-{number}", entries)
            runs[place].append(read_run(tmp_path / f"{place}-{number}", [CHAT])[0])
    rounds = [compare_servers(*pair, CHAT_OPERATIONS) for pair in zip(runs["old"], runs["new"], strict=True)]
    assert [finding.difference.what for finding in keep_repeated(rounds)] == [
        "body /answer",
        "body /mode",
        "body /more",
    ]
    chance = find_chance(runs["old"], CHAT_OPERATIONS)
    assert [finding.difference.what for finding in keep_repeated(rounds, chance)] == ["body /mode", "body /more"]


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
            "server did not come to its end: Nothing answers for dify-chat",  # whichever is first
        ),
    ],
)
def test_server_that_is_not_there_is_named(arguments, wanted, capsys):
    """In a line, with exit code 2: there is no verdict."""
    assert main(["compare", *arguments]) == 2
    assert wanted in capsys.readouterr().err


def test_differences_of_one_place_do_not_hide_each_other(tmp_path):
    """Two statuses instead of one, two texts of refusals, a value that is null and one that is gone are two things."""
    wrong = failure("status", "401: the key is wrong", test="a/c")
    old = [entry({}, test="a/b"), entry({}, test="a/c"), *(entry({"detail": text}, status=403) for text in ("x", "y"))]
    new = [entry({}, status=403, test="a/b"), entry({}, status=401, test="a/c")]
    new += [entry({"detail": text}, status=403) for text in ("v", "w")]
    found = compared(tmp_path, old, new, old_failures=[wrong])
    assert told(found) == [
        ("status", "200", "401", "the new server is right"),
        ("status", "200", "403", "the contract allows both"),
        ("body /detail", '"x"', '"v"', "the contract allows both"),
        ("body /detail", '"y"', '"w"', "the contract allows both"),
    ]


def test_texts_that_a_run_makes_up_are_one_difference(tmp_path):
    """The name of a file in an answer is the run's, a text of a refusal the server's."""
    old, new = [[entry({"path": f"{name}{number}"}) for name in ("note", "picture")] for number in ("-old-", "-new-")]
    assert len(compared(tmp_path, old, new)) == 1


def test_id_that_agrees_with_another_in_one_answer_only_is_told_as_that(tmp_path):
    """In whichever of the two it agrees: both values are ids, which say nothing by themselves."""
    agreeing, others = {"a": ID, "b": ID}, {"a": ID, "b": OTHER}
    came, new = "an id that came before", "a new id"
    found = compared(tmp_path, [entry(agreeing)], [entry(others)])
    assert told(found) == [("body /b", f'"{ID}", {came}', f'"{OTHER}", {new}', "the contract allows both")]
    found = compared(tmp_path, [entry(others)], [entry(agreeing)])
    assert told(found) == [("body /b", f'"{OTHER}", {new}', f'"{ID}", {came}', "the contract allows both")]


def test_what_the_target_file_claims_is_not_the_contract_s_word(tmp_path):
    """That a request provokes an error is known of one release; a server error is wrong however it was provoked."""
    test = "dify-chat/getInfo/provoked/400 invalid"
    claimed = failure("status", "400: invalid was provoked", test=test)
    answers = [entry({}, test=test)], [entry({}, status=400, test=test)]
    assert told(compared(tmp_path, *answers, old_failures=[claimed]))[0][3] == "the contract allows both"
    crashed = {**claimed, "tier": "server-error"}
    assert told(compared(tmp_path, *answers, old_failures=[crashed]))[0][3] == "the new server is right"


def test_difference_that_operations_share_is_told_once(tmp_path):
    """With the operations that it concerns, after what is only one's own."""
    paths = ("/v1/info", "/v1/meta", "/v1/parameters")
    old = [entry({"detail": "no key"}, status=403, path=path) for path in paths]
    new = [entry({"detail": "which key?"}, status=403, path=path) for path in paths[:2]] + [entry({}, path=paths[2])]
    lines = list(write_lines(compared(tmp_path, old, new)))
    assert [line for line in lines if not line.startswith(" ")] == [
        "dify-chat/getParameters",
        "dify-chat/getInfo, dify-chat/getMeta",
    ]
    assert sum("which key?" in line for line in lines) == 1
    assert any("(2 times: a/b)" in line for line in lines)


def test_requests_that_were_sent_at_once_are_paired_by_what_they_ask(tmp_path):
    """In which order they are answered is chance; ids and invented names come after what is the same to the letter."""
    said = {f"/v1/info?question-{number}&of={ID}": word for number, word in enumerate(("first", "second"))}
    old = [entry({"detail": word}, path=path) for path, word in said.items()]
    assert compared(tmp_path, old, old[::-1]) == []
    new = [entry({"detail": word}, path=path.replace(ID, OTHER)) for path, word in said.items()]
    assert compared(tmp_path, old, new) == []


def test_requests_are_counted(tmp_path):
    """Those that both were asked, and those that only one was: what an answer names may be asked next."""
    old = [entry({}), entry({}, test="a/c"), entry({}, path="/v1/meta")]
    compared(tmp_path, old, [entry({}), entry({}, path="/v1/meta", test="a/c")])
    runs = [read_run(tmp_path / name, [CHAT])[0] for name in ("old", "new")]
    assert count_compared(*runs) == (1, 3)


@pytest.fixture(scope="module")
def mock():
    """Run a mock of the chat."""
    with MockServer(["dify-chat"], settings=Settings(pace=0)) as running:
        yield running


def compare(mock, *more, new="", tests="getInfo and documented"):
    """Return the exit status of the command against a mock, asked once."""
    servers = ["--old", mock.origin, "--new", new or mock.origin]
    return main(["compare", *servers, "--api", "dify-chat", "--repeat", "1", "-k", tests, *more])


def test_server_is_compared_with_itself_and_that_is_said(mock, tmp_path, capsys):
    """Who types the same URL twice learns it; what was compared is counted, in the file, too."""
    assert compare(mock, "--report", str(tmp_path / "out")) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "0 differences in the answers to 1 request, in 1 round.",
        f"Both are {mock.origin}: these are answers of one server.",
    ]
    assert said.err == "Round 1 of 1: both servers are asked.\n"
    written = json.loads((tmp_path / "out" / "compare.json").read_bytes())
    assert (written["compared"], written["not_compared"], written["differences"]) == (1, 0, [])


def test_comparison_of_nothing_is_no_verdict(tmp_path, monkeypatch, capsys):
    """Where no test asked both the same, no difference says nothing."""

    def ask(arguments, others, folders):
        for path, folder in zip(("/v1/info", "/v1/meta"), folders.values(), strict=True):
            write_run(folder, [entry({}, path=path)])

    monkeypatch.setattr("contract_tests.cli.compare._ask_both", ask)
    assert main(["compare", "--old", "http://h", "--new", "http://i", "--report", str(tmp_path)]) == 2
    assert "Nothing was compared" in capsys.readouterr().err


def test_new_server_that_is_not_there_is_told_while_the_old_one_is_still_asked(capsys):
    """By the option of this command, though a run of the suite says it; the old one here never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert main(["compare", "--old", url, "--new", "http://127.0.0.1:1", "--api", "dify-chat"]) == 2
    said = capsys.readouterr().err
    assert "the new server did not come to its end: Nothing answers for dify-chat" in said
    assert "correct --new" in said


def test_target_file_that_is_not_there_is_named_by_this_command_s_option(mock, capsys):
    """A run knows only `--target`."""
    assert compare(mock, "--new-target", "nowhere.toml") == 2
    assert "Name a target file with --new-target." in capsys.readouterr().err


def test_option_that_nobody_knows_is_named(mock, capsys):
    """What pytest does not know either."""
    assert compare(mock, "--nosuch") == 2
    assert 'did not come to its end: "--nosuch" is no option of contract-tests.' in capsys.readouterr().err


def test_folder_that_cannot_be_written_is_no_difference(mock, tmp_path, capsys):
    """Its exit code is 2, and nothing was asked."""
    (tmp_path / "file").write_text("")
    assert compare(mock, "--report", str(tmp_path / "file")) == 2
    assert "cannot be written" in capsys.readouterr().err
