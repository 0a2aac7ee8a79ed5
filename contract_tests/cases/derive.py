"""Derives cases from the contract of each operation: a request, and what may be answered.

Cases have the values that the documents print; those of the server under test (ids, keys, inputs of its app) are filled
in when a case runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast

from contract_tests.cases.examples import (
    FORM,
    JSON,
    NOBODY,
    Example,
    choose_example,
    choose_streaming_example,
    find_refusable,
    find_violations,
    list_examples,
    parameter_texts,
    set_parameter,
    sort_examples,
    wants_stream,
)
from contract_tests.cases.mutations import mutate
from contract_tests.cases.refusals import expect_refusal
from contract_tests.cases.server_values import server_values
from contract_tests.http.exchange import Request
from contract_tests.judging.judge import Expected, error_codes
from flowcontract.pointers import escape
from flowcontract.provenance.sources import read_provenance
from flowcontract.schemas.absence import may_be_null
from flowcontract.schemas.decoding import ABSENT
from flowcontract.validation.refusals import list_refusal_words, list_wrong_key_words

if TYPE_CHECKING:
    from flowcontract.schemas.violations import Violation
    from flowcontract.specs.model import Api, Operation

_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")


@dataclass(frozen=True, slots=True)
class Case:
    """A request and what may be answered.

    ``family``     what sort of case: documented, generated, invalid, keys, unread, unknown, undocumented ...
    ``name``       identifies it within its family
    ``operation``  judges the answer; the request may go to another method or path
    ``keep``       JSON pointers into `body`, and `path/NAME`, `query/NAME`: what is tested, and must not be filled in
    ``auth``       which key is sent: own, none, `wrong:SCHEME`, `only:SCHEME` or `other:API`
    ``provoke``    error code, or `event:KIND`, that the target must be provoked into
    ``holds``      JSON pointer -> the value that an answer must have there, as in `probes.yaml`
    ``form``       the bound of the app's own controls that is broken, as in `probes.yaml`
    """

    family: str
    name: str
    operation: Operation
    request: Request
    expected: Expected
    keep: frozenset[str] = frozenset()
    auth: str = "own"
    provoke: str = ""
    holds: Mapping[str, Any] = field(default_factory=dict)
    form: str = ""

    @property
    def id(self) -> str:
        """The full name: `dify-chat/sendChatMessage/invalid/query required`."""
        return f"{self.operation.name}/{self.family}/{self.name}"


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
        yield from _derive_documented(operation, examples)
        yield from _derive_generated(api, operation, base.request)
        yield from _derive_nulls(api, operation, base.request, ordered)
        yield from _derive_invalid(api, operation, [example.request for example in ordered])
        yield from _derive_keys(api, operation, base, neighbours)
        yield from _derive_unread(api, operation, base.request)
        yield from _derive_unknown(api, operation, base.request)
        yield from derive_provoked(operation, base.request)
    yield from _derive_undocumented(api, bases)


def _tolerate(case: Case) -> Case:
    """Return a case with further answers that no document rules out (`also` in `server_values.yaml`)."""
    for rule in server_values().get(case.operation.api, {}).get("also", ()):
        if any(fnmatchcase(f"{case.operation.id}/{case.family}/{case.name}", name) for name in rule["cases"]):
            case = replace(case, expected=_widen(case.operation, case.expected, rule))
    return case


def _widen(operation: Operation, expected: Expected, rule: Mapping[str, Any]) -> Expected:
    """Return what is expected, or else what a rule adds: statuses that the operation has, and error codes."""
    statuses = frozenset(rule.get("statuses", ())) & frozenset(operation.responses)
    codes = frozenset(rule.get("codes", ())) | {code for status in statuses for code in error_codes(operation, status)}
    success = any(status < 300 for status in statuses)  # noqa: PLR2004 - HTTP's own range
    refusals = statuses and not success and expected.refused is False
    return replace(
        expected,
        because=f"{expected.because}; or {rule['because']}",
        statuses=expected.statuses | statuses,
        codes=expected.codes | codes if expected.codes else frozenset(),
        refused=None if success or refusals else expected.refused,
    )


# Documented requests.


def _derive_documented(operation: Operation, examples: Iterable[Example]) -> Iterator[Case]:
    """Yield the requests that the documents print."""
    for name, request, source in examples:
        yield Case("documented", name, operation, request, _expect_success(operation, request, source))


def _expect_success(
    operation: Operation, request: Request, source: tuple[str, ...], why: str = "the request is documented"
) -> Expected:
    statuses = frozenset(status for status in operation.responses if status < 300)  # noqa: PLR2004 - HTTP's own range
    return Expected(why, statuses=statuses, refused=False, streamed=wants_stream(operation, request), source=source)


def _derive_generated(api: Api, operation: Operation, base: Request) -> Iterator[Case]:
    """Yield what the documents allow without printing it: each parameter, each value of an enum, the minimum."""
    for label, request, source in _vary(api, operation, base):
        if not find_violations(api, operation, request):
            expected = _expect_success(operation, request, source, f"{label} is allowed")
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
            expected = replace(_expect_success(operation, request, read_provenance(step.schema), why), promised=False)
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
    ids = server_values().get(api.name, {}).get("unknown", {}).get(operation.id, {})
    for parameter in operation.parameters:
        if parameter.location != "path" and parameter.name not in ids:
            for value in parameter_texts(parameter):
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


# Requests that break one rule of the contract.


def _derive_invalid(api: Api, operation: Operation, requests: Sequence[Request]) -> Iterator[Case]:
    """Yield requests with one mistake: what the contract's own validation objects to, each rule of a field once."""
    seen: set[tuple[str, str]] = set()
    for place, request in mutate(api, operation, requests):
        found = find_refusable(api, operation, request)
        if not found:
            continue
        first = found[0]
        label = (place.removeprefix("/").replace("/", ".") or "body", _name_mistake(first.violation))
        if label in seen:
            continue
        seen.add(label)
        words, in_path = list_refusal_words(first), first.location == "path"
        words += ("unknown-id",) if in_path else ()  # a malformed id may also be answered as an unknown one
        source = first.violation.source or operation.provenance
        expected = expect_refusal(operation, words, first.message, source, any_of=in_path)
        if first.location == "body" and _drops_wrong_bodies(api, operation):
            expected = _allow_success(operation, request, expected, "the body is dropped")
        yield Case("invalid", " ".join(label), operation, request, expected, keep=frozenset({place}))


def _allow_success(operation: Operation, request: Request, expected: Expected, why: str) -> Expected:
    """Return what is expected, or else a success."""
    statuses = expected.statuses | _expect_success(operation, request, ()).statuses
    return replace(expected, because=f"{expected.because}, unless {why}", statuses=statuses, refused=None)


def _drops_wrong_bodies(api: Api, operation: Operation) -> bool:
    """Tell whether a release is known to answer a wrong body as if there were none (`x-http`, in a profile)."""
    wrong_body: object = api.bundle["paths"][operation.path].get("x-http", {}).get("wrong-body")
    return wrong_body == "dropped"


def _name_mistake(violation: Violation) -> str:
    """Return what is wrong with a value, for the name of a case; an unknown word and an empty one are two mistakes."""
    if violation.got == "null":
        return "null"
    unknown = violation.rule == "enum" and violation.got.startswith("the text") and violation.got != 'the text ""'
    return "unknown word" if unknown else violation.rule


# Credentials.


def _derive_keys(api: Api, operation: Operation, base: Example, neighbours: Iterable[Api]) -> Iterator[Case]:
    """Yield requests without a key, with a wrong one, with the other app's, and with each other way to send a key."""
    if not operation.security or () in operation.security:
        return

    def case(label: str, auth: str, expected: Expected) -> Case:
        return Case("keys", label, operation, base.request, expected, auth=auth)

    yield case("none", "none", _expect_closed(api, operation, operation.security[0][0], ("no-key",), "no key was sent"))
    for alternative in operation.security:
        for scheme in alternative:
            words, why = list_wrong_key_words(api.schemes[scheme]), f"the key for {scheme} is not valid"
            yield case(f"wrong {scheme}", f"wrong:{scheme}", _expect_closed(api, operation, scheme, words, why))
        if alternative != operation.security[0]:
            scheme = alternative[0]
            why = f"{scheme} is as good as {operation.security[0][0]}"
            yield case(f"only {scheme}", f"only:{scheme}", _expect_success(operation, base.request, base.source, why))
    for other in neighbours:
        endpoints = {(operation.method, operation.path) for operation in other.operations.values()}
        if (operation.method, operation.path) not in endpoints:
            word = "other-app" if "other-app" in operation.refusals else "wrong-key"
            expected = expect_refusal(operation, (word,), f"the key is one of {other.name}")
            yield case(f"of {other.name}", f"other:{other.name}", expected)


def _expect_closed(api: Api, operation: Operation, scheme: str, words: tuple[str, ...], why: str) -> Expected:
    """Expect a refusal for want of a key: the document demands the key, whatever the form of the refusal rests on."""
    shape = api.schemes[scheme]
    return replace(expect_refusal(operation, words, why), outcome=shape.tier, source=shape.provenance)


# Bodies that cannot be read.

_ANY = {"a": "b"}


def _derive_unread(api: Api, operation: Operation, base: Request) -> Iterator[Case]:
    """Yield bodies that are no JSON or no form, and media types that are not documented."""
    if not operation.request:
        return
    for label, media_type, raw in _break_body(base):
        expected = expect_refusal(operation, ("malformed-body",), f"the body is {label}")
        yield Case("unread", label, operation, replace(base, body=raw, media_type=media_type), expected)
    if operation.request_required:
        words = ("malformed-body", "missing-file", "missing-parameter", "wrong-media-type", "invalid-request")
        expected = expect_refusal(operation, words, "the body is missing", any_of=True)
        yield Case("unread", "no body", operation, replace(base, body=ABSENT, media_type=""), expected)
    for media_type in ("text/plain", "application/xml", FORM if base.media_type == JSON else JSON):
        expected = _expect_media_type(api, operation, base, media_type)
        body: Any = _ANY if media_type == FORM else json.dumps(_ANY).encode()
        yield Case("unread", f"as {media_type}", operation, replace(base, body=body, media_type=media_type), expected)


def _expect_media_type(api: Api, operation: Operation, base: Request, media_type: str) -> Expected:
    """Expect a media type to be refused, or the body to be read all the same where nothing else is wrong with it."""
    expected = expect_refusal(operation, ("wrong-media-type",), f"{media_type} is not documented")
    if find_refusable(api, operation, replace(base, body=_ANY)):
        return expected
    success = _expect_success(operation, base, operation.provenance)
    return Expected(f"{media_type} is not documented", success.statuses | expected.statuses, source=expected.source)


def _break_body(base: Request) -> Iterator[tuple[str, str, bytes]]:
    """Yield bodies that cannot be read: what each is, its media type, its bytes."""
    if base.media_type == FORM:
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nA'
        yield "a form without boundary", FORM, part + b"\r\n--b--\r\n"
        yield "a form that breaks off", f"{FORM}; boundary=b", part
        return
    yield "JSON that breaks off", JSON, b'{"a": '
    yield "no JSON", JSON, b"hello"
    yield "not UTF-8", JSON, b'{"a": "\xff\xfe"}'


# Unknown ids; undocumented methods and paths.


def _derive_unknown(api: Api, operation: Operation, base: Request) -> Iterator[Case]:
    """Yield requests with an id that does not exist, one id at a time."""
    for name, word in server_values().get(api.name, {}).get("unknown", {}).get(operation.id, {}).items():
        location = next((parameter.location for parameter in operation.parameters if parameter.name == name), "")
        if location:
            request, place = set_parameter(base, location, name, NOBODY), f"{location}/{name}"
        else:
            request, place = replace(base, body={**base.body, name: NOBODY}), f"/{name}"
        expected = _expect_unknown(operation, request, name, word)
        yield Case("unknown", name, operation, request, expected, keep=frozenset({place}))


def _expect_unknown(operation: Operation, request: Request, name: str, word: str) -> Expected:
    """Return what may be answered to an id that does not exist; `word` is that of `unknown` in `server_values.yaml`."""
    success = _expect_success(operation, request, operation.provenance, f"an unknown {name} is as good as any")
    if word == "accepted":
        return success
    if word == "either":
        statuses = success.statuses | (frozenset({404}) & frozenset(operation.responses))
        return Expected(f"nothing has the {name}, which is fine or 404", statuses, source=operation.provenance)
    return expect_refusal(operation, (word, "unknown-id"), f"nothing has the {name} {NOBODY}")


def _derive_undocumented(api: Api, bases: Mapping[str, Example]) -> Iterator[Case]:
    """Yield methods that a path does not have, and a path that the API does not have; `bases` are by operation."""
    by_path: dict[str, list[Operation]] = {}
    for operation in api.operations.values():
        by_path.setdefault(operation.path, []).append(operation)
    for path, operations in by_path.items():
        base = bases[operations[0].id].request
        allowed = frozenset(operation.method for operation in operations)
        for method in [method for method in _METHODS if method not in allowed]:
            expected = _expect_no_method(operations[0], f"{method} is not documented for {path}", allowed)
            request = Request(method, path, base.path_values, base.query, base.headers)
            yield Case("undocumented", f"{method} {path}", operations[0], request, expected)
    judged_by = next((operation for operation in api.operations.values() if 404 in operation.responses), None)  # noqa: PLR2004
    if judged_by:
        expected = replace(expect_refusal(judged_by, ("unknown-path",), "no operation has the path"), promised=False)
        yield Case("undocumented", "unknown path", judged_by, Request("GET", "/no-such-path"), expected)


def _expect_no_method(operation: Operation, why: str, allowed: frozenset[str]) -> Expected:
    """Expect a method to be refused: by 405, or by any other refusal, since another check may come first."""
    expected = expect_refusal(operation, ("wrong-method",), why)
    refusals = frozenset(status for status in operation.responses if 400 <= status < 500)  # noqa: PLR2004 - HTTP's own range
    statuses = expected.statuses | refusals
    return replace(expected, statuses=statuses, codes=frozenset(), allow=allowed, promised=False)


# Errors and streams that the target file says how to provoke.


def derive_provoked(operation: Operation, base: Request) -> Iterator[Case]:
    """Yield a case for every documented status and error code; only the target knows which it can be provoked into."""
    for response in operation.responses.values():
        named = {example.name: example for media in response.media.values() for example in media.examples.values()}
        for name, example in named.items():
            code = example.value.get("code") if isinstance(example.value, dict) else None
            codes = frozenset({code}) if code in error_codes(operation, response.status) else frozenset()
            refused = response.status >= 400 or bool(codes)  # noqa: PLR2004 - HTTP's own range
            if refused:
                why = f"{name} was provoked"
                source = example.provenance or response.provenance
                expected = Expected(why, frozenset({response.status}), codes, refused=True, source=source)
                yield Case("provoked", f"{response.status} {name}", operation, base, expected, provoke=name)


def derive_successes(api: Api, operation: Operation, provocations: Iterable[str]) -> Iterator[Case]:
    """Yield a case for every further way to succeed that a target can be provoked into: `status:NUMBER`."""
    for code in [code for code in provocations if code.startswith("status:")]:
        _, request, source = choose_example(api, operation)
        status = int(code.removeprefix("status:"))
        expected = replace(_expect_success(operation, request, source), statuses=frozenset({status}))
        if status in operation.responses:  # else it belongs to another release of the server
            yield Case("provoked", code, operation, request, expected, provoke=code)


def derive_streams(api: Api, operation: Operation, provocations: Iterable[str]) -> Iterator[Case]:
    """Yield a case for every stream that a target can be provoked into: `stream:NAME`, or `event:KIND`."""
    if operation.stream is None:
        return
    for code in [code for code in provocations if code.startswith(("stream:", "event:"))]:
        name, request, _ = choose_streaming_example(api, operation)
        kind = code.removeprefix("event:") if code.startswith("event:") else ""
        if kind and kind not in operation.stream.events:
            continue  # of another release
        source = operation.stream.events[kind].source if kind in operation.stream.events else operation.provenance
        expected = replace(
            _expect_success(operation, request, source, f"{name} asks for a stream"), events=frozenset({kind} - {""})
        )
        yield Case("streams", code, operation, request, expected, provoke=code)
