"""YAML is read with JSON's types only, and every mistake in it is told with its line."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flowcontract import pointers, yamlio
from flowcontract.errors import SpecError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("Yes", "Yes"),
        ("12:30", "12:30"),
        ("001:25", "001:25"),
        ("2024-01-01", "2024-01-01"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        (".5", ".5"),
        ("true", True),
        ("null", None),
        ("-3", -3),
        ("1.50", 1.5),
        ("2e3", 2000.0),
    ],
)
def test_a_plain_scalar_has_the_type_json_would_give_it(text: str, value: object) -> None:
    """What YAML 1.1 turns into booleans, dates, octals or minutes stays text."""
    loaded = yamlio.loads(text)
    assert loaded == value
    assert type(loaded) is type(value)


def test_a_status_key_is_text() -> None:
    """JSON knows only text as a key, so an unquoted status is text as well."""
    assert yamlio.loads("200: ok") == {"200": "ok"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\na: 2", 'line 2: key "a" twice'),
        ("a: [1, 2", "line 2: did not find"),
        ("x: 1\n? [a]\n: 2", "line 2: a key that is not text"),
        ("a: !!python/object:os.system {}", "line 1: could not determine a constructor"),
        ("a: *nowhere", "line 1: found undefined alias"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, complaint: str) -> None:
    """The message names the text, the line and the fault."""
    with pytest.raises(SpecError, match=r"demo\.yaml, ") as caught:
        yamlio.loads(text, name="demo.yaml")
    assert complaint in str(caught.value)


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    """A text that nests deeper than the reader can follow is refused."""
    with pytest.raises(SpecError):
        yamlio.loads("[" * 100_000)


def test_every_value_knows_its_line() -> None:
    """A finding can point at the line of any JSON pointer."""
    lines = yamlio.locate_lines("a:\n  b: 1\n  c/d:\n    - x\n    - {y: 1}\n")
    assert lines == {"": 1, "/a": 1, "/a/b": 2, "/a/c~1d": 3, "/a/c~1d/0": 4, "/a/c~1d/1": 5, "/a/c~1d/1/y": 5}


@pytest.mark.parametrize(("pointer", "value"), [("", {"a/b": [0, {"~": 1}]}), ("/a~1b/1/~0", 1), ("/a~1b/0", 0)])
def test_a_pointer_finds_its_value(pointer: str, value: object) -> None:
    """JSON pointers are read as RFC 6901 says."""
    assert pointers.resolve({"a/b": [0, {"~": 1}]}, pointer) == value


@pytest.mark.parametrize("pointer", ["/x", "/a~1b/2", "/a~1b/-1", "/a~1b/0/0"])
def test_a_pointer_to_nothing_is_a_key_error(pointer: str) -> None:
    """A pointer that leads nowhere is never taken for a value that is null."""
    with pytest.raises(KeyError):
        pointers.resolve({"a/b": [0, {"~": 1}]}, pointer)


LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        (LAUGHS, 6, "aliases repeat more than 100000 values"),
        (f"a: &a {'x' * 1_000_000}\nb: [{', '.join(['*a'] * 1000)}]", 2, "aliases repeat more than 100000 values"),
        ("a: &a [1, 2, *a]\n", 1, "contains itself"),
        ("a: 1\nb: &b\n  c: {d: *b}\n", 3, "contains itself"),
        (
            "a0: &a0 [x]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 400)),
            201,
            "aliases nest more than 200 deep",
        ),
    ],
    ids=["laughs", "long text", "itself", "itself below", "deep"],
)
@pytest.mark.parametrize("read", [yamlio.loads, yamlio.locate_lines])
def test_aliases_that_stand_for_too_much_are_refused(read: Any, text: str, line: int, complaint: str) -> None:
    """A few lines may stand for a billion values; nobody waits for them, and the line is told."""
    with pytest.raises(SpecError, match=complaint) as caught:
        read(text)
    told = re.search(r"line (\d+):", str(caught.value))
    assert told is not None
    assert abs(int(told[1]) - line) <= 1


def test_ordinary_aliases_are_read() -> None:
    """They stand for what they name, also in several places."""
    assert yamlio.loads("a: &a {b: 1}\nc: [*a, *a]") == {"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}]}
    assert yamlio.locate_lines("a: &a {b: 1}\nc: [*a, *a]")["/c/1/b"] == 1
