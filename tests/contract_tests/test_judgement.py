"""The judgement of single answers: what is wrong is told by the right rule, what is right is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contract_tests.cases.derive import derive_cases
from contract_tests.http.exchange import Answer, Exchange, SentRequest
from contract_tests.judging.error_codes import is_refusal, read_error_code
from contract_tests.judging.expectations import ANYTHING, Expected
from contract_tests.judging.judge import Judge
from flowcontract.provenance.evidence import Tier
from flowcontract.specs.model import load_apis

DATA = Path(__file__).parents[1] / "data" / "judge"
APIS = load_apis()
CASES = {case.id: case for api in APIS.values() for case in derive_cases(api, APIS.values())}
SENT = SentRequest("GET", "http://x/", ())
JSON = {"content-type": "application/json"}


def example(operation, status, name):
    """Return a documented body."""
    media = operation.responses[status].media["application/json"]
    return media.examples[name].value


def rules(case_id, status, body, headers=JSON):
    """Return the rules that an answer to a case breaks."""
    case = CASES[case_id]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    judge = Judge(APIS[case.operation.api], case.operation, case.expected)
    sent = SentRequest(case.request.method, "http://x/", ())
    return [violation.rule for violation in judge.conclude(sent, Answer(status, dict(headers), raw)).violations]


MISSING = "dify-chat/sendChatMessage/invalid/query required"
BLOCKING = "dify-chat/sendChatMessage/documented/blocking"
ROBOT = "cybertron/offlineUploadFile/documented/no-file"
REFUSED = {"code": "invalid_param", "message": "query is missing", "status": 400}


@pytest.mark.parametrize(
    ("case", "status", "body", "broken"),
    [
        (MISSING, 400, REFUSED, []),
        (MISSING, 400, {**REFUSED, "params": "query"}, []),
        (MISSING, 400, {**REFUSED, "code": "app_unavailable"}, ["code"]),
        (MISSING, 400, {**REFUSED, "code": "made_up"}, ["code"]),
        (MISSING, 400, {**REFUSED, "status": 500}, ["equal"]),
        (MISSING, 404, {**REFUSED, "code": "not_found", "status": 404}, ["status"]),
        (MISSING, 418, REFUSED, ["status"]),
        (MISSING, 400, {"code": "invalid_param"}, ["required"]),
        (MISSING, 400, b"<html>", ["json"]),
        (ROBOT, 200, {"code": "000000", "message": "ok", "data": {"id": 6, "status": 4}}, []),
        (ROBOT, 200, {"code": "400001", "message": "no", "data": None}, ["outcome"]),
        (ROBOT, 200, {"code": "000000", "message": "ok", "data": None}, ["type"]),
        ("cybertron/offlineUploadFile/keys/none", 200, {"code": "999999", "message": "no", "data": None}, []),
    ],
)
def test_answer_is_judged_by_contract_and_expectation(case, status, body, broken):
    """Each deviation is told by its own rule, and a documented answer by none."""
    assert rules(case, status, body) == broken


def test_other_answer_than_json_is_told_by_its_media_type():
    """An error as HTML is not a documented answer."""
    assert rules(MISSING, 400, b"<html>", {"content-type": "text/html"}) == ["media-type"]


def test_whole_answer_where_the_stream_was_asked_for_is_told():
    """The mode of the answer is the one that was asked for."""
    body = example(APIS["dify-chat"].operations["sendChatMessage"], 200, "documented")
    assert rules(BLOCKING, 200, body) == []
    assert rules("dify-chat/sendChatMessage/generated/response_mode=streaming", 200, body) == ["media-type"]


def test_allow_names_documented_methods_and_not_the_refused_one():
    """Others may stand beside them; that of one documented method alone will do."""
    case = "agentbuilder/listUserFiles/undocumented/PUT /v2/files"
    body = {"detail": "Method Not Allowed"}
    assert rules(case, 405, body, {**JSON, "allow": "HEAD, OPTIONS, GET"}) == []
    assert rules(case, 405, body, {**JSON, "allow": "DELETE, GET, PATCH, POST"}) == []
    assert rules(case, 405, body, {**JSON, "allow": "GET, PUT"}) == ["allow"]
    assert rules(case, 405, body, {**JSON, "allow": "PATCH"}) == ["allow"]
    assert rules(case, 405, body) == ["required", "allow"]


def test_method_that_no_document_names_may_be_refused_by_another_operation():
    """Langflow has PATCH /v1/users/{id} besides, and misses an id there; only taking the request is wrong."""
    case = "agentbuilder/getCurrentUser/undocumented/PATCH /v1/users/whoami"
    wrong = {"detail": [{"type": "uuid_parsing", "loc": ["path", "user_id"], "msg": "no UUID"}]}
    assert rules(case, 422, wrong) == []
    assert rules(case, 404, {"detail": "Not Found"}) == []
    assert rules(case, 500, {"detail": "Internal Server Error"}) == ["status"]
    assert "status" in rules(case, 200, {"id": "x"})


@pytest.mark.parametrize("status", [400, 422])
def test_status_of_a_wrong_request_is_the_servers_where_no_document_tells_it(status):
    """AgentBuilder's document has no errors: both general statuses will do, another one or none will not."""
    for name in (
        "renameUserFile/invalid/query.name required",
        "runFlow/invalid/tweaks type",
        "listFlowFiles/invalid/path.flow_id format",
    ):
        assert rules(f"agentbuilder/{name}", status, {"detail": "wrong"}) == []
        assert rules(f"agentbuilder/{name}", 403, {"detail": "wrong"}) == ["status"]


def test_id_of_a_wrong_form_may_be_one_that_nobody_knows():
    """Whether a server looks at the form of an id before it looks for it is its own affair."""
    case = "agentbuilder/downloadUserFile/invalid/path.file_id format"
    assert rules(case, 404, {"detail": "File not found"}) == []
    assert rules(case, 500, {"detail": "badly formed hexadecimal UUID string"}) == ["status"]


def test_token_is_refused_without_saying_how_to_authenticate():
    """No document asks for `WWW-Authenticate`, and real servers leave it out."""
    assert (
        rules("agentbuilder/getCurrentUser/keys/wrong bearer", 401, {"detail": "Could not validate credentials"}) == []
    )


def test_broken_body_is_told():
    """An answer that broke off is a violation whatever it says."""
    case = CASES[MISSING]
    judge = Judge(APIS["dify-chat"], case.operation, case.expected)
    verdict = judge.conclude(SENT, Answer(400, JSON, json.dumps(REFUSED).encode(), 0, "RemoteProtocolError"))
    assert [violation.rule for violation in verdict.violations] == ["answer"]


class Live:
    """The head of a streamed answer, as the judge sees it."""

    status = 200
    headers = {"content-type": "text/event-stream; charset=utf-8"}  # noqa: RUF012
    started = 100.0


def test_stream_is_judged_piece_by_piece_with_the_time_of_each_event():
    """What is wrong with an event is known when its bytes are there, and the verdict knows what was exercised."""
    operation = APIS["dify-chat"].operations["sendChatMessage"]
    judge = Judge(APIS["dify-chat"], operation, Expected("a test", events=frozenset({"message_replace"})))
    assert judge.begin(Live(), 10)
    error = b'data: {"event": "error", "message_id": "m", "status": 400, "code": "c", "message": "m"}\n\n'
    assert [(timed.at_s, timed.event.kind) for timed in judge.feed(101.5, error)] == [(1.5, "error")]
    assert list(judge.feed(102.0, b'data: {"event": "me')) == []
    judge.end(102.5, broken=False)
    verdict = judge.conclude(SENT, Answer(200, Live.headers))
    assert [violation.rule for violation in verdict.violations] == ["framing", "event"]
    assert verdict.kinds == ("error",)
    assert verdict.transitions == (("", "error"),)


def test_silence_is_told_when_a_stream_was_given_up():
    """A stream that hangs is broken off, and the silence is what is wrong with it."""
    operation = APIS["dify-chat"].operations["sendChatMessage"]
    judge = Judge(APIS["dify-chat"], operation, ANYTHING)
    judge.begin(Live(), 100)
    judge.end(113.0, broken=True)
    found = judge.conclude(SENT, Answer(200, Live.headers, trouble="ReadTimeout")).violations
    assert [violation.rule for violation in found] == ["answer", "silence"]


def test_refusals_are_known_by_status_or_by_the_code_in_a_200():
    """Where all is status 200 the code in the body tells."""
    operation = APIS["cybertron"].operations["offlineUploadFile"]
    for code, refused in (("000000", False), ("400001", True)):
        exchange = Exchange(SENT, Answer(200, JSON, json.dumps({"code": code}).encode()))
        assert is_refusal(operation, exchange) is refused
        assert read_error_code(operation, exchange) == (code if refused else "")


@pytest.mark.parametrize(("first_s", "told"), [(0.1, []), (2.95, ["arrival"])])
def test_stream_that_comes_all_at_its_end_is_a_note(first_s, told):
    """Three seconds of nothing but pings, and then everything: something in between collects the events."""
    operation = APIS["dify-workflow"].operations["runWorkflow"]
    (name,) = (name for name, media in operation.success.media.items() if media.stream)
    judge = Judge(APIS["dify-workflow"], operation, Expected("a test"))
    assert judge.begin(Live(), 10)
    assert len(list(judge.feed(100.05, b"event: ping\n\n"))) == 1
    for at_s in (100 + first_s, 102.98, 103.0):
        assert len(list(judge.feed(at_s, b'data: {"event": "x"}\n\n'))) == 1
    judge.end(103.0, broken=True)
    found = judge.conclude(SENT, Answer(200, {"content-type": name})).violations
    assert [(violation.rule, violation.tier) for violation in found if violation.rule == "arrival"] == [
        (rule, Tier.OBSERVED) for rule in told
    ]


def test_node_that_was_stopped_need_not_finish_whatever_the_run_says_of_itself():
    """Dify 1.14.2 may call a run that was stopped failed; that is one violation of the journey, not two."""
    recorded = (DATA / "run_stopped_as_failed.sse").read_bytes()
    operation = APIS["dify-workflow"].operations["runWorkflow"]
    found = {}
    for interrupted in (False, True):
        judge = Judge(APIS["dify-workflow"], operation, Expected("a test", interrupted=interrupted))
        assert judge.begin(Live(), 10)
        for _ in judge.feed(101.0, recorded):
            pass
        judge.end(102.0, broken=False)
        found[interrupted] = {
            violation.rule for violation in judge.conclude(SENT, Answer(200, Live.headers)).violations
        }
    assert found[False] - found[True] == {"pairs"}
    assert found[True] <= found[False]
