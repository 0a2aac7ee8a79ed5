"""The journal of all workers: entries that each of them writes and all can read, under numbers that are given once."""

from __future__ import annotations

import json
import threading
import uuid
from typing import TYPE_CHECKING, Any

from flowcontract.errors import StateError
from mockserver.state.changes import Changed
from mockserver.state.redis.connection import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mockserver.state.archive import Archived
    from mockserver.state.group import Group
    from mockserver.state.redis.connection import Link

dump = json.JSONEncoder(separators=(",", ":")).encode
_ENTRIES, _COUNT = f"{PREFIX}journal", f"{PREFIX}requests"
_CHANGES, _REVISION, _EPOCH = f"{PREFIX}changes", f"{PREFIX}revision", f"{PREFIX}epoch"


class SharedArchive:
    """Where journals keep their entries, as JSON, if they are several. They are written together with the worlds."""

    def __init__(self, link: Link, group: Group) -> None:
        """Keep them where the worlds are, whose `group` is flushed before somebody reads."""
        self._link, self._group = link, group
        self._limit = 0
        self._lock = threading.Lock()
        self._waiting: dict[int, Archived] = {}
        self._sent: list[Archived] = []

    @property
    def count(self) -> int:
        """How many requests have come to all workers."""
        self._group.flush()
        return int(self._link.ask("get", _COUNT) or 0)

    def write(self, entry: Archived, limit: int) -> None:
        """Keep an entry, or what has changed in it, and let go of the one that is `limit` older.

        Where that cannot be done for now, it is done with a later one.
        """
        with self._lock:
            self._limit = limit
            self._waiting[id(entry)] = entry
        if not self._group.holds:
            self._group.flush()

    def describe(self) -> tuple[str, tuple[str, ...], list[Any]] | None:
        """Return the script that writes what waits; None where that is nothing."""
        with self._lock:
            self._sent, self._waiting = list(self._waiting.values()), {}
        if not self._sent:
            return None
        values: list[Any] = [self._limit]
        for entry in self._sent:
            values += [entry.number, dump({**entry.as_record(), "worker": self._link.worker}) if self._limit else ""]
        return "write", (_ENTRIES, _COUNT, _CHANGES, _REVISION), values

    def note(self, result: Any) -> None:
        """Give the entries that were written their numbers; what could not be written waits on."""
        if isinstance(result, StateError):
            with self._lock:
                waiting = [*self._sent, *self._waiting.values()][-max(1, self._limit) :]
                self._waiting = {id(entry): entry for entry in waiting}
        else:
            for entry, number in zip(self._sent, result, strict=True):
                entry.number = number
        self._sent = []

    def read(self, number: int | None = None) -> list[dict[str, Any]]:
        """Return one entry, if there is one of this number, or all by their numbers."""
        self._group.flush()
        if number is not None:
            return self._mend([(number, self._link.ask("hget", _ENTRIES, str(number)))])
        return self._mend(sorted((int(key), text) for key, text in self._link.ask("hgetall", _ENTRIES).items()))

    def _mend(self, found: Iterable[tuple[int, bytes | None]]) -> list[dict[str, Any]]:
        """Return entries with their numbers; note which streams ran in workers that have ended."""
        records = [{**json.loads(text), "number": number} for number, text in found if text]
        running = [record for record in records if record["stream"] and record["stream"]["ended"] is None]
        living = self._link.list_living() if running else frozenset()
        for record in running:
            if record.get("worker") not in living:
                record["stream"]["ended"] = "interrupted"
        for record in records:
            record.pop("worker", None)
        return records

    def list_changes(self, epoch: str, after: int, limit: int) -> Changed:
        """Return up to `limit` entries that were written since the revision `after` of an epoch."""
        self._group.flush()
        current = self._read_epoch()
        first = after if epoch == current else 0
        scored = self._link.ask("zrangebyscore", _CHANGES, f"({first}", "+inf", 0, limit, True)
        texts = self._link.ask("hmget", _ENTRIES, [number for number, _ in scored]) if scored else []
        found = [(int(score), int(number), text) for (number, score), text in zip(scored, texts, strict=True) if text]
        records = self._mend((number, text) for _, number, text in found)
        return Changed(current, epoch == current, list(zip((score for score, *_ in found), records, strict=True)))

    def _read_epoch(self) -> str:
        """Return what changes when entries are forgotten, so that those who watch begin anew."""
        self._link.ask("setnx", _EPOCH, uuid.uuid4().hex[:12])
        return bytes(self._link.ask("get", _EPOCH) or b"").decode()

    def forget(self, numbers: list[int]) -> None:
        """Let go of entries."""
        if numbers:
            self._link.ask("hdel", _ENTRIES, *map(str, numbers))
            self._link.ask("zrem", _CHANGES, *map(str, numbers))
            self._link.ask("delete", _EPOCH)
