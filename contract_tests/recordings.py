"""Recorded exchanges, of browsers (HAR 1.2) and of our own recorder, judged as if they came just now."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from contract_tests.exchange import Answer, Sent
from contract_tests.judgement import ANYTHING, Judge
from flowcontract.errors import FlowContractError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from flowcontract.specs import Api, Operation
    from flowcontract.violations import Violation


class Recorded(NamedTuple):
    """One recorded exchange; `app` is a word that may tell which API it was, `name` what people call it."""

    method: str
    url: str
    answer: Answer
    app: str = ""
    name: str = ""


class Judged(NamedTuple):
    """A recorded exchange, its operation (None: no document names one), and what is wrong with its answer."""

    recorded: Recorded
    operation: Operation | None
    violations: tuple[Violation, ...]


def judge(path: Path, apis: Iterable[Api]) -> Iterator[Judged]:
    """Judge every exchange of a file; raise FlowContractError where it is no recording."""
    known = list(apis)
    for recorded in read(path):
        candidates = [_judged(recorded, api, operation) for api, operation in _operations(recorded, known)]
        yield min(candidates, key=lambda one: len(one.violations), default=Judged(recorded, None, ()))


def read(path: Path) -> list[Recorded]:
    """Read a HAR file, or one exchange as JSON with `request` and `response`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        if "log" in found:
            return [_from_har(entry) for entry in found["log"]["entries"]]
        return [_from_ours(found, path)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise FlowContractError(
            f"{path} is no recording: {told}. A HAR file, or JSON with `request` and `response`."
        ) from None


def _from_har(entry: Mapping[str, Any]) -> Recorded:
    request, response = entry["request"], entry["response"]
    content = response.get("content", {})
    text = content.get("text", "")
    body = base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
    headers = {one["name"].lower(): one["value"] for one in response["headers"]}
    answer = Answer(response["status"], headers, body)
    return Recorded(request["method"].upper(), request["url"], answer, entry.get("_app", ""), entry.get("comment", ""))


def _from_ours(found: Mapping[str, Any], path: Path) -> Recorded:
    request, response = found["request"], found["response"]
    headers = {name.lower(): value for name, value in response["headers"]}
    answer = Answer(response["status"], headers, _body(response, path))
    return Recorded(request["method"].upper(), request["path"], answer, request.get("app") or "", path.stem)


def _body(response: Mapping[str, Any], path: Path) -> bytes:
    """Return a recorded body: in a file of its own, as raw text, as Base64, or as JSON."""
    if response.get("sse_file"):
        return (path.parent / str(response["sse_file"])).read_bytes()
    if response.get("body_base64") is not None:
        return bytes(base64.b64decode(response["body_base64"]))
    raw = response.get("body_bytes_raw")
    if raw is not None and len(raw.encode()) == response.get("body_len"):  # a long one was cut
        return str(raw).encode()
    for name in ("body_text", "body"):
        body = response.get(name)
        if isinstance(body, str):
            return body.encode()
        if body is not None:
            return json.dumps(body).encode()
    return b""


def _operations(recorded: Recorded, apis: list[Api]) -> list[tuple[Api, Operation]]:
    """Return every operation that a recorded request may have been for, of the app that it names where there is one."""
    path = urlsplit(recorded.url).path
    found = [
        (api, operation)
        for api in apis
        for operation in api.operations.values()
        if operation.method == recorded.method and _pattern(api, operation).fullmatch(path)
    ]
    return [pair for pair in found if recorded.app and recorded.app in pair[0].name] or found


def _pattern(api: Api, operation: Operation) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", api.base_path + operation.path))


def _judged(recorded: Recorded, api: Api, operation: Operation) -> Judged:
    judge = Judge(api, operation, ANYTHING)
    if judge.watch(recorded.answer):
        for _ in judge.feed(0.0, recorded.answer.body):
            pass
        judge.end(0.0, broken=False)
    verdict = judge.verdict(Sent(recorded.method, recorded.url, ()), recorded.answer)
    return Judged(recorded, operation, verdict.violations)
