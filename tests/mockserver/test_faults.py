"""Faults on the wire: the very bytes and chunks, what a correct client makes of them, and where a naive one breaks."""

from __future__ import annotations

import json
import re
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.datastructures import Headers

from flowcontract.errors import UnknownNameError
from flowcontract.pointers import get_value
from flowcontract.scenarios import Piece, find_differences
from flowcontract.streams.sse import Decoder
from mockserver.blobs.blob import Blob
from mockserver.config.settings import Settings
from mockserver.core.controls import Controls
from mockserver.faults import FAULTS, FaultError, apply, parse
from mockserver.faults.context import FaultContext
from mockserver.http.messages import AbortConnection, Reply, Request
from mockserver.http.stream import Stream
from mockserver.server.mock_server import MockServer, load_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mockserver.core.app import App

SMALL = """
description: Four events, one character that is not ASCII.
reply:
  events:
    - data: {event: workflow_started, task_id: t}
    - data: {event: message, answer: Hé}
    - data: {event: message, answer: '!'}
    - data: {event: message_end}
"""
WRONG = """
description: The event that faults borrow to report an error.
reply:
  events:
    - data: {event: error, task_id: $id.task, status: 400, code: bad, message: no}
"""
LATE = b"Too many requests. Please try again later."
A = b'data: {"event": "workflow_started", "task_id": "t"}\n\n'
B = b'data: {"event": "message", "answer": "H\\u00e9"}\n\n'
C = b'data: {"event": "message", "answer": "!"}\n\n'
D = b'data: {"event": "message_end"}\n\n'
ALL = A + B + C + D
E = b'data: {"event": "error", "task_id": "t", "status": 400, "code": "bad", "message": "no"}\n\n'
E429 = (
    b'data: {"event": "error", "task_id": "t", "status": 429, "code": "rate_limit_error", "message": "%b"}\n\n' % LATE
)
PING = b"event: ping\n\n"
STRANGE = b'data: {"event": "mock_unknown"}\n\n'
NOTED = b'data: {"event": "mock_unknown", "data": {"note": "no document names this kind"}}\n\n'
RAW = 'data: {"event": "message", "answer": "Hé"}\n\n'.encode()
CAPABILITIES = frozenset({"pieces", "close", "reset"})
CHAT = {"query": "hello", "user": "abc-123", "inputs": {}, "response_mode": "streaming"}


def escaped(text: str) -> bytes:
    """Write every character as an escape, in quotes."""
    return b'"' + b"".join(b"\\u%04x" % ord(character) for character in text) + b'"'


def with_extra(block: bytes, value: bytes) -> bytes:
    return block.replace(b"{", b'{"mock_extra": ' + value + b", ", 1)


def block(*lines: bytes) -> bytes:
    return b"\n".join(lines) + b"\n\n"


def bare(piece: bytes) -> bytes:
    return piece.removesuffix(b"\n\n")


def single(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def lines(piece: bytes) -> bytes:
    """Break the JSON of a block after its brace and every comma."""
    return piece.replace(b"{", b"{\ndata: ").replace(b",", b",\ndata: ")


def gateway_page(title: str) -> bytes:
    """Return what a proxy such as nginx sends of its own."""
    head = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
    return f"{head}<hr><center>gateway</center>\r\n</body>\r\n</html>\r\n".encode()


NOTE = b'{"note": ["no document names this", 1, null]}'
ESCAPED = [
    block(b"data: {%b: %b, %b: %b}" % tuple(map(escaped, ("event", "workflow_started", "task_id", "t")))),
    block(b"data: {%b: %b, %b: %b}" % tuple(map(escaped, ("event", "message", "answer", "Hé")))),
    block(b"data: {%b: %b, %b: %b}" % tuple(map(escaped, ("event", "message", "answer", "!")))),
    block(b"data: {%b: %b}" % tuple(map(escaped, ("event", "message_end")))),
]
CRLF = [piece.replace(b"\n", b"\r\n") for piece in (A, B, C, D)]
LINES = lines(B).split(b"\n", 1)

# What comes over the socket for each fault: the chunks, and how it ends: `end`, `close` or `reset`.
WIRE: dict[str, tuple[list[bytes], str]] = {
    "latency=1": ([ALL], "end"),
    "latency-lognormal=1": ([ALL], "end"),
    "rate-limit=1/5": ([ALL], "end"),
    "status=502": ([gateway_page("502 Bad Gateway")], "end"),
    "status=503/empty": ([], "end"),
    "retry-after=5": ([ALL], "end"),
    "empty-reply": ([], "close"),
    "wrong-type=text/html": ([ALL], "end"),
    "no-charset": ([ALL], "end"),
    "drop=2": ([A, C, D], "end"),
    "duplicate=2": ([A, B, B, C, D], "end"),
    "swap=2": ([A, C, B, D], "end"),
    "reorder": ([D, B, C, A], "end"),
    "no-end": ([A, B, C], "end"),
    "cut-events=2": ([A, B], "close"),
    "cut-events=0": ([], "close"),
    "close-events=2": ([A, B], "end"),
    "error-middle=2": ([A, B, E], "end"),
    "error-429=2": ([A, B, E429], "end"),
    "error-end": ([A, B, C, E], "end"),
    "error-silence=0.01": ([A, B, C, E], "end"),
    "hang=0.01": ([A, B, C], "end"),
    "silence=0.01": ([A, B, C, D], "end"),
    "slow-first=0.01": ([A, B, C, D], "end"),
    "jitter=1": ([A, B, C, D], "end"),
    "ping": ([A, PING, B, C, D], "end"),
    "ping=9": ([A, B, C, D, PING], "end"),
    "pings=2": ([A, PING, PING, B, PING, PING, C, PING, PING, D, PING, PING], "end"),
    "unknown-event=2": ([A, B, NOTED, C, D], "end"),
    "tiny=2": ([A, B, B.replace(b"H\\u00e9", b""), B.replace(b"H\\u00e9", b""), C, D], "end"),
    "raw-utf8": ([A, RAW, C, D], "end"),
    "escapes": (ESCAPED, "end"),
    "huge=60": ([A.replace(b"{", b"{" + b" " * (60 - len(A))), B, C, D], "end"),
    "extra-fields": ([with_extra(piece, NOTE) for piece in (A, B, C, D)], "end"),
    "invalid-utf8": ([with_extra(piece, b'"\xff"') for piece in (A, B, C, D)], "end"),
    "data-lines": ([lines(piece) for piece in (A, B, C, D)], "end"),
    "comments": (
        [b": a comment\n\n\n\n" + block(bare(piece), b":and another") for piece in (A, B, C, D)],
        "end",
    ),
    "ids": (
        [
            block(b"id: 1", b"retry: 3000", bare(A)),
            *(block(b"id: %d" % number, bare(piece)) for number, piece in enumerate((B, C, D), 2)),
        ],
        "end",
    ),
    "field-order": (
        [block(bare(piece), b"id: %d" % number, b"event: message") for number, piece in enumerate((A, B, C, D), 1)],
        "end",
    ),
    "unknown-fields": (
        [block(b"mock: of no meaning", b"database: 1", bare(piece), b"mock") for piece in (A, B, C, D)],
        "end",
    ),
    "no-space": ([piece.replace(b"data: ", b"data:") for piece in (A, B, C, D)], "end"),
    "comment-inside": ([A, LINES[0] + b"\n", b": ping\n", LINES[1], C, D], "end"),
    "ping-inside": ([A, B[: len(B) // 2], PING, B[len(B) // 2 :], C, D], "end"),
    "no-final-blank": ([A, B, C, D[:-1]], "end"),
    "bom": ([b"\xef\xbb\xbf" + A, B, C, D], "end"),
    "cr": ([piece.replace(b"\n", b"\r") for piece in (A, B, C, D)], "end"),
    "crlf": (CRLF, "end"),
    "mixed-line-ends": (
        [bare(A) + b"\r\n\n", bare(B) + b"\r\r\n", bare(C) + b"\n\r", bare(D) + b"\r\n\n"],
        "end",
    ),
    "split": (single(ALL), "end"),
    "split=30": ([part for piece in (A, B, C, D) for part in (piece[:30], piece[30:60]) if part], "end"),
    "split-at=10": ([part for piece in (A, B, C, D) for part in (piece[:10], piece[10:])], "end"),
    "split-character": ([A, RAW[: RAW.index(b"\xa9")], RAW[RAW.index(b"\xa9") :], C, D], "end"),
    "split-crlf": (
        [part for piece in CRLF for part in (piece[:-3], b"\n\r", b"\n")],
        "end",
    ),
    "coalesce": ([ALL], "end"),
    "pieces=30/100": ([ALL[:30], ALL[30:130], ALL[130:]], "end"),
    "drip=100000": ([A, B, C, D], "end"),
    "cut=60": ([A, B[: 60 - len(A)]], "close"),
    "cut=0": ([], "close"),
    "close=60": ([A, B[: 60 - len(A)]], "end"),
    "reset": ([], "reset"),
    "reset=60": ([A, B[: 60 - len(A)]], "reset"),
    "split=30, bom, crlf": (
        [
            (b"\xef\xbb\xbf" + CRLF[0])[:30],
            (b"\xef\xbb\xbf" + CRLF[0])[30:],
            *(part for piece in CRLF[1:] for part in (piece[:30], piece[30:60]) if part),
        ],
        "end",
    ),
    "coalesce, no-end, raw-utf8": ([A + RAW + C], "end"),
    "cut=10, split=4": ([A[:4], A[4:8], A[8:10]], "close"),
}
# Faults whose answer is tested on its own below.
APART = {"json-error", "endless"}


@dataclass
class Wire:
    """An answer as it came over the socket; `end` tells how."""

    status: int = 0
    headers: Headers = field(default_factory=Headers)
    chunks: list[bytes] = field(default_factory=list)
    end: str = "close"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockServer]:
    """Run a mock with a stream short enough to be written down."""
    folder: Path = tmp_path_factory.mktemp("fixtures") / "dify-chat" / "sendChatMessage"
    folder.mkdir(parents=True)
    (folder / "200-a-wrong.yaml").write_text(WRONG, encoding="utf-8")
    (folder / "200-small.yaml").write_text(SMALL, encoding="utf-8")
    with MockServer(["dify-chat"], fixtures=folder.parent.parent, settings=Settings(pace=0)) as running:
        yield running


def request(
    fault: str, *, key: str = "app-chat-wire", path: str = "/v1/chat-messages", example: str = "small"
) -> bytes:
    body = json.dumps(CHAT).encode()
    head = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f'Prefer: example={example}, fault="{fault}"',
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def fetch(server: MockServer, raw: bytes) -> Wire:
    """Send raw bytes; take the answer apart into its chunks, as they came."""
    data, wire = b"", Wire()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(raw)
        while wire.end != "end":
            try:
                received = connection.recv(1 << 16)
            except ConnectionResetError:
                wire.end = "reset"
                return wire
            data += received
            wire = take_apart(data)
            if not received:
                return wire
    return wire


def take_apart(data: bytes) -> Wire:
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        return Wire()
    first, *rest = head.decode("latin-1").split("\r\n")
    wire = Wire(int(first.split()[1]), Headers([tuple(line.split(": ", 1)) for line in rest]))  # type: ignore[arg-type]
    if wire.headers.get("Transfer-Encoding") != "chunked":
        wire.chunks = [body] if body else []
        wire.end = "end" if len(body) == int(wire.headers["Content-Length"]) else "close"
        return wire
    while b"\r\n" in body:
        size, _, body = body.partition(b"\r\n")
        if not int(size, 16):
            wire.end = "end"
            return wire
        if len(body) < int(size, 16) + 2:
            return wire
        wire.chunks.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return wire


@pytest.mark.parametrize("fault", WIRE)
def test_each_fault_sends_these_very_bytes_in_these_chunks(small: MockServer, fault: str) -> None:
    """Over a raw socket: every byte, every chunk boundary, and how the connection ends."""
    chunks, end = WIRE[fault]
    wire = fetch(small, request(fault, key="app-chat-wire-" + "".join(one if one.isalnum() else "-" for one in fault)))
    if end == "reset":  # what was sent before may be lost with it
        assert (wire.end, b"".join(wire.chunks)) == ("reset", b"".join(chunks)[: len(b"".join(wire.chunks))])
    else:
        assert (wire.chunks, wire.end) == (chunks, end)


def test_every_fault_is_shown_on_the_wire() -> None:
    """A fault that is added to the table without its bytes here is noticed."""
    assert {one.fault.name for text in WIRE for one in parse(text)} | APART == set(FAULTS)


def test_wrong_type_and_missing_charset_are_in_the_header(small: MockServer) -> None:
    """The label is wrong, the stream is right."""
    kinds = {"bom": "text/event-stream; charset=utf-8", "no-charset": "text/event-stream", "wrong-type": "text/plain"}
    for fault, kind in kinds.items():
        wire = fetch(small, request(fault))
        assert (wire.status, wire.headers["Content-Type"]) == (200, kind)


def test_json_error_comes_with_the_status_of_success(small: MockServer) -> None:
    """Status 200, and the API's own error where the stream should be."""
    wire = fetch(small, request("json-error"))
    assert (wire.status, wire.headers["Content-Type"], wire.end) == (200, "application/json", "end")
    assert json.loads(wire.chunks[0])["code"] == "internal_server_error"


def test_chunks_are_kept_apart_for_a_client_that_closes_after_one_answer(small: MockServer) -> None:
    """Without chunks it could not tell a cut stream from a whole one."""
    raw = request("cut-events=2").replace(b"Host: 127.0.0.1", b"Host: 127.0.0.1\r\nConnection: close")
    assert fetch(small, raw).chunks == [A, B]
    assert fetch(small, raw).end == "close"
    assert fetch(small, raw.replace(b"cut-", b"close-")).end == "end"


def test_endless_stream_goes_on_until_the_client_leaves(small: MockServer) -> None:
    """After the last event before the end it comes again and again."""
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as connection:
        connection.sendall(request("endless=1"))
        data = b""
        while data.count(C) < 20:
            data += connection.recv(1 << 16)
        wire = take_apart(data)
    assert wire.end == "close"
    assert wire.chunks[:20] == [A, B, *[C] * 18]
    assert D not in wire.chunks


def test_plain_answers_are_cut_closed_reset_and_dripped_too(small: MockServer) -> None:
    """A JSON body that ends early does so against its length, or with a length that hides it."""
    head = "GET /v1/info HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer app-chat-wire\r\nPrefer: fault={}\r\n\r\n"
    whole = fetch(small, head.format("latency=1").encode())
    length = int(whole.headers["Content-Length"])
    answers = {fault: fetch(small, head.format(fault).encode()) for fault in ("cut=10", "close=10", "drip=1000000")}
    assert (answers["cut=10"].headers["Content-Length"], answers["cut=10"].end) == (str(length), "close")
    assert (answers["close=10"].headers["Content-Length"], answers["close=10"].end) == ("10", "end")
    assert {answers[fault].chunks[0] for fault in ("cut=10", "close=10")} == {whole.chunks[0][:10]}
    assert answers["drip=1000000"].chunks == whole.chunks
    assert all("Transfer-Encoding" not in answer.headers for answer in answers.values())
    assert fetch(small, head.format("empty-reply").encode()).status == 0
    assert fetch(small, head.format("reset").encode()).end == "reset"


# Time


def timed(fault: str, *, seed: int = 0, count: int = 99) -> list[tuple[float, int]]:
    """Return when a stream of five pieces, a second apart, sends how many bytes; the clock is the test's."""
    pieces = (Piece(1000, b"data: %d\n\n" % number, number) for number in range(5))
    reply = Reply(200, Headers(), Stream(pieces))
    context = FaultContext()
    context.random.seed(seed)
    apply(reply, parse(fault), context, CAPABILITIES)
    assert isinstance(reply.body, Stream)
    sent: list[tuple[float, int]] = []
    now = 0.0
    while len(sent) < count:
        due, wake = reply.body.advance(now)
        sent += [(round(now, 3), len(piece)) for piece in due]
        if wake is None:
            return [*sent, (round(now, 3), 0)]
        now = wake
    return sent


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("silence=7", [(1, 9), (2, 9), (3, 9), (11, 9), (12, 9), (12, 0)]),
        ("slow-first=7", [(8, 9), (9, 9), (10, 9), (11, 9), (12, 9), (12, 0)]),
        ("hang=7", [(1, 9), (2, 9), (3, 9), (10, 0)]),
        ("coalesce", [(5, 45), (5, 0)]),
        ("split=4", [(at, size) for at in range(1, 6) for size in (4, 4, 1)] + [(5, 0)]),
        ("close-events=2", [(1, 9), (2, 9), (2, 0)]),
        ("drip=10", [(1 + 1.9 * (n // 9) + 0.1 * (n % 9 + 1), 1) for n in range(45)] + [(9.5, 0)]),
    ],
)
def test_time_passes_as_a_fault_says(fault: str, expected: list[tuple[float, int]]) -> None:
    """Silence, slowness and waiting are told by `advance`; the last pair is the end."""
    assert timed(fault) == [(round(at, 3), size) for at, size in expected]


def test_jitter_depends_on_the_seed_alone() -> None:
    """The same seed delays alike, another one does not, and no event overtakes another."""
    assert timed("jitter=100") == timed("jitter=100") != timed("jitter=100", seed=1)
    times = [at for at, _ in timed("jitter=100")]
    assert times == sorted(times)
    assert times[-1] > 5


def test_endless_stream_asks_to_be_asked_again() -> None:
    """However often it is asked, there is always a next moment; without a contract nothing ends it."""
    sent = timed("endless=100", count=50)
    assert [at for at, _ in sent[5:]] == [round(5 + 0.1 * number, 3) for number in range(1, 46)]


def test_latency_is_before_the_first_byte() -> None:
    """Fixed, or lognormal by the seed; latencies add up."""
    replies = [Reply(200, Headers(), b"{}") for _ in range(3)]
    for reply, fault in zip(replies, ("latency=250", "latency-lognormal=250", "latency=250, latency=250"), strict=True):
        apply(reply, parse(fault), FaultContext(), CAPABILITIES)
    assert [replies[0].delay_s, replies[2].delay_s] == [0.25, 0.5]
    assert 0 < replies[1].delay_s != 0.25


def test_own_pings_stay_away_only_where_silence_is_meant() -> None:
    """A slow first event is bridged by pings as on a real server; `silence` and `hang` are silent."""
    muted = {name for name, fault in FAULTS.items() if fault.mute}
    assert muted == {"silence", "hang", "error-silence"}


# Clients


@dataclass
class Asked:
    """A stream that was asked for in process: its pieces, and the payloads that the server had to say."""

    pieces: list[bytes]
    said: list[Any]
    contract: Any


STREAMS = {
    "dify-chat/sendChatMessage": ("/v1/chat-messages", {"Authorization": "Bearer app-chat-client"}),
    "dify-workflow/runWorkflow": ("/v1/workflows/run", {"Authorization": "Bearer app-workflow-client"}),
    "agentbuilder/runFlow": (
        "/api/v1/run/a430cc57-06bb-4c11-be39-d3d4de68d2c4?stream=true",
        {"x-api-key": "sk-agentbuilder-client"},
    ),
}
QUICK = {
    "tiny": "tiny=500",
    "huge": "huge=100000",
    "rate-limit": "rate-limit=9/9",
    "reset": "reset=900",
    "cut": "cut=900",
}


@pytest.fixture(scope="module")
def app() -> App:
    """All APIs without delays."""
    return load_app(settings=Settings(pace=0))


def ask(app: App, operation: str, fault: str) -> Asked:
    path, key = STREAMS[operation]
    path, _, query = path.partition("?")
    headers = Headers([*key.items(), ("Content-Type", "application/json")])
    if fault:
        headers["Prefer"] = f'fault="{fault}"'
    reply = app.handle(
        Request("POST", path, query, headers, Blob(json.dumps(CHAT).encode()), capabilities=CAPABILITIES),
        1_732_147_200.0,
    )
    assert reply.status == 200
    assert not isinstance(reply.body, bytes | Blob)
    pieces, now = [], 0.0
    try:
        while len(pieces) < 200_000:
            due, wake = reply.body.advance(now)
            pieces += due
            if wake is None or (fault.startswith("endless") and len(pieces) > 100):
                break
            now = wake
    except AbortConnection:
        pass
    api, _, name = operation.partition("/")
    contract = app.mock.apis[api].operations[name].stream
    assert contract is not None
    return Asked(pieces, [], contract)


def events_of(asked: Asked) -> list[Any]:
    """Read what a conforming client reads, and keep what the contract names."""
    decoder = Decoder(asked.contract.framing)
    blocks = [one for piece in asked.pieces for one in decoder.feed(piece)] + decoder.close()
    payloads = [json.loads(one.event.data) for one in blocks if one.event]
    return [payload for payload in payloads if get_value(payload, asked.contract.kind) in asked.contract.events]


def without_ids(payloads: list[Any]) -> list[Any]:
    """Return payloads with everything that differs from one answer to the next replaced by when it first came."""
    names: dict[str, str] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        if isinstance(value, str) and len(value) == 36 and value.count("-") == 4:
            return names.setdefault(value, f"id {len(names)}")
        return value

    kept: list[Any] = plain([{k: v for k, v in one.items() if k != "sequence_number"} for one in payloads])
    return kept


def fits(fault: str, operation: str) -> bool:
    sse = operation != "agentbuilder/runFlow"
    return sse or all(one.fault.needs != "sse" for one in parse(fault))


HARMLESS = [QUICK.get(name, name) for name, fault in FAULTS.items() if fault.harm == "harmless"]
BREAKING = [QUICK.get(name, name) for name, fault in FAULTS.items() if fault.harm == "breaking"]


@pytest.mark.parametrize(
    ("fault", "operation"),
    [
        (fault, operation)
        for fault in [*HARMLESS, "escapes, mixed-line-ends, split, comments, ids"]
        for operation in STREAMS
        if fits(fault, operation)
    ],
)
def test_correct_client_reads_the_same_events_after_every_harmless_fault(app: App, fault: str, operation: str) -> None:
    """What the decoder of `streams.sse` dispatches contains what was said, event by event, and nothing else."""
    said, read = (without_ids(numberless(events_of(ask(app, operation, one)))) for one in ("", fault))
    if fault.startswith("tiny"):
        said, read = ([one for one in payloads if not says_nothing(one)] for payloads in (said, read))
    assert len(read) == len(said) > 3
    assert [find_differences(want, got) for want, got in zip(said, read, strict=True)] == [[]] * len(said)


def says_nothing(payload: Any) -> bool:
    """Tell a piece of text without text."""
    return get_value(payload, "answer") == "" or get_value(payload, "data.text") == ""


def numberless(payloads: list[Any]) -> list[Any]:
    """Return payloads without the number that counts an app's runs."""
    for one in payloads:
        if isinstance(one.get("data"), dict):
            one["data"].pop("sequence_number", None)
    return payloads


def naive(pieces: list[bytes]) -> list[Any]:
    """Read as many a client does: what one read brings is whole, every blank line ends an event, all of it is JSON."""
    return [
        json.loads(part.removeprefix("data: ")) for piece in pieces for part in piece.decode().split("\n\n") if part
    ]


NAIVE_BREAKS_ON = {
    *("ping", "pings", "comments", "ids", "field-order", "unknown-fields", "no-space", "data-lines", "bom"),
    *("invalid-utf8", "comment-inside", "split", "split-at", "split-character", "drip", "split-crlf", "pieces"),
    *("cr, coalesce", "crlf, coalesce", "mixed-line-ends, coalesce"),
}
"""The harmless faults that the naive client must not survive; other line ends where a read brings several events."""


@pytest.mark.parametrize("fault", [*HARMLESS, "cr, coalesce", "crlf, coalesce", "mixed-line-ends, coalesce"])
def test_naive_client_breaks_where_it_should(app: App, fault: str) -> None:
    """Where reads and blocks are the same thing it gets away with it, elsewhere it raises or reads something else."""
    said = ask(app, "dify-chat/sendChatMessage", "")
    asked = ask(app, "dify-chat/sendChatMessage", fault)
    try:
        read = [one for one in naive(asked.pieces) if one["event"] in asked.contract.events and one.get("answer") != ""]
        survived = [one["event"] for one in read] == [one["event"] for one in events_of(said)]
    except (ValueError, KeyError, TypeError):
        survived = False
    assert survived == (fault not in NAIVE_BREAKS_ON)


NAIVE_NOTICES = {"ping-inside", "cut", "close", "reset"}
"""The breaking faults at which the naive client raises at least; all others it takes for a whole answer."""


@pytest.mark.parametrize("fault", [one for one in BREAKING if one not in ("json-error", "empty-reply", "status")])
def test_naive_client_trusts_what_is_broken(app: App, fault: str) -> None:
    """Only JSON that cannot be read makes it stop; a missing end, a wrong order or an error it does not notice."""
    fault = {"close": "close=900"}.get(fault, fault)
    asked = ask(app, "dify-chat/sendChatMessage", fault)
    try:
        naive(asked.pieces)
        noticed = False
    except ValueError:
        noticed = True
    assert noticed == (parse(fault)[-1].fault.name in NAIVE_NOTICES)


def test_correct_client_can_tell_every_break_in_what_is_said(app: App) -> None:
    """Dropped, doubled, exchanged, broken off: the events read are no longer those that were said."""
    said = numberless(events_of(ask(app, "dify-chat/sendChatMessage", "")))
    changed = ["drop", "duplicate", "swap", "reorder", "no-end", "cut-events", "close-events", "no-final-blank", "hang"]
    changed += [
        "error-middle",
        "error-429",
        "error-end",
        "error-silence",
        "endless",
        "cut=900",
        "close=900",
        "reset=900",
    ]
    for fault in changed:
        read = numberless(events_of(ask(app, "dify-chat/sendChatMessage", fault)))
        assert without_ids(read) != without_ids(said), fault


# Asking


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no fault. There is: bom, "),
        ("splitt=1", 'No fault "splitt". There is: bom'),
        ("bom=1", 'The fault bom takes no value, but "1" was given.'),
        ("split=0", "takes a whole number from 1 to 1000000000"),
        ("split=x", 'The fault split=SIZE was given "x"'),
        ("silence=nan", "takes a number from 0 to 86400"),
        ("silence=-1", "takes a number from 0 to 86400"),
        ("rate-limit=x", "takes for instance 1/60"),
        ("wrong-type=html", "takes for instance text/plain"),
        ("status=100", "takes for instance 503/html"),
        ("status=600", "STATUS (200 to 599)"),
        ("status=600", "takes for instance 503/html"),
        ("status=204/html", "takes for instance 503/html"),
        ("status=503/json", "takes for instance 503/html"),
    ],
)
def test_what_cannot_be_meant_says_what_there_is(text: str, complaint: str) -> None:
    """A wrong name or value names the right ones."""
    with pytest.raises(FaultError) as raised:
        parse(text)
    assert complaint in str(raised.value)


def test_faults_are_applied_in_the_order_of_their_stages() -> None:
    """However they are named: what is said, how it is written, in which pieces it travels, where it breaks off."""
    assert [one.fault.name for one in parse("cut=5, split=2, BOM, raw_utf8, drop")] == [
        *("drop", "raw-utf8", "bom", "split", "cut")
    ]


def caller(app: App, **request: Any) -> Reply:
    headers = Headers([("Authorization", "Bearer app-chat-asking"), ("Content-Type", "application/json")])
    headers.extend(request.pop("headers", {}))
    body = Blob(json.dumps(CHAT | request.pop("body", {})).encode())
    return app.handle(
        Request("POST", "/v1/chat-messages", "", headers, body, **{"capabilities": CAPABILITIES, **request}),
        1_732_147_200,
    )


def problem(reply: Reply) -> Any:
    assert (reply.status, reply.headers["Content-Type"]) == (501, "application/problem+json")
    assert isinstance(reply.body, bytes)
    return json.loads(reply.body)


@pytest.mark.parametrize("fault", ["splitt", "split=0"])
def test_unknown_fault_is_a_problem_that_lists_all(app: App, fault: str) -> None:
    """A 501, so that it is never mistaken for the API's own answer."""
    told = problem(caller(app, headers={"Prefer": f"fault={fault}"}))
    assert "split=SIZE" in told["faults"]
    assert len(told["faults"]) == len(FAULTS)


def test_adapter_that_cannot_do_it_says_so(app: App) -> None:
    """A fault that needs more than the adapter offers is a 501, one that needs nothing is served."""
    for fault in ("split", "reset", "empty-reply"):
        told = problem(caller(app, headers={"Prefer": f"fault={fault}"}, capabilities=frozenset()))
        assert "mockserver serve" in told["detail"]
    assert caller(app, headers={"Prefer": "fault=bom"}, capabilities=frozenset()).status == 200


def test_stream_fault_does_not_fit_a_whole_body(app: App) -> None:
    """Asked for with a blocking answer it is a 501; an error that the API documents stays as it is."""
    told = problem(caller(app, headers={"Prefer": "fault=bom"}, body={"response_mode": "blocking"}))
    assert "needs a stream" in told["detail"]
    assert caller(app, headers={"Prefer": "fault=bom"}, body={"query": 5}).status == 400


NOTHING = [
    *("drop=99", "duplicate=99", "swap=99", "split=100000", "split-at=100000", "cut=10000000", "close=10000000"),
    *("reset=10000000", "cut-events=99", "close-events=99", "silence=0", "slow-first=0", "jitter=0", "latency=0"),
    *("huge=1", "wrong-type=text/event-stream", "latency-lognormal=0", "no-end, no-end", "empty-reply, bom"),
    *("drop=3, close-events=2", "silence=1, hang=1", "cut-events=1, cut=100000", "status=503, split-crlf"),
]
"""Faults, alone and together, of which one leaves the answer as it would be without it."""


@pytest.mark.parametrize("fault", NOTHING)
@pytest.mark.parametrize("operation", STREAMS)
def test_fault_that_changes_nothing_is_refused(app: App, fault: str, operation: str) -> None:
    """A 501 that names it: a test that relies on it would otherwise pass for no reason."""
    if not fits(fault, operation):
        return
    path, key = STREAMS[operation]
    path, _, query = path.partition("?")
    headers = Headers([*key.items(), ("Content-Type", "application/json"), ("Prefer", f'fault="{fault}"')])
    reply = app.handle(
        Request("POST", path, query, headers, Blob(json.dumps(CHAT).encode()), capabilities=CAPABILITIES),
        1_732_147_200.0,
    )
    assert re.search("changes nothing in this reply of .* bytes|needs a stream", problem(reply)["detail"])
    assert "Preference-Applied" not in reply.headers


@pytest.mark.parametrize(
    ("fault", "method", "status"),
    [
        ("cut=100000", "GET", 501),
        ("close=100000", "GET", 501),
        ("drip=100", "GET", 200),
        ("cut=10", "HEAD", 501),
        ("latency=1", "HEAD", 200),
    ],
)
def test_fault_of_a_body_needs_one_that_is_long_enough(app: App, fault: str, method: str, status: int) -> None:
    """A body is not cut behind its end; and who asks for the head alone gets none."""
    headers = Headers([("Authorization", "Bearer app-chat-asking"), ("Prefer", f"fault={fault}")])
    path = "/v1/info"
    assert app.handle(Request(method, path, "", headers, capabilities=CAPABILITIES), 1_732_147_200.0).status == status


def test_what_is_left_alone_is_not_claimed(app: App) -> None:
    """A wrong request is answered as the API answers it; of the faults only those of any reply are done, and told."""
    reply = caller(app, headers={"Prefer": 'fault="latency=5, bom"'}, body={"query": 5})
    assert (reply.status, reply.delay_s, reply.headers["Preference-Applied"]) == (400, 0.005, 'fault="latency=5.0"')
    assert app.mock.journal.list_entries()[-1].faults == ("latency=5.0",)
    reply = caller(app, headers={"Prefer": "fault=bom"}, body={"query": 5})
    assert (reply.status, reply.headers["Preference-Applied"]) == (400, "")


STATUSES = ["status=503", "status=429/empty", "status=200", "status=204", "status=302", "status=520", "status=599/html"]


@pytest.mark.parametrize("fault", STATUSES)
def test_gateway_answers_any_operation_with_any_status(app: App, fault: str) -> None:
    """Whatever the request, and whatever the documents say of the status; the API never sees it."""
    (chosen,) = parse(fault)
    status, kind = chosen.value
    for api in app.mock.apis.values():
        for operation in api.operations.values():
            path = api.base_path + re.sub(r"{\w+}", "a430cc57-06bb-4c11-be39-d3d4de68d2c4", operation.path)
            keys = [api.schemes[name] for name in operation.security[0]] if operation.security else []
            headers = Headers([(one.parameter, f"{one.prefix}{one.mock_key}-gateway") for one in keys])
            headers["Prefer"] = f'fault="{fault}, retry-after=7, latency=2000"'
            reply = app.handle(Request(operation.method, path, "", headers, capabilities=CAPABILITIES), 1_732_147_200.0)
            assert (reply.status, reply.headers["Retry-After"], reply.delay_s) == (status, "7", 2.0), operation.name
            assert (reply.body != b"") == (kind == "html"), operation.name
            assert (reply.headers.get("Content-Type") == "text/html") == (kind == "html")


def test_gateway_keeps_the_request_from_the_api(app: App) -> None:
    """Nothing has happened in the world, and the journal says who answered."""
    upload = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nx\r\n'
        b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\nabc\r\n--b--\r\n'
    )
    for prefer, status in (("fault=status=502", 502), ("", 201)):
        headers = Headers([("Authorization", "Bearer app-chat-kept"), ("Prefer", prefer)])
        headers["Content-Type"] = "multipart/form-data; boundary=b"
        reply = app.handle(
            Request("POST", "/v1/files/upload", "", headers, Blob(upload), capabilities=CAPABILITIES), 1_732_147_200.0
        )
        assert reply.status == status
    refused, served = app.mock.journal.list_entries(world="dify-chat-kept")
    assert (refused.scenario, refused.by, refused.because) == (None, "fault", "status")
    assert (served.scenario, served.faults) == ("201-default", ())


def test_gateway_can_answer_at_once_and_send_its_page_late(small: MockServer) -> None:
    """Before a delay: the head comes, the page does not; a page that is not there cannot be late."""
    wire = fetch(small, request("status=504, slow-first=0.05"))
    assert (wire.status, wire.chunks) == (504, [gateway_page("504 Gateway Timeout")])
    assert fetch(small, request("status=504/empty, slow-first=0.05")).status == 501


def test_gateway_is_asked_for_by_override_suffix_and_scenario(tmp_path: Path) -> None:
    """Each way to ask for a fault asks for this one, too."""
    folder = tmp_path / "dify-chat" / "sendChatMessage"
    folder.mkdir(parents=True)
    own = f"faults: status=502/empty, retry-after=1\nrequest: {{body: {{query: gateway}}}}\n{SMALL.strip()}"
    (folder / "200-small.yaml").write_text(own, encoding="utf-8")
    app = load_app(["dify-chat"], fixtures=tmp_path, settings=Settings(pace=0))
    Controls(app.mock).add_override("sendChatMessage", "fault=status=503, retry-after=2", times=1)
    told = [caller(app), caller(app, body={"user": "a#mock:fault=status=504/empty"})]
    told += [caller(app, body={"query": "gateway"}), caller(app)]
    assert [(reply.status, reply.headers.get("Retry-After")) for reply in told] == [
        *((503, "2"), (504, None), (502, "1"), (200, None))
    ]


@pytest.mark.parametrize(
    "how",
    [
        {"headers": {"Prefer": 'code=200, example=tts, fault="bom, crlf"'}},
        {"headers": {"Prefer": "fault=bom, fault=cr"}},
        {"headers": {"Prefer": 'fault="bom"'}},
        {"body": {"user": "abc-123#mock:fault=bom, crlf"}},
        {"body": {"user": "abc-123#mock:200-tts; fault=bom"}},
    ],
)
def test_header_and_user_ask_for_faults(app: App, how: dict[str, Any]) -> None:
    """Alone or with a scenario; of two the first counts, and the header says what was done."""
    reply = caller(app, **how)
    assert isinstance(reply.body, object)
    due, _ = reply.body.advance(0.0)  # type: ignore[union-attr]
    assert due[0].startswith(b"\xef\xbb\xbfdata: ")
    assert ("fault=" in reply.headers.get("Preference-Applied", "")) == ("headers" in how)


def test_override_asks_for_faults_so_many_times(small: MockServer) -> None:
    """Once a scenario with a fault, then everything as usual."""
    small.use("sendChatMessage", "200-small; fault=bom, coalesce", times=1, world="app-chat-overridden")
    raw = request("", key="app-chat-overridden").replace(b'Prefer: example=small, fault=""\r\n', b"")
    assert fetch(small, raw).chunks == [b"\xef\xbb\xbf" + ALL]
    assert not fetch(small, raw).chunks[0].startswith(b"\xef")
    with pytest.raises(UnknownNameError):
        small.use("sendChatMessage", "200-smal; fault=bom")
    with pytest.raises(FaultError):
        small.use("sendChatMessage", "fault=bomb")


def test_scenario_brings_faults_of_its_own(tmp_path: Path) -> None:
    """`faults:` in a scenario counts whenever it answers, and adds to what is asked for."""
    folder = tmp_path / "dify-chat" / "sendChatMessage"
    folder.mkdir(parents=True)
    (folder / "200-small.yaml").write_text(f"faults: bom\n{SMALL.strip()}", encoding="utf-8")
    app = load_app(["dify-chat"], fixtures=tmp_path, settings=Settings(pace=0))
    for asked, expected in (("", [b"\xef\xbb\xbf" + A, B, C, D]), ("coalesce", [b"\xef\xbb\xbf" + ALL])):
        reply = caller(app, headers={"Prefer": "example=small" + (f", fault={asked}" if asked else "")})
        assert reply.body.advance(0.0)[0] == expected  # type: ignore[union-attr]


def test_journal_says_which_faults_there_were(tmp_path: Path) -> None:
    """Those that were asked for and those of the scenario, with their values; none where nothing was done wrong."""
    folder = tmp_path / "dify-chat" / "sendChatMessage"
    folder.mkdir(parents=True)
    (folder / "200-small.yaml").write_text(f"faults: bom\n{SMALL.strip()}", encoding="utf-8")
    app = load_app(["dify-chat"], fixtures=tmp_path, settings=Settings(pace=0))
    for preference in ("example=default", "example=small, fault=coalesce", "example=default, fault=rate-limit=5/10"):
        caller(app, headers={"Prefer": preference})
    told = [list(entry.as_json()["faults"]) for entry in app.mock.journal.list_entries()]
    assert sorted(told) == [[], ["bom", "coalesce"], ["rate-limit=5/10"]]


def test_every_fault_is_written_as_it_is_read() -> None:
    """What the journal says of a fault can be asked for again."""
    for name in (name for name, fault in FAULTS.items() if not fault.also):
        written = str(parse(name)[0])
        assert [str(one) for one in parse(written)] == [written]
        assert written == name or FAULTS[name].value


def test_rate_limit_counts_per_world_and_says_when_to_come_again(app: App) -> None:
    """Two answers in ten seconds; the third is the API's own 429 with the seconds that are left."""

    def asked(at: float, key: str = "app-chat-limit") -> tuple[int, str | None]:
        headers = Headers([("Authorization", f"Bearer {key}"), ("Prefer", "fault=rate-limit=2/10")])
        reply = app.handle(Request("GET", "/v1/info", "", headers), at)
        return reply.status, reply.headers.get("Retry-After")

    assert [asked(at) for at in (100, 103, 104, 109)] == [(200, None), (200, None), (429, "6"), (429, "1")]
    assert asked(105, "app-chat-limit-other") == (200, None)
    assert [asked(at)[0] for at in (110, 111, 112)] == [200, 200, 429]


def test_reset_is_a_reset_and_not_a_close(small: MockServer) -> None:
    """The client gets RST, which its operating system reports as such, before any byte of an answer."""
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as connection:
        connection.sendall(request("reset"))
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert struct.unpack("i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR, 4)) == (0,)
