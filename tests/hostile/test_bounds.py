"""What a hostile server costs the suite: so much memory, so much time, and a verdict all the same."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import hostile_server  # noqa: E402 - lies beside this file
from hostile_server import Hostile  # noqa: E402 - the same

MEMORY = 3 << 30  # bytes of address space, of which Python and its libraries take the most
PROBES = {"/v1": b"{}", "/v1/info": b"{}", "/v1/parameters": b"{}", "/v1/meta": b"{}"}


def limited() -> None:
    """Give a child little memory."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def child(*arguments: object, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run Python with little memory, and no longer than that."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, preexec_fn=limited)


TROUBLES = {
    "endless_body": "more than 16777216 bytes",
    "dripping_body": "no end of the answer within 3 s",
    "endless_events": "more than 67108864 bytes",
    "endless_event": "more than 67108864 bytes",
    "gzip_bomb": "compressed more than 100 times",
    "informational": "RemoteProtocolError: more than 16 informational answers (1xx)",
    "dripping_head": "ReadTimeout: nothing came for 1 s",
    "endless_head": "RemoteProtocolError: Receive buffer too long",
    "redirects": "",
    "silent": "ReadTimeout: nothing came for 1 s",
}


@pytest.mark.parametrize("name", hostile_server.ALL)
def test_no_answer_costs_more_than_its_bounds(name):
    """Endless, dripping, exploding, never beginning: the client leaves it, and says why."""
    limit_s = 3 if "dripping" in name else 60
    with Hostile(hostile_server.ALL[name]) as server:
        done = child(HERE / "ask.py", server.url, limit_s, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert TROUBLES[name] in said["trouble"]
    assert bool(TROUBLES[name]) == bool(said["trouble"])
    assert said["more_mb"] < 400


@pytest.mark.parametrize("name", ["endless_body", "gzip_bomb", "dripping_body", "dripping_head", "informational"])
def test_fuzzing_reads_within_the_same_bounds(name, tmp_path):
    """Schemathesis's requests go through the suite's client: no memory without limit, and a report at the end."""
    impatient = tmp_path / "impatient.toml"
    impatient.write_text("timeouts = { answer_s = 0.7, stream_s = 1.5 }\n[api.dify-chat]\nkey = 'app-secret'\n")
    options = [
        "--api",
        "dify-chat",
        "--target",
        impatient,
        "--max-minutes",
        "0.25",
        "--report",
        tmp_path,
        "--demand-fuzz",
    ]
    with Hostile(hostile_server.ALL[name], but=PROBES) as server:
        began = time.monotonic()
        done = child("-m", "contract_tests", "--base-url", server.url, *options, "-k", "fuzz", timeout=150)
        took_s = time.monotonic() - began
        assert len(server.asked) > 4
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "MemoryError" not in done.stdout + done.stderr
    assert took_s < 15 + 60, "the bound, and what starting and reporting take on a busy machine"
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["crashes"] == []
    assert report["status"] in ("failed", "incomplete")
    told = [*report["failures"], *report["notes"]]
    assert any(failure["rule"] == "answer" for failure in told), "that nothing comes to an end is told"


def test_run_that_meets_its_bound_is_incomplete(tmp_path):
    """What was not asked within `--max-minutes` is listed; such a run is never green."""
    options = ["--api", "dify-chat", "--key", "dify-chat=app-secret", "--max-minutes", "0.25", "--report", tmp_path]
    with Hostile(hostile_server.dripping_body, but=PROBES) as server:
        done = child("-m", "contract_tests", "--base-url", server.url, *options, "-k", "documented", timeout=120)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "were not run within 0.25 minutes" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (report["status"], report["exit_code"]) == ("incomplete", 2)
    assert len(report["missing"]) > 5
    assert 'class="badge incomplete"' in (tmp_path / "report.html").read_text(encoding="utf-8")
