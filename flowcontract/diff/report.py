"""A comparison as text, JSON or Markdown: each change once, what breaks clients first."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from flowcontract.diff.change import Level
from flowcontract.diff.groups import Group, group_changes, list_sections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowcontract.diff.change import Change

_WIDTH = 120
_RESPONSE = re.compile(r"response (\d+) (.*)")
_HEAD = ("| clients | servers | where | what |", "|---|---|---|---|")
_FIELDS = ("operations", "schema", "places", "field", "what", "clients", "servers", "example")


def render_text(changes: Sequence[Change]) -> str:
    """Return a section for each level, in it the changes by the operations that they concern, and their number."""
    groups = group_changes(changes)
    lines: list[str] = []
    for heading, blocks in list_sections(groups):
        lines += [heading.upper(), ""]
        for operations, found in blocks:
            lines += _wrap(_describe_operations(operations), "")
            for group in found:
                lines += _wrap(f"{group.subject}: {group.what}{_describe_levels(group)}", "  - ")
                lines += _wrap(f"in {_describe_places(group.places)}", "    ") if group.schema else []
                lines += _wrap(f"for instance: {' '.join(group.example)}", "    ") if group.example else []
            lines.append("")
    return "\n".join([*lines, _count(groups)])


def render_markdown(changes: Sequence[Change]) -> str:
    """Return the text of `render_text` as Markdown, with headings and tables."""
    groups = group_changes(changes)
    lines: list[str] = []
    for heading, blocks in list_sections(groups):
        lines += [f"## {heading[0].upper()}{heading[1:]}", ""]
        for operations, found in blocks:
            lines += [
                f"### {_describe_operations(operations)}",
                "",
                "| clients | servers | where | what |",
                "|---|---|---|---|",
            ]
            lines += [_render_row(group) for group in found]
            lines.append("")
    return "\n".join([*lines, _count(groups)])


def render_json(changes: Sequence[Change]) -> str:
    """Return a list of objects, each with the fields of a group, in the order of the text."""
    groups = [group for _, blocks in list_sections(group_changes(changes)) for _, found in blocks for group in found]
    return json.dumps([{name: getattr(group, name) for name in _FIELDS} for group in groups], indent=1)


FORMATS: dict[str, Callable[[Sequence[Change]], str]] = {
    "text": render_text,
    "markdown": render_markdown,
    "json": render_json,
}


def _render_row(group: Group) -> str:
    where = group.subject + (f"<br>in {_describe_places(group.places)}" if group.schema else "")
    example = f"<br>for instance: `{' '.join(group.example)}`" if group.example else ""
    cells = (group.clients, group.servers, where, group.what + example)
    escaped = " | ".join(cell.replace("|", "\\|") for cell in cells)
    return f"| {escaped} |"


def _describe_operations(operations: Sequence[str]) -> str:
    """Return `dify-chat/getInfo`, or `dify-chat, 2 operations: getInfo, getMeta`."""
    if len(operations) == 1:
        return operations[0]
    api = operations[0].partition("/")[0]
    names = ", ".join(name.partition("/")[2] or name for name in operations)
    return f"{api}, {len(operations)} operations: {names}"


def _describe_places(places: Sequence[str]) -> str:
    """Return `response 401, 404 application/json, request body text/plain`: statuses are grouped."""
    statuses: dict[tuple[str, ...], list[int]] = {}
    for place in places:
        found = _RESPONSE.fullmatch(place)
        statuses.setdefault(("response", found[2]) if found else (place,), []).extend([int(found[1])] if found else [])
    return ", ".join(
        " ".join([key[0], ", ".join(map(str, sorted(numbers))), *key[1:]]).strip() for key, numbers in statuses.items()
    )


def _describe_levels(group: Group) -> str:
    """Return who has to look at a change, where its heading leaves that open."""
    sides = [side for side in ("clients", "servers") if getattr(group, side) is Level.LOOK]
    return f" (for {sides[0]}: look)" if len(sides) == 1 else ""


def _wrap(text: str, bullet: str) -> list[str]:
    """Return a text as lines that fit a terminal; those after the first are indented as far as the bullet."""
    hanging = " " * (len(bullet) if bullet.strip() else len(bullet) + 2)
    return textwrap.wrap(
        text, _WIDTH, initial_indent=bullet, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )


def _count(groups: Sequence[Group]) -> str:
    if not groups:
        return "No changes."
    sides = []
    for side in ("clients", "servers"):
        counts = Counter(getattr(group, side) for group in groups)
        sides.append(
            f"for {side} " + ", ".join(f"{counts[level]} {level}" for level in reversed(Level) if counts[level])
        )
    return f"{len(groups)} change{'s' if len(groups) > 1 else ''}: {'; '.join(sides)}."
