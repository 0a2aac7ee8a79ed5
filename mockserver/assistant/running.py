"""Asks a mock that runs, by its `/__mock__`: within bounds, through no proxy, and nowhere that it is sent on to."""

from __future__ import annotations

import json
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from flowcontract.errors import FlowContractError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message
    from typing import IO

_WAIT_S = 10.0
_ANSWER_BYTES = 32 << 20  # a hundred exchanges, of which a mock keeps the first 64 KB of each side
_PIECE = 64 << 10


class RunningMockError(FlowContractError):
    """A mock that cannot be asked, or that refuses; what it says stands in `said`."""

    def __init__(self, problem: str, said: Any = None) -> None:
        super().__init__(problem)
        self.said = said


class RunningMock:
    """A mock at an address."""

    def __init__(self, url: str, token: str = "") -> None:
        """Ask the mock at `url`; with the token of --admin-token, where it has one."""
        self._prefix = f"{url.rstrip('/')}/__mock__"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._opener = build_opener(ProxyHandler({}), _StayHere())

    def ask(self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """Return the JSON that a path under `/__mock__` answers; raise RunningMockError.

        Values of the query that are None or empty are left out.
        """
        wanted = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        url = f"{self._prefix}{path}" + (f"?{urlencode(wanted)}" if wanted else "")
        data = None if body is None else json.dumps(body).encode()
        request = Request(url, data, {**self._headers, "Content-Type": "application/json"}, method=method)  # noqa: S310
        try:
            with self._opener.open(request, timeout=_WAIT_S) as response:
                return self._read(response)
        except HTTPError as refusal:
            with refusal:
                said = self._read(refusal)
            raise RunningMockError(f"The mock refuses with {refusal.code}.", said) from None
        except (URLError, HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            hint = "Start it with `mockserver serve`, or say where it runs with --mock URL."
            raise RunningMockError(f"No mock answers at {self._prefix}: {why}. {hint}") from None

    def _read(self, response: Any) -> Any:
        """Return the JSON of an answer that comes in time and is no larger than an answer of a mock may be."""
        until, found = time.monotonic() + _WAIT_S, bytearray()
        while piece := response.read1(_PIECE):
            found += piece
            if len(found) > _ANSWER_BYTES or time.monotonic() > until:
                raise RunningMockError(f"{self._prefix} says more than a mock does, or too slowly.")
        try:
            return json.loads(found)
        except (ValueError, RecursionError):
            raise RunningMockError(f"What answers at {self._prefix} is no mock: it says no JSON.") from None


class _StayHere(HTTPRedirectHandler):
    """Follows no redirection: the token is for the mock alone."""

    def redirect_request(  # noqa: PLR0913, PLR0917 - urllib's signature
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Leave the answer as it is: an error."""
