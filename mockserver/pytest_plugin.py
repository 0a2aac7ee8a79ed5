"""The pytest plugin: `mock_server`, a running mock whose worlds, overrides and journal are fresh in every test."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mockserver.server.mock_server import MockServer

# Nothing of the mock is imported before a test asks for it: pytest loads this module in every run.


@pytest.fixture(scope="session")
def mock_server_options() -> dict[str, Any]:
    """Return the arguments of `MockServer`; override it in a conftest.py: `{"fixtures": Path("mocks")}`.

    Unless `settings` say otherwise, streams come without delays.
    """
    return {}


@pytest.fixture(scope="session")
def _mock_server(mock_server_options: dict[str, Any]) -> Iterator[MockServer]:
    """Run one mock for all tests, on a free port and in a thread of its own."""
    from mockserver.config.settings import Settings  # noqa: PLC0415
    from mockserver.server.mock_server import MockServer  # noqa: PLC0415 - only who uses it pays for it

    with MockServer(**{"settings": Settings(pace=0), **mock_server_options}) as running:
        yield running


@pytest.fixture
def mock_server(_mock_server: MockServer, request: pytest.FixtureRequest) -> Iterator[MockServer]:
    """Return a running mock of all APIs: `url(api)`, `key(api)`, `use(...)`, `requests(...)`, `assert_no_violations()`.

    Keys end with a suffix that belongs to this test alone, so ids depend neither on other tests nor on their order.
    """
    _mock_server.renew(f"-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}")
    yield _mock_server
    _mock_server.end_proxy()
