"""Checks of `sources.yaml`: every line of every document has exactly one owner, and every owner exists."""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowcontract import pointers
from flowcontract.errors import SpecError
from flowcontract.lint.references import as_mapping, as_sequence
from flowcontract.provenance.sources import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.lint.findings import Finding
    from flowcontract.lint.project import Project, YamlFile

_LINES = re.compile(r"([1-9]\d*)(?:-([1-9]\d*))?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DOCUMENT_FIELDS = {"file": str, "title": str, "lines": int, "sha256": str, "owners": list}
OWNERS = ("operation", "field", "event", "ruling", "prose")


@dataclass(frozen=True, slots=True)
class Names:
    """The names that owners and `x-ruling` may use, qualified by the API: `dify-chat/sendChatMessage`."""

    operations: frozenset[str]
    events: frozenset[str]
    rulings: frozenset[str]
    unread: frozenset[tuple[str, str]] = (
        frozenset()
    )  # API and file that cannot be read, so that their names are unknown

    def lacks(self, kind: str, name: str) -> bool:
        """Tell whether it is certain that an operation, event or ruling does not exist."""
        there = {"operation": self.operations, "event": self.events, "ruling": self.rulings}[kind]
        file = "rulings.yaml" if kind == "ruling" else "openapi.yaml"
        return name not in there and (kind == "event" or (name.partition("/")[0], file) not in self.unread)

    def suggest(self, kind: str, name: str) -> str:
        """Return advice for a name that does not exist."""
        return suggest(name, {"operation": self.operations, "event": self.events, "ruling": self.rulings}[kind])


@lru_cache(maxsize=1)
def collect_names(project: Project) -> Names:
    """Collect all names from the files themselves, so that one broken API does not hide others."""
    operations, events, rulings = set(), set(), set()
    for file in project.list_spec_files():
        api, *rest = file.path.relative_to(project.specs).parts
        if rest == ["openapi.yaml"]:
            for item in as_mapping(as_mapping(file.data).get("paths")).values():
                operations |= {
                    f"{api}/{operation['operationId']}"
                    for operation in as_mapping(item).values()
                    if "operationId" in as_mapping(operation)
                }
        elif rest == ["rulings.yaml"]:
            rulings |= {f"{api}/{as_mapping(ruling).get('name')}" for ruling in as_sequence(file.data)}
    for path in project.specs.glob("*/events/*.yaml"):
        events.add(f"{path.parent.parent.name}/{path.stem}")
    unread = frozenset((path.parent.name, path.name) for path in project.unreadable)
    return Names(frozenset(operations), frozenset(events), frozenset(rulings), unread)


@lru_cache(maxsize=1)
def count_lines(project: Project) -> dict[str, int]:
    """Return the number of lines of each document that `sources.yaml` describes."""
    file = project.find_spec("sources.yaml")
    documents = as_mapping(as_mapping(file.data).get("documents")) if file else {}
    return {
        name: document["lines"]
        for name, document in documents.items()
        if isinstance(document, dict) and isinstance(document.get("lines"), int)
    }


def find_source_error(text: Any, known: dict[str, int]) -> tuple[str, str] | None:
    """Return what is wrong with a source and what to do; None for existing lines."""
    try:
        source = Source.parse(str(text))
    except SpecError as error:
        what, _, todo = str(error).partition(". ")
        return what, todo
    if known and source.document not in known:
        return (
            f'"{text}" names no document; there is: {", ".join(sorted(known)) or "none"}',
            "Mend the document's number.",
        )
    if source.last > known.get(source.document, source.last):
        return f'"{text}" goes beyond the document, which has {known[source.document]} lines', "Mend the lines."
    return None


def check(project: Project) -> Iterator[Finding]:
    """Yield what is wrong with `sources.yaml`."""
    file = project.find_spec("sources.yaml")
    if file is None:
        return
    documents = as_mapping(file.data).get("documents")
    if not isinstance(documents, dict) or not documents:
        yield file.build_finding(
            "", "the file has no `documents`", "Describe each document: file, title, lines, sha256, owners."
        )
        return
    known = collect_names(project)
    for name, document in documents.items():
        pointer = f"/documents/{name}"
        if not isinstance(document, dict):
            yield file.build_finding(
                pointer, f"document {name} is not a mapping", "Write file, title, lines, sha256, owners."
            )
            continue
        yield from _check_fields(file, pointer, document)
        yield from _check_text(project, file, pointer, document)
        yield from _check_owners(project, file, pointer, document, known)


def _check_fields(file: YamlFile, pointer: str, document: dict[str, Any]) -> Iterator[Finding]:
    for key, wanted in _DOCUMENT_FIELDS.items():
        if not isinstance(document.get(key), wanted) or isinstance(document.get(key), bool):
            yield file.build_finding(f"{pointer}/{key}", f"`{key}` is missing or not a {wanted.__name__}", "Write it.")
    if isinstance(digest := document.get("sha256"), str) and not _DIGEST.fullmatch(digest):
        yield file.build_finding(
            f"{pointer}/sha256", f'"{digest}" is not a SHA-256 digest', "Write 64 hexadecimal digits."
        )
    for key in document:
        if key not in _DOCUMENT_FIELDS:
            yield file.build_finding(f"{pointer}/{key}", f'a document has no field "{key}"', "Drop it.")


def _check_text(project: Project, file: YamlFile, pointer: str, document: dict[str, Any]) -> Iterator[Finding]:
    """Check that the packaged document is the one that the sources refer to."""
    path = project.specs / "documents" / str(document.get("file"))
    if not path.parent.is_dir():
        return  # specs without packaged documents
    if not path.is_file():
        yield file.build_finding(f"{pointer}/file", f'there is no "documents/{path.name}"', "Put the document there.")
    elif hashlib.sha256(path.read_bytes()).hexdigest() != document.get("sha256"):
        what = f'"documents/{path.name}" is not the document that the sources refer to: it has another SHA-256'
        yield file.build_finding(f"{pointer}/sha256", what, "Restore the document.")


def _check_owners(
    project: Project, file: YamlFile, pointer: str, document: dict[str, Any], known: Names
) -> Iterator[Finding]:
    last, total = 0, document.get("lines")
    for index, owner in enumerate(as_sequence(document.get("owners"))):
        where = f"{pointer}/owners/{index}"
        if not isinstance(owner, dict) or not (match := _LINES.fullmatch(str(owner.get("lines")))):
            yield file.build_finding(where, "the owner has no `lines`", "Write `lines: 25` or `lines: 25-34`.")
            continue
        first, end = int(match[1]), int(match[2] or match[1])
        if end < first:
            yield file.build_finding(
                where, f"lines {first}-{end} end before they begin", "Write the smaller line first."
            )
        elif first <= last:
            yield file.build_finding(
                where, f"line {first} already has an owner: lines up to {last} do", "Let it begin later."
            )
        elif first > last + 1:
            gap = f"{last + 1}-{first - 1}" if first > last + 2 else str(first - 1)
            yield file.build_finding(where, f"lines {gap} before this have no owner", "Give them one.")
        if isinstance(total, int) and end > total:
            yield file.build_finding(where, f"line {end} is beyond the document's {total} lines", "Mend the lines.")
        last = max(last, end)
        yield from _check_owner(project, file, where, owner, known)
    if isinstance(total, int) and last < total:
        yield file.build_finding(f"{pointer}/owners", f"lines {last + 1}-{total} have no owner", "Give them one.")


def _check_owner(
    project: Project, file: YamlFile, where: str, owner: dict[str, Any], known: Names
) -> Iterator[Finding]:
    kinds = [key for key in owner if key != "lines"]
    if len(kinds) != 1 or kinds[0] not in OWNERS:
        yield file.build_finding(
            where,
            f"the lines belong to {' and '.join(kinds) or 'nobody'}",
            f"Name exactly one of: {', '.join(OWNERS)}.",
        )
        return
    kind, name = kinds[0], owner[kinds[0]]
    if kind == "prose":
        if not isinstance(name, str) or not name.strip():
            yield file.build_finding(
                f"{where}/prose", "prose without a reason", "Say why no contract follows from these lines."
            )
    elif kind == "field":
        yield from _check_field(project, file, f"{where}/field", str(name))
    elif known.lacks(kind, str(name)):
        yield file.build_finding(f"{where}/{kind}", f'there is no {kind} "{name}"', known.suggest(kind, str(name)))


def suggest(name: str, there: frozenset[str]) -> str:
    """Return advice for a name that does not exist."""
    close = difflib.get_close_matches(name, there, n=1)
    return f'Did you mean "{close[0]}"?' if close else "Name one that exists, as API/NAME."


def _check_field(project: Project, file: YamlFile, where: str, name: str) -> Iterator[Finding]:
    path, _, pointer = name.partition("#")
    target = project.find_spec(path)
    if project.specs / path in project.unreadable:
        return
    if target is None:
        yield file.build_finding(
            where, f'the field\'s file "{path}" does not exist under {project.specs.name}/', "Mend the path."
        )
        return
    try:
        pointers.resolve(target.data, pointer)
    except KeyError:
        yield file.build_finding(where, f'"{path}" has nothing at "{pointer}"', "Mend the pointer.")
