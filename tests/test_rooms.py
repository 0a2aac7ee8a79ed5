"""The rooms of ARCHITECTURE.md hold: who may import whom, and what the contract's reader must not know."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "flowcontract": {"mockserver", "contract_tests", "pytest", "werkzeug", "socket", "socketserver", "http.server"},
    "mockserver": {"contract_tests"},
    "contract_tests": {"mockserver"},
}
ARROWS = {
    "flowcontract": {
        "errors": "sorting",
        "yamlio": "errors pointers",
        "provenance": "errors paths pointers yamlio",
        "config_file": "errors",
        "output": "errors",
        "schemas": "pointers provenance",
        "streams": "errors pointers provenance schemas",
        "recordings": "errors schemas specs streams",
        "specs": "errors output paths pointers provenance schemas sorting streams yamlio",
        "diff": "errors schemas specs streams",
        "scenarios": "errors paths pointers provenance schemas specs streams yamlio",
        "validation": "pointers provenance scenarios schemas specs",
        "lint": "errors output paths pointers provenance scenarios schemas specs streams validation yamlio",
        "cli": "diff errors lint output",
        "__main__": "cli",
    },
    "mockserver": {
        "http": "blobs",
        "request": "blobs caching http",
        "state": "blobs caching http request",
        "behaviours": "blobs caching http request state",
        "config": "state",
        "faults": "blobs http state",
        "journal": "blobs http request state",
        "scenarios": "blobs faults http request state",
        "torture": "faults http",
        "importing": "blobs faults http request",
        "core": "behaviours caching config faults http journal request scenarios state torture",
        "proxy": "blobs core faults http journal request scenarios",
        "admin": "core faults http journal request scenarios state torture",
        "testing": "core journal proxy torture",
        "server": "admin blobs caching config core http scenarios testing",
        "__init__": "config server",
        "assistant": "faults journal proxy",
        "cli": "admin assistant config faults importing journal proxy server state torture",
        "__main__": "cli",
    },
    "contract_tests": {
        "judging": "http",
        "cases": "http judging",
        "report": "http judging",
        "config": "cases http",
        "suite": "cases http judging report",
        "journeys": "cases http judging suite",
        "plugin": "cases config http journeys report suite",
        "cli": "config http judging plugin report",
        "__main__": "cli",
    },
}
"""Package -> room -> the rooms of its package that it may import, also for types alone. There is no circle."""


def modules(package: str) -> list[Path]:
    """Return the modules of a package."""
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"no modules in {package}"
    return found


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, with what it takes from it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(package: str, path: Path) -> str:
    """Return the room that a module is in: its sub-package, or itself."""
    return path.relative_to(ROOT / package).parts[0].removesuffix(".py")


@pytest.mark.parametrize("package", FORBIDDEN)
def test_package_imports_none_above_it(package: str) -> None:
    """Neither program imports the other, and the contract's reader imports no server and no test runner."""
    wrong = {
        (str(path.relative_to(ROOT)), name)
        for path in modules(package)
        for name in imports(path)
        for forbidden in FORBIDDEN[package]
        if f"{name}.".startswith(f"{forbidden}.")
    }
    assert wrong == set()


@pytest.mark.parametrize("package", ARROWS)
def test_room_imports_only_what_it_may(package: str) -> None:
    """Each arrow is in the table, and each one of the table is used."""
    found: dict[str, set[str]] = {}
    for path in modules(package):
        here = room(package, path)
        names = (name.split(".") for name in imports(path))
        targets = {parts[1] for parts in names if parts[0] == package and len(parts) > 1}
        found.setdefault(here, set()).update(targets - {here})
    found = {here: targets for here, targets in found.items() if targets}
    assert found == {here: set(targets.split()) for here, targets in ARROWS[package].items()}


@pytest.mark.parametrize("package", ARROWS)
def test_arrows_make_no_circle(package: str) -> None:
    """There is an order in which every room stands on those below it alone."""
    TopologicalSorter({here: targets.split() for here, targets in ARROWS[package].items()}).prepare()


def test_every_module_opens_with_a_sentence() -> None:
    """A newcomer learns from the first line of each module what it is for."""
    silent = [
        str(path)
        for package in FORBIDDEN
        for path in modules(package)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


@pytest.mark.parametrize("package", FORBIDDEN)
def test_architecture_shows_every_room(package: str) -> None:
    """ARCHITECTURE.md is the true picture: each room of a package stands in it, and none that is gone."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("## Rooms")[1].split("```")[1]
    lines = text.split(f"\n{package}/")[1].splitlines()[1:]
    drawn: set[str] = set()
    for line in lines:
        if not line.startswith("  "):
            break
        names = [word for word in line[2:].split("  ")[0].split() if word.endswith(("/", ".py"))]
        drawn.update(name.rstrip("/").removesuffix(".py") for name in names)
    there = {room(package, path) for path in modules(package)} - {"__init__", "__main__"}
    assert drawn == there
