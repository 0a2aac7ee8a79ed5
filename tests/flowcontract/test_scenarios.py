"""Scenario files are read strictly, chosen by name or by request, and rendered to the bytes that are sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from flowcontract.errors import ScenarioError, UnknownNameError
from flowcontract.scenarios import (
    MAX_FILE_BYTES,
    Match,
    Scenario,
    ScenarioSet,
    find_differences,
    load_scenarios,
    read_scenario,
    render_body,
    render_events,
    render_headers,
)
from flowcontract.scenarios.expressions import Context, RequestView
from flowcontract.specs.model import load_api

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowcontract.specs.model import Api, Operation

    Write = Callable[[str, str], Path]

SPEC = """
openapi: 3.2.0
info: {title: Talk, version: '1'}
servers: [{url: 'https://talk.example/v1'}]
paths:
  /messages:
    post:
      operationId: sendMessage
      x-source: 001:1
      responses:
        '200': {description: The answer., x-source: 001:2}
        '400':
          description: Refused.
          x-source: 001:3
          content:
            application/json:
              examples: {invalid_param: {value: 1, x-source: 001:3}, bad_request: {value: 1, x-source: 001:3}}
        '429': {description: Too many., x-source: 001:4}
    get:
      operationId: listMessages
      x-source: 001:5
      responses: {'200': {description: All., x-source: 001:6}}
"""


@pytest.fixture
def talk(tmp_path: Path) -> Api:
    """Return an API of two operations, one of which documents refusals."""
    folder = tmp_path / "specs" / "talk"
    folder.mkdir(parents=True)
    (folder / "openapi.yaml").write_text(SPEC, encoding="utf-8")
    return load_api("talk", root=folder.parent)


@pytest.fixture
def send(talk: Api) -> Operation:
    """Return the operation that most tests are about."""
    return talk.operations["sendMessage"]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a scenario below the API's folder: `folder/file`, what stands under `reply`."""

    def write(name: str, text: str = "{body: {}}") -> Path:
        path = tmp_path / "fixtures" / "talk" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            text if text.startswith("description:") else f"description: D.\nreply: {text}\n", encoding="utf-8"
        )
        return path

    return write


@pytest.fixture
def read(write: Write, tmp_path: Path) -> Callable[[str], Scenario]:
    """Return a function that writes a file's text and reads it back as a scenario."""

    def read(text: str) -> Scenario:
        return read_scenario(write("sendMessage/200-default.yaml", text), api_folder=tmp_path / "fixtures" / "talk")

    return read


def load(tmp_path: Path) -> ScenarioSet:
    """Return the scenarios that the tests wrote."""
    return load_scenarios(["talk"], root=tmp_path / "fixtures")


# Reading.


def test_a_scenario_is_read_with_everything_it_says(read: Callable[[str], Scenario]) -> None:
    """Name and status come from the file's name, the rest from its text."""
    scenario = read(
        "description: All of it.\nsource: [001:2, 004:3-5]\nobserved: Dify 1.4.1 (165)\nrulings: [a-ruling]\n"
        "sample: {name: x}\n"
        "request: {body: {query: hello}, query: {limit: 1}, headers: {X-A: b}, files: {file: a.txt}}\n"
        "reply: {headers: {Retry-After: '1'}, delay_ms: 5, body: {a: $world.name}}\n"
    )
    assert (scenario.api, scenario.operation, scenario.key) == ("talk", "sendMessage", "200-default")
    assert scenario.provenance == ("001:2", "004:3-5", "observed: Dify 1.4.1 (165)")
    assert (scenario.rulings, scenario.sample, scenario.description) == (("a-ruling",), {"name": "x"}, "All of it.")
    assert scenario.request == Match({"query": "hello"}, {"limit": 1}, {"X-A": "b"}, {"file": "a.txt"})
    assert (scenario.reply.kind, scenario.reply.delay_ms, scenario.reply.streamed) == ("body", 5, False)
    assert render_headers(scenario.reply, Context()) == {"Retry-After": "1"}
    assert render_body(scenario.reply, Context()) == b'{"a": "x"}'


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        pytest.param("description: D.\nreplay: {}\n", 1, "reply", id="unknown key"),
        pytest.param("description: D.\nreply: {}\n", 2, "`body`", id="no kind of reply"),
        pytest.param("description: D.\nreply: {body: 1, lines: []}\n", 2, "only one of body", id="two kinds of reply"),
        pytest.param("description: ''\nreply: {body: 1}\n", 1, "description", id="empty description"),
        pytest.param("description: |\n  a\n  b\nreply: {body: 1}\n", 1, "description", id="description of two lines"),
        pytest.param("description: D.\nreply:\n  body: 1\n  delay_ms: -1\n", 4, "at least 0", id="negative delay"),
        pytest.param(
            "description: D.\nreply:\n  body: 1\n  headers: {A: 1}\n", 4, "must be text", id="number as a header"
        ),
        pytest.param(
            "description: D.\nreply:\n  body: 1\n  stopped: []\n", 2, "`events`", id="stopped without a stream"
        ),
        pytest.param(
            "description: D.\nreply:\n  events:\n    - data: {}\n    - evnt: ping\n",
            5,
            "evnt",
            id="unknown key of an event",
        ),
        pytest.param("description: D.\nreply:\n  events:\n    - delay_ms: 1\n", 4, "`data`", id="empty event"),
        pytest.param("description: D.\nreply:\n  lines:\n    - delay_ms: 1\n", 4, "`data`", id="line without data"),
        pytest.param("description: D.\nsource: seed 1\nreply: {body: 1}\n", 2, "source", id="no source"),
        pytest.param("description: D.\nrequest: {}\nreply: {body: 1}\n", 2, "request", id="empty request"),
        pytest.param("description: D.\nreply: {body: [1}\n", 2, "Mend the YAML", id="no YAML"),
        pytest.param("description: D.\ndescription: E.\n", 2, "twice", id="key twice"),
        pytest.param(
            "description: D.\nreply:\n  body:\n    a: 1\n    b: [x, $requst.body]\n", 5, "$requst.body", id="expression"
        ),
        pytest.param(
            "description: D.\nreply:\n  events:\n    - data: {}\n    - data: {a: $id}\n",
            5,
            "$id.NAME",
            id="event's expression",
        ),
        pytest.param(
            "description: D.\nreply:\n  body: 1\n  headers:\n    A: $now.x\n", 5, "$now.iso", id="header's expression"
        ),
        pytest.param("description: D.\nreply:\n  file: missing.txt\n", 3, "missing.txt", id="no such file"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(
    read: Callable[[str], Scenario], tmp_path: Path, text: str, line: int, what: str
) -> None:
    """Each message opens with the place and says what is wrong and what to do."""
    with pytest.raises(ScenarioError) as error:
        read(text)
    place = tmp_path / "fixtures" / "talk" / "sendMessage" / "200-default.yaml"
    assert str(error.value).startswith(f"{place}, line {line}: ")
    assert what in str(error.value)


@pytest.mark.parametrize(
    "name", ["default.yaml", "200.yaml", "200-Default.yaml", "200-a_b.yaml", "20-a.yaml", "600-a.yaml"]
)
def test_a_file_name_that_is_none_is_told(write: Write, tmp_path: Path, name: str) -> None:
    """The name carries status and scenario, so that it has to follow its form."""
    with pytest.raises(ScenarioError, match=r"Name it <status>-<name>\.yaml"):
        read_scenario(write(f"sendMessage/{name}", "{body: 1}"), api_folder=tmp_path / "fixtures" / "talk")


@pytest.mark.parametrize(
    "where", ["/etc/passwd", "../../outside.txt", "..\\outside.txt", "link.txt", "linked/outside.txt"]
)
def test_a_file_outside_the_folder_of_its_api_is_refused(
    read: Callable[[str], Scenario], write: Write, tmp_path: Path, where: str
) -> None:
    """Neither a path nor a symbolic link leads out: a fixture folder from elsewhere cannot send the machine's files."""
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "fixtures" / "outside.txt").write_text("secret", encoding="utf-8")
    folder = write("sendMessage/200-other.yaml", "{body: 1}").parent
    (folder / "link.txt").symlink_to(tmp_path / "fixtures" / "outside.txt")
    (folder / "linked").symlink_to(tmp_path / "fixtures")
    with pytest.raises(ScenarioError, match="not inside talk/"):
        read(f"description: D.\nreply: {{file: {json.dumps(where)}}}\n")


def test_a_file_inside_the_folder_of_its_api_is_sent_with_the_type_of_its_ending(
    read: Callable[[str], Scenario], write: Write
) -> None:
    """Operations may share files, and the media type does not depend on the machine."""
    path = write("files/hello.wav", "description: no scenario")
    scenario = read("description: D.\nreply: {file: ../files/hello.wav}\n")
    assert scenario.reply.media_type == "audio/wav"
    assert render_body(scenario.reply, Context()) == path.read_bytes()


def test_a_file_that_is_too_large_is_refused_unread(write: Write, tmp_path: Path) -> None:
    """A scenario of more than 16 MiB is a mistake."""
    path = write("sendMessage/200-default.yaml", "{body: 1}")
    with path.open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ScenarioError, match="more than the 16777216"):
        read_scenario(path, api_folder=tmp_path / "fixtures" / "talk")


def test_aliases_that_write_out_without_end_are_refused(read: Callable[[str], Scenario]) -> None:
    """Neither a few lines that mean a billion values, nor a value that contains itself."""
    rows = "".join(f"    a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    with pytest.raises(ScenarioError, match="aliases"):
        read(f"description: D.\nreply:\n  body:\n    a0: &a0 [1]\n{rows}")
    with pytest.raises(ScenarioError, match="aliases"):
        read("description: D.\nreply:\n  body: &a {b: *a}\n")


def test_few_aliases_are_welcome(read: Callable[[str], Scenario]) -> None:
    """Repeating a long value by its name keeps a file readable."""
    scenario = read("description: D.\nreply:\n  body: {a: &a {x: 1}, b: *a}\n")
    assert render_body(scenario.reply, Context()) == b'{"a": {"x": 1}, "b": {"x": 1}}'


def test_a_file_that_is_no_text_is_told(write: Write, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 name the file."""
    path = write("sendMessage/200-default.yaml", "{body: 1}")
    path.write_bytes(b"description: \xff\n")
    with pytest.raises(ScenarioError, match="UTF-8"):
        read_scenario(path, api_folder=tmp_path / "fixtures" / "talk")


# Rendering.


@pytest.mark.parametrize(
    ("reply", "media_type", "sent"),
    [
        ("{body: {a: é}}", "application/json", b'{"a": "\\u00e9"}'),
        ("{body: [1]}", "application/json", b"[1]"),
        ("{body: null}", "application/json", b"null"),
        ("{body: text é}", "text/plain; charset=utf-8", "text é".encode()),
        ("{body: ''}", "", b""),
        ("{body: '<p>', headers: {content-type: text/html}}", "text/html", b"<p>"),
        ("{body: $request.body#/a}", "text/plain; charset=utf-8", b'{"b": 1}'),
    ],
)
def test_a_body_is_sent_as_json_or_as_it_stands(
    read: Callable[[str], Scenario], reply: str, media_type: str, sent: bytes
) -> None:
    """Text is text, everything else JSON, and the media type follows."""
    scenario = read(f"description: D.\nreply: {reply}\n")
    assert scenario.reply.media_type == media_type
    assert render_body(scenario.reply, Context(request=RequestView(body={"a": {"b": 1}}))) == sent


def test_events_are_sent_as_server_sent_events(read: Callable[[str], Scenario]) -> None:
    """JSON data, text data, bare blocks, comments, ids, and the time before each."""
    scenario = read(
        "description: D.\nreply:\n  events:\n    - data: {event: message, task_id: $id.task, answer: ü}\n"
        "    - {event: ping, delay_ms: 50}\n    - {data: '[DONE]', id: '7', retry: 3, comment: hi}\n"
        "    - data: '{$id.task}'\n"
    )
    context = Context(ids={"task": "t"})
    assert [tuple(piece)[:4] for piece in render_events(scenario.reply, context)] == [
        (
            0,
            b'data: {"event": "message", "task_id": "t", "answer": "\\u00fc"}\n\n',
            {"event": "message", "task_id": "t", "answer": "ü"},
            0,
        ),
        (50, b"event: ping\n\n", None, 1),
        (0, b": hi\nid: 7\nretry: 3\ndata: [DONE]\n\n", None, 2),
        (0, b"data: t\n\n", None, 3),
    ]
    assert (scenario.reply.streamed, scenario.reply.media_type) == (True, "text/event-stream; charset=utf-8")


@pytest.mark.parametrize(("pieces", "sent"), [(["a", {"b": 1}], ['"a"', '{"b": 1}']), ([], []), ("alone", ['"alone"'])])
def test_an_event_with_each_is_sent_for_every_item(
    read: Callable[[str], Scenario], pieces: Any, sent: list[str]
) -> None:
    """Once for each item of the list, which may be empty, with its delay, then what follows."""
    scenario = read(
        "description: D.\nreply:\n  events:\n    - {each: $world.pieces, data: {said: $each}, delay_ms: 5}\n"
        "    - data: {said: end}\n"
    )
    rendered = list(render_events(scenario.reply, Context(world={"pieces": pieces})))
    assert [(piece.delay_ms, piece.data, piece.place) for piece in rendered] == [
        *((5, f'data: {{"said": {one}}}\n\n'.encode(), 0) for one in sent),
        (0, b'data: {"said": "end"}\n\n', 1),
    ]


def test_lines_are_json_each_followed_by_a_blank_line(read: Callable[[str], Scenario]) -> None:
    """The second framing, with the same expressions."""
    scenario = read("description: D.\nreply:\n  lines:\n    - data: {event: end, at: $now}\n      delay_ms: 9\n")
    assert [tuple(piece)[:4] for piece in render_events(scenario.reply, Context(now=5))] == [
        (9, b'{"event": "end", "at": 5}\n\n', {"event": "end", "at": 5}, 0)
    ]
    assert scenario.reply.streamed


def test_hold_of_its_own_belongs_to_the_next_event(read: Callable[[str], Scenario]) -> None:
    """Before an event or as a field of it; with `each` before the first; where nothing follows it is a mistake."""
    text = (
        "description: D.\nreply:\n  events:\n    - hold: first\n    - data: {event: a}\n      each: [1, 2]\n"
        "    - data: {event: b}\n      hold: second\n"
    )
    holds = [piece.hold for piece in render_events(read(text).reply, Context())]
    assert holds == ["first", "", "second"]
    with pytest.raises(ScenarioError, match="nothing follows the hold last"):
        read(f"{text}    - hold: last\n")


def test_a_stopped_stream_has_an_ending_of_its_own(read: Callable[[str], Scenario]) -> None:
    """It shares the ids of what was sent before; a scenario that says nothing of it has none."""
    text = "description: D.\nreply:\n  events: [{data: {id: $id.a}}]\n"
    context = Context()
    scenario = read(f"{text}  stopped: [{{data: {{end: $id.a}}}}]\n")
    (begun,), (ended,) = render_events(scenario.reply, context), render_events(scenario.reply, context, stopped=True)
    assert begun.payload["id"] == ended.payload["end"]
    assert read(text).reply.stopped is None
    assert list(render_events(read(text).reply, context, stopped=True)) == []


def test_text_that_utf8_cannot_carry_is_still_sent(read: Callable[[str], Scenario]) -> None:
    """JSON may bring half a surrogate pair; a reply that repeats it is no server error."""
    request = RequestView(body={"q": "\ud800"})
    context = Context(request=request)
    scenario = read(
        "description: D.\nreply:\n  events: [{data: 'x{$request.body#/q}'}, {data: {q: $request.body#/q}}]\n"
    )
    assert [piece.data for piece in render_events(scenario.reply, context)] == [
        b"data: x?\n\n",
        b'data: {"q": "\\ud800"}\n\n',
    ]
    assert render_body(read("description: D.\nreply: {body: 'x{$request.body#/q}'}\n").reply, context) == b"x?"


def test_headers_are_text(read: Callable[[str], Scenario]) -> None:
    """A number becomes text, null an empty header."""
    scenario = read("description: D.\nreply: {body: 1, headers: {A: $now, B: $world.x, C: 'n {$now}'}}\n")
    assert render_headers(scenario.reply, Context(now=5)) == {"A": "5", "B": "", "C": "n 5"}


# Choosing.


def test_an_operation_has_its_own_scenarios_and_the_shared_ones_it_documents(
    write: Write, talk: Api, tmp_path: Path
) -> None:
    """Status and example decide; a status without named examples takes every name."""
    for name in ("400-invalid-param", "400-other", "401-unauthorized", "429-slow-down", "429-rate-limited"):
        write(f"every-operation/{name}.yaml")
    write("sendMessage/200-default.yaml")
    write("sendMessage/429-slow-down.yaml")
    scenarios = load(tmp_path)
    found = scenarios.read_scenarios(talk.operations["sendMessage"])
    assert list(found) == ["200-default", "429-slow-down", "400-invalid-param", "429-rate-limited"]
    assert found["429-slow-down"].operation == "sendMessage"
    assert found["400-invalid-param"].operation is None
    assert scenarios.list_keys(talk.operations["sendMessage"]) == tuple(sorted(found))
    assert scenarios.list_keys(talk.operations["listMessages"]) == ()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"status": 400, "name": "invalid-param"}, "400-invalid-param"),
        ({"status": 400, "name": "invalid_param"}, "400-invalid-param"),
        ({"name": "bad_request"}, "400-bad-request"),
        ({"status": 400}, "400-bad-request"),
        ({"status": 200}, "200-default"),
        ({"status": 200, "streaming": True}, "200-default-streaming"),
        ({"status": 200, "name": "a-first"}, "200-a-first"),
        ({"status": 400, "streaming": True}, "400-bad-request"),
    ],
)
def test_a_scenario_is_found_by_status_or_name(
    write: Write, send: Operation, tmp_path: Path, asked: Any, found: str
) -> None:
    """Without a name the default of the status, or its first; without a status the first of that name."""
    for key in ("200-a-first", "200-default", "200-default-streaming", "400-bad-request", "400-invalid-param"):
        write(f"sendMessage/{key}.yaml")
    assert load(tmp_path).find(send, **asked).key == found


@pytest.mark.parametrize("asked", [{"status": 429, "name": "rate-limitd"}, {"status": 418}, {"name": "nothing"}])
def test_a_scenario_that_is_not_there_is_told_with_those_that_are(
    write: Write, send: Operation, tmp_path: Path, asked: Any
) -> None:
    """What was asked, what there is, what to do."""
    write("sendMessage/200-default.yaml")
    write("sendMessage/429-rate-limited.yaml")
    with pytest.raises(UnknownNameError) as error:
        load(tmp_path).find(send, **asked)
    assert "There is: 200-default, 429-rate-limited." in str(error.value)
    assert str(error.value).endswith("New scenarios go in fixtures/talk/sendMessage/.")


def test_a_slip_in_the_name_is_guessed(write: Write, send: Operation, tmp_path: Path) -> None:
    """The nearest name is offered."""
    write("sendMessage/429-rate-limited.yaml")
    with pytest.raises(UnknownNameError, match=r'Did you mean "429-rate-limited"\?'):
        load(tmp_path).find(send, 429, "rate-limitd")


def test_the_default_is_that_of_the_kind_asked_for(write: Write, send: Operation, tmp_path: Path) -> None:
    """Where there is no streaming default, the plain one answers; where there is none, the error says so."""
    with pytest.raises(UnknownNameError, match="200-default"):
        load(tmp_path).select_default(send)
    write("sendMessage/200-default.yaml")
    assert load(tmp_path).select_default(send, streaming=True).key == "200-default"
    write("sendMessage/200-default-streaming.yaml", "{events: []}")
    assert load(tmp_path).select_default(send, streaming=True).key == "200-default-streaming"
    assert load(tmp_path).select_default(send).key == "200-default"


VIEW = RequestView(
    query={"limit": 20, "tag": ["a", "b"]},
    headers={"x-a": "b"},
    body={"query": "hello", "inputs": {"n": 1, "on": True}, "files": [{"id": "1"}], "file": {"filename": "a.txt"}},
)


@pytest.mark.parametrize(
    ("match", "missing"),
    [
        ({}, []),
        ({"body": {"query": "hello"}}, []),
        ({"body": {"inputs": {"n": 1}}}, []),
        ({"body": {"files": [{"id": "1"}]}}, []),
        ({"query": {"limit": 20}}, []),
        ({"query": {"limit": "20"}}, []),
        ({"query": {"tag": ["a", "b"]}}, []),
        ({"query": {"tag": ["a"]}}, ["query.tag must be a list of 1, is a list of 2"]),
        ({"headers": {"X-A": "b"}}, []),
        ({"files": {"file": "a.txt"}}, []),
        ({"body": {"query": "bye"}}, ['body.query must be the text "bye", is the text "hello"']),
        ({"body": {"other": 1}}, ["body.other is missing"]),
        ({"body": {"inputs": {"on": 1}}}, ["body.inputs.on must be 1, is true"]),
        ({"body": {"inputs": 1}}, ["body.inputs must be 1, is an object with the fields n, on"]),
        ({"body": {"query": {"a": 1}}}, ['body.query must be an object with the fields a, is the text "hello"']),
        ({"body": {"files": []}}, ["body.files must be an empty list, is a list of 1"]),
        ({"body": {"files": [{}]}}, ["body.files must be a list of 1, is a list of 1"]),
        ({"query": {"limit": 21}}, ['query.limit must be the text "21", is the text "20"']),
        ({"headers": {"X-B": "b"}}, ["headers.x-b is missing"]),
        ({"files": {"file": "b.txt"}}, ['files.file must be the text "b.txt", is the text "a.txt"']),
    ],
)
def test_a_match_is_that_nothing_differs(match: Any, missing: list[str]) -> None:
    """The same sentences decide whether a request matches, and say why it does not."""
    assert Match(**match).find_differences(VIEW) == missing


def test_a_request_without_a_body_contains_none() -> None:
    """A GET matches no scenario that wants a body, and a scenario that wants none matches it."""
    assert Match(body={"a": 1}).find_differences(RequestView()) == ["body must be an object with the fields a, is null"]
    assert find_differences({}, {}) == []


def test_the_first_scenario_that_matches_answers(write: Write, send: Operation, tmp_path: Path) -> None:
    """A user's scenarios come before ours, by name, and only those of the kind that was asked for."""
    write("sendMessage/200-default.yaml")
    mine = tmp_path / "mine" / "cybertron" / "offlineUploadFile"
    mine.mkdir(parents=True)
    operation = load_api("cybertron").operations["offlineUploadFile"]
    for name, request, reply in (
        ("200-b", "{body: {flow_uuid: x}}", "{body: 1}"),
        ("200-a", "{body: {flow_uuid: x, mode: '2'}}", "{body: 1}"),
        ("200-stream", "{body: {flow_uuid: x}}", "{events: []}"),
        ("400-refused", "{body: {flow_uuid: y}}", "{body: 1}"),
    ):
        (mine / f"{name}.yaml").write_text(f"description: D.\nrequest: {request}\nreply: {reply}\n", encoding="utf-8")
    scenarios = load_scenarios(["cybertron"], tmp_path / "mine")

    def chosen(streaming: bool = False, **body: str) -> str | None:
        scenario = scenarios.find_matching(operation, RequestView(body=body), streaming=streaming)
        return scenario.key if scenario else None

    assert chosen(flow_uuid="x") == "200-b"
    assert chosen(flow_uuid="x", mode="2") == "200-a"
    assert chosen(flow_uuid="x", streaming=True) == "200-stream"
    assert chosen(flow_uuid="y", streaming=True) == "400-refused"
    assert chosen(flow_uuid="z") is None
    assert scenarios.find_differences(operation, RequestView(body={"flow_uuid": "x"}))["200-a"] == [
        "body.mode is missing"
    ]
    assert load_scenarios(["talk"], root=tmp_path / "fixtures").find_matching(send, VIEW) is None


def test_a_broken_scenario_of_ours_disturbs_nobody_who_does_not_need_it(
    write: Write, send: Operation, tmp_path: Path
) -> None:
    """Files are read when they are needed, which keeps the start short."""
    write("sendMessage/200-default.yaml")
    write("sendMessage/400-invalid-param.yaml", "description: 1\n")
    scenarios = load(tmp_path)
    assert scenarios.select_default(send).key == "200-default"
    assert scenarios.find_matching(send, VIEW) is None
    with pytest.raises(ScenarioError, match="400-invalid-param"):
        scenarios.find(send, 400)
