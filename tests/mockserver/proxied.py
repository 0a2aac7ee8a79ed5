"""The fixture `server` as a proxy before the mock, which compares both sides at the end of each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from proxying import proxying

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
    with proxying({api: real.url(api) for api in apis}) as proxy:
        yield proxy
        front, back = proxy.mock.journal.list_entries(), real.mock.journal.list_entries()
        assert len(front) == len(back) > 0
        for ours, theirs in zip(front, back, strict=True):
            assert ours.by == "forward"
            assert ours.status == theirs.status
            assert ours.answer_violations == []
            assert ours.violations == theirs.violations
            assert _sent(ours) == _sent(theirs)


def _sent(entry: Any) -> bytes:
    """Return the first bytes of an answer as they were sent."""
    if entry.stream is not None:
        return bytes(entry.stream._bytes)
    return entry._raw.answer if isinstance(entry._raw.answer, bytes) else b""
