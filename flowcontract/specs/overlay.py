"""Applies an OpenAPI Overlay 1.0 to a bundle: that is how a profile changes the contract.

https://spec.openapis.org/overlay/v1.0.0.html. A targeted object is merged recursively (lists and scalars in it are
replaced); to a targeted array the update is appended. A target that matches nothing is an error here, since contract
and profile no longer fit each other.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from flowcontract.errors import SpecError

if TYPE_CHECKING:
    import jsonpath


def apply(document: dict[str, Any], overlay: Any, *, name: str) -> dict[str, Any]:
    """Return a changed copy of `document`; raise SpecError, which calls the overlay `name`, for an invalid one."""
    if not isinstance(overlay, dict) or overlay.get("overlay") not in ("1.0.0", "1.0"):
        raise SpecError(f"{name}: not an OpenAPI Overlay 1.0. It begins with `overlay: 1.0.0`.")
    actions = overlay.get("actions")
    if not isinstance(actions, list) or not actions:
        raise SpecError(f"{name}: an overlay needs a list of `actions`.")
    changed = copy.deepcopy(document)
    for number, action in enumerate(actions, start=1):
        _apply_action(changed, action, f"{name}, action {number}")
    return changed


def _apply_action(document: dict[str, Any], action: Any, where: str) -> None:
    if not isinstance(action, dict) or not isinstance(action.get("target"), str):
        raise SpecError(f"{where}: an action needs a `target` in JSONPath.")
    matches = _find(document, action["target"], where)
    if action.get("remove") is True:
        # In reverse, so that removing an array item does not shift those that are still to be removed.
        for match in reversed(matches):
            _remove(document, match, where)
    elif "update" in action:
        for match in matches:
            _update(match.obj, action["update"], f"{where}: {action['target']}")
    else:
        raise SpecError(f"{where}: an action needs `update` or `remove: true`.")


def _find(document: dict[str, Any], target: str, where: str) -> list[jsonpath.JSONPathMatch]:
    import jsonpath  # noqa: PLC0415 - costs a tenth of a second, and only a profile needs it

    try:
        matches = list(jsonpath.finditer(target, document))
    except jsonpath.JSONPathError as error:
        raise SpecError(f"{where}: {target} is not a JSONPath: {error}") from None
    if not matches:
        raise SpecError(f"{where}: {target} matches nothing in the contract. Mend the target, or drop the action.")
    return matches


def _remove(document: dict[str, Any], match: jsonpath.JSONPathMatch, where: str) -> None:
    if not match.parts:
        raise SpecError(f"{where}: the whole document cannot be removed.")
    parent: Any = document
    for part in match.parts[:-1]:
        parent = parent[part]
    del parent[match.parts[-1]]


def _update(node: Any, update: Any, where: str) -> None:
    if isinstance(node, list):
        node.append(copy.deepcopy(update))
    elif isinstance(node, dict) and isinstance(update, dict):
        _merge(node, update)
    else:
        raise SpecError(f"{where}: only an object or an array can be updated.")


def _merge(node: dict[str, Any], update: dict[str, Any]) -> None:
    for key, value in update.items():
        if isinstance(value, dict) and isinstance(node.get(key), dict):
            _merge(node[key], value)
        else:
            node[key] = copy.deepcopy(value)
