"""Checks that every documented status, error code and event of every operation has a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract.errors import ScenarioError
from flowcontract.lint import scenarios
from flowcontract.pointers import escape, get_value
from flowcontract.scenarios import read_scenario

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flowcontract.lint.findings import Finding
    from flowcontract.lint.project import Project, View
    from flowcontract.specs.model import Operation


def check(project: Project, view: View) -> Iterator[Finding]:
    """Yield every status, named error example and kind of event that no scenario shows."""
    for operation in view.api.operations.values() if view.api else ():
        there = scenarios.find_scenario_paths(project, view, operation)
        yield from _check_defaults(project, view, operation, set(there))
        yield from _check_statuses(project, view, operation, set(there))
        yield from _check_events(project, view, operation, there)


def _check_defaults(project: Project, view: View, operation: Operation, there: set[str]) -> Iterator[Finding]:
    """Find operations without a default scenario."""
    status = operation.success.status
    names = ["default"] if len(operation.success.media) != 1 or operation.stream is None else []
    for name in (*names, *(["default-streaming"] if operation.stream else [])):
        shown = any(key.startswith(f"{status}-") for key in there)  # else `_check_statuses` reports more
        if shown and f"{status}-{name}" not in there:
            yield view.build_finding(
                operation.pointer,
                f'{operation.id} has no scenario "{status}-{name}", which answers when nothing else is chosen',
                f"Write {scenarios.describe_folder(project, view.name, operation.id)}/{status}-{name}.yaml.",
            )


def _check_statuses(project: Project, view: View, operation: Operation, there: set[str]) -> Iterator[Finding]:
    place = scenarios.describe_folder(project, view.name, operation.id)
    for status, response in operation.responses.items():
        shown = {key.partition("-")[2] for key in there if key.startswith(f"{status}-")}
        if not shown:
            yield view.build_finding(
                f"{operation.pointer}/responses/{status}",
                f"no scenario shows the {status} of {operation.id}",
                f"Write {place}/{status}-NAME.yaml.",
            )
            continue
        for media in response.media.values():
            for name, example in media.examples.items():
                code = name.replace("_", "-")
                if _is_error(status, example.value) and code not in shown:
                    yield view.build_finding(
                        f"{response.pointer}/content/{escape(media.name)}/examples/{escape(name)}",
                        f'no scenario shows the {status} "{name}" of {operation.id}',
                        f"Write {place}/{status}-{code}.yaml.",
                    )


def _is_error(status: int, value: Any) -> bool:
    """Tell whether an example is an error: by its status, or, where errors are 200 too, by `code` and null `data`."""
    return status >= 400 or (isinstance(value, dict) and "code" in value and value.get("data", value) is None)  # noqa: PLR2004


def _check_events(project: Project, view: View, operation: Operation, there: dict[str, Path]) -> Iterator[Finding]:
    for status, response in operation.responses.items():
        for stream in (media.stream for media in response.media.values() if media.stream):
            shown = {
                kind
                for key, path in there.items()
                if key.startswith(f"{status}-")
                for kind in _list_kinds(project, view, path, stream.kind)
            }
            for kind, event in stream.events.items():
                if kind not in shown:
                    yield view.build_finding(
                        event.pointer,
                        f'no stream of {operation.id} shows the event "{kind}"',
                        f"Let a scenario in {scenarios.describe_folder(project, view.name, operation.id)}/ send it.",
                    )


def _list_kinds(project: Project, view: View, path: Path, field: str) -> set[str]:
    """Return the kinds of event that a scenario sends: in `field` of its payloads, or as bare blocks."""
    try:
        reply = read_scenario(path, api_folder=project.fixtures / view.name).reply
    except ScenarioError:
        return set()
    return {
        kind
        for event in (*reply.events, *(reply.stopped or ()))
        for kind in (get_value(event.data, field), event.event if event.template is None else None)
        if isinstance(kind, str)
    }
