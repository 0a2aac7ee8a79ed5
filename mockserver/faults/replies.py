"""Faults of a reply as a whole: late, refused, mislabelled, or no reply at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import Headers
from werkzeug.http import HTTP_STATUS_CODES

from flowcontract.scenarios import Piece
from mockserver.blobs.blob import Blob
from mockserver.faults.events import draw_lognormal
from mockserver.http.messages import AbortConnection, Reply
from mockserver.http.stream import Stream

if TYPE_CHECKING:
    from mockserver.faults.context import FaultContext

Alter = Callable[[Reply, "FaultContext", Any], None]
"""Reply, context and the fault's value: changes the reply."""
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+")
_FINAL = range(200, 600)  # informational statuses are no answer (RFC 9110, 15.2)
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED)
_MOST_CHUNKS, _LARGEST_CHUNK = 10_000, 1_000_000_000
_PAGE = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"
    "<hr><center>gateway</center>\r\n</body>\r\n</html>\r\n"
)
"""What proxies such as nginx send of their own."""


def read_sizes(text: str) -> list[int]:
    """Read `836/662`: the sizes of chunks in bytes; raise ValueError."""
    sizes = [int(part) for part in text.split("/")]
    if not all(0 < size <= _LARGEST_CHUNK for size in sizes) or len(sizes) > _MOST_CHUNKS:
        raise ValueError(text)
    return sizes


def read_limit(text: str) -> tuple[int, int]:
    """Read `N/SECONDS`, or `N` for a minute; raise ValueError."""
    count, _, seconds = text.partition("/")
    limit = int(count), int(seconds or 60)
    if limit[0] < 0 or limit[1] < 1:
        raise ValueError(text)
    return limit


def read_status(text: str) -> tuple[int, str]:
    """Read `STATUS`, `STATUS/html` or `STATUS/empty`; raise ValueError."""
    number, _, body = text.partition("/")
    status = int(number)
    bodiless = status in _BODILESS
    if status not in _FINAL or body not in (("", "empty") if bodiless else ("", "html", "empty")):
        raise ValueError(text)
    return status, body or ("empty" if bodiless else "html")


def read_media_type(text: str) -> str:
    """Read a media type; raise ValueError."""
    if not _MEDIA_TYPE.fullmatch(text):
        raise ValueError(text)
    return text


def none(_reply: Reply, _ground: FaultContext, _value: Any) -> None:
    """Leave the reply as it is: the fault is decided before there is one."""


def answer_as_gateway(status: int, body: str) -> Reply:
    """Return what a gateway answers that the API is not reached through."""
    if body == "empty":
        return Reply(status, Headers())
    page = _PAGE.format(f"{status} {HTTP_STATUS_CODES.get(status, 'Unknown')}")
    return Reply(status, Headers([("Content-Type", "text/html")]), page.encode())


def retry_after(reply: Reply, _ground: FaultContext, seconds: int) -> None:
    """Say when to come again."""
    reply.headers["Retry-After"] = str(seconds)


def latency(reply: Reply, _ground: FaultContext, milliseconds: float) -> None:
    """Come later by `milliseconds`."""
    reply.delay_s += milliseconds / 1000


def latency_lognormal(reply: Reply, context: FaultContext, milliseconds: float) -> None:
    """Come later as networks do; half of the delays are below `milliseconds`."""
    reply.delay_s += draw_lognormal(context, milliseconds) / 1000


def empty_reply(reply: Reply, _ground: FaultContext, _value: None) -> None:
    """Close the connection before a byte of the answer."""
    _end_with(reply, AbortConnection("close", headless=True))


def cut(reply: Reply, _ground: FaultContext, _value: int) -> None:
    """Close the connection after the last byte, without the end that HTTP demands."""
    as_stream(reply).cut = AbortConnection("close")


def reset(reply: Reply, _ground: FaultContext, size: int | None) -> None:
    """Reset the connection: before a byte of the answer, or after the last byte where their number is given."""
    if size is None:
        _end_with(reply, AbortConnection("reset", headless=True))
    else:
        as_stream(reply).cut = AbortConnection("reset")


def shorten(reply: Reply, _ground: FaultContext, size: int) -> None:
    """Announce no more than will come."""
    as_stream(reply)
    if "Content-Length" in reply.headers:
        reply.headers["Content-Length"] = str(min(size, int(reply.headers["Content-Length"])))


def json_error(reply: Reply, context: FaultContext, _value: None) -> None:
    """Send the API's own error, with the status of success."""
    _leave(reply)
    reply.headers["Content-Type"] = "application/json"
    reply.body = context.refusal(HTTPStatus.INTERNAL_SERVER_ERROR)


def wrong_type(reply: Reply, _ground: FaultContext, media_type: str) -> None:
    """Label the stream as something else."""
    if reply.headers.get("Content-Type", "").partition(";")[0].strip().lower() == media_type.lower():
        return
    reply.headers["Content-Type"] = media_type


def no_charset(reply: Reply, _ground: FaultContext, _value: None) -> None:
    """Leave the charset out."""
    reply.headers["Content-Type"] = reply.headers.get("Content-Type", "").partition(";")[0]


def _end_with(reply: Reply, order: AbortConnection) -> None:
    _leave(reply)
    reply.body = Stream(iter(()))
    reply.body.cut = order


def as_stream(reply: Reply) -> Stream:
    """Return the stream of a reply; a whole body becomes one of a single piece, its length announced."""
    if isinstance(reply.body, Stream):
        return reply.body
    body = reply.body if isinstance(reply.body, bytes) else reply.body.read() if isinstance(reply.body, Blob) else b""
    reply.headers["Content-Length"] = str(len(body))
    reply.body = Stream(iter([Piece(0, body, None)]))
    return reply.body


def _leave(reply: Reply) -> None:
    """Take the body away; a stream is told that nobody reads it."""
    if not isinstance(reply.body, bytes | Blob):
        reply.body.close()
    reply.body = b""
