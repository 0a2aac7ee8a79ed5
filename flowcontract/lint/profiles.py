"""Checks of profiles: the format of OpenAPI Overlay 1.0, existing targets, and the names in `x-profile`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract.errors import FlowContractError, SpecError
from flowcontract.lint import scenarios
from flowcontract.lint.references import as_mapping, as_sequence
from flowcontract.lint.sources import suggest
from flowcontract.pointers import escape
from flowcontract.specs import model as specs
from flowcontract.specs import overlay
from flowcontract.specs.profiles import load_profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.lint.findings import Finding
    from flowcontract.lint.project import Project, View, YamlFile

_FIELDS = {"overlay", "info", "extends", "actions"}
_ACTION_FIELDS = {"target", "description", "update", "remove"}
_NAME = "overlay"  # how the errors of an action begin


def check(project: Project, view: View) -> Iterator[Finding]:
    """Yield what is wrong with the profiles of an API: https://spec.openapis.org/overlay/v1.0.0.html."""
    for path in sorted((project.specs / view.name / "profiles").glob("*.yaml")):
        file = project.files.get(path)
        if file is not None:
            yield from _check_head(file)
            yield from _check_x_profile(file)
            yield from _check_actions(file, _build_document_before(file, view))


def check_defaults(project: Project, view: View) -> Iterator[Finding]:
    """Yield every default of a profile whose operation or scenario does not exist."""
    if view.profile is None or view.api is None:
        return
    operations = view.api.operations
    for name, key in as_mapping(as_mapping(view.profile.data.get("x-profile")).get("defaults")).items():
        where = f"/x-profile/defaults/{escape(name)}"
        if name not in operations:
            what = f'{view.name} has no operation "{name}"'
            yield view.profile.build_finding(where, what, suggest(name, frozenset(operations)))
        elif key not in (known := scenarios.list_scenario_keys(project, view, operations[name])):
            what = f'"{key}" is no scenario of {name}'
            yield view.profile.build_finding(where, what, suggest(str(key), frozenset(known)))


def _check_x_profile(file: YamlFile) -> Iterator[Finding]:
    """Check a profile's `x-profile`: the release, and the profile that it builds on."""
    said = file.data.get("x-profile") if isinstance(file.data, dict) else None
    if not isinstance(said, dict) or not said.get("release"):
        yield file.build_finding(
            "/x-profile", "nothing says which release this is", "Write `x-profile: {release: ...}`."
        )
    try:
        load_profile(file.path.parent.parent, file.path.stem)
    except FlowContractError as error:
        what, _, todo = str(error).removeprefix(f"{file.path}: ").partition(". ")
        yield file.build_finding("/x-profile", what.rstrip("."), todo or "Mend the x-profile.")


def _build_document_before(file: YamlFile, view: View) -> dict[str, Any]:
    """Return the document that a profile is applied to: with the profiles that it builds on."""
    base = as_mapping(as_mapping(file.data).get("x-profile")).get("builds_on")
    try:
        return dict(specs.load_bundle(file.path.parent.parent, profile=base).document if base else view.document)
    except FlowContractError:
        return dict(view.document)  # reported by `_check_x_profile`


def _check_actions(file: YamlFile, document: dict[str, Any]) -> Iterator[Finding]:
    """Check each action on the document, changed by the actions before it."""
    actions = as_mapping(file.data).get("actions")
    if not isinstance(actions, list) or not actions:
        yield file.build_finding("/actions", "the overlay has no list of `actions`", "Say what it changes.")
    for index, action in enumerate(as_sequence(actions)):
        found = list(_check_form(file, f"/actions/{index}", action))
        if not found:
            try:
                document = overlay.apply(document, {"overlay": "1.0.0", "actions": [action]}, name=_NAME)
            except SpecError as error:
                what, _, todo = str(error).removeprefix(f"{_NAME}, action 1").lstrip(": ").partition(". ")
                found.append(file.build_finding(f"/actions/{index}/target", what, todo or "Mend the action."))
        yield from found


def _check_head(file: YamlFile) -> Iterator[Finding]:
    data = as_mapping(file.data)
    if data.get("overlay") != "1.0.0":
        yield file.build_finding(
            "/overlay", "the file is not an OpenAPI Overlay 1.0", "Begin it with `overlay: 1.0.0`."
        )
    info = as_mapping(data.get("info"))
    for key in ("title", "version"):
        if not isinstance(info.get(key), str) or not info[key]:
            yield file.build_finding(f"/info/{key}", f"the overlay's info has no {key}", "Write it, as text.")
    extends = data.get("extends")
    if (
        not isinstance(extends, str)
        or (file.path.parent / extends).resolve() != file.path.parent.parent / "openapi.yaml"
    ):
        yield file.build_finding(
            "/extends", f"`extends: {extends}` does not name the API", "Write `extends: ../openapi.yaml`."
        )
    for key in data:
        if key not in _FIELDS and not key.startswith("x-"):
            yield file.build_finding(f"/{key}", f'an overlay has no field "{key}"', "Drop it.")


def _check_form(file: YamlFile, where: str, action: Any) -> Iterator[Finding]:
    if not isinstance(action, dict) or not isinstance(action.get("target"), str):
        yield file.build_finding(where, "the action has no `target`", "Write a JSONPath into the contract.")
        return
    for key in action:
        if key not in _ACTION_FIELDS and not key.startswith("x-"):
            yield file.build_finding(f"{where}/{key}", f'an action has no field "{key}"', "Drop it.")
    if ("update" in action) == (action.get("remove") is True):
        yield file.build_finding(where, "the action must have one of `update` and `remove: true`", "Write one of them.")
