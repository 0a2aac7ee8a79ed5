"""Files that mean harm: each is judged within a bound of time and memory, in a process that is ended when it passes it.

The bounds are those of the system (RLIMIT_CPU, RLIMIT_AS), not figures that are measured: whoever passes them is
killed, or gets a MemoryError, and never the status that is expected here.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")

CPU_S = 40  # of a busy machine; what is quadratic takes minutes
MEMORY_BYTES = 2 * 1024**3  # of addresses, of which the libraries alone take some hundred MiB
SSE = [{"name": "Content-Type", "value": "text/event-stream"}]


def limit() -> None:
    """Bound the process that is about to start."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024**2, 256 * 1024**2))


def judge(path: Path, *arguments: str, told: Path | None = None) -> tuple[int, str]:
    """Judge a file as a user does, within the bounds; return the status and all that was printed."""
    told = told or path.parent / "told.txt"
    command = [sys.executable, "-m", "contract_tests", "judge", *arguments, str(path)]
    with told.open("wb") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, preexec_fn=limit, timeout=5 * CPU_S)
    text = told.read_text(encoding="utf-8")
    assert "Traceback" not in text
    return done.returncode, text


def chat(path: Path, data: bytes) -> tuple[int, str]:
    """Judge bytes as a stream of a chat."""
    path.write_bytes(data)
    return judge(path, "--operation", "dify-chat/sendChatMessage")


def har(path: Path, *entries: Any) -> tuple[int, str]:
    """Judge the entries of a HAR file."""
    path.write_text(json.dumps({"log": {"entries": entries}}))
    return judge(path)


def entry(**content: Any) -> dict[str, Any]:
    return {
        "request": {"method": "POST", "url": "http://h/v1/chat-messages"},
        "response": {"status": 200, "headers": SSE, "content": content},
    }


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def test_a_hundred_thousand_kinds_are_judged_in_linear_time(tmp_path):
    """Each is looked up, not searched for, and the verdict does not list them all."""
    status, told = chat(tmp_path / "kinds.sse", b"".join(event(event=f"k{n}") for n in range(100_000)))
    assert status == 1
    assert "100000  byte" in told
    assert "broken: 1 violation (100000 events)" in told


def test_unknown_kinds_are_not_all_told_in_the_verdict(tmp_path):
    """The first ones, and how many more there are."""
    path = tmp_path / "kinds.json-lines"
    path.write_bytes(b"".join(json.dumps({"event": f"k{n}"}).encode() + b"\n\n" for n in range(2_000)))
    with path.open("ab") as file:
        file.write(b'{"event": "end", "data": {"result": {"session_id": "s", "outputs": []}}}\n\n')
    status, told = judge(path, "--quiet", "--operation", "agentbuilder/runFlow")
    assert (status, "and 1990 more (2001 events)" in told) == (0, True)


def test_many_that_stay_open_are_judged_in_linear_time(tmp_path):
    """Each close that fits nothing, and each open that waits for another, is looked up among them."""
    opened = [event(event="node_started", data={"id": f"i{n}", "node_id": f"n{n}"}) for n in range(6_000)]
    others = [
        event(event=kind, data={"id": f"x{n}", "node_id": "x", "predecessor_node_id": "none"})
        for kind in ("node_finished", "node_started")
        for n in range(3_000)
    ]
    status, told = chat(tmp_path / "open.sse", b"".join([*opened, *others]))
    assert status == 1
    assert "12000 events" in told


def test_many_pieces_are_judged_in_linear_time(tmp_path):
    """Each node that finishes finds its pieces without a look at all others."""
    path = tmp_path / "pieces.sse"
    selectors = [["n" + str(n), "text"] for n in range(8_000)]
    pieces = [event(event="text_chunk", data={"text": "a", "from_variable_selector": name}) for name in selectors]
    finished = [event(event="node_finished", data={"node_id": "other", "outputs": {}}) for _ in selectors]
    path.write_bytes(b"".join([*pieces, *finished]))
    assert judge(path, "--operation", "dify-workflow/runWorkflow")[0] == 1


def test_many_keys_of_which_one_stands_twice_are_told(tmp_path):
    """The one is found without a count of each."""
    keys = ", ".join(f'"k{n}": 0' for n in [*range(200_000), 199_999])
    status, told = chat(tmp_path / "keys.sse", f'data: {{"event": "message", {keys}}}\n\n'.encode())
    assert (status, 'the key "k199999" stands twice' in told) == (1, True)


def test_deep_events_are_told(tmp_path):
    """No depth ends the judge, neither that of the parser nor that of what comes after it."""
    paths = []
    for number, deep in enumerate((b"[", b'{"a":', b'{"event":"message","data":[')):
        close = b"".join(b"]" if mark == b"["[0] else b"}" for mark in reversed(deep) if mark in b"[{")
        for depth in (190, 210, *range(975, 1005, 4), 500_000):
            paths.append(tmp_path / f"{number}-{depth}.sse")
            paths[-1].write_bytes(b"data: " + deep * depth + b"1" + close * depth + b"\n\n")
    status, told = judge(paths[0], "--operation", "dify-chat/sendChatMessage", *map(str, paths[1:]))
    assert status == 1
    assert told.count("broken: ") == len(paths)


def test_a_stream_without_an_end_of_a_block_is_given_up(tmp_path):
    """Endless devices and one block of gigabytes are not read to their end."""
    status, told = judge(Path("/dev/zero"), "--operation", "dify-chat/sendChatMessage", told=tmp_path / "told.txt")
    assert (status, "is no stream: it is UTF-16" in told) == (2, True)
    path = tmp_path / "block.sse"
    with path.open("wb") as file:
        file.write(b"data: ")
        file.truncate(8 * 1024**3)
    status, told = judge(path, "--operation", "dify-chat/sendChatMessage")
    assert (status, "a block of the stream is larger than" in told.lower()) == (1, True)


def test_a_body_that_unpacks_to_too_much_is_not_unpacked(tmp_path):
    """A few megabytes of gzip, Base64 and JSON around them; and many entries of them."""
    packed = gzip.compress(gzip.compress(bytes(200 * 1024**2)))
    bomb = entry(text=base64.b64encode(packed).decode(), encoding="base64")
    bomb["response"]["headers"] = [*SSE, {"name": "Content-Encoding", "value": "gzip, gzip"}]
    status, told = har(tmp_path / "bomb.har", *[bomb] * 5)
    assert (status, told.count("its body unpacks to more than")) == (2, 5)


def test_many_entries_that_name_one_large_file_are_bounded(tmp_path):
    """All bodies of a recording together have a bound."""
    (tmp_path / "large").write_bytes(b"data: {}\n\n" * 6_000_000)
    status, told = har(tmp_path / "large.har", *[entry(_file="large")] * 100)
    assert status == 1
    assert "which is too large" in told


def test_a_fifo_beside_a_recording_does_not_hang(tmp_path):
    """Nobody writes into it."""
    os.mkfifo(tmp_path / "fifo")
    status, told = har(tmp_path / "in.har", entry(_file="fifo"))
    assert (status, "which is not a regular file" in told) == (2, True)


def test_a_recording_without_an_end_is_told(tmp_path):
    """The file is read up to a bound."""
    path = tmp_path / "endless.har"
    with path.open("wb") as file:
        file.write(b'{"log": {"entries": [')
        file.truncate(8 * 1024**3)
    status, told = judge(path)
    assert (status, "it has more than 268435456 bytes" in told) == (2, True)


def test_entries_are_cut_out_in_linear_time(tmp_path):
    """Of a file that is no JSON, whatever it is instead: its first entry is judged, and what is wrong is told."""
    paths = []
    for bad in ("[" * 2_000_000, '{"a":' * 1_000_000, '"' * 2_000_001, "\\" * 2_000_000, "}" * 2_000_000):
        paths.append(tmp_path / f"{len(paths)}.har")
        paths[-1].write_text(f'{{"log": {{"entries": [{json.dumps(entry(text="x"))}, {bad}]}}}}')
    status, told = judge(paths[0], *map(str, paths[1:]))
    assert status == 1
    assert told.count("entry 2: ") == len(paths)


def test_long_urls_and_names_are_shown_in_part_or_once(tmp_path):
    """A URL of megabytes is looked through once, and fits no operation."""
    long = entry(text="x")
    long["request"]["url"] = "http://h/" + "v1/" * 2_000_000
    status, _ = har(tmp_path / "long.har", long, entry(text="", _file="x" * 1_000_000))
    assert status == 2


def test_texts_that_differ_at_their_end_are_compared_once(tmp_path):
    """Megabytes of pieces, joined, and a whole that differs in its last character."""
    pieces = [event(event="workflow_started")]
    pieces += [event(event="message", answer="a" * 1_000_000) for _ in range(12)]
    whole = event(event="workflow_finished", data={"outputs": {"answer": "a" * 11_999_999 + "b"}})
    end = event(event="message_end")
    status, told = chat(tmp_path / "long.sse", b"".join([*pieces, whole, end]))
    assert (status, "character 12000000 of 12000000" in told) == (1, True)
