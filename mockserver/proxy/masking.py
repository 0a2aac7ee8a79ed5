"""Secrets in what is recorded, before it touches the disk: also where one is split over two pieces."""

from __future__ import annotations

import json
import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from flowcontract.output.secret_texts import MASK, find_spans_in_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.output.secrets import Secrets
    from mockserver.proxy.rewriting import Rewriting

_HELD = 64 << 10
"""Bytes of pieces that wait until it is clear whether they end in a secret, and of what was written before them."""
_NAME = 300
"""Bytes that tell the name of a secret."""
_REWRITTEN = 4 << 20
"""Bytes of an event, or of a whole body, that are rewritten."""
_OPEN = re.compile(rb'"(?:[^"\\]++|\\.)*+("|\\?\Z)|([\[{])|([\]}])', re.DOTALL)
"""A text of JSON, with the quote that ends it, if it has come; a bracket that opens, and one that closes."""
_BLOCK_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")


class Span(NamedTuple):
    """Where something stands in bytes, and what is written instead."""

    start: int
    end: int
    by: bytes


class PieceMask:
    """Masks the pieces of one body while they come.

    A piece is held back only while its end may be the beginning of a known secret. What stands under the name of a
    secret is recognised with what came before, back to the last blank line.

    ``has_blocks``  a blank line ends what belongs together; not so in JSON
    ``lost``        something was left out, since it was too large to be rewritten or not whole
    """

    def __init__(self, known: Secrets, rewriting: Rewriting | None = None) -> None:
        """Mask what is known already, and what tells itself by its name; rewrite each event when it is whole."""
        self._known, self._rewriting = known, rewriting or None
        self.has_blocks, self.lost = True, False
        self._before = b""  # as it came; has been written
        self._pending: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._tail = b""  # the last bytes that came
        self._skips = False  # the rest of what was too large to be rewritten

    def feed(self, at: float, data: bytes) -> list[tuple[float, bytes]]:
        """Add a piece that came at a time; return what can be written."""
        self._pending.append((at, data))
        self._size += len(data)
        if self._rewriting is not None:
            return self._feed_whole(data)
        if self._size < _HELD and self._may_go_on():
            return []
        return self.close()

    def _feed_whole(self, data: bytes) -> list[tuple[float, bytes]]:
        """Return pieces up to the end of an event; of one that is too large to be rewritten nothing is recorded."""
        self._tail = (self._tail + data)[-4:]
        ends = self._tail.endswith(_BLOCK_ENDS)
        if self._skips or self._size > _REWRITTEN:
            self._pending.clear()
            self._size, self.lost, self._skips = 0, True, not (ends and self.has_blocks)
        return self.close() if ends else []

    def close(self) -> list[tuple[float, bytes]]:
        """Return what is left."""
        if not self._pending:
            return []
        if self._rewriting is not None and not self._is_whole():
            self.lost = True
            return []
        pieces = list(self._pending)
        self._pending.clear()
        self._size = 0
        whole = self._before + b"".join(data for _, data in pieces)
        spans = list(self._find(whole))
        written = list(_replace(pieces, len(self._before), whole, spans))
        self._before = _cut_last_block(whole) if self.has_blocks else whole[-_HELD:]
        self._remember_name(whole, spans)
        return written

    def _remember_name(self, whole: bytes, spans: list[Span]) -> None:
        """Keep the name of a secret that is longer than what is kept, with what its text or object has open."""
        if not spans or spans[-1].end < len(whole) or spans[-1].start >= len(whole) - len(self._before):
            return
        begun = spans[-1].start + 1
        if whole[begun - 1 : begun] == b'"':
            self._before = whole[max(0, begun - _NAME) : begun] + self._before[-_HELD // 2 :]
        elif whole[begun - 1 : begun] in (b"{", b"["):
            self._before = whole[max(0, begun - 1 - _NAME) : begun - 1] + _list_open(whole[begun - 1 :])

    def _is_whole(self) -> bool:
        """Tell whether what waits is whole events, or a whole body: of a part nobody knows what is in it."""
        if self._tail.endswith(_BLOCK_ENDS):
            return True
        try:
            json.loads(b"".join(data for _, data in self._pending))
        except (ValueError, RecursionError):
            return False
        return True

    def _may_go_on(self) -> bool:
        tail = b"".join(data for _, data in self._pending)
        return bool(len(self._known)) and self._known.count_unfinished(self._before[-_HELD:] + tail) > 0

    def _find(self, whole: bytes) -> Iterator[Span]:
        """Yield what is to be masked, in order and without overlaps."""
        text = whole.decode("latin-1")  # a character for each byte
        found = [Span(start, end, by.encode()) for start, end, by in find_spans_in_text(text)]
        found += [Span(start, end, MASK.encode()) for start, end in self._known.find_spans(whole)]
        if self._rewriting is not None:
            found += [Span(start, stop, by.encode("latin-1")) for start, stop, by in self._rewriting.find_spans(text)]
        end = 0
        for span in sorted(found):
            if span.start >= end:
                yield span
                end = span.end
            elif span.end > end:
                yield span._replace(start=end, by=b"")
                end = span.end


def _list_open(value: bytes) -> bytes:
    """Return the brackets of JSON that are open at its end, the quote of a text that is, and what escapes in it."""
    brackets, rest = 0, b""
    for found in _OPEN.finditer(value):
        brackets += bool(found[2]) - bool(found[3])
        rest = b'"' + found[1] if found[1] is not None and found[1] != b'"' else b""
    return b"{" * min(brackets, _HELD) + rest


def _cut_last_block(whole: bytes) -> bytes:
    place = max(whole.rfind(end) + len(end) if end in whole else 0 for end in _BLOCK_ENDS)
    return whole[max(place, len(whole) - _HELD) :]


def _replace(
    pieces: list[tuple[float, bytes]], start: int, whole: bytes, spans: list[Span]
) -> Iterator[tuple[float, bytes]]:
    """Yield pieces, which stand in the whole from `start` on, with the spans replaced where each begins."""
    waiting = deque(spans)
    for at, data in pieces:
        end, shown, here = start + len(data), b"", start
        while waiting and waiting[0].start < end:
            span = waiting[0]
            if span.end <= start:
                waiting.popleft()
                continue
            shown += whole[here : max(here, span.start)] + (span.by if span.start >= start else b"")
            here = max(here, min(span.end, end))
            if span.end > end:
                break
            waiting.popleft()
        yield at, shown + whole[here:end]
        start = end
