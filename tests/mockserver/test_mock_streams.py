"""A stream knows what is due when; its time is the test's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mock_calls import NOW, Caller, read

from flowcontract.scenarios import Piece
from flowcontract.streams import StreamJudge
from mockserver.messages import Streamed
from mockserver.replay import Stream

CHAT = {"query": "hello", "user": "abc-123", "inputs": {}, "response_mode": "streaming"}


def pieces(*delays_and_texts: tuple[int, str]) -> Iterator[Piece]:
    return iter([Piece(delay, text.encode(), text) for delay, text in delays_and_texts])


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
    assert Stream(pieces((900, "a"), (90_000, "b")), pace=0, ping=b"p", silence_s=10).advance(0.0) == ([b"a", b"b"], None)


def test_silence_is_broken_by_pings() -> None:
    """After ten seconds without a piece a ping comes, and again after ten more."""
    stream = Stream(pieces((0, "a"), (25_000, "b")), ping=b"event: ping\n\n", silence_s=10)
    assert stream.advance(0.0) == ([b"a"], 10.0)
    assert stream.advance(10.0) == ([b"event: ping\n\n"], 20.0)
    assert stream.advance(20.0) == ([b"event: ping\n\n"], 25.0)
    assert stream.advance(25.0) == ([b"b"], None)


def test_stop_replaces_what_remains_by_the_ending() -> None:
    """The rest never comes; the ending is due at once, and whoever waits is told to ask."""
    asked: list[str] = []
    stream = Stream(pieces((0, "a"), (5000, "b")), ending=lambda: pieces((0, "stopped"), (0, "end")))
    stream.on_change = lambda: asked.append("again")
    stream.advance(0.0)
    stream.stop()
    assert asked == ["again"]
    assert stream.advance(0.1) == ([b"stopped", b"end"], None)
    assert stream.ended == "stopped"


def test_stopping_twice_or_after_the_end_changes_nothing() -> None:
    """The ending is sent once."""
    stream = Stream(pieces((0, "a"), (9000, "b")), ending=lambda: pieces((0, "end")))
    stream.advance(0.0)
    stream.stop()
    stream.stop()
    assert stream.advance(0.0) == ([b"end"], None)
    stream.stop()
    assert stream.advance(1.0) == ([], None)


def test_how_a_stream_ended_is_told_once() -> None:
    """A stream that was sent is complete, even if its sender then says that it has gone."""
    for leave, told in ((False, "complete"), (True, "gone")):
        heard: list[str] = []
        stream = Stream(pieces((0, "a"), (0 if not leave else 1000, "b")))
        stream.on_end = heard.append
        stream.advance(0.0)
        stream.gone()
        stream.gone()
        assert heard == [told]


def test_payloads_are_heard_when_they_are_sent_not_before() -> None:
    """What the world keeps of a stream is what the client has got."""
    heard: list[Any] = []
    stream = Stream(pieces((0, "a"), (1000, "b")))
    stream.on_piece = heard.append
    stream.advance(0.0)
    assert heard == ["a"]


def test_forty_tokens_of_fifty_milliseconds_take_two_seconds(mock: Caller) -> None:
    """The default answer of the chat app is paced: its pieces come at increasing times, and the last one after a while."""
    answer = mock.ask("POST", "/v1/chat-messages", key="app-chat-paced", json_body=CHAT)
    times = [moment for moment, _ in answer.pieces]
    assert times == sorted(times)
    assert 0.2 < times[-1] < 60
    assert len(set(times)) > 5


def test_slow_scenario_is_kept_alive_by_the_contracts_ping(mock: Caller) -> None:
    """The bare 13 bytes of real servers come in the silence, and the stream still follows the contract."""
    reply = mock.open("POST", "/v1/chat-messages", key="app-chat-paced", json_body=CHAT, Prefer="example=slow-with-ping")
    answer = read(reply)
    gaps = [after - before for (before, _), (after, _) in zip(answer.pieces, answer.pieces[1:], strict=False)]
    assert max(gaps) <= 10.0
    assert b"event: ping\n\n" in [piece for _, piece in answer.pieces]


@pytest.mark.parametrize(
    ("api", "key", "path", "stop", "after"),
    [
        ("dify-chat", "app-chat", "/v1/chat-messages", "/v1/chat-messages/{task}/stop", pieces_before)
        for pieces_before in (1, 2, 5, 9)
    ]
    + [
        ("dify-workflow", "app-workflow", "/v1/workflows/run", "/v1/workflows/tasks/{task}/stop", pieces_before)
        for pieces_before in (1, 2, 4)
    ],
)
def test_stopped_stream_ends_as_the_contract_wants(
    mock: Caller, api: str, key: str, path: str, stop: str, after: int
) -> None:
    """Wherever a stream is stopped, it says so and ends, and what came is a stream that the contract allows."""
    key = f"{key}-stop-{after}"
    operation = next(one for one in mock.app.apis[api].operations.values() if one.stream)
    stream = mock.open("POST", path, key=key, json_body=CHAT).body
    assert isinstance(stream, Stream)
    sent, now = _advance(stream, after)
    task = json.loads(sent.decode().partition("\n")[0].removeprefix("data: "))["task_id"]
    assert mock.ask("POST", stop.format(task=task), key=key, json_body={"user": "someone else"}).json == {"result": "success"}
    assert stream.ended is None, "only its own user stops a task"
    assert mock.ask("POST", stop.format(task=task), key=key, json_body={"user": "abc-123"}).json == {"result": "success"}
    rest, wake = stream.advance(now)
    while wake is not None:
        assert wake - now < 0.1, "a stopped stream ends at once"
        due, wake = stream.advance(wake)
        rest += due
    assert b'"stopped"' in b"".join(rest)
    judge = StreamJudge(operation.stream)
    assert [str(one) for one in [*judge.feed(sent + b"".join(rest)), *judge.close()]] == []


def _advance(stream: Streamed, count: int) -> tuple[bytes, float]:
    """Read at least `count` pieces; return their bytes and the time."""
    sent, now = [], NOW
    while len(sent) < count:
        due, wake = stream.advance(now)
        sent += due
        assert wake is not None
        now = wake if len(sent) < count else now
    return b"".join(sent), now
