"""No key of a run in anything that leaves it, whatever a server does with the keys that it was sent."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "hostile"))

from hostile_server import Hostile, head, json_answer

from contract_tests.report.hiding import HidingStream, hide, hide_json
from flowcontract.output.secrets import Secrets

KEYS = {"dify-chat": 'app-CH"AT\\k$e`y1', "dify-workflow": "app-WORK/FLOW+key2==", "agentbuilder": "sk-<AGENT>&key3"}
SECOND, PROVOKED = "app-second-key-4711", "app-of-another-app-0815"
ALL = [*KEYS.values(), SECOND, PROVOKED]


def encodings(key):
    """Return how a key may be written; each of these can be read back by anybody."""
    yield key
    yield quote(key, safe="")
    yield quote(key)
    yield json.dumps(key)[1:-1]
    yield json.dumps(json.dumps(key))[3:-3]
    yield "".join(f"\\u{ord(character):04x}" for character in key)
    yield html.escape(key)
    yield base64.b64encode(key.encode()).decode().rstrip("=")
    yield base64.b64encode(f"user:{key}".encode()).decode().rstrip("=")
    yield base64.b64encode(f"api-key:{key}".encode()).decode().rstrip("=")


LOUD = [form for key in ALL for form in encodings(key)]


def echo(form):
    """Return JSON that has a text in every place that the suite looks at."""
    said = dict.fromkeys(("message", "detail", "code", "id", "task_id", "answer", "result", "path", form), form)
    return {**said, "status": 400, "event": "message", "data": {"error": form, "status": form}, form: [form]}


async def parrot(asked, writer):
    """Say all keys in all forms, one after the other, in answers of every sort."""
    parrot.count += 1
    form = LOUD[parrot.count % len(LOUD)]
    plain = form.encode("latin-1", "replace").replace(b"\r", b"").replace(b"\n", b"")
    sort = parrot.count % 6
    path = asked.path.partition("?")[0]
    if "/files/list/" in path:
        writer.write(json_answer(json.dumps([form]).encode()))
    elif path.endswith(("/info", "/parameters", "/meta", "/files", "/v1", "/api")):
        writer.write(json_answer(json.dumps({**echo(form), "mode": form}).encode()))
    elif sort == 0:
        events = [f"data: {json.dumps({**echo(form), 'event': form})}\n\n", f"event: {form}\n\n", f"data: {form}\n\n"]
        writer.write(head("Content-Type: text/event-stream") + "".join(events).encode())
        writer.close()
    elif sort == 1:
        writer.write(b"HTTP/9.9 " + plain + b"\r\n\r\n")
        writer.close()
    elif sort == 2:
        writer.write(head(b"Content-Type: text/".decode() + plain.decode("latin-1")) + form.encode() * 30)
        writer.close()
    elif sort == 3:
        cut = "x" * (100 - parrot.count % 25) + form  # a report shows so many characters
        writer.write(json_answer(json.dumps({"message": cut, "code": "x"}).encode(), "400 Bad Request"))
    else:
        writer.write(json_answer(json.dumps(echo(form)).encode(), ("500 Oh", "400 No", "401 Who")[parrot.count % 3]))
    await writer.drain()


parrot.count = 0


def command(server, folder, *more, **environment):
    """Run the suite with three keys, and what else a target file knows."""
    known = folder / "target.toml"
    known.write_text(
        f"timeouts = {{ answer_s = 5 }}\n[api.dify-chat.second]\nkey = '{SECOND}'\n"
        f"[provoke.'dify-chat/sendChatMessage'.app_unavailable]\nkey = '{PROVOKED}'\n"
    )
    keys = [part for api, key in KEYS.items() for part in ("--key", f"{api}={key}", "--api", api)]
    options = ["--base-url", server.url, "--target", known, "--report", folder / "out", *keys, *more]
    return subprocess.run(
        [sys.executable, "-m", "contract_tests", *map(str, options)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def outputs(done, folder):
    """Return everything that left the process, by name."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "target.toml"]
    return {
        "stdout": done.stdout,
        "stderr": done.stderr,
        **{path.name: path.read_text(encoding="utf-8", errors="replace") for path in files},
    }


def leaks(said):
    """Return which key can be read where."""
    return [(name, form) for name, text in said.items() for form in LOUD if form in text]


def test_no_output_of_a_run_has_a_key_in_any_form(tmp_path):
    """A server that echoes three keys in all ways: terminal, three reports, the file of --accept."""
    accepted = tmp_path / "out" / "known.toml"
    accepted.parent.mkdir()
    few = "keys or documented or provoked or journeys or unknown"
    with Hostile(parrot) as server:
        done = command(server, tmp_path, "-v", "-k", few, "--deviations", accepted, "--accept")
        sent = "".join(f"{asked.path} {asked.headers}" for asked in server.asked)
    said = outputs(done, tmp_path)
    assert {"report.json", "report.html", "junit.xml", "known.toml"} <= said.keys(), done.stdout + done.stderr
    assert SECOND in sent or PROVOKED in sent
    assert "$KEY" in said["report.json"]
    assert "***" in said["report.json"]
    assert leaks(said) == []
    for key in ALL:
        assert not [name for name, text in said.items() if key[:10] in text.replace("app-of-ano", "")], key


def test_misuse_does_not_tell_a_key_either(tmp_path):
    """A key that opens nothing, an option that is none: what is printed has no key."""
    with Hostile(parrot, but={"/v1": b"{}", "/api": b"{}"}) as server:
        server._but = {path: answer.replace(b"200 OK", b"401 No") for path, answer in server._but.items()}
        done = command(server, tmp_path, "--kye", f"dify-chat={KEYS['dify-chat']}")
    assert done.returncode == 2
    assert leaks(outputs(done, tmp_path)) == []


CRASH = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    key = pyfuncitem.funcargs["suite"].sender.clients["dify-chat"].api.keys["apiKey"]
    print("printed", key)
    raise RuntimeError("crashed with " + key)
"""


def test_crash_is_shown_as_one_and_without_the_key(tmp_path):
    """An exception of the suite's own is in all reports, fails the run without a verdict, and tells no key."""
    (tmp_path / "crashing.py").write_text(CRASH)
    with Hostile(parrot) as server:
        done = command(server, tmp_path, "-p", "crashing", "-k", "getInfo and documented", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2, done.stdout
    said = outputs(done, tmp_path / "out")
    report = json.loads(said["report.json"])
    assert (report["status"], report["exit_code"]) == ("crashed", 2)
    assert "crashed with ***" in report["crashes"][0]["trace"]
    for name in ("stdout", "report.html"):
        assert "crashed: " in said[name]
    assert "crashed with ***" in said["junit.xml"]
    assert leaks(said) == []


@pytest.mark.parametrize("cut", range(10, 20))
def test_pieces_of_a_key_are_hidden_where_a_text_was_cut(cut):
    """The beginning or the end of a key tells as much as the key, when it is long enough."""
    secrets = Secrets(["app-0123456789abcdef"])
    assert hide("got app-0123456789abcdef"[: 4 + cut] + "...", secrets) == "got ***..."
    assert hide("..." + "app-0123456789abcdef"[-cut:] + " came", secrets) == "...*** came"


@pytest.mark.parametrize("key", ALL)
def test_pieces_of_an_encoded_key_are_hidden_too(key):
    """Wherever a text ends inside a key, no more than nine bytes of it are left, in whatever form it stood there."""
    secrets = Secrets(ALL)
    *plain, encoded, of_user, of_api_key = encodings(key)
    for form in plain:
        for end in range(1, len(form)):
            told = hide(f"said: {form[:end]}", secrets).removeprefix("said: ").replace("***", "")
            units = re.sub(r"\\+u[0-9a-f]{0,4}|\\+.?|%.?.?|&#?\w*;?", ".", told)
            assert len(units) <= 10, (form[:end], told)
    for form in (encoded, of_user, of_api_key):
        for end in range(1, len(form)):
            told = hide(f"said: {form[:end]}", secrets).removeprefix("said: ").replace("***", "")
            whole = told[: len(told) - (len(told) % 4 == 1)]
            assert key[:10].encode() not in base64.b64decode(whole + "=" * (-len(whole) % 4)), (form[:end], told)


def test_pieces_end_with_a_character():
    """A text that goes on with another letter, whose first byte is the same."""
    secrets = Secrets(["schlüssel-grün-ä"])
    assert hide("schlüssel-grè", secrets) == "***è"
    assert hide("Él-grün-ä", secrets) == "É***"


def test_stream_hides_a_key_that_is_written_in_pieces():
    """Half a line is held back until its end, or until somebody wants to see it."""
    written = []

    class Out:
        def write(self, text):
            written.append(text)

        def flush(self):
            written.append("|")

    stream = HidingStream(Out(), Secrets(["app-0123456789"]))
    stream.write("a app-01234")
    stream.write("56789 b\nc")
    stream.flush()
    assert "".join(written) == "a *** b\nc|"


def test_json_keeps_the_names_by_which_reports_are_joined():
    """A key that is a common word spoils no report."""
    found = hide_json({"test": "chat", "operation": "dify-chat/x", "got": ["chat", 1, None]}, Secrets(["chat"]))
    assert found == {"test": "chat", "operation": "dify-chat/x", "got": ["***", 1, None]}
