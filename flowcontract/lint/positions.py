"""Walks an OpenAPI document and names the kind of each object, by a table of the format.

https://spec.openapis.org/oas/v3.2.0.html#schema-0. References are not followed: their targets are visited among the
components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowcontract.pointers import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")


@dataclass(frozen=True, slots=True)
class Position:
    """One object of a known kind. `top` is true for a schema that is not part of another schema."""

    kind: str
    pointer: str
    value: Any
    top: bool = True


# kind -> key -> (how the value holds objects: itself, as list items or as mapping values; their kind)
_Form = tuple[str, str]
_ONE, _LIST, _MAP = "one", "list", "map"
_CONTENT: Mapping[str, _Form] = {"content": (_MAP, "media"), "examples": (_MAP, "example"), "schema": (_ONE, "schema")}
_ITSELF = (
    "not", "if", "then", "else", "items", "contains", "propertyNames", "unevaluatedItems", "unevaluatedProperties",
    "additionalProperties", "contentSchema",
)  # fmt: skip
_SCHEMA: Mapping[str, _Form] = {
    **dict.fromkeys(_ITSELF, (_ONE, "schema")),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), (_LIST, "schema")),
    **dict.fromkeys(("properties", "patternProperties", "dependentSchemas", "$defs"), (_MAP, "schema")),
}
_GRAMMAR: Mapping[str, Mapping[str, _Form]] = {
    "document": {"paths": (_MAP, "path"), "components": (_ONE, "components"), "servers": (_LIST, "server")},
    "components": {
        "schemas": (_MAP, "schema"), "responses": (_MAP, "response"), "parameters": (_MAP, "parameter"),
        "headers": (_MAP, "header"), "examples": (_MAP, "example"), "requestBodies": (_MAP, "body"),
        "links": (_MAP, "link"), "securitySchemes": (_MAP, "scheme"), "pathItems": (_MAP, "path"),
        "mediaTypes": (_MAP, "media"),
    },
    "path": {**dict.fromkeys(METHODS, (_ONE, "operation")), "parameters": (_LIST, "parameter")},
    "operation": {"parameters": (_LIST, "parameter"), "requestBody": (_ONE, "body"), "responses": (_MAP, "response")},
    "parameter": _CONTENT,
    "header": _CONTENT,
    "body": {"content": (_MAP, "media")},
    "response": {"content": (_MAP, "media"), "headers": (_MAP, "header"), "links": (_MAP, "link")},
    "media": {
        "schema": (_ONE, "schema"), "itemSchema": (_ONE, "schema"), "examples": (_MAP, "example"),
        "encoding": (_MAP, "encoding"),
    },
    "encoding": {"headers": (_MAP, "header")},
    "schema": _SCHEMA,
}  # fmt: skip


def walk(document: Any) -> Iterator[Position]:
    """Yield every object of a document whose kind the format defines, references included, parents first."""
    yield from _walk(Position("document", "", document))


def _walk(position: Position) -> Iterator[Position]:
    yield position
    value = position.value
    if not isinstance(value, dict):
        return
    if "$ref" in value and position.kind != "schema":
        return
    for key, (form, kind) in _GRAMMAR.get(position.kind, {}).items():
        if key in value:
            for pointer, child in _list_children(f"{position.pointer}/{key}", value[key], form):
                yield from _walk(Position(kind, pointer, child, top=position.kind != "schema"))


def _list_children(pointer: str, value: Any, form: str) -> Iterator[tuple[str, Any]]:
    """Yield pointer and value of the objects under a key; none if it has another form, which the validator reports."""
    if form == _ONE:
        yield pointer, value
    elif form == _LIST and isinstance(value, list):
        for index, item in enumerate(value):
            yield f"{pointer}/{index}", item
    elif form == _MAP and isinstance(value, dict):
        for name, item in value.items():
            if not name.startswith("x-") or pointer.endswith(("properties", "schemas", "headers")):
                yield f"{pointer}/{escape(name)}", item
