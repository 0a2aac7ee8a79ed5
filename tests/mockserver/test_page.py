"""The page for people, and what it asks for: who gets it, events that are resumed, time lines, worlds, the contract."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from mock_calls import Caller
from mock_events import WAIT_S, reading
from werkzeug.datastructures import Headers

from flowcontract.streams.order import parse
from mockserver.admin import page
from mockserver.admin.api import Admin
from mockserver.admin.contract import draw_tree
from mockserver.admin.feed import PING_S
from mockserver.admin.timeline import describe_stream
from mockserver.http.messages import Reply, Request
from mockserver.journal.stream_log import StreamLog
from mockserver.state.changes import Changes

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
CHAT = {"query": "hello", "inputs": {}, "user": "abc-123"}


# Who gets the page.


@pytest.mark.parametrize("path", ["/", page.PATH, f"{page.PATH}/"])
def test_browser_gets_the_page(mock: Caller, path: str) -> None:
    """At both addresses it is the same page, whose files are where it says, and which loads nothing from elsewhere."""
    answer = mock.ask("GET", path, Accept=HTML)
    text = answer.body.decode()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "{files}" not in text
    start = {"/": "__mock__/ui/", page.PATH: "ui/", f"{page.PATH}/": ""}[path]
    assert f'src="{start}app.js"' in text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_page_has_no_script_or_style_of_its_own(mock: Caller) -> None:
    """Everything is a file: nothing within the page runs, so nothing that is put into it does."""
    text = mock.ask("GET", page.PATH).body.decode()
    assert "<style" not in text
    assert "style=" not in text
    assert text.count("<script") == 1
    assert " on" not in text.replace(" on ", "").replace(" only", "").replace(" once", "")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_files_have_their_types(mock: Caller, name: str, kind: str) -> None:
    """A browser runs a module only if it is told that it is one."""
    answer = mock.ask("GET", f"{page.PATH}/{name}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/*", "text/html;q=0"])
def test_everybody_else_is_answered_as_before(mock: Caller, accept: str) -> None:
    """Programs that ask for `/` get the mock's own JSON, and the journal has them."""
    answer = mock.ask("GET", "/", **({"Accept": accept} if accept else {}))
    assert (answer.status, answer.json["title"]) == (404, "No API here")


@pytest.mark.parametrize("path", ["/", page.PATH])
def test_page_can_be_switched_off(make_app: Callable[..., Caller], path: str) -> None:
    """With --no-ui there is none."""
    assert make_app("dify-chat", ui=False).ask("GET", path, Accept=HTML).status == 404


@pytest.mark.parametrize(
    ("peer", "headers"), [("192.0.2.7", {}), ("127.0.0.1", {"Host": "mock.example"}), ("127.0.0.1", {"Via": "1.1 x"})]
)
def test_others_get_no_page_without_a_token(mock: Caller, peer: str, headers: dict[str, str]) -> None:
    """Beyond this machine there is none."""
    other = Caller(mock.app, peer)
    assert other.ask("GET", "/", Accept=HTML, **headers).status == 404
    assert other.ask("GET", page.PATH, Accept=HTML, **headers).status == 403


def test_with_a_token_the_page_is_open_and_its_data_is_not(make_app: Callable[..., Caller]) -> None:
    """The page holds no data; what it shows needs the token."""
    other = Caller(make_app("dify-chat", admin_token="s3cret").app, "192.0.2.7")
    assert other.ask("GET", "/", Accept=HTML).status == 200
    assert other.ask("GET", f"{page.PATH}/app.js").status == 200
    assert other.ask("GET", "/__mock__/events").status == 401
    assert other.ask("GET", "/__mock__/worlds", Authorization="Bearer s3cret").status == 200


def test_path_leads_to_no_other_file(mock: Caller) -> None:
    """Only the page's files are served, by their names."""
    for name in ("../admin/api.py", "..%2fadmin%2fapi.py", "app.js/", "nothing.js", "__init__.py"):
        assert mock.ask("GET", f"{page.PATH}/{name}").status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080"}, 200),
        ({"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:3000"}, 403),
        ({"Host": "127.0.0.1:8080", "Origin": "https://127.0.0.1:8080"}, 403),
        ({"Host": "127.0.0.1:8080", "Origin": "http://localhost:8080"}, 403),
        ({"Host": "127.0.0.1:8080", "Sec_Fetch_Site": "same-origin"}, 200),
        ({"Host": "127.0.0.1:8080", "Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate"}, 200),
        ({"Host": "127.0.0.1:8080", "Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 200),
        ({"Host": "127.0.0.1:8080", "Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 403),
        ({"Host": "127.0.0.1:8080", "Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"}, 403),
    ],
)
def test_only_a_page_of_the_mock_itself_may_ask(mock: Caller, headers: dict[str, str], status: int) -> None:
    """Scheme, host and port have to agree: another server of this machine may be anybody's."""
    assert mock.ask("GET", "/__mock__/health", **headers).status == status


def test_page_of_another_origin_leads_here_and_changes_nothing(mock: Caller) -> None:
    """A link there may lead to what is shown; its form may not send anything, be it without an Origin."""
    headers = {"Host": "127.0.0.1:8080", "Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert mock.ask("POST", "/__mock__/reset", **headers).status == 403
    assert mock.ask("HEAD", "/__mock__/health", **headers).status == 200


# Events.


def test_events_tell_what_is_remembered_and_what_comes(make_app: Callable[..., Caller]) -> None:
    """First all that the journal has, then each exchange as it is answered, with what the list shows of it."""
    mock = make_app("dify-chat")
    mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=CHAT)
    with reading(mock) as reader:
        hello, first = reader.events(2)
        assert hello[0] == "hello"
        assert hello[2] == {"resumed": False, "remembered": 1000}
        mock.ask("POST", "/v1/chat-messages", key="app-chat-alice", json_body={**CHAT, "response_mode": "x"})
        second = reader.events(3)[2]
    assert [first[0], first[2]["number"], first[2]["status"], first[2]["operation"]] == [
        "exchange",
        1,
        200,
        "dify-chat/sendChatMessage",
    ]
    assert [second[2]["world"], second[2]["violations"], second[2]["scenario"]] == [
        "dify-chat-alice",
        1,
        "400-invalid-param",
    ]
    assert second[2]["duration_ms"] >= 0


def test_reader_that_comes_back_gets_what_it_has_missed_and_nothing_twice(make_app: Callable[..., Caller]) -> None:
    """`Last-Event-ID` is all that is needed."""
    mock = make_app("dify-chat")
    for _ in range(3):
        mock.ask("GET", "/v1/info", key="app-chat")
    with reading(mock) as reader:
        last = reader.events(4)[3][1]
    for _ in range(2):
        mock.ask("GET", "/v1/info", key="app-chat")
    with reading(mock, last) as reader:
        events = reader.events(3)
    assert events[0][2]["resumed"] is True
    assert [content["number"] for _, _, content in events[1:]] == [4, 5]


@pytest.mark.parametrize("last", ["0123456789ab-3", "-1", "x", "x-y", "x-" + "9" * 400, "\u00e9-\u0663"])
def test_unknown_last_event_begins_anew(make_app: Callable[..., Caller], last: str) -> None:
    """One of another mock, or none at all: everything that is remembered comes, and the reader is told so."""
    mock = make_app("dify-chat")
    mock.ask("GET", "/v1/info", key="app-chat")
    with reading(mock, last) as reader:
        events = reader.events(2)
    assert (events[0][2]["resumed"], events[1][2]["number"]) == (False, 1)


def test_forgetting_lets_readers_begin_anew(make_app: Callable[..., Caller]) -> None:
    """What was forgotten in one place disappears everywhere."""
    mock = make_app("dify-chat")
    for key in ("app-chat", "app-chat-bob"):
        mock.ask("GET", "/v1/info", key=key)
    with reading(mock) as reader:
        reader.events(3)
        mock.ask("DELETE", "/__mock__/requests?world=app-chat")
        events = reader.events(5)[3:]
    assert [events[0][0], events[0][2]["resumed"], events[1][2]["world"]] == ["hello", False, "dify-chat-bob"]


def test_stream_is_told_when_it_begins_and_when_it_ends(make_app: Callable[..., Caller]) -> None:
    """Both times it is the same exchange, as it is then."""
    mock = make_app("dify-chat")
    with reading(mock) as reader:
        reply = mock.open("POST", "/v1/chat-messages", key="app-chat", json_body={**CHAT, "response_mode": "streaming"})
        begun = reader.events(2)[1][2]
        reply.body.close()  # type: ignore[union-attr]
        ended = reader.events(3)[-1][2]
    assert (begun["number"], begun["stream"]["ended"], begun["duration_ms"]) == (1, None, None)
    assert (ended["number"], ended["stream"]["ended"]) == (1, "gone")
    assert ended["duration_ms"] >= 0


def test_slow_reader_is_bounded_and_loses_nothing(make_app: Callable[..., Caller]) -> None:
    """Nothing is kept for one who does not read but a quarter of a megabyte; the journal has the rest."""
    mock = make_app("dify-chat", journal=5000)
    journal = mock.app.mock.journal
    for _ in range(3000):
        journal.close(journal.open(Request("GET", "/v1/info"), 0.0), Reply(200, Headers()))
    with reading(mock) as reader:
        feed = reader.feed
        assert reader.changed.wait(WAIT_S)
        assert sum(map(len, feed._ready)) < 300_000
        events = reader.events(3001)
    assert [content["number"] for _, _, content in events[1:]] == list(range(1, 3001))


def test_silence_is_filled_with_pings(make_app: Callable[..., Caller]) -> None:
    """Whoever waits sees that the connection lives."""
    with reading(make_app("dify-chat")) as reader:
        reader.events(1)
        assert reader.feed.advance(1.0) == ([], PING_S)
        assert reader.feed.advance(PING_S + 1) == ([b": ping\n\n"], 2 * PING_S + 1)


def test_readers_are_bounded(make_app: Callable[..., Caller]) -> None:
    """One too many is told so; when one leaves there is room."""
    app = make_app("dify-chat").app
    admin, asked = Admin(app.mock, app), Request("GET", "/__mock__/events", peer="127.0.0.1")
    replies = [admin.handle(asked, 0.0) for _ in range(17)]
    assert [reply.status for reply in replies] == [*[200] * 16, 503]
    replies[0].body.close()  # type: ignore[union-attr]
    replies[16] = admin.handle(asked, 0.0)
    assert replies[16].status == 200
    for reply in replies[1:]:
        reply.body.stop()  # type: ignore[union-attr]
        assert reply.body.advance(0.0) == ([], None)  # type: ignore[union-attr]


class Thing:
    """Something with a number."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_changes_are_those_since_a_revision_each_once() -> None:
    """What changes twice is told once; what was lost is said to be."""
    changes: Changes[Thing] = Changes(2)
    first, second, third = Thing(1), Thing(2), Thing(3)
    epoch = changes.list_since("", 0, 9).epoch
    for thing in (first, second, first):
        changes.note(thing)
    assert [row.number for _, row in changes.list_since(epoch, 0, 9).rows] == [2, 1]
    changes.note(third)
    assert changes.list_since(epoch, 1, 9).resumed is False
    assert [row.number for _, row in changes.list_since(epoch, 3, 9).rows] == [3]
    changes.note(second, again=True)
    assert [row.number for _, row in changes.list_since(epoch, 0, 9).rows] == [1, 3]


# Time lines.


def timeline(mock: Caller, number: int = 1, **query: int) -> Any:
    """Return the time line of an exchange."""
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return mock.ask("GET", f"/__mock__/requests/{number}/timeline?{asked}").json


def test_timeline_tells_events_by_kind_and_time(make_app: Callable[..., Caller]) -> None:
    """The kinds are those of the contract, and a reader asks only for what it does not have."""
    mock = make_app("dify-chat")
    mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body={**CHAT, "response_mode": "streaming"})
    told = timeline(mock)
    kinds = [event["kind"] for event in told["events"]]
    assert (kinds[0], kinds[-1], told["ended"]) == ("workflow_started", "message_end", "complete")
    times = [event["after_s"] for event in told["events"]]
    assert times == sorted(times)
    assert timeline(mock, after=len(kinds) - 1)["events"] == told["events"][-1:]
    assert told["found"] == len(kinds)
    assert "message_end" in told["end"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("no-final-blank", "cut off"), ("comments", "comment"), ("invalid-utf8", "message")],
)
def test_timeline_tells_what_is_no_event(make_app: Callable[..., Caller], fault: str, kind: str) -> None:
    """What faults make of a stream is told as what it is."""
    mock = make_app("dify-chat", pace=0)
    sent = {**CHAT, "response_mode": "streaming"}
    mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=sent, Prefer=f'fault="{fault}"')
    assert kind in [event["kind"] for event in timeline(mock)["events"]]


def test_timeline_names_the_last_event_of_what_is_not_kept(make_app: Callable[..., Caller]) -> None:
    """A long stream is counted to its end, whose kind and time are told; of a short one everything is there."""
    mock = make_app("dify-chat", pace=0)
    sent = {**CHAT, "response_mode": "streaming"}
    mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=sent)
    assert timeline(mock)["last"] is None
    mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body={**sent, "query": "x " * 3000})
    told = timeline(mock, 2)
    assert (told["ended"], told["last"]["kind"]) == ("complete", "message_end")
    assert told["pieces"] > told["kept"]
    assert told["last"]["after_s"] >= told["events"][-1]["after_s"]


def test_end_of_a_stream_that_is_one_large_event_has_no_kind() -> None:
    """What begins in the middle of an event is not taken for one."""
    log = StreamLog()
    log.add(2.0, b'data: {"event": "message", "answer": "' + b"x" * 100_000 + b'"}\n\n')
    told = describe_stream(SimpleNamespace(stream=log, number=1, duration_ms=None), None)
    assert told["last"] == {"after_s": 2.0, "kind": None}


def test_timeline_ends_when_the_stream_did(make_app: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its times count from when the sender began, which may be long after the request came, and the end does, too."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("mockserver.journal.entry.time.perf_counter", lambda: float(next(clock)))
    mock = make_app("dify-chat", pace=0)
    mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body={**CHAT, "response_mode": "streaming"})
    told = timeline(mock)
    assert (told["begun_s"], told["duration_ms"]) == (10, 20_000)


def test_answer_that_does_not_stream_has_no_timeline(make_app: Callable[..., Caller]) -> None:
    """That is a 404 which says so."""
    mock = make_app("dify-chat")
    mock.ask("GET", "/v1/info", key="app-chat")
    answer = mock.ask("GET", "/__mock__/requests/1/timeline")
    assert (answer.status, answer.json["title"]) == (404, "No stream")


# Worlds, faults, the contract.


def test_worlds_tell_what_each_key_has(make_app: Callable[..., Caller]) -> None:
    """Conversations, files, runs as numbers; of one world the last records by what tells them apart."""
    mock = make_app("dify-chat")
    assert mock.ask("GET", "/__mock__/worlds").json == {"found": 0, "worlds": []}
    mock.ask("POST", "/v1/chat-messages", key="app-chat-alice", json_body={**CHAT, "query": "x" * 1000})
    (alice,) = mock.ask("GET", "/__mock__/worlds").json["worlds"]
    assert (alice["world"], alice["keys"], alice["streams"]) == ("dify-chat-alice", ["app-chat-alice"], 0)
    assert alice["tables"]["conversations"] == 8
    shown = mock.ask("GET", "/__mock__/worlds?world=app-chat-alice").json
    assert len(shown["records"]["conversations"]) == 8
    assert max(len(str(value)) for row in shown["records"]["messages"] for value in row.values()) <= 200
    assert "inputs" not in shown["records"]["conversations"][0]


def test_world_that_nobody_opened_is_not_made_by_looking(make_app: Callable[..., Caller]) -> None:
    """Looking changes nothing."""
    mock = make_app("dify-chat")
    assert mock.ask("GET", "/__mock__/worlds?world=app-chat-x").json["records"] == {}
    assert mock.ask("GET", "/__mock__/worlds").json["found"] == 0


def test_faults_are_listed(mock: Caller) -> None:
    """As `mockserver list --faults` prints them."""
    found = {fault["name"]: fault for fault in mock.ask("GET", "/__mock__/faults").json}
    assert found["split"]["usage"].startswith("split=")
    assert set(found["bom"]) == {"name", "usage", "harm", "needs", "summary"}


def test_operation_tells_its_lines_its_stream_and_what_to_send(mock: Caller) -> None:
    """All that the page shows of it."""
    listed = {each["name"]: each for each in mock.ask("GET", "/__mock__/operations").json}
    assert listed["dify-chat/sendChatMessage"]["path"] == "/v1/chat-messages"
    told = mock.ask("GET", "/__mock__/operations/dify-chat/sendChatMessage").json
    assert told["quotes"][0]["text"].startswith("- <Heading")
    assert told["keys"] == [[{"in": "header", "name": "Authorization", "prefix": "Bearer ", "key": "app-chat"}]]
    assert told["examples"][0]["body"]["query"]
    assert told["stream"]["orders"][0]["tree"]["series"][0]["kind"] == "workflow_started"
    assert {each["status"] for each in told["responses"]} >= {200, 400}
    assert mock.ask("GET", "/__mock__/operations/dify-chat/nothing").status == 404


def test_order_is_drawn_as_it_is_written() -> None:
    """Every form of an order has one of a drawing."""
    assert draw_tree(parse("a{x=1} ( b | c )* d?")) == {
        "series": [
            {"kind": "a", "guard": "x=1"},
            {
                "repeat": {"choice": [{"kind": "b", "guard": ""}, {"kind": "c", "guard": ""}]},
                "optional": True,
                "many": True,
            },
            {"repeat": {"kind": "d", "guard": ""}, "optional": True, "many": False},
        ]
    }


def test_lines_and_rulings_are_quoted(mock: Caller) -> None:
    """Whatever is no source has no quotation."""
    told = mock.ask("GET", "/__mock__/quotes?sources=004:43-47,nonsense,999:1,ruling%20ids-are-strings").json
    assert [each["source"] for each in told["quotes"]] == ["004:43-47"]
    assert "streaming" in told["quotes"][0]["text"]
    assert mock.ask("GET", "/__mock__/quotes").json == {"quotes": [], "rulings": []}


def test_one_override_is_taken_back_and_others_stand(make_app: Callable[..., Caller]) -> None:
    """The one for all worlds can go without those of single worlds, and the other way round."""
    mock = make_app("dify-chat")
    order = {"operation": "sendChatMessage", "scenario": "400-provider-quota-exceeded"}
    mock.ask("PUT", "/__mock__/overrides", json_body=order)
    mock.ask("PUT", "/__mock__/overrides", json_body={**order, "world": "app-chat-a"})
    path = "/__mock__/overrides?exact&operation=dify-chat/sendChatMessage"
    assert mock.ask("DELETE", path).json == {"removed": 1}
    assert [each["world"] for each in mock.ask("GET", "/__mock__/overrides").json] == ["dify-chat-a"]
    assert mock.ask("DELETE", path).json == {"removed": 0}
    assert mock.ask("DELETE", f"{path}&world=app-chat-a").json == {"removed": 1}
