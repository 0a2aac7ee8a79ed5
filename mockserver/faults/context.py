"""What every fault is: a change of pieces; and what it knows of the stream that it changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from flowcontract.pointers import get_value
from flowcontract.scenarios import Piece
from flowcontract.streams import sse

if TYPE_CHECKING:
    from flowcontract.streams.contract import StreamContract
    from flowcontract.streams.sse import Framing

Pieces = Iterator[Piece]


@dataclass(frozen=True, slots=True)
class FaultContext:
    """What faults know of a reply.

    ``random``    decides what is left to chance; the same seed decides the same
    ``contract``  of the stream; None for a reply that is none
    ``error``     gives the payload of an event with which such a stream reports an error
    ``refusal``   gives the body of the API's refusal with a status
    ``longest_s`` after how many seconds even what has no end is ended; None for never
    ``gave_up``   is called when that has happened: somebody was still reading
    """

    random: Random = field(default_factory=lambda: Random(0))  # noqa: S311 - reproducible on purpose
    contract: StreamContract | None = None
    error: Callable[[], Mapping[str, Any]] = dict
    refusal: Callable[[int], bytes] = lambda _status: b"{}"
    longest_s: float | None = None
    gave_up: Callable[[], None] = lambda: None

    @property
    def framing(self) -> Framing:
        """How events stand on the wire."""
        return self.contract.framing if self.contract else "sse"

    def get_kind(self, payload: Any) -> Any:
        """Return what an event says it is; None for what says nothing."""
        return get_value(payload, self.contract.kind) if self.contract else None

    def ends(self, payload: Any) -> bool:
        """Tell whether an event ends the answer."""
        return self.contract is not None and self.get_kind(payload) in self.contract.end

    def get_contents(self, status: int) -> Mapping[str, Any]:
        """Return the fields of the API's refusal with a status."""
        contents = json.loads(self.refusal(status))
        return contents if isinstance(contents, dict) else {}

    def make_event(self, payload: Mapping[str, Any]) -> Piece:
        """Return an event that the server itself never said, so that the world does not hear it."""
        text = json.dumps(payload)
        return Piece(0, sse.encode_json(text) if self.framing == "json-blank-line" else sse.encode(text), None)

    def make_stranger(self, **more: Any) -> Piece:
        """Return an event of a kind that no document names."""
        return self.make_event({self.contract.kind if self.contract else "event": "mock_unknown", **more})


Change = Callable[[Pieces, FaultContext, Any], Pieces]
"""Pieces, context, the fault's value -> what is sent instead. A piece without bytes is heard by the world, not sent."""


def make_silent(piece: Piece) -> Piece:
    """Return a piece that is said, but never arrives."""
    return piece._replace(data=b"")


def split_lines(piece: Piece) -> list[bytes]:
    """Return the lines of a block that the mock wrote itself: they end with LF, and a blank line ends them."""
    return piece.data.removesuffix(b"\n\n").split(b"\n")


def replace_lines(piece: Piece, lines: list[bytes]) -> Piece:
    """Return a piece with other lines; one that never arrives has none."""
    return piece if not piece.data else piece._replace(data=b"\n".join(lines) + b"\n\n")


def change_text(piece: Piece, context: FaultContext, change: Callable[[bytes], bytes]) -> Piece:
    """Return a piece with its JSON text changed; where that has several lines, so has the block."""
    label = b"data: " if context.framing == "sse" else b""
    lines: list[bytes] = []
    for line in split_lines(piece):
        is_text = line.startswith(label) and len(line) > len(label)
        lines += [label + part for part in change(line[len(label) :]).split(b"\n")] if is_text else [line]
    return replace_lines(piece, lines)
