"""The fixture `server` as a proxy before the mock, which compares both sides at the end of each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from proxying import proxying
from taps import Tap, find_differences

from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def real() -> Iterator[MockServer]:
    """Run a server that keeps the contract: the mock itself."""
    with MockServer(settings=Settings(pace=0)) as server:
        yield server


@pytest.fixture
def server(real: MockServer) -> Iterator[MockServer]:
    """Run a proxy before it, for all APIs; whatever a client does, no side breaks the contract and no byte differs."""
    apis = list(real.mock.apis)
    real.mock.journal.clear()
    with Tap(real.port) as behind:
        urls = {api: real.url(api).replace(str(real.port), str(behind.port)) for api in apis}
        with proxying(urls) as proxy, Tap(proxy.port) as before:
            proxy.port = before.port
            yield proxy
            front, back = proxy.mock.journal.list_entries(), real.mock.journal.list_entries()
            assert len(front) == len(back) > 0
            for ours, theirs in zip(front, back, strict=True):
                assert ours.by == "forward"
                assert ours.status == theirs.status
                assert ours.answer_violations == []
                assert ours.violations == theirs.violations
            assert len(before.answers) == len(front)
            assert find_differences(before.answers, behind.answers) == []
