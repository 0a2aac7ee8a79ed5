"""A request and an answer against their operation: decoded values, and violations that name field and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcontract.specs.model import load_api, load_apis
from flowcontract.validation.request import CheckedRequest, build_sample_violation, check_request
from flowcontract.validation.response import find_response_violations

if TYPE_CHECKING:
    from pathlib import Path

    from flowcontract.specs.model import Api


SHOP = """
openapi: 3.2.0
info: {title: Shop, version: '1'}
servers: [{url: 'https://shop.example/v1'}]
paths:
  /orders/{order_id}:
    get:
      operationId: getOrder
      x-source: 001:1-9
      parameters:
        - {name: order_id, in: path, required: true, schema: {type: string, format: uuid}, x-source: 001:2}
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100}, x-source: 001:3}
        - {name: page, in: query, schema: {type: integer, minimum: 1, maximum: 100}, x-clamp: 100}
        - {name: price, in: query, schema: {type: number}}
        - {name: open, in: query, schema: {type: boolean}}
        - {name: sort, in: query, schema: {enum: [up, down]}}
        - {name: tag, in: query, schema: {type: array, items: {type: integer}}}
        - {name: any, in: query, schema: {type: array}}
        - {name: either, in: query, schema: {anyOf: [{type: integer}, {type: 'null'}]}}
        - {name: user, in: query, required: true, schema: {type: string}, x-source: 001:4}
        - {name: X-Count, in: header, schema: {type: integer}}
      responses:
        '200':
          description: The order.
          x-source: 001:5
          headers:
            X-Left: {required: true, schema: {type: integer}, x-source: 001:6}
            X-Extra: {schema: {type: string}}
          content:
            application/json:
              schema: {type: object, required: [id], properties: {id: {type: string, x-source: 001:7}}}
            audio/*: {schema: {type: string, format: binary}}
        '204': {description: Nothing., x-source: 001:8}
  /orders:
    post:
      operationId: addOrder
      x-source: 001:10-19
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [name]
              properties:
                name: {type: string, x-source: 001:11}
                items: {type: array, items: {type: object, properties: {count: {type: integer}}}}
      responses: {'200': {description: Done., x-source: 001:12}}
  /files:
    post:
      operationId: addFile
      x-source: 001:20-29
      requestBody:
        required: true
        content:
          multipart/form-data:
            schema:
              allOf: [{$ref: schemas/Upload.yaml}]
              properties:
                inputs:
                  type: string
                  contentMediaType: application/json
                  contentSchema: {type: object, properties: {n: {type: integer}}}
                  x-source: 001:23
                copies: {type: integer, minimum: 1}
                labels: {type: array, items: {type: string}}
                meta: {type: object, required: [a]}
                more: {type: array, items: {type: string, format: binary}}
      responses: {'200': {description: Done., x-source: 001:29}}
  /ping:
    get:
      operationId: ping
      x-source: 001:30
      responses: {'200': {description: Done., x-source: 001:31}}
  /volume:
    put:
      operationId: setVolume
      x-source: 001:32
      requestBody:
        content: {application/json: {schema: {properties: {note: {type: string}, level: {type: integer}}}}}
      responses: {'200': {description: Done., x-source: 001:33}}
"""
UPLOAD = """
type: object
required: [file, user]
properties:
  file: {type: string, format: binary, x-source: 001:21}
  user: {type: string, minLength: 1, x-source: 001:22}
"""
FILE = {"filename": "a.txt", "content_type": "text/plain", "size": 3}
ORDER = {"order_id": "0b1fe2a4-8f1c-4d5e-9a3b-1c2d3e4f5a6b"}


@pytest.fixture
def shop(tmp_path: Path) -> Api:
    """Return a small API with every kind of parameter and body."""
    folder = tmp_path / "shop"
    (folder / "schemas").mkdir(parents=True)
    (folder / "openapi.yaml").write_text(SHOP, encoding="utf-8")
    (folder / "schemas" / "Upload.yaml").write_text(UPLOAD, encoding="utf-8")
    return load_api("shop", root=tmp_path)


def check(api: Api, operation: str, **parts: Any) -> CheckedRequest:
    """Check a request of which only the parts that matter are given."""
    given = {"path": {}, "query": {}, "headers": {}, **parts}
    return check_request(api.validators, api.operations[operation], **given)


def get(api: Api, **query: list[str]) -> CheckedRequest:
    """Check a request for an order with some query."""
    return check(api, "getOrder", path=ORDER, query={"user": ["u"], **query})


def post(api: Api, body: Any, media_type: str = "application/json; charset=utf-8") -> CheckedRequest:
    """Check a JSON request."""
    return check(api, "addOrder", body=body, media_type=media_type)


def upload(api: Api, **fields: Any) -> CheckedRequest:
    """Check a form."""
    given = {"file": FILE, "user": "u", **fields}
    body = {name: value for name, value in given.items() if value is not None}
    return check(api, "addFile", body=body, media_type="multipart/form-data")


@pytest.mark.parametrize(
    ("name", "texts", "value"),
    [
        ("limit", ["20"], 20),
        ("price", ["1.5"], 1.5),
        ("price", ["2"], 2.0),
        ("open", ["true"], True),
        ("open", ["False"], False),
        ("sort", ["up"], "up"),
        ("tag", ["1", "2"], [1, 2]),
        ("tag", ["1"], [1]),
        ("any", ["1", "x"], ["1", "x"]),
        ("either", ["7"], 7),
        ("user", ["7"], "7"),
        ("unknown", ["7"], "7"),
        ("unknown", ["7", "8"], ["7", "8"]),
    ],
)
def test_a_parameter_has_the_type_that_its_schema_says(shop: Api, name: str, texts: list[str], value: object) -> None:
    """Query text becomes integers, numbers, booleans and lists; what the contract does not name stays text."""
    checked = get(shop, **{name: texts})
    assert checked.violations == ()
    assert checked.query[name] == value
    assert type(checked.query[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "texts", "message"),
    [
        ("limit", ["many"], 'query parameter `limit` must be an integer, is the text "many"'),
        ("limit", ["٣"], 'query parameter `limit` must be an integer, is the text "٣"'),
        ("limit", [""], 'query parameter `limit` must be an integer, is the text ""'),
        ("limit", ["0"], "query parameter `limit` must be at least 1, is 0"),
        ("limit", ["1" * 500], None),
        ("limit", ["1" * 9000], None),
        ("price", ["1e999"], 'query parameter `price` must be a number, is the text "1e999"'),
        ("price", ["NaN"], 'query parameter `price` must be a number, is the text "NaN"'),
        ("open", ["yes"], 'query parameter `open` must be true or false, is the text "yes"'),
        ("sort", ["left"], 'query parameter `sort` must be one of up, down, is the text "left"'),
        ("sort", ["up", "down"], "query parameter `sort` must be one value, is 2 values"),
        ("tag", ["1", "x"], 'query parameter `tag` must be an integer, is the text "x"'),
        ("user", [], "required query parameter `user` is missing"),
    ],
)
def test_a_wrong_parameter_is_named(shop: Api, name: str, texts: list[str], message: str | None) -> None:
    """Undecodable, out of bounds, repeated or missing: one violation that names the parameter."""
    (violation,) = get(shop, **{name: texts}).violations
    assert (violation.location, violation.field) == ("query", name)
    assert message is None or violation.message == message


def test_what_is_answered_as_the_maximum_is_no_violation(shop: Api) -> None:
    """`x-clamp` lifts the upper bound alone."""
    assert get(shop, page=["101"]).violations == ()
    assert [one.violation.rule for one in get(shop, page=["0"]).violations] == ["minimum"]


def test_headers_and_path_are_checked_too(shop: Api) -> None:
    """Header names count in any case, and each violation rests on the lines of its parameter."""
    checked = check(shop, "getOrder", path={"order_id": "7"}, query={}, headers={"x-count": "many", "X-Other": "1"})
    assert [(one.location, one.field, one.violation.source) for one in checked.violations] == [
        ("path", "order_id", ("001:2",)),
        ("query", "user", ("001:4",)),
        ("header", "X-Count", ()),
    ]
    assert checked.headers == {"x-other": "1"}
    assert check(shop, "getOrder", path=ORDER, query={"user": ["u"]}, headers={"X-COUNT": "3"}).headers == {
        "x-count": 3
    }


def test_a_wrong_field_of_a_json_body_is_named_by_its_path(shop: Api) -> None:
    """Fields are told as people write them, with dots; unknown fields are ignored."""
    checked = post(shop, {"items": [{"count": "1"}], "colour": "red"})
    assert [(one.field, one.message) for one in checked.violations] == [
        ("name", "required field `name` is missing"),
        ("items.0.count", 'field `items.0.count` must be an integer, is the text "1"'),
    ]
    assert post(shop, {"name": "x", "colour": "red"}).violations == ()


@pytest.mark.parametrize(
    ("given", "rule", "message"),
    [
        ({}, "required", "required request body is missing"),
        ({"body": [1], "media_type": "application/json"}, "type", "request body must be an object, is a list of 1"),
        (
            {"body": "x", "media_type": "text/plain"},
            "media-type",
            "request body must be a body of the media type application/json, is text/plain",
        ),
    ],
)
def test_a_body_that_is_wrong_as_a_whole_has_no_field(shop: Api, given: Any, rule: str, message: str) -> None:
    """No body, another sort of body, another media type: the location is the body, the lines are the operation's."""
    (violation,) = check(shop, "addOrder", **given).violations
    assert (violation.location, violation.field, violation.violation.rule) == ("body", "", rule)
    assert violation.message == message
    assert violation.violation.source == ("001:10-19",)


def test_a_body_nobody_asked_for_is_no_violation(shop: Api) -> None:
    """Servers ignore a body where they read none, and an optional one may be absent."""
    assert check(shop, "ping", body={"a": 1}, media_type="application/json").violations == ()
    assert check(shop, "setVolume").violations == ()


def test_the_fields_of_a_form_have_the_types_of_the_schema(shop: Api) -> None:
    """Form fields are text; numbers, lists and objects are read from it, and uploads stay what they are."""
    checked = upload(shop, copies="2", labels="one", meta='{"a": 1}', inputs='{"n": 1}', more=[FILE, FILE], other="x")
    assert checked.violations == ()
    assert checked.body == {
        "file": FILE,
        "user": "u",
        "copies": 2,
        "labels": ["one"],
        "meta": {"a": 1},
        "inputs": '{"n": 1}',
        "more": [FILE, FILE],
        "other": "x",
    }


@pytest.mark.parametrize(
    ("fields", "field", "rule", "message"),
    [
        ({"file": None}, "file", "required", "required field `file` is missing"),
        ({"file": "text"}, "file", "required", 'field `file` must be an uploaded file, is the text "text"'),
        ({"user": FILE}, "user", "type", 'field `user` must be text, not a file, is the file "a.txt"'),
        ({"user": ""}, "user", "minLength", 'field `user` must be text at least 1 long, is the text ""'),
        ({"user": ["a", "b"]}, "user", "repeated", "field `user` must be one value, is 2 values"),
        ({"copies": "two"}, "copies", "type", 'field `copies` must be an integer, is the text "two"'),
        ({"copies": "0"}, "copies", "minimum", "field `copies` must be at least 1, is 0"),
        ({"inputs": "{"}, "inputs", "contentMediaType", 'field `inputs` must be JSON as text, is the text "{"'),
        ({"inputs": '{"n": "1"}'}, "inputs.n", "type", 'field `inputs.n` must be an integer, is the text "1"'),
        ({"meta": "{"}, "meta", "type", 'field `meta` must be an object, is the text "{"'),
        ({"meta": "{}"}, "meta.a", "required", "required field `meta.a` is missing"),
        ({"more": [FILE, "x"]}, "more", "required", 'field `more` must be an uploaded file, is the text "x"'),
    ],
)
def test_a_wrong_form_field_is_named_once(shop: Api, fields: Any, field: str, rule: str, message: str) -> None:
    """A file where text belongs, text where a file belongs, and every fault of the text itself."""
    (violation,) = upload(shop, **fields).violations
    assert (violation.location, violation.field, violation.violation.rule) == ("body", field, rule)
    assert violation.message == message


def test_the_violations_of_a_form_come_in_the_order_of_its_schema(shop: Api) -> None:
    """The order in which a client sends fields does not decide which fault is told first."""
    checked = upload(shop, file=None, copies="x", user=FILE)
    assert [violation.field for violation in checked.violations] == ["inputs", "copies", "file", "user"][1:]


def test_a_violation_is_offered_to_scenarios_as_four_texts(shop: Api) -> None:
    """`$violation.field`, `.message`, `.rule` and `.location`."""
    assert post(shop, {}).violations[0].as_mapping() == {
        "field": "name",
        "message": "required field `name` is missing",
        "rule": "required",
        "location": "body",
    }


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("addOrder", "required field `name` is missing"),
        ("getOrder", "required query parameter `user` is missing"),
        ("setVolume", 'field `level` must be an integer, is the text "?"'),
        ("ping", "request body must be what the contract documents, is something else"),
    ],
)
def test_the_first_possible_violation_of_an_operation(shop: Api, operation: str, message: str) -> None:
    """A missing field comes first, then a missing parameter, then a wrong type, then something general."""
    assert build_sample_violation(shop.operations[operation]).message == message


def test_every_operation_has_a_first_possible_violation_that_says_something() -> None:
    """A forced error never renders with holes."""
    for api in load_apis().values():
        for operation in api.operations.values():
            sample = build_sample_violation(operation)
            assert sample == build_sample_violation(operation)
            assert sample.message
            assert sample.violation.source, operation.name


HEADERS = {"Content-Type": "application/json; charset=utf-8", "x-left": "3"}


def answer(api: Api, status: int, headers: dict[str, str], body: object) -> list[str]:
    """Return what is wrong with an answer to a request for an order."""
    return [
        str(one) for one in find_response_violations(api.validators, api.operations["getOrder"], status, headers, body)
    ]


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        pytest.param(200, HEADERS, b'{"id": "x"}', [], id="well"),
        pytest.param(200, HEADERS, {"id": "x"}, [], id="well, parsed already"),
        pytest.param(200, {"Content-Type": "audio/mpeg", "X-Left": "3"}, b"\x00", [], id="well, by a range"),
        pytest.param(204, {}, b"", [], id="well, without a body"),
        pytest.param(500, HEADERS, b"", ["status: expected one of 200, 204; got 500 (001:1-9)"], id="status"),
        pytest.param(
            200,
            {"Content-Type": "text/html", "X-Left": "3"},
            b"",
            ["media-type: expected the media type application/json or audio/*; got text/html (001:5)"],
            id="media type",
        ),
        pytest.param(
            200,
            {"X-Left": "3"},
            b"{}",
            ["media-type: expected the media type application/json or audio/*; got none (001:5)"],
            id="no media type",
        ),
        pytest.param(204, {}, b"{}", ["media-type: expected no body; got none (001:8)"], id="a body too many"),
        pytest.param(
            200,
            {"Content-Type": "application/json"},
            b'{"id": "x"}',
            ["required: expected the header `X-Left`; got none (001:6)"],
            id="no header",
        ),
        pytest.param(
            200,
            {**HEADERS, "x-left": "few"},
            b'{"id": "x"}',
            ['type: expected an integer in the header `X-Left`; got the text "few" (001:6)'],
            id="wrong header",
        ),
        pytest.param(
            200,
            HEADERS,
            b'{"id": 1}',
            ["/id: type: expected text; got 1 (001:7)"],
            id="wrong field",
        ),
        pytest.param(200, HEADERS, b'{"id": "x"', ["json: expected JSON; got Expecting ',' delimiter"], id="no JSON"),
        pytest.param(200, HEADERS, b'{"id": "\xff"}', ["json: expected JSON; got 'utf-8' codec"], id="no UTF-8"),
    ],
)
def test_an_answer_is_judged_by_status_media_type_headers_and_body(
    shop: Api, status: int, headers: dict[str, str], body: object, said: list[str]
) -> None:
    """Whatever is wrong is told with the lines it rests on; what is right is not told."""
    found = answer(shop, status, headers, body)
    assert len(found) == len(said)
    assert all(one.startswith(start) for one, start in zip(found, said, strict=True)), found


def test_a_request_that_the_contract_prints_is_told_apart_from_one_that_lacks_its_user() -> None:
    """The real contract, from end to end: the message a Dify client would read."""
    api = load_api("dify-workflow")
    body = {"inputs": {}, "response_mode": "streaming", "user": "abc-123"}
    run = api.operations["runWorkflow"]
    given: dict[str, Any] = {"path": {}, "query": {}, "headers": {}, "media_type": "application/json"}
    assert check_request(api.validators, run, **given, body=body).violations == ()
    del body["user"]
    (violation,) = check_request(api.validators, run, **given, body=body).violations
    assert violation.message == "required field `user` is missing"
    assert any(source.startswith("001:") for source in violation.violation.source)


TEXT = st.text(st.characters(), max_size=20)  # surrogates and NUL included
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PART = TEXT | st.fixed_dictionaries({"filename": TEXT, "content_type": TEXT, "size": st.integers(0)})
APIS = load_apis()
OPERATIONS = [(api.name, operation) for api in APIS.values() for operation in api.operations]


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """Draw an operation and a request whose parameters and fields have the right names and any values."""
    name, operation_id = draw(st.sampled_from(OPERATIONS))
    operation = APIS[name].operations[operation_id]
    given: dict[str, Any] = {"path": {}, "query": {}, "headers": {}}
    for parameter in operation.parameters:
        where = {"header": "headers"}.get(parameter.location, parameter.location)
        given[where][parameter.name] = draw(st.lists(TEXT, max_size=2) if where == "query" else TEXT)
    for media_type, media in operation.request.items():
        json_body = media_type.endswith("json")
        values = JSON if json_body else PART | st.lists(PART, max_size=2)
        fields = dict.fromkeys(APIS[name].validators.find_form_fields(media.pointer), values)
        body = st.fixed_dictionaries({}, optional=fields)
        given |= {"body": draw(body | JSON if json_body else body), "media_type": media_type}
    return name, operation_id, given


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=requests())
def test_no_request_is_so_wrong_that_it_cannot_be_told(drawn: tuple[str, str, dict[str, Any]]) -> None:
    """Whatever a client sends, the outcome is a list of violations with readable sentences."""
    name, operation_id, parts = drawn
    for violation in check(APIS[name], operation_id, **parts).violations:
        assert set(violation.as_mapping()) == {"field", "message", "rule", "location"}
        assert 0 < len(violation.message) < 3000
