"""What is inferred from streams holds in all of them, says how many show it, and what the contract has of it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from contract_tests.cli.main import main
from contract_tests.judging.inference import infer, make_stream
from flowcontract import yamlio
from flowcontract.specs.model import load_api
from flowcontract.streams.contract import EventSchema, StreamContract
from flowcontract.streams.judge import StreamJudge
from flowcontract.streams.sse import encode

HAR = Path(__file__).resolve().parents[1] / "data" / "recordings" / "dify-0.14.0.har"
CHAT = "dify-chat/sendChatMessage"
CONTRACT = load_api("dify-chat").operations["sendChatMessage"].stream


def nodes(number, random, *, failed=False):
    """Return a run whose nodes interleave, as payloads."""
    run = {"task_id": f"t{number}", "workflow_run_id": f"r{number}"}
    steps = [(f"{number}-{step}", random.random()) for step in range(3)]
    moments = [(begun, "node_started", step) for step, begun in steps]
    moments += [(begun + random.random(), "node_finished", step) for step, begun in steps[: 2 if failed else 3]]
    middle = [
        {"event": kind, **run, "data": {"id": step, "title": f"node {step[-1]}"}} for _, kind, step in sorted(moments)
    ]
    status = "stopped" if failed else "succeeded"
    return [
        {"event": "workflow_started", **run, "data": {"id": f"r{number}"}},
        *middle,
        {"event": "workflow_finished", **run, "data": {"id": f"r{number}", "status": status}},
        {"event": "error" if number % 2 else "message_end", **run},
    ]


def written(payloads):
    """Return a stream's bytes."""
    return b"".join(encode(json.dumps(payload)) for payload in payloads)


def proposed(streams):
    """Return the proposals for some streams of payloads."""
    made = [make_stream(((payload["event"], payload) for payload in stream), ()) for stream in streams]
    return infer(made, CONTRACT)


def test_rules_are_those_that_the_streams_were_made_by():
    """An order in which nodes interleave, ids, pairs with the exception of stopped runs, either end."""
    random = Random(1)
    found = {}
    for proposal in proposed([nodes(number, random, failed=number == 5) for number in range(6)]):
        found.setdefault(proposal.part, []).append((proposal.rule, proposal.support, proposal.known))
    assert found["order"] == [
        ("workflow_started (node_started | node_finished)+ workflow_finished (message_end | error)", 6, False)
    ]
    assert found["end"] == [(["message_end", "error"], 6, True)]
    assert [rule["field"] for rule, *_ in found["constant"]] == ["task_id", "workflow_run_id"]
    assert found["equal"] == [
        ({"events": ["workflow_started", "workflow_finished"], "fields": ["data.id", "workflow_run_id"]}, 6, True)
    ]
    pair = {"open": "node_started", "close": "node_finished", "by": "data.id", "agree": ["data.title"]}
    assert found["pairs"] == [({**pair, "unless": "workflow_finished{data.status=stopped}"}, 5, True)]


def test_rule_that_one_stream_contradicts_is_not_proposed():
    """However many others show it."""
    streams = [nodes(number, Random(number)) for number in range(8)]
    streams[3][-1]["task_id"] = "another"
    assert [proposal.rule for proposal in proposed(streams) if proposal.part == "constant"] == [
        {"field": "workflow_run_id"}
    ]


@pytest.mark.parametrize("seed", range(20))
def test_proposed_contract_accepts_the_streams_that_it_was_made_of(seed, tmp_path, capsys):
    """What is printed reads as an `x-stream`, and no stream breaks it."""
    random = Random(seed)
    streams = [written(nodes(number, random, failed=random.random() < 0.3)) for number in range(5)]
    paths = [tmp_path / f"{number}.sse" for number in range(5)]
    for path, stream in zip(paths, streams, strict=True):
        path.write_bytes(stream)
    assert main(["infer", "--operation", CHAT, *map(str, paths)]) == 0
    spec = yamlio.loads(capsys.readouterr().out)["x-stream"]
    kinds = {payload["event"] for payload in nodes(0, random)} | {"error"}
    contract = StreamContract.from_spec(spec, {kind: EventSchema(kind, "", {}, lambda _: []) for kind in kinds})
    for stream in streams:
        judge = StreamJudge(contract)
        assert [*judge.feed(stream), *judge.close()] == []


def test_recorded_streams_of_a_real_server_are_read_from_a_har_file(capsys):
    """Each rule says how many streams show it and whether the contract has it; those that were cut do not count."""
    assert main(["infer", "--operation", CHAT, str(HAR)]) == 0
    text = capsys.readouterr().out
    spec = yamlio.loads(text)["x-stream"]
    assert "the contract has it" in text
    assert {"field": "task_id"}.items() <= next(rule for rule in spec["constant"] if rule["field"] == "task_id").items()
    StreamContract.from_spec(spec, {})


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--operation", "dify-chat/getInfo", str(HAR)], "has no stream"),
        (["--operation", "dify-chat/sendChat", str(HAR)], "Did you mean"),
        (["--operation", CHAT, "nowhere.har"], "cannot be read"),
        (["--operation", CHAT, __file__], "0 whole streams of dify-chat/sendChatMessage; infer needs 3"),
    ],
)
def test_what_cannot_be_inferred_is_said(arguments, wanted, capsys):
    """In a line, with exit code 2."""
    assert main(["infer", *arguments]) == 2
    assert wanted in capsys.readouterr().err
