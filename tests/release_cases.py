"""The recorded exchanges of five real releases, and what a contract says of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flowcontract.schemas.media_types import find_media
from flowcontract.schemas.violations import Violation
from flowcontract.specs.model import Api, MediaType, Operation, load_api
from flowcontract.streams.judge import StreamJudge
from flowcontract.validation.response import find_response_violations

FOLDER = Path(__file__).parent / "data" / "releases"
DIFY = ("dify-chat", "dify-workflow")
RELEASES = {
    "dify-0.14.0": "0.14",
    "dify-1.4.1": "1.4",
    "dify-1.14.2": "1.14",
    "langflow-1.4.3": "1.4",
    "langflow-1.13.0": "1.13",
}
"""Folder of recordings -> the profile that describes the release."""


@dataclass(frozen=True)
class Recording:
    """One exchange; `cut` says that the body was not recorded to its end, or not as it was sent."""

    release: str
    name: str
    app: str
    method: str
    path: str
    sent: Any
    status: int
    headers: Mapping[str, str]
    body: str
    cut: bool

    @property
    def streamed(self) -> bool:
        """Whether the answer is a stream of events."""
        return "event-stream" in self.headers.get("content-type", "")


def apis_of(release: str) -> tuple[str, ...]:
    """Return the APIs that a release serves."""
    return DIFY if release.startswith("dify") else ("agentbuilder",)


@cache
def profiled(api: str, profile: str | None) -> Api:
    """Return a contract as a profile changes it."""
    return load_api(api, profile=profile)


@cache
def recordings(release: str) -> tuple[Recording, ...]:
    """Return the recordings of a release."""
    lines = (FOLDER / f"{release}.jsonl").read_text(encoding="utf-8").split("\n")
    return tuple(_recording(release, json.loads(line)) for line in lines if line)


def _recording(release: str, said: dict[str, Any]) -> Recording:
    body = said["body"] or ""
    return Recording(
        **{name: said[name] for name in ("name", "app", "method", "path", "sent", "status", "headers")},
        release=release,
        body=body,
        cut=said.get("cut", False),
    )


def operation_of(recording: Recording, profile: str | None) -> tuple[Api, Operation] | None:
    """Return the operation that was asked, of the app whose key was sent where both have it; None for none."""
    names = apis_of(recording.release)
    ordered = names if "chat" in recording.app or recording.app.startswith("mod") else names[::-1]
    found = (_find(profiled(name, profile), recording) for name in ordered)
    return next((each for each in found if each), None)


def _find(api: Api, recording: Recording) -> tuple[Api, Operation] | None:
    path = recording.path.partition("?")[0]
    for operation in sorted(api.operations.values(), key=lambda each: each.path.count("{")):
        pattern = api.base_path + re.sub(r"\{[^}]+\}", "[^/]+", operation.path)
        if operation.method == recording.method and re.fullmatch(pattern, path):
            return api, operation
    return None


def media_of(operation: Operation, recording: Recording) -> MediaType | None:
    """Return what the contract says of the body that came."""
    response = operation.responses.get(recording.status)
    name = find_media(response.media, recording.headers.get("content-type", "")) if response else None
    return response.media[name] if response and name else None


def violations(api: Api, operation: Operation, recording: Recording, body: bytes | None = None) -> list[Violation]:
    """Judge a recording, or the same with another body."""
    raw = recording.body.encode() if body is None else body
    media = media_of(operation, recording)
    found: list[Violation] = []
    if media is not None and media.stream is not None:
        judge = StreamJudge(media.stream)
        found = [*judge.feed(raw), *judge.close()]
    sent: object = None if recording.cut and media is not None else raw
    answer = find_response_violations(api.validators, operation, recording.status, recording.headers, sent)
    return found + [one for one in answer if not (recording.cut and one.rule in ("json", "type"))]


def judged(release: str, profile: str | None) -> Iterator[tuple[Recording, list[Violation]]]:
    """Yield every recording of an operation of ours with what a profile's contract says against it."""
    for recording in recordings(release):
        if asked := operation_of(recording, profile):
            yield recording, violations(*asked, recording)


def refused() -> dict[str, dict[str, list[str]]]:
    """Return, release by release, which of its recordings each profile of the same server refuses."""
    table: dict[str, dict[str, list[str]]] = {}
    for release in RELEASES:
        server = release.partition("-")[0]
        profiles = [profile for other, profile in RELEASES.items() if other.startswith(server)]
        table[release] = {
            each: sorted({one.name for one, wrong in judged(release, each) if wrong}) for each in profiles
        }
    return table


if __name__ == "__main__":
    (FOLDER / "refused.json").write_text(json.dumps(refused(), indent=1) + "\n", encoding="utf-8")
