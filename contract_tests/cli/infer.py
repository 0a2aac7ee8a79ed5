"""`contract-tests infer`: proposes the stream contract of an operation from recorded streams; it writes no file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract_tests.cli.run import MISUSE, WELL
from contract_tests.judging.inference import FEWEST, Stream, infer, make_stream
from flowcontract import yamlio
from flowcontract.errors import FlowContractError, UnknownNameError
from flowcontract.output.printable import make_printable
from flowcontract.recordings.jsonl import NAME, is_recording
from flowcontract.recordings.opening import Opening
from flowcontract.recordings.operations import Operations
from flowcontract.recordings.reading import MAX_RECORDING_BYTES, parse
from flowcontract.recordings.untrusted import Unreadable
from flowcontract.schemas.media_types import find_media
from flowcontract.specs.model import load_api
from flowcontract.streams.judge import StreamJudge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contract_tests.judging.inference import Proposal
    from flowcontract.recordings.exchange import Recorded
    from flowcontract.specs.model import Api, Operation
    from flowcontract.streams.contract import StreamContract

_EPILOG = f"""\
examples:
  contract-tests infer --operation dify-chat/sendChatMessage recordings/
  contract-tests infer --operation dify-workflow/runWorkflow monday.har tuesday.har one.sse

Prints an x-stream: each rule with the number of streams that show it, and whether the contract has it. What one stream
contradicts, or fewer than {FEWEST} show, is not proposed. Nothing is written into specs/.

exit status: 0 well, 2 fewer than {FEWEST} streams, or nothing that could be read.
"""
_PARTS = ("order", "end", "constant", "equal", "pairs")


def add_parser(commands: Any) -> None:
    """Add the command to the others."""
    command = commands.add_parser(
        "infer",
        help="propose a stream contract from recorded streams",
        description="Proposes an x-stream from at least three recorded streams of an operation.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "recordings", nargs="+", type=Path, metavar="RECORDING", help="a HAR file, a proxy's folder, or a saved stream"
    )
    command.add_argument("--operation", required=True, metavar="API/OPERATION", help="dify-chat/sendChatMessage")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what the streams of all recordings show; return the exit status."""
    api, operation, contract = _find_operation(arguments.operation)
    streams: list[Stream] = []
    for path in arguments.recordings:
        streams += _read_streams(path, api, operation, contract)
    if len(streams) < FEWEST:
        found = f"{len(streams)} whole stream{'' if len(streams) == 1 else 's'}"
        print(
            f"contract-tests: the recordings have {found} of {operation.name}; infer needs {FEWEST}. Record more.",
            file=sys.stderr,
        )
        return MISUSE
    for line in write_proposals(infer(streams, contract), contract, len(streams)):
        print(make_printable(line))
    return WELL


def _find_operation(name: str) -> tuple[Api, Operation, StreamContract]:
    api = load_api(name.partition("/")[0])
    operation = next((each for each in api.operations.values() if each.name == name), None)
    if operation is None:
        raise UnknownNameError("operation", name, [each.name for each in api.operations.values() if each.stream])
    if operation.stream is None:
        raise FlowContractError(f"{name} has no stream. Name an operation that streams.")
    return api, operation, operation.stream


def _read_streams(path: Path, api: Api, operation: Operation, contract: StreamContract) -> Iterator[Stream]:
    """Yield the whole streams of a recording; say which others there are."""
    file = path / NAME if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_RECORDING_BYTES + 1)
    except OSError as error:
        raise FlowContractError(f"{file} cannot be read: {error.strerror}. Name a recording.") from None
    opening = Opening({contract.framing})
    stream = opening.feed(data) + opening.close()
    if stream and not is_recording(data):
        yield _split(stream, contract)
        return
    operations = Operations([api], operation.name)
    try:
        entries = parse(data, str(file), file.parent, file.stem)
    except Unreadable as problem:
        entries = [problem]
    for entry in entries:
        try:
            if isinstance(entry, Unreadable):
                raise entry
            if operations.find(entry) and (body := _find_body(entry, operation)):
                yield _split(body, contract)
        except Unreadable as problem:
            print(make_printable(f"contract-tests: left out: {file.name}: {problem}"), file=sys.stderr)


def _find_body(recorded: Recorded, operation: Operation) -> bytes:
    """Return a stream that came to its end, b'' where an answer is no stream; raise Unreadable where it was cut."""
    answer = recorded.answer
    response = operation.responses.get(answer.status)
    name = find_media(response.media, answer.headers.get("content-type", "")) if response else None
    if response is None or name is None or response.media[name].stream is None:
        return b""
    if answer.left or answer.cut:
        raise Unreadable(f"entry {recorded.number}: {answer.left or answer.cut}")
    return answer.body


def _split(body: bytes, contract: StreamContract) -> Stream:
    judge = StreamJudge(contract)
    judge.feed(body)
    return make_stream(((event.kind, event.payload) for event in judge.fresh), contract.anywhere)


def write_proposals(proposals: list[Proposal], contract: StreamContract, count: int) -> Iterator[str]:
    """Yield the lines of an `x-stream`, each rule below a comment that says what it rests on."""
    known = sum(proposal.known for proposal in proposals)
    yield f"# {len(proposals)} rules from {count} streams; the contract has {known} of them."
    yield "x-stream:"
    yield from (f"  {line}" for line in _write({"framing": contract.framing, "kind": contract.kind}))
    yield from (f"  {line}" for line in _write({"when": dict(contract.when), "unknown": "allowed"}))
    for part in _PARTS:
        found = [proposal for proposal in proposals if proposal.part == part]
        if found and part != "end":
            yield f"  {part}:"
        for proposal in found:
            has = "the contract has it" if proposal.known else "not in the contract"
            has += f", without {', '.join(proposal.lacks)}" if proposal.lacks else ""
            yield f"  {'  ' if part != 'end' else ''}# {proposal.support} of {count} streams; {has}"
            yield from _write_rule(proposal, count)


def _write_rule(proposal: Proposal, count: int) -> Iterator[str]:
    source = f"observed in {proposal.support} of {count} recorded streams"
    if proposal.part == "end":
        yield from (f"  {line}" for line in _write({"end": proposal.rule}))
        return
    rule = proposal.rule
    if proposal.part == "order":
        rule = {"name": "recorded", "tier": "observed", "is": proposal.rule}
    first, *rest = _write({**rule, "source": source})
    yield f"    - {first}"
    yield from (f"      {line}" for line in rest)


def _write(value: Any) -> list[str]:
    return yamlio.dumps(value).splitlines()
