"""What two real releases of AgentBuilder were asked, the same asked of the mock, and where the answers differ.

tests/data/asked/agentbuilder.jsonl has the requests in their order, each with what both releases answered;
tests/data/asked/exceptions.yaml the differences that are meant, each with the ruling that says why.
`python tests/asked_cases.py` writes docs/reference/agentbuilder-differences.md anew.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from werkzeug.datastructures import Headers

from flowcontract import yamlio
from flowcontract.schemas.decoding import decode
from flowcontract.specs.model import load_api
from mockserver.blobs.blob import Blob
from mockserver.config.settings import Settings
from mockserver.core.app import App
from mockserver.http.messages import Request
from mockserver.server.mock_server import load_app

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "data" / "asked"
DIFFERENCES = ROOT / "docs" / "reference" / "agentbuilder-differences.md"
API = "agentbuilder"
RELEASES = {"1.4": "Langflow 1.4.3", "1.13": "Langflow 1.13.0"}
NEWEST = "1.13"
MOCKS = {"default": NEWEST, "1.4": "1.4", "1.13": "1.13"}
"""What the mock is started as -> the release that it is compared with; by default the newer one."""

_VALUES = {
    "key": "sk-agentbuilder",
    "other_key": "sk-agentbuilder-other",
    "token": "token-agentbuilder",
    "flow": "59c462ea-bad0-4ba1-8d1a-1214a8cec632",
    "file_flow": "1fc8c86b-d893-4b8f-b3d2-b8ffb6d17bae",
    "empty_flow": "4438fd85-e587-4a4e-941d-bbaecd3b707c",
    "other_flow": "775fc0d0-def5-4491-a34e-59b507b8e0c9",
}
_APP = {
    API: {
        "flows": [
            {"id": _VALUES["flow"], "endpoint_name": "echo"},
            {"id": _VALUES["file_flow"], "reads": ["File-1olS3"]},
            _VALUES["empty_flow"],
            {"id": _VALUES["other_flow"], "account": "another"},
        ],
        "answers": "echo",
    }
}
_PLACE = re.compile(r"<<(\w+)(?:\.(\w+))?(?:\*(\d+))?(?:\|(\w+))?>>")
_NOW = 1_795_888_783.0


@dataclass(frozen=True)
class Said:
    """An answer: its status, media type and text."""

    status: int
    type: str
    body: str

    @property
    def json(self) -> Any:
        """The body, None where it is no JSON, or none that was recorded to its end."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class Question:
    """One request of the list, with what each release answered."""

    name: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: str | None
    answers: Mapping[str, Said]


@cache
def questions() -> tuple[Question, ...]:
    """Return what was asked, in the order in which it has to be."""
    lines = (FOLDER / "agentbuilder.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(_question(json.loads(line)) for line in lines)


def _question(told: dict[str, Any]) -> Question:
    answers = {release: Said(**answer) for release, answer in told.pop("answers").items()}
    return Question(**{"body": None, **told}, answers=answers)


@cache
def answered(started_as: str) -> Mapping[str, Said]:
    """Ask the mock everything, as the name in MOCKS says; return its answers by the names of the questions."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "app.yaml"
        file.write_text(json.dumps(_APP), encoding="utf-8")
        profiles = {} if started_as == "default" else {API: started_as}
        return dict(_ask_all(load_app((API,), profiles=profiles, settings=Settings(app=file, pace=0))))


def _ask_all(app: App) -> Iterator[tuple[str, Said]]:
    told: dict[str, Said] = {}
    for number, question in enumerate(questions()):
        reply = app.handle(_request(question, told), _NOW + number)
        raw = b"" if question.method == "HEAD" else b"".join(_pieces(reply.body))  # adapters send no body to HEAD
        told[question.name] = Said(reply.status, reply.headers.get("Content-Type", ""), raw.decode("utf-8", "replace"))
        yield question.name, told[question.name]


def _request(question: Question, told: Mapping[str, Said]) -> Request:
    path, _, query = _filled(question.path, told).partition("?")
    headers = Headers([(name, _filled(value, told)) for name, value in question.headers.items()])
    body = _filled(question.body or "", told, "latin-1").encode("latin-1")
    return Request(question.method, unquote(path), query, headers, Blob(body), peer="127.0.0.1")


def _pieces(body: Any) -> Iterator[bytes]:
    if isinstance(body, bytes | Blob):
        yield body if isinstance(body, bytes) else body.read()
        return
    now: float | None = 0.0
    while now is not None:
        due, now = body.advance(now)
        yield from due


def _filled(text: str, told: Mapping[str, Said], encoding: str = "utf-8") -> str:
    """Put in what is this server's own: keys, flows, and what it answered to an earlier request."""

    def value(place: re.Match[str]) -> str:
        name, part, times, form = place.groups()
        if times:
            return name * int(times)
        found = _VALUES[name] if part is None else _part(told[name].json, part)
        shaped = {"upper": found.upper(), "bare": found.replace("-", ""), "quoted": quote(found), None: found}[form]
        return shaped.encode().decode(encoding)

    return _PLACE.sub(value, text)


def _part(said: Any, part: str) -> str:
    """Return the id, the path, or the name within its flow that an upload was answered with; `x` where it failed."""
    said = said if isinstance(said, dict) else {}
    value = said.get("file_path", "").partition("/")[2] if part == "name" else said.get(part)
    return value or "x"


@dataclass(frozen=True)
class Exceptions:
    """The differences that are meant: mock and name of a request -> the ruling that says why."""

    statuses: Mapping[tuple[str, str], str]
    shapes: Mapping[tuple[str, str], str]


@cache
def exceptions() -> Exceptions:
    """Read the differences that are meant."""
    told = yamlio.load(FOLDER / "exceptions.yaml")
    return Exceptions(
        **{
            kind: {(entry["mock"], name): entry["ruling"] for entry in told[kind] for name in entry["requests"]}
            for kind in ("statuses", "shapes")
        }
    )


def other_statuses() -> set[tuple[str, str]]:
    """Return mock and request wherever the mock gives another status than the release that it stands for."""
    return {
        (mock, question.name)
        for mock, release in MOCKS.items()
        for question in questions()
        if answered(mock)[question.name].status != question.answers[release].status
    }


def other_shapes() -> set[tuple[str, str]]:
    """Return mock and request wherever an answer of the same status has another outline.

    By default the outline may be that of either release: the older one's words are the documents' time.
    """
    found = set()
    for mock, release in MOCKS.items():
        for question in questions():
            answer = answered(mock)[question.name]
            said = question.answers.values() if mock == "default" else [question.answers[release]]
            same = [each for each in said if each.status == answer.status]
            if same and outline(answer) not in [outline(each) for each in same]:
                found.add((mock, question.name))
    return found


def outline(said: Said) -> Any:
    """Return what is compared of an answer: its media type, the fields of an object, what a refusal says of what.

    Of a file the form of its path, of a run what went in, whether something came out and how times are written, of a
    stream the kind of its last event, None where it ends without one.
    """
    kind = said.type.partition(";")[0]
    times = {re.sub(r"\d", "0", time) for time in re.findall(r'"timestamp": ?"([^"]+)"', said.body)}
    if kind == "text/event-stream":
        kinds = re.findall(r'"event": ?"(\w+)"', said.body)
        return kind, kinds[-1] if kinds else None, sorted(times)
    if kind not in ("", "application/json"):
        return kind
    whole = said.json
    if not isinstance(whole, dict):
        return kind, type(whole).__name__
    entries = whole.get("detail")
    if not isinstance(entries, list):
        runs = [(sorted(run["inputs"]), bool(run["outputs"])) for run in whole.get("outputs", ())]
        named = re.sub(_ID, "ID", str(whole.get("path", "")))
        return kind, sorted(whole), type(entries).__name__, sorted(times), runs, named
    known = ("type", "loc", "msg")
    return kind, [({name: entry[name] for name in known}, sorted(set(entry) - set(known))) for entry in entries]


_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def decoded(pointer: str, text: str) -> Any:
    """Return what a parameter's text means by its schema; fail where it means nothing."""
    value, wrong = decode(load_api(API).validators, pointer, [text])
    assert wrong is None
    return value


def report() -> str:
    """Return the page about the differences, in Markdown."""
    rulings = load_api(API).rulings
    lines = [_HEAD.format(count=len(questions()))]
    for mock, release in MOCKS.items():
        option = "" if mock == "default" else f" --profile {API}={mock}"
        lines += [f"## `mockserver serve{option}`", "", *_table(mock, release), ""]
    lines += ["## Why", ""]
    for name in sorted({*exceptions().statuses.values(), *exceptions().shapes.values()}):
        decision = rulings[name].decision
        said = f"Ruling {rulings[name].number}: {decision}. {rulings[name].why}"
        lines += [f"### {name}", "", said, ""]
    return "\n".join(lines).rstrip("\n") + "\n"


_HEAD = """# AgentBuilder: the mock and two real releases

<!-- Written by `python tests/asked_cases.py`; tests/mockserver/test_asked.py tells when it is to be written again. -->

Both releases were asked the same {count} requests, and the mock is asked them too. Below is every request to which it
gives another status; all others are answered alike. By default it answers as the newer release, except where a ruling
says why not.
"""


def _table(mock: str, release: str) -> Iterator[str]:
    """Yield a row for every request to which the mock gives another status than a release that it is compared with."""
    compared = RELEASES if mock == "default" else {release: RELEASES[release]}
    yield f"| request | {' | '.join(compared.values())} | mock | why |"
    yield f"|---|{'---|' * len(compared)}---|---|"
    for question in questions():
        statuses = {each: question.answers[each].status for each in compared}
        now = answered(mock)[question.name].status
        if set(statuses.values()) != {now}:
            cells = [f"{question.name}: `{question.method} {_shown(question)}`", *map(str, statuses.values())]
            yield f"| {' | '.join([*cells, str(now), _why(mock, question.name)])} |"


def _shown(question: Question) -> str:
    """Return the target of a request, its own values as names."""
    path = _PLACE.sub(lambda place: f"{{{place[1]}}}", question.path)
    return path if len(path) < _SHOWN else f"{path[:_SHOWN]}..."


_SHOWN = 80


def _why(mock: str, name: str) -> str:
    ruling = exceptions().statuses.get((mock, name))
    return f"[{ruling}](#{ruling})" if ruling else "the newer release"


if __name__ == "__main__":
    DIFFERENCES.parent.mkdir(parents=True, exist_ok=True)
    DIFFERENCES.write_text(report(), encoding="utf-8")
