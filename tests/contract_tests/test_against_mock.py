"""The suite against our mock over real HTTP: it passes, and what it says can be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / name) for name in ("mutants", "hostile")]

from hostile_server import Hostile, json_answer, relay  # noqa: E402 - lies in one of these folders
from mutant import Mutant, Mutation  # noqa: E402 - the same
from proxy import Proxy  # noqa: E402 - the same


@pytest.fixture(scope="module")
def mock():
    """Run the mock without delays."""
    with MockServer(settings=Settings(pace=0)) as server:
        yield f"http://127.0.0.1:{server.port}"


# A test run may have been told not to keep compiled files; each command would then compile pytest anew.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run(*arguments, folder=None, program=("contract_tests.cli.main",), **environment):
    """Run the command; return what it printed and its exit status."""
    command = [sys.executable, "-m", *program, *map(str, arguments)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=folder,
        env={**_ENVIRONMENT, **environment},
    )
    return done.returncode, done.stdout + done.stderr


def test_mock_passes_and_every_status_and_code_is_exercised(mock, tmp_path):
    """Our own mock conforms; every documented code is seen; the reports are there."""
    status, said = run("--base-url", mock, "--report", tmp_path, "--require", "codes=100,statuses=99", folder=tmp_path)
    assert status == 0, said
    assert "Schemathesis failed" not in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["failures"] == []
    assert report["left_over"] == []
    assert report["exchanges"] > 1000
    assert (tmp_path / "junit.xml").stat().st_size > 10_000
    assert not (tmp_path / ".schemathesis").exists(), "what this server was asked would be asked of the next one, too"


def test_suite_needs_no_plugins_but_its_own(mock, tmp_path):
    """It runs without pytest-xdist, which only `-n` takes, and without what else may be installed."""
    none = ("-p", "no:xdist", "-p", "no:randomly", "-p", "no:cacheprovider")
    status, said = run("--base-url", mock, "--api", "cybertron", "-k", "documented", *none, folder=tmp_path)
    assert status == 0, said


def test_what_one_api_was_not_asked_names_no_other(mock, tmp_path):
    """Journeys of APIs that nobody asked about were not left out: they are no part of the run."""
    status, said = run(
        "--base-url", mock, "--api", "cybertron", "-k", "journeys", "--report", tmp_path, folder=tmp_path
    )
    assert status == 0, said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["tests"]
    assert all(name.startswith("robot/") for name in report["tests"])
    assert not [reason for reason in report["not_asked"] if "not under test" in reason]
    assert "dify" not in said


def test_nobody_there_is_one_line_and_misuse(tmp_path):
    """A server that does not answer is not a violation."""
    status, said = run("--base-url", "http://127.0.0.1:9", folder=tmp_path)
    assert status == 2, said
    assert "Nothing answers for agentbuilder at http://127.0.0.1:9/api" in said.strip().splitlines()[-1]


def test_level_that_is_not_reached_fails(mock, tmp_path):
    """A run of one API's one operation is not the whole contract."""
    status, said = run("--base-url", mock, "--api", "dify-chat", "-k", "getMeta", "--require", "80", folder=tmp_path)
    assert status == 1, said
    assert "80 % required" in said


def test_run_that_exercised_nothing_fails(mock, tmp_path):
    """A selection of nothing is no success, and no verdict."""
    status, said = run("--base-url", mock, "-k", "no_such_test", folder=tmp_path)
    assert status == 2, said
    assert "nothing was exercised" in said


@pytest.fixture
def refusing(mock):
    """Return the address of a server like the mock, whose key is another, and which refuses it at GET /meta."""
    port = int(mock.rpartition(":")[2])
    refusal = json_answer(b'{"code": "unauthorized", "message": "app-right?", "status": 401}', "401 Unauthorized")
    with Hostile(relay(port, keys={"app-right": "app-chat"}, instead={"/v1/meta": refusal})) as server:
        yield server.url


RIGHT = ("--key", "dify-chat=app-right")


def test_accepted_differences_pass_and_are_good_news_when_they_are_gone(mock, refusing, tmp_path):
    """A server that refuses makes differences; accepted they are known, and once they are gone they can be pruned."""
    known = tmp_path / "known.toml"
    options = ("--api", "dify-chat", "--deviations", known)
    wrong = ("--base-url", refusing, "-k", "getMeta and documented", *RIGHT)
    assert run(*options, *wrong, "--accept", folder=tmp_path)[0] == 0
    assert 'id = "dify-chat/getMeta#status 401 instead of success"' in known.read_text()
    assert run(*options, *wrong, folder=tmp_path)[0] == 0
    status, said = run(*options, "--base-url", mock, "--prune", folder=tmp_path)
    assert status == 0, said
    assert "FIXED" in said
    assert "getMeta#status 401" not in known.read_text()


@pytest.fixture
def other_status():
    """Return the address of a mock whose uploads answer 200: real servers answer 201, no document says a number."""
    mutant = Mutant("agentbuilder", "003:57", "uploadUserFile", "status", {"status": 200}, ("status",))
    key = {"x-api-key": "sk-agentbuilder"}
    mutation = Mutation(mutant, "POST", "/api/v2/files", key)
    with MockServer(settings=Settings(pace=0)) as server, Proxy(server.port, mutation) as proxy:
        yield f"http://127.0.0.1:{proxy.port}"


@pytest.mark.parametrize(("demand", "status"), [((), 0), (("--demand", "document"), 0), (("--demand", "observed"), 1)])
def test_what_no_document_says_is_a_note_until_it_is_demanded(other_status, tmp_path, demand, status):
    """A note is told and counted, and fails nothing; moving the bar makes it red."""
    options = ("--base-url", other_status, "--api", "agentbuilder", "-k", "uploadUserFile and documented")
    ended, said = run(*options, *demand, "--report", tmp_path, folder=tmp_path)
    assert ended == status, said
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    found = report["failures"] if status else report["notes"]
    assert {(one["rule"], one["tier"]) for one in found} == {("status", "observed")}
    assert [ruling["name"] for ruling in found[0]["rulings"]] or found[0]["quotes"]
    assert report["demand"] == (demand[1] if demand else "ruling")
    assert "notes: " in said or status


def test_failure_says_everything_a_stranger_needs(refusing, tmp_path):
    """Operation, expected, got, lines, and a command without the key."""
    options = ("--base-url", refusing, "--api", "dify-chat", "-k", "getMeta and documented", *RIGHT)
    status, said = run(*options, "-v", folder=tmp_path)
    assert status == 1, said
    for text in (
        "dify-chat/getMeta: status",
        "expected 200",
        "got      401",
        "004:1016-1024",
        "curl -sS -i -N",
        "$KEY",
    ):
        assert text in said
    assert "app-right" not in said


PYTEST = (
    "pytest",
    "-p",
    "contract_tests.plugin",
    "--pyargs",
    "contract_tests",
    "-k",
    "getMeta and documented and not undocumented",
    "--base-url",
)


def test_pytest_runs_the_suite_too(mock, tmp_path):
    """The command is a front over pytest, which takes the same options."""
    status, said = run(mock, folder=tmp_path, program=PYTEST)
    assert status == 0, said
    assert "1 passed" in said


def test_pytest_base_url_may_be_installed_too(mock, tmp_path):
    """Another plugin's `--base-url` is taken over, not declared twice."""
    (tmp_path / "pytest_base_url").mkdir()
    (tmp_path / "pytest_base_url" / "__init__.py").touch()
    (tmp_path / "pytest_base_url" / "plugin.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--base-url', metavar='url', default=None)\n"
    )
    about = tmp_path / "pytest_base_url-2.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-base-url\nVersion: 2.1.0\n")
    (about / "entry_points.txt").write_text("[pytest11]\nbase_url = pytest_base_url.plugin\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    status, said = run(mock, folder=tmp_path, program=PYTEST, PYTHONPATH=path)
    assert status == 0, said
    assert "1 passed" in said


def test_workers_share_the_work_and_one_result(mock, tmp_path):
    """With two workers, in any order, the mock passes as well, and the report is about all."""
    options = ("--base-url", mock, "--api", "agentbuilder", "--api", "cybertron", "-n", "2", "-p", "randomly")
    status, said = run(*options, "-k", "journeys or keys", "--report", tmp_path, folder=tmp_path)
    assert status == 0, said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["exchanges"] > 60
    assert report["left_over"] == []
