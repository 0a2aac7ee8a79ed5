"""Bytes -> requests, by llhttp (httptools) within limits of our own. Knows no transport and never waits."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import httptools
from werkzeug.datastructures import Headers

from mockserver.blobs.blob import EMPTY, Blob
from mockserver.caching import Recent
from mockserver.http.incoming import Incoming
from mockserver.http.messages import Head, PlainHeaders, Reply, Request, join_fields
from mockserver.server.adapter import BodyReader, parse_content_length
from mockserver.server.states import Reading, move

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.http.incoming import BodyError
    from mockserver.http.messages import Capability

IDLE, HEAD, BODY, REFUSED, ENDED = Reading
"""Before Python 3.12, looking up a member of an enum costs as much as a call."""
_HEADERS_LIMIT = 64 << 10  # bytes of request line and headers
_HEADER_COUNT_LIMIT = 200
_HEAD_END = b"\r\n\r\n"
_RECOGNISED = 512  # heads
_RECOGNISED_SIZE = 4 << 10  # bytes of a head that is recognised
_RECOGNISED_BODY = 64 << 10  # bytes of the body behind it
_FIRST = 24  # bytes that tell which protocol a client speaks: the preface of HTTP/2 has so many (RFC 9113, 3.4)
_OTHER_PROTOCOL = re.compile(rb"[\r\n]*[A-Z]+ [^ \r\n]+ (?!HTTP/1\.)[^ \r\n][^\r\n]*\r?\n")
"""A request line of another protocol; llhttp accepts RTSP and ICE as well."""
_FOREIGN = {
    b"PRI * HTTP/2": "speaks HTTP/2 from its first byte, and this port HTTP/1.1: have the client use HTTP/1.1",
    b"\x16": "speaks TLS, and this port does not: have the client ask http:// instead of https://",
}
"""First bytes of clients that expect another protocol on this port -> what to tell the people who run them.

TLS: the type of a handshake alone (RFC 8446, 5.1), since the parser refuses it before a second byte has come."""


class ParsedRequest(NamedTuple):
    """A request that has arrived, or what there is of one that broke off in its body.

    ``keep_alive``  the connection stays open after the answer
    ``chunks``      the client understands a chunked answer: it speaks HTTP/1.1
    """

    request: Request
    keep_alive: bool
    chunks: bool


@dataclass(frozen=True, slots=True)
class ContinueExpected:
    """The client sends its body only when it is told to (RFC 9110, 10.1.1)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What came is no request; nothing that comes after it counts.

    ``reply``       what to answer
    ``has_target``  a request's target was read; without one it may be the rest of a body longer than announced
    ``foreign``     which protocol the client speaks instead of HTTP/1.1, and what to do; '' where that is unclear
    """

    reply: Reply
    has_target: bool
    foreign: str = ""


Event = ParsedRequest | ContinueExpected | Refusal


class _BadRequestError(Exception):
    """The client breaks a rule of HTTP, or exceeds a limit of ours."""

    def __init__(self, why: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(why)
        content = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": why}
        headers = Headers([("Content-Type", "application/problem+json")])
        self.reply = Reply(status, headers, json.dumps(content).encode())


class _NotHttpError(_BadRequestError):
    """What came cannot be read as HTTP/1.x at all."""

    def __init__(self) -> None:
        super().__init__("This is no HTTP/1.1 request.")


Heads = Recent[bytes, Head]
"""Heads that were read lately, by their bytes."""


def remember_heads() -> Heads:
    """Return a memory for the heads of requests that all connections of a server share."""
    return Recent(_RECOGNISED)


class RequestParser:
    """Reads the requests of one connection.

    ``state``  what has arrived of the next request
    ``peer``   the address of the client, as IP; '' where it is unknown
    """

    def __init__(
        self,
        max_upload: int,
        peer: str,
        capabilities: frozenset[Capability],
        heads: Heads | None = None,
        wants_body_later: Callable[[Request], bool] = lambda _head: False,
    ) -> None:
        """Keep at most `max_upload` bytes of a body; `peer` and `capabilities` go into each request.

        Where the head of a request `wants_body_later`, it is returned at once, and its body goes into its `incoming`.
        """
        self.state = IDLE
        self._heads = heads or remember_heads()
        self._max_upload = max_upload
        self.peer = peer
        self._capabilities = capabilities
        self._events: list[Event] = []
        self._first = b""  # bytes of the connection
        self._line: bytes | None = None  # the part of a request line that has arrived, while it is incomplete
        self._offered: list[tuple[str, str]] | None = None  # headers of a request that offers another protocol
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._fields: dict[str, str] = {}
        self._head_size = 0
        self._modern = False  # it is HTTP/1.1
        self._unread = 0  # bytes behind the last that were reported
        self._understood = False  # something of the bytes that came last has been reported
        self._reader: BodyReader | None = None  # while the state is BODY
        self._incoming: Incoming | None = None  # while the body is passed on as it comes
        self._wants_body_later = wants_body_later
        self._parser = self._create_parser()

    @property
    def mid_request(self) -> bool:
        """True while the client is probably still sending a request, be it one that was refused."""
        return self.state in (HEAD, BODY, REFUSED)

    def feed(self, data: bytes) -> list[Event]:
        """Parse the next bytes; return what they complete, in its order. A Refusal is always the last event."""
        if self.state is IDLE and self._line is None and (recognised := self._recognise(data)):
            return [recognised]
        if self.state is REFUSED:
            return []
        begins, whole, size = self.state is IDLE and self._line is None, data, len(data)
        if len(self._first) < _FIRST:
            self._first = (self._first + data)[:_FIRST]
        try:
            if self._line is not None or self.state is IDLE:
                self._check_line(data)
            while data:
                data = self._parse(data)
            if self.state is HEAD:  # llhttp reports an endless header only when it ends
                self._count_head(size)
            self._count_unread(size)
        except (httptools.HttpParserError, _BadRequestError) as error:
            self._refuse(error)
        events, self._events = self._events, []
        if begins and len(events) == 1 and self.state is IDLE:
            self._remember(whole, events[0])
        return events

    def _recognise(self, data: bytes) -> ParsedRequest | None:
        """Return the request in `data` if it is a whole one, and its head has been read before in the same bytes."""
        end = data.find(_HEAD_END, 0, _RECOGNISED_SIZE) + len(_HEAD_END)
        head = self._heads.find(data[:end])
        if head is None or len(data) != end + head.size:
            return None
        body = Blob(data[end:]) if head.size else EMPTY
        method, path, query = head.method, head.path, head.query
        request = Request(method, path, query, head.headers, body, "", self.peer, self._capabilities, head.fields, head)
        request.target = head.target
        return ParsedRequest(request, head.keep_alive, head.chunks)

    def _remember(self, data: bytes, event: Event) -> None:
        """Recognise the head of a request from now on, if nothing but these bytes has been read of it, all at once."""
        if (
            not isinstance(event, ParsedRequest)
            or not event.keep_alive
            or event.request.body_error
            or event.request.incoming
        ):
            return
        request, end = event.request, data.find(_HEAD_END, 0, _RECOGNISED_SIZE) + len(_HEAD_END)
        size, fields = request.body.size, request.fields
        is_plain = fields.keys().isdisjoint(("transfer-encoding", "upgrade", "expect"))
        if is_plain and len(data) == end + size and size <= _RECOGNISED_BODY:
            known = (request.method, request.path, request.query, request.headers, fields)
            self._heads.add(data[:end], Head(*known, event.keep_alive, event.chunks, size, request.target))

    def end(self) -> list[Event]:
        """Note that the client sends no more; return the request that it broke off in its body, if there is one."""
        if self.state is BODY:
            self._add_request(whole=False)
        self.state = move(self.state, ENDED)
        events, self._events = self._events, []
        return events

    def _check_line(self, data: bytes) -> None:
        """Refuse another protocol once the request line is complete, which it nearly always is at once."""
        line = data if self._line is None else self._line + data
        self._line = None if b"\n" in line.lstrip(b"\r\n") else line
        if self._line is None and _OTHER_PROTOCOL.match(line):
            raise _NotHttpError

    def _parse(self, data: bytes) -> bytes:
        """Parse until a client offers another protocol; return the bytes after that. No offer is accepted.

        llhttp takes what follows an offer for the other protocol. So a new parser reads the head again, without it.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        else:
            return b""
        head = self._rewrite_head() if self._offered is not None else b""
        self._parser = self._create_parser()
        if head:
            self._parser.feed_data(head)
        return rest

    def _rewrite_head(self) -> bytes:
        """Return the head of the current request without its offer of another protocol."""
        lines = [f"{name}: {value}\r\n" for name, value in self._headers if name.lower() != "upgrade"]
        first = b"%b %b HTTP/%b\r\n" % (self._parser.get_method(), self._url, self._parser.get_http_version().encode())
        return first + "".join(lines).encode("latin-1") + b"\r\n"

    def _create_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(
            lenient_chunked_length=True,  # chunks count, as RFC 9112, 6.3 allows
            lenient_version=True,  # a later HTTP/1.x is read as HTTP/1.1 (RFC 9110, 2.5); others are refused here
        )
        return parser

    # httptools calls these.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.state = move(self.state, HEAD)
        self._url = b""
        self._headers = []
        self._head_size = 0

    def on_url(self, url: bytes) -> None:
        """Add to the request's target."""
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Add a header; trailers, which come after the body, are ignored."""
        if self._reader is None:
            self._headers.append((name.decode("latin-1"), value.decode("latin-1") if value else ""))
        self._count_head(len(name) + len(value or b""))

    def on_headers_complete(self) -> None:
        """Check the head and prepare to read the body."""
        self._understood = True
        if self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT":
            self._offered = self._headers
            return
        if self._offered is not None:
            self._headers, self._offered = self._offered, None
        fields = self._fields = join_fields(self._headers)
        self._check_head()
        self.state = move(self.state, BODY)
        self._reader = BodyReader(self._max_upload)
        if (parse_content_length(fields.get("content-length", "")) or 0) > self._max_upload:
            self._reader.refuse()
        if self._begin_passing():
            return  # whoever takes the body says whether it shall come
        if fields.get("expect", "").lower() == "100-continue":
            self._events.append(ContinueExpected())

    def on_body(self, body: bytes) -> None:
        """Add to the body. What exceeds the limit is read and dropped, so that the client gets to read the refusal."""
        self._understood = True
        if self._reader is not None:
            self._reader.feed(body)
        if self._incoming is not None:
            self._incoming.feed(body)

    def on_message_complete(self) -> None:
        """End a request, unless its head has to be read again."""
        if self._offered is None:
            self._add_request(whole=True)
            self.state = move(self.state, IDLE)

    def _count_unread(self, size: int) -> None:
        """Refuse a trailer, or a chunk's extension, that does not end: nothing of it has been reported yet."""
        self._unread = 0 if self._understood or self.state is not BODY else self._unread + size
        self._understood = False
        if self._unread > _HEADERS_LIMIT:
            self._count_head(self._unread)

    def _count_head(self, size: int) -> None:
        """Add to the size of request line and headers, and refuse what is too large."""
        self._head_size += size
        if self._head_size > _HEADERS_LIMIT or len(self._headers) > _HEADER_COUNT_LIMIT:
            raise _BadRequestError(
                f"Request line and headers have more than {_HEADERS_LIMIT} bytes, or {_HEADER_COUNT_LIMIT} headers.",
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            )

    def _check_head(self) -> None:
        version = self._parser.get_http_version()
        if not version.startswith("1."):
            raise _NotHttpError
        self._modern = version != "1.0"
        if self._modern and "host" not in self._fields:
            raise _BadRequestError("The request has no Host header (RFC 9112, 3.2).")
        if not self._url.startswith(b"/") and b"@" in self._url.partition(b"://")[2].partition(b"/")[0]:
            raise _BadRequestError("The request's target names a user (RFC 9110, 4.2.4).")

    def _begin_passing(self) -> bool:
        """Add a request whose body is passed on while it comes, if somebody wants that; tell whether it was added."""
        if (
            not {"content-length", "transfer-encoding"} & self._fields.keys()
            or self._fields.get("content-length") == "0"
        ):
            return False
        request = self._make_request(EMPTY, "")
        if not self._wants_body_later(request):
            return False
        self._incoming = request.incoming = Incoming()
        keep_alive = self._modern and self._parser.should_keep_alive()
        self._events.append(ParsedRequest(request, keep_alive, self._modern))
        return True

    def _make_request(self, body: Blob, body_error: BodyError) -> Request:
        path, query = _split_target(self._url)
        return Request(
            self._parser.get_method().decode("ascii"),
            path,
            query,
            PlainHeaders(self._headers),
            body,
            body_error,
            self.peer,
            self._capabilities,
            self._fields,
            target=self._url.decode("latin-1"),
        )

    def _add_request(self, *, whole: bool) -> None:
        """Add a request to the events; `whole` unless it broke off in its body."""
        assert self._reader is not None
        body, body_error = self._reader.finish(whole=whole)
        self._reader = None
        if self._incoming is not None:
            incoming, self._incoming = self._incoming, None
            incoming.finish(body, body_error, whole=whole)
            return
        keep_alive = whole and self._modern and self._parser.should_keep_alive()
        self._events.append(ParsedRequest(self._make_request(body, body_error), keep_alive, self._modern))

    def _refuse(self, error: Exception) -> None:
        """Add the refusal to the events; a request whose body cannot be read gets the API's own refusal instead.

        Raise what is a mistake of ours: httptools wraps every exception of its callbacks.
        """
        cause = error if isinstance(error, _BadRequestError) else error.__context__
        if cause is not None and not isinstance(cause, _BadRequestError):
            raise cause
        if self._reader is not None and (cause is None or self._incoming is not None):
            self._add_request(whole=False)
        else:
            self._events.append(self._describe_refusal(cause or _NotHttpError()))
        self.state = move(self.state, REFUSED)

    def _describe_refusal(self, error: _BadRequestError) -> Refusal:
        foreign = next((said for begin, said in _FOREIGN.items() if self._first.startswith(begin)), "")
        if foreign:
            error = _BadRequestError(f"Your client {foreign}.")
        return Refusal(error.reply, bool(self._url), foreign)


def _split_target(url: bytes) -> tuple[str, str]:
    """Return path, percent-decoded, and query of a request's target (RFC 9112, 3.2)."""
    if not url.startswith(b"/"):  # http://host/path
        _, scheme, rest = url.partition(b"://")
        url = b"/" + rest.partition(b"/")[2] if scheme else url
    path, _, query = url.partition(b"?")
    text = path.decode("latin-1")
    if not text.isascii() or "%" in text:
        text = unquote(path.decode("utf-8", "replace"))
    return text, query.decode("latin-1")
