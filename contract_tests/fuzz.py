"""Schemathesis over an API's bundle: it makes up the requests, our own judgement says what is wrong with answers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from contract_tests.examples import FORM, refusable
from contract_tests.exchange import Answer, Request, Sent
from contract_tests.judgement import Expected, Judge
from contract_tests.resources import resources
from flowcontract.decoding import ABSENT, parse_json

if TYPE_CHECKING:
    from contract_tests.suite import Suite
    from flowcontract.specs import Api, Operation

    Case = schemathesis.Case[Any]

PHASES = ("examples", "coverage", "fuzzing", "stateful")
_SECONDS, _THOROUGH_SECONDS = 2, 30  # of each phase of each API: four times four of them fit a minute, or ten
_EXAMPLES_PER_SECOND = 3  # that Hypothesis makes up for an operation, at most
_MAX_EVENTS = 1000
_SERVER_ERROR = 500


@dataclass(slots=True)
class Fuzzing:
    """One phase over one API, while it runs."""

    suite: Suite
    api: Api
    seconds: int
    answers: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def operation(self, case: Case) -> Operation | None:
        """Return the operation of a case; None for a method that its path does not have."""
        method, path = case.method.upper(), case.path
        return next((one for one in self.api.operations.values() if (one.method, one.path) == (method, path)), None)

    def judge(self, case: Case, response: schemathesis.Response) -> None:
        """Note what is wrong with an answer."""
        operation = self.operation(case)
        self.answers[response.status_code] += 1
        if operation is None:
            return  # the suite's own cases try every undocumented method
        request = _request(case)
        headers = {name.lower(): ", ".join(values) for name, values in response.headers.items()}
        answer = Answer(response.status_code, headers, response.content or b"")
        judge = Judge(self.api, operation, self._expected(operation, request, response.status_code))
        if judge.watch(answer):
            for _ in judge.feed(0.0, answer.body):
                pass
            judge.end(0.0, broken=False)
        client = self.suite.clients[self.api.name]
        sent_headers = tuple((name, str(value)) for name, value in response.request.headers.items())
        raw = response.request.body
        body = raw if isinstance(raw, bytes) else str(raw or "").encode()
        sent = Sent(case.method.upper(), str(response.request.url), sent_headers, body, client.secrets)
        verdict = judge.verdict(sent, answer)
        self.suite.record.note(operation, verdict)
        self.suite.remember(operation, request, verdict.exchange)

    def _expected(self, operation: Operation, request: Request, status: int) -> Expected:
        """Return what may be answered: no server error, and no success if the contract finds the request wrong."""
        may_fail = operation.id in resources().get(operation.api, {}).get("may_fail", {})
        statuses = frozenset(one for one in operation.responses if may_fail or one < _SERVER_ERROR)
        if request.media_type == FORM or status >= _SERVER_ERROR:
            return Expected("the server did not fail", statuses)
        try:
            found = refusable(self.api, operation, _read(request))
        except ValueError as problem:  # Schemathesis sends bytes that are no JSON as well
            return Expected(f"the body is not JSON: {problem}", statuses, refused=True, source=operation.provenance)
        if not found:
            return Expected("the server did not fail", statuses)
        return Expected(found[0].message, statuses, refused=True, source=found[0].violation.source)


def _request(case: Case) -> Request:
    """Return a case as the suite's own requests are written; texts as they are sent."""
    query = {name: _texts(value) for name, value in (case.query or {}).items()}
    path = {name: str(value) for name, value in (case.path_parameters or {}).items()}
    headers = {name: str(value) for name, value in (case.headers or {}).items()}
    body = case.body
    absent = type(body).__name__ == "NotSet"
    media_type = "" if absent else case.media_type or ""
    return Request(case.method.upper(), case.path, path, query, headers, ABSENT if absent else body, media_type)


def _read(request: Request) -> Request:
    """Return a request whose body is what a server reads from its bytes."""
    return replace(request, body=parse_json(request.body)) if isinstance(request.body, bytes) else request


def _texts(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(_texts(item)) for item in value)
    return value if isinstance(value, str) else json.dumps(value, default=str)


_running: list[Fuzzing] = []  # Schemathesis knows checks and hooks by name only, for the whole process


@schemathesis.check
def answers_as_documented(ctx: Any, response: schemathesis.Response, case: Case) -> None:  # noqa: ARG001 - Schemathesis's signature
    """Hand every answer to the phase that runs."""
    for fuzzing in _running:
        fuzzing.judge(case, response)


@schemathesis.hook
def before_call(ctx: Any, case: Case, kwargs: dict[str, Any]) -> None:  # noqa: ARG001 - Schemathesis's signature
    """Keep links usable: what they read is in the body of the whole answer, so no stream is asked for."""
    if not _running or case.meta is None or case.meta.phase.name.value != "stateful":
        return
    operation = _running[-1].operation(case)
    stream = operation.stream if operation else None
    for name, value in (stream.when.get("body", {}) if stream else {}).items():
        if isinstance(case.body, dict) and case.body.get(name) == value:
            case.body = {key: item for key, item in case.body.items() if key != name}
            case.body[name] = "blocking"
    for name in stream.when.get("query", {}) if stream else {}:
        if case.query:
            case.query.pop(name, None)


def has_links(api: Api) -> bool:
    """Tell whether an answer of an API leads to other operations: without that there is nothing to follow."""
    operations = (one for path in api.bundle["paths"].values() for one in path.values() if isinstance(one, dict))
    return any(answer.get("links") for one in operations for answer in one.get("responses", {}).values())


def fuzz(suite: Suite, name: str, phase: str, *, thorough: bool) -> Fuzzing:
    """Run one phase over one API; what is wrong is in the suite's record afterwards."""
    fuzzing = Fuzzing(suite, suite.api(name), _THOROUGH_SECONDS if thorough else _SECONDS)
    config = SchemathesisConfig.from_dict(_config(suite, name, phase, fuzzing.seconds))
    schema: Any = schemathesis.openapi.from_dict(dict(fuzzing.api.bundle), config=config)
    if suite.target.read_only:
        schema = schema.include(method="GET")
    about = resources().get(name, {})
    if suite.target.no_delete_all:
        for operation in about.get("deletes_all", ()):
            schema = schema.exclude(operation_id=operation)
    _running.append(fuzzing)
    try:
        for event in from_schema(schema).execute():
            if isinstance(event, events.NonFatalError | events.FatalError):
                fuzzing.errors.append(
                    " ".join(str(getattr(event, "value", getattr(event, "exception", event))).split())[:300]
                )
    finally:
        _running.remove(fuzzing)
    return fuzzing


def _config(suite: Suite, name: str, phase: str, seconds: int) -> dict[str, Any]:
    client = suite.clients[name]
    operation = next(iter(client.api.api.operations.values()))
    sent = client.prepare(Request("GET", "", keys=client.keys_for(operation.security)))
    return {
        "base-url": client.api.base_url,
        "seed": 1,
        "headers": dict(sent.headers),
        "parameters": {f"path.{field}": value for field, value in client.api.values.items() if isinstance(value, str)},
        "max-stream-events": _MAX_EVENTS,
        "request-timeout": suite.target.answer_s,
        "max-time": seconds,
        "checks": {"enabled": False, "answers_as_documented": {"enabled": True}},
        "cache": {"enabled": False},  # would lie in the user's folder, and ask this server what another one answered
        "phases": {one: {"enabled": one == phase} for one in PHASES},
        "generation": {
            "database": "none",
            "deterministic": True,
            "max-examples": _EXAMPLES_PER_SECOND * seconds,
            "with-security-parameters": False,
        },
        **({"rate-limit": f"{max(1, int(suite.target.rate))}/s"} if suite.target.rate else {}),
    }
