"""Overlays change a document as OpenAPI Overlay 1.0 says, and never silently miss."""

from __future__ import annotations

from typing import Any

import pytest

from flowcontract.errors import SpecError
from flowcontract.specs import overlay

DOCUMENT: dict[str, Any] = {
    "paths": {"/site": {"get": {"tags": ["a"]}}, "/info": {"get": {"tags": []}}},
    "order": [{"name": "new", "is": "x"}, {"name": "old", "is": "y"}, {"name": "both", "is": "x"}],
    "type": ["string", "null"],
}


def applied(*actions: dict[str, Any]) -> dict[str, Any]:
    """Return DOCUMENT as changed by some actions."""
    return overlay.apply(DOCUMENT, {"overlay": "1.0.0", "actions": list(actions)}, name="demo.yaml")


def test_an_object_is_merged_and_the_original_stays() -> None:
    """Properties are added or replaced, their siblings stay; the contract itself is never changed by a profile."""
    changed = applied({"target": "$.paths['/site'].get", "update": {"summary": "s", "tags": ["b"]}})
    assert changed["paths"]["/site"]["get"] == {"summary": "s", "tags": ["b"]}
    assert DOCUMENT["paths"]["/site"]["get"] == {"tags": ["a"]}


def test_an_array_gets_the_update_appended() -> None:
    """An array that is a target grows by one entry."""
    assert applied({"target": "$.paths.*.get.tags", "update": "z"})["paths"]["/site"]["get"]["tags"] == ["a", "z"]


def test_several_items_of_one_array_can_be_removed_at_once() -> None:
    """Removing one item does not shift the next one out of reach."""
    assert [item["name"] for item in applied({"target": "$.order[?@.is == 'x']", "remove": True})["order"]] == ["old"]


def test_actions_follow_one_another() -> None:
    """A later action sees what an earlier one left."""
    changed = applied({"target": "$.paths['/site']", "remove": True}, {"target": "$.paths.*", "update": {"x": 1}})
    assert changed["paths"] == {"/info": {"get": {"tags": []}, "x": 1}}


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ([], "not an OpenAPI Overlay"),
        ({"overlay": "2.0.0"}, "not an OpenAPI Overlay"),
        ({"overlay": "1.0.0", "actions": []}, "needs a list of `actions`"),
        ({"overlay": "1.0.0", "actions": ["x"]}, "needs a `target`"),
        ({"overlay": "1.0.0", "actions": [{"target": "$.paths"}]}, "needs `update` or `remove: true`"),
        ({"overlay": "1.0.0", "actions": [{"target": "$.gone", "remove": True}]}, "matches nothing"),
        ({"overlay": "1.0.0", "actions": [{"target": "$.[", "remove": True}]}, "is not a JSONPath"),
        ({"overlay": "1.0.0", "actions": [{"target": "$", "remove": True}]}, "cannot be removed"),
        ({"overlay": "1.0.0", "actions": [{"target": "$.order[0].is", "update": {}}]}, "only an object or an array"),
    ],
)
def test_a_bad_overlay_is_refused_by_name(written: object, complaint: str) -> None:
    """The message names the overlay, the action and the fault."""
    with pytest.raises(SpecError, match=r"demo\.yaml") as caught:
        overlay.apply(DOCUMENT, written, name="demo.yaml")
    assert complaint in str(caught.value)
