"""Follows references within a bundle; never fails on a malformed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract import pointers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_STEPS = 20  # after which a chain of references counts as circular


def follow(document: Mapping[str, Any], pointer: str, node: Any) -> tuple[str, Any]:
    """Return pointer and value of a node, references followed; the value is None for a dangling one."""
    for _ in range(_STEPS):
        if not isinstance(node, dict) or not isinstance(node.get("$ref"), str):
            return pointer, node
        pointer = node["$ref"].removeprefix("#")
        try:
            node = pointers.resolve(document, pointer)
        except KeyError:
            return pointer, None
    return pointer, None


def as_mapping(value: Any) -> dict[str, Any]:
    """Return a mapping as it is, anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def as_sequence(value: Any) -> list[Any]:
    """Return a list as it is, anything else as an empty one."""
    return value if isinstance(value, list) else []


def list_properties(document: Mapping[str, Any], schema: Any, seen: frozenset[int] = frozenset()) -> set[str]:
    """Return the names of all properties that a schema, or a subschema for the same value, describes."""
    if not isinstance(schema, dict) or id(schema) in seen:
        return set()
    seen |= {id(schema)}
    names = set(as_mapping(schema.get("properties")))
    for part in _list_in_place(document, schema):
        names |= list_properties(document, part, seen)
    return names


def _list_in_place(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Any]:
    if isinstance(schema.get("$ref"), str):
        try:
            yield pointers.resolve(document, schema["$ref"].removeprefix("#"))
        except KeyError:
            return
    for key in ("allOf", "anyOf", "oneOf"):
        yield from as_sequence(schema.get(key))
    for key in ("if", "then", "else"):
        yield schema.get(key)
    yield from as_mapping(schema.get("dependentSchemas")).values()
