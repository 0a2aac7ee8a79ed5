"""An operation's requests as its contract shows them, and what the contract finds wrong with a request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from contract_tests.cases import sample_files as samples
from contract_tests.cases.server_values import resources
from contract_tests.http.exchange import Request, Upload
from flowcontract.scenarios.expressions import RequestView
from flowcontract.scenarios.streaming import ask_for_stream, asks_for_stream
from flowcontract.schemas.media_types import is_file
from flowcontract.specs.examples import parameter_values
from flowcontract.validation.request import RequestViolation, check_request

if TYPE_CHECKING:
    from flowcontract.specs.model import Api, MediaType, Operation, Parameter

FORM = "multipart/form-data"
JSON = "application/json"
NOBODY = "00000000-0000-4000-8000-0000000000ff"  # an id that no server has given to anything


def examples(api: Api, operation: Operation) -> Iterator[tuple[str, Request, tuple[str, ...]]]:
    """Yield an operation's documented requests with their names and sources; one without a body where it has none."""
    base = _without_body(operation)
    named = [(media, example) for media in operation.request.values() for example in media.examples.values()]
    for media, example in named:
        body = _form(api, media, example.value) if media.name == FORM else example.value
        headers = {**base.headers, **dict(_instead(api, operation, media, body))}
        request = replace(base, headers=headers, body=body, media_type=media.name)
        yield example.name, request, example.provenance or operation.provenance
    if not named:
        yield "request", base, operation.provenance


def usual(api: Api, operation: Operation) -> tuple[str, Request, tuple[str, ...]]:
    """Return the documented request from which others are made: the first that needs nothing of a certain target."""
    return next(iter(sorted(examples(api, operation), key=lambda found: needs_target(api, found[1]))))


def needs_target(api: Api, request: Request) -> bool:
    """Tell whether a request has fields whose values only a target file can give."""
    fields = resources().get(api.name, {}).get("fields", {})
    return any("target" in fields.get(name, {}) for name in _names(request.body))


def _names(value: Any) -> Iterator[str]:
    """Yield the names of all fields inside of a body."""
    if isinstance(value, Mapping):
        yield from value
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for item in items:
        yield from _names(item)


def _instead(api: Api, operation: Operation, media: MediaType, body: Any) -> Iterator[tuple[str, str]]:
    """Yield the headers that stand in for fields of a form which the example leaves to them (`x-or-header`)."""
    fields = api.validators.form(media.pointer) if media.name == FORM else {}
    for one in operation.parameters:
        if one.name in fields and fields[one.name].schema.get("x-or-header") and one.name not in body:
            yield one.name, parameter_texts(one)[0]


def _without_body(operation: Operation) -> Request:
    """Return a request with the required parameters."""
    needed = [one for one in operation.parameters if one.required]
    path = {one.name: parameter_texts(one)[0] for one in needed if one.location == "path"}
    query = {one.name: parameter_texts(one)[0] for one in needed if one.location == "query"}
    headers = {one.name: parameter_texts(one)[0] for one in needed if one.location == "header"}
    return Request(operation.method, operation.path, path, query, headers)


def parameter_texts(parameter: Parameter) -> list[str]:
    """Return values of a parameter that its contract shows or bounds, as text; one of ours where there is none."""
    texts = [value if isinstance(value, str) else json.dumps(value) for value in parameter_values(parameter)]
    return list(dict.fromkeys(texts)) or [NOBODY if parameter.schema.get("format") == "uuid" else "contract"]


def _form(api: Api, media: MediaType, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an example of a form with files in the places of the words that stand for them."""
    fields = api.validators.form(media.pointer)
    hint = str(value.get("file_name", ""))
    return {
        name: samples.upload(f"{one} {hint}", "documented") if name in fields and is_file(fields[name].schema) else one
        for name, one in value.items()
    }


def wants_stream(operation: Operation, request: Request) -> bool | None:
    """Tell whether a request asks for the stream, by `x-stream.when`; None where there is none."""
    if operation.stream is None:
        return None
    return asks_for_stream(operation, RequestView(query=request.query, body=request.body))


def asking_for_stream(api: Api, operation: Operation) -> tuple[str, Request, tuple[str, ...]]:
    """Return the usual request, made to ask for the stream."""
    name, base, source = usual(api, operation)
    query, body = ask_for_stream(operation, base.query, base.body)
    return name, replace(base, body=body, query=query), source


def with_parameter(request: Request, location: str, name: str, value: str | tuple[str, ...]) -> Request:
    """Return a request with a parameter of path, query or header set."""
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


def refusable(api: Api, operation: Operation, request: Request) -> tuple[RequestViolation, ...]:
    """Return those of the violations that a server has to refuse.

    What is inside of settings that belong to single components, only these can judge; some fields are not looked at
    beside others; and which value counts where a parameter is repeated no document says, so that servers take the first
    or the last.
    """
    about = resources().get(api.name, {})
    opaque = tuple(about.get("opaque", {}).get(operation.id, ()))
    unread = about.get("unread", {}).get(operation.id, {})
    body = request.body if isinstance(request.body, Mapping) else {}
    ignored = {name for name, where in unread.items() if all(body.get(key) == value for key, value in where.items())}
    return tuple(
        found
        for found in violations(api, operation, request)
        if not found.field.startswith(opaque) and found.field not in ignored and found.violation.expected != "one value"
    )


def _parts(body: Any) -> Any:
    """Return a form with its files as validation sees them."""
    if isinstance(body, Upload):
        return body.as_part()
    if isinstance(body, list):
        return [_parts(item) for item in body]
    return {name: _parts(value) for name, value in body.items()} if isinstance(body, Mapping) else body
