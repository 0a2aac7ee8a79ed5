"""Finds the place of a demand in `specs/`: file and line of the part that cites the demand's sources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcontract import paths, pointers, yamlio
from flowcontract.provenance.sources import RULING, as_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_CITING = {"x-source": "", "source": "", "x-ruling": RULING, "ruling": RULING, "x-observed": "observed: "}


class Place(NamedTuple):
    """A line of a file. ``file`` is relative to the folder that holds `specs`, with slashes."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the contract with its citations."""

    place: Place
    pointer: str
    cites: frozenset[str]


def find_place(operation: str, sources: Sequence[str], where: str = "") -> Place:
    """Return the place of a demand in the specs.

    ``operation``  qualified: `dify-chat/sendChatMessage`; its own place is returned if no part cites a source
    ``sources``    those of a violation, the closest first
    ``where``      JSON pointer into the body or event; chooses among parts that cite the same
    """
    api, _, name = operation.partition("/")
    own = _find_operation(api, name)
    wanted = frozenset(sources)
    parts = [part for part in _list_parts(api) if part.cites & wanted]
    field = where.rpartition("/")[2]

    def rank_nearness(part: _Part) -> tuple[Any, ...]:
        return (
            min(sources.index(cited) for cited in part.cites & wanted),
            part.cites != wanted,
            field != part.pointer.rpartition("/")[2],
            not (part.place.file == own.place.file and part.pointer.startswith(own.pointer)),
        )

    return min(parts, key=rank_nearness, default=own).place


@cache
def _find_operation(api: str, name: str) -> _Part:
    """Return the part of an operation; the beginning of its API's file if it is unknown."""
    file = paths.find_specs_root() / api / "openapi.yaml"
    for pointer, line, node in _list_nodes(file):
        if isinstance(node, dict) and node.get("operationId") == name:
            return _Part(_to_place(file, line), pointer, frozenset())
    return _Part(_to_place(file, 1), "", frozenset())


@cache
def _list_parts(api: str) -> tuple[_Part, ...]:
    """Return all parts of an API with citations, shared ones included."""
    root = paths.find_specs_root()
    folders = (root / api, root / api.partition("-")[0])
    files = sorted({file for folder in folders for file in folder.rglob("*.yaml") if file.name != "rulings.yaml"})
    return tuple(
        _Part(_to_place(file, line), pointer, cites)
        for file in files
        for pointer, line, node in _list_nodes(file)
        if isinstance(node, dict) and (cites := frozenset(_list_citations(node, api)))
    )


def _list_citations(node: dict[str, Any], api: str) -> Iterator[str]:
    """Yield the citations of a part in the form of `sources.provenance`; a ruling by its plain and qualified name."""
    for key, prefix in _CITING.items():
        for cited in as_list(node.get(key)):
            yield f"{prefix}{cited}"
            if prefix == RULING:
                yield f"{prefix}{str(cited).removeprefix(f'{api}/')}"
                yield f"{prefix}{api}/{cited}"


def _list_nodes(file: Path) -> Iterable[tuple[str, int, Any]]:
    """Return pointer, line and value of every part of a file."""
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8")
    return _walk(yamlio.loads(text), "", yamlio.locate_lines(text))


def _walk(node: Any, pointer: str, lines: dict[str, int]) -> Iterator[tuple[str, int, Any]]:
    yield pointer, lines.get(pointer, 1), node
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, inner in pairs:
        yield from _walk(inner, f"{pointer}/{pointers.escape(str(name))}", lines)


def _to_place(file: Path, line: int) -> Place:
    return Place(file.relative_to(paths.find_specs_root().parent).as_posix(), line)
