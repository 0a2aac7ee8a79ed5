"""Verbatim scenarios answer before the contract refuses a request, and act upon no world."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mockserver.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mock_calls import Caller

KEY = "app-chat-verbatim"


def write(folder: Path, place: str, **content: Any) -> Path:
    """Write a scenario (JSON is YAML)."""
    path = folder / "dify-chat" / f"{place}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"description": "A test's own.", "verbatim": True, **content}))
    return folder


def test_it_answers_what_the_contract_refuses(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """A body of wrong types, a missing field, text that is no JSON, a request without a key."""
    write(
        tmp_path,
        "sendChatMessage/200-a",
        request={"body": {"query": 5}},
        reply={"body": {"said": "$request.body#/query"}},
    )
    write(tmp_path, "sendChatMessage/200-b", request={"body": "{"}, reply={"body": {"said": "no JSON"}})
    write(tmp_path, "getInfo/200-c", request={"headers": {"Authorization": None}}, reply={"body": {"said": "no key"}})
    app = make_app("dify-chat", fixtures=tmp_path)
    assert app.ask("POST", "/v1/chat-messages", key=KEY, json_body={"query": 5}).json == {"said": 5}
    broken = app.ask("POST", "/v1/chat-messages", key=KEY, body=b"{", Content_Type="application/json")
    assert broken.json == {"said": "no JSON"}
    assert app.ask("GET", "/v1/info").json == {"said": "no key"}
    assert "said" not in app.ask("GET", "/v1/info", key=KEY).json
    assert app.ask("POST", "/v1/chat-messages", key=KEY, json_body={"query": 6}).status == 400


def test_it_changes_nothing_in_the_world(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """Nothing is kept of what it says; that the operation succeeded is."""
    asked = {"query": "hello", "user": "ada", "inputs": {}}
    write(tmp_path, "sendChatMessage/200-a", request={"body": {"query": "hello"}}, reply={"body": {"answer": "hi"}})
    write(tmp_path, "getInfo/200-b", request={"after": "sendChatMessage"}, reply={"body": {"said": "afterwards"}})
    app = make_app("dify-chat", fixtures=tmp_path)
    assert "said" not in app.ask("GET", "/v1/info", key=KEY).json
    assert app.ask("POST", "/v1/chat-messages", key=KEY, json_body=asked).json == {"answer": "hi"}
    assert app.ask("GET", "/v1/conversations?user=ada", key=KEY).json["data"] == []
    assert app.ask("GET", "/v1/info", key=KEY).json == {"said": "afterwards"}


def test_the_most_particular_one_answers(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """Whatever their names; of those that demand the same, the first by name as often as it may."""
    write(tmp_path, "getInfo/200-a", reply={"body": {"said": "any"}})
    write(tmp_path, "getInfo/200-b", request={"query": {"user": "ada"}, "times": 1}, reply={"body": {"said": "ada"}})
    write(
        tmp_path,
        "getInfo/404-c",
        request={"query": {"user": "ada"}},
        reply={"body": {"said": "ada again"}},
        undocumented=True,
    )
    write(
        tmp_path, "renameConversation/200-d", request={"path": {"conversation_id": "x"}}, reply={"body": {"said": "x"}}
    )
    app = make_app("dify-chat", fixtures=tmp_path)
    assert [app.ask("GET", f"/v1/info?user={user}", key=KEY).json["said"] for user in ("bob", "ada", "ada", "ada")] == [
        "any",
        "ada",
        "ada again",
        "ada again",
    ]
    renamed = {"name": "n", "user": "ada"}
    assert app.ask("POST", "/v1/conversations/x/name", key=KEY, json_body=renamed).json == {"said": "x"}
    assert app.ask("POST", "/v1/conversations/y/name", key=KEY, json_body=renamed).status == 404


def test_who_prefers_another_one_gets_that(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """`Prefer` comes first, as always; a verbatim scenario can be preferred itself."""
    write(tmp_path, "getInfo/200-a", request={"query": {"user": "ada"}}, reply={"body": {"said": "a"}})
    app = make_app("dify-chat", fixtures=tmp_path)
    assert app.ask("GET", "/v1/info?user=ada", key=KEY, Prefer="code=500").status == 500
    assert app.ask("GET", "/v1/info?user=bob", key=KEY, Prefer="example=a").json == {"said": "a"}


def test_check_accepts_what_is_marked_and_only_that(tmp_path: Path, capsys: Any) -> None:
    """A scenario that the contract forbids says so; one that it allows may not."""
    wrong = write(tmp_path / "wrong", "getInfo/200-a", reply={"body": {"name": 5}})
    assert main(["check", "--fixtures", str(wrong), "--api", "dify-chat"]) == 1
    marked = write(tmp_path / "marked", "getInfo/200-a", violations=["as it was"], reply={"body": {"name": 5}})
    assert main(["check", "--fixtures", str(marked), "--api", "dify-chat"]) == 0
    right = {"body": {"name": "n", "description": "d", "tags": []}}
    needless = write(tmp_path / "needless", "getInfo/200-a", violations=["as it was"], reply=right)
    capsys.readouterr()
    assert main(["check", "--fixtures", str(needless), "--api", "dify-chat"]) == 1
    assert "nothing in it is forbidden by the contract. Leave `violations` out." in capsys.readouterr().out
