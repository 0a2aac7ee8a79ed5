"""`contract-tests judge` tells people what the judge found, and programs by its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract_tests.cli.main import main
from flowcontract.recordings import jsonl
from flowcontract.recordings.har_writing import save_har
from mockserver.proxy.rewriting import Rewriting

SAVED = Path(__file__).parents[1] / "data" / "judge"
RECORDED = Path(__file__).parents[1] / "data" / "streams" / "recorded"
CHAT = RECORDED / "dify-1.4.1" / "165_chat_streaming.sse"
BROKEN_OFF = RECORDED / "dify-1.4.1" / "102_run_streaming_client_disconnects.sse"
FLOW = RECORDED / "langflow-1.4.3" / "run_stream_ok.json-lines"


def test_a_good_stream_is_told_with_its_events_and_its_order(capsys):
    """Every event with its number and place, then the verdict; the exit status is 0."""
    assert main(["judge", "--operation", "dify-chat/sendChatMessage", str(CHAT)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{CHAT}: dify-chat/sendChatMessage"
    assert lines[1].split() == ["1", "byte", "0", "workflow_started"]
    assert lines[-1] == 'well: follows the observed order "run-then-end" (13 events)'
    assert len(lines) == 15


def test_a_broken_stream_is_told_with_rule_place_and_source(capsys):
    """What is wrong stands behind the event it belongs to; the exit status is 1."""
    assert main(["judge", "--operation", "dify-workflow/runWorkflow", str(BROKEN_OFF)]) == 1
    out = capsys.readouterr().out
    assert "  WRONG end at event 2\n" in out
    assert "        got       the stream ended after node_started\n" in out
    assert "001:129-143" in out
    assert out.endswith("broken: 1 violation (2 events)\n")


def test_a_violation_stands_behind_its_event(tmp_path, capsys):
    """The report reads like the stream: the wrong event, what is wrong with it, the next event."""
    changed = tmp_path / "changed.sse"
    changed.write_bytes(CHAT.read_bytes().replace(b'"index": 2', b'"index": 1', 1))
    assert main(["judge", "--operation", "dify-chat/sendChatMessage", str(changed)]) == 1
    lines = capsys.readouterr().out.splitlines()
    place = next(n for n, line in enumerate(lines) if "WRONG" in line)
    assert lines[place].startswith("  WRONG increasing at event 4, byte 3103, /data/index")
    assert "node_started" in lines[place - 1]


def test_without_an_operation_the_one_that_fits_is_found(capsys):
    """Each file is judged by every streaming operation; the best verdict is told, the worst is the status."""
    assert main(["judge", "--quiet", str(CHAT), str(FLOW)]) == 0
    assert main(["judge", "--quiet", str(FLOW), str(BROKEN_OFF)]) == 1
    out = capsys.readouterr().out
    assert f"{CHAT}: dify-chat/sendChatMessage\nwell: " in out
    assert f"{FLOW}: agentbuilder/runFlow\nwell: " in out
    assert "byte 0 " not in out


def test_broken_chat_is_no_fine_workflow_of_unknown_events(tmp_path, capsys):
    """The contract that names most of the events judges, though the stream would break no other."""
    path = tmp_path / "no-end.sse"
    path.write_bytes(CHAT.read_bytes()[: CHAT.read_bytes().rindex(b"data: ")])  # message_end is the last event
    assert main(["judge", "--quiet", str(path)]) == 1
    assert f"{path}: dify-chat/sendChatMessage\n" in capsys.readouterr().out
    assert main(["judge", "--quiet", "--operation", "dify-chat/sendChatMessage", str(path)]) == 1
    assert "does follow" not in capsys.readouterr().out


def test_a_pipe_is_judged_while_it_comes():
    """An event is printed as soon as its block is whole, long before the pipe is closed."""
    command = [sys.executable, "-m", "contract_tests", "judge", "--operation", "dify-chat/sendChatMessage", "-"]
    stream = CHAT.read_bytes()
    first = stream.index(b"\n\n") + 2
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(stream[:first])
        running.stdin.flush()
        assert running.stdout.readline() == b"standard input: dify-chat/sendChatMessage\n"
        assert running.stdout.readline().split() == [b"1", b"byte", b"0", b"workflow_started"]
        assert running.poll() is None
        out, _ = running.communicate(stream[first:], timeout=30)
    assert out.splitlines()[-1] == b'well: follows the observed order "run-then-end" (13 events)'
    assert running.returncode == 0


def test_an_endless_pipe_is_given_up_within_its_budget():
    """The command ends by itself although the pipe stays open."""
    command = [sys.executable, "-m", "contract_tests", "judge", "--quiet", "--events", "5"]
    command += ["--operation", "dify-chat/sendChatMessage", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(CHAT.read_bytes())
        running.stdin.flush()
        out = running.stdout.read()
        assert running.wait(timeout=30) == 1
    assert b"WRONG budget at event 6" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["judge", "-"], "Give --operation, one of agentbuilder/runFlow, dify-chat/sendChatMessage"),
        (["judge", "nowhere.sse"], "nowhere.sse cannot be read: No such file or directory."),
        (["judge", "--operation", "dify-chat/sendChat", "x"], 'Did you mean "dify-chat/sendChatMessage"?'),
        (["judge", "--operation", "dify/run", "x"], "No API"),
        (["judge", "--profile", "older", "x"], "Name it: --profile API=NAME"),
        (["judge", "--profile", "dify-chatt=1.4", "x"], 'Did you mean "dify-chat"?'),
    ],
)
def test_misuse_is_told_in_a_line_and_ends_with_2(arguments: list[str], told: str, capsys):
    """What was asked, what there is, what to do; never a traceback."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.err.startswith("contract-tests: ")
    assert captured.err.count("\n") == 1


def test_a_profile_changes_what_a_stream_is_judged_by(capsys):
    """The contract of an older server is chosen by name; an unknown one is refused."""
    chunks = str(RECORDED / "dify-0.14.0" / "323_llm_run_streaming.sse")
    assert main(["judge", "--quiet", "--operation", "dify-workflow/runWorkflow", "--profile", "older", chunks]) == 0
    assert "no document names text_chunk" in capsys.readouterr().out
    named = ["--operation", "dify-workflow/runWorkflow", "--profile", "dify-workflow=older"]
    assert main(["judge", "--quiet", *named, chunks]) == 0
    assert "no document names text_chunk" in capsys.readouterr().out
    assert main(["judge", "--operation", "dify-workflow/runWorkflow", "--profile", "none-such", str(CHAT)]) == 2
    assert "none-such" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["judge", "--help"]])
def test_help_has_an_example(arguments: list[str], capsys):
    """Help exits 0 and shows a command line."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "contract-tests judge --operation dify-chat/sendChatMessage" in out


def test_an_unknown_command_is_misuse(capsys):
    """What there is is told, with status 2."""
    assert main(["run"]) == 2
    assert 'No command "run". There is: compare, explain, infer, judge.' in capsys.readouterr().err


CHAT_ARGUMENTS = ["judge", "--quiet", "--operation", "dify-chat/sendChatMessage"]
RUN_ARGUMENTS = ["judge", "--quiet", "--operation", "dify-workflow/runWorkflow"]
COMMAND = [sys.executable, "-m", "contract_tests"]

NO_STREAMS = {
    "err.txt": 'a JSON error body: {"code": "invalid_param", "message": "required field `query` is missing"',
    "504.html": "an HTML page: 504 Gateway Time-out",
    "powershell-utf16.sse": "UTF-16, as PowerShell redirects: save it as UTF-8",
    "ndjson.txt": "lines of JSON (NDJSON) without `data:`",
}


@pytest.mark.parametrize(("name", "told"), NO_STREAMS.items())
def test_what_is_no_stream_is_called_by_its_name(name: str, told: str, capsys):
    """What people save or pipe instead of a stream gets no verdict, and is told in a line what it is."""
    assert main([*CHAT_ARGUMENTS, str(SAVED / name)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{name} is no stream: it is {told}" in captured.err
    piped = subprocess.run([*COMMAND, *CHAT_ARGUMENTS, "-"], input=(SAVED / name).read_bytes(), capture_output=True)
    assert piped.returncode == 2
    assert f"standard input is no stream: it is {told}" in piped.stderr.decode()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"detail": "Not Found"}\n', "a JSON error body"),
        (b'{\n  "message": "no"\n}\n', "a JSON error body"),
        (b'{"event": "message", "answer": "Hi", "mode": "chat"}\n', "a JSON body, an answer that is not streamed"),
        (b'{"code": "inva', "JSON that is broken or cut off"),
        (b"[1, 2]", "JSON, but no object"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE html><HTML><TITLE>Sign\n in</TITLE>", "an HTML page: Sign in"),
        (b"<?xml version='1.0'?><Error/>", "markup: <?xml"),
        ('data: {"event": "ping"}'.encode("utf-16-le"), "UTF-16"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "compressed with gzip"),
        (b"PK\x03\x04" + bytes(20), "a ZIP archive"),
        (b'1a\r\ndata: {"event": "ping"}\r\n\r\n\r\n0\r\n\r\n', "a body in chunks"),
        (b"HTTP/2 204\r\nserver: x\r\n", "the head of an answer without its body: HTTP/2 204 server: x"),
        (b'data: {"id": "1", "object": "chat.completion.chunk"}\n\n', "a stream of the OpenAI form"),
        (b'HTTP/1.1 404 NOT FOUND\r\n\r\n{"code": "not_found"}', "a JSON error body"),
    ],
)
def test_other_things_that_are_no_stream_have_names_too(data: bytes, told: str, tmp_path, capsys):
    """Each kind by its own signs, not by the name of the file."""
    path = tmp_path / "saved"
    path.write_bytes(data)
    assert main([*CHAT_ARGUMENTS, str(path)]) == 2
    assert f"is no stream: it is {told}" in capsys.readouterr().err


def test_heads_before_a_stream_are_skipped_with_a_note(tmp_path, capsys):
    """`curl -i -L` prints one head after the other; the stream behind them is judged, in a file and in a pipe."""
    heads = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /x\r\n\r\nHTTP/2 200 \r\nserver: nginx\r\n\r\n"
    path = tmp_path / "answer.txt"
    path.write_bytes(heads + CHAT.read_bytes())
    assert main([*CHAT_ARGUMENTS, str(path)]) == 0
    out = capsys.readouterr().out
    assert "note: skipped the head of the answer, as curl -i prints it: HTTP/2 200" in out
    assert "well: follows" in out
    piped = subprocess.run([*COMMAND, *CHAT_ARGUMENTS, "-"], input=path.read_bytes(), capture_output=True)
    assert (piped.returncode, b"HTTP/1.1 307 Temporary Redirect" in piped.stdout) == (0, True)
    assert main([*CHAT_ARGUMENTS, str(SAVED / "curl-i.sse")]) == 1
    assert "the stream ended inside a block" in capsys.readouterr().out


@pytest.mark.parametrize(("end", "copy"), [(b"\n", CHAT), (b"\n\n", CHAT), (b"\n", FLOW)])
def test_lost_blank_lines_are_a_violation_with_their_name(end: bytes, copy: Path, tmp_path, capsys):
    """A server, an editor or `grep` leaves them out: then a client sees one event that is no JSON, or none at all."""
    path = tmp_path / "lost.sse"
    path.write_bytes(copy.read_bytes().replace(b"\n\n", b"\n").rstrip(b"\n") + end)
    operation = "dify-chat/sendChatMessage" if copy is CHAT else "agentbuilder/runFlow"
    assert main(["judge", "--operation", operation, str(path)]) == 1
    assert "events without a blank line between them" in capsys.readouterr().out


@pytest.mark.parametrize(("demand", "status", "told"), [("ruling", 0, "note: end"), ("observed", 1, "WRONG end")])
def test_what_no_document_prints_is_a_note_until_it_is_demanded(demand, status, told, tmp_path, capsys):
    """No document prints a run's stream of AgentBuilder, so that one without its last event fails nothing."""
    path = tmp_path / "short.sse"
    path.write_bytes(FLOW.read_bytes().rstrip().rpartition(b"\n\n")[0] + b"\n\n")
    assert main(["judge", "--operation", "agentbuilder/runFlow", "--demand", demand, str(path)]) == status
    out = capsys.readouterr().out
    assert told in out
    assert "rests on  observed" in out


@pytest.mark.parametrize("arguments", [CHAT_ARGUMENTS, ["judge", "--quiet"]])
def test_a_stream_of_another_kind_of_app_is_named_and_not_judged(arguments: list[str], capsys):
    """A sound stream of an Agent app is none of an advanced chat, and nothing about it is wrong."""
    assert main([*arguments, str(SAVED / "agent-app.sse")]) == 2
    out = capsys.readouterr().out
    assert "WRONG" not in out
    assert "This is an Agent app's stream. The contract is that of an advanced chat" in out


def test_a_stream_of_a_completion_app_is_named(tmp_path, capsys):
    """It has no conversations; with one, it would be a chat's."""
    path = tmp_path / "completion.sse"
    message = '{"event": "message", "task_id": "t", "message_id": "m", "answer": "Hi", "created_at": 1%s}'
    path.write_text(f'event: ping\n\ndata: {message % ""}\n\ndata: {{"event": "message_end"}}\n\n')
    assert main([*CHAT_ARGUMENTS, str(path)]) == 2
    assert "This is a Completion app's stream." in capsys.readouterr().out
    path.write_text(path.read_text().replace('"answer"', '"conversation_id": "c", "answer"'))
    assert main([*CHAT_ARGUMENTS, str(path)]) == 1
    assert "Completion" not in capsys.readouterr().out


def test_a_stream_of_a_newer_server_is_judged_and_named(capsys):
    """What the documents demand still holds; why they do not fit is said."""
    assert main([*RUN_ARGUMENTS, str(SAVED / "waits-for-a-person.sse")]) == 1
    out = capsys.readouterr().out
    assert "the field `sequence_number`" in out
    assert "note: This is a run that waits for a person, as Dify 1.13 and later have it." in out


def test_a_stream_that_fits_something_else_is_told_so(capsys):
    """Whoever named the wrong operation or profile reads which one it is."""
    assert main([*RUN_ARGUMENTS, str(CHAT)]) == 1
    assert "note: the stream does follow dify-chat/sendChatMessage" in capsys.readouterr().out


def test_long_texts_that_differ_show_where(capsys):
    """Two texts with the same beginning and the same end would look alike when shortened."""
    assert main([*CHAT_ARGUMENTS, str(SAVED / "same-ends.sse")]) == 1
    lines = capsys.readouterr().out.splitlines()
    expected = next(line for line in lines if line.startswith("        expected"))
    got = next(line for line in lines if line.startswith("        got"))
    assert '..."s Baker PLC puts it.\\nThe long one: Martin Macdonal"..., character 114 of 249' in expected
    assert '..."s Baker PLC puts it. long one: Martin Macdonald fr"..., character 114 of 245' in got


@pytest.mark.parametrize("slip", ["mesage_end", "MESSAGE_END", "message-end", "message_ends"])
def test_a_misspelt_kind_is_named(slip: str, tmp_path, capsys):
    """The event itself, and the violation that something is missing, say which kind was probably meant."""
    path = tmp_path / "slip.sse"
    path.write_bytes(CHAT.read_bytes().replace(b'"message_end"', f'"{slip}"'.encode()))
    assert main(["judge", "--operation", "dify-chat/sendChatMessage", str(path)]) == 1
    out = capsys.readouterr().out
    assert f"{slip}  (no document names it: did you mean message_end?)" in out
    assert f'"{slip}": did you mean "message_end"?' in next(line for line in out.splitlines() if "ended after" in line)


def test_a_kind_that_nobody_meant_is_not_guessed_at(tmp_path, capsys):
    """A new kind is only noted."""
    path = tmp_path / "new.sse"
    path.write_bytes(CHAT.read_bytes().replace(b"data: ", b'data: {"event": "tomorrow"}\n\ndata: ', 1))
    assert main([*CHAT_ARGUMENTS, str(path)]) == 0
    assert "no document names tomorrow (14 events)" in capsys.readouterr().out


def test_one_file_that_cannot_be_read_spoils_only_itself(tmp_path, capsys):
    """The others are judged; violations win over what could not be read."""
    assert main(["judge", "--quiet", str(tmp_path / "none.sse"), str(CHAT)]) == 2
    captured = capsys.readouterr()
    assert "well: follows" in captured.out
    assert captured.err.endswith("none.sse cannot be read: No such file or directory.\n")
    assert main(["judge", "--quiet", str(tmp_path), str(BROKEN_OFF)]) == 1
    assert "recording.jsonl cannot be read: No such file" in capsys.readouterr().err
    (tmp_path / "recording.jsonl").write_bytes(CHAT.read_bytes())
    assert main(["judge", "--quiet", str(tmp_path)]) == 0  # the folder of `mockserver proxy --record`


@pytest.mark.parametrize(("source", "status"), [(CHAT, 0), (BROKEN_OFF, 1)])
def test_a_reader_that_goes_away_is_no_error(source: Path, status: int):
    """`contract-tests judge ... | head`: no message, and the verdict is that of the whole file."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        judged = subprocess.run([*COMMAND, "judge", str(source)], stdout=gone, stderr=subprocess.PIPE)
    assert (judged.returncode, judged.stderr) == (status, b"")


def test_a_reader_that_goes_away_ends_the_judging_of_a_pipe():
    """What still came would be read by nobody; that its end is missing is nobody's fault."""
    stream = CHAT.read_bytes()
    with subprocess.Popen(
        [*COMMAND, *CHAT_ARGUMENTS[:1], *CHAT_ARGUMENTS[2:], "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        first = stream.index(b"\n\n") + 2
        running.stdin.write(stream[:first])
        running.stdin.flush()
        assert running.stdout.readline()
        assert running.stdout.readline()
        running.stdout.close()
        running.stdin.write(stream[first : first + 2000])
        running.stdin.flush()
        assert running.wait(timeout=30) == 0
        assert running.stderr.read() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="there a signal cannot be sent to one process")
def test_an_interrupted_pipe_has_no_sound_verdict():
    """Ctrl-C ends with a line and status 2, never with a traceback."""
    with subprocess.Popen(
        [*COMMAND, *CHAT_ARGUMENTS, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdin.write(CHAT.read_bytes()[:2000])
        running.stdin.flush()
        assert running.stdout.readline() == b"standard input: dify-chat/sendChatMessage\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == 2
        assert running.stderr.read() == b"contract-tests: standard input: interrupted before its end.\n"


def test_control_characters_of_a_stream_never_reach_the_terminal(tmp_path, capsys):
    """A kind may set the window's title, clear the screen or forge a verdict; it is shown and not obeyed."""
    path = tmp_path / "escapes.sse"
    path.write_bytes(rb'data: {"event":"\u001b]0;owned\u0007\u001b[2J\u009b2J\nwell: \u007f\ud800"}' + b"\n\n")
    assert main(["judge", "--operation", "dify-chat/sendChatMessage", str(path)]) == 1
    out = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in out)
    assert r"\x1b]0;owned\x07\x1b[2J\x9b2J\nwell: \x7f\ud800" in out


def test_a_stream_judged_by_an_operation_that_has_none_is_told(capsys):
    """Its recordings can be judged all the same."""
    assert main(["judge", "--operation", "dify-chat/listMessages", str(CHAT)]) == 2
    assert (
        "dify-chat/listMessages has no streams. Only recordings of it (HAR) can be judged." in capsys.readouterr().err
    )


@pytest.mark.parametrize("operation", [(), ("--operation", "dify-chat/sendChatMessage")])
def test_a_text_without_an_event_has_no_verdict(operation, tmp_path, capsys):
    """A page of documentation, or an error as plain text: nobody sent a stream, so none is broken."""
    (tmp_path / "README.md").write_text("# A title\n\nHow to: see below.\n", encoding="utf-8")
    assert main(["judge", *operation, str(tmp_path / "README.md")]) == 2
    said = capsys.readouterr()
    assert "README.md is no stream: it is a text without an event: # A title How to: see below." in said.out + said.err


def test_a_stream_behind_other_lines_is_judged(tmp_path, capsys):
    """What a proxy or a debugger puts before the first event makes a stream wrong, and it is judged."""
    (tmp_path / "a.sse").write_text('Notice: something\n\ndata: {"event": "workflow_started"}\n\n', encoding="utf-8")
    assert main(["judge", "--operation", "dify-chat/sendChatMessage", str(tmp_path / "a.sse")]) == 1
    assert "WRONG" in capsys.readouterr().out


def record_chat(folder: Path, *, rewritten: bool) -> Path:
    """Record a chat as `mockserver proxy --words --redact created_at` would, with the mark or without; return it."""
    rewriting = Rewriting(["created_at"], words=True)
    events = [rewriting.rewrite_text(line.removeprefix("data: ")) for line in CHAT.read_text().split("\n\n") if line]
    mark = {"rewritten": True} if rewritten else {}
    asked = {"query": "Hi", "inputs": {}, "response_mode": "streaming", "user": "u"}
    lines = [
        {"type": "recording", "version": 1, "tool": "a test", "started": "2024-11-21T00:00:00Z", "servers": {}},
        {"type": "request", "id": 1, "at": 1.0, "api": "dify-chat", "operation": "dify-chat/sendChatMessage"}
        | {"method": "POST", "url": "http://x/v1/chat-messages", "headers": [], "bodySize": 1}
        | {"body": {"text": json.dumps(asked)}},
        {"type": "response", "id": 1, "at": 1.1, "status": 200, "headers": [["Content-Type", "text/event-stream"]]}
        | mark,
        *({"type": "piece", "id": 1, "at": 1.2, "text": f"data: {event}\n\n"} for event in events),
        {"type": "end", "id": 1, "at": 1.3, "how": "complete", "violations": []},
    ]
    folder.mkdir()
    path = folder / jsonl.NAME
    path.write_bytes(b"".join(map(jsonl.write_line, lines)))
    return path


@pytest.mark.parametrize("form", ["jsonl", "har"])
def test_words_in_place_of_a_servers_texts_are_not_held_against_it(tmp_path, capsys, form):
    """They do not add up, and what was redacted has another type; without the mark the same is a violation."""
    for rewritten in (True, False):
        path = record_chat(tmp_path / str(rewritten), rewritten=rewritten)
        if form == "har":
            save_har(path, path.with_suffix(".har"))
            path = path.with_suffix(".har")
        assert main(["judge", str(path)]) == (0 if rewritten else 1)
        out = capsys.readouterr().out
        assert ("whether they add up is not asked" in out) == rewritten
        assert ("concatenates: " in out) is ("/created_at: schema: " in out) is (not rewritten)
