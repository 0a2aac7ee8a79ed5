"""Container, action and hooks: no image is built here, but what they run is run, as a user that is not root."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flowcontract import yamlio
from mockserver.cli.options import build_parser

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
NOBODY = 65534
GOOD = (ROOT / "fixtures/cybertron/offlineUploadFile/200-default.yaml").read_text(encoding="utf-8")
WAIT_S = 60.0
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def instruction(name: str) -> str:
    """Return what stands behind the last instruction of a name."""
    return [line.removeprefix(f"{name} ").strip() for line in LINES if line.startswith(f"{name} ")][-1]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def environment(folder: Path) -> dict[str, str]:
    """Return what a process of the container sees: what the image sets, and nothing of ours."""
    settings = dict(part.split("=", 1) for part in shlex.split(instruction("ENV")))
    settings |= {"MOCKSERVER_PORT": str(free_port()), "MOCKSERVER_HOST": "127.0.0.1", "HOME": str(folder)}
    return settings | {"NO_PROXY": "127.0.0.1"}


def user() -> dict[str, Any]:
    """Return what starts a process as somebody who is not root."""
    return {"user": NOBODY, "group": NOBODY} if os.getuid() == 0 else {}


def provide(folder: Path) -> dict[str, str]:
    """Return where a user who may not look into root's folders finds `python` and `mockserver`; skip without any."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    paths = os.pathsep.join(path for path in [str(ROOT), *sys.path] if path)
    for python in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
        environ = {"PYTHONPATH": paths, "PATH": f"{folder}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            run = [str(python), "-c", "import mockserver, yaml, uvloop"]
            if subprocess.run(run, env=environ, capture_output=True, cwd="/", **user()).returncode:
                continue
        except OSError:
            continue
        starts = {"python": "", "mockserver": "-c 'import sys, flowcontract_launch as m; sys.exit(m.run_mockserver())'"}
        for name, arguments in starts.items():
            (folder / name).write_text(f'#!/bin/sh\nexec {python} {arguments} "$@"\n', encoding="utf-8")
            (folder / name).chmod(0o755)
        return environ
    pytest.skip("no Python here can be run by another user, so nothing can be tried as one")


def await_health(command: list[str], environ: dict[str, str], **options: Any) -> bool:
    """Ask for the health until it is good, as a container's engine does."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if subprocess.run(command, env=environ, capture_output=True, **options).returncode == 0:
            return True
    return False


@contextlib.contextmanager
def running(command: list[str], environ: dict[str, str], folder: Path, **options: Any) -> Iterator[subprocess.Popen]:
    """Run a program until the test is over."""
    process = subprocess.Popen(command, env=environ, cwd=folder, stdout=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(WAIT_S)


def test_entry_and_health_command_work_for_a_user_that_is_not_root() -> None:
    """It becomes healthy, says nothing but that, and is unhealthy once it is gone."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own are for its user alone
        home = Path(name)
        home.chmod(0o777)
        environ = environment(home) | provide(home)
        _try_container(home, environ)


def _try_container(home: Path, environ: dict[str, str]) -> None:
    who = user()
    entry = json.loads(instruction("ENTRYPOINT")) + json.loads(instruction("CMD"))
    health = json.loads(re.sub(r"^.*CMD ", "", instruction("HEALTHCHECK")))
    with running(entry, environ, home, **who) as process:
        assert await_health(health, environ, cwd=home, **who)
        address = f"http://127.0.0.1:{environ['MOCKSERVER_PORT']}/__mock__/ready"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(address, headers={"Host": "mock.example", "X-Forwarded-For": "192.0.2.7"})
        with opener.open(request, timeout=10) as answer:
            assert json.loads(answer.read()) == {"status": "up"}
        process.terminate()
        process.wait(WAIT_S)
        assert subprocess.run(health, env=environ, capture_output=True, cwd=home, **who).returncode != 0


def test_image_does_not_run_as_root_and_copies_what_there_is() -> None:
    """The user comes before the entry; each path that is copied exists, and is all that the wheel is made of."""
    assert instruction("USER").isdecimal()
    assert int(instruction("USER")) > 0
    copied = {
        name for line in LINES if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    only = json.loads(re.search(r"only-include = (\[.*\])", project)[1])  # type: ignore[index]
    assert copied >= {*only, "specs", "fixtures", "pyproject.toml", "README.md", "LICENSE"}


def test_compose_asks_for_options_that_there_are() -> None:
    """Two workers that share their worlds, and are published to this machine alone."""
    services = yamlio.load(ROOT / "compose.yaml")["services"]
    assert services["mock"]["depends_on"].keys() == {"redis"}
    options = build_parser().parse_args(services["mock"]["command"])
    assert (options.workers, options.state) == (2, "redis://redis:6379/0")
    assert services["mock"]["ports"] == ["127.0.0.1:8080:8080"]
    assert "redis" in services


def test_compose_is_a_file_of_the_compose_specification() -> None:
    """It is read by a program that knows every key, value and type; a slip in any of them is refused."""
    compose = pytest.importorskip("compose_spec", reason="compose-spec is not installed")
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    read = compose.PyCompose.from_yaml(text)
    read.validate()  # what services name is there
    assert sorted(read.service_names()) == ["mock", "redis"]
    for right, wrong in (("healthcheck", "healthchek"), ("service_healthy", "healthy"), ("[ALL]", "{all: true}")):
        assert right in text
        with pytest.raises(Exception, match="at line"):
            compose.PyCompose.from_yaml(text.replace(right, wrong))


class FakeEngine:
    """Stands where testcontainers has Docker's client: a container is the image's entry, run on this machine."""

    def __init__(self, environ: dict[str, str], folder: Path, stack: contextlib.ExitStack) -> None:
        self.environ, self.folder, self.stack = environ, folder, stack
        self.client, self.id, self.status = self, "1", "created"
        self.asked: dict[str, Any] = {}

    def create(self, image: str, **asked: Any) -> FakeEngine:
        """Keep what is asked for."""
        self.asked = {"image": image, **asked}
        return self

    def start(self, container: FakeEngine) -> None:
        """Run the entry with the command that was asked for."""
        command = json.loads(instruction("ENTRYPOINT")) + shlex.split(self.asked["command"])
        self.stack.enter_context(running(command, self.environ, self.folder, **user()))
        container.status = "running"

    def port(self, _: str, port: int) -> str:
        """Return where a port is that the image has."""
        assert list(self.asked["ports"]) == [str(port)] == [instruction("EXPOSE")]
        return self.environ["MOCKSERVER_PORT"]

    def get_connection_mode(self) -> Any:
        """Say that ports are those of a machine."""
        return sys.modules["testcontainers.core.config"].ConnectionMode.docker_host

    def host(self) -> str:
        """Return that machine."""
        return "127.0.0.1"

    @property
    def short_id(self) -> str:
        """Return what the log says."""
        return self.id

    def reload(self) -> None:
        """Do nothing: it is the engine."""

    def remove(self, **_: Any) -> None:
        """Tell that it was asked for; the process ends with the test."""
        self.status = "removed"

    def close(self) -> None:
        """Do nothing."""


def test_example_of_testcontainers_runs_as_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real package, before an engine that is none: what it asks for is what the image has, and the mock answers."""
    container = pytest.importorskip("testcontainers.core.container", reason="testcontainers is not installed")
    page = (ROOT / "docs/howto/containers.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?testcontainers.*?)```", page, re.DOTALL)
    monkeypatch.setattr(container.c, "ryuk_disabled", True)  # removes containers of a test that was killed
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home.chmod(0o777)
        engine = FakeEngine(environment(home) | provide(home), home, stack)
        monkeypatch.setattr(container, "DockerClient", lambda: engine)
        exec(compile(example, "containers.md", "exec"), {})
    assert (engine.asked["image"], engine.status) == ("flowcontract-mock", "removed")
    assert f"--tag {engine.asked['image']} " in page  # under this name it was built


def test_hadolint_finds_nothing() -> None:
    """What a linter of such files knows."""
    found = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([found, str(ROOT / "Containerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


# The action and the hooks.


def fill(text: str, values: dict[str, str]) -> str:
    """Put values where the expressions of a workflow stand."""
    return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: values[found[1]], text)


def run_action(folder: Path, **given: str) -> tuple[dict[str, str], str]:
    """Run each step of the action as a runner does, but for those of others; return outputs, and how it went wrong."""
    action = yamlio.load(ROOT / "action.yml")
    inputs = {name: entry.get("default", "") for name, entry in action["inputs"].items()} | given
    values = {f"inputs.{name}": value for name, value in inputs.items()} | {"github.action_path": str(ROOT)}
    output = folder / "GITHUB_OUTPUT"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MOCKSERVER_"))}
    environ |= {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(folder / "summary"), "GITHUB_ACTIONS": "true"}
    environ |= {"RUNNER_TEMP": str(folder), "NO_PROXY": "127.0.0.1"}
    environ |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    try:
        for step in action["runs"]["steps"]:
            if "run" not in step or step["name"] == "Install":
                continue
            env = environ | {name: fill(value, values) for name, value in step["env"].items()}
            command = ["bash", "-eo", "pipefail", "-c", step["run"]]
            ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
            if ran.returncode:
                return values, f"{step['name']}: {ran.returncode}: {ran.stdout}{ran.stderr}"
            for line in output.read_text(encoding="utf-8").splitlines() if "id" in step and output.exists() else ():
                name, _, value = line.partition("=")
                values[f"steps.{step['id']}.outputs.{name}"] = value
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((folder / "mockserver.pid").read_text(encoding="utf-8")), 15)
    return values, ""


def test_steps_of_the_action_serve_ask_and_leave_a_report(tmp_path: Path) -> None:
    """The mock is asked, and passes; the report is uploaded under a name that an artifact may have."""
    given = {"port": str(free_port()), "api": "cybertron", "contract-tests": "-k documented", "report": "out/mock"}
    values, wrong = run_action(tmp_path, **given)
    assert wrong == ""
    assert values["steps.serve.outputs.base-url"] == f"http://127.0.0.1:{given['port']}"
    assert values["steps.ask.outputs.artifact"] == "out-mock"
    assert (tmp_path / "out" / "mock" / "report.html").exists()
    assert "## Contract tests: passed" in (tmp_path / "summary").read_text(encoding="utf-8")


def test_action_does_not_wait_for_a_mock_that_has_ended(tmp_path: Path) -> None:
    """What is wrong with its options is printed at once, and nobody asks."""
    began = time.monotonic()
    _, wrong = run_action(tmp_path, port=str(free_port()), serve="--paze 0")
    assert wrong.startswith('Wait: 2: mockserver: "--paze" is no option of mockserver serve. Did you mean "--pace"?')
    assert time.monotonic() - began < 25  # it was given 30 seconds


def test_address_that_it_does_not_have_yet_is_one_that_nobody_can_take() -> None:
    """Who copies from a page runs nothing of a stranger who took our name, and PyPI refuses such a package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project["urls"]["Source"]
    assert {"Documentation", "Changelog", "Issues"} < project["urls"].keys()
    assert all(url.startswith(address) for url in project["urls"].values())
    published = not str(urlsplit(address).hostname).endswith(".example")
    assert ("Private :: Do Not Upload" in project["classifiers"]) is not published
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert all(found == address for found in re.findall(r"repo: (https://\S+)", text)), page
        assert all(found.startswith(("./", "actions/", "github/")) for found in re.findall(r"- uses: (\S+)", text)), (
            page
        )
        assert published or "github.com/flowcontract" not in text, page
    assert published or "not published" in (ROOT / "docs/howto/install.md").read_text(encoding="utf-8")


def test_action_puts_no_input_into_a_script() -> None:
    """Whatever an input says, it is a value of a variable, and never a part of the script."""
    for step in yamlio.load(ROOT / "action.yml")["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize(("text", "status"), [(GOOD, 0), ("description: [\n", 1)])
def test_hook_checks_scenarios(tmp_path: Path, text: str, status: int) -> None:
    """The hook is green for good files, and red for broken ones."""
    hooks = {hook["id"]: hook for hook in yamlio.load(ROOT / ".pre-commit-hooks.yaml")}
    file = tmp_path / "mine" / "cybertron" / "offlineUploadFile" / "200-mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    command = [*hooks["mockserver-check"]["entry"].split(), "--fixtures", "mine"]
    command[0] = str(Path(sys.executable).parent / command[0])
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == status


def test_hook_lints_specs() -> None:
    """In a repository that has them; the extra that it needs is that of the package."""
    hooks = {hook["id"]: hook for hook in yamlio.load(ROOT / ".pre-commit-hooks.yaml")}
    command = [*hooks["flowcontract-lint"]["entry"].split(), "--api", "cybertron"]
    command[0] = str(Path(sys.executable).parent / command[0])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (needed,) = hooks["flowcontract-lint"]["additional_dependencies"]
    assert f'lint = ["{needed}"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
