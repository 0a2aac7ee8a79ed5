"""Checks a scenario against the contract: its request, its reply, the events of a stream and the whole."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowcontract import pointers
from flowcontract.errors import FlowContractError
from flowcontract.lint import media
from flowcontract.lint.findings import Finding
from flowcontract.lint.references import as_mapping
from flowcontract.scenarios import render_body, render_events, render_headers
from flowcontract.scenarios.expressions import Context, RequestView
from flowcontract.schemas.decoding import ABSENT
from flowcontract.schemas.media_types import JSON, find_media
from flowcontract.streams.judge import StreamJudge
from flowcontract.validation import pydantic_words
from flowcontract.validation.request import build_sample_violation, check_request
from flowcontract.validation.response import find_response_violations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flowcontract.lint.project import YamlFile
    from flowcontract.scenarios import Scenario
    from flowcontract.schemas.validators import Validators
    from flowcontract.schemas.violations import Violation
    from flowcontract.specs.model import MediaType, Operation
    from flowcontract.streams.contract import StreamContract

ERRORS = 400  # the lowest status that refuses
_NOW = 1_732_147_200  # the moment of the sample context
_AT_RUN_TIME = re.compile(r"\$(?:request\.|(?:world|app)\.(?P<name>[^.{}]+))")
_COUNTED = ("counts", "concatenates")  # rules about numbers that a running world counts
_NOT_BODY = ("status", "media-type", "json")  # rules that are about an answer, not about a value in its body

_MEND_REPLY = "Mend the scenario or the contract."
_MEND_REQUEST = "Mend the request, or drop it."
_OFFER_STREAM = "Answer with what the contract offers, or give it an `x-stream`."
BY_CONTRACT = (_MEND_REPLY, _MEND_REQUEST, _OFFER_STREAM)
"""What findings tell to do that say that the contract forbids a scenario; one with `violations` has them on purpose."""

_Pieces = list[tuple[str, bytes]]  # pointer of an event in the scenario, and what is sent for it


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario as the reply of one operation."""

    file: YamlFile
    scenario: Scenario
    operation: Operation
    validators: Validators

    def report_violation(self, where: str, violation: Violation, what: str) -> Iterator[Finding]:
        """Yield a violation as a finding, unless its value is only known to a running mock."""
        if not _is_known_at_run_time(self.file.data, where, violation.rule):
            yield self.file.build_finding(
                where,
                f"the reply breaks {what} ({violation.rule}): expected {violation.expected}, got {violation.got}",
                _MEND_REPLY,
            )


def check(case: Case) -> Iterator[Finding]:
    """Yield what is wrong with a scenario's request and reply."""
    yield from _check_request(case)
    yield from check_reply(case)


def from_error(path: Path, error: Exception) -> Finding:
    """Return an error whose text begins `PATH, line N:` or `PATH:` as a finding."""
    text = str(error).removeprefix(str(path))
    match = re.match(r"[,:] ?(?:line )?(?P<line>\d+):\s*", text)
    what, _, todo = (text[match.end() :] if match else text.lstrip(":, ")).partition(". ")
    return Finding(path, int(match["line"]) if match else 1, what, todo or "Mend the scenario.")


def _check_request(case: Case) -> Iterator[Finding]:
    """Check the request of a successful reply; it is partial, so that required fields may be missing."""
    match, operation = case.scenario.request, case.operation
    if match is None or case.scenario.status >= ERRORS:
        return
    media_type = next(iter(operation.request), "") if match.body is not None else ""
    if media_type not in ("", JSON) and not isinstance(match.body, dict):
        yield case.file.build_finding(
            "/request/body", f"{operation.id} takes a form, whose fields are an object", _MEND_REQUEST
        )
        return
    checked = check_request(
        case.validators,
        operation,
        path={},
        query={name: [str(value)] for name, value in match.query.items()},
        headers={name: str(value) for name, value in match.headers.items()},
        body=ABSENT if match.body is None else match.body,
        media_type=media_type,
    )
    for found in checked.violations:
        if found.violation.rule == "required" or (found.location == "body" and match.body is None):
            continue
        part = {"body": "body", "query": "query", "header": "headers"}.get(found.location, "")
        inner = found.violation.where if part == "body" else f"/{pointers.escape(found.field)}"
        what = f"{operation.id} allows no such request: {found.message}"
        yield case.file.build_finding(f"/request/{part}{inner}", what, _MEND_REQUEST)


def build_sample_context(operation: Operation) -> Context:
    """Return the context in which replies are checked: an example request, and no world but the scenario's sample."""
    bodies = [example.value for media_type in operation.request.values() for example in media_type.examples.values()]
    ids = Context(seed="lint")
    can_be_wrong = operation.request or operation.parameters
    return Context(
        request=RequestView(
            operation.method,
            path={
                parameter.name: ids.derive_id(parameter.name)
                for parameter in operation.parameters
                if parameter.location == "path"
            },
            body=bodies[0] if bodies else {},
        ),
        seed="lint",
        now=_NOW,
        violation=pydantic_words.build_mapping(build_sample_violation(operation)) if can_be_wrong else {},
    )


def check_reply(case: Case) -> Iterator[Finding]:
    """Render a reply and yield its violations of the contract."""
    context, reply = build_sample_context(case.operation), case.scenario.reply
    try:
        headers = {"Content-Type": reply.media_type, **render_headers(reply, context)}
        if reply.streamed:
            yield from _check_stream(case, headers["Content-Type"], context)
            return
        body = render_body(reply, context)
    except (FlowContractError, OSError) as error:
        yield from_error(case.file.path, error)
        return
    if reply.file is not None and (fault := media.find_error(reply.file)):
        what = f"{reply.file.name} is not what its ending says: {fault}"
        yield case.file.build_finding("/reply/file", what, "Make the file anew.")
    headers = {name: value for name, value in headers.items() if value}
    for found in find_response_violations(case.validators, case.operation, case.scenario.status, headers, body):
        inside = reply.kind == "body" and found.rule not in _NOT_BODY
        where = f"/reply/body{found.where}" if inside else "/reply"
        yield from case.report_violation(where, found, f"{case.operation.id}'s {case.scenario.status}")


def check_rendering(case: Case) -> Iterator[Finding]:
    """Render a reply of which the contract says nothing, and yield what makes that impossible."""
    context, reply = build_sample_context(case.operation), case.scenario.reply
    try:
        render_headers(reply, context)
        _ = list(render_events(reply, context)) if reply.streamed else render_body(reply, context)
    except (FlowContractError, OSError) as error:
        yield from_error(case.file.path, error)


def _is_known_at_run_time(scenario: Any, where: str, rule: str) -> bool:
    """Tell whether a value depends on the request, or on a world without a sample of it.

    Concatenations and counts depend on the world too: a sample is right for one number of events only. The moment of an
    answer is later than any that was recorded.
    """
    try:
        raw = pointers.resolve(scenario, where)
    except KeyError:
        return False
    if rule in _COUNTED and "/stopped/" in where:
        return "$world." in json.dumps(raw)
    if rule == "not-before" and isinstance(raw, str) and raw.startswith("$now"):
        return True
    sample = as_mapping(scenario.get("sample"))
    matches = _AT_RUN_TIME.finditer(raw) if isinstance(raw, str) else ()
    return any(match["name"] is None or match["name"] not in sample for match in matches)


def _check_stream(case: Case, content_type: str, context: Context) -> Iterator[Finding]:
    """Judge a streamed reply by the stream contract of its media type."""
    reply, operation = case.scenario.reply, case.operation
    offered: dict[str, MediaType] = dict(operation.responses[case.scenario.status].media)
    name = find_media(offered, content_type)
    contract = offered[name].stream if name is not None else None
    if contract is None:
        there = ", ".join(offered) or "no body"
        what = f"{operation.id}'s {case.scenario.status} is no stream of {content_type}; there is: {there}"
        yield case.file.build_finding("/reply", what, _OFFER_STREAM)
        return
    listed = "lines" if reply.kind == "lines" else "events"
    rendered = list(render_events(reply, context))
    pieces = [(f"/reply/{listed}/{piece.place}", piece.data) for piece in rendered]
    hangs = "hang" in re.split(r"[,=\s]+", case.scenario.faults)
    for where, violation in _judge(contract, pieces):
        if not where and hangs:
            continue  # it has no end on purpose
        yield from case.report_violation(where or f"/reply/{listed}", violation, f"the stream of {operation.id}")
    if reply.stopped is not None:
        stops = render_events(reply, context, stopped=True)
        ending = [(f"/reply/stopped/{piece.place}", piece.data) for piece in stops]
        bare = next((number for number, piece in enumerate(rendered) if piece.payload is not None), 0)
        yield from _check_stops(case, contract, pieces, ending, after=bare + 1)


def _check_stops(
    case: Case, contract: StreamContract, pieces: _Pieces, stops: _Pieces, *, after: int
) -> Iterator[Finding]:
    """Judge what a stream sends when it is stopped after each of its events; report the first that is wrong.

    It cannot be stopped before its ids are known, `after` so many events, nor once an event of the ending has been sent
    or the answer has ended.
    """
    final = _list_kinds(contract, stops)
    for number in range(after, len(pieces)):
        if (final | contract.end) & _list_kinds(contract, pieces[:number]):
            return
        what = f"the stream of {case.operation.id}, stopped after {number} events,"
        wrong = [
            finding
            for where, violation in _judge(contract, [*pieces[:number], *stops])
            for finding in case.report_violation(where if "/stopped/" in where else "/reply/stopped", violation, what)
        ]
        if wrong:
            yield from wrong
            return


def _judge(contract: StreamContract, pieces: _Pieces) -> Iterator[tuple[str, Violation]]:
    """Yield the violations of a stream, each with the event's pointer in the scenario, '' at the end of the stream."""
    judge = StreamJudge(contract)
    for where, sent in pieces:
        for violation in judge.feed(sent):
            yield f"{where}/data{violation.where}" if violation.where else where, violation
    for violation in judge.close():
        yield "", violation


def _list_kinds(contract: StreamContract, pieces: _Pieces) -> set[str]:
    judge = StreamJudge(contract)
    judge.feed(b"".join(sent for _, sent in pieces))
    return set(judge.kinds)
