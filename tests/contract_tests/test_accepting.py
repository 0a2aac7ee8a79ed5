"""Known differences end to end: accepted once, the same server is green, and a server that changes is not."""

from __future__ import annotations

import sys
import tomllib
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from contract_tests.cli.main import main
from flowcontract.specs.model import load_apis
from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

MUTANTS = Path(__file__).resolve().parents[1] / "mutants"
sys.path.insert(0, str(MUTANTS))

from mutant import Mutant, Mutation  # noqa: E402 - lies beside the program that runs it
from proxy import Proxy  # noqa: E402 - the same

APIS = load_apis()
DIFFERENCES = (
    ("dify-chat/getMeta", {"status": 500}, {"status": 401}),  # a server error for a wrong key
    ("dify-chat/getInfo", {"delete": "/tags"}, {}),
    ("cybertron/offlineUploadFile", {"delete": "/message"}, {}),  # in what fuzzing asks, too
)
CHOSEN = "getMeta or getInfo or (cybertron and (documented or coverage))"


@contextmanager
def server(*differences):
    """Run the mock behind a proxy for each difference; hand out the base URL."""
    with ExitStack() as stack:
        port = stack.enter_context(MockServer(settings=Settings(pace=0))).port
        for name, do, when in differences:
            api, _, operation = name.partition("/")
            its = APIS[api].operations[operation]
            mutant = Mutant(api, "004:1", operation, "test", do, (), when)
            mutation = Mutation(mutant, its.method, APIS[api].base_path + its.path, {})
            port = stack.enter_context(Proxy(port, mutation)).port
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def run(tmp_path, capsys):
    """Run the suite with a file of known differences; return status and what was said."""

    def ran(url, *more):
        known = tmp_path / "known.toml"
        apis = ("--api", "dify-chat", "--api", "cybertron")
        status = main(["--base-url", url, *apis, "-k", CHOSEN, "--deviations", str(known), *more])
        return status, capsys.readouterr().out

    return ran


def entries(tmp_path):
    """Return the ids in the file."""
    return [one["id"] for one in tomllib.loads((tmp_path / "known.toml").read_text())["deviation"]]


def test_ten_runs_after_accepting_are_green_and_a_change_is_not(run, tmp_path):
    """One entry for each cause, however many tests see it; 500 that turns into 200 is another one."""
    with server(*DIFFERENCES) as url:
        assert run(url, "--accept")[0] == 0
        accepted = entries(tmp_path)
        assert accepted == [
            "cybertron/offlineUploadFile#required /message missing",
            "cybertron/offlineUploadFile/fuzzed#required /message missing",
            "dify-chat/getInfo#required /tags missing",
            "dify-chat/getMeta#status 500",
        ]
        for _ in range(10):
            status, said = run(url)
            assert status == 0, said
            assert entries(tmp_path) == accepted
        assert "known deviations: 4 entries; their file needs 4 corrections" in said
    changed = (("dify-chat/getMeta", {"status": 200}, {"status": 401}), *DIFFERENCES[1:])
    with server(*changed) as url:
        status, said = run(url)
    assert status == 1
    assert "getMeta" in said
