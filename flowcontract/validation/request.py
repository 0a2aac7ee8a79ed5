"""Checks a request against its operation: decodes its values by the contract's types and lists violations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from flowcontract import pointers
from flowcontract.provenance.sources import read_provenance
from flowcontract.schemas.absence import leave_out_nulls
from flowcontract.schemas.decoding import ABSENT, decode, parse_json
from flowcontract.schemas.media_types import JSON, UNKNOWN_FILE, find_media, fits_media_types, is_file
from flowcontract.schemas.violations import Violation
from flowcontract.schemas.wording import FORMAT_WORDS, describe, describe_types, format_bare
from flowcontract.validation.uploads import takes_one_file, upload_limits

if TYPE_CHECKING:
    from flowcontract.schemas.validators import Step, Validators
    from flowcontract.specs.model import MediaType, Operation, Parameter
    from flowcontract.validation.uploads import UploadLimits

UPLOAD: Final = "an uploaded file"
_TOLD = 200  # characters of a field's name that are said again
_NOUNS = {"body": "field", "query": "query parameter", "path": "path parameter", "header": "header"}


@dataclass(frozen=True, slots=True)
class RequestViolation:
    """One violation in a request, with its parameter or field.

    ``location``   body | query | path | header
    ``field``      the parameter's name, or the dotted path of the field (``inputs.name``, ``files.0.url``); '' for the
                   whole body
    ``violation``  the difference itself; ``where`` is a JSON pointer into the body, or into the parameter's value
    """

    location: str
    field: str
    violation: Violation

    @property
    def message(self) -> str:
        """One sentence for people: "required field `user` is missing"."""
        what = f"{_NOUNS[self.location]} `{self._shown_field}`" if self.field else "request body"
        if self.violation.rule == "required" and self.violation.expected != UPLOAD:
            condition = self.violation.expected.partition(" where ")
            return f"required {what} is missing{condition[1]}{condition[2]}"
        return f"{what} must be {self.violation.expected}, is {self.violation.got}"

    @property
    def _shown_field(self) -> str:
        return self.field if len(self.field) <= _TOLD else f"{self.field[:_TOLD]}..."

    def as_mapping(self) -> dict[str, Any]:
        """Return what `$violation.NAME` offers to a scenario, entries aside: field, message, rule, location."""
        return {
            "field": self._shown_field,
            "message": self.message,
            "rule": self.violation.rule,
            "location": self.location,
        }


def _build_missing_violation(location: str, field: str, source: tuple[str, ...]) -> RequestViolation:
    expected = f"the {_NOUNS[location]} `{field}`" if field else "a request body"
    return RequestViolation(location, field, Violation("required", expected, "none", source=source))


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request's values, decoded by the types of the contract, and its violations.

    Parameters that cannot be decoded are left out; undocumented ones stay text (a list if repeated). Nulls that stand
    for fields left out (`x-null: absent`) are left out, too. Header names are lower case. Defaults are not filled in.
    """

    path: Mapping[str, Any]
    query: Mapping[str, Any]
    headers: Mapping[str, Any]
    body: Any  # None without one
    violations: tuple[RequestViolation, ...]


def check_request(  # noqa: PLR0913 - the parts of a request, each by name
    validators: Validators,
    operation: Operation,
    *,
    path: Mapping[str, str],
    query: Mapping[str, Sequence[str]],
    headers: Mapping[str, str],
    body: Any = ABSENT,
    media_type: str = "",
) -> CheckedRequest:
    """Decode a request by its operation's schemas and return the values with all violations, parameters first.

    ``query`` has every value of a repeated parameter; ``headers`` may have names in any case. ``body`` is parsed
    JSON, or for forms a mapping of fields: text, ``{filename, content_type, size}`` for an uploaded part, or a list of
    these where a field is repeated. ``media_type`` is the body's (parameters such as charset are ignored).
    """
    values: dict[str, dict[str, Any]] = {
        "path": dict(path),
        "query": {name: texts[0] if len(texts) == 1 else list(texts) for name, texts in query.items()},
        "header": {name.lower(): value for name, value in headers.items()},
    }
    found: list[RequestViolation] = []
    for parameter in operation.parameters:
        name = parameter.name.lower() if parameter.location == "header" else parameter.name
        given = values[parameter.location].get(name)
        texts = given if given is None or isinstance(given, list) else [given]
        value, violations = _check_parameter(validators, parameter, texts)
        found += violations
        if value is not ABSENT:
            values[parameter.location][name] = value
        elif texts:
            del values[parameter.location][name]
    checked_body, violations = _check_body(validators, operation, body, media_type, values["header"])
    return CheckedRequest(values["path"], values["query"], values["header"], checked_body, (*found, *violations))


def _check_parameter(
    validators: Validators, parameter: Parameter, texts: list[str] | None
) -> tuple[Any, list[RequestViolation]]:
    """Return a parameter's decoded value, ABSENT if there is none, and its violations."""
    where = (parameter.location, parameter.name)
    if not texts:
        return ABSENT, [_build_missing_violation(*where, parameter.provenance)] if parameter.required else []
    value, undecodable = decode(validators, parameter.pointer, texts)
    violations = [undecodable] if undecodable else validators.find_violations(parameter.pointer, value)
    if parameter.clamp is not None:  # larger values are clamped to it and are no violation
        violations = [violation for violation in violations if violation.rule != "maximum"]
    placed = [
        RequestViolation(*where, replace(violation, source=violation.source or parameter.provenance))
        for violation in violations
    ]
    return ABSENT if undecodable else value, placed


def _check_body(
    validators: Validators, operation: Operation, body: Any, media_type: str, headers: Mapping[str, Any]
) -> tuple[Any, list[RequestViolation]]:
    if body is ABSENT:
        return None, [_build_missing_violation("body", "", operation.provenance)] if operation.request_required else []
    if not operation.request:
        return body, []
    name = find_media(operation.request, media_type)
    if name is None:
        expected = f"a body of the media type {' or '.join(operation.request)}"
        wrong = Violation("media-type", expected, media_type or "none", source=operation.provenance)
        return body, [RequestViolation("body", "", wrong)]
    media = operation.request[name]
    if not media.pointer:
        return body, []
    if name.startswith(_FORMS):
        values, violations = _check_form(validators, media, body)
        fields = validators.find_form_fields(media.pointer)
        if takes_one_file(operation):
            violations += _find_surplus_files(fields, body)
        return values, [*violations, *_find_missing_headers(fields, body, headers)]
    body = leave_out_nulls(validators, media.pointer, body)
    found = validators.find_violations(media.pointer, body)
    return body, [
        _locate_in_body(replace(violation, source=violation.source or operation.provenance)) for violation in found
    ]


_FORMS = ("multipart/", "application/x-www-form-urlencoded")


def _find_surplus_files(fields: Mapping[str, Step], body: Mapping[str, Any]) -> Iterator[RequestViolation]:
    """Yield fields with several files, for an operation that takes a single one."""
    for name, step in fields.items():
        given = body.get(name)
        if isinstance(given, list) and len(given) > 1 and is_file(step.schema):
            wrong = Violation("repeated", "one file", f"{len(given)} files", source=read_provenance(step.schema))
            yield RequestViolation("body", name, wrong)


def _find_missing_headers(
    fields: Mapping[str, Step], body: Mapping[str, Any], headers: Mapping[str, Any]
) -> Iterator[RequestViolation]:
    """Yield fields that may be sent as a header instead (`x-or-header`), and were sent as neither."""
    for name, step in fields.items():
        if step.schema.get("x-or-header") and name not in body and name.lower() not in headers:
            yield _build_missing_violation("body", name, read_provenance(step.schema))


def _locate_in_body(violation: Violation) -> RequestViolation:
    tokens = pointers.split(violation.where)
    if violation.rule == "required" and (name := _REQUIRED.match(violation.expected)):
        tokens.append(name["field"])
    return RequestViolation("body", ".".join(tokens), violation)


_REQUIRED = re.compile(r"an object with the field `(?P<field>.*?)`(?= where |$)", re.DOTALL)


def _check_form(
    validators: Validators, media: MediaType, body: Mapping[str, Any]
) -> tuple[Any, list[RequestViolation]]:
    """Decode and check a form. For the schema, which says `type: string`, an uploaded file is an empty text."""
    fields = validators.find_form_fields(media.pointer)
    values: dict[str, Any] = dict(body)
    judged: dict[str, Any] = {}
    found: list[RequestViolation] = []
    for name in (name for name, given in body.items() if name in fields and given != []):
        values[name], judged[name], violations = _check_field(validators, name, fields[name], body[name])
        found += violations
        if not violations and is_file(fields[name].schema):
            found += _check_uploads(name, fields[name], body[name], upload_limits(validators, media, name))
    settled = {violation.field for violation in found}
    by_schema = [_locate_in_body(violation) for violation in validators.find_violations(media.pointer, judged)]
    found += [violation for violation in by_schema if violation.field.partition(".")[0] not in settled]
    order = {name: number for number, name in enumerate(fields)}
    return values, sorted(found, key=lambda violation: order.get(violation.field.partition(".")[0], -1))


def _check_field(validators: Validators, name: str, step: Step, given: Any) -> tuple[Any, Any, list[RequestViolation]]:
    """Return a form field's value, the value to check by the schema in its place, and its violations so far."""
    parts = given if isinstance(given, list) else [given]
    file = is_file(step.schema)
    for part in parts:
        if isinstance(part, Mapping) != file:
            # Servers report a text in place of a file as a missing file.
            rule, expected = ("required", UPLOAD) if file else ("type", "text, not a file")
            wrong = Violation(
                rule, expected, describe(part), f"/{pointers.escape(name)}", source=read_provenance(step.schema)
            )
            return given, "", [RequestViolation("body", name, wrong)]
    if file:
        return given, [""] * len(parts) if "array" in validators.find_types(step.pointer) else "", []
    value, undecodable = decode(validators, step.pointer, parts)
    violations = [undecodable] if undecodable else _check_json_text(validators, step, value)
    placed = [replace(violation, where=f"/{pointers.escape(name)}{violation.where}") for violation in violations]
    sourced = [replace(violation, source=violation.source or read_provenance(step.schema)) for violation in placed]
    return given if undecodable else value, value, [_locate_in_body(violation) for violation in sourced]


def _check_uploads(name: str, step: Step, given: Any, limits: UploadLimits) -> Iterator[RequestViolation]:
    """Yield violations of the limits of uploads: too many bytes, a media type that is missing or not listed."""
    wanted, longest, typed = limits
    where, source = f"/{pointers.escape(name)}", read_provenance(step.schema)
    for part in given if isinstance(given, list) else [given]:
        size, said = part.get("size", 0), part.get("content_type")
        sent = said or UNKNOWN_FILE
        if typed and not said:
            yield RequestViolation(
                "body", name, Violation("typed", "a file with a Content-Type of its own", "none", where)
            )
        if longest is not None and size > longest:
            wrong = Violation("maxLength", f"a file of at most {longest} bytes", f"{size} bytes", where, source=source)
            yield RequestViolation("body", name, wrong)
        if wanted is not None and not fits_media_types(sent, str(part.get("filename", "")), wanted):
            wrong = Violation("media-type", f"a file of the type {wanted}", sent, where, source=source)
            yield RequestViolation("body", name, wrong)


def _check_json_text(validators: Validators, step: Step, value: Any) -> list[Violation]:
    """Return the violations of the JSON in a text field that is declared to hold JSON."""
    if step.schema.get("contentMediaType") != JSON or not isinstance(value, str):
        return []
    try:
        parsed = parse_json(value)
    except ValueError:
        return [Violation("contentMediaType", "JSON as text", describe(value))]
    return validators.find_violations(f"{step.pointer}/contentSchema", parsed) if "contentSchema" in step.schema else []


@lru_cache(maxsize=1024)
def build_sample_violation(operation: Operation) -> RequestViolation:
    """Return a violation that a request to an operation could have; always the same one.

    Fills in the error scenario that is forced on a valid request.
    """
    return next(_list_possible_violations(operation))


def _list_possible_violations(operation: Operation) -> Iterator[RequestViolation]:
    """Yield a missing required field or parameter, then a value of a wrong type, then something general."""
    properties = [media.schema.get("properties", {}) for media in operation.request.values()]
    fields = {name: field for listed in properties for name, field in listed.items() if isinstance(field, dict)}
    for name in (name for media in operation.request.values() for name in media.schema.get("required", ())):
        yield _build_missing_violation("body", name, read_provenance(fields.get(name, {})))
    for parameter in operation.parameters:
        if parameter.required and parameter.location != "path":
            yield _build_missing_violation(parameter.location, parameter.name, parameter.provenance)
    for parameter in operation.parameters:
        if expected := _describe_bounds(parameter.schema):
            yield _build_type_violation(parameter.location, parameter.name, expected, parameter.provenance)
    for name, schema in fields.items():
        if expected := _describe_bounds(schema):
            yield _build_type_violation("body", name, expected, read_provenance(schema))
    wrong = Violation("invalid", "what the contract documents", "something else", source=operation.provenance)
    yield RequestViolation("body", "", wrong)


def _describe_bounds(schema: Mapping[str, Any]) -> str:
    """Return the values that a parameter or field is restricted to, in words; '' where any text is allowed."""
    if "enum" in schema:
        return f"one of {', '.join(format_bare(option) for option in schema['enum'])}"
    types = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    if types and "string" not in types:
        return describe_types(types)
    return FORMAT_WORDS.get(schema.get("format", ""), "")


def _build_type_violation(location: str, field: str, expected: str, source: tuple[str, ...]) -> RequestViolation:
    where = f"/{pointers.escape(field)}" if location == "body" and field else ""
    return RequestViolation(location, field, Violation("type", expected, 'the text "?"', where, source=source))
