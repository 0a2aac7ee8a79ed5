"""What workers keep together besides their worlds: the archive of their journals, and the tally of their counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mockserver.state.changes import Changed


class Archived(Protocol):
    """An entry of a journal, as an archive sees it."""

    number: int

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON."""


class Archive(Protocol):
    """Where several journals keep their entries, so that each shows those of all."""

    @property
    def count(self) -> int:
        """How many requests have come to all of them."""

    def write(self, entry: Archived, limit: int) -> None:
        """Keep an entry, or what has changed in it, and let go of the one that is `limit` older.

        A new one, whose number is 0, gets its number when it is written.
        """

    def read(self, number: int | None = None) -> list[dict[str, Any]]:
        """Return one entry, if there is one of this number, or all by their numbers."""

    def list_changes(self, epoch: str, after: int, limit: int) -> Changed:
        """Return up to `limit` entries that were written since the revision `after` of an epoch."""

    def forget(self, numbers: list[int]) -> None:
        """Let go of entries."""


class Tally(Protocol):
    """Where several workers count together."""

    def ask_regularly(self, flush: Callable[[], None]) -> None:
        """Call `flush` every few seconds."""

    def add(self, counts: Mapping[str, int], gauges: Mapping[str, float]) -> None:
        """Add to the counts, and say what this worker's gauges are now."""

    def read(self) -> tuple[dict[str, int], dict[str, float]]:
        """Return the counts, and the sums of the gauges of workers that are alive."""
