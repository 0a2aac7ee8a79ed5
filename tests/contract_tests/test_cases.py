"""The cases: derived from any contract, each with one thing wrong, each with what may be answered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contract_tests.cases import derive, mutations
from contract_tests.cases import examples as examples_module
from contract_tests.cases.derive import derive_cases
from contract_tests.cases.examples import find_refusable, find_violations, list_examples
from contract_tests.cases.server_values import load_server_values
from flowcontract.specs.model import load_apis

APIS = load_apis()
CASES = {case.id: case for api in APIS.values() for case in derive_cases(api, APIS.values())}
OPERATIONS = [operation for api in APIS.values() for operation in api.operations.values()]


def of(family):
    """Return the cases of a family."""
    return [case for case in CASES.values() if case.family == family]


def found(case):
    """Return what the contract finds wrong with a case's request."""
    return find_violations(APIS[case.operation.api], case.operation, case.request)


def test_every_case_has_a_name_of_its_own():
    """A name leads to one case."""
    assert len(CASES) == sum(1 for api in APIS.values() for _ in derive_cases(api, APIS.values()))


def test_examples_are_made_once_per_operation(monkeypatch):
    """All families of cases share them."""
    calls = []

    def count(api, operation):
        calls.append(operation.name)
        return list_examples(api, operation)

    for module in (examples_module, derive, mutations):
        monkeypatch.setattr(module, "list_examples", count, raising=False)
    api = APIS["dify-chat"]
    assert list(derive_cases(api))
    assert calls == [operation.name for operation in api.operations.values()]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_is_asked_as_documented_without_key_and_with_a_wrong_one(operation):
    """No operation is left out, whatever it takes."""
    families = {case.family for case in CASES.values() if case.operation.name == operation.name}
    assert {"documented", "keys", "provoked"} <= families


def test_documented_and_generated_requests_satisfy_the_contract():
    """What is to be accepted has nothing wrong."""
    assert {case.id: found(case) for case in [*of("documented"), *of("generated")] if found(case)} == {}


def test_invalid_requests_break_the_contract():
    """What is to be refused for its values has something wrong, and the case says which field."""
    assert [case.id for case in of("invalid") if not found(case)] == []
    assert all(case.expected.refused or "null" in case.name for case in of("invalid"))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_each_required_field_and_parameter_is_left_out_once(operation):
    """Every required query parameter and every field that the body's schema requires has its case."""
    api = APIS[operation.api]
    needed = {one.name for one in operation.parameters if one.required and one.location == "query"}
    for media in operation.request.values():
        needed |= set(api.validators.follow(media.pointer).schema.get("required", ()))
    missing = {
        case.name.partition(" ")[0].removeprefix("query.")
        for case in of("invalid")
        if case.operation is operation and "required" in case.name
    }
    assert needed <= missing


def test_nothing_is_demanded_of_what_a_single_component_judges():
    """What is wrong inside of a tweak no API can know, which component it is for knows only the flow."""
    names = [case.name for case in of("invalid") if case.operation.id == "runFlow"]
    assert "tweaks type" in names
    assert [name for name in names if name.startswith("tweaks.")] == []


def test_repeated_parameters_are_not_demanded_to_be_refused():
    """No document says which value counts, and real servers take the first or the last."""
    api = APIS["agentbuilder"]
    operation = api.operations["renameUserFile"]
    _, request, _ = list_examples(api, operation)[0]
    twice = replace(request, query={"name": ("one", "two")})
    assert find_violations(api, operation, twice)
    assert not find_refusable(api, operation, twice)
    assert [case.id for case in of("invalid") if "repeated" in case.name] == []


def test_another_media_type_may_be_read_where_nothing_is_wrong_in_it():
    """A server that reads JSON whatever it is called does no harm; required fields stay required."""
    run = CASES["agentbuilder/runFlow/unread/as text/plain"].expected
    assert (run.refused, run.statuses) == (None, {200, 400, 415, 422})
    chat = CASES["dify-chat/sendChatMessage/unread/as text/plain"].expected
    assert chat.refused is True
    assert 200 not in chat.statuses


@pytest.mark.parametrize("name", APIS)
def test_what_is_known_of_an_api_names_its_own_operations(name):
    """A line of `server_values.yaml` that fits nothing would excuse nothing, or everything."""
    about = load_server_values()[name]
    named = {
        *about.get("unknown", {}),
        *about.get("opaque", {}),
        *about.get("may_fail", {}),
        *about.get("deletes_all", ()),
    }
    assert named <= set(APIS[name].operations)


def test_each_enum_of_a_body_is_broken_once():
    """A value that is none of an enum's is sent for every field that has one."""
    names = {case.id for case in of("invalid") if case.name.endswith(" enum")}
    assert {
        "dify-workflow/runWorkflow/invalid/response_mode enum",
        "dify-chat/sendMessageFeedback/invalid/rating enum",
        "dify-chat/listConversations/invalid/query.sort_by enum",
        "agentbuilder/runFlow/invalid/input_type enum",
        "cybertron/offlineUploadFile/invalid/mode enum",
    } <= names


def test_refusals_name_the_documented_status_and_code():
    """What `x-refusals` says is what a refusal must be, observed codes included."""
    expected = CASES["dify-chat/sendChatMessage/invalid/query required"].expected
    assert expected.statuses == {400}
    assert expected.codes == {"invalid_param", "bad_request", "not_chat_app"}
    assert CASES["agentbuilder/uploadUserFile/keys/wrong bearer"].expected.statuses == {401}
    assert CASES["cybertron/offlineUploadFile/keys/none"].expected.statuses == {200}


def test_stream_is_expected_exactly_where_the_request_asks_for_it():
    """Both modes of a streaming operation are asked for."""
    modes = {
        name: CASES[f"dify-chat/sendChatMessage/generated/response_mode={name}"].expected.streamed
        for name in ("streaming", "blocking")
    }
    assert modes == {"streaming": True, "blocking": False}
    assert CASES["agentbuilder/runFlow/generated/stream=true"].expected.streamed is True


def test_every_documented_error_code_has_a_case():
    """Each named example of an error is to be provoked."""
    provoked = {(case.operation.name, case.provoke) for case in of("provoked")}
    for operation in OPERATIONS:
        for status, response in operation.responses.items():
            if status >= 400:
                names = {name for media in response.media.values() for name in media.examples}
                assert {(operation.name, name) for name in names} <= provoked


def test_examples_of_forms_carry_files_that_are_what_they_say():
    """The words that stand for a file in a spec's example become a file of that sort."""
    api = APIS["dify-chat"]
    request = next(
        request for name, request, _ in list_examples(api, api.operations["convertAudioToText"]) if name == "with-user"
    )
    assert request.body["file"].content.startswith(b"RIFF")
    assert request.body["user"] == "abc-123"
