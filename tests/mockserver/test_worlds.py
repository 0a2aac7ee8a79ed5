"""Worlds: what each begins with, and that none knows of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mock_users import spooled

from mockserver.blobs.blob import Blob, BlobWriter
from mockserver.state.memory import MemoryStore
from mockserver.state.worlds import Worlds

if TYPE_CHECKING:
    from collections.abc import Callable

    from mock_calls import Caller

CHAT_KEY = {"key": "app-chat-printed"}
RUN_KEY = {"key": "app-workflow-printed"}
BUILDER_KEY = {"x_api_key": "sk-agentbuilder-printed"}


@pytest.mark.parametrize(
    ("path", "credentials"),
    [
        ("/v1/messages?user=abc-123&conversation_id=101b4c97-fc2e-463c-90b1-5261a4cdcafb", CHAT_KEY),
        ("/v1/messages?user=abc-123&conversation_id=45701982-8118-4bc5-8e9b-64562b4555f2", CHAT_KEY),
        ("/v1/messages?user=abc-123&conversation_id=cd78daf6-f9e4-4463-9ff2-54257230a0ce", CHAT_KEY),
        ("/v1/messages?user=abc-123&conversation_id=957c068b-f258-4f89-ba10-6e8a0361c457", CHAT_KEY),
        ("/v1/messages?user=abc-123&conversation_id=10799fb8-64f7-4296-bbf7-b42bfbe0ae54", CHAT_KEY),
        ("/v1/messages?user=abc-123&conversation_id=34d511d5-56de-4f16-a997-57b379508443", CHAT_KEY),
        ("/v1/messages?user=abc-123&conversation_id=hSIhXBhNe8X1d8Et", CHAT_KEY),
        ("/v1/messages/5ad4cb98-f0c7-4085-b384-88c403be6290/suggested?user=abc-123", CHAT_KEY),
        ("/v1/messages/9da23599-e713-473b-982c-4328d4f5c78a/suggested?user=abc-123", CHAT_KEY),
        ("/v1/messages/a076a87f-31e5-48dc-b452-0061adbbc922/suggested?user=abc-123", CHAT_KEY),
        ("/v1/messages/d35e006c-7c4d-458f-9142-be4930abdf94/suggested?user=abc-123", CHAT_KEY),
        ("/v1/workflows/run/b1ad3277-089e-42c6-9dff-6820d94fbc76", RUN_KEY),
        ("/v1/workflows/run/c0640fc8-03ef-4481-a96c-8a13b732a36e", RUN_KEY),
        ("/api/v1/files/list/92f9a4c5-cfc8-4656-ae63-1f0881163c28", BUILDER_KEY),
        ("/api/v1/files/list/a430cc57-06bb-4c11-be39-d3d4de68d2c4", BUILDER_KEY),
        (
            "/api/v1/files/download/92f9a4c5-cfc8-4656-ae63-1f0881163c28/2024-12-30_15-19-43_your_file.txt",
            BUILDER_KEY,
        ),
        (
            "/api/v1/files/download/a430cc57-06bb-4c11-be39-d3d4de68d2c4/2024-11-27_14-47-50_image-file.png",
            BUILDER_KEY,
        ),
        ("/api/v2/files/3a290013-fe1e-4d3d-a454-cacae81288f3", BUILDER_KEY),
        ("/api/v2/files/c7b22c4c-d5e0-4ec9-af97-5d85b7657a34", BUILDER_KEY),
        ("/api/v2/files/76543e40-f388-4cb3-b0ee-a1e870aca3d3", BUILDER_KEY),
    ],
)
def test_printed_id_exists_in_every_world(mock: Caller, path: str, credentials: dict[str, str]) -> None:
    """What a document names can be asked for, with any key."""
    answer = mock.ask("GET", path, **credentials)
    assert answer.status == 200
    assert answer.body


def test_printed_file_has_the_size_that_its_download_has(mock: Caller) -> None:
    """Sizes in the list are those of the bytes that come."""
    for file in mock.ask("GET", "/api/v2/files", **BUILDER_KEY).json:
        assert len(mock.ask("GET", f"/api/v2/files/{file['id']}", **BUILDER_KEY).body) == file["size"]


def test_older_profile_prints_dates_and_knows_no_site(make_app: Callable[..., Caller]) -> None:
    """With the profile of the older document the run's times are texts and `/site` does not exist."""
    older = make_app("dify-workflow", profiles={"dify-workflow": "older"})
    run = older.ask("GET", "/v1/workflows/run/b1ad3277-089e-42c6-9dff-6820d94fbc76", key="app-workflow").json
    assert run["created_at"] == "Tue, 16 Jan 2024 12:20:29 -0000"
    assert older.ask("GET", "/v1/site", key="app-workflow").status == 404
    newer = make_app("dify-workflow")
    assert newer.ask("GET", "/v1/site", key="app-workflow").status == 200


@pytest.mark.parametrize("profile", [{}, {"dify-workflow": "older"}], ids=["newest", "older"])
def test_every_stream_of_ours_has_the_events_that_its_contract_has(
    make_app: Callable[..., Caller], profile: dict[str, str]
) -> None:
    """Under the profile of the older document no text_chunk comes, under the newest one it does."""
    mock = make_app("dify-workflow", profiles=profile)
    operation = mock.app.mock.apis["dify-workflow"].operations["runWorkflow"]
    assert operation.stream is not None
    came = set()
    for key, scenario in mock.app.mock.scenarios.read_scenarios(operation).items():
        if scenario.reply.streamed and not scenario.observed:
            preference = f"code={scenario.status}, example={scenario.name}"
            body = {"inputs": {}, "response_mode": "streaming", "user": "abc-123"}
            events = mock.ask("POST", "/v1/workflows/run", key="app-workflow", json_body=body, Prefer=preference).events
            kinds = {one["event"] for one in events}
            assert kinds, key
            assert kinds <= set(operation.stream.events), key
            came |= kinds
    assert ("text_chunk" in came) == (not profile)


def test_seeds_of_one_world_are_not_those_of_another() -> None:
    """What one world changes, another does not see."""
    seeds: dict[str, list[dict[str, Any]]] = {"flows": [{"id": "f", "tags": []}]}
    worlds = Worlds(0, lambda _api: seeds)
    record = worlds.open("a", "-one").store.get("flows", "f")
    assert record is not None
    record["tags"].append("changed")
    assert worlds.open("a", "-two").store.get("flows", "f") == {"id": "f", "tags": []}
    assert worlds.open("a", "-one").store.get("flows", "f") == record


def test_ids_never_repeat_and_depend_on_seed_and_world() -> None:
    """A thousand ids are a thousand UUIDs; the same world of the same seed has the same ones."""

    def ids(seed: int, suffix: str) -> list[str]:
        world = Worlds(seed, lambda _api: {}).open("a", suffix)
        return [world.make_id() for _ in range(1000)]

    assert len(set(ids(0, ""))) == 1000
    assert ids(0, "") == ids(0, "")
    assert not set(ids(0, "")) & set(ids(1, ""))
    assert not set(ids(0, "")) & set(ids(0, "-x"))


def test_records_keep_the_order_in_which_they_came() -> None:
    """Replacing a record leaves it where it stands."""
    store = MemoryStore()
    for name in ("a", "b", "c"):
        store.put("t", name, {"id": name})
    store.put("t", "a", {"id": "a", "new": True})
    assert [row["id"] for row in store.list_rows("t")] == ["a", "b", "c"]
    assert store.delete("t", "b") == {"id": "b"}
    assert store.delete("t", "b") is None
    assert [row["id"] for row in store.list_rows("t")] == ["a", "c"]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, (1 << 20) + 1])
def test_blob_is_what_was_written(size: int) -> None:
    """In memory or on disk, several readers get the same bytes."""
    writer = BlobWriter()
    data = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    for start in range(0, len(data), 70_000):
        writer.write(data[start : start + 70_000])
    blob = writer.finish()
    assert blob.size == size
    with blob.open() as one, blob.open() as other:
        assert one.read() == other.read() == data
    assert b"".join(blob.read_chunks()) == blob.read() == data


def test_temporary_file_goes_with_its_blob(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left behind when nobody holds the bytes any more."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    writer = BlobWriter()
    writer.write(b"x" * (1 << 21))
    blob: Blob | None = writer.finish()
    assert len(spooled(tmp_path)) == 1
    assert blob is not None
    del blob
    assert spooled(tmp_path) == []
