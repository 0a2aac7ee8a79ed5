"""A disk on which there is no room, and wishes that cannot be granted: what is refused must not have happened."""

from __future__ import annotations

import contextlib
import json
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from attack_server import Victim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from attack_verdict import Report

_LARGEST = 6 << 20
_SIZES = (0, 100, 70_000, 1 << 20, 4 << 20, _LARGEST + 1)
_BOUND_S = 60.0
_FILES, _CHAT = {"x-api-key": "sk-agentbuilder"}, {"Authorization": "Bearer app-chat"}
_USER = {"user": "room"}  # of whom no world knows anything in the beginning
_KIND = "no room"


@dataclass
class _Known:
    """What the mock has to know, by what it has answered."""

    client: httpx.Client
    chance: random.Random
    files: list[str] = field(default_factory=list)
    conversations: int = 0

    def act(self) -> httpx.Response:
        """Ask for one thing, which may come with a wish that cannot be granted."""
        wish = self.chance.choice([{}, {}, {"Prefer": "fault=bom"}, {"Prefer": "example=no-such-one"}])
        return self.chance.choice([self._upload, self._upload, self._delete, self._chat, self._stream])(wish)

    def _upload(self, wish: dict[str, str]) -> httpx.Response:
        data = bytes(self.chance.choice(_SIZES))
        answer = self.client.post("/api/v2/files", headers=_FILES | wish, files={"file": ("a.bin", data)})
        self.files += [answer.json()["id"]] if answer.is_success else []
        return answer

    def _delete(self, wish: dict[str, str]) -> httpx.Response:
        if not self.files:
            return self._upload(wish)
        file = self.chance.choice(self.files)
        answer = self.client.delete(f"/api/v2/files/{file}", headers=_FILES | wish)
        self.files = [known for known in self.files if known != file or not answer.is_success]
        return answer

    def _chat(self, wish: dict[str, str]) -> httpx.Response:
        return self._ask("blocking", wish)

    def _stream(self, wish: dict[str, str]) -> httpx.Response:
        return self._ask("streaming", wish)

    def _ask(self, mode: str, wish: dict[str, str]) -> httpx.Response:
        query = "q" * self.chance.choice([1, 1, 1, 100_000])
        body = {"query": query, "inputs": {}, "response_mode": mode, **_USER}
        answer = self.client.post("/v1/chat-messages", headers=_CHAT | wish, json=body)
        self.conversations += answer.is_success
        return answer

    def differences(self) -> Iterator[str]:
        """Yield what the mock says otherwise than it has answered."""
        listed = self.client.get("/api/v2/files", headers=_FILES)
        if listed.status_code != httpx.codes.OK or [file["id"] for file in listed.json()] != self.files:
            yield f"{listed.status_code}, other files than were answered: {listed.text[:300]}"
        params = {**_USER, "limit": "100"}
        shown = self.client.get("/v1/conversations", headers=_CHAT, params=params)
        if shown.status_code != httpx.codes.OK or len(shown.json()["data"]) != min(100, self.conversations):
            yield f"{shown.status_code}, not the {self.conversations} conversations that were answered"


def attack(report: Report, *, count: int = 400, seed: int = 0) -> None:
    """Ask for `count` things of a mock that keeps them where files have little room, looking after each."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        options = ("--state", str(Path(folder) / "mock.db"))
        with Victim(options=options, largest_file=_LARGEST) as victim:
            address = f"http://{victim.address[0]}:{victim.address[1]}"
            with httpx.Client(base_url=address, trust_env=False, timeout=_BOUND_S) as client:
                known = _Known(client, random.Random(seed))
                known.files = [file["id"] for file in client.get("/api/v2/files", headers=_FILES).json()]
                for _ in range(count):
                    report.failures += [f"{_KIND}: {what}" for what in _look(known, report)]
            report.failures += [
                f"{_KIND}: on standard error: {line}"
                for line in victim.complaints().splitlines()
                if not line.startswith("mockserver: ")
            ]
    report.kinds[_KIND] = count
    report.slowest[_KIND] = (0.0, "not measured")


def _look(known: _Known, report: Report) -> Iterator[str]:
    """Ask for one thing, and yield what is wrong with how it was answered."""
    try:
        answer = known.act()
        report.statuses[_KIND][str(answer.status_code)] += 1
        if answer.is_error and not _is_refusal(answer):
            yield f"{answer.status_code} {answer.text[:300]}"
        yield from known.differences()
    except httpx.HTTPError as error:
        yield f"no answer: {error!r}"


def _is_refusal(answer: httpx.Response) -> bool:
    """Tell whether it is the mock itself that refuses, because of the room or of the wish."""
    content: Any = None
    with contextlib.suppress(json.JSONDecodeError):
        content = answer.json()
    ours = answer.headers["Content-Type"] == "application/problem+json" and isinstance(content, dict)
    return ours and answer.status_code in (httpx.codes.NOT_IMPLEMENTED, httpx.codes.INSUFFICIENT_STORAGE)
