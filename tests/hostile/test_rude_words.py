"""Servers whose words are meant for whoever reads the reports: terminals, browsers, parsers, GitHub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hostile_server import Hostile, json_answer

PROBES = {"/v1/parameters": b"{}", "/v1/meta": b"{}", "/v1/info": b"{}"}
RUDE = (
    "\0\x07\x1b[2J\x7f\x85\u2028\u202e]]></failure><!-- </script><script>alert(1)</script>"
    "\n::error::gone\r\n##[error]gone {{ 7*7 }}"
)
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028\ud800-\udfff]")


async def rude(asked, writer):
    """Refuse with rude words, or send a stream of events of rude kinds."""
    words = json.dumps({"event": RUDE, "code": RUDE, "message": RUDE + "\ud800", "status": 500, RUDE: 1})
    if asked.method != "POST":
        writer.write(json_answer(words.encode() + RUDE.encode() + b"\xff\xfe", "500 x"))
        return
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    writer.write(f"data: {words}\n\nevent: {RUDE[:20]}\n\n".encode())
    await writer.drain()


class Page(HTMLParser):
    """Counts the scripts of a page."""

    scripts = 0

    def handle_starttag(self, tag, attrs):
        """Count a script."""
        self.scripts += tag == "script"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Run the suite as GitHub does; return what it printed, and the folder of its reports."""
    folder = tmp_path_factory.mktemp("reports")
    options = ["--api", "dify-chat", "--key", "dify-chat=app-secret-0123", "--report", folder, "-p", "no:randomly"]
    told = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    with Hostile(rude, but=PROBES) as server:
        command = [sys.executable, "-m", "contract_tests", "--base-url", server.url, *options]
        run = subprocess.run(
            [*map(str, command), "-k", "sendChatMessage and documented or listMessages and keys"],
            capture_output=True,
            timeout=200,
            cwd=folder,
            env={**os.environ, **told},
        )
    assert run.returncode == 1, run.stdout + run.stderr
    return run.stdout.decode(), folder


def test_every_report_can_be_read_back(done):
    """JSON, XML, HTML, SARIF and HAR are whole, and there is no file but them."""
    _, folder = done
    names = {"report.json", "report.html", "report.sarif", "exchanges.har", "junit.xml", "summary.md"}
    assert {path.name for path in folder.iterdir()} == names
    report = json.loads((folder / "report.json").read_bytes())
    results = json.loads((folder / "report.sarif").read_bytes())["runs"][0]["results"]
    assert len(results) == len(report["causes"]) > 0
    entries = json.loads((folder / "exchanges.har").read_bytes())["log"]["entries"]
    assert len(entries) >= report["exchanges"] > 0
    assert any(entry["response"]["_pieces"] for entry in entries)
    cases = ET.parse(folder / "junit.xml").getroot().iter("testcase")
    assert {case.get("name") for case in cases if case.find("failure") is not None}
    page = Page()
    page.feed((folder / "report.html").read_text(encoding="utf-8"))
    assert page.scripts == 1


def test_terminal_obeys_nothing_and_github_only_us(done):
    """Control characters are spelt out; what is printed of a server stands between two tokens."""
    said, folder = done
    assert not _OBEYED.search(said)
    commands = [line for line in said.splitlines() if line.startswith("::")]
    assert commands[0].startswith("::stop-commands::")
    assert commands[1] == f"::{commands[0].removeprefix('::stop-commands::')}::"
    assert all(re.match(r"::error file=specs/\S+\.yaml,line=\d+,title=", line) for line in commands[2:])
    assert len(commands) > 2
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("## Contract tests: failed")
    assert "<script>" not in summary
    assert len(said.splitlines()) < 60 + 15 + len(commands)
