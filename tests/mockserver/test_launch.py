"""Beside other packages named `mockserver`: who else has the name is said in a sentence, and other tests run on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_alone import ALONE

import mockserver

OTHERS = {
    "mockserver/__init__.py": "from mockserver.models import Body\n",
    "mockserver/models.py": "Body = dict\n",
    "mockserver/pytest_plugin.py": "import pytest\n\n@pytest.fixture\ndef mockserver():\n    return 'theirs'\n",
    "mockserver_client-9.2.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: mockserver-client\nVersion: 9.2.0\n",
    "mockserver_client-9.2.0.dist-info/RECORD": "mockserver/__init__.py,,\nmockserver/pytest_plugin.py,,\n",
    "mockserver_client-9.2.0.dist-info/entry_points.txt": "[pytest11]\nmockserver = mockserver.pytest_plugin\n",
}
"""What PyPI's mockserver-client puts into an environment."""
THEIR_MODULES = (
    "a2a", "async_client", "client", "exceptions", "fluent", "launcher", "llm", "mcp", "models", "pytest_plugin",
    "websocket_client",
)  # fmt: skip
"""The modules of its `mockserver`: pip puts both packages into one folder."""
TESTS = {"test_plain.py": "def test_it(mockserver):\n    assert mockserver == 'theirs'\n"}
USERS = {"test_mock.py": "def test_it(mock_server):\n    pass\n"}
BASE = ("-q", "-p", "no:cacheprovider", *ALONE)


def run(folder: Path, *command: str) -> tuple[int, str]:
    """Run a program of ours where another package stands first; return its exit status and what it prints."""
    environment = os.environ | {"PYTHONPATH": str(folder / "site-packages")}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Put another package of that name before ours."""
    for place, files in {"site-packages": OTHERS, "": TESTS | USERS}.items():
        for name, text in files.items():
            (tmp_path / place / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_other_tests_run_beside_mockserver_client(folder: Path) -> None:
    """Both plugins are there, and whoever does not use ours notices nothing of it."""
    status, printed = run(folder, "-m", "pytest", *BASE, "test_plain.py")
    assert (status, "1 passed" in printed) == (0, True)


@pytest.mark.parametrize("name", THEIR_MODULES)
def test_nothing_of_ours_stands_before_a_module_of_theirs(name: str) -> None:
    """A folder comes before a file of its name: their plugin could not be loaded, and no test of anybody's be run."""
    place = Path(mockserver.__file__).parent
    assert not (place / name).exists()
    assert not (place / f"{name}.py").exists()


def test_fixture_says_who_has_the_name(folder: Path) -> None:
    """In a sentence that says what to do; exit status 2, for nothing was tested."""
    status, printed = run(folder, "-m", "pytest", *BASE, "test_mock.py")
    assert status == 2
    assert "the package mockserver-client has a mockserver, too" in printed
    assert "environment of its own" in printed
    assert "Traceback" not in printed


def test_command_says_who_has_the_name(folder: Path) -> None:
    """The command, too."""
    status, printed = run(folder, "-c", "import sys, flowcontract_launch as ours; sys.exit(ours.run_mockserver())")
    assert status == 2
    assert printed.startswith("mockserver: the package mockserver-client has a mockserver, too")
    assert len(printed.splitlines()) == 1


def test_folder_of_a_project_is_named(tmp_path: Path) -> None:
    """`python -m pytest` puts the project first; a folder `mockserver/` there is the user's own."""
    (tmp_path / "mockserver").mkdir()
    (tmp_path / "mockserver" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "test_mock.py").write_text("def test_it(flowcontract_mock):\n    pass\n", encoding="utf-8")
    (tmp_path / "test_plain.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
    assert run(tmp_path, "-m", "pytest", *BASE, "test_plain.py")[0] == 0
    status, printed = run(tmp_path, "-m", "pytest", *BASE, "test_mock.py")
    assert status == 2
    assert f"a folder of your own has a mockserver, too, which is found before ours ({tmp_path}" in printed


def test_second_name_is_the_same_mock(tmp_path: Path) -> None:
    """For projects in which `mock_server` is something else."""
    test = "def test_it(flowcontract_mock, mock_server):\n    assert flowcontract_mock is mock_server\n"
    (tmp_path / "test_it.py").write_text(test, encoding="utf-8")
    status, printed = run(tmp_path, "-m", "pytest", *BASE)
    assert (status, "1 passed" in printed) == (0, True)
