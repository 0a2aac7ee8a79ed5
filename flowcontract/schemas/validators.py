"""Compiled validators: check JSON values against the schemas of a contract and describe what differs.

Draft 2020-12. Formats are asserted: date, date-time, time, duration, email, hostname, ipv4, ipv6, uri, uri-reference,
uuid, regex, json-pointer and their variants; others (binary, int32, float) are annotations.
"""

from __future__ import annotations

from functools import cached_property
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote

import jsonschema_rs

from flowcontract import pointers
from flowcontract.provenance.sources import read_provenance
from flowcontract.schemas import wording
from flowcontract.schemas.keywords import KEYWORDS, find_contradiction
from flowcontract.schemas.violations import Violation
from flowcontract.schemas.wording import describe, format_bare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MANY: Final = 10_000  # values; of larger ones only the first error is reported, since the library lists all at once
MAX_DEPTH: Final = 200  # levels; deeper values would overflow the validator's stack
_URN = "urn:contract"


_Kind = jsonschema_rs.ValidationErrorKind


class Step(NamedTuple):
    """A schema on the path of an evaluation: its pointer in the bundle, references resolved, and the schema."""

    pointer: str
    schema: Any


class Validators:
    """The schemas of one bundle, each compiled on first use."""

    def __init__(self, bundle: Mapping[str, Any]) -> None:
        """Keep a bundle: an OpenAPI document without external references."""
        self.bundle = bundle
        self._compiled: dict[str, jsonschema_rs.Validator] = {}
        self._forms: dict[str, Mapping[str, Step]] = {}
        self._types: dict[str, frozenset[str]] = {}
        self._steps: dict[str, Step] = {}

    @cached_property
    def _registry(self) -> jsonschema_rs.Registry:
        return jsonschema_rs.Registry([(_URN, dict(self.bundle))], draft=jsonschema_rs.Draft202012)

    def _get_validator(self, pointer: str) -> jsonschema_rs.Validator:
        """Return the compiled schema at a pointer; raise KeyError where the bundle has none there."""
        if pointer not in self._compiled:
            pointers.resolve(self.bundle, pointer)
            schema = {"$ref": f"{_URN}#{quote(pointer, safe='/~')}"}
            self._compiled[pointer] = jsonschema_rs.Draft202012Validator(
                schema, registry=self._registry, validate_formats=True, keywords=KEYWORDS
            )
        return self._compiled[pointer]

    def is_valid(self, pointer: str, instance: object) -> bool:
        """Tell whether a JSON value satisfies the schema at a JSON pointer into the bundle."""
        try:
            return not is_too_deep(instance) and self._get_validator(pointer).is_valid(instance)
        except UnicodeEncodeError:
            return False

    def find_violations(self, pointer: str, instance: object, *, limit: int = 20) -> list[Violation]:
        """Return the violations of a JSON value by the schema at a JSON pointer into the bundle, at most `limit`.

        If a value fits none of several alternatives, those of the closest one are reported.
        """
        count = _count_values(instance)
        if count == inf:
            return [Violation("depth", f"at most {MAX_DEPTH} levels of nesting", "more")]
        validator = self._compiled.get(pointer) or self._get_validator(pointer)
        try:
            if validator.is_valid(instance):  # most values are; this is much cheaper than listing errors
                return []
            errors = _list_errors(validator, instance, limit if count < MANY else 1)
        except UnicodeEncodeError:  # JSON can escape a lone surrogate, UTF-8 cannot encode it
            return [Violation("unicode", "text that UTF-8 can carry", "half a surrogate pair")]
        return [self._to_violation(pointer, wording.select_error(error), instance) for error in errors]

    def _to_violation(self, pointer: str, error: jsonschema_rs.ValidationError, whole: object) -> Violation:
        if isinstance(error.kind, _Kind.Custom):
            return self._to_contradiction(error)
        steps = self._trace(pointer, error.evaluation_path)
        return Violation(
            rule=error.kind.name,
            expected=self._describe_expected(steps, error),
            got=describe(_find_infinite(whole, error.instance_path) if error.instance is None else error.instance),
            where=pointers.join(error.instance_path),
            source=self._find_source(steps, error),
        )

    def _to_contradiction(self, error: jsonschema_rs.ValidationError) -> Violation:
        """Return the violation of one of our own keywords, placed at the field that contradicts the others.

        The evaluation path of such an error is the keyword's own place in the bundle, references resolved.
        """
        *place, keyword = error.evaluation_path
        pointer = pointers.join(place)
        schema = pointers.resolve(self.bundle, pointer)
        found = find_contradiction(str(keyword), schema[keyword], error.instance)
        assert found is not None  # the validator reported it
        return Violation(
            rule=str(keyword).removeprefix("x-"),
            expected=found.expected,
            got=found.got,
            where=pointers.join([*error.instance_path, found.field]),
            source=self._find_field_source(Step(pointer, schema), found.field) or read_provenance(schema),
        )

    def _describe_expected(self, steps: list[Step], error: jsonschema_rs.ValidationError) -> str:
        if isinstance(error.kind, _Kind.OneOfMultipleValid):
            names = [", ".join(schema.get("required", [])) or schema.get("title", "") for schema in steps[-1].schema]
            return f"only one of {', '.join(names)}" if all(names) else wording.describe_expected(error)
        return wording.describe_expected(error) + _describe_condition(steps, error.evaluation_path)

    def _trace(self, pointer: str, path: Sequence[str | int]) -> list[Step]:
        """Return the schema at each token of an evaluation path, the root first; its first token is our own `$ref`."""
        steps = [Step(pointer, pointers.resolve(self.bundle, pointer))]
        for token in path[1:]:
            step = self._advance(steps[-1], token)
            if step is None:
                break
            steps.append(step)
        return steps

    def _advance(self, above: Step, token: str | int) -> Step | None:
        try:
            if token == "$ref":  # noqa: S105 - a reference token, not a password
                pointer = unquote(above.schema["$ref"].removeprefix("#"))
                return Step(pointer, pointers.resolve(self.bundle, pointer))
            tail = f"/{pointers.escape(str(token))}"
            return Step(above.pointer + tail, pointers.resolve(above.schema, tail))
        except (KeyError, TypeError, AttributeError):
            return None

    def _find_source(self, steps: list[Step], error: jsonschema_rs.ValidationError) -> tuple[str, ...]:
        """Return the provenance of the missing field itself, else of the nearest enclosing schema that has any."""
        kind = error.kind
        if isinstance(kind, _Kind.Required):
            for step in reversed(steps):
                if isinstance(step.schema, dict) and (own := self._find_field_source(step, kind.property)):
                    return own
        return next((found for step in reversed(steps) if (found := read_provenance(step.schema))), ())

    def _find_field_source(self, holder: Step, name: str) -> tuple[str, ...]:
        field = holder.schema.get("properties", {}).get(name)
        if not isinstance(field, dict):
            return ()
        return read_provenance(field) or read_provenance(
            self.follow(f"{holder.pointer}/properties/{pointers.escape(name)}").schema
        )

    def follow(self, pointer: str) -> Step:
        """Return the schema at a pointer with its own place, following `$ref`."""
        step = self._steps.get(pointer)
        if step is None:
            step = self._steps[pointer] = self._follow(pointer)
        return step

    def _follow(self, pointer: str) -> Step:
        here = Step(pointer, pointers.resolve(self.bundle, pointer))
        while isinstance(here.schema, dict) and isinstance(here.schema.get("$ref"), str):
            here = self._advance(here, "$ref") or Step(here.pointer, {})
        return here

    def find_form_fields(self, pointer: str) -> Mapping[str, Step]:
        """Return the fields that a form's schema names, inside `allOf`, `then` and alternatives as well."""
        if pointer not in self._forms:
            fields: dict[str, Step] = {}
            for name, step in self._list_fields(self.follow(pointer)):
                fields.setdefault(name, step)
            self._forms[pointer] = fields
        return self._forms[pointer]

    def _list_fields(self, holder: Step) -> Iterator[tuple[str, Step]]:
        if not isinstance(holder.schema, dict):
            return
        for name in holder.schema.get("properties", {}):
            yield name, self.follow(f"{holder.pointer}/properties/{pointers.escape(name)}")
        for key in ("allOf", "anyOf", "oneOf"):
            for index in range(len(holder.schema.get(key, ()))):
                yield from self._list_fields(self.follow(f"{holder.pointer}/{key}/{index}"))
        for key in ("then", "else"):
            if key in holder.schema:
                yield from self._list_fields(self.follow(f"{holder.pointer}/{key}"))

    def find_types(self, pointer: str) -> frozenset[str]:
        """Return the JSON types that a schema allows; empty where it does not restrict them."""
        if pointer not in self._types:
            self._types[pointer] = self._find_types(pointer)
        return self._types[pointer]

    def _find_types(self, pointer: str) -> frozenset[str]:
        pointer, schema = self.follow(pointer)
        if not isinstance(schema, dict):
            return frozenset()
        if "type" in schema:
            return frozenset([schema["type"]] if isinstance(schema["type"], str) else schema["type"])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                parts = [self.find_types(f"{pointer}/{key}/{index}") for index in range(len(schema[key]))]
                return frozenset().union(*parts) if all(parts) else frozenset()
        return frozenset(_TYPE_OF[type(value)] for value in schema.get("enum", ()))


def _count_values(instance: object) -> float:
    """Return the number of values in a value, itself included; infinity where they are nested too deeply."""
    level, count = [instance], 1
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
            elif isinstance(value, list):
                below += value
        if not below:
            return count
        level = below
        count += len(below)
    return inf if any(isinstance(value, dict | list) for value in level) else count


def is_too_deep(instance: object) -> bool:
    """Tell whether a value is nested deeper than `MAX_DEPTH`."""
    return _count_values(instance) == inf


def _find_infinite(value: Any, path: Sequence[str | int]) -> float | None:
    """Return the number that the validator takes for null: one that no float can hold, such as `1e999`."""
    for token in path:
        value = value[token]
    return value if isinstance(value, float) else None


def _list_errors(
    validator: jsonschema_rs.Validator, instance: object, limit: int
) -> list[jsonschema_rs.ValidationError]:
    """Return at most `limit` errors; a limit of 1 does not compute the others."""
    if limit > 1:
        return list(islice(validator.iter_errors(instance), limit))
    try:
        validator.validate(instance)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _describe_condition(steps: list[Step], path: Sequence[str | int]) -> str:
    """Return the condition of an `if` with constants in words, such as ` where `mode` is 2`; else nothing."""
    branch = len(path) - 2
    if branch < 1 or path[branch] not in ("then", "else") or branch > len(steps):
        return ""
    is_or_not = "is" if path[branch] == "then" else "is not"
    properties = steps[branch - 1].schema["if"].get("properties", {})
    conditions = [
        f"`{name}` {is_or_not} {format_bare(schema['const'])}"
        for name, schema in properties.items()
        if "const" in schema
    ]
    return f" where {' and '.join(conditions)}" if conditions else ""


_TYPE_OF: Mapping[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
