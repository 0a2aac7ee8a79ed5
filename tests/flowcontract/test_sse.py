"""Bytes become the blocks and events that the WHATWG's text demands, however they are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcontract.errors import BlockTooLargeError, StreamError
from flowcontract.streams.sse import Block, Decoder, Event, encode, encode_json


def read(*pieces: bytes, framing="sse") -> list[Block]:
    """Return all blocks of a stream that comes in pieces."""
    decoder = Decoder(framing)
    return [block for piece in pieces for block in decoder.feed(piece)] + decoder.close()


def dispatched(*pieces: bytes) -> list[tuple[str, str, str]]:
    """Return what a client dispatches."""
    return [tuple(block.event) for block in read(*pieces) if block.event]


# The examples of https://html.spec.whatwg.org/multipage/server-sent-events.html, byte for byte.
STOCKS = b"data: YHOO\ndata: +2\ndata: 10\n\n"
COMMENTS = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n"
EMPTY_DATA = b"data\n\ndata\ndata\n\ndata:"
SPACES = b"data:test\n\ndata: test\n\n"
NAMED = b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n"
NEXT_MESSAGE = (
    b"data: This is the first message.\n\n"
    b"data: This is the second message, it\ndata: has two lines.\n\n"
    b"data: This is the third message.\n\n"
)

LITERAL = [
    ("the standard's stock ticker: lines of data are joined", STOCKS, [("message", "YHOO\n+2\n10", "")]),
    (
        "the standard's four blocks: a comment, an id, an id reset, an unterminated block that is discarded",
        COMMENTS,
        [("message", "first event", "1"), ("message", "second event", "")],
    ),
    (
        "the standard's empty data: two events, the last block discarded",
        EMPTY_DATA,
        [("message", "", ""), ("message", "\n", "")],
    ),
    (
        "the standard's spaces: one after the colon is not data",
        SPACES,
        [("message", "test", ""), ("message", "test", "")],
    ),
    (
        "the standard's named events",
        NAMED,
        [("add", "73857293", ""), ("remove", "2153", ""), ("add", "113411", "")],
    ),
    (
        "the standard's messages of one and two lines",
        NEXT_MESSAGE,
        [
            ("message", "This is the first message.", ""),
            ("message", "This is the second message, it\nhas two lines.", ""),
            ("message", "This is the third message.", ""),
        ],
    ),
    ("lines end with LF", b"data: a\n\ndata: b\n\n", [("message", "a", ""), ("message", "b", "")]),
    ("lines end with CR LF", b"data: a\r\n\r\ndata: b\r\n\r\n", [("message", "a", ""), ("message", "b", "")]),
    ("lines end with CR", b"data: a\r\rdata: b\r\r", [("message", "a", ""), ("message", "b", "")]),
    (
        "lines end in all three ways",
        b"data: a\r\n\ndata: b\n\rdata: c\r\r\ndata: d\n\r\n",
        [("message", c, "") for c in "abcd"],
    ),
    ("one leading byte order mark is dropped", b"\xef\xbb\xbfdata: a\n\n", [("message", "a", "")]),
    ("a second byte order mark is part of a name", b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    ("a byte order mark later is part of a name", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("message", "a", "")]),
    (
        "a bare event is never dispatched, and its type is forgotten",
        b"event: ping\n\ndata: a\n\n",
        [("message", "a", "")],
    ),
    (
        "the last type of a block counts, an empty one is none",
        b"event: a\nevent: b\ndata\n\nevent\ndata\n\n",
        [("b", "", ""), ("message", "", "")],
    ),
    (
        "an id with NUL is ignored",
        b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n",
        [("message", "a", "1"), ("message", "b", "1")],
    ),
    ("an id lasts until the next", b"id: 1\ndata: a\n\ndata: b\n\n", [("message", "a", "1"), ("message", "b", "1")]),
    ("an id counts in a block that is not dispatched", b"id: 7\n\ndata: a\n\n", [("message", "a", "7")]),
    ("unknown fields and other cases are ignored", b"Data: a\nDATA: b\nfoo: c\ndata: d\n\n", [("message", "d", "")]),
    ("a space before the name is part of it", b" data: a\n\n", []),
    ("only the first colon separates", b"data: a: b\n\n", [("message", "a: b", "")]),
    ("more blank lines are none", b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [("message", "a", ""), ("message", "b", "")]),
    ("a line end is not a blank line", b"data: a\n", []),
    ("a block without blank line is discarded", b"data: a\n\ndata: b", [("message", "a", "")]),
    ("an empty stream has no events", b"", []),
    (
        "U+2028, U+2029, U+0085, VT and FF are ordinary",
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\n\n".encode(),
        [("message", "a\u2028b\u2029c\u0085d\x0be\x0cf", "")],
    ),
    ("a byte that is no UTF-8 is replaced", b"data: a\xffb\n\n", [("message", "a\ufffdb", "")]),
    ("a code point cut short is one replacement", b"data: \xf0\x9f\x98\n\n", [("message", "\ufffd", "")]),
    ("a surrogate is three replacements", b"data: \xed\xa0\x80\n\n", [("message", "\ufffd\ufffd\ufffd", "")]),
    ("a line end ends a code point that was cut short", b"data: \xe4\ndata: b\n\n", [("message", "\ufffd\nb", "")]),
]


@pytest.mark.parametrize(("stream", "events"), [row[1:] for row in LITERAL], ids=[row[0] for row in LITERAL])
def test_literal_bytes_become_these_events(stream: bytes, events: list):
    """What is dispatched for these bytes is what the standard says, whole and byte by byte."""
    assert dispatched(stream) == events
    assert dispatched(*(stream[n : n + 1] for n in range(len(stream)))) == events


@pytest.mark.parametrize(("stream", "events"), [row[1:] for row in LITERAL], ids=[row[0] for row in LITERAL])
def test_literal_bytes_become_these_events_wherever_they_are_cut_once(stream: bytes, events: list):
    """Cutting the bytes at any one place changes nothing, neither blocks nor offsets."""
    whole = read(stream)
    for place in range(len(stream) + 1):
        assert read(stream[:place], stream[place:]) == whole
    assert [tuple(block.event) for block in whole if block.event] == events


_PIECES = [
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    ":",
    " ",
    "data",
    "data: x",
    "event: e",
    "id: 1",
    "id: \0",
    "retry: 5",
    ": c",
    "{}",
]
_PIECES += ["\ufeff", "\u2028", "é"]
ALPHABET = st.sampled_from([*(piece.encode() for piece in _PIECES), b"\xff", b"\xf0\x9f\x98"])
STREAMS = st.lists(ALPHABET, max_size=25).map(b"".join)


@settings(deadline=None)  # a busy machine is no failure
@given(
    stream=STREAMS, cuts=st.lists(st.integers(0, 120), max_size=8), framing=st.sampled_from(["sse", "json-blank-line"])
)
def test_the_result_is_the_same_for_every_cut(stream: bytes, cuts: list[int], framing):
    """Blocks, offsets, events, ids and the state left behind do not depend on how the input was cut."""
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert read(*pieces, framing=framing) == read(stream, framing=framing)


@settings(deadline=None)  # a busy machine is no failure
@given(stream=STREAMS)
def test_blocks_lie_in_the_stream_where_they_say(stream: bytes):
    """Offsets point to the very bytes, ascending; between blocks there are only line ends."""
    end = 3 if stream.startswith(b"\xef\xbb\xbf") and read(stream) else 0
    for block in read(stream):
        assert stream[block.start : block.end] == block.raw
        assert stream[end : block.start].strip(b"\r\n") == b""
        end = block.end
    if end:
        assert stream[end:].strip(b"\r\n") == b""


def _naive(stream: bytes) -> list[tuple[str, str, str]]:
    """Interpret a stream line by line, as the standard's text is written: slowly, and without looking at our code."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    events, data, kind, last_id = [], "", "", ""
    for line in lines:
        if not line:
            if data:
                events.append((kind or "message", data.removesuffix("\n"), last_id))
            data = kind = ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data += value + "\n"
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value
    return events


@settings(deadline=None)  # a busy machine is no failure
@given(stream=STREAMS)
def test_the_events_are_those_of_a_line_by_line_reading(stream: bytes):
    """The fast decoder dispatches what a literal transcription of the standard dispatches."""
    assert dispatched(stream) == _naive(stream)


def test_a_block_keeps_what_stood_on_the_wire():
    """A bare ping, comments and unknown fields are in the block, with their order, place and bytes."""
    stream = b"data: a\n\nevent: ping\n\n: hi\nfoo\ndata:  b\nid: 3\n\nda"
    blocks = read(stream)
    assert [(block.start, block.end, block.complete) for block in blocks] == [
        (0, 7, True),
        (9, 20, True),
        (22, 45, True),
        (47, 49, False),
    ]
    assert blocks[1].event is None
    assert blocks[1].fields == (("event", "ping"),)
    assert blocks[2].fields == (("", "hi"), ("foo", ""), ("data", " b"), ("id", "3"))
    assert blocks[2].event == Event("message", " b", "3")
    assert blocks[3].fields == (("da", ""),)


def test_an_event_comes_with_the_last_byte_of_its_blank_line():
    """Nothing waits for the byte after the blank line, not even for the LF that may follow a CR."""
    for stream in (b"data: a\n\n", b"data: a\r\r", b"data: a\r\n\r"):
        decoder = Decoder()
        assert decoder.feed(stream[:-1]) == []
        assert [block.event for block in decoder.feed(stream[-1:])] == [("message", "a", "")]
    assert [block.event for block in decoder.feed(b"\ndata: b\n\n")] == [("message", "b", "")]


@pytest.mark.parametrize(
    ("value", "retry"), [("5000", 5000), ("5s", None), ("-1", None), ("", None), ("\u0665", None), ("9" * 5000, None)]
)
def test_retry_is_ascii_digits_only(value: str, retry: int | None):
    """The time to reconnect is set by digits alone; everything else is ignored."""
    decoder = Decoder()
    decoder.feed(f"retry: {value}\n\n".encode())
    assert decoder.retry_ms == retry


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_block_beyond_the_limit_is_refused_with_what_came_before(size: int):
    """Memory is bounded: the error names the limit and carries the blocks that came before, however they came."""
    decoder = Decoder(max_block_bytes=100)
    stream = b"data: a\n\n" + b"data: " + b"x" * 94 + b"\n\n" + b"data: " + b"x" * 95 + b"\n\n"
    seen: list[Block] = []

    def feed_all() -> None:
        for at in range(0, len(stream), size):
            seen.extend(decoder.feed(stream[at : at + size]))

    with pytest.raises(BlockTooLargeError, match="larger than 100 bytes") as error:
        feed_all()
    assert [block.start for block in seen + error.value.before] == [0, 9]


def test_a_block_without_end_is_refused_before_it_fills_the_memory():
    """A stream that never ends its block is given up with the first byte over the limit."""
    decoder = Decoder(max_block_bytes=1000)
    for _ in range(1000):
        assert decoder.feed(b"x") == []
    with pytest.raises(BlockTooLargeError):
        decoder.feed(b"x")


def test_json_objects_between_blank_lines_are_blocks_too():
    """The second framing gives the same blocks; the whole of each is the data."""
    blocks = read(b'{"a": 1}\n\n{\n"b": "x\\n\\ny"\n}\r\n\r\n{"c"', framing="json-blank-line")
    assert [block.event and block.event.data for block in blocks] == ['{"a": 1}', '{\n"b": "x\\n\\ny"\n}', None]
    assert [block.start for block in blocks] == [0, 10, 31]


def test_an_unknown_framing_is_refused():
    """The error lists the framings that there are."""
    with pytest.raises(StreamError, match="There is: sse, json-blank-line"):
        Decoder("ndjson")  # type: ignore[arg-type]


ENCODED = [
    ({"data": "a"}, b"data: a\n\n"),
    ({"data": "a\nb\r\nc\rd"}, b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
    ({"data": ""}, b"data: \n\n"),
    ({"event": "ping"}, b"event: ping\n\n"),
    ({"comment": "hi\nthere"}, b": hi\n: there\n\n"),
    (
        {"data": "x", "event": "e", "id": "7", "retry": 10, "comment": ""},
        b": \nevent: e\nid: 7\nretry: 10\ndata: x\n\n",
    ),
    ({"data": "你\u2028"}, "data: 你\u2028\n\n".encode()),
]


@pytest.mark.parametrize(("fields", "raw"), ENCODED, ids=[str(raw) for _, raw in ENCODED])
def test_fields_become_these_bytes(fields: dict, raw: bytes):
    """The encoder writes one block, and its blank line."""
    assert encode(**fields) == raw


@pytest.mark.parametrize("fields", [{}, {"event": "a\nb"}, {"id": "a\rb", "data": ""}, {"id": "\0"}])
def test_what_cannot_be_one_block_is_refused(fields: dict):
    """A block of nothing, and fields of several lines or with NUL, would be read as something else."""
    with pytest.raises(StreamError):
        encode(**fields)


@settings(deadline=None)  # a busy machine is no failure
@given(data=st.text(), event=st.text("abc", min_size=1), event_id=st.text("12é", min_size=1))
def test_what_is_encoded_is_dispatched(data: str, event: str, event_id: str):
    """Encoded fields come back, line ends in data as LF."""
    told = encode(data.encode("utf-8", "replace").decode(), event=event, id=event_id)
    expected = data.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    assert dispatched(told) == [(event, expected, event_id)]


def test_json_with_a_blank_line_is_refused():
    """It would end its own block early."""
    assert encode_json('{"a": 1}\n') == b'{"a": 1}\n\n'
    for text in ("", "{\n\n}"):
        with pytest.raises(StreamError):
            encode_json(text)
