"""What to ask of an operation, and what may be answered: derived from its contract, not written per operation.

A case is made before anything is sent, with the values that the documents print; what only the server under test can
know (ids, keys, inputs of its app) is put in when the case runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from contract_tests.cases.examples import (
    FORM,
    JSON,
    NOBODY,
    asking_for_stream,
    examples,
    parameter_texts,
    refusable,
    usual,
    violations,
    wants_stream,
    with_parameter,
)
from contract_tests.cases.mutations import mutations
from contract_tests.cases.refusals import refusal
from contract_tests.cases.server_values import resources
from contract_tests.http.exchange import Request
from contract_tests.judging.judge import Expected, error_codes
from flowcontract.pointers import escape
from flowcontract.provenance.sources import provenance
from flowcontract.schemas.absence import may_be_null
from flowcontract.schemas.decoding import ABSENT
from flowcontract.validation.refusals import refusal_words, wrong_key_words

if TYPE_CHECKING:
    from flowcontract.schemas.violations import Violation
    from flowcontract.specs.model import Api, Operation

_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")


@dataclass(frozen=True, slots=True)
class Case:
    """One request and what may be answered.

    ``family``     what sort of case: documented, generated, invalid, keys, unread, unknown, undocumented ...
    ``name``       tells it from the others of its family
    ``operation``  judges the answer; the request may go to another method or path
    ``keep``       JSON pointers into `body`, and `path/NAME`, `query/NAME`: what is tested, not to be filled in
    ``auth``       whose key is sent: own, none, other-app; `wrong:SCHEME` or `only:SCHEME`
    ``provoke``    error code, or `event:KIND`, that the target must be provoked into
    ``holds``      JSON pointer -> what has to stand there in an answer, as in `probes.yaml`
    ``form``       what is tried on the controls of the app's own form, as there
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
        """The name by which a person finds it: `dify-chat/sendChatMessage/invalid/query required`."""
        return f"{self.operation.name}/{self.family}/{self.name}"


def cases(api: Api, others: Iterable[Api] = ()) -> Iterator[Case]:
    """Yield every case of an API. `others` are the APIs whose keys may be tried on it."""
    for case in _demanding(api, others):
        yield tolerant(case)


def _demanding(api: Api, others: Iterable[Api]) -> Iterator[Case]:
    """Yield the cases, each with the answers that the contract names."""
    neighbours = [other for other in others if other.name != api.name and other.base_path == api.base_path]
    for operation in api.operations.values():
        yield from documented(api, operation)
        yield from generated(api, operation)
        yield from invalid(api, operation)
        yield from keys(api, operation, neighbours)
        yield from unread(api, operation)
        yield from unknown(api, operation)
        yield from provoked(api, operation)
    yield from undocumented(api)


def tolerant(case: Case) -> Case:
    """Return a case with the further answers that no document speaks against (`also` in `resources.yaml`)."""
    for rule in resources().get(case.operation.api, {}).get("also", ()):
        if any(fnmatchcase(f"{case.operation.id}/{case.family}/{case.name}", name) for name in rule["cases"]):
            case = replace(case, expected=_wider(case.operation, case.expected, rule))
    return case


def _wider(operation: Operation, expected: Expected, rule: Mapping[str, Any]) -> Expected:
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


# Requests that are as documented.


def documented(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield the requests that the documents print."""
    for name, request, source in examples(api, operation):
        yield Case("documented", name, operation, request, _success(operation, request, source))


def _success(
    operation: Operation, request: Request, source: tuple[str, ...], why: str = "the request is documented"
) -> Expected:
    statuses = frozenset(status for status in operation.responses if status < 300)  # noqa: PLR2004 - HTTP's own range
    return Expected(why, statuses=statuses, refused=False, streamed=wants_stream(operation, request), source=source)


def generated(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield what the documents allow without printing it: each parameter, each value of an enum, the least."""
    for label, request, source in _variants(api, operation):
        if not violations(api, operation, request):
            expected = _success(operation, request, source, f"{label} is allowed")
            yield Case("generated", label, operation, request, _or_refused(operation, request, expected))
    yield from _nulls(api, operation)


def _nulls(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield null for each field in which it stands for one that is left out (`x-null`); no document says so."""
    _, base, _ = usual(api, operation)
    if not isinstance(base.body, Mapping) or base.media_type == FORM:
        return
    for name, step in api.validators.form(operation.request[base.media_type].pointer).items():
        request = replace(base, body={**base.body, name: None})
        if may_be_null(step.schema) and not violations(api, operation, request):
            why = f"null in {name} stands for a field that is left out"
            expected = replace(_success(operation, request, provenance(step.schema), why), promised=False)
            yield Case("generated", f"{name} null", operation, request, expected, keep=frozenset({f"/{escape(name)}"}))


def _or_refused(operation: Operation, request: Request, expected: Expected) -> Expected:
    """Return what is expected of a request; one beyond a printed range may be refused although it may be clamped."""
    printed = {one.name: one.schema.get("maximum") for one in operation.parameters if one.clamp is not None}
    asked = {name: value for name, value in request.query.items() if isinstance(value, str)}
    if not any(maximum is not None and float(asked.get(name, 0)) > maximum for name, maximum in printed.items()):
        return expected
    refused = refusal(operation, ("invalid-request",), expected.because)
    return replace(expected, statuses=expected.statuses | refused.statuses, refused=None)


def _variants(api: Api, operation: Operation) -> Iterator[tuple[str, Request, tuple[str, ...]]]:
    _, base, _ = usual(api, operation)
    ids = resources().get(api.name, {}).get("unknown", {}).get(operation.id, {})
    for one in operation.parameters:
        if one.location != "path" and one.name not in ids:
            for value in parameter_texts(one):
                yield f"{one.name}={value}", with_parameter(base, one.location, one.name, value), one.provenance
    if isinstance(base.body, Mapping):
        yield from _bodies(api, operation, base)


def _bodies(api: Api, operation: Operation, base: Request) -> Iterator[tuple[str, Request, tuple[str, ...]]]:
    """Yield the values of enums, and as little as is allowed."""
    media = operation.request[base.media_type]
    for name, step in api.validators.form(media.pointer).items():
        for value in (value for value in step.schema.get("enum", ()) if value is not None):  # null: no document says so
            yield f"{name}={value}", replace(base, body={**base.body, name: value}), tuple(_source(step.schema))
    least = dict(base.body)
    for name in base.body:
        fewer = {key: value for key, value in least.items() if key != name}
        if not violations(api, operation, replace(base, body=fewer)):
            least = fewer
    if least != base.body:
        gone = [name for name in base.body if name not in least]
        fields = api.validators.form(media.pointer)
        source = tuple(line for name in gone if name in fields for line in provenance(fields[name].schema))
        yield "nothing optional", replace(base, body=least), source or operation.provenance
    if not operation.request_required:
        yield "no body", replace(base, body=ABSENT, media_type=""), operation.provenance


def _source(schema: Mapping[str, Any]) -> Iterator[str]:
    found = schema.get("x-source", ())
    yield from (found,) if isinstance(found, str) else map(str, found)


# Requests that break one rule of the contract.


def invalid(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield requests with one thing wrong: what the contract's own validation objects to, each rule of a field once."""
    seen: set[tuple[str, str]] = set()
    for place, request in mutations(api, operation):
        found = refusable(api, operation, request)
        if not found:
            continue
        first = found[0]
        label = (_label(place), _what(first.violation))
        if label in seen:
            continue
        seen.add(label)
        words, in_path = refusal_words(first), first.location == "path"
        words += ("unknown-id",) if in_path else ()  # an id that is none is one that nobody knows, too
        source = first.violation.source or operation.provenance
        expected = refusal(operation, words, first.message, source, any_of=in_path)
        if first.location == "body" and _drops_wrong_bodies(api, operation):
            expected = _or_success(operation, request, expected, "the body is dropped")
        yield Case("invalid", " ".join(label), operation, request, expected, keep=frozenset({place}))


def _or_success(operation: Operation, request: Request, expected: Expected, why: str) -> Expected:
    fine = _success(operation, request, ())
    statuses = expected.statuses | fine.statuses
    return replace(expected, because=f"{expected.because}, unless {why}", statuses=statuses, refused=None)


def _drops_wrong_bodies(api: Api, operation: Operation) -> bool:
    """Tell whether a release is known to answer a wrong body as if there were none (`x-http`, in a profile)."""
    told: object = api.bundle["paths"][operation.path].get("x-http", {}).get("wrong-body")
    return told == "dropped"


def _what(violation: Violation) -> str:
    """Return what is wrong with a value, as it stands in a case's name; an unknown word is not like an empty one."""
    if violation.got == "null":
        return "null"
    unknown = violation.rule == "enum" and violation.got.startswith("the text") and violation.got != 'the text ""'
    return "unknown word" if unknown else violation.rule


def _label(place: str) -> str:
    """Return a place as it stands in a case's name."""
    return place.removeprefix("/").replace("/", ".") or "body"


# Credentials.


def keys(api: Api, operation: Operation, neighbours: Iterable[Api]) -> Iterator[Case]:
    """Yield requests without a key, with a wrong one, with the other app's, and with each other way to send a key."""
    _, base, source = usual(api, operation)
    if not operation.security or () in operation.security:
        return

    def case(label: str, auth: str, expected: Expected) -> Case:
        return Case("keys", label, operation, base, expected, auth=auth)

    yield case("none", "none", _closed(api, operation, operation.security[0][0], ("no-key",), "no key was sent"))
    for alternative in operation.security:
        for scheme in alternative:
            words, why = wrong_key_words(api.schemes[scheme]), f"the key for {scheme} is not valid"
            yield case(f"wrong {scheme}", f"wrong:{scheme}", _closed(api, operation, scheme, words, why))
        if alternative != operation.security[0]:
            scheme = alternative[0]
            expected = _success(operation, base, source, f"{scheme} is as good as {operation.security[0][0]}")
            yield case(f"only {scheme}", f"only:{scheme}", expected)
    for other in neighbours:
        if not any(one.method == operation.method and one.path == operation.path for one in other.operations.values()):
            word = "other-app" if "other-app" in operation.refusals else "wrong-key"
            expected = refusal(operation, (word,), f"the key is one of {other.name}")
            yield case(f"of {other.name}", f"other:{other.name}", expected)


def _closed(api: Api, operation: Operation, scheme: str, words: tuple[str, ...], why: str) -> Expected:
    """Return that a request without the key is refused: the document demands the key, whatever the refusal rests on."""
    shape = api.schemes[scheme]
    return replace(refusal(operation, words, why), outcome=shape.tier, source=shape.provenance)


# Bodies that cannot be read.

_ANY = {"a": "b"}


def unread(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield bodies that are no JSON or no form, and media types that are not documented."""
    _, base, _ = usual(api, operation)
    if not operation.request:
        return
    for label, media_type, raw in _broken(base):
        expected = refusal(operation, ("malformed-body",), f"the body is {label}")
        yield Case("unread", label, operation, replace(base, body=raw, media_type=media_type), expected)
    if operation.request_required:
        words = ("malformed-body", "missing-file", "missing-parameter", "wrong-media-type", "invalid-request")
        expected = refusal(operation, words, "the body is missing", any_of=True)
        yield Case("unread", "no body", operation, replace(base, body=ABSENT, media_type=""), expected)
    for media_type in ("text/plain", "application/xml", FORM if base.media_type == JSON else JSON):
        expected = _as_another(api, operation, base, media_type)
        body: Any = _ANY if media_type == FORM else json.dumps(_ANY).encode()
        yield Case("unread", f"as {media_type}", operation, replace(base, body=body, media_type=media_type), expected)


def _as_another(api: Api, operation: Operation, base: Request, media_type: str) -> Expected:
    """Return that a media type is refused, unless a server that reads it all the same finds nothing wrong in it."""
    expected = refusal(operation, ("wrong-media-type",), f"{media_type} is not documented")
    if refusable(api, operation, replace(base, body=_ANY)):
        return expected
    fine = _success(operation, base, operation.provenance)
    return Expected(f"{media_type} is not documented", fine.statuses | expected.statuses, source=expected.source)


def _broken(base: Request) -> Iterator[tuple[str, str, bytes]]:
    if base.media_type == FORM:
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nA'
        yield "a form without boundary", FORM, part + b"\r\n--b--\r\n"
        yield "a form that breaks off", f"{FORM}; boundary=b", part
        return
    yield "JSON that breaks off", JSON, b'{"a": '
    yield "no JSON", JSON, b"hello"
    yield "not UTF-8", JSON, b'{"a": "\xff\xfe"}'


# Ids that nobody knows; methods and paths that no document names.


def unknown(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield ids that nobody knows, one at a time."""
    _, base, _ = usual(api, operation)
    for name, word in resources().get(api.name, {}).get("unknown", {}).get(operation.id, {}).items():
        location = next((one.location for one in operation.parameters if one.name == name), "")
        if location:
            request, place = with_parameter(base, location, name, NOBODY), f"{location}/{name}"
        else:
            request, place = replace(base, body={**base.body, name: NOBODY}), f"/{name}"
        expected = _unknown(operation, request, name, word)
        yield Case("unknown", name, operation, request, expected, keep=frozenset({place}))


def _unknown(operation: Operation, request: Request, name: str, word: str) -> Expected:
    fine = _success(operation, request, operation.provenance, f"an unknown {name} is as good as any")
    if word == "accepted":
        return fine
    if word == "either":
        statuses = fine.statuses | (frozenset({404}) & frozenset(operation.responses))
        return Expected(f"nothing has the {name}, which is fine or 404", statuses, source=operation.provenance)
    return refusal(operation, (word, "unknown-id"), f"nothing has the {name} {NOBODY}")


def undocumented(api: Api) -> Iterator[Case]:
    """Yield methods that a path does not have, and a path that the API does not have."""
    by_path: dict[str, list[Operation]] = {}
    for operation in api.operations.values():
        by_path.setdefault(operation.path, []).append(operation)
    for path, operations in by_path.items():
        _, base, _ = usual(api, operations[0])
        allowed = frozenset(operation.method for operation in operations)
        for method in (one for one in _METHODS if one not in allowed):
            expected = _without_method(operations[0], f"{method} is not documented for {path}", allowed)
            request = Request(method, path, base.path_values, base.query, base.headers)
            yield Case("undocumented", f"{method} {path}", operations[0], request, expected)
    judged_by = next((one for one in api.operations.values() if 404 in one.responses), None)  # noqa: PLR2004
    if judged_by:
        expected = replace(refusal(judged_by, ("unknown-path",), "no operation has the path"), promised=False)
        yield Case("undocumented", "unknown path", judged_by, Request("GET", "/no-such-path"), expected)


def _without_method(operation: Operation, why: str, allowed: frozenset[str]) -> Expected:
    """Return that a method is refused: by 405, or as whatever else the server has there, or has before it, refuses."""
    expected = refusal(operation, ("wrong-method",), why)
    refusals = frozenset(status for status in operation.responses if 400 <= status < 500)  # noqa: PLR2004 - HTTP's own range
    statuses = expected.statuses | refusals
    return replace(expected, statuses=statuses, codes=frozenset(), allow=allowed, promised=False)


# Errors that only the target can be made to answer with.


def provoked(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield a case for every documented status and error code; whether it can be provoked only the target knows."""
    _, base, _ = usual(api, operation)
    for response in operation.responses.values():
        named = {one.name: one for media in response.media.values() for one in media.examples.values()}
        for name, example in named.items():
            code = example.value.get("code") if isinstance(example.value, dict) else None
            codes = frozenset({code}) if code in error_codes(operation, response.status) else frozenset()
            refused = response.status >= 400 or bool(codes)  # noqa: PLR2004 - HTTP's own range
            if refused:
                why = f"{name} was provoked"
                source = example.provenance or response.provenance
                expected = Expected(why, frozenset({response.status}), codes, refused=True, source=source)
                yield Case("provoked", f"{response.status} {name}", operation, base, expected, provoke=name)


def successes(api: Api, operation: Operation, provocations: Iterable[str]) -> Iterator[Case]:
    """Yield a case for every further way to succeed that a target can be provoked into: `status:NUMBER`."""
    for code in (one for one in provocations if one.startswith("status:")):
        _, request, source = usual(api, operation)
        status = int(code.removeprefix("status:"))
        expected = replace(_success(operation, request, source), statuses=frozenset({status}))
        if status in operation.responses:  # else it belongs to another release of the server
            yield Case("provoked", code, operation, request, expected, provoke=code)


def streams(api: Api, operation: Operation, provocations: Iterable[str]) -> Iterator[Case]:
    """Yield a case for every stream that a target can be provoked into: `stream:NAME`, or `event:KIND`."""
    if operation.stream is None:
        return
    for code in (one for one in provocations if one.startswith(("stream:", "event:"))):
        name, request, _ = asking_for_stream(api, operation)
        kind = code.removeprefix("event:") if code.startswith("event:") else ""
        if kind and kind not in operation.stream.events:
            continue  # of another release
        source = operation.stream.events[kind].source if kind in operation.stream.events else operation.provenance
        expected = replace(
            _success(operation, request, source, f"{name} asks for a stream"), events=frozenset({kind} - {""})
        )
        yield Case("streams", code, operation, request, expected, provoke=code)
