"""What real servers sent, judged offline: the findings are the reviewed ones, no more and no less."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from contract_tests.cli.main import main
from contract_tests.judging import recordings
from contract_tests.judging.judge import describe_former_cause
from flowcontract import yamlio
from flowcontract.errors import FlowContractError
from flowcontract.specs.model import load_apis

FOLDER = Path(__file__).resolve().parents[1] / "data" / "recordings"
REVIEWED = yamlio.load(FOLDER / "findings.yaml")
APIS = load_apis()


@pytest.fixture(scope="module", params=sorted(path.stem for path in FOLDER.glob("*.har")))
def judged(request):
    """Return a server's name and all findings about it."""
    family = request.param.partition("-")[0]
    apis = [api for name, api in APIS.items() if name.startswith({"langflow": "agentbuilder"}.get(family, family))]
    return request.param, list(recordings.judge(FOLDER / f"{request.param}.har", apis))


def test_findings_are_the_reviewed_ones(judged):
    """No false alarm, and no known difference missed; each has a reason."""
    server, findings = judged
    found = {
        finding.recorded.name: sorted({describe_former_cause(violation) for violation in finding.violations})
        for finding in findings
    }
    assert {name: rules for name, rules in found.items() if rules} == {
        name: one["found"] for name, one in REVIEWED[server].items()
    }
    assert all(one["reason"] for one in REVIEWED[server].values())


def test_nearly_every_exchange_is_judged(judged):
    """Hundreds of exchanges fit an operation; what fits none asks for what no document names."""
    _, findings = judged
    without = [one for one in findings if one.operation is None]
    assert len(findings) - len(without) > 250
    known = {
        (operation.method, api.base_path + operation.path)
        for api in APIS.values()
        for operation in api.operations.values()
    }
    assert not {(one.recorded.method, one.recorded.url.partition("?")[0]) for one in without} & known


def test_command_tells_what_is_wrong_and_where(capsys):
    """A recording with a difference exits 1 and names request, operation and violation."""
    assert main(["judge", "--quiet", str(FOLDER / "langflow-1.4.3.har")]) == 1
    out = capsys.readouterr().out
    assert "/api/v1/run/" in out
    assert "WRONG end: expected add_message or" in out


def test_command_is_content_with_a_good_recording(tmp_path, capsys):
    """An exchange as documented exits 0; an unknown path is named, and where nothing else was there, it exits 2."""
    path = tmp_path / "one.json"
    answer = {"status": 200, "headers": [["Content-Type", "application/json"]], "body": {"result": "success"}}
    stop = "/v1/workflows/tasks/x/stop"
    for url, told, status in ((stop, "dify-workflow/stopWorkflow", 0), ("/v1/none", "no operation", 2)):
        path.write_text(json.dumps({"request": {"method": "POST", "path": url, "app": "workflow"}, "response": answer}))
        assert main(["judge", str(path)]) == status
        assert told in capsys.readouterr().out


def test_bodies_of_a_har_file_may_be_base64(tmp_path):
    """Browsers encode what is no text."""
    content = {"text": base64.b64encode(b"\xff\x00").decode(), "encoding": "base64"}
    response = {"status": 200, "headers": [{"name": "Content-Type", "value": "audio/mpeg"}], "content": content}
    path = tmp_path / "a.har"
    path.write_text(
        json.dumps({"log": {"entries": [{"request": {"method": "get", "url": "http://x/y"}, "response": response}]}})
    )
    (one,) = recordings.read(path)
    assert (one.method, one.answer.body, one.answer.media_type) == ("GET", b"\xff\x00", "audio/mpeg")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"log": {"entries": [{}]}}', '{"request": {}, "response": 5}'])
def test_what_is_no_recording_is_told(tmp_path, text):
    """The file and the two forms are named."""
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(FlowContractError, match=r"wrong\.json is not a recording"):
        recordings.read(path)
