"""The same bytes asked again on a socket: what was worked out for them is remembered, and never a moment too long."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from flowcontract.scenarios.templates import compile_value
from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for scenarios of one's own for `getInfo`."""
    (tmp_path / "dify-chat" / "getInfo").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[MockServer]:
    """Run the chat app with them."""
    with MockServer(["dify-chat"], fixtures=folder, settings=Settings(pace=0, journal=20)) as running:
        yield running


@pytest.fixture
def client(server: MockServer) -> Iterator[httpx.Client]:
    """Ask over one connection, which sends the same bytes each time."""
    with httpx.Client(base_url=server.url("dify-chat"), headers=server.headers("dify-chat")) as asking:
        yield asking


def write(server: MockServer, folder: Path, body: str) -> None:
    """Let `getInfo` answer with a body, headers included, from now on."""
    (folder / "dify-chat" / "getInfo" / "200-default.yaml").write_text(f"description: Mine.\nreply:\n{body}")
    server.mock.scenario_files.load_current(at_once=True)


def read(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return an answer without its moment."""
    return answer.status_code, answer.content, [pair for pair in answer.headers.multi_items() if pair[0] != "date"]


def test_large_answers_are_not_kept(server: MockServer, client: httpx.Client, folder: Path) -> None:
    """Whoever asks in a thousand ways for a large answer does not fill the memory with it."""
    write(server, folder, f"  body: {{name: {'x' * 100_000}}}\n")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(100):
        for _ in range(3):
            assert len(client.get(f"/info?n={number}").content) > 100_000
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 5 << 20


def test_same_answer_each_time_and_another_once_it_is_overridden(server: MockServer, client: httpx.Client) -> None:
    """Neither a fault nor a hint of another answer stays in it; it is in the journal each time."""
    first = read(client.get("/info"))
    assert [read(client.get("/info")) for _ in range(3)] == [first] * 3
    server.use("getInfo", "fault=status=503", times=1)
    assert client.get("/info").status_code == 503
    assert read(client.get("/info")) == first
    assert client.get("/info", headers={"Prefer": 'fault="status=429"'}).status_code == 429
    assert [read(client.get("/info")) for _ in range(2)] == [first] * 2
    assert [entry.status for entry in server.requests("getInfo")] == [200] * 4 + [503, 200, 429, 200, 200]
    assert len({entry.scenario for entry in server.requests("getInfo", status=200)}) == 1


def test_scenario_that_changes_answers_at_once(server: MockServer, client: httpx.Client, folder: Path) -> None:
    """Its body, its headers, and that it is gone."""
    ours = read(client.get("/info"))
    for name in ("one", "two"):
        write(server, folder, f"  headers: {{X-Name: {name}}}\n  body: {{name: {name}, of: $request.query.a}}\n")
        for _ in range(3):
            answer = client.get("/info?a=b")
            assert (answer.json(), answer.headers["X-Name"]) == ({"name": name, "of": "b"}, name)
    (folder / "dify-chat" / "getInfo" / "200-default.yaml").unlink()
    server.mock.scenario_files.load_current(at_once=True)
    assert read(client.get("/info")) == ours


@pytest.mark.parametrize("value", ["$id.run", "$faker.uuid4", "Dear {$faker.name}, {$id.x}"])
def test_what_is_new_in_each_answer_is_new(server: MockServer, client: httpx.Client, folder: Path, value: str) -> None:
    """Ids and invented values, in the body or in a header."""
    write(server, folder, f'  body: {{name: "{value}"}}\n')
    assert len({client.get("/info").content for _ in range(4)}) == 4
    write(server, folder, f'  headers: {{X-Name: "{value}"}}\n  body: {{name: a}}\n')
    assert len({client.get("/info").headers["X-Name"] for _ in range(4)}) == 4


@pytest.mark.parametrize(
    ("value", "is_steady"),
    [
        ({"a": ["b", 1, None]}, True),
        ({"a": "$app.name", "b": "{$request.body#/user}!", "c": "$request.method"}, True),
        ("$5.00", True),
        *((value, False) for value in ("$now", "$now+5", "$now.iso", "$id.a", "$world.a", "$faker.name")),
        *(({"a": [f"x {{{value}}}"]}, False) for value in ("$now", "$id.a", "$world.a", "$faker.name")),
    ],
)
def test_what_asks_for_the_moment_the_world_or_chance_is_not_steady(value: object, is_steady: bool) -> None:
    """Nor is a value that has such a thing somewhere inside."""
    assert compile_value(value, sample={"name": "a", "a": "b"}).is_steady is is_steady
