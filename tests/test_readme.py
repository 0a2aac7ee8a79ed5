"""The README's two commands do what they promise on a machine that has only Python and pip."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".nox", ".venv", "dist", "build", "reports", "__pycache__", ".*_cache", ".hypothesis"
)


def command(start: str) -> str:
    """Return the one line of the README's code blocks that begins so."""
    blocks = re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines() if line.strip().startswith(start)]
    assert lines, f"README.md has no command that begins with {start!r}"
    return lines[0]


def fresh(folder: Path) -> tuple[Path, dict[str, str]]:
    """Return a copy of this project and the environment variables of a new, empty virtual environment."""
    checkout = folder / "checkout"
    shutil.copytree(ROOT, checkout, ignore=LEFT_BEHIND)
    venv.create(folder / "venv", with_pip=True)
    ours = ("PYTEST_", "NOX", "VIRTUAL_ENV", "MOCKSERVER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    kept["PATH"] = f"{folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return checkout, kept


@pytest.fixture
def shell() -> Iterator[list[subprocess.Popen[str]]]:
    """Hold the processes a test starts; whatever is still running afterwards is ended, with its children."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def run(line: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a shell line in a folder, in a process group of its own."""
    return subprocess.Popen(
        line,
        shell=True,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def test_the_main_command_serves_its_first_answer(tmp_path: Path, shell: list[subprocess.Popen[str]]) -> None:
    """`pip install . && mockserver serve` installs, starts, and answers the request that it prints."""
    checkout, environment = fresh(tmp_path)
    environment |= {"MOCKSERVER_PORT": "0", "PYTHONUNBUFFERED": "1"}
    process = run(command("pip install . && mockserver serve"), checkout, environment)
    shell.append(process)
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if match := re.search(r"http://127\.0\.0\.1:\d+/v1", line):
            request = urllib.request.Request(f"{match[0]}/info", headers={"Authorization": "Bearer app-chat"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("application/json")
            return
    pytest.fail(f"the server ended without naming its address:\n{printed}")


def test_ci_runs_the_same_command_as_the_readme() -> None:
    """What lands was checked by the command that everybody is told to use, in a fresh clone and a fresh environment."""
    assert command("pip install nox && nox") in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()


def test_a_wheel_works_in_an_empty_folder(tmp_path: Path) -> None:
    """Specs and scenarios travel in the wheel: every command works where there is no checkout."""
    checkout, environment = fresh(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    for line, folder in (
        (f"pip wheel --no-deps -w {tmp_path / 'wheels'} .", checkout),
        (f"pip install {tmp_path / 'wheels'}/*.whl", empty),
    ):
        done = subprocess.run(line, shell=True, cwd=folder, env=environment, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(checkout)
    python = tmp_path / "venv" / "bin" / "python"
    script = "from flowcontract.specs.model import load_apis; print(sorted(load_apis()))"
    for arguments, printed in (
        ([str(python), "-c", script], "['agentbuilder', 'cybertron', 'dify-chat', 'dify-workflow']"),
        ([str(tmp_path / "venv" / "bin" / "mockserver"), "list"], "400-provider-quota-exceeded"),
    ):
        done = subprocess.run(arguments, cwd=empty, env=environment, text=True, capture_output=True)
        assert printed in done.stdout, done.stderr


def test_this_python_is_one_that_is_promised() -> None:
    """The versions in pyproject.toml are the ones the tests run under."""
    assert (3, 11) <= sys.version_info[:2] <= (3, 13)
