"""The recording that a proxy appends to: written lines are read again, whatever a killed recorder left."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest

from flowcontract.recordings import jsonl, reading
from flowcontract.recordings.har_writing import write_har
from flowcontract.recordings.untrusted import Unreadable

HEAD = {
    "type": "recording",
    "version": 1,
    "tool": "mockserver proxy 0.1.0",
    "started": "2026-11-29T12:00:00Z",
    "servers": {"dify-chat": "https://api.example.com/v1"},
}
REQUEST = {
    "type": "request",
    "id": 1,
    "at": 10.0,
    "api": "dify-chat",
    "operation": "dify-chat/sendChatMessage",
    "method": "POST",
    "url": "https://api.example.com/v1/chat-messages?a=1",
    "headers": [["Content-Type", "application/json"], ["Authorization", "Bearer ***"]],
    "body": {"text": '{"query": "Grüße"}'},
    "bodySize": 19,
}
STREAM = [
    {"type": "response", "id": 1, "at": 10.5, "status": 200, "headers": [["Content-Type", "text/event-stream"]]},
    {"type": "piece", "id": 1, "at": 10.5, "text": 'data: {"event": '},
    {"type": "piece", "id": 1, "at": 11.25, **jsonl.write_bytes(b'"ping\xc3')},
    {"type": "piece", "id": 1, "at": 11.5, **jsonl.write_bytes(b'\xa4"}\n\n')},
    {"type": "end", "id": 1, "at": 12.0, "how": "complete", "violations": []},
]
BODY = 'data: {"event": "pingä"}\n\n'.encode()


def written(*lines: dict[str, object]) -> bytes:
    return b"".join(map(jsonl.write_line, lines))


def test_exchange_is_read_as_it_was_written():
    """Bytes, pieces and times come back, also where a character is split over two pieces."""
    head, exchanges = jsonl.parse_lines(written(HEAD, REQUEST, *STREAM))
    assert head.servers == HEAD["servers"]
    (taken,) = exchanges
    assert isinstance(taken, jsonl.Taken)
    assert taken.answer == BODY
    assert [piece.at for piece in taken.pieces] == [10.5, 11.25, 11.5]
    assert (taken.body or b"").decode() == '{"query": "Grüße"}'
    assert (taken.how, taken.status, taken.operation) == ("complete", 200, "dify-chat/sendChatMessage")


def test_exchanges_that_happened_together_are_told_apart():
    """Lines of two streams come in any order."""
    other = [{**line, "id": 2} for line in (REQUEST, *STREAM)]
    mixed = [line for pair in zip([REQUEST, *STREAM], other, strict=True) for line in pair]
    _, exchanges = jsonl.parse_lines(written(HEAD, *mixed))
    assert [taken.answer for taken in exchanges if isinstance(taken, jsonl.Taken)] == [BODY, BODY]


def test_what_a_killed_recorder_left_is_read():
    """The last line is half a line, the stream has no end: all before it is there."""
    data = written(HEAD, REQUEST, *STREAM[:3])[:-20]
    _, exchanges = jsonl.parse_lines(data)
    taken, cut = exchanges
    assert isinstance(taken, jsonl.Taken)
    assert taken.how is None
    assert taken.answer == b'data: {"event": '
    assert isinstance(cut, Unreadable)
    assert "line 5" in str(cut)
    assert "the file ends in it" in str(cut)


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ({**HEAD, "version": 2}, "version 2"),
        ({"type": "request"}, "first line"),
        ({**HEAD, "version": "1"}, "version"),
    ],
)
def test_other_version_is_refused(first, words):
    """What a later program wrote is not guessed at."""
    with pytest.raises(Unreadable, match=words):
        jsonl.parse_lines(written(first, REQUEST))


@pytest.mark.parametrize(
    "line",
    [
        {"type": "piece", "id": 9, "at": 1.0, "text": "x"},
        {"type": "request", "id": 1},
        {"type": "piece", "id": 1, "at": 1.0},
        {"type": "piece", "id": 1, "text": "x"},
        {"type": "piece", "id": 1, "at": 1.0, "base64": "%"},
        {"id": 1},
        [],
    ],
)
def test_wrong_line_spoils_no_other(line):
    """It is said which line, and the rest is read."""
    _, exchanges = jsonl.parse_lines(written(HEAD, REQUEST, STREAM[0], line, *STREAM[1:]))
    (wrong,) = [found for found in exchanges if isinstance(found, Unreadable)]
    assert "line 4" in str(wrong)
    assert [found.answer for found in exchanges if isinstance(found, jsonl.Taken)] == [BODY]


def test_readers_of_recordings_read_it(tmp_path):
    """`contract-tests judge` and all others get it as any other recording."""
    path = tmp_path / jsonl.NAME
    path.write_bytes(written(HEAD, REQUEST, *STREAM, {**REQUEST, "id": 2}))
    answered, unanswered = reading.read(path)
    assert not isinstance(answered, Unreadable)
    assert answered.answer.body == BODY
    assert answered.app == "dify-chat"
    assert answered.query == {"a": ("1",)}
    assert not isinstance(unanswered, Unreadable)
    with pytest.raises(Unreadable, match="no answer was recorded"):
        assert unanswered.answer


def test_har_has_the_pieces():
    """A HAR file of the same exchange is valid JSON, is read by our reader, and keeps each piece with its time."""
    text = "".join(write_har(io.BytesIO(written(HEAD, REQUEST, *STREAM))))
    (entry,) = json.loads(text)["log"]["entries"]
    assert [piece["at"] for piece in entry["response"]["content"]["_pieces"]] == [500.0, 1250.0, 1500.0]
    assert entry["startedDateTime"] == "1970-01-01T00:00:10.000Z"
    assert entry["time"] == 2000.0
    (recorded,) = reading.parse(text.encode(), "x.har")
    assert not isinstance(recorded, Unreadable)
    assert recorded.answer.body == BODY
    assert recorded.asked == REQUEST["body"]["text"].encode()  # type: ignore[index]


def test_partial_answer_that_the_server_broke_off_says_both():
    """What the recorder left out is not asked for, and how the answer ended is told all the same."""
    end = {**STREAM[-1], "how": "timeout", "partial": True}
    _, (taken,) = jsonl.parse_lines(written(HEAD, REQUEST, *STREAM[:-1], end))
    assert isinstance(taken, jsonl.Taken)
    answer = jsonl.as_recorded(taken).answer
    assert (answer.left, answer.cut) == ("the recorder left it out", "")
    assert answer.notes == ("the server was silent for too long",)


@pytest.mark.parametrize("kind", ["text/event-stream", "application/octet-stream"])
def test_har_has_an_empty_body(kind):
    """A server that said nothing is not one whose answer was not recorded."""
    head = {**STREAM[0], "headers": [["Content-Type", kind]]}
    text = "".join(write_har(io.BytesIO(written(HEAD, REQUEST, head, STREAM[-1]))))
    (recorded,) = reading.parse(text.encode(), "x.har")
    assert not isinstance(recorded, Unreadable)
    assert recorded.answer.body == b""


@pytest.mark.parametrize("body", [b"", "Grüße".encode(), bytes(range(256)), b"--b\r\n\r\n\x89PNG\xff\r\n--b--"])
def test_har_has_the_body_of_the_request(body):
    """Byte for byte, also where it is no text; other tools are told so in both ways that they know."""
    sent = {**REQUEST, "body": jsonl.write_bytes(body)} if body else {**REQUEST, "body": None}
    text = "".join(write_har(io.BytesIO(written(HEAD, sent, *STREAM))))
    (recorded,) = reading.parse(text.encode(), "x.har")
    assert not isinstance(recorded, Unreadable)
    assert recorded.asked == (body or None)
    (entry,) = json.loads(text)["log"]["entries"]
    posted = entry["request"].get("postData", {})
    assert posted.get("encoding") == posted.get("_encoding") == ("base64" if b"\xff" in body else None)


@pytest.mark.parametrize("field", ["encoding", "_encoding"])
def test_binary_request_of_other_tools_is_read(field):
    """Some say `encoding`, some `_encoding`; one that is none is a body that was not recorded."""
    entry = {
        "request": {"method": "POST", "url": "http://x/v1/a", "postData": {"text": "/w==", field: "base64"}},
        "response": {"status": 204},
    }
    broken = {**entry, "request": {**entry["request"], "postData": {"text": "?", field: "base64"}}}  # type: ignore[dict-item]
    whole, unread = reading.parse(json.dumps({"log": {"entries": [entry, broken]}}).encode(), "x.har")
    assert not isinstance(whole, Unreadable)
    assert not isinstance(unread, Unreadable)
    assert (whole.asked, unread.asked) == (b"\xff", None)


def test_har_of_nothing_is_valid():
    """A proxy that nobody asked leaves a HAR file without entries."""
    assert json.loads("".join(write_har(io.BytesIO(written(HEAD)))))["log"]["entries"] == []


@pytest.mark.parametrize("body", ['Grüße \U0001f600 "\\'.encode(), bytes(range(256)), "é".encode()[:1]])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_har_has_the_body_in_whatever_pieces_it_came(body, size):
    """Also where a piece ends in a character, where it is no text, and where two exchanges happened at once."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    lines: list[dict[str, object]] = [REQUEST, {**REQUEST, "id": 2}, STREAM[0], {**STREAM[0], "id": 2}]
    lines += [
        {"type": "piece", "id": exchange, "at": 11.0 + number, **jsonl.write_bytes(piece)}
        for number, piece in enumerate(pieces)
        for exchange in (1, 2)
    ]
    odd = [
        b'{"type":"piece","id":1}\n',
        b'{"type":"piece","id":3,"at":1,"text":"a"}\n',
        b"{oh\n",
        b'{"type":"end","id":',
    ]
    text = "".join(write_har(io.BytesIO(written(HEAD, *lines) + b"".join(odd))))
    entries = json.loads(text)["log"]["entries"]
    assert [entry["response"]["content"]["size"] for entry in entries] == [len(body)] * 2
    assert [len(entry["response"]["content"]["_pieces"]) for entry in entries] == [len(pieces)] * 2
    for recorded in reading.parse(text.encode(), "x.har"):
        assert not isinstance(recorded, Unreadable)
        assert recorded.answer.body == body


def test_memory_of_a_har_is_that_of_a_line(tmp_path):
    """Twenty megabytes in one answer take no twenty megabytes."""
    path = tmp_path / "recording.jsonl"
    piece = {"type": "piece", "id": 1, "at": 11.0, "text": "data: " + "x" * 10_000}
    path.write_bytes(written(HEAD, REQUEST, STREAM[0], *[piece] * 2000))
    tracemalloc.start()
    try:
        with path.open("rb") as recording:
            size = sum(map(len, write_har(recording)))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert size > 40_000_000
