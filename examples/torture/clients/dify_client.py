"""PyPI dify-client, read as its own documentation reads it: line by line, what follows `data:` is JSON."""

import json

from dify_client import ChatClient


def ask(base_url, key):
    """Send one message; yield the payload of each event."""
    client = ChatClient(key)
    client.base_url = base_url
    response = client.create_chat_message(inputs={}, query="Hello", user="abc-123", response_mode="streaming")
    response.raise_for_status()
    for line in response.iter_lines(decode_unicode=True):
        text = line.split("data:", 1)[-1]
        if text.strip():
            yield json.loads(text.strip())
