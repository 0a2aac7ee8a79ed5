"""Reads an exchange in the format of our own recorder: a JSON file with `request` and `response`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flowcontract.recordings.exchange import Recorded, RecordedAnswer
from flowcontract.recordings.har import decode_base64, encode_utf8, split_url
from flowcontract.recordings.untrusted import Unreadable, Untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.recordings.beside import Beside


def read_exchange(whole: Untrusted, beside: Beside, name: str) -> Recorded:
    """Return the exchange of a file; raise Unreadable if it does not have this format."""
    request, response = whole["request"], whole["response"]
    method, url = request["method"].text().upper(), request["path"].text()
    path, query = split_url(url)
    answer = RecordedAnswer(response["status"].number(), dict(_read_headers(response)), _read_body(response, beside))
    return Recorded(
        1,
        method,
        url,
        path,
        query,
        _dump_json(request["body"]) if request["body"] else None,
        lambda: answer,
        request["app"].text() if request["app"] else "",
        name,
    )


def _read_headers(response: Untrusted) -> Iterator[tuple[str, str]]:
    for pair in response["headers"].items():
        name, value, *_ = [*pair.items(), Untrusted(None, pair.place), Untrusted(None, pair.place)]
        yield name.text().lower(), value.text()


def _read_body(response: Untrusted, beside: Beside) -> bytes:
    """Return a recorded body, which is in a separate file, raw text, Base64, or JSON."""
    if response["sse_file"]:
        return beside.read(response["sse_file"].text())
    if response["body_base64"]:
        return decode_base64(response["body_base64"].text())
    raw = response["body_bytes_raw"]
    if raw and len(encode_utf8(raw.text())) == response["body_len"].value:  # long ones are truncated
        return encode_utf8(raw.text())
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
