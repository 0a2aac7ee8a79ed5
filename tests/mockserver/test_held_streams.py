"""A stream can be held in its middle: by its scenario until a test releases it, and by hand at `/__mock__/streams`."""

from __future__ import annotations

import json

import httpx
import pytest
from proxying import CHAT, STREAM_HEAD, Upstream, chat, connect, event, proxying, request

from flowcontract.scenarios import Piece
from mockserver.config.settings import Settings
from mockserver.http.stream import Stream
from mockserver.server.mock_server import MockServer

DIFY = "dify-chat"
SCENARIO = """
description: Held twice.
reply:
  events:
    - data: {event: message, answer: one}
    - hold: first
    - data: {event: message, answer: two}
    - data: {event: message, answer: three}
      hold: second
    - data: {event: message_end}
"""


@pytest.fixture(scope="module")
def fixtures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenarios")
    (folder / DIFY / "sendChatMessage").mkdir(parents=True)
    (folder / DIFY / "sendChatMessage" / "200-held.yaml").write_text(SCENARIO)
    return folder


@pytest.fixture
def server(fixtures):
    with MockServer([DIFY], fixtures=fixtures, settings=Settings(pace=0)) as running:
        yield running


def ask(server, client, **headers):
    """Ask for the scenario that is held; return when its head has come."""
    body = json.dumps(CHAT).encode()
    fields = {"Content_Type": "application/json", "Authorization": "Bearer app-chat"} | headers
    client.send(request("POST", "/v1/chat-messages", body, Prefer="example=held", **fields))
    assert client.read_head().status == 200


def said(piece):
    """Return the answer in an event."""
    return json.loads(piece.decode().removeprefix("data: ")).get("answer")


def live(server):
    """Return what `/__mock__/streams` lists."""
    return httpx.get(f"{server.origin}/__mock__/streams", trust_env=False).json()["streams"]


def steer(server, number, **body):
    """Ask for something of a stream."""
    return httpx.put(f"{server.origin}/__mock__/streams/{number}", json=body, trust_env=False)


def test_stream_waits_where_its_scenario_says(server):
    """Nothing behind a hold is sent before a test releases it, by its name."""
    with connect(server) as client:
        ask(server, client)
        assert said(client.read_chunk()) == "one"
        stream = live(server)[-1]
        assert (stream["state"], stream["hold"], stream["scenario"]) == ("held", "first", "200-held")
        with pytest.raises(AssertionError, match="Held now: first"):
            server.release("second", wait_s=0)
        assert server.release("first") == 1
        assert said(client.read_chunk()) == "two"
        assert server.release("second") == 1
        assert said(client.read_chunk().split(b"\n\n")[0]) == "three"
        client.read_until(b"0\r\n\r\n")
    assert stream["number"] not in {each["number"] for each in live(server)}


def test_stream_is_not_held_for_ever():
    """Who forgets to release it is told so, and the client does not wait for ever."""
    stream = Stream(iter([Piece(0, b"a", None), Piece(0, b"b", None, hold="here")]))
    stream.hold_s = 5.0
    assert stream.advance(0.0) == ([b"a"], 5.0)
    assert stream.held == "here"
    assert stream.advance(4.9) == ([], 5.0)
    with pytest.raises(Exception, match="broken off"):
        stream.advance(5.0)
    assert stream.failure is not None
    assert 'release("here")' in stream.failure


def test_release_lets_a_stream_go_on_at_its_pace():
    """What was held is due at once, what follows after its delays."""
    pieces = [Piece(0, b"a", None, hold="x"), Piece(1000, b"b", None), Piece(0, b"c", None, hold="y")]
    stream = Stream(iter(pieces))
    assert stream.advance(0.0)[0] == []
    stream.release()
    assert stream.advance(10.0) == ([b"a"], 11.0)
    assert stream.advance(11.0)[0] == [b"b"]
    stream.stop()
    assert stream.advance(11.0) == ([], None)


def test_stream_is_steered_by_hand(server):
    """Go on, drop what comes next, put something in, end it."""
    with connect(server) as client:
        ask(server, client)
        client.read_chunk()
        stream = live(server)[-1]
        number = stream["number"]
        assert steer(server, number, action="inject", event={"event": "message", "answer": "mine"}).status_code == 200
        assert said(client.read_chunk()) == "mine"
        steer(server, number, action="drop")
        steer(server, number, action="continue")
        while live(server)[-1]["hold"] != "second":
            pass
        steer(server, number, action="continue")
        assert said(client.read_chunk().split(b"\n\n")[0]) == "three"
    with connect(server) as client:
        ask(server, client)
        client.read_chunk()
        number = live(server)[-1]["number"]
        steer(server, number, action="inject", text=": bye\n\n")
        steer(server, number, action="close")
        assert client.read_chunk() == b": bye\n\n"
        assert client.read_rest() == b""  # without the end that HTTP demands
    assert server.mock.journal.find_entry(number).stream.ended == "cut"


def test_real_servers_stream_is_steered():
    """What passes through a proxy is held and goes on as well."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        client.send(chat())
        with upstream.accept() as server:
            server.read_until(b'"streaming"}')
            server.send(STREAM_HEAD)
            client.read_head()
            server.send_chunk(event("message", answer="one"))
            assert said(client.read_chunk()) == "one"
            number = live(proxy)[0]["number"]
            assert steer(proxy, number, action="hold").json()["state"] == "held"
            server.send_chunk(event("message", answer="two"))
            steer(proxy, number, action="inject", event={"event": "message", "answer": "mine"})
            assert said(client.read_chunk()) == "mine"
            steer(proxy, number, action="continue")
            assert said(client.read_chunk()) == "two"
            proxy.mock.journal.list_streams()[number].steer("drop")  # from another thread, as a test does
            server.send_chunk(event("message", answer="three"))
            server.send_chunk(event("message", answer="four"))
            assert said(client.read_chunk()) == "four"


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"action": "fly"},
        {"action": "drop", "count": 0},
        {"action": "inject"},
        {"action": "hold", "x": 1},
    ],
)
def test_what_cannot_be_done_is_said(server, body):
    """A 400 that tells what can."""
    with connect(server) as client:
        ask(server, client)
        client.read_chunk()
        number = live(server)[-1]["number"]
        answer = httpx.put(f"{server.origin}/__mock__/streams/{number}", json=body, trust_env=False)
        assert answer.status_code == 400
        assert '"action": "continue"' in answer.json()["detail"]


def test_stream_that_is_over_cannot_be_steered(server):
    """A 404 that lists what can."""
    answer = steer(server, 999999, action="continue")
    assert answer.status_code == 404
    assert "stream" in answer.json()["detail"]
