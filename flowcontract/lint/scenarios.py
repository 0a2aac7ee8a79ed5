"""Checks of every scenario: its place, its request, and its reply against the contract; a stream is judged as a whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowcontract import data, yamlio
from flowcontract.errors import FlowContractError, ScenarioError
from flowcontract.expressions import Context, RequestView
from flowcontract.lint import ledger, media, project as reading
from flowcontract.lint.findings import Finding, guarded
from flowcontract.lint.references import mapping
from flowcontract.scenarios import read_scenario, render_body, render_events, render_headers
from flowcontract.sources import as_list
from flowcontract.streams import StreamJudge
from flowcontract.validation import check_request, find_media, response_violations, sample_violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from flowcontract.lint.project import Project, View, YamlFile
    from flowcontract.scenarios import Scenario
    from flowcontract.specs import MediaType, Operation
    from flowcontract.streams import StreamContract
    from flowcontract.violations import Violation

SHARED = "every-operation"
_FORMAT = "scenario.schema.json"
_NAME = re.compile(r"(?P<status>[1-5][0-9]{2})-(?P<name>[a-z0-9]+(-[a-z0-9]+)*)")
_AT_RUN_TIME = re.compile(r"\$(?:request\.|(?:world|app)\.(?P<name>[^.{}]+))")
_ERRORS = 400  # the lowest status that refuses
_NOW = 1_732_147_200  # the moment of the sample context


def folder(project: Project, api: str, operation: str) -> str:
    """Return where an operation's scenarios lie, as it is printed."""
    return f"{project.fixtures.name}/{api}/{operation}"


def paths(project: Project, api: str, operation: Operation) -> dict[str, Path]:
    """Return an operation's scenario files by `<status>-<name>`: its own, and the shared ones that it documents."""
    root = project.fixtures / api
    shared = {path.stem: path for path in sorted((root / SHARED).glob("*.yaml")) if _documents(operation, path.stem)}
    return shared | {path.stem: path for path in sorted((root / operation.id).glob("*.yaml"))}


def keys(project: Project, view: View, operation: Operation) -> set[str]:
    """Return the `<status>-<name>` of all scenarios of an operation."""
    return set(paths(project, view.name, operation))


def _documents(operation: Operation, key: str) -> bool:
    """Tell whether an operation documents status and example of a shared scenario."""
    match = _NAME.fullmatch(key)
    if match is None or int(match["status"]) not in operation.responses:
        return False
    named = example_names(operation, int(match["status"]))
    return not named or match["name"] in named


def example_names(operation: Operation, status: int) -> set[str]:
    """Return the named examples of a status, written as scenarios are."""
    response = operation.responses[status]
    return {name.replace("_", "-") for media in response.media.values() for name in media.examples}


def check(project: Project) -> Iterator[Finding]:
    """Yield what is wrong with the scenarios of the APIs that are checked, as the contract is without a profile."""
    views = {view.name: view for view in project.views if view.profile is None}
    for path in sorted(project.fixtures.rglob("*.yaml")):
        if path in project.files and (own := _own_folder(project, path)):
            yield from guarded("this scenario", path, _file(project, project.files[path], views.get(own)))
    yield from _other_files(project)


def check_folder(fixtures: Path, names: Iterable[str] = (), *, specs: Path | None = None) -> tuple[Finding, ...]:
    """Check a folder of scenarios, for instance a user's own, against the contract; it need not cover anything."""
    loaded = reading.load(specs or data.specs_root(), fixtures, names)
    broken = [finding for finding in loaded.broken if finding.path.is_relative_to(loaded.fixtures)]
    return tuple(sorted({*broken, *guarded("the scenarios", loaded.fixtures, check(loaded))}))


def check_profile(project: Project, view: View) -> Iterator[Finding]:
    """Judge under a profile the scenarios that a mock with this profile answers with when nothing is asked for: the defaults.

    A profile is an older or newer server. Scenarios of operations or statuses that it does not have are left out, and so
    are the named ones, which somebody asks for who knows them.
    """
    if view.api is None:
        return
    for operation in view.api.operations.values():
        for key, path in paths(project, view.name, operation).items():
            status, _, name = key.partition("-")
            if name.startswith("default") and int(status) in operation.responses and path in project.files:
                yield from guarded("this scenario", path, _default(project, view, operation, path))


def _default(project: Project, view: View, operation: Operation, path: Path) -> Iterator[Finding]:
    try:
        scenario = read_scenario(path, api_folder=project.fixtures / view.name)
    except ScenarioError:
        return  # said without the profile already
    yield from _reply(project.files[path], view, operation, scenario)


def _own_folder(project: Project, path: Path) -> str | None:
    """Return the API in whose folder a file lies; None for one that is not checked this time."""
    first = path.relative_to(project.fixtures).parts[0]
    return first if first in project.names or project.whole else None


def _file(project: Project, file: YamlFile, view: View | None) -> Iterator[Finding]:
    place = file.path.relative_to(project.fixtures).parts
    match = _NAME.fullmatch(file.path.stem)
    if len(place) != 3 or match is None:  # noqa: PLR2004 - <api>/<operationId>/<file>
        yield file.finding("", "this is no place of a scenario", "Name it <api>/<operationId>/<status>-<name>.yaml.")
        return
    if view is None:
        if place[0] not in project.names:
            yield file.finding("", f'there is no API "{place[0]}"', f"Use one of: {', '.join(project.names)}.")
        return
    if view.api is None:
        return
    yield from _names(project, file, view.name)
    operations = view.api.operations
    if place[1] not in (SHARED, *operations):
        known = frozenset(operations) | {SHARED}
        yield file.finding("", f'{view.name} has no operation "{place[1]}"', ledger.nearest(place[1], known))
        return
    concerned = (
        [operations[place[1]]]
        if place[1] in operations
        else [operation for operation in operations.values() if _documents(operation, file.path.stem)]
    )
    yield from _documented(file, view, concerned, int(match["status"]), match["name"])
    try:
        scenario = read_scenario(file.path, api_folder=project.fixtures / view.name)
    except ScenarioError as error:
        yield from_error(file.path, error)
        return
    if scenario.reply.file is not None and not scenario.reply.file.is_file():
        yield file.finding("/reply/file", f"there is no file {_sent(file.data)}", "Mend the path.")
        return
    told: set[tuple[int, str]] = set()
    for operation in concerned:
        if int(match["status"]) in operation.responses:
            for finding in (*_request(file, view, operation, scenario), *_reply(file, view, operation, scenario)):
                if (finding.line, finding.what) not in told:
                    told.add((finding.line, finding.what))
                    yield finding


def from_error(path: Path, error: FlowContractError) -> Finding:
    """Return an error whose text begins `PATH, line N:` or `PATH:` as a finding."""
    text = str(error).removeprefix(str(path))
    match = re.match(r"[,:] ?(?:line )?(?P<line>\d+):\s*", text)
    line = int(match["line"]) if match else 1
    what, _, todo = (text[match.end() :] if match else text.lstrip(":, ")).partition(". ")
    return Finding(path, line, what, todo or "Mend the scenario.")


def _names(project: Project, file: YamlFile, api: str) -> Iterator[Finding]:
    """Check the sources and rulings that a scenario names."""
    lines, known = ledger.lengths(project), ledger.names(project)
    for key, fault in (("source", lambda text: ledger.source_fault(text, lines)), ("rulings", None)):
        value = mapping(file.data).get(key)
        for index, text in enumerate(as_list(value)):
            where = f"/{key}/{index}" if isinstance(value, list) else f"/{key}"
            if fault is not None:
                if found := fault(text):
                    yield file.finding(where, *found)
                continue
            qualified = str(text) if "/" in str(text) else f"{api}/{text}"
            if known.lack("ruling", qualified):
                yield file.finding(where, f'there is no ruling "{qualified}"', known.nearest("ruling", qualified))


def _documented(
    file: YamlFile, view: View, operations: list[Operation], status: int, name: str
) -> Iterator[Finding]:
    """An error's scenario is named after its code; a second one for the same code continues the name."""
    shared = file.path.parent.name == SHARED
    if shared and not operations:
        yield file.finding("", f"no operation of {view.name} documents {status} with an example {name}", "Mend the name.")
    for operation in [] if shared else operations:
        if status not in operation.responses:
            there = ", ".join(map(str, sorted(operation.responses)))
            yield file.finding("", f"{operation.id} documents no {status}; there is: {there}", "Mend the name or the contract.")
            continue
        names = example_names(operation, status)
        if status >= _ERRORS and names and not any(name == each or name.startswith(f"{each}-") for each in names):
            what = f'"{name}" is no example of {operation.id}\'s {status}; there is: {", ".join(sorted(names))}'
            yield file.finding("", what, "Name it after one of them, or document the code.")


def _request(file: YamlFile, view: View, operation: Operation, scenario: Scenario) -> Iterator[Finding]:
    """Check the request that a successful reply belongs to. It is a part of one, so that what it lacks is no fault."""
    match = scenario.request
    if match is None or scenario.status >= _ERRORS or view.api is None:
        return
    media_type = next(iter(operation.request), "")
    checked = check_request(
        view.api.validators,
        operation,
        path={},
        query={name: [str(value)] for name, value in match.query.items()},
        headers={name: str(value) for name, value in match.headers.items()},
        **({"body": match.body, "media_type": media_type} if match.body is not None else {}),
    )
    for violation in checked.violations:
        if violation.violation.rule == "required" or (violation.location == "body" and match.body is None):
            continue
        part = {"body": "body", "query": "query", "header": "headers"}.get(violation.location, "")
        inner = violation.violation.where if part == "body" else f"/{yamlio.escape(violation.field)}"
        yield file.finding(
            f"/request/{part}{inner}",
            f"{operation.id} allows no such request: {violation.message}",
            "Mend the request, or drop it.",
        )


def sample_context(operation: Operation, scenario: Scenario) -> Context:
    """Return the context in which a reply is judged: an example request; what the world knows is the scenario's sample."""
    body = next((each.value for media_type in operation.request.values() for each in media_type.examples.values()), {})
    path = {each.name: Context(seed="lint").id(each.name) for each in operation.parameters if each.location == "path"}
    wrong = scenario.status >= _ERRORS and (operation.request or operation.parameters)
    return Context(
        request=RequestView(operation.method, path=path, body=body),
        seed="lint",
        now=_NOW,
        violation=sample_violation(operation).as_mapping() if wrong else {},
    )


def _reply(file: YamlFile, view: View, operation: Operation, scenario: Scenario) -> Iterator[Finding]:
    if view.api is None:
        return
    context = sample_context(operation, scenario)
    reply = scenario.reply
    try:
        headers = {"Content-Type": reply.media_type, **render_headers(reply, context)}
        if reply.streamed:
            yield from _stream(file, view, operation, scenario, headers, context)
            return
        body = render_body(reply, context)
    except (FlowContractError, OSError) as error:
        yield from_error(file.path, FlowContractError(str(error)))
        return
    if reply.file is not None and (fault := media.fault(reply.file)):
        yield file.finding("/reply/file", f"{reply.file.name} is not what its ending says: {fault}", "Make the file anew.")
    headers = {name: value for name, value in headers.items() if value}
    for violation in response_violations(view.api.validators, operation, scenario.status, headers, body):
        where = f"/reply/body{violation.where}" if reply.kind == "body" and violation.rule not in _NOT_BODY else "/reply"
        yield from _violation(file, where, violation, f"{operation.id}'s {scenario.status}")


_NOT_BODY = ("status", "media-type", "content-type", "header")


def _violation(file: YamlFile, where: str, violation: Violation, what: str) -> Iterator[Finding]:
    """Yield a violation, unless it is about a value that only a running mock can know."""
    if _known_at_run_time(file.data, where):
        return
    yield file.finding(
        where,
        f"the reply breaks {what} ({violation.rule}): expected {violation.expected}, got {violation.got}",
        "Mend the scenario or the contract.",
    )


def _known_at_run_time(scenario: Any, where: str) -> bool:
    """Tell whether a value comes from the request, or from the world without a sample of it."""
    try:
        raw = yamlio.resolve(scenario, where)
    except KeyError:
        return False
    sample = mapping(scenario.get("sample"))
    matches = _AT_RUN_TIME.finditer(raw) if isinstance(raw, str) else ()
    return any(match["name"] is None or match["name"] not in sample for match in matches)


def _stream(
    file: YamlFile, view: View, operation: Operation, scenario: Scenario, headers: Mapping[str, str], context: Context
) -> Iterator[Finding]:
    """Judge a streamed reply by the stream contract of its media type: each event by its kind, and the whole."""
    offered: Mapping[str, MediaType] = operation.responses[scenario.status].media
    name = find_media(offered, headers["Content-Type"])
    contract = offered[name].stream if name is not None else None
    if contract is None:
        there = ", ".join(offered) or "no body"
        yield file.finding(
            "/reply", f"{operation.id}'s {scenario.status} is no stream of {headers['Content-Type']}; there is: {there}", "Mend it."
        )
        return
    listed = "lines" if scenario.reply.kind == "lines" else "events"
    pieces = [(f"/reply/{listed}/{index}", piece.data) for index, piece in enumerate(render_events(scenario.reply, context))]
    what = f"the stream of {operation.id}"
    for where, violation in _judged(contract, pieces):
        yield from _violation(file, where or f"/reply/{listed}", violation, what)
    stops = render_events(scenario.reply, context, stopped=True)
    rest = [(f"/reply/stopped/{index}", piece.data) for index, piece in enumerate(stops)]
    for number in range(1, len(pieces) if scenario.reply.stopped is not None else 1):
        wrong = list(_judged(contract, [*pieces[:number], *rest]))
        if wrong and not _ended(contract, pieces[:number]):
            where, violation = wrong[0]
            where = where if where.startswith("/reply/stopped") else "/reply/stopped"
            yield from _violation(file, where, violation, f"{what}, stopped after {number} events,")
            return


def _judged(contract: StreamContract, pieces: list[tuple[str, bytes]]) -> Iterator[tuple[str, Violation]]:
    """Yield what is wrong with a stream, with the pointer of the event in the scenario, '' for what its end lacks."""
    judge = StreamJudge(contract)
    for where, data in pieces:
        for violation in judge.feed(data):
            yield f"{where}/data{violation.where}" if violation.where else where, violation
    for violation in judge.close():
        yield "", violation


def _ended(contract: StreamContract, pieces: list[tuple[str, bytes]]) -> bool:
    judge = StreamJudge(contract)
    judge.feed(b"".join(data for _, data in pieces))
    return judge.ended


def _sent(scenario: Any) -> str:
    """Return the file that a scenario sends, as its text names it; '' for none."""
    name = mapping(mapping(scenario).get("reply")).get("file")
    return name if isinstance(name, str) else ""


def _other_files(project: Project) -> Iterator[Finding]:
    """Find files that are no scenario and that no scenario sends."""
    folders = {path: file.data for path, file in project.files.items() if path.is_relative_to(project.fixtures)}
    used = {(path.parent / name).resolve() for path, scenario in folders.items() if (name := _sent(scenario))}
    for path in sorted(project.fixtures.rglob("*")):
        if not path.is_file() or path.suffix == ".yaml" or path == project.fixtures / _FORMAT:
            continue
        if _own_folder(project, path) and path.resolve() not in used and not project.unreadable:
            yield Finding(path, 1, "no scenario sends this file", "Name it in a `reply: {file: ...}`, or delete it.")
