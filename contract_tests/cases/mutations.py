"""Changes requests in one place: puts wrong values into each parameter and each field."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from contract_tests.cases import sample_files as samples
from contract_tests.cases.examples import FORM, set_parameter
from flowcontract import pointers
from flowcontract.schemas.decoding import ABSENT

if TYPE_CHECKING:
    from contract_tests.http.exchange import Request
    from flowcontract.specs.model import Api, Operation

_WRONG: tuple[Any, ...] = (None, 12345, 0, -1, 0.5, True, "", "?", [], ["?"], {}, {"?": "?"}, ABSENT)
_WRONG_TEXTS = ("", "?", "0", "-1", "1.5", "x" * 300)


def mutate(api: Api, operation: Operation, requests: Sequence[Request]) -> Iterator[tuple[str, Request]]:
    """Yield requests changed in one place, with the place: parameters of the first request, fields of all bodies.

    Many of them are still valid.
    """
    base = requests[0]
    for parameter in operation.parameters:
        place = f"{parameter.location}/{parameter.name}"
        if parameter.location == "query":
            query = {name: value for name, value in base.query.items() if name != parameter.name}
            yield place, replace(base, query=query)
        if parameter.location == "header":
            headers = {name: value for name, value in base.headers.items() if name != parameter.name}
            yield place, replace(base, headers=headers)
        for text in _WRONG_TEXTS:
            if text or parameter.location == "query":  # an empty path segment is another path
                yield place, set_parameter(base, parameter.location, parameter.name, text)
    for request in requests:
        if isinstance(request.body, Mapping):
            yield from _mutate_body(api, operation, request)


def _mutate_body(api: Api, operation: Operation, request: Request) -> Iterator[tuple[str, Request]]:
    form = request.media_type == FORM
    named = {
        f"/{pointers.escape(name)}"
        for name in api.validators.find_form_fields(operation.request[request.media_type].pointer)
    }
    places = dict.fromkeys([*_list_pointers(request.body), *sorted(named)])
    file = samples.upload("note", "documented")
    for place in places:
        if form and place.count("/") > 1:
            continue
        for value in (ABSENT, "", "?", "[]", file) if form else _WRONG:
            if (body := _change(request.body, place, value)) is not None:
                yield place, replace(request, body=body)
    if not form:
        for value in _WRONG[:-1]:
            if not isinstance(value, dict):
                yield "", replace(request, body=value)


def _list_pointers(value: Any, pointer: str = "") -> Iterator[str]:
    """Yield the JSON pointers of everything inside a value."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        here = f"{pointer}/{pointers.escape(str(key))}"
        yield here
        yield from _list_pointers(item, here)


def _change(body: Any, pointer: str, value: Any) -> Any:
    """Return a copy of a body with another value in one place, or without it; None if that changes nothing."""
    changed = copy.deepcopy(body)
    above, _, last = pointer.rpartition("/")
    holder = pointers.resolve(changed, above)
    key: Any = int(last) if isinstance(holder, list) else pointers.unescape(last)
    if value is not ABSENT:
        holder[key] = value
    elif isinstance(holder, dict) and key in holder:
        del holder[key]
    return None if changed == body and type(value) is not bool else changed
