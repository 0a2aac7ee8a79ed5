"""Changes as a reader wants them: each told once, with all operations that it concerns, what breaks clients first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from flowcontract.diff.change import Change, Level

Belongs = Callable[[Level, Level], bool]

# The parts of a report in the order in which they are read: a heading, and which changes stand under it.
SECTIONS: tuple[tuple[str, Belongs], ...] = (
    ("breaking for clients and servers", lambda clients, servers: clients == servers == Level.BREAKING),
    ("breaking for clients", lambda clients, _: clients is Level.BREAKING),
    ("breaking for servers", lambda _, servers: servers is Level.BREAKING),
    ("to look at", lambda clients, servers: Level.LOOK in (clients, servers)),
    ("safe", lambda *_: True),
)


@dataclass(frozen=True, slots=True)
class Group:
    """One change, and everywhere it shows.

    ``operations``  whom it concerns, in the order of the contract
    ``schema``      the named schema that has changed, where several places use it; else empty
    ``places``      where in the operations: those that use the schema, or the one place
    ``field``       where in the schema; empty where there is none
    """

    operations: tuple[str, ...]
    schema: str
    places: tuple[str, ...]
    field: str
    what: str
    clients: Level
    servers: Level
    example: tuple[str, ...]

    @property
    def subject(self) -> str:
        """What has changed, in words: a schema's field, or a place of an operation."""
        if not self.schema:
            return self.places[0]
        return f"schema {self.schema}" + (f" field {self.field}" if self.field else "")


def group_changes(changes: Iterable[Change]) -> list[Group]:
    """Return changes with those made one that several operations, or several places of one, have in common."""
    found: dict[tuple[object, ...], list[Change]] = {}
    for change in changes:
        place = (change.schema, change.field) if change.schema else (change.place,)
        api = change.operation.partition("/")[0]
        key = (api, *place, change.what, change.clients, change.servers, change.example)
        found.setdefault(key, []).append(change)
    return [_group(each) for each in found.values()]


def _group(changes: Sequence[Change]) -> Group:
    first = changes[0]
    shared = bool(first.schema) and len({change.place for change in changes}) > 1
    return Group(
        tuple(dict.fromkeys(change.operation for change in changes)),
        first.schema if shared else "",
        tuple(dict.fromkeys(change.user if shared else change.place for change in changes)),
        first.field if shared else "",
        first.what,
        first.clients,
        first.servers,
        first.example,
    )


def list_sections(groups: Iterable[Group]) -> Iterator[tuple[str, list[tuple[tuple[str, ...], list[Group]]]]]:
    """Yield headings with what stands under them: groups by the operations that they concern, the fewest first."""
    rest = list(groups)
    for heading, belongs in SECTIONS:
        here = [group for group in rest if belongs(group.clients, group.servers)]
        rest = [group for group in rest if group not in here]
        by_operations: dict[tuple[str, ...], list[Group]] = {}
        for group in here:
            by_operations.setdefault(group.operations, []).append(group)
        if here:
            yield heading, sorted(by_operations.items(), key=lambda item: len(item[0]) > 1)
