"""Derives cases with one mistake each: in a value, a key, a body, an id, a method, a path."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from contract_tests.cases.case import Case, expect_success
from contract_tests.cases.examples import FORM, JSON, NOBODY, Example, find_refusable, set_parameter
from contract_tests.cases.mutations import mutate
from contract_tests.cases.refusals import expect_refusal
from contract_tests.cases.server_values import load_server_values
from contract_tests.http.exchange import Request
from contract_tests.judging.expectations import Expected
from flowcontract.schemas.decoding import ABSENT
from flowcontract.validation.refusals import list_refusal_words, list_wrong_key_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from flowcontract.schemas.violations import Violation
    from flowcontract.specs.model import Api, Operation

_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")
_ANY = {"a": "b"}


def derive_invalid(api: Api, operation: Operation, requests: Sequence[Request]) -> Iterator[Case]:
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
    statuses = expected.statuses | expect_success(operation, request, ()).statuses
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


def derive_keys(api: Api, operation: Operation, base: Example, neighbours: Iterable[Api]) -> Iterator[Case]:
    """Yield requests without a key, with a wrong one, with the other app's, and with each other way to send a key."""
    if not operation.security or () in operation.security:
        return

    def build_case(label: str, auth: str, expected: Expected) -> Case:
        return Case("keys", label, operation, base.request, expected, auth=auth)

    yield build_case(
        "none", "none", _expect_closed(api, operation, operation.security[0][0], ("no-key",), "no key was sent")
    )
    for alternative in operation.security:
        for scheme in alternative:
            words, why = list_wrong_key_words(api.schemes[scheme]), f"the key for {scheme} is not valid"
            yield build_case(f"wrong {scheme}", f"wrong:{scheme}", _expect_closed(api, operation, scheme, words, why))
        if alternative != operation.security[0]:
            scheme = alternative[0]
            why = f"{scheme} is as good as {operation.security[0][0]}"
            yield build_case(
                f"only {scheme}", f"only:{scheme}", expect_success(operation, base.request, base.source, why)
            )
    for other in neighbours:
        endpoints = {(operation.method, operation.path) for operation in other.operations.values()}
        if (operation.method, operation.path) not in endpoints:
            word = "other-app" if "other-app" in operation.refusals else "wrong-key"
            expected = expect_refusal(operation, (word,), f"the key is one of {other.name}")
            yield build_case(f"of {other.name}", f"other:{other.name}", expected)


def _expect_closed(api: Api, operation: Operation, scheme: str, words: tuple[str, ...], why: str) -> Expected:
    """Expect a refusal for want of a key: the document demands the key, whatever the form of the refusal rests on."""
    shape = api.schemes[scheme]
    return replace(expect_refusal(operation, words, why), outcome=shape.tier, source=shape.provenance)


def derive_unread(api: Api, operation: Operation, base: Request) -> Iterator[Case]:
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
    success = expect_success(operation, base, operation.provenance)
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


def derive_unknown(api: Api, operation: Operation, base: Request) -> Iterator[Case]:
    """Yield requests with an id that does not exist, one id at a time."""
    for name, word in load_server_values().get(api.name, {}).get("unknown", {}).get(operation.id, {}).items():
        location = next((parameter.location for parameter in operation.parameters if parameter.name == name), "")
        if location:
            request, place = set_parameter(base, location, name, NOBODY), f"{location}/{name}"
        else:
            request, place = replace(base, body={**base.body, name: NOBODY}), f"/{name}"
        expected = _expect_unknown(operation, request, name, word)
        yield Case("unknown", name, operation, request, expected, keep=frozenset({place}))


def _expect_unknown(operation: Operation, request: Request, name: str, word: str) -> Expected:
    """Return what may be answered to an id that does not exist; `word` is that of `unknown` in `server_values.yaml`."""
    success = expect_success(operation, request, operation.provenance, f"an unknown {name} is as good as any")
    if word == "accepted":
        return success
    if word == "either":
        statuses = success.statuses | (frozenset({404}) & frozenset(operation.responses))
        return Expected(f"nothing has the {name}, which is fine or 404", statuses, source=operation.provenance)
    return expect_refusal(operation, (word, "unknown-id"), f"nothing has the {name} {NOBODY}")


def derive_undocumented(api: Api, bases: Mapping[str, Example]) -> Iterator[Case]:
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
