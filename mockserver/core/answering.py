"""Act and render: what the operation does in its world, and the scenario with what it knows, as a reply."""

from __future__ import annotations

from functools import lru_cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcontract.scenarios.expressions import Context
from flowcontract.validation import pydantic_words
from flowcontract.validation.request import build_sample_violation
from mockserver.behaviours import BEHAVIOURS
from mockserver.behaviours.action import Action
from mockserver.core.choosing import select_variant
from mockserver.scenarios.rendering import Playback, replay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.scenarios import Scenario
    from flowcontract.scenarios.expressions import RequestView
    from flowcontract.specs.model import Operation
    from mockserver.config.settings import Settings
    from mockserver.core.choosing import Selection, Visit
    from mockserver.core.validation import Validated
    from mockserver.http.messages import Reply
    from mockserver.request.refusals import Refusal


class Rendered(NamedTuple):
    """A reply, and the scenario that it was rendered from; None where a gateway answers."""

    reply: Reply
    scenario: Scenario | None


def act(visit: Visit, validated: Validated, chosen: Selection, settings: Settings) -> Rendered:
    """Let the operation's behaviour act on the world, and render the scenario with what it knows; raise Refusal.

    A scenario that is none of success changes nothing.
    """
    operation = visit.operation
    context = _make_context(visit, validated.view)
    behaviour = BEHAVIOURS.get(operation.api, {}).get(operation.id)
    if behaviour is None or chosen.scenario.status != operation.success.status:
        return Rendered(_replay(visit, chosen.scenario, context, settings), chosen.scenario)
    scenario = chosen.scenario

    def render_variant(name: str) -> Reply:
        nonlocal scenario
        scenario = select_variant(visit, validated, chosen, name)
        return _replay(visit, scenario, context, settings)

    action = Action(
        operation=operation,
        contract=visit.api.bundle["components"]["schemas"],
        request=validated.values,
        uploads=validated.body.uploads,
        world=visit.world,
        answers=partial(visit.content.default_body, operation.api, visit.routed.route.keyring.suffix),
        context=context,
        now=visit.now,
        seed=settings.seed,
        render=render_variant,
    )
    return Rendered(behaviour(action), scenario)


def is_steady(operation: Operation, scenario: Scenario) -> bool:
    """Tell whether the same request to the same app gets the same answer each time: nothing happens in its world."""
    if operation.id in BEHAVIOURS.get(operation.api, {}):
        return False
    reply = scenario.reply
    return reply.kind == "body" and reply.template.is_steady and reply.header_template.is_steady


def render(visit: Visit, view: RequestView, chosen: Selection, settings: Settings) -> Rendered:
    """Render a scenario that is not acted upon: a refusal, a preferred one for a wrong request, one of a fault."""
    if chosen.gateway is not None:
        return Rendered(chosen.gateway, None)
    reply = _replay(visit, chosen.scenario, _make_context(visit, view, chosen.refusal), settings)
    if chosen.retry_after is not None:
        reply.headers["Retry-After"] = str(chosen.retry_after)
    if chosen.by == "problem" and reply.status == HTTPStatus.METHOD_NOT_ALLOWED:
        reply.headers["Allow"] = ", ".join(visit.routed.route.allowed)
    if chosen.by == "problem" and reply.status == HTTPStatus.UNAUTHORIZED:
        reply.headers.setdefault("WWW-Authenticate", "Bearer")  # RFC 9110, 15.5.2: a 401 names a scheme
    return Rendered(reply, chosen.scenario)


def _make_context(visit: Visit, view: RequestView, refusal: Refusal | None = None) -> Context:
    """Return what expressions of a scenario see. Who needs a seed takes the next one of the world: that is a write."""
    violation = refusal.violation if refusal else _build_sample(visit.operation)
    return Context(request=view, seed=visit.world.derive_reply_seed, now=visit.now, violation=violation, app=visit.app)


def _replay(visit: Visit, scenario: Scenario, context: Context, settings: Settings) -> Reply:
    operation, content = visit.operation, visit.content
    streams = operation.stream is not None and scenario.reply.streamed
    ending = content.scenarios.select_default(operation, streaming=True) if streams else None
    playback = Playback(settings.pace, visit.world.transaction, ending and content.for_release(ending, operation))
    return replay(content.for_release(scenario, operation), operation, context, playback)


@lru_cache(maxsize=1024)
def _build_sample(operation: Operation) -> Mapping[str, Any]:
    return pydantic_words.build_mapping(build_sample_violation(operation))
