"""Probes: single requests that are written down, with what may be answered and what that rests on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contract_tests.cases.probes import check_answer, derive_probes, read_probes
from contract_tests.cases.sample_files import Oversize
from contract_tests.config.target import load_target
from contract_tests.http.exchange import Answer, Exchange, Request, SentRequest
from contract_tests.suite.not_exercised import NotExercised
from contract_tests.suite.session import Suite
from flowcontract.provenance.evidence import Tier, is_printed, quote
from flowcontract.specs.model import load_apis

APIS = load_apis()
CASES = {case.id: case for api in APIS.values() for case in derive_probes(api)}
SOURCES = [(case.id, source) for case in CASES.values() for source in case.expected.source]


def test_every_probe_is_of_an_operation_and_has_a_name_of_its_own():
    """A misspelt operation would never be asked."""
    named = [(name, probe["name"]) for probe in read_probes() for name in probe["of"]]
    assert len(named) == len(set(named)) == len(CASES)
    assert {name.partition("/")[0] for name, _ in named} <= set(APIS)


@pytest.mark.parametrize("name", CASES)
def test_every_probe_says_what_it_rests_on(name):
    """Lines that the documents have, rulings that there are."""
    case = CASES[name]
    assert case.expected.source
    assert case.expected.because
    for source in case.expected.source:
        if source.startswith("ruling "):
            assert source.removeprefix("ruling ") in APIS[case.operation.api].rulings
        elif is_printed(source):
            assert quote(source)


def test_names_of_files_are_those_that_break_servers():
    """Chinese, a comma, separators of both systems, 300 bytes; several files; one byte too many."""
    names = [case.request.body["file"] for case in CASES.values() if case.id.startswith("dify-chat/uploadFile/")]
    files = [file.filename for file in names if not isinstance(file, list | Oversize)]
    assert {len(name.encode()) for name in files} >= {300}
    assert all(any(part in name for name in files) for part in ("报告", ",", ";", "/", "\\"))
    assert [len(file.upload(2).content) for file in names if isinstance(file, Oversize)] == [2 * 1024 * 1024 + 1]


def exchange(case, body, status=200):
    """Return an answer to a case, and the request that was asked."""
    asked = replace(case.request, query={**case.request.query, "conversation_id": "c1"})
    answer = Answer(status, {}, body.encode())
    return asked, Exchange(SentRequest("GET", "http://x/", ()), answer)


@pytest.mark.parametrize(
    ("name", "body", "place"),
    [
        ("dify-chat/listMessages/probes/limit of 7", '{"limit": 7}', None),
        ("dify-chat/listMessages/probes/limit of 7", '{"limit": 20}', "/limit"),
        ("dify-chat/listConversations/probes/limit left out", '{"limit": 100}', "/limit"),
        ("dify-workflow/listWorkflowLogs/probes/limit left out", '{"limit": 20}', None),
        (
            "dify-chat/listMessages/probes/messages of one conversation",
            '{"data": [{"conversation_id": "c1"}, {"conversation_id": "c2"}]}',
            "/data/1/conversation_id",
        ),
        ("dify-workflow/runWorkflow/probes/ids of a run", '{"workflow_run_id": "r", "data": {"id": "s"}}', "/data/id"),
        ("dify-workflow/runWorkflow/probes/ids of a run", '{"workflow_run_id": "r", "data": {"id": "r"}}', None),
        ("dify-chat/uploadFile/probes/Chinese file name", '{"name": "报告 2024年.txt"}', None),
        ("dify-chat/uploadFile/probes/Chinese file name", '{"name": "__ 2024_.txt"}', "/name"),
        ("dify-chat/uploadFile/probes/Chinese file name", "[1", None),
        ("dify-chat/uploadFile/probes/Chinese file name", "[]", None),
    ],
)
def test_answer_has_to_hold_what_is_written_down(name, body, place):
    """The place that does not is named; what is no JSON is told by the contract."""
    case = CASES[name]
    assert [found.where for found in check_answer(case, *exchange(case, body))] == ([place] if place else [])


def test_refusal_need_hold_nothing():
    """What is wrong with it is told already."""
    case = CASES["dify-chat/listMessages/probes/limit of 7"]
    assert list(check_answer(case, *exchange(case, '{"limit": 9, "code": "x"}', 400))) == []


def test_what_no_line_promises_is_not_demanded():
    """A value against the form is a note, a file over the printed limit is not."""
    assert CASES["dify-workflow/runWorkflow/probes/text over its length"].expected.outcome is Tier.OBSERVED
    assert CASES["dify-workflow/uploadFile/probes/file over the limit"].expected.outcome is Tier.DOCUMENT
    both = CASES["agentbuilder/uploadFlowFile/probes/file name of 300 bytes"].expected
    assert both.refused is None
    assert {201, 400} <= both.statuses
    assert 500 not in both.statuses


def bodies(name, parameters):
    """Return the bodies that a probe is asked with of an app that answers GET /parameters so."""
    suite = Suite(load_target({"dify-workflow": APIS["dify-workflow"]}, base_url="http://127.0.0.1:1"))
    suite.apps.read_parameters = lambda api: parameters
    case = CASES[name]
    return [suite.values.fill(case.operation, request, keep).body for request, keep in suite.build_requests(case)]


OVER = "dify-workflow/uploadFile/probes/file over the limit"


def control(kind, name, **more):
    """Return a control as a server tells it."""
    return {kind: {"label": name, "variable": name, "required": False, **more}}


def test_every_control_with_a_bound_is_tried():
    """The others of the form get what they need."""
    form = [
        control("text-input", "a", max_length=3, required=True),
        control("paragraph", "b", max_length=4),
        control("number", "c"),
    ]
    told = {"user_input_form": form}
    inputs = [body["inputs"] for body in bodies("dify-workflow/runWorkflow/probes/text over its length", told)]
    assert inputs == [{"a": "xxxx"}, {"a": "con", "b": "xxxxx"}]
    [body] = bodies("dify-workflow/runWorkflow/probes/text for a number", told)
    assert body["inputs"] == {"a": "con", "c": "twelve"}
    with pytest.raises(NotExercised, match="nothing for it"):
        bodies("dify-workflow/runWorkflow/probes/value that is no option", told)


@pytest.mark.parametrize("limit", [None, "15", 999, 0, True])
def test_limit_that_is_not_told_or_too_far_away_is_not_gone_over(limit):
    """Nobody uploads a gigabyte to see it refused."""
    with pytest.raises(NotExercised, match="file_size_limit"):
        bodies(OVER, {"system_parameters": {"file_size_limit": limit}})


def test_file_is_one_byte_over_the_limit_that_the_app_tells():
    """Its own, not the documents'."""
    [body] = bodies(OVER, {"system_parameters": {"file_size_limit": 1}})
    assert len(body["file"].content) == 1024 * 1024 + 1


def test_request_keeps_what_is_tested():
    """Names and limits are sent as they are written down."""
    assert isinstance(CASES["dify-workflow/listWorkflowLogs/probes/limit of 7"].request, Request)
    [body] = bodies("dify-workflow/uploadFile/probes/two files in one form", {})
    assert [file.filename for file in body.values() if hasattr(file, "filename")] == ["one.txt", "two.txt"]
