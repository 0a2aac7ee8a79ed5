"""Runs what README.md and docs/ tell people to type: every fenced block, page by page, in a folder of the page's own.

- ``sh``: commands, run by bash. ``mockserver serve`` stays up for the rest of the page, on a free port. A block
  that begins with ``#!/bin/bash`` is a script, which has to end.
- ``console``: ``$ command`` and what it prints; a line ``...`` is any lines, ``...`` within a line is any text.
- ``python``: a file of tests goes to pytest, anything else is executed.
- ``yaml``, ``toml``, ``json``: must parse. One whose first line is ``# path`` is written there, for the commands that
  follow; the commands of a GitHub workflow are run.
- ``text``: a drawing or a form, which nobody types.

Addresses of the mock and of example servers become that of a mock on a free port; ``mockserver proxy`` stands at the
mock's address before the example servers. ``pip`` and ``nox`` are replaced by a
check that the extra or the session exists, other installers by nothing; ``contract-tests`` asks one thing. A page
with ``<!-- checkout -->`` begins in a folder that has copies of ``specs/`` and ``fixtures/``.

An HTML comment before a block changes that:

- ``<!-- not run: REASON -->``
- ``<!-- exit status: 1 -->`` of the block's last command
- ``<!-- quotes: FILE -->``: the block is an excerpt of this file of the repository
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flowcontract import yamlio
from flowcontract.errors import FlowContractError

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = frozenset({"sh", "console", "python", "yaml", "toml", "json", "text"})
SERVERS = re.compile(r"https?://(?:127\.0\.0\.1:5001|new-server:5001|(?:api|chat)\.example\.com)\b")
"""The servers that the pages use as examples."""
_MOCK = re.compile(r"https?://(?:127\.0\.0\.1|localhost):8080\b")
_MARK = re.compile(r"<!-- (not run|exit status|quotes): (.+?) -->", re.DOTALL)
_PATH = re.compile(r"# ([\w./-]+\.\w+)$")
_STAYS = re.compile(r"(?:^|\s)mockserver (?:serve|proxy|torture)\b")
_READY = ("Ctrl-C stops it", "or Ctrl-C, prints them")
_ORIGIN = re.compile(r"http://127\.0\.0\.1:\d+")
_WAIT_S = 120.0
_NOT_SERVED = re.compile(r"^HTTP (404|405|501|507)$", re.MULTILINE)
_KEYS = {"DIFY_KEY": "app-chat", "OTHER_KEY": "app-chat-other", "ADMIN_TOKEN": "secret"}


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language and text, and the comment before it."""

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""
    argument: str = ""

    @property
    def place(self) -> str:
        """Where it is, as a person would look for it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


class SnippetError(AssertionError):
    """A block does not do what its page says."""

    def __init__(self, block: Block, problem: str) -> None:
        super().__init__(f"{block.place}: {problem}")


def collect(page: Path) -> Iterator[Block]:
    """Yield every fenced block of a page, indented ones too."""
    lines = page.read_text(encoding="utf-8").splitlines()
    before = begin = 0
    fence: re.Match[str] | None = None
    for number, line in enumerate(lines):
        if fence is None:
            fence, begin = re.match(r"( *)(`{3,}|~{3,})(.*)$", line), number
        elif line.strip().startswith(fence[2]) and not line.strip(" `~"):
            comment = re.search(r"<!-- (?:(?!-->).)*-->\s*$", "\n".join(lines[before:begin]), re.DOTALL)
            mark = _MARK.match(comment[0]) if comment else None
            text = textwrap.dedent("\n".join(lines[begin + 1 : number])) + "\n"
            kind, argument = (mark[1], " ".join(mark[2].split())) if mark else ("", "")
            yield Block(page, begin + 1, fence[3].strip(), text, kind, argument)
            fence, before = None, number + 1
    if fence is not None:
        raise AssertionError(f"{page}:{begin + 1}: the block has no end")


def commands(text: str) -> Iterator[str]:
    """Yield the commands of a block, each with the lines that its quotes and backslashes hold together."""
    command = ""
    for line in text.splitlines():
        command = f"{command}\n{line}" if command else line
        try:
            whole = bool(shlex.split(command, comments=True)) and not line.endswith("\\")
        except ValueError:  # a quote is open
            continue
        if whole:
            yield command
        if whole or not line.endswith("\\"):
            command = ""
    if command.strip():
        yield command


class Desk:
    """What a reader of one page has before them: a folder, a shell, and the mock that they have started."""

    def __init__(self, folder: Path, origin: str, page: str = "") -> None:
        """Sit down with the text of a page; `origin` is a mock of all APIs for pages that start none."""
        self.folder, self._origin, self._server = folder, origin, origin
        self._tools = folder.parent / f"{folder.name}-tools"
        self._log = self._tools / "curl.log"
        self._started: list[subprocess.Popen[str]] = []
        self._provide()
        if "<!-- checkout -->" in page:
            for name in ("specs", "fixtures"):
                shutil.copytree(ROOT / name, folder / name)

    def run(self, block: Block) -> None:
        """Do what a block says; raise SnippetError where that does not work."""
        if block.language.startswith("{"):  # a directive, which Sphinx runs
            return
        if block.language not in LANGUAGES:
            raise SnippetError(block, f'nobody knows how to run "{block.language}"; there is {", ".join(LANGUAGES)}')
        if block.mark == "quotes":
            self._compare(block)
        elif block.mark != "not run" and block.language != "text":
            {"sh": self._sh, "console": self._console, "python": self._python}.get(block.language, self._data)(block)

    def leave(self) -> None:
        """Stop what was started."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):  # a shell that ended may have left a mock behind
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def _sh(self, block: Block) -> None:
        if block.text.startswith("#!/bin/bash\n"):
            self._finish(block, ["bash", "-c", self._localize(block.text)], int(block.argument or 0))
            return
        *firsts, last = commands(block.text)
        for command in firsts:
            self._type(block, command, 0)
        self._type(block, last, int(block.argument) if block.mark == "exit status" else 0)

    def _console(self, block: Block) -> None:
        turns = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
        if turns[0].strip() or len(turns) == 1:
            raise SnippetError(block, "it begins with `$ command`")
        for turn in turns[1:]:
            (command, *_) = commands(turn)
            wanted = turn[len(command) :].strip("\n")
            last = turn is turns[-1] and block.mark == "exit status"
            printed = self._type(block, command, int(block.argument) if last else 0).strip("\n")
            if not _fits(self._localize(wanted), printed):
                raise SnippetError(block, f"`{command}` prints\n{printed}\nand the page says\n{wanted}")

    def _python(self, block: Block) -> None:
        text = self._localize(block.text)
        named = _PATH.match(text.splitlines()[0])
        path = self.folder / (named[1] if named else "test_page.py" if "def test_" in text else "page.py")
        path.write_text(text, encoding="utf-8")
        if "def test_" in text:
            options = "-q -p no:cacheprovider -p flowcontract_pytest"
            self._finish(block, [sys.executable, "-m", "pytest", *options.split(), path.name], 0)
        else:
            self._finish(block, [sys.executable, path.name], 0)

    def _data(self, block: Block) -> None:
        text = self._localize(block.text)
        try:
            data = {"yaml": yamlio.loads, "toml": tomllib.loads, "json": json.loads}[block.language](text)
        except (FlowContractError, ValueError) as error:
            raise SnippetError(block, f"it is no {block.language}: {error}") from None
        if named := _PATH.match(text.splitlines()[0]):
            path = self.folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.partition("\n")[2], encoding="utf-8")
            if path.parent.name == "workflows":
                jobs = data["jobs"].values()
                for command in (step["run"] for job in jobs for step in job["steps"] if "run" in step):
                    self._type(block, command, 0)

    def _compare(self, block: Block) -> None:
        """Hold an excerpt to its source, whatever the indentation and the comments at the ends of its lines."""

        def plain(text: str) -> list[str]:
            lines = (re.sub(r"\s+# .*$", "", line).rstrip() for line in textwrap.dedent(text).splitlines())
            return [line.strip() for line in lines if line and not line.startswith("#")]

        source, wanted = plain((ROOT / block.argument).read_text(encoding="utf-8")), plain(block.text)
        if not any(source[start : start + len(wanted)] == wanted for start in range(len(source))):
            raise SnippetError(block, f"{block.argument} has no such lines")

    def _type(self, block: Block, command: str, status: int) -> str:
        """Type a command; return what it prints, or leave it running where it serves."""
        if _STAYS.search(command):
            return self._start(block, command)
        self._log.write_text("", encoding="utf-8")
        printed = self._finish(block, ["bash", "-euo", "pipefail", "-c", self._localize(command)], status)
        if refused := _NOT_SERVED.search(self._log.read_text(encoding="utf-8")):
            raise SnippetError(block, f"`{command}` is answered with {refused[1]}:\n{printed}")
        return printed

    def _finish(self, block: Block, command: list[str], status: int) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_WAIT_S,
        )
        if done.returncode != status:
            raise SnippetError(block, f"exit status {done.returncode}, not {status}, of {command[-1]}\n{done.stdout}")
        return done.stdout

    def _start(self, block: Block, command: str) -> str:
        """Start a mock on a free port, and wait until it says that it answers; commands that follow go to it."""
        command = re.sub(r"(--port[ =]|MOCKSERVER_PORT=)\d+", r"\g<1>0", self._localize(command))
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._environment(),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._started.append(process)
        assert process.stdout is not None
        watchdog = threading.Timer(_WAIT_S, os.killpg, [process.pid, signal.SIGKILL])
        watchdog.start()
        printed = ""
        for line in process.stdout:
            printed += line
            if any(ready in line for ready in _READY):
                watchdog.cancel()
                self._origin = _ORIGIN.findall(printed)[0]
                if "mockserver proxy" not in command:
                    self._server = self._origin
                return printed
        watchdog.cancel()
        raise SnippetError(block, f"`{command}` does not serve:\n{printed}")

    def _localize(self, text: str) -> str:
        return SERVERS.sub(self._server, _MOCK.sub(self._origin, text))

    def _environment(self) -> dict[str, str]:
        ours = ("MOCKSERVER_", "PYTEST_", "GITHUB_", "COV_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        paths = [str(self._tools), str(Path(sys.executable).parent), kept.get("PATH", "")]
        settings = {"MOCKSERVER_PORT": "0", "MOCKSERVER_PACE": "0", "NO_PROXY": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
        settings["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # others take longer than the tests
        if kept.pop("PYTHONDONTWRITEBYTECODE", ""):  # dozens of programs would compile the same modules
            settings["PYTHONPYCACHEPREFIX"] = str(self.folder.parents[1] / "bytecode")
        cache = os.environ.get("FLOWCONTRACT_CACHE")  # bundles are read once for all pages
        settings |= {"FLOWCONTRACT_CACHE": cache} if cache else {}
        return kept | settings | _KEYS | {"PATH": os.pathsep.join(paths), "COLUMNS": "100"}

    def _provide(self) -> None:
        """Put in front of the programs what replaces them here."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tools.mkdir()
        curl = shutil.which("curl")
        suite = Path(sys.executable).parent / "contract-tests"
        absent = 'echo "$0 $*: the project has none" >&2; exit 9'
        tools = {
            "curl": f"exec {curl} -sS --max-time 60 -w '%{{stderr}}HTTP %{{http_code}}\\n' \"$@\" 2>>{self._log}",
            "contract-tests": f'case "${{1:-}}" in judge|explain|infer|compare|--help) exec {suite} "$@" ;; esac\n'
            f'exec {suite} "$@" -k "getInfo and documented"',
            "nox": 'while [ $# -gt 0 ]; do if [ "$1" = -s ]; then\n'
            f'  grep -q "^def $2(" {ROOT}/noxfile.py || {{ {absent}; }}\nfi; shift; done',
            "pip": f"for extra in $(echo \"$*\" | grep -o '\\[[a-z]*\\]' | tr -d '[]'); do\n"
            f'  grep -q "^$extra = " {ROOT}/pyproject.toml || {{ {absent}; }}\ndone',
            "uvx": '[ "$1" = --from ] && shift 2; exec "$@"',
            "uv": "exit 0",
            "apt-get": "exit 0",
            "redis-server": "exit 0",
            "npm": "exit 0",
        }
        for name, script in tools.items():
            path = self._tools / name
            path.write_text(f"#!/usr/bin/env bash\n{script}\n", encoding="utf-8")
            path.chmod(0o755)


def _fits(wanted: str, printed: str) -> bool:
    """Say whether a text is what was wanted, `...` being any text, over lines where it stands alone."""
    pattern = ""
    for line in wanted.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.rstrip().split("...")) + r"\s*\n"
    return re.fullmatch(pattern, f"{printed}\n" if printed else "") is not None
