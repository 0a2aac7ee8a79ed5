"""Checks of the files: dangling references, unused files, names that collide."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import yaml

from flowcontract import pointers
from flowcontract.lint.findings import Finding
from flowcontract.pointers import escape
from flowcontract.specs.bundle import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flowcontract.lint.project import Project, YamlFile


def check(project: Project) -> Iterator[Finding]:
    """Yield what is wrong with the files under `specs/`."""
    for file in project.list_spec_files():
        yield from _check_references(project, file)
        yield from _find_number_keys(file)
    if not (project.specs / "sources.yaml").is_file():
        yield Finding(
            project.specs / "sources.yaml", 1, "the file is missing", "Write whose each line of a document is."
        )
    for name in project.names:
        yield from _check_stems(project, name)
    if project.whole:
        yield from _find_unreferenced(project)


def list_references(file: YamlFile) -> Iterator[tuple[str, str]]:
    """Yield every reference of a file: the pointer of its object, and its text."""
    waiting: list[tuple[str, Any]] = [("", file.data)]
    while waiting:
        pointer, node = waiting.pop()
        if isinstance(node, list):
            waiting += [(f"{pointer}/{index}", item) for index, item in enumerate(node)]
        elif isinstance(node, dict):
            waiting += [(f"{pointer}/{escape(key)}", value) for key, value in node.items()]
            if isinstance(node.get("$ref"), str):
                yield pointer, node["$ref"]


def _check_references(project: Project, file: YamlFile) -> Iterator[Finding]:
    for pointer, reference in list_references(file):
        name, _, fragment = reference.partition("#")
        target = (file.path.parent / name).resolve() if name else file.path
        where = f"{pointer}/$ref"
        if name and not target.is_file():
            close = difflib.get_close_matches(name, _list_siblings(file.path, name), n=1)
            todo = f'Did you mean "{close[0]}"?' if close else "Mend the path, or write the file."
            yield file.build_finding(where, f'"$ref: {reference}" leads to no file', todo)
        elif not target.is_relative_to(project.specs):
            yield file.build_finding(
                where, f'"$ref: {reference}" leads out of {project.specs.name}/', "Move the file into it."
            )
        elif name and target.parent.name not in SECTIONS:
            folders = ", ".join(sorted(SECTIONS))
            yield file.build_finding(
                where, f'"$ref: {reference}" leads into no folder of parts', f"Use one of: {folders}."
            )
        elif (
            fragment
            and target in project.files
            and not _is_of_another_api(project, target)
            and not any(_resolves(data, fragment) for data in _list_targets(project, target))
        ):
            yield file.build_finding(where, f'"$ref: {reference}": nothing stands at "{fragment}"', "Mend the pointer.")


def _is_of_another_api(project: Project, target: Path) -> bool:
    """Tell whether a file is a profile of an API that is not checked, so that its targets are unknown."""
    return target.parent.name == "profiles" and target.parent.parent.name not in project.names


def _list_targets(project: Project, target: Path) -> Iterator[Any]:
    """Yield the documents that a reference may lead into: the file, or the contract with a profile applied."""
    yield project.files[target].data
    yield from (view.document for view in project.views if view.profile and view.profile.path == target)


def _list_siblings(path: Path, reference: str) -> list[str]:
    folder = reference.rpartition("/")[0]
    return [f"{folder}/{file.name}" if folder else file.name for file in (path.parent / folder).glob("*.yaml")]


def _resolves(data: Any, pointer: str) -> bool:
    try:
        pointers.resolve(data, pointer)
    except KeyError:
        return False
    return pointer.startswith("/")


def find_reachable(project: Project, name: str) -> dict[Path, None]:
    """Return all files that an API's `openapi.yaml` refers to, itself included, in the order of reading."""
    found: dict[Path, None] = {}
    waiting = [project.specs / name / "openapi.yaml"]
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found[path] = None
        if path not in project.files:
            continue  # it cannot be read
        names = [reference.partition("#")[0] for _, reference in list_references(project.files[path])]
        waiting += [(path.parent / name).resolve() for name in names if name]
    return found


def _check_stems(project: Project, name: str) -> Iterator[Finding]:
    """Find files that would become the same component of the bundle: same folder name, same stem."""
    seen: dict[tuple[str, str], Path] = {}
    for path in sorted(
        find_reachable(project, name), key=lambda path: (not path.is_relative_to(project.specs / name), path)
    ):
        key = path.parent.name, path.stem
        if key in seen:
            yield Finding(
                seen[key], 1,
                f"{name} also reads {path.relative_to(project.specs)}, and both would be the component {'/'.join(key)}",
                "Rename one of the two files.",
            )  # fmt: skip
        seen.setdefault(key, path)


def _find_unreferenced(project: Project) -> Iterator[Finding]:
    used = {path for name in project.names for path in find_reachable(project, name)}
    for path in sorted(path for path in project.specs.rglob("*") if path.is_file()):
        place = path.relative_to(project.specs).parts
        own = place == ("sources.yaml",) or place[0] == "documents" or (place[0] in project.names and (
            place[1:] in (("openapi.yaml",), ("rulings.yaml",)) or (place[1] == "profiles" and path.suffix == ".yaml")
        ))  # fmt: skip
        hidden = own or project.unreadable & used  # an unreadable file may refer to it
        if path not in used and not hidden:
            yield Finding(path, 1, "nothing refers to this file", "Refer to it from a contract, or delete it.")


def _find_number_keys(file: YamlFile) -> Iterator[Finding]:
    """Find unquoted statuses: YAML reads them as numbers, but OpenAPI's keys are text."""
    root = yaml.compose(file.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    waiting: list[tuple[str, yaml.Node]] = [("", root)] if root else []
    while waiting:
        parent, node = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += [(parent, item) for item in node.value]
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                waiting.append((key.value, value))
                if parent == "responses" and key.tag == "tag:yaml.org,2002:int":
                    line = key.start_mark.line + 1
                    yield Finding(
                        file.path, line, f"the status {key.value} is a number", f"Write '{key.value}' in quotes."
                    )
