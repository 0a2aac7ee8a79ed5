"""The scenarios that come with us: all of them read, render, and agree with their own clocks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from flowcontract import paths
from flowcontract.scenarios import (
    Scenario,
    load_scenarios,
    read_scenario,
    render_body,
    render_events,
)
from flowcontract.scenarios.expressions import Context
from flowcontract.schemas.validators import Validators
from flowcontract.specs.model import list_apis, load_apis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[[str, str], Path]


def test_the_format_is_itself_a_valid_schema() -> None:
    """Editors can use `fixtures/scenario.schema.json` as it is."""
    schema = json.loads((paths.find_fixtures_root() / "scenario.schema.json").read_text(encoding="utf-8"))
    assert Validators(schema).is_valid("", {"description": "D.", "reply": {"body": None}})
    assert not Validators(schema).is_valid("", {"description": "D."})


@pytest.mark.parametrize("api", list_apis())
def test_every_packaged_scenario_reads_and_renders(api: str) -> None:
    """With nothing but a seed: no expression of ours depends on a world to be there."""
    operations = load_apis([api])[api].operations
    scenarios = load_scenarios([api])
    for operation in operations.values():
        for key, scenario in scenarios.read_scenarios(operation).items():
            rendered = [render_whole(scenario, Context(seed=key)) for _ in range(2)]
            assert rendered[0] == rendered[1], f"{operation.name} {key} differs from one rendering to the next"


@pytest.mark.parametrize("api", ["dify-workflow", "dify-chat"])
def test_what_takes_seconds_ends_seconds_later(api: str) -> None:
    """A run or node whose times hang on the clock ended `elapsed_time` after it began, to the second."""
    timed = []
    for path in sorted((paths.find_fixtures_root() / api).glob("*/*.yaml")):
        if "finished_at: $now" in path.read_text(encoding="utf-8"):
            scenario = read_scenario(path, api_folder=path.parent.parent)
            timed += [(path.stem, run) for run in runs_in(list(spoken(scenario, Context(now=1_700_000_000))))]
    assert len(timed) >= 20
    late = [one for one in timed if abs(one[1]["finished_at"] - one[1]["created_at"] - one[1]["elapsed_time"]) > 1]
    assert late == []


def spoken(scenario: Scenario, context: Context) -> Iterator[Any]:
    """Yield the JSON values of a reply."""
    if not scenario.reply.streamed:
        yield json.loads(render_body(scenario.reply, context))
    for piece in render_events(scenario.reply, context):
        yield piece.payload


def runs_in(value: Any) -> Iterator[Any]:
    """Yield the objects, at any depth, that tell how long something took."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and value.get("finished_at") and value.get("elapsed_time") is not None:
        yield value
    for one in inner:
        yield from runs_in(one)


def render_whole(scenario: Scenario, context: Context) -> bytes:
    """Return everything a scenario sends."""
    if scenario.reply.streamed:
        return b"".join(piece.data for piece in render_events(scenario.reply, context))
    return render_body(scenario.reply, context)
