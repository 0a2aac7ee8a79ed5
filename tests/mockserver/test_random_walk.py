"""Random walks: two keys and two users do everything that there is, and each read is what a model of it expects.

FLOWCONTRACT_WALKS is how many sequences are walked (`nox -s walk` walks 1,000); a red one names its seed.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from mock_calls import Caller
from walkers import START, ChatWalker, FileWalker, RobotWalker, RunWalker, Walker

from mockserver.config.settings import Settings
from mockserver.core.app import App
from mockserver.core.mock import Mock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEQUENCES = int(os.environ.get("FLOWCONTRACT_WALKS", "60"))
STEPS = 40
_RESTARTED = 5  # every so many-th sequence is walked over a mock that keeps its state and is started anew


def begin(mock: Caller, seed: int, chance: random.Random, called: Counter[str]) -> list[Walker]:
    """Return walkers in the worlds of two keys per API."""
    kinds: list[type[Walker]] = [ChatWalker, RunWalker, FileWalker, RobotWalker]
    return [kind(mock, f"-walk-{seed}{key}", chance, called) for kind in kinds for key in ("", "-b")]


def walk(seed: int, start: Callable[[], Caller], *, restarts: int = 0, steps: int = STEPS) -> Counter[str]:
    """Walk one sequence; return how often each operation answered with each status."""
    chance, called, mock = random.Random(seed), Counter[str](), start()
    walkers = begin(mock, seed, chance, called)
    ends = {chance.randrange(steps) for _ in range(restarts)}
    for step in range(steps):
        if step in ends:
            mock.app.close()
            mock = start()
            for walker in walkers:
                walker.move(mock)
        weights = [5, 5, 4, 4, 3, 3, 1, 1]
        chance.choices(walkers, weights)[0].step()
    return called


@pytest.fixture(scope="module")
def walked(shared_app: App) -> App:
    """Return an application whose clock goes on with the requests."""
    return App(Mock(shared_app.mock.apis, shared_app.mock.scenario_files, Settings(clock=START)))


@pytest.mark.parametrize("seed", [one for one in range(SEQUENCES) if one % _RESTARTED])
def test_every_read_is_what_was_written(walked: App, seed: int) -> None:
    """Whatever two users under two keys do, in any order, no read contradicts what was done before it."""
    called = walk(seed, lambda: Caller(walked))
    assert sum(called.values()) >= STEPS // 2


@pytest.mark.parametrize("seed", [one for one in range(SEQUENCES) if not one % _RESTARTED])
def test_every_read_is_what_was_written_before_a_restart(shared_app: App, tmp_path: Path, seed: int) -> None:
    """Nor if the mock is ended and started again in between, with its state in a file."""
    apps: list[App] = []

    def start() -> Caller:
        settings = Settings(clock=START, state=tmp_path / "mock.db")
        apps.append(App(Mock(shared_app.mock.apis, shared_app.mock.scenario_files, settings)))
        return Caller(apps[-1])

    called = walk(seed, start, restarts=2)
    apps[-1].close()
    assert sum(called.values()) >= STEPS // 2


def test_walks_reach_every_operation(walked: App) -> None:
    """A long walk calls every operation of every API with success, and what can be unknown without."""
    called = walk(-1, lambda: Caller(walked), steps=600)
    operations = {one.name for api in walked.mock.apis.values() for one in api.operations.values()}
    assert {name.partition(" ")[0] for name in called if name.split(" ")[1] in ("200", "201")} == operations
    assert len({name for name in called if name.endswith(" 404")}) >= 15
