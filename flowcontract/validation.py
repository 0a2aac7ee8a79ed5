"""Compiled validators: what came against what the contract demands, as Violations a stranger can mend a server by.

Draft 2020-12. Formats are asserted: date, date-time, time, duration, email, hostname, ipv4, ipv6, uri, uri-reference,
uuid, regex, json-pointer and their relatives; others (binary, int32, float) only tell people something.
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote

import jsonschema_rs

from flowcontract import wording, yamlio
from flowcontract.sources import provenance
from flowcontract.violations import Violation
from flowcontract.wording import FORMAT_WORDS, bare, describe, type_words

if TYPE_CHECKING:
    from flowcontract.specs import MediaType, Operation, Parameter, Response

ABSENT: Final = object()  # the body of a request that has none; None is the JSON value null
MANY: Final = 10_000  # values; of more only the first error is told, since all are made before the first can be read
MAX_DEPTH: Final = 200  # deeper values would overflow the validator's stack, and nobody means them
_URN = "urn:contract"


_Kind = jsonschema_rs.ValidationErrorKind


class Step(NamedTuple):
    """A schema that judged the value, outermost first: where it really stands in the bundle, and the schema."""

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

    @cached_property
    def _registry(self) -> jsonschema_rs.Registry:
        return jsonschema_rs.Registry([(_URN, dict(self.bundle))], draft=jsonschema_rs.Draft202012)

    def _validator(self, pointer: str) -> jsonschema_rs.Validator:
        """Return the compiled schema at a pointer; raise KeyError where the bundle has none there."""
        if pointer not in self._compiled:
            yamlio.resolve(self.bundle, pointer)
            schema = {"$ref": f"{_URN}#{quote(pointer, safe='/~')}"}
            self._compiled[pointer] = jsonschema_rs.Draft202012Validator(
                schema, registry=self._registry, validate_formats=True
            )
        return self._compiled[pointer]

    def is_valid(self, pointer: str, instance: object) -> bool:
        """Tell whether a JSON value satisfies the schema at a JSON pointer into the bundle."""
        try:
            return _count(instance) < inf and self._validator(pointer).is_valid(instance)
        except UnicodeEncodeError:
            return False

    def violations(self, pointer: str, instance: object, *, limit: int = 20) -> list[Violation]:
        """Return what is wrong with a JSON value by the schema at a JSON pointer into the bundle, `limit` at most.

        A value that fits none of several alternatives is judged by the one it comes closest to.
        """
        count = _count(instance)
        if count == inf:
            return [Violation("depth", f"at most {MAX_DEPTH} levels of nesting", "more")]
        validator = self._compiled.get(pointer) or self._validator(pointer)
        try:
            if validator.is_valid(instance):  # most are, and telling that is much cheaper than telling what is wrong
                return []
            errors = _errors(validator, instance, limit if count < MANY else 1)
        except UnicodeEncodeError:  # JSON can write half a surrogate pair, UTF-8 cannot
            return [Violation("unicode", "text that UTF-8 can carry", "half a surrogate pair")]
        return [self._violation(pointer, wording.leaf(error)) for error in errors]

    def _violation(self, pointer: str, error: jsonschema_rs.ValidationError) -> Violation:
        steps = self._steps(pointer, error.evaluation_path)
        return Violation(
            rule=error.kind.name,
            expected=self._expected(steps, error),
            got=describe(error.instance),
            where="".join(f"/{yamlio.escape(str(token))}" for token in error.instance_path),
            source=self._source(steps, error),
        )

    def _expected(self, steps: list[Step], error: jsonschema_rs.ValidationError) -> str:
        if isinstance(error.kind, _Kind.OneOfMultipleValid):
            names = [", ".join(one.get("required", [])) or one.get("title", "") for one in steps[-1].schema]
            return f"only one of {', '.join(names)}" if all(names) else wording.expected(error)
        return wording.expected(error) + _condition(steps, error.evaluation_path)

    def _steps(self, pointer: str, path: Sequence[str | int]) -> list[Step]:
        """Return what stands at each token of an evaluation path, the root first; it begins with our own `$ref`."""
        steps = [Step(pointer, yamlio.resolve(self.bundle, pointer))]
        for token in path[1:]:
            step = self._step(steps[-1], token)
            if step is None:
                break
            steps.append(step)
        return steps

    def _step(self, above: Step, token: str | int) -> Step | None:
        try:
            if token == "$ref":  # noqa: S105 - a reference token, not a password
                pointer = unquote(above.schema["$ref"].removeprefix("#"))
                return Step(pointer, yamlio.resolve(self.bundle, pointer))
            tail = f"/{yamlio.escape(str(token))}"
            return Step(above.pointer + tail, yamlio.resolve(above.schema, tail))
        except (KeyError, TypeError, AttributeError):
            return None

    def _source(self, steps: list[Step], error: jsonschema_rs.ValidationError) -> tuple[str, ...]:
        """Return the lines of the missing field itself, else of the nearest enclosing schema that has any."""
        kind = error.kind
        if isinstance(kind, _Kind.Required):
            for step in reversed(steps):
                if isinstance(step.schema, dict) and (own := self._field_source(step, kind.property)):
                    return own
        return next((found for step in reversed(steps) if (found := provenance(step.schema))), ())

    def _field_source(self, holder: Step, name: str) -> tuple[str, ...]:
        field = holder.schema.get("properties", {}).get(name)
        if not isinstance(field, dict):
            return ()
        return provenance(field) or provenance(self.follow(f"{holder.pointer}/properties/{yamlio.escape(name)}").schema)

    def follow(self, pointer: str) -> Step:
        """Return where the schema at a pointer really stands: references that stand alone are followed."""
        here = Step(pointer, yamlio.resolve(self.bundle, pointer))
        while isinstance(here.schema, dict) and isinstance(here.schema.get("$ref"), str):
            here = self._step(here, "$ref") or Step(here.pointer, {})
        return here

    def form(self, pointer: str) -> Mapping[str, Step]:
        """Return the fields that a form's schema names, at whichever depth of `allOf`, `then` and alternatives."""
        if pointer not in self._forms:
            fields: dict[str, Step] = {}
            for name, step in self._fields(self.follow(pointer)):
                fields.setdefault(name, step)
            self._forms[pointer] = fields
        return self._forms[pointer]

    def _fields(self, holder: Step) -> Iterator[tuple[str, Step]]:
        if not isinstance(holder.schema, dict):
            return
        for name in holder.schema.get("properties", {}):
            yield name, self.follow(f"{holder.pointer}/properties/{yamlio.escape(name)}")
        for key in ("allOf", "anyOf", "oneOf"):
            for index in range(len(holder.schema.get(key, ()))):
                yield from self._fields(self.follow(f"{holder.pointer}/{key}/{index}"))
        for key in ("then", "else"):
            if key in holder.schema:
                yield from self._fields(self.follow(f"{holder.pointer}/{key}"))

    def types(self, pointer: str) -> frozenset[str]:
        """Return the JSON types that a schema allows, as far as it says so; empty where it does not."""
        if pointer not in self._types:
            self._types[pointer] = self._types_at(pointer)
        return self._types[pointer]

    def _types_at(self, pointer: str) -> frozenset[str]:
        pointer, schema = self.follow(pointer)
        if not isinstance(schema, dict):
            return frozenset()
        if "type" in schema:
            return frozenset([schema["type"]] if isinstance(schema["type"], str) else schema["type"])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                parts = [self.types(f"{pointer}/{key}/{index}") for index in range(len(schema[key]))]
                return frozenset().union(*parts) if all(parts) else frozenset()
        return frozenset(_TYPE_OF[type(value)] for value in schema.get("enum", ()))


def _count(instance: object) -> float:
    """Return how many values a value holds, infinity where they are nested too deeply."""
    level, count = [instance], 1
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one.values()
            elif isinstance(one, list):
                below += one
        if not below:
            return count
        level = below
        count += len(below)
    return inf if any(isinstance(one, dict | list) for one in level) else count


def _errors(validator: jsonschema_rs.Validator, instance: object, limit: int) -> list[jsonschema_rs.ValidationError]:
    """Return at most `limit` errors; the first alone costs nothing for the others."""
    if limit > 1:
        return list(islice(validator.iter_errors(instance), limit))
    try:
        validator.validate(instance)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _condition(steps: list[Step], path: Sequence[str | int]) -> str:
    """Return under which condition a field is demanded, where `if` says so by a constant: ` where `mode` is 2`."""
    branch = len(path) - 2
    if branch < 1 or path[branch] not in ("then", "else") or branch > len(steps):
        return ""
    is_or_not = "is" if path[branch] == "then" else "is not"
    properties = steps[branch - 1].schema["if"].get("properties", {})
    told = [f"`{name}` {is_or_not} {bare(one['const'])}" for name, one in properties.items() if "const" in one]
    return f" where {' and '.join(told)}" if told else ""


_TYPE_OF: Mapping[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}

# Requests.

_UPLOAD = "an uploaded file"
_NOUNS = {"body": "field", "query": "query parameter", "path": "path parameter", "header": "header"}


@dataclass(frozen=True, slots=True)
class RequestViolation:
    """What is wrong with a request, and in which parameter or field.

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
        what = f"{_NOUNS[self.location]} `{self.field}`" if self.field else "request body"
        if self.violation.rule == "required" and self.violation.expected != _UPLOAD:
            condition = self.violation.expected.partition(" where ")
            return f"required {what} is missing{condition[1]}{condition[2]}"
        return f"{what} must be {self.violation.expected}, is {self.violation.got}"

    def as_mapping(self) -> dict[str, str]:
        """Return what `$violation.NAME` offers to a scenario: field, message, rule, location."""
        return {
            "field": self.field,
            "message": self.message,
            "rule": self.violation.rule,
            "location": self.location,
        }


def _missing(location: str, field: str, source: tuple[str, ...]) -> RequestViolation:
    expected = f"the {_NOUNS[location]} `{field}`" if field else "a request body"
    return RequestViolation(location, field, Violation("required", expected, "none", source=source))


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request's values with the types that the contract gives them, and what is wrong with them.

    Undecodable parameters are left out; those that the contract does not name stay text (a list where one is repeated).
    Header names are lower case. Defaults are not filled in.
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
        value, violations = _checked_parameter(validators, parameter, texts)
        found += violations
        if value is not ABSENT:
            values[parameter.location][name] = value
        elif texts:
            del values[parameter.location][name]
    checked_body, violations = _checked_body(validators, operation, body, media_type, values["header"])
    return CheckedRequest(values["path"], values["query"], values["header"], checked_body, (*found, *violations))


def _checked_parameter(
    validators: Validators, parameter: Parameter, texts: list[str] | None
) -> tuple[Any, list[RequestViolation]]:
    """Return a parameter's decoded value, ABSENT if there is none, and what is wrong with it."""
    where = (parameter.location, parameter.name)
    if not texts:
        return ABSENT, [_missing(*where, parameter.provenance)] if parameter.required else []
    value, undecodable = _decoded(validators, parameter.pointer, texts)
    violations = [undecodable] if undecodable else validators.violations(parameter.pointer, value)
    if parameter.clamp is not None:  # what is above is answered as this value, so it is no violation
        violations = [one for one in violations if one.rule != "maximum"]
    told = [RequestViolation(*where, replace(one, source=one.source or parameter.provenance)) for one in violations]
    return ABSENT if undecodable else value, told


def _decoded(validators: Validators, pointer: str, texts: list[str]) -> tuple[Any, Violation | None]:
    """Turn the texts of a parameter or form field into the value its schema means."""
    types = validators.types(pointer)
    if "array" in types:
        return _decoded_list(validators, f"{validators.follow(pointer).pointer}/items", texts)
    if len(texts) > 1:
        return None, Violation("repeated", "one value", f"{len(texts)} values")
    for name, decode in _DECODERS.items():
        if name in types and (value := decode(texts[0])) is not ABSENT:
            return value, None
    if not types or "string" in types:
        return texts[0], None
    return None, Violation("type", type_words(types), describe(texts[0]))


def _decoded_list(validators: Validators, pointer: str, texts: list[str]) -> tuple[Any, Violation | None]:
    try:
        pairs = [_decoded(validators, pointer, [text]) for text in texts]
    except KeyError:  # the list says nothing of its items
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


def parse_json(text: str | bytes) -> Any:
    """Parse JSON strictly: UTF-8, no `NaN`, no key twice, `MAX_DEPTH`; raise ValueError saying what is wrong."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")  # UnicodeDecodeError is a ValueError
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError(f"more than {MAX_DEPTH} levels of nesting") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _count(value) == inf:
        raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f'the key "{next(name for name in names if names.count(name) > 1)}" stands twice')
    return mapping


def _checked_body(
    validators: Validators, operation: Operation, body: Any, media_type: str, headers: Mapping[str, Any]
) -> tuple[Any, list[RequestViolation]]:
    if body is ABSENT:
        return None, [_missing("body", "", operation.provenance)] if operation.request_required else []
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
        values, violations = _checked_form(validators, media, body)
        fields = validators.form(media.pointer)
        if "too-many-files" in operation.problems:
            violations += _beyond_one_file(fields, body)
        return values, [*violations, *_in_neither(fields, body, headers)]
    found = validators.violations(media.pointer, body)
    return body, [_in_body(replace(one, source=one.source or operation.provenance)) for one in found]


_FORMS = ("multipart/", "application/x-www-form-urlencoded")


def _beyond_one_file(fields: Mapping[str, Step], body: Mapping[str, Any]) -> Iterator[RequestViolation]:
    """Yield the fields with several files, for an operation that takes a single one."""
    for name, step in fields.items():
        given = body.get(name)
        if isinstance(given, list) and len(given) > 1 and is_file(step.schema):
            wrong = Violation("repeated", "one file", f"{len(given)} files", source=provenance(step.schema))
            yield RequestViolation("body", name, wrong)


def _in_neither(
    fields: Mapping[str, Step], body: Mapping[str, Any], headers: Mapping[str, Any]
) -> Iterator[RequestViolation]:
    """Yield the fields that are needed unless a header has their name (`x-or-header`), and came in neither place."""
    for name, step in fields.items():
        if step.schema.get("x-or-header") and name not in body and name.lower() not in headers:
            yield _missing("body", name, provenance(step.schema))


def _in_body(violation: Violation) -> RequestViolation:
    tokens = [yamlio.unescape(token) for token in violation.where.split("/")[1:]]
    if violation.rule == "required" and (name := _REQUIRED.match(violation.expected)):
        tokens.append(name["field"])
    return RequestViolation("body", ".".join(tokens), violation)


_REQUIRED = re.compile(r"an object with the field `(?P<field>.*?)`(?= where |$)", re.DOTALL)


def _checked_form(
    validators: Validators, media: MediaType, body: Mapping[str, Any]
) -> tuple[Any, list[RequestViolation]]:
    """Decode and check a form. Uploaded parts count as empty text before the schema, which says `type: string`."""
    fields = validators.form(media.pointer)
    values: dict[str, Any] = dict(body)
    judged: dict[str, Any] = {}
    found: list[RequestViolation] = []
    for name in (name for name, given in body.items() if name in fields and given != []):
        values[name], judged[name], violations = _checked_field(validators, name, fields[name], body[name])
        found += violations
        if not violations and is_file(fields[name].schema):
            found += _upload_violations(name, fields[name], body[name], media.encoding.get(name, {}))
    settled = {violation.field for violation in found}
    judged_ones = [_in_body(one) for one in validators.violations(media.pointer, judged)]
    found += [one for one in judged_ones if one.field.partition(".")[0] not in settled]
    order = {name: number for number, name in enumerate(fields)}
    return values, sorted(found, key=lambda one: order.get(one.field.partition(".")[0], -1))


def _checked_field(
    validators: Validators, name: str, step: Step, given: Any
) -> tuple[Any, Any, list[RequestViolation]]:
    """Return a form field's value, what stands for it before the schema, and what is wrong with it already."""
    parts = given if isinstance(given, list) else [given]
    file = is_file(step.schema)
    for part in parts:
        if isinstance(part, Mapping) != file:
            # A text where a file belongs is a file that is missing: that is what servers say.
            rule, expected = ("required", _UPLOAD) if file else ("type", "text, not a file")
            wrong = Violation(rule, expected, describe(part), f"/{yamlio.escape(name)}", source=provenance(step.schema))
            return given, "", [RequestViolation("body", name, wrong)]
    if file:
        return given, [""] * len(parts) if "array" in validators.types(step.pointer) else "", []
    value, undecodable = _decoded(validators, step.pointer, parts)
    violations = [undecodable] if undecodable else _json_text(validators, step, value)
    placed = [replace(one, where=f"/{yamlio.escape(name)}{one.where}") for one in violations]
    sourced = [replace(one, source=one.source or provenance(step.schema)) for one in placed]
    return given if undecodable else value, value, [_in_body(one) for one in sourced]


def _upload_violations(name: str, step: Step, given: Any, encoding: Mapping[str, Any]) -> Iterator[RequestViolation]:
    """Yield what is wrong with uploaded files as such: bytes over `maxLength`, a type that `encoding` does not list."""
    longest, wanted = step.schema.get("maxLength"), encoding.get("contentType", "*/*")
    where, source = f"/{yamlio.escape(name)}", provenance(step.schema)
    for part in given if isinstance(given, list) else [given]:
        size, sent = part.get("size", 0), part.get("content_type") or _UNKNOWN_FILE
        if longest is not None and size > longest:
            wrong = Violation("maxLength", f"a file of at most {longest} bytes", f"{size} bytes", where, source=source)
            yield RequestViolation("body", name, wrong)
        if not is_of(sent, str(part.get("filename", "")), wanted):
            wrong = Violation("media-type", f"a file of the type {wanted}", sent, where, source=source)
            yield RequestViolation("body", name, wrong)


_UNKNOWN_FILE = "application/octet-stream"


def is_of(sent: str, filename: str, wanted: str) -> bool:
    """Tell whether a file's type, or its name where the client knew no type, fits a list like `image/*, audio/wav`."""
    kind = sent.partition(";")[0].strip().lower()
    patterns = [pattern.strip() for pattern in wanted.split(",")]
    if kind == _UNKNOWN_FILE and filename.lower().endswith(tuple(f".{one.partition('/')[2]}" for one in patterns)):
        return True
    kinds = {kind, mimetypes.guess_type(filename)[0] or kind} if kind == _UNKNOWN_FILE else {kind}
    return any(fnmatchcase(one, pattern) for one in kinds for pattern in patterns)


def is_file(schema: Any) -> bool:
    """Tell whether a form field is an uploaded file: `format: binary`, or a media type of its own other than JSON."""
    if not isinstance(schema, dict):
        return False
    inner = schema.get("items", schema) if schema.get("type") == "array" else schema
    media = inner.get("contentMediaType", _JSON)
    return inner.get("format") == "binary" or (media != _JSON and "contentEncoding" not in inner)


_JSON = "application/json"


def _json_text(validators: Validators, step: Step, value: Any) -> list[Violation]:
    """Return what is wrong with the JSON in a text field that is declared to hold some."""
    if step.schema.get("contentMediaType") != _JSON or not isinstance(value, str):
        return []
    try:
        parsed = parse_json(value)
    except ValueError:
        return [Violation("contentMediaType", "JSON as text", describe(value))]
    return validators.violations(f"{step.pointer}/contentSchema", parsed) if "contentSchema" in step.schema else []


@lru_cache(maxsize=1024)
def sample_violation(operation: Operation) -> RequestViolation:
    """Return the first thing that could be wrong with a request to an operation; always the same one.

    Used where an error scenario is forced upon a request that has nothing wrong.
    """
    return next(_possible_violations(operation))


def _possible_violations(operation: Operation) -> Iterator[RequestViolation]:
    """Yield a missing required field or parameter, then a value of a wrong type, then something general."""
    fields = {name: schema for media in operation.request.values() for name, schema in _own_fields(media.schema)}
    for name in (name for media in operation.request.values() for name in media.schema.get("required", ())):
        yield _missing("body", name, provenance(fields.get(name, {})))
    for parameter in operation.parameters:
        if parameter.required and parameter.location != "path":
            yield _missing(parameter.location, parameter.name, parameter.provenance)
    for parameter in operation.parameters:
        if expected := _bounds(parameter.schema):
            yield _wrong(parameter.location, parameter.name, expected, parameter.provenance)
    for name, schema in fields.items():
        if expected := _bounds(schema):
            yield _wrong("body", name, expected, provenance(schema))
    wrong = Violation("invalid", "what the contract documents", "something else", source=operation.provenance)
    yield RequestViolation("body", "", wrong)


def _own_fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, one) for name, one in schema.get("properties", {}).items() if isinstance(one, dict))


def _bounds(schema: Mapping[str, Any]) -> str:
    """Return what a parameter or field is bound to, in words; '' where any text will do."""
    if "enum" in schema:
        return f"one of {', '.join(bare(option) for option in schema['enum'])}"
    types = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    if types and "string" not in types:
        return type_words(types)
    return FORMAT_WORDS.get(schema.get("format", ""), "")


def _wrong(location: str, field: str, expected: str, source: tuple[str, ...]) -> RequestViolation:
    where = f"/{yamlio.escape(field)}" if location == "body" and field else ""
    return RequestViolation(location, field, Violation("type", expected, 'the text "?"', where, source=source))


# Answers.


def response_violations(
    validators: Validators, operation: Operation, status: int, headers: Mapping[str, str], body: object
) -> list[Violation]:
    """Return what is wrong with an answer: status, media type, required headers, body.

    ``body`` is the raw bytes, or an already parsed JSON value. Streamed bodies (``x-stream``) are judged elsewhere,
    event by event; here only their status and headers are.
    """
    if status not in operation.responses:
        documented = ", ".join(map(str, sorted(operation.responses)))
        return [Violation("status", f"one of {documented}", str(status), source=operation.provenance)]
    response = operation.responses[status]
    lower = {name.lower(): value for name, value in headers.items()}
    found = list(_header_violations(validators, response, lower))
    content_type = lower.get("content-type", "")
    name = find_media(response.media, content_type)
    if name is not None:
        return found + _content_violations(validators, response.media[name], content_type, body)
    if response.media or (body not in (b"", None) and not response.media):
        expected = f"the media type {' or '.join(response.media)}" if response.media else "no body"
        found.append(Violation("media-type", expected, content_type or "none", source=response.provenance))
    return found


def _header_violations(validators: Validators, response: Response, lower: Mapping[str, str]) -> Iterator[Violation]:
    for name, header in response.headers.items():
        source = provenance(header) or response.provenance
        value = lower.get(name.lower())
        if value is None:
            if header.get("required"):
                yield Violation("required", f"the header `{name}`", "none", source=source)
        elif "schema" in header:
            pointer = validators.follow(f"{response.pointer}/headers/{yamlio.escape(name)}").pointer + "/schema"
            decoded, undecodable = _decoded(validators, pointer, [value])
            for one in [undecodable] if undecodable else validators.violations(pointer, decoded):
                yield replace(one, expected=f"{one.expected} in the header `{name}`", source=one.source or source)


def _content_violations(validators: Validators, media: MediaType, content_type: str, body: object) -> list[Violation]:
    sent = content_type.partition(";")[0].strip().lower()
    if media.stream or not media.pointer or not (sent == _JSON or sent.endswith("+json")):
        return []
    if isinstance(body, bytes):
        try:
            body = parse_json(body)
        except ValueError as error:
            return [Violation("json", "JSON", str(error))]
    return validators.violations(media.pointer, body)


def find_media(offered: Mapping[str, Any], content_type: str) -> str | None:
    """Return the key of a media type in a `content` mapping: exact, else `audio/*`, else `*/*`, else None."""
    if content_type in offered:
        return content_type
    sent = content_type.partition(";")[0].strip().lower()
    if not sent:
        return None
    known = {name.partition(";")[0].strip().lower(): name for name in offered}
    wanted = (sent, f"{sent.partition('/')[0]}/*", "*/*")
    return next((known[one] for one in wanted if one in known), None)
