"""Checks of every scenario: its place, its names, and its request and reply by the contract."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowcontract import paths
from flowcontract.errors import ScenarioError
from flowcontract.lint import project as reading
from flowcontract.lint import replies
from flowcontract.lint import sources as ledger
from flowcontract.lint.findings import Finding, run_guarded
from flowcontract.lint.references import as_mapping
from flowcontract.lint.sources import suggest
from flowcontract.provenance.sources import as_list
from flowcontract.scenarios import APP, is_documented, read_scenario
from flowcontract.scenarios.releases import as_release
from flowcontract.scenarios.sets import PROFILES
from flowcontract.specs.profiles import list_profiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from flowcontract.lint.project import Project, View, YamlFile
    from flowcontract.specs.model import Operation

SHARED = "every-operation"
WORLD = "world.yaml"
_FORMAT = "scenario.schema.json"
NAME = re.compile(r"(?P<status>[1-5][0-9]{2})-(?P<name>[a-z0-9]+(-[a-z0-9]+)*)")


def describe_folder(project: Project, api: str, operation: str) -> str:
    """Return the folder of an operation's scenarios, for display."""
    return f"{project.fixtures.name}/{api}/{operation}"


def find_scenario_paths(project: Project, view: View, operation: Operation) -> dict[str, Path]:
    """Return an operation's scenario files by `<status>-<name>`: documented shared ones, then its own.

    Those of a profile, and of the profiles that it builds on, replace the documents'.
    """
    root = project.fixtures / view.name
    chain = view.api.profile.chain if view.api and view.api.profile else ()
    folders = (root, *(root / PROFILES / name for name in chain))
    shared = {path.stem: path for at in folders for path in sorted((at / SHARED).glob("*.yaml"))}
    own = {path.stem: path for at in folders for path in sorted((at / operation.id).glob("*.yaml"))}
    return {key: path for key, path in shared.items() if is_documented(operation, key)} | own


def list_scenario_keys(project: Project, view: View, operation: Operation) -> set[str]:
    """Return the `<status>-<name>` of all scenarios of an operation."""
    return set(find_scenario_paths(project, view, operation))


def list_example_names(operation: Operation, status: int) -> set[str]:
    """Return the named examples of a status, spelled as names of scenarios."""
    response = operation.responses[status]
    return {name.replace("_", "-") for media in response.media.values() for name in media.examples}


def check(project: Project) -> Iterator[Finding]:
    """Yield what is wrong with the scenarios of the APIs that are checked.

    Each is checked by the contract of its profile, or by the one without a profile.
    """
    views = {(view.name, view.profile.path.stem if view.profile else None): view for view in project.views}
    for path in sorted(project.fixtures.rglob("*.yaml")):
        if path in project.files and (own := _find_api(project, path)):
            view = views.get((own, _find_profile(project, path)))
            yield from run_guarded("this scenario", path, _check_file(project, project.files[path], view))


def _find_profile(project: Project, path: Path) -> str | None:
    """Return the profile of a scenario, None for the documents' own."""
    place = path.relative_to(project.fixtures).parts
    return place[2] if len(place) > 2 and place[1] == PROFILES else None  # noqa: PLR2004 - <api>/profiles/<name>/...


def check_folder(fixtures: Path, names: Iterable[str] = (), *, specs: Path | None = None) -> tuple[Finding, ...]:
    """Check a folder of scenarios, for instance a user's own; coverage is not required."""
    loaded = replace(reading.load(specs or paths.find_specs_root(), fixtures, names), ours=False)
    broken = [finding for finding in loaded.broken if finding.path.is_relative_to(loaded.fixtures)]
    return tuple(sorted({*broken, *run_guarded("the scenarios", loaded.fixtures, check(loaded))}))


def check_profile(project: Project, view: View) -> Iterator[Finding]:
    """Check the default scenarios as they are sent under a profile.

    A profile is an older or newer server. Scenarios of operations or statuses that it lacks are skipped, and so are
    named ones, which are only served on request. Values from the world are not checked, since samples are written for
    the contract without a profile.
    """
    if view.api is None:
        return
    for operation in view.api.operations.values():
        for key, path in find_scenario_paths(project, view, operation).items():
            status, _, name = key.partition("-")
            if name.startswith("default") and int(status) in operation.responses and path in project.files:
                yield from run_guarded("this scenario", path, _check_default(project, view, operation, path))


def _check_default(project: Project, view: View, operation: Operation, path: Path) -> Iterator[Finding]:
    try:
        scenario = read_scenario(path, api_folder=project.fixtures / view.name)
    except ScenarioError:
        return  # already reported without the profile
    scenario = as_release(scenario, view.api, operation) if view.api else scenario
    file = project.files[path]
    unsampled = replace(file, data={key: value for key, value in as_mapping(file.data).items() if key != "sample"})
    yield from replies.check_reply(replies.Case(unsampled, scenario, operation, view.validators))


def _find_api(project: Project, path: Path) -> str | None:
    """Return the API of a file; None if it is not checked."""
    first = path.relative_to(project.fixtures).parts[0]
    return first if first in project.names or project.whole else None


def _check_file(project: Project, file: YamlFile, view: View | None) -> Iterator[Finding]:
    place = file.path.relative_to(project.fixtures).parts
    profile = _find_profile(project, file.path)
    if profile is not None:
        if view is None and place[0] in project.names:
            known = frozenset(list_profiles(project.specs / place[0]))
            yield file.build_finding("", f'{place[0]} has no profile "{profile}"', suggest(profile, known))
            return
        place = (place[0], *place[3:])
    match = NAME.fullmatch(file.path.stem)
    if place[1:] in ((WORLD,), (APP,)):
        return  # not scenarios: the initial world and the app, which the mock reads
    if len(place) != 3 or match is None:  # noqa: PLR2004 - <api>/<operationId>/<file>
        yield file.build_finding(
            "", "this is not the place of a scenario", "Name it <api>/<operationId>/<status>-<name>.yaml."
        )
    elif place[0] not in project.names:
        yield file.build_finding("", f'there is no API "{place[0]}"', f"Use one of: {', '.join(project.names)}.")
    elif view is not None and view.api is not None:  # else findings about the API come first
        yield from _check_names(project, file, view.name)
        yield from _check_place(project, file, view, place[1], int(match["status"]))


def _check_place(project: Project, file: YamlFile, view: View, name: str, status: int) -> Iterator[Finding]:
    operations = view.api.operations if view.api else {}
    if name not in (SHARED, *operations):
        known = frozenset(operations) | {SHARED}
        yield file.build_finding("", f'{view.name} has no operation "{name}"', suggest(name, known))
        return
    if name == SHARED:
        concerned = [operation for operation in operations.values() if is_documented(operation, file.path.stem)]
        if _says_undocumented(file) and not project.ours:
            yield from _find_documented_after_all(file, list(operations.values()), status)
            concerned = [operation for operation in operations.values() if status not in operation.responses]
        elif not concerned:
            what = f"no operation of {view.name} documents this status with an example of this name"
            yield file.build_finding("", what, "Mend the name.")
    else:
        concerned = [operations[name]]
        yield from _check_name(file, operations[name], status, ours=project.ours)
    reported: set[tuple[int, str]] = set()
    for finding in _judge(project, file, view, concerned):
        if (finding.line, finding.what) not in reported:
            reported.add((finding.line, finding.what))
            yield finding


def _judge(project: Project, file: YamlFile, view: View, operations: list[Operation]) -> Iterator[Finding]:
    """Judge a scenario as the reply of each of some operations."""
    try:
        scenario = read_scenario(file.path, api_folder=project.fixtures / view.name)
    except ScenarioError as error:
        yield replies.from_error(file.path, error)
        return
    after, known = scenario.request.after if scenario.request else None, view.api.operations if view.api else {}
    if after is not None and after not in known:
        yield file.build_finding(
            "/request/after", f'{view.name} has no operation "{after}"', suggest(after, frozenset(known))
        )
    if scenario.violations or scenario.verbatim:
        yield from _check_own_marks(project, file)
    found: list[Finding] = []
    for operation in operations:
        check = replies.check if scenario.status in operation.responses else replies.check_rendering
        found += check(replies.Case(file, scenario, operation, view.validators))
    kept = [finding for finding in found if finding.todo in replies.BY_CONTRACT] if scenario.violations else []
    yield from (finding for finding in found if finding not in kept)
    if scenario.violations and not kept:
        yield file.build_finding("/violations", "nothing in it is forbidden by the contract", "Leave `violations` out.")


def _check_own_marks(project: Project, file: YamlFile) -> Iterator[Finding]:
    """Yield findings where a scenario of ours, which shows the contract, says that it is none of it."""
    for mark in ("verbatim", "violations") if project.ours else ():
        if mark in as_mapping(file.data):
            yield file.build_finding(f"/{mark}", f"`{mark}` is for scenarios of a user's own", "Leave it out.")


def _check_names(project: Project, file: YamlFile, api: str) -> Iterator[Finding]:
    """Check the sources and rulings that a scenario names."""
    lines, known = ledger.count_lines(project), ledger.collect_names(project)
    for where, text in _list_values(file, "source"):
        if error := ledger.find_source_error(text, lines):
            yield file.build_finding(where, *error)
    for where, text in _list_values(file, "rulings"):
        qualified = text if "/" in text else f"{api}/{text}"
        if known.lacks("ruling", qualified):
            yield file.build_finding(where, f'there is no ruling "{qualified}"', known.suggest("ruling", qualified))


def _list_values(file: YamlFile, key: str) -> Iterator[tuple[str, str]]:
    """Yield pointer and text of each value under a key, given once or as a list."""
    value = as_mapping(file.data).get(key)
    for index, text in enumerate(as_list(value)):
        yield f"/{key}/{index}" if isinstance(value, list) else f"/{key}", str(text)


def _says_undocumented(file: YamlFile) -> bool:
    return as_mapping(file.data).get("undocumented") is True


def _find_documented_after_all(file: YamlFile, operations: list[Operation], status: int) -> Iterator[Finding]:
    """Yield a finding where a scenario calls a status undocumented that each of its operations documents."""
    if all(status in operation.responses for operation in operations):
        what = f"{status} is documented, for {', '.join(operation.id for operation in operations)}"
        yield file.build_finding("/undocumented", what, "Leave `undocumented` out.")


def _check_name(file: YamlFile, operation: Operation, status: int, *, ours: bool) -> Iterator[Finding]:
    """Check that the status is documented, and that an error's name begins with a documented code.

    A user's own may have a status that no document has, if it says so.
    """
    if _says_undocumented(file):
        yield from _find_documented_after_all(file, [operation], status)
        if not ours:
            return
    if status not in operation.responses:
        there = ", ".join(map(str, sorted(operation.responses)))
        what = f"{operation.id} documents no {status}; there is: {there}"
        todo = "Mend the name or the contract." if ours else "Mend the name, or say `undocumented: true` in the file."
        yield file.build_finding("", what, todo)
        return
    names, name = list_example_names(operation, status), file.path.stem.partition("-")[2]
    if ours and status >= replies.ERRORS and names and not any(f"{name}-".startswith(f"{code}-") for code in names):
        what = f'"{name}" is no example of {operation.id}\'s {status}; there is: {", ".join(sorted(names))}'
        yield file.build_finding("", what, "Name it after one of them, or document the code.")


def _find_sent_file(scenario: Any) -> str:
    """Return the name of the file that a scenario sends; '' for none."""
    name = as_mapping(as_mapping(scenario).get("reply")).get("file")
    return name if isinstance(name, str) else ""


def check_other_files(project: Project) -> Iterator[Finding]:
    """Find files that are neither scenarios nor sent by one."""
    folders = {path: file.data for path, file in project.files.items() if path.is_relative_to(project.fixtures)}
    used = {(path.parent / name).resolve() for path, scenario in folders.items() if (name := _find_sent_file(scenario))}
    for path in sorted(project.fixtures.rglob("*")):
        if not path.is_file() or path.suffix == ".yaml" or path == project.fixtures / _FORMAT:
            continue
        if _find_api(project, path) and path.resolve() not in used and not project.unreadable:
            yield Finding(path, 1, "no scenario sends this file", "Name it in a `reply: {file: ...}`, or delete it.")
