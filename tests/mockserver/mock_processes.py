"""Mocks in processes of their own, to be killed, and clients who remember all that they were answered."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER = {"user": "abc-123"}
CHAT = {"Authorization": "Bearer app-chat"}
RUN = {"Authorization": "Bearer app-workflow"}
FILES = {"x-api-key": "sk-agentbuilder"}


_LIMITED = """
import resource, sys
largest = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
from mockserver.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


class Server:
    """A mock in a process of its own, to be killed."""

    def __init__(self, state: Path | str, *options: str, largest_file: int = 0, temporary: Path | None = None) -> None:
        """Start it and wait until it answers; its disk is full for a file that would be larger than `largest_file`."""
        command = [sys.executable, "-m", "mockserver", "serve", "--port", "0", "--state", str(state), *options]
        if largest_file:
            command[1:3] = ["-c", _LIMITED, str(largest_file)]
        environment = os.environ | ({"TMPDIR": str(temporary)} if temporary else {})
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if line.startswith("Ctrl-C"):
                break
        urls = [line.split()[-1] for line in said if line.startswith("  base URL")]
        assert urls, "".join(said)
        self.url = urls[0].rpartition(":")[0] + ":" + urls[0].rpartition(":")[2].partition("/")[0]

    def client(self) -> httpx.Client:
        """Return a client of it."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    def kill(self) -> None:
        """End it without a last word."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()


def chat_body(query: str, mode: str = "blocking", conversation: str = "") -> dict[str, Any]:
    return {"query": query, "inputs": {}, "response_mode": mode, "conversation_id": conversation, **USER}


@dataclass
class Answered:
    """Everything that the servers have answered before they were killed."""

    messages: dict[str, tuple[str, str]] = field(default_factory=dict)  # id -> conversation, answer
    runs: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0

    def chat(self, client: httpx.Client, chance: random.Random) -> None:
        """Ask a question, in a new conversation or an old one."""
        with self.lock:
            known = sorted(conversation for conversation, _ in self.messages.values())
        conversation = chance.choice(["", *known])
        said = client.post("/v1/chat-messages", headers=CHAT, json=chat_body("q", conversation=conversation)).json()
        with self.lock:
            assert said["message_id"] not in self.messages, "an id came twice"
            self.messages[said["message_id"]] = (said["conversation_id"], said["answer"])

    def run(self, client: httpx.Client, chance: random.Random) -> None:
        """Run the workflow, as a whole or as a stream."""
        mode = chance.choice(["blocking", "streaming"])
        answer = client.post("/v1/workflows/run", headers=RUN, json={"inputs": {}, "response_mode": mode, **USER})
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        said = answer.json() if mode == "blocking" else events[-1]
        with self.lock:
            assert said["workflow_run_id"] not in self.runs, "an id came twice"
            self.runs[said["workflow_run_id"]] = said["data"]

    def upload(self, client: httpx.Client, chance: random.Random) -> None:
        """Upload a file, small or beyond one part."""
        data = chance.randbytes(chance.choice([0, 10, 100_000, (1 << 20) + 5]))
        file = client.post("/api/v2/files", headers=FILES, files={"file": ("a.bin", data)}).json()
        with self.lock:
            assert file["id"] not in self.files, "an id came twice"
            self.files[file["id"]] = data

    def delete(self, client: httpx.Client, chance: random.Random) -> None:
        """Delete a file; whether it is gone is not known until that is answered."""
        with self.lock:
            known = sorted(set(self.files) - self.deleted)
            if not known:
                return
            chosen = chance.choice(known)
            data = self.files.pop(chosen)
        del data
        assert client.delete(f"/api/v2/files/{chosen}", headers=FILES).status_code == 200
        with self.lock:
            self.deleted.add(chosen)

    def check(self, client: httpx.Client) -> None:
        """Ask for all of it."""
        by_conversation: dict[str, dict[str, str]] = {}
        for message, (conversation, answer) in self.messages.items():
            by_conversation.setdefault(conversation, {})[message] = answer
        for conversation, messages in by_conversation.items():
            shown = self._messages(client, conversation)
            assert {one: shown.get(one) for one in messages} == messages
        for run, data in self.runs.items():
            detail = client.get(f"/v1/workflows/run/{run}", headers=RUN).json()
            assert (detail["status"], json.loads(detail["outputs"])) == (data["status"], data["outputs"])
        listed = {file["id"] for file in client.get("/api/v2/files", headers=FILES).json()}
        assert set(self.files) <= listed
        assert not self.deleted & listed
        for file, content in self.files.items():
            assert client.get(f"/api/v2/files/{file}", headers=FILES).content == content
        for file in listed:
            assert client.get(f"/api/v2/files/{file}", headers=FILES).status_code == 200

    @staticmethod
    def _messages(client: httpx.Client, conversation: str) -> dict[str, str]:
        shown: dict[str, str] = {}
        first = ""
        while True:
            query = {"conversation_id": conversation, "limit": "100", "first_id": first, **USER}
            page = client.get("/v1/messages", headers=CHAT, params=query).json()
            shown |= {one["id"]: one["answer"] for one in page["data"]}
            if not page["has_more"]:
                return shown
            first = page["data"][0]["id"]


def work(answered: Answered, server: Server, seed: int, enough: threading.Event, limit: int) -> None:
    """Ask until the server is gone; say when `limit` answers have come."""
    chance = random.Random(seed)
    with server.client() as client:
        while True:
            act = chance.choice([answered.chat, answered.chat, answered.run, answered.upload, answered.delete])
            try:
                act(client, chance)
            except (httpx.TransportError, json.JSONDecodeError, IndexError):  # killed, before or in the answer
                return
            with answered.lock:
                answered.count += 1
                if answered.count >= limit:
                    enough.set()


def first_events(lines: Iterator[str], number: int) -> list[Any]:
    """Read some events of a stream."""
    events: list[Any] = []
    for line in lines:
        if line.startswith("data: "):
            events.append(json.loads(line[6:]))
            if len(events) == number:
                break
    return events
