"""Reads the kinds of events of a stream, each with its schema, out of a bundle."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flowcontract import pointers
from flowcontract.provenance.sources import read_provenance
from flowcontract.streams.contract import EventSchema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.schemas.validators import Validators

_BESIDE_REF = ("$ref", "summary", "description")


def read_event_schemas(validators: Validators, item: str) -> dict[str, EventSchema]:
    """Return the kinds of a stream with their schemas, from the `if`/`then` pairs of the schema of its payload.

    ``item``  JSON pointer of its `itemSchema` in the bundle; one without a schema for `data` is that of the payload
    """
    document = validators.bundle
    try:
        payload, node = follow(document, f"{item}/properties/data/contentSchema")
    except KeyError:
        payload, node = follow(document, item)
    events: dict[str, EventSchema] = {}
    for index, branch in enumerate(node.get("allOf", [])):
        kind = next(iter(branch["if"]["properties"].values()))["const"]
        pointer, schema = follow(document, f"{payload}/allOf/{index}/then")
        validate = partial(validators.find_violations, pointer)
        events[kind] = EventSchema(kind, pointer, _inline(document, schema), validate, read_provenance(schema))
    return events


def follow(document: Mapping[str, Any], pointer: str) -> tuple[str, Any]:
    """Return the place of a node and the node, following each `$ref` that has only annotations beside it."""
    node = pointers.resolve(document, pointer)
    while isinstance(node, dict) and "$ref" in node and all(key in _BESIDE_REF or key.startswith("x-") for key in node):
        pointer = node["$ref"].removeprefix("#")
        node = pointers.resolve(document, pointer)
    return pointer, node


def _inline(document: Mapping[str, Any], node: Any, depth: int = 8) -> Any:
    """Return a schema with its references replaced by their targets, `depth` levels deep."""
    if isinstance(node, list):
        return [_inline(document, item, depth) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node and depth:
        target = pointers.resolve(document, node["$ref"].removeprefix("#"))
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return {**_inline(document, target, depth - 1), **_inline(document, rest, depth)}
    return {key: _inline(document, value, depth) for key, value in node.items()}
