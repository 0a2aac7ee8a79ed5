"""Checks of an OpenAPI document that no schema can express: names that have to agree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowcontract import pointers
from flowcontract.lint.positions import METHODS, Position, walk
from flowcontract.lint.references import as_mapping, as_sequence, follow, list_properties
from flowcontract.pointers import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowcontract.lint.findings import Finding
    from flowcontract.lint.project import View

_STATUS = re.compile(r"[1-5][0-9]{2}")
_OPERATION_ID = re.compile(r"[a-z][a-zA-Z0-9]*")
_IN_TEMPLATE = re.compile(r"\{([^{}]*)\}")


def check(view: View) -> Iterator[Finding]:
    """Yield inconsistencies in an API's document."""
    positions = list(walk(view.document))
    for position in positions:
        for part in _CHECKS.get(position.kind, ()):
            yield from part(view, position)
    yield from _check_operation_ids(view, positions)
    yield from _check_links(view, positions)


def _check_responses(view: View, operation: Position) -> Iterator[Finding]:
    pointer = f"{operation.pointer}/responses"
    responses = as_mapping(operation.value).get("responses")
    if not isinstance(responses, dict) or not responses:
        yield view.build_finding(operation.pointer, "the operation documents no responses", "Write its `responses`.")
        return
    for status in responses:
        if not _STATUS.fullmatch(status):
            yield view.build_finding(
                f"{pointer}/{escape(status)}",
                f'"{status}" is not an HTTP status',
                "Write three digits in quotes, 100 to 599.",
            )
    if not any(_STATUS.fullmatch(status) and status.startswith("2") for status in responses):
        yield view.build_finding(pointer, "the operation has no successful response", "Document its 2xx status.")


def _check_description(view: View, response: Position) -> Iterator[Finding]:
    value = response.value
    if isinstance(value, dict) and "$ref" not in value and not str(value.get("description") or "").strip():
        yield view.build_finding(
            response.pointer, "the response has no description", "Say in `description` when it comes."
        )


def _check_security(view: View, position: Position) -> Iterator[Finding]:
    known = as_mapping(as_mapping(view.document.get("components")).get("securitySchemes"))
    for index, alternative in enumerate(as_sequence(as_mapping(position.value).get("security"))):
        for name in as_mapping(alternative):
            if name not in known:
                yield view.build_finding(
                    f"{position.pointer}/security/{index}/{escape(name)}",
                    f'no security scheme is called "{name}"; there is: {_join_names(known)}',
                    "Name one of them, or define it under components/securitySchemes.",
                )


def _check_encoding(view: View, media: Position) -> Iterator[Finding]:
    value = as_mapping(media.value)
    known = list_properties(view.document, value.get("schema"))
    for name in as_mapping(value.get("encoding")):
        if name not in known:
            yield view.build_finding(
                f"{media.pointer}/encoding/{escape(name)}",
                f'`encoding` names "{name}", which is not a property of the schema; there is: {_join_names(known)}',
                "Name a property, or drop the encoding.",
            )


def _check_path_template(view: View, item: Position) -> Iterator[Finding]:
    """Compare a path's template with the path parameters of each of its operations."""
    value = as_mapping(item.value)
    template = _parse_template(item.pointer)
    if template is None:
        return
    shared = f"{item.pointer}/parameters", value.get("parameters")
    for method in (method for method in METHODS if isinstance(value.get(method), dict)):
        own = f"{item.pointer}/{method}/parameters", value[method].get("parameters")
        declared = dict(declaration for holder in (shared, own) for declaration in _list_path_parameters(view, *holder))
        for name in sorted(template - set(declared)):
            yield view.build_finding(
                f"{item.pointer}/{method}",
                f'the path has "{{{name}}}", which no path parameter of {method.upper()} declares',
                "Add the parameter with `in: path`.",
            )
        for name in sorted(set(declared) - template):
            yield view.build_finding(
                declared[name],
                f'the path parameter "{name}" is not in the path\'s template',
                f'Put "{{{name}}}" into the path, or drop the parameter.',
            )


def _parse_template(pointer: str) -> set[str] | None:
    """Return the names in the template of a path item under `paths`, None for other path items."""
    _, section, *path = pointer.split("/")
    return set(_IN_TEMPLATE.findall(path[0].replace("~1", "/"))) if section == "paths" and len(path) == 1 else None


def _list_path_parameters(view: View, pointer: str, parameters: Any) -> Iterator[tuple[str, str]]:
    for index, parameter in enumerate(as_sequence(parameters)):
        node = as_mapping(follow(view.document, "", parameter)[1])
        if node.get("in") == "path" and isinstance(node.get("name"), str):
            yield node["name"], f"{pointer}/{index}"


def _check_duplicates(view: View, holder: Position) -> Iterator[Finding]:
    """Find parameters with the same name and location in one list."""
    seen = set()
    for index, parameter in enumerate(as_sequence(as_mapping(holder.value).get("parameters"))):
        node = as_mapping(follow(view.document, "", parameter)[1])
        key = (str(node.get("name")), str(node.get("in")))
        if node and key in seen:
            yield view.build_finding(
                f"{holder.pointer}/parameters/{index}",
                f'the {key[1]} parameter "{key[0]}" stands here twice',
                "Drop one.",
            )
        seen.add(key)


def _check_parameter(view: View, parameter: Position) -> Iterator[Finding]:
    value = parameter.value
    if isinstance(value, dict) and value.get("in") == "path" and value.get("required") is not True:
        yield view.build_finding(parameter.pointer, "a path parameter is always required", "Write `required: true`.")
    if isinstance(value, dict) and "$ref" not in value and "schema" not in value:
        yield view.build_finding(parameter.pointer, "the parameter has no schema", "Write its `schema`.")


def _check_operation_ids(view: View, positions: list[Position]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for position in positions:
        if position.kind != "operation" or not isinstance(position.value, dict):
            continue
        name = position.value.get("operationId")
        where = f"{position.pointer}/operationId"
        if not isinstance(name, str):
            yield view.build_finding(where, "the operation has no operationId", "Name it: camelCase, verb first.")
        elif not _OPERATION_ID.fullmatch(name):
            yield view.build_finding(
                where, f'the operationId "{name}" is not camelCase', "Begin with a verb in lower case."
            )
        elif name in seen:
            yield view.build_finding(where, f'the operationId "{name}" is taken by {seen[name]}', "Choose another.")
        else:
            seen[name] = position.pointer


def _check_links(view: View, positions: list[Position]) -> Iterator[Finding]:
    """Check the target of each link, and the parameters that it sets there."""
    operations = {position.pointer: position for position in positions if position.kind == "operation"}
    named = {as_mapping(operation.value).get("operationId"): operation for operation in operations.values()}
    for link in (position for position in positions if position.kind == "link"):
        value = as_mapping(link.value)
        name, reference = value.get("operationId"), value.get("operationRef")
        target = named.get(name) if name is not None else operations.get(str(reference).removeprefix("#"))
        if "$ref" in value:
            continue
        if name is None and reference is None:
            yield view.build_finding(link.pointer, "the link leads to no operation", "Name one in `operationId`.")
        elif target is None:
            key = "operationRef" if name is None else "operationId"
            what = f'the link leads to "{value[key]}"; there is: {_join_names(str(name) for name in named)}'
            yield view.build_finding(f"{link.pointer}/{key}", what, "Name one of them.")
        else:
            known = set(_list_parameter_names(view, target))
            for parameter in set(as_mapping(value.get("parameters"))) - known:
                what = f'the link fills in "{parameter}"; the operation has: {_join_names(known)}'
                where = f"{link.pointer}/parameters/{escape(parameter)}"
                yield view.build_finding(where, what, "Name one of its parameters.")


def _list_parameter_names(view: View, operation: Position) -> Iterator[str]:
    """Yield the names of an operation's and its path's parameters, plain and with location (`path.item_id`)."""
    holder = operation.pointer.rpartition("/")[0]
    item = as_mapping(pointers.resolve(view.document, holder)).get("parameters")
    for parameter in (*as_sequence(item), *as_sequence(as_mapping(operation.value).get("parameters"))):
        node = as_mapping(follow(view.document, "", parameter)[1])
        yield from (str(node.get("name")), f"{node.get('in')}.{node.get('name')}")


def _join_names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


_CHECKS = {
    "document": (_check_security,),
    "path": (_check_path_template, _check_duplicates),
    "operation": (_check_responses, _check_security, _check_duplicates),
    "response": (_check_description,),
    "media": (_check_encoding,),
    "parameter": (_check_parameter,),
}
