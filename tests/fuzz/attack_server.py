"""The mock under attack: a process of its own, whose memory, open files, left-over files and complaints are watched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE_KB = 1024
_LIMITED = """
import resource, sys
largest = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
from mockserver.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Health:
    """How a process is: resident memory in KB, open files, temporary files; None where the system does not tell."""

    rss_kb: int | None
    handles: int | None
    left_over: int | None


class Victim:
    """`mockserver serve` on a free port, or a server that runs already and of which nothing else can be seen."""

    def __init__(self, base_url: str | None = None, options: Sequence[str] = (), *, largest_file: int = 0) -> None:
        """Attack the server at `base_url`, or start one with `options`, whose files may not become larger than that."""
        self._options = options
        self._program = ["-m", "mockserver"] if not largest_file else ["-c", _LIMITED, str(largest_file)]
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self.address = _address(base_url) if base_url else ("127.0.0.1", 0)
        self._start = base_url is None

    @property
    def _temporary(self) -> Path:
        return Path(self._folder.name) / "tmp"

    @property
    def _errors(self) -> Path:
        return Path(self._folder.name) / "stderr"

    def __enter__(self) -> Self:
        """Start, and wait until it says where it listens."""
        if not self._start:
            return self
        self._temporary.mkdir()
        command = [sys.executable, *self._program, "serve", "--port", "0", "--pace", "0", *self._options]
        environment = os.environ | {"TMPDIR": str(self._temporary), "PYTHONUNBUFFERED": "1"}
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        assert self._process.stdout is not None
        said = ""
        while line := self._process.stdout.readline():
            said += line
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.address = ("127.0.0.1", int(found[1]))
            if "Ctrl-C" in line:
                return self
        raise RuntimeError(f"the mock did not start: {said}{self.complaints()}")

    def __exit__(self, *_: object) -> None:
        """End it, and remove what it left."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
        self._folder.cleanup()

    @property
    def alive(self) -> bool:
        """Whether it still runs, as far as that can be known."""
        return self._process is None or self._process.poll() is None

    @property
    def end(self) -> str:
        """How it ended: its exit status, or the signal that killed it."""
        return "" if self._process is None else f"exit status {self._process.poll()}"

    def complaints(self) -> str:
        """Return what it has written to its standard error."""
        return self._errors.read_text("utf-8", "replace") if self._errors.exists() else ""

    def health(self) -> Health:
        """Measure it, by /proc."""
        if self._process is None or not Path(f"/proc/{self._process.pid}/status").exists():
            return Health(None, None, None)
        proc = Path(f"/proc/{self._process.pid}")
        rss = re.search(r"VmRSS:\s+(\d+) kB", (proc / "status").read_text())
        return Health(
            int(rss[1]) if rss else None,
            len(list((proc / "fd").iterdir())),
            len([file for file in self._temporary.rglob("*") if file.is_file() and file.name != "lock"]),
        )


def _address(base_url: str) -> tuple[str, int]:
    url = urlsplit(base_url)
    return url.hostname or "127.0.0.1", url.port or 80
