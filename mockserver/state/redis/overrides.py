"""Overrides that stand for all workers: each has a copy, and knows of a change before whoever made it is answered."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from functools import partial
from typing import TYPE_CHECKING

from flowcontract.errors import StateError
from mockserver.request.preferences import ScenarioPreference
from mockserver.state.overrides import Override, Overrides, ignore
from mockserver.state.redis.connection import PREFIX

if TYPE_CHECKING:
    from redis import Redis

    from mockserver.state.overrides import OnDiscard
    from mockserver.state.redis.connection import Link

_ORDERS, _LEFT = f"{PREFIX}overrides", f"{PREFIX}overrides-left"


class SharedOverrides(Overrides):
    """All orders that stand, in Redis."""

    def __init__(self, link: Link) -> None:
        """Keep them where the worlds are."""
        super().__init__()
        self._link = link
        self._numbers = itertools.count()
        self._known: dict[str, tuple[bytes, bool]] | None = None  # what stands, and whether it is counted
        link.hears["overrides"] = self._forget_known

    def put(self, override: Override) -> None:
        """Add an order, or replace the one of the same world and operation."""
        field = _build_field(override.world, override.operation)
        order = json.dumps([override.scenario, time.time(), next(self._numbers)])
        with_count = [("hset", _LEFT, field, override.left)] if override.left else [("hdel", _LEFT, field)]
        self._change([("hset", _ORDERS, field, order), *with_count])

    def take(self, world: str, operation: str, on_discard: OnDiscard = ignore) -> ScenarioPreference | None:
        """Return what an operation has to answer in a world, and count it; what is for this world alone comes first.

        `on_discard` is told how to take that back.
        """
        known = self._known if self._known is not None else self._read_known()
        fields = (
            [field for field in (_build_field(world, operation), _build_field(None, operation)) if field in known]
            if known
            else []
        )
        if not fields:
            return None
        order, counted = known[fields[0]]
        if not counted:
            return ScenarioPreference.from_name(json.loads(order)[0], "override")
        taken = self._link.run("take", *fields, keys=(_ORDERS, _LEFT))
        if taken is None:
            return None
        order, field, counted = taken
        if counted:
            on_discard(partial(self._return, field, order))
        return ScenarioPreference.from_name(json.loads(order)[0], "override")

    def _read_known(self) -> dict[str, tuple[bytes, bool]]:
        orders, left = self._link.ask("hgetall", _ORDERS), self._link.ask("hkeys", _LEFT)
        self._known = {field.decode(): (order, field in left) for field, order in orders.items()}
        return self._known

    def _forget_known(self) -> None:
        self._known = None

    def _return(self, field: bytes, order: bytes) -> None:
        with contextlib.suppress(StateError):  # gone: then it stands as taken
            self._link.run("give_back", field, order, keys=(_ORDERS, _LEFT))
            self._known = None

    def list_all(self) -> list[Override]:
        """Return all orders, the oldest first."""
        orders, left = self._link.ask("hgetall", _ORDERS), self._link.ask("hgetall", _LEFT)
        ordered = sorted((json.loads(order), field) for field, order in orders.items())
        ordered.sort(key=lambda entry: entry[0][1:])
        return [_read_override(field, order[0], left.get(field)) for order, field in ordered]

    def remove(self, *, world: str | None = None, operation: str | None = None) -> int:
        """Remove what was ordered for a world, an operation, both, or everything; return how many there were."""
        removed = [
            _build_field(override.world, override.operation)
            for override in self.list_all()
            if world in (None, override.world) and operation in (None, override.operation)
        ]
        if removed:
            self._change([("hdel", _ORDERS, *removed), ("hdel", _LEFT, *removed)])
        return len(removed)

    def withdraw(self, world: str | None, operation: str) -> int:
        """Remove the one order for a world, or for all of them together; return how many there were."""
        field = _build_field(world, operation)
        there = int(self._link.ask("hexists", _ORDERS, field))
        self._change([("hdel", _ORDERS, field), ("hdel", _LEFT, field)])
        return there

    def _change(self, commands: list[tuple[str | int, ...]]) -> None:
        """Send several commands that are done together."""

        def send(client: Redis) -> None:
            with client.pipeline(transaction=True) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
                pipeline.execute()

        self._link.call(send)
        self._known = None
        self._link.tell("overrides")


def _build_field(world: str | None, operation: str) -> str:
    return json.dumps([world, operation])


def _read_override(field: bytes, scenario: str, left: bytes | None) -> Override:
    world, operation = json.loads(field)
    return Override(operation, scenario, world, None if left is None else int(left))
