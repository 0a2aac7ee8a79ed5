"""Sends Schemathesis's requests through the suite's own client, so that its limits, rate and clock hold for them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import BaseAdapter
from schemathesis.engine import context
from urllib3 import HTTPResponse

from contract_tests.http.exchange import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contract_tests.http.client import Client
    from contract_tests.http.exchange import Exchange


_PROBE = "X-Schemathesis-Probe"
_NOT_ASKED = Answer(400, {"content-type": "text/plain"}, b"not asked")
"""The answer to Schemathesis's own probes: what it generates must not depend on the server."""
_CANNOT_BE_SENT = ("LocalProtocolError", "InvalidURL", "UnsupportedProtocol")
_FRAMING = ("Content-Length", "Transfer-Encoding")  # the client's own


class Carrier(BaseAdapter):
    """An adapter of `requests` that sends one request at a time.

    ``wait_s``   how long an answer may be silent
    ``limit_s``  how long it may take in all
    ``trouble``  why the last answer broke off, or did not come; '' if it ended
    ``hung``     whether that was because the time ran out
    """

    def __init__(self, client: Client, on_failure: Callable[[Exchange], None]) -> None:
        """Send through a client; `failed` is called for every request without an answer."""
        super().__init__()
        self.wait_s = self.limit_s = client.target.answer_s
        self.trouble = ""
        self.hung = False
        self._client = client
        self._on_failure = on_failure

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        """Send a request and read its answer; raise ConnectionError where none arrives."""
        if any(name.startswith(_PROBE) for name in request.headers):
            return _build_response(request, _NOT_ASKED)
        body = request.body or b""
        headers = tuple(
            (name, value.decode("latin-1") if isinstance(value, bytes) else value)
            for name, value in request.headers.items()
            if name not in _FRAMING
        )
        content = body if isinstance(body, bytes) else str(body).encode()
        sent = self._client.create_sent(request.method or "GET", request.url or "", headers, content)
        started = time.monotonic()
        exchange = self._client.exchange(sent, self.limit_s, read_s=self.wait_s)
        self.trouble = exchange.answer.trouble if exchange.answer else exchange.trouble
        self.hung = bool(self.trouble) and time.monotonic() - started >= min(self.wait_s, self.limit_s)
        if exchange.answer is None and exchange.trouble.startswith(_CANNOT_BE_SENT):
            raise requests.exceptions.InvalidHeader(exchange.trouble, request=request)
        if exchange.answer is None:
            self._on_failure(exchange)
            raise requests.ConnectionError(exchange.trouble, request=request)
        return _build_response(request, exchange.answer)

    def close(self) -> None:
        """Leave the client open, since others use it too."""


def _build_response(request: requests.PreparedRequest, answer: Answer) -> requests.Response:
    headers = {name: value for name, value in answer.headers.items() if name != "content-encoding"}
    response = requests.Response()
    response.status_code = answer.status
    response.headers.update(headers)
    response.raw = HTTPResponse(BytesIO(answer.body), headers=headers, status=answer.status, preload_content=False)
    response.request = request
    response.url = request.url or ""
    return response


@contextmanager
def carry_requests(client: Client, on_failure: Callable[[Exchange], None]) -> Iterator[Carrier]:
    """Make all sessions of Schemathesis send through a client; there is no setting for that."""
    carrier, make = Carrier(client, on_failure), context.make_session

    def make_session(*arguments: Any, **named: Any) -> requests.Session:
        session = make(*arguments, **named)
        session.trust_env = False
        session.mount("http://", carrier)
        session.mount("https://", carrier)
        return session

    context.make_session = make_session
    try:
        yield carrier
    finally:
        context.make_session = make
