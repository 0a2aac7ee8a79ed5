"""What was sent of a stream, piece by piece with its times, and how it ended."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from flowcontract.output.secret_texts import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowcontract.output.secrets import Secrets

_KEPT_PIECES = 1000
_KEPT_BYTES = 64 << 10
_KEPT_OF_END = 16 << 10


@dataclass(slots=True)
class StreamLog:
    """What was sent of a stream, when, and how it ended.

    ``ended``   `complete`, `stopped`, `gone` (the client left), `cut` (by a fault, or because of the entry's `failure`)
                or `interrupted` (its worker has ended); None while it runs
    ``pieces``  how many were sent; of the first ones, `sent` has the time and the text
    ``size``    bytes sent
    ``begun_s`` when the sender first asked for a piece, seconds after the request came; all times count from there
    ``last_s``  when the last piece was sent
    """

    ended: str | None = None
    pieces: int = 0
    size: int = 0
    begun_s: float = 0.0
    last_s: float = 0.0
    _times: array[float] = field(default_factory=lambda: array("d"))
    _ends: array[int] = field(default_factory=lambda: array("L"))
    _bytes: bytearray = field(default_factory=bytearray)
    _end: bytes = b""
    _known: Callable[[str], Secrets] | None = field(default=None, repr=False)

    def hide(self, known: Callable[[str], Secrets]) -> None:
        """Show without the secrets that are `known` of what was sent, also where one is spread over several pieces."""
        self._known = known

    def add(self, after_s: float, data: bytes) -> None:
        """Note a piece that is sent `after_s` seconds after the sender first asked for one."""
        self.pieces += 1
        self.size += len(data)
        self.last_s = after_s
        if self.pieces <= _KEPT_PIECES and self.size <= _KEPT_BYTES:
            self._bytes += data
            self._times.append(after_s)
            self._ends.append(len(self._bytes))
        else:
            self._end = (self._end + data)[-_KEPT_OF_END:]

    @property
    def sent(self) -> list[tuple[float, str]]:
        """The pieces that are kept: seconds since the beginning, and text."""
        times, pieces = self._mask_pieces()
        return [(after_s, piece.decode("utf-8", "replace")) for after_s, piece in zip(times, pieces, strict=False)]

    @property
    def end(self) -> bytes:
        """The last bytes sent behind the pieces that are kept; of the first line, perhaps a part of a secret, none."""
        masked = b"".join(self._mask(self._end, [len(self._end)]))
        return b"".join([MASK.encode(), *masked.partition(b"\n")[1:]]) if masked else b""

    def _mask_pieces(self) -> tuple[list[float], list[bytes]]:
        """Return times and pieces; a secret is masked in the piece in which it begins and missing in the next ones."""
        return list(self._times), self._mask(bytes(self._bytes), list(self._ends))

    def _mask(self, data: bytes, ends: list[int]) -> list[bytes]:
        known = self._known(data.decode("utf-8", "replace")) if self._known else ()
        return list(_cut(data, ends, list(known.find_spans(data)) if known else []))

    def as_json(self) -> dict[str, Any]:
        """Return it as `/__mock__/requests` shows it."""
        sent = [{"after_s": round(after_s, 4), "text": text} for after_s, text in self.sent]
        return {"ended": self.ended, "pieces": self.pieces, "bytes": self.size, "sent": sent}

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON that `of_record` reads."""
        times, pieces = self._mask_pieces()
        kept = {
            "times": times,
            "ends": list(accumulate(map(len, pieces))),
            "bytes": b"".join(pieces).decode("latin-1"),
            "begun_s": self.begun_s,
            "last_s": self.last_s,
            "end": self.end.decode("latin-1"),
        }
        return {"ended": self.ended, "pieces": self.pieces, "size": self.size, **kept}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> StreamLog:
        """Return the log that `as_record` was asked of."""
        return cls(
            record["ended"],
            record["pieces"],
            record["size"],
            record["begun_s"],
            record["last_s"],
            array("d", record["times"]),
            array("L", record["ends"]),
            bytearray(record["bytes"], "latin-1"),
            record["end"].encode("latin-1"),
        )


def _cut(data: bytes, ends: list[int], hidden: list[tuple[int, int]]) -> Iterator[bytes]:
    """Cut data at `ends`, with a mask where something hidden begins."""
    start, waiting = 0, deque(hidden)
    for end in ends:
        piece = b""
        while waiting and waiting[0][0] < end:
            begun, stop = waiting.popleft()
            piece += data[start:begun] + (MASK.encode() if begun >= start else b"")
            start = max(start, min(stop, end))
            if stop > end:
                waiting.appendleft((begun, stop))
                break
        yield piece + data[start:end]
        start = max(start, end)
