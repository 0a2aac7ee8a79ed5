"""The command without a server: what it says, and what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from contract_tests.cases.derive import derive_cases
from contract_tests.cli import run
from contract_tests.cli.main import main
from contract_tests.config.options import OPTIONS
from contract_tests.config.target import load_target
from contract_tests.suite.not_exercised import NotExercised
from contract_tests.suite.session import Suite
from flowcontract.specs.model import load_apis


def test_help_names_every_option_and_has_examples(capsys):
    """Whoever asks is told everything."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(name in said for name in OPTIONS)
    assert "contract-tests --base-url http://127.0.0.1:8080" in said


def test_missing_extra_is_one_line_and_misuse(monkeypatch, capsys):
    """Without what asking takes the command says what to install."""
    monkeypatch.setattr(run, "NEEDED", ("httpx", "a_module_that_is_not_there"))
    assert main(["--base-url", "http://127.0.0.1:9"]) == 2
    assert capsys.readouterr().err == (
        "contract-tests: no a_module_that_is_not_there here. In the checkout: pip install '.[suite]'\n"
    )


def test_judging_recordings_needs_no_extra():
    """`contract-tests judge` works where only the mock was installed."""
    blocked = "import sys; sys.modules.update(dict.fromkeys(['httpx', 'pytest', 'schemathesis'], None))"
    command = [sys.executable, "-c", f"{blocked}; import contract_tests.cli.main"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_must_not_be_called_is_not_called():
    """A read-only target is asked nothing but GET; what deletes everything needs permission."""
    apis = load_apis()
    target = load_target(apis, base_url="http://127.0.0.1:9", keys=["dify-chat=app-x", "agentbuilder=sk-x"])
    suite = Suite(target)
    operations = apis["agentbuilder"].operations
    with pytest.raises(NotExercised, match="no_delete_all"):
        suite.apps.check_allowed(operations["deleteAllUserFiles"])
    suite.apps.check_allowed(operations["deleteAllUserFiles"], refused=True)
    object.__setattr__(target, "read_only", True)
    suite.apps.check_allowed(operations["listUserFiles"])
    with pytest.raises(NotExercised, match="read_only"):
        suite.apps.check_allowed(operations["uploadUserFile"])
    provoked = next(case for case in derive_cases(apis["dify-chat"]) if case.provoke and case.operation.id == "getInfo")
    with pytest.raises(NotExercised, match="cannot be provoked"):
        suite.run(provoked)
    suite.close()


def test_delete_all_waits_for_nobody_else(monkeypatch):
    """With other workers on a server without worlds, deleting all is left out."""
    apis = load_apis(["agentbuilder"])
    target = load_target(apis, base_url="http://127.0.0.1:9", keys=["agentbuilder=sk-x"])
    object.__setattr__(target, "no_delete_all", False)
    suite = Suite(target)
    operation = apis["agentbuilder"].operations["deleteAllUserFiles"]
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    suite.apps.check_allowed(operation)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    with pytest.raises(NotExercised, match="other workers"):
        suite.apps.check_allowed(operation)
    suite.close()
