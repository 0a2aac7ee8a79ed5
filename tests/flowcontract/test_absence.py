"""Nulls that stand for fields left out (`x-null: absent`): at any depth, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from flowcontract.schemas.absence import leave_out_nulls
from flowcontract.schemas.validators import MAX_DEPTH, Validators
from flowcontract.yamlio import loads

SCHEMAS = loads("""
Order:
  type: object
  required: [inputs, kind]
  properties:
    inputs: {type: object, additionalProperties: {$ref: '#/Value'}}
    kind: {type: string, x-null: absent}
    note: {type: string, x-null: absent}
    rating: {type: [string, 'null']}
    count: {type: integer}
    files: {type: array, x-null: absent, items: {$ref: '#/File'}}
    cover: {$ref: '#/File', x-null: absent}
  if: {properties: {kind: {const: long}}, required: [kind]}
  then: {properties: {pages: {type: integer, x-null: absent}}}
File:
  type: object
  properties: {url: {type: string, x-null: absent}}
Value:
  allOf:
    - if: {type: object, required: [url]}
      then: {$ref: '#/File'}
""")


def present(value: Any) -> Any:
    return leave_out_nulls(Validators(SCHEMAS), "/Order", value)


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"note": None, "count": 1}, {"count": 1}),
        ({"kind": None}, {}),
        ({"rating": None}, {"rating": None}),
        ({"count": None}, {"count": None}),
        ({"inputs": None}, {"inputs": None}),
        ({"nobody knows": None}, {"nobody knows": None}),
        ({"files": [{"url": None, "x": 1}, None]}, {"files": [{"x": 1}, None]}),
        ({"cover": None}, {}),
        ({"cover": {"url": None}}, {"cover": {}}),
        ({"inputs": {"a": None, "b": {"url": None}, "c": [None]}}, {"inputs": {"a": None, "b": {}, "c": [None]}}),
        ({"kind": "long", "pages": None}, {"kind": "long"}),
        ({"kind": "short", "pages": None}, {"kind": "short", "pages": None}),
        (None, None),
        ([None], [None]),
        ("text", "text"),
    ],
)
def test_null_is_left_out_where_the_schema_says_so(given: Any, left: Any) -> None:
    """Through references, items, conditions and `additionalProperties`; null that is a value, or unknown, stays."""
    assert present(given) == left


def test_what_was_sent_is_not_changed() -> None:
    """The journal shows the body as it came."""
    sent = {"note": None, "files": [{"url": None}]}
    assert present(sent) == {"files": [{}]}
    assert sent == {"note": None, "files": [{"url": None}]}


def test_a_value_that_is_nested_too_deeply_is_left_to_the_validator() -> None:
    """It says what is wrong; nothing overflows before."""
    deep: Any = None
    for _ in range(MAX_DEPTH + 50):
        deep = [deep]
    assert present({"note": None, "inputs": deep})["note"] is None
