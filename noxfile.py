"""The project's checks: `nox` runs specs, lint, types and all tests; other sessions are asked for by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.sessions = ["specs", "lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.report = ".nox/report.json"

PEERS = ("@stoplight/prism-cli@5", "@mockoon/cli@9", "@copilotkit/aimock@1", "wiremock@3")
"""The servers of npm that `nox -s bench` measures beside ours; the last one brings a jar, which needs java."""
EXTRAS = ".[lint,mcp,metrics,redis,suite]"
"""The package with everything that its tests need."""
LANGFLOW = "1.13.0"
"""The real server that `nox -s langflow` asks; `tests/langflow/` has the known differences of this version."""

UPGRADE = {
    # Langflow 1.4.3 is the base 0.4.3, which imports litellm and does not ask for it.
    "old": ("1.4.3", "langflow-base==0.4.3", "litellm==1.72.*", "langflow-base"),
    "new": (LANGFLOW, f"langflow-base=={LANGFLOW}", "langflow"),
}
"""The two releases that `nox -s upgrade` compares: release, what is installed, and the command that starts it."""


@nox.session
def specs(session: nox.Session) -> None:
    """Bundle the specs and check them, every source line, every ruling and every scenario."""
    session.install(".[lint]")
    session.run("python", "-m", "flowcontract.lint", "--specs", "specs", "--fixtures", "fixtures", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install("ruff==0.17.*")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the three packages, strictly."""
    session.install("-e", EXTRAS, *nox.project.dependency_groups(nox.project.load_toml(), "types"))
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests of the toolkit."""
    session.install("-e", EXTRAS, *nox.project.dependency_groups(nox.project.load_toml(), "test"))
    session.run("pytest", "-n", "2", "--dist", "worksteal", "--junitxml=.nox/tests.xml", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build docs/ as a site into .nox/site; a broken link fails, and so does what a page fetches from elsewhere."""
    # Sphinx: MkDocs has been without a release since 2024, Material for MkDocs is in maintenance, Zensical is an alpha.
    session.install("sphinx==9.0.*", "furo==2025.12.*", "myst-parser==5.*")
    session.run("sphinx-build", "-q", "-E", "-n", "-W", "--keep-going", "docs", ".nox/site", *session.posargs)
    session.run("python", "docs/self_contained.py", ".nox/site")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the mock beside other servers; those of npm only where node is. `-- --quick` takes two minutes."""
    session.install(".[redis,suite]", "uvicorn==0.54.*", "matplotlib==3.*")
    options = ["--json", ".nox/bench.json", "--curves", ".nox/curves"]
    if shutil.which("npm"):
        peers = Path(".nox/peers").absolute()
        peers.mkdir(parents=True, exist_ok=True)
        session.run("npm", "install", "--silent", "--prefix", str(peers), *PEERS, external=True)
        options += ["--peers", str(peers)]
    session.run("python", "benchmarks/bench.py", *options, *session.posargs)


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def compat(session: nox.Session) -> None:
    """Run all tests under each of these Pythons; of one that is not installed nox says that it was skipped."""
    session.install("-e", EXTRAS, *nox.project.dependency_groups(nox.project.load_toml(), "test"))
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run all tests with the oldest versions of our dependencies that pyproject.toml allows."""
    session.install("uv")
    groups = nox.project.dependency_groups(nox.project.load_toml(), "test")
    python = str(Path(session.bin) / "python")
    install = ["uv", "pip", "install", "--quiet", "--python", python]
    session.run(*install, "--editable", EXTRAS, *groups)
    session.run(*install, "--resolution", "lowest-direct", "--reinstall", "--editable", EXTRAS)
    session.run("uv", "pip", "list", "--quiet", "--python", python)
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Ask one wrong server after the other; the contract suite must notice each (`nox -s mutants -- dify-chat/`).

    `-- --name-tiers` writes into `tests/mutants/*.yaml` in which tier each was noticed.
    """
    session.install("-e", ".[suite]")
    session.run("python", "tests/mutants", *session.posargs)


@nox.session
def benign(session: nox.Session) -> None:
    """Ask servers that go against no document, on which the suite must be green, and those of real runs."""
    session.install("-e", ".[suite]")
    session.run("python", "tests/benign", *session.posargs)
    session.run("python", "tests/benign", "--real", *session.posargs)


@nox.session
def langflow(session: nox.Session) -> None:
    """Run the contract suite against a real Langflow from PyPI (1.4 GB), whose differences are known."""
    session.install("-e", ".[suite]", "uv")  # pip's resolver takes very long over Langflow
    server = Path(session.create_tmp()).absolute() / f"langflow-{LANGFLOW}"
    session.run("uv", "venv", "-q", "--allow-existing", "--python", str(Path(session.bin) / "python"), str(server))
    session.run("uv", "pip", "install", "-q", "--python", str(server), f"langflow-base=={LANGFLOW}")
    program = ["--program", str(server / "bin" / "langflow"), "--version", LANGFLOW]
    session.run("python", "tests/langflow", *program, *session.posargs)


@nox.session
def upgrade(session: nox.Session) -> None:
    """Compare two releases of a real Langflow side by side, the contract as the third voice."""
    session.install("-e", ".[suite]", "uv")
    programs: list[str] = []
    for place, (release, *packages, command) in UPGRADE.items():
        server = Path(session.create_tmp()).absolute() / f"langflow-{release}"
        session.run("uv", "venv", "-q", "--allow-existing", "--python", str(Path(session.bin) / "python"), str(server))
        session.run("uv", "pip", "install", "-q", "--python", str(server), *packages)
        programs += [f"--{place}", str(server / "bin" / command)]
    session.run("python", "tests/langflow/upgrade.py", *programs, *session.posargs, success_codes=[0, 1])


@nox.session
def torture(session: nox.Session) -> None:
    """Drive published clients through everything that can go wrong with a stream, and print the verdicts."""
    session.install("-e", ".", "pytest==9.*")
    folder = Path(session.create_tmp()) / "clients"
    for requirements in sorted(
        Path("examples/torture/requirements").glob("*.txt")
    ):  # two of them share a package's name
        target = str(folder / requirements.stem)
        session.run("python", "-m", "pip", "install", "-q", "--upgrade", "--target", target, "-r", str(requirements))
    session.run("pytest", "-s", "examples/torture", *session.posargs, env={"TORTURE_CLIENTS": str(folder)})
    session.run("python", "examples/torture/table.py")


@nox.session
def clients(session: nox.Session) -> None:
    """Run those published clients against the mock that cannot be installed beside the others.

    dify-python-sdk has the package name of dify-client; dify-sdk asks for Python 3.12, but uses nothing of it.
    """
    session.install("-e", ".", "pytest==9.*")
    for client in ("dify-python-sdk==0.1.16", "dify-sdk==0.1.28"):
        target = str(Path(session.create_tmp()).absolute() / client.partition("=")[0])
        install = ["install", "-q", "--upgrade", "--ignore-requires-python", "--target", target, client]
        session.run("python", "-m", "pip", *install)
        tests = f"tests/mockserver/apart/{client.partition('=')[0].replace('-', '_')}.py"
        session.run("pytest", tests, *session.posargs, env={"PYTHONPATH": target})


@nox.session
def walk(session: nox.Session) -> None:
    """Walk 1,000 random sequences through all operations (the tests walk 60); a red one names its seed."""
    session.install("-e", EXTRAS, *nox.project.dependency_groups(nox.project.load_toml(), "test"))
    walks = ["-n", "2", "tests/mockserver/test_random_walk.py", *session.posargs]
    session.run("pytest", *walks, env={"FLOWCONTRACT_WALKS": "1000"})


@nox.session
def fuzz(session: nox.Session) -> None:
    """Attack the mock with tens of thousands of bad requests and streams (`nox -s fuzz -- --only headers`)."""
    session.install("-e", ".[suite]")
    session.run("python", "tests/fuzz", *session.posargs)
