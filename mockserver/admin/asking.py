"""What a request to `/__mock__` asks for: the values of its path, its query, its body; or why it cannot be granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from flowcontract.schemas.decoding import parse_json

if TYPE_CHECKING:
    from mockserver.http.messages import Request

_BODY_LIMIT = 1 << 20
_DIGITS = 15
Query = Mapping[str, str]


class AdminRefusal(Exception):  # noqa: N818 - what the client did
    """A request to `/__mock__` that cannot be granted: status, title and detail of the problem that says so."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.title = status, title


class Asked:
    """One request to `/__mock__`: the values of its path, its query, its body."""

    def __init__(self, request: Request, values: Mapping[str, str]) -> None:
        self.values = values
        self.query: Query = dict(parse_qsl(request.query, keep_blank_values=True))
        self.last_event_id = request.headers.get("Last-Event-ID", "")
        self._request = request

    def read_body(self) -> Any:
        """Return the JSON of the body, None without one."""
        body = self._request.body
        if self._request.body_error or body.size > _BODY_LIMIT:
            raise AdminRefusal(400, "No JSON", "The body was cut short, or is too large.")
        try:
            return parse_json(body.read()) if body.size else None
        except ValueError as error:
            raise AdminRefusal(400, "No JSON", f"The body is no JSON: {error}.") from None


def read_override(body: Any) -> tuple[str, str, int | None, Any]:
    """Read what `PUT /__mock__/overrides` is sent: operation, scenario, times, world."""
    wanted = (
        '{"operation": "sendChatMessage", "scenario": "400-provider-quota-exceeded", "times": 1, "world": "app-chat"}'
    )
    if not isinstance(body, dict):
        raise AdminRefusal(400, "No override", f"An override is a JSON object: {wanted}.")
    if unknown := set(body) - {"operation", "scenario", "times", "world"}:
        raise AdminRefusal(400, "No override", f"An override has no {', '.join(sorted(unknown))}. It is: {wanted}.")
    operation, scenario, times = body.get("operation"), body.get("scenario"), body.get("times")
    if not isinstance(operation, str) or not isinstance(scenario, str):
        raise AdminRefusal(400, "No override", f"An override names an operation and a scenario: {wanted}.")
    if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
        raise AdminRefusal(400, "No override", "`times` is how often: a whole number from 1, or null for always.")
    return operation, scenario, times, body.get("world")


def read_number(query: Query, name: str) -> int | None:
    """Return a whole number of the query, None where it is not there; raise AdminRefusal for what is none."""
    text = query.get(name)
    if text is not None and not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise AdminRefusal(400, "No number", f"`{name}` is a whole number, not {text}.")
    return None if text is None else int(text)
