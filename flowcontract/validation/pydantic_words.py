"""A wrong request in the words of Pydantic, which servers built on FastAPI answer with: type, loc, msg, input, ctx.

https://docs.pydantic.dev/latest/errors/validation_errors/

Pydantic sends back all that was sent. Here `input` has at most 4,096 characters, and so have all names of a `loc`
together: whoever sends a megabyte gets the beginning of it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from flowcontract import pointers
from flowcontract.scenarios.expressions import RequestView
from flowcontract.validation.request import UPLOAD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from flowcontract.validation.request import RequestViolation

Entry = dict[str, Any]

ECHOED = 4096
"""Characters of what was sent that are said again in one entry."""

# What the contract demands, in the words of `wording.py` -> type and message.
_TYPES = {
    "text": ("string_type", "Input should be a valid string"),
    "an object": ("dict_type", "Input should be a valid dictionary"),
    "a list": ("list_type", "Input should be a valid list"),
    "true or false": ("bool_type", "Input should be a valid boolean"),
    "an integer": ("int_type", "Input should be a valid integer"),
    "a number": ("float_type", "Input should be a valid number"),
}
_PARSED = {
    "true or false": ("bool_parsing", "Input should be a valid boolean, unable to interpret input"),
    "an integer": ("int_parsing", "Input should be a valid integer, unable to parse string as an integer"),
    "a number": ("float_parsing", "Input should be a valid number, unable to parse string as a number"),
}
_IN_UNIONS = {
    "text": "str",
    "an object": "dict[str,any]",
    "a list": "list[any]",
    "true or false": "bool",
    "an integer": "int",
    "a number": "float",
}
_NO_OBJECT = "Input should be a valid dictionary or object to extract fields from"
_UUID_BEFORE = "expected an optional prefix of `urn:uuid:` followed by [0-9a-fA-F-], "


def build_entry(kind: str, loc: Iterable[str | int], msg: str, sent: Any = None, **ctx: Any) -> Entry:
    """Return one entry of `detail`."""
    entry = {"type": kind, "loc": shorten(list(loc)), "msg": msg, "input": shorten(sent)}
    return {**entry, "ctx": ctx} if ctx else entry


def shorten(value: Any) -> Any:
    """Return the beginning of a value of JSON, of the same type: its first `ECHOED` characters."""
    return _shorten(value, ECHOED)[0]


def _shorten(value: Any, left: int) -> tuple[Any, int]:
    """Return as much of a value as fits, and how many characters are left."""
    if isinstance(value, str):
        return value[:left], max(0, left - len(value))
    if isinstance(value, list):
        items = []
        for item in value:
            if left <= 0:
                break
            short, left = _shorten(item, left - 1)
            items.append(short)
        return items, left
    if isinstance(value, dict):
        fields = {}
        for name, field in value.items():
            if left <= 0:
                break
            short, left = _shorten(field, left - 1 - len(name))
            fields[name[:ECHOED]] = short
        return fields, left
    return value, left - len(str(value))


def group_entries(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `$violation.NAME` offers of entries: whole, and as newer servers tell them, without what was sent."""
    terse = [{name: entry[name] for name in ("type", "loc", "msg")} for entry in entries]
    for entry in terse:
        entry["msg"] = entry["msg"].replace(_UUID_BEFORE, "")
    return {"entries": list(entries), "terse_entries": terse}


def build_mapping(found: RequestViolation, sent: RequestView | None = None) -> dict[str, Any]:
    """Return all that `$violation.NAME` offers of one violation."""
    return {**found.as_mapping(), **group_entries(list(list_entries(found, sent or RequestView())))}


def build_no_object_entry(sent: Any) -> Entry:
    """Return the entry about a body that is not an object."""
    return build_entry("model_attributes_type", ["body"], _NO_OBJECT, sent)


def build_no_json_entry(error: ValueError) -> Entry:
    """Return the entry about a body that is not JSON."""
    known = isinstance(error, json.JSONDecodeError)
    position, why = (error.pos, error.msg) if known else (0, str(error))  # type: ignore[attr-defined]
    return build_entry("json_invalid", ["body", position], "JSON decode error", {}, error=why)


def list_entries(found: RequestViolation, sent: RequestView) -> Iterator[Entry]:
    """Yield the entries about a violation: a single one, or one for each alternative that the value could have been."""
    violation = found.violation
    loc = _find_loc(found)
    value = _find_value(found, sent)
    expected = violation.expected.removesuffix(" or null")
    if violation.rule == "required":
        message = f"Value error, Expected UploadFile, received: {type(value)}"
        text = build_entry("value_error", loc, message, value, error={})  # in place of a file
        yield text if expected == UPLOAD else build_entry("missing", loc, "Field required")
    elif loc == ["body"] and violation.rule == "type":
        yield build_no_object_entry(value)
    elif violation.rule in ("type", "anyOf") and (kinds := [kind for kind in _TYPES if kind in expected.split(" or ")]):
        for kind in kinds:
            name, message = _TYPES[kind]
            yield build_entry(name, [*loc, _IN_UNIONS[kind]] if len(kinds) > 1 else loc, message, value)
    elif violation.rule == "type" and expected in _PARSED:
        kind, message = (_TYPES if found.location == "body" else _PARSED)[expected]
        yield build_entry(kind, loc, message, value)
    elif violation.rule == "enum":
        options = expected.removeprefix("one of ").split(", ")
        *others, last = [f"'{option}'" for option in options if option != "null"]
        choice = f"{', '.join(others)} or {last}" if others else last
        yield build_entry("literal_error", loc, f"Input should be {choice}", value, expected=choice)
    elif violation.rule == "format" and expected == "a UUID":
        why = _explain_no_uuid(str(value))
        yield build_entry("uuid_parsing", loc, f"Input should be a valid UUID, {why}", value, error=why)
    elif violation.rule == "minLength":
        least = int("".join(re.findall(r"\d+", expected)) or 1)
        message = f"String should have at least {least} character{'s' if least > 1 else ''}"
        yield build_entry("string_too_short", loc, message, value, min_length=least)
    else:
        yield build_entry("value_error", loc, f"Value error, {found.message}", value, error={})


def _find_loc(found: RequestViolation) -> list[str | int]:
    """Return the place of a violation, outermost first; a number is the place in a list."""
    if found.location != "body":
        return [found.location, found.field]
    names = found.field.split(".") if found.field else []
    return ["body", *(int(name) if name.isdecimal() else name for name in names)]


def _find_value(found: RequestViolation, sent: RequestView) -> Any:
    """Return the value that was sent in the place of a violation, None where nothing was."""
    if found.location == "path":
        return sent.path.get(found.field)
    if found.location == "query":
        return sent.query.get(found.field)
    if found.location == "header":
        return sent.headers.get(found.field.lower())
    try:
        return pointers.resolve(sent.body, found.violation.where)
    except (KeyError, TypeError, AttributeError):
        return None


def _explain_no_uuid(text: str) -> str:
    """Return why a text is not a UUID, in the words of https://docs.rs/uuid."""
    for position, character in enumerate(text, 1):
        if not re.fullmatch("[0-9a-fA-F-]", character):
            return f"invalid character: {_UUID_BEFORE}found `{character}` at {position}"
    groups = text.split("-")
    if len(groups) == 1:
        return f"invalid length: expected length 32 for simple format, found {len(text)}"
    if len(groups) != len(_GROUPS):
        return f"invalid group count: expected {len(_GROUPS)}, found {len(groups)}"
    pairs = enumerate(zip(groups, _GROUPS, strict=True))
    number, group, length = next((number, group, length) for number, (group, length) in pairs if len(group) != length)
    return f"invalid group length in group {number}: expected {length}, found {len(group)}"


_GROUPS = (8, 4, 4, 4, 12)
