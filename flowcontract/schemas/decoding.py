"""Decodes text: strict JSON, and the text of a parameter or form field by the types of its schema."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from flowcontract.schemas.validators import MAX_DEPTH, is_too_deep
from flowcontract.schemas.violations import Violation
from flowcontract.schemas.wording import describe, describe_types

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowcontract.schemas.validators import Validators

ABSENT: Final = object()  # no body, or a text that is no value of a type; None is the JSON value null


def parse_json(text: str | bytes) -> Any:
    """Parse JSON strictly: UTF-8, no `NaN`, no duplicate keys, at most `MAX_DEPTH` levels; raise ValueError."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")  # UnicodeDecodeError is a ValueError
    try:
        value = parse_strict_json(text)
    except RecursionError:
        raise ValueError(f"more than {MAX_DEPTH} levels of nesting") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and is_too_deep(value):
        raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f'the key "{next(name for name, count in counts.items() if count > 1)}" stands twice')
    return mapping


def parse_strict_json(text: str) -> Any:
    """Parse JSON as RFC 8259 defines it: no `NaN`, no duplicate keys; raise ValueError (or RecursionError)."""
    return _STRICT.decode(text)


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_to_object)


def decode(validators: Validators, pointer: str, texts: list[str]) -> tuple[Any, Violation | None]:
    """Decode the texts of a parameter or form field by its schema; return the value, or else the violation."""
    types = validators.find_types(pointer)
    if "array" in types:
        return _decode_list(validators, f"{validators.follow(pointer).pointer}/items", texts)
    if len(texts) > 1:
        return None, Violation("repeated", "one value", f"{len(texts)} values")
    text = _respell(validators, pointer, texts[0])
    for name, read in _DECODERS.items():
        if name in types and (value := read(text)) is not ABSENT:
            return value, None
    if not types or "string" in types:
        return text, None
    return None, Violation("type", describe_types(types), describe(texts[0]))


def _respell(validators: Validators, pointer: str, text: str) -> str:
    """Return a text as the contract spells it, where other spellings mean the same (`x-spelling: pydantic`)."""
    schema = validators.follow(pointer).schema
    if not isinstance(schema, dict) or schema.get("x-spelling") != "pydantic":
        return text
    if schema.get("format") == "uuid":
        bare = text.lower().removeprefix("urn:uuid:").removeprefix("{").removesuffix("}")
        return str(UUID(bare)) if _UUID.fullmatch(bare) else text
    return next((word for word, others in _PYDANTIC_WORDS.items() if text.lower() in others), text)


# https://docs.pydantic.dev/latest/api/standard_library_types/: booleans and UUIDs
_PYDANTIC_WORDS = {"true": {"1", "on", "t", "y", "yes"}, "false": {"0", "off", "f", "n", "no"}}
_UUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _decode_list(validators: Validators, pointer: str, texts: list[str]) -> tuple[Any, Violation | None]:
    try:
        pairs = [decode(validators, pointer, [text]) for text in texts]
    except KeyError:  # the schema says nothing about the items
        return texts, None
    return [value for value, _ in pairs], next((undecodable for _, undecodable in pairs if undecodable), None)


_INTEGER = re.compile(r"-?[0-9]{1,1000}")
_NUMBER = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?([eE][-+]?[0-9]{1,2})?")
_BOOLEANS = {"true": True, "false": False}


def _decode_object(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return ABSENT


_DECODERS: Mapping[str, Callable[[str], Any]] = {
    "integer": lambda text: int(text) if _INTEGER.fullmatch(text) else ABSENT,
    "number": lambda text: float(text) if _NUMBER.fullmatch(text) else ABSENT,
    "boolean": lambda text: _BOOLEANS.get(text.lower(), ABSENT),  # Python clients send `True`
    "object": _decode_object,
}
