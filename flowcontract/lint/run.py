"""Runs all checks, one after the other, and sorts out what several of them say of one mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from flowcontract.errors import FlowContractError
from flowcontract.lint import (
    coverage,
    document,
    examples,
    files,
    ledger,
    problems,
    profiles,
    project,
    provenance,
    scenarios,
    schemas,
    streams,
    validator,
)
from flowcontract.lint.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from flowcontract.lint.project import Project, View

_OfProject = Callable[["Project"], Iterator[Finding]]
_OfView = Callable[["View"], Iterator[Finding]]
_OfBoth = Callable[["Project", "View"], Iterator[Finding]]
Progress = Callable[[str], None]

# In this order; the name is what progress shows.
_PROJECT: dict[str, _OfProject] = {
    "files": files.check,
    "sources": ledger.check,
    "rulings": provenance.check_rulings,
    "provenance": provenance.check,
    "scenarios": scenarios.check,
}
_VIEWS: dict[str, _OfView] = {
    "document": document.check,
    "schemas": schemas.check,
    "examples": examples.check,
    "streams": streams.check,
    "openapi-spec-validator": validator.check,
}
_CONTRACT: dict[str, _OfBoth] = {  # of the contract without profiles
    "origins": lambda _, view: provenance.check_origins(view),
    "problems": problems.check,
    "coverage": coverage.check,
    "profiles": profiles.check,
}
_PROFILES: dict[str, _OfBoth] = {"scenarios": scenarios.check_profile}


def run(
    specs: Path, fixtures: Path, names: Iterable[str] = (), *, progress: Progress = lambda _: None
) -> tuple[Finding, ...]:
    """Check everything and return all findings, sorted. `names` are the APIs to check, all by default.

    `progress` is told what is checked next. Raises FlowContractError where a check cannot be made at all.
    """
    progress("reading")
    loaded = project.load(specs, fixtures, names)
    found = list(loaded.broken)
    for name, check in _PROJECT.items():
        progress(name)
        found += _guarded(name, loaded.specs / "sources.yaml", check, loaded)
    documented: dict[str, set[Finding]] = {}
    for view in loaded.views:
        label = view.name if view.profile is None else f"{view.name}, profile {view.profile.path.stem}"
        own: list[Finding] = []
        for name, check_view in _VIEWS.items():
            progress(f"{label}: {name}")
            own += _guarded(name, view.bundle.root, check_view, view)
        for name, check_both in (_CONTRACT if view.profile is None else _PROFILES).items():
            progress(f"{label}: {name}")
            own += _guarded(name, view.bundle.root, check_both, loaded, view)
        if view.profile is None:
            documented[view.name] = set(own)
            found += own
        else:
            found += [_under(view, finding) for finding in own if finding not in documented[view.name]]
    return tuple(sorted(_without_echoes(found, loaded.specs)))


def check_fixtures(specs: Path, fixtures: Path, names: Iterable[str] = ()) -> tuple[Finding, ...]:
    """Check only a folder of scenarios, for instance a user's own, against the specs; nothing has to be covered."""
    loaded = project.load(specs, fixtures, names)
    broken = [finding for finding in loaded.broken if finding.path.is_relative_to(loaded.fixtures)]
    return tuple(sorted({*broken, *_guarded("scenarios", loaded.fixtures, scenarios.check, loaded)}))


def _guarded(name: str, place: Path, check: Callable[..., Iterator[Finding]], *arguments: object) -> list[Finding]:
    """Return a check's findings. What stops it is a finding, too: mostly of a mistake that another check has named."""
    found: list[Finding] = []
    try:
        for finding in check(*arguments):
            found.append(finding)  # noqa: PERF402 - what came before an exception counts
    except FlowContractError:
        raise
    except Exception as error:  # noqa: BLE001 - a malformed file may do anything to a check
        what = f"the check of {name} stopped: {type(error).__name__}: {error}"
        found.append(Finding(place, 1, what, "Mend the other findings first; if there are none, report this.", vague=True))
    return found


def _under(view: View, finding: Finding) -> Finding:
    name = view.profile.path.stem if view.profile else ""
    return replace(finding, what=f"with the profile {name}: {finding.what}")


def _without_echoes(found: Iterable[Finding], specs: Path) -> set[Finding]:
    """Drop the vague findings of an API where something definite was found in its files, or in those that APIs share."""
    clear = {replace(finding) for finding in found if not finding.vague}
    touched = {_area(finding.path, specs) for finding in clear}
    shared = any(area is not None and not (specs / area / "openapi.yaml").is_file() for area in touched)
    return clear | {
        finding for finding in found if finding.vague and not shared and _area(finding.path, specs) not in touched
    }


def _area(path: Path, specs: Path) -> str | None:
    """Return the first folder below the specs, None outside of them."""
    return path.relative_to(specs).parts[0] if path.is_relative_to(specs) else None
