"""`/__mock__`: who may ask, and what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from mock_calls import Caller

from flowcontract.scenarios import load_scenarios
from flowcontract.specs.model import load_api
from mockserver.admin import access
from mockserver.admin.api import Admin
from mockserver.http.messages import Request
from mockserver.server.asgi import AsgiAdapter
from mockserver.server.wsgi import WsgiAdapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mockserver.server.mock_server import MockServer

CHAT = {"query": "hello", "user": "abc-123", "inputs": {}}
PROBLEM = "application/problem+json"
PATHS = (
    "GET /__mock__",
    "GET /__mock__/health",
    "GET /__mock__/requests",
    "DELETE /__mock__/requests",
    "GET /__mock__/requests/1",
    "GET /__mock__/requests/1/curl",
    "GET /__mock__/scenarios",
    "GET /__mock__/openapi/dify-chat.json",
    "GET /__mock__/overrides",
    "PUT /__mock__/overrides",
    "DELETE /__mock__/overrides",
    "POST /__mock__/reset",
)

FORWARDED = [
    "X-Forwarded",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-By",
    "X-Original-Forwarded-For",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "CF-Pseudo-IPv4",
    "True-Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "Fly-Client-IP",
    "Fastly-Client-IP",
    "X-Envoy-External-Address",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Appengine-User-IP",
    "CloudFront-Viewer-Address",
    "CDN-Loop",
    "X-Vercel-Forwarded-For",
    "X-NF-Client-Connection-IP",
    "DO-Connecting-IP",
    "Ali-CDN-Real-IP",
    "X-Originating-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "Proxy-Client-IP",
    "WL-Proxy-Client-IP",
    "X-Original-Host",
    "x-real-ip",
]


# Who may ask.


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("192.0.2.7", {}),
        ("", {}),
        ("not-an-address", {}),
        ("127.0.0.1", {"Host": "mock.example:8080"}),
        ("127.0.0.1", {"Host": "127.0.0.1.example"}),
        ("127.0.0.1", {"Host": "localhost.example"}),
        ("127.0.0.1", {"Host": "[::1"}),
        ("127.0.0.1", {"Host": ""}),
        ("127.0.0.1", {"Host": "127.0.0.1@mock.example"}),
        ("127.0.0.1", {"Origin": "https://app.example"}),
        ("127.0.0.1", {"Origin": "null"}),
        ("127.0.0.1", {"X_Forwarded_For": "127.0.0.1"}),
        ("127.0.0.1", {"X_Forwarded_Host": "localhost"}),
        ("127.0.0.1", {"X_Forwarded_Proto": "http"}),
        ("127.0.0.1", {"X_Real_IP": "127.0.0.1"}),
        ("127.0.0.1", {"Via": "1.1 proxy"}),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}),
        *(("127.0.0.1", {name.replace("-", "_"): "127.0.0.1"}) for name in FORWARDED),
        ("127.0.0.1", {"Authorization": "Bearer guessed", "Origin": "https://app.example"}),
    ],
)
def test_strangers_are_refused(mock: Caller, path: str, peer: str, headers: dict[str, str]) -> None:
    """Other machines, names bound to this one, pages of others, and what was forwarded: 403, on every path."""
    method, _, path = path.partition(" ")
    answer = Caller(mock.app, peer).ask(method, path, **headers)
    assert (answer.status, answer.headers["Content-Type"]) == (403, PROBLEM)
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_headers_of_clients_are_no_announcement_of_proxies(mock: Caller) -> None:
    """What clients send of themselves does not close anything."""
    sent = {"User_Agent": "x", "X_Client_Version": "1", "X_Request_Id": "1", "X_Real_Time": "1", "X_User": "me"}
    assert mock.ask("GET", "/__mock__/health", **sent).status == 200


def test_key_that_is_a_question_mark_has_a_world_like_any_other(make_app: Callable[..., Caller]) -> None:
    """It is shown, and is not the one from which wrong keys are answered."""
    mock = make_app("dify-chat")
    mock.ask("GET", "/v1/info", key="app-chat-?")
    mock.ask("GET", "/v1/info", key="nobody")
    assert mock.ask("GET", "/__mock__/health").json["worlds"] == ["dify-chat-?"]
    assert [entry.world for entry in mock.app.mock.journal.list_entries()] == ["dify-chat-?", None]


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("127.0.0.1", {}),
        ("127.8.8.8", {}),
        ("::1", {"Host": "[::1]:8080"}),
        ("::ffff:127.0.0.1", {"Host": "localhost"}),
        ("127.0.0.1", {"Host": "LOCALHOST:8080", "Origin": "http://localhost:8080"}),
        ("127.0.0.1", {"Host": "[::1]:8080", "Origin": "http://[::1]:8080"}),
    ],
)
def test_this_machine_may_ask(mock: Caller, peer: str, headers: dict[str, str]) -> None:
    """A loopback address, by a name of this machine, also from a page of the mock itself."""
    answer = Caller(mock.app, peer).ask("GET", "/__mock__/health", **headers)
    assert answer.status == 200
    assert answer.headers.get("Access-Control-Allow-Origin") == headers.get("Origin")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("Bearer s3cret", 200),
        ("Bearer wrong", 401),
        ("s3cret", 401),
        ("Bearer s3cret ", 401),
        ("Bearer ü", 401),
        ("", 401),
    ],
)
@pytest.mark.parametrize("peer", ["127.0.0.1", "192.0.2.7"])
def test_token_opens_from_everywhere_and_nothing_else_does(
    make_app: Callable[..., Caller], sent: str, status: int, peer: str
) -> None:
    """With --admin-token whoever has it may ask, through proxies too, and this machine needs it as well."""
    mock = Caller(make_app("dify-chat", admin_token="s3cret").app, peer)
    answer = mock.ask(
        "GET",
        "/__mock__/health",
        Authorization=sent,
        Host="mock.example",
        Origin="https://x.example",
        X_Forwarded_For="1",
    )
    assert answer.status == status
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert "s3cret" not in repr(mock.app.mock.settings)


@pytest.mark.parametrize(("origin", "status"), [("http://localhost:8080", 204), ("http://localhost:3000", 403)])
def test_browser_asks_first(mock: Caller, origin: str, status: int) -> None:
    """A page of the mock itself may send PUT and DELETE; others are told no before they send anything."""
    asked = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "content-type"}
    answer = mock.ask("OPTIONS", "/__mock__/overrides", Host="localhost:8080", Origin=origin, **asked)
    assert answer.status == status
    assert answer.headers.get("Access-Control-Allow-Origin") == (origin if status == 204 else None)


def test_every_adapter_says_where_a_request_comes_from(mock: Caller) -> None:
    """WSGI and ASGI fill in the address, or nobody could be told from this machine."""
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/__mock__/health",
        "HTTP_HOST": "localhost",
        "wsgi.input": None,
        "wsgi.url_scheme": "http",
    }
    served = Admin(mock.app.mock, mock.app)
    for peer in ("127.0.0.1", "192.0.2.7"):
        list(WsgiAdapter(served)({**environ, "REMOTE_ADDR": peer}, lambda status, _headers: statuses.append(status)))
    assert [status[:3] for status in statuses] == ["200", "403"]
    for peer, status in (("127.0.0.1", 200), ("192.0.2.7", 403)):
        transport = httpx.ASGITransport(AsgiAdapter(served), client=(peer, 5000))
        assert _ask(transport).status_code == status


def _ask(transport: httpx.ASGITransport) -> httpx.Response:
    import asyncio  # noqa: PLC0415 - one test

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/__mock__/health")

    return asyncio.run(ask())


def test_real_server_tells_its_peer(server: MockServer) -> None:
    """Over a socket the loopback address is known, and a foreign host is refused."""
    with httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{server.port}") as client:
        assert client.get("/__mock__/health").status_code == 200
        assert client.get("/__mock__/health", headers={"Host": "mock.example"}).status_code == 403


@pytest.mark.parametrize("url", ["", "//", "http://[", "//example.com", "null", "//0.0.0.0", "//[::ffff:192.0.2.7]"])
def test_odd_hosts_are_not_this_machine(url: str) -> None:
    """What cannot be read as a host of this machine is none."""
    assert not access.is_here(url)


# What is answered.


def test_overview_names_every_path(mock: Caller) -> None:
    """A newcomer finds the rest from the top; slashes at the end change nothing."""
    paths = mock.ask("GET", "/__mock__/").json["paths"]
    assert {path.replace("{number}", "1").replace("{api}", "dify-chat") for path in paths} >= set(PATHS)


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "/__mock__/nothing", 404, "/__mock__/nothing"),
        ("POST", "/__mock__/requests", 405, "GET, DELETE"),
        ("GET", "/__mock__/reset", 405, "POST"),
        ("GET", "/__mock__/requests/999999", 404, "not remembered"),
        ("GET", "/__mock__/requests/999999/curl", 404, "not remembered"),
        ("GET", "/__mock__/requests/" + "9" * 30, 404, "There is no"),
        ("GET", "/__mock__/requests?status=many", 400, "whole number"),
        ("GET", "/__mock__/requests?limit=-1", 400, "whole number"),
        ("GET", "/__mock__/requests?operation=getInfos", 404, "Did you mean"),
        ("GET", "/__mock__/requests?world=nowhere", 404, "There is"),
        ("GET", "/__mock__/scenarios?operation=getInfos", 404, "Did you mean"),
        ("GET", "/__mock__/openapi/dify.json", 404, "dify-chat"),
        ("POST", "/__mock__/reset?world=nowhere", 404, "There is"),
        ("DELETE", "/__mock__/overrides?operation=getInfos", 404, "Did you mean"),
    ],
)
def test_mistakes_are_problems(mock: Caller, method: str, path: str, status: int, told: str) -> None:
    """What was asked, what there is; never the API's own answer and never a 5xx."""
    answer = mock.ask(method, path)
    assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)
    assert told in answer.json["detail"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"world": NaN}', b"x" * (2 << 20)])
def test_body_that_is_no_json_is_a_problem(mock: Caller, body: bytes) -> None:
    """400, and nothing is reset."""
    answer = mock.ask("POST", "/__mock__/reset", body=body)
    assert (answer.status, answer.headers["Content-Type"]) == (400, PROBLEM)


def test_requests_are_listed_newest_last(make_app: Callable[..., Caller]) -> None:
    """With filters and a limit; what is asked of the mock itself is not among them."""
    mock = make_app("dify-chat")
    for number in range(3):
        mock.ask("GET", "/v1/info", key=f"app-chat-{number}", **({"Prefer": "code=500"} if number == 1 else {}))

    def numbers(query: str = "") -> list[int]:
        return [one["number"] for one in mock.ask("GET", f"/__mock__/requests{query}").json["requests"]]

    assert numbers() == [1, 2, 3]
    assert numbers("?limit=2") == [2, 3]
    assert numbers("?limit=0") == []
    assert numbers("?world=app-chat-2") == numbers("?world=dify-chat-2") == [3]
    assert numbers("?status=500&operation=getInfo") == [2]
    assert mock.ask("GET", "/__mock__/requests?limit=1").json["found"] == 3
    assert mock.ask("GET", "/__mock__/requests/2").json["status"] == 500
    assert mock.ask("GET", "/__mock__/requests/2/curl").body.startswith(b"curl http://")
    assert mock.ask("DELETE", "/__mock__/requests").json == {"forgotten": 3}
    assert numbers() == []


def test_scenarios_and_contracts_are_shown(mock: Caller) -> None:
    """By operation with their descriptions; a contract as the bundle that everything is judged by."""
    shown = mock.ask("GET", "/__mock__/scenarios?operation=sendChatMessage").json
    assert list(shown) == ["dify-chat/sendChatMessage"]
    operation = mock.app.mock.apis["dify-chat"].operations["sendChatMessage"]
    expected = load_scenarios(["dify-chat"]).read_scenarios(operation)
    assert shown["dify-chat/sendChatMessage"] == {key: one.description for key, one in expected.items()}
    names = {one.name for api in mock.app.mock.apis.values() for one in api.operations.values()}
    assert set(mock.ask("GET", "/__mock__/scenarios").json) == names
    for api in mock.app.mock.apis:
        assert mock.ask("GET", f"/__mock__/openapi/{api}.json").json == load_api(api).bundle


def test_reset_begins_anew(make_app: Callable[..., Caller]) -> None:
    """One world or all: records, counts and orders go, the journal stays."""
    mock = make_app("dify-chat")

    def conversations(key: str) -> int:
        return len(mock.ask("GET", "/v1/conversations?user=abc-123", key=key).json["data"])

    before = conversations("app-chat-a")
    first = mock.ask("POST", "/v1/chat-messages", key="app-chat-a", json_body=CHAT).json
    mock.ask("POST", "/v1/chat-messages", key="app-chat-b", json_body=CHAT)
    mock.ask("PUT", "/__mock__/overrides", json_body={"operation": "getInfo", "scenario": "500", "world": "app-chat-a"})
    mock.ask("PUT", "/__mock__/overrides", json_body={"operation": "getInfo", "scenario": "500"})
    assert mock.ask("POST", "/__mock__/reset", json_body={"world": "app-chat-a"}).json["worlds"] == 1
    assert len(mock.ask("GET", "/__mock__/overrides").json) == 1
    assert (conversations("app-chat-a"), conversations("app-chat-b")) == (before, before + 1)
    mock.ask("POST", "/__mock__/reset?world=app-chat-a")
    again = mock.ask("GET", "/v1/conversations?user=abc-123", key="app-chat-a")
    assert again.status == 200
    assert mock.ask("POST", "/__mock__/reset").json["worlds"] >= 2
    assert mock.ask("GET", "/__mock__/overrides").json == []
    assert mock.ask("GET", "/__mock__/health").json["worlds"] == []
    conversations("app-chat-a")
    assert mock.ask("POST", "/v1/chat-messages", key="app-chat-a", json_body=CHAT).json == first
    assert mock.app.mock.journal.count > 0


def test_health_tells_what_runs(make_app: Callable[..., Caller]) -> None:
    """The APIs with their base paths, the worlds, and that nothing is broken."""
    mock = make_app("dify-chat", "cybertron")
    mock.ask("GET", "/v1/info", key="app-chat-a")
    mock.ask("GET", "/v1/info", key="nobody")
    health = mock.ask("GET", "/__mock__/health").json
    assert (health["status"], health["broken"]) == ("ok", [])
    assert health["apis"] == {"dify-chat": "/v1", "cybertron": "/openapi/v1"}
    assert (health["worlds"], health["requests"]) == (["dify-chat-a"], 2)


def test_head_is_answered(mock: Caller) -> None:
    """HEAD goes where GET goes."""
    assert mock.ask("HEAD", "/__mock__/health").status == 200


MISSED = {
    "400-hello": "request: {body: {query: hello}}",
    "400-hello-from-me": "request: {body: {query: hello, user: me}, headers: {X-Test: 'on'}}",
    "400-picture": "request: {body: {query: look, inputs: {kind: picture}}}",
}


def test_misses_tell_why_no_scenario_of_ones_own_answered(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """The nearest first, each with what the request lacks; one that fits lacks nothing."""
    folder = tmp_path / "dify-chat" / "sendChatMessage"
    folder.mkdir(parents=True)
    for name, request in MISSED.items():
        reply = "reply: {body: {code: mine, message: Mine., status: 400}}"
        (folder / f"{name}.yaml").write_text(f"description: Mine.\n{request}\n{reply}\n", encoding="utf-8")
    mock = make_app("dify-chat", fixtures=tmp_path)
    body = {"query": "Hello", "inputs": {}, "user": "me", "response_mode": "streaming"}
    mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=body)
    told = mock.ask("GET", "/__mock__/requests/1/misses").json
    assert [one["scenario"] for one in told] == ["400-hello", "400-hello-from-me", "400-picture"]
    assert told[0]["lacks"] == ['body.query must be the text "hello", is the text "Hello"']
    assert told[1]["lacks"][1:] == ["headers.x-test is missing"]
    assert told[2]["lacks"][1:] == ["body.inputs.kind is missing"]
    mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body={**body, "query": "hello"})
    assert mock.ask("GET", "/__mock__/requests/2/misses").json[0] == {"scenario": "400-hello", "lacks": []}
    mock.ask("POST", "/v1/chat-messages", key="app-chat", body=b"{", Content_Type="application/json")
    assert len(mock.ask("GET", "/__mock__/requests/3/misses").json) == 3
    mock.ask("GET", "/v1/nowhere", key="app-chat")
    assert mock.ask("GET", "/__mock__/requests/4/misses").status == 404


def test_request_without_an_address_is_nobodys() -> None:
    """An adapter that does not know where a request comes from must not open the door."""
    assert access.explain_refusal(Request("GET", "/__mock__"), "") != ""
