"""A request's body -> JSON or form fields; whatever cannot be read is refused by its word in `x-refusals`."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl, unquote

from multipart import MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.http import parse_options_header

from flowcontract.schemas import decoding
from flowcontract.schemas import media_types as media
from flowcontract.schemas.decoding import ABSENT
from flowcontract.schemas.media_types import JSON
from flowcontract.validation import pydantic_words
from mockserver.blobs.blob import Blob, BlobWriter
from mockserver.caching import memoize
from mockserver.request.http_conventions import DEFAULT
from mockserver.request.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.specs.model import Operation
    from mockserver.http.messages import Request
    from mockserver.request.http_conventions import Manners

JSON_LIMIT = 16 << 20
"""Bytes of a JSON or urlencoded body; files come as multipart, whose limit is the server's option."""
_FIELD_LIMIT = 4 << 20
_PART_LIMIT = 1000
_HEAD_LIMIT = 128 << 10  # bytes of a line in a part's head
_HEAD_LINES = 100  # of a part
_AT_ONCE = 1 << 20
_TOLD = 1000  # bytes of a body that are said again
_UNKNOWN = "application/octet-stream"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Upload:
    """A part of a form that is a file: its name and its type as the client gave them, '' for none, and its bytes."""

    filename: str
    content_type: str
    blob: Blob

    def describe(self) -> dict[str, Any]:
        """Return what validation and scenarios see of it."""
        return {"filename": self.filename, "content_type": self.content_type, "size": self.blob.size}

    def is_of(self, wanted: str) -> bool:
        """Tell whether its type, or its name where the client knew no type, fits a list like `image/*, audio/wav`."""
        return media.fits_media_types(self.content_type or media.UNKNOWN_FILE, self.filename, wanted)


@dataclass(frozen=True, slots=True)
class Body:
    """A body that was read. `value` is parsed JSON or a mapping of form fields, ABSENT without a body."""

    media_type: str
    value: Any
    uploads: dict[str, list[Upload]]


def read_body(request: Request, operation: Operation, manners: Manners = DEFAULT) -> Body:
    """Read what an operation wants to have; raise Refusal by `wrong-media-type`, `malformed-body` or `too-large`."""
    content_type = request.fields.get("content-type", "")
    if not content_type and request.body.size and manners.untyped_body == "json":
        content_type = JSON
    if not operation.request:
        return Body("", ABSENT, {})
    if request.body_error == "too large":
        raise Refusal("too-large", "the request is larger than this server accepts")
    if not content_type and not request.body.size:
        return Body("", ABSENT, {})
    media_type, options = parse_options(content_type)
    if media.find_media(operation.request, media_type) is None:
        return _read_another_type(request, operation, media_type, manners)
    if request.body_error:
        _refuse_malformed("the body ended before its announced length")
    if media_type == "multipart/form-data":
        return _read_multipart(request.body, options.get("boundary", ""), media_type, manners)
    if request.body.size > JSON_LIMIT:
        raise Refusal("too-large", f"the body has {request.body.size} bytes, more than {JSON_LIMIT}")
    if media_type == "application/x-www-form-urlencoded":
        return Body(media_type, _unpack_fields(parse_query(request.body.read().decode("latin-1"))), {})
    return Body(media_type, parse_json(request.body.read()) if request.body.size else ABSENT, {})


def read_as_sent(request: Request, operation: Operation, manners: Manners = DEFAULT) -> Any:
    """Read a body as far as possible: JSON or form fields, else the beginning of its text; None where there is none.

    Unlike `read_body` this never refuses; nothing is checked, and values keep the types that they have on the wire.
    """
    try:
        value = read_body(request, operation, manners).value
    except Refusal:
        value = b"".join(itertools.islice(request.body.read_chunks(_TOLD), 1)).decode("utf-8", "replace")
    return None if value is ABSENT or value == "" else value


def _read_another_type(request: Request, operation: Operation, media_type: str, manners: Manners) -> Body:
    """Return no body where servers drop what they cannot read; raise Refusal where they do not."""
    if manners.wrong_body == "dropped":
        return Body("", ABSENT, {})
    text = b"".join(itertools.islice(request.body.read_chunks(_TOLD), 1)).decode("utf-8", "replace")
    raise Refusal(
        "wrong-media-type",
        f"Content-Type {media_type or '(none)'} is not one of {', '.join(operation.request)}",
        entry=pydantic_words.build_no_object_entry(text),
    )


def parse_query(text: str) -> dict[str, list[str]]:
    """Return every value of every name of a query string; raise Refusal by `invalid-request` where it is no UTF-8."""
    values: dict[str, list[str]] = {}
    if not text:
        return values
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_PART_LIMIT)
    except (UnicodeDecodeError, ValueError):
        raise Refusal(
            "invalid-request", "the query is no percent-encoded UTF-8 of at most 1000 fields", location="query"
        ) from None
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def parse_json(raw: bytes) -> Any:
    """Parse JSON that contains nothing but characters; raise Refusal by `malformed-body` otherwise."""
    try:
        value = decoding.parse_json(raw)
    except ValueError as error:
        raise Refusal(
            "malformed-body", f"the body is no JSON: {error}", entry=pydantic_words.build_no_json_entry(error)
        ) from None
    if _SURROGATE.search(raw):
        _refuse_lone_surrogates(value)
    return value


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        _refuse_malformed("a string has half a surrogate pair, which is no character")


def _refuse_malformed(why: str) -> NoReturn:
    raise Refusal("malformed-body", why)


def _unpack_fields(values: dict[str, list[Any]]) -> dict[str, Any]:
    """Return form fields with the single ones unpacked."""
    return {name: items[0] if len(items) == 1 else items for name, items in values.items()}


def _read_multipart(body: Blob, boundary: str, media_type: str, manners: Manners) -> Body:
    if not boundary:
        raise Refusal("malformed-body", "multipart/form-data without a boundary", finer=["missing-boundary"])
    form = _Form(boundary, extended=manners.file_names == "extended")
    try:
        for chunk in body.read_chunks(_AT_ONCE):
            form.feed(chunk)
        form.feed(b"")
    except ValueError as error:
        form.discard()
        error.__traceback__ = None  # its frames hold the error: with them the body would wait for the garbage
        if isinstance(error, ParserLimitReached):
            raise Refusal("too-large", "the form has too many parts, or a head or a text in it is too long") from None
        _refuse_malformed(f"the multipart body cannot be read: {error}")
    only_last = manners.repeated == "last"
    uploads = {name: files[-1:] if only_last else files for name, files in form.uploads.items()}
    values: dict[str, list[Any]] = {**form.texts}
    for name, files in uploads.items():
        values.setdefault(name, []).extend(upload.describe() for upload in files)
    return Body(media_type, _unpack_fields(values), uploads)


def make_parser(boundary: str) -> PushMultipartParser:
    """Return a parser of a form with this boundary, within limits."""
    return PushMultipartParser(
        boundary.encode("latin-1", "replace"),
        max_header_size=_HEAD_LIMIT,
        max_header_count=_HEAD_LINES,
        max_segment_count=_PART_LIMIT,
    )


class _Form:
    """Collects the parts of a multipart body while its bytes arrive."""

    def __init__(self, boundary: str, *, extended: bool = True) -> None:
        self._extended = extended
        self._parser = make_parser(boundary)
        self._part = MultipartSegment([])
        self._name = ""
        self._filename: str | None = None
        self._writer = BlobWriter()
        self.texts: dict[str, list[str]] = {}
        self.uploads: dict[str, list[Upload]] = {}

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes, none after the last; raise ValueError where the form is broken."""
        for event in self._parser.parse(chunk):
            if event is None:
                self._end()
            elif isinstance(event, MultipartSegment):
                self._begin(event)
            else:
                self._writer.write(event)
                self._guard_field()

    def discard(self) -> None:
        """Forget the part that is being read, and the parser's error, whose frames hold the parser."""
        self._writer.discard()
        self._parser.error = None

    def _begin(self, part: MultipartSegment) -> None:
        options = parse_disposition(part["Content-Disposition"], extended=self._extended)
        if not options.get("name"):
            raise ValueError("a part has no name")
        self._part, self._name, self._filename = part, options["name"], options.get("filename")
        self._writer = BlobWriter()

    def _guard_field(self) -> None:
        if self._filename is None and self._writer.size > _FIELD_LIMIT:
            raise ParserLimitReached("a text is too long")

    def _end(self) -> None:
        blob = self._writer.finish()
        if self._filename is None:
            self.texts.setdefault(self._name, []).append(blob.read().decode("utf-8"))
        else:
            content_type = parse_options(self._part.header("Content-Type", ""))[0]
            self.uploads.setdefault(self._name, []).append(Upload(self._filename, content_type, blob))


@memoize(1024)
def parse_options(header: str) -> tuple[str, Mapping[str, str]]:
    """Return a media type, in lower case, and its parameters; clients mostly send the same again."""
    media_type, options = parse_options_header(header)
    return media_type.lower(), options


_PARAMETER = re.compile(r""";\s*([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))""", re.ASCII | re.DOTALL)


def parse_disposition(header: str, *, extended: bool = True) -> dict[str, str]:
    """Return the parameters of a Content-Disposition; `filename*`, where it is read, wins (RFC 6266, 4.3)."""
    options: dict[str, str] = {}
    for key, quoted, token in _PARAMETER.findall(header):
        options[key.lower()] = token or re.sub(r'\\(["\\])', r"\1", quoted).replace("%22", '"')  # paths keep theirs
    name = _decode_extended(options.pop("filename*", ""))
    if extended and name is not None:
        options["filename"] = name
    return options


def _decode_extended(value: str) -> str | None:
    """Return what `UTF-8''%e2%82%ac` stands for (RFC 8187, 3.2), None where it is wrong."""
    charset, _, rest = value.partition("'")
    _, apostrophe, encoded = rest.partition("'")
    if not apostrophe or charset.lower() not in ("utf-8", "iso-8859-1", "us-ascii"):
        return None
    try:
        return unquote(encoded, charset, "strict")
    except UnicodeDecodeError:
        return None
