"""A recorded stream -> the events of a scenario, with their delays, and the faults that make it look as it did."""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flowcontract.schemas.decoding import parse_json
from flowcontract.streams.sse import Decoder
from mockserver.importing.yaml_values import can_be_written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowcontract.recordings.exchange import RecordedAnswer
    from flowcontract.streams.sse import Block, Framing

MAX_EVENTS: Final = 20_000
MAX_PIECES: Final = 2_000
_LONGEST_DELAY_MS: Final = 3_600_000
_LARGEST_RETRY: Final = 18  # digits
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class RecordedStream:
    """A stream as a scenario has it.

    ``events``   of a reply, each with the delay before it
    ``faults``   for what the mock would write otherwise: line ends, characters, a byte order mark
    ``ends``     for each event, the offset in the recorded bytes behind it and its blank line
    ``partial``  whether the last event did not come whole
    ``notes``    what could not be kept
    """

    framing: Framing
    events: tuple[dict[str, Any], ...]
    faults: tuple[str, ...]
    ends: tuple[int, ...]
    partial: bool
    notes: tuple[str, ...]


def read_stream(answer: RecordedAnswer, framing: Framing) -> RecordedStream:
    """Read the events of an answer, MAX_EVENTS at most."""
    decoder = Decoder(framing, max_block_bytes=max(1, len(answer.body)))
    blocks = [*decoder.feed(answer.body), *decoder.close()]
    notes = [f"only its first {MAX_EVENTS} of {len(blocks)} events were kept"] if len(blocks) > MAX_EVENTS else []
    blocks = blocks[:MAX_EVENTS]
    read = _read_line if framing == "json-blank-line" else _read_block
    if not any(block.complete for block in blocks):
        return RecordedStream(framing, (), (), (), partial=True, notes=())  # nothing of it is a stream
    found: list[tuple[dict[str, Any], int]] = []
    starts = [*(block.start for block in blocks[1:]), len(answer.body)]
    for block, end in zip(blocks, starts, strict=True):
        event = read(block)
        if event:
            found.append((event, end))
        else:
            notes.append("a block that no client reads was left out")
    ends = tuple(end for _, end in found)
    events = _add_delays([event for event, _ in found], ends, answer)
    partial = bool(found) and bool(blocks) and not blocks[-1].complete and ends[-1] == len(answer.body)
    faults = tuple(_list_faults(answer.body, blocks, framing)) if events else ()
    return RecordedStream(framing, tuple(events), faults, ends, partial, tuple(dict.fromkeys(notes)))


def _read_line(block: Block) -> dict[str, Any]:
    text = block.raw.decode("utf-8", "replace")
    return {"data": _read_data(text)} if text.strip() else {}


def _read_block(block: Block) -> dict[str, Any]:
    """Return a block as an event: its data, and the fields that scenarios know."""
    event: dict[str, Any] = {}
    data = [field.value for field in block.fields if field.name == "data"]
    comments = [field.value for field in block.fields if not field.name]
    if comments:
        event["comment"] = "\n".join(comments)
    for field in block.fields:
        if field.name in ("event", "id") and "\0" not in field.value:
            event[field.name] = field.value
        elif field.name == "retry" and field.value.isdecimal() and len(field.value) <= _LARGEST_RETRY:
            event["retry"] = int(field.value)
    if data:
        event["data"] = _read_data("\n".join(data))
    return event


def _read_data(text: str) -> Any:
    """Return the object or list that a text is on one line; the text itself where it is none."""
    if "\n" in text or "\r" in text or not text.lstrip().startswith(("{", "[")):
        return text
    try:
        value = parse_json(text)
    except ValueError:
        return text
    return value if can_be_written(value) else text


def _add_delays(events: list[dict[str, Any]], ends: Sequence[int], answer: RecordedAnswer) -> list[dict[str, Any]]:
    """Return events with the time from the one before to the piece that completes each; the first from the head."""
    arrivals = list(itertools.accumulate(piece.size for piece in answer.pieces))
    if not arrivals:
        return events
    last = answer.wait_ms
    for event, end in zip(events, ends, strict=True):
        place = min(bisect.bisect_left(arrivals, end), len(arrivals) - 1)
        delay = round(answer.pieces[place].at_ms - last)
        if delay >= 1:
            event["delay_ms"] = min(delay, _LONGEST_DELAY_MS)
            last = answer.pieces[place].at_ms
    return events


def _list_faults(body: bytes, blocks: Sequence[Block], framing: Framing) -> Iterator[str]:
    """Yield the faults by which the mock writes as the server did."""
    if any(byte > 127 for byte in body.removeprefix(_BOM)):  # noqa: PLR2004 - beyond ASCII
        yield "raw-utf8"
    if framing != "sse":
        return
    lines = [line for block in blocks for line in block.raw.splitlines() if line.startswith(b"data:")]
    if lines and not any(line.startswith(b"data: ") for line in lines):
        yield "no-space"
    if body.startswith(_BOM):
        yield "bom"
    ends = (body.count(b"\r\n"), body.count(b"\n"), body.count(b"\r"))
    if ends[0] and ends[0] == ends[1] == ends[2]:
        yield "crlf"
    elif ends[2] and not ends[1]:
        yield "cr"


def fit_pieces(stream: RecordedStream, answer: RecordedAnswer, sent: Sequence[int]) -> str:
    """Return the fault by which events of these sizes travel in the recorded pieces; '' where they do so anyway.

    ``sent``  for each event, the bytes that the mock writes for it, which may be others than the server wrote
    """
    if not 0 < len(answer.pieces) <= MAX_PIECES:
        return ""
    ours = [0, *itertools.accumulate(sent)]
    theirs = [0, *stream.ends]
    cuts = sorted({_move(cut, theirs, ours) for cut in itertools.accumulate(piece.size for piece in answer.pieces)})
    cuts = [cut for cut in cuts if 0 < cut < ours[-1]]
    if cuts == ours[1:-1] or not cuts:
        return "" if cuts or len(sent) == 1 else f"pieces={ours[-1]}"
    return f"pieces={'/'.join(str(stop - start) for start, stop in itertools.pairwise([0, *cuts]))}"


def _move(cut: int, theirs: Sequence[int], ours: Sequence[int]) -> int:
    """Return the place in our bytes of one in theirs: the same event, as far inside of it as there is."""
    number = bisect.bisect_left(theirs, cut)
    if number >= len(theirs):
        return ours[-1]
    if theirs[number] == cut:
        return ours[number]
    inside = min(cut - theirs[number - 1], ours[number] - ours[number - 1] - 1)
    return ours[number - 1] + max(1, inside)
