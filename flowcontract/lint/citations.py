"""Checks that the owners of lines in `sources.yaml` cite these lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcontract import pointers
from flowcontract.errors import SpecError
from flowcontract.lint.references import as_mapping, as_sequence
from flowcontract.provenance.sources import Source, as_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.lint.findings import Finding
    from flowcontract.lint.project import Project


def check(project: Project) -> Iterator[Finding]:
    """Yield owners in `sources.yaml` that do not cite the first line they own; the others may be blank."""
    file = project.find_spec("sources.yaml")
    documents = as_mapping(as_mapping(file.data).get("documents")) if file else {}
    for document, entry in documents.items():
        for index, owner in enumerate(as_sequence(as_mapping(entry).get("owners"))):
            where = f"/documents/{pointers.escape(document)}/owners/{index}"
            kinds = [key for key in as_mapping(owner) if key not in ("lines", "prose")]
            first = str(as_mapping(owner).get("lines")).partition("-")[0]
            if file is None or len(kinds) != 1 or not first.isdecimal():
                continue  # reported by the check of sources.yaml
            name = str(owner[kinds[0]])
            cited = _list_citations(project, kinds[0], name)
            if cited is not None and not any(_covers(source, document, int(first)) for source in cited):
                lines = f"{document}:{owner['lines']}"
                what = f'line {document}:{first} belongs to {kinds[0]} "{name}", which does not cite it'
                place = "lines" if kinds[0] == "ruling" else "x-source"
                todo = f'Add "{lines}" to its {place}, or name its real owner.'
                yield file.build_finding(where, what, todo)


def _covers(text: str, document: str, line: int) -> bool:
    try:
        source = Source.parse(text)
    except SpecError:  # an observation, or a mistake that another check reports
        return False
    return source.document == document and source.first <= line <= source.last


def _list_citations(project: Project, kind: str, name: str) -> list[str] | None:
    """Return the sources of an owner and of its parts; None if it does not exist."""
    api, _, plain = name.partition("/")
    if kind == "event":
        return _list_citations_at(project, project.specs / api / "events" / f"{plain}.yaml", "")
    if kind == "field":
        path, _, pointer = name.partition("#")
        return _list_citations_at(project, project.specs / path, pointer)
    if kind == "ruling":
        rulings = project.find_spec(f"{api}/rulings.yaml")
        found = [
            ruling
            for ruling in as_sequence(rulings.data if rulings else None)
            if as_mapping(ruling).get("name") == plain
        ]
        return [str(line) for line in as_list(found[0].get("lines"))] if found else None
    spec = project.find_spec(f"{api}/openapi.yaml")
    for item in as_mapping(as_mapping(spec.data if spec else None).get("paths")).values():
        for operation in as_mapping(item).values():
            if as_mapping(operation).get("operationId") == plain:
                return list(_list_sources(operation))
    return None


def _list_citations_at(project: Project, path: Path, pointer: str) -> list[str] | None:
    """Return the sources of a value and of the file that it refers to; of a scalar, those of its parent."""
    file = project.files.get(path)
    if file is None:
        return None
    try:
        value = pointers.resolve(file.data, pointer)
        around = pointers.resolve(file.data, pointer.rpartition("/")[0]) if pointer else None
    except KeyError:
        return None
    found = list(_list_sources(value))
    if isinstance(value, dict) and isinstance(value.get("$ref"), str):
        other = project.files.get(Path(os.path.normpath(path.parent / value["$ref"].partition("#")[0])))
        found += _list_sources(other.data) if other else []
    elif not isinstance(value, dict):
        found += _list_own_sources(around)
    return found


def _list_own_sources(node: Any) -> list[str]:
    return [str(source) for source in as_list(as_mapping(node).get("x-source"))]


def _list_sources(node: Any) -> Iterator[str]:
    """Yield every `x-source` of a value and of its parts."""
    yield from _list_own_sources(node)
    for child in node.values() if isinstance(node, dict) else as_sequence(node):
        yield from _list_sources(child)
