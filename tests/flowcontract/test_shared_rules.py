"""Rules that the mock and the suite both follow stand once, and are what the contracts say."""

from __future__ import annotations

import shlex

import pytest

from flowcontract.output.curl import CurlCommand, quote_with_variables
from flowcontract.scenarios.expressions import RequestView
from flowcontract.scenarios.streaming import ask_for_stream, asks_for_stream
from flowcontract.schemas.violations import Violation
from flowcontract.specs.examples import choose_typical_request, list_parameter_values
from flowcontract.specs.model import load_apis
from flowcontract.validation.refusals import list_refusal_words, list_wrong_key_words
from flowcontract.validation.request import UPLOAD, RequestViolation
from flowcontract.validation.uploads import UploadLimits, takes_one_file, upload_limits

APIS = load_apis()


@pytest.mark.parametrize(
    ("rule", "field", "words"),
    [
        ("required", "user", "missing-user missing-parameter invalid-user invalid-request"),
        ("required", "", "missing-body malformed-body missing-parameter invalid- invalid-request"),
        ("type", "", "no-object invalid- invalid-request"),
        ("type", "first_id", "wrong-type-first-id invalid-first-id invalid-request"),
        (
            "type",
            "inputs.name",
            (
                "wrong-type-*.name wrong-type-inputs invalid-inputs.name "
                "invalid-*.name invalid-inputs invalid-request"
            ),
        ),
        (
            "type",
            "files.0",
            (
                "wrong-type-*.0 wrong-type-files invalid-files.0 "
                "invalid-*.0 invalid-files invalid-request"
            ),
        ),
        (
            "required",
            "a.b",
            (
                "missing-a.b missing-*.b missing-parameter "
                "invalid-a.b invalid-*.b invalid-a invalid-request"
            ),
        ),
        ("contentMediaType", "inputs", "invalid-json-text invalid-inputs invalid-request"),
        ("media-type", "file", "unsupported-file-type invalid-file invalid-request"),
        ("typed", "file", "unsupported-file-type invalid-file invalid-request"),
        ("media-type", "", "wrong-media-type invalid- invalid-request"),
    ],
)  # fmt: skip
def test_words_of_a_violation_begin_with_the_most_particular(rule: str, field: str, words: str) -> None:
    """What is inside of a field can be refused as the field is, but is not the field that is missing."""
    found = RequestViolation("body", field, Violation(rule, "this", "that"))
    assert list_refusal_words(found) == tuple(words.split())


def test_words_of_a_parameter_of_a_wrong_type_are_not_those_of_a_field() -> None:
    """Only in bodies do servers tell a wrong type from another wrong value."""
    found = RequestViolation("query", "limit", Violation("type", "an integer", "text"))
    assert list_refusal_words(found) == ("invalid-limit", "invalid-request")


def test_text_in_place_of_a_file_is_told_from_a_file_that_is_missing() -> None:
    """It is a missing file, too, for contracts that do not tell the two apart."""
    found = RequestViolation("body", "file", Violation("required", UPLOAD, "text"))
    assert list_refusal_words(found)[:2] == ("not-a-file", "missing-file")


def test_wrong_token_is_told_from_a_wrong_key() -> None:
    """A bearer token is one, and so is what is called one; nothing else is."""
    schemes = [(name, scheme) for name, api in APIS.items() for scheme in api.schemes.values()]
    tokens = {f"{name}/{scheme.name}" for name, scheme in schemes if scheme.is_token}
    assert tokens == {"agentbuilder/bearer", "cybertron/robotToken", "dify-chat/apiKey", "dify-workflow/appKey"}
    assert list_wrong_key_words(APIS["agentbuilder"].schemes["apiKey"]) == ("wrong-key",)
    assert list_wrong_key_words(APIS["agentbuilder"].schemes["bearer"]) == ("wrong-token", "wrong-key")
    assert list_wrong_key_words(None) == ("wrong-key",)


@pytest.mark.parametrize(
    ("name", "limits", "single"),
    [
        ("dify-workflow/uploadFile", UploadLimits(None, None, typed=True), True),
        ("dify-chat/uploadFile", UploadLimits("*/*", None, typed=True), True),
        ("agentbuilder/uploadUserFile", UploadLimits("*/*", 1 << 30), False),
    ],
)
def test_limits_of_uploads_are_the_contracts(name: str, limits: UploadLimits, single: bool) -> None:
    """Types come from `encoding`, bytes from `maxLength`, wherever the field's schema stands; Dify's need one."""
    api = APIS[name.partition("/")[0]]
    operation = api.operations[name.partition("/")[2]]
    assert upload_limits(api.validators, operation.request["multipart/form-data"], "file") == limits
    assert takes_one_file(operation) is single


@pytest.mark.parametrize(
    ("name", "query", "body", "asks"),
    [
        ("dify-chat/sendChatMessage", {}, {"response_mode": "streaming"}, True),
        ("dify-chat/sendChatMessage", {}, {"response_mode": "blocking"}, False),
        ("dify-chat/sendChatMessage", {}, [], False),
        ("dify-chat/sendChatMessage", {"response_mode": "streaming"}, None, False),
        ("agentbuilder/runFlow", {"stream": "true"}, {}, True),
        ("agentbuilder/runFlow", {"stream": True}, {}, True),
        ("agentbuilder/runFlow", {"stream": "false"}, {}, False),
        ("agentbuilder/runFlow", {"stream": ["true", "false"]}, {}, False),
        ("agentbuilder/listUserFiles", {"stream": "true"}, None, False),
    ],
)
def test_request_asks_for_the_stream_as_the_contract_says(name: str, query: dict, body: object, asks: bool) -> None:
    """By a field or a query parameter, as text or decoded; made to ask, a request does."""
    operation = APIS[name.partition("/")[0]].operations[name.partition("/")[2]]
    assert asks_for_stream(operation, RequestView(query=query, body=body)) is asks
    query, body = ask_for_stream(operation, query, body)
    possible = operation.stream is not None and (isinstance(body, dict) or not operation.stream.when.get("body"))
    assert asks_for_stream(operation, RequestView(query=query, body=body)) is possible


def test_values_of_a_parameter_begin_with_the_documents_own() -> None:
    """Its example comes first, then the bounds of its schema, and what is above the maximum where that is clamped."""
    parameters = {one.name: one for one in APIS["dify-chat"].operations["listConversations"].parameters}
    assert list_parameter_values(parameters["limit"]) == [20, 20, 1, 100, 100, 101]
    assert list_parameter_values(parameters["user"]) == ["abc-123"]


@pytest.mark.parametrize("name", sorted(APIS))
def test_typical_request_is_one_that_needs_no_file(name: str) -> None:
    """What the greeting prints works as it is pasted, where the API has such a request."""
    request = choose_typical_request(APIS[name])
    words = shlex.split(request.to_curl("http://localhost:1/base", {"X-Key": "it's"}))
    assert words[0] == "curl"
    assert "X-Key: it's" in words
    assert request.rank < 9 or name == "cybertron"


def test_curl_command_sends_what_it_was_given() -> None:
    """Nothing in a value is read by the shell, or taken for a file by curl."""
    command = CurlCommand("-N")
    command.add_method("POST", implied="POST")
    command.add_method("PUT", implied="POST")
    command.add_header("X", "a $b")
    command.add_raw_data("@x'y")
    command.add_text_field("a", "<b")
    command.add_file_field("file", 'a "b".txt', "text/plain")
    assert shlex.split(str(command)) == [
        "curl", "-N", "-X", "PUT", "-H", "X: a $b", "--data-raw", "@x'y", "--form-string", "a=<b",
        "-F", 'file=@"a \\"b\\".txt";type=text/plain',
    ]  # fmt: skip


def test_variables_are_the_only_thing_that_a_shell_fills_in() -> None:
    """Around a variable everything else stays as it is."""
    assert quote_with_variables("a `b` $c", {"\0": "KEY"}) == "'a `b` $c'"
    assert quote_with_variables('Bearer \0 "$x`', {"\0": "KEY"}) == r'"Bearer $KEY \"\$x\`"'
