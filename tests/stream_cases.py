"""The streams of tests/data/streams, as bytes with times: a good stream, and a small change of it."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flowcontract import yamlio
from flowcontract.specs.model import load_api
from flowcontract.streams.contract import StreamContract
from flowcontract.streams.judge import StreamJudge
from flowcontract.streams.sse import encode, encode_json

FOLDER = Path(__file__).parent / "data" / "streams"
FILES = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


@dataclass(frozen=True)
class Piece:
    """One block of a stream, and the seconds of silence before it."""

    raw: bytes
    quiet: float = 0.0


@dataclass(frozen=True)
class Case:
    """A stream with the verdict that it deserves: the order it follows, or the rules it breaks, each with its event."""

    name: str
    operation: str
    pieces: tuple[Piece, ...]
    accepted: str | None
    rejected: tuple[str, ...]


def contract_of(operation: str) -> StreamContract:
    """Return the stream contract of an operation, `api/operationId`."""
    api, _, name = operation.partition("/")
    stream = _api(api).operations[name].stream
    assert stream is not None
    return stream


@cache
def _api(name: str):
    return load_api(name)


@cache
def cases_of(file: str) -> tuple[Case, ...]:
    """Read the cases of one file."""
    data = yamlio.load(FOLDER / f"{file}.yaml")
    return tuple(_case(data, one) for one in data["cases"])


@cache
def good_streams(file: str) -> dict[str, list[dict[str, Any]]]:
    """Return the good streams of one file, as payloads."""
    data = yamlio.load(FOLDER / f"{file}.yaml")
    return {name: [_event(data, item) for item in items] for name, items in data["streams"].items()}


def _event(data: dict[str, Any], item: Any) -> dict[str, Any]:
    kind, changes = (item, {}) if isinstance(item, str) else next(iter(item.items()))
    payload = {"event": kind, **copy.deepcopy(data["events"].get(kind, {}))}
    for path, value in changes.items():
        put(payload, path, value)
    return payload


def put(payload: dict[str, Any], path: str, value: Any) -> None:
    """Set what stands at a dotted path."""
    *parents, last = path.split(".")
    here = payload
    for name in parents:
        here = here[name]
    here[last] = value


def _case(data: dict[str, Any], one: dict[str, Any]) -> Case:
    events = [_event(data, item) for item in data["streams"][one["of"]]]
    events = events[: one.get("keep", len(events))]
    for number, item in one.get("insert", {}).items():
        events.insert(int(number) - 1, _event(data, item))
    for change in ("drop", "repeat", "swap"):
        if change in one:
            _CHANGES[change](events, one[change] - 1)
    if "move" in one:
        events.insert(one["move"][1] - 1, events.pop(one["move"][0] - 1))
    added = one.get("append", [])
    events += [_event(data, item) for item in (added if isinstance(added, list) else [added])]
    for number, changes in one.get("set", {}).items():
        for path, value in changes.items():
            put(events[int(number) - 1], path, value)
    sse = contract_of(data["operation"]).framing == "sse"
    raws = [block(event, sse=sse) for event in events]
    for number, raw in one.get("wire", {}).items():
        raws[int(number) - 1 : int(number)] = [raw.encode() + b"\n\n"]
    if "cut" in one:
        raws[-1] = raws[-1][: -one["cut"]]
    quiet = {int(number): float(seconds) for number, seconds in one.get("quiet", {}).items()}
    pieces = tuple(Piece(raw, quiet.get(number, 0.0)) for number, raw in enumerate(raws, 1))
    return Case(one["name"], data["operation"], pieces, one.get("accepted"), tuple(one.get("rejected", ())))


_CHANGES = {
    "drop": lambda events, n: events.pop(n),
    "repeat": lambda events, n: events.insert(n, copy.deepcopy(events[n])),
    "swap": lambda events, n: events.insert(n, events.pop(n + 1)),
}


def block(event: dict[str, Any], *, sse: bool) -> bytes:
    """Write one event; an event that is nothing but its kind is a bare one where the framing has such."""
    if not sse:
        return encode_json(json.dumps(event))
    return encode(event=event["event"]) if len(event) == 1 else encode(json.dumps(event))


def verdict(contract: StreamContract, pieces: tuple[Piece, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Judge a stream; return the order it follows if it is well, else what it breaks, `rule event`, in order."""
    clock = 100.0
    judge = StreamJudge(contract, started=clock)
    found = []
    for piece in pieces:
        clock += piece.quiet
        found += judge.feed(piece.raw, clock)
    found += judge.close(clock)
    broken = tuple(f"{one.rule} {one.event or 0}" for one in found)
    return (judge.matched.name if judge.matched and not broken else None), broken
