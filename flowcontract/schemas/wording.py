"""Describes the validator's errors and JSON values in words, for people who correct a server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from math import isfinite
from typing import Any

import jsonschema_rs

_Kind = jsonschema_rs.ValidationErrorKind
_Error = jsonschema_rs.ValidationError
_MAX_ALTERNATIVES = 6


def select_error(error: _Error) -> _Error:
    """Return the error to report: if no alternative fits, the one inside the alternative closest to the value."""
    if not isinstance(error.kind, _Kind.AnyOf | _Kind.OneOfNotValid):
        return error
    level = len(error.instance_path)
    meant = [branch for branch in error.kind.context if branch and not _is_ruled_out(branch, level)]
    ranked = sorted(meant, key=_rank)
    if not ranked or (len(ranked) > 1 and _rank(ranked[0]) == _rank(ranked[1])):
        return error
    return select_error(ranked[0][0])


def _is_ruled_out(branch: list[_Error], level: int) -> bool:
    """Tell whether an alternative cannot be meant: the value itself is of another type or not its constant."""
    return any(
        len(error.instance_path) == level and isinstance(error.kind, _Kind.Type | _Kind.Constant | _Kind.Enum)
        for error in branch
    )


def _rank(branch: list[_Error]) -> tuple[int, int]:
    """Rank an alternative, the closest lowest: by failed constants, which tell alternatives apart, then by errors."""
    return sum(isinstance(error.kind, _Kind.Constant) for error in branch), len(branch)


def _describe_alternatives(branches: list[list[_Error]]) -> str:
    words = []
    for branch in branches:
        if branch:
            constants = (error for error in branch if isinstance(error.kind, _Kind.Enum | _Kind.Constant))
            words.append(describe_expected(next(constants, branch[0])))
    unique = list(dict.fromkeys(words))
    more = " or something else" if len(unique) > _MAX_ALTERNATIVES else ""
    return " or ".join(unique[:_MAX_ALTERNATIVES]) + more


def describe_expected(error: _Error) -> str:  # noqa: C901, PLR0911 - a table of keywords and words, read from top to bottom
    """Return what was demanded, worded to follow both "expected ..." and "must be ..."."""
    match error.kind:
        case _Kind.Type(types=types):
            return describe_types(types)
        case _Kind.Required(property=name):
            return f"an object with the field `{name}`"
        case _Kind.Enum(options=options):
            return f"one of {', '.join(format_bare(option) for option in options)}"
        case _Kind.Constant(expected_value=value):
            return describe(value)
        case _Kind.Format(format=name):
            return FORMAT_WORDS.get(name, f"text of the format {name}")
        case _Kind.AnyOf(context=context) | _Kind.OneOfNotValid(context=context):
            return _describe_alternatives(context)
        case _Kind.OneOfMultipleValid():
            return "what exactly one of the alternatives allows"
        case _Kind.PropertyNames(error=inner):
            return f"an object whose field names are {describe_expected(inner)}"
        case _Kind.AdditionalProperties(unexpected=names) | _Kind.UnevaluatedProperties(unexpected=names):
            return f"an object without the fields {', '.join(names)}"
        case _Kind.Not(schema=schema):
            return f"anything but {format_bare(schema)}"
        case kind:
            words = _KEYWORD_WORDS.get(kind.name)
            return words.format(*kind.as_dict().values()) if words else f"what `{kind.name}` allows"


FORMAT_WORDS = {
    "uuid": "a UUID",
    "uri": "a URI",
    "date-time": "a date and time with zone (RFC 3339)",
    "date": "a date (RFC 3339)",
    "email": "an email address",
}
_KEYWORD_WORDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "text at least {} long",
    "maxLength": "text at most {} long",
    "minItems": "a list at least {} long",
    "maxItems": "a list at most {} long",
    "minProperties": "an object with at least {} field(s)",
    "maxProperties": "an object with at most {} field(s)",
    "pattern": "text that matches {}",
    "uniqueItems": "a list without repetitions",
    "contains": "a list that contains a certain item",
    "falseSchema": "nothing",
}
_TYPE_WORDS = {  # in the order in which they are listed
    "object": "an object",
    "array": "a list",
    "string": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def describe_types(types: Iterable[str]) -> str:
    """Return JSON types in plain words: `an integer or null`."""
    wanted = set(types)
    return " or ".join(words for name, words in _TYPE_WORDS.items() if name in wanted)


_MAX_TEXT = 60
_MAX_FIELDS = 8


def describe(value: object) -> str:
    """Return a JSON value in a few words; a large one is summarised."""
    match value:
        case str():
            return f"the text {_quote(value)}"
        case list() | tuple():
            return f"a list of {len(value)}" if value else "an empty list"
        case Mapping():
            return _describe_object(value)
        case float() if not isfinite(value):
            return "a number that is too large"
        case _:
            return format_bare(value)


def _describe_object(value: Mapping[str, Any]) -> str:
    if set(value) == {"filename", "content_type", "size"}:
        return f"the file {_quote(str(value['filename']))}"
    if not value:
        return "an empty object"
    more = f" and {len(value) - _MAX_FIELDS} more" if len(value) > _MAX_FIELDS else ""
    return f"an object with the fields {', '.join(_shorten(name) for name in islice(value, _MAX_FIELDS))}{more}"


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."


def _quote(text: str) -> str:
    size = f" ({len(text)} characters)" if len(text) > _MAX_TEXT else ""
    return f'"{_shorten(text)}"{size}'


def format_bare(value: object) -> str:
    """Return a value as JSON, but text without quotation marks, as in lists of allowed words."""
    return _shorten(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str))
