"""The mock in a test: the `mock_server` fixture in a pytest of its own, and the same as a context manager."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pytest_alone import ALONE

from flowcontract.errors import UnknownNameError
from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

ROOT = Path(__file__).resolve().parents[2]
CHAT = {"query": "hello", "user": "abc-123", "inputs": {}}
QUOTA = "400-provider-quota-exceeded"
HEAD = """
import httpx
import pytest

def chat(mock, **body):
    headers = {"Authorization": f"Bearer {mock.key('dify-chat')}"}
    body = {"query": "hello", "user": "abc-123", "inputs": {}, **body}
    with httpx.Client(trust_env=False) as client:
        return client.post(mock.url("dify-chat") + "/chat-messages", headers=headers, json=body)
"""


def run(folder: Path, *arguments: str, **files: str) -> str:
    """Run pytest in a folder with some files and return what it prints; the plugin comes by its entry point."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *ALONE, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def test_fixture_gives_each_test_a_fresh_mock(tmp_path: Path) -> None:
    """One server, and for each test its own worlds, answers and journal, whatever the one before did."""
    tests = f"""{HEAD}
@pytest.mark.parametrize("number", [1, 2])
def test_answer_of_ones_choice(mock_server, number):
    assert mock_server.requests() == []
    mock_server.use("sendChatMessage", "{QUOTA}", times=1)
    mock_server.use("getInfo", "500-unknown")
    assert [chat(mock_server).status_code for _ in range(2)] == [400, 200]
    assert [one.status for one in mock_server.requests("sendChatMessage")] == [400, 200]
    assert [one.json["query"] for one in mock_server.requests(status=200)] == ["hello"]
    mock_server.assert_no_violations()

KEYS = set()

@pytest.mark.parametrize("number", [1, 2])
def test_key_of_ones_own(mock_server, number):
    KEYS.add(mock_server.key("dify-chat"))
    assert len(KEYS) == number
    assert mock_server.key("dify-workflow", "-form").startswith("app-workflow-form-")
    assert mock_server.headers("cybertron")["cybertron-robot-token"].startswith("robot-token-")
    assert [chat(mock_server).json()["conversation_id"] for _ in range(2)][0] is not None
    assert len(mock_server.requests()) == 2
"""
    assert "4 passed" in run(tmp_path, test_it=tests)


def test_ids_do_not_depend_on_the_order_of_tests(tmp_path: Path) -> None:
    """A test gets the same ids alone and after others."""
    tests = f"""{HEAD}
def test_one(mock_server):
    chat(mock_server)

def test_two(mock_server):
    print("GOT", chat(mock_server).json()["conversation_id"])
"""
    both = run(tmp_path, "-s", test_it=tests)
    alone = run(tmp_path, "-s", "test_it.py::test_two")
    told = [re.findall(r"GOT ([0-9a-f-]{36})", output) for output in (both, alone)]
    assert told[0] == told[1] != []


def test_violation_fails_the_test_with_a_readable_difference(tmp_path: Path) -> None:
    """Which request, which field, what was expected by which lines, what came, how to send it again; no traceback."""
    tests = f"""{HEAD}
def test_client(mock_server):
    mock_server.use("sendChatMessage", "200-default")
    assert chat(mock_server, user=7).status_code == 200
    mock_server.assert_no_violations()
"""
    output = run(tmp_path, test_it=tests)
    assert "1 failed" in output
    told = [line.removeprefix("E").strip() for line in output.splitlines() if line.startswith("E")]
    assert told[0].endswith("The client sent what the contract forbids, in 1 of 1 requests.")
    assert "Request 1, POST /v1/chat-messages (dify-chat/sendChatMessage) -> 200-default" in told
    assert "field `user` must be text, is 7" in told
    assert any(line.startswith("expected  text  [004:") for line in told)
    assert "got       7" in told
    assert any(line.startswith("again     curl http://127.0.0.1:") for line in told)
    assert "mockserver/testing.py" not in output


def test_options_come_from_a_conftest(tmp_path: Path) -> None:
    """Scenarios of one's own, fewer APIs, another pace: whatever `MockServer` takes."""
    folder = tmp_path / "mocks" / "dify-chat" / "sendChatMessage"
    folder.mkdir(parents=True)
    (folder / "429-mine.yaml").write_text("description: Mine.\nreply: {body: {code: mine, message: Mine.}}\n")
    options = """
from pathlib import Path
import pytest

@pytest.fixture(scope="session")
def mock_server_options():
    return {"names": ["dify-chat"], "fixtures": Path(__file__).with_name("mocks")}
"""
    tests = f"""{HEAD}
def test_mine(mock_server):
    mock_server.use("sendChatMessage", "mine")
    assert chat(mock_server).json()["code"] == "mine"
    assert list(mock_server.mock.apis) == ["dify-chat"]
    assert mock_server.mock.settings.pace == 0
"""
    assert "1 passed" in run(tmp_path, conftest=options, test_it=tests)


def test_plugin_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    """Nothing of the mock is imported, warnings are errors, and every other test runs as before."""
    tests = """
import sys

def test_nothing_is_there():
    ours = sorted(name for name in sys.modules if name.startswith(("mockserver", "flowcontract")))
    assert ours == ["flowcontract_pytest"]
"""
    assert "1 passed" in run(tmp_path, "-W", "error", test_it=tests)


# The context manager.


def post(mock: MockServer, body: object, suffix: str = "") -> httpx.Response:
    """Send a chat message."""
    with httpx.Client(trust_env=False) as client:
        return client.post(
            f"{mock.url('dify-chat')}/chat-messages", headers=mock.headers("dify-chat", suffix), json=body
        )


def test_context_manager_offers_the_same() -> None:
    """Any other runner, or a script, gets everything that the fixture has."""
    with MockServer(["dify-chat"], settings=Settings(pace=0)) as mock:
        mock.use("sendChatMessage", QUOTA, times=1)
        assert [post(mock, CHAT).status_code for _ in range(2)] == [400, 200]
        mock.use("sendChatMessage", QUOTA, world=mock.key("dify-chat", "-a"))
        assert [post(mock, CHAT, suffix).status_code for suffix in ("-a", "-b")] == [400, 200]
        assert [one.world for one in mock.requests(status=400)] == ["dify-chat", "dify-chat-a"]
        assert len(mock.requests("sendChatMessage", world="app-chat-b")) == 1
        mock.assert_no_violations()
        post(mock, {}, "-c")
        mock.assert_no_violations(world="app-chat-b")
        with pytest.raises(AssertionError, match="in 1 of 5 requests"):
            mock.assert_no_violations("sendChatMessage")
        mock.reset("app-chat-c")
        mock.assert_no_violations()
        mock.reset()
        assert (mock.requests(), post(mock, CHAT, "-a").status_code) == ([], 200)


@pytest.mark.parametrize(
    ("operation", "scenario", "told"),
    [
        ("sendChatMesage", QUOTA, 'Did you mean "sendChatMessage"?'),
        ("sendChatMessage", "400-provider-quota-exceded", f'Did you mean "{QUOTA}"?'),
    ],
)
def test_slip_in_a_test_is_told_at_once(operation: str, scenario: str, told: str) -> None:
    """`use` and `requests` know what there is; a slip does not pass for an answer that never came."""
    with MockServer(["dify-chat"]) as mock:
        with pytest.raises(UnknownNameError) as error:
            mock.use(operation, scenario)
        assert told in str(error.value)
        with pytest.raises(UnknownNameError):
            mock.requests("sendChatMesage")
        for find in (mock.url, mock.key, mock.headers):
            with pytest.raises(UnknownNameError, match=r'No API "dify-caht"\. There is: dify-chat\. Did you mean'):
                find("dify-caht")
