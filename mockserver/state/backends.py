"""Where the mock keeps what it knows, by `--state`: in memory, in a SQLite file, or in Redis together with others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mockserver.state.overrides import Overrides

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.state.archive import Archive, Tally
    from mockserver.state.quotas import Limits
    from mockserver.state.worlds import WorldBackend

_ADDRESS = re.compile(r"(redis|rediss|unix)://.", re.IGNORECASE)


class Backend(NamedTuple):
    """What a mock needs to keep worlds, overrides and journal; without `worlds` and `archive` they are in memory.

    ``bury``  tells all workers that one of this process' children, by its number, is dead
    ``join``  makes this process the worker at a place, from 0, among those with the same parent
    """

    overrides: Overrides
    worlds: WorldBackend | None = None
    archive: Archive | None = None
    bury: Callable[[int], None] = lambda _process: None
    join: Callable[[int], None] = lambda _place: None
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
    link = shared.link
    shared.archive = SharedArchive(link, shared.group)
    return Backend(SharedOverrides(link), shared, shared.archive, link.bury, link.join, SharedTally(link))
