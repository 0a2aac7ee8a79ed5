"""Nulls that stand for fields left out (`x-null: absent`): who checks or reads a body sees it without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from flowcontract import pointers
from flowcontract.schemas.validators import MAX_DEPTH, Step

if TYPE_CHECKING:
    from flowcontract.schemas.validators import Validators

KEYWORD: Final = "x-null"
ABSENT: Final = "absent"
_CHOICES = ("allOf", "anyOf", "oneOf")


def may_be_null(schema: Any) -> bool:
    """Tell whether null in a field of this schema stands for a field that was left out."""
    return isinstance(schema, Mapping) and schema.get(KEYWORD) == ABSENT


def leave_out_nulls(validators: Validators, pointer: str, value: Any) -> Any:
    """Return a JSON value without the nulls that stand for fields left out, by the schema at a pointer into the bundle.

    What is nested too deeply for the validator is returned as it is.
    """
    return _keep_present(validators, pointer, value) if _holds_null(value) else value


def _holds_null(value: Any) -> bool:
    """Tell whether there is a null somewhere in a value that is not nested too deeply."""
    level, found = [value], False
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for holder in level:
            if isinstance(holder, dict | list):
                below += holder.values() if isinstance(holder, dict) else holder
        if not below:
            return found
        found = found or any(item is None for item in below)
        level = below
    return False


def _keep_present(validators: Validators, pointer: str, value: Any) -> Any:
    if isinstance(value, list):
        for part in _find_parts(validators, pointer, value):
            if isinstance(part.schema.get("items"), dict):
                value = [_keep_present(validators, f"{part.pointer}/items", item) for item in value]
        return value
    if not isinstance(value, dict):
        return value
    parts = list(_find_parts(validators, pointer, value))
    present: dict[str, Any] = {}
    for name, item in value.items():
        fields = list(_find_field_schemas(parts, name))
        said = (part.schema for field in fields for part in _find_parts(validators, field, item))
        if item is None and any(map(may_be_null, said)):
            continue
        for field in fields:
            item = _keep_present(validators, field, item)  # noqa: PLW2901 - each schema of the field takes out what it knows
        present[name] = item
    return present


def _find_field_schemas(parts: list[Step], name: str) -> Iterator[str]:
    """Yield the pointers of what an object's schemas say of a field."""
    for part in parts:
        if name in part.schema.get("properties", ()):
            yield f"{part.pointer}/properties/{pointers.escape(name)}"
        elif isinstance(part.schema.get("additionalProperties"), dict):
            yield f"{part.pointer}/additionalProperties"


def _find_parts(validators: Validators, pointer: str, value: Any) -> Iterator[Step]:
    """Yield the schema at a pointer and those that hold beside it: referenced, combined, or by a condition."""
    schema = pointers.resolve(validators.bundle, pointer)
    if not isinstance(schema, dict):
        return
    yield Step(pointer, schema)
    if isinstance(schema.get("$ref"), str):
        yield from _find_parts(validators, unquote(schema["$ref"].removeprefix("#")), value)
    for key in _CHOICES:
        for index in range(len(schema.get(key, ()))):
            yield from _find_parts(validators, f"{pointer}/{key}/{index}", value)
    if "if" in schema:
        branch = "then" if validators.is_valid(f"{pointer}/if", value) else "else"
        if branch in schema:
            yield from _find_parts(validators, f"{pointer}/{branch}", value)
