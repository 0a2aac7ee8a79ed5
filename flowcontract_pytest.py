"""The pytest plugin: `mock_server`, a running mock whose worlds, overrides and journal are fresh in every test.

It is a module of its own at the top, and imports nothing of the mock before a test asks for it: pytest loads it in
every run, also where another package has the name `mockserver`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mockserver.server.mock_server import MockServer


@pytest.fixture(scope="session")
def mock_server_options() -> dict[str, Any]:
    """Return the arguments of `MockServer`; override it in a conftest.py: `{"fixtures": Path("mocks")}`.

    Unless `settings` say otherwise, streams come without delays.
    """
    return {}


@pytest.fixture(scope="session")
def _mock_server(mock_server_options: dict[str, Any]) -> Iterator[MockServer]:
    """Run one mock for all tests, on a free port and in a thread of its own."""
    from flowcontract_launch import MISUSE, find_shadow  # noqa: PLC0415

    if shadow := find_shadow():
        pytest.exit(f"The fixture mock_server cannot be had: {shadow}", returncode=MISUSE)
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


@pytest.fixture
def flowcontract_mock(mock_server: MockServer) -> MockServer:
    """Return the same as `mock_server`, for tests in which that is the name of something else."""
    return mock_server
