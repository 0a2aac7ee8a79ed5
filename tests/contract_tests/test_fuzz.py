"""Made-up requests: the same ones for the same server, bounded by their number, and forms judged like JSON."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from contract_tests.config.target import load_target
from contract_tests.http.exchange import Exchange, Request, SentRequest
from contract_tests.http.multipart import read_form
from contract_tests.http.schemathesis_transport import Carrier
from contract_tests.plugin import pytest_collection_modifyitems
from contract_tests.suite import fuzzing as fuzz
from contract_tests.suite.session import Suite
from flowcontract.specs.model import load_apis
from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

APIS = load_apis(["cybertron", "agentbuilder"])
FORM = "multipart/form-data; boundary=b"
VARYING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}")  # ids of a server, boundaries


def form(*parts):
    """Return the bytes of a form whose parts are given with their heads."""
    return b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"


FILE = b'name="file"; filename="a.txt"\r\n\r\nA'


def asked(phase, monkeypatch):
    """Run a phase over a fresh mock; return what was asked, and how it was answered."""
    found = []
    judge = fuzz.Fuzzing.judge

    def noted(self, case, response):
        sent = response.request
        body = sent.body if isinstance(sent.body, bytes) else str(sent.body or "").encode()
        url = str(sent.url).partition("/api")[2]
        found.append((sent.method, VARYING.sub("*", url + body.decode("latin-1")), response.status_code))
        judge(self, case, response)

    with MockServer(settings=Settings(pace=0)) as mock, monkeypatch.context() as patch:
        patch.setattr(fuzz.Fuzzing, "judge", noted)
        suite = Suite(load_target(APIS, base_url=f"http://127.0.0.1:{mock.port}"))
        done = fuzz.run_phase(suite, "agentbuilder", phase, thorough=False)
        suite.close()
    assert done.errors == []
    return found


@pytest.mark.parametrize("phase", ["coverage", "fuzzing"])
def test_same_server_is_asked_the_same_again(phase, monkeypatch):
    """Neither the clock nor what the server has answered before decides."""
    first = asked(phase, monkeypatch)
    assert len(first) > 30
    assert asked(phase, monkeypatch) == first


def test_nothing_in_the_settings_depends_on_the_clock():
    """Seconds would make a slow machine ask less."""
    suite = Suite(load_target(APIS, base_url="http://127.0.0.1:1"))
    settings = fuzz._build_config(suite, "cybertron", "fuzzing", 6)
    assert "max-time" not in str(settings)
    assert settings["generation"]["deterministic"]


def test_cases_of_one_operation_grow_slower_than_what_could_be_asked():
    """The first ones are all asked; nothing is left out where a run may take long."""
    suite = Suite(load_target(APIS, base_url="http://127.0.0.1:1"))
    case = SimpleNamespace(operation=SimpleNamespace(label="POST /x"))
    quick, thorough = (fuzz.Fuzzing(suite, APIS["cybertron"], "coverage", long) for long in (False, True))
    kept = [quick.is_selected(case) for _ in range(400)]
    assert all(kept[:8])
    assert 15 < sum(kept) < 60
    assert all(thorough.is_selected(case) for _ in range(400))


def expected_of(body, status, content_type=FORM):
    """Return what may be answered to a made-up form."""
    suite = Suite(load_target(APIS, base_url="http://127.0.0.1:1"))
    api = APIS["agentbuilder"]
    fuzzing = fuzz.Fuzzing(suite, api, "fuzzing", thorough=False)
    request = Request("POST", "/v2/files", body={}, media_type="multipart/form-data")
    return fuzzing._expect(api.operations["uploadUserFile"], request, (content_type, body), status)


def test_form_that_the_contract_refuses_is_to_be_refused():
    """Without its file, with a text in its place, and where it is no form at all."""
    assert expected_of(form(FILE), 201).refused is None
    for wrong in (form(), form(b'name="file"\r\n\r\ntext'), b"--b", b"none", form(b'filename="a"\r\n\r\nA')):
        expected = expected_of(wrong, 201)
        assert expected.refused is True
        assert expected.source
    assert expected_of(form(FILE), 201, content_type="multipart/form-data").refused is True


def test_form_is_read_as_it_was_sent():
    """Texts, files, and lists where a name stands twice."""
    body = form(FILE, b'name="user"\r\n\r\n\xe4\xbd\xa0', b'name="user"\r\n\r\nb', b'name="f"; filename=""\r\n\r\n')
    assert read_form(FORM, body) == {
        "file": {"filename": "a.txt", "content_type": "", "size": 1},
        "user": ["你", "b"],
        "f": {"filename": "", "content_type": "", "size": 0},
    }
    with pytest.raises(ValueError, match="utf-8"):
        read_form(FORM, form(b'name="user"\r\n\r\n\xff'))


def test_request_that_is_hardly_waited_for_shows_nothing():
    """The first hang is waited for in full and is a violation; the others are waited for less, and prove nothing."""
    suite = Suite(load_target(APIS, base_url="http://127.0.0.1:1"))
    fuzzing = fuzz.Fuzzing(suite, APIS["agentbuilder"], "fuzzing", thorough=False)
    fuzzing.carrier = Carrier(suite.sender.clients["agentbuilder"], fuzzing.note_unanswered)
    operation = APIS["agentbuilder"].operations["runFlow"]
    case = SimpleNamespace(method=operation.method, path=operation.path, query={"stream": "true"}, path_parameters={})
    case.__dict__.update(headers={}, body={}, media_type="application/json")
    waited = []
    for _ in range(4):
        fuzzing.begin(case)
        waited.append(fuzzing.carrier.wait_s)
        fuzzing.carrier.hung = True
        fuzzing.note_unanswered(Exchange(SentRequest("POST", "http://x/", ()), None, trouble="ReadTimeout"))
    assert waited == [suite.target.answer_s, 5.0, 2.0, 1.0]
    assert len(suite.record.failures) == 1
    suite.close()


def test_made_up_requests_come_last():
    """What a run has no time for is what was made up, not what the documents say."""
    items = [
        SimpleNamespace(path=Path(f"{name}.py"), fixturenames=())
        for name in ("test_chat", "test_fuzzing", "test_operations")
    ]
    run = SimpleNamespace(apis=("dify-chat",))
    pytest_collection_modifyitems(SimpleNamespace(stash=defaultdict(lambda: run)), items)
    assert [item.path.stem for item in items] == ["test_chat", "test_operations", "test_fuzzing"]
