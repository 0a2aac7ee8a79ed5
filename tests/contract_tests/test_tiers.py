"""What a violation weighs: what no document says is a note, a broken promise is red, a server error always is."""

from __future__ import annotations

import json

import pytest

from contract_tests.cases.derive import derive_cases
from contract_tests.http.exchange import Answer, Exchange, SentRequest
from contract_tests.judging.choices import describe_exchange, find_choices
from contract_tests.judging.expectations import ANYTHING
from contract_tests.judging.judge import Judge
from contract_tests.suite.record import Record
from flowcontract.provenance.evidence import Tier, quote
from flowcontract.specs.model import load_apis
from flowcontract.streams.totals import matches_joined

APIS = load_apis()
CASES = {case.id: case for api in APIS.values() for case in derive_cases(api, APIS.values())}
JSON, HTML = {"content-type": "application/json"}, {"content-type": "text/html; charset=utf-8"}
ERROR = {"code": "invalid_param", "message": "no", "status": 400}
BROKEN = {"code": "unknown", "message": "no"}
FILE = {"id": "1", "name": "a", "path": "b/c", "size": 1}
NOBODY = {"code": "not_found", "message": "no", "status": 404}
CHAT = "dify-chat/sendChatMessage"


def judged(case_id, status, body, headers=JSON):
    """Return the verdict on an answer to a case."""
    case = CASES[case_id]
    judge = Judge(APIS[case.operation.api], case.operation, case.expected)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge.conclude(SentRequest(case.request.method, "http://x/", ()), Answer(status, dict(headers), raw))


def tiers(*answer):
    """Return the violations of an answer with their tiers."""
    return {violation.rule: str(violation.tier) for violation in judged(*answer).violations}


@pytest.mark.parametrize(
    ("case", "status", "body", "headers", "found"),
    [
        # what no document says
        ("dify-chat/convertAudioToText/undocumented/GET /audio-to-text", 405, {**NOBODY, "status": 405}, JSON,
         {"required": "standard", "code": "observed", "allow": "standard"}),
        ("dify-chat/sendChatMessage/undocumented/unknown path", 404, b"<html>", HTML, {"media-type": "observed"}),
        ("dify-chat/getMeta/keys/of dify-workflow", 200, {"tool_icons": {}}, JSON, {}),
        ("dify-chat/sendMessageFeedback/unknown/message_id", 200, {"result": "success"}, JSON, {"status": "observed"}),
        ("agentbuilder/uploadUserFile/documented/file", 200, FILE, JSON, {"status": "observed"}),
        # how a refusal is told, and whether a table's word is law
        (f"{CHAT}/keys/none", 403, {**ERROR, "code": "forbidden", "status": 403}, JSON, {"status": "observed"}),
        (f"{CHAT}/invalid/query type", 404, NOBODY, JSON, {"status": "observed"}),
        (f"{CHAT}/unknown/conversation_id", 404, {**NOBODY, "code": "gone"}, JSON, {"code": "observed"}),
        ("dify-chat/sendMessageFeedback/invalid/rating enum", 200, {"result": "success"}, JSON, {"status": "observed"}),
        # what a document promises
        (f"{CHAT}/documented/blocking", 400, ERROR, JSON, {"status": "document"}),
        (f"{CHAT}/unknown/conversation_id", 400, ERROR, JSON, {"status": "document"}),
        (f"{CHAT}/keys/none", 400, ERROR, JSON, {"status": "observed"}),
        ("dify-chat/getMeta/keys/none", 200, {"tool_icons": {}}, JSON, {"status": "document"}),
        ("agentbuilder/listFlowFiles/keys/none", 200, {"files": []}, JSON, {"status": "ruling"}),
        ("dify-chat/getMeta/documented/request", 200, b"<html>", HTML, {"media-type": "document"}),
        ("dify-workflow/uploadFile/invalid/file required", 422, ERROR, JSON, {"status": "ruling"}),
        ("dify-workflow/listWorkflowLogs/generated/limit=101", 400, ERROR, JSON, {"status": "ruling"}),
        ("dify-workflow/getWorkflowRun/unknown/workflow_run_id", 200, {}, JSON,
         {"status": "ruling", "required": "ruling"}),
        ("dify-chat/listConversations/generated/limit=101", 400, ERROR, JSON, {}),
        # what is wrong whatever was demanded
        (f"{CHAT}/invalid/query required", 500, BROKEN, JSON, {"status": "server-error"}),
        (f"{CHAT}/documented/blocking", 502, b"busy", HTML, {"status": "server-error"}),
        ("dify-chat/getMeta/keys/of dify-workflow", 500, BROKEN, JSON, {"status": "server-error"}),
    ],
)  # fmt: skip
def test_violation_weighs_what_its_demand_rests_on(case, status, body, headers, found):
    """Each kind of answer gets the tier of the lines, rulings, observations or standards that speak of it."""
    assert tiers(case, status, body, headers) == found


@pytest.mark.parametrize(
    ("api", "case", "tier"),
    [
        ("dify-workflow", "dify-workflow/runWorkflow/invalid/user type", "observed"),
        ("dify-chat", f"{CHAT}/invalid/query type", "observed"),
        ("dify-workflow", "dify-workflow/uploadFile/invalid/file required", "ruling"),  # another code
        ("dify-chat", f"{CHAT}/invalid/files.0 type", "document"),  # another status than the rest
    ],
)
def test_finer_words_of_a_release_for_the_same_refusal_demand_no_more(api, case, tier):
    """Dify 0.14.0 words the refusal of an empty user otherwise than others, and takes the user 12345 all the same."""
    apis = load_apis(profiles={api: "0.14"})
    (expected,) = (each.expected for each in derive_cases(apis[api], apis.values()) if each.id == case)
    assert str(expected.outcome) == tier


def test_ruling_that_decides_is_cited_by_name_with_its_words():
    """The report has the decision, its reason and the printed lines beside the bare sources."""
    record = Record()
    verdict = judged("dify-workflow/listWorkflowLogs/generated/limit=101", 400, ERROR)
    record.note(CASES["dify-workflow/listWorkflowLogs/generated/limit=101"].operation, verdict)
    (told,) = [failure.as_json() for failure in record.failures]
    assert "limits-are-clamped" in [ruling["name"] for ruling in told["rulings"]]
    assert any("the answer's limit is the maximum" in ruling["decision"] for ruling in told["rulings"])
    assert quote("001:482")._asdict() in told["quotes"]
    assert told["tier"] == "ruling"


def test_note_marks_nothing_as_failed_until_it_is_demanded():
    """The same answer is well by default, and red where observations are demanded."""
    case = "dify-chat/sendMessageFeedback/unknown/message_id"
    for demand, well in ((Tier.RULING, True), (Tier.OBSERVED, False)):
        record = Record(demand)
        record.note(CASES[case].operation, judged(case, 200, {"result": "success"}))
        assert record.failures
        assert {outcome for *_, outcome in record.seen} == {well}


def stream(*payloads, blocks=b""):
    """Return what the judge finds in a stream of the chat."""
    operation = APIS["dify-chat"].operations["sendChatMessage"]
    judge = Judge(APIS["dify-chat"], operation, ANYTHING)
    answer = Answer(200, {"content-type": "text/event-stream"})
    judge.watch(answer)
    raw = b"".join(b"data: " + json.dumps(payload).encode() + b"\n\n" for payload in payloads)
    list(judge.feed(0.0, raw + blocks))
    judge.end(0.0, broken=False)
    return judge.conclude(SentRequest("POST", "http://x/", ()), answer)


def test_form_of_a_stream_rests_on_the_lines_that_show_it_else_on_the_standard():
    """`data:` is printed; that bytes are UTF-8 and that an event is named as its payload says is the standard's."""
    found = {violation.expected: str(violation.tier) for violation in stream(blocks=b"hello\n\n").violations}
    assert found['a block with "data:"'] == "ruling"
    wrong = stream(blocks=b'data: {"event": "\xff"}\n\nevent: other\ndata: {"event": "message"}\n\n').violations
    assert {one.expected: str(one.tier) for one in wrong if one.rule == "framing"} == {
        "UTF-8": "standard",
        '"event: message" or none': "standard",
    }


def test_stream_that_owes_its_end_breaks_the_line_that_promises_it():
    """The end is demanded by the document's own words, whichever order was followed until then."""
    begun = stream({"event": "message", "answer": "a"})
    (ended,) = [violation for violation in begun.violations if violation.rule == "end"]
    assert "004:107-113" in ended.source
    assert ended.tier is Tier.RULING
    (nothing,) = [violation for violation in stream().violations if violation.rule == "end"]
    assert nothing.tier is Tier.SERVER_ERROR


@pytest.mark.parametrize(
    ("pieces", "whole", "same"),
    [
        (["Let me think. ", "You said: ", "hi"], "Let me think.\nYou said: hi", True),
        (["Let me think.", "You said: ", "hi"], "Let me think.\n\nYou said: hi", True),
        (["word0 ", "word1 "], "word0 word1", True),
        (["a\n", "b"], "a\nb", True),
        (["a", " ", "b"], "a\nb", True),
        (["a"], "a  \n", True),
        ([], "", True),
        (["See ", "![](http://x/f?nonce=1&sign=A=)", " ", "."], "See ![](http://x/f?nonce=2&sign=B=) .", True),
        (["http://x/", "f?sign=1"], "http://x/f?sign=1", True),
        (["See ", "http://x/f?sign=1"], "See http://x/g?sign=1", False),
        (["See ", "http://x/f?sign=1", " now"], "See http://x/f?sign=2 then", False),
        (["a", "b"], "a b", False),
        (["a", "c"], "ab", False),
        (["a\nb"], "ab", False),
        (["a", " b"], "ab", False),
        (["a"], "ab", False),
        (["a", "b"], "a", False),
        (["ab"], "a\nb", False),
    ],
)
def test_pieces_add_up_but_for_line_breaks_between_them_and_blanks_before_these(pieces, whole, same):
    """Several answer nodes are told apart by line breaks, and servers trim: nothing else may differ."""
    assert matches_joined(pieces, whole) is same


def took(api, operation, exchange, text="", order=""):
    """Return the choices that an exchange shows."""
    found = find_choices(APIS[api].operations[operation], APIS[api].rulings, describe_exchange(exchange, text, order))
    return {choice.name: choice.took for choice in found}


def exchange(status, body=None, headers=JSON, url="http://x/"):
    raw = b"" if body is None else json.dumps(body).encode()
    return Exchange(SentRequest("GET", url, ()), Answer(status, dict(headers), raw))


@pytest.mark.parametrize(
    ("api", "operation", "answer", "found"),
    [
        ("dify-chat", "deleteConversation", exchange(204), {"how a deletion is answered": "204 without one"}),
        ("dify-chat", "deleteConversation", exchange(200, {"result": "success"}),
         {"how a deletion is answered": "200 with a body"}),
        ("dify-chat", "deleteConversation", exchange(404, NOBODY), {}),
        ("dify-chat", "listConversations", exchange(400, ERROR, url="http://x/?limit=101"),
         {"a limit over the maximum": "refused"}),
        ("dify-chat", "listConversations", exchange(400, ERROR, url="http://x/?limit=0"), {}),
        ("agentbuilder", "deleteUserFile", exchange(200, {"detail": "File a deleted successfully"}),
         {"where a deletion says so": "detail", "what a deletion says": "a text of its own"}),
        ("agentbuilder", "getCurrentUser", exchange(200, {"updated_at": "2025-01-01T00:00:00Z"}),
         {"the zone of times": "with a zone"}),
        ("agentbuilder", "getCurrentUser", exchange(200, {"updated_at": "2025-01-01T00:00:00"}),
         {"the zone of times": "without"}),
    ],
)  # fmt: skip
def test_choice_that_a_ruling_leaves_is_noted_as_it_was_taken(api, operation, answer, found):
    """What a client author must know before an upgrade is told from the answers themselves."""
    assert took(api, operation, answer) == found


def test_choices_of_a_stream_are_its_order_its_beginning_and_its_letters():
    """A stream that begins with a ping and ends the message first says so."""
    payloads = [{"event": "message", "message_id": "1", "answer": "\u4e3a"}]
    verdict = stream(*payloads, blocks=b"")
    found = {choice.name: choice.took for choice in verdict.choices}
    assert found == {
        "how a stream begins": "with an event of the run",
        "the id of a message": "message_id alone",
        "letters beyond ASCII": "escaped",
    }
