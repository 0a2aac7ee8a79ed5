"""Violations name the rule, the place, what was wanted, what came, and the lines it rests on; JSON is read strictly."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from flowcontract.schemas.decoding import parse_json
from flowcontract.schemas.media_types import find_media
from flowcontract.schemas.validators import MAX_DEPTH, Validators
from flowcontract.specs.model import load_api

if TYPE_CHECKING:
    pass


def judge(schema: Any, instance: object) -> list[str]:
    """Return what is said of a value by a schema."""
    return [str(violation) for violation in Validators({"schema": schema}).find_violations("/schema", instance)]


@pytest.mark.parametrize(
    ("schema", "instance", "said"),
    [
        ({"type": "integer"}, "1", 'type: expected an integer; got the text "1"'),
        ({"type": ["string", "null"]}, 1, "type: expected text or null; got 1"),
        ({"type": "object"}, [1, 2], "type: expected an object; got a list of 2"),
        ({"type": "array"}, {"a": 1, "b": 2}, "type: expected a list; got an object with the fields a, b"),
        ({"type": "boolean"}, None, "type: expected true or false; got null"),
        ({"enum": ["streaming", "blocking"]}, "x", 'enum: expected one of streaming, blocking; got the text "x"'),
        ({"enum": ["Image", ""]}, "x", 'enum: expected one of Image, ""; got the text "x"'),
        ({"x-not-before": {"b": "a"}}, {"a": 3, "b": 1}, "/b: not-before: expected `b` not below `a`, 3; got 1"),
        (
            {"x-sum": {"all": ["a", "b"]}},
            {"a": "0.001", "b": "0.02", "all": "0.022"},
            "/all: sum: expected `all` 0.021, the sum of `a` and `b`; got 0.022",
        ),
        ({"const": "message"}, "x", 'const: expected the text "message"; got the text "x"'),
        ({"minimum": 1}, 0, "minimum: expected at least 1; got 0"),
        ({"maximum": 100}, 101, "maximum: expected at most 100; got 101"),
        ({"exclusiveMinimum": 0}, 0, "exclusiveMinimum: expected more than 0; got 0"),
        ({"minLength": 1}, "", 'minLength: expected text at least 1 long; got the text ""'),
        ({"maxItems": 1}, [1, 2], "maxItems: expected a list at most 1 long; got a list of 2"),
        ({"pattern": "^a"}, "b", 'pattern: expected text that matches ^a; got the text "b"'),
        ({"format": "uuid"}, "5ad498-x", 'format: expected a UUID; got the text "5ad498-x"'),
        ({"uniqueItems": True}, [1, 1], "uniqueItems: expected a list without repetitions; got a list of 2"),
        ({"not": {"type": "null"}}, None, 'not: expected anything but {"type": "null"}; got null'),
        (
            {"properties": {"a": False}},
            {"a": 1},
            "/a: falseSchema: expected nothing; got 1",
        ),
        (
            {"properties": {"b": True}, "additionalProperties": False},
            {"a": 1},
            "additionalProperties: expected an object without the fields a; got an object with the fields a",
        ),
        (
            {"propertyNames": {"pattern": "^a"}},
            {"A": 1},
            (
                "propertyNames: expected an object whose field names are text that matches ^a; "
                "got an object with the fields A"
            ),
        ),
        (
            {"required": ["user"]},
            {},
            "required: expected an object with the field `user`; got an empty object",
        ),
    ],
)
def test_a_violation_says_what_was_wanted_and_what_came(schema: Any, instance: object, said: str) -> None:
    """Each keyword has words that people understand, with the limit that was crossed."""
    assert judge(schema, instance) == [said]


def test_number_that_no_float_holds_is_told_as_what_it_is() -> None:
    """`1e999` is infinite for Python, and null for the validator."""
    validators = Validators({"type": "object", "properties": {"a": {"items": {"type": "number"}}}})
    told = [violation.got for violation in validators.find_violations("", {"a": [1, inf, None, -inf]})]
    assert told == ["a number that is too large", "null", "a number that is too large"]


def test_what_came_is_told_shortly() -> None:
    """A long text is cut, with its length, and a large object names its first fields only."""
    assert judge({"type": "integer"}, "x" * 5000) == [
        f'type: expected an integer; got the text "{"x" * 60}..." (5000 characters)'
    ]
    many = {f"f{number:02}": 1 for number in range(20)}
    assert judge({"type": "integer"}, many)[0].endswith("the fields f00, f01, f02, f03, f04, f05, f06, f07 and 12 more")


def test_where_is_a_json_pointer() -> None:
    """Slashes and tildes in names are escaped, and list items are counted from 0."""
    schema = {"properties": {"a/b~c": {"items": {"type": "string"}}}}
    (violation,) = Validators({"schema": schema}).find_violations("/schema", {"a/b~c": ["x", 1]})
    assert violation.where == "/a~1b~0c/1"


@pytest.mark.parametrize(
    ("schema", "instance", "said"),
    [
        pytest.param(
            {"anyOf": [{"type": "integer"}, {"type": "string", "enum": ["a", "b"]}]},
            2.5,
            "anyOf: expected an integer or one of a, b; got 2.5",
            id="no alternative is meant: all are told",
        ),
        pytest.param(
            {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"id": {"type": "string"}}}]},
            {"id": 1},
            "/id: type: expected text; got 1",
            id="the only one of this type is meant",
        ),
        pytest.param(
            {
                "oneOf": [
                    {"properties": {"type": {"const": "a"}, "size": {"type": "integer"}}, "required": ["type"]},
                    {"properties": {"type": {"const": "b"}, "size": {"type": "string"}}, "required": ["type", "x"]},
                ]
            },
            {"type": "a", "size": "1"},
            '/size: type: expected an integer; got the text "1"',
            id="the one whose constant fits is meant",
        ),
        pytest.param(
            {"anyOf": [{"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}, {"const": 1}]},
            [1],
            "/0: type: expected text; got 1",
            id="alternatives inside an alternative",
        ),
        pytest.param(
            {"anyOf": [{"required": ["b"]}, {"required": ["a"]}]},
            {},
            "anyOf: expected an object with the field `b` or an object with the field `a`; got an empty object",
            id="either of two fields",
        ),
        pytest.param(
            {"oneOf": [{"required": ["body"]}, {"required": ["file"]}]},
            {"body": 1, "file": 1},
            "oneOf: expected only one of body, file; got an object with the fields body, file",
            id="two where one is allowed",
        ),
    ],
)
def test_of_alternatives_the_one_that_was_meant_is_told(schema: Any, instance: object, said: str) -> None:
    """Nobody can mend "does not match any": the useful leaf is told, or what all alternatives want."""
    assert judge(schema, instance) == [said]


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("remote", "an object with the field `url` where `mode` is remote"),
        ("local", "an object with the field `file` where `mode` is not remote"),
    ],
)
def test_a_conditional_field_tells_its_condition(mode: str, said: str) -> None:
    """`if`/`then`/`else` by a constant reads as a sentence."""
    schema = {
        "if": {"properties": {"mode": {"const": "remote"}}, "required": ["mode"]},
        "then": {"required": ["url"]},
        "else": {"required": ["file"]},
    }
    (violation,) = Validators({"schema": schema}).find_violations("/schema", {"mode": mode})
    assert (violation.rule, violation.expected) == ("required", said)


BUNDLE: dict[str, Any] = {
    "paths": {"/v1/{id} é%": {"schema": {"$ref": "#/components/schemas/Run"}}},
    "components": {
        "schemas": {
            "Run": {
                "x-source": "001:1-9",
                "required": ["user", "data", "plain"],
                "properties": {
                    "user": {"type": "string", "x-source": "001:3", "x-ruling": "user-is-text"},
                    "data": {"$ref": "#/components/schemas/Data"},
                    "plain": {"type": "string"},
                },
            },
            "Data": {"x-observed": "Dify 1.4.1", "properties": {"steps": {"type": "integer"}}},
            "Broken": {"type": "no-such-type"},
            "Tree": {"items": {"$ref": "#/components/schemas/Tree"}},
        }
    },
}


@pytest.mark.parametrize(
    ("instance", "source"),
    [
        pytest.param({"data": {}, "plain": ""}, ("001:3", "ruling user-is-text"), id="a missing field: its own"),
        pytest.param({"user": "", "plain": ""}, ("observed: Dify 1.4.1",), id="a missing field behind a reference"),
        pytest.param({"user": "", "data": {}}, ("001:1-9",), id="a missing field without lines: the object's"),
        pytest.param({"user": 1, "data": {}, "plain": ""}, ("001:3", "ruling user-is-text"), id="a wrong field"),
        pytest.param({"user": "", "data": {"steps": "1"}, "plain": ""}, ("observed: Dify 1.4.1",), id="the nearest"),
        pytest.param({"user": "", "data": {}, "plain": 1}, ("001:1-9",), id="the next one out"),
    ],
)
def test_a_violation_names_the_nearest_lines_it_rests_on(instance: object, source: tuple[str, ...]) -> None:
    """The provenance is that of the innermost schema on the way to the fault that has any."""
    (violation,) = Validators(BUNDLE).find_violations("/components/schemas/Run", instance)
    assert violation.source == source


def test_a_pointer_may_lead_through_a_path_template() -> None:
    """Braces, spaces, letters beyond ASCII and percent signs in a path are no obstacle."""
    validators = Validators(BUNDLE)
    pointer = "/paths/~1v1~1{id} é%/schema"
    assert validators.is_valid(pointer, {"user": "", "data": {}, "plain": ""})
    assert [violation.rule for violation in validators.find_violations(pointer, {"user": "", "data": {}})] == [
        "required"
    ]


def test_only_what_is_asked_for_is_compiled() -> None:
    """A schema that is broken does not stop the others, and one that is not there is a KeyError."""
    validators = Validators(BUNDLE)
    assert validators.is_valid("/components/schemas/Data", {"steps": 1})
    with pytest.raises(ValueError, match="no-such-type"):
        validators.is_valid("/components/schemas/Broken", {})
    with pytest.raises(KeyError, match="Missing"):
        validators.is_valid("/components/schemas/Missing", {})


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("uuid", "0b1fe2a4-8f1c-4d5e-9a3b-1c2d3e4f5a6b", "5ad498-x"),
        ("date-time", "2024-07-18T03:22:36Z", "2024-07-18T03:22:36"),
        ("uri", "https://example.com/a", "not a uri"),
        ("email", "a@example.com", "a"),
    ],
)
def test_formats_are_asserted(name: str, good: str, bad: str) -> None:
    """A format is a demand, not a remark."""
    validators = Validators({"schema": {"format": name}})
    assert validators.is_valid("/schema", good)
    assert not validators.is_valid("/schema", bad)


def test_unknown_formats_demand_nothing() -> None:
    """`binary` and `int32` only tell people something."""
    assert judge({"properties": {"a": {"format": "binary"}, "b": {"format": "int32"}}}, {"a": "x", "b": 2**40}) == []


def test_violations_are_limited() -> None:
    """A list with a thousand faults does not make a report of a thousand lines."""
    validators = Validators({"schema": {"items": {"type": "string"}}})
    assert len(validators.find_violations("/schema", [1] * 1000)) == 20
    assert len(validators.find_violations("/schema", [1] * 1000, limit=3)) == 3


def test_nesting_without_end_is_a_violation_and_no_crash() -> None:
    """The validator's stack would overflow, so that deep values are refused before it sees them."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    validators = Validators(BUNDLE)
    assert not validators.is_valid("/components/schemas/Tree", deep)
    assert [violation.rule for violation in validators.find_violations("/components/schemas/Tree", deep)] == ["depth"]


def test_half_a_surrogate_pair_is_a_violation_and_no_crash() -> None:
    """JSON can write it as an escape, UTF-8 cannot carry it."""
    validators = Validators({"schema": {"properties": {"id": {"format": "uuid"}}}})
    assert not validators.is_valid("/schema", {"id": "\ud800"})
    assert [violation.rule for violation in validators.find_violations("/schema", {"id": "\ud800"})] == ["unicode"]


def test_nesting_up_to_the_limit_is_judged() -> None:
    """The deepest value that is allowed still goes through the validator."""
    deep: list[Any] = []
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert Validators(BUNDLE).is_valid("/components/schemas/Tree", deep)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"a": NaN}', "NaN is not JSON"),
        ("[Infinity]", "Infinity is not JSON"),
        ('{"a": 1, "b": 2, "a": 3}', 'the key "a" stands twice'),
        ("[" * 300 + "]" * 300, "more than 200 levels"),
        ("[" * 100_000 + "]" * 100_000, "more than 200 levels"),
        ("", "Expecting value"),
        (b"\xff", "utf-8"),
    ],
)
def test_json_is_read_strictly(text: str | bytes, fault: str) -> None:
    """What other parsers refuse, or read differently, is no JSON here either."""
    with pytest.raises(ValueError, match=fault):
        parse_json(text)


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("application/json; charset=utf-8", "application/json"),
        ("APPLICATION/JSON", "application/json"),
        ("audio/mpeg", "audio/*"),
        ("audio/wav", "audio/wav"),
        ("text/html", None),
        ("", None),
    ],
)
def test_a_media_type_is_found_exactly_or_by_its_range(sent: str, found: str | None) -> None:
    """The exact name wins over the range; parameters and case do not matter."""
    assert find_media({"application/json": 1, "audio/*": 2, "audio/wav": 3}, sent) == found
    assert find_media({"*/*": 1}, sent) == ("*/*" if sent else None)


@pytest.mark.parametrize(
    "instance",
    [
        {"a": 1, "b": 1},
        {"a": 2, "b": None},
        {"a": "yesterday", "b": 1},
        {"b": 1},
        {"x": "0.1000001", "y": "0.2", "all": "0.3000002"},
        {"x": 1, "y": 2, "all": 3},
        {"x": 1, "all": 3},
        {"a": 2, "b": 1},
        [],
    ],
)
def test_fields_that_are_absent_or_of_another_type_contradict_nothing(instance: object) -> None:
    """Relations demand something of numbers only, and forgive what rounding makes of prices and of whole seconds."""
    assert judge({"x-not-before": {"b": "a"}, "x-sum": {"all": ["x", "y"]}}, instance) == []


@pytest.mark.parametrize("wrong", [{"total_tokens": 1162}, {"total_price": "0.0020000"}])
def test_usage_adds_up(wrong: dict[str, object]) -> None:
    """The documents' own usage is right; with another total it is refused at the total, with the line that shows it."""
    api = load_api("dify-chat")
    usage = next(iter(api.operations["sendChatMessage"].success.media.values())).examples["documented"].value
    usage = usage["metadata"]["usage"]
    pointer = "/components/schemas/Usage"
    assert api.validators.find_violations(pointer, usage) == []
    (found,) = api.validators.find_violations(pointer, {**usage, **wrong})
    (field,) = wrong
    assert (found.rule, found.where, found.source[0][:6]) == ("sum", f"/{field}", "004:25")
