"""Ctrl-C, wherever the suite is just then: it ends at once, with a report of what was done, and no verdict."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import hostile_server  # noqa: E402 - lies beside this file
from hostile_server import Hostile, head, json_answer  # noqa: E402 - the same

INFO = {"/v1": b"{}", "/v1/info": b'{"name": "a", "description": "b", "tags": []}'}
BUSY_S = 20  # two seconds are promised; this machine may be doing other things, and without it the wait would be 30 s


async def slow_events(_, writer):
    """Send a ping now and then, for ever."""
    writer.write(head("Content-Type: text/event-stream"))
    while True:
        writer.write(b'data: {"event": "ping"}\n\n')
        await writer.drain()
        await asyncio.sleep(0.1)


async def slow_answers(_, writer):
    """Answer everything, after a while."""
    await asyncio.sleep(0.05)
    writer.write(json_answer(b'{"result": "success"}'))
    await writer.drain()


async def stuck_at_the_end(asked, writer):
    """Make a conversation, and say nothing when it is to be removed."""
    if asked.method == "DELETE":
        await hostile_server.silent(asked, writer)
    writer.write(json_answer(b'{"result": "success", "conversation_id": "c1"}'))
    await writer.drain()


def wait_for(true, process, what):
    """Poll until something is so."""
    until = time.monotonic() + 90
    while not true():
        assert process.poll() is None, f"the suite ended before {what}: {process.communicate()}"
        assert time.monotonic() < until, f"no {what}"
        time.sleep(0.02)


def interrupted(url, folder, true, what, *more):
    """Run the suite and interrupt it once something is so; return its status, what it said, and how long that took."""
    options = ["--api", "dify-chat", "--key", "dify-chat=app-secret", "--report", folder, *more]
    command = [sys.executable, "-m", "contract_tests", "--base-url", url, *map(str, options)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        try:
            wait_for(true, process, what)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it, too
            began = time.monotonic()
            said, _ = process.communicate(timeout=60)
            return process.returncode, said, time.monotonic() - began
        finally:
            process.kill()


PHASES = {
    "asked-first": (hostile_server.silent, {}, 1, ()),
    "checked-first": (hostile_server.silent, {"/v1": b"{}"}, 2, ()),
    "waiting": (hostile_server.silent, INFO, 3, ("-k", "documented")),
    "streaming": (slow_events, INFO, 3, ("-k", "sendChatMessage and documented")),
    "answered": (slow_answers, INFO, 40, ("-k", "invalid")),
    "fuzzing-in-vain": (hostile_server.silent, INFO, 3, ("-k", "fuzz")),
    "fuzzing": (slow_answers, INFO, 25, ("-k", "fuzz")),
    "stateful": (slow_answers, INFO, 6, ("-k", "fuzz and stateful")),
    "two-workers": (slow_answers, INFO, 40, ("-n", "2", "-k", "invalid")),
    "two-workers-waiting": (hostile_server.silent, INFO, 4, ("-n", "2", "-k", "documented")),
}


def test_interrupted_while_it_cleans_up_it_says_what_is_left(tmp_path):
    """Everything has been asked, but the server is stuck: no verdict either, and nobody waits."""
    with Hostile(stuck_at_the_end, but=INFO) as server:
        cleaning = lambda: any(asked.method == "DELETE" for asked in server.asked)  # noqa: E731 - what is waited for
        more = ("-k", "sendChatMessage and documented")
        status, said, took_s = interrupted(server.url, tmp_path, cleaning, "cleaning up", *more)
    assert status == 2, said
    assert took_s < BUSY_S, said
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["status"] == "interrupted"
    assert report["left_over"] == ["dify-chat conversation_id c1: no time was left"]


@pytest.mark.parametrize("phase", PHASES)
def test_interrupted_run_ends_at_once_with_a_report(phase, tmp_path):
    """Whether it asks, waits, reads or lets others make up requests: exit 2, and no badge that is green."""
    behave, known, asked, more = PHASES[phase]
    with Hostile(behave, but=known) as server:
        what = f"{asked} requests"
        status, said, took_s = interrupted(server.url, tmp_path, lambda: len(server.asked) >= asked, what, *more)
    assert status == 2, said
    assert took_s < BUSY_S, said
    assert "Traceback" not in said
    assert "flowcontract." not in said  # the name of our exception
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (report["status"], report["exit_code"]) == ("interrupted", 2)
    assert report["crashes"] == []
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'class="badge interrupted"' in page
    assert 'class="badge passed"' not in page


def test_interrupted_before_it_can_ask_says_so(tmp_path):
    """While it reads the contracts it has nothing to report; reports of another run do not stay as if they were new."""
    (tmp_path / "report.html").write_text("of another run", encoding="utf-8")
    with Hostile(hostile_server.silent) as server:
        gone = lambda: not (tmp_path / "report.html").exists()  # noqa: E731 - what is waited for
        status, said, took_s = interrupted(server.url, tmp_path, gone, "beginning")
    assert status == 2, said
    assert took_s < BUSY_S
    assert "Traceback" not in said


@pytest.mark.parametrize("word", ["contract_tests.cli.run", "contract_tests.plugin", "contract_tests.journeys"])
def test_ctrl_c_before_anything_was_asked_is_one_line(tmp_path, word):
    """While modules are imported and tests are collected there is nothing to report, and no traceback either."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {word!r}:\n"
        "            sys.meta_path.remove(self)\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    command = [sys.executable, "-m", "contract_tests", "--base-url", "http://127.0.0.1:9", "--api", "dify-chat"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("contract-tests: interrupted")
    assert (done.stderr + done.stdout).count("\n") == 1
