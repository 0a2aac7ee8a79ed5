"""PyPI pydify: a generator of dictionaries."""

from pydify import ChatflowClient


def ask(base_url, key):
    """Send one message; yield the payload of each event."""
    client = ChatflowClient(api_key=key, base_url=base_url)
    yield from client.send_message(query="Hello", user="abc-123", response_mode="streaming")
