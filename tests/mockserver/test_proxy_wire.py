"""What a gateway owes to HTTP: every piece passes before the next is sent, and every end is passed on as it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest
from proxying import KEY, STREAM_HEAD, Upstream, chat, connect, event, passing_of, proxying, request

from mockserver.server.pool import ServerConnection

DIFY = "dify-chat"
FORM = "multipart/form-data; boundary=b"


@pytest.fixture
def upstream():
    with Upstream() as server:
        yield server


@pytest.fixture
def proxy(upstream):
    with proxying({DIFY: f"{upstream.url}/base"}) as server:
        yield server


def test_each_piece_of_an_answer_passes_before_the_next_is_sent(upstream, proxy):
    """The server sends a piece only when the client has read the one before, in a chunk of its own."""
    with connect(proxy) as client:
        client.send(chat())
        with upstream.accept() as server:
            server.read_until(b'"streaming"}')
            server.send(STREAM_HEAD)
            assert client.read_head()["content-type"] == "text/event-stream"
            for number in range(20):
                piece = event("message", answer=str(number))
                for part in (piece[:7], piece[7:]):
                    server.send_chunk(part)
                    assert client.read_chunk() == part
            server.send(b"0\r\n\r\n")
            assert client.read_chunk() == b""


def test_each_piece_of_an_upload_passes_before_the_next_is_sent(upstream, proxy):
    """Uploads are passed on while they come, framed as they came."""
    with connect(proxy) as client:
        head = {"Content_Type": FORM, "Transfer_Encoding": "chunked"}
        client.send(request("POST", "/v1/files/upload", **head))
        with upstream.accept() as server:
            assert server.read_head()["transfer-encoding"] == "chunked"
            for number in range(20):
                client.send_chunk(b"part %d" % number)
                assert server.read_chunk() == b"part %d" % number
            client.send(b"0\r\n\r\n")
            assert server.read_chunk() == b""
            server.send(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")
            assert client.read_head().status == 201
            assert client.read_exactly(2) == b"{}"


def test_upload_with_a_length_keeps_it(upstream, proxy):
    """A client that says how long its body is has it passed on so."""
    with connect(proxy) as client:
        client.send(request("POST", "/v1/files/upload", Content_Type=FORM, Content_Length="10"))
        with upstream.accept() as server:
            head = server.read_head()
            assert head["content-length"] == "10"
            assert head.get("transfer-encoding") is None
            client.send(b"01234")
            assert server.read_exactly(5) == b"01234"
            client.send(b"56789")
            assert server.read_exactly(5) == b"56789"
            server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            head = client.read_head()
            assert head.status == 204
            assert head.get("transfer-encoding") is None


def test_answer_that_comes_before_the_request_has_ended_is_passed_on(upstream, proxy):
    """A server may refuse a large upload at once (RFC 9112, 9.3); the client hears it while it still sends."""
    with connect(proxy) as client:
        client.send(request("POST", "/v1/files/upload", Content_Type=FORM, Content_Length="1000000"))
        with upstream.accept() as server:
            server.answer(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
            head = client.read_head()
            assert (head.status, client.read_exactly(3)) == (413, b"big")
            assert head["connection"] == "close"


def test_expectation_is_the_servers_to_meet(upstream, proxy):
    """`Expect: 100-continue` of an upload goes to the server, its 100 to the client (RFC 9110, 10.1.1)."""
    with connect(proxy) as client:
        head = {"Content_Type": FORM, "Content_Length": "4", "Expect": "100-continue"}
        client.send(request("POST", "/v1/files/upload", **head))
        with upstream.accept() as server:
            assert server.read_head()["expect"] == "100-continue"
            server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
            client.send(b"body")
            assert server.read_exactly(4) == b"body"
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert client.read_head().status == 200


def test_refused_expectation_is_passed_on(upstream, proxy):
    """A server that does not want the body says so, and no 100 is invented."""
    with connect(proxy) as client:
        head = {"Content_Type": FORM, "Content_Length": "4", "Expect": "100-continue"}
        client.send(request("POST", "/v1/files/upload", **head))
        with upstream.accept() as server:
            server.answer(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
            assert client.read_head().status == 417


def test_headers_of_one_connection_stay_on_it(upstream, proxy):
    """What is hop-by-hop, and what `Connection` names, goes no further, in both directions (RFC 9110, 7.6.1)."""
    with connect(proxy) as client:
        hop = {"Connection": "keep-alive, X-Mine", "X_Mine": "1", "TE": "trailers", "Keep_Alive": "5", "X_Kept": "yes"}
        client.send(request("GET", "/v1/info?a=b%20c", **hop))
        with upstream.accept() as server:
            head = server.read_head()
            assert head.line == "GET /base/info?a=b%20c HTTP/1.1"
            assert head["host"] == f"127.0.0.1:{upstream.port}"
            assert head["authorization"] == KEY
            assert head["x-kept"] == "yes"
            assert head["via"] == "1.1 mockserver"
            assert not {"connection", "x-mine", "te", "keep-alive"} & {name for name, _ in head.pairs}
            server.send(
                b"HTTP/1.1 200 Fine\r\nConnection: X-Theirs\r\nX-Theirs: 1\r\nX-Also: 2\r\nX-Also: 3\r\n"
                b"Date: then\r\nContent-Length: 2\r\n\r\n{}"
            )
            answer = client.read_head()
            assert answer.line == "HTTP/1.1 200 Fine"
            assert answer.pairs == [("x-also", "2"), ("x-also", "3"), ("date", "then"), ("content-length", "2")]


def test_what_the_mock_understood_goes_no_further(upstream, proxy):
    """Of `Prefer` and of the suffix on `user` the server sees what is not the mock's."""
    with connect(proxy) as client:
        body = b'{"query": "Hi", "user": "me#mock:fault=latency=1", "inputs":{},  "response_mode": "blocking"}'
        prefer = 'respond-async, fault="latency=1"'
        client.send(request("POST", "/v1/chat-messages", body, Content_Type="application/json", Prefer=prefer))
        with upstream.accept() as server:
            head = server.read_head()
            assert head["prefer"] == "respond-async"
            size = int(head["content-length"])
            assert json.loads(server.read_exactly(size))["user"].partition("#mock:")[0] == "me"


def test_suffix_is_cut_out_of_the_body_as_it_is_written(upstream, proxy):
    """No other byte of the body changes."""
    with connect(proxy) as client:
        body = b'{"query": "Hi", "user": "me#mock:fault=latency=1", "inputs":{},  "response_mode": "blocking"}'
        client.send(request("POST", "/v1/chat-messages", body, Content_Type="application/json"))
        with upstream.accept() as server:
            size = int(server.read_head()["content-length"])
            assert server.read_exactly(size) == body.replace(b"#mock:fault=latency=1", b"")


@pytest.mark.parametrize("end", ["close", "reset"])
def test_answer_that_breaks_off_breaks_off_for_the_client(upstream, proxy, end):
    """The client can tell that an answer is not whole, and in which way it ended; that is the server's fault."""
    with connect(proxy) as client:
        client.send(chat())
        with upstream.accept() as server:
            server.read_until(b'"streaming"}')
            server.send(STREAM_HEAD)
            client.read_head()
            server.send_chunk(event("message"))
            assert client.read_chunk() == event("message")
            server.reset() if end == "reset" else server.close()
            if end == "reset":
                with pytest.raises(ConnectionResetError):
                    client.read_rest()
            else:
                assert client.read_rest() == b""
    entry = proxy.mock.journal.list_entries()[-1]
    assert entry.answer_violations[-1]["rule"] == "answer"
    assert passing_of(proxy).summary.wrong["server"] == 1


def test_answer_without_a_length_ends_with_the_connection(upstream, proxy):
    """HTTP/1.0 servers close at the end of the body (RFC 9112, 6.3): the client gets a whole answer."""
    with connect(proxy) as client:
        client.send(request("GET", "/v1/info"))
        with upstream.accept() as server:
            server.answer(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}")
            head = client.read_head()
            assert head["transfer-encoding"] == "chunked"
            assert client.read_chunk() == b"{}"
            server.close()
            assert client.read_chunk() == b""


def test_client_that_sends_no_more_still_gets_its_answer(upstream, proxy):
    """A half-closed connection is open in the other direction."""
    with connect(proxy) as client:
        client.send(chat())
        client.socket.shutdown(socket.SHUT_WR)
        with upstream.accept() as server:
            server.read_until(b'"streaming"}')
            server.send(STREAM_HEAD)
            server.send_chunk(b"data: 1\n\n")
            server.send(b"0\r\n\r\n")
            client.read_head()
            assert client.read_chunk() == b"data: 1\n\n"
            assert client.read_chunk() == b""


def test_client_that_leaves_ends_the_request_to_the_server(upstream, proxy):
    """The server is not kept busy for nobody."""
    with connect(proxy) as client:
        client.send(chat())
        with upstream.accept() as server:
            server.read_until(b'"streaming"}')
            server.send(STREAM_HEAD)
            client.read_head()
            client.reset()
            with contextlib.suppress(ConnectionResetError):  # or it is reset, so that it notices at once
                assert server.read_rest() == b""


def test_nobody_there_is_a_502_in_the_proxys_own_words(upstream, proxy):
    """It says who says so, and the proxy works again when the server is back."""
    upstream.socket.close()
    with connect(proxy) as client:
        client.send(request("GET", "/v1/info"))
        head = client.read_head()
        assert (head.status, head["content-type"]) == (502, "application/problem+json")
        assert head["proxy-status"] == "mockserver; error=connection_refused"
        problem = json.loads(client.read_exactly(int(head["content-length"])))
        assert problem["detail"].startswith("mockserver proxy: ")
        with Upstream(upstream.port) as back:
            client.send(request("GET", "/v1/info"))
            with back.accept() as server:
                server.answer()
                assert client.read_head().status == 200
    assert not passing_of(proxy).summary.clean


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", "connection_terminated"),
        (b"HTTP/1.1 200 OK\r\nContent-", "connection_terminated"),
        (b"SSH-2.0-OpenSSH\r\n", "http_protocol_error"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "http_protocol_error"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 300_000 + b"\r\n\r\n", "http_protocol_error"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 300_000, "http_protocol_error"),
        (b"HTTP/1.1 103 \r\n\r\n" * 20_000, "http_protocol_error"),
    ],
)
def test_no_answer_is_a_502(upstream, proxy, said, error):
    """A server that closes, speaks something else or never comes to an end of its headers has given no answer."""
    with connect(proxy) as client:
        client.send(request("POST", "/v1/chat-messages", b"{}", Content_Type="application/json"))
        with upstream.accept() as server:
            server.read_until(b"{}")
            with contextlib.suppress(OSError):  # of headers without an end not all is read
                server.send(said)
                server.socket.shutdown(socket.SHUT_WR)
            if b" 103 " in said:
                client.read_until(b"103 \r\n\r\nHTTP/1.1 5")
                client.held = b"HTTP/1.1 5" + client.held
            head = client.read_head()
            assert (head.status, head["proxy-status"]) == (502, f"mockserver; error={error}")


def test_silent_server_is_a_504(upstream):
    """One that is silent for too long is given up; in the middle of an answer that breaks off."""
    with proxying({DIFY: upstream.url}, silent_s=0.1) as proxy, connect(proxy) as client:
        client.send(chat())
        with upstream.accept():
            assert client.read_head().status == 504
    with proxying({DIFY: upstream.url}, silent_s=0.1) as proxy, connect(proxy) as client:
        client.send(chat())
        with upstream.accept() as server:
            server.read_until(b'"streaming"}')
            server.send(STREAM_HEAD)
            assert client.read_head().status == 200
            assert client.read_rest() == b""


def test_redirect_is_passed_on_and_not_followed(upstream, proxy):
    """Where a key goes is the client's to decide."""
    with connect(proxy) as client, Upstream() as elsewhere:
        client.send(request("GET", "/v1/info"))
        with upstream.accept() as server:
            server.answer(f"HTTP/1.1 307 Go\r\nLocation: {elsewhere.url}/\r\nContent-Length: 0\r\n\r\n".encode())
            head = client.read_head()
            assert (head.status, head["location"]) == (307, f"{elsewhere.url}/")
        elsewhere.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


@pytest.mark.parametrize(
    "path",
    [
        "/other/info",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/a/..%2f..%2fadmin",
        "/v12/info",
        "/v1/..;a/b",
        "/v1/..%252fb",
    ],
)
def test_nothing_passes_but_what_is_under_the_base_path(upstream, proxy, path):
    """Another path is not the server's business, be it spelt with dot segments."""
    with connect(proxy) as client:
        client.send(request("GET", path))
        assert client.read_head().status == 404
    upstream.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        upstream.accept()


def test_no_request_has_two_lengths(upstream, proxy):
    """Where the client says both, chunks count: else the server might read a second request out of the first."""
    with connect(proxy) as client:
        head = {"Content_Type": FORM, "Transfer_Encoding": "chunked", "Content_Length": "5"}
        client.send(request("POST", "/v1/files/upload", **head) + b"3\r\nabc\r\n0\r\n\r\n")
        with upstream.accept() as server:
            assert server.read_head().get("content-length") is None


@pytest.mark.parametrize("trailer", [b"A: " + b"a" * 900_000, b"A: b\r\n" * 100_000])
def test_answer_whose_trailer_does_not_end_breaks_off(upstream, proxy, trailer):
    """A server does not fill the proxy's memory, nor is a client kept waiting by it."""
    with connect(proxy) as client:
        client.send(request("GET", "/v1/info"))
        with upstream.accept() as server:
            server.read_head()
            with contextlib.suppress(OSError):
                server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + trailer)
            assert client.read_head().status == 200
            assert client.read_rest() == b""


def test_second_answer_to_a_request_answers_no_other(upstream, proxy):
    """A connection on which more came than was asked for is not used again."""
    with connect(proxy) as client:
        client.send(request("GET", "/v1/info"))
        with upstream.accept() as server:
            server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-")
            assert client.read_head().status == 200
            assert client.read_exactly(2) == b"{}"
            client.send(request("GET", "/v1/info"))
            with upstream.accept() as other:
                assert other.read_head().line == "GET /base/info HTTP/1.1"


@pytest.mark.parametrize("mode", ["navigate", "cors"])
def test_page_of_the_server_may_not_ask_the_proxy(upstream, proxy, mode):
    """What a browser shows has the origin of `/__mock__`; so its scripts do not run, whatever the server says."""
    with connect(proxy) as client:
        client.send(request("GET", "/v1/info", Sec_Fetch_Mode=mode))
        with upstream.accept() as server:
            server.answer(b"HTTP/1.1 200 OK\r\nContent-Security-Policy: a\r\nContent-Length: 0\r\n\r\n")
            said = [value for name, value in client.read_head().pairs if name == "content-security-policy"]
            assert said == (["a", "sandbox"] if mode == "navigate" else ["a"])


def test_head_has_the_length_that_the_server_says(upstream, proxy):
    """An answer to HEAD has no body whatever its headers say."""
    with connect(proxy) as client:
        for _ in range(2):
            client.send(request("HEAD", "/v1/info"))
            with upstream.accept() as server:
                server.answer(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1234\r\n\r\n")
                assert client.read_head()["content-length"] == "1234"
    assert passing_of(proxy).summary.clean


def test_connection_to_the_server_is_used_again(upstream, proxy):
    """Two requests need one connection."""
    with connect(proxy) as client:
        client.send(request("GET", "/v1/info"))
        with upstream.accept() as server:
            for _ in range(3):
                server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                assert client.read_head().status == 200
                assert client.read_exactly(2) == b"{}"
                client.send(request("GET", "/v1/info"))


def test_request_is_sent_again_if_an_idle_connection_was_closed(upstream, proxy):
    """A connection may be closed while it waits; what changes nothing is asked on another (RFC 9112, 9.3.1)."""
    with connect(proxy) as client:
        client.send(request("GET", "/v1/info"))
        with upstream.accept() as server:
            server.answer()
            client.read_head()
            client.send(request("GET", "/v1/info"))
            server.read_head()  # it has come, and then the server closes
        with upstream.accept() as server:
            server.answer()
            assert client.read_head().status == 200


def test_slow_client_slows_the_server_down(upstream, proxy):
    """What nobody reads is not piled up: the server has to wait."""
    with connect(proxy) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.send(chat())
        with upstream.accept() as server:
            server.read_until(b'"streaming"}')
            server.send(STREAM_HEAD)
            server.socket.settimeout(1.0)
            assert _send_until_full(server) < 64 << 20


def _send_until_full(server):
    """Send until nobody takes any more; return how many bytes that were."""
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 1 << 30:
            server.send_chunk(b":" + b" " * (1 << 16) + b"\n\n")
            sent += 1 << 16
    return sent


class Exchange:
    """What is told of an answer, and how it ended."""

    surplus = False

    def __init__(self) -> None:
        self.body = b""
        self.ended = ""

    def count_unread(self, size: int) -> None:
        """Take note."""

    def on_body(self, body: bytes) -> None:
        """Take some bytes of the body."""
        self.body += body

    def note_server_left(self, *, reset: bool) -> None:
        """Note that the connection is closed."""
        self.ended = "reset" if reset else "closed"


class Transport(asyncio.Transport):
    """Knows whether it is read from."""

    reading = True
    aborted = False

    def pause_reading(self) -> None:
        """Read no more."""
        self.reading = False

    def resume_reading(self) -> None:
        """Read on."""
        self.reading = True

    def is_closing(self) -> bool:
        """Tell whether it was aborted."""
        return self.aborted

    def abort(self) -> None:
        """Close."""
        self.aborted = True


LARGE = bytes(range(256)) * 256
CHUNK = b"10000\r\n" + LARGE + b"\r\n"


def begin() -> tuple[ServerConnection, Transport, Exchange]:
    """Return a connection on which the head of a stream has come."""
    connection, transport, exchange = ServerConnection(), Transport(), Exchange()
    connection.connection_made(transport)
    connection.begin(exchange)  # type: ignore[arg-type]
    connection.data_received(STREAM_HEAD)
    return connection, transport, exchange


async def count_turns(transport: Transport) -> int:
    """Return after how many turns of the loop it is read from again."""
    turns = 0
    while not transport.reading and turns < 1000:
        await asyncio.sleep(0)
        turns += 1
    return turns


def test_fast_server_lets_others_in() -> None:
    """Of one that has always more only so much is parsed in a turn of the loop: others and signals come, too."""

    async def scenario() -> None:
        connection, transport, exchange = begin()
        assert transport.reading
        connection.data_received(CHUNK)
        assert not transport.reading
        assert 0 < len(exchange.body) <= len(LARGE) // 4
        assert 3 < await count_turns(transport) < 10
        assert exchange.body == LARGE
        connection.data_received(CHUNK[:100])
        assert transport.reading

    asyncio.run(scenario())


def test_slow_client_keeps_a_fast_server_from_being_read() -> None:
    """What has come and is not parsed waits, too, until the client reads on; what TLS had already read is behind it."""

    async def scenario() -> None:
        connection, transport, exchange = begin()
        connection.data_received(CHUNK)
        connection.let_server_send(False)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not transport.reading
        assert len(exchange.body) <= len(LARGE) // 4
        connection.data_received(CHUNK)
        connection.let_server_send(True)
        await count_turns(transport)
        assert exchange.body == LARGE * 2

    asyncio.run(scenario())


def test_client_that_stalls_again_and_again_gets_no_more_turns() -> None:
    """However often it stops and goes on, a part is parsed in each turn of the loop."""

    async def scenario() -> None:
        connection, transport, exchange = begin()
        connection.data_received(CHUNK * 4)
        grown = []
        while not transport.reading:
            connection.let_server_send(False)
            connection.let_server_send(True)
            before = len(exchange.body)
            await asyncio.sleep(0)
            grown.append(len(exchange.body) - before)
        assert max(grown) <= len(LARGE) // 4
        assert exchange.body == LARGE * 4

    asyncio.run(scenario())


@pytest.mark.parametrize("reset", [False, True])
def test_server_that_leaves_is_heard_to_its_end(reset: bool) -> None:
    """What has come before is told before that it has left."""

    async def scenario() -> None:
        connection, transport, exchange = begin()
        connection.data_received(CHUNK)
        if reset:
            connection.connection_lost(ConnectionResetError())
        else:
            connection.eof_received()
        assert (exchange.body, exchange.ended) == (LARGE, "reset" if reset else "closed")
        await count_turns(transport)
        assert exchange.body == LARGE

    asyncio.run(scenario())


def test_what_follows_an_answer_in_a_later_turn_closes_the_connection() -> None:
    """It was not asked for, and answers nobody."""

    async def scenario() -> None:
        connection, transport, exchange = begin()
        connection.data_received(CHUNK + STREAM_HEAD)
        for _ in range(2):
            await asyncio.sleep(0)
        assert not connection.keeps_alive()
        connection.end()  # as an exchange does that has what it wants
        for _ in range(10):
            await asyncio.sleep(0)
        assert transport.aborted
        assert not connection.usable
        assert len(exchange.body) < len(LARGE)

    asyncio.run(scenario())
