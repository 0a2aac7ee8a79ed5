"""Checks of every example, default and enum of the contract against its own schema."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowcontract.lint.positions import Position, walk
from flowcontract.lint.references import as_mapping, as_sequence, follow
from flowcontract.pointers import escape
from flowcontract.streams import sse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.lint.findings import Finding
    from flowcontract.lint.project import View

_REQUEST = re.compile(r"/(requestBody|parameters)/")
_VALUES = ("value", "dataValue", "serializedValue", "externalValue")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,), "null": (type(None),),
}  # fmt: skip


def check(view: View) -> Iterator[Finding]:
    """Yield every example, default and enum member that violates its own schema.

    Under a profile, the documents' own examples of answers no longer apply; of answers only the profile's are checked.
    """
    profile = view.profile
    for position in walk(view.document):
        if isinstance(position.value, dict):
            own = profile is None or _REQUEST.search(position.pointer)
            yield from (
                found
                for found in _check_position(view, position)
                if own or (profile is not None and found.path == profile.path)
            )


def _check_position(view: View, position: Position) -> Iterator[Finding]:
    if position.kind == "schema":
        yield from _check_schema(view, position)
    elif position.kind == "media" or (position.kind in ("parameter", "header") and "$ref" not in position.value):
        yield from _check_examples(view, position)


def check_against(view: View, schema: str, value: Any, where: str, what: str) -> Iterator[Finding]:
    """Yield the violations of a value by the schema at a pointer, at the place `where`."""
    for violation in view.find_violations(schema, value):
        yield view.build_finding(
            f"{where}{violation.where}",
            f"{what} does not fit its schema: expected {violation.expected}, got {violation.got}",
            "Mend the value or the schema.",
        )


def _check_schema(view: View, schema: Position) -> Iterator[Finding]:
    value = schema.value
    if "default" in value:
        yield from check_against(view, schema.pointer, value["default"], f"{schema.pointer}/default", "the default")
    if "example" in value:
        yield from check_against(view, schema.pointer, value["example"], f"{schema.pointer}/example", "the example")
    for index, example in enumerate(as_sequence(value.get("examples"))):
        yield from check_against(view, schema.pointer, example, f"{schema.pointer}/examples/{index}", "the example")
    for index, member in enumerate(as_sequence(value.get("enum"))):
        if not _is_of_type(member, value.get("type")):
            yield view.build_finding(
                f"{schema.pointer}/enum/{index}",
                f"the enum's {json.dumps(member)} is not of the type {json.dumps(value.get('type'))}",
                "Mend the member or the type.",
            )


def _is_of_type(value: Any, wanted: Any) -> bool:
    names = [wanted] if isinstance(wanted, str) else as_sequence(wanted)
    if not names or any(name not in _TYPES for name in names):
        return True
    return any(isinstance(value, _TYPES[name]) and (not isinstance(value, bool) or name == "boolean") for name in names)


def _check_examples(view: View, holder: Position) -> Iterator[Finding]:
    schema = next((f"{holder.pointer}/{key}" for key in ("schema", "itemSchema") if key in holder.value), None)
    if "example" in holder.value and schema is not None:
        yield from check_against(view, schema, holder.value["example"], f"{holder.pointer}/example", "the example")
    for name, node in as_mapping(holder.value.get("examples")).items():
        pointer, example = follow(view.document, f"{holder.pointer}/examples/{escape(name)}", node)
        if not isinstance(example, dict):
            continue  # a dangling reference or not an object: reported by other checks
        given = [key for key in _VALUES if key in example]
        if not given or ("value" in given and len(given) > 1):
            what = f'the example "{name}" has {" and ".join(given) or "no value"}'
            yield view.build_finding(pointer, what, "Give it one: `value`, or `dataValue` and its `serializedValue`.")
        elif schema is not None:
            for key in given:
                example_value = _Example(
                    f"{pointer}/{key}", example[key], f'the example "{name}"', key == "serializedValue"
                )
                yield from _check_value(view, holder, schema, example_value) if key != "externalValue" else ()


@dataclass(frozen=True, slots=True)
class _Example:
    """One value of a named example: its pointer, its name in findings, whether it is serialised text."""

    where: str
    value: Any
    what: str
    serialized: bool


def _check_value(view: View, holder: Position, schema: str, example: _Example) -> Iterator[Finding]:
    if "itemSchema" in holder.value:
        yield from _check_items(view, holder, schema, example)
    elif not example.serialized:
        yield from check_against(view, schema, example.value, example.where, example.what)
    elif "json" in holder.pointer:
        for violation in view.find_violations(schema, _parse_json(str(example.value))):
            what = f"{example.what} does not fit its schema: {violation}"
            yield view.build_finding(example.where, what, "Mend the text or the schema.")


def _check_items(view: View, holder: Position, schema: str, example: _Example) -> Iterator[Finding]:
    """Check the items of a stream's example (a list, or the stream's text) and the payloads in their data."""
    where, value = example.where, example.value
    if isinstance(value, str):
        placed = [
            (where, item) for item in _decode_items(value, as_mapping(holder.value.get("x-stream")).get("framing"))
        ]
    elif isinstance(value, list):
        placed = [(f"{where}/{index}", item) for index, item in enumerate(value)]
    else:
        what = f"{example.what} is neither a list of items nor text"
        yield view.build_finding(where, what, "Write the stream as it is sent.")
        return
    content = f"{schema}/properties/data/contentSchema"
    for number, (place, item) in enumerate(placed, start=1):
        violations = list(view.find_violations(schema, item))
        if view.has(content) and isinstance(data := as_mapping(item).get("data"), str):
            violations += view.find_violations(content, _parse_json(data))
        for violation in violations:
            what = f"event {number} of {example.what} does not fit its schema: {violation}"
            yield view.build_finding(place, what, "Mend the example or the schema.")


def _decode_items(text: str, framing: Any) -> Iterator[Any]:
    """Yield the items of a stream as `itemSchema` describes them: the fields of a block, or a JSON object."""
    plain = framing != "json-blank-line"
    decoder = sse.Decoder("sse" if plain else "json-blank-line")
    for block in (*decoder.feed(text.encode()), *decoder.close()):
        if not plain:
            yield _parse_json(block.raw.decode())
        elif fields := [field for field in block.fields if field.name]:
            data = [field.value for field in fields if field.name == "data"]
            yield dict(fields) | ({"data": "\n".join(data)} if data else {})


def _parse_json(text: str) -> Any:
    """Return the JSON value of a text, or the text itself, which the schema of an object rejects."""
    try:
        return json.loads(text)
    except ValueError:
        return text
