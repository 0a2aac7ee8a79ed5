"""The journeys: whatever a server says they end with a verdict, and what no document forbids is no violation."""

from __future__ import annotations

import json
import random
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from journeys import JOURNEYS, Change, go, of_streams, red, suite_at, suite_behind
from mutant import Reply, kind_of, read_blocks

from contract_tests.http.patience import MAX_HANGS, Patience, Sort
from flowcontract.provenance.evidence import Tier
from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer


@pytest.fixture(scope="module")
def mock():
    """Run the mock without delays."""
    with MockServer(settings=Settings(pace=0)) as server:
        yield server.port


@pytest.fixture(scope="module")
def slow_mock():
    """Run the mock at the pace at which it can be stopped."""
    with MockServer(settings=Settings()) as server:
        yield server.port


@pytest.fixture
def hasty(monkeypatch):
    """Do not wait between what is to lie in different seconds: only crashes count."""
    monkeypatch.setattr("contract_tests.journeys.journey._SECOND", 0)


NAMES = """
    event task_id workflow_run_id data id status outputs inputs error created_at finished_at elapsed_time message_id
    conversation_id answer metadata usage retriever_resources feedback rating has_more limit total page name updated_at
    workflow_run created_by_end_user session_id file_path flowId files path size user_input_form text-input variable
    result session_id outputs results message text code sequence_number message_files mime_type extension created_by
"""
KINDS = "ping workflow_started node_started node_finished message message_end workflow_finished error end add_message x"
LEAVES = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "\ud800",
    "a/b",
    "\x00\x1b[31m",
    "success",
    "succeeded",
    "stopped",
)


def value(dice, depth=0):
    """Return any JSON value, of names that the contracts know."""
    sort = dice.randrange(6 if depth < 4 else 3)
    if sort < 3:
        return dice.choice(LEAVES)
    if sort == 3:
        return [value(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(NAMES.split()): value(dice, depth + 1) for _ in range(dice.randrange(8))}


class Babble(BaseHTTPRequestHandler):
    """Answers everything with anything."""

    protocol_version = "HTTP/1.1"

    def handle_one_request(self):
        """Read a request, whatever its method is, and answer it."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        dice = self.server.dice
        kind = dice.choice(["application/json", "text/event-stream", "text/event-stream", "text/html"])
        body = stream(dice) if "event" in kind else json.dumps(value(dice)).encode()
        self.send_response(dice.choice([200, 200, 200, 201, 204, 302, 400, 404, 500]))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


def stream(dice):
    """Return events of any kind that say anything."""
    payloads = [value(dice) for _ in range(dice.randrange(6))]
    named = [{**one, "event": dice.choice(KINDS.split())} if isinstance(one, dict) else one for one in payloads]
    return dice.choice([b"", b"event: ping\n\n"]) + b"".join(f"data: {json.dumps(one)}\n\n".encode() for one in named)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("seed", range(5))
def test_no_journey_breaks_on_a_server_that_says_anything(seed):
    """Any JSON and any events under any status lead to a verdict or to `not exercised`, never to an exception."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Babble)
    server.dice = random.Random(seed)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    with suite_at(f"http://127.0.0.1:{server.server_port}") as suite:
        told = {name: red(go(suite, name)[0]) for name in JOURNEYS}
    server.shutdown()
    server.server_close()
    assert sum(map(bool, told.values())) > len(JOURNEYS) / 2


def scrambled(dice, body):
    """Return a JSON value with one place changed: gone, of another type, or saying something else."""
    if isinstance(body, dict) and body and dice.random() < 0.8:
        name = dice.choice(sorted(body))
        if dice.random() < 0.3:
            return {key: item for key, item in body.items() if key != name}
        return {**body, name: scrambled(dice, body[name])}
    if isinstance(body, list) and body and dice.random() < 0.8:
        index = dice.randrange(len(body))
        return [scrambled(dice, item) if number == index else item for number, item in enumerate(body)]
    return value(dice)


def scramble(dice, often):
    """Return what changes some answers, and some events of a stream, in one place each."""

    def slip(body):
        return scrambled(dice, body) if body is not None and dice.random() < often else body

    def change(reply):
        if reply.streamed:
            return of_streams(lambda blocks: [(lead, slip(payload)) for lead, payload in blocks])(reply)
        return replace(reply, raw=json.dumps(slip(reply.body)).encode()) if reply.body is not None else reply

    return Change(change)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("seed", range(4))
def test_no_journey_breaks_on_a_server_that_slips(mock, seed):
    """Where most of an answer is right and one place is not, a journey gets further, and does not break either."""
    dice = random.Random(seed)
    with suite_behind(mock, scramble(dice, 0.15)) as suite:
        told = [red(go(suite, name)[0]) for name in dice.sample(sorted(JOURNEYS), len(JOURNEYS))]
    assert sum(map(bool, told)) > len(JOURNEYS) / 3


# What no document forbids.


def led_by_a_ping(blocks):
    """Begin with a ping."""
    return [("event: ping", None), *blocks]


def ended_before_the_run(blocks):
    """Send `message_end` before `workflow_finished`, as newer servers do."""
    kinds = [kind_of(block) for block in blocks]
    if kinds[-2:] == ["workflow_finished", "message_end"]:
        return [*blocks[:-2], blocks[-1], blocks[-2]]
    return blocks


def unescaped(reply):
    """Write letters beyond ASCII as themselves."""
    if reply.streamed:
        blocks = [
            lead if payload is None else lead + json.dumps(payload, ensure_ascii=False)
            for lead, payload in read_blocks(reply.raw)
        ]
        return replace(reply, raw="".join(f"{block}\n\n" for block in blocks).encode())
    return reply if reply.body is None else replace(reply, raw=json.dumps(reply.body, ensure_ascii=False).encode())


def without_a_body(reply):
    """Answer a deletion by 204."""
    deleted = reply.status == 200 and reply.body == {"result": "success"}
    return Reply(204, [], b"") if deleted else reply


def with_costs_of_its_own(reply):
    """Name one more cost in the usage of whole answers, which their streams do not."""
    if reply.streamed or not isinstance(reply.body, dict) or not isinstance(reply.body.get("metadata"), dict):
        return reply
    metadata = reply.body["metadata"]
    changed = {**metadata, "usage": {**(metadata.get("usage") or {}), "x_cost": 1}}
    return replace(reply, raw=json.dumps({**reply.body, "metadata": changed}).encode())


class Deleting(Change):
    """Answers deletions, and nothing else, by 204."""

    def ask(self, question):
        """Remember whether it is one."""
        self.deletes = question.method == "DELETE" and "/conversations/" in question.path

    def answer(self, reply):
        """Take its body away."""
        return without_a_body(reply) if self.deletes else reply


BENIGN = {
    "a leading ping": Change(of_streams(led_by_a_ping)),
    "letters unescaped": Change(unescaped),
    "the end of the message before that of the run": Change(of_streams(ended_before_the_run)),
    "deletions without a body": Deleting(),
    "costs that only whole answers name": Change(with_costs_of_its_own),
}


@pytest.mark.parametrize("name", BENIGN)
def test_journeys_are_green_in_any_order_where_a_server_differs_in_what_no_document_says(mock, name):
    """Each difference by itself breaks no journey, whichever comes first."""
    order = random.Random(name).sample(sorted(JOURNEYS), len(JOURNEYS))
    with suite_behind(mock, BENIGN[name]) as suite:
        told = {journey: red(go(suite, journey)[0]) for journey in order}
    assert {journey: violations for journey, violations in told.items() if violations} == {}


# What journeys must find.


def set_in_body(**fields):
    """Return what sets fields of every request's body."""

    def ask(question):
        if isinstance(question.body, dict):
            question.raw = json.dumps({**question.body, **fields}).encode()

    return ask


def of_stops(block):
    """End a run that is stopped as newer servers do: as failed, without `message_end`."""
    lead, payload = block
    if kind_of(block) == "message_end":
        return []
    if kind_of(block) == "workflow_finished" and payload["data"]["status"] == "stopped":
        return [(lead, {**payload, "data": {**payload["data"], "status": "failed"}})]
    return [block]


@pytest.mark.parametrize("journey", ["chat/answer_is_stopped_in_mid_stream", "workflow/run_is_stopped_in_mid_stream"])
def test_stop_that_ends_a_run_as_failed_is_found(slow_mock, journey):
    """Where a stream begins with a ping, and the run ends as failed after a stop, the status is the violation."""
    with suite_behind(slow_mock, Change(live=lambda block: [("event: ping", None), *of_stops(block)])) as suite:
        told = red(go(suite, journey)[0])
    assert any('a run that was stopped, "stopped"; got "failed"' in violation for violation in told), told


FILE = {"variable": "doc", "label": "Doc", "type": "file", "required": True, "allowed_file_types": ["document"]}


def describes_files(reply):
    """Return a form that wants a file, and a run's inputs with that file in the server's own words."""
    if not isinstance(reply.body, dict):
        return reply
    body = dict(reply.body)
    if "user_input_form" in body:
        body["user_input_form"] = [{"file": {**FILE, "allowed_file_upload_methods": ["local_file"]}}]
    elif isinstance(body.get("inputs"), str):
        body["inputs"] = json.dumps({**json.loads(body["inputs"]), "doc": {"related_id": "1", "url": "http://x/1"}})
    return replace(reply, raw=json.dumps(body).encode())


def test_a_run_may_tell_its_files_in_the_servers_own_words(mock):
    """No document says that a file among the inputs is told as it was sent, as a real Dify 0.14.0 does not."""
    with suite_behind(mock, Change(describes_files, ask=set_in_body(inputs={}))) as suite:
        record, reason = go(suite, "workflow/run_is_the_same_in_blocking_answer_detail_and_log")
    assert (red(record), reason) == ([], "")


@pytest.mark.parametrize(
    "journey",
    [
        "chat/answer_that_fails_says_so",  # in another app, perhaps
        "chat/conversation_goes_on_and_can_be_read_again",
        "workflow/run_is_the_same_in_blocking_answer_detail_and_log",
        "workflow/run_that_fails_says_so",
    ],
)
def test_app_that_requires_a_file_gets_one_of_the_same_user(journey, tmp_path):
    """Journeys have users of their own, and an upload is for its own user only (001:402)."""
    form = [{"file": {**FILE, "allowed_file_upload_methods": ["local_file"]}}]
    (tmp_path / "app.yaml").write_text(
        json.dumps({api: {"parameters": {"user_input_form": form}} for api in ("dify-chat", "dify-workflow")})
    )
    settings = Settings(pace=0, app=tmp_path / "app.yaml")
    with MockServer(settings=settings) as server, suite_behind(server.port, Change()) as suite:
        record, reason = go(suite, journey)
    assert (red(record), reason) == ([], "")


@pytest.mark.parametrize(
    "journey", ["chat/another_user_cannot_stop_an_answer", "workflow/another_user_cannot_stop_a_run"]
)
def test_stop_by_another_user_is_found(slow_mock, journey):
    """A run must go on that somebody else asks to stop; here all users are one, and the run is stopped."""
    everybody = Change(ask=set_in_body(user="everybody"), live=lambda block: [block])
    with suite_behind(slow_mock, everybody) as suite:
        told = red(go(suite, journey)[0])
    assert any("a run that another user cannot stop" in violation for violation in told), told


@pytest.mark.parametrize(
    "journey", ["chat/another_user_cannot_stop_an_answer", "workflow/another_user_cannot_stop_a_run"]
)
def test_run_that_goes_on_past_the_stop_of_another_user_passes(slow_mock, journey):
    """The mock leaves it alone, and the journey has seen so."""
    with suite_behind(slow_mock, Change(live=lambda block: [block])) as suite:
        record, reason = go(suite, journey)
    assert (red(record), reason) == ([], "")


def in_answers(**fields):
    """Return what sets fields of answers that have them."""

    def reply(reply):
        body = reply.body
        if not isinstance(body, dict) or not fields.keys() <= body.keys():
            return reply
        return replace(reply, raw=json.dumps({**body, **fields}).encode())

    return reply


def another_id(reply):
    """Give a run another id in its data than beside it."""
    body = reply.body
    if not isinstance(body, dict) or "workflow_run_id" not in body:
        return reply
    return replace(reply, raw=json.dumps({**body, "data": {**body["data"], "id": "another"}}).encode())


def of_one_row(reply):
    """Say after the first row of a page of one that no more follow, as a server does that goes on by the second."""
    body = reply.body
    single = isinstance(body, dict) and body.get("limit") == 1 and "has_more" in body
    return replace(reply, raw=json.dumps({**body, "has_more": False}).encode()) if single else reply


def as_the_owner():
    """Return what takes another user for the one who asked before."""
    owners = []

    def ask(question):
        user = question.body.get("user", "") if isinstance(question.body, dict) else ""
        if user.endswith("-other"):
            set_in_body(user=owners[-1])(question)
        elif user:
            owners.append(user)

    return ask


def not_deleted(question):
    """Say that a conversation is deleted, and keep it."""
    if question.method == "DELETE" and "/conversations/" in question.path:
        return Reply(200, [("Content-Type", "application/json")], b'{"result": "success"}')
    return None


WRONG = {
    "chat/messages_of_one_second_are_all_shown": (Change(of_one_row), "items once, over all pages"),
    "chat/conversations_of_one_second_are_all_shown": (Change(of_one_row), "items once, over all pages"),
    "chat/deleted_conversation_is_gone_everywhere": (Change(ask=not_deleted), "no deleted conversation"),
    "chat/uploaded_file_goes_into_a_message": (Change(ask=as_the_owner()), "an upload is for its own user only"),
    "workflow/uploaded_file_goes_into_a_run": (Change(ask=as_the_owner()), "an upload is for its own user only"),
    "workflow/run_is_the_same_in_blocking_answer_detail_and_log": (
        Change(another_id),
        "`data.id` equal to `workflow_run_id`",
    ),
    "files/two_files_of_one_name_are_two_files": (
        Change(in_answers(file_path="92f9a4c5-cfc8-4656-ae63-1f0881163c28/2024-12-30_15-19-43_your_file.txt")),
        "another path for another file",
    ),
}


@pytest.mark.parametrize("journey", WRONG)
def test_wrong_server_is_found(mock, journey):
    """What a server does wrong over several operations is told in the words of its journey."""
    change, words = WRONG[journey]
    with suite_behind(mock, change) as suite:
        told = red(go(suite, journey)[0])
    assert any(words in violation for violation in told), told


# Inputs that a form requires.


@pytest.fixture
def form_app(mock):
    """Yield a function that asks the app whose form requires an input, behind a change."""

    @contextmanager
    def behind(change):
        with suite_behind(mock, change) as suite:
            api = suite.target.apis["dify-workflow"]
            object.__setattr__(api, "keys", dict.fromkeys(api.keys, f"app-workflow-form-{suite.target.run}"))
            yield suite

    return behind


MODES = ["workflow/required_inputs_are_demanded", "workflow/required_inputs_are_demanded_of_streams"]


@pytest.mark.parametrize("journey", MODES)
def test_missing_input_that_is_refused_is_well(form_app, journey):
    """The mock refuses a run without the input that its form requires."""
    with form_app(Change()) as suite:
        record, reason = go(suite, journey)
    assert (red(record), reason) == ([], "")
    assert record.exchanges == 1


def filled_in(question):
    """Put in what is missing."""
    if question.path.endswith("/workflows/run"):
        question.raw = json.dumps({**question.body, "inputs": {"query": "x"}}).encode()


@pytest.mark.parametrize("journey", MODES)
def test_missing_input_that_is_not_missed_is_found(form_app, journey):
    """A run that goes well without a required input breaks what the form says."""
    with form_app(Change(ask=filled_in)) as suite:
        told = red(go(suite, journey)[0])
    assert any("the form requires `query`" in violation for violation in told), told


def test_runs_that_cannot_be_made_to_fail_are_not_exercised_for_one_reason(mock):
    """Where the target file names no flow that fails, both apps say the same, so that a report has it once."""
    with suite_behind(mock, Change()) as suite:
        for api in suite.target.apis.values():
            object.__setattr__(api, "failing", None)
        reasons = {go(suite, f"{api}_that_fails_says_so")[1] for api in ("chat/answer", "workflow/run")}
    assert len(reasons) == 1
    assert reasons.pop().startswith("no flow that fails")


# Streams that hang.


class Mute(BaseHTTPRequestHandler):
    """Answers every request with a stream that begins with a ping and then says nothing, or pings for ever."""

    def do_POST(self):
        """Begin a stream."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"event: ping\n\n")
        while not self.server.over.wait(0.05):
            if self.server.pings:
                self.wfile.write(b"event: ping\n\n")

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def mute():
    """Run the mute server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mute)
    server.over, server.pings = threading.Event(), False
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("pings", [False, True])
def test_stream_that_hangs_is_a_server_error_and_not_asked_for_ever(mute, pings):
    """A ping is no sign of life; after some hangs requests of the sort are not exercised, and say why."""
    mute.pings = pings
    with suite_at(f"http://127.0.0.1:{mute.server_port}", silence_s=0.2, answer_s=0.2) as suite:
        suite.apps._parameters["dify-workflow"] = {}
        records = [go(suite, "workflow/runs_are_numbered_upwards") for _ in range(MAX_HANGS + 1)]
    tiers = [[failure.violation.tier for failure in record.failures] for record, _ in records]
    assert all(Tier.SERVER_ERROR in found for found in tiers[:MAX_HANGS]), tiers
    assert "the stream hangs: no event but pings for 0.2 s" in red(records[0][0])[0]
    assert "was not asked again" in records[MAX_HANGS][1]


def test_slow_flow_may_be_silent_for_as_long_as_a_stream_may_last(mute):
    """What the target file calls slow is waited for until `stream_s`."""
    with suite_at(f"http://127.0.0.1:{mute.server_port}", silence_s=0.1, stream_s=0.4) as suite:
        suite.apps._parameters["dify-workflow"] = {}
        object.__setattr__(suite.target.apis["dify-workflow"], "slow", True)
        record, _ = go(suite, "workflow/runs_are_numbered_upwards")
    assert " 0.4 s" in red(record)[0]


def test_hang_is_waited_for_in_full_once_and_then_shorter():
    """Each hang of an operation shortens the next; what was answered before is waited for in full."""
    patience = Patience()
    well, ill, new = Sort("x/run", False, False), Sort("x/run", True, True), Sort("x/run", False, True)
    patience.note(well, hung=False)
    waited = []
    for _ in range(MAX_HANGS):
        assert not patience.is_exhausted(ill)
        waited.append(patience.choose_seconds(ill, 20))
        patience.note(ill, hung=True)
        patience.note(ill, hung=False)  # another one that is refused as it should be
    assert waited == [20, 5, 2, 1, 1, 1]
    assert patience.is_exhausted(ill)
    assert patience.choose_seconds(well, 20) == 20
    assert patience.choose_seconds(new, 20) == 10
    assert patience.choose_seconds(Sort("x/other", True, True), 20) == 20
