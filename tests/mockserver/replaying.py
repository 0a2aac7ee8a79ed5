"""Asks a mock what was recorded, and compares its answers with the recorded ones, ids and moments aside."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from mock_calls import Answer as _Answer
from werkzeug.datastructures import Headers

from flowcontract.output.secret_names import is_secret_name
from flowcontract.recordings import jsonl
from flowcontract.recordings.reading import read as read_recording
from flowcontract.recordings.untrusted import Unreadable
from flowcontract.streams.sse import Decoder
from mockserver.admin.api import Admin
from mockserver.blobs.blob import Blob
from mockserver.http.messages import AbortConnection, Request
from mockserver.importing.exchanges import Entry, Exchange, find_exchanges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from flowcontract.specs.model import Api
    from mockserver.core.app import App
    from mockserver.http.messages import Reply


@dataclass
class Answer(_Answer):
    """An answer, and whether it was cut off."""

    cut: bool = False


ABILITIES = frozenset({"pieces", "close", "reset"})
NOW = 1_732_147_200.0
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def exchanges_of(paths: Iterable[Path], apis: Mapping[str, Api]) -> list[Exchange]:
    """Return the exchanges that are imported of some recordings."""
    entries = []
    for path in paths:
        try:
            entries += [Entry(path.name, each) for each in read_recording(path) if not isinstance(each, Unreadable)]
        except Unreadable:
            continue
    return find_exchanges(entries, apis).exchanges


def ask_again(app: App, exchange: Exchange) -> Answer:
    """Send a recorded request."""
    return read_reply(Admin(app.mock, app).handle(make_request(app, exchange), NOW))


def make_request(app: App, exchange: Exchange) -> Request:
    """Return a recorded request with the mock's key, or with what its answer said was no key."""
    recorded = exchange.entry.recorded
    own = {"authorization", "x-api-key", "host", "content-length", "accept-encoding", "username"}
    headers = Headers([(name, value) for name, value in recorded.headers.items() if name not in own])
    demanded = exchange.request.get("headers", {})
    refused = exchange.status in (401, 403) and recorded.headers
    keys = {} if refused else _list_keys(app, exchange)
    for name, value in {**keys, **demanded}.items():
        if value is not None:
            headers[name] = value
    if recorded.asked and "content-type" not in headers and "content-type" not in demanded:
        headers["content-type"] = "application/json"
    parts = urlsplit(recorded.url)
    query = re.sub(r"(x-api-key=)[^&]*", rf"\1{keys.get('x-api-key', '')}", parts.query)
    return Request(
        recorded.method, unquote(parts.path), query, headers, Blob(recorded.asked or b""), capabilities=ABILITIES
    )


def _list_keys(app: App, exchange: Exchange) -> dict[str, str]:
    """Return the headers that open an operation in the mock."""
    schemes = app.mock.apis[exchange.operation.api].schemes
    named = exchange.operation.security[0] if exchange.operation.security else ()
    return {schemes[name].parameter: f"{schemes[name].prefix}{schemes[name].mock_key}" for name in named}


def read_reply(reply: Reply) -> Answer:
    """Read a reply to its end, or to where it is cut."""
    if isinstance(reply.body, bytes | Blob):
        body = reply.body if isinstance(reply.body, bytes) else reply.body.read()
        return Answer(reply.status, reply.headers, body)
    pieces: list[tuple[float, bytes]] = []
    now: float | None = 0.0
    cut = False
    while now is not None:
        try:
            due, wake = reply.body.advance(now)
        except AbortConnection:
            cut = True
            break
        pieces += [(now, piece) for piece in due if piece]
        now = wake
    return Answer(reply.status, reply.headers, b"".join(piece for _, piece in pieces), pieces, cut)


@dataclass
class Comparison:
    """Compares values of a recording with served ones; each id of one stands for one of the other."""

    began: float | None
    lasted_s: float
    ids: dict[str, str] = field(default_factory=dict)

    def differs(self, recorded: Any, served: Any, where: str = "") -> str:
        """Return the first place where they differ; '' for none."""
        if isinstance(recorded, dict) and isinstance(served, dict):
            if recorded.keys() != served.keys():
                return f"{where}: {sorted(recorded)} != {sorted(served)}"
            return next(
                (found for key in recorded if (found := self.differs(recorded[key], served[key], f"{where}/{key}"))), ""
            )
        if isinstance(recorded, list) and isinstance(served, list) and len(recorded) == len(served):
            pairs = enumerate(zip(recorded, served, strict=True))
            return next((found for number, pair in pairs if (found := self.differs(*pair, f"{where}/{number}"))), "")
        if recorded == served and isinstance(recorded, bool) == isinstance(served, bool):
            return ""
        if isinstance(recorded, str) and isinstance(served, str) and self._text(recorded, served):
            return ""
        return "" if self._moment(recorded, served) else f"{where}: {recorded!r} != {served!r}"

    def _text(self, recorded: str, served: str) -> bool:
        theirs, ours = (_UUID.sub("ID", text) for text in (recorded, served))
        pairs = zip(
            (each[0] for each in _UUID.finditer(recorded)), (each[0] for each in _UUID.finditer(served)), strict=False
        )
        if theirs == ours:
            return all(self.ids.setdefault(there, here) == here for there, here in pairs)
        return re.sub("[0-9]", "0", recorded) == re.sub("[0-9]", "0", served) and recorded[:4].isdecimal()

    def _moment(self, recorded: Any, served: Any) -> bool:
        if not isinstance(recorded, int) or not isinstance(served, int) or self.began is None:
            return False
        return self.began - 5 <= recorded <= self.began + self.lasted_s + 10 and abs(served - NOW) < 3600


def find_difference(exchange: Exchange, answer: Answer) -> str:
    """Return where a served answer differs from the recorded one; '' for none."""
    recorded = exchange.answer
    if answer.status != recorded.status:
        return f"status {recorded.status} != {answer.status} {answer.body[:200]!r}"
    theirs, ours = recorded.headers.get("content-type", ""), answer.headers.get("Content-Type", "")
    if theirs and theirs.lower() != ours.lower():
        return f"content-type {theirs} != {ours}"
    lasted_s = max([recorded.wait_ms, *(piece.at_ms for piece in recorded.pieces[-1:])]) / 1000
    comparison = Comparison(exchange.entry.recorded.at, lasted_s)
    stream = exchange.draft.stream
    if stream is not None and stream.events:
        found = [_events(body, stream.framing) for body in (recorded.body, answer.body)]
        return comparison.differs(*found)
    return comparison.differs(_value(recorded.body), _value(answer.body))


def _value(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body


def _events(body: bytes, framing: Any) -> list[Any]:
    """Return what a stream says, block by block."""
    decoder = Decoder(framing)
    blocks = [*decoder.feed(body), *decoder.close()]
    if framing != "sse":
        return [_value(block.raw) for block in blocks]
    return [
        [
            sorted(field.name for field in block.fields if field.name != "data"),
            [field.value for field in block.fields if field.name != "data"],
            _value("\n".join(field.value for field in block.fields if field.name == "data").encode()),
        ]
        for block in blocks
    ]


def write_recording(path: Path, lines: Iterable[Mapping[str, Any]], **head: Any) -> Path:
    """Write a recording as the proxy does."""
    first = {"type": "recording", "version": 1, "tool": "a test", "started": "2024-11-21T00:00:00Z", "servers": {}}
    path.write_bytes(b"".join(map(jsonl.write_line, [{**first, **head}, *lines])))
    return path


def record(number: int, request: Request, reply: Reply, operation: str, random: Random | None) -> list[dict[str, Any]]:
    """Return the lines of an exchange whose answer is read to its end; with `random` its pieces are cut anew."""
    at = NOW + number
    head = reply.delay_s
    answer = read_reply(reply)
    how = "cut" if answer.cut else "complete"
    pieces = answer.pieces or ([(0.0, answer.body)] if answer.body else [])
    if random is not None:
        pieces = _cut_anew(pieces, random)
    common = {"id": number, "api": operation.partition("/")[0], "operation": operation}
    body = {"body": jsonl.write_bytes(request.body.read())} if request.body.size else {}
    url = f"http://127.0.0.1:8080{quote(request.path)}{f'?{request.query}' if request.query else ''}"
    headers = [[name, "***" if is_secret_name(name) else value] for name, value in request.headers]
    headers = [pair for pair in headers if pair[0] != "Prefer"]
    sent = {"method": request.method, "url": url, "headers": headers, "bodySize": request.body.size}
    got = {"status": answer.status, "headers": [[name, value] for name, value in answer.headers]}
    return [
        {"type": "request", "at": at, **common, **sent, **body},
        {"type": "response", "id": number, "at": at + head, **got},
        *({"type": "piece", "id": number, "at": at + head + when, **jsonl.write_bytes(data)} for when, data in pieces),
        {"type": "end", "id": number, "at": at + head + (pieces[-1][0] if pieces else 0), "how": how, "violations": []},
    ]


def _cut_anew(pieces: list[tuple[float, bytes]], random: Random) -> list[tuple[float, bytes]]:
    """Return pieces of which some are joined and some cut, even inside a character."""
    found: list[tuple[float, bytes]] = []
    for when, data in pieces:
        if found and random.random() < 0.2:
            found[-1] = (when, found[-1][1] + data)
        elif len(data) > 1 and random.random() < 0.3:
            place = random.randrange(1, len(data))
            found += [(when, data[:place]), (when + 0.004, data[place:])]
        else:
            found.append((when, data))
    return found
