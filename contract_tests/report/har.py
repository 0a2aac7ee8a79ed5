"""Records every exchange of a run as HAR 1.2 (https://w3c.github.io/web-performance/specs/HAR/Overview.html).

Exchanges are appended to a file of JSON lines during the run, so that they need no memory and survive an interrupt.
Custom fields, whose names begin with `_` as the format requires:

``_test``     the test that sent the request
``_pieces``   of an answer: when its pieces arrived (`at_ms`, after the request), and their lengths (`bytes`)
``_trouble``  why there is no answer, or why it broke off
``_cut``      of `postData`: true if it is only the beginning; `_encoding` says what `encoding` does, which HAR has not
"""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from contract_tests.report.document import truncate
from flowcontract.output.secret_names import is_secret_name
from flowcontract.output.secret_texts import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from contract_tests.http.exchange import Answer, ReceivedBody, SentRequest
    from flowcontract.output.secrets import Secrets

_LONGEST = 256 * 1024  # bytes of a request's body
_MARGIN = 2048  # bytes, more than any key has, however it is encoded


class Recorder:
    """Records the exchanges of one process in a file."""

    def __init__(self, path: Path, secrets: Secrets) -> None:
        """Create an empty file; raise OSError where that fails."""
        self.test = ""  # the current test
        self._secrets = secrets
        # Unbuffered, with a reentrant lock: while an exchange is written, garbage collection may end another one, which
        # is then recorded. Schemathesis sends from threads of its own.
        self._file = path.open("wb", buffering=0)
        self._lock = threading.RLock()

    def record(self, sent: SentRequest, answer: Answer | None, received: ReceivedBody, trouble: str = "") -> None:
        """Append an exchange that has just ended."""
        elapsed_s = answer.elapsed_s if answer else 0.0
        began = datetime.fromtimestamp(datetime.now(UTC).timestamp() - elapsed_s, UTC)
        waited_s = min(received.pieces[0][0], elapsed_s) if received.pieces else elapsed_s
        entry = {
            "startedDateTime": began.isoformat(timespec="milliseconds"),
            "time": _to_ms(elapsed_s),
            "request": self._to_request(sent),
            "response": self._to_response(answer, received),
            "cache": {},
            "timings": {"send": 0, "wait": _to_ms(waited_s), "receive": _to_ms(elapsed_s - waited_s)},
            "_test": self._mask(self.test),
            **({"_trouble": self._mask(trouble)} if trouble else {}),
        }
        line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            self._file.write(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _mask(self, text: str) -> str:
        return truncate(self._secrets.mask(text))

    def _to_request(self, sent: SentRequest) -> dict[str, Any]:
        content_type = next((value for name, value in sent.headers if name.lower() == "content-type"), "")
        query = parse_qsl(urlsplit(sent.url).query, keep_blank_values=True)
        posted = {"postData": {"mimeType": content_type, **self._to_posted(sent.body)}} if sent.body else {}
        return {
            "method": sent.method,
            "url": self._mask(sent.url),
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": self._to_pairs(sent.headers),
            "queryString": self._to_pairs(query),
            **posted,
            "headersSize": -1,
            "bodySize": len(sent.body),
        }

    def _to_posted(self, body: bytes) -> dict[str, Any]:
        """Return the body of a request in HAR's form, which has no place for one that is no text, or is cut."""
        content: dict[str, Any] = self._to_content(body[:_LONGEST], len(body))
        if "encoding" in content:
            content["_encoding"] = content["encoding"]
        return {**content, "_cut": True} if len(body) > _LONGEST else content

    def _to_response(self, answer: Answer | None, received: ReceivedBody) -> dict[str, Any]:
        status = answer.status if answer else 0
        headers = answer.headers if answer else {}
        content = {"size": received.size, "mimeType": self._mask(headers.get("content-type", ""))}
        return {
            "status": status,
            "statusText": HTTPStatus(status).phrase if status in set(HTTPStatus) else "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": self._to_pairs(headers.items()),
            "content": {**content, **self._to_content(bytes(received.beginning), received.size)},
            "redirectURL": self._mask(headers.get("location", "")),
            "headersSize": -1,
            "bodySize": received.size if answer else -1,
            "_pieces": [{"at_ms": _to_ms(at_s), "bytes": size} for at_s, size in received.pieces],
        }

    def _to_pairs(self, pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
        return [
            {"name": self._mask(name), "value": MASK if is_secret_name(name) else self._mask(value)}
            for name, value in pairs
        ]

    def _to_content(self, beginning: bytes, size: int) -> dict[str, str]:
        """Return a body of `size` bytes, or the beginning of it, in HAR's form: as text, or in base64."""
        kept, cut = self._secrets.mask_bytes(beginning), {}
        if len(beginning) < size:
            kept, cut = (
                kept[:-_MARGIN],
                {"comment": f"the beginning of {size} bytes"},
            )  # a key that is cut in two would not be found
        try:
            return {"text": kept.decode("utf-8", "ignore" if cut else "strict"), **cut}
        except UnicodeDecodeError:
            return {"text": base64.b64encode(kept).decode(), "encoding": "base64", **cut}


def _to_ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def merge_har(recorded: Iterable[Path], version: str) -> Iterator[str]:
    """Yield the text of a HAR file, merged from the files of recorders."""
    creator = json.dumps({"name": "flowcontract contract-tests", "version": version})
    yield f'{{"log": {{"version": "1.2", "creator": {creator}, "entries": [\n'
    before = ""
    for path in recorded:
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # the last one may be incomplete
                    yield before + line.decode().rstrip("\n")
                    before = ",\n"
    yield "\n]}}\n"
