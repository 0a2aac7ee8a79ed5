"""The command on its own: nobody else's settings, nobody's keys where they do not belong, and what comes first."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from contract_tests.cli import run
from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "hostile"))

from hostile_server import Hostile, empty_object, head, json_answer, relay


@pytest.fixture(scope="module")
def mock():
    """Run a mock at top speed; return its port."""
    with MockServer(settings=Settings(pace=0)) as server:
        yield server.port


def command(*arguments, folder, **environment):
    """Run the command in a folder, which is not where Python looks for modules."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "contract_tests", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=folder,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout + done.stderr


HARM = {
    "pytest.ini": "[pytest]\naddopts = --no-such-option\nfilterwarnings = error\ntestpaths = nowhere\n",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--no-such-option'\n",
    "conftest.py": "raise RuntimeError('conftest')\n",
    "harm.py": "raise RuntimeError('plugin')\n",
    "sitting/harm.py": "raise RuntimeError('installed')\n",
    "sitting/harm-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: harm\nVersion: 1\n",
    "sitting/harm-1.dist-info/entry_points.txt": "[pytest11]\nharm = harm\n",
}


def test_settings_of_the_current_folder_have_no_effect(mock, tmp_path):
    """Options, warnings, hooks and plugins of whoever stands there are for their own tests."""
    for name, text in HARM.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    environment = {
        "PYTEST_ADDOPTS": "--no-such-option",
        "PYTEST_PLUGINS": "harm",
        "PYTHONPATH": str(tmp_path / "sitting"),
    }
    options = ("--base-url", f"http://127.0.0.1:{mock}", "--api", "dify-chat", "-k", "getMeta and documented")
    status, said = command(*options, folder=tmp_path, **environment)
    assert status == 0, said
    assert "PASSED" in said
    assert "arning" not in said


def test_version_is_ours(tmp_path):
    """Not pytest's."""
    assert command("--version", folder=tmp_path) == (0, f"flowcontract {importlib.metadata.version('flowcontract')}\n")


def test_extra_brings_what_the_command_needs():
    """`pip install '.[suite]'` is enough for all that --help shows, `-n 2` included."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    extra = project["project"]["optional-dependencies"]["suite"]
    names = {re.split(r"[^\w-]", line)[0].replace("pytest-xdist", "xdist") for line in extra}
    assert names == set(run.NEEDED)


MEANT = {
    "--base-ulr http://127.0.0.1:9": ("--base-ulr", "--base-url"),
    "--base-ulr=http://127.0.0.1:9 --api cybertron": ("--base-ulr", "--base-url"),
    "-k getMeta -x -n 2 --tb=short --apl cybertron": ("--apl", "--api"),
    "--reprot=out -p no:randomly -k getMeta": ("--reprot", "--report"),
    "--maxfail=1 -K getMeta": ("-K", ""),
}
"""What is typed -> what of it is no option, and what was meant."""


@pytest.mark.parametrize("typed", MEANT)
def test_option_that_is_none_is_told_with_the_one_that_was_meant(tmp_path, typed):
    """In a line as by our other commands, not by pytest, which prints its own usage."""
    asked, meant = MEANT[typed]
    guess = f'Did you mean "{meant}"? ' if meant else ""
    line = f'contract-tests: "{asked}" is no option of contract-tests. {guess}contract-tests --help lists them.\n'
    assert command(*typed.split(), folder=tmp_path) == (2, line)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["--tb=shrt"], "argument --tb: invalid choice: 'shrt'"),
        (["-p", "no_such_plugin"], 'Error importing plugin "no_such_plugin"'),
        (["-k"], "argument -k: expected one argument"),
    ],
)
def test_wrong_value_of_an_option_of_pytest_is_a_line(tmp_path, typed, told):
    """The usage of pytest does not stand above it; an option without its value does not take our folder for it."""
    status, said = command("--base-url", "http://127.0.0.1:9", *typed, folder=tmp_path)
    assert status == 2
    assert said.startswith(f"contract-tests: {told}")
    assert said.count("\n") == 1


@pytest.mark.parametrize("before", [True, False])
def test_options_of_pytest_stand_before_or_after_ours(mock, tmp_path, before):
    """They reach pytest, with and without `=`."""
    ours = ["--base-url", f"http://127.0.0.1:{mock}", "--api=dify-chat"]
    others = ["-x", "-n", "2", "--tb=short", "-p", "no:randomly", "--maxfail=3", "-kgetMeta and documented"]
    status, said = command(*([*others, *ours] if before else [*ours, *others]), folder=tmp_path)
    assert status == 0, said
    assert "PASSED" in said


def test_files_that_options_name_are_read_before_anybody_is_asked(tmp_path):
    """A slip in a path is said at once, also where no server answers yet."""
    broken = tmp_path / "known.toml"
    broken.write_text("[[deviation", encoding="utf-8")
    for option, path in (("--baseline", "nofile.json"), ("--deviations", str(broken))):
        status, said = command("--base-url", "http://127.0.0.1:9", option, path, folder=tmp_path)
        assert status == 2
        assert path in said
        assert "Nothing answers" not in said


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "soon"])
def test_bound_that_is_none_is_a_misuse(tmp_path, minutes):
    """A run has to have an end."""
    status, said = command("--base-url", "http://127.0.0.1:9", f"--max-minutes={minutes}", folder=tmp_path)
    assert status == 2
    assert "--max-minutes" in said


def test_stranger_gets_neither_the_mocks_keys_nor_its_wishes(tmp_path):
    """A base URL without keys that is not the mock: one line that says what to give, and nothing was sent."""
    with Hostile(empty_object) as server:
        status, said = command("--base-url", server.url, "--report", tmp_path, folder=tmp_path)
        asked = [(request.path, request.headers) for request in server.asked]
    assert status == 2, said
    assert "No key for agentbuilder" in said
    assert "--key agentbuilder=KEY" in said
    assert asked
    for path, headers in asked:
        assert path == "/__mock__/health"
        assert not {"authorization", "x-api-key", "prefer", "cybertron-robot-key"} & headers.keys()
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("api", "instead", "told"),
    [
        ("dify-chat", "401 Unauthorized", "401 for a documented request (dify-chat/getInfo"),
        ("dify-workflow", "403 Forbidden", "403 for a documented request (dify-workflow/getInfo"),
        ("dify-chat", "404 Not Found", "correct --base-url"),
        ("agentbuilder", "401 Unauthorized", "correct `--key agentbuilder=...`"),
    ],
)
def test_key_that_does_not_open_is_told_before_anything_is_judged(tmp_path, api, instead, told):
    """Hundreds of failures would say nothing else."""

    async def refuse(_, writer):
        writer.write(json_answer(b'{"code": "unauthorized", "message": "no", "status": 401}', instead))
        await writer.drain()

    with Hostile(refuse) as server:
        options = ("--base-url", server.url, "--api", api, "--key", f"{api}=app-wrong-key", "--report", tmp_path)
        status, said = command(*options, folder=tmp_path)
        assert len(server.asked) < 6
    assert status == 2, said
    assert told in said
    assert "FAILED" not in said
    assert "app-wrong-key" not in said
    assert not (tmp_path / "report.html").exists()


def test_robots_key_that_does_not_open_is_told_by_its_code(mock, tmp_path):
    """Where every status is 200, the code says that a key is wrong."""
    options = ("--base-url", f"http://127.0.0.1:{mock}", "--api", "cybertron", "--key", "cybertron=wrong-robot-key")
    status, said = command(*options, folder=tmp_path)
    assert status == 2, said
    assert "correct `--key cybertron=...`" in said


def test_flow_that_is_not_there_is_told_before_anything_is_judged(mock, tmp_path):
    """An id of another server: every run would be a 404."""
    (tmp_path / "target.toml").write_text(
        "mock = true\n[api.agentbuilder]\nvalues = { flow_id = '6d1c1e0c-8b7e-4a0f-9d53-0e7f6f9d2a11' }\n"
    )
    options = ("--base-url", f"http://127.0.0.1:{mock}", "--api", "agentbuilder", "--target", tmp_path / "target.toml")
    status, said = command(*options, folder=tmp_path)
    assert status == 2, said
    assert "404 for a documented request (agentbuilder/listFlowFiles" in said
    assert "correct the flow" in said


def test_key_of_another_kind_of_app_is_told(mock, tmp_path):
    """The app says itself that it is none that the API is about."""
    body = json.dumps({"name": "a", "description": "b", "tags": [], "mode": "workflow"}).encode()
    keys = {"app-of-a-0815-4711": "app-chat"}
    with Hostile(relay(mock, keys=keys, instead={"/v1/info": json_answer(body)})) as server:
        options = ("--base-url", server.url, "--api", "dify-chat", "--key", "dify-chat=app-of-a-0815-4711")
        status, said = command(*options, folder=tmp_path)
    assert status == 2, said
    assert "opens an app whose mode is workflow: correct `--key dify-chat=...`" in said


def test_one_operation_that_refuses_is_for_its_tests_to_tell(mock, tmp_path):
    """As long as another documented request gets in, the key is right and the server is wrong."""
    refusal = json_answer(b'{"code": "unauthorized", "message": "no", "status": 401}', "401 Unauthorized")
    keys = {"app-mine": "app-chat"}
    with Hostile(relay(mock, keys=keys, instead={"/v1/info": refusal})) as server:
        options = ("--base-url", server.url, "--api", "dify-chat", "--key", "dify-chat=app-mine")
        status, said = command(*options, "-k", "getInfo and documented", folder=tmp_path)
    assert status == 1, said
    assert "dify-chat/getInfo" in said


def test_provocation_may_use_another_key(mock, tmp_path):
    """What only another app answers is asked with the key of that app."""
    (tmp_path / "target.toml").write_text(
        "[provoke.'dify-chat/getInfo'.forbidden]\nkey = 'app-forbidden'\nheaders = { X-Why = 'asked for' }\n"
    )

    async def forbid(asked, writer):
        if asked.headers.get("authorization") == "Bearer app-forbidden":
            writer.write(json_answer(b'{"code": "forbidden", "message": "no", "status": 403}', "403 Forbidden"))
            await writer.drain()
        else:
            await relay(mock, keys={"app-mine": "app-chat"})(asked, writer)

    with Hostile(forbid) as server:
        options = ("--base-url", server.url, "--api", "dify-chat", "--key", "dify-chat=app-mine")
        options += ("--target", tmp_path / "target.toml", "-k", "getInfo and provoked and forbidden")
        status, said = command(*options, folder=tmp_path)
        provoked = [request for request in server.asked if request.headers.get("x-why")]
    assert status == 0, said
    assert [request.headers["authorization"] for request in provoked] == ["Bearer app-forbidden"]


def test_compressed_answers_are_read(mock, tmp_path):
    """A proxy may compress what nobody asked it to compress; that is no reason not to read it."""
    import gzip  # noqa: PLC0415 - only here

    body = gzip.compress(json.dumps({"tool_icons": {}}).encode())
    meta = head("Content-Type: application/json", "Content-Encoding: gzip", f"Content-Length: {len(body)}") + body
    with Hostile(relay(mock, keys={"app-mine": "app-chat"}, instead={"/v1/meta": meta})) as server:
        options = ("--base-url", server.url, "--api", "dify-chat", "--key", "dify-chat=app-mine")
        status, said = command(*options, "-k", "getMeta and documented", folder=tmp_path)
    assert status == 0, said
