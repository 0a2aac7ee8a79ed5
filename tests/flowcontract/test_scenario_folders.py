"""A user's folder of scenarios adds to ours, and what is wrong in it is told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowcontract.errors import ScenarioError
from flowcontract.scenarios import (
    load_scenarios,
)
from flowcontract.specs.model import load_api

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[str, str], Path]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Return a user's empty folder."""
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


def put(folder: Path, name: str, text: str = "description: Mine.\nreply: {body: mine}\n") -> Path:
    """Write a file into a user's folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_users_scenario_adds_or_replaces_by_name(mine: Path) -> None:
    """What the user does not replace is ours as before."""
    operation = load_api("cybertron").operations["offlineUploadFile"]
    ours = load_scenarios(["cybertron"]).list_keys(operation)
    put(mine, "cybertron/offlineUploadFile/200-default.yaml")
    put(mine, "cybertron/offlineUploadFile/200-my-own.yaml")
    scenarios = load_scenarios(["cybertron"], mine)
    assert scenarios.select_default(operation).description == "Mine."
    assert set(scenarios.list_keys(operation)) == {*ours, "200-my-own"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("cybertron/offlineUploadFile/200-default.yaml", "description: 1\n", "200-default.yaml, line 1"),
        ("cybertron/offlineUploadFile/200-default.yml", "", "Name it <status>-<name>.yaml"),
        ("cybertron/offlineUploadFile/default.yaml", "", "Name it <status>-<name>.yaml"),
        ("cybertrn/offlineUploadFile/200-default.yaml", "", 'Did you mean "cybertron"?'),
        ("cybertron/offlineUpload/200-default.yaml", "", 'Did you mean "offlineUploadFile"?'),
    ],
)
def test_a_mistake_in_a_users_folder_is_told_at_once(mine: Path, name: str, text: str, said: str) -> None:
    """Whoever starts the mock with a broken scenario learns it at the start."""
    put(mine, name, text)
    with pytest.raises(ScenarioError) as error:
        load_scenarios(["cybertron"], mine)
    assert said in str(error.value)


def test_a_users_folder_has_to_be_there(tmp_path: Path) -> None:
    """A slip in `--fixtures` is told, and not taken for an empty folder."""
    with pytest.raises(ScenarioError, match="there is no such folder"):
        load_scenarios(["cybertron"], tmp_path / "nowhere")


def test_a_users_folder_may_hold_other_things(mine: Path) -> None:
    """Files beside the APIs, media files, and APIs that are not served now are left alone."""
    put(mine, "README.md", "mine")
    put(mine, "cybertron/files/data.yaml", "a: 1")
    put(mine, "cybertron/offlineUploadFile/notes.txt", "a")
    put(mine, "dify-chat/sendChatMessage/200-default.yaml", "broken: [")
    operation = load_api("cybertron").operations["offlineUploadFile"]
    assert load_scenarios(["cybertron"], mine).list_keys(operation) == load_scenarios(["cybertron"]).list_keys(
        operation
    )
