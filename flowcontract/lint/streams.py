"""Checks of stream contracts: each stream has one, it is consistent, and its kinds are those of its payload."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowcontract.errors import SpecError
from flowcontract.lint.positions import walk
from flowcontract.lint.references import as_mapping, as_sequence, follow
from flowcontract.pointers import escape
from flowcontract.specs.event_schemas import read_event_schemas
from flowcontract.streams.consistency import check as check_contract
from flowcontract.streams.contract import StreamContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.lint.findings import Finding
    from flowcontract.lint.positions import Position
    from flowcontract.lint.project import View

_PLACE = re.compile(r"x-stream(?P<place>(?:/[^\s/:]+)*):?\s*")  # prefix of a stream contract's own messages


def check(view: View) -> Iterator[Finding]:
    """Yield what is wrong with the streams of an API."""
    for position in walk(view.document):
        if position.kind != "media" or not isinstance(position.value, dict) or "$ref" in position.value:
            continue
        streamed = position.pointer.endswith("/" + escape("text/event-stream"))
        if streamed and "x-stream" not in position.value:
            yield view.build_finding(position.pointer, "the stream has no contract", "Write its `x-stream`.")
        if "itemSchema" not in position.value and (streamed or "x-stream" in position.value):
            yield view.build_finding(
                position.pointer, "the stream has no `itemSchema`", "Describe one of its events in it."
            )
        elif "x-stream" in position.value:
            yield from _check_kinds(view, position)
            yield from _check_contract(view, position)


def _find_payload(view: View, media: Position) -> tuple[str, dict[str, Any]]:
    """Return pointer and schema of a stream's payload: the content schema of `data`, or the item schema."""
    pointer, item = follow(view.document, f"{media.pointer}/itemSchema", media.value["itemSchema"])
    content = f"{pointer}/properties/data/contentSchema"
    if view.has(content):
        pointer, item = follow(view.document, content, as_mapping(item)["properties"]["data"]["contentSchema"])
    return pointer, as_mapping(item)


def _check_kinds(view: View, media: Position) -> Iterator[Finding]:
    """Compare the listed kinds of a payload's schema with its `if`/`then` pairs, and those with their files."""
    kind = str(as_mapping(media.value["x-stream"]).get("kind", ""))
    pointer, schema = _find_payload(view, media)
    listed, where = _list_kinds(pointer, schema, kind)
    paired: set[str] = set()
    for index, pair in enumerate(as_sequence(schema.get("allOf"))):
        branch = f"{pointer}/allOf/{index}"
        name = as_mapping(as_mapping(as_mapping(as_mapping(pair).get("if")).get("properties")).get(kind)).get("const")
        if not isinstance(name, str) or "then" not in pair:
            yield view.build_finding(
                branch, f"this is not a pair of `if` {kind} and `then`", "Write both; kinds are read from them."
            )
            continue
        if name in paired:
            yield view.build_finding(branch, f'the event "{name}" has two pairs', "Drop one.")
        elif name not in listed:
            todo = f"Add it to the enum of `{kind}`, or mend the pair."
            yield view.build_finding(f"{branch}/if", f'the event "{name}" has a pair, but is not listed', todo)
        paired.add(name)
        target = str(as_mapping(pair["then"]).get("$ref", ""))
        if target.startswith("#/components/schemas/event.") and target.rpartition("event.")[2] != name:
            yield view.build_finding(
                f"{branch}/then", f'the event "{name}" refers to another event\'s file', f"Refer to {name}.yaml."
            )
    for index, name in enumerate(listed):
        if name not in paired:
            yield view.build_finding(
                f"{where}/{index}", f'the event "{name}" is listed, but has no pair', "Add `if` and `then`."
            )


def _list_kinds(pointer: str, schema: dict[str, Any], kind: str) -> tuple[list[Any], str]:
    """Return the kinds that a payload's schema lists in an enum, and the enum's pointer."""
    own = as_mapping(as_mapping(schema.get("properties")).get(kind))
    here = f"{pointer}/properties/{escape(kind)}"
    for part, where in (
        (own, here),
        *((branch, f"{here}/anyOf/{at}") for at, branch in enumerate(as_sequence(own.get("anyOf")))),
    ):
        if isinstance(as_mapping(part).get("enum"), list):
            return part["enum"], f"{where}/enum"
    return [], here


def _check_contract(view: View, media: Position) -> Iterator[Finding]:
    """Check the stream contract's consistency; each message begins with its place in the `x-stream`."""
    base = f"{media.pointer}/x-stream"
    item, _ = follow(view.document, f"{media.pointer}/itemSchema", media.value["itemSchema"])
    try:
        events = read_event_schemas(view.validators, item)
    except (KeyError, TypeError, AttributeError, IndexError, StopIteration):
        return  # the kinds cannot be read, which `_check_kinds` reports
    try:
        messages = check_contract(StreamContract.from_spec(media.value["x-stream"], events))
    except SpecError as error:
        messages = [str(error)]
    for message in messages:
        place, what, todo = _split_message(message)
        yield view.build_finding(f"{base}{place}", what, todo)


def _split_message(message: str) -> tuple[str, str, str]:
    """Split `x-stream/order/2/is: what is wrong. What to do.` into the pointer below x-stream and two sentences."""
    match = _PLACE.match(message)
    what, _, todo = message.partition(". ")
    return match["place"] if match else "", what, todo or "Mend the stream contract."
