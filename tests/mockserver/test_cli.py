"""The command line as people use it: in a process of its own."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from werkzeug.datastructures import Headers

from flowcontract.output.printable import make_printable
from mockserver.cli import main as cli
from mockserver.cli import options, scenarios, serve
from mockserver.http.failures import complain
from mockserver.http.messages import Request
from mockserver.scenarios.files import ScenarioFiles
from mockserver.server.mock_server import MockServer, load_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "mockserver", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def greeting() -> Iterator[str]:
    """Start `mockserver serve` on a free port, and return what it prints; it runs until this file's tests are over."""
    command = [sys.executable, "-m", "mockserver", "serve", "--port", "0", "--pace", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        yield "".join(lines)
        process.terminate()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the greeting prints curl commands; there is no curl here")
@pytest.mark.parametrize("api", ["agentbuilder", "cybertron", "dify-chat", "dify-workflow"])
def test_printed_command_works_when_pasted(greeting: str, api: str) -> None:
    """Per API the greeting has base URL, key and one curl that succeeds."""
    section = greeting[re.search(rf"^{api}$", greeting, re.MULTILINE).start() :]  # type: ignore[union-attr]
    command = next(line.partition("try")[2].strip() for line in section.splitlines() if line.startswith("  try"))
    words = shlex.split(command)
    assert words[0] == "curl"
    done = subprocess.run([*words, "-sS", "-f", "--noproxy", "*"], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


def test_greeting_names_urls_and_keys(greeting: str) -> None:
    """The natural base paths and the documented keys are told."""
    for word in (
        "/v1\n",
        "/api\n",
        "/openapi/v1\n",
        "app-chat",
        "app-workflow",
        "sk-agentbuilder",
        "robot-key",
        "robot-token",
    ):
        assert word in greeting
    assert "Warning" not in greeting


def test_address_that_others_reach_is_warned_of() -> None:
    """Only who asks for it listens beyond this machine, and is told so."""
    server = MockServer(["cybertron"], host="0.0.0.0")
    try:
        assert serve._build_greeting(server)[0].startswith("Warning: listening on 0.0.0.0")
    finally:
        server.close()


def test_taken_port_is_one_line_and_misuse() -> None:
    """No traceback: what was asked, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in done.stderr


def test_folder_without_scenarios_is_not_well(tmp_path: Path) -> None:
    """It may be the wrong folder, of which nothing was checked."""
    done = run("check", "--fixtures", str(tmp_path))
    assert done.returncode == 2
    assert f"no scenario in {tmp_path}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["serve", "--api", "dify-chatt"], 'Did you mean "dify-chat"?'),
        (["serve", "--port", "many"], "no number"),
        (["serve", "--pace", "-1"], "between"),
        (["serve", "--profile", "older"], "API=NAME"),
        (["serve", "--profile", "dify-workflow=ancient"], "There is: 0.14, 1.4, 1.14, older"),
        (["serve", "--fixtures", "/nowhere/at/all"], "there is no folder"),
        (["check"], "mockserver: say which folder to check: --fixtures DIR.\n"),
        (["check", "--fixtures", "/nowhere/at/all"], "there is no folder /nowhere/at/all."),
        (["dance"], "serve"),
        (["serv"], 'Did you mean "serve"?'),
        ([], "Which command? There is: serve,"),
        (["serve", "--pase", "0"], '"--pase" is no option of mockserver serve. Did you mean "--pace"?'),
        (["serve", "--host", "a\nb"], '--host: "a\\nb" is no name and no address\n'),
        (["list", "dify-chat"], '"dify-chat" is no argument of mockserver list.'),
        (["--port", "9000", "serve"], "Options come after the command: mockserver serve --port"),
    ],
)
def test_misuse_says_what_there_is(arguments: list[str], told: str) -> None:
    """Exit code 2 and a sentence that helps, never a traceback."""
    done = run(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_list_prints_the_profiles_with_their_releases() -> None:
    """Who upgrades finds the names for --profile, and which server each stands for."""
    done = run("list", "--profiles", "--api", "dify-chat")
    assert done.returncode == 0
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert rows == [
        ["dify-chat", "0.14", "Dify 0.14.0"],
        ["dify-chat", "1.4", "Dify 1.4.1"],
        ["dify-chat", "1.14", "Dify 1.14.2"],
    ]


def test_environment_is_the_second_source() -> None:
    """MOCKSERVER_<NAME> sets an option; the flag wins."""
    assert "many" in run("serve", MOCKSERVER_PORT="many").stderr
    assert "few" in run("serve", "--port", "few", MOCKSERVER_PORT="1").stderr
    assert 'No API "x"' in run("list", MOCKSERVER_API="x").stderr


def test_every_option_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Each option is told with its default, and every command answers --help with examples of itself alone."""
    for command in ("serve", "proxy", "init", "list", "check", "import", "torture", "mcp"):
        with pytest.raises(SystemExit) as leaving:
            cli.main([command, "--help"])
        assert leaving.value.code == 0
        told = capsys.readouterr().out
        examples = re.findall(r"^  mockserver (\S+)", told.partition("\nexamples:\n")[2], re.MULTILINE)
        assert set(examples) == {command}
        if command == "serve":
            assert all(option in told for option in options.OPTIONS)


def test_list_shows_every_scenario_with_its_description(capsys: pytest.CaptureFixture[str]) -> None:
    """Operation, method, path, then the scenarios by name."""
    assert cli.main(["list", "--api", "cybertron"]) == 0
    told = capsys.readouterr().out
    assert "cybertron/offlineUploadFile  POST /openapi/v1/chatflow/offline_upload_file/" in told
    assert re.search(r"200-default +The file is there", told)


def scenario(folder: Path, text: str) -> Path:
    path = folder / "dify-chat" / "stopChatMessage" / "200-mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_check_is_silent_about_a_sound_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 where nothing is wrong."""
    scenario(tmp_path, "description: Stopped.\nreply:\n  body: {result: success}\n")
    assert cli.main(["check", "--fixtures", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("description: Stopped.\nreply:\n  body: {result: 5}\n", 3, "success"),
        ("description: Stopped.\nreply:\n  body: [\n", 4, "YAML"),
        ("reply:\n  body: {result: success}\n", 1, "description"),
        ("description: Stopped.\nreplies: {}\nreply:\n  body: {result: success}\n", 1, "replies"),
    ],
)
def test_check_says_what_is_wrong_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, line: int, told: str
) -> None:
    """Exit code 1, and one line per problem: file, line, what, what to do."""
    path = scenario(tmp_path, text)
    assert cli.main(["check", "--fixtures", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"{path}:" in out
    assert told in out
    assert any(f"{path}:{number}:" in out for number in (line, line + 1))


GATEWAY = "description: The gateway is busy.\n{}reply:\n  headers: {{Retry-After: '3'}}\n  body: <h1>Busy</h1>\n"


@pytest.mark.parametrize("folder", ["stopChatMessage", "every-operation"])
def test_undocumented_status_of_ones_own_has_to_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    """With `undocumented: true` it is sound, and answers; without it is a mistake, and so is a documented one."""
    path = tmp_path / "dify-chat" / folder / "503-busy.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(GATEWAY.format(""), encoding="utf-8")
    assert cli.main(["check", "--fixtures", str(tmp_path)]) == 1
    assert "503-busy.yaml:1:" in capsys.readouterr().out
    path.write_text(GATEWAY.format("undocumented: true\n"), encoding="utf-8")
    assert cli.main(["check", "--fixtures", str(tmp_path)]) == 0
    app = load_app(["dify-chat"], fixtures=tmp_path)
    headers = Headers([("Authorization", "Bearer app-chat"), ("Prefer", "code=503")])
    answered = app.handle(Request("POST", "/v1/chat-messages/b70fbb41/stop", "", headers), 0)
    assert (answered.status, answered.headers["Retry-After"], answered.body) == (503, "3", b"<h1>Busy</h1>")
    if folder == "every-operation":  # it counts for those that do not document the status
        return
    path.rename(path.with_name("400-busy.yaml"))
    assert cli.main(["check", "--fixtures", str(tmp_path)]) == 1
    assert "Leave `undocumented` out." in capsys.readouterr().out


def test_undocumented_scenario_is_still_read_and_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever its status: what is no format of a scenario and what cannot be rendered is told."""
    path = tmp_path / "dify-chat" / "stopChatMessage" / "503-busy.yaml"
    path.parent.mkdir(parents=True)
    for wrong in ("undocumented: maybe\n", "undocumented: true\nreplies: 1\n", "undocumented: true\nfaults: bomb\n"):
        path.write_text(GATEWAY.format(wrong), encoding="utf-8")
        assert cli.main(["check", "--fixtures", str(tmp_path)]) == 1, wrong
    path.write_text("description: Busy.\nundocumented: true\nreply:\n  file: nowhere.html\n", encoding="utf-8")
    assert cli.main(["check", "--fixtures", str(tmp_path)]) == 1
    assert "nowhere.html" in capsys.readouterr().out


EVIL = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202e\r"
QUOTED = r"\e]0;owned\a\e[2J\x9b2J\u202e\r"  # in YAML


def obeyed(text: str) -> set[str]:
    """Return what of a text a terminal would obey, other than line breaks."""
    return {letter for letter in text if make_printable(letter) != letter and letter != "\n"}


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """Return a folder of scenarios whose texts and file names are full of control characters."""
    folder = tmp_path / "dify-chat" / "stopChatMessage"
    folder.mkdir(parents=True)
    sound = f'description: "sound {QUOTED}"\nreply:\n  body: {{result: success}}\n'
    (folder / "200-sound.yaml").write_text(sound, encoding="utf-8")
    return tmp_path


def test_list_and_check_obey_nobody(evil: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of scenarios and of file names are shown, in what is sound and in what is wrong."""
    assert cli.main(["list", "--api", "dify-chat", "--fixtures", str(evil)]) == 0
    told = capsys.readouterr()
    assert "\\x1b]0;owned" in told.out
    assert obeyed(told.out + told.err) == set()
    for number, text in enumerate(
        (
            f'description: x\n"{QUOTED}": 1\nreply:\n  body: {{result: success}}\n',
            f'description: x\nreply:\n  body: {{result: "{QUOTED}"}}\n',
            f'description: x\nfaults: "{QUOTED}"\nreply:\n  body: {{result: success}}\n',
            f'description: x\nreply: "{QUOTED}"\n',
            f'"{QUOTED}": *nowhere\n',
        )
    ):
        wrong = evil / "dify-chat" / "stopChatMessage" / f"200-wrong-{number}{EVIL}.yaml"
        wrong.write_text(text, encoding="utf-8")
        assert cli.main(["check", "--fixtures", str(evil)]) == 1
        told = capsys.readouterr()
        assert "owned" in told.out
        assert obeyed(told.out + told.err) == set()
        assert cli.main(["list", "--fixtures", str(evil)]) == 2
        told = capsys.readouterr()
        assert "owned" in told.err
        assert obeyed(told.out + told.err) == set()
        wrong.unlink()


def test_broken_file_under_a_running_mock_is_told_and_not_obeyed(
    evil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is a traceback of ours, whatever stands in it."""
    fixtures = ScenarioFiles(("dify-chat",), evil)
    (evil / "dify-chat" / "stopChatMessage" / "200-new.yaml").write_text(f'"{QUOTED}": 1\n', encoding="utf-8")
    fixtures.load_current(at_once=True)
    complain(ValueError(EVIL))
    told = capsys.readouterr().err
    assert told.count("owned") >= 2
    assert obeyed(told) == set()


def test_verdicts_of_torture_obey_nobody() -> None:
    """What a client says that it raised is printed when the session ends."""
    with MockServer(["dify-chat"]) as mock:
        session = mock.torture("sendChatMessage", ["bom"])
        for case in session:
            asked = {"query": "x", "inputs": {}, "user": "u", "response_mode": "streaming"}
            headers = {"Authorization": f"Bearer {case.key}"}
            httpx.post(f"{mock.url('dify-chat')}/chat-messages", json=asked, headers=headers, trust_env=False)
            case.verdict(raised=EVIL)
        assert "owned" in session.table()
        assert obeyed(session.table()) == set()


@pytest.mark.parametrize("command", ["list", "check"])
def test_interrupted_command_has_no_verdict(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is one line and status 2: nobody may take it for a folder without problems."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scenarios, "list_scenarios", interrupt)
    monkeypatch.setattr(scenarios, "check", interrupt)
    assert cli.main([command, "--fixtures", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "mockserver: interrupted.\n"


def test_listed_scenarios_may_be_cut_off_by_a_pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`mockserver list | head` is no error."""

    def break_pipe(_options: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(scenarios, "list_scenarios", break_pipe)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with (tmp_path / "pipe").open("w") as pipe:  # it is closed behind whoever prints, which must not be pytest's own
        monkeypatch.setattr("sys.stdout", pipe)
        assert cli.main(["list"]) == 0
