"""A request's whole journey: a request goes in, a reply comes out. Nothing here waits, sends or listens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import Headers

from flowcontract.errors import FlowContractError
from flowcontract.scenarios.expressions import Context, RequestView
from flowcontract.scenarios.releases import as_release
from flowcontract.scenarios.streaming import asks_for_stream
from flowcontract.schemas.decoding import ABSENT
from flowcontract.validation import pydantic_words
from flowcontract.validation.request import CheckedRequest, check_request, sample_violation
from flowcontract.validation.uploads import takes_one_file, upload_limits
from mockserver import faults
from mockserver.behaviours import BEHAVIOURS, revive
from mockserver.behaviours.action import Action
from mockserver.config.apps import Apps
from mockserver.faults import FaultError
from mockserver.http.failures import failure, problem
from mockserver.http.messages import Reply, Request, put
from mockserver.journal.journal import Entry, Journal
from mockserver.journal.masking import Masking
from mockserver.request import credentials, hints, preferences
from mockserver.request.body import Body, parse_query, read_body
from mockserver.request.http_conventions import redirect, tell_methods
from mockserver.request.refusals import Refusal, scenario_key
from mockserver.request.routing import Route, Router
from mockserver.scenarios import selection
from mockserver.scenarios.rendering import Playback, replay
from mockserver.state.backends import open_backend
from mockserver.state.worlds import Worlds
from mockserver.torture.session import Torture

if TYPE_CHECKING:
    from flowcontract.scenarios import Scenario
    from flowcontract.schemas.validators import Validators
    from flowcontract.specs.model import Api, Operation
    from mockserver.config.apps import Table
    from mockserver.config.settings import Settings
    from mockserver.request.http_conventions import Manners
    from mockserver.scenarios.files import ScenarioFiles
    from mockserver.state.worlds import Seeds, World
    from mockserver.torture.session import Case

_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]+(?:, ?[\w!#$%&'*+.^`|~-]+)*", re.ASCII)  # RFC 9110, 5.1
_EMPTY_VIEW = CheckedRequest({}, {}, {}, None, ())
_OPEN_TO_PAGES = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*"}
_NO_BODY = Body("", ABSENT, {})


@dataclass(slots=True)
class _Call:
    """One request on its way: what has been found out about it so far."""

    request: Request
    route: Route
    operation: Operation
    world: World
    query: Mapping[str, list[str]]
    now: int
    entry: Entry
    preference: preferences.ScenarioPreference | None
    scenario: Scenario | None = None
    faults_asked: tuple[faults.Chosen, ...] = ()
    faults: tuple[faults.Chosen, ...] = ()  # these, and those of the scenario
    body: Body = _NO_BODY
    checked: CheckedRequest = _EMPTY_VIEW
    _view: tuple[CheckedRequest, RequestView] | None = None

    @property
    def view(self) -> RequestView:
        """What scenarios see of the request, as far as it has been read."""
        if self._view is None or self._view[0] is not self.checked:
            view = RequestView(
                method=self.request.method,
                path={**self.route.path, **self.checked.path},
                query={**_single(self.query), **self.checked.query},
                headers=self.request.fields,
                body=self.checked.body,
            )
            self._view = self.checked, view
        return self._view[1]


class App:
    """The mock without sockets. `handle` may be called from several threads."""

    def __init__(self, apis: Mapping[str, Api], fixtures: ScenarioFiles, settings: Settings) -> None:
        """Serve some APIs with some scenarios."""
        self.apis = apis
        self.fixtures = fixtures
        self.scenarios = fixtures.current()
        self.settings = settings
        self._router = Router(apis)
        self.apps = self._read_apps()
        if settings.app is not None:
            fixtures.watch(settings.app)
        self.backend = open_backend(settings.state, settings.limits)
        self.worlds = Worlds(
            settings.seed,
            self._seeds,
            settings.limits,
            start=settings.clock,
            file=self.backend.worlds,
            revive=revive,
        )
        self.overrides = self.backend.overrides
        self.torture = Torture(apis)
        schemes = [scheme for api in apis.values() for scheme in api.schemes.values()]
        masking = Masking((scheme.parameter for scheme in schemes), (scheme.mock_key for scheme in schemes))
        self.journal = Journal(settings.journal, masking, self.backend.archive)
        self._hints = hints.Hints(apis)
        self._default_body = lru_cache(1024)(self._render_default)
        self._as_sent = lru_cache(4096)(self._of_release)

    def handle(self, request: Request, now: float) -> Reply:
        """Answer a request at `now`, in epoch seconds; raise StateError where what has to be kept cannot be."""
        asks_first = request.method == "OPTIONS" and "access-control-request-method" in request.fields
        reply = self._permit(request) if asks_first else self._write_down(request, now)
        put(reply.headers, _OPEN_TO_PAGES)
        return reply

    @property
    def max_upload(self) -> int:
        """How many bytes of a body it takes."""
        return self.settings.max_upload

    @property
    def fixed_clock(self) -> float | None:
        """The epoch seconds at which its time stands still, None where it goes on."""
        return self.settings.clock

    def close(self) -> None:
        """Let go of what is kept on disk."""
        self.worlds.close()

    def _refresh(self) -> None:
        """Take over what has changed in the files of scenarios and apps."""
        scenarios = self.fixtures.current()
        if scenarios is self.scenarios:
            return
        self.scenarios = scenarios
        try:
            self.apps = self._read_apps()
        except FlowContractError as error:
            self.fixtures.complain(error)
        self._default_body.cache_clear()

    def _read_apps(self) -> Apps:
        limit = self.settings.max_upload >> 20
        return Apps(self.apis, self.scenarios, self.settings.app, answers=self.settings.answers, max_upload_mb=limit)

    def _permit(self, request: Request) -> Reply:
        """Tell a browser that it may send what it asks for (https://fetch.spec.whatwg.org/#cors-preflight-fetch)."""
        manners = self._router.manners(request.path)
        methods = ", ".join(manners.preflight_methods or self._router.methods(request.path)) or "*"
        headers = Headers([("Access-Control-Allow-Methods", methods), ("Access-Control-Max-Age", "600")])
        wanted = request.fields.get("access-control-request-headers", "")
        headers["Access-Control-Allow-Headers"] = wanted if _NAMES.fullmatch(wanted) else "*"
        if manners.preflight_body:
            headers["Content-Type"] = "text/plain; charset=utf-8"
        return Reply(manners.preflight, headers, manners.preflight_body.encode())

    def _write_down(self, request: Request, now: float) -> Reply:
        """Answer, and keep both sides in the journal."""
        self._refresh()
        entry = self.journal.open(request, now)
        try:
            reply = self._answer(request, now, entry)
        except Exception as error:
            self.journal.fail(entry, error, failure(error).status)
            raise
        reply = self.journal.close(entry, reply)
        hints.put(reply.headers, entry.hints)
        return reply

    def _answer(self, request: Request, now: float, entry: Entry) -> Reply:
        request = request.whole()
        try:
            query, broken = parse_query(request.query), None
        except Refusal as refusal:
            query, broken = {}, refusal
        query = self._router.manners(request.path).read_query(query) if query else query
        route = self._router.route(request.method, request.path, request.fields, query)
        if route.api is None:
            outside = Refusal("unknown-path", f"{request.path} is under no API's base path", location="path")
            entry.forbid((), outside)
            entry.hints = self._hints.explain(request, route, outside)
            return self._nowhere(request)
        if route.moved:
            return redirect(request, route.moved)
        if request.method == "OPTIONS" and route.allowed and route.manners.options == "allow":
            return tell_methods(route.allowed)
        operation = route.operation or self._carrier(route)
        known = route.operation is not None and not route.refused
        world = self.worlds.open(route.api.name, route.keyring.suffix if known else credentials.NOBODYS)
        entry.world = world.name if known else None
        call = _Call(
            request,
            route,
            operation,
            world,
            query,
            int(now),
            entry,
            preferences.parse_prefer(request.fields.get("prefer", "")),
        )
        try:
            with world.transaction(reading=request.method in ("GET", "HEAD")):  # it lasts before anything is sent
                if not world.stale:
                    call.now = world.tick(now)
                    if self.settings.clock is not None:
                        entry.at = call.now
                    return self._settle(call, broken)
        except selection.NoScenario as unserved:  # nothing has happened
            entry.scenario, entry.faults = None, ()
            return unserved.reply
        return self._answer(request, now, entry)  # another worker has let the world begin anew

    def _settle(self, call: _Call, broken: Refusal | None) -> Reply:
        """Answer a request that leads into a world."""
        request, route, operation, world, entry = call.request, call.route, call.operation, call.world, call.entry
        if route.operation is None:
            nowhere = Refusal(route.refused[-1], f"{request.method} {request.path} leads nowhere", finer=route.refused)
            entry.forbid((), nowhere)
            entry.hints = self._hints.explain(request, route, nowhere)
            return self._refuse(call, nowhere)
        entry.operation = operation.name
        wrong = self._find_fault(call, broken)
        known = not route.refused
        if known and call.preference is None:
            call.preference = self.overrides.take(world.name, operation.name, world.transaction.on_discard)
        try:
            reply = self._serve(call, wrong)
        except FaultError as error:
            if case := self.torture.case_of(world.name, operation):
                case.unfit = str(error)
            raise selection.NoScenario(selection.no_fault(error, operation)) from None
        world.usage.note(operation.id, reply.status)
        return reply

    def _serve(self, call: _Call, wrong: Refusal | None) -> Reply:
        """Answer, and let the faults that were asked for change the answer."""
        case = self.torture.case_of(call.world.name, call.operation)
        text = case.faults if case else call.preference and call.preference.fault
        call.faults = call.faults_asked = faults.parse(text) if text else ()
        if call.preference is not None and call.preference.chooses:
            reply = self._serve_preferred(call, call.preference, wrong)
        else:
            reply = self._refuse(call, wrong) if wrong else self._choose(call)
        if case:
            case.watch(reply)
        if call.faults:
            self._spoil(call, reply, case)
        if call.preference is not None and call.preference.by == "prefer":
            left_out = len(call.entry.faults) < len(call.faults)
            said = ", ".join(call.entry.faults) if left_out else call.preference.fault or ""
            reply.headers["Preference-Applied"] = call.preference.applied(call.scenario, said)
        return reply

    def _spoil(self, call: _Call, reply: Reply, case: Case | None) -> None:
        """Let faults change a reply; those of streams leave alone what answers a wrong request, or one too many."""
        ground = faults.fault_context(self.scenarios, call.operation, f"{self.settings.seed}/{call.world.name}/faults")
        refused = call.entry.by == "problem" or call.entry.because == "rate-limit"
        head = call.request.method == "HEAD"
        can, ground = call.request.capabilities, case.bound(ground) if case else ground
        applied = faults.apply(reply, call.faults, ground, can, asked=call.faults_asked, refused=refused, head=head)
        call.entry.faults = tuple(map(str, applied))

    def _limit(self, call: _Call, scenario: Scenario) -> Reply | None:
        """Take over the faults of the scenario; return the answer where one of all lets nobody in."""
        call.faults = call.faults_asked
        if scenario.faults:
            call.faults = faults.ordered((*call.faults_asked, *faults.parse(scenario.faults)))
        if gateway := faults.gateway(call.faults):
            call.entry.choose("fault", "status")
            return gateway
        wait = faults.wait_s(call.faults, call.world, call.operation.name, call.now)
        if wait is None:
            return None
        limited = faults.limited(self.scenarios, call.operation)
        call.entry.choose("fault", "rate-limit")
        reply = self._replay(call, limited, self._context(call))
        reply.headers["Retry-After"] = str(wait)
        return reply

    def _find_fault(self, call: _Call, broken: Refusal | None) -> Refusal | None:
        """Return the first thing that is wrong with a request, and write down everything that is."""
        found = None
        try:
            self._check(call, broken)
        except Refusal as refusal:
            call.entry.forbid(call.checked.violations, refusal)
            found = refusal.alone()
        finally:
            if call.body.media_type.startswith("multipart/"):
                self.journal.read(call.entry, call.body.value)
        call.entry.hints = self._hints.explain(call.request, call.route, found, call.body, call.query)
        return found

    def _check(self, call: _Call, broken: Refusal | None) -> None:
        """Authenticate, read and validate; raise Refusal at the first thing that is wrong."""
        manners, stranger = call.route.manners, _stranger(call.route)
        if stranger and not _answers_anybody(call):
            _tell_first(call, manners)
            raise stranger
        if broken:
            raise broken
        asked = preferences.take_off(call.query)
        call.preference = call.preference or asked
        call.body = read_body(call.request, call.operation, manners)
        asked = preferences.take_off(call.body.value)
        call.preference = call.preference or asked
        _refuse_odd_uploads(self.apis[call.operation.api].validators, call.operation, call.body)
        self.worlds.room.admit(sum(one.blob.size for sent in call.body.uploads.values() for one in sent))
        _refuse_without_body(call.operation, call.body)
        call.checked = self._validate(call)
        if manners.wrong_body == "dropped" and isinstance(call.body.value, Mapping) and _has_wrong_body(call.checked):
            call.body = _NO_BODY
            call.checked = self._validate(call)
        if call.checked.violations:
            sent = RequestView(path=call.route.path, query=_single(call.query), body=call.body.value)
            raise Refusal.by(call.checked, sent)
        if stranger:
            raise stranger

    def _choose(self, call: _Call) -> Reply:
        """Answer a request that nothing is wrong with, and that nobody preferred anything for."""
        streaming = asks_for_stream(call.operation, call.view)
        scenario, by = selection.chosen(
            self.scenarios,
            call.operation,
            call.view,
            self._app(call)["scenarios"],
            call.world.usage,
            streaming=streaming,
        )
        call.entry.choose(by)
        if limited := self._limit(call, scenario):
            return limited
        try:
            reply = self._act(call, scenario)
        except Refusal as refusal:
            return self._refuse(call, refusal)
        call.world.usage.note_served(scenario)
        return reply

    def _validate(self, call: _Call) -> CheckedRequest:
        api = self.apis[call.operation.api]
        checked = check_request(
            api.validators,
            call.operation,
            path=call.route.path,
            query=call.query,
            headers=call.request.fields,
            body=call.body.value,
            media_type=call.body.media_type,
        )
        return _complete(call.operation, checked)

    def _serve_preferred(
        self, call: _Call, preference: preferences.ScenarioPreference, refusal: Refusal | None
    ) -> Reply:
        """Serve the scenario that was asked for; act on the world only if nothing is wrong with the request."""
        call.entry.choose(preference.by, str(preference))
        streaming = asks_for_stream(call.operation, call.view)
        scenario = selection.forced(
            self.scenarios,
            call.operation,
            preference,
            streaming=None if refusal and preference.by != "prefer" else streaming,
        )
        if limited := self._limit(call, scenario):
            return limited
        try:
            if refusal is None:
                return self._act(call, scenario)
        except Refusal as found:
            refusal = found.alone()
        return self._replay(call, scenario, self._context(call, refusal))

    def _act(self, call: _Call, scenario: Scenario) -> Reply:
        """Let the operation's behaviour act on the world, and render the scenario with what it knows."""
        context = self._context(call)
        behaviour = BEHAVIOURS.get(call.operation.api, {}).get(call.operation.id)
        if behaviour is None or scenario.status != call.operation.success.status:  # a refusal changes nothing
            return self._replay(call, scenario, context)
        act = Action(
            operation=call.operation,
            contract=self.apis[call.operation.api].bundle["components"]["schemas"],
            request=call.checked,
            uploads=call.body.uploads,
            world=call.world,
            answers=partial(self._default_body, call.operation.api, call.route.keyring.suffix),
            context=context,
            now=call.now,
            seed=self.settings.seed,
            render=lambda instead: self._replay(call, self._instead(call, instead) or scenario, context),
        )
        try:
            return behaviour(act)
        except Refusal as refusal:
            call.entry.forbid((), refusal)
            raise

    def _instead(self, call: _Call, name: str) -> Scenario | None:
        """Return the scenario that a behaviour wants in place of the default one, of the kind that was asked for."""
        if not name or call.entry.by not in ("default", "app"):
            return None
        streaming = asks_for_stream(call.operation, call.view)
        return self.scenarios.find(call.operation, None, f"{name}-streaming" if streaming else name)

    def _refuse(self, call: _Call, refusal: Refusal) -> Reply:
        """Answer with the scenario that the contract has for what is wrong."""
        operation = call.operation
        call.entry.choose("problem", refusal.words[0])
        known = self.scenarios.for_operation(operation)
        words = refusal.words
        if asks_for_stream(operation, call.view):
            words = (*(f"{word}-streaming" for word in words), *words)
        key = scenario_key(operation.refusals, words, known, api=operation.api)
        status, _, name = key.partition("-")
        scenario = self.scenarios.find(call.operation, int(status), name)
        if limited := self._limit(call, scenario):
            return limited
        reply = self._replay(call, scenario, self._context(call, refusal))
        if reply.status == HTTPStatus.METHOD_NOT_ALLOWED:
            reply.headers["Allow"] = ", ".join(call.route.allowed)
        if reply.status == HTTPStatus.UNAUTHORIZED:
            reply.headers.setdefault("WWW-Authenticate", "Bearer")  # RFC 9110, 15.5.2: a 401 names a scheme
        return reply

    def _context(self, call: _Call, refusal: Refusal | None = None) -> Context:
        violation = refusal.violation if refusal else _sample(call.operation)
        seed = call.world.reply_seed()
        return Context(request=call.view, seed=seed, now=call.now, violation=violation, app=self._app(call))

    def _app(self, call: _Call) -> Table:
        """Return the app that the key opens, which may be one of another API."""
        return self.apps.of(*(call.route.owner or (call.operation.api, call.route.keyring.suffix)))

    def _seeds(self, api: str) -> Seeds:
        seeds = self.settings.seeds(api)
        added = [dict(flow) for flow in self.apps.flows(api)]
        return {**seeds, "flows": [*seeds["flows"], *added]} if added else seeds

    def _render_default(self, api: str, suffix: str, operation_id: str) -> Any:
        """Return the JSON that the app of a key answers to an operation by default."""
        app = self.apps.of(api, suffix)
        scenario = selection.default(self.scenarios, self.apis[api].operations[operation_id], app["scenarios"])
        return scenario.reply.template.render(Context(app=app))

    def _of_release(self, scenario: Scenario, operation: Operation) -> Scenario:
        """Return a scenario as the release in force sends it."""
        return as_release(scenario, self.apis[operation.api], operation)

    def _replay(self, call: _Call, scenario: Scenario, context: Context) -> Reply:
        call.scenario, call.entry.scenario = scenario, scenario.key
        streams = call.operation.stream is not None and scenario.reply.streamed
        ending = self.scenarios.default(call.operation, streaming=True) if streams else None
        playback = Playback(
            self.settings.pace, call.world.transaction, ending and self._as_sent(ending, call.operation)
        )
        return replay(self._as_sent(scenario, call.operation), call.operation, context, playback)

    def _carrier(self, route: Route) -> Operation:
        """Return an operation that refuses a path or a method as its whole API does, not in words of its own."""
        assert route.api is not None
        key = route.api.refusals.get(route.refused[0], "")
        operations = route.api.operations.values()
        return next((one for one in operations if self._is_shared(one, key)), next(iter(operations)))

    def _is_shared(self, operation: Operation, key: str) -> bool:
        scenario = self.scenarios.for_operation(operation).get(key)
        return scenario is not None and scenario.operation is None

    def _nowhere(self, request: Request) -> Reply:
        served = {name: api.base_path for name, api in self.apis.items()}
        listed = ", ".join(f"{path} ({name})" for name, path in served.items())
        return problem(404, "No API here", f"No API is served under {request.path}. There is: {listed}.", apis=served)


def _single(query: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the values of a query, a list only where a name came several times."""
    return {name: values[0] if len(values) == 1 else values for name, values in query.items()}


def _has_wrong_body(checked: CheckedRequest) -> bool:
    return any(violation.location == "body" for violation in checked.violations)


def _tell_first(call: _Call, manners: Manners) -> None:
    """Raise what servers tell before they look at the key; they read the body first."""
    if manners.before_key:
        try:
            read_body(call.request, call.operation, manners)
        except Refusal as refusal:
            if refusal.words[-1] in manners.before_key:
                raise


def _stranger(route: Route) -> Refusal | None:
    """Return why a key does not open what was asked for; None where it does."""
    if not route.refused:
        return None
    return Refusal(route.refused[-1], "the key does not open this", location="header", finer=route.refused)


def _answers_anybody(call: _Call) -> bool:
    """Tell whether the operation answers the key of another app with a success: of that app, or of nothing."""
    status = call.operation.refusals.get("other-app", "")[:3]
    return "other-app" in call.route.refused and status == str(call.operation.success.status)


def _refuse_without_body(operation: Operation, body: Body) -> None:
    """Refuse that there is neither a body nor its type, of which servers say other things than of a bad one."""
    if operation.request_required and body.value is ABSENT and not body.media_type:
        raise Refusal("malformed-body", "there is no body", finer=["no-content"])


def _refuse_odd_uploads(validators: Validators, operation: Operation, body: Body) -> None:
    """Refuse what schemas of forms cannot see: several files for one, a file unnamed, of a wrong type or too large."""
    media = operation.request.get(body.media_type)
    count = sum(map(len, body.uploads.values()))
    if count > 1 and takes_one_file(operation):
        names = ", ".join(body.uploads)
        raise Refusal(
            "too-many-files", f"{count} files came as {names}; one is accepted", field=next(iter(body.uploads))
        )
    for name, uploads in body.uploads.items():
        if not uploads[0].filename and "unnamed-file" in operation.refusals:
            raise Refusal("unnamed-file", f"the file in {name} has no name", field=name)
        if media is None:
            continue
        wanted, longest, typed = upload_limits(validators, media, name)
        if typed and not uploads[0].content_type:
            message = f"the file in {name} has no Content-Type of its own"
            raise Refusal("invalid-request", message, field=name, finer=["unsupported-file-type"])
        if wanted is not None and not uploads[0].is_of(wanted):
            message = f"{name} is {uploads[0].content_type}, not one of {wanted}"
            raise Refusal("invalid-request", message, field=name, finer=["unsupported-file-type"])
        if longest is not None and uploads[0].blob.size > longest:
            raise Refusal("too-large", f"{name} has {uploads[0].blob.size} bytes, more than {longest}", field=name)


@lru_cache(maxsize=1024)
def _sample(operation: Operation) -> Mapping[str, Any]:
    return pydantic_words.mapping(sample_violation(operation))


def _complete(operation: Operation, checked: CheckedRequest) -> CheckedRequest:
    """Fill in the contract's defaults, and lower what is above a documented limit to it instead of refusing it."""
    query = dict(checked.query)
    for parameter in (one for one in operation.parameters if one.location == "query"):
        value = query.get(parameter.name)
        if value in (None, ""):
            query[parameter.name] = parameter.schema.get("default", "")
        elif parameter.clamp is not None and isinstance(value, int | float) and value > parameter.clamp:
            query[parameter.name] = parameter.clamp
    return CheckedRequest(checked.path, query, checked.headers, checked.body, checked.violations)
