"""Published clients, unmodified, drive the mock: only the base URL and the key are ours."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mockserver.server.mock_server import MockServer

# Two distributions share the package `dify_client`: PyPI dify-client has `client`, dify-client-python has `_clientx`.
dify = pytest.importorskip("dify_client.client", reason="dify-client is not installed")
typed_dify = pytest.importorskip("dify_client._clientx", reason="dify-client-python is not installed")
models = pytest.importorskip("dify_client.models", reason="dify-client-python is not installed")
langflow = pytest.importorskip("langflow_client", reason="langflow-client is not installed")

pytestmark = [pytest.mark.published_client, pytest.mark.filterwarnings("ignore::ResourceWarning")]
FLOW = "a430cc57-06bb-4c11-be39-d3d4de68d2c4"


@pytest.fixture
def chat(server: MockServer) -> Any:
    """Return the ChatClient of dify-client."""
    client = dify.ChatClient(server.key("dify-chat", "-dify-client"))
    client.base_url = server.url("dify-chat")
    return client


@pytest.fixture
def typed(server: MockServer) -> Any:
    """Return the Client of dify-client-python, whose pydantic models refuse what does not fit."""
    return typed_dify.Client(api_key=server.key("dify-chat", "-typed"), api_base=server.url("dify-chat"))


def test_dify_client_chats_blocking(chat: Any) -> None:
    """A whole answer, then its conversation in the list and its message in the conversation."""
    said = chat.create_chat_message({}, "What is new?", "abc-123", response_mode="blocking").json()
    assert said["answer"]
    page = chat.get_conversations("abc-123").json()
    assert said["conversation_id"] in [one["id"] for one in page["data"]]
    messages = chat.get_conversation_messages("abc-123", said["conversation_id"]).json()
    assert [one["answer"] for one in messages["data"]] == [said["answer"]]


def test_dify_client_reads_a_stream_to_its_end(chat: Any) -> None:
    """Line by line as its README does it, until the connection closes."""
    answer = chat.create_chat_message({}, "What is new?", "abc-123", response_mode="streaming")
    answer.raise_for_status()
    lines = [line.decode() for line in answer.iter_lines()]
    events = [json.loads(line.split("data: ", 1)[1]) for line in lines if line.startswith("data: ")]
    assert [event["event"] for event in events if event["event"] in ("workflow_started", "message_end")] == [
        "workflow_started",
        "message_end",
    ]


def test_dify_client_goes_on_with_a_conversation(chat: Any) -> None:
    """Continue, rename, rate."""
    first = chat.create_chat_message({}, "one", "abc-123").json()
    second = chat.create_chat_message({}, "two", "abc-123", conversation_id=first["conversation_id"]).json()
    assert second["conversation_id"] == first["conversation_id"]
    assert chat.rename_conversation(first["conversation_id"], "Numbers", "abc-123").json()["name"] == "Numbers"
    assert chat.message_feedback(second["message_id"], "like", "abc-123").json() == {"result": "success"}


def test_dify_client_uploads(chat: Any) -> None:
    """The upload answers 201 with the file's id."""
    answer = chat.file_upload("abc-123", {"file": ("notes.txt", io.BytesIO(b"notes"), "text/plain")})
    assert (answer.status_code, answer.json()["size"]) == (201, 5)
    assert chat.get_application_parameters("abc-123").status_code == 200


def request(mode: str, **more: Any) -> Any:
    return models.ChatRequest(query="What is new?", inputs={}, response_mode=mode, user="abc-123", **more)


def test_typed_client_chats_blocking(typed: Any) -> None:
    """The answer fits the client's own model."""
    said = typed.chat_messages(request("blocking"))
    assert said.answer
    assert typed.suggest_messages(said.message_id, models.ChatSuggestRequest(user="abc-123")).data


def test_typed_client_reads_a_stream_to_its_end(typed: Any) -> None:
    """Every event fits the client's model of its kind, and the pieces are an answer."""
    events = list(typed.chat_messages(request("streaming")))
    assert events[-1].event in ("message_end", "workflow_finished")
    assert "".join(event.answer for event in events if event.event == "message")


def test_typed_client_uploads_and_sends_the_file(typed: Any) -> None:
    """What was uploaded goes along with a message."""
    uploaded = typed.upload_files(("cat.png", b"\x89PNG", "image/png"), models.UploadFileRequest(user="abc-123"))
    file = models.File(type="image", transfer_method="local_file", upload_file_id=uploaded.id)
    assert typed.chat_messages(request("blocking", files=[file])).answer


def test_typed_client_knows_our_refusals(typed: Any) -> None:
    """A documented error becomes the client's own exception for it."""
    with pytest.raises(typed_dify.errors.DifyResourceNotFound):
        typed.chat_messages(request("blocking", conversation_id="00000000-0000-4000-8000-000000000000"))


@pytest.mark.parametrize("mode", ["blocking", "streaming"])
def test_typed_client_runs_a_workflow(server: MockServer, mode: str) -> None:
    """A run, whole and as a stream, fits the client's models."""
    client = typed_dify.Client(api_key=server.key("dify-workflow", "-typed"), api_base=server.url("dify-workflow"))
    run = client.run_workflows(models.WorkflowsRunRequest(inputs={}, response_mode=mode, user="abc-123"))
    if mode == "blocking":
        assert run.data.status == "succeeded"
    else:
        events = list(run)
        assert (events[0].event, events[-1].event) == ("workflow_started", "workflow_finished")


@pytest.fixture
def builder(server: MockServer) -> Any:
    """Return the LangflowClient of langflow-client."""
    base = server.url("agentbuilder").removesuffix("/api")
    return langflow.LangflowClient({"base_url": base, "api_key": server.key("agentbuilder", "-langflow")})


def test_langflow_client_keeps_files(builder: Any) -> None:
    """v2: upload, list, delete."""
    file = builder.files.upload(io.BytesIO(b"manual"), filename="manual.pdf", content_type="application/pdf")
    assert file.id in [one.id for one in builder.files.list()]
    builder.files.delete(file.id)
    assert file.id not in [one.id for one in builder.files.list()]


def test_langflow_client_runs_a_flow_on_an_uploaded_image(builder: Any) -> None:
    """v1: upload into the flow, pass the path as a tweak, read the text that came out."""
    flow = builder.flow(FLOW)
    uploaded = flow.upload_file(io.BytesIO(b"\x89PNG"), filename="cat.png", content_type="image/png")
    answer = flow.tweak("ChatInput-b67sL", {"files": uploaded.file_path}).run("describe this image")
    assert answer.chat_output_text()


def test_langflow_client_streams_a_flow(builder: Any) -> None:
    """The real framing, read by the client's own reader, until the event that ends it."""
    events = list(builder.flow(FLOW).stream("hello"))
    assert events[0]["event"] == "add_message"
    assert events[-1]["event"] == "end"
