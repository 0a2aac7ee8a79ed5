"""Checks of every schema: the 2020-12 metaschema, unknown keywords, required names without a property."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from flowcontract.lint.findings import Finding
from flowcontract.lint.positions import Position, walk
from flowcontract.lint.references import as_mapping, as_sequence, list_properties
from flowcontract.pointers import escape, join
from flowcontract.provenance.sources import as_list
from flowcontract.schemas import absence
from flowcontract.schemas.keywords import RELATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.lint.project import View

_METASCHEMA = "https://json-schema.org/draft/2020-12/schema"
# JSON Schema 2020-12 (core, applicator, validation, format, content, meta-data) and OpenAPI 3.2's base vocabulary.
KEYWORDS = frozenset(
    (  # noqa: SIM905 - sixty names are read more easily as text
        "$schema $id $ref $anchor $dynamicRef $dynamicAnchor $vocabulary $comment $defs "
        "allOf anyOf oneOf not if then else dependentSchemas prefixItems items contains properties patternProperties "
        "additionalProperties propertyNames unevaluatedItems unevaluatedProperties "
        "type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern "
        "maxItems minItems uniqueItems maxContains minContains maxProperties minProperties required dependentRequired "
        "format contentEncoding contentMediaType contentSchema "
        "title description default deprecated readOnly writeOnly examples "
        "discriminator xml externalDocs example"
    ).split()
)
# Keywords whose subschemas apply to the same value as the schema around them.
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")


def check(view: View) -> Iterator[Finding]:
    """Yield what is wrong with the schemas of a document."""
    metaschema = jsonschema_rs.Draft202012Validator({"$ref": _METASCHEMA}, validate_formats=True)
    schemas = {position.pointer: position for position in walk(view.document) if position.kind == "schema"}
    for position in schemas.values():
        if position.top:
            yield from _check_metaschema(view, position, metaschema)
        if isinstance(position.value, dict):
            yield from _check_keywords(view, position)
            yield from _check_openness(view, position)
            yield from _check_required(view, position, schemas)
            yield from _check_null(view, position)
            yield from _check_relations(view, position)
    yield from _check_compilation(view)


def _check_compilation(view: View) -> Iterator[Finding]:
    """Compile all schemas; vague, since the cause has mostly been reported more precisely."""
    try:
        jsonschema_rs.validator_map_for(dict(view.document), validate_formats=True)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        path, line = view.locate("")
        yield Finding(path, line, f"the schemas do not compile: {error}", "Mend what is named.", vague=True)


def _check_metaschema(
    view: View, schema: Position, metaschema: jsonschema_rs.Draft202012Validator
) -> Iterator[Finding]:
    """Check a schema and its subschemas by the metaschema; report the first error at each value."""
    reported = set()
    for error in metaschema.iter_errors(schema.value):
        pointer = join(error.instance_path)
        if pointer not in reported:
            reported.add(pointer)
            what = f"not a JSON Schema 2020-12: {pointer.rpartition('/')[2] or 'the schema'}: {error.message}"
            yield view.build_finding(f"{schema.pointer}{pointer}", what, "Write what the keyword allows.")


def _check_keywords(view: View, schema: Position) -> Iterator[Finding]:
    for key in schema.value:
        if key not in KEYWORDS and not key.startswith("x-"):
            close = difflib.get_close_matches(key, KEYWORDS, n=1)
            todo = f'Did you mean "{close[0]}"?' if close else "Drop it, or begin its name with `x-`."
            yield view.build_finding(f"{schema.pointer}/{escape(key)}", f'"{key}" is not a keyword of a schema', todo)


def _check_openness(view: View, schema: Position) -> Iterator[Finding]:
    for key in ("additionalProperties", "unevaluatedProperties"):
        if schema.value.get(key) is False:
            yield view.build_finding(
                f"{schema.pointer}/{key}",
                f"`{key}: false` closes the object; servers add fields from version to version",
                "Drop it: objects stay open.",
            )


def _check_required(view: View, schema: Position, schemas: Mapping[str, Position]) -> Iterator[Finding]:
    """Look a required name up in the schema, in its references, and in the schemas for the same value."""
    names = [name for name in as_sequence(schema.value.get("required")) if isinstance(name, str)]
    if not names:
        return
    around = _find_outermost(schema.pointer, schemas)
    known = list_properties(view.document, schemas[around].value)
    patterned = any(as_mapping(schemas[around].value).get(key) for key in ("patternProperties", "propertyNames"))
    for name in dict.fromkeys(names):
        if name not in known and not patterned:
            close = difflib.get_close_matches(name, known, n=1)
            todo = (
                f'Did you mean "{close[0]}"?' if close else "Describe it under `properties`, or require it no longer."
            )
            index = schema.value["required"].index(name)
            what = f'"{name}" is required, but no property of this schema'
            yield view.build_finding(f"{schema.pointer}/required/{index}", what, todo)


def _check_null(view: View, schema: Position) -> Iterator[Finding]:
    """Look at what null is said to be: it stands for a field that is left out, or it is a type."""
    said = schema.value.get(absence.KEYWORD, absence.ABSENT)
    if said != absence.ABSENT:
        what = f'"{said}" is nothing that null can stand for'
        yield view.build_finding(
            f"{schema.pointer}/{absence.KEYWORD}", what, f"Write `{absence.KEYWORD}: {absence.ABSENT}`."
        )
    elif absence.KEYWORD in schema.value and "null" in as_list(schema.value.get("type")):
        what = "null cannot both be a value and stand for a field that is left out"
        yield view.build_finding(
            f"{schema.pointer}/{absence.KEYWORD}", what, "Drop the keyword, or null from the types."
        )


def _check_relations(view: View, schema: Position) -> Iterator[Finding]:
    """Look up the fields that our own keywords relate."""
    known = as_mapping(schema.value.get("properties"))
    for key in RELATIONS:
        for name, others in as_mapping(schema.value.get(key)).items():
            for field in dict.fromkeys([name, *as_list(others)]):
                if field not in known:
                    what = f'"{field}" is not a property of this schema'
                    yield view.build_finding(
                        f"{schema.pointer}/{key}/{escape(name)}", what, "Name fields that stand here."
                    )


def _find_outermost(pointer: str, schemas: Mapping[str, Any]) -> str:
    """Return the outermost schema for the same value as the schema at a pointer."""
    while True:
        parent, _, last = pointer.rpartition("/")
        outer, _, keyword = parent.rpartition("/")
        if last in _IN_PLACE and parent in schemas:
            pointer = parent
        elif keyword in _IN_PLACE and outer in schemas:
            pointer = outer
        else:
            return pointer
