"""`contract-tests judge` tells people what the judge found, and programs by its exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contract_tests.cli import main

RECORDED = Path(__file__).parent / "data" / "streams" / "recorded"
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
    assert "001:216-221" in out
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


def test_a_pipe_is_judged_while_it_comes():
    """An event is printed as soon as its block is whole, long before the pipe is closed."""
    command = [sys.executable, "-m", "contract_tests.cli", "judge", "--operation", "dify-chat/sendChatMessage", "-"]
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
    command = [sys.executable, "-m", "contract_tests.cli", "judge", "--quiet", "--events", "5"]
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
        (["judge", "-"], "Say by what: --operation, one of agentbuilder/runFlow, dify-chat/sendChatMessage"),
        (["judge", "nowhere.sse"], "nowhere.sse cannot be read: No such file or directory."),
        (["judge", "--operation", "dify-chat/sendChat", "x"], 'Did you mean "dify-chat/sendChatMessage"?'),
        (["judge", "--operation", "dify/run", "x"], "No API"),
        (["judge", "--profile", "older", "x"], "Name the operation too"),
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
    assert 'No command "run". There is: judge.' in capsys.readouterr().err
