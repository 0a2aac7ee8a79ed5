"""Judges a text by the contract: an answer's body, a stream, or a recording. It reads no file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowcontract.errors import FlowContractError
from flowcontract.recordings.opening import Opening
from flowcontract.recordings.operations import Operations
from flowcontract.recordings.reading import parse
from flowcontract.recordings.untrusted import Unreadable
from mockserver.journal.entry import describe_violation
from mockserver.proxy.judging import AnswerJudge, count_failing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.recordings.exchange import Recorded
    from flowcontract.specs.model import Api, Operation

LONGEST = 4 << 20
"""Bytes of a text that is judged."""
_HEAD = re.compile(r"HTTP/\d(?:\.\d)? (\d{3})[^\n]*\n(.*?)\r?\n\r?\n", re.DOTALL)
_MOST_EXCHANGES = 200
_VIOLATIONS_SHOWN = 20


def judge_text(apis: Mapping[str, Api], operation: str, text: str, status: int, content_type: str) -> dict[str, Any]:
    """Return the verdict on a text; raise FlowContractError where there can be none.

    ``operation``     qualified; of a recording it may be empty: its requests say which operations they are of
    ``text``          a body, perhaps below its head (`HTTP/1.1 200 OK` ...), a stream, or a recording (HAR, our own)
    ``status``        of the answer, unless its head says it
    ``content_type``  of the answer; empty: what the text looks like
    """
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > LONGEST:
        raise FlowContractError(f"The text has {len(data)} bytes; {LONGEST} are judged. Send less of it.")
    opening = Opening({"sse"})
    opening.feed(data)
    opening.close()
    if opening.recording:
        return _judge_recording(apis, operation, data)
    if not operation:
        raise FlowContractError("Whose answer is it? Say operation, as dify-chat/sendChatMessage; `list` has them.")
    api, found = find_operation(apis, operation)
    headers: dict[str, str] = {}
    head = _HEAD.match(text)
    if head:
        status, data = int(head[1]), text[head.end() :].encode("utf-8", "surrogatepass")
        pairs = (line.partition(":") for line in head[2].splitlines())
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if content_type or "content-type" not in headers:
        headers["content-type"] = content_type or _guess_type(found, status, data)
    verdict = _judge_answer(api, found, status, headers, data, whole=True)
    return {"operation": found.name, "status": status, "content_type": headers["content-type"], **verdict}


def find_operation(apis: Mapping[str, Api], name: str) -> tuple[Api, Operation]:
    """Return an operation by its qualified name; raise FlowContractError, which says what there is."""
    known = {operation.name: (api, operation) for api in apis.values() for operation in api.operations.values()}
    if name not in known:
        raise FlowContractError(f'No operation "{name}". There is: {", ".join(sorted(known))}.')
    return known[name]


def _guess_type(operation: Operation, status: int, data: bytes) -> str:
    """Return the media type that a body looks like, of those that the contract has for it."""
    response = operation.responses.get(status)
    media = response.media if response else {}
    streams = {name: each.stream for name, each in media.items() if each.stream}
    for name, stream in streams.items():
        opening = Opening({stream.framing})
        opening.feed(data)
        opening.close()
        if not opening.other:
            return name
    return next((name for name in media if name not in streams), "application/json")


def _judge_answer(  # noqa: PLR0913 - the parts of an answer
    api: Api, operation: Operation, status: int, headers: Mapping[str, str], body: bytes, *, whole: bool
) -> dict[str, Any]:
    judge = AnswerJudge(api, operation, status, headers, refused=False)
    found = [*judge.feed(body, 0.0), *judge.close(0.0, whole=whole, readable=True)]
    failing = count_failing(found)
    shown = [describe_violation(each, str) for each in found[:_VIOLATIONS_SHOWN]]
    verdict = {"conforming": not failing, "violations": failing, "notes": len(found) - failing, "found": shown}
    return {**verdict, "events": judge.events} if judge.contract else verdict


def _judge_recording(apis: Mapping[str, Api], only: str, data: bytes) -> dict[str, Any]:
    if only:
        find_operation(apis, only)
    operations = Operations(apis.values(), only)
    entries = parse(data, "The text")
    judged = [each for entry in entries[:_MOST_EXCHANGES] for each in _judge_entry(operations, entry)]
    if not any("conforming" in each for each in judged):
        wanted = only or "an operation that a document names"
        raise FlowContractError(f"Nothing was judged: none of its {len(entries)} entries is a request for {wanted}.")
    left = len(entries) - _MOST_EXCHANGES
    verdict = {"conforming": all(each.get("conforming", True) for each in judged), "exchanges": judged}
    return {**verdict, "not_judged": f"{left} more entries"} if left > 0 else verdict


def _judge_entry(operations: Operations, entry: Recorded | Unreadable) -> Iterator[dict[str, Any]]:
    """Yield the verdict that fits best, nothing for a request that is of no operation."""
    try:
        if isinstance(entry, Unreadable):
            raise entry
        head = {"number": entry.number, "method": entry.method, "url": entry.url}
        verdicts = []
        for asked in operations.find(entry):
            answer = entry.answer
            whole = not (answer.left or answer.cut)
            verdict = _judge_answer(asked.api, asked.operation, answer.status, answer.headers, answer.body, whole=whole)
            verdicts.append({**head, "operation": asked.operation.name, "status": answer.status, **verdict})
        if verdicts:
            yield min(verdicts, key=lambda each: int(each["violations"]) + int(each["notes"]))
    except Unreadable as problem:
        yield {"unread": str(problem)}
