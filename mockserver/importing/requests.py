"""A recorded request -> what a scenario's `request` demands, so that it matches this request and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowcontract.output.secret_names import is_secret_name
from flowcontract.output.secret_texts import MASK
from flowcontract.schemas.media_types import JSON, is_upload
from mockserver.blobs.blob import Blob
from mockserver.http.messages import PlainHeaders, Request
from mockserver.request.body import parse_query, read_as_sent, read_body
from mockserver.request.http_conventions import read_manners
from mockserver.request.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.recordings.exchange import Recorded
    from flowcontract.recordings.operations import Asked
    from mockserver.request.http_conventions import Manners

REFUSES_KEYS = (401, 403)
"""Statuses of refused keys. Such requests open no world, and of several APIs on a path the first answers them."""
_HAVE_BODY = ("POST", "PUT", "PATCH")


def describe_request(recorded: Recorded, asked: Asked, status: int) -> dict[str, Any]:
    """Return the `request` of a scenario: body, query, path, files, and headers where they decide.

    Secrets and what was masked are left out; headers are those that the answer depended on: the key where it was
    refused, the media type where the body cannot be read.
    """
    found: dict[str, Any] = {}
    if query := _read_query(recorded, asked):
        found["query"] = query
    if path := {name: value for name, value in asked.path.items() if MASK not in value}:
        found["path"] = path
    body, files, headers = _read_body(recorded, asked)
    if body is not None:
        found["body"] = body
    if files:
        found["files"] = files
    if status in REFUSES_KEYS and recorded.headers:
        headers |= _list_keys(recorded, asked)
    if headers:
        found["headers"] = headers
    return found


def lacks_body(recorded: Recorded) -> bool:
    """Tell whether a request had a body that was not recorded."""
    length = recorded.headers.get("content-length", "")
    said = length not in ("", "0") or "content-type" in recorded.headers
    return recorded.asked is None and recorded.method in _HAVE_BODY and (said or not recorded.headers)


def _read_query(recorded: Recorded, asked: Asked) -> dict[str, Any]:
    keys = {scheme.parameter for scheme in asked.api.schemes.values() if scheme.location == "query"}
    try:
        values = parse_query(urlsplit(recorded.url).query)
    except Refusal:
        return {}
    values = _read_manners(asked).read_query(values)
    texts = {name: texts[0] if len(texts) == 1 else texts for name, texts in values.items()}
    return {
        name: text
        for name, text in texts.items()
        if name not in keys and not is_secret_name(name) and MASK not in str(text)
    }


def _read_body(recorded: Recorded, asked: Asked) -> tuple[Any, dict[str, str], dict[str, Any]]:
    """Return a body without secrets and files, the files' names by field, and the headers that decide how it is read.

    It is read exactly as the mock reads it when it is asked.
    """
    if not recorded.asked:
        return None, {}, {}
    headers = dict(recorded.headers) or {"content-type": JSON}
    request = Request(
        recorded.method, recorded.path, headers=PlainHeaders(list(headers.items())), body=Blob(recorded.asked)
    )
    value = read_as_sent(request, asked.operation, _read_manners(asked))
    decides = {} if _can_read(request, asked) else {"content-type": headers.get("content-type")}
    if str(decides.get("content-type")).startswith("multipart/"):  # its boundary is another one each time
        decides = {}
    files: dict[str, str] = {}
    if isinstance(value, dict):
        files = {name: part["filename"] for name, part in value.items() if is_upload(part)}
        value = {name: part for name, part in value.items() if not _has_upload(part)}
    return _leave_out_masked(value), files, decides


def _read_manners(asked: Asked) -> Manners:
    return read_manners(asked.api.bundle, asked.operation.path)


def _can_read(request: Request, asked: Asked) -> bool:
    try:
        read_body(request, asked.operation, _read_manners(asked))
    except Refusal:
        return False
    return True


def _has_upload(value: Any) -> bool:
    return any(map(is_upload, value if isinstance(value, list) else [value]))


def _leave_out_masked(value: Any) -> Any:
    """Return a value without fields of secrets and masked ones; None where nothing remains that can be compared."""
    if isinstance(value, dict):
        kept = {name: _leave_out_masked(item) for name, item in value.items() if not is_secret_name(name)}
        return {name: item for name, item in kept.items() if item is not None or value[name] is None}
    if isinstance(value, list):
        return value if MASK not in str(value) else None
    return None if isinstance(value, str) and MASK in value else value


def _list_keys(recorded: Recorded, asked: Asked) -> Mapping[str, Any]:
    """Return the headers that carry keys, as they were recorded; null where one did not come."""
    names = {scheme.parameter.lower() for scheme in asked.api.schemes.values() if scheme.location == "header"}
    return {name: recorded.headers.get(name) for name in sorted(names)}
