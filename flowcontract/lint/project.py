"""The input of the checks: every YAML file with its lines, every API as a bundle, plain and under each profile."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jsonpath
import jsonschema_rs
import yaml

from flowcontract import pointers, yamlio
from flowcontract.errors import FlowContractError, SpecError
from flowcontract.lint.findings import Finding, display_path
from flowcontract.schemas.validators import Validators
from flowcontract.specs import model as specs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from flowcontract.schemas.violations import Violation
    from flowcontract.specs.bundle import Bundle
    from flowcontract.specs.model import Api

_YAML_ERROR = re.compile(r"YAML(?:, line (?P<line>\d+))?: (?P<what>.*)\. Mend the YAML\.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class YamlFile:
    """One parsed file: `data` in JSON's types, `lines` from JSON pointers to lines."""

    path: Path
    text: str
    data: Any
    lines: Mapping[str, int]

    def find_line(self, pointer: str) -> int:
        """Return the line of a value, or of the nearest value around it."""
        while pointer and pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return self.lines.get(pointer, 1)

    def build_finding(self, pointer: str, what: str, todo: str) -> Finding:
        """Return a finding at a value of this file."""
        return Finding(self.path, self.find_line(pointer), what, todo)


def read(path: Path) -> YamlFile | Finding:
    """Read one YAML file; return a finding if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Finding(path, 1, f"the file cannot be read as UTF-8 text: {error}", "Write it anew as UTF-8.")
    try:
        data = yamlio.loads(text, name="YAML")
        return YamlFile(path, text, data, yamlio.locate_lines(text))
    except SpecError as error:
        match = _YAML_ERROR.fullmatch(str(error))
        what, line = (match["what"], int(match["line"] or 1)) if match else (str(error), 1)
        return Finding(path, line, f"the file is not readable YAML: {what}", "Mend the YAML.")
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        return Finding(path, 1, f"the file is not readable YAML: {type(error).__name__}: {error}", "Mend the YAML.")


@dataclass(frozen=True)
class View:
    """One API, as documented or with a profile applied."""

    name: str
    profile: YamlFile | None
    document: Mapping[str, Any] = field(repr=False)
    bundle: Bundle = field(repr=False)
    base: Mapping[str, Any] = field(repr=False)  # the document without the profile
    api: Api | None = field(repr=False)  # None where the document does not read as an API
    files: Mapping[Path, YamlFile] = field(repr=False)

    def build_finding(self, pointer: str, what: str, todo: str) -> Finding:
        """Return a finding at a value of the bundle, placed in the file that it comes from."""
        path, line = self.locate(pointer)
        return Finding(path, line, what, todo)

    def has(self, pointer: str) -> bool:
        """Tell whether the bundle has a value at a pointer."""
        try:
            pointers.resolve(self.document, pointer)
        except KeyError:
            return False
        return True

    def find_violations(self, pointer: str, value: Any) -> list[Violation]:
        """Return the violations of a value by a schema; none if it does not compile, which `schemas` reports."""
        try:
            return self.validators.find_violations(pointer, value)
        except (FlowContractError, ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
            return []

    @cached_property
    def validators(self) -> Validators:
        """The compiled schemas of this document."""
        return Validators(self.document)

    def locate(self, pointer: str) -> tuple[Path, int]:
        """Return the file and the line of a value of the bundle."""
        if self.profile is not None and (line := self._find_line_in_profile(pointer)):
            return self.profile.path, line
        path, inner = self.bundle.find_origin(pointer)
        return path, self.files[path].find_line(inner) if path in self.files else 1

    def _find_line_in_profile(self, pointer: str) -> int | None:
        """Return the line of the last action of the profile that set a value, or None."""
        found = None
        for index, targets in self._targets:
            action = f"/actions/{index}/update"
            for target in targets:
                inner = f"{action}{pointer.removeprefix(target)}"
                if pointer.startswith(f"{target}/") and inner in self.profile_lines:
                    found = self.profile_lines[inner]
        return found

    @cached_property
    def profile_lines(self) -> Mapping[str, int]:
        """The lines of the profile's values; none without a profile."""
        return self.profile.lines if self.profile else {}

    @cached_property
    def _targets(self) -> list[tuple[int, list[str]]]:
        actions = self.profile.data["actions"] if self.profile else []
        return [
            (index, [match.pointer().__str__() for match in jsonpath.finditer(action["target"], dict(self.base))])
            for index, action in enumerate(actions)
        ]


@dataclass(frozen=True, eq=False)
class Project:
    """Everything to check. `broken` are the findings of reading it."""

    specs: Path
    fixtures: Path
    names: tuple[str, ...]  # of the APIs that are checked
    files: Mapping[Path, YamlFile] = field(repr=False)  # every readable YAML file under both folders
    broken: tuple[Finding, ...] = ()
    views: tuple[View, ...] = field(default=(), repr=False)  # every API, then each of its profiles
    ours: bool = True  # whether the scenarios are the contract's own; a user may name theirs freely

    @property
    def whole(self) -> bool:
        """Whether all APIs are checked, so that unused things can be found."""
        return set(self.names) == set(specs.list_apis(self.specs))

    @cached_property
    def unreadable(self) -> frozenset[Path]:
        """The files that cannot be read: nothing counts as missing because of them."""
        return frozenset(finding.path for finding in self.broken) - frozenset(self.files)

    def list_spec_files(self) -> list[YamlFile]:
        """Return the readable files under the specs, sorted by path."""
        return [file for path, file in sorted(self.files.items()) if path.is_relative_to(self.specs)]

    def find_spec(self, name: str) -> YamlFile | None:
        """Return a file by its path below the specs, None where it is missing or cannot be read."""
        return self.files.get(self.specs / name)


def load(specs_root: Path, fixtures_root: Path, names: Iterable[str] = ()) -> Project:
    """Read everything to check; errors become findings."""
    roots = specs_root.resolve(), fixtures_root.resolve()
    files: dict[Path, YamlFile] = {}
    broken: list[Finding] = []
    for path in (path for root in roots for path in sorted(root.rglob("*.yaml")) if path.is_file()):
        result = read(path)
        if isinstance(result, Finding):
            broken.append(result)
        else:
            files[path] = result
    wanted = tuple(names) or specs.list_apis(roots[0])
    views: list[View] = []
    failures: list[Finding] = []
    for name in wanted:
        folder = roots[0] / name
        try:
            base = specs.load_bundle(folder)
        except Exception as error:  # noqa: BLE001 - whatever a malformed document does to the reader is a finding
            failures.append(_to_finding(folder / "openapi.yaml", error))
            continue  # without a bundle, profiles cannot be applied
        for profile in (None, *sorted((folder / "profiles").glob("*.yaml"))):
            seen, failure = _make_view(folder, profile, base, files)
            views += [seen] if seen else []
            failures += [failure] if failure else []
    return Project(*roots, wanted, files, (*broken, *failures), tuple(views))


def _make_view(
    folder: Path, profile: Path | None, base: Bundle, files: Mapping[Path, YamlFile]
) -> tuple[View | None, Finding | None]:
    """Return the view of an API, and a finding if the profile cannot be applied or the API cannot be read."""
    where = profile or folder / "openapi.yaml"
    stem = profile.stem if profile else None
    api, failure = None, None
    try:
        bundled = specs.load_bundle(folder, profile=stem) if profile else base
    except Exception as error:  # noqa: BLE001 - whatever a malformed document does to the reader is a finding
        return None, _to_finding(where, error)
    try:
        api = specs.load_api(folder.name, profile=stem, root=folder.parent)
    except Exception as error:  # noqa: BLE001
        failure = _to_finding(where, error)
    overlay = files.get(profile) if profile else None
    return View(folder.name, overlay, bundled.document, bundled, base.document, api, files), failure


def _to_finding(path: Path, error: Exception) -> Finding:
    text = str(error).replace(str(path), display_path(path)) or type(error).__name__
    return Finding(path, 1, f"this does not read as an API: {text}", "Mend what is named.", vague=True)
