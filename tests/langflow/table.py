"""Writes docs/explanation/upgrade.md from a comparison: `python tests/langflow/table.py DIR/compare.json DATE`.

`confirmed.yaml` says where each row was seen by something else than the suite: in the notes and recordings of both
releases that were made before, or in the answers to a command that was typed by hand. A row without is refused.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from flowcontract.specs.model import load_api

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "upgrade.md"
CONFIRMED = Path(__file__).parent / "confirmed.yaml"
OPERATIONS = list(load_api("agentbuilder").operations)
_HEAD = """# Langflow 1.4.3 and 1.13.0, side by side

Who upgrades has to look at these first:

- Every operation needs its key: 1.4.3 gave a file of a flow to whoever knew its name, and took uploads to `/v1/upload`.
- A deleted file of the account is told in `detail`, no longer in `message`. Texts of 401 and 403 are others, except a
  run's; `input` and `ctx` of a 422 are gone.
- `path` of a file of the account ends in its name, not its id.
- An unknown file of the account, or of an unknown flow, is a 404, where it was a 500. A run on a file that is not there
  is a 500, where it was a 404; so is a run on a path outside of the account's storage.
- A stream that fails says `error`; it ended without a word.
- Both messages of a run have an id each; 1.4.3 gave them the same. The Chat Output's repeats no `files`.
- Times end in a zone, those of messages have microseconds.
- A run with a field of a wrong type or value is an empty one, answered with 200; the body `null` is a 422.

## All differences

What `nox -s upgrade` found on {date}: both releases from PyPI, on loopback, with SQLite, asked the same twice.
{total} differences came each time. Those that are the same in several places or operations are one row; a `*`
stands for a word with digits, `ID` for an id, and in times each digit is a zero. Each row was seen elsewhere, too: in
the notes on both releases, in recordings of the same call to both (their names), or [by hand](#asked-by-hand).

| operations | status | where | 1.4.3 | 1.13.0 | the contract | seen in |
|---|---|---|---|---|---|---|
"""
_TAIL = """
Where the contract allows both, no document says more; the profiles `agentbuilder=1.4` and `agentbuilder=1.13` have
each release's own words and fields, and the mock answers as either of them (`--profile`).

## Asked by hand

With `curl`, on {asked}, against both servers as `nox -s upgrade` starts them, with a key unless the request says else;
`$FLOW` is a Chat Input and a Chat Output, `$FILE_FLOW` a File and a Chat Output, `$NAME` and `$PICTURE` are files of
the flow, `$FILE` is one of the account `$USER`.

| name | request | 1.4.3 | 1.13.0 |
|---|---|---|---|
{by_hand}

## Only in the recordings

What the suite does not ask, or not so:

| operation | recording | 1.4.3 | 1.13.0 |
|---|---|---|---|
{beside}
"""
_INVENTED = re.compile(r"[\w-]*\d[\w-]*")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r'"\d{4}-\d\d-\d\d[ T][^"]*"')
_SHOWN, _SHOWN_OF_MANY = 60, 36  # characters of a value, and of a list or an object


def main(compared: str, date: str) -> None:
    """Write the page; raise LookupError naming the rows that nobody has confirmed."""
    found = json.loads(Path(compared).read_text(encoding="utf-8"))["differences"]
    confirmed = yaml.safe_load(CONFIRMED.read_text(encoding="utf-8"))
    rows: dict[tuple[str, ...], list[str]] = {}
    for each in found:
        rows.setdefault(_describe(each), []).append(each["operation"].partition("/")[2])
    ordered = sorted(rows.items(), key=lambda item: _rank(item[0]))
    named = [(name_row(row, operations), row[4]) for row, operations in ordered]
    if missing := [name for name, _ in named if name not in confirmed["rows"]]:
        raise LookupError("Confirm these and write them into confirmed.yaml:\n" + "\n".join(missing))
    lines = [f"| {name} | {word} | {', '.join(confirmed['rows'][name])} |" for name, word in named]
    tail = _TAIL.format(
        asked=confirmed["asked"],
        by_hand="\n".join(map(_write_asked, confirmed["by hand"])),
        beside="\n".join(f"| {' | '.join(row)} |" for row in confirmed["beside"]),
    )
    PAGE.write_text(_HEAD.format(date=date, total=len(found)) + "\n".join(lines) + "\n" + tail, encoding="utf-8")


def _write_asked(asked: dict[str, str]) -> str:
    cells = [f"`{asked[name]}`".replace("|", "\\|") for name in ("request", "1.4.3", "1.13.0")]
    return f"| {asked['name']} | {' | '.join(cells)} |"


def _rank(row: tuple[str, ...]) -> tuple[bool, str, str]:
    return row[4].startswith("both"), row[1] != "status", "|".join(row)


def _describe(difference: dict[str, Any]) -> tuple[str, ...]:
    """Return status, place, both values and the contract's word of a difference, without what is only its own."""
    what = difference["what"]
    if what.count("/") > 2:
        *_, parent, name = what.split("/")
        what = f".../{name}" if parent in ("*", "data", "message") else f".../{parent}/{name}"
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
    value = re.sub(r"'/[^']*", "'/...", _UUID.sub("ID", value))
    text = value if re.fullmatch(r"[1-5]\d\d", value) else _INVENTED.sub("*", value)
    shown = _SHOWN_OF_MANY if value[:1] in ("[", "{") else _SHOWN
    text = text if len(text) <= shown else f"{text[:shown]}..."
    return f"`{text.replace('`', chr(39))}`".replace("|", "\\|").replace("\n", " ")


def name_row(row: tuple[str, ...], operations: list[str]) -> str:
    """Return the cells by which a row is known: operations, status, where, and both values."""
    status, what, old, new, _ = row
    names = list(dict.fromkeys(operations))
    others = [name for name in OPERATIONS if name not in names]
    shown = f"all but {', '.join(others)}" if len(others) < len(names) else ", ".join(names)
    return f"{shown} | {status} | {what} | {old or 'absent'} | {new or 'absent'}"


if __name__ == "__main__":
    main(*sys.argv[1:])
