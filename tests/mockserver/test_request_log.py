"""The request log: what `mockserver serve` shows of each request, and that no request ever waits for it."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from mock_calls import Caller, read

from flowcontract.output.printable import make_printable
from mockserver.config.settings import Settings
from mockserver.http.messages import Reply
from mockserver.journal import line_writer
from mockserver.journal.line_writer import LineWriter
from mockserver.journal.request_log import RequestLog
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHAT = "/v1/chat-messages"
BODY = {"query": "hello", "user": "abc-123", "inputs": {}, "response_mode": "blocking"}
STREAM = BODY | {"response_mode": "streaming"}
SECRET = "app-zXq81Lk0PwvT55"
ID = "a430cc57-06bb-4c11-be39-d3d4de68d2c4"
EVIL = "\x1b[2J\x9b2J\u202e"


class Shown:
    """An application whose requests are shown in a file."""

    def __init__(self, caller: Caller, path: Path, form: Any) -> None:
        self.caller, self._path = caller, path
        self._file = path.open("w", encoding="utf-8")
        self.log = RequestLog(self._file, form, plain_paths=[CHAT, "/v1/messages/*/suggested", "/v1/conversations/*"])
        caller.app.mock.journal.listener = self.log

    def lines(self) -> list[str]:
        """End the log, and return what it has written."""
        self.log.close()
        self._file.close()
        return self._path.read_text(encoding="utf-8").split("\n")[:-1]


@pytest.fixture
def shown(make_app: Callable[..., Caller], tmp_path: Path) -> Iterator[Callable[..., Shown]]:
    """Make applications whose requests are shown."""
    made: list[Shown] = []

    def make(form: str = "text", **settings: Any) -> Shown:
        made.append(Shown(make_app("dify-chat", "dify-workflow", pace=0, **settings), tmp_path / "log", form))
        return made[-1]

    yield make
    for mock in made:
        mock.lines()


def test_line_says_what_was_asked_and_answered(shown: Callable[..., Shown]) -> None:
    """Time, method, path, status, scenario, milliseconds, world, number; below it what was wrong and what was meant."""
    mock = shown()
    mock.caller.ask("POST", CHAT, key="app-chat-alice", json_body=BODY)
    mock.caller.ask("POST", CHAT, key="app-chat", json_body=BODY | {"query": 7, "respons_mode": 1})
    mock.caller.ask("POST", "/v1/chat-message", key="app-chat", Prefer="fault=latency=1")
    mock.caller.ask("GET", "/v1/info", key="app-chat", Prefer="fault=latency=1500")
    first, second, violation, hint, third, *rest = mock.lines()
    assert re.fullmatch(rf"\d\d:\d\d:\d\d POST {CHAT} 200 200-default \d+\.\d ms dify-chat-alice #1", first)
    assert re.fullmatch(rf"\d\d:\d\d:\d\d POST {CHAT} 400 400-\S+ \d+\.\d ms dify-chat #2", second)
    assert violation == "  violation: field `query` must be text, is 7"
    assert hint == "  hint: `respons_mode` is no field; did you mean `response_mode`?"
    assert re.search(r"POST /v1/chat-message 404 404-\S+ \d+\.\d ms - #3", third)
    assert rest[-2] == "  hint: no operation POST /v1/chat-message; did you mean /v1/chat-messages?"
    assert re.search(r"GET /v1/info 200 200-default fault=latency=1500.0 15\d\d\.\d ms dify-chat #4", rest[-1])


@pytest.mark.parametrize(
    ("preference", "hint"),
    [
        (
            "code=400, example=provider-quota-exceded",
            'No dify-chat/sendChatMessage scenario "400-provider-quota-exceded". Did you mean "400-provider',
        ),
        ("code=abc", 'No status "abc".'),
        ("fault=no-en", 'No fault "no-en". Did you mean "no-end"?'),
        ("fault=no-end", "The fault no-end needs a stream, but this reply is none. Ask for the stream,"),
    ],
)
def test_what_cannot_be_served_is_told_beside_its_501(shown: Callable[..., Shown], preference: str, hint: str) -> None:
    """Who sees only that the client fails reads here what was asked for wrongly, without the list of what there is."""
    mock = shown()
    answer = mock.caller.ask("POST", CHAT, key="app-chat", json_body=BODY, Prefer=preference)
    assert answer.headers["X-Mock-Hint"].startswith(hint)
    line, told = mock.lines()
    assert " 501 - " in line
    assert told.startswith(f"  hint: {hint}")
    assert "There is" not in told


def test_pieces_that_a_fault_makes_are_not_called_events(shown: Callable[..., Shown]) -> None:
    """Faults split and join what is sent: only without them a piece is an event. One piece is no plural."""
    mock = shown()
    for fault in ("comments", "close-events=1"):
        read(mock.caller.open("POST", CHAT, key="app-chat", json_body=STREAM, Prefer=f"fault={fault}"))
    lines = mock.lines()
    assert re.search(r"fault=comments \d+ pieces in \d+ ms, complete", lines[1])
    assert re.search(r"fault=close-events=1 1 piece in \d+ ms, ", lines[3])


def test_answer_of_a_gateway_has_no_scenario(shown: Callable[..., Shown]) -> None:
    """What stands in for the API comes from no file: a hyphen stands where its name would."""
    mock = shown()
    mock.caller.ask("GET", "/v1/info", key="app-chat", Prefer="fault=status=503")
    (line,) = mock.lines()
    assert re.search(r"GET /v1/info 503 - fault=status=503/html \d+\.\d ms dify-chat #1", line)


@pytest.mark.parametrize("journal", [1000, 0])
def test_stream_has_a_line_when_it_begins_and_one_when_it_ends(shown: Callable[..., Shown], journal: int) -> None:
    """The second says how many events there were, how long it took, and how it ended; also without a journal."""
    mock = shown(journal=journal)
    whole = mock.caller.open("POST", CHAT, key="app-chat", json_body=STREAM)
    left = mock.caller.open("POST", CHAT, key="app-chat", json_body=STREAM)
    count = len(read(whole).events)
    assert isinstance(left, Reply)
    left.body.close()  # type: ignore[union-attr]
    begins, begins_too, ended, gone = mock.lines()
    assert begins.endswith(f"POST {CHAT} 200 200-default-streaming stream begins dify-chat #1")
    assert begins_too.endswith("stream begins dify-chat #2")
    assert re.search(rf"200-default-streaming {count} events in \d+ ms, complete dify-chat #1", ended)
    assert re.search(r"0 events in \d+ ms, gone dify-chat #2", gone)


def test_json_has_the_same_as_an_object_on_each_line(shown: Callable[..., Shown]) -> None:
    """For programs; texts are escaped, so that a line is a line."""
    mock = shown("json")
    mock.caller.ask("POST", CHAT, key="app-chat", json_body=STREAM, Prefer="fault=bom")
    mock.caller.ask("POST", f"/v1/{EVIL}", key="app-chat", json_body=BODY)
    begins, ended, wrong = map(json.loads, mock.lines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", begins["time"])
    common = {"method": "POST", "path": CHAT, "status": 200, "operation": "dify-chat/sendChatMessage", "number": 1}
    common |= {"scenario": "200-default-streaming", "world": "dify-chat", "faults": ["bom"]}
    assert common.items() <= begins.items()
    assert (begins["event"], ended["event"], ended["ended"]) == ("begins", "ended", "complete")
    assert ended["events"] > 5
    assert (wrong["event"], wrong["status"], wrong["path"]) == ("answered", 404, f"/v1/{EVIL}")
    assert wrong["violations"]
    assert wrong["hints"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_terminal_obeys_no_request(shown: Callable[..., Shown], form: str) -> None:
    """Control characters of paths, keys, fields and wishes are shown as escapes, each request in lines of its own."""
    mock = shown(form)
    mock.caller.ask("POST", f"/v1/{EVIL}\r\n", key="app-chat", json_body=BODY)
    mock.caller.ask("POST", CHAT, key=f"app-chat-{EVIL}", json_body=BODY)
    mock.caller.ask("POST", CHAT, key="app-chat", json_body=BODY | {"response_mode": EVIL, f"respons_mode{EVIL}": 1})
    mock.caller.ask("GET", f"/v1/messages/{EVIL}/suggested?user={EVIL}", key="app-chat", Prefer=f"example={EVIL}")
    lines = mock.lines()
    assert [make_printable(line) for line in lines] == lines
    starts = r"\d\d:\d\d:\d\d |  (?:violation|hint): " if form == "text" else r"\{"
    assert all(re.match(starts, line) for line in lines)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_has_a_secret(shown: Callable[..., Shown], form: str) -> None:
    """Neither in a path nor in what is wrong with a request; queries are not shown at all."""
    mock = shown(form)
    mock.caller.ask("POST", CHAT, key=SECRET, json_body=BODY)
    mock.caller.ask("POST", f"/v1/{SECRET}/x", key=SECRET, json_body=BODY)
    mock.caller.ask("GET", f"/v1/messages/{SECRET}/suggested?user=a&api_key={SECRET}", Authorization=f"Basic {SECRET}")
    mock.caller.ask("POST", CHAT, key="app-chat", json_body=BODY | {"response_mode": SECRET, "password": SECRET})
    mock.caller.ask("GET", f"/v1/{'a' * 185}{SECRET}", key=SECRET)
    told = "\n".join(mock.lines())
    assert told.count("***") >= 4
    assert SECRET[:12] not in told


@pytest.mark.parametrize(
    ("request_", "is_hidden"),
    [
        ({}, False),
        ({"key": ID}, True),
        ({"key": f"app-chat-{ID}"}, False),  # only a part of one
        ({"Authorization": "Basic " + base64.b64encode(f"me:{ID}".encode()).decode()}, True),
        ({"path": f"/v1/messages/{ID}/suggested?api_key={ID}"}, True),
        ({"path": f"/v1/messages/{ID}/suggested?user={ID}"}, False),
        ({"path": f"/v1/messages/{ID}/suggested/{ID}", "key": ID[:13]}, True),
        ({"method": "DELETE", "path": f"/v1/conversations/{ID}", "json_body": {"user": "a", "password": ID}}, True),
        ({"method": "DELETE", "path": f"/v1/conversations/{ID}", "json_body": {"user": ID}}, False),
    ],
)
def test_id_in_a_path_is_shown_unless_it_is_a_secret(
    shown: Callable[..., Shown], request_: dict[str, Any], is_hidden: bool
) -> None:
    """A secret of the headers, of the query or of the body, whole or a part, is none of a line."""
    mock = shown()
    asked = {"method": "GET", "path": f"/v1/messages/{ID}/suggested?user=a", "key": "app-chat", **request_}
    if "Authorization" in asked:
        del asked["key"]
    mock.caller.ask(asked.pop("method"), asked.pop("path"), **asked)
    line = mock.lines()[0]
    assert ("***" in line, ID in line) == (is_hidden, not is_hidden)


# The writer


def test_nobody_reads_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full pipe: lines are dropped and counted, `put` returns at once; when somebody reads, the count is told."""
    monkeypatch.setattr(line_writer, "_KEPT", 100)
    reading, writing = os.pipe()
    writer: LineWriter[str] = LineWriter(writing, lambda count: f"dropped {count}")
    put = 0
    begun = time.monotonic()
    while not writer._dropped:  # the pipe has 64 KB, and so much waits
        assert time.monotonic() < begun + 30
        writer.put("x" * 1000)
        put += not writer._dropped
    for _ in range(10_000):
        writer.put("dropped, too")
    assert time.monotonic() < begun + 30
    told = b""
    while b"dropped" not in told:
        told += os.read(reading, 1 << 16)
    lines = told.decode().splitlines()
    assert lines[-1] == "dropped 10001"
    assert lines[:-1] == ["x" * 1000] * put
    writer.put("again")
    while not told.endswith(b"again\n"):
        told += os.read(reading, 1 << 16)
    writer.close()
    os.close(reading)
    os.close(writing)


def test_slow_reader_gets_all_lines_in_their_order() -> None:
    """Whether the thread writes them or, where the pipe has room, whoever puts them."""
    reading, writing = os.pipe()
    writer: LineWriter[int] = LineWriter(writing, str, form=lambda number: f"{number} " + "ä" * 500)
    for number in range(1000):  # fifteen times what the pipe has room for
        writer.put(number)
    told = b""
    while told.count(b"\n") < 1000:
        told += os.read(reading, 5000)
        if not told.count(b"\n") % 7:
            writer.put(1000)
    assert [int(line.split()[0]) for line in told.splitlines()[:1000]] == list(range(1000))
    writer.close()
    os.close(reading)
    os.close(writing)


def test_lines_are_missing_where_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put when there is room again stands behind the count of what was dropped before."""
    monkeypatch.setattr(line_writer, "_KEPT", 200)
    reading, writing = os.pipe()
    writer: LineWriter[str] = LineWriter(writing, lambda count: f"dropped {count}")
    while not writer._dropped:
        writer.put("early" + "x" * 1000)
    told = b""
    while len(writer._put) + len(writer._lines) > 100:
        told += os.read(reading, 1 << 16)
    for _ in range(90):
        writer.put("late")
    while told.count(b"late\n") < 90:
        told += os.read(reading, 1 << 16)
    kinds = [line.rstrip("x") for line in told.decode().splitlines()]
    assert kinds[kinds.index("dropped 1") :] == ["dropped 1", *90 * ["late"]]
    writer.close()
    os.close(reading)
    os.close(writing)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the borders of what was written here")
def test_what_is_below_a_line_stays_there_beside_other_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a violation would stand below the request of another worker."""
    monkeypatch.setattr(line_writer, "_FAREWELL_S", 30)
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    form = lambda number: f"{number} " + "x" * 40 + f"\n  {number} " + "y" * 80  # noqa: E731 - of two lines
    writer: LineWriter[int] = LineWriter(writing.fileno(), str, form=form, alone=False)
    for number in range(200):
        writer.put(number)
    writer.close()
    writing.close()
    with reading:
        batches = list(iter(lambda: reading.recv(1 << 16), b""))
    assert sum(batch.count(b"\n") for batch in batches) == 400
    assert [batch for batch in batches if batch.startswith(b"  ") or len(batch) > 4096] == []


def test_output_that_others_made_non_blocking_gets_all_lines() -> None:
    """A pipe is shared by its setting, too: of one that does not block the first full moment was the log's end."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer: LineWriter[str] = LineWriter(writing, str)
    for number in range(3000):
        writer.put(f"{number} " + "x" * 100)
    writer._closing.set()  # so that the thread does not wait for more
    told = b""
    while told.count(b"\n") < 3000:
        assert writer._thread is not None
        assert writer._thread.is_alive() or select.select([reading], [], [], 0)[0]
        if select.select([reading], [], [], 1)[0]:
            told += os.read(reading, 1 << 16)
    assert [int(line.split()[0]) for line in told.splitlines()] == list(range(3000))
    writer.close()
    os.close(reading)
    os.close(writing)


def test_full_disk_is_written_when_it_has_room_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Until then lines wait, within the bound; what had no room is counted, and the last line is whole."""
    monkeypatch.setattr(line_writer, "_KEPT", 400)
    monkeypatch.setattr(line_writer, "_FAREWELL_S", 30)
    is_full, refused, write = True, threading.Event(), os.write

    def write_some(descriptor: int, data: bytes) -> int:
        if is_full and os.fstat(descriptor).st_size >= 50:
            refused.set()
            raise OSError(errno.ENOSPC, "no space left")
        return write(descriptor, data[:50] if is_full else data)

    monkeypatch.setattr(os, "write", write_some)
    with (tmp_path / "log").open("w") as file:
        writer: LineWriter[str] = LineWriter(file.fileno(), lambda count: f"dropped {count}")
        for number in range(1500):
            writer.put(f"line {number}")
        assert refused.wait(10)
        assert len(writer._put) + len(writer._lines) <= 401
        assert writer._dropped
        is_full = False
        writer.put("the last")
        writer.close()
    lines = (tmp_path / "log").read_text().splitlines()
    kept = [line for line in lines if line.startswith("line")]
    assert kept == [f"line {number}" for number in range(len(kept))]
    assert 400 <= len(kept) < 800  # the first ones may wait together
    assert sum(int(line.removeprefix("dropped ")) for line in lines if line.startswith("dropped")) in {
        1500 - len(kept),
        1501 - len(kept),  # "the last", too
    }
    assert [line for line in lines if not line.startswith(("line ", "dropped "))] in ([], ["the last"])


def test_writer_of_a_full_disk_can_be_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What has no room is given up then, and the thread ends."""

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "write", refuse)
    with (tmp_path / "log").open("w") as file:
        writer: LineWriter[str] = LineWriter(file.fileno(), str)
        writer.put("line")
        writer.close()
        assert writer._thread is not None
        writer._thread.join(10)
        assert not writer._thread.is_alive()


def test_file_is_written_where_lines_are_put(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file takes them at once: the thread is not needed for it, and has the rest written when it is closed."""
    monkeypatch.setattr(line_writer, "_FAREWELL_S", 30)
    with (tmp_path / "log").open("w") as file:
        writer: LineWriter[str] = LineWriter(file.fileno(), str)
        writer._idle = False  # so that nobody wakes the thread
        for number in range(322):
            writer.put(str(number))
        assert (tmp_path / "log").read_text().splitlines() == [str(number) for number in range(322)]
        writer.put("the last")
        writer._wake()
        writer.close()
    assert (tmp_path / "log").read_text().splitlines()[-1] == "the last"


def test_writer_whose_reader_has_left_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed pipe ends no request: everything is dropped from then on, within the bound."""
    monkeypatch.setattr(line_writer, "_KEPT", 10)
    reading, writing = os.pipe()
    os.close(reading)
    writer: LineWriter[str] = LineWriter(writing, str)
    writer.put("nobody")
    assert writer._thread is not None
    writer._thread.join(10)
    assert not writer._thread.is_alive()
    for _ in range(100):
        writer.put("nobody")
    assert len(writer._put) + len(writer._lines) == 10
    writer.close()
    os.close(writing)


def test_lines_of_several_threads_stay_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None is lost, none is torn, those of one thread keep their order."""
    monkeypatch.setattr(line_writer, "_FAREWELL_S", 30)
    with (tmp_path / "log").open("w") as file:
        writer: LineWriter[str] = LineWriter(file.fileno(), str)
        threads = [
            threading.Thread(target=lambda number=number: [writer.put(str((number, at))) for at in range(500)])
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.close()
    found = [tuple(map(int, line.strip("()").split(", "))) for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(found) == [(number, at) for number in range(4) for at in range(500)]
    assert all([at for number, at in found if number == each] == list(range(500)) for each in range(4))


# The command


@contextlib.contextmanager
def serving(*options: str, stdout: Any = subprocess.PIPE, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `mockserver serve` on a free port."""
    command = [sys.executable, "-m", "mockserver", "serve", "--port", "0", "--pace", "0", "--api", "dify-chat"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    with subprocess.Popen([*command, *options], stdout=stdout, stderr=subprocess.STDOUT, env=environment) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def address(lines: Callable[[], bytes]) -> str:
    """Read the greeting; return where the mock listens."""
    url = ""
    while True:
        line = lines().decode()
        assert line, "the mock has ended"
        if line.startswith("  base URL"):
            url = line.split()[-1]
        if line.startswith("Ctrl-C"):
            return url


def ask(url: str, **more: Any) -> int:
    headers = {"Authorization": "Bearer app-chat"}
    return httpx.get(f"{url}/info", headers=headers, trust_env=False, timeout=20, **more).status_code


def test_command_shows_requests_unless_told_not_to() -> None:
    """A line for each by default, JSON if asked for, nothing with --quiet, also from the environment."""
    for options, environment, wanted in (
        ([], {}, rb"\d\d:\d\d:\d\d GET /v1/info 200 200-default \d+\.\d ms dify-chat #1\n"),
        (["--log-format", "json"], {}, rb'\{"time": .*"number": 1, "method": "GET", "path": "/v1/info", .*\}\n'),
        (["--quiet"], {}, b""),
        ([], {"MOCKSERVER_QUIET": "1"}, b""),
        ([], {"MOCKSERVER_QUIET": "0", "MOCKSERVER_LOG_FORMAT": "json"}, rb"\{.*\}\n"),
    ):
        with serving(*options, **environment) as process:
            assert process.stdout is not None
            assert ask(address(process.stdout.readline)) == 200
            process.send_signal(signal.SIGTERM)
            assert re.fullmatch(wanted, process.stdout.read()), options
            assert process.wait(20) == 0


def test_mock_answers_on_while_nobody_reads_its_output() -> None:
    """More lines than the pipe takes: all requests are answered, and the mock can be ended."""
    with serving("--log-format", "json") as process:
        assert process.stdout is not None
        url = address(process.stdout.readline)
        with httpx.Client(headers={"Authorization": "Bearer app-chat"}, trust_env=False, timeout=20) as client:
            assert {client.get(f"{url}/info").status_code for _ in range(600)} == {200}  # 140 KB of lines
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_terminals_whose_user_wants_them(environment: dict[str, str], coloured: bool) -> None:
    """On a pseudo-terminal; a pipe never has them, as the other tests show."""
    import pty  # noqa: PLC0415 - not everywhere

    ours, theirs = pty.openpty()
    with serving(stdout=theirs, **{"NO_COLOR": "", "TERM": "xterm"} | environment):
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            url = address(terminal.readline)
            assert ask(url, params={"user": "\x1b[2J"}) == 200
            line = terminal.readline()
    assert (b"\x1b[32m200\x1b[0m" in line) == coloured
    assert (b"\x1b" in line) == coloured


def test_log_of_a_mock_in_a_test_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    """Only the command shows requests."""
    with MockServer(["dify-chat"], settings=Settings(pace=0)) as mock:
        assert ask(mock.url("dify-chat")) == 200
    assert capfd.readouterr() == ("", "")
