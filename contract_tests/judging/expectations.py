"""What a request leads to expect of its answer, beyond what the operation documents, and where an answer differs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from contract_tests.judging.error_codes import is_refusal, list_error_codes, read_error_code
from flowcontract.provenance.evidence import BARS, Tier, find_weakest
from flowcontract.provenance.sources import read_provenance
from flowcontract.schemas.media_types import find_media
from flowcontract.schemas.violations import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contract_tests.http.exchange import Exchange
    from flowcontract.specs.model import Operation, Response

_ALLOW = ("RFC 9110, 15.5.6",)
_SERVER_ERROR = HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass(frozen=True, slots=True)
class Expected:
    """What to expect of an answer, beyond what its operation documents.

    ``because``   the reason in words, for the reader of a failure
    ``statuses``  empty: any that is documented
    ``codes``     error codes that may stand in a refusal; empty: any that is documented
    ``refused``   whether the request is to be refused; None: either way
    ``streamed``  whether the stream is to come rather than the whole body; None: either way
    ``events``    kinds that are to come in the stream
    ``allow``     the methods of which a 405 is to name some, and not the refused one; empty: none need be named
    ``source``    what the expectation rests on
    ``outcome``   the tier of the demand that there is a refusal at all
    ``form``      the tier of the demand for its status and its code
    ``hangs``     a stream may come instead that begins and then never goes on, as a release is known to do
    ``interrupted``  the run is stopped on the way: its nodes need not finish, whatever it says of its status
    ``promised``  whether a document says anything of such a request; else nothing in its answer is more than observed
    """

    because: str
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()
    refused: bool | None = None
    streamed: bool | None = None
    events: frozenset[str] = frozenset()
    allow: frozenset[str] = frozenset()
    source: tuple[str, ...] = ()
    outcome: Tier = Tier.DOCUMENT
    form: Tier = Tier.DOCUMENT
    hangs: bool = False
    interrupted: bool = False
    promised: bool = True


ANYTHING = Expected("an answer as documented")


def weigh_status(violation: Violation, operation: Operation, expected: Expected, exchange: Exchange) -> Violation:
    """Return a violation; that of an undocumented status gets the tier of `_find_status_tier`."""
    if violation.rule != "status":
        return violation
    source = expected.source or violation.source
    return replace(violation, source=source, tier=_find_status_tier(operation, expected, exchange))


def _find_status_tier(operation: Operation, expected: Expected, exchange: Exchange) -> Tier:
    """Return the tier of the violation that a status is not the expected one."""
    if exchange.status >= _SERVER_ERROR:
        return Tier.SERVER_ERROR
    if exchange.status < HTTPStatus.MULTIPLE_CHOICES and not expected.refused:
        return operation.success.tier  # a success, with another status
    if expected.refused is None:
        return Tier.OBSERVED  # whether such a request is refused, and how
    if not expected.refused:
        return Tier.DOCUMENT
    return expected.form if is_refusal(operation, exchange) else expected.outcome


def find_missed_status(expected: Expected, status: int) -> int:
    """Return the status that was expected instead of the one that came; 0 if several classes of statuses were."""
    sorts = {wanted // 100 for wanted in expected.statuses}
    return min(expected.statuses) if status not in expected.statuses and len(sorts) == 1 else 0


def check_expectations(operation: Operation, expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    """Yield where an answer is not as expected."""
    status, source = exchange.status, expected.source or operation.provenance
    if status not in operation.responses:
        return  # the operation's contract has that violation already
    if expected.statuses and status not in expected.statuses:
        wanted = " or ".join(map(str, sorted(expected.statuses)))
        tier = _find_status_tier(operation, expected, exchange)
        got = f"{status}{_quote_answer(exchange)}"
        yield Violation("status", f"{wanted}: {expected.because}", got, source=source, tier=tier)
        return
    if expected.refused is not None and is_refusal(operation, exchange) != expected.refused:
        wanted = "a refusal" if expected.refused else "no refusal"
        tier = _find_status_tier(operation, expected, exchange)
        got = f"{status}{_quote_answer(exchange)}"
        yield Violation("outcome", f"{wanted}: {expected.because}", got, source=source, tier=tier)
        return
    yield from _check_code(operation, expected, exchange)
    if expected.streamed is not None and status == operation.success.status:
        yield from _check_mode(operation, expected, exchange)
    for kind in sorted(expected.events - {timed.event.kind for timed in exchange.events}):
        yield Violation("event", f"{kind}: {expected.because}", "a stream without it", source=source)
    if expected.allow and status == HTTPStatus.METHOD_NOT_ALLOWED:
        yield from _check_allow(expected, exchange)


def _quote_answer(exchange: Exchange) -> str:
    """Return the beginning of a body."""
    text = exchange.answer.body[:120].decode("utf-8", "replace") if exchange.answer else ""
    return f" {text}" if text else ""


def _check_code(operation: Operation, expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    """Judge the error code: it is documented for the status, fits the request, and its `status` field is the status."""
    code = read_error_code(operation, exchange)
    documented = list_error_codes(operation, exchange.status)
    if not code or not documented:
        return
    response = operation.responses[exchange.status]
    source, tier = response.provenance, find_weakest((expected.form, _find_codes_tier(response)))
    is_open = exchange.status < HTTPStatus.BAD_REQUEST  # no document lists the codes in an envelope with status 200
    if code not in documented and not is_open:
        yield Violation("code", f"one of {', '.join(documented)}", code, "/code", source=source, tier=tier)
    elif expected.codes and code not in expected.codes:
        wanted = f"{' or '.join(sorted(expected.codes))}: {expected.because}"
        yield Violation("code", wanted, code, "/code", source=expected.source or source, tier=tier)
    repeated = exchange.json.get("status")
    is_repeated = any(body.get("status") == exchange.status for body in documented.values())
    if is_repeated and repeated not in (None, exchange.status):
        wanted = f"the status of the answer, {exchange.status}"
        yield Violation("equal", wanted, str(repeated), "/status", source=source, tier=Tier.OBSERVED)


def _find_codes_tier(response: Response) -> Tier:
    """Return the tier of the error codes of a status: the firmest of its examples."""
    examples = [example for media in response.media.values() for example in media.examples.values()]
    return min((example.tier for example in examples), key=BARS.index, default=response.tier)


def _check_mode(operation: Operation, expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    answer = exchange.answer
    assert answer is not None
    media = operation.success.media
    streamed = any(kind.stream for name, kind in media.items() if find_media({name: kind}, answer.media_type))
    if streamed != expected.streamed:
        names = " or ".join(kind.name for kind in media.values() if bool(kind.stream) == expected.streamed)
        source = _find_mode_source(operation) or operation.success.provenance
        yield Violation("media-type", f"{names}: {expected.because}", answer.media_type or "none", source=source)


def _find_mode_source(operation: Operation) -> tuple[str, ...]:
    """Return the source of the field or parameter by which a request says whether it wants the stream."""
    when = operation.stream.when if operation.stream else {}
    found = [parameter.provenance for parameter in operation.parameters if parameter.name in when.get("query", {})]
    for media in operation.request.values():
        fields = media.schema.get("properties", {})
        found += [read_provenance(fields[name]) for name in when.get("body", {}) if name in fields]
    return tuple(line for source in found for line in source)


def _check_allow(expected: Expected, exchange: Exchange) -> Iterator[Violation]:
    """Judge `Allow`; some frameworks name only the methods of one of several routes with the same path."""
    assert exchange.answer is not None
    allow = exchange.answer.headers.get("allow", "")
    allowed = {method.strip().upper() for method in allow.split(",") if method.strip()}
    if not allowed & expected.allow or exchange.sent.method in allowed:
        wanted = ", ".join(sorted(expected.allow))
        yield Violation("allow", f"the header `Allow` with methods of {wanted}", allow or "none", source=_ALLOW)
