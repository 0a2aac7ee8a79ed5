"""dify-sdk 0.1.28, unmodified; it asks for Python 3.12, so that it is installed apart (`nox -s clients`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from dify import AdminClient, Dify
from dify.app.schemas import ChatPayloads, RunWorkflowPayloads

from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer(["dify-chat", "dify-workflow"], settings=Settings(pace=0)) as running:
        yield running


def client_of(server: MockServer, api: str) -> Any:
    """Return the client; the address is that of the whole server, to which it adds /v1."""
    return Dify(AdminClient(server.url(api).removesuffix("/v1"), "nobody", "none", "none")).app


async def collect(stream: Any) -> list[Any]:
    return [event async for event in stream]


def test_it_chats(server: MockServer) -> None:
    """A whole answer, which fits its model."""
    asked = ChatPayloads(query="one", user="abc-123", response_mode="blocking")
    said = asyncio.run(client_of(server, "dify-chat").chat_block(server.key("dify-chat", "-sdk"), asked))
    assert said.answer


def test_it_streams_a_chat(server: MockServer) -> None:
    """Every event fits the model of its kind."""
    asked = ChatPayloads(query="one", user="abc-123", response_mode="streaming")
    events = asyncio.run(collect(client_of(server, "dify-chat").chat(server.key("dify-chat", "-sdk"), asked)))
    assert {"workflow_started", "message_end"} <= {str(getattr(event.event, "value", event.event)) for event in events}


def test_it_streams_a_run(server: MockServer) -> None:
    """To the end of the run."""
    asked = RunWorkflowPayloads(inputs={}, user="abc-123", response_mode="streaming")
    events = asyncio.run(collect(client_of(server, "dify-workflow").run(server.key("dify-workflow", "-sdk"), asked)))
    assert str(getattr(events[-1].event, "value", events[-1].event)) == "workflow_finished"


def test_it_reads_the_parameters(server: MockServer) -> None:
    """They fit its model."""
    assert asyncio.run(client_of(server, "dify-chat").get_parameters(server.key("dify-chat", "-sdk")))
