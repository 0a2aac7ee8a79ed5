"""Counts of all workers, which each adds to, and gauges that each has for itself."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from mockserver.state.redis.connection import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mockserver.state.redis.connection import Link

_COUNTS, _GAUGES = f"{PREFIX}counts", f"{PREFIX}gauges"


class SharedTally:
    """Where workers count together."""

    def __init__(self, link: Link) -> None:
        """Count where the worlds are."""
        self._link = link

    def ask_regularly(self, flush: Callable[[], None]) -> None:
        """Call `flush` every few seconds, as long as this worker is alive."""
        self._link.on_beat = flush

    def add(self, counts: Mapping[str, int], gauges: Mapping[str, float]) -> None:
        """Add to the counts, and say what this worker's gauges are now; raise StateError."""
        worker, text = self._link.worker, json.dumps(dict(gauges))

        def write(client: object) -> None:
            with client.pipeline(transaction=True) as pipeline:  # type: ignore[attr-defined]
                for name, count in counts.items():
                    pipeline.hincrby(_COUNTS, name, count)
                pipeline.hset(_GAUGES, worker, text)
                pipeline.execute()

        self._link.call(write)

    def read(self) -> tuple[dict[str, int], dict[str, float]]:
        """Return the counts, and the sums of the gauges of workers that are alive; raise StateError."""
        counts = {name.decode(): int(count) for name, count in self._link.ask("hgetall", _COUNTS).items()}
        living = self._link.list_living() | {self._link.worker}
        told = {worker.decode(): text for worker, text in self._link.ask("hgetall", _GAUGES).items()}
        if gone := [worker for worker in told if worker not in living]:
            self._link.ask("hdel", _GAUGES, *gone)
        gauges: Counter[str] = Counter()
        for worker in living & told.keys():
            gauges.update(json.loads(told[worker]))
        return counts, dict(gauges)
