"""Runs Schemathesis over an API's bundle: it generates requests, and our own judge checks the answers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import requests
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from contract_tests.cases.examples import FORM, find_refusable, wants_stream
from contract_tests.cases.server_values import load_server_values
from contract_tests.http.exchange import Answer, Exchange, Request
from contract_tests.http.multipart import read_form
from contract_tests.http.patience import Sort
from contract_tests.http.schemathesis_transport import Carrier, carry_requests
from contract_tests.judging.expectations import Expected
from contract_tests.judging.judge import MAX_EVENTS, Judge, judge_unanswered
from flowcontract.provenance.evidence import Tier
from flowcontract.schemas.decoding import ABSENT, parse_json

if TYPE_CHECKING:
    from contract_tests.suite.session import Suite
    from flowcontract.specs.model import Api, Operation

    Case = schemathesis.Case[Any]

PHASES = ("examples", "coverage", "fuzzing", "stateful")
_SEED = 1
_EXAMPLES, _THOROUGH_EXAMPLES = 6, 100  # that Hypothesis generates for an operation
_STREAMS, _THOROUGH_STREAMS = 3, 100  # of an operation that are requested in a phase: each takes as long as its run
_DENSE = 8  # cases of an operation that are all sent; of later ones ever fewer
_SERVER_ERROR = 500


@dataclass(slots=True)
class Fuzzing:
    """A running phase over an API."""

    suite: Suite
    api: Api
    phase: str
    thorough: bool
    answers: Counter[int] = field(default_factory=Counter)
    considered: Counter[str] = field(default_factory=Counter)  # by operation: generated cases
    streams: Counter[str] = field(default_factory=Counter)  # by operation: requests for its stream
    errors: list[str] = field(default_factory=list)
    carrier: Carrier = field(init=False)
    crash: Exception | None = None
    _asking: Operation | None = None
    _sort: Sort | None = None  # of the request
    _is_shortened: bool = False  # whether it is waited for less long than is due, since others of its sort hung

    def begin(self, case: Case) -> None:
        """Prepare to send a case; the answer is waited for less long if its operation has hung, here or before."""
        target, carrier = self.suite.target, self.carrier
        self._asking = operation = self.find_operation(case)
        self._sort, self._is_shortened = None, False
        carrier.wait_s = carrier.limit_s = target.answer_s
        if operation is None:
            return
        streamed = _wants_stream(operation, case)
        self._sort = Sort(operation.name, refused=True, streamed=streamed)  # as different as what is refused
        if streamed and target.apis[operation.api].slow:
            carrier.wait_s = carrier.limit_s = target.stream_s
        full_s = carrier.wait_s
        carrier.wait_s = self.suite.sender.patience.choose_seconds(self._sort, full_s)
        self._is_shortened = carrier.wait_s < full_s

    def note_unanswered(self, exchange: Exchange) -> None:
        """Record that a request was not answered."""
        if self._asking is None:
            return
        self.answers[0] += 1
        if not self._note_end():
            return
        self.suite.record.note(self._asking, judge_unanswered(exchange, Expected("an answer, whatever is asked")))

    def _note_end(self) -> bool:
        """Note whether the request hung; tell whether that counts, which it does not if the wait was cut short."""
        if self._sort:
            self.suite.sender.patience.note(self._sort, hung=self.carrier.hung)
        return not (self.carrier.hung and self._is_shortened)

    def find_operation(self, case: Case) -> Operation | None:
        """Return the operation of a case; None for a method that its path does not have."""
        method, path = case.method.upper(), case.path
        operations = self.api.operations.values()
        return next((found for found in operations if (found.method, found.path) == (method, path)), None)

    def judge(self, case: Case, response: schemathesis.Response) -> None:
        """Judge and record an answer; an exception of ours is raised once Schemathesis has ended."""
        try:
            self._judge(case, response)
        except Exception as error:
            self.crash = self.crash or error
            raise

    def _judge(self, case: Case, response: schemathesis.Response) -> None:
        operation = self.find_operation(case)
        self.answers[response.status_code] += 1
        if not self._note_end() or operation is None:
            return  # the suite's own cases send every undocumented method
        raw = response.request.body
        body = raw if isinstance(raw, bytes) else str(raw or "").encode()
        request = _build_request(case)
        headers = {name.lower(): ", ".join(values) for name, values in response.headers.items()}
        answer = Answer(response.status_code, headers, response.content or b"", trouble=self.carrier.trouble)
        content_type = str(response.request.headers.get("Content-Type", ""))
        form = (content_type, body) if request.media_type == FORM else None
        judge = Judge(self.api, operation, self._expect(operation, request, form, response.status_code))
        if judge.watch(answer):
            for _ in judge.feed(0.0, answer.body):
                pass
            judge.end(0.0, broken=bool(answer.trouble))
        client = self.suite.sender.clients[self.api.name]
        sent_headers = tuple((name, str(value)) for name, value in response.request.headers.items())
        sent = client.create_sent(case.method.upper(), str(response.request.url), sent_headers, body)
        self.suite.sender.note(operation, request, judge.conclude(sent, answer))

    def handle_event(self, event: events.EngineEvent) -> None:
        """Handle an event of the engine."""
        if isinstance(event, events.Interrupted):
            self.suite.clock.get_left_s()
            raise KeyboardInterrupt
        if isinstance(event, events.NonFatalError | events.FatalError):
            error = getattr(event, "value", getattr(event, "exception", event))
            if not isinstance(error, requests.RequestException):  # recorded already, as requests without an answer
                self.errors.append(" ".join(str(error).split())[:300])

    def is_selected(self, case: Case) -> bool:
        """Tell whether to send a generated case of the coverage phase: the first ones, then ever fewer."""
        number = self.considered[case.operation.label]
        self.considered[case.operation.label] += 1
        return self.thorough or number % (1 + number // _DENSE) == 0

    def spare_streams(self, case: Case) -> None:
        """Request no stream where enough were requested, or where links need the whole body."""
        operation = self.find_operation(case)
        if operation is None or operation.stream is None:
            return
        if not _wants_stream(operation, case):
            return
        self.streams[operation.id] += 1
        allowed = _THOROUGH_STREAMS if self.thorough else _STREAMS
        if self.phase == "stateful" or self.streams[operation.id] > allowed:
            _ask_for_body(operation, case)

    def _expect(self, operation: Operation, request: Request, form: tuple[str, bytes] | None, status: int) -> Expected:
        """Expect no server error, and no success if the contract finds the request wrong."""
        may_fail = operation.id in load_server_values().get(operation.api, {}).get("may_fail", {})
        statuses = frozenset(number for number in operation.responses if may_fail or number < _SERVER_ERROR)
        if status >= _SERVER_ERROR:
            return Expected("the server did not fail", statuses)
        try:
            body = read_form(*form) if form else request.body
            body = parse_json(body) if isinstance(body, bytes) else body
            found = find_refusable(self.api, operation, replace(request, body=body))
        except ValueError as error:  # Schemathesis also sends bytes that are no JSON, or no form
            return _expect_refusal(f"the body cannot be read: {error}", statuses, operation.provenance)
        if not found:
            return Expected("the server did not fail", statuses)
        return _expect_refusal(found[0].message, statuses, found[0].violation.source)


def _expect_refusal(why: str, statuses: frozenset[int], source: tuple[str, ...]) -> Expected:
    """Expect a refusal of any form, as an observation: no document says that undocumented values are refused."""
    observed = Tier.OBSERVED
    return Expected(why, statuses, refused=True, source=source, outcome=observed, form=observed)


def _build_request(case: Case) -> Request:
    """Convert a case into a request of the suite; texts as they are sent."""
    query = {name: _convert_to_texts(value) for name, value in (case.query or {}).items()}
    path = {name: str(value) for name, value in (case.path_parameters or {}).items()}
    headers = {name: str(value) for name, value in (case.headers or {}).items()}
    body = case.body
    absent = type(body).__name__ == "NotSet"
    media_type = "" if absent else case.media_type or ""
    return Request(case.method.upper(), case.path, path, query, headers, ABSENT if absent else body, media_type)


def _convert_to_texts(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(_convert_to_texts(item)) for item in value)
    return value if isinstance(value, str) else json.dumps(value, default=str)


_running: list[Fuzzing] = []  # Schemathesis registers checks and hooks for the whole process


@schemathesis.check
def answers_as_documented(ctx: Any, response: schemathesis.Response, case: Case) -> None:  # noqa: ARG001 - Schemathesis's signature
    """Pass every answer to the running phase."""
    for fuzzing in _running:
        fuzzing.judge(case, response)


@schemathesis.hook
def filter_case(context: Any, case: Case) -> bool:  # noqa: ARG001 - Schemathesis's signature
    """Limit the number of cases of an operation, independently of time, so that runs are reproducible."""
    return all(fuzzing.phase != "coverage" or fuzzing.is_selected(case) for fuzzing in _running)


@schemathesis.hook
def before_call(ctx: Any, case: Case, kwargs: dict[str, Any]) -> None:  # noqa: ARG001 - Schemathesis's signature
    """Limit the number of streams, independently of the time that they take."""
    for fuzzing in _running:
        fuzzing.spare_streams(case)
        fuzzing.begin(case)


def _wants_stream(operation: Operation, case: Case) -> bool:
    body = case.body if isinstance(case.body, dict) else None
    return bool(wants_stream(operation, replace(_build_request(case), body=body)))


def _ask_for_body(operation: Operation, case: Case) -> None:
    """Change a case so that it requests no stream, by `x-stream.when`."""
    when = operation.stream.when if operation.stream else {}
    if isinstance(case.body, dict):
        case.body = {**case.body, **dict.fromkeys(when.get("body", {}), "blocking")}
    for name in when.get("query", {}):
        case.query.pop(name, None)


def has_links(api: Api) -> bool:
    """Tell whether any response of an API has links, which the stateful phase needs."""
    items = (item for path in api.bundle["paths"].values() for item in path.values())
    operations = [item for item in items if isinstance(item, dict)]
    return any(response.get("links") for item in operations for response in item.get("responses", {}).values())


def run_phase(suite: Suite, name: str, phase: str, *, thorough: bool) -> Fuzzing:
    """Run a phase over an API; violations are added to the suite's record."""
    fuzzing = Fuzzing(suite, suite.get_api(name), phase, thorough)
    count = _THOROUGH_EXAMPLES if thorough else _EXAMPLES
    config = SchemathesisConfig.from_dict(_build_config(suite, name, phase, count))
    schema: Any = schemathesis.openapi.from_dict(dict(fuzzing.api.bundle), config=config)
    if suite.target.read_only:
        schema = schema.include(method="GET")
    about = load_server_values().get(name, {})
    if suite.target.no_delete_all:
        for operation in about.get("deletes_all", ()):
            schema = schema.exclude(operation_id=operation)
    _running.append(fuzzing)
    try:
        with carry_requests(suite.sender.clients[name], fuzzing.note_unanswered) as fuzzing.carrier:
            for event in from_schema(schema).execute():
                fuzzing.handle_event(event)
    finally:
        _running.remove(fuzzing)
    suite.clock.get_left_s()  # raises what the engine has caught
    if fuzzing.crash:
        raise fuzzing.crash
    return fuzzing


def _build_config(suite: Suite, name: str, phase: str, examples: int) -> dict[str, Any]:
    """Return the settings of a phase. None depends on time, or on earlier answers of the server."""
    client = suite.sender.clients[name]
    operation = next(iter(client.api.api.operations.values()))
    sent = client.prepare(Request("GET", "", keys=client.find_keys(operation.security)))
    alone = {"extra-data-sources": {"responses": False}}
    return {
        "base-url": client.api.base_url,
        "seed": _SEED,
        "headers": dict(sent.headers),
        "parameters": {f"path.{field}": value for field, value in client.api.values.items() if isinstance(value, str)},
        "max-stream-events": MAX_EVENTS + 1,  # the carrier limits streams, and reports it
        "request-timeout": suite.target.answer_s,
        "checks": {"enabled": False, "answers_as_documented": {"enabled": True}},
        "cache": {"enabled": False},  # it would be in the user's folder, and mix servers
        "suppress-health-check": ["all"],  # a busy machine must not change the requests
        "phases": {
            "examples": {"enabled": phase == "examples", **alone},
            "coverage": {"enabled": phase == "coverage", **alone, "unexpected-methods": []},
            "fuzzing": {"enabled": phase == "fuzzing", **alone, "error-feedback": {"enabled": False}},
            "stateful": {
                "enabled": phase == "stateful",
                "inference": {"algorithms": []},
                "link-calibration": False,
            },
        },
        "generation": {
            "database": "none",
            "deterministic": True,
            "max-examples": examples,
            "with-security-parameters": False,
        },
    }
