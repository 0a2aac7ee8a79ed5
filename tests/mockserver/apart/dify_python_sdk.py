"""dify-python-sdk 0.1.16, unmodified; its package has the name of dify-client's: it runs alone (`nox -s clients`)."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import pytest
from dify_client import AsyncChatClient, ChatClient, WorkflowClient
from dify_client.exceptions import APIError, AuthenticationError

from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "abc-123"


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer(["dify-chat", "dify-workflow"], settings=Settings(pace=0)) as running:
        yield running


@pytest.fixture
def chat(server: MockServer) -> Iterator[Any]:
    with ChatClient(server.key("dify-chat", "-sdk"), server.url("dify-chat"), max_retries=1) as client:
        yield client


def test_it_chats_with_null_for_files_and_goes_on(chat: Any) -> None:
    """`files` is null where there are none."""
    first = chat.create_chat_message({}, "one", USER).json()
    second = chat.create_chat_message({}, "two", USER, conversation_id=first["conversation_id"]).json()
    assert second["conversation_id"] == first["conversation_id"]
    messages = chat.get_conversation_messages(USER, first["conversation_id"]).json()["data"]
    assert [each["answer"] for each in messages] == [first["answer"], second["answer"]]


def test_it_streams(chat: Any) -> None:
    """To the end of the answer."""
    lines = list(chat.create_chat_message({}, "one", USER, response_mode="streaming").iter_lines())
    assert any('"event": "message_end"' in line for line in lines)


def test_it_renames_rates_asks_and_deletes(chat: Any) -> None:
    """What there is to do with a conversation."""
    said = chat.create_chat_message({}, "one", USER).json()
    assert chat.rename_conversation(said["conversation_id"], "News", False, USER).json()["name"] == "News"
    assert chat.message_feedback(said["message_id"], "like", USER).json() == {"result": "success"}
    assert chat.get_suggested(said["message_id"], USER).json()["data"]
    assert chat.delete_conversation(said["conversation_id"], USER).status_code == 200


def test_it_uploads_and_speaks(chat: Any) -> None:
    """A file with its type; speech of a text, with a field that no document names."""
    uploaded = chat.file_upload(USER, {"file": ("notes.txt", io.BytesIO(b"notes"), "text/plain")})
    assert uploaded.json()["size"] == 5
    assert chat.text_to_audio("hello", USER).headers["content-type"] == "audio/mpeg"
    assert chat.audio_to_text(("a.mp3", io.BytesIO(b"ID3"), "audio/mpeg"), USER).json()["text"]


def test_it_asks_what_the_app_is(chat: Any) -> None:
    """The page of a chat app, too, which only the workflow's document describes."""
    assert chat.get_app_info().json()["name"] == chat.get_app_site_info().json()["title"]
    assert chat.get_application_parameters(USER).json()["user_input_form"]
    assert chat.get_meta(USER).json()["tool_icons"]


def test_it_knows_our_refusals(server: MockServer, chat: Any) -> None:
    """Each becomes the client's own exception."""
    with pytest.raises(APIError, match="not a valid uuid"):
        chat.create_chat_message({}, "one", USER, conversation_id="abc")
    with pytest.raises(AuthenticationError), ChatClient("app-nobody", server.url("dify-chat"), max_retries=1) as nobody:
        nobody.get_meta(USER)
    with pytest.raises(APIError, match="File type not allowed"):
        chat.file_upload(USER, {"file": ("virus.exe", io.BytesIO(b"x"), "application/octet-stream")})


def test_it_runs_a_workflow(server: MockServer) -> None:
    """Whole; then its page, its log, and a stop of what is over."""
    with WorkflowClient(server.key("dify-workflow", "-sdk"), server.url("dify-workflow"), max_retries=1) as client:
        run = client.run({}, "blocking", USER).json()
        assert run["data"]["status"] == "succeeded"
        assert client.get_result(run["workflow_run_id"]).json()["id"] == run["workflow_run_id"]
        assert client.get_workflow_logs(limit=1).json()["data"][0]["workflow_run"]["id"] == run["workflow_run_id"]
        assert client.stop(run["task_id"], USER).json() == {"result": "success"}


def test_it_chats_asynchronously(server: MockServer) -> None:
    """The same over asyncio."""

    async def ask() -> Any:
        key, url = server.key("dify-chat", "-async"), server.url("dify-chat")
        async with AsyncChatClient(key, url) as client:
            return (await client.create_chat_message({}, "one", USER)).json()

    assert asyncio.run(ask())["answer"]
