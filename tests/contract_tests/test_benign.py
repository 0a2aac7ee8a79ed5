"""Servers that go against no document, and servers that answer as real ones did: what the suite has to say to each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "mutants"))

from manner import APIS, REAL, Benign, Manner, load  # noqa: E402 - lies beside the programs that run it
from mutant import Question, Reply  # noqa: E402 - the same

BENIGN = load()
OF_REAL_RUNS = load(REAL)
JSON = [("Content-Type", "application/json")]
STREAM = [("Content-Type", "text/event-stream")]
EVENTS = b'data: {"event": "a", "n": 1}\n\ndata: {"event": "b", "n": 2}\n\ndata: {"event": "c"}\n\n'


def manner(asked=None, when=None, **do):
    """Return a manner at work."""
    return Manner(Benign("test", "", do, asked=asked or {}, when=when or {}), "dify-chat")


def streamed(**do):
    """Return the events as they pass a server, which come in pieces of ten bytes."""
    pieces = (EVENTS[start : start + 10] for start in range(0, len(EVENTS), 10))
    return b"".join(manner(**do).passing(pieces))


def run(*arguments):
    """Run the program; return its exit status and what it printed."""
    command = [sys.executable, str(TESTS / "benign"), "-n", "1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    return done.returncode, done.stdout + done.stderr


def test_there_are_enough_benign_servers_and_each_says_why():
    """At least 30, over all four APIs."""
    assert len(BENIGN) >= 30
    assert len({benign.name for benign in BENIGN}) == len(BENIGN)
    assert {api for benign in BENIGN for api in benign.apis} == set(APIS)
    assert all(benign.why for benign in BENIGN)


def test_every_kind_of_the_real_runs_has_a_server():
    """With the verdict that people gave it."""
    rows = [json.loads(line) for path in REAL.glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    assert {(row["kind"], row["verdict"]) for row in rows} == {(one.kind, one.verdict) for one in OF_REAL_RUNS}
    assert all(bool(one.caught) == (one.verdict in ("true", "lenient")) for one in OF_REAL_RUNS)


@pytest.mark.parametrize("text", ["dify-workflow: a ping before the first event"])
def test_sample_of_benign_servers_is_green(text):
    """`nox -s benign` tries all of them."""
    status, told = run(text)
    assert told.startswith("1 of 1 servers as they should be"), told
    assert status == 0


@pytest.mark.parametrize("text", ["lenient"])
def test_sample_of_real_differences_is_told_as_it_weighs(text):
    """What breaks a promise is red; what only takes more than it should is a note; what nobody promised is nothing."""
    status, told = run("--real", text)
    assert "as they should be" in told.splitlines()[-1], told
    assert status == 0, told


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        ({"status": 204, "raw": ""}, (204, "")),
        ({"sub": [["a+", "b"]]}, (200, '{"x": "b"}')),
        ({"json": {"indent": 1}}, (200, '{\n "x": "aa"\n}')),
        ({"set": {"/x": 1}}, (200, '{"x": 1}')),
        ({"lag": ["x", "y"]}, (200, '{"x": "aa"}')),
        ({"add": {"y": 1}}, (200, '{"x": "aa", "y": 1}')),
    ],
)
def test_answer_is_changed_as_the_server_says(do, expected):
    """What changes nothing does not count as applied."""
    acting = manner(**do)
    reply = acting.answer(Reply(200, JSON, b'{"x": "aa"}'))
    assert (reply.status, reply.raw.decode()) == expected
    assert bool(acting.applied) == (reply.raw != b'{"x": "aa"}')


def test_times_that_are_equal_are_told_a_second_apart():
    """In every object; those that are not equal stay as they are."""
    reply = manner(lag=["b", "a"]).answer(Reply(200, JSON, b'[{"a": 5, "b": 5}, {"a": 5, "b": 6}]'))
    assert reply.body == [{"a": 5, "b": 4}, {"a": 5, "b": 6}]


def test_headers_come_and_go():
    """A header of null is taken away; others are added to those that are there."""
    reply = manner(headers={"content-type": None, "X-A": "1"}).answer(Reply(200, JSON, b"{}"))
    assert reply.headers == [("X-A", "1")]
    assert reply.raw == b"{}"


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        ({"first": ":\n\n"}, b":\n\n" + EVENTS),
        ({"each": ":\n\n"}, EVENTS.replace(b"\n\n", b"\n\n:\n\n")),
        ({"hold": ["a", "b"]}, b"\n\n".join(EVENTS.split(b"\n\n")[number] for number in (1, 0, 2, 3))),
        ({"hold": ["c", "z"]}, EVENTS),
        ({"exchange": ["a", "b"]}, b"\n\n".join(EVENTS.split(b"\n\n")[number] for number in (1, 0, 2, 3))),
        ({"exchange": ["a", "c"]}, EVENTS),
        ({"kind": "a", "set": {"/n": 3}, "add": {}}, EVENTS.replace(b"1", b"3")),
        ({"kind": "c", "add": {"n": 3}}, EVENTS.replace(b'"c"', b'"c", "n": 3')),
        ({"kind": "*", "delete": "/n"}, EVENTS.replace(b', "n": 1', b"").replace(b', "n": 2', b"")),
        ({"json": {"separators": [",", ":"]}}, EVENTS.replace(b'": ', b'":').replace(b", ", b",")),
    ],
)  # fmt: skip
def test_stream_is_changed_as_the_server_says_while_it_passes(do, expected):
    """Event by event, in whatever pieces it comes."""
    assert streamed(**do) == expected


def test_only_requests_and_answers_that_are_meant_are_changed():
    """Path, method and fields of the request; status and text of the answer."""
    asked = {"path": "/chat", "lacks": ["rating"], "has": {"user": r"^\d+$"}}
    acting = manner(asked, {"status": 404, "says": "gone"}, status=410)
    assert acting.is_meant(Question("POST", "/v1/chat-messages", [], [], b'{"user": 1}'))
    assert not acting.is_meant(Question("POST", "/v1/chat-messages", [], [], b'{"user": "x"}'))
    assert not acting.is_meant(Question("POST", "/v1/chat-messages", [("rating", "")], [], b'{"user": 1}'))
    assert not acting.is_meant(Question("POST", "/v1/info", [], [], b'{"user": 1}'))
    assert acting.answer(Reply(404, JSON, b"gone")).status == 410
    assert acting.answer(Reply(404, JSON, b"there")).status == 404
    assert acting.answer(Reply(200, JSON, b"gone")).status == 200
