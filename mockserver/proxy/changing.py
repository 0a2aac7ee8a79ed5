"""Faults on what another server answers: on its stream while it passes, or on a whole answer."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from flowcontract.scenarios import Piece
from flowcontract.schemas.decoding import parse_json
from mockserver import faults

if TYPE_CHECKING:
    from flowcontract.streams.sse import Block
    from mockserver.core.mock import Mock
    from mockserver.core.passing import Passed
    from mockserver.faults.context import FaultContext
    from mockserver.http.messages import Reply

MOST_CHANGED = 200
"""Streams that are changed at once: each has a thread, since faults are written for streams that can be asked."""


def make_context(mock: Mock, passed: Passed) -> FaultContext:
    """Return what faults see of an exchange."""
    visit = passed.visit
    seed = f"{mock.settings.seed}/{visit.world.name}/faults"
    return faults.make_context(visit.content.scenarios, visit.operation, seed)


def change_stream(mock: Mock, passed: Passed, reply: Reply) -> None:
    """Let faults change a stream, which nobody can look at before it comes; raise FaultError."""
    abilities = passed.visit.routed.request.capabilities
    applied = faults.apply_live(reply, passed.faults, make_context(mock, passed), abilities)
    passed.entry.faults = tuple(map(str, applied))
    for name in ("Content-Length", "Content-Encoding"):
        reply.headers.remove(name)


def change_whole(mock: Mock, passed: Passed, reply: Reply) -> None:
    """Let faults change an answer whose whole body is there; raise FaultError."""
    request = passed.visit.routed.request
    context, head = make_context(mock, passed), request.method == "HEAD"
    applied = faults.apply(reply, passed.faults, context, request.capabilities, head=head)
    passed.entry.faults = tuple(map(str, applied))


def as_piece(block: Block) -> Piece:
    """Return a block as faults expect one: lines that end with LF, then a blank line; and its payload."""
    payload = None
    if block.event is not None:
        with suppress(ValueError):
            payload = parse_json(block.event.data)
    lines = block.raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return Piece(0, lines.rstrip(b"\n") + b"\n\n", payload)
