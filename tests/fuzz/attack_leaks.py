"""Secrets of every name in every place, which the journal must not show; and clients that stop reading."""

from __future__ import annotations

import base64
import json
import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from attack_server import Victim
    from attack_verdict import Report

_KIND, _SLOW = "secrets", "slow readers"
_SECRET = 'S3CR3T/+="ü&9'
_PLAIN = "S3CR3T"  # what of it must not be seen, whatever encodes the rest
_NAMES = """
password passwd pwd passphrase userPassword accessToken access_token authToken clientSecret client_secret api_key apiKey
openaiApiKey OPENAI_API_KEY x-api-key X-Access-Key Ocp-Apim-Subscription-Key secretKey private_key credentials jwt auth
authorization X-Amz-Signature PRIVATE-TOKEN X-CSRFToken session
"""
_CHAT, _FLOW = "/v1/chat-messages", "/v1/workflows/run"
_READ_BOUND_S = 60.0
_KB_EACH = 1024


def attack(victim: Victim, report: Report, *, readers: int = 40, seconds: float = 20.0) -> None:
    """Send secrets and look for them; then let clients wait for `seconds` without reading, and measure what is kept."""
    address = f"http://{victim.address[0]}:{victim.address[1]}"
    with httpx.Client(base_url=address, trust_env=False, timeout=_READ_BOUND_S) as client:
        report.failures += [f"{_KIND}: {what}" for what in _leaks(client, report)]
        report.failures += [f"{_SLOW}: {what}" for what in _kept(client, victim, report, readers, seconds)]


def _leaks(client: httpx.Client, report: Report) -> Iterator[str]:
    for name in _NAMES.split():
        for place, ask in _PLACES.items():
            client.delete("/__mock__/requests")
            answer = ask(client, name)
            report.kinds[_KIND] += 1
            report.statuses[_KIND][str(answer.status_code)] += 1
            shown = client.get("/__mock__/requests").json()
            told = json.dumps(shown, ensure_ascii=False)
            told += "".join(
                client.get(f"/__mock__/requests/{entry['number']}/curl").text for entry in shown["requests"]
            )
            if not shown["requests"]:
                yield f"{name} in {place} is not in the journal at all"
            if _PLAIN in told or base64.b64encode(_PLAIN.encode()).decode() in told:
                yield f"{name} in {place} is shown"
    report.slowest[_KIND] = (0.0, "not measured")


def _json(client: httpx.Client, path: str, name: str, value: Any, mode: str = "blocking") -> httpx.Response:
    key = "app-chat-leaks" if path == _CHAT else "app-workflow-leaks"
    body = {"query": f"it is {_SECRET}", "inputs": {name: value}, "user": "u", "response_mode": mode}
    return client.post(path, headers={"Authorization": f"Bearer {key}"}, json=body)


def _encoded(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


_PLACES: dict[str, Callable[[httpx.Client, str], httpx.Response]] = {
    "header": lambda client, name: client.get("/v1/info", headers={name: f"Bearer {_PLAIN}"}),
    "query": lambda client, name: client.get(f"/v1/info?a=b&{quote(name)}={quote(_SECRET, safe='')}"),
    "query, encoded": lambda client, name: client.get(f"/v1/info?a=b;{_encoded(name)}={_encoded(_SECRET)}"),
    "form": lambda client, name: client.post("/v1/login", data={"user": _SECRET, name: _SECRET}),
    "multipart": lambda client, name: client.post(
        "/v1/files/upload",
        headers={"Authorization": "Bearer app-chat-leaks"},
        data={name: _SECRET, "user": _SECRET},
        files={"file": ("a.txt", b"abc")},
    ),
    "json": lambda client, name: _json(client, _CHAT, name, _SECRET),
    "json, list": lambda client, name: _json(client, _CHAT, name, [_SECRET, {"a": _SECRET}]),
    "json, object": lambda client, name: _json(client, _CHAT, name, {"value": _SECRET}),
    "json, cut": lambda client, name: client.post(_CHAT, content=json.dumps({name: _SECRET})[:-4].encode()),
    "answer": lambda client, name: _json(client, _FLOW, name, _SECRET),
    "stream": lambda client, name: _json(client, _FLOW, name, _SECRET, "streaming"),
}


def _kept(client: httpx.Client, victim: Victim, report: Report, readers: int, seconds: float) -> Iterator[str]:
    asked = {"query": "x", "inputs": {}, "user": "u", "response_mode": "streaming"}
    _json(client, _CHAT, "a", "b", "streaming")  # what the first one needs is there
    before = victim.health().rss_kb
    clients = [_ask_endlessly(victim.address, asked, number) for number in range(readers)]
    threading.Event().wait(seconds)  # during which nobody reads: that is the attack
    for each in clients:
        _read_a_little(each)
    after = victim.health().rss_kb
    for each in clients:
        each.close()
    report.kinds[_SLOW] = readers
    report.slowest[_SLOW] = (seconds, "without reading")
    if before is not None and after is not None:
        report.notes.append(f"{readers} clients that did not read for {seconds:.0f} s: {before} KB, then {after} KB")
        if after - before > readers * _KB_EACH:
            yield f"{readers} of them cost {after - before} KB"


def _ask_endlessly(address: tuple[str, int], asked: Any, number: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(_READ_BOUND_S)
    client.connect(address)
    body = json.dumps(asked).encode()
    lines = [
        f"POST {_CHAT} HTTP/1.1",
        "Host: mock",
        f"Authorization: Bearer app-chat-slow{number}",
        "Content-Type: application/json",
        "Prefer: fault=endless=1",
        f"Content-Length: {len(body)}",
    ]
    client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return client


def _read_a_little(client: socket.socket) -> None:
    left = _KB_EACH << 10
    while left > 0 and (data := client.recv(1 << 16)):
        left -= len(data)
