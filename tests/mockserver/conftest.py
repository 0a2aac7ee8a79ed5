"""A mock to ask: as an application without sockets whose time the test moves, and as a server on a free port."""

from __future__ import annotations

import gc
import signal
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from mock_calls import Caller

from flowcontract.specs.model import load_apis
from mockserver.config.settings import Settings
from mockserver.core.app import App
from mockserver.core.mock import Mock
from mockserver.http import failures
from mockserver.scenarios.files import ScenarioFiles
from mockserver.server.mock_server import MockServer, load_app

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from flowcontract.specs.model import Api


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let go of what a published client left open before the next test, which would be blamed for it, begins."""
    ran = yield
    if item.get_closest_marker("published_client"):
        gc.collect()
    return ran


@cache
def apis(names: tuple[str, ...], profiles: tuple[tuple[str, str], ...]) -> dict[str, Api]:
    """Read a contract once for all tests; nobody changes it, and reading is most of what an application costs."""
    return load_apis(names, profiles=dict(profiles))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let Ctrl-C reach what tests start, also where a shell runs them in the background and has them ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def fresh_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test see what is complained of, also where the one before it saw the same a second ago."""
    monkeypatch.setattr(failures, "_terminal", failures._Terminal())


@pytest.fixture
def make_app() -> Iterator[Callable[..., Caller]]:
    """Return what makes an application of some APIs, with settings by name; what it kept is closed after the test."""
    made: list[App] = []

    def make(*names: str, fixtures: Any = None, profiles: Any = None, **settings: Any) -> Caller:
        contract = apis(names, tuple((profiles or {}).items()))
        in_force = {name: api.profile for name, api in contract.items() if api.profile}
        files = ScenarioFiles(tuple(contract), fixtures, profiles=in_force)
        made.append(App(Mock(contract, files, Settings(**settings))))
        return Caller(made[-1])

    yield make
    for app in made:
        app.close()


@pytest.fixture(scope="session")
def shared_app() -> App:
    """One application of all APIs; tests that change a world use a key of their own."""
    return load_app(settings=Settings(pace=1))


@pytest.fixture
def mock(shared_app: App) -> Caller:
    """Ask the shared application."""
    return Caller(shared_app)


@pytest.fixture(scope="session")
def server() -> Iterator[MockServer]:
    """Run all APIs on a free port, without delays."""
    with MockServer(settings=Settings(pace=0)) as running:
        yield running
