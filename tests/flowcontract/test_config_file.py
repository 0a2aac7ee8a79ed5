"""Options in a file: found by itself, behind the command line and the environment, with clear errors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata, util
from pathlib import Path

import pytest

from contract_tests.cli import main as suite
from flowcontract import cli, yamlio
from flowcontract.config_file import find_config, read_arguments
from flowcontract.errors import ConfigError
from flowcontract.schemas.validators import Validators
from flowcontract.specs.model import load_apis
from mockserver.cli import main as mockserver
from mockserver.cli.options import OPTIONS, build_parser, list_misspelt, read_given

ROOT = Path(__file__).parents[2]
FILE = '[mockserver]\nport = 9000\napi = ["cybertron", "dify-chat"]\nfixtures = "mine"\nquiet = true\nstate = "w.db"\n'


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder below one that may have a file."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    return tmp_path


def test_file_above_is_found_and_its_paths_are_its_own(desk: Path) -> None:
    """Each value becomes the argument that it stands for."""
    (desk / "flowcontract.toml").write_text(FILE, encoding="utf-8")
    given = read_given(["serve"])
    assert given.sources["--port"] == f"{desk / 'flowcontract.toml'}: mockserver.port"
    assert given.arguments == [
        "--port=9000",
        "--api=cybertron",
        "--api=dify-chat",
        f"--fixtures={desk / 'mine'}",
        "--quiet",
        f"--state={desk / 'w.db'}",
    ]


def test_command_takes_only_what_it_has(desk: Path) -> None:
    """One file serves all commands."""
    (desk / "flowcontract.toml").write_text(FILE, encoding="utf-8")
    assert read_given(["init"]).arguments == ["--api=cybertron", "--api=dify-chat"]
    assert read_given(["--version"]).arguments == read_given([]).arguments == []


def test_command_line_comes_before_environment_before_file(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said elsewhere is not taken from the file."""
    (desk / "flowcontract.toml").write_text(FILE, encoding="utf-8")
    monkeypatch.setenv("MOCKSERVER_STATE", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("MOCKSERVER_QUIET", "no")
    monkeypatch.setenv("MOCKSERVER_PORT", "2")
    monkeypatch.setenv("MOCKSERVER_FIXTURES", "")
    found = read_given(["serve", "--port", "1", "--api=agentbuilder"])
    assert found.arguments == ["--state=redis://127.0.0.1:1/0", f"--fixtures={desk / 'mine'}"]
    assert found.sources["--state"] == "MOCKSERVER_STATE"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "many", 'mockserver serve: MOCKSERVER_PORT: "many" is no number\n'),
        ("LOG_FORMAT", "xml", "mockserver serve: MOCKSERVER_LOG_FORMAT: invalid choice: 'xml'"),
        ("PROFILE", "older", 'mockserver serve: MOCKSERVER_PROFILE: "older" is not of the form API=NAME\n'),
        ("FIXTURES", "/nowhere", "Not typed, but taken from elsewhere: --fixtures (MOCKSERVER_FIXTURES)."),
    ],
)
def test_wrong_value_of_the_environment_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, said: str
) -> None:
    """Nobody looks for it on the command line; and no usage of forty lines stands before it."""
    monkeypatch.setenv(f"MOCKSERVER_{name}", value)
    try:
        status = mockserver.main(["serve"])
    except SystemExit as ended:
        status = int(ended.code or 0)
    printed = capsys.readouterr().err
    assert (status, said in printed) == (2, True), printed
    assert printed.count("\n") == 2


def test_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is close to ours; MockServer, the Java program, has others of the same prefix."""
    monkeypatch.setenv("MOCKSERVER_PASE", "0")
    monkeypatch.setenv("MOCKSERVER_LOG_LEVEL", "INFO")
    monkeypatch.setenv("MOCKSERVER_SERVER_PORT", "1080")
    assert list_misspelt() == ['note: MOCKSERVER_PASE is no variable of ours. Did you mean "MOCKSERVER_PACE"?']


def test_command_that_needs_an_option_takes_it_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import` needs --out, wherever it is said."""
    monkeypatch.setenv("MOCKSERVER_OUT", "mine")
    given = read_given(["import", "a.har"])
    assert build_parser().parse_args(["import", *given.arguments, "a.har"]).out == Path("mine")


def test_address_of_redis_is_no_path(desk: Path) -> None:
    """A state may be either."""
    (desk / "flowcontract.toml").write_text('[mockserver]\nstate = "redis://h:1/0"\n', encoding="utf-8")
    assert read_given(["serve"]).arguments == ["--state=redis://h:1/0"]


def test_project_file_serves_as_well(desk: Path) -> None:
    """`[tool.flowcontract]` in pyproject.toml; one without it is passed by, one that is broken is not ours."""
    (desk / "pyproject.toml").write_text('[tool.flowcontract.contract-tests]\nreport = "out"\n', encoding="utf-8")
    (desk / "a" / "pyproject.toml").write_text("[project]\nname = 'x'\n", encoding="utf-8")
    (desk / "a" / "b" / "pyproject.toml").write_text("[[[", encoding="utf-8")
    assert read_arguments("contract-tests", {"--report": {"type": Path}}, []).arguments == [f"--report={desk / 'out'}"]


def test_repository_ends_the_search(desk: Path) -> None:
    """What lies above a repository is not the project's."""
    (desk / "flowcontract.toml").write_text(FILE, encoding="utf-8")
    (desk / "a" / ".git").mkdir()
    assert find_config() is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[mockserver", "Correct the TOML"),
        ("[mokserver]\n", 'Did you mean "mockserver"?'),
        ("mockserver = 1\n", "is not a table of options"),
        ("[mockserver]\nprot = 1\n", 'Did you mean "port"?'),
        ("[mockserver]\nquiet = 1\n", "has to be true or false, not 1"),
        ("[mockserver]\nport = true\n", "has to be a text or a number, not True"),
        ("[mockserver]\napi = [[1]]\n", "has to be a list of texts"),
        ("[mockserver]\nport = 99999\n", "is not between"),
    ],
)
def test_mistake_is_named_with_its_file(
    desk: Path, capsys: pytest.CaptureFixture[str], text: str, problem: str
) -> None:
    """Exit status 2 and a sentence, from each command."""
    (desk / "flowcontract.toml").write_text(text, encoding="utf-8")
    try:
        status = mockserver.main(["serve"])
    except SystemExit as ended:  # argparse
        status = int(ended.code or 0)
    printed = capsys.readouterr().err
    assert (status, problem in printed) == (2, True), printed
    assert str(desk / "flowcontract.toml") in printed


def test_suite_refuses_a_broken_file(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is asked."""
    (desk / "flowcontract.toml").write_text("[contract-tests]\nreprot = 'x'\n", encoding="utf-8")
    assert suite.main(["--base-url", "http://127.0.0.1:1"]) == 2
    assert 'Did you mean "report"?' in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        suite.main(["--version"])
    assert ended.value.code == 0


def test_suite_names_the_file_of_a_wrong_value(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the mock does."""
    (desk / "flowcontract.toml").write_text("[contract-tests]\nmax-minutes = 'x'\n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        suite.main(["--base-url", "http://127.0.0.1:1"])
    assert ended.value.code == 2
    place = f"{desk / 'flowcontract.toml'}: contract-tests.max-minutes"
    said = f'contract-tests: {place}: "x" is no number of minutes above 0\n'
    assert capsys.readouterr().err == f"{said}contract-tests --help lists what there is.\n"


def test_mistake_is_an_error_of_ours(desk: Path) -> None:
    """For those who read it from Python."""
    (desk / "flowcontract.toml").write_text("[", encoding="utf-8")
    with pytest.raises(ConfigError):
        read_arguments("mockserver", OPTIONS, [])


# Schemas for editors.


def published(name: str) -> dict[str, object]:
    """Return a schema as the command prints it."""
    return json.loads(cli.find_schemas()[name].read_text(encoding="utf-8"))


def test_schemas_are_those_of_their_sources() -> None:
    """`python docs/reference/make_schemas.py` writes them."""
    spec = util.spec_from_file_location("make_schemas", ROOT / "docs" / "reference" / "make_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.render() == {name: path.read_text(encoding="utf-8") for name, path in cli.find_schemas().items()}


def test_schema_of_our_options_takes_a_file_and_refuses_a_wrong_one() -> None:
    """An editor marks what the command would refuse."""
    validate = Validators(published("flowcontract"))
    assert list(validate.find_violations("", tomllib.loads(FILE))) == []
    for wrong in ("[mockserver]\nprot = 1\n", "[mockserver]\nquiet = 1\n", "[other]\n"):
        assert list(validate.find_violations("", tomllib.loads(wrong)))


def test_schema_of_stream_contracts_takes_each_of_ours() -> None:
    """And refuses a misspelt one."""
    validate = Validators(published("x-stream"))
    specs = [each.stream.spec for api in load_apis().values() for each in api.operations.values() if each.stream]
    assert specs
    for spec in specs:
        assert list(validate.find_violations("", json.loads(json.dumps(spec, default=dict)))) == []
    assert list(validate.find_violations("", {**specs[0], "freming": "sse"}))


def test_schemas_of_apps_and_targets_take_ours() -> None:
    """The app files of the mock, and the target file of the mock."""
    apps = {api: yamlio.load(ROOT / "fixtures" / api / "app.yaml") for api in ("dify-chat", "dify-workflow")}
    assert list(Validators(published("app")).find_violations("", apps)) == []
    targets = sorted((ROOT / "contract_tests" / "config" / "targets").glob("*.toml"))
    assert targets
    for path in targets:
        target = tomllib.loads(path.read_text(encoding="utf-8"))
        assert list(Validators(published("target")).find_violations("", target)) == []


def test_command_prints_a_schema_or_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """`flowcontract schema NAME`."""
    assert cli.main(["schema", "scenario"]) == 0
    assert json.loads(capsys.readouterr().out)["title"].startswith("A scenario")
    assert cli.main(["schema", "scenaro"]) == 2
    assert 'Did you mean "scenario"?' in capsys.readouterr().err


# What all commands have.

COMMANDS = {"mockserver": mockserver.main, "contract-tests": suite.main, "flowcontract": cli.main}


@pytest.mark.parametrize("name", COMMANDS)
def test_version_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By each command in the same words."""
    with pytest.raises(SystemExit) as ended:
        COMMANDS[name](["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"flowcontract {metadata.version('flowcontract')}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_run_as_a_module_too(name: str) -> None:
    """Where scripts are not on the path."""
    command = [sys.executable, "-m", name.replace("-", "_"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"flowcontract {metadata.version('flowcontract')}\n"), done.stderr


def print_completion(name: str, shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the script that a command prints for a shell."""
    with pytest.raises(SystemExit) as ended:
        COMMANDS[name](["--print-completion", shell])
    assert ended.value.code == 0
    return capsys.readouterr().out


PRESSED = {
    "mockserver se": ["serve"],
    "mockserver serve --max-state": ["--max-state-mb"],
    "mockserver serve --log-format j": ["json"],
    "contract-tests ju": ["judge"],
    "contract-tests --base-u": ["--base-url"],
    "contract-tests judge --opera": ["--operation"],
    "flowcontract sch": ["schema"],
    "flowcontract lint --fix": ["--fixtures"],
}
"""What is typed before the tabulator is pressed -> what the shell puts in the last word's place."""


@pytest.mark.parametrize("typed", PRESSED)
def test_bash_completes_commands_and_options(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As bash does it: the function that the script has registered is called with the words so far."""
    name, *_ = words = typed.split()
    press = f"""
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
function=$(complete -p {name}) && function=${{function##*-F }}
${{function%% *}} {name} "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    script = print_completion(name, "bash", capsys) + press
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True)
    assert (done.stderr, done.stdout.splitlines()) == ("", PRESSED[typed])


def test_zsh_completes_options_before_an_argument_of_any_kind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where an argument has nothing to complete it shows what the argument is, and leaves the option as it stands."""
    script = print_completion("contract-tests", "zsh", capsys)
    completed = re.findall(r'^  "[^-{]*:.*:(.*)"$', script, re.MULTILINE)  # of arguments that are no options
    assert completed
    assert set(completed) == {"_files"}
