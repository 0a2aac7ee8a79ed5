"""Streams are judged while they run: every rule, told where it is broken, and no line of a contract without a use."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_cases import FILES, Case, Piece, block, cases_of, contract_of, good_streams, put, verdict

from flowcontract import paths, yamlio
from flowcontract.errors import FlowContractError
from flowcontract.streams.consistency import check
from flowcontract.streams.contract import StreamContract
from flowcontract.streams.judge import StreamBudget, StreamJudge
from flowcontract.streams.judge import judge as judge_whole

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
    lines = (paths.find_specs_root() / api / "openapi.yaml").read_text(encoding="utf-8").splitlines()
    begin = next(n for n, line in enumerate(lines) if line.strip() == "x-stream:")
    margin = len(lines[begin]) - len(lines[begin].lstrip())
    end = next(n for n in range(begin + 1, len(lines)) if len(lines[n]) - len(lines[n].lstrip()) <= margin)
    return lines[begin:end]


LINES = [
    pytest.param(file, n, id=f"{file}: {line.strip()[:60]}") for file in FILES for n, line in enumerate(_block_of(file))
]


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
    assert order.source[0] == "Dify 0.14.0, 1.4.1 (407_x_input_moderation_streaming)"
    assert "004:275-287" in order.source  # from which the observed orders are exceptions


def test_a_guard_is_told_where_it_is_the_reason():
    """A run that ends with the wrong status is told which status would have been right; others need no guard."""
    judge, raws = _judge_chat("failed")
    judge.feed(b"".join(raws[:4]))
    found = judge.feed(block(good_streams("dify-chat")["answered"][8], sse=True))
    assert found[0].expected == "error or tts_message after workflow_finished"
    judge, raws = _judge_chat("answered")
    judge.feed(b"".join(raws[:7]))
    missing = judge.close()
    assert "workflow_finished or message_replace or message_end" in missing[0].expected
    judge, raws = _judge_chat("answered", {8: {"data.status": "failed"}})
    judge.feed(b"".join(raws[:7]) + raws[8])
    found = judge.feed(raws[7])
    assert found[0].expected == "workflow_finished{data.status!=failed} after message_end"


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
    [
        (StreamBudget(events=10), "11 events"),
        (StreamBudget(bytes=2000), "bytes"),
        (StreamBudget(seconds=5), "6 seconds"),
    ],
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


_HOSTILE = [
    ("a bare number", b"1", "kind"),
    ("null", b"null", "kind"),
    ("a list", b"[]", "kind"),
    ("a kind that is no text", b'{"event": {}}', "kind"),
    ("a kind that no encoding can write", b'{"event": "\\ud800"}', "end"),
    ("nothing", b"", "framing"),
    ("nested too deep", b"[" * 100_000, "framing"),
    ("a number too long to read", b'{"event": "message", "created_at": ' + b"1" * 5000 + b"}", "framing"),
    ("a number beyond any float", b'{"event": "message", "created_at": 1e999}', "schema"),
    ("a list where an object belongs", b'{"event": "node_started", "data": []}', "schema"),
    ("an object where an id belongs", b'{"event": "node_started", "data": {"id": {"a": [1]}}}', "schema"),
    (
        "a list where a status belongs",
        b'{"event": "workflow_finished", "data": {"status": [1], "outputs": 7}}',
        "schema",
    ),
]


@pytest.mark.parametrize(("data", "rule"), [row[1:] for row in _HOSTILE], ids=[row[0] for row in _HOSTILE])
def test_whatever_a_server_sends_gets_a_verdict(data: bytes, rule: str):
    """Data of the wrong shape is a violation, never a crash of the judge."""
    found = judge_whole(contract_of(CHAT), b"data: " + data + b"\n\n")
    assert found[0].rule == rule
    assert found[0].event == 1
    assert str(found[0]).count("\n") == 0


_WORDS = st.sampled_from(
    [b"data: ", b"event: ", b"\n", b"\r\n", b"\n\n", b"{", b"}", b'"event"', b":", b'"message"', b"1", b"\xff"]
)
_GOOD = [block(event, sse=True) for event in good_streams("dify-chat")["answered"]]


@settings(deadline=None)  # a busy machine is no failure
@given(pieces=st.lists(st.one_of(_WORDS, st.sampled_from(_GOOD)), max_size=20), cut=st.integers(0, 400))
def test_no_bytes_at_all_break_the_judge(pieces: list[bytes], cut: int):
    """Any bytes get the same verdict, however they are cut; what is not complete is rejected."""
    stream = b"".join(pieces)
    judge = StreamJudge(contract_of(CHAT))
    found = judge.feed(stream[:cut]) + judge.feed(stream[cut:]) + judge.close()
    assert found == judge_whole(contract_of(CHAT), stream)
    assert bool(found) or judge.complete


# --- mutations -----------------------------------------------------------------------------------------------------

PIECES = "nothing says how many pieces there are"
FIRST = "nothing came before the first node that it could name"
OPEN = "a stopped run leaves the node open, so there is no finish to agree with"
STOPPED = "a stopped run puts no answer out to compare the pieces with"
SPEECH = "Dify's source code sends speech between any two events, also none at all"
ANYWHERE = "a message may come inside any node and between nodes"
LATEST = "Dify 1.14.2 sends the message's end before the run's"
BREAK = "004:189: an error ends the stream wherever it comes"
PRINTED = "the printed run puts no answer out to compare the pieces with"
ONE_FLOW = "one message alone has nothing to agree with"

# The mutations whose result the contract really allows: (file, stream, mutation, event) -> why.
ALLOWED = {
    ("agentbuilder", "answered", "drop", 2): PIECES,
    ("agentbuilder", "answered", "repeat", 1): PIECES,
    ("agentbuilder", "answered", "repeat", 2): PIECES,
    ("agentbuilder", "answered", "rename", 2): PIECES,
    ("agentbuilder", "answered", "data.flow_id", 1): ONE_FLOW,
    ("dify-chat", "answered", "swap", 3): ANYWHERE,
    ("dify-chat", "answered", "swap", 5): ANYWHERE,
    ("dify-chat", "answered", "swap", 8): LATEST,
    ("dify-chat", "answered", "data.predecessor_node_id", 2): FIRST,
    ("dify-chat", "answered", "data.predecessor_node_id", 3): FIRST,
    ("dify-chat", "failed", "drop", 4): BREAK,
    ("dify-chat", "failed", "rename", 4): BREAK,
    ("dify-chat", "failed", "data.predecessor_node_id", 2): FIRST,
    ("dify-chat", "failed", "data.predecessor_node_id", 3): FIRST,
    ("dify-chat", "stopped", "drop", 3): STOPPED,
    ("dify-chat", "stopped", "repeat", 3): STOPPED,
    ("dify-chat", "stopped", "rename", 3): STOPPED,
    ("dify-chat", "stopped", "swap", 2): ANYWHERE,
    ("dify-chat", "stopped", "swap", 4): LATEST,
    ("dify-chat", "stopped", "data.id", 2): OPEN,
    ("dify-chat", "stopped", "data.node_id", 2): OPEN,
    ("dify-chat", "stopped", "data.predecessor_node_id", 2): FIRST,
    ("dify-chat", "moderated", "repeat", 1): PIECES,
    ("dify-chat", "spoken", "drop", 5): SPEECH,
    ("dify-chat", "spoken", "repeat", 5): PIECES,
    ("dify-chat", "spoken", "swap", 2): "a run may be printed before its answer (004:278-279)",
    ("dify-chat", "spoken", "swap", 3): LATEST,
    ("dify-chat", "spoken", "swap", 4): SPEECH,
    ("dify-chat", "printed", "drop", 5): PRINTED,
    ("dify-chat", "printed", "repeat", 5): PRINTED,
    ("dify-chat", "printed", "rename", 5): PRINTED,
    ("dify-chat", "printed", "swap", 4): "real servers send the answer before the run's end",
    ("dify-chat", "printed", "repeat", 7): PIECES,
    ("dify-chat", "printed", "data.predecessor_node_id", 2): FIRST,
    ("dify-chat", "printed", "data.predecessor_node_id", 3): FIRST,
    ("dify-workflow", "run", "data.predecessor_node_id", 2): FIRST,
    ("dify-workflow", "run", "data.predecessor_node_id", 3): FIRST,
    ("dify-workflow", "run", "swap", 4): "a chunk may come before its node is told",
    ("dify-workflow", "spoken", "drop", 3): SPEECH,
    ("dify-workflow", "spoken", "repeat", 3): PIECES,
    ("dify-workflow", "spoken", "swap", 2): SPEECH,
    ("dify-workflow", "stopped", "data.id", 2): OPEN,
    ("dify-workflow", "stopped", "data.node_id", 2): OPEN,
    ("dify-workflow", "stopped", "data.predecessor_node_id", 2): FIRST,
}
_MUTATIONS = {
    "drop": lambda events, n: events[:n] + events[n + 1 :],
    "repeat": lambda events, n: [*events[: n + 1], *events[n:]],
    "swap": lambda events, n: [*events[:n], *events[n + 1 : n + 2], events[n], *events[n + 2 :]],
    "rename": lambda events, n: [*events[:n], {**events[n], "event": "tomorrow"}, *events[n + 1 :]],
    "trail": lambda events, n: [*events, events[n]],
}


def _mutations(events: list[dict]):
    """Yield (mutation, event, mutated stream): every change of one event's place or kind, and of one id."""
    for number in range(len(events)):
        for name, mutate in _MUTATIONS.items():
            mutated = mutate(events, number)
            if mutated != events:
                yield name, number + 1, mutated
        for path in _id_paths(events[number]):
            mutated = copy.deepcopy(events)
            put(mutated[number], path, "other")
            yield path, number + 1, mutated


def _id_paths(payload: dict, before: str = ""):
    for key, value in payload.items():
        if key in ("data", "result") and isinstance(value, dict):
            yield from _id_paths(value, f"{before}{key}.")
        elif key == "id" or key.endswith("_id"):
            yield before + key


@pytest.mark.parametrize("file", FILES)
def test_every_single_mutation_of_a_good_stream_is_rejected_unless_it_is_listed(file: str):
    """What is accepted after one change is exactly what the list says, with a reason for each."""
    contract = contract_of(cases_of(file)[0].operation)
    sse = contract.framing == "sse"
    accepted = {
        (file, name, mutation, number)
        for name, events in good_streams(file).items()
        for mutation, number, mutated in _mutations(events)
        if not verdict(contract, tuple(Piece(block(event, sse=sse)) for event in mutated))[1]
    }
    assert accepted == {key for key in ALLOWED if key[0] == file}


# --- a contract that does not hold together ------------------------------------------------------------------------

_BROKEN = [
    ("  end: [workflow_finished, error]", "  end: [workflow_finished, failure]", "no event is of the kind failure"),
    ("  anywhere: [ping]", "  anywhere: [ping, pong]", "no event is of the kind pong"),
    ("  anywhere: [ping]", "  anywhere: [ping, text_chunk]", "text_chunk stands in an order too"),
    ("  anywhere: [ping]", "  undocumented_: [ping]", "which nothing reads"),
    ("  undocumented: [node_retry,", "  undocumented: [ping, node_retry,", "ping has a schema"),
    (
        "  after_end: [tts_message,",
        "  after_end: [node_started, tts_message,",
        "no order lets node_started come after the end",
    ),
    ("  end: [workflow_finished, error]", "  end: [error]", "no stream can follow run and end with error"),
    ("by: data.id", "by: data.ident", "node_started has no field data.ident"),
    (
        "{data.predecessor_node_id: data.node_id}",
        "{data.predecessor: data.node_id}",
        "node_started has no field data.predecessor",
    ),
    ("data.status=stopped", "data.status=halted", "is never halted"),
    ("data.status=stopped", "data.state=stopped", "has no field data.state"),
    ("data.status=stopped", "data.status=stopped, data.status!=stopped", "contradicts itself"),
    ("{field: task_id,", "{field: tusk_id,", "stands in fewer than two kinds"),
    ("when: {body:", "when: {form:", "a request is told by body or query, not by form"),
    ("name: broken-off", "name: run", "two alternatives are called run"),
    ("framing: sse", "framing: ndjson", 'x-stream/framing is "ndjson". There is: sse, json-blank-line'),
    ("first_line: {field: data", "first_line: {field: date", 'field is "date". There is: data, event, id, retry'),
    ("tier: documented", "tier: guessed", 'x-stream/order/0/tier is "guessed"'),
    ("is: workflow_started (", "is: workflow_started ((", "this parenthesis is never closed, at character 18"),
    ("end: [workflow_finished, error]", "end: [error, error]", "a list of names, each once"),
    ("silence_s: 10", "silence_s: long", "should be a number"),
    ("of: workflow_finished", "of: [workflow_finished]", "should be text"),
    ("unless: node_retry", "unless: node_retry text_chunk", 'separated by "|"'),
    ("open: node_started", "opens: node_started", "x-stream/pairs/0 has no open"),
    ("kind: event", "kind: event\n  kinds: event", "x-stream has kinds, which nothing reads"),
]


@pytest.mark.parametrize(("good", "bad", "told"), _BROKEN, ids=[told for *_, told in _BROKEN])
def test_a_mistake_in_a_stream_contract_is_told_with_its_place(good: str, bad: str, told: str):
    """A contract with one mistake cannot be read or does not hold together, and the message names the mistake."""
    text = "\n".join(line[14:] for line in _block_of("dify-workflow"))
    assert good in text
    schemas = contract_of("dify-workflow/runWorkflow").events
    try:
        problems = check(StreamContract.from_spec(yamlio.loads(text.replace(good, bad))["x-stream"], schemas))
    except FlowContractError as error:
        problems = [str(error)]
    assert any(told in problem for problem in problems), problems


def test_a_kind_with_a_schema_that_no_order_lets_come_is_told():
    """An event that the contract describes but never allows is a mistake of the contract."""
    text = "\n".join(line[14:] for line in _block_of("dify-workflow")).replace(
        "tts_message+ tts_message_end", "tts_message_end"
    )
    text = text.replace(" | tts_message)*", ")*").replace("workflow_finished tts_message* ", "workflow_finished ")
    schemas = contract_of("dify-workflow/runWorkflow").events
    problems = check(StreamContract.from_spec(yamlio.loads(text)["x-stream"], schemas))
    assert "x-stream/order: tts_message has a schema, but no order lets it come." in problems


# --- the rooms -----------------------------------------------------------------------------------------------------


def test_no_event_name_of_an_api_stands_in_the_toolkit():
    """What an API calls its events is data: no module of flowcontract knows a name."""
    kinds = {kind for file in FILES for kind in contract_of(cases_of(file)[0].operation).events}
    kinds |= {kind for file in FILES for kind in contract_of(cases_of(file)[0].operation).undocumented}
    words = {"error", "message", "end", "log", "token", "ping"}  # ordinary words, unless the judge has them in quotes
    standard = {"message", "end"}  # the type of an event without one (WHATWG), and a key of `x-stream`
    found = []
    for path in sorted(Path(paths.__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found += [f"{path.name}: {kind}" for kind in kinds - words if re.search(rf"\b{kind}\b", text)]
        if path.stem in ("sse", "order", "streams", "stream_rules", "stream_check"):
            found += [f'{path.name}: "{word}"' for word in words - standard if f'"{word}"' in text]
    assert found == []
