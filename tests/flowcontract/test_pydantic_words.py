"""A wrong request in Pydantic's words; texts that no recording has are those of https://docs.rs/uuid and Pydantic."""

from __future__ import annotations

from typing import Any

import pytest

from flowcontract.scenarios.expressions import RequestView
from flowcontract.schemas.decoding import parse_json
from flowcontract.specs.model import load_api
from flowcontract.validation.pydantic_words import build_no_json_entry, group_entries, list_entries, shorten
from flowcontract.validation.request import check_request

ID = "59c462ea-bad0-4ba1-8d1a-1214a8cec632"


def said(operation_id: str, *, path: str = ID, query: Any = None, body: Any = None) -> list[dict[str, Any]]:
    """Return the entries for a request of AgentBuilder."""
    api = load_api("agentbuilder")
    operation = api.operations[operation_id]
    name = next(parameter.name for parameter in operation.parameters if parameter.location == "path")
    sent = {"path": {name: path}, "query": query or {}, "headers": {}}
    given = {} if body is None else {"body": body, "media_type": "application/json"}
    checked = check_request(api.validators, operation, **sent, **given)
    view = RequestView(path={name: path}, query={key: values[0] for key, values in (query or {}).items()}, body=body)
    return [entry for found in checked.violations for entry in list_entries(found, view)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "nope",
            "invalid character: expected an optional prefix of `urn:uuid:` followed by [0-9a-fA-F-], found `n` at 1",
        ),
        (
            f"{ID}.txt",
            "invalid character: expected an optional prefix of `urn:uuid:` followed by [0-9a-fA-F-], found `.` at 37",
        ),
        ("abc", "invalid length: expected length 32 for simple format, found 3"),
        (f"{ID}-0", "invalid group count: expected 5, found 6"),
        ("59c462ea-bad-4ba1-8d1a-1214a8cec632", "invalid group length in group 1: expected 4, found 3"),
    ],
)
def test_what_is_no_id_is_told_by_its_first_wrong_character_or_group(text: str, why: str) -> None:
    """The message, the same as `ctx.error`, and what was sent."""
    assert said("downloadUserFile", path=text) == [
        {
            "type": "uuid_parsing",
            "loc": ["path", "file_id"],
            "msg": f"Input should be a valid UUID, {why}",
            "input": text,
            "ctx": {"error": why},
        }
    ]


def test_every_violation_of_a_request_is_told() -> None:
    """The query first, then the body; what was sent stands beside each."""
    found = said(
        "runFlow", query={"stream": ["maybe"]}, body={"input_type": "x", "session_id": 5, "tweaks": {"a": True}}
    )
    assert [(entry["type"], entry["loc"], entry["input"]) for entry in found] == [
        ("bool_parsing", ["query", "stream"], "maybe"),
        ("literal_error", ["body", "input_type"], "x"),
        ("string_type", ["body", "session_id"], 5),
        ("string_type", ["body", "tweaks", "a", "str"], True),
        ("dict_type", ["body", "tweaks", "a", "dict[str,any]"], True),
        ("float_type", ["body", "tweaks", "a", "float"], True),
    ]
    assert found[1]["msg"] == "Input should be 'chat', 'text' or 'any'"
    assert found[1]["ctx"] == {"expected": "'chat', 'text' or 'any'"}


@pytest.mark.parametrize("body", [[], "text", 5])
def test_a_body_that_is_no_object_is_told_as_a_whole(body: Any) -> None:
    """There is no field to name."""
    (entry,) = said("runFlow", body=body)
    assert (entry["type"], entry["loc"], entry["input"]) == ("model_attributes_type", ["body"], body)


@pytest.mark.parametrize(
    ("raw", "position", "why"),
    [
        ("{", 1, "Expecting property name enclosed in double quotes"),
        ('{"input_value":', 15, "Expecting value"),
        ('{"a": NaN}', 0, "NaN is not JSON"),
    ],
)
def test_a_body_that_is_no_json_is_told_with_its_place(raw: str, position: int, why: str) -> None:
    """Where the parser knows one; our own rules do not."""
    with pytest.raises(ValueError, match=why) as caught:
        parse_json(raw)
    entry = build_no_json_entry(caught.value)
    assert (entry["loc"], entry["input"], entry["ctx"]) == (["body", position], {}, {"error": why})


def test_terse_entries_leave_out_what_was_sent() -> None:
    """Newer servers repeat neither the input nor the context, and say less of what an id may be."""
    (terse,) = group_entries(said("downloadUserFile", path="nope"))["terse_entries"]
    message = "Input should be a valid UUID, invalid character: found `n` at 1"
    assert terse == {"type": "uuid_parsing", "loc": ["path", "file_id"], "msg": message}


def test_a_missing_parameter_is_told_without_a_value() -> None:
    """`input` is null, as nothing was sent."""
    missing = {"type": "missing", "loc": ["query", "name"], "msg": "Field required", "input": None}
    assert said("renameUserFile") == [missing]


@pytest.mark.parametrize(
    "sent",
    [
        "x" * 1_000_000,
        list(range(100_000)),
        {"a": {"b": ["x" * 1_000_000]}},
        {f"name {number}": number for number in range(100_000)},
        {"n" * 1_000_000: 1},
    ],
    ids=["text", "list", "nested", "fields", "name"],
)
def test_of_what_is_long_the_beginning_is_said_again(sent: Any) -> None:
    """A megabyte comes back as four kilobytes of the same type, wherever in the value it stands."""
    short = shorten(sent)
    assert type(short) is type(sent)
    assert 2000 < len(str(short)) < 16_000
    assert str(sent)[:900] == str(short)[:900]
    assert shorten({"a": [1, None, "b"]}) == {"a": [1, None, "b"]}


def test_no_name_makes_an_entry_long() -> None:
    """Names come from the client, too: neither the place nor the message is as long as they are."""
    entry, *_ = said("runFlow", body={"tweaks": {"k" * 1_000_000: [1]}})
    assert len(str(entry)) < 10_000
