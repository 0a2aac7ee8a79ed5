"""The template environment: everything is escaped, unprintable characters included."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from flowcontract.output.printable import make_printable


@cache
def get_environment() -> jinja2.Environment:
    """Return the environment for the templates of this folder; an undefined name is an error."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("contract_tests.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_escape_unprintable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["cell"] = _escape_cell
    return found


def _escape_unprintable(value: Any) -> Any:
    """Escape unprintable characters: HTML cannot hold NUL, and nobody sees ESC."""
    return make_printable(value, lines=True) if isinstance(value, str) and not isinstance(value, Markup) else value


def _escape_cell(value: str) -> Markup:
    """Return a text for a cell of a Markdown table: on one line, special characters as HTML entities."""
    flat = " ".join(make_printable(value, lines=True).split())
    special = {"|": "&#124;", "`": "&#96;", "*": "&#42;", "_": "&#95;", "[": "&#91;", "@": "&#64;", "\\": "&#92;"}
    return Markup("").join(Markup(special[c]) if c in special else c for c in flat)  # noqa: S704 - escapes, by joining


def read_template(name: str) -> str:
    """Return the source text of a template."""
    environment_loader = get_environment().loader
    assert environment_loader is not None
    return environment_loader.get_source(get_environment(), name)[0]
