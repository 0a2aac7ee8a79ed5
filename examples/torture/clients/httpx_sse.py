"""PyPI httpx-sse in the plain loop that its documentation shows, with httpx's own timeout of 5 seconds."""

import json

import httpx
from httpx_sse import connect_sse


def ask(base_url, key):
    """Send one message; yield the payload of each event."""
    body = {"query": "Hello", "inputs": {}, "user": "abc-123", "response_mode": "streaming"}
    with (
        httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {key}"}) as client,
        connect_sse(client, "POST", f"{base_url}/chat-messages", json=body) as source,
    ):
        for event in source.iter_sse():
            yield json.loads(event.data)
