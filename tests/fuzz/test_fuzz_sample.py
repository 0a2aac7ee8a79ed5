"""A small sample of `nox -s fuzz`, the same in every run, and proof that its judge sees what it is there for."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator

import attack_leaks
import attack_room
import attack_stored
import pytest
from attack_kinds import KINDS, Material, mutations
from attack_requests import plain_requests
from attack_server import Victim
from attack_verdict import Judge, Report
from attack_wire import Attack, Outcome, send

from flowcontract.specs.model import load_apis
from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

_EACH = 40
_NOT_HERE = {"big", "slow"}  # what takes long is left to the session


@pytest.fixture(scope="module")
def material() -> Material:
    return Material([plain for api in load_apis(()).values() for plain in plain_requests(api)])


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(load_apis(()))


@pytest.fixture(scope="module")
def mock() -> Iterator[MockServer]:
    with MockServer(settings=Settings(pace=0)) as running:
        yield running


def sample(material: Material, kind: str) -> list[Attack]:
    """Return some attacks of a class, spread over all of them."""
    if kind == "mutations":
        return list(itertools.islice(mutations(material), _EACH * 2))
    attacks = [one for one in KINDS[kind](material) if len(one.sent) < 1 << 20]
    return attacks[:: max(1, len(attacks) // _EACH)]


@pytest.mark.parametrize("kind", [*(kind for kind in KINDS if kind not in _NOT_HERE), "mutations"])
def test_bad_requests_get_orderly_answers(
    kind: str, mock: MockServer, material: Material, judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of the sample gets a 5xx, HTML, silence or a traceback."""
    attacks = sample(material, kind)
    found = {
        f"{fault}: {attack.operation} {attack.name} {attack.sent[:300]!r}"
        for attack in attacks
        for fault in judge.faults(attack, send(("127.0.0.1", mock.port), attack))
    }
    assert len(attacks) >= _EACH
    assert found == set()
    complaints = capsys.readouterr().err.splitlines()
    assert [line for line in complaints if not line.startswith("mockserver: Somebody at ")] == []


def test_stored_names_come_back_harmless(mock: MockServer, material: Material, judge: Judge) -> None:
    """Files of odd names are listed, downloaded, renamed and deleted like any other."""
    flow = next(one for one in material.plain if one.operation.id == "listFlowFiles").target.rpartition("/")[2]
    report = Report()
    attack_stored.attack(("127.0.0.1", mock.port), judge, report, flow)
    assert report.kinds["stored names"] > 200
    assert [line for line in report.lines(("127.0.0.1", 1)) if line.startswith("FOUND")] == []


def test_secrets_stay_hidden_and_clients_that_do_not_read_cost_little() -> None:
    """Every name in every place, and a few clients that stop reading for a moment."""
    report = Report()
    with Victim() as victim:
        attack_leaks.attack(victim, report, readers=3, seconds=0.5)
    assert report.kinds["secrets"] > 200
    assert {"200", "401", "404"} <= set(report.statuses["secrets"])
    assert report.failures == []


def test_what_is_refused_for_want_of_room_has_not_happened() -> None:
    """Uploads, deletions and questions where there is little room, some with wishes that cannot be granted."""
    report = Report()
    attack_room.attack(report, count=60, seed=1)
    assert {"200", "201", "501", "507"} <= set(report.statuses["no room"])
    assert report.failures == []


def answered(raw: bytes) -> Outcome:
    """Return what the wire makes of a server that sends these bytes and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(raw)

        thread = threading.Thread(target=serve)
        thread.start()
        outcome = send(server.getsockname(), Attack("test", "", b"GET / HTTP/1.1\r\n\r\n"), bound_s=5)
        thread.join()
        return outcome


def http(status: str, *headers: str, body: str = "{}") -> bytes:
    """Return an answer as bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", body]).encode("latin-1")


_JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "silent"),
        (b"nonsense\r\n\r\n", "unreadable"),
        (http("500 Oops", _JSON), "500 that was not asked for"),
        (http("404 Not Found", "Content-Type: text/html", body="<html>"), "HTML"),
        (http("404 Not Found", "Content-Type: text/plain"), "404 that is no JSON"),
        (http("400 Bad", _JSON, body="{"), "400 whose JSON cannot be read"),
        (http("200 OK", _JSON, body="Traceback (most recent call last)"), "traceback in the answer"),
        (http("200 OK", _JSON, "X-Injected: yes"), "a header that the client wrote"),
        (http("200 OK", _JSON, _JSON), "content-type twice"),
        (http("200 OK", "Access-Control-Allow-Credentials: true"), "credentials of a browser are allowed"),
        (http("200 OK", "Access-Control-Allow-Origin: https://evil.example"), "an origin is reflected"),
        (http("200 OK", "X-A: \xff"), "a header with odd characters"),
    ],
)
def test_judge_sees_what_must_not_be(judge: Judge, raw: bytes, fault: str) -> None:
    """Each thing that the session looks for is found where it is."""
    attack = Attack("test", "", b"GET / HTTP/1.1\r\n\r\n")
    assert any(one.startswith(fault) for one in judge.faults(attack, answered(raw)))


def test_judge_sees_a_refusal_that_the_contract_does_not_have(judge: Judge) -> None:
    """A status that an operation does not document, or an envelope of another API, is found."""
    attack = Attack("test", "", b"GET / HTTP/1.1\r\n\r\n", "dify-chat/sendChatMessage")
    for raw in (http("418 Teapot", _JSON), http("400 Bad", _JSON, body='{"detail": "x"}')):
        assert any("against the contract" in one for one in judge.faults(attack, answered(raw)))


def test_judge_lets_an_orderly_refusal_pass(judge: Judge) -> None:
    """What the contract documents is no finding."""
    attack = Attack("test", "", b"GET / HTTP/1.1\r\n\r\n", "dify-chat/sendChatMessage")
    body = '{"code": "invalid_param", "message": "m", "status": 400}'
    assert list(judge.faults(attack, answered(http("400 Bad", _JSON, body=body)))) == []
