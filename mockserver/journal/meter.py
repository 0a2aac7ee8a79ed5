"""Counts what goes on, for `/__mock__/metrics`: alone, or together with the other workers.

A count is a name with its labels, `("requests", "dify-chat/sendChatMessage", "200")`. Workers add what is new of theirs
to a tally that they share every few seconds; a gauge of each is what it was then.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mockserver.journal.entry import Entry
    from mockserver.state.archive import Tally

Count = tuple[str, ...]
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Meter:
    """Counts exchanges as a journal tells of them. May be used from several threads."""

    def __init__(self, tally: Tally | None = None) -> None:
        """Count from nothing, in a `tally` of several workers if there is one."""
        self._tally = tally
        self._counts: Counter[Count] = Counter()
        self._answered: dict[tuple[str | None, int | None], list[int]] = {}
        self._open = 0
        self._lock = threading.Lock()
        if tally is not None:
            tally.ask_regularly(self.flush)

    def note_answer(self, entry: Entry, delay_s: float = 0.0) -> None:  # noqa: ARG002 - as a Listener
        """Count a request with its answer, or a stream that begins."""
        key = (entry.operation, entry.status)
        with self._lock:  # one look-up, for this is done for each request
            counts = self._answered.get(key) or self._answered.setdefault(key, [0, 0, 0, 0])
            counts[0] += 1
            counts[1] += entry.size
            counts[2] += entry.answer_size
            if entry.violations:
                counts[3] += len(entry.violations)
            if entry.stream is not None:
                self._open += 1

    def note_end(self, entry: Entry) -> None:
        """Count a stream that has ended, with its events."""
        if entry.stream is None:
            return
        operation = entry.operation or ""
        with self._lock:
            self._counts["streams", operation, str(entry.stream.ended)] += 1
            self._counts["events", operation] += entry.stream.pieces
            self._counts["sent_bytes", operation] += entry.stream.size
            self._open -= 1

    def flush(self) -> None:
        """Add what is new to the tally; raise StateError, and then it is still new."""
        if self._tally is None:
            return
        with self._lock:
            self._sum()
            new, self._counts = self._counts, Counter()
        try:
            self._tally.add({json.dumps(key): count for key, count in new.items() if count}, self._read_gauges())
        except Exception:
            with self._lock:
                self._counts += new
            raise

    def read(self) -> tuple[dict[Count, int], dict[str, float]]:
        """Return all counts, and the gauges `streams_open` and `memory_bytes`; raise StateError."""
        if self._tally is None:
            with self._lock:
                self._sum()
                return dict(self._counts), self._read_gauges()
        self.flush()
        counts, gauges = self._tally.read()
        return {tuple(json.loads(key)): count for key, count in counts.items()}, gauges

    def _sum(self) -> None:
        """Add what was answered to the counts, by their names; called with the lock."""
        for (name, status), (requests, received, sent, violations) in self._answered.items():
            operation = name or ""
            self._counts["requests", operation, str(status or 0)] += requests
            self._counts["received_bytes", operation] += received
            self._counts["sent_bytes", operation] += sent
            self._counts["violations", operation] += violations
        self._answered = {}

    def _read_gauges(self) -> dict[str, float]:
        return {"streams_open": max(0, self._open), "memory_bytes": _read_memory()}


def _read_memory() -> int:
    """Return the bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0
