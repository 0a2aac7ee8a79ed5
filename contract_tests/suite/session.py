"""One run of the suite against one target: asks what the cases ask, and removes at the end what it created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from contract_tests.cases.app_inputs import break_bound, read_form
from contract_tests.cases.probes import check_answer
from contract_tests.cases.server_values import load_server_values
from contract_tests.http.clock import Clock
from contract_tests.report.hiding import hide
from contract_tests.suite.app import Apps
from contract_tests.suite.created import CreatedResources
from contract_tests.suite.not_exercised import NotExercised
from contract_tests.suite.sender import Sender
from contract_tests.suite.values import ServerValues
from flowcontract import pointers
from flowcontract.schemas.violations import rate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contract_tests.cases.case import Case
    from contract_tests.http.exchange import Request
    from contract_tests.http.target import Flow, Provocation, Target
    from contract_tests.suite.record import Record
    from flowcontract.specs.model import Api, Operation

_CONTROLS = 20  # of a form that are tried


class Suite:
    """One run against one target.

    ``sender``     sends requests, and records what comes back
    ``apps``       what the apps say of themselves, and what may be called on them
    ``values``     fills requests with values that only this server has
    ``leftovers``  what could not be removed, in words
    """

    def __init__(self, target: Target, clock: Clock | None = None) -> None:
        """Prepare clients; nothing is sent yet."""
        self.target = target
        self.clock = clock or Clock()
        self._created = CreatedResources()
        self.sender = Sender(target, self.clock, self._created)
        self.apps = Apps(self.sender)
        self.values = ServerValues(self.sender, self.apps, self._created)
        self.leftovers: list[str] = []
        self.users = 0  # how many have been invented

    @property
    def record(self) -> Record:
        """The record of the current test."""
        return self.sender.record

    @record.setter
    def record(self, record: Record) -> None:
        self.sender.record = record

    def get_api(self, name: str) -> Api:
        """Return one of the APIs under test."""
        return self.target.apis[name].api

    def close(self) -> None:
        """Remove what the suite created, and close all connections."""
        self.clock.clean_up()
        try:
            for resource in self._created:
                exchange = self.sender.send(*resource.build_removal(self.get_api(resource.api)))
                if not 200 <= exchange.status < 300 and exchange.status != 404:  # noqa: PLR2004 - HTTP's own ranges
                    self._leave(f"{resource}: status {exchange.status} {exchange.trouble}".strip())
                self._created.discard(resource)
        except KeyboardInterrupt:  # no time is left for that either
            for resource in self._created:
                self._leave(f"{resource}: no time was left")
        self.sender.close()

    def _leave(self, leftover: str) -> None:
        self.leftovers.append(hide(leftover, self.target.secrets))

    def run(self, case: Case) -> None:
        """Ask what a case asks; raise NotExercised where this target cannot be asked it."""
        operation = case.operation
        self.apps.check_allowed(operation, refused=case.expected.refused is True and case.family != "probes")
        flow = self._find_flow(case)
        rulings = self.get_api(operation.api).rulings
        for request, keep in self.build_requests(case):
            filled = self.values.fill(operation, request, keep, flow.values if flow else {})
            sent = replace(filled, keys=flow.keys) if flow else self.sender.add_keys(operation, filled, case.auth)
            if case.provoke and request.keys:
                sent = replace(sent, keys={**(sent.keys or {}), **request.keys})
            verdict = self.sender.ask(operation, sent, case.expected, provoked=bool(case.provoke))
            for violation in rate(check_answer(case, sent, verdict.exchange), rulings):
                self.record.fail(operation, violation, rulings)
        if case.provoke:
            self.record.choices = []  # the server did not choose: it was made to

    def build_requests(self, case: Case) -> Iterator[tuple[Request, frozenset[str]]]:
        """Yield what a case asks, each request with the places that are not to be filled in."""
        if case.provoke:
            way = self.target.find_provocation(case.operation, case.provoke, min(case.expected.statuses, default=0))
            if way is None:
                raise NotExercised("cannot be provoked from outside; a target file may say how, under [provoke]")
            yield _provoke(case.request, way, self.get_api(case.operation.api)), case.keep | way.places
        elif case.form:
            yield from self._break_form(case)
        else:
            yield case.request, case.keep

    def _break_form(self, case: Case) -> Iterator[tuple[Request, frozenset[str]]]:
        """Yield a request for each control of the app's form that has the bound which the case is about."""
        field = load_server_values()[case.operation.api]["form"]["inputs"]
        form = read_form(self.apps.read_parameters(case.operation.api).get("user_input_form"))
        values = [(control.variable, break_bound(control, case.form)) for control in form[:_CONTROLS]]
        wrong = [(variable, value) for variable, value in values if value is not None]
        if not wrong:
            raise NotExercised(f"the form of this app (GET /parameters) has nothing for it: {case.expected.because}")
        for variable, value in wrong:
            body = {**case.request.body, field: {variable: value}}
            yield replace(case.request, body=body), case.keep | {f"/{field}/{pointers.escape(variable)}"}

    def _find_flow(self, case: Case) -> Flow | None:
        """Return the flow that a documented example is for; None where any will do."""
        about = load_server_values().get(case.operation.api, {})
        if case.family != "documented" or case.operation.id not in about.get("components", ()):
            return None
        return self.choose_flow(case.operation, case.name)

    def choose_flow(self, operation: Operation, example: str) -> Flow:
        """Return the flow that has the components of an example; raise NotExercised where the target file has none."""
        flow = self.target.apis[operation.api].examples.get(operation.id, {}).get(example)
        if flow is None:
            where = f"[api.{operation.api}.examples.{operation.id}.{example}]"
            raise NotExercised(f"the target file names no flow with the components of this example, under {where}")
        return flow


def _provoke(request: Request, way: Provocation, api: Api) -> Request:
    """Return a request with what makes the target answer otherwise."""
    body = request.body
    if way.body:
        body = {**body, **way.body} if isinstance(body, Mapping) else dict(way.body)
    return replace(
        request,
        headers={**request.headers, **way.headers},
        query={**request.query, **way.query},
        body=body,
        keys=way.find_keys(api),
    )
