"""Writes docs/explanation/upgrade.md from a comparison: `python tests/langflow/table.py DIR/compare.json DATE`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "upgrade.md"
_HEAD = """# Langflow 1.4.3 and 1.13.0, side by side

What `nox -s upgrade` found on {date}: both releases from PyPI, on loopback, with SQLite, asked the same twice.
{total} differences came each time. Those that are the same in several places or operations are one row; a `*`
stands for a word with digits, `ID` for an id (where both releases have one, it agrees with others in one of them
only), and in times each digit is a zero. Each value stands in the answers of both rounds.

| operations | status | where | 1.4.3 | 1.13.0 | the contract |
|---|---|---|---|---|---|
"""
_TAIL = """
Where the contract allows both, no document says more; the profiles `agentbuilder=1.4` and `agentbuilder=1.13` have
each release's own words and fields, and the mock answers as either of them (`--profile`). The new release mends what
the old one let in without a key, and answers 404 where the old one failed with 500; it takes wrong bodies of a run for
an empty request, which the old one refused.
"""
_INVENTED = re.compile(r"[\w-]*\d[\w-]*")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r'"\d{4}-\d\d-\d\d[ T][^"]*"')
_SHOWN = 60


def main(compared: str, date: str) -> None:
    """Write the page."""
    found = json.loads(Path(compared).read_text(encoding="utf-8"))["differences"]
    rows: dict[tuple[str, ...], list[str]] = {}
    for each in found:
        rows.setdefault(_describe(each), []).append(each["operation"].partition("/")[2])
    lines = [_write_row(row, operations) for row, operations in sorted(rows.items(), key=lambda item: _rank(item[0]))]
    text = _HEAD.format(date=date, total=len(found)) + "\n".join(lines) + "\n" + _TAIL
    PAGE.write_text(text, encoding="utf-8")


def _rank(row: tuple[str, ...]) -> tuple[bool, str, str]:
    return row[4].startswith("both"), row[1] != "status", "|".join(row)


def _describe(difference: dict[str, Any]) -> tuple[str, ...]:
    """Return status, place, both values and the contract's word of a difference, without what is only its own."""
    what = re.sub(r"^.*/", ".../", difference["what"]) if difference["what"].count("/") > 2 else difference["what"]
    verdict = difference["verdict"].replace("the contract allows both", "both").replace(" server is right", "")
    by = next((line.rpartition(", by ")[2] for line in difference["because"] if ", by " in line), "")
    by = re.sub(r" \[\w[\w-]*\]( \(\d+ times\))?$", "", by)
    lines = ", ".join(re.findall(r"\d{3}:[\d-]+|ruling [\w-]+", by)) or by
    values = (_shorten(difference["old"]), _shorten(difference["new"]))
    return difference["status"], what, *values, f"{verdict}{f': {lines}' if lines else ''}"


def _shorten(value: str) -> str:
    """Return a value without what a run invents; a status stays."""
    if not value:
        return ""
    if _TIME.fullmatch(value):
        return f"`{re.sub('[0-9]', '0', value)}`"
    value = re.sub(r"/tmp/tmp\w+", "/tmp/*", _UUID.sub("ID", value))
    text = value if re.fullmatch(r"[1-5]\d\d", value) else _INVENTED.sub("*", value)
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"`{text.replace('`', chr(39))}`".replace("|", "\\|").replace("\n", " ")


def _write_row(row: tuple[str, ...], operations: list[str]) -> str:
    status, what, old, new, word = row
    names = list(dict.fromkeys(operations))
    shown = ", ".join(names) if len(names) <= 3 else f"{len(names)} operations"
    return f"| {shown} | {status} | {what} | {old or 'absent'} | {new or 'absent'} | {word} |"


if __name__ == "__main__":
    main(*sys.argv[1:])
