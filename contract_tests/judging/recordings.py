"""Judges recorded exchanges, of browsers (HAR 1.2) and of our own recorder, as if they had just been made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from contract_tests.http.exchange import Answer, SentRequest
from contract_tests.judging.asked import mode_violations
from contract_tests.judging.foreign_streams import ForeignStream, Recogniser
from contract_tests.judging.judge import ANYTHING, Judge
from flowcontract.recordings.opening import Opening
from flowcontract.recordings.reading import parse, read
from flowcontract.recordings.untrusted import Unreadable
from flowcontract.schemas.violations import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from flowcontract.recordings.exchange import Recorded, RecordedAnswer
    from flowcontract.specs.model import Api, Operation

__all__ = ["Judged", "judge", "judge_all", "parse", "read"]

_PIECE = 64 * 1024


class Judged(NamedTuple):
    """A recorded exchange, its operation (None: undocumented), and what is wrong with its answer.

    ``unjudged``  why there is no verdict; empty where there is one
    ``notes``     how the answer was recorded, where that matters for the verdict
    """

    recorded: Recorded
    operation: Operation | None
    violations: tuple[Violation, ...] = ()
    unjudged: str = ""
    notes: tuple[str, ...] = ()


def judge(path: Path, apis: Iterable[Api], only: str = "") -> Iterator[Judged | Unreadable]:
    """Judge every exchange of a file as `judge_all` does; raise Unreadable where it is no recording."""
    return judge_all(read(path), apis, only)


def judge_all(
    entries: Iterable[Recorded | Unreadable], apis: Iterable[Api], only: str = ""
) -> Iterator[Judged | Unreadable]:
    """Judge recorded exchanges by the operations of some APIs, or by the one that is named `only`."""
    patterns = [
        (_compile_path(api, operation), api, operation)
        for api in apis
        for operation in api.operations.values()
        if only in ("", operation.name)
    ]
    for entry in entries:
        yield entry if isinstance(entry, Unreadable) else _judge_best(entry, _match_operations(entry, patterns))


def _judge_best(recorded: Recorded, operations: list[tuple[Api, Operation]]) -> Judged:
    """Judge an exchange by each operation that it may be of; return the verdict that fits best."""
    judged = [_judge_as(recorded, api, operation) for api, operation in operations]
    return min(
        judged,
        key=lambda verdict: (bool(verdict.unjudged), len(verdict.violations)),
        default=Judged(recorded, None),
    )


def _compile_path(api: Api, operation: Operation) -> re.Pattern[str]:
    """Return a pattern for the paths of an operation; a proxy may have added a prefix."""
    parts = re.split(r"\{\w+\}", api.base_path + operation.path)
    return re.compile(f"(?P<prefix>(?:/.*)?){'[^/]+'.join(map(re.escape, parts))}", re.DOTALL)


def _match_operations(
    recorded: Recorded, patterns: list[tuple[re.Pattern[str], Api, Operation]]
) -> list[tuple[Api, Operation]]:
    """Return the operations that a recorded request may be of; only those of the app that it names, where it does."""
    matches = [
        (len(match["prefix"]), api, operation)
        for pattern, api, operation in patterns
        if operation.method == recorded.method and (match := pattern.fullmatch(recorded.path))
    ]
    shortest = min((prefix for prefix, _, _ in matches), default=0)
    found = [(api, operation) for prefix, api, operation in matches if prefix == shortest]
    return [pair for pair in found if recorded.app and recorded.app in pair[0].name] or found


def _judge_as(recorded: Recorded, api: Api, operation: Operation) -> Judged:
    try:
        answer = recorded.answer
    except Unreadable as problem:
        return Judged(recorded, operation, unjudged=str(problem))
    judge = Judge(api, operation, ANYTHING)
    received = Answer(answer.status, answer.headers, answer.body)
    foreign = _follow(judge, received, left=bool(answer.left)) if judge.watch(received) else None
    if foreign is not None and not foreign.judged:
        return Judged(recorded, operation, unjudged=str(foreign), notes=answer.notes)
    violations = (
        *_check_framing(judge, received),
        *judge.verdict(SentRequest(recorded.method, recorded.url, ()), received).violations,
        *_check_mode(recorded, judge, received),
    )
    return Judged(recorded, operation, violations, notes=(*answer.notes, *_list_notes(foreign, answer)))


def _check_mode(recorded: Recorded, judge: Judge, answer: Answer) -> Iterator[Violation]:
    """Yield a violation where a stream was asked for and none came, or vice versa."""
    if answer.status == judge.operation.success.status:
        streamed = judge.stream is not None
        yield from mode_violations(
            recorded, judge.api, judge.operation, media_type=answer.media_type, streamed=streamed
        )


def _list_notes(foreign: ForeignStream | None, answer: RecordedAnswer) -> Iterator[str]:
    if foreign is not None:
        yield str(foreign)
    if answer.left:
        yield f"the client left before the end ({answer.left}): what was missing then is not asked for"


def _follow(judge: Judge, answer: Answer, *, left: bool) -> ForeignStream | None:
    """Judge a recorded stream event by event; return the foreign stream that it is, if it is one."""
    assert judge.stream is not None
    for start in range(0, len(answer.body), _PIECE):
        for _ in judge.feed(0.0, answer.body[start : start + _PIECE]):
            pass
    judge.end(0.0, broken=left)
    recogniser = Recogniser(judge.stream.contract)
    recogniser.feed(timed.event for timed in judge.events)
    return recogniser.found


def _check_framing(judge: Judge, answer: Answer) -> Iterator[Violation]:
    """Yield a violation where the body of a stream is something else, with the name of that."""
    if judge.stream is None:
        return
    opening = Opening({judge.stream.contract.framing})
    opening.feed(answer.body[:_PIECE])
    opening.close()
    if opening.other:
        yield Violation("framing", "a stream of events", opening.other, source=judge.operation.success.provenance)
