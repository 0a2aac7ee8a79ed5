"""Checks of provenance: sources and rulings exist, and everything that needs them has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from flowcontract.errors import SpecError
from flowcontract.lint import sources as ledger
from flowcontract.lint.positions import walk
from flowcontract.lint.references import as_mapping, as_sequence
from flowcontract.pointers import escape
from flowcontract.provenance.sources import BASES, CHOICE_FIELDS, Source, as_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.lint.findings import Finding
    from flowcontract.lint.project import Project, View, YamlFile

_NEEDS_ORIGIN = ("operation", "response", "parameter")
_LOOKS_LIKE_LINES = re.compile(r"\d+:\d")  # in an x-stream a `source` may also say where it was observed
_RULING_FIELDS = {
    "number": int,
    "name": str,
    "lines": list,
    "readings": list,
    "decision": str,
    "why": str,
    "basis": str,
}
_OPTIONAL_RULING_FIELDS = ("derives", "choices")
_RULING_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def check_origins(view: View) -> Iterator[Finding]:
    """Yield every operation, response, parameter and event with neither source nor observation."""
    for position in walk(view.document):
        if position.kind in _NEEDS_ORIGIN and isinstance(position.value, dict) and "$ref" not in position.value:
            yield from _check_origin(view, position.pointer, position.value, f"the {position.kind}")
    schemas = as_mapping(as_mapping(view.document.get("components")).get("schemas"))
    for name, schema in schemas.items():
        if name.startswith("event.") and isinstance(schema, dict):
            yield from _check_origin(view, f"/components/schemas/{escape(name)}", schema, "the event")


def _check_origin(view: View, pointer: str, value: dict[str, Any], what: str) -> Iterator[Finding]:
    if not {"x-source", "x-observed"} & set(value):
        yield view.build_finding(
            pointer,
            f"{what} has neither `x-source` nor `x-observed`",
            "Name document and lines (`x-source: 001:25-58`), or where it was seen (`x-observed`).",
        )


def check(project: Project) -> Iterator[Finding]:
    """Yield sources beyond their documents, unknown rulings, and ruled places without source or observation."""
    lines, known = ledger.count_lines(project), ledger.collect_names(project)
    for file in project.list_spec_files():
        api = file.path.relative_to(project.specs).parts[0]
        if file.path.name == "sources.yaml":
            continue
        for pointer, node in _list_mappings(file.data):
            yield from _check_sources(file, pointer, node, lines)
            yield from _check_rulings(file, pointer, node, api, known)


def _list_mappings(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    waiting: list[tuple[str, Any]] = [("", data)]
    while waiting:
        pointer, node = waiting.pop()
        if isinstance(node, list):
            waiting += [(f"{pointer}/{index}", item) for index, item in enumerate(node)]
        elif isinstance(node, dict):
            yield pointer, node
            waiting += [(f"{pointer}/{escape(key)}", value) for key, value in node.items()]


def _check_sources(file: YamlFile, pointer: str, node: dict[str, Any], known: dict[str, int]) -> Iterator[Finding]:
    for key in ("x-source", "source") if "/x-stream" in pointer else ("x-source",):
        value = node.get(key)
        for index, source in enumerate(as_list(value)):
            where = f"{pointer}/{key}/{index}" if isinstance(value, list) else f"{pointer}/{key}"
            if key == "source" and not _LOOKS_LIKE_LINES.match(str(source)):
                continue
            if error := ledger.find_source_error(source, known):
                yield file.build_finding(where, *error)
    observed = node.get("x-observed")
    if "x-observed" in node and not all(isinstance(text, str) and text.strip() for text in as_list(observed) or [None]):
        yield file.build_finding(
            f"{pointer}/x-observed", "`x-observed` is empty", "Say where it was seen: server and version."
        )


def _check_rulings(
    file: YamlFile, pointer: str, node: dict[str, Any], api: str, known: ledger.Names
) -> Iterator[Finding]:
    for name, where in list_named_rulings(pointer, node):
        qualified = name if "/" in name else f"{api}/{name}"
        if known.lacks("ruling", qualified):
            yield file.build_finding(where, f'there is no ruling "{qualified}"', known.suggest("ruling", qualified))
    if "x-ruling" in node and not {"x-source", "x-observed"} & set(node):
        yield file.build_finding(
            f"{pointer}/x-ruling",
            "what is ruled here has neither `x-source` nor `x-observed`",
            "Add what the ruling is about.",
        )


def list_named_rulings(pointer: str, node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and pointer of every ruling that an object names."""
    for key in ("x-ruling", "ruling") if "/x-stream" in pointer else ("x-ruling",):
        value = node.get(key)
        for index, name in enumerate(as_list(value)):
            yield str(name), f"{pointer}/{key}/{index}" if isinstance(value, list) else f"{pointer}/{key}"


def check_rulings(project: Project) -> Iterator[Finding]:
    """Yield what is wrong with the rulings, and those that nothing cites."""
    lines, known, used = ledger.count_lines(project), ledger.collect_names(project), _list_used_rulings(project)
    numbers: dict[int, str] = {}
    for file in (file for file in project.list_spec_files() if file.path.name == "rulings.yaml"):
        if not isinstance(file.data, list):
            yield file.build_finding("", "the file is not a list of rulings", "Begin each ruling with `- number:`.")
        seen: set[str] = set()
        for index, ruling in enumerate(as_sequence(file.data)):
            if not isinstance(ruling, dict):
                todo = f"Write {', '.join(_RULING_FIELDS)}."
                yield file.build_finding(f"/{index}", "the ruling is not a mapping", todo)
                continue
            yield from _check_ruling_fields(file, f"/{index}", ruling, lines, known)
            if isinstance(number := ruling.get("number"), int):
                yield from _check_ruling_number(file, f"/{index}/number", number, numbers)
            if isinstance(name := ruling.get("name"), str):
                yield from _check_ruling_name(file, f"/{index}/name", name, seen)
                if project.whole and not project.unreadable and f"{_get_api(file)}/{name}" not in used:
                    what = f'nothing cites the ruling "{_get_api(file)}/{name}"'
                    yield file.build_finding(
                        f"/{index}/name", what, "Cite it where the contract follows it (`x-ruling`)."
                    )


def _get_api(file: YamlFile) -> str:
    """Return the API of a `rulings.yaml`."""
    return file.path.parent.name


def _check_ruling_fields(
    file: YamlFile, where: str, ruling: dict[str, Any], lines: dict[str, int], known: ledger.Names
) -> Iterator[Finding]:
    for key, wanted in _RULING_FIELDS.items():
        value = ruling.get(key)
        if not isinstance(value, wanted) or isinstance(value, bool) or not value:
            yield file.build_finding(
                f"{where}/{key}", f"the ruling's `{key}` is missing, empty or not a {wanted.__name__}", "Write it."
            )
    for key in ruling:
        if key not in (*_RULING_FIELDS, *_OPTIONAL_RULING_FIELDS):
            yield file.build_finding(f"{where}/{escape(key)}", f'a ruling has no field "{key}"', "Drop it.")
    yield from _check_basis(file, where, ruling)
    for index, choice in enumerate(as_sequence(ruling.get("choices"))):
        yield from _check_choice(file, f"{where}/choices/{index}", choice, known)
    for index, source in enumerate(as_sequence(ruling.get("lines"))):
        if error := ledger.find_source_error(source, lines):
            yield file.build_finding(f"{where}/lines/{index}", *error)


def _check_basis(file: YamlFile, where: str, ruling: dict[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the basis of a ruling; only one on a gap may derive its demand from lines."""
    basis, derives = ruling.get("basis"), ruling.get("derives")
    if isinstance(basis, str) and basis not in BASES:
        yield file.build_finding(f"{where}/basis", f'"{basis}" is not a basis', f"Write one of: {', '.join(BASES)}.")
    if derives is None:
        return
    if basis != "gap":
        what = "a ruling that decides between lines derives nothing from them"
        yield file.build_finding(f"{where}/derives", what, "Drop it, or mend the basis.")
    for line in as_list(derives):
        if not any(_is_inside(str(line), str(cited)) for cited in as_sequence(ruling.get("lines"))):
            what = f'the ruling derives its demand from "{line}", which is not among its lines'
            yield file.build_finding(f"{where}/derives", what, "Cite the lines, or name cited ones.")


def _check_choice(file: YamlFile, where: str, choice: Any, known: ledger.Names) -> Iterator[Finding]:
    """Yield what is wrong with a choice: its fields, unknown operations, invalid schemas."""
    fields = set(as_mapping(choice))
    options = as_mapping(as_mapping(choice).get("options"))
    if not CHOICE_FIELDS <= fields <= CHOICE_FIELDS | {"when"} or len(options) < 2:  # noqa: PLR2004 - a choice has two
        todo = f"Write {', '.join(sorted(CHOICE_FIELDS))}, perhaps `when`, and two options at least."
        yield file.build_finding(where, "the choice is not well formed", todo)
        return
    for index, name in enumerate(as_sequence(choice["operations"])):
        qualified = name if "/" in str(name) else f"{_get_api(file)}/{name}"
        if known.lacks("operation", qualified):
            place = f"{where}/operations/{index}"
            yield file.build_finding(
                place, f'there is no operation "{qualified}"', known.suggest("operation", qualified)
            )
    for name, schema in [*choice["options"].items(), ("when", choice.get("when", True))]:
        try:
            jsonschema_rs.meta.validate(schema)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            yield file.build_finding(where, f'"{name}" is not a JSON Schema: {error}'.splitlines()[0], "Mend it.")


def _is_inside(text: str, other: str) -> bool:
    """Tell whether a source is within another."""
    try:
        lines, cited = Source.parse(text), Source.parse(other)
    except SpecError:
        return False
    return lines.document == cited.document and cited.first <= lines.first <= lines.last <= cited.last


def _check_ruling_number(file: YamlFile, where: str, number: int, taken: dict[int, str]) -> Iterator[Finding]:
    if number in taken:
        what = f"the number {number} is taken by {taken[number]}"
        yield file.build_finding(where, what, "Take the next free one over all APIs.")
    taken.setdefault(number, f"a ruling of {_get_api(file)}, line {file.find_line(where)}")


def _check_ruling_name(file: YamlFile, where: str, name: str, taken: set[str]) -> Iterator[Finding]:
    if not _RULING_NAME.fullmatch(name):
        yield file.build_finding(
            where, f'"{name}" is not a name for a ruling', "Use words in lower case, joined by hyphens."
        )
    if name in taken:
        yield file.build_finding(where, f'the name "{name}" is taken by another ruling above', "Choose another.")
    taken.add(name)


def _list_used_rulings(project: Project) -> set[str]:
    """Return the qualified names of all rulings that a contract, `sources.yaml` or a scenario cites."""
    used: set[str] = set()
    for file in project.files.values():
        inside = file.path.is_relative_to(project.specs)
        api = file.path.relative_to(project.specs if inside else project.fixtures).parts[0]
        for pointer, node in _list_mappings(file.data):
            names = [name for name, _ in list_named_rulings(pointer, node)]
            if inside and file.path.name == "sources.yaml":
                names += [str(node["ruling"])] if "ruling" in node else []
            if not inside and not pointer:
                names += [str(name) for name in as_list(node.get("rulings"))]
            used |= {name if "/" in name else f"{api}/{name}" for name in names}
    return used
