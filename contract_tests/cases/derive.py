"""Derives cases from the contract of each operation: a request, and what may be answered.

Cases have the values that the documents print; those of the server under test (ids, keys, inputs of its app) are filled
in when a case runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast

from contract_tests.cases.case import Case, expect_success
from contract_tests.cases.examples import (
    FORM,
    Example,
    find_violations,
    list_examples,
    list_parameter_texts,
    set_parameter,
    sort_examples,
)
from contract_tests.cases.mistakes import (
    derive_invalid,
    derive_keys,
    derive_undocumented,
    derive_unknown,
    derive_unread,
)
from contract_tests.cases.provoked import derive_provoked
from contract_tests.cases.refusals import expect_refusal
from contract_tests.cases.server_values import load_server_values
from contract_tests.judging.error_codes import list_error_codes
from flowcontract.pointers import escape
from flowcontract.provenance.sources import read_provenance
from flowcontract.schemas.absence import may_be_null
from flowcontract.schemas.decoding import ABSENT

if TYPE_CHECKING:
    from contract_tests.http.exchange import Request
    from contract_tests.judging.expectations import Expected
    from flowcontract.specs.model import Api, Operation


def derive_cases(api: Api, others: Iterable[Api] = ()) -> Iterator[Case]:
    """Yield every case of an API. `others` are the APIs whose keys may be tried on it."""
    for case in _derive_cases(api, others):
        yield _tolerate(case)


def _derive_cases(api: Api, others: Iterable[Api]) -> Iterator[Case]:
    """Yield the cases, each with the answers that the contract names."""
    neighbours = [other for other in others if other.name != api.name and other.base_path == api.base_path]
    bases: dict[str, Example] = {}
    for operation in api.operations.values():
        examples = list_examples(api, operation)
        ordered = sort_examples(api, examples)
        base = bases[operation.id] = ordered[0]
        for name, request, source in examples:
            yield Case("documented", name, operation, request, expect_success(operation, request, source))
        yield from _derive_generated(api, operation, base.request)
        yield from _derive_nulls(api, operation, base.request, ordered)
        yield from derive_invalid(api, operation, [example.request for example in ordered])
        yield from derive_keys(api, operation, base, neighbours)
        yield from derive_unread(api, operation, base.request)
        yield from derive_unknown(api, operation, base.request)
        yield from derive_provoked(operation, base.request)
    yield from derive_undocumented(api, bases)


def _tolerate(case: Case) -> Case:
    """Return a case with further answers that no document rules out (`also` in `server_values.yaml`)."""
    for rule in load_server_values().get(case.operation.api, {}).get("also", ()):
        if any(fnmatchcase(f"{case.operation.id}/{case.family}/{case.name}", name) for name in rule["cases"]):
            case = replace(case, expected=_widen(case.operation, case.expected, rule))
    return case


def _widen(operation: Operation, expected: Expected, rule: Mapping[str, Any]) -> Expected:
    """Return what is expected, or else what a rule adds: statuses that the operation has, and error codes."""
    statuses = frozenset(rule.get("statuses", ())) & frozenset(operation.responses)
    codes = frozenset(rule.get("codes", ())) | {
        code for status in statuses for code in list_error_codes(operation, status)
    }
    success = any(status < 300 for status in statuses)  # noqa: PLR2004 - HTTP's own range
    refusals = statuses and not success and expected.refused is False
    return replace(
        expected,
        because=f"{expected.because}; or {rule['because']}",
        statuses=expected.statuses | statuses,
        codes=expected.codes | codes if expected.codes else frozenset(),
        refused=None if success or refusals else expected.refused,
    )


def _derive_generated(api: Api, operation: Operation, base: Request) -> Iterator[Case]:
    """Yield what the documents allow without printing it: each parameter, each value of an enum, the minimum."""
    for label, request, source in _vary(api, operation, base):
        if not find_violations(api, operation, request):
            expected = expect_success(operation, request, source, f"{label} is allowed")
            yield Case("generated", label, operation, request, _allow_refusal(operation, request, expected))


def _derive_nulls(api: Api, operation: Operation, base: Request, examples: Sequence[Example]) -> Iterator[Case]:
    """Yield null for each field for which it means that the field is absent (`x-null`); no document says so.

    It is put into a documented request that leaves the field out, where there is one.
    """
    if not isinstance(base.body, Mapping) or base.media_type == FORM:
        return
    for name, step in api.validators.find_form_fields(operation.request[base.media_type].pointer).items():
        printed = (example.request for example in examples if example.request.media_type == base.media_type)
        without = (request for request in printed if isinstance(request.body, Mapping) and name not in request.body)
        chosen = next(without, base)
        request = replace(chosen, body={**cast("Mapping[str, Any]", chosen.body), name: None})
        if may_be_null(step.schema) and not find_violations(api, operation, request):
            why = f"null in {name} stands for a field that is left out"
            expected = replace(expect_success(operation, request, read_provenance(step.schema), why), promised=False)
            yield Case("generated", f"{name} null", operation, request, expected, keep=frozenset({f"/{escape(name)}"}))


def _allow_refusal(operation: Operation, request: Request, expected: Expected) -> Expected:
    """Return what is expected of a request: one with a value above a printed maximum may be clamped, or refused."""
    clamped = (parameter for parameter in operation.parameters if parameter.clamp is not None)
    maxima = {parameter.name: parameter.schema.get("maximum") for parameter in clamped}
    values = {name: value for name, value in request.query.items() if isinstance(value, str)}
    if not any(maximum is not None and float(values.get(name, 0)) > maximum for name, maximum in maxima.items()):
        return expected
    refused = expect_refusal(operation, ("invalid-request",), expected.because)
    return replace(expected, statuses=expected.statuses | refused.statuses, refused=None)


def _vary(api: Api, operation: Operation, base: Request) -> Iterator[Example]:
    """Yield a request for each value of a parameter, and those of `_vary_body`."""
    ids = load_server_values().get(api.name, {}).get("unknown", {}).get(operation.id, {})
    for parameter in operation.parameters:
        if parameter.location != "path" and parameter.name not in ids:
            for value in list_parameter_texts(parameter):
                request = set_parameter(base, parameter.location, parameter.name, value)
                yield Example(f"{parameter.name}={value}", request, parameter.provenance)
    if isinstance(base.body, Mapping):
        yield from _vary_body(api, operation, base)


def _vary_body(api: Api, operation: Operation, base: Request) -> Iterator[Example]:
    """Yield the values of enums, and the smallest allowed body."""
    media = operation.request[base.media_type]
    for name, step in api.validators.find_form_fields(media.pointer).items():
        source = step.schema.get("x-source", ())
        lines = (source,) if isinstance(source, str) else tuple(map(str, source))
        for value in step.schema.get("enum", ()):
            if value is None and "x-observed" in step.schema:  # servers were seen to take it; no document says so
                continue
            yield Example(f"{name}={value}", replace(base, body={**base.body, name: value}), lines)
    least = dict(base.body)
    for name in base.body:
        fewer = {key: value for key, value in least.items() if key != name}
        if not find_violations(api, operation, replace(base, body=fewer)):
            least = fewer
    if least != base.body:
        optional = [name for name in base.body if name not in least]
        fields = api.validators.find_form_fields(media.pointer)
        lines = tuple(line for name in optional if name in fields for line in read_provenance(fields[name].schema))
        yield Example("nothing optional", replace(base, body=least), lines or operation.provenance)
    if not operation.request_required:
        yield Example("no body", replace(base, body=ABSENT, media_type=""), operation.provenance)
