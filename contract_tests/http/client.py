"""Sends requests and reads answers, piece by piece while they arrive, for no longer than the target allows."""

from __future__ import annotations

import json
import ssl
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import httpx

from contract_tests.http.clock import Clock
from contract_tests.http.exchange import MAX_JSON_BYTES, Answer, Exchange, ReceivedBody, Request, SentRequest, Upload
from contract_tests.http.wire import Decoder, TooMuchError, Wire
from flowcontract.output.secrets import Secrets
from flowcontract.schemas.decoding import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from contract_tests.http.target import ApiTarget, Target
    from contract_tests.http.wire import Body

MAX_BODY_BYTES = 64 * 1024 * 1024  # of an answer, decoded; more is not read
_BROKEN_BYTES = 64 * 1024  # of an answer that did not come to its end: enough to show it
SLACK_BYTES = 1 << 20  # that a downloaded file may have beyond the largest one that was uploaded
CAUSES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ssl.SSLError, OSError)


class Rate:
    """Limits the requests per second of all clients that share it."""

    def __init__(self, per_second: float) -> None:
        self._gap_s = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait until the next request may be sent."""
        if not self._gap_s:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._gap_s
        time.sleep(max(0.0, turn - now))


class Client:
    """Sends requests to one API of the target, also while a stream of another request is open.

    ``on_exchange``  is called at the end of every exchange
    """

    def __init__(self, target: Target, api: ApiTarget, rate: Rate | None = None, clock: Clock | None = None) -> None:
        """Prepare connections; nothing is sent yet."""
        self.target = target
        self.api = api
        self.keys = Secrets(api.keys.values() if api.secret else ())
        self._rate = rate or Rate(target.rate)
        self._largest_upload = 0  # bytes of a form with a file
        self._downloads = {
            (operation.method, operation.path)
            for operation in api.api.operations.values()
            if operation.method == "GET" and "application/octet-stream" in operation.success.media
        }
        self.on_exchange: Callable[[SentRequest, Answer | None, ReceivedBody, str], None] = lambda *_: None
        self._reported: SentRequest | None = None  # the last request that on_exchange was called for
        timeout = httpx.Timeout(target.answer_s, connect=target.connect_s)
        # The environment's proxies and .netrc would add to requests what the suite did not write.
        transport = Wire(clock or Clock())
        self._http = httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False, transport=transport)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def check_reachable(self) -> str:
        """Request the base URL; return why nothing answers, '' if anything answers."""
        sent = self.prepare(Request("GET", "", keys={}))
        try:
            with self.open(sent):
                return ""
        except CAUSES as error:
            return self.fail(sent, error).trouble

    def send(self, request: Request) -> Exchange:
        """Send a request and read its whole answer."""
        return self.exchange(self.prepare(request), self.target.stream_s)

    def exchange(self, sent: SentRequest, limit_s: float, *, read_s: float | None = None) -> Exchange:
        """Send a prepared request and read its whole answer, for no longer than `limit_s` seconds."""
        try:
            with self.open(sent, read_s=read_s) as live:
                body = b"".join(piece for _, piece in live.read_pieces(limit_s))
                return Exchange(sent, live.to_answer(body))
        except CAUSES as error:
            return self.fail(sent, error)

    def fail(self, sent: SentRequest, error: Exception) -> Exchange:
        """Return the exchange of a request that was not answered."""
        trouble = self.target.secrets.mask(f"{type(error).__name__}: {error}".rstrip(": "))
        if sent is not self._reported:
            self.on_exchange(sent, None, ReceivedBody(), trouble)
        return Exchange(sent, None, trouble=trouble)

    @contextmanager
    def open(self, sent: SentRequest, *, read_s: float | None = None) -> Iterator[LiveAnswer]:
        """Send a request and yield its answer once the head has arrived; the body is read inside the block.

        Silence may last `read_s` seconds, by default the target's `answer_s`. Raises one of `CAUSES`.
        """
        self._rate.wait()
        started = time.monotonic()
        content = sent.body if sent.body or sent.method in ("POST", "PUT", "PATCH") else None
        headers = [(name.encode("latin-1"), _encode_header(value)) for name, value in sent.headers]
        request = self._http.build_request(sent.method, sent.url, headers=headers, content=content)
        for name in ("accept-encoding", "user-agent"):  # httpx's own; `curl` must send the same as we did
            request.headers.pop(name, None)
        if read_s:
            request.extensions["timeout"]["read"] = read_s
        response = self._http.send(request, stream=True)
        live = LiveAnswer(response, started, sent.max_bytes)
        try:
            yield live
        finally:
            response.close()
            self._reported = sent
            self.on_exchange(sent, live.to_answer(), live.received, live.trouble)

    def prepare(self, request: Request) -> SentRequest:
        """Return a request as bytes, with credentials."""
        headers = dict(request.headers)
        query: list[tuple[str, str]] = []
        for name, value in request.query.items():
            query += [(name, text) for text in ((value,) if isinstance(value, str) else value)]
        for scheme, key in (request.keys if request.keys is not None else self.find_keys(())).items():
            secured = self.api.api.schemes[scheme]
            if secured.location == "query":
                query.append((secured.parameter, key))
            else:
                headers[secured.parameter] = f"{secured.prefix}{key}"
        content_type, body = encode(request.body, request.media_type)
        if content_type:
            headers.setdefault("Content-Type", content_type)
        path = request.path
        for name, value in request.path_values.items():
            path = path.replace(f"{{{name}}}", quote(value, safe="", errors="surrogatepass"))
        url = self.api.base_url + path + (f"?{urlencode(query, errors='surrogatepass')}" if query else "")
        if content_type.startswith("multipart/"):
            self._largest_upload = max(self._largest_upload, len(body))
        sent = self.create_sent(request.method, url, tuple(headers.items()), body)
        return replace(sent, max_bytes=self._find_max_answer_bytes(request))

    def create_sent(self, method: str, url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> SentRequest:
        """Return a complete request, with the secrets to hide when it is printed."""
        return SentRequest(method, url, headers, body, self.keys, self.target.secrets)

    def _find_max_answer_bytes(self, request: Request) -> int:
        """Return how many bytes an answer may have: a downloaded file is no larger than the largest uploaded one."""
        is_given = any(name in self.api.values for name in list(request.path_values)[-1:])
        if not self._largest_upload or is_given or (request.method, request.path) not in self._downloads:
            return MAX_BODY_BYTES
        return self._largest_upload + SLACK_BYTES

    def find_keys(self, security: tuple[tuple[str, ...], ...]) -> Mapping[str, str]:
        """Return the keys of the first alternative for which the target has all; by default that of any operation."""
        return find_keys(security or tuple((name,) for name in self.api.api.schemes), self.api.keys)


def find_keys(alternatives: tuple[tuple[str, ...], ...], keys: Mapping[str, str]) -> Mapping[str, str]:
    """Return the keys of the first alternative whose schemes all have a key; {} where there is none."""
    for names in alternatives:
        if all(name in keys for name in names):
            return {name: keys[name] for name in names}
    return {}


class LiveAnswer:
    """An answer whose head has arrived and whose body is still arriving."""

    def __init__(self, response: httpx.Response, started: float, max_bytes: int = MAX_BODY_BYTES) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.started = started
        self.trouble = ""
        self.now = time.monotonic()  # when the last piece arrived, or waiting for it ended
        is_json = "json" in self.headers.get("content-type", "").lower()
        self._max_bytes = min(max_bytes, MAX_JSON_BYTES) if is_json else max_bytes
        self.received = ReceivedBody()
        self._response = response

    def read_pieces(self, limit_s: float) -> Iterator[tuple[float, bytes]]:
        """Yield each piece with its time (monotonic) for up to `limit_s`; `trouble` says why the answer broke off."""
        body: Body = self._response.extensions["body"]
        body.deadline = self.started + limit_s
        try:
            decoder = Decoder(self.headers.get("content-encoding", "").strip().lower(), self._max_bytes)
            for raw in self._response.iter_raw():
                now = self.now = time.monotonic()
                for piece in decoder.feed(raw):
                    self.received.add(now - self.started, piece)
                    yield now, piece
                if now > body.deadline:
                    self.trouble = f"no end of the answer within {limit_s:g} s"
                    return
        except TooMuchError as error:
            self.trouble = str(error)
        except CAUSES as error:
            late = isinstance(error, httpx.ReadTimeout) and time.monotonic() >= body.deadline
            self.trouble = f"{type(error).__name__}: {error}".rstrip(": ")
            self.trouble = f"no end of the answer within {limit_s:g} s" if late else self.trouble
        self.now = time.monotonic()

    def to_answer(self, body: bytes = b"") -> Answer:
        """Return the answer with its body, of which one that broke off keeps the beginning."""
        body = body[:_BROKEN_BYTES] if self.trouble else body
        return Answer(self.status, self.headers, body, time.monotonic() - self.started, self.trouble)


def _encode_header(value: str) -> bytes:
    """Return the bytes of a header's value: latin-1 if it fits, else UTF-8."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def encode(body: Any, media_type: str) -> tuple[str, bytes]:
    """Return the Content-Type and the bytes of a body: raw bytes as they stand, a form's fields, or JSON."""
    if body is ABSENT:
        return media_type, b""
    if isinstance(body, bytes):
        return media_type, body
    if media_type == "multipart/form-data":
        return _encode_form(body)
    return media_type or "application/json", json.dumps(body, ensure_ascii=True).encode()


def _encode_form(fields: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return a form by RFC 7578. A field may be text, an Upload, or a list of them; other JSON is sent as its text."""
    boundary = uuid.uuid4().hex
    lines: list[bytes] = []
    for name, value in fields.items():
        for part in value if isinstance(value, list) else [value]:
            lines += [f"--{boundary}".encode(), *_encode_part(name, part)]
    closing = f"--{boundary}--".encode()
    return f"multipart/form-data; boundary={boundary}", b"\r\n".join([*lines, closing, b""])


def _encode_part(name: str, part: Any) -> list[bytes]:
    disposition = f'Content-Disposition: form-data; name="{_escape(name)}"'
    if isinstance(part, Upload):
        head = [f'{disposition}; filename="{_escape(part.filename)}"', f"Content-Type: {part.content_type}"]
        return [*(line.encode() for line in head), b"", part.content]
    text = part if isinstance(part, str) else json.dumps(part)
    return [disposition.encode(), b"", text.encode("utf-8", "surrogatepass")]


def _escape(name: str) -> str:
    """Escape a name as browsers do (WHATWG, multipart/form-data encoding algorithm)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
