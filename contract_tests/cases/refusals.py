"""The statuses and error codes with which a wrong request is to be refused, by the contract's `x-refusals`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contract_tests.judging.error_codes import list_error_codes
from contract_tests.judging.expectations import Expected
from flowcontract.errors import SpecError
from flowcontract.provenance.evidence import Tier, find_weakest, is_printed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.specs.model import Example, Operation, Response

_NOT_READ = {"wrong-media-type", "unsupported-file-type", "malformed-body"}
"""Words for a body that is not read; RFC 9110 allows each of the statuses below."""
_NOT_READ_STATUSES = frozenset({400, 415, 422})
_ANY_VALUE = {"invalid-request", "missing-parameter"}
"""Words for an undocumented value. The tables say what to send, but no document says that a server refuses anything
else: one that accepts more is lenient. The same holds for a finer word, such as a profile's, with the same code."""
_GENERAL = "invalid-request"
_STREAMING = "-streaming"  # of a word: where the request asks for a stream
_WRONG_STATUSES = frozenset({400, 422})  # a server's library decides which, where a contract has both


def expect_refusal(
    operation: Operation, words: tuple[str, ...], why: str, source: tuple[str, ...] = (), *, any_of: bool = False
) -> Expected:
    """Expect a refusal as `x-refusals` maps it, for the first of some words that it has, or for any of them.

    Error codes that were only observed are accepted as well: real servers have more of them than the documents.
    """
    hangs = any(_hangs(operation, f"{word}{_STREAMING}") for word in words)
    may_be_general = _GENERAL in words
    words = tuple(word for word in words if word in operation.refusals)[: None if any_of else 1] or words
    known = [operation.refusals[word] for word in words if word in operation.refusals]
    if not known:
        raise SpecError(f"{operation.name}: x-refusals has none of {', '.join(words)}. Map one of them to a scenario.")
    general = may_be_general and all(_says_no_more(operation, key) for key in known)
    statuses = {int(key[:3]) for key in known}
    codes = {code for key in known for code in _find_codes(operation, key)}
    if _NOT_READ.intersection(words):
        statuses |= _NOT_READ_STATUSES & set(operation.responses)
        codes = set()
    if _WRONG_STATUSES & statuses:
        statuses |= _WRONG_STATUSES & set(operation.responses)
    for status in statuses if codes else ():
        codes |= {code for code in list_error_codes(operation, status) if _is_only_observed(operation, status, code)}
    bases = [_find_basis(operation, key) for key in known]
    successes = {_is_success(operation, key) for key in known}
    demanded = not _ANY_VALUE.intersection(words) and not general
    outcome = find_weakest(basis.tier for basis in bases) if demanded else Tier.OBSERVED
    lines = dict.fromkeys(line for basis in bases for line in basis.provenance)
    printed = all(any(map(is_printed, basis.provenance)) for basis in bases)
    return Expected(
        why,
        frozenset(statuses),
        frozenset(codes),
        refused=None if len(successes) > 1 else not any(successes),
        hangs=hangs,
        source=(*source, *(line for line in lines if line not in source)) or operation.provenance,
        outcome=outcome,
        form=outcome if printed else find_weakest((outcome, Tier.OBSERVED)),
    )


def _is_success(operation: Operation, key: str) -> bool:
    """Tell whether a release answers such a request as if it were right: with a success that has no error codes."""
    status = int(key[:3])
    return status < 400 and not list_error_codes(operation, status)  # noqa: PLR2004 - HTTP's own range


def _says_no_more(operation: Operation, key: str) -> bool:
    """Tell whether a finer word only words the refusal of any invalid request otherwise: the same status and code."""
    general = operation.refusals.get(_GENERAL, "")
    codes = set(_find_codes(operation, key))
    return bool(codes) and key[:3] == general[:3] and codes == set(_find_codes(operation, general))


def _hangs(operation: Operation, word: str) -> bool:
    """Tell whether a release notices the mistake only after its stream has begun, and then sends nothing more."""
    return operation.stream is not None and operation.refusals.get(word) in operation.stream.hangs


def _find_basis(operation: Operation, key: str) -> Response | Example:
    """Return what a refusal `404-not-found` rests on: the example of that name, or the response as a whole.

    The rulings of an example that cites the same lines as its response are only on its code, so the response counts.
    """
    status, _, name = key.partition("-")
    response = operation.responses[int(status)]
    examples = (example for media in response.media.values() for example in media.examples.values())
    named = {example.name.replace("_", "-"): example for example in examples}
    basis = named.get(name, response)
    printed, whole = (list(filter(is_printed, part.provenance)) for part in (basis, response))
    return response if printed == whole else basis


def _find_codes(operation: Operation, key: str) -> Iterator[str]:
    """Yield the error code that the name of a scenario begins with, if its status has that code."""
    status, *words = key.split("-")
    known = list_error_codes(operation, int(status))
    codes = ("_".join(words[:length]) for length in range(len(words), 0, -1))  # the rest tells scenarios apart
    yield from [code for code in codes if code in known][:1]


def _is_only_observed(operation: Operation, status: int, code: str) -> bool:
    """Tell whether no printed line has an error code."""
    examples = (example for media in operation.responses[status].media.values() for example in media.examples.values())
    return any(
        example.observed and not any(map(is_printed, example.provenance))
        for example in examples
        if example.name == code
    )
