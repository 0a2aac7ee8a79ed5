"""Names that are stored now and come back later: in lists, in headers of downloads, in other users' sight."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from attack_requests import BOUNDARY, Part, multipart
from attack_wire import Attack, Outcome, send
from attack_words import TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from attack_verdict import Judge, Report

_DATA = b"these bytes come back \x00\xff\r\n--"


def attack(address: tuple[str, int], judge: Judge, report: Report, flow: str) -> None:
    """Upload under every odd name, read the lists, download, rename, delete."""
    for name, text in TEXTS.items():
        for asked, want in _Session(address, flow).steps(name, text):
            report.add(asked.attack, asked.outcome, [*judge.faults(asked.attack, asked.outcome), *want])


class _Asked:
    def __init__(self, attack: Attack, outcome: Outcome) -> None:
        self.attack, self.outcome = attack, outcome

    @property
    def json(self) -> Any:
        return json.loads(self.outcome.body) if self.outcome.status < 300 else {}


class _Session:
    def __init__(self, address: tuple[str, int], flow: str) -> None:
        self._address, self._flow = address, flow

    def steps(self, name: str, text: str) -> Iterator[tuple[_Asked, list[str]]]:
        """Yield each exchange with what is wrong about it beyond what is wrong about any answer."""
        stored = self._ask("POST", "/api/v2/files", name, text)
        yield stored, []
        if isinstance(stored.json, dict) and "id" in stored.json:
            path = f"/api/v2/files/{stored.json['id']}"
            yield self._ask("GET", "/api/v2/files", name), []
            yield self._download(path, name)
            yield self._ask("PUT", f"{path}?name={quote(text.encode('utf-8', 'replace')[:4000])}", name), []
            yield self._download(path, name)
            yield self._ask("DELETE", path, name), []
            gone = self._ask("GET", path, name)
            yield gone, [] if gone.outcome.status == 404 else ["what was deleted is still there"]
        stored = self._ask("POST", f"/api/v1/files/upload/{self._flow}", name, text)
        yield stored, []
        if isinstance(stored.json, dict) and "file_path" in stored.json:
            flow, _, file = stored.json["file_path"].partition("/")
            yield self._ask("GET", f"/api/v1/files/list/{flow}", name), []
            if "/" not in file and len(file) < 5000 and unquote(quote(file)) == file:
                yield self._download(f"/api/v1/files/download/{flow}/{quote(file, safe='')}", name)

    def _download(self, path: str, name: str) -> tuple[_Asked, list[str]]:
        got = self._ask("GET", path, name)
        wrong = []
        if got.outcome.body != _DATA:
            wrong.append(f"{got.outcome.status}, and other bytes than were uploaded")
        disposition = got.outcome.header("Content-Disposition")
        if not disposition.startswith('attachment; filename="') or disposition.count('"') != 2:
            wrong.append("a Content-Disposition that is not well-formed")
        return got, wrong

    def _ask(self, method: str, path: str, name: str, filename: str | None = None) -> _Asked:
        body = b"" if filename is None else multipart([Part.of("file", _DATA, filename)])
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx-api-key: sk-agentbuilder-stored\r\n"
        if body:
            head += (
                f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\nContent-Length: {len(body)}\r\n"
            )
        attack = Attack("stored names", f"{name}: {method} {path[:40]}", f"{head}\r\n".encode() + body)
        return _Asked(attack, send(self._address, attack))
