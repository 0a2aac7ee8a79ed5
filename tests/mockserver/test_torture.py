"""Torture: which verdict a client gets for what it says it understood."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from flowcontract.errors import UnknownNameError
from flowcontract.streams.sse import Decoder
from mockserver.cli import main as cli
from mockserver.cli import terminal
from mockserver.cli.torture import _build_greeting
from mockserver.config.settings import Settings
from mockserver.faults import FAULTS, FaultError
from mockserver.server.mock_server import MockServer
from mockserver.torture.session import Case, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "dify-chat/sendChatMessage"
ROOT = Path(__file__).resolve().parents[2]
CLIENT = httpx.Client(trust_env=False, timeout=60)


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    """Leave no connection open."""
    yield
    CLIENT.close()


@pytest.fixture(scope="module")
def mock() -> Any:
    """Run a mock of the APIs that stream."""
    with MockServer(["dify-chat", "dify-workflow", "agentbuilder"], settings=Settings(pace=0)) as running:
        yield running


def bytes_of(mock: MockServer, session: Session, case: Case) -> bytes:
    """Ask as a client does, and return what came; raise what httpx raises."""
    request = session.request()
    url = mock.url(session.api.name) + request["path"]
    answer = CLIENT.request(request["method"], url, headers=dict(case.headers), json=request["body"])
    answer.raise_for_status()
    return answer.content


def read(data: bytes, framing: Any = "sse") -> list[Any]:
    """Read as a correct client does."""
    return [json.loads(one.event.data) for one in Decoder(framing).feed(data) if one.event]


def one(mock: MockServer, fault: str, operation: str = CHAT) -> tuple[Session, Case]:
    session = mock.torture(operation, [fault])
    return session, next(iter(session))


def survive(mock: MockServer, session: Session, case: Case, framing: Any) -> str:
    """Return the verdict on a client that reads by the standard and looks whether the answer has ended as it should."""
    contract = session.operation.stream
    assert contract is not None
    try:
        data = bytes_of(mock, session, case)
        events = read(data, framing)
        kinds = [event["event"] for event in events if event["event"] in contract.events]
        if not contract.end & set(kinds):
            raise ValueError("the answer has not ended")  # noqa: TRY301
    except (httpx.HTTPError, ValueError) as error:
        return case.verdict(raised=error).outcome
    return case.verdict(events=events).outcome


@pytest.mark.parametrize("operation", [CHAT, "dify-workflow/runWorkflow", "agentbuilder/runFlow"])
def test_correct_client_survives_every_harmless_fault(mock: MockServer, operation: str) -> None:
    """And each case is judged against what was really said to it."""
    framing = "json-blank-line" if operation.startswith("agent") else "sse"
    quick = [case.faults for case in mock.torture(operation) if case.harm == "harmless" and "tiny" not in case.faults]
    session = mock.torture(operation, quick)
    assert {case.faults: survive(mock, session, case, framing) for case in session} == dict.fromkeys(quick, "survived")
    assert len(quick) > 10


def test_client_that_looks_for_the_end_notices_what_breaks_it(mock: MockServer) -> None:
    """What only the order tells apart stays unnoticed by such a client."""
    quick = [
        "rate-limit=0/5",
        "empty-reply",
        "json-error",
        "no-end",
        "cut-events",
        "close-events",
        "error-end",
        "hang=0.1",
    ]
    quick += ["error-silence=0.1", "ping-inside", "no-final-blank", "cut", "close", "reset", "drop", "swap"]
    session = mock.torture(CHAT, quick)
    outcomes = {case.faults: survive(mock, session, case, "sse") for case in session}
    assert {fault for fault, outcome in outcomes.items() if outcome != "survived"} == {"drop", "swap"}
    assert outcomes["drop"] == "trusted a broken stream"


def test_first_difference_is_told(mock: MockServer) -> None:
    """In the text, in the number of events, in their order, in a field; fields may be left out and added."""
    session, case = one(mock, "bom")
    events = read(bytes_of(mock, session, case)[3:])
    text = "".join(event["answer"] for event in events if event["event"] == "message")
    assert case.verdict(text=text, events=events).outcome == "survived"
    assert case.verdict(events=[event["event"] for event in events]).outcome == "survived"
    assert case.verdict(events=[{"event": event["event"], "new": 1} for event in events]).outcome == "survived"
    wrong = {
        "character 3: sent": {"text": text[:2] + "?" + text[3:]},
        f"sent {len(events)} events, read {len(events) - 1}, the first missing one message_end": {
            "events": events[:-1]
        },
        "event 1: sent workflow_started, read node_started": {"events": events[1:]},
        "event 1 (workflow_started): task_id: sent": {"events": [events[0] | {"task_id": "x"}, *events[1:]]},
        "neither text nor events": {},
    }
    for words, understood in wrong.items():
        verdict = case.verdict(**understood)
        assert (verdict.outcome, words in verdict.detail) == ("misread", True), verdict


def test_what_a_client_did_otherwise_has_its_own_verdict(mock: MockServer) -> None:
    """Raised on what is harmless: crashed; ended from outside: hung; whole in its eyes: trusted; never asked."""
    session, harmless = one(mock, "crlf")
    assert harmless.verdict(text="").outcome == "not run"
    assert harmless.standing.outcome == "not run"
    bytes_of(mock, session, harmless)
    assert harmless.verdict(raised=ValueError("no JSON")) == ("crashed", "ValueError: no JSON")
    assert harmless.verdict(hung=True).outcome == "hung"
    session, breaking = one(mock, "close-events=2")
    bytes_of(mock, session, breaking)
    assert breaking.standing == ("hung", "asked, and reported nothing")
    assert breaking.verdict(text="a", events=[]).outcome == "trusted a broken stream"
    assert breaking.verdict(raised="incomplete") == ("survived", "incomplete")
    session, error = one(mock, "error-middle")
    events = read(bytes_of(mock, session, error))
    assert error.verdict(events=events) == ("survived", "it was given the event error")
    assert error.verdict(events=events[:-1]).outcome == "trusted a broken stream"


def test_answer_without_end_is_ended_for_a_client_that_never_gives_up(
    mock: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a session after a while; the verdict says that it hung, whatever it says itself. Who gives up survives."""
    monkeypatch.setattr("mockserver.torture.session._LONGEST_S", 0.2)
    for fault in ("endless=1", "endless=3600000"):
        session, case = one(mock, fault)
        bytes_of(mock, session, case)
        assert case.verdict(text="all of it") == ("hung", "still reading when the mock ended the answer after 0.2 s")
        assert case.verdict(raised="too long").outcome == "hung"
    session, case = one(mock, "endless=20")
    request = session.request()
    with httpx.stream(
        request["method"], mock.url("dify-chat") + request["path"], headers=dict(case.headers), json=request["body"]
    ) as answer:
        next(answer.iter_raw())
    assert case.verdict(raised="enough") == ("survived", "enough")


def test_fault_that_does_not_fit_a_case_is_no_verdict_on_the_client(mock: MockServer) -> None:
    """It got a 501, and whatever it made of that is none of its mistakes."""
    session, case = one(mock, "drop=99")
    with pytest.raises(httpx.HTTPStatusError):
        bytes_of(mock, session, case)
    verdict = case.verdict(raised="HTTP 501")
    assert verdict.outcome == "not run"
    assert "changes nothing" in verdict.detail


def test_client_that_leaves_early_is_judged_by_the_whole_answer(mock: MockServer) -> None:
    """What it did not wait for was said all the same."""
    session, case = one(mock, "silence=30")
    request = session.request()
    url = mock.url("dify-chat") + request["path"]
    with (
        httpx.Client(trust_env=False, timeout=10) as client,
        client.stream(request["method"], url, headers=dict(case.headers), json=request["body"]) as answer,
    ):
        first = read(next(answer.iter_raw()))
    verdict = case.verdict(events=first)
    assert (verdict.outcome, "the first missing one" in verdict.detail) == ("misread", True)


def test_only_the_tortured_operation_suffers(mock: MockServer) -> None:
    """Another operation with the same key answers as usual, and so does the same one with another key."""
    session, case = one(mock, "empty-reply")
    with httpx.Client(trust_env=False, base_url=mock.url("dify-chat")) as client:
        assert client.get("/info", headers=dict(case.headers)).status_code == 200
        body = session.request()["body"]
        assert client.post("/chat-messages", headers=mock.headers("dify-chat"), json=body).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            client.post("/chat-messages", headers=dict(case.headers), json=body)


def test_unknown_operations_and_faults_say_what_there_is(mock: MockServer) -> None:
    """An operation that does not stream cannot be tortured."""
    with pytest.raises(UnknownNameError, match="dify-chat/sendChatMessage"):
        mock.torture("getInfo")
    with pytest.raises(FaultError, match="bom"):
        mock.torture(CHAT, ["bomb"])


def test_all_faults_are_cases_that_fit(mock: MockServer) -> None:
    """Each fault of the table has a case; where no server-sent events come, those that need them have none."""
    names = {case.faults.partition("=")[0] for case in mock.torture(CHAT)}
    assert set(FAULTS) <= names
    needing = {name for name, fault in FAULTS.items() if fault.needs == "sse"}
    assert not needing & {case.faults.partition("=")[0] for case in mock.torture("runFlow")}


def test_torture_over_http(mock: MockServer) -> None:
    """A client in any language: begin, ask with each key, report, look at the table."""
    with httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{mock.port}") as client:
        begun = client.post("/__mock__/torture", json={"operation": CHAT, "faults": ["bom", "no-end"]}).json()
        assert [case["harm"] for case in begun["cases"]] == ["harmless", "breaking"]
        request = begun["request"]
        for case in begun["cases"]:
            answer = client.request(request["method"], request["path"], headers=case["headers"], json=request["body"])
            text = answer.content.decode("utf-8-sig")
            events = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: ")]
            said = client.post(case["report"], json={"events": events}).json()
            assert said["verdict"] == {"bom": "survived", "no-end": "trusted a broken stream"}[case["fault"]]
        table = client.get(f"/__mock__/torture/{begun['session']}").json()["table"]
        assert table.endswith("1 survived, 1 trusted a broken stream")
        wrong = {
            f"/__mock__/torture/{begun['session']}/bom": ({"event": []}, 400),
            f"/__mock__/torture/{begun['session']}/bomb": ({}, 404),
            "/__mock__/torture/999/bom": ({}, 404),
            "/__mock__/torture": ({"operation": "getInfo"}, 404),
        }
        for path, (body, status) in wrong.items():
            answer = client.post(path, json=body)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_command_prints_keys_then_verdicts(how: signal.Signals) -> None:
    """Every case has its line; the exit code says that not all were survived, here because nobody asked."""
    mock = MockServer(settings=Settings(pace=0))
    session = mock.torture(CHAT)
    lines = _build_greeting(mock, session)
    mock.close()
    assert all(any(line.startswith(case.faults) and case.key in line for line in lines) for case in session)
    command = [sys.executable, "-m", "mockserver", "torture", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        while not running.stdout.readline().startswith("GET "):
            pass
        running.send_signal(how)
        assert running.stdout.read().rstrip().endswith(f"{len(session.cases)} not run")
    assert running.returncode == terminal.PROBLEMS


def test_list_prints_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each: how it is written, whether it is harmless, what it needs, what it does."""
    assert cli.main(["list", "--faults"]) == terminal.OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(FAULTS)
    assert "split=SIZE" in "".join(line.split()[0] for line in lines)
    assert all(line.split()[1] in ("harmless", "breaking") for line in lines)


def test_check_finds_wrong_faults_in_a_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With file, line, and what there is."""
    folder = tmp_path / "dify-chat" / "getInfo"
    folder.mkdir(parents=True)
    text = "description: Broken.\nfaults: resett\nreply:\n  body: {name: a, description: b, tags: []}\n"
    (folder / "200-broken.yaml").write_text(text, encoding="utf-8")
    assert cli.main(["check", "--api", "dify-chat", "--fixtures", str(tmp_path)]) == terminal.PROBLEMS
    printed = capsys.readouterr().out
    assert "200-broken.yaml:2:" in printed
    assert 'Did you mean "reset"?' in printed


def test_docs_show_the_table_on_record() -> None:
    """The published verdicts are those that `nox -s torture` holds the published clients to."""
    path = ROOT / "examples" / "torture" / "table.py"
    spec = util.spec_from_file_location("table", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    verdicts = yaml.safe_load(module.VERDICTS.read_text(encoding="utf-8"))
    assert module.table(verdicts) in (ROOT / "docs/explanation/clients.md").read_text(encoding="utf-8")
    assert len(verdicts) == 5
