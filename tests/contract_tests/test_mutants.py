"""The wrong servers of `nox -s mutants`: there are enough, each rests on a line, and a sample of them is noticed."""

from __future__ import annotations

import collections
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flowcontract import paths, yamlio
from flowcontract.provenance.evidence import Tier
from flowcontract.specs.model import load_apis

README = Path(__file__).resolve().parents[2] / "README.md"
MUTANTS = Path(__file__).resolve().parents[1] / "mutants"
sys.path.insert(0, str(MUTANTS))

from mutant import Mutation, Question, Reply, load, name_tiers  # noqa: E402 - lies beside the program that runs it

APIS = load_apis()
ALL = load()
SORTS = {
    "status", "media type", "field missing", "type", "enum", "null", "validation", "auth", "error code", "state",
    "paging", "framing", "order", "fields", "ids", "end", "stop", "timing",
}  # fmt: skip
SAMPLE = 'end: {"cut"'
DOCUMENTS = yamlio.load(paths.find_specs_root() / "sources.yaml")["documents"]
JSON = [("Content-Type", "application/json")]
STREAM = [("Content-Type", "text/event-stream")]


def mutation(**do):
    """Return a mutation of the chat operation at work."""
    when = do.pop("when", {})
    mutant = ALL[0].__class__("dify-chat", "004:1", "sendChatMessage", "test", do, ("x",), when)
    return Mutation(mutant, "POST", "/v1/chat-messages", {"Authorization": "Bearer app-chat"})


def test_there_are_mutants_of_every_api_and_every_sort():
    """At least 150, over all four APIs, every kind of wrong among them."""
    promised = re.search(r"more than (\d+) servers", README.read_text(encoding="utf-8"))
    assert promised
    assert len(ALL) > int(promised[1]) >= 150
    assert {mutant.api for mutant in ALL} == set(APIS)
    assert {mutant.sort for mutant in ALL} == SORTS
    assert [name for name, count in collections.Counter(mutant.name for mutant in ALL).items() if count > 1] == []


@pytest.mark.parametrize("mutant", ALL, ids=[mutant.name for mutant in ALL])
def test_mutant_rests_on_lines_of_a_document_and_an_operation(mutant):
    """The cited document has the cited lines; the operation is one of the API's."""
    name, _, lines = mutant.at.partition(":")
    first, _, last = lines.partition("-")
    assert 0 < int(first) <= int(last or first) <= DOCUMENTS[name]["lines"]
    assert mutant.op in APIS[mutant.api].operations


def test_sample_of_mutants_is_noticed():
    """The program runs the suite against wrong servers, and says that each was noticed for the right reason."""
    command = [sys.executable, str(MUTANTS), SAMPLE, "-n", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    count = sum(SAMPLE in mutant.name for mutant in ALL)
    assert done.stdout.startswith(f"{count} of {count} mutants caught"), done.stdout + done.stderr
    assert done.returncode == 0


def test_tiers_are_written_into_the_lines_of_the_mutants(tmp_path):
    """Of those that are known; all else stays as it is, and a tier that was written is replaced."""
    file = tmp_path / "dify-chat.yaml"
    line = "- {at: '004:80', op: sendChatMessage, sort: enum, do: {status: 202}, caught: status"
    file.write_text(f"# a comment\n{line}}}\n{line.replace('202', '203')}, tier: ruling}}\n")
    mutants = load(tmp_path)
    name_tiers({mutants[0].name: "document", mutants[1].name: "server-error"}, tmp_path)
    first, second = f"{line}, tier: document}}", f"{line.replace('202', '203')}, tier: server-error}}"
    assert file.read_text() == f"# a comment\n{first}\n{second}\n"
    assert [mutant.tier for mutant in load(tmp_path)] == ["document", "server-error"]


def test_tiers_of_mutants_are_tiers():
    """Where one is named, the run holds the suite to it."""
    assert {mutant.tier for mutant in ALL if mutant.tier} <= set(Tier)


@pytest.mark.parametrize(
    ("do", "before", "after"),
    [
        ({"delete": "/a/*/b"}, {"a": [{"b": 1, "c": 2}, {"b": 3}]}, {"a": [{"c": 2}, {}]}),
        ({"set": {"/a/0": False}}, {"a": [0]}, {"a": [False]}),
        ({"set": {"": []}}, {"a": 1}, []),
        ({"reverse": "/a"}, {"a": [1, 2]}, {"a": [2, 1]}),
        ({"rotate": "/a"}, {"a": [1, 2, 3]}, {"a": [2, 3, 1]}),
        ({"set": {"/x/y": 1}}, {"a": 1}, {"a": 1}),
    ],
)
def test_body_is_changed_as_the_mutant_says(do, before, after):
    """What changes nothing does not count as applied."""
    acting = mutation(**do)
    reply = acting.answer(Reply(200, JSON, json.dumps(before).encode()))
    assert json.dumps(reply.body) == json.dumps(after)
    assert acting.applied == (json.dumps(before) != json.dumps(after))


def events(*kinds):
    """Return a stream of bare events."""
    return "".join(f'data: {{"event": "{kind}"}}\n\n' for kind in kinds).encode()


@pytest.mark.parametrize(
    ("do", "after"),
    [
        ({"drop": "b"}, "a c"),
        ({"drop": "b", "nth": 0}, "a b c"),
        ({"duplicate": "b"}, "a b b b b c"),
        ({"swap": ["a", "c"]}, "c b b a"),
        ({"append": "a"}, "a b b c a"),
        ({"cut": "b"}, "a b"),
        ({"drop": "z"}, "a b b c"),
    ],
)
def test_stream_is_changed_as_the_mutant_says(do, after):
    """Events are dropped, doubled, swapped, added and cut."""
    reply = mutation(**do).answer(Reply(200, STREAM, events("a", "b", "b", "c")))
    assert reply.raw == events(*after.split())


def test_request_is_changed_as_the_mutant_says():
    """What is wrong is made right, every key opens, parameters are forgotten."""
    question = Question(
        "POST", "/v1/chat-messages", [("a", "1")], [("Authorization", "Bearer wrong-1")], b'{"query": ""}'
    )
    for do in ({"accept": {"body": {"query": "x"}}}, {"key": "any"}, {"forget": {"query": ["a"]}}):
        acting = mutation(**do)
        assert acting.is_meant(question)
        assert acting.ask(question) is None
        assert acting.applied == 1
    assert question.body == {"query": "x"}
    assert question.headers == [("Authorization", "Bearer app-chat")]
    assert question.query == []


def test_condition_decides_which_answers_are_changed():
    """Status, code and mode tell."""
    refused = Reply(400, JSON, b'{"code": "x"}')
    assert mutation(status=500, when={"code": "y"}).answer(refused).status == 400
    assert mutation(status=500, when={"code": "x"}).answer(refused).status == 500
    assert mutation(status=500).answer(refused).status == 400
    assert mutation(status=500, when={"streamed": True}).answer(Reply(200, JSON, b"{}")).status == 200
