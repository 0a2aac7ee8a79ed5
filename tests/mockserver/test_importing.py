"""Recordings become scenarios that answer as they were answered, whatever the contract says of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from conftest import apis
from mock_calls import build_content
from replaying import ABILITIES, NOW, ask_again, exchanges_of, find_difference, make_request, record, write_recording
from werkzeug.datastructures import Headers

from flowcontract.recordings import jsonl
from flowcontract.recordings.har_writing import write_har
from flowcontract.scenarios import load_scenarios
from flowcontract.specs.examples import list_example_requests
from mockserver.admin.api import Admin
from mockserver.blobs.blob import Blob
from mockserver.cli.main import main
from mockserver.config.settings import Settings
from mockserver.core.app import App
from mockserver.core.mock import Mock
from mockserver.http.messages import Request
from mockserver.importing import Imported, import_recordings
from mockserver.scenarios.files import ScenarioFiles

if TYPE_CHECKING:
    from flowcontract.specs.examples import ExampleRequest
    from flowcontract.specs.model import Api

DATA = Path(__file__).resolve().parents[1] / "data"
TRACES = os.environ.get("FLOWCONTRACT_TRACES", "")
DIFY, LANGFLOW = ("dify-chat", "dify-workflow"), ("agentbuilder",)
RECORDINGS = {"dify-0.14.0": DIFY, "dify-1.4.1": DIFY, "langflow-1.4.3": LANGFLOW}
ALL = {**RECORDINGS, "dify-1.14.2": DIFY, "langflow-1.13.0": LANGFLOW}
CHAT = ("dify-chat",)
URL = "https://api.example.com/v1"
TASK, MESSAGE = "8f1d2c3b-0000-4000-8000-00000000000a", "8f1d2c3b-0000-4000-8000-00000000000b"


def serve(names: tuple[str, ...], folder: Path, **settings: Any) -> App:
    """Return an application that answers with a folder of scenarios."""
    return App(Mock(apis(names, ()), ScenarioFiles(names, folder), Settings(**{"pace": 0, **settings})))


def take(tmp_path: Path, *recordings: Path, names: tuple[str, ...] = CHAT) -> tuple[Path, Imported]:
    """Import recordings; return the folder and what became of them."""
    out = tmp_path / "imported"
    return out, import_recordings(recordings, out, apis(names, ()))


def find_differences(paths: list[Path], names: tuple[str, ...], out: Path) -> list[str]:
    """Ask a mock of an imported folder all that was recorded, in its order; return where its answers differ."""
    app = serve(names, out)
    exchanges = exchanges_of(paths, apis(names, ()))
    assert exchanges
    pairs = ((exchange, find_difference(exchange, ask_again(app, exchange))) for exchange in exchanges)
    return [f"{exchange.entry.place}, {exchange.operation.name}: {found}" for exchange, found in pairs if found]


@pytest.mark.parametrize("release", RECORDINGS)
def test_recorded_requests_get_the_recorded_answers(release: str, tmp_path: Path, capsys: Any) -> None:
    """Of all that real servers were asked; `check` finds nothing wrong with the scenarios."""
    path = DATA / "recordings" / f"{release}.har"
    out, imported = take(tmp_path, path, names=RECORDINGS[release])
    assert imported.written
    assert find_differences([path], RECORDINGS[release], out) == []
    assert main(["check", "--fixtures", str(out)]) == 0, capsys.readouterr().out


@pytest.mark.skipif(
    not TRACES, reason="FLOWCONTRACT_TRACES names no folder with recordings; the representative ones ran"
)
@pytest.mark.parametrize("release", ALL)
def test_all_recorded_requests_get_the_recorded_answers(release: str, tmp_path: Path, capsys: Any) -> None:
    """The same of every recording, with requests' bodies, forms, keys and pieces."""
    paths = sorted(Path(TRACES, release).glob("*.json"))
    out, _ = take(tmp_path, *paths, names=ALL[release])
    assert find_differences(paths, ALL[release], out) == []
    assert main(["check", "--fixtures", str(out)]) == 0, capsys.readouterr().out


FAULTS = ("", "", "split=7", "crlf", "cr", "bom", "raw-utf8", "no-space", "comments", "ids", "pings", "cut=300", "swap")


def make_requests(random: Random, count: int) -> list[tuple[Request, str]]:
    """Return requests for scenarios of ours, with faults where they stream; some come twice and more."""
    names = ("dify-chat", "dify-workflow", "agentbuilder", "cybertron")
    scenarios = load_scenarios(names)
    found: list[tuple[Request, str]] = []
    for _ in range(count):
        api = apis(names, ())[random.choice(names)]
        example = random.choice(list(list_example_requests(api)))
        key = random.choice(scenarios.list_keys(example.operation))
        status, _, name = key.partition("-")
        streamed = scenarios.find(example.operation, int(status), name).reply.streamed
        fault = random.choice(FAULTS) if streamed and "json" not in str(example.operation.stream.framing) else ""
        prefer = f"code={status}, example={name}" + (f', fault="{fault}"' if fault else "")
        request = build(api, example, {"Prefer": prefer})
        found += [(request, example.operation.name)] * random.choice([1, 1, 1, 2])
    return found


def build(api: Api, example: ExampleRequest, more: dict[str, str]) -> Request:
    """Return a documented request as it stands on the wire."""
    keys = {
        api.schemes[name].parameter: f"{api.schemes[name].prefix}{api.schemes[name].mock_key}"
        for name in example.operation.security[0]
    }
    content = build_content(example)
    headers = {**keys, **example.headers, **more}
    sent = httpx.Request(
        example.operation.method, f"http://mock{api.base_path}{example.path}", headers=headers, **content
    )
    body = Blob(sent.read())
    kept = Headers([(name.decode().title(), value.decode()) for name, value in sent.headers.raw if name != b"Host"])
    return Request(sent.method, sent.url.path, sent.url.query.decode(), kept, body, capabilities=ABILITIES)


def record_all(app: App, requests: list[tuple[Request, str]], path: Path, random: Random | None) -> Path:
    """Ask an application everything, and write what it answers as the proxy does."""
    admin = Admin(app.mock, app)
    lines = [
        line
        for number, (request, operation) in enumerate(requests, 1)
        for line in record(number, request, admin.handle(request, NOW + number), operation, random)
    ]
    return write_recording(path, lines)


def read_folder(folder: Path) -> dict[str, Any]:
    """Return the scenarios of a folder without what tells where and how often they were recorded."""
    read = {str(path.relative_to(folder)): yaml.safe_load(path.read_text("utf-8")) for path in folder.rglob("*.yaml")}
    return {name: {key: part for key, part in content.items() if key != "observed"} for name, content in read.items()}


@pytest.mark.parametrize("seed", range(6))
def test_what_was_imported_is_recorded_and_imported_as_the_same(seed: int, tmp_path: Path) -> None:
    """Random scenarios of ours, served, recorded, imported and served: delays, pieces, ids and faults come back."""
    random = Random(seed)
    names = ("dify-chat", "dify-workflow", "agentbuilder", "cybertron")
    requests = make_requests(random, 30)
    first = record_all(serve(names, tmp_path, pace=1), requests, tmp_path / "first.jsonl", random)
    imported = import_recordings([first], tmp_path / "one", apis(names, ()))
    assert imported.problems == []
    assert find_differences([first], names, tmp_path / "one") == []
    again = serve(names, tmp_path / "one", pace=1)
    taken = exchanges_of([first], apis(names, ()))
    plain = [(make_request(again, exchange), exchange.operation.name) for exchange in taken]
    second = record_all(again, plain, tmp_path / "second.jsonl", None)
    import_recordings([second], tmp_path / "two", apis(names, ()))
    assert read_folder(tmp_path / "two") == read_folder(tmp_path / "one")


# --- single recordings, written by hand -------------------------------------------------------------------------------


def tell(
    number: int, answer: Any, *, status: int = 200, method: str = "POST", path: str = "/chat-messages", **more: Any
) -> list[dict[str, Any]]:
    """Return the lines of an exchange: `answer` is JSON, or the bytes of a stream's pieces, one second apart."""
    at, how = 1_732_147_200 + 100 * number, more.get("how", "complete")
    url, streamed = more.get("url", URL) + path, isinstance(answer, list)
    body = {"body": {"text": json.dumps(more["asked"])}, "bodySize": 1} if "asked" in more else {}
    headers = [["Content-Type", "text/event-stream; charset=utf-8" if streamed else "application/json"]]
    pieces = answer if streamed else [json.dumps(answer).encode()]
    sent = [["Content-Type", "application/json"], ["Authorization", "Bearer ***"]] if body else []
    request = {"method": method, "url": url, "headers": sent, "operation": None, **body}
    return [
        {"type": "request", "id": number, "at": at, "api": more.get("api", "dify-chat"), **request},
        {"type": "response", "id": number, "at": at + 0.25, "status": status, "headers": headers},
        *(
            {"type": "piece", "id": number, "at": at + 1 + place, **jsonl.write_bytes(data)}
            for place, data in enumerate(pieces)
        ),
        *([{"type": "end", "id": number, "at": at + 9, "how": how}] if how else []),
    ]


def event(**data: Any) -> bytes:
    """Return an event as the server writes it."""
    return b"data: " + json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def only(out: Path) -> dict[str, Any]:
    """Return the one scenario of a folder."""
    (path,) = out.rglob("*.yaml")
    return dict(yaml.safe_load(path.read_text("utf-8")))


QUESTION = {"query": "How are you?", "user": "ada", "inputs": {}, "response_mode": "streaming"}
STREAM = [
    event(event="message", task_id=TASK, message_id=MESSAGE, answer="How are you? Fine — ", created_at=1_732_147_300),
    event(event="message_end", task_id=TASK, message_id=MESSAGE)[:20],
    event(event="message_end", task_id=TASK, message_id=MESSAGE)[20:],
]


def test_ids_moments_and_texts_become_expressions_and_pieces_and_delays_are_kept(tmp_path: Path) -> None:
    """A piece that ends inside an event is a fault; what the contract forbids is marked; the origin is named."""
    path = write_recording(tmp_path / "a.jsonl", tell(1, STREAM, asked=QUESTION))
    out, imported = take(tmp_path, path)
    scenario = only(out)
    assert scenario["observed"] == "a.jsonl, 2024-11-21T00:01:40Z"
    assert scenario["reply"]["delay_ms"] == 250
    first, last = scenario["reply"]["events"]
    assert first["data"] == {
        "event": "message",
        "task_id": "$id.task",
        "message_id": "$id.message",
        "answer": "{$request.body#/query} Fine — ",
        "created_at": "$now",
    }
    assert (first["delay_ms"], last["delay_ms"]) == (750, 2000)
    ours = len(json.dumps({**first["data"], "answer": "How are you? Fine — "}, ensure_ascii=False).encode())
    assert scenario["faults"].startswith("raw-utf8, pieces=")
    assert scenario["faults"].endswith("/20"), ours
    assert imported.forbidden == 1
    assert any("conversation_id" in what for what in scenario["violations"])


def test_same_request_has_its_answers_in_the_recorded_order(tmp_path: Path) -> None:
    """As often as each came; what came after another operation had succeeded waits for that one."""
    empty, full = {"data": [], "has_more": False, "limit": 20}, {"data": [], "has_more": True, "limit": 20}
    listed = {"method": "GET", "path": "/conversations?user=ada"}
    lines = [
        *tell(1, {"message": "slow down"}, status=429, **listed),
        *tell(2, empty, **listed),
        *tell(3, empty, **listed),
        *tell(4, STREAM, asked=QUESTION),
        *tell(5, full, **listed),
    ]
    path = write_recording(tmp_path / "a.jsonl", lines)
    out, _ = take(tmp_path, path)
    found = {each.stem: yaml.safe_load(each.read_text("utf-8"))["request"] for each in out.rglob("*listConv*/*.yaml")}
    assert found == {
        "429-recorded-list-conversations-1": {"query": {"user": "ada"}, "times": 1},
        "200-recorded-list-conversations-2": {"query": {"user": "ada"}},
        "200-recorded-list-conversations-3": {"query": {"user": "ada"}, "after": "sendChatMessage"},
    }
    assert find_differences([path], CHAT, out) == []


def test_id_that_another_exchange_names_stays_as_it_is(tmp_path: Path) -> None:
    """Else the client would ask for what no answer told it."""
    feedback = tell(
        2, {"result": "success"}, path=f"/messages/{MESSAGE}/feedbacks", asked={"rating": "like", "user": "ada"}
    )
    out, _ = take(tmp_path, write_recording(tmp_path / "a.jsonl", [*tell(1, STREAM, asked=QUESTION), *feedback]))
    (path,) = out.rglob("*sendChat*/*.yaml")
    data = yaml.safe_load(path.read_text("utf-8"))["reply"]["events"][0]["data"]
    assert (data["message_id"], data["task_id"]) == (MESSAGE, "$id.task")


def test_text_that_looks_like_an_expression_is_sent_as_it_was(tmp_path: Path) -> None:
    """Whoever wrote it, in an answer or in a header."""
    path = write_recording(tmp_path / "a.jsonl", tell(1, {"result": "$now", "a": "{$id.x}", "b": "$nonsense.at.all"}))
    out, _ = take(tmp_path, path)
    assert find_differences([path], CHAT, out) == []


def test_stream_that_was_cut_is_cut_again(tmp_path: Path) -> None:
    """In the middle of an event, as the recorder saw it."""
    path = write_recording(tmp_path / "a.jsonl", tell(1, STREAM[:2], asked=QUESTION, how="cut"))
    out, _ = take(tmp_path, path)
    (exchange,) = exchanges_of([path], apis(CHAT, ()))
    answer = ask_again(serve(CHAT, out), exchange)
    assert answer.cut
    assert answer.body.endswith(b"\n\ndata: " + STREAM[1][6:])


def test_killed_recorder_leaves_what_can_be_imported(tmp_path: Path) -> None:
    """Its last line is cut: that is said, and all before it counts."""
    path = write_recording(
        tmp_path / "a.jsonl", [*tell(1, STREAM, asked=QUESTION), *tell(2, STREAM, asked=QUESTION, how="")]
    )
    path.write_bytes(path.read_bytes()[:-30])
    _, imported = take(tmp_path, path)
    assert len(imported.written) == 2
    assert [problem for problem in imported.problems if "the file ends in it" in problem]
    assert [note for note in imported.notes if "the recorder was ended before" in note]


def test_each_entry_that_is_left_out_is_named(tmp_path: Path, capsys: Any) -> None:
    """Other hosts, other paths, an answer that never came: the rest is imported, and the exit code tells."""
    lines = [
        *tell(1, STREAM, asked=QUESTION),
        *tell(2, STREAM, asked={**QUESTION, "query": "again"}),
        *tell(3, STREAM, asked=QUESTION, url="https://other.example.com/v1"),
        *tell(4, {}, path="/nowhere"),
        tell(5, {}, asked=QUESTION)[0],
    ]
    path = write_recording(tmp_path / "a.jsonl", lines)
    assert main(["import", str(path), "--out", str(tmp_path / "out"), "--api", "dify-chat"]) == 1
    said = capsys.readouterr()
    assert "entry 3 of a.jsonl: it is of another host, other.example.com" in said.err
    assert "entry 4 of a.jsonl: no operation of dify-chat is POST https://api.example.com/v1/nowhere" in said.err
    assert "entry 5 of a.jsonl: no answer was recorded" in said.err
    assert "2 scenarios of 2 exchanges" in said.out
    assert main(["check", "--fixtures", str(tmp_path / "out"), "--api", "dify-chat"]) == 0


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b'{"type":"recording","version":9}\n', "version 9"),
        (b"<html>", "is not a recording"),
        (b'{"log": {"entries": []}}', "0 scenarios"),
    ],
)
def test_what_is_no_recording_is_refused_in_a_line(content: bytes, wanted: str, tmp_path: Path, capsys: Any) -> None:
    """An unknown version, another file, nothing at all: exit code 2, and no traceback."""
    path = tmp_path / "a.har"
    path.write_bytes(content)
    assert main(["import", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert wanted in said.err + said.out


def test_folder_that_is_not_empty_is_refused(tmp_path: Path, capsys: Any) -> None:
    """Nothing of anybody's is mixed with what is written, and nothing is overwritten."""
    path = write_recording(tmp_path / "a.jsonl", tell(1, STREAM, asked=QUESTION))
    assert main(["import", str(path), "--out", str(tmp_path)]) == 2
    assert "is not empty. Name a new folder with --out" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "none.har"), "--out", str(tmp_path / "out")]) == 2
    assert "Cannot read" in capsys.readouterr().err


def test_keys_of_a_recording_do_not_come_into_a_scenario(tmp_path: Path) -> None:
    """A browser's HAR has them; they are masked in requests and in answers."""
    entry = {
        "request": {
            "method": "GET",
            "url": f"{URL}/parameters?user=ada&api_key=app-secret-123456",
            "headers": [{"name": "Authorization", "value": "Bearer app-secret-123456"}],
        },
        "response": {
            "status": 401,
            "headers": [{"name": "Content-Type", "value": "application/json"}],
            "content": {"text": '{"message": "app-secret-123456 is wrong"}'},
        },
    }
    path = tmp_path / "a.har"
    path.write_text(json.dumps({"log": {"entries": [entry]}}))
    out, _ = take(tmp_path, path)
    assert only(out)["request"]["headers"] == {"authorization": "Bearer ***"}
    assert "app-secret" not in str(only(out))


def test_har_of_the_proxy_is_imported_as_its_lines_are(tmp_path: Path) -> None:
    """It has the same pieces and times, so the same scenarios come of it."""
    lines = [
        *tell(1, STREAM, asked=QUESTION),
        *tell(2, STREAM[:2], asked={**QUESTION, "query": "again"}, how="cut"),
        *tell(3, {"result": "success"}, path=f"/messages/{MESSAGE}/feedbacks", asked={"rating": None, "user": "ada"}),
    ]
    path = write_recording(tmp_path / "a.jsonl", lines)
    with path.open("rb") as recording:
        (tmp_path / "a.har").write_text("".join(write_har(recording)), "utf-8")
    import_recordings([path], tmp_path / "one", apis(CHAT, ()))
    import_recordings([tmp_path / "a.har"], tmp_path / "two", apis(CHAT, ()))
    assert read_folder(tmp_path / "one") == read_folder(tmp_path / "two")
    assert len(read_folder(tmp_path / "one")) == 3


def test_moment_of_an_answer_is_not_below_one_that_was_recorded(tmp_path: Path) -> None:
    """A conversation that was made before the answer, as real Dify 1.4.1 names it: nothing is wrong with that."""
    named = {"id": TASK, "name": "Tea", "inputs": {}, "status": "normal", "introduction": ""}
    times = {"created_at": 1_732_147_600, "updated_at": 1_732_147_700}
    asked = {"name": "Tea", "user": "ada"}
    told = tell(5, {**named, **times}, path=f"/conversations/{TASK}/name", asked=asked)
    out, imported = take(tmp_path, write_recording(tmp_path / "a.jsonl", told))
    assert only(out)["reply"]["body"]["updated_at"] == "$now"
    assert imported.forbidden == 0


def test_har_is_made_of_one_recording_and_overwrites_nothing(tmp_path, capsys):
    """What cannot be written as HAR is said in a line, and leaves no file."""
    (tmp_path / "none.jsonl").write_text("hello")
    (tmp_path / "there.har").write_text("mine")
    wrong = {
        ("none.jsonl", "--har", "new.har"): "is no recording of a proxy",
        ("absent", "--har", "new.har"): "No such file",
        ("gone", "--har", "new.har"): "Name the folder of `mockserver proxy --record`.",
        ("none.jsonl", "none.jsonl", "--har", "new.har"): "one recording",
        ("none.jsonl", "--har", "there.har"): "is there already",
        ("none.jsonl", "--har", "no/new.har"): "No such file",
        ("none.jsonl",): "say what to write",
    }
    for words, problem in wrong.items():
        paths = [word if word.startswith("--") else str(tmp_path / word) for word in words]
        assert main(["import", *paths]) == 2
        assert problem in capsys.readouterr().err
    assert {file.name for file in tmp_path.iterdir()} == {"none.jsonl", "there.har"}
    assert (tmp_path / "there.har").read_text() == "mine"


def test_har_tells_each_line_that_it_leaves_out(tmp_path: Path, capsys: Any) -> None:
    """A broken line, the last one cut, by their numbers; those of no request by their exchange; all else is written."""
    path = write_recording(tmp_path / "a.jsonl", tell(1, STREAM, asked=QUESTION))
    stray = jsonl.write_line({"type": "end", "id": 7, "at": 1.0, "how": "complete"})
    path.write_bytes(path.read_bytes() + b"\n{broken\n" + stray * 3 + stray[:9])
    assert main(["import", str(path), "--har", str(tmp_path / "a.har")]) == 1
    lines = len(path.read_bytes().splitlines())
    broken, cut, strays = capsys.readouterr().err.splitlines()
    assert broken.startswith(f"not written: line {lines - 4}: it is not JSON")
    assert cut == f"not written: line {lines}: the file ends in it"
    assert strays == "not written: exchange 7: 3 lines without its request before them"
    (entry,) = json.loads((tmp_path / "a.har").read_text("utf-8"))["log"]["entries"]
    assert len(entry["response"]["content"]["_pieces"]) == len(STREAM)
