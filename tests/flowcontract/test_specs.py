"""The four contracts, as Python reads them, hold what the documents name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowcontract.errors import SpecError, UnknownNameError
from flowcontract.specs.model import Api, Operation, list_apis, load_api, load_apis

OPERATIONS = {
    "cybertron": {"offlineUploadFile": "POST /openapi/v1/chatflow/offline_upload_file/"},
    "dify-workflow": {
        "runWorkflow": "POST /v1/workflows/run",
        "getWorkflowRun": "GET /v1/workflows/run/{workflow_run_id}",
        "stopWorkflow": "POST /v1/workflows/tasks/{task_id}/stop",
        "uploadFile": "POST /v1/files/upload",
        "listWorkflowLogs": "GET /v1/workflows/logs",
        "getInfo": "GET /v1/info",
        "getParameters": "GET /v1/parameters",
        "getSite": "GET /v1/site",
    },
    "dify-chat": {
        "sendChatMessage": "POST /v1/chat-messages",
        "uploadFile": "POST /v1/files/upload",
        "stopChatMessage": "POST /v1/chat-messages/{task_id}/stop",
        "sendMessageFeedback": "POST /v1/messages/{message_id}/feedbacks",
        "listSuggestedQuestions": "GET /v1/messages/{message_id}/suggested",
        "listMessages": "GET /v1/messages",
        "listConversations": "GET /v1/conversations",
        "deleteConversation": "DELETE /v1/conversations/{conversation_id}",
        "renameConversation": "POST /v1/conversations/{conversation_id}/name",
        "convertAudioToText": "POST /v1/audio-to-text",
        "convertTextToAudio": "POST /v1/text-to-audio",
        "getInfo": "GET /v1/info",
        "getParameters": "GET /v1/parameters",
        "getMeta": "GET /v1/meta",
    },
    "agentbuilder": {
        "uploadFlowFile": "POST /api/v1/files/upload/{flow_id}",
        "listFlowFiles": "GET /api/v1/files/list/{flow_id}",
        "downloadFlowFile": "GET /api/v1/files/download/{flow_id}/{file_name}",
        "deleteFlowFile": "DELETE /api/v1/files/delete/{flow_id}/{file_name}",
        "getCurrentUser": "GET /api/v1/users/whoami",
        "uploadUserFile": "POST /api/v2/files",
        "listUserFiles": "GET /api/v2/files",
        "deleteAllUserFiles": "DELETE /api/v2/files",
        "downloadUserFile": "GET /api/v2/files/{file_id}",
        "renameUserFile": "PUT /api/v2/files/{file_id}",
        "deleteUserFile": "DELETE /api/v2/files/{file_id}",
        "runFlow": "POST /api/v1/run/{flow_id}",
        "createUploadFile": "POST /api/v1/upload/{flow_id}",
    },
}
CODES = {
    ("dify-workflow", "runWorkflow", 400): {
        "invalid_param", "app_unavailable", "provider_not_initialize", "provider_quota_exceeded",
        "model_currently_not_support", "workflow_request_error",
    },
    ("dify-chat", "sendChatMessage", 400): {
        "invalid_param", "app_unavailable", "provider_not_initialize", "provider_quota_exceeded",
        "model_currently_not_support", "completion_request_error",
    },
    **{
        (app, "uploadFile", status): codes
        for app in ("dify-workflow", "dify-chat")
        for status, codes in {
            400: {"no_file_uploaded", "too_many_files", "unsupported_preview", "unsupported_estimate"},
            413: {"file_too_large"},
            415: {"unsupported_file_type"},
            503: {"s3_connection_failed", "s3_permission_denied", "s3_file_too_large"},
        }.items()
    },
}  # fmt: skip
KINDS = {
    ("dify-workflow", "runWorkflow"): {
        "workflow_started", "node_started", "text_chunk", "node_finished", "workflow_finished", "tts_message",
        "tts_message_end", "ping",
    },
    ("dify-chat", "sendChatMessage"): {
        "message", "message_file", "message_end", "tts_message", "tts_message_end", "message_replace",
        "workflow_started", "node_started", "node_finished", "workflow_finished", "error", "ping",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def apis() -> dict[str, Api]:
    """All four contracts."""
    return load_apis()


def operations(apis: dict[str, Api]) -> Iterator[Operation]:
    """Every operation of every API."""
    for api in apis.values():
        yield from api.operations.values()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_of_the_documents_is_there(apis: dict[str, Api], name: str) -> None:
    """Names, methods and paths are exactly the documented ones, below the natural base path."""
    api = apis[name]
    there = {
        operation.id: f"{operation.method} {api.base_path}{operation.path}" for operation in api.operations.values()
    }
    assert there == OPERATIONS[name]


@pytest.mark.parametrize(("api", "operation", "status"), CODES)
def test_every_error_code_is_a_named_example_of_its_status(
    apis: dict[str, Api], api: str, operation: str, status: int
) -> None:
    """A documented code is named as on the wire, cites its line, and its example carries it."""
    examples = apis[api].operations[operation].responses[status].media["application/json"].examples
    for code in CODES[api, operation, status]:
        assert examples[code].value["code"] == code
        assert not examples[code].observed
        assert examples[code].provenance


@pytest.mark.parametrize(("api", "operation"), KINDS)
def test_every_event_of_the_documents_has_its_schema(apis: dict[str, Api], api: str, operation: str) -> None:
    """Each kind is known to the stream contract, and says where it is documented."""
    stream = apis[api].operations[operation].stream
    assert stream is not None
    assert KINDS[api, operation] <= set(stream.events)
    assert all(stream.events[kind].source for kind in KINDS[api, operation])


def test_both_answers_of_a_streaming_operation_are_there(apis: dict[str, Api]) -> None:
    """JSON for who waits, an event stream for who does not."""
    streaming = {operation.name: set(operation.success.media) for operation in operations(apis) if operation.stream}
    assert streaming == {
        "agentbuilder/runFlow": {"application/json", "text/event-stream"},
        "dify-chat/sendChatMessage": {"application/json", "text/event-stream"},
        "dify-workflow/runWorkflow": {"application/json", "text/event-stream"},
    }


def test_uploads_create_and_everything_else_is_ok(apis: dict[str, Api]) -> None:
    """201 is the success of Dify's and Langflow's uploads alone; Cybertron's document knows only 200."""
    created = {operation.name for operation in operations(apis) if operation.success.status == 201}
    assert created == {
        "agentbuilder/createUploadFile",
        "agentbuilder/uploadFlowFile",
        "agentbuilder/uploadUserFile",
        "dify-chat/uploadFile",
        "dify-workflow/uploadFile",
    }
    assert all(operation.success.status in (200, 201) for operation in operations(apis))


def test_everything_says_where_it_comes_from(apis: dict[str, Api]) -> None:
    """Operations, responses, parameters and events cite lines, a ruling or an observation."""
    silent = [operation.name for operation in operations(apis) if not operation.provenance]
    for operation in operations(apis):
        silent += [f"{operation.name} {status}" for status, each in operation.responses.items() if not each.provenance]
        silent += [f"{operation.name} {each.name}" for each in operation.parameters if not each.provenance]
        silent += [
            f"{operation.name} {kind}"
            for kind, each in (operation.stream.events if operation.stream else {}).items()
            if not each.source
        ]
    assert silent == []


def test_the_rulings_are_all_there(apis: dict[str, Api]) -> None:
    """Each of the hundred and two contradictions that were known at the start has its ruling."""
    numbers = {ruling.number for api in apis.values() for ruling in api.rulings.values()}
    assert set(range(1, 103)) - numbers == set()


def test_the_default_keys_stand_in_the_contract(apis: dict[str, Api]) -> None:
    """The suite reads from here which key to send, since it may not import the mock."""
    keys = {name: {scheme.mock_key for scheme in api.schemes.values()} for name, api in apis.items()}
    assert keys == {
        "agentbuilder": {"sk-agentbuilder", "token-agentbuilder"},
        "cybertron": {"robot-key", "robot-token"},
        "dify-chat": {"app-chat"},
        "dify-workflow": {"app-workflow"},
    }


def test_the_older_workflow_document_is_a_profile() -> None:
    """One file object, dates as text, no text_chunk, no /site; the contract without it stays as it is."""
    older, newer = load_api("dify-workflow", profile="older"), load_api("dify-workflow")
    assert set(newer.operations) - set(older.operations) == {"getSite"}
    old, new = (api.operations["runWorkflow"].stream for api in (older, newer))
    assert old is not None
    assert new is not None
    assert set(new.events) - set(old.events) == {"text_chunk"}
    detail = {"id": "r", "workflow_id": "w", "status": "succeeded", "inputs": "{}", "outputs": None, "error": None,
              "total_steps": 3, "total_tokens": 0, "elapsed_time": 30.1}  # fmt: skip
    dates = {"created_at": "Thu, 18 Jul 2024 03:17:40 -0000", "finished_at": "Thu, 18 Jul 2024 03:18:10 -0000"}
    epochs = {"created_at": 1705407629, "finished_at": 1727807631}
    for api, good, bad in ((older, dates, epochs), (newer, epochs, dates)):
        pointer = api.operations["getWorkflowRun"].success.media["application/json"].pointer
        assert api.validators.find_violations(pointer, detail | good) == []
        assert api.validators.find_violations(pointer, detail | bad) != []


def test_unknown_names_say_what_there_is() -> None:
    """An API, and a profile of one, are asked for by name; a wrong one lists the right ones."""
    with pytest.raises(UnknownNameError, match='Did you mean "dify-chat"'):
        load_api("dify-chatt")
    with pytest.raises(UnknownNameError, match=r"There is: 0\.14, .*older\."):
        load_api("dify-workflow", profile="old")
    with pytest.raises(UnknownNameError, match="There is: none"):
        load_api("cybertron", profile="older")
    with pytest.raises(UnknownNameError, match="There is: cybertron"):
        load_apis(["cybertron"], profiles={"dify-workflow": "older"})


def test_a_contract_that_is_no_openapi_is_an_error_and_no_traceback(tmp_path) -> None:
    """A file that lacks what every OpenAPI document has is told by its name."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/openapi.yaml").write_text("openapi: 3.2.0\n", encoding="utf-8")
    assert list_apis(tmp_path) == ("demo",)
    with pytest.raises(SpecError, match=r"specs/demo/openapi\.yaml does not read as OpenAPI"):
        load_api("demo", root=tmp_path)
