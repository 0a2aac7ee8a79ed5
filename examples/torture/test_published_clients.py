"""Published clients, unmodified, through everything that can go wrong with a stream: `nox -s torture`.

Each is installed alone, into the folder of its name below TORTURE_CLIENTS, and runs in a process of its own. The
verdicts are those of `verdicts.yaml`; TORTURE_RECORD=1 writes that file anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from mockserver.server.mock_server import MockServer

HERE = Path(__file__).parent
VERDICTS = HERE / "verdicts.yaml"
CLIENTS = sorted(path.stem for path in (HERE / "requirements").glob("*.txt"))
INSTALLED = Path(os.environ.get("TORTURE_CLIENTS", HERE / "installed"))
PATIENCE_S = 8  # more than the 5 seconds after which httpx gives up by itself
READER = {
    "dify-client": "requests",
    "dify-client-python": "httpx-sse",
    "dify-oapi2": "httpx",
    "httpx-sse": "httpx",
    "pydify": "sseclient-py",
}
"""What reads the stream of each."""


class Client:
    """One client in a process that is started again when it had to be ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[str] | None = None

    def understood(self, base_url: str, key: str) -> dict[str, Any]:
        """Ask once; after PATIENCE_S seconds it hangs."""
        process = self._process = self._process or self._start()
        answers: queue.Queue[str] = queue.Queue()
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps([base_url, key]), file=process.stdin, flush=True)
        threading.Thread(target=lambda: answers.put(process.stdout.readline()), daemon=True).start()  # type: ignore[union-attr]
        try:
            answer = answers.get(timeout=PATIENCE_S)
        except queue.Empty:
            answer = '{"hung": true}'
            self.end()
        understood: dict[str, Any] = json.loads(answer or '{"raised": "its process ended"}')
        return understood

    def end(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError):
                process.communicate()

    def _start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(INSTALLED / self.name), "NO_PROXY": "*"}
        command = [sys.executable, str(HERE / "run_client.py"), self.name.replace("-", "_")]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process


def version(name: str) -> str:
    """Return a client's version, and that of what reads its streams."""
    found = {one.name: one.version for one in metadata.distributions(path=[str(INSTALLED / name)])}
    return f"{found[name]} ({READER[name]} {found[READER[name]]})"


@pytest.mark.parametrize("name", CLIENTS)
def test_published_client_copes_as_recorded(name: str, mock_server: MockServer) -> None:
    """Every fault gets the verdict that is on record: a change is a new version of the client, or of the mock."""
    if not (INSTALLED / name).is_dir():
        pytest.skip(f"{name} is not installed; `nox -s torture` installs it")
    session, client = mock_server.torture("dify-chat/sendChatMessage"), Client(name)
    for case in session:
        case.verdict(**client.understood(mock_server.url("dify-chat"), case.key))
    client.end()
    print(f"\n{name} {version(name)}\n{session.table()}")
    outcomes: dict[str, list[str]] = {}
    for fault, _, outcome, _ in session.rows():
        outcomes.setdefault(outcome, []).append(fault)
    outcomes = {outcome: outcomes[outcome] for outcome in sorted(outcomes)}
    recorded = yaml.safe_load(VERDICTS.read_text(encoding="utf-8"))
    if os.environ.get("TORTURE_RECORD"):
        recorded[name] = {"version": version(name), **outcomes}
        VERDICTS.write_text(yaml.safe_dump(recorded, sort_keys=False, width=120), encoding="utf-8")
    assert {"version": version(name), **outcomes} == recorded[name]
