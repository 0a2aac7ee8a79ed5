"""The documented requests of an operation, and what the contract finds wrong with a request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from contract_tests.cases import sample_files as samples
from contract_tests.cases.server_values import load_server_values
from contract_tests.http.exchange import Request, Upload
from flowcontract.scenarios.expressions import RequestView
from flowcontract.scenarios.streaming import ask_for_stream, asks_for_stream
from flowcontract.schemas.media_types import is_file
from flowcontract.specs.examples import list_parameter_values
from flowcontract.validation.request import RequestViolation, check_request

if TYPE_CHECKING:
    from flowcontract.specs.model import Api, MediaType, Operation, Parameter

FORM = "multipart/form-data"
JSON = "application/json"
NOBODY = "00000000-0000-4000-8000-0000000000ff"  # an id that does not exist


class Example(NamedTuple):
    """A documented request, its name, and what it rests on."""

    name: str
    request: Request
    source: tuple[str, ...]


def list_examples(api: Api, operation: Operation) -> list[Example]:
    """Return an operation's documented requests; one without a body where it has none."""
    base = _build_base(operation)
    found = []
    for media in operation.request.values():
        for example in media.examples.values():
            body = _fill_form(api, media, example.value) if media.name == FORM else example.value
            headers = {**base.headers, **dict(_substitute_headers(api, operation, media, body))}
            request = replace(base, headers=headers, body=body, media_type=media.name)
            found.append(Example(example.name, request, example.provenance or operation.provenance))
    return found or [Example("request", base, operation.provenance)]


def sort_examples(api: Api, examples: Iterable[Example]) -> list[Example]:
    """Return examples, those last that have fields whose values only a target file can give."""
    fields = load_server_values().get(api.name, {}).get("fields", {})
    targets = {name for name, how in fields.items() if "target" in how}
    return sorted(examples, key=lambda example: not targets.isdisjoint(_list_field_names(example.request.body)))


def choose_example(api: Api, operation: Operation) -> Example:
    """Return the documented request from which others are made: one that any target can be sent, if there is one."""
    return sort_examples(api, list_examples(api, operation))[0]


def _list_field_names(value: Any) -> Iterator[str]:
    """Yield the names of all fields inside of a body."""
    if isinstance(value, Mapping):
        yield from value
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for item in items:
        yield from _list_field_names(item)


def _substitute_headers(api: Api, operation: Operation, media: MediaType, body: Any) -> Iterator[tuple[str, str]]:
    """Yield a header for each form field that may be sent as one (`x-or-header`), and that the example leaves out."""
    fields = api.validators.find_form_fields(media.pointer) if media.name == FORM else {}
    for parameter in operation.parameters:
        field = fields.get(parameter.name)
        if field and field.schema.get("x-or-header") and parameter.name not in body:
            yield parameter.name, list_parameter_texts(parameter)[0]


def _build_base(operation: Operation) -> Request:
    """Return a request with the required parameters and no body."""
    values: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
    for parameter in operation.parameters:
        if parameter.required:
            values.setdefault(parameter.location, {})[parameter.name] = list_parameter_texts(parameter)[0]
    return Request(operation.method, operation.path, values["path"], values["query"], values["header"])


def list_parameter_texts(parameter: Parameter) -> list[str]:
    """Return values of a parameter that its contract shows or bounds, as text; one of ours where there is none."""
    texts = [value if isinstance(value, str) else json.dumps(value) for value in list_parameter_values(parameter)]
    return list(dict.fromkeys(texts)) or [NOBODY if parameter.schema.get("format") == "uuid" else "contract"]


def _fill_form(api: Api, media: MediaType, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an example of a form with files in the places of the words that stand for them."""
    fields = api.validators.find_form_fields(media.pointer)
    hint = str(value.get("file_name", ""))
    files = {name for name in value if name in fields and is_file(fields[name].schema)}
    return {
        name: samples.upload(f"{item} {hint}", "documented") if name in files else item for name, item in value.items()
    }


def wants_stream(operation: Operation, request: Request) -> bool | None:
    """Tell whether a request asks for the stream, by `x-stream.when`; None where there is none."""
    if operation.stream is None:
        return None
    return asks_for_stream(operation, RequestView(query=request.query, body=request.body))


def choose_streaming_example(api: Api, operation: Operation) -> Example:
    """Return the chosen example, changed so that it asks for the stream."""
    name, base, source = choose_example(api, operation)
    query, body = ask_for_stream(operation, base.query, base.body)
    return Example(name, replace(base, body=body, query=query), source)


def set_parameter(request: Request, location: str, name: str, value: str | tuple[str, ...]) -> Request:
    """Return a request with a parameter of path, query or header set."""
    if location == "query":
        return replace(request, query={**request.query, name: value})
    if location == "path":
        return replace(request, path_values={**request.path_values, name: str(value)})
    return replace(request, headers={**request.headers, name: str(value)})


def find_violations(api: Api, operation: Operation, request: Request) -> tuple[RequestViolation, ...]:
    """Return what the contract finds wrong with a request."""
    return check_request(
        api.validators,
        operation,
        path=request.path_values,
        query={name: (value,) if isinstance(value, str) else value for name, value in request.query.items()},
        headers=request.headers,
        body=_convert_files(request.body),
        media_type=request.media_type,
    ).violations


def find_refusable(api: Api, operation: Operation, request: Request) -> tuple[RequestViolation, ...]:
    """Return those of the violations that a server has to refuse.

    Not among them: settings of a component, which only the component can judge (`opaque`); fields that a server does
    not read beside others (`unread`); a repeated parameter, since no document says whether the first value counts or
    the last.
    """
    about = load_server_values().get(api.name, {})
    opaque = tuple(about.get("opaque", {}).get(operation.id, ()))
    unread = about.get("unread", {}).get(operation.id, {})
    body = request.body if isinstance(request.body, Mapping) else {}
    ignored = {name for name, where in unread.items() if all(body.get(key) == value for key, value in where.items())}
    return tuple(
        found
        for found in find_violations(api, operation, request)
        if not found.field.startswith(opaque) and found.field not in ignored and found.violation.expected != "one value"
    )


def _convert_files(body: Any) -> Any:
    """Return a body with its files as validation sees them."""
    if isinstance(body, Upload):
        return body.as_part()
    if isinstance(body, list):
        return [_convert_files(item) for item in body]
    return {name: _convert_files(value) for name, value in body.items()} if isinstance(body, Mapping) else body
