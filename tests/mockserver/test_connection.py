"""A connection's parts: which state may follow which, bytes -> requests without a transport, replies -> a transport."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from mockserver.blobs.blob import Blob
from mockserver.http.messages import AbortConnection, PlainHeaders, Reply, Request
from mockserver.server.http1 import CAPABILITIES, Connection
from mockserver.server.reply_writer import ReplyWriter
from mockserver.server.request_parser import ContinueExpected, Event, ParsedRequest, Refusal, RequestParser
from mockserver.server.shared import Shared
from mockserver.server.states import ANSWERING, READING, Answering, IllegalTransitionError, Reading, State, move

LEGAL = {
    Reading: """
        IDLE     HEAD REFUSED ENDED
        HEAD     HEAD BODY REFUSED ENDED
        BODY     IDLE REFUSED ENDED
        REFUSED  ENDED
        ENDED
    """,
    Answering: """
        IDLE     QUEUED ASKING SENDING CLOSING CLOSED
        QUEUED   ASKING CLOSING CLOSED
        ASKING   DELAYED SENDING CLOSING CLOSED
        DELAYED  SENDING CLOSING CLOSED
        SENDING  IDLE QUEUED CLOSING CLOSED
        CLOSING  CLOSED
        CLOSED
    """,
}
"""What may follow what, written a second time and by hand."""


# The tables


@pytest.mark.parametrize("states", [Reading, Answering])
def test_only_what_the_table_names_may_follow(states: type[State]) -> None:
    """Every pair of states: the named ones are entered, all others raise and name both."""
    rows = (line.split() for line in LEGAL[states].strip().splitlines())
    legal = {(first, following) for first, *others in rows for following in others}
    for state, following in itertools.product([*states], repeat=2):
        if (state.name, following.name) in legal:
            assert move(state, following) is following
        else:
            with pytest.raises(IllegalTransitionError, match=f"{following.name} cannot follow {state.name}"):
                move(state, following)


@pytest.mark.parametrize(("table", "last"), [(READING, Reading.ENDED), (ANSWERING, Answering.CLOSED)])
def test_every_state_is_reached_and_leads_to_the_end(table: Mapping[State, tuple[State, ...]], last: State) -> None:
    """Nothing waits for ever: from the first state all others are reached, and from each of them the last one."""
    first = next(iter(table))
    assert set(table) == {first} | {state for followers in table.values() for state in followers}
    assert len(table) == len(type(first))
    assert all(last in followers for state, followers in table.items() if state is not last)
    assert table[last] == ()


# Bytes -> requests


HEAD = b"POST /v1/a%20b?c=d HTTP/1.1\r\nHost: a\r\n"
POST = HEAD + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: x\r\n\r\n"
UPGRADE = HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET /v1/a%20b?c=d HTTP/1.1\r\nHost: a\r\n\r\n"


def parser() -> RequestParser:
    return RequestParser(1000, "192.0.2.1", CAPABILITIES)


def requests_of(events: list[Event]) -> list[tuple[str, str, str, bytes, object, bool]]:
    """Return what matters of parsed requests."""
    asked = [event for event in events if isinstance(event, ParsedRequest)]
    return [
        (each.method, each.path, each.query, b"".join(each.body.read_chunks()), each.body_error, keep_alive)
        for each, keep_alive, _ in asked
    ]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("sent", [POST, CHUNKED, UPGRADE])
def test_request_is_the_same_however_its_bytes_arrive(sent: bytes, size: int) -> None:
    """Two requests, cut into pieces anywhere, are two requests, and the parser waits for the next one."""
    reading, events = parser(), []
    for start in range(0, 2 * len(sent), size):
        events += reading.feed((sent + sent)[start : start + size])
    assert requests_of(events) == [("POST", "/v1/a b", "c=d", b"hello", "", True)] * 2
    assert reading.state.name == "IDLE"
    assert reading.end() == []
    assert reading.state.name == "ENDED"


def test_parser_tells_what_has_arrived() -> None:
    """Its state follows the bytes: nothing, a part of a head, a part of a body, nothing again."""
    reading, states = parser(), []
    for part in (b"\r\n", POST[:10], POST[10:-3], POST[-3:]):
        reading.feed(part)
        states.append(reading.state)
    assert states == [Reading.IDLE, Reading.HEAD, Reading.BODY, Reading.IDLE]


def test_client_that_ends_in_a_body_has_asked() -> None:
    """A request that breaks off in its body is one, and says so; one that breaks off in its head is none."""
    reading = parser()
    reading.feed(POST[:-2])
    assert requests_of(reading.end()) == [("POST", "/v1/a b", "c=d", b"hel", "cut short", False)]
    reading = parser()
    reading.feed(POST[:20])
    assert reading.end() == []


@pytest.mark.parametrize(
    ("sent", "status", "detail"),
    [
        (b"\x16\x03\x01\x02\x00", 400, b"speaks TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, b"speaks HTTP/2"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"no Host header"),
        (b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 400, b"no Host header"),
        (b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, b"names a user"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431, b"65536 bytes"),
        (b"rubbish\r\n", 400, b"no HTTP/1.1 request"),
    ],
)
def test_what_is_no_request_is_refused_once(sent: bytes, status: int, detail: bytes) -> None:
    """A refusal says why, and is the last event; nothing that comes after it is read."""
    reading = parser()
    *before, refusal = reading.feed(GET + sent) if sent.startswith(b"rubbish") else reading.feed(sent)
    assert isinstance(refusal, Refusal)
    assert refusal.reply.status == status
    assert isinstance(refusal.reply.body, bytes)
    assert detail in refusal.reply.body
    assert len(before) == sent.startswith(b"rubbish")
    assert reading.state.name == "REFUSED"
    assert reading.feed(GET) == []
    reading.end()
    assert reading.state.name == "ENDED"


def test_broken_body_is_a_request_that_is_cut_short() -> None:
    """The API has a refusal of its own for a body that cannot be read; after that nothing is read."""
    reading = parser()
    events = reading.feed(CHUNKED[: CHUNKED.index(b"3\r\nllo")] + b"not a length\r\n" + POST)
    assert requests_of(events) == [("POST", "/v1/a b", "c=d", b"he", "cut short", False)]
    assert reading.state is Reading.REFUSED


@pytest.mark.parametrize("trailer", [b"A: " + b"a" * 200_000, b"A: b\r\n" * 50_000])
def test_trailer_that_does_not_end_is_refused(trailer: bytes) -> None:
    """It is dropped, but while it lasts the parser keeps its parts, and nobody is answered."""
    reading, events = parser(), []
    for data in (
        CHUNKED[: CHUNKED.index(b"Trailer")],
        *(trailer[at : at + 32_768] for at in range(0, len(trailer), 32_768)),
    ):
        events += reading.feed(data)
    (refusal,) = events
    assert isinstance(refusal, Refusal)
    assert refusal.reply.status == 431


def test_body_in_the_smallest_chunks_is_no_trailer() -> None:
    """Only what is not reported counts, and only until something is."""
    reading = RequestParser(100_000, "192.0.2.1", CAPABILITIES)
    reading.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(30_000):
        assert reading.feed(b"1\r\n") == reading.feed(b"a") == reading.feed(b"\r\n") == []
    assert requests_of(reading.feed(b"0\r\n\r\n"))[0][3] == b"a" * 30_000


def test_expectation_comes_before_its_request() -> None:
    """`Expect: 100-continue` is told as soon as the head is there."""
    reading = parser()
    assert reading.feed(HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n") == [ContinueExpected()]
    assert requests_of(reading.feed(b"hello"))


def test_mistake_of_ours_is_no_refusal() -> None:
    """What fails in a callback of the parser is raised, not told to the client as its own fault."""
    reading = parser()
    reading.end()
    with pytest.raises(IllegalTransitionError, match="HEAD cannot follow ENDED; nothing can"):
        reading.feed(GET)


# Replies -> a transport


class Transport:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.written = b""
        self.log: list[str] = []

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def get_extra_info(self, _name: str) -> Any:
        """Know nothing."""
        return None

    def is_closing(self) -> bool:
        """Tell whether it was closed."""
        return bool(self.log)

    def close(self) -> None:
        """Note it."""
        self.log.append("close")

    def abort(self) -> None:
        """Note it."""
        self.log.append("abort")

    def write_eof(self) -> None:
        """Note it."""
        self.log.append("write_eof")

    def pause_reading(self) -> None:
        """Go on."""


class Turns:
    """A stream of which one piece is due each time it is asked; an exception is raised."""

    on_loop = False

    def __init__(self, *turns: bytes | AbortConnection) -> None:
        self.turns = list(turns)
        self.closed = 0
        self.on_change: Callable[[], None] = lambda: None

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return the next piece."""
        turn = self.turns.pop(0)
        if isinstance(turn, AbortConnection):
            raise turn
        return [turn], now if self.turns else None

    def stop(self) -> None:
        """Go on."""

    def close(self) -> None:
        """Note it."""
        self.closed += 1


def write(sent: Reply, *, chunks: bool = True, head_only: bool = False, turns: int = 5) -> tuple[bytes, list[str]]:
    """Return what a writer writes of a reply when the client reads so many times, and how it ends."""
    transport, log = Transport(), []

    async def send() -> None:
        writer = ReplyWriter(
            cast(asyncio.Transport, transport),
            asyncio.get_running_loop(),
            finish=lambda: log.append("finish"),
            abort=lambda cut: log.append(cut.how),
        )
        writer.full = True
        writer.send(sent, head_only=head_only, keep_alive=True, chunks=chunks, date="Date: x\r\n")
        writer.full = False
        for _ in range(turns):
            writer.resume()
        writer.discard()

    asyncio.run(send())
    return transport.written, log


def reply(body: Any) -> Reply:
    return Reply(200, PlainHeaders([("A", "b")]), body)


START = b"HTTP/1.1 200 OK\r\nDate: x\r\nA: b\r\n"


def test_known_length_is_told_and_written_whole() -> None:
    """Bytes and files have a length; after HEAD only that is told."""
    for body in (b"hello", Blob(b"hello")):
        assert write(reply(body)) == (START + b"Content-Length: 5\r\n\r\nhello", ["finish"])
        assert write(reply(body), head_only=True) == (START + b"Content-Length: 5\r\n\r\n", ["finish"])


def test_stream_is_chunked_for_clients_that_understand_chunks() -> None:
    """Each piece is a chunk, an empty one is none; older clients get the bytes alone."""
    chunked = START + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    for chunks, expected in ((True, chunked), (False, START + b"\r\nabc")):
        body = Turns(b"a", b"", b"bc")
        assert write(reply(body), chunks=chunks) == (expected, ["finish"])
        assert body.closed == 1


def test_slow_client_gets_the_head_and_no_more() -> None:
    """Nothing but the first turn is written to a client that does not read; what is left is closed with it."""
    body = Turns(b"a", b"b", b"c")
    assert write(reply(body), turns=0) == (START + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", [])
    assert (body.turns, body.closed) == ([b"b", b"c"], 1)
    written, log = write(reply(Blob(b"x" * 1_000_000)), turns=0)
    assert len(written) < 200_000
    assert log == []


@pytest.mark.parametrize("how", ["close", "reset"])
def test_broken_off_reply_is_reported_not_finished(how: Any) -> None:
    """What was due before is written, and the head unless the break is to come before it."""
    head = START + b"Transfer-Encoding: chunked\r\n\r\n"
    assert write(reply(Turns(b"a", AbortConnection(how)))) == (head + b"1\r\na\r\n", [how])
    assert write(reply(Turns(AbortConnection(how)))) == (head, [how])
    assert write(reply(Turns(AbortConnection(how, headless=True)))) == (b"", [how])


# The connection that joins them


class Answers:
    """An application that gives the same reply to all."""

    max_upload = 1000
    fixed_clock = 0.0

    def __init__(self, make: Callable[[], Reply]) -> None:
        self._make = make
        self.asked = 0

    def wants_body_later(self, head: Request) -> bool:
        """Want it whole."""
        return False

    def handle(self, request: Request, now: float) -> Reply:
        """Count it."""
        self.asked += 1
        return self._make()


def connect(app: Answers) -> tuple[Connection, Transport]:
    connection, transport = Connection(Shared(app)), Transport()
    connection.connection_made(cast(asyncio.Transport, transport))
    return connection, transport


def test_client_that_never_reads_is_not_answered_packet_by_packet() -> None:
    """Requests that come one at a time wait like those that come together, until the client has read."""
    app = Answers(lambda: reply(b"hello"))

    async def exchange() -> None:
        connection, transport = connect(app)
        connection.pause_writing()
        for _ in range(20):
            connection.data_received(GET)
            await asyncio.sleep(0)
        assert app.asked == 0
        connection.resume_writing()
        for _ in range(50):
            await asyncio.sleep(0)
        assert app.asked == 20
        assert transport.written.count(b"hello") == 20
        assert connection._state is Answering.IDLE

    asyncio.run(exchange())


LEAVING: dict[str, list[tuple[str, object]]] = {
    "lost": [("connection_lost", None)],
    "closed twice, then lost": [("close", ...), ("close", ...), ("connection_lost", None)],
    "rubbish": [("data_received", b"\xff\xff\r\n\r\n"), ("data_received", GET)],
}
"""How a connection comes to its end: methods and what they are given."""


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize(
    ("state", "delay_s", "sent"),
    [
        (Answering.IDLE, 0.0, b""),
        (Answering.IDLE, 0.0, GET[:-2]),
        (Answering.DELAYED, 100.0, GET),
        (Answering.SENDING, 0.0, GET),
        (Answering.SENDING, 0.0, GET + GET),
    ],
)
def test_connection_may_end_in_any_state(leave: str, state: Answering, delay_s: float, sent: bytes) -> None:
    """The stream that it carried is closed, whatever it was doing, and nothing is answered any more."""
    bodies: list[Turns] = []

    def make() -> Reply:
        bodies.append(Turns(b"a", b"b"))
        return Reply(200, PlainHeaders([]), bodies[-1], delay_s=delay_s)

    app = Answers(make)

    async def exchange() -> None:
        connection, _ = connect(app)
        connection.data_received(sent)
        assert connection._state is state
        for method, argument in LEAVING[leave]:
            getattr(connection, method)(*([] if argument is ... else [argument]))
        for _ in range(10_000):
            if connection._state in (Answering.CLOSING, Answering.CLOSED):
                break
            await asyncio.sleep(0)
        assert connection._state in (Answering.CLOSING, Answering.CLOSED)
        assert app.asked == len(bodies) <= 2
        assert all(body.closed for body in bodies)

    asyncio.run(exchange())
