"""Reads the exchanges of a recording; an unreadable entry is returned as an `Unreadable` in its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from flowcontract.recordings import har, jsonl, own
from flowcontract.recordings.beside import Beside
from flowcontract.recordings.cutting import cut_entries
from flowcontract.recordings.untrusted import Unreadable, Untrusted, load_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flowcontract.recordings.exchange import Recorded

MAX_RECORDING_BYTES: Final = 256 * 1024 * 1024


def read(path: Path) -> list[Recorded | Unreadable]:
    """Read a HAR file, a proxy's `recording.jsonl`, or one exchange as JSON with `request` and `response`.

    Raise Unreadable if it is none of them.
    """
    with path.open("rb") as file:
        data = file.read(MAX_RECORDING_BYTES + 1)
    return parse(data, str(path), path.parent, path.stem)


def parse(data: bytes, source: str, folder: Path | None = None, name: str = "") -> list[Recorded | Unreadable]:
    """Read the bytes of a recording; messages call it `source`, and `folder` has its separate bodies."""
    try:
        return _read_exchanges(data, Beside(folder), name)
    except Unreadable as problem:
        raise Unreadable(
            f"{source} is not a recording: {problem}. "
            "A HAR file, a `recording.jsonl`, or JSON with `request` and `response`."
        ) from None


def _read_exchanges(data: bytes, beside: Beside, name: str) -> list[Recorded | Unreadable]:
    if len(data) > MAX_RECORDING_BYTES:
        raise Unreadable(f"it has more than {MAX_RECORDING_BYTES} bytes")
    if jsonl.is_recording(data):
        return [_read_taken(taken) for taken in jsonl.parse_lines(data)[1]]
    try:
        whole = Untrusted(load_json(data))
    except Unreadable as problem:
        entries = list(_recover_entries(data))
        if not entries:
            raise problem from None
        return _read_entries(entries, beside)
    if not isinstance(whole.value, dict) or "log" not in whole.value:
        return [own.read_exchange(whole, beside, name)]
    return _read_entries(list(whole["log"]["entries"].as_items()), beside)


def _read_entries(entries: list[Untrusted | Unreadable], beside: Beside) -> list[Recorded | Unreadable]:
    """Return the exchanges of a HAR file; raise Unreadable if none can be read."""
    found = [_read_entry(number, entry, beside) for number, entry in enumerate(entries, 1)]
    if found and all(isinstance(exchange, Unreadable) for exchange in found):
        raise Unreadable(str(found[0]))
    return found


def _read_entry(number: int, entry: Untrusted | Unreadable, beside: Beside) -> Recorded | Unreadable:
    try:
        if isinstance(entry, Unreadable):
            raise entry
        return har.read_entry(number, Untrusted(entry.value), beside)
    except Unreadable as problem:
        return Unreadable(f"entry {number}: {problem}")


def _read_taken(taken: jsonl.Taken | Unreadable) -> Recorded | Unreadable:
    try:
        return taken if isinstance(taken, Unreadable) else jsonl.as_recorded(taken)
    except Unreadable as problem:
        return Unreadable(f"request {taken.number}: {problem}" if isinstance(taken, jsonl.Taken) else str(problem))


def _recover_entries(data: bytes) -> Iterator[Untrusted | Unreadable]:
    """Yield the entries of a HAR file that is not valid JSON."""
    for text in cut_entries(data.decode(json.detect_encoding(data), "replace")):
        try:
            yield Untrusted(load_json(text))
        except Unreadable as problem:
            yield problem
