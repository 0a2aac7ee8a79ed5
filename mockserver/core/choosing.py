"""Select: which scenario answers, with which faults, and why this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowcontract.scenarios.streaming import asks_for_stream
from mockserver import faults
from mockserver.core.validation import make_view_as_sent
from mockserver.request.refusals import Refusal, find_scenario_key
from mockserver.scenarios import selection

if TYPE_CHECKING:
    from flowcontract.scenarios import Scenario
    from flowcontract.scenarios.expressions import RequestView
    from flowcontract.specs.model import Api, Operation
    from mockserver.config.apps import Table
    from mockserver.core.content import Content
    from mockserver.core.validation import Routed, Validated
    from mockserver.http.messages import Reply
    from mockserver.request.preferences import ScenarioPreference
    from mockserver.state.worlds import World


class Visit(NamedTuple):
    """A request in the world that its key opens.

    ``operation``  what answers; where the path leads to none, one that refuses as all of its API do
    ``app``        the app that the key opens, which may be one of another API
    ``now``        the world's clock, epoch seconds
    """

    routed: Routed
    api: Api
    operation: Operation
    world: World
    app: Table
    content: Content
    now: int


class Selection(NamedTuple):
    """The scenario that answers, and who chose it.

    ``by``           as the journal tells it: prefer, user, override, request, app, default, problem or fault
    ``because``      more of that: what was preferred, or what is wrong
    ``faults``       that were asked for, and those of the scenario
    ``refusal``      what is wrong with the request: then nothing is acted upon
    ``gateway``      what a gateway answers in place of the API, and of the scenario
    ``retry_after``  seconds to wait, of a request that is one too many
    ``view``         what the scenario sees of the request, where that is not what validation made of it
    """

    scenario: Scenario
    by: str
    because: str | None = None
    faults: tuple[faults.Chosen, ...] = ()
    refusal: Refusal | None = None
    gateway: Reply | None = None
    retry_after: int | None = None
    view: RequestView | None = None

    @property
    def is_acted_upon(self) -> bool:
        """Whether the request is acted upon: nothing is wrong with it, and nobody keeps it from the API."""
        return self.refusal is None and self.by != "fault" and not self.scenario.verbatim

    @property
    def is_preferred(self) -> bool:
        """Whether somebody asked for it."""
        return self.by in ("prefer", "user", "override")

    @property
    def refuses(self) -> bool:
        """Whether it says what is wrong, or that there were too many requests: no stream that faults could change."""
        return self.by == "problem" or self.because == "rate-limit"


def select_preferred(visit: Visit, validated: Validated, preference: ScenarioPreference) -> Selection:
    """Select what was asked for, whatever is wrong with the request; raise NoScenario where there is no such thing."""
    refusal, streaming = validated.refusal, asks_for_stream(visit.operation, validated.view)
    is_certain = refusal is None or preference.by == "prefer"
    scenario = selection.find_preferred(
        visit.content.scenarios, visit.operation, preference, streaming=streaming if is_certain else None
    )
    return Selection(scenario, preference.by, str(preference), refusal=refusal)


def select_verbatim(visit: Visit, validated: Validated) -> Selection | None:
    """Select the verbatim scenario that a request matches as it was sent, whatever is wrong with it; None for none."""
    scenarios = visit.content.scenarios
    if not scenarios.has_verbatim(visit.operation):
        return None
    view = make_view_as_sent(visit.routed, validated, visit.operation)
    scenario = scenarios.find_verbatim(visit.operation, view, may=visit.world.usage.allows)
    return Selection(scenario, "request", view=view) if scenario else None


def select_refusal(visit: Visit, validated: Validated, refusal: Refusal) -> Selection:
    """Select the scenario that the contract has for what is wrong."""
    operation, words = visit.operation, refusal.words
    known = visit.content.scenarios.read_scenarios(operation)
    if asks_for_stream(operation, validated.view):
        words = (*(f"{word}-streaming" for word in words), *words)
    status, _, name = find_scenario_key(operation.refusals, words, known, api=operation.api).partition("-")
    scenario = visit.content.scenarios.find(operation, int(status), name)
    return Selection(scenario, "problem", refusal.words[0], refusal=refusal)


def select_matching(visit: Visit, validated: Validated) -> Selection:
    """Select for a request that nothing is wrong with: the scenario that it matches, its app's, or the default."""
    scenario, by = selection.choose(
        visit.content.scenarios,
        visit.operation,
        validated.view,
        visit.app["scenarios"],
        visit.world.usage,
        streaming=asks_for_stream(visit.operation, validated.view),
    )
    return Selection(scenario, by)


def select_variant(visit: Visit, validated: Validated, chosen: Selection, name: str) -> Scenario:
    """Return the scenario that a behaviour wants in place of a default one, of the kind that was asked for."""
    if not name or chosen.by not in ("default", "app"):
        return chosen.scenario
    streaming = asks_for_stream(visit.operation, validated.view)
    return visit.content.scenarios.find(visit.operation, None, f"{name}-streaming" if streaming else name)


def add_faults(visit: Visit, chosen: Selection, asked: tuple[faults.Chosen, ...]) -> Selection:
    """Return a selection with its faults: those asked for and the scenario's; where one lets nobody in, what refuses.

    A rate limit counts the request in the world. Raise FaultError where the contract has no refusal for it.
    """
    scenario, combined = chosen.scenario, asked
    if scenario.faults:
        combined = faults.sort_faults((*asked, *faults.parse(scenario.faults)))
    if not combined:
        return chosen
    if gateway := faults.find_gateway_reply(combined):
        return chosen._replace(by="fault", because="status", faults=combined, gateway=gateway)
    wait = faults.find_retry_after_s(combined, visit.world, visit.operation.name, visit.now)
    if wait is None:
        return chosen._replace(faults=combined)
    refusing = faults.find_rate_limit_scenario(visit.content.scenarios, visit.operation)
    return Selection(refusing, "fault", "rate-limit", combined, retry_after=wait)
