"""The journal of all workers: numbers that are given once, and entries that each of them writes and all can read."""

from __future__ import annotations

import json
import uuid
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from mockserver.state.changes import Changed
from mockserver.state.redis.connection import PREFIX

if TYPE_CHECKING:
    from mockserver.state.redis.worlds import SharedState

_ENTRIES, _COUNT = f"{PREFIX}journal", f"{PREFIX}requests"
_CHANGES, _REVISION, _EPOCH = f"{PREFIX}changes", f"{PREFIX}revision", f"{PREFIX}epoch"


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
        self._link.run("write", number, text, limit, int(again), keys=(_ENTRIES, _COUNT, _CHANGES, _REVISION))

    def read(self, number: int | None = None) -> list[dict[str, Any]]:
        """Return one entry, if there is one of this number, or all by their numbers."""
        texts = self._link.ask("hvals", _ENTRIES) if number is None else [self._link.ask("hget", _ENTRIES, str(number))]
        return self._mend(sorted((json.loads(text) for text in texts if text), key=itemgetter("number")))

    def _mend(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Note which streams ran in workers that have ended."""
        running = [record for record in records if record["stream"] and record["stream"]["ended"] is None]
        living = self._link.living() if running else frozenset()
        for record in running:
            if record.get("worker") not in living:
                record["stream"]["ended"] = "interrupted"
        for record in records:
            record.pop("worker", None)
        return records

    def changes(self, epoch: str, after: int, limit: int) -> Changed:
        """Return up to `limit` entries that were written since the revision `after` of an epoch."""
        current = self._epoch()
        first = after if epoch == current else 0
        scored = self._link.ask("zrangebyscore", _CHANGES, f"({first}", "+inf", 0, limit, True)
        texts = self._link.ask("hmget", _ENTRIES, [number for number, _ in scored]) if scored else []
        found = [(int(score), json.loads(text)) for (_, score), text in zip(scored, texts, strict=True) if text]
        self._mend([record for _, record in found])
        return Changed(current, epoch == current, found)

    def _epoch(self) -> str:
        """Return what changes when entries are forgotten, so that those who watch begin anew."""
        self._link.ask("setnx", _EPOCH, uuid.uuid4().hex[:12])
        return bytes(self._link.ask("get", _EPOCH) or b"").decode()

    def forget(self, numbers: list[int]) -> None:
        """Let go of entries."""
        if numbers:
            self._link.ask("hdel", _ENTRIES, *map(str, numbers))
            self._link.ask("zrem", _CHANGES, *map(str, numbers))
            self._link.ask("delete", _EPOCH)
