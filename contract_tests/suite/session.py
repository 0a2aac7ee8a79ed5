"""What a run of the suite has at hand: clients, values that only this server has, what to clean up, what it saw."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from contract_tests.cases import sample_files as samples
from contract_tests.cases.app_inputs import controls, wrong_value
from contract_tests.cases.examples import examples, wants_stream
from contract_tests.cases.probes import unheld
from contract_tests.cases.server_values import resources
from contract_tests.http.client import CAUSES, Client, Rate
from contract_tests.http.clock import Clock
from contract_tests.http.patience import MOST, Patience, Sort
from contract_tests.judging import judge as judgement
from contract_tests.judging.causes import cause
from contract_tests.judging.judge import ANYTHING, Expected, Judge, Verdict
from contract_tests.report.deviations import Names, names
from contract_tests.report.hiding import hide, hide_json
from contract_tests.suite.filling import Filler
from contract_tests.suite.not_exercised import NotExercised, Withheld
from flowcontract import pointers
from flowcontract.output.secrets import Secrets
from flowcontract.provenance.evidence import DEFAULT_BAR, Tier, cited, fails, quotes
from flowcontract.schemas.violations import rate

if TYPE_CHECKING:
    from contract_tests.cases.derive import Case
    from contract_tests.http.exchange import Exchange, Request, Sent, TimedEvent
    from contract_tests.http.target import Flow, Provocation, Target
    from contract_tests.judging.choices import Choice
    from contract_tests.report.deviations import Deviations
    from flowcontract.provenance.sources import Ruling
    from flowcontract.schemas.violations import Violation
    from flowcontract.specs.model import Api, Operation

__all__ = ["Failure", "NotExercised", "Record", "Suite"]

_HANGS_S = 2.0  # how long a stream is waited for that is known to hang
_CONTROLS = 20  # of a form that are tried


@dataclass(frozen=True, slots=True)
class Failure:
    """A violation, with what it was seen in."""

    operation: str
    violation: Violation
    curl: str = ""
    rulings: tuple[Ruling, ...] = ()  # that the violation's source names

    def names(self, test: str) -> Names:
        """Return the ids by which a deviations file may know it, seen in a test."""
        return names(test, self.operation, self.violation)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        violation = judgement.shortened(self.violation)
        names = ("rule", "expected", "got", "where", "event", "offset")
        fields = {name: getattr(violation, name) for name in names}
        more = {"source": list(violation.source), "cause": cause(self.violation), "curl": self.curl}
        evidence = {
            "tier": str(violation.tier),
            "quotes": [quote._asdict() for quote in quotes(violation.source)],
            "rulings": [{"name": one.name, "decision": one.decision, "why": one.why} for one in self.rulings],
        }
        return {"operation": self.operation, **fields, **more, **evidence}


@dataclass(slots=True)
class Record:
    """What one test saw."""

    demand: Tier = DEFAULT_BAR  # what lies beyond it is a note, and nothing is wrong with its place in the matrix
    failures: list[Failure] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    seen: list[tuple[str, str, str, bool]] = field(default_factory=list)  # operation, sort, name, whether all was well
    streams: list[dict[str, Any]] = field(default_factory=list)
    exchanges: int = 0
    last: Sent | None = None  # what was asked last
    skipped: dict[str, str] = field(default_factory=dict)  # operation, or `operation sort name` -> why not exercised
    secrets: Secrets = field(default_factory=Secrets)

    def note(self, operation: Operation, verdict: Verdict) -> None:
        """Take an exchange and its verdict."""
        self.exchanges += 1
        well = not any(fails(violation.tier, self.demand) for violation in verdict.violations)
        self.last = verdict.exchange.sent
        for violation in verdict.violations:
            self.fail(operation, violation, verdict.rulings)
        self.choices += verdict.choices
        status = verdict.exchange.status if well else verdict.missed or verdict.exchange.status
        marks = [("status", str(status))] if status else []
        marks += [("code", f"{verdict.exchange.status} {verdict.code}")] if verdict.code else []
        self.seen += [(operation.name, sort, name, well) for sort, name in marks]
        wrong, misplaced = self._wrong_kinds(verdict), self._wrong_kinds(verdict, "order", "end")
        self.seen += [(operation.name, "event", kind, kind not in wrong) for kind in verdict.kinds]
        for before, kind in verdict.transitions:
            self.seen.append((operation.name, "transition", f"{before or 'start'} > {kind}", kind not in misplaced))
        if verdict.exchange.events:
            self.streams.append(_stream(operation, verdict))

    def fail(self, operation: Operation, violation: Violation, rulings: Mapping[str, Ruling]) -> None:
        """Take a violation that was seen in the last exchange; `rulings` are those of the API."""
        found = cited(violation.source, rulings)
        expected, got, where = (
            hide(text, self.secrets) for text in (violation.expected, violation.got, violation.where)
        )
        told = replace(violation, expected=expected, got=got, where=where)
        curl = self.last.curl() if self.last else ""
        self.failures.append(Failure(operation.name, told, curl, found))

    def _wrong_kinds(self, verdict: Verdict, *rules: str) -> set[str]:
        """Return the kinds of the events that break a rule that was demanded (any, by default)."""
        numbers = {
            violation.event
            for violation in verdict.violations
            if (not rules or violation.rule in rules) and fails(violation.tier, self.demand)
        }
        return {timed.event.kind for timed in verdict.exchange.events if timed.event.number in numbers}

    def as_json(self, test: str, deviations: Deviations) -> dict[str, Any]:
        """Return it as plain JSON; each failure with the id by which it may be known."""
        failures = [_known(failure, test, deviations) for failure in self.failures]
        names = ("seen", "streams", "exchanges", "skipped")
        choices = [choice._asdict() for choice in self.choices]
        others = hide_json({"choices": choices, **{name: getattr(self, name) for name in names}}, self.secrets)
        return {"test": test, "failures": failures, **others}


def _known(failure: Failure, test: str, deviations: Deviations) -> dict[str, Any]:
    """Return a failure with its id and the entry of the deviations file that it falls under.

    ``known``  the id of that entry; '' where there is none, or it has expired
    ``entry``  the same, expired or not
    """
    found = failure.names(test)
    entry, known = deviations.entry(*found), deviations.known(*found)
    about = {"known": known.id if known else "", "entry": entry.id if entry else ""}
    reason = entry.reason if entry else ""
    if entry and not known:
        reason = f"was accepted until {entry.expires}: {reason}"
    return {**failure.as_json(), "id": found.id, **about, "reason": reason, "fuzzed": test.startswith("fuzzing/")}


def _stream(operation: Operation, verdict: Verdict) -> dict[str, Any]:
    """Return a stream as a report shows it: when which event came, and which are wrong."""
    wrong = {violation.event for violation in verdict.violations}
    events = [
        [
            round(timed.at_s, 4),
            timed.event.kind[:100],
            timed.event.offset,
            timed.event.number in wrong,
            timed.event.known,
        ]
        for timed in verdict.exchange.events[:500]
    ]
    return {
        "operation": operation.name,
        "events": events,
        "total": len(verdict.exchange.events),
        "violations": [str(judgement.shortened(violation)) for violation in verdict.violations],
        "wrong": [violation.event for violation in verdict.violations],
    }


@dataclass(slots=True)
class _Wait:
    """How long a silence is waited for, and the verdict that came of it."""

    seconds: float
    verdict: Verdict = field(init=False)


class Suite:
    """One run against one target. Tests ask through it, and it remembers what is to be cleaned up."""

    def __init__(self, target: Target, clock: Clock | None = None) -> None:
        """Prepare clients; nothing is sent yet."""
        self.target = target
        self.clock = clock or Clock()
        rate = Rate(target.rate)
        self.clients = {name: Client(target, api, rate, self.clock) for name, api in target.apis.items()}
        self.record = Record()
        self.patience = Patience()
        self.leftovers: list[str] = []
        self.users = 0  # how many have been invented
        self._made: dict[str, dict[tuple[str, str], Any]] = {}
        self._created: dict[tuple[str, str, str], dict[str, str]] = {}
        self._parameters: dict[str, Any] = {}

    def close(self) -> None:
        """Clean up and close all connections."""
        self.clock.clean_up()
        try:
            self.clean_up()
        except KeyboardInterrupt:  # the time for that is over, too
            left = (f"{api} {name} {value}: no time was left" for api, name, value in self._created)
            self.leftovers += hide_json(list(left), self.target.secrets)
        for client in self.clients.values():
            client.close()

    def api(self, name: str) -> Api:
        """Return one of the APIs under test."""
        return self.target.apis[name].api

    # Asking.

    def run(self, case: Case) -> None:
        """Ask what a case asks; raise NotExercised where this target cannot be asked it."""
        operation = case.operation
        self.may_call(operation, refused=case.expected.refused is True and case.family != "probes")
        flow = self._flow(case)
        for request, keep in self._requests(case):
            filled = self.filled(operation, request, keep, flow.values if flow else {})
            asked = replace(filled, keys=flow.keys) if flow else self.with_keys(operation, filled, case.auth)
            if case.provoke and request.keys:
                asked = replace(asked, keys={**(asked.keys or {}), **request.keys})
            verdict = self.ask(operation, asked, case.expected, provoked=bool(case.provoke))
            rulings = self.api(operation.api).rulings
            for violation in rate(unheld(case, asked, verdict.exchange), rulings):
                self.record.fail(operation, violation, rulings)
        if case.provoke:
            self.record.choices = []  # the target was made to

    def _requests(self, case: Case) -> Iterator[tuple[Request, frozenset[str]]]:
        """Yield what a case asks, each with the places that are not to be filled in."""
        operation = case.operation
        if case.provoke:
            way = self.provocation(operation, case.provoke, min(case.expected.statuses, default=0))
            request = replace(_provoked(case.request, way), keys=way.keys_for(self.api(operation.api)))
            yield request, case.keep | way.places
        elif case.form:
            yield from self._tries(case)
        else:
            yield case.request, case.keep

    def _tries(self, case: Case) -> Iterator[tuple[Request, frozenset[str]]]:
        """Yield a request for each control of the app's form that has the bound which a case is about."""
        field = resources()[case.operation.api]["form"]["inputs"]
        form = controls(self.parameters(case.operation.api).get("user_input_form"))
        found = [(one, wrong_value(one, case.form)) for one in form[:_CONTROLS]]
        wrong = [(control.variable, value) for control, value in found if value is not None]
        if not wrong:
            raise NotExercised(f"the form of this app (GET /parameters) has nothing for it: {case.expected.because}")
        for variable, value in wrong:
            body = {**case.request.body, field: {variable: value}}
            yield replace(case.request, body=body), case.keep | {f"/{field}/{pointers.escape(variable)}"}

    def _flow(self, case: Case) -> Flow | None:
        """Return the flow that a documented example is for; None where any will do."""
        about = resources().get(case.operation.api, {})
        if case.family != "documented" or case.operation.id not in about.get("components", ()):
            return None
        return self.flow_for(case.operation, case.name)

    def flow_for(self, operation: Operation, example: str) -> Flow:
        """Return the flow that has the components of an example.

        Which one that is only the target file can say; raises NotExercised.
        """
        flow = self.clients[operation.api].api.examples.get(operation.id, {}).get(example)
        if flow is None:
            where = f"[api.{operation.api}.examples.{operation.id}.{example}]"
            raise NotExercised(f"the target file names no flow with the components of this example, under {where}")
        return flow

    def ask(
        self, operation: Operation, request: Request, expected: Expected = ANYTHING, *, provoked: bool = False
    ) -> Verdict:
        """Send a request, whose values are final, and judge the answer; raise NotExercised if the mock has none."""
        client = self.clients[operation.api]
        sent = client.prepare(request if request.keys is not None else self.with_keys(operation, request))
        judge = Judge(client.api.api, operation, expected)
        with self._waiting(operation, request, expected) as wait:
            try:
                wait.verdict = judgement.ask(client, sent, judge, wait.seconds)
            except CAUSES as error:
                wait.verdict = judgement.unanswered(client.failed(sent, error), expected)
            if provoked and wait.verdict.exchange.status == HTTPStatus.NOT_IMPLEMENTED:
                raise NotExercised("the mock, as it was started, has no such answer")
        return wait.verdict

    @contextmanager
    def streaming(self, operation: Operation, request: Request, expected: Expected) -> Iterator[Iterator[TimedEvent]]:
        """Send a request and hand out the events of its stream while they come; the verdict is noted at the end.

        A journey that ends in between (NotExercised) does not spare the stream its verdict.
        """
        client = self.clients[operation.api]
        sent = client.prepare(request if request.keys is not None else self.with_keys(operation, request))
        judge = Judge(client.api.api, operation, expected)
        reason: NotExercised | None = None
        with self._waiting(operation, request, expected) as wait, ExitStack() as stack:
            try:
                live = stack.enter_context(client.open(sent, read_s=wait.seconds))
            except CAUSES as error:
                wait.verdict = judgement.unanswered(client.failed(sent, error), expected)
                yield iter(())
                return
            limit_s = self.target.stream_s
            streamed = judge.begin(live, limit_s)
            coming = judgement.follow(judge, live, limit_s, wait.seconds) if streamed else iter(())
            try:
                yield coming
            except NotExercised as error:
                reason = error
            for _ in coming:
                pass
            body = b"" if streamed else b"".join(piece for _, piece in live.pieces(limit_s))
            if streamed:
                judge.end(live.now, broken=bool(live.trouble))
            wait.verdict = judge.verdict(sent, live.answer(body))
        if reason:
            raise reason

    @contextmanager
    def _waiting(self, operation: Operation, request: Request, expected: Expected) -> Iterator[_Wait]:
        """Say how long an answer may be waited for, then note the verdict, and whether it hung."""
        sort = Sort(operation.name, expected.refused is True, bool(wants_stream(operation, request)))
        full_s = self.target.answer_s
        if sort.streamed:
            full_s = self.target.stream_s if self.target.apis[operation.api].slow else self.target.silence_s
        if self.patience.is_over(sort):
            raise NotExercised(f"{operation.name} hung on such requests {MOST} times, so it was not asked again")
        wait = _Wait(min(self.patience.seconds(sort, full_s), _HANGS_S if expected.hangs else full_s))
        began = time.monotonic()
        yield wait
        verdict = wait.verdict
        trouble = verdict.exchange.trouble or (verdict.exchange.answer and verdict.exchange.answer.trouble)
        if not expected.hangs:
            self.patience.note(sort, hung=bool(trouble) and time.monotonic() - began >= wait.seconds)
        self.record.note(operation, verdict)
        self.remember(operation, request, verdict.exchange)

    def with_keys(self, operation: Operation, request: Request, auth: str = "own") -> Request:
        """Return a request with credentials: own, none, `wrong:SCHEME`, `only:SCHEME`, `other:API`."""
        client = self.clients[operation.api]
        own = client.keys_for(operation.security)
        how, _, name = auth.partition(":")
        if how == "none":
            return replace(request, keys={})
        if how == "wrong":
            needed = next((one for one in operation.security if name in one), ())
            others = {scheme: key for scheme, key in own.items() if scheme in needed}
            return replace(request, keys={**others, name: f"wrong-{self.target.run}"})
        if how == "only":
            if name not in client.api.keys:
                raise NotExercised(f"there is no key for {name}: give --key {operation.api}.{name}=KEY")
            return replace(request, keys={name: client.api.keys[name]})
        if how == "other":
            if name not in self.clients:
                raise NotExercised(f"there is no key of {name}: run it together with {name}")
            other = next(iter(self.clients[name].api.keys.values()))
            return replace(request, keys={next(iter(own)): other})
        return replace(request, keys=own)

    def may_call(self, operation: Operation, *, refused: bool = False) -> None:
        """Raise Withheld for an operation that the target must not be asked, or that its app has switched off."""
        if self.target.read_only and operation.method not in ("GET", "HEAD"):
            raise Withheld("the target is read_only")
        about = resources().get(operation.api, {})
        if operation.id in about.get("deletes_all", ()) and self.target.no_delete_all and not refused:
            raise Withheld("it would delete what the suite did not make: the target says no_delete_all")
        if (
            operation.id in about.get("deletes_all", ())
            and _has_neighbours()
            and not self.target.own_world
            and not refused
        ):
            raise Withheld("it would delete what other workers made: run it without -n")
        for feature, where in about.get("features", {}).items():
            if operation.id in where["operations"] and not refused and not self.has(operation.api, feature):
                raise Withheld(f"this app has no {feature.replace('_', ' ')}")

    def has(self, api: str, feature: str) -> bool:
        """Tell whether the app has a feature: as the target file says, else as the app says itself."""
        said = self.clients[api].api.features
        if feature in said:
            return said[feature]
        where = resources()[api]["features"][feature]["at"]
        try:
            return pointers.resolve(self.parameters(api), where) is not False
        except KeyError:
            return True  # it does not say: to be tried

    def parameters(self, api: str) -> Any:
        """Return what `getParameters` answers, asked once; {} for an API without it."""
        if api not in self._parameters:
            operation = self.api(api).operations.get("getParameters")
            found = (
                self.clients[api].send(self.with_keys(operation, next(examples(self.api(api), operation))[1])).json
                if operation
                else {}
            )
            self._parameters[api] = found if isinstance(found, dict) else {}
        return self._parameters[api]

    def provocation(self, operation: Operation, code: str, status: int) -> Provocation:
        """Return what makes this target answer with an error code; raise NotExercised where nothing does."""
        way = self.target.provocation(operation, code, status)
        if way is None:
            raise NotExercised("cannot be provoked from outside; a target file may say how, under [provoke]")
        return way

    # Values that only this server has.

    def filled(
        self,
        operation: Operation,
        request: Request,
        keep: frozenset[str] = frozenset(),
        values: Mapping[str, Any] = MappingProxyType({}),
    ) -> Request:
        """Return a request with this server's values in the places of the documents', except in `keep`.

        ``values``  come before those of the target file
        """
        given = {**self.clients[operation.api].api.values, **values}
        return Filler(self, operation, keep, given).filled(request)

    def example(
        self, operation: Operation, name: str = "", values: Mapping[str, Any] = MappingProxyType({}), **changed: Any
    ) -> Request:
        """Return a documented request, filled; the first by default. `changed` replaces fields of its body.

        ``values`` are sent instead of the target's: those of another flow.
        """
        found = {label: request for label, request, _ in examples(self.api(operation.api), operation)}
        request = found[name] if name else next(iter(found.values()))
        if changed:
            request = replace(request, body={**request.body, **changed})
        return self.filled(operation, request, values=values)

    def made(self, api: str, name: str, sort: str = "") -> Any:
        """Return the value of a field that only this server can give, made when it is first needed.

        ``sort`` is what sort of file it is to name (`image`); else it is the documented example's.
        Raises NotExercised where it cannot be made.
        """
        made = self._made.setdefault(api, {})
        if (name, sort) not in made:
            made[name, sort] = self._make(api, name, sort)
        return made[name, sort]

    def fresh(self, api: str, name: str) -> Any:
        """Return such a value that no other test uses."""
        return self._make(api, name)

    def _make(self, api: str, name: str, sort: str = "") -> Any:
        how = resources()[api]["fields"][name]
        operation = self.api(api).operations[how["made_by"]]
        self.may_call(operation)
        request = self.example(operation, how["example"], **how.get("with", {}))
        if sort:
            request = replace(request, body={**request.body, how["file"]: samples.upload(sort, self.target.run)})
        exchange = self.clients[api].send(self.with_keys(operation, request))
        self.remember(operation, request, exchange)
        try:
            value = pointers.resolve(exchange.json, how["at"])
        except KeyError:
            raise NotExercised(
                f"{operation.name} gave no {name}: status {exchange.status} {exchange.trouble}".strip()
            ) from None
        found = re.search(how["take"], value) if "take" in how else None
        return found[0] if found else value

    # Cleaning up.

    def remember(self, operation: Operation, request: Request, exchange: Exchange) -> None:
        """Note what an exchange created, and forget what it removed."""
        for name, how in resources().get(operation.api, {}).get("fields", {}).items():
            if how.get("made_by") == operation.id and "removed_by" in how and exchange.status < 300:  # noqa: PLR2004
                self._note_created(operation, request, exchange, name, how)
            if how.get("removed_by") == operation.id and 200 <= exchange.status < 300:  # noqa: PLR2004
                self._created.pop((operation.api, name, request.path_values.get(name, "")), None)
                self._made.pop(operation.api, None)  # what else was made may have gone with it
        if operation.id in resources().get(operation.api, {}).get("deletes_all", ()) and exchange.status < 300:  # noqa: PLR2004
            self._made.pop(operation.api, None)

    def _note_created(
        self, operation: Operation, request: Request, exchange: Exchange, name: str, how: Mapping[str, str]
    ) -> None:
        value = next((found for payload in exchange.payloads if (found := _at(payload, how["at"]))), None)
        if not isinstance(value, str):
            return
        part = re.search(how["take"], value) if "take" in how else None
        value = part[0] if part else value
        user = request.body.get("user") if isinstance(request.body, Mapping) else None
        others = {"user": user} if isinstance(user, str) else {}
        self._created[operation.api, name, value] = {**request.path_values, **others, name: value}

    def clean_up(self) -> None:
        """Remove what the suite created; `leftovers` names what could not be removed."""
        for (api, name, value), fields in list(self._created.items()):
            operation = self.api(api).operations[resources()[api]["fields"][name]["removed_by"]]
            _, base, _ = next(examples(self.api(api), operation))
            path = {key: fields.get(key, old) for key, old in base.path_values.items()}
            body = (
                {**base.body, **{key: fields[key] for key in base.body if key in fields}}
                if isinstance(base.body, dict)
                else base.body
            )
            exchange = self.clients[api].send(self.with_keys(operation, replace(base, path_values=path, body=body)))
            if not 200 <= exchange.status < 300 and exchange.status != 404:  # noqa: PLR2004 - HTTP's own ranges
                left = f"{api} {name} {value}: status {exchange.status} {exchange.trouble}".strip()
                self.leftovers.append(hide(left, self.target.secrets))
            del self._created[api, name, value]


def _has_neighbours() -> bool:
    """Tell whether this process is one of several workers."""
    return "PYTEST_XDIST_WORKER" in os.environ


def _provoked(request: Request, way: Provocation) -> Request:
    body = request.body
    if way.body:
        body = {**body, **way.body} if isinstance(body, Mapping) else dict(way.body)
    return replace(request, headers={**request.headers, **way.headers}, query={**request.query, **way.query}, body=body)


def _at(payload: Any, pointer: str) -> Any:
    try:
        return pointers.resolve(payload, pointer)
    except KeyError:
        return None
