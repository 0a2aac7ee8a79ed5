"""The rooms of ARCHITECTURE.md hold: who may import whom, and what the contract's reader must not know."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "flowcontract": {"mockserver", "contract_tests", "pytest", "werkzeug", "socket", "socketserver", "http.server"},
    "mockserver": {"contract_tests"},
    "contract_tests": {"mockserver"},
}


def imports(path: Path) -> set[str]:
    """Return every module that a file imports, with the packages above it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_no_room_above_it(room: str) -> None:
    """Neither program imports the other, and the contract's reader imports no server and no test runner."""
    files = sorted((ROOT / room).rglob("*.py"))
    assert files, f"no modules in {room}"
    wrong = {str(path.relative_to(ROOT)): sorted(imports(path) & FORBIDDEN[room]) for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_every_module_opens_with_a_sentence() -> None:
    """A newcomer learns from the first line of each module what it is for."""
    files = [path for room in FORBIDDEN for path in sorted((ROOT / room).rglob("*.py"))]
    silent = [str(path) for path in files if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []


def test_architecture_names_every_module_of_the_contract_reader() -> None:
    """ARCHITECTURE.md is the true picture: each module of flowcontract stands in it, and nothing that is gone."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = text.split("## Rooms")[1].split("```")[1].split("flowcontract/ ")[1].split("mockserver/ ")[0]
    drawn = {line.split()[0].rstrip("/") for line in rooms.splitlines()[1:] if line.startswith("  ")}
    there = {path.stem for path in (ROOT / "flowcontract").glob("*.py")} | {
        path.parent.name for path in (ROOT / "flowcontract").glob("*/__init__.py")
    }
    assert {name.removesuffix(".py") for name in drawn} == there - {"__init__"}
