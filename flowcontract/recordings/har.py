"""Reads one entry of a HAR file (1.2), with the peculiarities of browsers and proxies.

The body of an answer is in `content.text`, plain or as Base64 (all recorders); in `_eventSourceMessages` of the entry
(Chrome, Cypress); or in `content._file`, a separate file (Playwright with `content: "attach"`). Chromium omits streams
that the page did not read as such; Playwright then writes `size: -1`, mitmproxy an empty text. An empty body is one
where our own tools wrote it, who name its pieces: none.

HAR has no place for the body of a request that is no text. Some tools write Base64 and say so in `postData._encoding`,
some in `postData.encoding`; Playwright writes a separate file, `postData._file`.

The format: http://www.softwareishard.com/blog/har-12-spec/
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from flowcontract.recordings.coding import undo_codings
from flowcontract.recordings.exchange import Recorded, RecordedAnswer, RecordedPiece
from flowcontract.recordings.untrusted import Unreadable
from flowcontract.streams.sse import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.recordings.beside import Beside
    from flowcontract.recordings.untrusted import Untrusted

_WITHOUT_BODY: Final = (204, 205)
_FROM_CACHE: Final = 304
_UNKNOWN_TYPE: Final = "x-unknown"  # Chrome's
_LONGEST_MS: Final = 1e15  # of epoch milliseconds, too
_ABORTED: Final = ("abort", "cancel")  # net::ERR_ABORTED, NS_BINDING_ABORTED, "canceled": by the client
_HOW = "Record with curl -sN, or with Playwright's recordHar: {content: 'attach'}"


def read_entry(number: int, entry: Untrusted, beside: Beside) -> Recorded:
    """Return the exchange of an entry; raise Unreadable if its request cannot be read."""
    request = entry["request"]
    method, url = request["method"].as_text().upper(), request["url"].as_text()
    path, query = split_url(url)
    return Recorded(
        number,
        method,
        url,
        path,
        query,
        _read_request_body(request, beside),
        lambda: _read_answer(entry, method, beside),
        _read_optional_text(entry["_app"]),
        _read_optional_text(entry["comment"]) or _read_optional_text(entry["_test"]),
        dict(_read_headers(request)),
        read_moment(_read_optional_text(entry["startedDateTime"])),
    )


def read_moment(text: str) -> float | None:
    """Return the epoch seconds of an ISO 8601 or HTTP date; None if it is neither."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(text).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def split_url(url: str) -> tuple[str, Mapping[str, tuple[str, ...]]]:
    """Return the path and the query of a URL; raise Unreadable if it is invalid."""
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True)
    except ValueError as error:
        raise Unreadable(f"request/url is unusable: {error}: {url[:200]!r}") from None
    return parts.path, {name: tuple(values) for name, values in query.items()}


def _read_optional_text(found: Untrusted) -> str:
    """Return an optional text; anything else counts as absent."""
    return found.value if isinstance(found.value, str) else ""


def _read_request_body(request: Untrusted, beside: Beside) -> bytes | None:
    """Return the request's body; None if it was not recorded, or cannot be read."""
    try:
        data = request["postData"]
        if not data:
            return None
        if data["_cut"]:
            return None
        if text := _read_optional_text(data["text"]):
            return decode_base64(text) if _is_base64(data) else encode_utf8(text)
        return beside.read(data["_file"].as_text())
    except Unreadable:
        return None


def _is_base64(data: Untrusted) -> bool:
    named = (_read_optional_text(data[field]) for field in ("encoding", "_encoding"))
    return any(coding.strip().lower() == "base64" for coding in named)


def _read_answer(entry: Untrusted, method: str, beside: Beside) -> RecordedAnswer:
    response = entry["response"]
    status, failure = response["status"].as_number(), _read_failure(entry, response)
    if status <= 0:
        raise Unreadable(f"no answer was recorded (status {status}{failure and f': {failure}'})")
    if status == _FROM_CACHE:
        raise Unreadable("the browser had the answer in its cache (status 304)")
    headers = dict(_read_headers(response))
    content = response["content"]
    kind = _read_optional_text(content["mimeType"]) if content else ""
    if kind not in ("", _UNKNOWN_TYPE):
        headers.setdefault("content-type", kind)
    body, notes = _read_body(entry, content, headers, empty=_is_empty(status, method, headers), beside=beside)
    left = failure if any(word in failure.lower() for word in _ABORTED) else ""
    if content and content["_partial"].value is True:
        if not body:
            raise Unreadable("its body was not recorded: the recorder left it out")
        left = left or "the recorder left it out"
    pieces = tuple(_read_pieces(entry, body))
    told_ms = read_number(entry["timings"]["wait"]) if entry["timings"] else 0.0  # until the head of the answer
    wait_ms = min([told_ms, *(piece.at_ms for piece in pieces[:1])]) if told_ms or not pieces else pieces[0].at_ms
    cut = "" if left else failure or _read_optional_text(entry["_trouble"])
    rewritten = bool(content) and content["_rewritten"].value is True
    return RecordedAnswer(status, headers, body, notes, left, cut, wait_ms, pieces, rewritten=rewritten)


def read_number(found: Untrusted) -> float:
    """Return an optional number that is not negative; anything else counts as 0."""
    value = found.value
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < _LONGEST_MS:
        return 0.0
    return float(value)


def _read_pieces(entry: Untrusted, body: bytes) -> Iterator[RecordedPiece]:
    """Yield the pieces of a body, as our own tools or Chrome tell them; none where they do not add up to it."""
    if messages := entry["_eventSourceMessages"]:
        times = [read_number(message["time"]) * 1000 for message in messages.as_items()]
        sizes = [len(_rebuild_block(message)) for message in messages.as_items()]
        began = read_moment(_read_optional_text(entry["startedDateTime"]))
        if began is not None and all(times) and sum(sizes) == len(body):
            yield from (RecordedPiece(max(0.0, at - began * 1000), size) for at, size in zip(times, sizes, strict=True))
    elif entry["response"]["content"] and (pieces := entry["response"]["content"]["_pieces"]):  # our proxy's
        yield from add_up([(read_number(each["at"]), _measure(each)) for each in pieces.as_items()], body)
    elif pieces := entry["response"]["_pieces"]:  # our suite's
        yield from add_up([(read_number(each["at_ms"]), each["bytes"].as_number()) for each in pieces.as_items()], body)


def _measure(piece: Untrusted) -> int:
    """Return the number of bytes of a piece that was recorded with its content."""
    text, packed = piece["text"], piece["base64"]
    return len(encode_utf8(text.as_text())) if text else len(decode_base64(packed.as_text()))


def add_up(pieces: list[tuple[float, int]], body: bytes) -> Iterator[RecordedPiece]:
    """Yield pieces by time and size, those beyond the end of a body left out; none where they are less than it."""
    if any(size < 0 for _, size in pieces) or sum(size for _, size in pieces) < len(body):
        return
    left = len(body)
    for at_ms, size in pieces:
        if left and size:
            yield RecordedPiece(at_ms, min(size, left))
            left -= min(size, left)


def _read_failure(entry: Untrusted, response: Untrusted) -> str:
    """Return the recorder's message about a failed exchange."""
    places = (response["_failureText"], response["_error"], entry["_failureText"], entry["_error"])
    return next((word for word in map(_read_optional_text, places) if word), "")


def _read_headers(response: Untrusted) -> Iterator[tuple[str, str]]:
    if response["headers"]:
        for header in response["headers"].as_items():
            yield header["name"].as_text().lower(), header["value"].as_text()


def _is_empty(status: int, method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether status, method or headers say that there is no body."""
    return status in _WITHOUT_BODY or method == "HEAD" or headers.get("content-length", "").strip() == "0"


def _read_body(
    entry: Untrusted, content: Untrusted, headers: Mapping[str, str], *, empty: bool, beside: Beside
) -> tuple[bytes, tuple[str, ...]]:
    """Return a body, and remarks on how it was recorded."""
    text = content["text"].as_text() if content and content["text"] else None
    if text:
        body = _decode_text(text, content, headers)
        return body, tuple(_note_truncation(content, body))
    if stream := b"".join(_rebuild_blocks(entry["_eventSourceMessages"])):
        note = "rebuilt from `_eventSourceMessages`, which has no comments and no blocks without data"
        return stream, (note,)
    if content and content["_file"]:
        return undo_codings(beside.read(content["_file"].as_text()), headers.get("content-encoding", "")), ()
    if empty or (text == "" and (not content["size"] or _has_no_pieces(entry["response"]))):
        return b"", ()
    doubt = "" if text is None else ", or nothing came"
    raise Unreadable(f"its body was not recorded{doubt}. {_HOW}")


def _has_no_pieces(response: Untrusted) -> bool:
    """Tell whether one of our own tools says that no piece of a body came."""
    return any(found["_pieces"].value == [] for found in (response, response["content"]))


def _decode_text(text: str, content: Untrusted, headers: Mapping[str, str]) -> bytes:
    encoding = content["encoding"].as_text().lower() if content["encoding"] else ""
    if encoding in ("", "utf-8", "utf8"):
        return encode_utf8(text)
    if encoding != "base64":
        raise Unreadable(f"response/content/encoding is {encoding!r}, but should be base64 or absent")
    return undo_codings(decode_base64(text), headers.get("content-encoding", ""))


def _note_truncation(content: Untrusted, body: bytes) -> Iterator[str]:
    """Yield a remark if the body was truncated: Firefox keeps one megabyte."""
    size = content["size"].value
    if isinstance(size, int) and size > len(body):
        yield f"the recording has {len(body)} bytes of a body of {size}: it may have been cut off"


def _rebuild_blocks(messages: Untrusted) -> Iterator[bytes]:
    if messages:
        yield from map(_rebuild_block, messages.as_items())


def _rebuild_block(message: Untrusted) -> bytes:
    """Encode a message as the server may have sent it; `data` first, as in the documents."""
    data = message["data"].as_text().encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    named = message["eventName"].as_text() if message["eventName"] else ""
    if named in ("", "message"):
        return encode(data)
    if not named.isprintable():
        raise Unreadable(f"{message.place}/eventName is {named[:60]!r}, which no stream can contain")
    return encode(data)[:-1] + encode(event=named)


def encode_utf8(text: str) -> bytes:
    """Encode a text as UTF-8; lone surrogates become invalid bytes, which the judge of the body reports."""
    return text.encode("utf-8", "surrogatepass")


def decode_base64(text: str) -> bytes:
    """Decode a Base64 text; raise Unreadable if it is invalid."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable(f"its body is said to be Base64, and is none: {text[:60]!r}") from None
