"""Prefer header, matching scenario, default -> the scenario that answers, or the problem that says why none does."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from werkzeug.datastructures import Headers
from werkzeug.http import parse_list_header, parse_options_header, unquote_header_value

from flowcontract.errors import UnknownNameError
from flowcontract.scenarios import Match
from mockserver.messages import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.expressions import RequestView
    from flowcontract.scenarios import Scenario, ScenarioSet
    from flowcontract.specs import Operation


_STATUS = re.compile(r"[1-5][0-9]{2}")
_KEY = re.compile(r"[1-5][0-9]{2}-")


@dataclass(frozen=True, slots=True)
class Wish:
    """What `Prefer: code=400, example=NAME` (RFC 7240) asks for; one of the two may be absent."""

    code: str | None = None
    example: str | None = None

    def applied(self, scenario: Scenario) -> str:
        """Return the value of `Preference-Applied` for a wish that was granted."""
        asked = {"code": self.code and str(scenario.status), "example": self.example and scenario.name}
        return ", ".join(f"{name}={value}" for name, value in asked.items() if value)


def read_wish(headers: Headers) -> Wish | None:
    """Read all Prefer headers; None where neither a code nor an example is preferred. Other preferences are ignored."""
    wishes: dict[str, str] = {}
    for item in (item for value in headers.getlist("Prefer") for item in parse_list_header(value)):
        preference, parameters = parse_options_header(item)
        name, _, value = preference.partition("=")
        for key, text in ((name, value), *parameters.items()):
            wishes.setdefault(
                key.strip().lower(), unquote_header_value(text.strip())
            )  # RFC 7240, 2: the first one counts
    code, example = wishes.get("code"), wishes.get("example")
    if example and _KEY.match(example):  # `400-not-found`, as `mockserver list` prints it
        code, example = code or example[:3], example[4:]
    return Wish(code, example) if code or example else None


def wants_stream(operation: Operation, view: RequestView) -> bool:
    """Tell whether a request asks for the stream rather than for the whole body, by `x-stream.when`."""
    if operation.stream is None:
        return False
    when = operation.stream.spec.get("when")
    return when is None or not Match(**when).difference(view)


def forced(scenarios: ScenarioSet, operation: Operation, wish: Wish, *, streaming: bool) -> Scenario | Reply:
    """Return the scenario that is preferred, or the 501 that lists what there is."""
    code, example = wish.code, wish.example
    try:
        if code and not _STATUS.fullmatch(code):
            raise UnknownNameError("status", code, {key[:3] for key in scenarios.keys(operation)})  # noqa: TRY301 - one way out
        return scenarios.find(operation, int(code) if code else None, example, streaming=streaming)
    except UnknownNameError as error:
        return problem(
            501,
            "No such scenario",
            str(error),
            operation=operation.name,
            scenarios=list(scenarios.keys(operation)),
        )


def chosen(
    scenarios: ScenarioSet, operation: Operation, view: RequestView, app: Mapping[str, str], *, streaming: bool
) -> Scenario:
    """Return the scenario whose request this one contains, else the app's own, else the default of the kind wanted."""
    matching = scenarios.matching(operation, view, streaming=streaming)
    return matching or default(scenarios, operation, app, streaming=streaming)


def default(
    scenarios: ScenarioSet, operation: Operation, app: Mapping[str, str], *, streaming: bool = False
) -> Scenario:
    """Return what answers where nothing is chosen: what the app has for the operation, else the operation's default."""
    if operation.id in app:
        status, _, name = app[operation.id].partition("-")
        return scenarios.find(operation, int(status), name)
    return scenarios.default(operation, streaming=streaming)


def problem(status: int, title: str, detail: str, **more: object) -> Reply:
    """Return what only the mock has to say (RFC 9457), so that it is never mistaken for the API's own answer."""
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    headers = Headers([("Content-Type", "application/problem+json")])
    return Reply(status, headers, json.dumps(content, ensure_ascii=True).encode())
