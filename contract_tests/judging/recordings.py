"""Judges recorded exchanges, of browsers (HAR 1.2) and of our own recorder, as if they had just been made."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contract_tests.http.exchange import Answer, SentRequest
from contract_tests.judging.asked import find_mode_violations
from contract_tests.judging.expectations import ANYTHING
from contract_tests.judging.foreign_streams import ForeignStream, Recogniser
from contract_tests.judging.judge import Judge
from flowcontract.output.secret_texts import MASK
from flowcontract.recordings.opening import Opening
from flowcontract.recordings.operations import Operations
from flowcontract.recordings.reading import parse, read
from flowcontract.recordings.untrusted import Unreadable, load_json
from flowcontract.schemas.media_types import JSON
from flowcontract.schemas.violations import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from flowcontract.recordings.exchange import Recorded, RecordedAnswer
    from flowcontract.recordings.operations import Asked
    from flowcontract.specs.model import Api, Operation

__all__ = ["Judged", "judge", "judge_all", "parse", "read"]

_PIECE = 64 * 1024

_OF_WHOLE_TEXTS = ("concatenates",)
"""Rules that a text does not keep once another was recorded in its place."""


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
    operations = Operations(apis, only)
    for entry in entries:
        yield entry if isinstance(entry, Unreadable) else _judge_best(entry, operations.find(entry))


def _judge_best(recorded: Recorded, found: list[Asked]) -> Judged:
    """Judge an exchange by each operation that it may be of; return the verdict that fits best."""
    judged = [_judge_as(recorded, asked.api, asked.operation) for asked in found]
    return min(
        judged,
        key=lambda verdict: (bool(verdict.unjudged), len(verdict.violations)),
        default=Judged(recorded, None),
    )


def _judge_as(recorded: Recorded, api: Api, operation: Operation) -> Judged:
    try:
        answer = recorded.answer
    except Unreadable as problem:
        return Judged(recorded, operation, unjudged=str(problem))
    judge = Judge(api, operation, ANYTHING)
    received = Answer(answer.status, answer.headers, answer.body)
    streams = judge.watch(received, without=_OF_WHOLE_TEXTS if answer.rewritten else ())
    foreign = _follow(judge, received, left=bool(answer.left)) if streams else None
    if foreign is not None and not foreign.judged:
        return Judged(recorded, operation, unjudged=str(foreign), notes=answer.notes)
    if answer.left and judge.stream is None and not _is_whole(answer, operation):
        return Judged(recorded, operation, unjudged=f"its end was not recorded ({answer.left})", notes=answer.notes)
    violations = (
        *_check_framing(judge, received),
        *judge.conclude(SentRequest(recorded.method, recorded.url, ()), received).violations,
        *_check_mode(recorded, judge, received),
    )
    notes = list(answer.notes)
    if answer.rewritten:
        violations = tuple(each for each in violations if MASK not in each.got)
        notes.append("the recorder wrote other texts in place of the server's: whether they add up is not asked")
    if foreign is not None:
        notes.append(str(foreign))
    if answer.left:
        notes.append(f"its end was not recorded ({answer.left}): what was missing then is not asked for")
    return Judged(recorded, operation, violations, notes=tuple(notes))


def _is_whole(answer: RecordedAnswer, operation: Operation) -> bool:
    """Tell whether a body came to its end, as far as that can be seen; a status that is documented without one has."""
    response = operation.responses.get(answer.status)
    if response is not None and not response.media:
        return True
    try:
        return bool(answer.body) and (answer.media_type != JSON or load_json(answer.body) is not None)
    except Unreadable:
        return False


def _check_mode(recorded: Recorded, judge: Judge, answer: Answer) -> Iterator[Violation]:
    """Yield a violation where a stream was asked for and none came, or vice versa."""
    if answer.status == judge.operation.success.status:
        streamed = judge.stream is not None
        yield from find_mode_violations(
            recorded, judge.api, judge.operation, media_type=answer.media_type, streamed=streamed
        )


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
