"""A proxy judges both sides while they pass, lets the mock answer what it was told to, and changes what passes."""

from __future__ import annotations

import errno
import gc
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest
from proxying import CHAT, KEY, STREAM_HEAD, Upstream, chat, connect, event, passing_of, proxying, request

from flowcontract.errors import FlowContractError
from flowcontract.output.secrets import Secrets
from flowcontract.recordings import jsonl, reading
from flowcontract.recordings.untrusted import Unreadable
from flowcontract.specs.model import load_apis
from mockserver.config.settings import Settings
from mockserver.proxy.judging import JUDGED_OF_STREAM, AnswerJudge
from mockserver.proxy.masking import PieceMask
from mockserver.proxy.passing import make_masking
from mockserver.proxy.recording import Recorder, RecordingError
from mockserver.proxy.rewriting import Rewriting
from mockserver.proxy.servers import ServerError, parse_server
from mockserver.server.mock_server import MockServer

DIFY = "dify-chat"
END = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def real():
    """Run a server that keeps the contract: the mock itself."""
    with MockServer([DIFY], settings=Settings(pace=0)) as server:
        yield server


def ask(server, **more):
    """Ask for a stream as httpx does."""
    headers = {"Authorization": "Bearer app-chat"} | more.pop("headers", {})
    return httpx.post(
        f"{server.url(DIFY)}/chat-messages", json=CHAT | more, headers=headers, trust_env=False, timeout=20
    )


def answered(upstream, proxy, said, asked=None, **headers):
    """Let a server answer a request with these bytes; return the status and the body that the client gets."""
    with connect(proxy) as client:
        client.send(chat(asked, Connection="close", **headers))
        with upstream.accept() as server:
            server.read_until(b"}")
            server.send(said)
            server.socket.shutdown(1)
            head = client.read_head()
            return head.status, client.read_rest()


def streamed(*events):
    """Return an answer that streams, each event in a chunk of its own."""
    return STREAM_HEAD + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in events) + END


def eventually(holds):
    """Tell whether something comes to hold: it is noted right after a piece has passed."""
    for _ in range(2000):
        if holds():
            return True
        time.sleep(0.005)
    return False


# Judging


def test_both_sides_that_keep_the_contract_are_told_so(real):
    """The stream is the server's own, byte for byte, and nothing is wrong."""
    with proxying({DIFY: real.url(DIFY)}) as proxy:
        answer = ask(proxy)
        assert answer.status_code == 200
        assert answer.text.startswith("data: ")
        entry = proxy.mock.journal.list_entries()[-1]
        assert (entry.by, entry.because, entry.scenario) == ("forward", real.url(DIFY), None)
        assert entry.violations == entry.answer_violations == []
        assert passing_of(proxy).summary.clean
        assert passing_of(proxy).summary.render_lines() == ["1 request passed, none with a violation."]


def test_what_the_client_does_wrong_passes_and_is_told(real):
    """The request is passed on all the same; the journal has it."""
    with proxying({DIFY: real.url(DIFY)}) as proxy:
        assert ask(proxy, query=7).status_code == 400
        (violation,) = proxy.mock.journal.list_entries()[-1].violations
        assert violation["field"] == "query"
        assert passing_of(proxy).summary.wrong == {"client": 1}
        assert "client  dify-chat/sendChatMessage" in passing_of(proxy).summary.render_lines()[1]
        shown = httpx.get(f"{proxy.origin}/__mock__/requests", trust_env=False).json()
        assert shown["requests"][-1]["violations"] == [violation]


def test_what_the_server_does_wrong_is_told_with_its_event():
    """The third event has a wrong type, and the stream has no end."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy:
        said = streamed(event("ping"), event("ping"), event("message", answer=7))
        assert answered(upstream, proxy, said)[0] == 200
        entry = proxy.mock.journal.list_entries()[-1]
        assert entry.violations == []
        found = entry.answer_violations
        assert {each["event"] for each in found if each["rule"] == "schema"} == {3}
        assert any(each["rule"] == "end" for each in found)
        assert passing_of(proxy).summary.wrong == {"server": 1}


def test_whole_answers_are_judged():
    """A JSON body that lacks a field, and a status that only a broken server has."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy:
        wrong = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        assert answered(upstream, proxy, wrong, CHAT | {"response_mode": "blocking"}) == (200, b"{}")
        assert proxy.mock.journal.list_entries()[-1].answer_violations[0]["tier"] == "document"
        broken = b"HTTP/1.1 502 Oh\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno"
        answered(upstream, proxy, broken)
        assert "server-error" in {each["tier"] for each in proxy.mock.journal.list_entries()[-1].answer_violations}
        assert passing_of(proxy).summary.wrong == {"server": 2}


def test_compressed_answers_pass_as_they_are_and_are_judged():
    """The client gets what the server has packed; the judge what is in it."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy:
        packed = gzip.compress(event("message", answer=7))
        head = STREAM_HEAD.replace(b"Transfer", b"Content-Encoding: gzip\r\nTransfer")
        said = head + b"%x\r\n%b\r\n" % (len(packed), packed) + END
        _, body = answered(upstream, proxy, said, Accept_Encoding="gzip, br")
        assert packed in body
        assert any(each["event"] == 1 for each in proxy.mock.journal.list_entries()[-1].answer_violations)


def test_uploads_are_judged_when_they_have_passed(real):
    """A form without the field that the contract demands is the client's fault, though it was passed on unread."""
    with proxying({DIFY: real.url(DIFY)}) as proxy:
        url = f"{proxy.url(DIFY)}/files/upload"
        headers = {"Authorization": "Bearer app-chat"}
        for name, count in (("file", 0), ("document", 1)):
            files = {name: ("a.txt", b"text", "text/plain")}
            httpx.post(url, data={"user": "u"}, files=files, headers=headers, trust_env=False)
            entry = proxy.mock.journal.list_entries()[-1]
            assert len(entry.violations) == count
            assert entry.form[name]["filename"] == "a.txt"


def test_enforcing_refuses_what_is_wrong():
    """A forbidden request never reaches the server; a forbidden stream ends at its first violation."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}, enforce="error") as proxy:
        assert ask(proxy, query=7, headers={"Authorization": KEY}).status_code == 400
        assert passing_of(proxy).summary.render_lines()[0] == (
            "0 requests passed, 1 answered here: 1 with violations by the client."
        )
        said = streamed(event("ping"), event("message", answer=7), event("ping"))
        status, body = answered(upstream, proxy, said)
        assert status == 200
        kinds = re.findall(rb'"event": "(\w+)"', body)
        assert kinds == [b"ping", b"error"]
        assert body.endswith(END)
    with Upstream() as upstream, proxying({DIFY: upstream.url}, enforce="cut") as proxy:
        _, body = answered(upstream, proxy, said)
        assert re.findall(rb'"event": "(\w+)"', body) == [b"ping"]
        assert not body.endswith(END)


# What the mock answers itself


def test_override_answers_in_place_of_the_server(real):
    """One operation is the mock's, all others pass."""
    with proxying({DIFY: real.url(DIFY)}) as proxy:
        proxy.use("sendChatMessage", "400-provider-quota-exceeded", times=1)
        assert ask(proxy, headers={"Authorization": KEY}).json()["code"] == "provider_quota_exceeded"
        assert proxy.mock.journal.list_entries()[-1].scenario == "400-provider-quota-exceeded"
        assert ask(proxy).status_code == 200
        assert proxy.mock.journal.list_entries()[-1].by == "forward"


def test_preference_answers_in_place_of_the_server(real):
    """`Prefer` and the suffix on `user` name scenarios, as at the mock."""
    with proxying({DIFY: real.url(DIFY)}) as proxy:
        assert ask(proxy, headers={"Prefer": "code=400, example=app-unavailable"}).json()["code"] == "app_unavailable"
        assert ask(proxy, user="u#mock:400-app-unavailable").json()["code"] == "app_unavailable"


def test_scenarios_of_ones_own_come_before_the_server(real, tmp_path):
    """A request that matches one is answered by it; unmatched ones pass."""
    folder = tmp_path / DIFY / "sendChatMessage"
    folder.mkdir(parents=True)
    (folder / "200-mine.yaml").write_text(
        "description: Mine.\nrequest:\n  body:\n    query: mine\nreply:\n  body:\n    answer: this is mine\n"
    )
    with proxying({DIFY: real.url(DIFY)}, own=tmp_path) as proxy:
        assert ask(proxy, query="mine", response_mode="blocking").json()["answer"] == "this is mine"
        assert ask(proxy, query="yours", response_mode="blocking").json()["answer"] != "this is mine"


# Faults


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("drop=2", ["ping", "message_end"]),
        ("swap=1", ["message", "ping", "message_end"]),
        ("duplicate=1", ["ping", "ping", "message", "message_end"]),
        ("close-events=1", ["ping"]),
        ("split=5", ["ping", "message", "message_end"]),
        ("no-end", ["ping", "message"]),
    ],
)
def test_faults_change_a_real_servers_stream(fault, kinds):
    """What the server sends is changed as the mock's own streams are."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy:
        said = streamed(event("ping"), event("message", answer="a"), event("message_end"))
        _, body = answered(upstream, proxy, said, Prefer=f'fault="{fault}"')
        whole = re.sub(rb"(?:^|\r\n)[0-9a-f]+\r\n", b"", body)
        assert [each.decode() for each in re.findall(rb'"event": "(\w+)"', whole)] == kinds
        assert proxy.mock.journal.list_entries()[-1].faults == (fault,)


def test_fault_passes_each_event_when_it_comes():
    """Faults do not hold a stream back: the first event is there before the second is sent."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        client.send(chat(Prefer='fault="duplicate=2"'))
        with upstream.accept() as server:
            server.read_until(b"}")
            server.send(STREAM_HEAD)
            client.read_head()
            server.send_chunk(event("ping"))
            assert client.read_chunk() == event("ping")
            server.send_chunk(event("message", answer="a"))
            assert [client.read_chunk(), client.read_chunk()] == [event("message", answer="a")] * 2
            server.send(END)
            assert client.read_chunk() == b""


def test_fault_that_answers_for_the_server_lets_nothing_pass():
    """`status=503` is a gateway's word, and no request reaches the server."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy:
        assert ask(proxy, headers={"Authorization": KEY, "Prefer": 'fault="status=503"'}).status_code == 503
        upstream.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            upstream.accept()


def test_fault_resets_a_real_servers_stream():
    """The client sees a broken connection after so many bytes."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        client.send(chat(Prefer='fault="reset=30"'))
        with upstream.accept() as server:
            server.read_until(b"}")
            server.send(STREAM_HEAD)
            for _ in range(3):
                server.send_chunk(event("message", answer="some text"))
            with pytest.raises(ConnectionResetError):
                client.read_rest()


def test_fault_changes_a_whole_answer(real):
    """One that is no stream is waited for, then changed."""
    with proxying({DIFY: real.url(DIFY)}) as proxy:
        answer = ask(proxy, response_mode="blocking", headers={"Prefer": 'fault="close=10"'})
        assert len(answer.content) == 10


def test_fault_that_does_not_fit_is_said(real):
    """What was meant for a stream is a 501 where there is none."""
    with proxying({DIFY: real.url(DIFY)}) as proxy:
        assert ask(proxy, response_mode="blocking", headers={"Prefer": 'fault="drop=1"'}).status_code == 501


def test_what_was_judged_is_let_go_at_once():
    """Not when garbage is collected, which a server rarely does: a judge remembers megabytes of a long stream."""
    api = load_apis((DIFY,))[DIFY]
    operation = api.operations["sendChatMessage"]

    def count():
        return sum(type(each).__name__.endswith(("Follower", "_Watch", "StreamJudge")) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = count()
        for data in (event("message", answer="x"), b"x" * (JUDGED_OF_STREAM + 1)):
            judge = AnswerJudge(api, operation, 200, {"content-type": "text/event-stream"}, refused=False)
            judge.feed(event("message", answer="x"), 0.0)
            assert count() > before
            judge.feed(data, 1.0)
            judge.close(2.0, whole=True, readable=True)
            assert count() == before
    finally:
        gc.enable()


def test_streams_that_faults_change_are_bounded():
    """Each has a thread: beyond the bound the proxy says so itself, and a place is free again when a stream ends."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}, changed=threading.BoundedSemaphore(1)) as proxy:
        with connect(proxy) as first:
            first.send(chat(Prefer='fault="duplicate=1"'))
            with upstream.accept() as server:
                server.read_until(b"}")
                server.send(STREAM_HEAD)
                assert first.read_head().status == 200
                with connect(proxy) as second:
                    second.send(chat(Prefer='fault="duplicate=1"'))
                    with upstream.accept() as other:
                        other.read_until(b"}")
                        other.send(STREAM_HEAD)
                        head = second.read_head()
                        assert (head.status, head["retry-after"]) == (503, "1")
                        assert head["proxy-status"] == "mockserver; error=proxy_internal_error"
                server.send_chunk(event("ping"))
                assert [first.read_chunk(), first.read_chunk()] == [event("ping")] * 2
                first.reset()
        fault = {"Prefer": 'fault="drop=1"'}
        said = streamed(event("ping"), event("message", answer="a"))
        assert eventually(lambda: answered(upstream, proxy, said, **fault)[0] == 200)
        assert eventually(lambda: passing_of(proxy).changed.acquire(blocking=False))


# Recording


@pytest.fixture
def record():
    """Return what has a proxy record what passes from now on."""
    begun = []

    def begin(proxy, folder, **options):
        passing = passing_of(proxy)
        passing.recorder = Recorder(
            folder, make_masking(proxy.mock.apis), {DIFY: "http://x"}, **{"limit": 1 << 24} | options
        )
        begun.append(passing.recorder)
        return passing.recorder

    yield begin
    for recorder in begun:
        recorder.close()


def read(recorder):
    """Return the exchanges of a recording."""
    return jsonl.parse_lines(recorder.path.read_bytes())[1]


def test_exchange_is_recorded_while_it_happens(tmp_path, record):
    """What has passed is in the file before the next piece is sent."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        recorder = record(proxy, tmp_path)
        client.send(chat())
        with upstream.accept() as server:
            server.read_until(b"}")
            server.send(STREAM_HEAD)
            client.read_head()
            for number in range(3):
                server.send_chunk(event("message", answer=str(number)))
                client.read_chunk()
                assert eventually(lambda count=number + 1: len(read(recorder)[0].pieces) == count)
            server.send(END)
            client.read_chunk()
        (taken,) = read(recorder)
        assert (taken.how, taken.operation, taken.status) == ("complete", "dify-chat/sendChatMessage", 200)
        assert json.loads(taken.body) == CHAT
        assert any(each["side"] == "server" for each in taken.violations)
        recorder.close()
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}  # nobody else may read it
    (entry,) = json.loads((tmp_path / "recording.har").read_text())["log"]["entries"]
    assert len(entry["response"]["content"]["_pieces"]) == 3


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_no_secret_touches_the_disk(tmp_path, record, size):
    """Neither the client's key nor a secret that the server tells, in whichever pieces it comes."""
    secrets = ["app-secret-key-4711", "sk-of-the-server-0815", "cookie-value-1234", "key-in-a-query-99"]
    text = f'data: {{"event": "message", "answer": "{secrets[0]}", "api_key": "{secrets[1]}", "id": "i"}}\n\n'.encode()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy:
        recorder = record(proxy, tmp_path)
        head = STREAM_HEAD.replace(b"Transfer", f"Set-Cookie: s={secrets[2]}; Path=/\r\nTransfer".encode())
        said = streamed(*pieces).replace(STREAM_HEAD, head)
        with connect(proxy) as client:
            body = json.dumps(CHAT | {"query": f"my key is {secrets[0]}"}).encode()
            path = f"/v1/chat-messages?api_key={secrets[3]}"
            client.send(request("POST", path, body, Content_Type="application/json", Cookie=f"s={secrets[2]}"))
            with upstream.accept() as server:
                server.read_until(b"}")
                server.send(said)
                client.read_until(END)
        (taken,) = read(recorder)
        recorder.close()
        joined = taken.answer.decode()
        for secret in secrets:
            for file in tmp_path.iterdir():
                assert secret not in file.read_text()
            assert secret not in joined
        assert json.loads(joined.removeprefix("data: ")) == {
            "event": "message",
            "answer": "***",
            "api_key": "***",
            "id": "i",
        }


@pytest.mark.parametrize(
    "sent",
    [
        request("POST", "/v1/chat-messages", gzip.compress(b'{"a": "b"}'), Content_Encoding="gzip"),
        request("POST", "/v1/chat-messages", b'{"name": "J\xfcrgen", "api_key": "sk-odd-0815"}'),
        request(
            "POST",
            "/v1/files/upload",
            b'--b\r\nContent-Disposition: form-data; name="api_key"\r\n\r\nsk-odd-0815\r\n'
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\xff\r\n--b--\r\n',
            Content_Type="multipart/form-data; boundary=b",
        ),
    ],
    ids=["packed", "no UTF-8", "form"],
)
@pytest.mark.parametrize(
    "pieces", [(b'{"token":\n\n', b'"sk-odd-0815"}'), (rb'{"a": "{\"token\": \"', rb'sk-odd-0815\"}"}')]
)
def test_no_secret_of_odd_bodies_touches_the_disk(tmp_path, record, sent, pieces):
    """Whatever cannot be looked into is left out; what comes in another form than usual is masked as well."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        recorder = record(proxy, tmp_path)
        client.send(sent)
        with upstream.accept() as server:
            server.read_head()
            server.send(STREAM_HEAD.replace(b"text/event-stream", b"application/json"))
            client.read_head()
            for piece in pieces:
                server.send_chunk(piece)
                assert client.read_chunk() == piece
            server.send(END)
            client.read_chunk()
        (taken,) = read(recorder)
        assert b"***" in taken.answer
        assert b"sk-odd" not in taken.answer + (taken.body or b"")
        assert not (taken.body or b"").startswith(b"\x1f\x8b")


def test_secret_of_any_length_is_masked_to_its_end():
    """Also where it is longer than what is remembered of a body; what follows it is shown."""
    mask = PieceMask(Secrets())
    sent = b'{"token": "' + b"sk-0815-" * 40_000 + b'", "a": "b"}'
    for has_blocks in (True, False):
        mask.has_blocks = has_blocks
        written = [mask.feed(0, sent[at : at + 10_000]) for at in range(0, len(sent), 10_000)]
        assert (
            b"".join(data for pieces in [*written, mask.close()] for _, data in pieces) == b'{"token": "***", "a": "b"}'
        )
        mask = PieceMask(Secrets())


@pytest.mark.parametrize("size", [1000, 64 << 10])
@pytest.mark.parametrize("length", [200, 150_000])
def test_object_under_the_name_of_a_secret_is_masked_whole(size: int, length: int) -> None:
    """However large it is, and wherever its pieces end: in a text, behind a backslash, between brackets."""
    inner = {"x": 'leak\\"{' * (length // 7), "list": ["leak", {}], "more": ["leak"] * 100}
    body = json.dumps({"a": 1, "client_secret": {"in": inner, "z": "leak"}, "b": "kept"}).encode()
    mask = PieceMask(Secrets())
    mask.has_blocks = False
    written = [piece for start in range(0, len(body), size) for piece in mask.feed(0.0, body[start : start + size])]
    whole = b"".join(data for _, data in [*written, *mask.close()])
    assert json.loads(whole) == {"a": 1, "client_secret": "***", "b": "kept"}


@pytest.mark.parametrize("has_blocks", [True, False])
def test_nothing_of_what_is_too_large_to_be_redacted_is_recorded(monkeypatch, has_blocks) -> None:
    """Neither its beginning nor its end, which has lost the name of the field; the next event is recorded."""
    monkeypatch.setattr("mockserver.proxy.masking._REWRITTEN", 1000)
    mask = PieceMask(Secrets(), Rewriting(["email"]))
    mask.has_blocks = has_blocks
    large = b'data: {"email": "' + b"leak" * 1000 + b'"}\n\n'
    pieces = [*(large[at : at + 300] for at in range(0, len(large), 300)), b'data: {"email": "leak", "a": 1}\n\n']
    written = [said for piece in pieces for said in mask.feed(0.0, piece)]
    whole = b"".join(data for _, data in [*written, *mask.close()])
    assert mask.lost
    assert whole == (b'data: {"email": "***", "a": 1}\n\n' if has_blocks else b"")


def test_recording_is_bounded(tmp_path, record):
    """Beyond the bound nothing more is recorded, and all goes on passing."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy:
        recorder = record(proxy, tmp_path, limit=5000)
        said = streamed(*[event("message", answer="x" * 100)] * 200)
        assert len(answered(upstream, proxy, said)[1]) > 20_000
        assert eventually(lambda: read(recorder)[0].how)
        assert recorder.path.stat().st_size < 5000 + 4096 + 1000
        (taken,) = read(recorder)
        assert taken.pieces
        assert taken.partial  # which is not the server's fault
        assert answered(upstream, proxy, said)[0] == 200
        assert len(read(recorder)) == 1
    (read_again,) = reading.read(recorder.path)
    assert read_again.answer.left == "the recorder left it out"


def test_full_disk_leaves_no_half_line(tmp_path, record):
    """A write that the disk has half the room for says so only when it is asked again: the next line stands alone."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy:
        recorder = record(proxy, tmp_path)
        recorder._file.close()
        recorder._file = FullFile(recorder.path, "ab")
        assert answered(upstream, proxy, streamed(event("message", answer="x" * 3000)))[0] == 200
        assert eventually(lambda: read(recorder)[0].how)
        assert all(line.endswith(b"}\n") for line in recorder.path.read_bytes().splitlines(keepends=True))
        assert read(recorder)[0].partial


class FullFile(io.FileIO):
    """A file on a disk that has room for 3,000 bytes."""

    def write(self, data):
        """Take what there is room for."""
        room = 3000 - os.fstat(self.fileno()).st_size
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[:room])


@pytest.mark.parametrize("form", ["jsonl", "har"])
@pytest.mark.parametrize(
    ("said", "options"),
    [
        (b"Content-Type: audio/wav\r\nContent-Length: 4\r\n\r\nRIFF", {"rewriting": Rewriting(["email"])}),
        (b"Content-Type: application/json\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nabcd", {}),
        (b'Content-Type: application/json\r\nContent-Length: 4\r\n\r\n{"a"', {"rewriting": Rewriting(["email"])}),
    ],
)
def test_body_that_was_left_out_is_not_taken_for_an_empty_one(tmp_path, record, said, options, form):
    """Redacting cannot look into a recording of speech, nobody into what is packed with br: readers are told."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy:
        recorder = record(proxy, tmp_path, **options)
        assert answered(upstream, proxy, b"HTTP/1.1 200 OK\r\n" + said)[0] == 200
        assert eventually(lambda: read(recorder)[0].how)
        recorder.close()
    (recorded,) = reading.read(tmp_path / f"recording.{form}")
    with pytest.raises(Unreadable, match="its body was not recorded: the recorder left it out"):
        assert recorded.answer


@pytest.mark.parametrize("what", ["not empty", "a file", "not writable"])
def test_folder_that_cannot_be_recorded_in_is_refused(tmp_path, record, what):
    """Before anything passes."""
    folder = tmp_path / "recordings"
    if what == "a file":
        folder.write_text("")
    else:
        folder.mkdir()
        if what == "not empty":
            (folder / "x").write_text("")
        elif os.geteuid() == 0:
            folder = tmp_path.joinpath("/proc/recordings")  # where not even root may
        else:
            folder.chmod(0o500)
    with proxying({DIFY: "http://127.0.0.1:1"}) as proxy, pytest.raises(RecordingError, match=re.escape(str(folder))):
        record(proxy, folder)


# The command


def test_two_servers_for_the_same_paths_are_refused():
    """A key must not reach the wrong one."""
    with (
        pytest.raises(ServerError, match="same paths"),
        proxying({DIFY: "http://a/v1", "dify-workflow": "http://b/v1"}),
    ):
        pass


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--to", "dify-chat"],
        ["--to", "dify-chat=ftp://a"],
        ["--to", "dify-chat=http://u:p@a"],
        ["--to", "nothing=http://a"],
        ["--to", "dify-chat=http://a", "--fixtures", "/nowhere"],
        ["--to", "dify-chat=http://a", "--ca-file", "/nowhere"],
    ],
)
def test_misuse_is_told_without_a_traceback(arguments):
    """Exit code 2, and a line that says what to do."""
    ran = subprocess.run(
        [sys.executable, "-m", "mockserver", "proxy", "--port", "0", *arguments], capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert ran.stderr


@pytest.mark.parametrize(("query", "code"), [("Hi", 0), (7, 1)])
def test_exit_code_tells_whether_something_was_wrong(real, tmp_path, query, code):
    """So that an integration test that runs through the proxy is a contract test."""
    folder = tmp_path / "recordings"
    command = [sys.executable, "-m", "mockserver", "proxy", "--port", "0", "--record", str(folder)]
    command += ["--to", f"{DIFY}={real.url(DIFY)}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline()]
        while not said[-1].startswith("Ctrl-C"):
            assert said[-1], said
            said.append(process.stdout.readline())
        url = said[0].split()[1]
        httpx.post(
            f"{url}/chat-messages",
            json=CHAT | {"query": query},
            headers={"Authorization": "Bearer app-chat"},
            trust_env=False,
            timeout=20,
        )
        process.send_signal(signal.SIGTERM)
        out = process.stdout.read()
        assert process.wait(20) == code
    assert "1 request passed" in out
    assert (folder / "recording.har").is_file()


def test_server_that_is_not_there_yet_is_said_at_the_start():
    """The proxy starts all the same."""
    command = [sys.executable, "-m", "mockserver", "proxy", "--port", "0", "--to", f"{DIFY}=http://127.0.0.1:1/v1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline(), process.stdout.readline()]
        assert "cannot be reached" in said[1]
        process.terminate()
        process.stdout.read()
        assert process.wait(20) == 0


def test_base_path_that_was_left_out_is_said_at_the_start(real):
    """Whoever copies the address of a server without /v1 would only see 404."""
    origin = real.url(DIFY).removesuffix("/v1")
    command = [sys.executable, "-m", "mockserver", "proxy", "--port", "0", "--to", f"{DIFY}={origin}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline(), process.stdout.readline()]
        assert f"say --to {DIFY}={real.url(DIFY)}." in said[1]
        process.terminate()
        process.stdout.read()
        assert process.wait(20) == 0


# In tests


def test_running_mock_passes_one_api_on_and_records_it(real, tmp_path):
    """`proxy` and `record` of the fixture: until the test ends, and all other APIs stay the mock's."""
    with MockServer([DIFY, "cybertron"], settings=Settings(pace=0)) as mock:
        mock.proxy(DIFY, to=real.url(DIFY))
        mock.record(tmp_path / "r")
        with pytest.raises(RecordingError, match="already"):
            mock.record(tmp_path / "again")
        assert ask(mock).status_code == 200
        mock.assert_no_violations()
        mock.use("sendChatMessage", "400-app-unavailable", times=1)
        assert ask(mock).status_code == 400
        mock.renew("")
        assert ask(mock).status_code == 200
        assert mock.requests()[-1].by == "default"
    passed, kept = jsonl.parse_lines((tmp_path / "r" / jsonl.NAME).read_bytes())[1]
    assert (passed.status, passed.how, kept.status, kept.how) == (200, "complete", 400, "complete")
    assert (tmp_path / "r" / "recording.har").is_file()


def test_mock_records_what_it_answers_itself(tmp_path):
    """Without a server behind it, too: streams piece by piece, and no key; a mock of the recording answers the same."""
    with MockServer([DIFY], settings=Settings(pace=0)) as mock:
        mock.record(tmp_path / "r")
        streamed_text = ask(mock, headers={"Prefer": 'fault="split-at=20"'}).content
        blocking = ask(mock, response_mode="blocking").content
        with pytest.raises(httpx.RemoteProtocolError):
            ask(mock, headers={"Prefer": 'fault="cut-events=1"'})
        mock.proxy(DIFY, to="http://127.0.0.1:1")
        assert ask(mock).status_code == 502
        mock.end_proxy()
        assert ask(mock).status_code == 200
    first, second, third, fourth = jsonl.parse_lines((tmp_path / "r" / jsonl.NAME).read_bytes())[1]
    assert (first.answer, first.how, first.operation) == (streamed_text, "complete", "dify-chat/sendChatMessage")
    assert len(first.pieces) > 4
    assert (second.answer, second.status) == (blocking, 200)
    assert json.loads(second.body) == CHAT | {"response_mode": "blocking"}
    assert (third.how, fourth.status) == ("cut", None)
    assert "app-chat" not in (tmp_path / "r" / "recording.har").read_text()


def test_violations_of_both_sides_fail_a_test():
    """`assert_no_violations` tells whose they are."""
    with Upstream() as upstream, MockServer([DIFY], settings=Settings(pace=0)) as mock:
        mock.proxy(DIFY, to=upstream.url)
        answered(upstream, mock, streamed(event("message", answer=7)))
        with pytest.raises(AssertionError, match="The server answered what the contract forbids, in 1 of 1"):
            mock.assert_no_violations()
        mock.reset()
        answered(upstream, mock, b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", {"query": 7})
        with pytest.raises(AssertionError, match="The client sent what the contract forbids"):
            mock.assert_no_violations()


# What else is not recorded


@pytest.mark.parametrize(
    ("rule", "hidden"),
    [
        ("email", {"/users/0/email", "/users/1/email", "/email"}),
        ("users.email", {"/users/0/email", "/users/1/email"}),
        ("/users/1", {"/users/1/email", "/users/1/name"}),
        ("/email", {"/email"}),
        ("nothing", set()),
    ],
)
def test_fields_are_redacted_by_name_or_pointer(rule, hidden):
    """Wherever they stand, and nothing else changes."""
    value = {"users": [{"email": "a@b.c", "name": "A"}, {"email": 'd"\\u', "name": "D"}], "email": 7, "x": [1, "y", {}]}
    written = json.loads(Rewriting([rule]).rewrite_text(json.dumps(value, indent=1)))
    expected = json.loads(json.dumps(value))
    for pointer in hidden:
        *parents, name = pointer.split("/")[1:]
        place = expected
        for parent in parents:
            place = place[int(parent) if isinstance(place, list) else parent]
        place[name] = "***"
    assert written == expected


def test_words_are_as_long_as_the_texts():
    """The same text becomes the same words; what is no text stays."""
    value = {
        "event": "message",
        "task_id": "t-1",
        "answer": "My name is Ann.",
        "n": 1,
        "list": ["Ann", "My name is Ann."],
    }
    text = json.dumps(value)
    written = Rewriting(words=True).rewrite_text(text)
    assert len(written) == len(text)
    shown = json.loads(written)
    assert (shown["event"], shown["task_id"], shown["n"]) == ("message", "t-1", 1)
    assert shown["answer"] == shown["list"][1] != value["answer"]
    assert "Ann" not in written


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_rewritten_stream_is_recorded_event_by_event(tmp_path, record, size):
    """In whichever pieces it comes, neither the field nor the text is on the disk, and each event is JSON."""
    texts = [event("message", answer="My name is Ann.", user={"email": "ann@example.com"}), event("message_end")]
    pieces = [text[at : at + size] for text in texts for at in range(0, len(text), size)]
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy:
        recorder = record(proxy, tmp_path, rewriting=Rewriting(["email"], words=True))
        asked = CHAT | {"query": "I am Ann", "inputs": {"email": "ann@example.com"}}
        answered(upstream, proxy, streamed(*pieces, b'data: {"answer": "Ann'), asked)
        assert eventually(lambda: read(recorder)[0].how is not None)
        (taken,) = read(recorder)
        assert "Ann" not in recorder.path.read_text()
        assert "example.com" not in recorder.path.read_text()
        first, second, rest = taken.answer.split(b"\n\n")
        assert rest == b""  # of an event that broke off nobody knows what is in it
        assert json.loads(first.removeprefix(b"data: "))["user"] == {"email": "***"}
        assert json.loads(second.removeprefix(b"data: ")) == {"event": "message_end"}


@pytest.mark.parametrize("key", ["Bearer app-chat", KEY, ""])
def test_servers_violations_are_told_whatever_the_key_is(key):
    """Also where the exchange has no secret: the mock's own key is none."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        client.send(request("GET", "/v1/info", Authorization=key))
        with upstream.accept() as server:
            server.answer(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"no": 1}')
            assert client.read_head().status == 200
            client.read_exactly(9)
        (entry,) = proxy.mock.journal.list_entries()
        assert [each["rule"] for each in entry.answer_violations] == ["required"] * 3


def test_real_keys_of_apis_that_share_their_paths_are_no_violation(real):
    """Which app a key is of only the server knows; the path tells which contract counts."""
    url = "http://127.0.0.1:{}/v1"
    with (
        Upstream() as upstream,
        proxying({"dify-workflow": url.format(upstream.port), DIFY: url.format(upstream.port)}) as proxy,
    ):
        for path, operation in (
            ("/v1/chat-messages", f"{DIFY}/sendChatMessage"),
            ("/v1/workflows/run", "dify-workflow/runWorkflow"),
        ):
            body = json.dumps(CHAT).encode()
            with connect(proxy) as client:
                client.send(request("POST", path, body, Content_Type="application/json"))
                with upstream.accept() as server:
                    server.read_until(b"}")
                    server.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
                    assert client.read_head().status == 401
            entry = proxy.mock.journal.list_entries()[-1]
            assert (entry.operation, entry.violations) == (operation, [])


def test_proxy_before_itself_is_noticed():
    """A loop ends after a few rounds, and the client is told."""
    with proxying({DIFY: "http://127.0.0.1:1"}) as proxy:
        proxy.mock.passing.servers[DIFY] = parse_server(DIFY, proxy.url(DIFY))
        assert httpx.get(f"{proxy.url(DIFY)}/info", headers={"Authorization": KEY}, trust_env=False).status_code == 508


def test_hanging_fault_does_not_pile_up_what_the_server_sends():
    """What a fault holds back the server has to wait with."""
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        client.send(chat(Prefer='fault="hang=60"'))
        with upstream.accept() as server:
            server.read_until(b'"streaming"}')
            server.send(STREAM_HEAD)
            server.socket.settimeout(2.0)
            block = event("message", answer="x" * 10_000)
            sent = 0
            try:
                while sent < 20_000:
                    server.send_chunk(block)
                    sent += 1
            except TimeoutError:
                pass
            assert sent < 10_000


def test_fixture_enforces_what_was_said_or_refuses(real):
    """A second API has the same `enforce`; a word that is none, or a server that is none, leaves all as it was."""
    with MockServer(settings=Settings(pace=0)) as mock:
        for api, to, enforce in (("dify-chat", real.url(DIFY), "kill"), ("nobody", real.url(DIFY), "")):
            with pytest.raises(FlowContractError):
                mock.proxy(api, to=to, enforce=enforce)
            assert mock.mock.passing is None
        mock.proxy("dify-chat", to=real.url(DIFY), enforce="cut")
        with pytest.raises(FlowContractError, match='dify-chat is passed on with enforce="cut"'):
            mock.proxy("agentbuilder", to="http://127.0.0.1:1/api")
        mock.proxy("agentbuilder", to="http://127.0.0.1:1/api", enforce="cut")
