"""What to ask of an operation, and what may be answered: derived from its contract, not written per operation.

A case is made before anything is sent, with the values that the documents print; what only the server under test can
know (ids, keys, inputs of its app) is put in when the case runs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from contract_tests import samples
from contract_tests.exchange import Request, Upload
from contract_tests.judgement import Expected, error_codes
from contract_tests.refusals import refusal, words_for
from flowcontract import yamlio
from flowcontract.decoding import ABSENT
from flowcontract.media import is_file
from flowcontract.request_validation import RequestViolation, check_request

if TYPE_CHECKING:
    from flowcontract.specs import Api, MediaType, Operation, Parameter

FORM = "multipart/form-data"
JSON = "application/json"
NOBODY = "00000000-0000-4000-8000-0000000000ff"  # an id that no server has given to anything
_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")


@dataclass(frozen=True, slots=True)
class Case:
    """One request and what may be answered.

    ``family``     what sort of case: documented, generated, invalid, keys, unread, unknown, undocumented, provoked
    ``name``       tells it from the others of its family
    ``operation``  judges the answer; the request may go to another method or path
    ``keep``       JSON pointers into `body`, and `path/NAME`, `query/NAME`: what is tested, not to be filled in
    ``auth``       whose key is sent: own, none, other-app; `wrong:SCHEME` or `only:SCHEME`
    ``provoke``    error code, or `event:KIND`, that the target must be provoked into
    """

    family: str
    name: str
    operation: Operation
    request: Request
    expected: Expected
    keep: frozenset[str] = frozenset()
    auth: str = "own"
    provoke: str = ""

    @property
    def id(self) -> str:
        """The name by which a person finds it: `dify-chat/sendChatMessage/invalid/query required`."""
        return f"{self.operation.name}/{self.family}/{self.name}"


@cache
def resources() -> Mapping[str, Mapping[str, Any]]:
    """Return what `resources.yaml` says, by API."""
    text = files("contract_tests").joinpath("resources.yaml").read_text(encoding="utf-8")
    return dict(yamlio.loads(text, name="contract_tests/resources.yaml"))


def cases(api: Api, others: Iterable[Api] = ()) -> Iterator[Case]:
    """Yield every case of an API. `others` are the APIs whose keys may be tried on it."""
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


# Requests that are as documented.


def documented(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield the requests that the documents print."""
    for name, request, source in examples(api, operation):
        yield Case("documented", name, operation, request, _success(operation, request, source))


def examples(api: Api, operation: Operation) -> Iterator[tuple[str, Request, tuple[str, ...]]]:
    """Yield an operation's documented requests with their names and sources; one without a body where it has none."""
    base = _without_body(api, operation)
    named = [(media, example) for media in operation.request.values() for example in media.examples.values()]
    for media, example in named:
        body = _form(api, media, example.value) if media.name == FORM else example.value
        headers = {**base.headers, **dict(_instead(api, operation, media, body))}
        request = replace(base, headers=headers, body=body, media_type=media.name)
        yield example.name, request, example.provenance or operation.provenance
    if not named:
        yield "request", base, operation.provenance


def _instead(api: Api, operation: Operation, media: MediaType, body: Any) -> Iterator[tuple[str, str]]:
    """Yield the headers that stand in for fields of a form which the example leaves to them (`x-or-header`)."""
    fields = api.validators.form(media.pointer) if media.name == FORM else {}
    for one in operation.parameters:
        if one.name in fields and fields[one.name].schema.get("x-or-header") and one.name not in body:
            yield one.name, parameter_values(api, one)[0]


def _without_body(api: Api, operation: Operation) -> Request:
    """Return a request with the required parameters."""
    needed = [one for one in operation.parameters if one.required]
    path = {one.name: parameter_values(api, one)[0] for one in needed if one.location == "path"}
    query = {one.name: parameter_values(api, one)[0] for one in needed if one.location == "query"}
    headers = {one.name: parameter_values(api, one)[0] for one in needed if one.location == "header"}
    return Request(operation.method, operation.path, path, query, headers)


def parameter_values(api: Api, parameter: Parameter) -> list[str]:
    """Return values of a parameter that its contract shows or bounds, as text, the documents' own first."""
    node = yamlio.resolve(api.bundle, parameter.pointer.removesuffix("/schema"))
    schema = parameter.schema
    shown = [node[key] for key in ("example",) if key in node]
    shown += [one["value"] for one in node.get("examples", {}).values()]
    shown += [schema[key] for key in ("default", "minimum", "maximum") if schema.get(key) is not None]
    shown += [node["x-clamp"], node["x-clamp"] + 1] if "x-clamp" in node else []  # more is answered as the maximum
    shown += schema.get("enum", [])
    shown += [False, True] if schema.get("type") == "boolean" else []
    texts = [value if isinstance(value, str) else json.dumps(value) for value in shown]
    return list(dict.fromkeys(texts)) or [NOBODY if schema.get("format") == "uuid" else "contract"]


def _form(api: Api, media: MediaType, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an example of a form with files in the places of the words that stand for them."""
    fields = api.validators.form(media.pointer)
    hint = str(value.get("file_name", ""))
    return {
        name: samples.upload(f"{one} {hint}", "documented") if name in fields and is_file(fields[name].schema) else one
        for name, one in value.items()
    }


def _success(
    operation: Operation, request: Request, source: tuple[str, ...], why: str = "the request is documented"
) -> Expected:
    statuses = frozenset(status for status in operation.responses if status < 300)  # noqa: PLR2004 - HTTP's own range
    return Expected(why, statuses=statuses, refused=False, streamed=wants_stream(operation, request), source=source)


def wants_stream(operation: Operation, request: Request) -> bool | None:
    """Tell whether a request asks for the stream, by `x-stream.when`; None where there is none."""
    if operation.stream is None:
        return None
    when = operation.stream.when
    body = request.body if isinstance(request.body, Mapping) else {}
    return all(body.get(name) == value for name, value in when.get("body", {}).items()) and all(
        _same(request.query.get(name), value) for name, value in when.get("query", {}).items()
    )


def _same(text: object, value: object) -> bool:
    return text == (value if isinstance(value, str) else json.dumps(value))


def generated(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield what the documents allow without printing it: each parameter, each value of an enum, the least."""
    for label, request, source in _variants(api, operation):
        if not violations(api, operation, request):
            yield Case(
                "generated", label, operation, request, _success(operation, request, source, f"{label} is allowed")
            )


def _variants(api: Api, operation: Operation) -> Iterator[tuple[str, Request, tuple[str, ...]]]:
    _, base, _ = next(examples(api, operation))
    ids = resources().get(api.name, {}).get("unknown", {}).get(operation.id, {})
    for one in operation.parameters:
        if one.location != "path" and one.name not in ids:
            for value in parameter_values(api, one):
                yield f"{one.name}={value}", _with(base, one.location, one.name, value), one.provenance
    if isinstance(base.body, Mapping):
        yield from _bodies(api, operation, base)


def _bodies(api: Api, operation: Operation, base: Request) -> Iterator[tuple[str, Request, tuple[str, ...]]]:
    """Yield the values of enums, and as little as is allowed."""
    media = operation.request[base.media_type]
    for name, step in api.validators.form(media.pointer).items():
        for value in step.schema.get("enum", ()):
            yield f"{name}={value}", replace(base, body={**base.body, name: value}), tuple(_source(step.schema))
    least = dict(base.body)
    for name in base.body:
        fewer = {key: value for key, value in least.items() if key != name}
        if not violations(api, operation, replace(base, body=fewer)):
            least = fewer
    if least != base.body:
        yield "nothing optional", replace(base, body=least), operation.provenance
    if not operation.request_required:
        yield "no body", replace(base, body=ABSENT, media_type=""), operation.provenance


def _source(schema: Mapping[str, Any]) -> Iterator[str]:
    found = schema.get("x-source", ())
    yield from (found,) if isinstance(found, str) else map(str, found)


def _with(request: Request, location: str, name: str, value: str | tuple[str, ...]) -> Request:
    if location == "query":
        return replace(request, query={**request.query, name: value})
    if location == "path":
        return replace(request, path_values={**request.path_values, name: str(value)})
    return replace(request, headers={**request.headers, name: str(value)})


def violations(api: Api, operation: Operation, request: Request) -> tuple[RequestViolation, ...]:
    """Return what the contract finds wrong with a request."""
    return check_request(
        api.validators,
        operation,
        path=request.path_values,
        query={name: (value,) if isinstance(value, str) else value for name, value in request.query.items()},
        headers=request.headers,
        body=_parts(request.body),
        media_type=request.media_type,
    ).violations


def faults(api: Api, operation: Operation, request: Request) -> tuple[RequestViolation, ...]:
    """Return those of the violations that a server has to refuse.

    What is inside of settings that belong to single components, only these can judge; and which value counts where a
    parameter is repeated no document says, so that servers take the first or the last.
    """
    opaque = tuple(resources().get(api.name, {}).get("opaque", {}).get(operation.id, ()))
    return tuple(
        one
        for one in violations(api, operation, request)
        if not one.field.startswith(opaque) and one.violation.expected != "one value"
    )


def _parts(body: Any) -> Any:
    """Return a form with its files as validation sees them."""
    if isinstance(body, Upload):
        return body.as_part()
    if isinstance(body, list):
        return [_parts(item) for item in body]
    return {name: _parts(value) for name, value in body.items()} if isinstance(body, Mapping) else body


# Requests that break one rule of the contract.

_WRONG: tuple[Any, ...] = (None, 12345, 0, -1, 0.5, True, "", "?", [], ["?"], {}, {"?": "?"}, ABSENT)
_WRONG_TEXTS = ("", "?", "0", "-1", "1.5", "x" * 300)


def invalid(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield requests with one thing wrong: what the contract's own validation objects to, each rule of a field once."""
    seen: set[tuple[str, str]] = set()
    for place, request in _mutations(api, operation):
        found = faults(api, operation, request)
        if not found:
            continue
        first = found[0]
        label = (_label(place), "null" if first.violation.got == "null" else first.violation.rule)
        if label in seen:
            continue
        seen.add(label)
        words, in_path = words_for(first), first.location == "path"
        words += ("unknown-id",) if in_path else ()  # an id that is none is one that nobody knows, too
        source = first.violation.source or operation.provenance
        expected = refusal(operation, words, first.message, source, any_of=in_path)
        yield Case("invalid", " ".join(label), operation, request, expected, keep=frozenset({place}))


def _mutations(api: Api, operation: Operation) -> Iterator[tuple[str, Request]]:
    """Yield requests changed in one place, with the place; many are still valid."""
    documented = list(examples(api, operation))
    _, base, _ = documented[0]
    for parameter in operation.parameters:
        place = f"{parameter.location}/{parameter.name}"
        if parameter.location == "query":
            yield (
                place,
                replace(base, query={name: value for name, value in base.query.items() if name != parameter.name}),
            )
        if parameter.location == "header":
            yield (
                place,
                replace(base, headers={name: value for name, value in base.headers.items() if name != parameter.name}),
            )
        for text in _WRONG_TEXTS:
            if text or parameter.location == "query":  # an empty path segment is another path
                yield place, _with(base, parameter.location, parameter.name, text)
    for _, request, _ in documented:
        if isinstance(request.body, Mapping):
            yield from _wrong_bodies(api, operation, request)


def _wrong_bodies(api: Api, operation: Operation, request: Request) -> Iterator[tuple[str, Request]]:
    form = request.media_type == FORM
    named = {f"/{yamlio.escape(name)}" for name in api.validators.form(operation.request[request.media_type].pointer)}
    places = dict.fromkeys([*_pointers(request.body), *sorted(named)])
    file = samples.upload("note", "documented")
    for place in places:
        if form and place.count("/") > 1:
            continue
        for value in (ABSENT, "", "?", "[]", file) if form else _WRONG:
            if (body := _changed(request.body, place, value)) is not None:
                yield place, replace(request, body=body)
    if not form:
        for value in _WRONG[:-1]:
            if not isinstance(value, dict):
                yield "", replace(request, body=value)


def _pointers(value: Any, pointer: str = "") -> Iterator[str]:
    """Yield the JSON pointers of everything inside a value."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        here = f"{pointer}/{yamlio.escape(str(key))}"
        yield here
        yield from _pointers(item, here)


def _changed(body: Any, pointer: str, value: Any) -> Any:
    """Return a copy of a body with another value in one place, or without it; None where that changes nothing."""
    changed = copy.deepcopy(body)
    above, _, last = pointer.rpartition("/")
    holder = yamlio.resolve(changed, above)
    key: Any = int(last) if isinstance(holder, list) else yamlio.unescape(last)
    if value is not ABSENT:
        holder[key] = value
    elif isinstance(holder, dict) and key in holder:
        del holder[key]
    return None if changed == body and type(value) is not bool else changed


def _label(place: str) -> str:
    """Return a place as it stands in a case's name."""
    return place.removeprefix("/").replace("/", ".") or "body"


# Credentials.


def keys(api: Api, operation: Operation, neighbours: Iterable[Api]) -> Iterator[Case]:
    """Yield requests without a key, with a wrong one, with the other app's, and with each other way to send a key."""
    _, base, source = next(examples(api, operation))
    if not operation.security:
        return

    def case(label: str, auth: str, expected: Expected) -> Case:
        return Case("keys", label, operation, base, expected, auth=auth)

    yield case("none", "none", refusal(operation, ("no-key",), "no key was sent"))
    for alternative in operation.security:
        for scheme in alternative:
            words = _key_words(api, scheme)
            yield case(
                f"wrong {scheme}", f"wrong:{scheme}", refusal(operation, words, f"the key for {scheme} is not valid")
            )
        if alternative != operation.security[0]:
            scheme = alternative[0]
            expected = _success(operation, base, source, f"{scheme} is as good as {operation.security[0][0]}")
            yield case(f"only {scheme}", f"only:{scheme}", expected)
    for other in neighbours:
        if not any(one.method == operation.method and one.path == operation.path for one in other.operations.values()):
            word = "other-app" if "other-app" in operation.problems else "wrong-key"
            expected = refusal(operation, (word,), f"the key is one of {other.name}")
            yield case(f"of {other.name}", f"other:{other.name}", expected)


def _key_words(api: Api, scheme: str) -> tuple[str, ...]:
    """Return the words for a wrong key: that of a token where the scheme is one."""
    shape = api.schemes[scheme]
    token = "token" in scheme.lower() or bool(shape.prefix)
    return ("wrong-token", "wrong-key") if token and "wrong-token" in api.problems else ("wrong-key",)


# Bodies that cannot be read.

_ANY = {"a": "b"}


def unread(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield bodies that are no JSON or no form, and media types that are not documented."""
    _, base, _ = next(examples(api, operation))
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
    if faults(api, operation, replace(base, body=_ANY)):
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
    _, base, _ = next(examples(api, operation))
    for name, word in resources().get(api.name, {}).get("unknown", {}).get(operation.id, {}).items():
        location = next((one.location for one in operation.parameters if one.name == name), "")
        if location:
            request, place = _with(base, location, name, NOBODY), f"{location}/{name}"
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
        _, base, _ = next(examples(api, operations[0]))
        allowed = frozenset(operation.method for operation in operations)
        for method in (one for one in _METHODS if one not in allowed):
            expected = _without_method(operations[0], f"{method} is not documented for {path}", allowed)
            request = Request(method, path, base.path_values, base.query, base.headers)
            yield Case("undocumented", f"{method} {path}", operations[0], request, expected)
    judged_by = next((one for one in api.operations.values() if 404 in one.responses), None)  # noqa: PLR2004
    if judged_by:
        expected = refusal(judged_by, ("unknown-path",), "no operation has the path")
        yield Case("undocumented", "unknown path", judged_by, Request("GET", "/no-such-path"), expected)


def _without_method(operation: Operation, why: str, allowed: frozenset[str]) -> Expected:
    """Return that a method is refused: by 405, or as whatever else the server has there, or has before it, refuses."""
    expected = refusal(operation, ("wrong-method",), why)
    refusals = frozenset(status for status in operation.responses if 400 <= status < 500)  # noqa: PLR2004 - HTTP's own range
    return replace(expected, statuses=expected.statuses | refusals, codes=frozenset(), allow=allowed)


# Errors that only the target can be made to answer with.


def provoked(api: Api, operation: Operation) -> Iterator[Case]:
    """Yield a case for every documented status and error code; whether it can be provoked only the target knows."""
    _, base, _ = next(examples(api, operation))
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
        _, request, source = next(examples(api, operation))
        status = int(code.removeprefix("status:"))
        expected = replace(_success(operation, request, source), statuses=frozenset({status}))
        yield Case("provoked", code, operation, request, expected, provoke=code)


def streams(api: Api, operation: Operation, provocations: Iterable[str]) -> Iterator[Case]:
    """Yield a case for every stream that a target can be provoked into: `stream:NAME`, or `event:KIND`."""
    if operation.stream is None:
        return
    for code in (one for one in provocations if one.startswith(("stream:", "event:"))):
        name, request, _ = next(one for one in asking_for_streams(api, operation))
        kind = code.removeprefix("event:") if code.startswith("event:") else ""
        source = operation.stream.events[kind].source if kind in operation.stream.events else operation.provenance
        expected = replace(
            _success(operation, request, source, f"{name} asks for a stream"), events=frozenset({kind} - {""})
        )
        yield Case("streams", code, operation, request, expected, provoke=code)


def asking_for_streams(api: Api, operation: Operation) -> Iterator[tuple[str, Request, tuple[str, ...]]]:
    """Yield documented requests that ask for the stream; the first one, made to, where none does."""
    found = list(examples(api, operation))
    yield from (one for one in found if wants_stream(operation, one[1]))
    name, base, source = found[0]
    when = operation.stream.when if operation.stream else {}
    query = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in when.get("query", {}).items()
    }
    body = {**base.body, **when.get("body", {})} if isinstance(base.body, Mapping) else base.body
    yield name, replace(base, body=body, query={**base.query, **query}), source
