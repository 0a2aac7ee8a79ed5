"""One word per thing: names of modules, classes and functions have none of the words that the glossary rules out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("flowcontract", "mockserver", "contract_tests")


def forbidden() -> set[str]:
    """Return the left column of the glossary's last table in ARCHITECTURE.md."""
    table = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("| not | but |")[1]
    return {word for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)}


def parts(name: str) -> list[str]:
    """Return the words of a name, `snake_case` or `CamelCase`."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def names(path: Path) -> Iterator[str]:
    """Yield the names of a module, its classes and its functions."""
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name


@pytest.mark.parametrize("package", PACKAGES)
def test_names_have_no_word_that_the_glossary_rules_out(package: str) -> None:
    """A name that is red has a standard term beside it in the table."""
    ruled_out = forbidden()
    assert [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in names(path)
        if ruled_out.intersection(parts(name))
    ] == []


def test_glossary_rules_out_words() -> None:
    """The table is there and is read; a name is taken apart in both styles."""
    assert {"wish", "past", "keeping", "acts", "deserted"} <= forbidden()
    assert parts("_ScenarioWish") == ["scenario", "wish"]
    assert parts("keeping_of_HTTP2_wishes") == ["keeping", "of", "http", "2", "wishes"]
