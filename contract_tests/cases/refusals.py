"""How a wrong request is to be refused: which statuses and error codes, by the contract's `x-refusals`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contract_tests.judging.judge import Expected, error_codes
from flowcontract.errors import SpecError
from flowcontract.provenance.evidence import Tier, is_printed, weakest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.specs.model import Example, Operation, Response

_NOT_READ = {"wrong-media-type", "unsupported-file-type", "malformed-body"}
"""Words for a body that is not read; RFC 9110 leaves open by which status it is refused."""
_NOT_READ_STATUSES = frozenset({400, 415, 422})
_ANY_VALUE = {"invalid-request", "missing-parameter"}
"""Words for a value that a table forbids. The tables say what to send; that a server refuses whatever else comes,
no document says: one that takes more is lenient."""
_STREAMING = "-streaming"  # of a word: where the request asks for a stream
_WRONG_STATUSES = frozenset({400, 422})  # where both are in a contract, the library behind a server decides


def refusal(
    operation: Operation, words: tuple[str, ...], why: str, source: tuple[str, ...] = (), *, any_of: bool = False
) -> Expected:
    """Return that a request is refused as `x-refusals` has it for the first of some words that it knows, or for any.

    An error code that is only observed, not documented, is as good: real servers know more of them than the documents.
    """
    hangs = any(_hangs(operation, f"{word}{_STREAMING}") for word in words)
    words = tuple(word for word in words if word in operation.refusals)[: None if any_of else 1] or words
    known = [operation.refusals[word] for word in words if word in operation.refusals]
    if not known:
        raise SpecError(f"{operation.name}: x-refusals has none of {', '.join(words)}. Map one of them to a scenario.")
    statuses = {int(key[:3]) for key in known}
    codes = {code for key in known for code in _codes(operation, key)}
    if _NOT_READ.intersection(words):
        statuses |= _NOT_READ_STATUSES & set(operation.responses)
        codes = set()
    if _WRONG_STATUSES & statuses:
        statuses |= _WRONG_STATUSES & set(operation.responses)
    for status in statuses if codes else ():
        codes |= {code for code in error_codes(operation, status) if _only_observed(operation, status, code)}
    grounds = [_ground(operation, key) for key in known]
    answers = [_answers(operation, key) for key in known]
    outcome = Tier.OBSERVED if _ANY_VALUE.intersection(words) else weakest(one.tier for one in grounds)
    lines = dict.fromkeys(line for one in grounds for line in one.provenance)
    printed = all(any(map(is_printed, one.provenance)) for one in grounds)
    return Expected(
        why,
        frozenset(statuses),
        frozenset(codes),
        refused=None if len(set(answers)) > 1 else not answers[0],
        hangs=hangs,
        source=(*source, *(line for line in lines if line not in source)) or operation.provenance,
        outcome=outcome,
        form=outcome if printed else weakest((outcome, Tier.OBSERVED)),
    )


def _answers(operation: Operation, key: str) -> bool:
    """Tell whether a release answers such a request as if all were well: with a success that has no error codes."""
    status = int(key[:3])
    return status < 400 and not error_codes(operation, status)  # noqa: PLR2004 - HTTP's own range


def _hangs(operation: Operation, word: str) -> bool:
    """Tell whether a release notices what is wrong only after its stream has begun, and then says nothing any more."""
    return operation.stream is not None and operation.refusals.get(word) in operation.stream.hangs


def _found(operation: Operation, key: str) -> Response | Example:
    """Return what the contract has under `404-not-found`: the example of that name, or all of the status."""
    status, _, name = key.partition("-")
    response = operation.responses[int(status)]
    named = {one.name.replace("_", "-"): one for media in response.media.values() for one in media.examples.values()}
    return named.get(name, response)


def _ground(operation: Operation, key: str) -> Response | Example:
    """Return what a refusal rests on; an example that repeats the lines of its status has rulings on its code only."""
    found, response = _found(operation, key), operation.responses[int(key[:3])]
    lines, whole = ([text for text in one.provenance if is_printed(text)] for one in (found, response))
    return response if lines == whole else found


def _codes(operation: Operation, key: str) -> Iterator[str]:
    """Yield the error code of a scenario's name, if it is one of its status."""
    status, *words = key.split("-")
    known = error_codes(operation, int(status))
    codes = (
        "_".join(words[:length]) for length in range(len(words), 0, -1)
    )  # what follows a code tells scenarios apart
    yield from [code for code in codes if code in known][:1]


def _only_observed(operation: Operation, status: int, code: str) -> bool:
    found = [
        one
        for media in operation.responses[status].media.values()
        for one in media.examples.values()
        if one.name == code
    ]
    return any(one.observed and not any(map(is_printed, one.provenance)) for one in found)
