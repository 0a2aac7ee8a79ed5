"""Where the mock keeps what it knows, by `--state`: in memory, in a SQLite file, or in Redis together with others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mockserver.state.overrides import Overrides

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mockserver.state.changes import Changed
    from mockserver.state.quotas import Limits
    from mockserver.state.worlds import WorldBackend

_ADDRESS = re.compile(r"(redis|rediss|unix)://.", re.IGNORECASE)


class Archive(Protocol):
    """Where several journals keep their entries, so that each shows those of all."""

    @property
    def count(self) -> int:
        """How many requests have come to all of them."""

    def number(self) -> int:
        """Return the number of the next request."""

    def write(self, number: int, record: dict[str, Any], limit: int, *, again: bool) -> None:
        """Keep an entry, and let go of the one that is `limit` older; `again` if it is still kept."""

    def read(self, number: int | None = None) -> list[dict[str, Any]]:
        """Return one entry, if there is one of this number, or all by their numbers."""

    def changes(self, epoch: str, after: int, limit: int) -> Changed:
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


class Backend(NamedTuple):
    """What a mock needs to keep worlds, overrides and journal; without `worlds` and `archive` they are in memory.

    ``bury``  tells all workers that one of this process' children, by its number, is dead
    """

    overrides: Overrides
    worlds: WorldBackend | None = None
    archive: Archive | None = None
    bury: Callable[[int], None] = lambda _process: None
    tally: Tally | None = None

    @property
    def shared(self) -> bool:
        """Whether several workers keep it together."""
        return self.archive is not None


def is_address(state: Path | str | None) -> bool:
    """Tell whether a state is in Redis."""
    return isinstance(state, str) and _ADDRESS.match(state) is not None


def open_backend(state: Path | str | None, limits: Limits) -> Backend:
    """Open what keeps the worlds: a file, the address of Redis, or None; raise StateError."""
    if state is None:
        return Backend(Overrides())
    if not is_address(state):
        from mockserver.state.sqlite import StateFile  # noqa: PLC0415 - SQLite takes as long to load as a small mock to start

        return Backend(Overrides(), StateFile(Path(state)))
    from mockserver.state.redis.journal import SharedArchive  # noqa: PLC0415 - needs an extra
    from mockserver.state.redis.overrides import SharedOverrides  # noqa: PLC0415
    from mockserver.state.redis.tally import SharedTally  # noqa: PLC0415
    from mockserver.state.redis.worlds import SharedState  # noqa: PLC0415

    shared = SharedState(str(state), limits)
    return Backend(SharedOverrides(shared), shared, SharedArchive(shared), shared.link.bury, SharedTally(shared))
