"""Further published clients, unmodified: each sends what its authors thought of, and reads answers in its own way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mockserver.server.mock_server import MockServer

dify_api = pytest.importorskip("dify_api_python", reason="dify-api-python is not installed")
pydify = pytest.importorskip("pydify_sdk", reason="pydify-sdk is not installed")
pydify_base = pytest.importorskip("pydify_sdk.base", reason="pydify-sdk is not installed")
langflow = pytest.importorskip("langflow_sdk", reason="langflow-sdk is not installed")

USER = "abc-123"
pytestmark = [pytest.mark.published_client, pytest.mark.filterwarnings("ignore::ResourceWarning")]
FLOW = "a430cc57-06bb-4c11-be39-d3d4de68d2c4"


@pytest.fixture
def plain(server: MockServer) -> Any:
    """Return the DifyClient of dify-api-python."""
    return dify_api.DifyClient(server.key("dify-chat", "-dify-api"), server.url("dify-chat"))


@pytest.fixture
def chatflow(server: MockServer) -> Any:
    """Return the DifyChatFlow of pydify-sdk, whose pydantic models refuse what does not fit."""
    return pydify.DifyChatFlow(server.key("dify-chat", "-pydify"), api_url=server.url("dify-chat"))


@pytest.fixture
def workflow(server: MockServer) -> Any:
    """Return the DifyWorkFlow of pydify-sdk."""
    return pydify.DifyWorkFlow(server.key("dify-workflow", "-pydify"), api_url=server.url("dify-workflow"))


@pytest.fixture
def builder(server: MockServer) -> Any:
    """Return the Client of langflow-sdk."""
    base = server.url("agentbuilder").removesuffix("/api")
    return langflow.Client(base, api_key=server.key("agentbuilder", "-langflow-sdk"))


def test_dify_api_chats_and_reads_again(plain: Any) -> None:
    """A whole answer, the conversation in the list, the message in the conversation, questions to go on with."""
    said = plain.chat_message("What is new?", USER)
    assert said["answer"]
    assert said["conversation_id"] in [each["id"] for each in plain.get_conversations(USER)["data"]]
    messages = plain.get_conversation_messages(said["conversation_id"], USER)["data"]
    assert [each["answer"] for each in messages] == [said["answer"]]
    assert plain.get_suggested_questions(said["message_id"], USER)["data"]


def test_dify_api_keeps_a_conversation_over_streams(plain: Any) -> None:
    """It remembers the conversation that the end of the stream names, and goes on with it."""
    first = plain.chat_completion_combined("one", USER)
    assert first["metadata"]["usage"]
    assert plain.get_conversation_id(USER) == first["conversation_id"]
    assert plain.chat_completion_combined("two", USER)["conversation_id"] == first["conversation_id"]


def test_dify_api_renames_rates_and_deletes(plain: Any) -> None:
    """A name of its own; then nothing of the conversation is left."""
    said = plain.chat_message("What is new?", USER)
    assert plain.rename_conversation(said["conversation_id"], "News", USER)["name"] == "News"
    assert plain.rename_conversation(said["conversation_id"], None, USER, auto_generate=True)["name"] == "What is new?"
    assert plain.get_message_feedback(said["message_id"], "like", USER) == {"result": "success"}
    assert plain.delete_conversation(said["conversation_id"], USER) == {"result": "success"}
    assert said["conversation_id"] not in [each["id"] for each in plain.get_conversations(USER)["data"]]


def test_dify_api_speaks(plain: Any) -> None:
    """It sends null for the one of text and message that it has not."""
    message = plain.chat_message("What is new?", USER)["message_id"]
    (text, kind), (spoken, same) = (
        plain.text_to_audio("hello", user=USER),
        plain.text_to_audio(message_id=message, user=USER),
    )
    assert kind == same == "audio/mpeg"
    assert text != spoken


def test_dify_api_asks_what_the_app_is(plain: Any) -> None:
    """Form and icons."""
    assert plain.get_app_parameters(USER)["user_input_form"]
    assert plain.get_app_meta(USER)["tool_icons"]


def test_pydify_chats_blocking_without_saying_so(chatflow: Any) -> None:
    """It leaves out `response_mode`, and sends null for `files`."""
    said = chatflow.sync_chat(USER, "What is new?")
    assert (said.event, said.id, said.mode) == ("message", said.message_id, "chat")
    again = chatflow.sync_chat(USER, "And then?", conversation_id=said.conversation_id)
    assert again.conversation_id == said.conversation_id
    history = chatflow.get_chat_history(USER, said.conversation_id)
    assert [each.answer for each in history.data] == [said.answer, again.answer]


def test_pydify_reads_a_stream_to_the_end_of_the_run(chatflow: Any) -> None:
    """Its model wants a finished run with all ids."""
    said = chatflow.chat(USER, "What is new?")
    assert said.event == "workflow_finished"
    assert said.data.status == "succeeded"
    conversation, task, message = chatflow.async_chat(USER, "What is new?")
    assert all((conversation, task, message))


def test_pydify_names_and_deletes_conversations(chatflow: Any) -> None:
    """A name with null for `auto_generate`, a generated one with null for `name`."""
    conversation = chatflow.sync_chat(USER, "What is new?").conversation_id
    chatflow.rename_conversation(USER, conversation, "News", None)
    names = {each.id: each.name for each in chatflow.get_conversations(USER).data}
    assert names[conversation] == "News"
    chatflow.rename_conversation(USER, conversation, None, auto=True)
    chatflow.delete_conversation(USER, conversation)
    assert conversation not in [each.id for each in chatflow.get_conversations(USER).data]


def test_pydify_knows_our_refusals(chatflow: Any) -> None:
    """A documented error becomes the client's own exception, with its code."""
    with pytest.raises(pydify_base.DifyApiError, match="Conversation") as caught:
        chatflow.sync_chat(USER, "What is new?", conversation_id="00000000-0000-4000-8000-000000000000")
    assert caught.value.code == "not_found"


def test_pydify_runs_a_workflow(workflow: Any) -> None:
    """Streamed to its end, and the app's own pages."""
    run = workflow.run(USER, {})
    assert run.data.status == "succeeded"
    assert workflow.get_app_info()["name"]
    assert workflow.get_app_parameters()["user_input_form"]


def test_langflow_sdk_runs_a_flow(builder: Any) -> None:
    """The answer fits its models, and is found in them."""
    answer = builder.run(FLOW, input_value="hello")
    assert answer.get_chat_output()
    assert not answer.has_errors()


def test_langflow_sdk_asks_for_a_stream_where_no_server_reads_it(builder: Any) -> None:
    """It says `stream` in the body, and servers read it from the query: like theirs, our answer has no chunk for it."""
    assert list(builder.stream(FLOW, input_value="hello")) == []


def test_langflow_sdk_knows_our_refusals(builder: Any) -> None:
    """An unknown flow is its own error."""
    with pytest.raises(langflow.LangflowNotFoundError):
        builder.run("00000000-0000-4000-8000-000000000000", input_value="hello")
