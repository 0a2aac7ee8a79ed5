"""Who is told of exchanges as they are answered: the log of requests, the meter, the proxy's summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mockserver.journal.entry import Entry


class Listener(Protocol):
    """Who is told of exchanges as they are answered."""

    def note_answer(self, entry: Entry, delay_s: float = 0.0) -> None:
        """Hear that a request was answered, or what streams begins, `delay_s` from now."""

    def note_end(self, entry: Entry) -> None:
        """Hear that what streamed has ended."""


class Both:
    """Two who are told."""

    def __init__(self, first: Listener, second: Listener) -> None:
        """Tell the first one first."""
        self._first, self._second = first, second

    def note_answer(self, entry: Entry, delay_s: float = 0.0) -> None:
        """Tell both that a request was answered."""
        self._first.note_answer(entry, delay_s)
        self._second.note_answer(entry, delay_s)

    def note_end(self, entry: Entry) -> None:
        """Tell both that what streamed has ended."""
        self._first.note_end(entry)
        self._second.note_end(entry)
