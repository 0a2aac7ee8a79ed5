"""A comparison as text, JSON or Markdown."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from flowcontract.diff.change import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from flowcontract.diff.change import Change


def render_text(changes: Sequence[Change]) -> str:
    """Return one block per operation, the most serious change first, and a line that counts."""
    lines: list[str] = []
    for operation, found in _by_operation(changes).items():
        lines.append(operation)
        for change in found:
            lines.append(f"  {_levels(change):36} {change.place}: {change.what}")
            lines += [f"  {'':36} for instance: {' '.join(change.example)}"] if change.example else []
        lines.append("")
    return "\n".join([*lines, _count(changes)])


def render_markdown(changes: Sequence[Change]) -> str:
    """Return a table per operation."""
    lines: list[str] = []
    for operation, found in _by_operation(changes).items():
        lines += [f"### {operation}", "", "| clients | servers | where | what |", "|---|---|---|---|"]
        for change in found:
            example = f"<br>for instance: `{' '.join(change.example)}`" if change.example else ""
            what = change.what.replace("|", "\\|")
            lines.append(f"| {change.clients} | {change.servers} | {change.place} | {what}{example} |")
        lines.append("")
    return "\n".join([*lines, _count(changes)])


def render_json(changes: Sequence[Change]) -> str:
    """Return a list of objects, each with the fields of a change."""
    names = ("operation", "place", "what", "clients", "servers", "example")
    return json.dumps([{name: getattr(change, name) for name in names} for change in changes], indent=1)


FORMATS: dict[str, Callable[[Sequence[Change]], str]] = {
    "text": render_text,
    "markdown": render_markdown,
    "json": render_json,
}


def _by_operation(changes: Iterable[Change]) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.operation, []).append(change)
    return found


def _levels(change: Change) -> str:
    return f"{change.clients} for clients, {change.servers} for servers"


def _count(changes: Sequence[Change]) -> str:
    if not changes:
        return "No changes."
    return f"{len(changes)} changes: {'; '.join(_counted(changes))}."


def _counted(changes: Sequence[Change]) -> Iterator[str]:
    for side in ("clients", "servers"):
        counts = Counter(getattr(change, side) for change in changes)
        yield f"for {side} " + ", ".join(f"{counts[level]} {level}" for level in reversed(Level) if counts[level])
