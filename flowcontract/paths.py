"""Where `specs/` and `fixtures/` are: inside the installed wheel, or in the checkout that holds the package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _find_data(name: str) -> Path:
    packaged = _PACKAGE / "_data" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name


def find_specs_root() -> Path:
    """Return the folder with one folder per API and `sources.yaml`."""
    return _find_data("specs")


def find_fixtures_root() -> Path:
    """Return the folder with the scenarios that come with the package."""
    return _find_data("fixtures")
