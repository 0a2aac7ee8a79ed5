"""A reply -> the bytes that are sent: headers, a body, the pieces of a stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcontract import sse
from flowcontract.expressions import dump_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.expressions import Context
    from flowcontract.scenarios.model import Event, Reply


class Piece(NamedTuple):
    """What is sent at once: `data`, `delay_ms` after the piece before it; `payload` is the JSON value in it, if any.

    ``place``  of the event in the scenario, from 0
    """

    delay_ms: float
    data: bytes
    payload: Any
    place: int = 0


def render_headers(reply: Reply, context: Context) -> dict[str, str]:
    """Return the reply's own headers with their values; Content-Type is not added."""
    rendered = reply.header_template.render(context)
    return {
        name: value if isinstance(value, str) else "" if value is None else str(value)
        for name, value in rendered.items()
    }


def render_body(reply: Reply, context: Context) -> bytes:
    """Return the bytes of a reply of kind `body` (JSON with ASCII escapes, or text as it stands) or `file`."""
    if reply.file is not None:
        return reply.file.read_bytes()
    return write_body(reply, reply.template.render(context))


def write_body(reply: Reply, rendered: Any) -> bytes:
    """Return the bytes of a body whose template has been rendered."""
    if isinstance(reply.body, str):
        return rendered.encode("utf-8", "replace") if isinstance(rendered, str) else dump_json(rendered)
    return reply.template.write(rendered)


def render_events(reply: Reply, context: Context, *, stopped: bool = False) -> Iterator[Piece]:
    """Yield the pieces of a streamed reply, or those of its `stopped`, each rendered when it is asked for."""
    encode = _line if reply.kind == "lines" else _block
    for index, event in enumerate((reply.stopped or ()) if stopped else reply.events):
        for item in _items(event, context):
            context.each = item
            value = event.template.render(context) if event.template else None
            yield Piece(event.delay_ms, encode(event, value), None if isinstance(value, str) else value, index)


def _items(event: Event, context: Context) -> list[Any]:
    """Return what an event is sent for: once, or once for each item of a list that may be empty."""
    if event.each is None:
        return [None]
    items = event.each.render(context)
    return items if isinstance(items, list) else [items]


def _block(event: Event, value: Any) -> bytes:
    if event.plain and not isinstance(value, str):
        return b"data: %b\n\n" % json.dumps(value).encode()  # JSON stands on one line
    text = None if event.template is None else _sendable(value) if isinstance(value, str) else json.dumps(value)
    return sse.encode(text, event=event.event, id=event.id, retry=event.retry, comment=event.comment)


def _line(_event: Event, value: Any) -> bytes:
    return sse.encode_json(_sendable(value) if isinstance(value, str) else json.dumps(value))


def _sendable(text: str) -> str:
    """Return a text without lone surrogates, which JSON may bring and UTF-8 cannot carry."""
    return text.encode("utf-8", "replace").decode("utf-8")
