"""The journal of all workers: numbers that are given once, and entries that each of them writes and all can read."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from mockserver.state.redis.connection import PREFIX

if TYPE_CHECKING:
    from mockserver.state.redis.worlds import SharedState

_ENTRIES, _COUNT = f"{PREFIX}journal", f"{PREFIX}requests"


class SharedArchive:
    """Where journals keep their entries, as JSON, if they are several."""

    def __init__(self, state: SharedState) -> None:
        """Keep them where the worlds are."""
        self._link = state.link

    @property
    def count(self) -> int:
        """How many requests have come to all workers."""
        return int(self._link.ask("get", _COUNT) or 0)

    def number(self) -> int:
        """Return the number of the next request."""
        return int(self._link.ask("incr", _COUNT))

    def write(self, number: int, record: dict[str, Any], limit: int, *, again: bool) -> None:
        """Keep an entry, and let go of the one that is `limit` older; `again` if it is still kept."""
        text = json.dumps({**record, "worker": self._link.worker})
        self._link.run("write", number, text, limit, int(again), keys=(_ENTRIES, _COUNT))

    def read(self, number: int | None = None) -> list[dict[str, Any]]:
        """Return one entry, if there is one of this number, or all by their numbers."""
        texts = self._link.ask("hvals", _ENTRIES) if number is None else [self._link.ask("hget", _ENTRIES, str(number))]
        records = sorted((json.loads(text) for text in texts if text), key=itemgetter("number"))
        running = [record for record in records if record["stream"] and record["stream"]["ended"] is None]
        living = self._link.living() if running else frozenset()
        for record in running:
            if record.get("worker") not in living:
                record["stream"]["ended"] = "interrupted"
        for record in records:
            record.pop("worker", None)
        return records

    def forget(self, numbers: list[int]) -> None:
        """Let go of entries."""
        if numbers:
            self._link.ask("hdel", _ENTRIES, *map(str, numbers))
