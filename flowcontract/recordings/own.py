"""Reads an exchange in the format of our own recorder: a JSON file with `request` and `response`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flowcontract.recordings.exchange import Recorded, RecordedAnswer
from flowcontract.recordings.har import add_up, decode_base64, encode_utf8, read_moment, read_number, split_url
from flowcontract.recordings.untrusted import Unreadable, Untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.recordings.beside import Beside


def read_exchange(whole: Untrusted, beside: Beside, name: str) -> Recorded:
    """Return the exchange of a file; raise Unreadable if it does not have this format."""
    request, response = whole["request"], whole["response"]
    method, url = request["method"].as_text().upper(), request["path"].as_text()
    path, query = split_url(url)
    status, headers, body = response["status"].as_number(), dict(_read_headers(response)), _read_body(response, beside)
    chunks = [(read_number(each["t"]) * 1000, each["bytes"].as_number()) for each in _list(response["chunks"])]
    pieces = tuple(add_up(chunks, body))
    left, wait_ms = _read_reason(response), read_number(response["ttfb_s"]) * 1000
    answer = RecordedAnswer(status, headers, body, left=left, wait_ms=wait_ms, pieces=pieces)
    sent = _read_request_headers(request["headers"].value)
    asked = _read_request_body(request, sent)
    return Recorded(
        1,
        method,
        url,
        path,
        query,
        asked,
        lambda: answer,
        request["app"].as_text() if request["app"] else "",
        name,
        sent,
        read_moment(headers.get("date", "")),
    )


def _read_request_headers(found: object) -> dict[str, str]:
    """Return the headers of a request; none where they were not recorded as names and texts."""
    pairs = found.items() if isinstance(found, dict) else ()
    return {name.lower(): value for name, value in pairs if isinstance(value, str)}


def _read_reason(response: Untrusted) -> str:
    """Return why the recorder stopped reading; '' if it did not."""
    reason = response["error"].value
    return reason if isinstance(reason, str) else ""


def _list(found: Untrusted) -> Iterator[Untrusted]:
    return found.as_items() if found else iter(())


def _read_request_body(request: Untrusted, headers: dict[str, str]) -> bytes | None:
    """Return the body of a request, which was recorded as JSON, as text, or as the parts of a form."""
    if request["multipart"]:
        return _rebuild_form(request["multipart"], headers)
    body = request["body"] or request["body_raw"]
    if not body:
        return None
    return encode_utf8(body.value) if isinstance(body.value, str) else _dump_json(body)


def _rebuild_form(parts: Untrusted, headers: dict[str, str]) -> bytes:
    """Return a form as a client may have sent it."""
    boundary = headers.get("content-type", "").partition("boundary=")[2].strip('"') or "recorded"
    lines: list[str] = []
    for part in parts.as_items():
        disposition = f'form-data; name="{part["name"].as_text()}"'
        if part["filename"]:
            disposition += f'; filename="{part["filename"].as_text()}"'
        kind = [f"Content-Type: {part['content_type'].as_text()}"] if part["content_type"] else []
        text = part["text"].as_text() if part["text"] else ""
        lines += [f"--{boundary}", f"Content-Disposition: {disposition}", *kind, "", text]
    return encode_utf8("\r\n".join([*lines, f"--{boundary}--", ""]))


def _read_headers(response: Untrusted) -> Iterator[tuple[str, str]]:
    for pair in response["headers"].as_items():
        name, value, *_ = [*pair.as_items(), Untrusted(None, pair.place), Untrusted(None, pair.place)]
        yield name.as_text().lower(), value.as_text()


def _read_body(response: Untrusted, beside: Beside) -> bytes:
    """Return a recorded body, which is in a separate file, raw text, Base64, or JSON."""
    if response["sse_file"]:
        return beside.read(response["sse_file"].as_text())
    if response["body_base64"]:
        return decode_base64(response["body_base64"].as_text())
    raw = response["body_bytes_raw"]
    if raw and len(encode_utf8(raw.as_text())) == response["body_len"].value:  # long ones are truncated
        return encode_utf8(raw.as_text())
    for name in ("body_text", "body"):
        body = response[name].value
        if body is not None:
            return encode_utf8(body) if isinstance(body, str) else _dump_json(response[name])
    return b""


def _dump_json(body: Untrusted) -> bytes:
    """Return a body that was recorded as JSON."""
    try:
        return json.dumps(body.value).encode()
    except RecursionError:
        raise Unreadable(f"{body.place} is nested too deeply") from None
