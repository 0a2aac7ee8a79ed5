"""Streams of real servers, and the two that the documents print, are accepted; broken-off ones are not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from stream_cases import contract_of

from flowcontract.specs.model import load_api
from flowcontract.streams.contract import StreamContract
from flowcontract.streams.judge import StreamJudge
from flowcontract.streams.sse import Block, Decoder

FOLDER = Path(__file__).parents[1] / "data" / "streams" / "recorded"
CHAT, WORKFLOW, FLOW = "dify-chat/sendChatMessage", "dify-workflow/runWorkflow", "agentbuilder/runFlow"

# file -> operation, the order it follows and its tier, or None where the stream is broken off, kinds without schema
RECORDED = {
    "dify-1.4.1/036_run_streaming.sse": (WORKFLOW, ("run", "documented"), []),
    "dify-1.4.1/097_run_streaming_stopped.sse": (WORKFLOW, ("run", "documented"), []),
    "dify-1.4.1/102_run_streaming_client_disconnects.sse": (WORKFLOW, None, []),
    "dify-1.4.1/401_x_parallel_streaming.sse": (
        WORKFLOW,
        ("run", "documented"),
        ["parallel_branch_started", "parallel_branch_finished"],
    ),
    "dify-1.4.1/405_x_default_value_streaming.sse": (WORKFLOW, ("run", "documented"), ["node_retry"]),
    "dify-1.4.1/165_chat_streaming.sse": (CHAT, ("run-then-end", "observed"), []),
    "dify-1.4.1/200_chat_streaming_stopped.sse": (CHAT, ("run-then-end", "observed"), []),
    "dify-0.14.0/043_run_streaming_ping_23s.sse": (WORKFLOW, ("run", "documented"), []),
    "dify-0.14.0/323_llm_run_streaming.sse": (WORKFLOW, ("run", "documented"), []),
    "dify-0.14.0/414_x_tts_autoplay_workflow_streaming.sse": (WORKFLOW, ("run", "documented"), []),
    "dify-0.14.0/171_chat_streaming_fail_node.sse": (CHAT, ("run-failed", "observed"), []),
    "dify-0.14.0/292_llm_chat_streaming.sse": (CHAT, ("run-then-end", "observed"), []),
    "dify-0.14.0/407_x_input_moderation_streaming.sse": (CHAT, ("moderated", "observed"), []),
    "dify-0.14.0/410_x_output_moderation_streaming.sse": (CHAT, ("run-then-end", "observed"), []),
    "dify-0.14.0/412_x_tts_autoplay_chat_streaming.sse": (CHAT, ("run-then-end", "observed"), []),
    "langflow-1.4.3/run_stream_ok.json-lines": (FLOW, ("run", "observed"), []),
    "langflow-1.4.3/run_stream_unicode.json-lines": (FLOW, ("run", "observed"), []),
    # A run whose file is missing: the server closes the stream without a byte.
    "langflow-1.4.3/run_file_tweak_missing_file_stream.json-lines": (FLOW, None, []),
    # As printed, with the slips repaired: blank lines, colons, ids that differ within the stream, total_steps.
    "documents/001_216-221.sse": (WORKFLOW, ("run", "documented"), []),
    "documents/004_275-287.sse": (CHAT, ("run-before-the-answer", "documented"), []),
}
# Apps with branches, iterations, failures and stops, of which an event may be missing without any rule being broken:
# file -> operation, profile, the order it follows
OF_A_RELEASE = {
    # A code node fails while an HTTP request beside it waits: its node never finishes, and two more steps are counted.
    "dify-1.4.1/run_that_fails_in_one_of_two_branches.sse": (WORKFLOW, None, "run"),
    # Two answer nodes beside each other: their pieces come mixed, and the outputs join them node by node.
    "dify-1.4.1/chat_of_two_branches.sse": (CHAT, None, "run-then-end"),
    # An answer with a link to a file, which the server signs anew for the outputs.
    "dify-0.14.0/chat_that_shows_a_file.sse": (CHAT, None, "run-then-end"),
    "dify-1.14.2/chat_of_two_branches.sse": (CHAT, "1.14", "end-then-run"),
    "dify-1.14.2/chat_that_fails.sse": (CHAT, "1.14", "run-failed"),
    "dify-1.14.2/chat_stopped_between_answers.sse": (CHAT, "1.14", "stopped"),
    "dify-1.14.2/run_with_an_iteration.sse": (WORKFLOW, "1.14", "run"),
    "dify-1.14.2/run_stopped_before_its_end_node.sse": (WORKFLOW, "1.14", "run"),
    "dify-1.14.2/run_that_fails_in_one_of_two_branches.sse": (WORKFLOW, "1.14", "run"),
}
COMPLETE = [name for name, (_, order, _) in RECORDED.items() if order]

# Kinds of which one may be missing from a recording without any rule being broken, and why.
MAY_BE_MISSING = {
    "ping": "it counts for nothing",
    "tts_message": "speech of nothing is its end alone",
    "parallel_branch_started": "no document names it, and the numbering of nodes happens to be in order",
    "parallel_branch_finished": "no document names it",
    "message_replace": "whether a text is replaced is the moderator's decision",
    "add_message": "nothing says how many messages a run has",
}


def run(contract: StreamContract, stream: bytes, size: int = 1 << 16):
    """Judge a stream that comes in pieces of `size` bytes."""
    judge = StreamJudge(contract)
    found = [one for at in range(0, len(stream), size) for one in judge.feed(stream[at : at + size])]
    return judge, found + judge.close()


def blocks_of(contract: StreamContract, stream: bytes) -> list[Block]:
    """Return the blocks of a stream."""
    return Decoder(contract.framing).feed(stream)


def test_every_recording_has_its_line_here():
    """A recording that nobody judges would prove nothing."""
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.*") if path.is_file()} == {
        *RECORDED,
        *OF_A_RELEASE,
    }


@pytest.mark.parametrize("name", OF_A_RELEASE)
def test_recording_of_a_release_is_accepted_by_its_profile(name: str):
    """Branches, iterations, failures and stops of a real release are no violations by its own contract."""
    operation, profile, order = OF_A_RELEASE[name]
    api, _, identifier = operation.partition("/")
    media = load_api(api, profile=profile).operations[identifier].success.media
    judge, found = run(next(kind.stream for kind in media.values() if kind.stream), (FOLDER / name).read_bytes())
    assert found == []
    assert judge.matched
    assert judge.matched.name == order


@pytest.mark.parametrize("name", COMPLETE)
def test_a_complete_recording_is_accepted(name: str):
    """Real servers follow the contract; the verdict names the order, its tier, and kinds that no document names."""
    operation, order, unknown = RECORDED[name]
    judge, found = run(contract_of(operation), (FOLDER / name).read_bytes(), size=997)
    assert found == []
    assert judge.complete
    assert judge.matched is not None
    assert (judge.matched.name, judge.matched.tier) == order
    assert judge.unknown == unknown


@pytest.mark.parametrize("name", [name for name, (_, order, _) in RECORDED.items() if not order])
def test_a_broken_off_recording_lacks_its_end(name: str):
    """A stream that stops in the middle is told as a missing end, with what would have been allowed there."""
    operation, *_ = RECORDED[name]
    judge, found = run(contract_of(operation), (FOLDER / name).read_bytes())
    assert [one.rule for one in found] == ["end"]
    assert found[0].event == (judge.count or None)
    assert found[0].source


@pytest.mark.parametrize("name", COMPLETE)
def test_a_recording_cut_anywhere_before_its_end_is_rejected(name: str):
    """However many whole events arrive, the stream is not complete before the event that ends it."""
    operation, *_ = RECORDED[name]
    contract = contract_of(operation)
    stream = (FOLDER / name).read_bytes()
    blocks = blocks_of(contract, stream)
    ends = [n for n, block in enumerate(blocks) if _kind(contract, block) in contract.end]
    for kept in range(ends[0]):
        _, found = run(contract, stream[: blocks[kept].start])
        assert "end" in {one.rule for one in found}, f"{kept} events are taken for a whole stream"


@pytest.mark.parametrize("name", COMPLETE)
def test_a_recording_without_one_of_its_events_is_rejected(name: str):
    """Dropping any one event is noticed, but for the kinds that are listed with a reason."""
    operation, *_ = RECORDED[name]
    contract = contract_of(operation)
    stream = (FOLDER / name).read_bytes()
    unnoticed = set()
    for block in blocks_of(contract, stream):
        _, found = run(contract, stream[: block.start] + stream[block.end :].lstrip(b"\n"))
        if not found and not _is_nothing(contract, block):
            unnoticed.add(_kind(contract, block))
    assert unnoticed - set(MAY_BE_MISSING) == _excused(name)


def _excused(name: str) -> set[str]:
    """Return what a particular recording may lack as well."""
    if "fail" in name:
        return {"workflow_finished", "message"}  # 004:189: an error ends the stream wherever it comes
    if "stopped" in name and "chat" in name:
        return {"message"}  # a stopped run puts no answer out to compare the pieces with
    return set() if "004" not in name else {"message"}  # the printed run puts no answer out either


def _kind(contract: StreamContract, block: Block) -> str:
    if block.event is None:
        return next(value for name, value in block.fields if name == "event")
    return str(json.loads(block.event.data)[contract.kind])


def _is_nothing(contract: StreamContract, block: Block) -> bool:
    """Tell whether a block is an empty piece of text, which adds nothing."""
    payload = json.loads(block.event.data) if block.event else {}
    return payload.get("answer") == "" or (payload.get("data") or {}).get("text") == ""


# --- all recordings, where they are --------------------------------------------------------------------------------

TRACES = os.environ.get("FLOWCONTRACT_TRACES")


def _all_recordings() -> list[tuple[str, str, bytes]]:
    """Return (name, operation, bytes) of every recorded stream in the folder that FLOWCONTRACT_TRACES names."""
    found = []
    for path in sorted(Path(TRACES or "").glob("*/*.json")) if TRACES else []:
        exchange = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(exchange, dict) or "response" not in exchange:
            continue
        raw = path.with_suffix(".sse")
        target = exchange["request"]["path"]
        if raw.exists():
            operation = CHAT if "/chat-messages" in target else WORKFLOW
            found.append((f"{path.parent.name}/{raw.name}", operation, raw.read_bytes()))
        elif "stream=true" in target and exchange["response"]["status"] == 200:
            found.append((f"{path.parent.name}/{path.stem}", FLOW, exchange["response"]["body"].encode()))
    return found


@pytest.mark.skipif(
    not TRACES, reason="FLOWCONTRACT_TRACES names no folder with recordings; the representative ones ran"
)
def test_all_recordings_are_accepted_by_their_release_unless_they_are_broken_off():
    """Every stream of every recorded server; those that stop in the middle lack their end, nothing else."""
    verdicts = {}
    for name, operation, stream in _all_recordings():
        api, _, operation_id = operation.partition("/")
        release = name.partition("/")[0].partition("-")[2].rpartition(".")[0]
        contract = load_api(api, profile=release).operations[operation_id].stream
        verdicts[name] = [violation.rule for violation in run(contract, stream)[1]]
    reasons = ("client_disconnects", "missing_file", "required_missing")
    broken_off = {name for name in verdicts if any(reason in name for reason in reasons) and verdicts[name]}
    assert len(verdicts) > len(RECORDED)
    assert verdicts == {name: ["end"] if name in broken_off else [] for name in verdicts}
