"""Streams are judged while they run: every rule, told where it is broken, and no line of a contract without a use."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from flowcontract import data, yamlio
from flowcontract.errors import FlowContractError
from flowcontract.streams import StreamBudget, StreamContract, StreamJudge, check
from stream_cases import FILES, Case, block, cases_of, contract_of, good_streams, put, verdict

ALL_CASES = [pytest.param(case, id=f"{file}: {case.name}") for file in FILES for case in cases_of(file)]
OPERATIONS = tuple(cases_of(file)[0].operation for file in FILES)
CHAT = "dify-chat/sendChatMessage"


@pytest.mark.parametrize("case", ALL_CASES)
def test_a_stream_gets_the_verdict_that_its_case_says(case: Case):
    """The judge accepts a stream and names the order it follows, or says which rules it breaks, and at which event."""
    assert verdict(contract_of(case.operation), case.pieces) == (case.accepted, case.rejected)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_stream_contract_holds_together(operation: str):
    """Every stream contract is satisfiable and names only kinds, fields and values that its schemas have."""
    assert check(contract_of(operation)) == []


def _block_of(api: str) -> list[str]:
    """Return the lines of an API's `x-stream`, as they stand in its file."""
    lines = (data.specs_root() / api / "openapi.yaml").read_text(encoding="utf-8").splitlines()
    begin = next(n for n, line in enumerate(lines) if line.strip() == "x-stream:")
    margin = len(lines[begin]) - len(lines[begin].lstrip())
    end = next(n for n in range(begin + 1, len(lines)) if len(lines[n]) - len(lines[n].lstrip()) <= margin)
    return lines[begin:end]


LINES = [pytest.param(file, n, id=f"{file}: {line.strip()[:60]}") for file in FILES for n, line in enumerate(_block_of(file))]


@pytest.mark.parametrize(("file", "number"), LINES)
def test_no_line_of_a_stream_contract_can_be_deleted_unnoticed(file: str, number: int):
    """Without the line the contract cannot be read, does not hold together, or gives a case another verdict."""
    cases = cases_of(file)
    lines = _block_of(file)
    del lines[number]
    schemas = contract_of(cases[0].operation).events
    try:
        x_stream = yamlio.loads("\n".join(lines))["x-stream"]
        contract = StreamContract.from_spec(x_stream, schemas)
    except (FlowContractError, KeyError, TypeError):
        return
    changed = (case for case in cases if verdict(contract, case.pieces) != (case.accepted, case.rejected))
    assert check(contract) or next(changed, None), "no test notices that this line is gone"


# --- how a violation is told ---------------------------------------------------------------------------------------


def _judge_chat(name: str, changes: dict[int, dict[str, object]] | None = None):
    events = [dict(event) for event in good_streams("dify-chat")[name]]
    for number, change in (changes or {}).items():
        for path, value in change.items():
            events[number - 1] = json.loads(json.dumps(events[number - 1]))
            put(events[number - 1], path, value)
    raws = [block(event, sse=True) for event in events]
    judge = StreamJudge(contract_of(CHAT))
    return judge, raws


def test_a_violation_tells_rule_event_offset_expectation_and_source():
    """A stranger can mend the server from the violation alone."""
    judge, raws = _judge_chat("moderated", {2: {"message_id": "other"}})
    found = judge.feed(b"".join(raws))
    assert len(found) == 1
    assert (found[0].rule, found[0].event, found[0].offset) == ("constant", 2, len(raws[0]))
    assert found[0].where == "/message_id"
    assert "004:97" in found[0].source
    assert '"m", as in message_id of message before; got "other"' in str(found[0])


def test_an_event_out_of_order_is_told_what_would_have_been_allowed():
    """The expectation of an order violation lists every kind, with its guard, that could have come there."""
    judge, raws = _judge_chat("moderated")
    found = judge.feed(raws[0] * 2 + block({"event": "workflow_started"}, sse=True))
    order = next(one for one in found if one.rule == "order")
    assert order.expected.startswith("message or message_end")
    assert order.event == 3
    assert order.source == ("Dify 0.14.0, 1.4.1 (407_x_input_moderation_streaming)",)


def test_a_violation_comes_with_the_event_that_causes_it():
    """The judge speaks while the stream runs, at the very feed that completes the wrong event."""
    judge, raws = _judge_chat("answered", {5: {"task_id": "other"}})
    heard = [len(judge.feed(raw)) for raw in raws]
    assert heard == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert judge.close() == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_the_verdict_does_not_depend_on_how_the_bytes_are_cut(size: int):
    """Fed in pieces of any size, a stream breaks the same rules at the same events and offsets."""
    for case in cases_of("dify-chat"):
        stream = b"".join(piece.raw for piece in case.pieces)
        whole, cut = StreamJudge(contract_of(CHAT)), StreamJudge(contract_of(CHAT))
        expected = whole.feed(stream) + whole.close()
        found = [one for at in range(0, len(stream), size) for one in cut.feed(stream[at : at + size])]
        assert found + cut.close() == expected, case.name


def test_the_judge_knows_what_it_has_seen():
    """Kinds, transitions, unknown kinds, the matched order and its tier can be read off while the stream runs."""
    judge, raws = _judge_chat("answered")
    judge.feed(b"".join(raws[:3]))
    assert not judge.ended
    assert not judge.complete
    judge.feed(block({"event": "tomorrow", "x": 1}, sse=True) + b"".join(raws[3:]))
    assert judge.ended
    assert judge.complete
    assert judge.matched is not None
    assert (judge.matched.name, judge.matched.tier) == ("run-then-end", "observed")
    assert judge.unknown == ["tomorrow"]
    assert judge.kinds["message"] == 2
    assert ("", "workflow_started") in judge.transitions
    assert ("workflow_finished", "message_end") in judge.transitions
    assert [event.kind for event in judge.fresh][:2] == ["tomorrow", "message"]


# --- endless streams -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "got"),
    [(StreamBudget(events=10), "11 events"), (StreamBudget(bytes=2000), "bytes"), (StreamBudget(seconds=5), "6 seconds")],
)
def test_an_endless_stream_is_judged_within_its_budget(budget: StreamBudget, got: str):
    """Each budget ends the judgement with one violation, after which the judge no longer listens."""
    judge = StreamJudge(contract_of(CHAT), budget=budget, started=0.0)
    message = block(good_streams("dify-chat")["moderated"][0], sse=True)
    found = []
    for second in range(100):
        found += judge.feed(message, float(second))
        if judge.finished:
            break
    assert [one.rule for one in found] == ["budget"]
    assert got in found[0].got
    assert judge.feed(message) == judge.close() == []


def test_a_silent_stream_is_judged_without_bytes():
    """A caller that only lets time pass hears of the silence, once."""
    judge = StreamJudge(contract_of(CHAT), started=0.0)
    assert judge.feed(b"", 12.0) == []
    assert [one.rule for one in judge.feed(b"", 12.1)] == ["silence"]
    assert judge.feed(b"", 13.0) == []


def test_a_block_without_end_is_a_framing_violation_and_not_a_full_memory():
    """Beyond the largest block that may be held the judge gives up, having judged what came before."""
    judge = StreamJudge(contract_of(CHAT), max_block_bytes=1000)
    message = block(good_streams("dify-chat")["moderated"][0], sse=True)
    found = judge.feed(message + b"data: " + b"x" * 2000)
    assert [one.rule for one in found] == ["framing"]
    assert (judge.count, judge.finished) == (1, True)


def test_bytes_that_are_no_utf8_are_a_framing_violation():
    """What a client would replace by U+FFFD is told, although the rest can be read."""
    judge = StreamJudge(contract_of(CHAT))
    message = block(good_streams("dify-chat")["moderated"][0], sse=True)
    found = judge.feed(message.replace(b"I am", b"I \xe4m"))
    assert [one.rule for one in found] == ["framing"]
    assert "UTF-8" in found[0].expected


def test_a_replacement_character_that_was_sent_is_no_violation():
    """U+FFFD itself is good UTF-8."""
    judge = StreamJudge(contract_of(CHAT))
    message = block(good_streams("dify-chat")["moderated"][0], sse=True)
    assert judge.feed(message.replace(b"I am", "I \ufffdm".encode())) == []


def test_an_unknown_kind_is_a_violation_where_the_contract_rejects_it():
    """`unknown: rejected` turns the note into a violation."""
    contract = replace(contract_of(CHAT), unknown_allowed=False)
    judge = StreamJudge(contract)
    assert [one.rule for one in judge.feed(block({"event": "tomorrow", "x": 1}, sse=True))] == ["unknown"]
    assert judge.feed(block({"event": "node_retry", "x": 1}, sse=True)) == []


# --- mutations -----------------------------------------------------------------------------------------------------

# What the contract really allows: (stream, change, event) -> why.
ALLOWED = {
    ("answered", "swap", 3): "messages may come inside any node or between nodes",
    ("answered", "swap", 5): "messages may come inside any node or between nodes",
    ("answered", "swap", 8): "Dify 1.14.2 sends message_end before workflow_finished",
    ("failed", "drop", 4): "004:189: an error ends the stream wherever it comes",
    ("stopped", "drop", 2): "what counts is only the number of steps, see below",
    ("stopped", "drop", 3): "a stopped run has no answer to compare the pieces with",
    ("stopped", "repeat", 3): "a stopped run has no answer to compare the pieces with",
    ("stopped", "swap", 2): "messages may come inside any node or between nodes",
    ("stopped", "swap", 4): "Dify 1.14.2 sends message_end before workflow_finished",
    ("moderated", "repeat", 1): "nothing says how many pieces a moderated answer has",
    ("spoken", "drop", 5): "speech of nothing is its end alone",
    ("spoken", "repeat", 5): "nothing says how many pieces speech has",
    ("spoken", "swap", 3): "Dify's source sends speech while the answer is written, see below",
    ("spoken", "swap", 4): "Dify's source sends speech between any two events",
    ("printed", "repeat", 5): "the printed run has no answer to compare the pieces with",
    ("printed", "repeat", 7): "nothing says how many pieces speech has",
}
_MUTATIONS = {
    "drop": lambda events, n: events[:n] + events[n + 1 :],
    "repeat": lambda events, n: [*events[: n + 1], *events[n:]],
    "swap": lambda events, n: [*events[:n], *events[n + 1 : n + 2], events[n], *events[n + 2 :]],
    "rename": lambda events, n: [*events[:n], {**events[n], "event": "tomorrow"}, *events[n + 1 :]],
    "trail": lambda events, n: [*events, events[n]],
}
