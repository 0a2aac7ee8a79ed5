"""A request's whole journey: route, authenticate, validate, select, act, render. Nothing here waits, sends or listens.

Each stage is a function of its own that takes values and returns one (`validation`, `choosing`, `answering`); the
handler puts them in their order, and notes in the journal's entry what each has found.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowcontract.errors import StateUnreachableError
from mockserver import faults
from mockserver.caching import Recent
from mockserver.core.answering import Rendered, act, is_steady, render
from mockserver.core.choosing import (
    Selection,
    Visit,
    add_faults,
    select_matching,
    select_preferred,
    select_refusal,
    select_verbatim,
)
from mockserver.core.passing import Passed
from mockserver.core.validation import Routed, Validated, authenticate, make_view, route, validate
from mockserver.faults import FaultError
from mockserver.http.failures import make_problem
from mockserver.request import credentials, hints
from mockserver.request.http_conventions import redirect, tell_methods
from mockserver.request.refusals import Refusal
from mockserver.scenarios.selection import NoScenario, make_no_fault

if TYPE_CHECKING:
    from flowcontract.scenarios import Scenario
    from mockserver.core.content import Content
    from mockserver.core.mock import Mock
    from mockserver.core.passing import Passing
    from mockserver.http.messages import Head, Reply, Request
    from mockserver.journal.entry import Entry
    from mockserver.request.preferences import ScenarioPreference
    from mockserver.state.worlds import World
    from mockserver.torture.session import Case

Faults = tuple[faults.Chosen, ...]
_RECOGNISED = 512  # requests
_RECOGNISED_BODY = 2 << 10  # bytes
_RECOGNISED_ANSWER = 16 << 10  # bytes
_ATTEMPTS = 5
"""How often a request looks for its world, which another worker may reset between finding and locking it."""


@dataclass(slots=True)
class Settled:
    """What is selected of some content where nothing but the request decides.

    ``reply``  what it is answered with, where nothing else decides that either; never sent itself
    """

    content: Content
    selection: Selection
    reply: Reply | None = None


@dataclass(slots=True)
class Understood:
    """What was understood of a request; one that nothing is wrong with is understood once for the same bytes."""

    validated: Validated
    hints: list[str]
    settled: Settled | None = None


class Handler:
    """Answers requests from the components of a mock. `handle` may be called from several threads."""

    def __init__(self, mock: Mock) -> None:
        """Answer for a mock."""
        self._mock = mock
        self._hints = hints.Hints(mock.apis)
        self._routed: Recent[Head, Routed] = Recent(_RECOGNISED)
        self._understood: Recent[tuple[Head, bytes], Understood] = Recent(_RECOGNISED)

    def handle(self, request: Request, now: float, entry: Entry) -> Reply:
        """Answer a request at `now`, in epoch seconds, and note the reasons; raise StateError as `App.handle` does."""
        passing = self._mock.passing
        request.require_stored()
        routed = self._route(passing.admit(request) if passing else request)
        found = routed.route
        if found.api is None:
            return self._refuse_outside(request, routed, entry)
        passes = passing is not None and passing.covers(request.path)
        if found.moved and not passes:
            return redirect(request, found.moved)
        if request.method == "OPTIONS" and found.allowed and found.manners.options == "allow" and not passes:
            return tell_methods(found.allowed)
        is_known = found.operation is not None and not found.refused
        suffix = found.keyring.suffix if is_known else credentials.NOBODYS
        for _ in range(_ATTEMPTS):
            world = self._mock.worlds.open(found.api.name, suffix)
            entry.world = world.name if is_known else None
            reply = self._answer_in(world, routed, now, entry)
            if reply is not None:
                return reply
        raise StateUnreachableError(f"Other workers reset {found.api.name}{suffix} again and again. Ask again.")

    def _route(self, request: Request) -> Routed:
        """Find where a request leads, once for each head that clients send again and again."""
        head = request.head
        if head is None:
            return route(self._mock.router, request)
        known = self._routed.find(head)
        if known is None:
            known = route(self._mock.router, request)
            self._routed.add(head, known)
        return Routed(request, known.route, known.query, known.query_error, known.preference)

    def _answer_in(self, world: World, routed: Routed, now: float, entry: Entry) -> Reply | None:
        """Answer in a world, all of it or nothing; None where another worker has reset the world meanwhile."""
        try:
            # the transaction ends, and lasts, before anything is sent
            with world.transaction(reading=routed.request.method in ("GET", "HEAD")):
                if world.stale:
                    return None
                visit = self._visit(world, routed, world.tick(now))
                if self._mock.settings.clock is not None:
                    entry.at = visit.now
                return self._answer(visit, entry) if routed.route.operation else self._refuse_path(visit, entry)
        except NoScenario as unserved:  # nothing has happened
            entry.scenario, entry.faults = None, ()
            entry.hints = [*entry.hints, unserved.hint]
            return unserved.reply

    def _visit(self, world: World, routed: Routed, now: int) -> Visit:
        found, content = routed.route, self._mock.content
        assert found.api is not None
        operation = found.operation or content.find_refusing_operation(found.api, found.refused[0])
        app = content.apps.of(*(found.owner or (operation.api, found.keyring.suffix)))
        return Visit(routed, found.api, operation, world, app, content, now)

    def _answer(self, visit: Visit, entry: Entry) -> Reply:
        """Answer a request that leads to an operation."""
        operation, world = visit.operation, visit.world
        entry.operation = operation.name
        passing = self._find_passing(visit)
        if passing is not None and visit.routed.request.incoming is not None:
            return passing.forward(Passed(visit, entry))
        understood = self._validate(visit, entry)
        preference = understood.validated.preference
        if preference is None and not visit.routed.route.refused:
            preference = self._mock.overrides.take(world.name, operation.name, world.transaction.on_discard)
        case = self._mock.torture.find_case(world.name, operation)
        try:
            reply = self._serve(visit, understood, preference, case, entry)
        except FaultError as error:
            if case:
                case.unfit = str(error)
            raise NoScenario(make_no_fault(error, operation), str(error)) from None
        if reply.forward is None:  # else it is noted when the answer comes
            world.usage.note(operation.id, reply.status)
        return reply

    def _find_passing(self, visit: Visit) -> Passing | None:
        """Return what passes requests of an API on, None where the mock answers them itself."""
        passing = self._mock.passing
        return passing if passing is not None and passing.covers(visit.routed.request.path) else None

    def _validate(self, visit: Visit, entry: Entry) -> Understood:
        """Authenticate and validate; note everything that is wrong. What was right once is right in the same bytes."""
        routed, operation = visit.routed, visit.operation
        request, same = routed.request, None
        if request.head is not None and request.body.size <= _RECOGNISED_BODY:
            same = request.head, request.body.read()
            if known := self._understood.find(same):
                entry.hints = known.hints
                return known
        authenticated = authenticate(routed, operation)
        validated = validate(routed, operation, visit.api, authenticated, self._mock.worlds.quota.admit)
        if validated.refusal:
            entry.forbid(validated.values.violations, validated.refusal)
        if validated.body.media_type.startswith("multipart/"):
            self._mock.journal.note_form(entry, validated.body.value)
        entry.hints = self._hints.explain(request, routed.route, validated.refusal, validated.body, routed.query)
        understood = Understood(validated, entry.hints)
        if same is not None and validated.refusal is None and not validated.body.uploads:
            self._understood.add(same, understood)
        return understood

    def _serve(
        self,
        visit: Visit,
        understood: Understood,
        preference: ScenarioPreference | None,
        case: Case | None,
        entry: Entry,
    ) -> Reply:
        """Select, act and render, and let the faults that were asked for change the reply; raise FaultError."""
        text = case.faults if case else preference and preference.fault
        asked = faults.parse(text) if text else ()
        validated = understood.validated
        chosen = self._select(visit, understood, preference, entry)
        passing = self._find_passing(visit)
        if passing is not None and not passing.keeps(chosen):
            chosen = chosen._replace(scenario=_drop_faults(chosen.scenario))
            chosen = _add_faults(visit, chosen, asked, entry)
            if chosen.by != "fault":
                return passing.forward(Passed(visit, entry, validated, asked, preference))
        else:
            chosen = _add_faults(visit, chosen, asked, entry)
        if passing is not None:
            passing.note_kept(entry)
        chosen, rendered = self._act(visit, understood, chosen, asked, entry)
        reply, scenario = rendered
        entry.scenario = scenario.key if scenario else None
        if case:
            case.watch(reply)
        if chosen.faults:
            entry.faults = tuple(map(str, self._apply_faults(visit, chosen, reply, asked, case)))
        if preference is not None and preference.by == "prefer":
            some_left_out = len(entry.faults) < len(chosen.faults)
            applied = ", ".join(entry.faults) if some_left_out else preference.fault or ""
            reply.headers["Preference-Applied"] = preference.describe_applied(scenario, applied)
        return reply

    @staticmethod
    def _select(visit: Visit, understood: Understood, preference: ScenarioPreference | None, entry: Entry) -> Selection:
        validated = understood.validated
        if preference is not None and preference.chooses:
            entry.choose(preference.by, str(preference))  # also where there is no such scenario
            return select_preferred(visit, validated, preference)
        if recorded := select_verbatim(visit, validated):
            return recorded
        if validated.refusal:
            return select_refusal(visit, validated, validated.refusal)
        settled = understood.settled  # another thread may replace it
        if settled is not None and settled.content is visit.content:
            return settled.selection
        selection = select_matching(visit, validated)
        if not visit.content.scenarios.depends_on_usage(visit.operation):
            understood.settled = Settled(visit.content, selection)
        return selection

    def _act(
        self, visit: Visit, understood: Understood, chosen: Selection, asked: Faults, entry: Entry
    ) -> tuple[Selection, Rendered]:
        """Act and render; where the behaviour refuses, select and render what says so."""
        validated, settings = understood.validated, self._mock.settings
        if not chosen.is_acted_upon:
            if chosen.scenario.verbatim and not chosen.is_preferred:
                visit.world.usage.note_served(chosen.scenario)
            return chosen, render(visit, chosen.view or validated.view, chosen, settings)
        try:
            rendered = self._recall(understood, chosen) or act(visit, validated, chosen, settings)
        except Refusal as found:
            refusal = found.drop_traceback()
            entry.forbid((), refusal)
            if chosen.is_preferred:
                chosen = chosen._replace(refusal=refusal)
            else:
                chosen = _add_faults(visit, select_refusal(visit, validated, refusal), asked, entry)
            return chosen, render(visit, validated.view, chosen, settings)
        if not chosen.is_preferred:
            visit.world.usage.note_served(chosen.scenario)
        self._remember(visit, understood, chosen, rendered)
        return chosen, rendered

    @staticmethod
    def _recall(understood: Understood, chosen: Selection) -> Rendered | None:
        """Return what the same request was answered with, where it is answered so each time."""
        known = understood.settled
        if known is None or known.reply is None or known.selection is not chosen:
            return None
        return Rendered(known.reply.copy(), chosen.scenario)

    @staticmethod
    def _remember(visit: Visit, understood: Understood, chosen: Selection, rendered: Rendered) -> None:
        known, scenario = understood.settled, rendered.scenario
        if known is None or known.reply is not None or known.selection is not chosen or scenario is None:
            return
        body, sent = rendered.reply.body, visit.content.for_release(scenario, visit.operation)
        if isinstance(body, bytes) and len(body) <= _RECOGNISED_ANSWER and is_steady(visit.operation, sent):
            known.reply = rendered.reply.copy()

    def _apply_faults(self, visit: Visit, chosen: Selection, reply: Reply, asked: Faults, case: Case | None) -> Faults:
        """Let faults change a reply and return those that did; those of streams leave a refusal alone."""
        request, seed = visit.routed.request, f"{self._mock.settings.seed}/{visit.world.name}/faults"
        context = faults.make_context(visit.content.scenarios, visit.operation, seed)
        return faults.apply(
            reply,
            chosen.faults,
            case.bind(context) if case else context,
            request.capabilities,
            asked=asked,
            refused=chosen.refuses,
            head=request.method == "HEAD",
        )

    def _refuse_path(self, visit: Visit, entry: Entry) -> Reply:
        """Refuse a path or a method that leads to no operation, as the API does."""
        routed, request = visit.routed, visit.routed.request
        words = routed.route.refused
        passing = self._find_passing(visit)
        nowhere = Refusal(words[-1], f"{request.method} {request.path} leads nowhere", finer=words)
        entry.forbid((), nowhere)
        entry.hints = self._hints.explain(request, routed.route, nowhere)
        if passing is not None and not passing.enforces:
            return passing.forward(Passed(visit, entry, known=False))
        if passing is not None:
            passing.note_kept(entry)
        validated = Validated(make_view(routed), refusal=nowhere)
        chosen = _add_faults(visit, select_refusal(visit, validated, nowhere), (), entry)
        reply, scenario = render(visit, validated.view, chosen, self._mock.settings)
        entry.scenario = scenario.key if scenario else None
        return reply

    def _refuse_outside(self, request: Request, routed: Routed, entry: Entry) -> Reply:
        """Refuse a path that is under no API's, with the mock's own words."""
        outside = Refusal("unknown-path", f"{request.path} is under no API's base path", location="path")
        entry.forbid((), outside)
        entry.hints = self._hints.explain(request, routed.route, outside)
        served = {name: api.base_path for name, api in self._mock.apis.items()}
        listed = ", ".join(f"{path} ({name})" for name, path in served.items())
        return make_problem(
            404, "No API here", f"No API is served under {request.path}. There is: {listed}.", apis=served
        )


def _drop_faults(scenario: Scenario) -> Scenario:
    return replace(scenario, faults="") if scenario.faults else scenario


def _add_faults(visit: Visit, chosen: Selection, asked: Faults, entry: Entry) -> Selection:
    """Add the faults to a selection; note who chose it, and whether a fault has replaced it."""
    entry.choose(chosen.by, chosen.because)
    if not asked and not chosen.scenario.faults:
        return chosen
    chosen = add_faults(visit, chosen, asked)
    entry.choose(chosen.by, chosen.because)
    return chosen
