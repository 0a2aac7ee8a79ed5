"""Runs all checks, and drops findings that repeat or follow from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from flowcontract.lint import (
    citations,
    coverage,
    document,
    examples,
    files,
    profiles,
    project,
    provenance,
    refusals,
    scenarios,
    schemas,
    streams,
    validator,
)
from flowcontract.lint import sources as ledger
from flowcontract.lint.findings import Finding, run_guarded
from flowcontract.specs.model import list_apis

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from flowcontract.lint.project import Project, View

_OfProject = Callable[["Project"], Iterator[Finding]]
_OfView = Callable[["View"], Iterator[Finding]]
_OfBoth = Callable[["Project", "View"], Iterator[Finding]]
Progress = Callable[[str], None]

# In this order, by the name that is shown as progress.
_PROJECT: dict[str, _OfProject] = {
    "files": files.check,
    "sources": ledger.check,
    "citations": citations.check,
    "rulings": provenance.check_rulings,
    "provenance": provenance.check,
    "scenarios": scenarios.check,
    "files of scenarios": scenarios.check_other_files,
}
_VIEWS: dict[str, _OfView] = {
    "document": document.check,
    "schemas": schemas.check,
    "examples": examples.check,
    "streams": streams.check,
    "openapi-spec-validator": validator.check,
}
_CONTRACT: dict[str, _OfBoth] = {  # only of the contract without profiles
    "origins": lambda _, view: provenance.check_origins(view),
    "refusals": refusals.check,
    "coverage": coverage.check,
    "profiles": profiles.check,
}
_PROFILES: dict[str, _OfBoth] = {
    "defaults": profiles.check_defaults,
    "refusals": refusals.check,
    "scenarios": scenarios.check_profile,
}


def run(
    specs: Path, fixtures: Path, names: Iterable[str] = (), *, progress: Progress = lambda _: None
) -> tuple[Finding, ...]:
    """Check everything and return all findings, sorted. `names` are the APIs to check, all by default.

    `progress` is called with the name of each check. Raises FlowContractError if a check cannot be made at all.
    """
    progress("reading")
    loaded = project.load(specs, fixtures, names)
    found = list(loaded.broken)
    for name, check in _PROJECT.items():
        progress(name)
        found += run_guarded(name, loaded.specs, check(loaded))
    for view in loaded.views:
        label = view.name if view.profile is None else f"{view.name}, profile {view.profile.path.stem}"
        own: list[Finding] = []
        for name, check_view in _VIEWS.items():
            progress(f"{label}: {name}")
            own += run_guarded(name, view.bundle.root, check_view(view))
        for name, check_both in (_CONTRACT if view.profile is None else _PROFILES).items():
            progress(f"{label}: {name}")
            own += run_guarded(name, view.bundle.root, check_both(loaded, view))
        found += own if view.profile is None else _keep_new(view, own, found)
    return tuple(sorted(_drop_echoes(found, loaded)))


def _keep_new(view: View, found: Iterable[Finding], before: Iterable[Finding]) -> list[Finding]:
    """Return the findings that only occur with a profile: not those at places that already have one."""
    name = view.profile.path.stem if view.profile else ""
    places = {(finding.path, finding.line) for finding in before}
    return [
        replace(finding, what=f"with the profile {name}: {finding.what}")
        for finding in found
        if (finding.path, finding.line) not in places
    ]


def _drop_echoes(found: Iterable[Finding], loaded: Project) -> set[Finding]:
    """Drop the vague findings of an API if there are definite ones in its files, or in shared files."""
    clear = {finding for finding in found if not finding.vague}
    contract = {_find_area(finding.path, loaded) for finding in clear if finding.path.is_relative_to(loaded.specs)}
    anywhere = {_find_area(finding.path, loaded) for finding in clear}
    apis = list_apis(loaded.specs)
    shared = any(area and area not in apis for area in contract)

    def is_echo(finding: Finding) -> bool:
        area = _find_area(finding.path, loaded)
        known = contract if finding.path.is_relative_to(loaded.specs) else anywhere
        return shared or area in known or (not area and bool(clear))

    return clear | {finding for finding in found if finding.vague and not is_echo(finding)}


def _find_area(path: Path, loaded: Project) -> str:
    """Return the first folder below the specs or the fixtures: an API, or shared parts; '' for their roots."""
    root = loaded.specs if path.is_relative_to(loaded.specs) else loaded.fixtures
    first = next(iter(path.relative_to(root).parts), "") if path.is_relative_to(root) else ""
    return first if (root / first).is_dir() and first else ""
