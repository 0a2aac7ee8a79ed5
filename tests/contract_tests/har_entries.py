"""Entries of HAR files, for the tests that read them."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

from flowcontract.specs.model import load_api

DATA = Path(__file__).resolve().parents[1] / "data"
STREAM = (DATA / "streams" / "recorded" / "dify-1.4.1" / "165_chat_streaming.sse").read_text(encoding="utf-8")
LANGFLOW = (DATA / "streams" / "recorded" / "langflow-1.4.3" / "run_stream_ok.json-lines").read_text(encoding="utf-8")
SSE = "text/event-stream; charset=utf-8"
CHAT_URL = "https://api.example.com/v1/chat-messages"
CHAT = load_api("dify-chat")
COMMAND = [sys.executable, "-m", "contract_tests"]


def entry(  # noqa: PLR0913 - what a test changes of an entry, each by its name
    content: dict[str, Any] | None = None,
    *,
    url: str = CHAT_URL,
    asked: dict[str, Any] | None = None,
    media_type: str = SSE,
    headers: dict[str, str] | None = None,
    status: int = 200,
    **more: Any,
) -> dict[str, Any]:
    """Return an entry with everything that browsers write."""
    body = {"query": "hello", "inputs": {}, "response_mode": "streaming", "user": "u"} if asked is None else asked
    pairs = {"Content-Type": media_type, **(headers or {})}
    return {
        "startedDateTime": "2026-11-28T17:00:00.000Z",
        "time": 900,
        "request": {
            "method": "POST",
            "url": url,
            "headers": [{"name": "Content-Type", "value": "application/json"}],
            "queryString": [],
            "postData": {"mimeType": "application/json", "text": json.dumps(body)},
        },
        "response": {
            "status": status,
            "statusText": "OK",
            "headers": [{"name": name, "value": value} for name, value in pairs.items()],
            "content": {"size": len(STREAM), "mimeType": media_type, "text": STREAM} if content is None else content,
        },
        "cache": {},
        "timings": {"send": 0, "wait": 1, "receive": 1},
        **more,
    }


def content(text: Any = None, **more: Any) -> dict[str, Any]:
    """Return the content of a response."""
    return {"size": len(STREAM), "mimeType": SSE, **({} if text is None else {"text": text}), **more}


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


MESSAGES = [
    {"time": 1.0, "eventName": "message", "eventId": "", "data": data[6:]} for data in STREAM.split("\n\n")[:-1]
]
