"""What each key has: how many conversations, files, runs; and of the last ones what tells them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mockserver.core.controls import Controls
from mockserver.request.credentials import NOBODYS

if TYPE_CHECKING:
    from mockserver.core.mock import Mock
    from mockserver.state.worlds import World

_MOST = 200  # worlds in a list
_ROWS = 20
_SHOWN = 200  # characters of a name
_TELLING = ("id", "name", "title", "query", "status", "user", "size", "created_at")
"""The fields by which a person knows a record; others may be long, and nobody else's business."""


def list_worlds(mock: Mock) -> dict[str, Any]:
    """Return the worlds by name, of those in use here what they have; of others that is told where they are opened."""
    nobodys = {f"{name}{NOBODYS}" for name in mock.apis}
    names = [name for name in mock.worlds.list_names() if name not in nobodys]
    return {"found": len(names), "worlds": [_describe(mock, name) for name in names[:_MOST]]}


def show_world(mock: Mock, name: str) -> dict[str, Any]:
    """Return a world with the last records of each table."""
    if name not in mock.worlds.list_names():
        return {**_describe(mock, name), "records": {}}
    api = Controls(mock).get_api(name)
    world = mock.worlds.open(api, name.removeprefix(api))
    with world.transaction(reading=True):
        tables = {
            table: world.store.read_page(table, order="", limit=None).rows[-_ROWS:] for table in _count_records(world)
        }
    shown = {table: [_tell(record) for record in reversed(rows)] for table, rows in tables.items()}
    return {**_describe(mock, name), "records": shown}


def _describe(mock: Mock, name: str) -> dict[str, Any]:
    api = Controls(mock).get_api(name)
    suffix = name.removeprefix(api)
    world = mock.worlds.peek(name)
    keys = sorted({f"{scheme.mock_key}{suffix}" for scheme in mock.apis[api].schemes.values()})
    content: dict[str, Any] = {"world": name, "api": api, "keys": keys, "tables": None, "streams": 0}
    if world is not None:
        with world.transaction(reading=True):
            content |= {"tables": _count_records(world), "streams": len(world.streams)}
    return content


def _count_records(world: World) -> dict[str, int]:
    """Return how many records each table has; those of single records (`messages of ID`) are part of others."""
    return {table: size for table, size in sorted(world.store.count_rows().items()) if " " not in table}


def _tell(record: dict[str, Any]) -> dict[str, Any]:
    known = {name: record[name] for name in _TELLING if isinstance(record.get(name), str | int | float)}
    return {name: value[:_SHOWN] if isinstance(value, str) else value for name, value in known.items()}
