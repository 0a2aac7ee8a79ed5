"""The mock gives no status that the release does not give, except where a ruling says why."""

from __future__ import annotations

import contextlib
import json

import asked_cases
import pytest
from asked_cases import API, DIFFERENCES, MOCKS, answered, exceptions, other_shapes, other_statuses, questions

from flowcontract.specs.model import load_api


def test_everything_is_asked() -> None:
    """All requests of the list have a name of their own and an answer of both releases."""
    names = [question.name for question in questions()]
    assert len(set(names)) == len(names) == 215
    assert all(set(question.answers) == set(asked_cases.RELEASES) for question in questions())
    assert all(set(answered(mock)) == set(names) for mock in MOCKS)


def test_no_status_is_another_without_a_ruling() -> None:
    """By default the mock answers as the newer release, under a profile as that release; the exceptions are listed."""
    assert {pair: _told(*pair) for pair in other_statuses() - set(exceptions().statuses)} == {}


def test_no_outline_is_another_without_a_ruling() -> None:
    """Media type, fields, and of a refusal what it says of which field in Pydantic's words; exceptions are listed."""
    assert {pair: _told(*pair) for pair in other_shapes() - set(exceptions().shapes)} == {}


@pytest.mark.parametrize("mock", MOCKS)
def test_what_is_null_is_null_in_both(mock: str) -> None:
    """Of every field that both tell in the answer to the same run: a colour, an icon, a usage of tokens.

    What a message comes from depends on the flow.
    """
    compared = 0
    for question in questions():
        was, now = question.answers[MOCKS[mock]], answered(mock)[question.name]
        if question.name.startswith("run") and was.status == now.status == 200:
            kinds, its = list_kinds(was.body), list_kinds(now.body)
            fields = {field for field in kinds.keys() & its.keys() if "/source/" not in field}
            assert {field: its[field] - kinds[field] for field in fields if its[field] - kinds[field]} == {}, question
            compared += len(fields)
    assert compared > 500


def list_kinds(body: str) -> dict[str, set[str]]:
    """Return the kinds of values, `NoneType` or `str`, of each place of an answer, be it one JSON text or several."""
    found: dict[str, set[str]] = {}
    waiting: list[tuple[str, object]] = []
    for text in body.split("\n\n"):
        with contextlib.suppress(json.JSONDecodeError):  # the recording has the beginning of a long answer
            waiting.append(("", json.loads(text)))
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{place}/{name}", each) for name, each in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{place}/*", each) for each in value]
        else:
            found.setdefault(place, set()).add(type(value).__name__)
    return found


def _told(mock: str, name: str) -> tuple[str, str]:
    question = next(question for question in questions() if question.name == name)
    was, now = question.answers[MOCKS[mock]], answered(mock)[name]
    return f"{was.status} {was.body[:300]}", f"{now.status} {now.body[:300]}"


def test_every_exception_is_one() -> None:
    """An entry that explains nothing any more is to be deleted, and each names a ruling that there is."""
    assert set(exceptions().statuses) - other_statuses() == set()
    assert set(exceptions().shapes) - other_shapes() == set()
    named = {*exceptions().statuses.values(), *exceptions().shapes.values()}
    assert named - set(load_api(API).rulings) == set()


def test_most_answers_are_no_exceptions() -> None:
    """The list of exceptions stays short: who adds one has to look at what the releases do."""
    for mock, most in (("default", 16), ("1.4", 2), ("1.13", 1)):
        assert sum(each == mock for each, _ in exceptions().statuses) <= most


def test_the_page_about_the_differences_is_up_to_date() -> None:
    """`python tests/asked_cases.py` writes it."""
    assert DIFFERENCES.read_text(encoding="utf-8") == asked_cases.report()


@pytest.mark.parametrize("word", ["1", "yes", "on", "t", "y", "TRUE", "On", "0", "no", "off", "f", "n", "False"])
def test_a_boolean_of_the_query_is_read_as_pydantic_reads_it(word: str) -> None:
    """Beside the printed `true` and `false`, in capitals or not."""
    parameters = load_api(API).operations["runFlow"].parameters
    parameter = next(parameter for parameter in parameters if parameter.name == "stream")
    assert asked_cases.decoded(parameter.pointer, word) is (word.lower() in ("1", "yes", "on", "t", "y", "true"))


@pytest.mark.parametrize(
    "text",
    [
        "59C462EA-BAD0-4BA1-8D1A-1214A8CEC632",
        "59c462eabad04ba18d1a1214a8cec632",
        "{59c462ea-bad0-4ba1-8d1a-1214a8cec632}",
        "urn:uuid:59c462ea-bad0-4ba1-8d1a-1214a8cec632",
    ],
)
def test_an_id_is_read_as_pydantic_reads_it(text: str) -> None:
    """In capitals, without hyphens, in braces or as a URN it is the same id."""
    parameter = load_api(API).operations["downloadUserFile"].parameters[0]
    assert asked_cases.decoded(parameter.pointer, text) == "59c462ea-bad0-4ba1-8d1a-1214a8cec632"
