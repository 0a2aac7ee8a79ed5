"""Scenarios and apps that change while the mock runs are read again; a broken file leaves the last good one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from mock_calls import Caller

from flowcontract.specs.model import load_api
from mockserver.scenarios.files import ScenarioFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Mine:
    """A user's folder whose files change, and the time that goes by."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self._folder = folder / "dify-chat" / "getInfo"
        self._folder.mkdir(parents=True)
        self._written = 0
        self.write("200-mine", "first")
        self.fixtures = ScenarioFiles(["dify-chat"], folder, clock=lambda: self.now)
        self._operation = load_api("dify-chat").operations["getInfo"]

    def write(self, name: str, description: str) -> None:
        """Write a scenario; '' writes one that is broken."""
        path = self._folder / f"{name}.yaml"
        path.write_text(f"description: {description}\nreply: {{body: {{}}}}\n", encoding="utf-8")
        self._written += 1
        os.utime(path, ns=(self._written * 1_000_000, self._written * 1_000_000))

    def delete(self, name: str) -> None:
        """Delete a scenario."""
        (self._folder / f"{name}.yaml").unlink()

    def read(self, name: str = "200-mine", *, at_once: bool = False) -> str | None:
        """Return the description of a scenario as it is served, None where there is none."""
        known = self.fixtures.load_current(at_once=at_once).read_scenarios(self._operation)
        return known[name].description if name in known else None


@pytest.fixture
def mine(tmp_path: Path) -> Mine:
    return Mine(tmp_path)


def test_changed_scenario_is_served_after_a_second(mine: Mine) -> None:
    """Files are looked at once a second at most, or at once where somebody asks for it."""
    mine.write("200-mine", "second")
    mine.now = 0.9
    assert mine.read() == "first"
    mine.now = 1.0
    assert mine.read() == "second"
    mine.write("200-mine", "thirdly")
    assert mine.read() == "second"
    assert mine.read(at_once=True) == "thirdly"


def test_new_and_deleted_scenarios_are_noticed(mine: Mine) -> None:
    """So are whole files."""
    mine.write("200-other", "new")
    assert mine.read("200-other", at_once=True) == "new"
    mine.delete("200-other")
    assert mine.read("200-other", at_once=True) is None


def test_broken_file_leaves_the_last_good_one(mine: Mine, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told once on stderr, other changes count all the same, and what is mended is served."""
    mine.write("200-mine", "[")
    mine.write("200-other", "new")
    assert mine.read(at_once=True) == "first"
    assert mine.read("200-other") == "new"
    (told,) = mine.fixtures.broken
    assert "200-mine.yaml" in told
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "200-mine.yaml" in said
    mine.read(at_once=True)
    assert capsys.readouterr().err == ""
    mine.write("200-other", "newer")
    assert mine.read(at_once=True) == "first"
    assert mine.fixtures.broken == [told]
    mine.write("200-mine", "mended")
    assert mine.read(at_once=True) == "mended"
    assert mine.fixtures.broken == []


def test_changed_app_is_served_and_a_broken_one_is_not(
    make_app: Callable[..., Caller], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file of `--app` is read again like scenarios are: what is wrong is told, and the last good one stays."""
    path = tmp_path / "app.toml"

    def served(text: str, written: int) -> str:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(written, written))
        mock.app.mock.scenario_files.load_current(at_once=True)
        return str(mock.ask("GET", "/v1/info?user=u", key="app-chat").json["name"])

    path.write_text("[dify-chat]\ninfo.name = 'Shoes'\n", encoding="utf-8")
    mock = make_app("dify-chat", app=path)
    assert served("[dify-chat]\ninfo.name = 'Boots'\n", 1) == "Boots"
    assert served("[dify-chat]\ninfo.name = 5\n", 2) == "Boots"
    (told,) = mock.app.mock.scenario_files.broken
    assert "app.toml, line 2: dify-chat.info.name must be text, is 5" in told
    assert told in capsys.readouterr().err
    path.unlink()
    mock.app.mock.scenario_files.load_current(at_once=True)
    assert mock.ask("GET", "/v1/info?user=u", key="app-chat").json["name"] == "Boots"
    assert served("[dify-chat]\ninfo.name = 'Sandals'\n", 3) == "Sandals"
    assert mock.app.mock.scenario_files.broken == []


def test_new_file_that_is_broken_is_left_out(mine: Mine) -> None:
    """There is no good one to keep; a wrong name or folder is told in the same way."""
    mine.write("200-other", "[")
    mine.write("other", "no name of a scenario")
    assert mine.read("200-other", at_once=True) is None
    assert mine.read() == "first"
    assert len(mine.fixtures.broken) == 2


def test_health_tells_what_is_broken(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """Whoever wonders why a change does not show finds the file and the line."""
    path = tmp_path / "dify-chat" / "getInfo" / "200-mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("description: Mine.\nreply: {body: {}}\n", encoding="utf-8")
    mock = make_app("dify-chat", fixtures=tmp_path)
    path.write_text("description: Mine, but broken.\nreply: {}\n", encoding="utf-8")
    health = mock.ask("GET", "/__mock__/health").json
    assert health["status"] == "broken scenarios"
    assert "200-mine.yaml, line 2" in health["broken"][0]
    answer = mock.ask("GET", "/v1/info", key="app-chat", Prefer="example=mine")
    assert (answer.status, answer.json) == (200, {})
