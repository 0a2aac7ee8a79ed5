"""Many streams at once, one that is large, torture and TLS: through the proxy all is as without it."""

from __future__ import annotations

import asyncio
import json
import resource
import shlex
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from proxying import CHAT, STREAM_HEAD, Upstream, chat, connect, proxying, request
from test_torture import CHAT as CHAT_OPERATION
from test_torture import survive

from flowcontract.recordings import jsonl, reading
from mockserver.config.settings import Settings
from mockserver.faults import FAULTS, parse
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator

DIFY = "dify-chat"
CERTIFICATES = Path(__file__).resolve().parents[1] / "data" / "tls"


@pytest.fixture(scope="module")
def real() -> Iterator[MockServer]:
    """Run a server that keeps the contract: the mock itself."""
    with MockServer(settings=Settings(pace=0)) as server:
        yield server


def test_five_hundred_paced_streams_pass_at_once() -> None:
    """Each client gets each piece of its stream before the server sends the next one to anybody."""
    count, pieces = 500, 5
    arrived = [0] * count

    async def scenario() -> None:
        ready, go = asyncio.Semaphore(0), [asyncio.Event() for _ in range(pieces)]

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b'"streaming"}')
            writer.write(STREAM_HEAD)
            for number in range(pieces):
                await go[number].wait()
                writer.write(b"9\r\ndata: %d\n\n\r\n" % number)
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            writer.close()

        async def ask(port: int, number: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(chat())
            await reader.readuntil(b"\r\n\r\n")
            ready.release()
            for piece in range(pieces):
                assert await reader.readexactly(14) == b"9\r\ndata: %d\n\n\r\n" % piece
                arrived[number] += 1
                ready.release()
            assert await reader.readexactly(5) == b"0\r\n\r\n"
            writer.close()

        upstream = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=count)
        url = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
        with proxying({DIFY: url}) as proxy:
            tasks = [asyncio.create_task(ask(proxy.port, number)) for number in range(count)]
            for step in range(pieces + 1):
                for _ in range(count):
                    async with asyncio.timeout(60):
                        await ready.acquire()
                assert arrived == [step] * count
                if step < pieces:
                    go[step].set()
            await asyncio.gather(*tasks)
        upstream.close()

    asyncio.run(scenario())


def test_memory_stays_flat_over_a_large_stream() -> None:
    """Two hundred megabytes pass, be they judged, and none is kept."""
    block = b'data: {"event": "message", "answer": "' + b"x" * 65_400 + b'"}\n\n'
    chunk = b"%x\r\n%b\r\n" % (len(block), block)
    with Upstream() as upstream, proxying({DIFY: upstream.url}) as proxy, connect(proxy) as client:
        client.send(chat())
        with upstream.accept() as server:
            server.read_until(b'"streaming"}')
            server.send(STREAM_HEAD)

            def send(count: int) -> None:
                for _ in range(count):
                    server.send(chunk)

            used = []
            for count in (200, 3000):
                sending = threading.Thread(target=send, args=(count,))
                sending.start()
                left = len(chunk) * count
                if not used:
                    client.read_head()
                while left:
                    left -= len(client.read_exactly(min(left, 1 << 16)))
                sending.join()
                used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
            assert used[1] - used[0] < 40, used


SHORT = {
    "silence=0.3": "silence=0.1",
    "slow-first=0.3": "slow-first=0.1",
    "hang": "hang=0.1",
    "error-silence": "error-silence=0.1",
    "tiny=20000": "tiny=2000",
    "huge": "huge=100000",
}
"""What takes no patience, in place of the torture's own values."""


def test_torture_has_the_same_verdicts_through_the_proxy(real: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server does wrong on purpose arrives as without a proxy: the whole table."""
    monkeypatch.setattr("mockserver.torture.session._LONGEST_S", 0.5)  # how long `endless` lasts
    faults = [SHORT.get(case.faults, case.faults) for case in real.torture(CHAT_OPERATION)]
    assert {chosen.fault.name for fault in faults for chosen in parse(fault)} == set(FAULTS)

    def verdict(front: MockServer, fault: str) -> str:
        session = real.torture(CHAT_OPERATION, [fault])
        case = next(iter(session))
        return survive(front, session, case, "sse")

    with proxying({DIFY: real.url(DIFY)}) as proxy:
        assert {fault: verdict(proxy, fault) for fault in faults} == {fault: verdict(real, fault) for fault in faults}


def test_certificates_are_checked() -> None:
    """A server with a certificate of nobody's is not asked; one that is trusted by --ca-file is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem")
    with Upstream() as upstream:
        url = f"https://localhost:{upstream.port}"

        def serve() -> None:
            for _ in range(2):
                wire = upstream.accept()
                try:
                    wire.socket = context.wrap_socket(wire.socket, server_side=True)
                    wire.read_head()
                    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                except (OSError, EOFError):
                    pass
                wire.close()

        serving = threading.Thread(target=serve)
        serving.start()
        with proxying({DIFY: url}) as proxy, connect(proxy) as client:
            client.send(request("GET", "/v1/info"))
            head = client.read_head()
            assert head.status == 502
            assert "certificate" in json.loads(client.read_exactly(int(head["content-length"])))["detail"]
        with proxying({DIFY: url}, ca_file=str(CERTIFICATES / "localhost.pem")) as proxy, connect(proxy) as client:
            client.send(request("GET", "/v1/info"))
            assert client.read_head().status == 200
        serving.join()


def test_killed_proxy_leaves_what_has_passed(tmp_path: Path, real: MockServer) -> None:
    """What was recorded until then is read as any recording is."""
    folder = tmp_path / "r"
    command = [sys.executable, "-m", "mockserver", "proxy", "--port", "0", "--record", str(folder), "--quiet"]
    command += ["--to", f"{DIFY}={real.url(DIFY)}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        while not process.stdout.readline().startswith("Ctrl-C"):
            pass
        answer = httpx.post(
            f"{url}/chat-messages", json=CHAT, headers={"Authorization": "Bearer app-chat"}, trust_env=False, timeout=20
        )
        process.kill()
    (recorded,) = reading.read(folder / jsonl.NAME)
    assert recorded.answer.body == answer.content


INTERRUPTED = """
import os, signal, socket
from flowcontract.output.program import interrupt
from mockserver.server.http1 import Connection
from mockserver.server.mock_server import MockServer

signal.signal(signal.SIGINT, interrupt)
Connection.data_received = lambda self, data: os.kill(os.getpid(), signal.SIGINT)
server = MockServer(["dify-chat"])
client = socket.create_connection(("127.0.0.1", server.port))
client.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
server.serve()
print("ended")
"""


TWICE = """
import asyncio, os, signal, socket, threading, time
from mockserver.server.http1 import Connection
from mockserver.server.mock_server import MockServer

released = threading.Event()

def hang():
    while signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    released.wait()

def interrupt(self, data):
    asyncio.get_running_loop().run_in_executor(None, hang)
    os.kill(os.getpid(), signal.SIGINT)

Connection.data_received = interrupt
server = MockServer(["dify-chat"])
client = socket.create_connection(("127.0.0.1", server.port))
client.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
try:
    server.serve()
except KeyboardInterrupt:
    print("interrupted")
released.set()
"""


def test_second_ctrl_c_does_not_wait_for_threads() -> None:
    """The first one waits for what they do, which may hang with a server that is asked there."""
    ran = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=20, check=False)
    assert (ran.stdout, ran.returncode) == ("interrupted\n", 0)


def test_ctrl_c_while_a_piece_is_looked_at_ends_the_server() -> None:
    """The loop would take an exception out of it for the connection's, and go on; the server was blamed for a cut."""
    ran = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=20, check=False)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("ended\n", "", 0)


INTERRUPTED_AT_THE_END = """
import os, signal, sys
from flowcontract.recordings import har_writing
from mockserver.cli.main import main

write, sent = har_writing.write_har, []

def interrupt_in_the_middle(recording, left_out):
    for part in write(recording, left_out):
        yield part
        os.kill(os.getpid(), getattr(signal, sys.argv.pop()) if not sent else 0)
        sent.append(part)

har_writing.write_har = interrupt_in_the_middle
sys.exit(main(sys.argv[1:-1]))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_second_ctrl_c_leaves_no_half_har(tmp_path: Path, real: MockServer, name: str) -> None:
    """The summary and its exit code come all the same, with the command that makes the HAR, and that works."""
    folder = tmp_path / "r"
    command = [sys.executable, "-c", INTERRUPTED_AT_THE_END, "proxy", "--port", "0", "--record", str(folder), "--quiet"]
    command += ["--to", f"{DIFY}={real.url(DIFY)}", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        while not process.stdout.readline().startswith("Ctrl-C"):
            pass
        headers = {"Authorization": "Bearer app-chat"}
        httpx.post(f"{url}/chat-messages", json=CHAT, headers=headers, trust_env=False, timeout=20)
        process.send_signal(getattr(signal, name))
        *_, command_line, summary = process.stdout.read().splitlines()
        assert process.wait(20) == 0
    assert summary == "1 request passed, none with a violation."
    assert [file.name for file in folder.iterdir()] == [jsonl.NAME]
    ran = subprocess.run(
        [sys.executable, "-m", *shlex.split(command_line)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    (recorded,) = reading.read(folder / "recording.har")
    assert recorded.answer.status == 200
