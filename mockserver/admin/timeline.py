"""What a stream sent, event by event: its kind, when, how long; what is no event is told as what it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowcontract import pointers
from flowcontract.errors import StreamError
from flowcontract.streams.sse import Decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.streams.contract import StreamContract
    from flowcontract.streams.sse import Block
    from mockserver.journal.entry import Entry

_SHOWN = 400  # characters of an event
_KIND = 80


def describe_stream(entry: Entry, stream: StreamContract | None, after: int = 0) -> dict[str, Any] | None:
    """Return the events of an exchange's stream behind the first `after` ones, and how it ended; None without one.

    Only what the journal keeps of a stream is told, the first 64 kB; `last` says of what came later when the last of
    it was sent, and of which kind the last event was.
    """
    log = entry.stream
    if log is None:
        return None
    sent = log.sent
    events = list(_list_events(sent, stream, is_whole=log.ended is not None and len(sent) == log.pieces))
    return {
        "number": entry.number,
        "ended": log.ended,
        "pieces": log.pieces,
        "bytes": log.size,
        "kept": len(sent),
        "begun_s": round(log.begun_s, 4),
        "duration_ms": entry.duration_ms,
        "silence_s": stream and stream.silence_s,
        "end": sorted(stream.end) if stream else [],
        "last": {"after_s": round(log.last_s, 4), "kind": _find_last_kind(log.end, stream)}
        if log.pieces > len(sent)
        else None,
        "found": len(events),
        "events": events[after:],
    }


def _list_events(
    sent: list[tuple[float, str]], stream: StreamContract | None, *, is_whole: bool
) -> Iterator[dict[str, Any]]:
    decoder = Decoder(stream.framing if stream else "sse")
    last = 0.0
    for after_s, text in sent:
        last = after_s
        try:
            blocks = decoder.feed(text.encode("utf-8", "surrogatepass"))
        except StreamError:
            yield _build_event(after_s, "unreadable", text)
            return
        yield from (_build_event(after_s, _find_kind(block, stream), _show(block)) for block in blocks)
    if is_whole:
        yield from (_build_event(last, "cut off", _show(block)) for block in decoder.close())


def _find_last_kind(data: bytes, stream: StreamContract | None) -> str | None:
    """Return the kind of the last event in the end of a stream, None where none is whole; the first may be a part."""
    try:
        blocks = list(Decoder(stream.framing if stream else "sse").feed(data))[1:]
    except StreamError:
        return None
    return _find_kind(blocks[-1], stream)[:_KIND] if blocks else None


def _build_event(after_s: float, kind: str, text: str) -> dict[str, Any]:
    return {"after_s": round(after_s, 4), "kind": kind[:_KIND], "bytes": len(text), "text": text[:_SHOWN]}


def _show(block: Block) -> str:
    return block.raw.decode("utf-8", "replace")


def _find_kind(block: Block, stream: StreamContract | None) -> str:
    """Return the kind of an event; of a block that is none its field `event`, or that it is a comment."""
    if block.event is None:
        names = [field.value for field in block.fields if field.name == "event"]
        return names[-1] if names else "comment"
    try:
        kind = pointers.lookup(json.loads(block.event.data), stream.kind if stream else "event")
    except (ValueError, KeyError, RecursionError):
        return block.event.type
    return kind if isinstance(kind, str) else block.event.type
