"""`/__mock__/streams`: the streams that are being sent now, and what somebody wants with one of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowcontract.errors import FlowContractError, UnknownNameError
from flowcontract.streams import sse
from mockserver.journal.steering import ACTIONS

if TYPE_CHECKING:
    from mockserver.core.mock import Mock

_WANTED = (
    'It is {"action": "continue"}, "hold" or "close", {"action": "drop", "count": 1}, or {"action": "inject"} with an'
    ' "event" (JSON, as the API writes its events) or a "text" (as it stands).'
)
_MOST = 1_000_000


def show(mock: Mock) -> list[dict[str, Any]]:
    """Return the streams of this process, the oldest first."""
    return [stream.describe() for _, stream in sorted(mock.journal.list_streams().items())]


def steer(mock: Mock, number: int, body: Any) -> dict[str, Any]:
    """Do what `{"action": ...}` says with the stream of an exchange; return it as it is then."""
    streams = mock.journal.list_streams()
    if number not in streams:
        raise UnknownNameError("stream", str(number), map(str, streams), hint="Only what is being sent can be steered.")
    action = body.get("action") if isinstance(body, dict) else None
    if action not in ACTIONS or (set(body) - {"action", "count", "event", "text"}):
        raise FlowContractError(f"This says nothing that can be done with a stream. {_WANTED}")
    count = body.get("count", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _MOST:
        raise FlowContractError(f"`count` is how many pieces are dropped: a whole number from 1. {_WANTED}")
    stream = streams[number]
    stream.steer(action, _read_data(mock, stream.describe()["operation"], body) if action == "inject" else b"", count)
    return stream.describe()


def _read_data(mock: Mock, operation: str | None, body: dict[str, Any]) -> bytes:
    """Return the bytes to put into a stream: an event in its framing, or a text as it stands."""
    if isinstance(body.get("text"), str):
        return str(body["text"]).encode("utf-8", "replace")
    if "event" not in body:
        raise FlowContractError(f"There is nothing to put in. {_WANTED}")
    text = json.dumps(body["event"])
    api, _, name = (operation or "").partition("/")
    contract = mock.apis[api].operations[name].stream if operation else None
    return sse.encode_json(text) if contract and contract.framing == "json-blank-line" else sse.encode(text)
