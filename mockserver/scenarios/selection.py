"""Preference, matching scenario, default -> the scenario that answers, or the problem that says why none does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowcontract.errors import UnknownNameError
from mockserver.faults import FAULTS
from mockserver.http.failures import make_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowcontract.scenarios import Scenario, ScenarioSet
    from flowcontract.scenarios.expressions import RequestView
    from flowcontract.specs.model import Operation
    from mockserver.faults import FaultError
    from mockserver.http.messages import Reply
    from mockserver.request.preferences import ScenarioPreference
    from mockserver.state.usage import ScenarioUsage


_STATUS = re.compile(r"[1-5][0-9]{2}")


class NoScenario(Exception):  # noqa: N818 - what is answered, not what went wrong
    """Nothing can be served as it was asked for: `reply` says so, and the request changes nothing.

    `hint` says the same in a line: without the list of what there is.
    """

    def __init__(self, reply: Reply, detail: str) -> None:
        super().__init__()
        self.reply = reply
        what, _, there_is = detail.partition(" There is: ")
        _, meant, guess = there_is.rpartition(" Did you mean ")
        self.hint = f"{what}{meant}{guess}" if meant else what


def find_preferred(
    scenarios: ScenarioSet, operation: Operation, preference: ScenarioPreference, *, streaming: bool | None
) -> Scenario:
    """Return the scenario that is preferred; raise NoScenario with the 501 that lists what there is.

    Who sends `Prefer` knows the request that it comes with, and gets what it names. The other preferences have to fit:
    the stream where the request asks for it, else the body (`streaming` is None where a wrong request does not tell).
    """
    try:
        scenario = find(scenarios, operation, preference, streaming=streaming)
    except UnknownNameError as error:
        raise _build_no_scenario(str(error), operation, scenarios.list_keys(operation)) from None
    if preference.by == "prefer" or streaming is None or _fits(operation, scenario, streaming=streaming):
        return scenario
    asked = "the stream" if streaming else "the whole body"
    what = f"{scenario.key} does not answer a request for {asked}. Choose another, or mend the request."
    known = scenarios.read_scenarios(operation).items()
    raise _build_no_scenario(
        what, operation, [key for key, each in known if _fits(operation, each, streaming=streaming)]
    )


def find(
    scenarios: ScenarioSet, operation: Operation, preference: ScenarioPreference, *, streaming: bool | None
) -> Scenario:
    """Return the scenario that is preferred, if possible of the kind that is asked for; raise UnknownNameError."""
    code, example = preference.code, preference.example
    if code and not _STATUS.fullmatch(code):
        raise UnknownNameError("status", code, {key[:3] for key in scenarios.list_keys(operation)})
    if preference.by != "prefer" and example and streaming is not None:
        example = _select_kind(scenarios, operation, preference, streaming=streaming)
    return scenarios.find(operation, int(code) if code else None, example, streaming=bool(streaming))


def _select_kind(
    scenarios: ScenarioSet, operation: Operation, preference: ScenarioPreference, *, streaming: bool
) -> str | None:
    """Return the name of the scenario of the kind asked for: `node-failed-blocking` for a body of `node-failed`."""
    kin = f"{preference.example}-{'streaming' if streaming else 'blocking'}"
    known = (key.partition("-") for key in scenarios.list_keys(operation))
    return (
        kin if any(name == kin and preference.code in (None, code) for code, _, name in known) else preference.example
    )


def _fits(operation: Operation, scenario: Scenario, *, streaming: bool) -> bool:
    can_stream = operation.stream is not None and scenario.status == operation.success.status
    return scenario.reply.streamed == (streaming and can_stream)


def _build_no_scenario(detail: str, operation: Operation, known: Iterable[str]) -> NoScenario:
    reply = make_problem(501, "No such scenario", detail, operation=operation.name, scenarios=list(known))
    return NoScenario(reply, detail)


def choose(  # noqa: PLR0913 - what a choice depends on, each by name
    scenarios: ScenarioSet,
    operation: Operation,
    view: RequestView,
    app: Mapping[str, str],
    usage: ScenarioUsage,
    *,
    streaming: bool,
) -> tuple[Scenario, str]:
    """Return the scenario whose request this one contains, else the app's, else the default; and which it is."""
    matching = scenarios.find_matching(operation, view, streaming=streaming, may=usage.allows)
    if matching is not None:
        return matching, "request"
    scenario = find_default(scenarios, operation, app, streaming=streaming)
    return scenario, "app" if operation.id in app else "default"


def find_default(
    scenarios: ScenarioSet, operation: Operation, app: Mapping[str, str], *, streaming: bool = False
) -> Scenario:
    """Return what answers where nothing is chosen: what the app has for the operation, else the operation's default."""
    if operation.id in app:
        status, _, name = app[operation.id].partition("-")
        return scenarios.find(operation, int(status), name)
    return scenarios.select_default(operation, streaming=streaming)


def make_no_fault(error: FaultError, operation: Operation) -> Reply:
    """Return the 501 for faults that do not exist, do not fit, or cannot be done here."""
    known = [fault.usage for fault in FAULTS.values()]
    return make_problem(501, "No such fault", str(error), operation=operation.name, faults=known)
