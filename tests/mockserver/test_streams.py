"""A stream knows what is due when; its time is the test's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from mock_calls import NOW, Caller, read

from flowcontract.scenarios import Piece
from flowcontract.streams.judge import StreamJudge
from mockserver.http.stream import Ending, KeepAlive, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mockserver.http.messages import Streamed

CHAT = {"query": "hello", "user": "abc-123", "inputs": {}, "response_mode": "streaming"}


def pieces(*delays_and_texts: tuple[int, str]) -> Iterator[Piece]:
    return iter([Piece(delay, text.encode(), text) for delay, text in delays_and_texts])


def ending(*delays_and_texts: tuple[int, str]) -> Ending:
    return Ending(lambda _values: pieces(*delays_and_texts), lambda payload: payload == delays_and_texts[0][1])


def test_pieces_come_when_their_delays_have_passed() -> None:
    """Each piece is due its delay after the one before it, and `advance` says when to ask again."""
    stream = Stream(pieces((0, "a"), (500, "b"), (250, "c")))
    assert stream.advance(10.0) == ([b"a"], 10.5)
    assert stream.advance(10.4) == ([], 10.5)
    assert stream.advance(10.5) == ([b"b"], 10.75)
    assert stream.advance(10.75) == ([b"c"], None)


def test_late_sender_gets_everything_that_is_due_at_once() -> None:
    """Who asks late gets all that was due, and the rest keeps its own time."""
    stream = Stream(pieces((0, "a"), (100, "b"), (100, "c"), (1000, "d")))
    stream.advance(0.0)
    assert stream.advance(0.5) == ([b"b", b"c"], 1.2)


@pytest.mark.parametrize(("pace", "wake"), [(2.0, 2.0), (0.5, 0.5)])
def test_pace_multiplies_delays(pace: float, wake: float) -> None:
    """Pace 2 takes twice as long."""
    assert Stream(pieces((0, "a"), (1000, "b")), pace=pace).advance(0.0) == ([b"a"], wake)


def test_pace_zero_sends_everything_at_once() -> None:
    """Without delays a stream is over with the first question."""
    assert Stream(pieces((900, "a"), (90_000, "b")), pace=0, keep_alive=KeepAlive(b"p", 10)).advance(0.0) == (
        [b"a", b"b"],
        None,
    )


def test_silence_is_broken_by_pings() -> None:
    """After ten seconds without a piece a ping comes, and again after ten more."""
    stream = Stream(pieces((0, "a"), (25_000, "b")), keep_alive=KeepAlive(b"event: ping\n\n", 10))
    assert stream.advance(0.0) == ([b"a"], 10.0)
    assert stream.advance(10.0) == ([b"event: ping\n\n"], 20.0)
    assert stream.advance(20.0) == ([b"event: ping\n\n"], 25.0)
    assert stream.advance(25.0) == ([b"b"], None)


def test_stop_replaces_what_remains_by_the_ending() -> None:
    """The rest never comes; the ending is due at once, and whoever waits is told to ask."""
    asked: list[str] = []
    stream = Stream(pieces((0, "a"), (5000, "b")), ending=ending((0, "stopped"), (0, "end")))
    stream.on_change = lambda: asked.append("again")
    stream.advance(0.0)
    stream.stop()
    assert asked == ["again"]
    assert stream.advance(0.1) == ([b"stopped", b"end"], None)
    assert stream.ended == "stopped"


def test_stopping_twice_or_after_the_end_changes_nothing() -> None:
    """The ending is sent once."""
    stream = Stream(pieces((0, "a"), (9000, "b")), ending=ending((0, "end")))
    stream.advance(0.0)
    stream.stop()
    stream.stop()
    assert stream.advance(0.0) == ([b"end"], None)
    stream.stop()
    assert stream.advance(1.0) == ([], None)


def test_stop_comes_too_late_once_the_ending_has_begun() -> None:
    """A stream that is already ending by itself is not ended twice."""
    stream = Stream(pieces((0, "a"), (0, "end"), (1000, "coda")), ending=ending((0, "end")))
    stream.advance(0.0)
    stream.stop()
    assert stream.advance(1.0) == ([b"coda"], None)
    assert stream.ended == "complete"


def test_how_a_stream_ended_is_told_once() -> None:
    """A stream that was sent is complete, even if its sender then says that it has gone."""
    for leave, told in ((False, "complete"), (True, "gone")):
        heard: list[str] = []
        stream = Stream(pieces((0, "a"), (0 if not leave else 1000, "b")))
        stream.on_end = heard.append
        stream.advance(0.0)
        stream.close()
        stream.close()
        assert heard == [told]


def test_payloads_are_heard_when_they_are_sent_not_before() -> None:
    """What the world keeps of a stream is what the client has got."""
    heard: list[Any] = []
    stream = Stream(pieces((0, "a"), (1000, "b")))
    stream.on_piece = heard.append
    stream.advance(0.0)
    assert heard == ["a"]


def test_default_answer_is_written_over_time(mock: Caller) -> None:
    """The default answer of the chat app is paced: its pieces come one after the other, the last after a while."""
    answer = mock.ask("POST", "/v1/chat-messages", key="app-chat-paced", json_body=CHAT)
    times = [moment for moment, _ in answer.pieces]
    assert times == sorted(times)
    assert 0.2 < times[-1] < 60
    assert len(set(times)) > 5


def test_slow_scenario_is_kept_alive_by_the_contracts_ping(mock: Caller) -> None:
    """The bare 13 bytes of real servers come in the silence, and the stream still follows the contract."""
    reply = mock.open(
        "POST", "/v1/chat-messages", key="app-chat-paced", json_body=CHAT, Prefer="example=slow-with-ping"
    )
    answer = read(reply)
    gaps = [after - before for (before, _), (after, _) in zip(answer.pieces, answer.pieces[1:], strict=False)]
    assert max(gaps) <= 10.0
    assert b"event: ping\n\n" in [piece for _, piece in answer.pieces]


STOPPABLE = {
    "dify-chat": ("app-chat-stop", "/v1/chat-messages", "/v1/chat-messages/{}/stop"),
    "dify-workflow": ("app-workflow-stop", "/v1/workflows/run", "/v1/workflows/tasks/{}/stop"),
}


@pytest.mark.parametrize("api", STOPPABLE)
def test_stream_stopped_anywhere_ends_as_the_contract_wants(mock: Caller, api: str) -> None:
    """After whichever piece a stream is stopped, it ends within 100 ms, and what came is what the contract allows."""
    key, path, stop = STOPPABLE[api]
    contract = next(one.stream for one in mock.app.mock.apis[api].operations.values() if one.stream)
    whole = len(mock.ask("POST", path, key=key, json_body=CHAT).pieces)
    said_so = 0
    for count in range(1, whole):
        stream = mock.open("POST", path, key=key, json_body=CHAT).body
        sent, now = _advance(stream, count)
        task = json.loads(sent.decode().partition("\n")[0].removeprefix("data: "))["task_id"]
        answer = mock.ask("POST", stop.format(task), key=key, json_body={"user": "abc-123"})
        assert answer.json == {"result": "success"}
        rest, ended = _drain(stream, now)
        assert ended - now <= 0.1
        said_so += b'"stopped"' in rest
        judge = StreamJudge(contract)
        assert [str(one) for one in [*judge.feed(sent + rest), *judge.close()]] == [], f"stopped after {count} pieces"
    assert said_so >= whole - 4, "only where the ending has begun it is too late"


def test_another_users_stop_stops_nothing(mock: Caller) -> None:
    """It answers success like any other, and the stream goes on to its end."""
    stream = mock.open("POST", "/v1/chat-messages", key="app-chat-stop", json_body=CHAT).body
    sent, now = _advance(stream, 1)
    task = json.loads(sent.decode().partition("\n")[0].removeprefix("data: "))["task_id"]
    path = f"/v1/chat-messages/{task}/stop"
    assert mock.ask("POST", path, key="app-chat-stop", json_body={"user": "eve"}).json == {"result": "success"}
    assert b'"stopped"' not in _drain(stream, now)[0]


def _drain(stream: Streamed, now: float) -> tuple[bytes, float]:
    """Read a stream to its end; return the bytes and the time of the last ones."""
    sent, wake = stream.advance(now)
    while wake is not None:
        now = wake
        due, wake = stream.advance(now)
        sent += due
    return b"".join(sent), now


def _advance(stream: Streamed, count: int) -> tuple[bytes, float]:
    """Read at least `count` pieces; return their bytes and the time."""
    sent, now = [], NOW
    while len(sent) < count:
        due, wake = stream.advance(now)
        sent += due
        assert wake is not None
        now = wake if len(sent) < count else now
    return b"".join(sent), now
