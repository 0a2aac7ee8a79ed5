"""PyPI dify-oapi2, which hands out raw bytes: each chunk decoded as its examples do it, then read by the standard."""

import json

from dify_oapi.api.chatflow.v1.model.send_chat_message_request import SendChatMessageRequest
from dify_oapi.api.chatflow.v1.model.send_chat_message_request_body import SendChatMessageRequestBody
from dify_oapi.client import Client
from dify_oapi.core.model.request_option import RequestOption

from flowcontract.streams.sse import Decoder


def ask(base_url, key):
    """Send one message; yield the payload of each event, raise what it reports as `[ERROR]`."""
    client = Client.builder().domain(base_url.removesuffix("/v1")).build()
    body = SendChatMessageRequestBody.builder().query("Hello").response_mode("streaming").user("abc-123").inputs({})
    request = SendChatMessageRequest.builder().request_body(body.build()).build()
    decoder = Decoder()
    for chunk in client.chatflow.v1.chatflow.send(request, RequestOption.builder().api_key(key).build(), True):
        for block in decoder.feed(chunk.decode("utf-8").encode()):
            if block.event and block.event.data.startswith("[ERROR]"):
                raise RuntimeError(block.event.data)
            if block.event:
                yield json.loads(block.event.data)
