"""Renders a reply to the bytes to send: headers, a body, the pieces of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flowcontract.streams import sse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.scenarios.expressions import Context
    from flowcontract.scenarios.model import Event, Reply
    from flowcontract.scenarios.templates import Template


class Piece(NamedTuple):
    """Bytes to send at once, `delay_ms` after the previous piece; `payload` is the JSON value in them, if any.

    ``place``  of the event in the scenario, from 0
    ``hold``   the name by which somebody lets the stream go on, which waits before this piece; '' for none
    """

    delay_ms: float
    data: bytes
    payload: Any
    place: int = 0
    hold: str = ""


def render_headers(reply: Reply, context: Context) -> dict[str, str]:
    """Return the reply's own headers, rendered; Content-Type is not added."""
    rendered = reply.header_template.render(context)
    return {
        name: value if isinstance(value, str) else "" if value is None else str(value)
        for name, value in rendered.items()
    }


def render_body(reply: Reply, context: Context) -> bytes:
    """Return the bytes of a reply of kind `body` (JSON with ASCII escapes, or text as it stands) or `file`."""
    if reply.file is not None:
        return reply.file.read_bytes()
    return render_body_and_value(reply, context)[1]


def render_body_and_value(reply: Reply, context: Context) -> tuple[Any, bytes]:
    """Return the value of a reply of kind `body`, and its bytes."""
    said, written = reply.template.render_with_json(context)
    if isinstance(reply.body, str) and isinstance(said, str):
        return said, said.encode("utf-8", "replace")
    return said, written.encode("ascii")


def render_events(reply: Reply, context: Context, *, stopped: bool = False) -> Iterator[Piece]:
    """Yield the pieces of a streamed reply, or of its `stopped`, each rendered on demand."""
    encode = _encode_line if reply.kind == "lines" else _encode_block
    for index, event in enumerate((reply.stopped or ()) if stopped else reply.events):
        template, hold = event.template, event.hold
        for item in _ONCE if event.each is None else _list_items(event.each, context):
            context.each = item
            value, written = template.render_with_json(context) if template else (None, None)
            if isinstance(value, str):
                # A lone surrogate, which JSON can escape and UTF-8 cannot encode, becomes a question mark.
                written, value = value.encode("utf-8", "replace").decode("utf-8"), None
            yield Piece(event.delay_ms, encode(event, written), value, index, hold)
            hold = ""


_ONCE = (None,)


def _list_items(each: Template, context: Context) -> list[Any]:
    """Return the values of `$each` for which an event is sent: the items of its `each`."""
    items = each.render(context)
    return items if isinstance(items, list) else [items]


def _encode_block(event: Event, text: str | None) -> bytes:
    if (
        event.plain and text is not None and "\n" not in text and "\r" not in text
    ):  # always true for JSON that we have written
        return f"data: {text}\n\n".encode()
    return sse.encode(text, event=event.event, id=event.id, retry=event.retry, comment=event.comment)


def _encode_line(_event: Event, text: str | None) -> bytes:
    return sse.encode_json("null" if text is None else text)
