"""HAR files as browsers, proxies and test runners write them: what is in them is judged, what is not is said."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from har_entries import CHAT_URL, COMMAND, DATA, LANGFLOW, MESSAGES, SSE, STREAM, base64_of, content, entry

from contract_tests.cli.main import main


@pytest.fixture
def judge(tmp_path, capsys):
    """Return a function that writes entries to a HAR file, judges it, and returns status, output and errors."""

    def judge(*entries: Any, arguments: tuple[str, ...] = (), name: str = "in.har") -> SimpleNamespace:
        path = tmp_path / name
        path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}), encoding="utf-8")
        status = main(["judge", *arguments, str(path)])
        captured = capsys.readouterr()
        return SimpleNamespace(status=status, out=captured.out, err=captured.err)

    return judge


RECORDED = {
    "Chrome, Firefox, mitmproxy: as text": entry(),
    "as Base64": entry(content(base64_of(STREAM.encode()), encoding="base64")),
    "Base64 in lines": entry(content(base64.encodebytes(STREAM.encode()).decode(), encoding="base64")),
    "Chrome, Cypress: as messages": entry(content(), _resourceType="eventsource", _eventSourceMessages=MESSAGES),
    "as messages beside an empty text": entry(content(""), _eventSourceMessages=MESSAGES),
    "unpacked already": entry(headers={"content-encoding": "br"}),
    "unpacked already, as Base64": entry(
        content(base64_of(STREAM.encode()), encoding="base64"), headers={"Content-Encoding": "gzip"}
    ),
    "still packed: gzip": entry(
        content(base64_of(gzip.compress(STREAM.encode())), encoding="base64"), headers={"Content-Encoding": "gzip"}
    ),
    "still packed: gzip in two members": entry(
        content(
            base64_of(gzip.compress(STREAM[:99].encode()) + gzip.compress(STREAM[99:].encode())), encoding="base64"
        ),
        headers={"Content-Encoding": "GZIP"},
    ),
    "still packed: deflate": entry(
        content(base64_of(zlib.compress(STREAM.encode())), encoding="base64"), headers={"Content-Encoding": "deflate"}
    ),
    "still packed: deflate without its header": entry(
        content(base64_of(zlib.compress(STREAM.encode(), wbits=-15)), encoding="base64"),
        headers={"Content-Encoding": "deflate"},
    ),
    "twice packed": entry(
        content(base64_of(gzip.compress(zlib.compress(STREAM.encode()))), encoding="base64"),
        headers={"Content-Encoding": "deflate, gzip"},
    ),
    "no header but a media type": entry(headers={"Content-Type": SSE}),
    "behind a proxy": entry(url="https://example.com/llm/dify/v1/chat-messages?x=1"),
    "a slash too many": entry(url="https://example.com//v1/chat-messages"),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_body_is_judged(name: str, judge):
    """However it was written, a sound stream is well, and one whose end is missing is broken."""
    sound = RECORDED[name]
    told = judge(sound)
    assert (told.status, told.err) == (0, "")
    assert f"POST {sound['request']['url']} 200: dify-chat/sendChatMessage\n" in told.out


def test_a_broken_stream_is_broken_however_it_was_recorded(judge):
    """What is judged is the recorded stream, not only its head."""
    cut = "".join(STREAM.partition("workflow_finished")[:1])
    for content_, more in (
        (content(cut), {}),
        (content(base64_of(gzip.compress(cut.encode())), encoding="base64"), {"Content-Encoding": "gzip"}),
    ):
        told = judge(entry(content_, headers=more), arguments=("--quiet",))
        assert told.status == 1
        assert "WRONG event" in told.out
    told = judge(entry(content(), _eventSourceMessages=MESSAGES[:-1]), arguments=("--quiet",))
    assert told.status == 1
    assert "got the stream ended after workflow_finished" in told.out


def test_a_content_type_that_is_only_in_the_content_counts(judge):
    """Some recorders leave the headers of a response out."""
    bare = entry()
    bare["response"]["headers"] = []
    assert judge(bare).status == 0


def test_messages_are_judged_with_a_note(judge):
    """They are rebuilt: comments and blocks without data are not among them."""
    named = [{**message, "eventName": json.loads(message["data"])["event"]} for message in MESSAGES]
    told = judge(entry(content(), _eventSourceMessages=named))
    assert told.status == 0
    assert "note: rebuilt from `_eventSourceMessages`" in told.out


NOT_RECORDED = {
    "Chrome: no text": (entry(content()), "its body was not recorded."),
    "null": (entry({"size": 0, "mimeType": SSE, "text": None}), "its body was not recorded."),
    "no content at all": (entry({}), "its body was not recorded."),
    "Playwright: a size of -1": (entry({"size": -1, "mimeType": SSE}), "its body was not recorded."),
    "mitmproxy: an empty text": (entry({"size": 0, "mimeType": SSE, "text": ""}), "its body was not recorded, or noth"),
    "no messages": (entry(content(), _eventSourceMessages=[]), "its body was not recorded."),
    "status 0": (entry(status=0), "no answer was recorded (status 0)"),
    "status -1": (entry(status=-1, _error="net::ERR_FAILED"), "no answer was recorded (status -1: net::ERR_FAILED)"),
    "from the cache": (entry(content(""), status=304), "the browser had the answer in its cache (status 304)"),
    "Base64 that is none": (
        entry(content("data: {}", encoding="base64")),
        "its body is said to be Base64, and is none",
    ),
    "an unknown encoding": (
        entry(content("x", encoding="rot13")),
        "response/content/encoding is 'rot13', but should be",
    ),
    "no gzip in the end": (
        entry(content(base64_of(b"\x1f\x8b\x08\xff"), encoding="base64"), headers={"Content-Encoding": "gzip"}),
        "its body cannot be unpacked",
    ),
    "gzip that ends early": (
        entry(
            content(base64_of(gzip.compress(STREAM.encode())[:-20]), encoding="base64"),
            headers={"Content-Encoding": "gzip"},
        ),
        "its body cannot be unpacked: the compressed data ends early",
    ),
    "an unknown coding": (
        entry(content(base64_of(b"\x28\xb5\x2f\xfd"), encoding="base64"), headers={"Content-Encoding": "zstd"}),
        "its body is compressed with 'zstd', which is not read here",
    ),
    "a body beside it that is gone": (entry(content(_file="gone.sse")), "'gone.sse', which cannot be read: No such"),
}


@pytest.mark.parametrize("name", NOT_RECORDED)
def test_what_was_not_recorded_is_said_and_not_judged(name: str, judge):
    """Neither well nor broken: one line for the entry, and status 2; the others are judged."""
    lacking, told = NOT_RECORDED[name]
    alone = judge(lacking, arguments=("--quiet",))
    assert alone.status == 2
    assert f"POST {CHAT_URL}: dify-chat/sendChatMessage: not judged: " in alone.out
    assert told in alone.out
    assert "nothing was judged" in alone.err
    with_others = judge(lacking, entry(), arguments=("--quiet",))
    assert (with_others.status, with_others.err) == (2, "")
    assert with_others.out.endswith("in.har: 1 judged, 1 not\n")
    assert judge(lacking, entry(content(STREAM[:-600]))).status == 1


def test_an_entry_of_something_else_spoils_nothing(judge):
    """What a page loads besides may be as incomplete as it likes."""
    other = entry({}, url="https://cdn.example.com/app.js", status=0)
    other["response"]["headers"] = 5
    assert judge(other, entry()).status == 0


def test_brotli_is_undone_where_it_is_installed(judge, monkeypatch):
    """Without the package it is said what to install."""
    packed = entry(content(base64_of(b"\x8b\xff packed"), encoding="base64"), headers={"Content-Encoding": "br"})
    monkeypatch.setitem(sys.modules, "brotli", None)
    assert "compressed with br: pip install brotli" in judge(packed).out

    class Decompressor:
        """As brotli's, for one known body."""

        def __init__(self):
            self._taken = b""

        def process(self, data: bytes) -> bytes:
            self._taken += data
            if not b"\x8b\xff packed".startswith(self._taken):
                raise ArithmeticError("corrupt")
            return STREAM.encode() if self._taken == b"\x8b\xff packed" else b""

    monkeypatch.setitem(sys.modules, "brotli", SimpleNamespace(Decompressor=Decompressor, error=ArithmeticError))
    assert judge(packed).status == 0
    packed["response"]["content"]["text"] = base64_of(b"\xff other")
    assert "its body cannot be unpacked: corrupt" in judge(packed).out


def test_a_har_file_of_playwright_with_attached_bodies_is_judged(capsys):
    """The bodies are read from the files beside it; a body that was left out is said."""
    assert main(["judge", str(DATA / "judge" / "playwright-attached" / "in.har")]) == 0
    assert capsys.readouterr().out.count(" 200: dify-chat/") == 2
    assert main(["judge", str(DATA / "judge" / "playwright-embedded.har")]) == 2
    assert "its body was not recorded" in capsys.readouterr().out


def attached(name: str) -> dict[str, Any]:
    return entry({"size": 5, "mimeType": SSE, "_file": name})


def test_a_body_beside_a_recording_is_read_only_from_its_folder(judge, tmp_path):
    """Whoever sends a HAR file must not choose which files of mine are read, and have them shown to me as quotes."""
    secret = tmp_path.parent / f"{tmp_path.name}-secret.txt"
    secret.write_text("secret 4711")
    (tmp_path / "link").symlink_to(secret)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link-folder").symlink_to(tmp_path.parent)
    os.mkfifo(tmp_path / "fifo")
    names = [str(secret), f"../{secret.name}", f"folder/../../{secret.name}", "link", f"link-folder/{secret.name}"]
    for name in [*names, ".", "", "folder", "fifo", "/dev/zero", "a\0b", "C:\\x", "..\\x", "x" * 5000]:
        told = judge(attached(name), arguments=("--quiet",))
        assert told.status == 2, name
        assert "not judged: its body " in told.out, name
        assert "4711" not in told.out
    (tmp_path / "folder" / "body.sse").write_text(STREAM)
    (tmp_path / "link-within").symlink_to(tmp_path / "folder" / "body.sse")
    assert judge(attached("folder/body.sse"), attached("link-within")).status == 0


def test_a_large_body_beside_a_recording_is_not_read(judge, tmp_path):
    """A sparse file costs nothing on the disk, and everything in memory."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    assert "which is too large: 68157440 bytes" in judge(attached("large")).out


def test_our_own_recordings_read_no_foreign_files_either(tmp_path, capsys):
    """`sse_file` is a file beside them, too."""
    (tmp_path / "within").mkdir()
    (tmp_path / "secret.sse").write_text(STREAM)
    path = tmp_path / "within" / "one.json"
    response = {"status": 200, "headers": [["Content-Type", SSE]], "sse_file": "../secret.sse"}
    path.write_text(json.dumps({"request": {"method": "POST", "path": "/v1/chat-messages"}, "response": response}))
    assert main(["judge", str(path)]) == 2
    assert "not within the recording's folder" in capsys.readouterr().err


def test_a_pipe_has_nothing_beside_it():
    """A HAR file may come through standard input, with and without an operation; its attached bodies do not."""
    whole = json.dumps({"log": {"entries": [entry()]}}, indent=1).encode()
    for operation in ([], ["--operation", "dify-chat/sendChatMessage"], ["--operation", "agentbuilder/runFlow"]):
        judged = subprocess.run([*COMMAND, "judge", *operation, "-"], input=whole, capture_output=True)
        assert judged.returncode == (2 if "agentbuilder/runFlow" in operation else 0), operation
    whole = json.dumps({"log": {"entries": [attached("x")]}}).encode()
    judged = subprocess.run([*COMMAND, "judge", "-"], input=whole, capture_output=True)
    assert judged.returncode == 2
    assert b"which standard input does not have beside it" in judged.stdout


@pytest.mark.parametrize("name", ["IN.HAR", "in.Har", "in.txt", "in"])
def test_a_har_file_is_one_whatever_it_is_called(name: str, judge):
    """By the suffix in any case, and else by its beginning."""
    assert judge(entry(), name=name).status == 0
    assert judge(entry(content(STREAM[:-600])), name=name).status == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_har_file_in_another_encoding_is_read(encoding: str, tmp_path):
    """PowerShell writes UTF-16."""
    path = tmp_path / "in.har"
    path.write_text(json.dumps({"log": {"entries": [entry()]}}), encoding=encoding)
    assert main(["judge", "--quiet", str(path)]) == 0


ASKED_AND_GOT = [
    ("streaming", SSE, STREAM, 0),
    ("blocking", SSE, STREAM, 1),
    ("streaming", "application/json", '{"event": "message"}', 1),
    (None, SSE, STREAM, 0),
    ("somehow", SSE, STREAM, 0),
]


@pytest.mark.parametrize(("mode", "media_type", "text", "status"), ASKED_AND_GOT)
def test_a_stream_is_answered_where_one_was_asked_for(mode: str | None, media_type: str, text: str, status: int, judge):
    """Blocking asked and a stream answered is a violation, and the other way round; who says neither gets either."""
    asked = {"query": "hello", "inputs": {}, "user": "u", **({"response_mode": mode} if mode else {})}
    told = judge(entry({"mimeType": media_type, "text": text}, asked=asked, media_type=media_type))
    assert told.status == status
    because = f"the request asks for {'the' if mode == 'streaming' else 'no'} stream"
    assert (f"{because}; got {media_type.partition(';')[0]} (004:43-47" in told.out) == (status == 1)


@pytest.mark.parametrize(("query", "wrong"), [("?stream=true", False), ("?stream=false", True), ("", False)])
def test_a_stream_asked_for_by_the_query_is_known_too(query: str, wrong: bool, judge):
    """Langflow's `stream` stands in the query."""
    url = f"http://localhost:7860/proxy/api/v1/run/a-flow{query}"
    told = judge(
        entry({"text": LANGFLOW, "mimeType": "text/event-stream"}, url=url, asked={}, media_type="text/event-stream")
    )
    assert ("the request asks for no stream" in told.out) == wrong
    assert told.status == int(wrong)


def test_a_refusal_is_no_stream_that_is_missing(judge):
    """Who asked for a stream and sent something wrong gets a documented error."""
    error = {"code": "not_found", "message": "Conversation Not Exists.", "status": 404}
    refused = entry(
        {"mimeType": "application/json", "text": json.dumps(error)}, status=404, media_type="application/json"
    )
    assert judge(refused).status == 0


def test_a_request_body_beside_the_recording_is_read(judge, tmp_path):
    """Playwright attaches what was asked as well."""
    (tmp_path / "asked.json").write_text('{"query": "hello", "inputs": {}, "user": "u", "response_mode": "blocking"}')
    blocking = entry()
    blocking["request"]["postData"] = {"mimeType": "application/json", "text": "", "_file": "asked.json"}
    assert "the request asks for no stream" in judge(blocking).out
    blocking["request"]["postData"]["_file"] = "gone.json"
    assert judge(blocking).status == 0


def test_nothing_that_matches_is_said(judge):
    """A step of CI that judged nothing must not pass."""
    page = entry({"text": "<p>"}, url="https://example.com/", media_type="text/html")
    for arguments in ((), ("--quiet",), ("--quiet", "--operation", "dify-chat/sendChatMessage")):
        told = judge(page, page, arguments=arguments)
        assert told.status == 2
        assert "in.har: nothing was judged. Its entries: 2; none of them is a request for " in told.err
    told = judge(entry(), arguments=("--operation", "dify-chat/listMessages"))
    assert (told.status, told.out) == (2, "")
    assert judge().status == 2


def test_an_operation_that_was_named_is_the_one_that_counts(judge):
    """Two apps share paths: the one that was named is judged by, even where the other one fits better."""
    fields = {"opening_statement": 5}
    shared = entry({"text": json.dumps(fields)}, url="https://x/v1/parameters", media_type="application/json")
    shared["request"]["method"] = "GET"
    for operation in ("dify-chat/getParameters", "dify-workflow/getParameters"):
        assert f"200: {operation}" in judge(shared, arguments=("--operation", operation)).out


def test_what_was_sent_as_a_stream_and_is_none_is_called_by_its_name(judge):
    """Here the head is known: a page with the media type of a stream is the server's doing, and a violation."""
    told = judge(entry(content("<html><title>504 Gateway Time-out</title></html>", size=1)))
    assert told.status == 1
    assert "expected a stream of events; got an HTML page: 504 Gateway Time-out" in told.out


def test_a_stream_of_another_kind_of_app_is_not_judged(judge):
    """Agent apps answer under the same path."""
    agent = (DATA / "judge" / "agent-app.sse").read_text()
    told = judge(entry(content(agent, size=1)))
    assert told.status == 2
    assert "not judged: This is an Agent app's stream." in told.out


def test_a_client_that_left_is_not_the_server_s_fault(judge):
    """What the server still owed then is not asked for; what it had sent is judged."""
    half = STREAM[: STREAM.index("workflow_finished")]
    assert judge(entry(content(half, size=1))).status == 1
    told = judge(entry(content(half, size=1), _error="net::ERR_ABORTED"))
    assert (told.status, "its end was not recorded (net::ERR_ABORTED)" in told.out) == (0, True)
    assert judge(entry(content(half, size=1), _error="net::ERR_INCOMPLETE_CHUNKED_ENCODING")).status == 1
    told = judge(entry(content('{"event": "mess'), media_type="application/json", _error="net::ERR_ABORTED"))
    assert (told.status, "not judged: its end was not recorded (net::ERR_ABORTED)" in told.out) == (2, True)


def test_an_answer_without_a_body_cannot_lack_its_end(judge):
    """Chrome calls a 204 aborted that a page does not wait for: it is whole, and is judged."""
    url = "http://x/v1/conversations/a430cc57-06bb-4c11-be39-d3d4de68d2c4"
    posted = {"mimeType": "application/json", "text": '{"user": "a"}'}
    asked = {"method": "DELETE", "url": url, "headers": [], "postData": posted}
    answer = {"status": 204, "headers": [], "content": {"size": 0, "mimeType": "x-unknown"}}
    told = judge({"request": asked, "response": {**answer, "_error": "net::ERR_ABORTED"}})
    assert told.status == 0, told.out + told.err


def test_a_body_that_was_cut_off_is_said(judge):
    """Firefox keeps a megabyte: what is missing then may be the recorder's doing."""
    told = judge(entry(content(STREAM[:-600])))
    assert f"note: the recording has {len(STREAM.encode()) - 600} bytes of a body of {len(STREAM)}" in told.out


def test_urls_that_are_none_spoil_only_their_entry(judge):
    """One line each, status 2."""
    for url in ("http://[::1", 5, None, {}):
        told = judge({**entry(), "request": {**entry()["request"], "url": url}}, entry())
        assert told.status == 2
        assert "in.har: entry 1: " in told.out.splitlines()[0]
        assert "200: dify-chat/sendChatMessage" in told.out


def test_control_characters_of_a_recording_never_reach_the_terminal(judge):
    """They are in URLs, methods, kinds and bodies."""
    escape = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e"
    told = judge(
        entry(url=f"http://h/v1/{escape}chat-messages"),
        entry(url=f"http://h/{escape}/v1/chat-messages"),
        entry(content(f'data: {{"event":{json.dumps(escape)}}}\n\n')),
        entry(content(escape)),
        entry(content(escape, encoding=escape)),
        {"request": {"method": escape, "url": f"http://[{escape}"}},
    )
    assert told.status == 1
    assert all(character.isprintable() or character == "\n" for character in told.out + told.err)
    assert told.out.count(r"\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e") == 3
