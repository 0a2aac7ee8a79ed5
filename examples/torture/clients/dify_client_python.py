"""PyPI dify-client-python: an iterator of pydantic models."""

from dify_client import Client, models


def ask(base_url, key):
    """Send one message; yield each event as the model says it."""
    client = Client(api_key=key, api_base=base_url)
    request = models.ChatRequest(query="Hello", inputs={}, user="abc-123", response_mode=models.ResponseMode.STREAMING)
    for event in client.chat_messages(request, timeout=60.0):
        yield event.model_dump(mode="json")
