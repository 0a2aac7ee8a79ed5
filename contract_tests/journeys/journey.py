"""Calls operations one after another, and demands that their answers agree."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from contract_tests.cases import sample_files as samples
from contract_tests.cases.app_inputs import read_form
from contract_tests.cases.examples import list_examples, wants_stream
from contract_tests.cases.refusals import expect_refusal
from contract_tests.http.client import find_keys
from contract_tests.http.exchange import Request
from contract_tests.http.target import Flow
from contract_tests.journeys.response_values import Event, ResponseValue
from contract_tests.judging.error_codes import is_refusal
from contract_tests.judging.expectations import ANYTHING, Expected
from contract_tests.suite.not_exercised import NotExercised
from flowcontract.provenance.evidence import find_tier
from flowcontract.schemas.decoding import ABSENT
from flowcontract.schemas.violations import Violation, rate
from flowcontract.streams.showing import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import NoReturn

    from contract_tests.cases.app_inputs import Control
    from contract_tests.http.exchange import Answer
    from contract_tests.suite.session import Suite
    from flowcontract.specs.model import Operation

_SECOND = 1.1  # between events whose times, in whole seconds, must differ
_LESS = {"wrong-input": ("invalid-request",), "other-users-file": ("wrong-input", "invalid-request")}
"""More general words of `x-refusals` for the same mistake, the more specific first, for contracts that lack a word."""
_AT_ONCE, _SHARED, _BURSTS = 6, 3, 3  # created at a time; of them so many share a second; attempts


class Journey:
    """Calls one API with the values given; every answer is judged by the contract.

    A demand beyond the contract names its source: lines of a document, a ruling (`ruling NAME`), or an observation
    (`observed: ...`), which determines the tier of the violation.
    """

    def __init__(self, suite: Suite, api: str, flow: Flow | None = None) -> None:
        """Use an API, or another of its flows; raise NotExercised if the API is not under test."""
        if api not in suite.target.apis:
            raise NotExercised(f"{api} is not under test")
        target = suite.target.apis[api]
        self.flow = flow or Flow(target.keys, target.values)
        self.suite = suite
        self.api = suite.get_api(api)
        self.run = suite.target.run
        self.deterministic = suite.target.deterministic

    # Calling.

    def build_request(
        self,
        operation: Operation,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = ABSENT,
    ) -> Request:
        """Return a request with the values given, and the target's or the example's for other path parameters."""
        base = list_examples(self.api, operation)[0].request
        known = {name: str(self.flow.values.get(name, value)) for name, value in base.path_values.items()}
        return Request(
            operation.method,
            operation.path,
            {**known, **(path or {})},
            query or {},
            headers or {},
            body,
            media_type="" if body is ABSENT else base.media_type,
            keys=find_keys(operation.security, self.flow.keys),
        )

    def use_second_account(self) -> Journey:
        """Return a journey of another account, or app, which must not see what is the first one's."""
        flow = self.suite.target.apis[self.api.name].second
        if flow is None:
            raise NotExercised("no second account or app: a target file may name one as `second` of an API")
        return Journey(self.suite, self.api.name, flow)

    def use_failing_flow(self) -> Journey:
        """Return a journey of a flow whose runs fail."""
        flow = self.suite.target.apis[self.api.name].failing
        if flow is None:
            raise NotExercised("no flow that fails: a target file may name one as `failing` of an API")
        return Journey(self.suite, self.api.name, flow)

    def use_example_flow(self, name: str, example: str) -> Journey:
        """Return a journey of the flow that has the components of an operation's example."""
        return Journey(self.suite, self.api.name, self.suite.choose_flow(self.api.operations[name], example))

    def build_example(self, name: str, example: str) -> Request:
        """Return a documented request with this flow's values."""
        return self.suite.values.build_example(self.api.operations[name], example, self.flow.values)

    def call(
        self, name: str, *, refused: str = "", why: str = "", source: tuple[str, ...] = (), **values: Any
    ) -> ResponseValue:
        """Call an operation and return its answer; demand a success, or the refusal of a word of `x-refusals`.

        Raises NotExercised, which ends the journey, for any other answer: what follows would only be consequences.
        """
        operation = self.api.operations[name]
        self.suite.apps.check_allowed(operation, refused=bool(refused))
        request = self.build_request(operation, **values)
        expected = (
            self.expect_refusal(operation, refused, why, source)
            if refused
            else self.expect_success(operation, request, why)
        )
        exchange = self.suite.sender.ask(operation, request, expected).exchange
        if exchange.answer is None or (not refused and is_refusal(operation, exchange)):
            raise NotExercised(f"{operation.name} gave no such answer, so the journey ended there")
        return self._wrap(operation, exchange.json, exchange.answer)

    def try_call(self, name: str, *, may_fail: bool = False, **values: Any) -> ResponseValue:
        """Call an operation that may succeed or refuse, or, if it `may_fail`, answer with a server error."""
        operation = self.api.operations[name]
        self.suite.apps.check_allowed(operation)
        statuses = frozenset(status for status in operation.responses if may_fail or status < 500)  # noqa: PLR2004 - HTTP's own range
        expected = replace(ANYTHING, statuses=statuses)
        exchange = self.suite.sender.ask(operation, self.build_request(operation, **values), expected).exchange
        return self._wrap(operation, exchange.json, exchange.answer)

    def expect_refusal(self, operation: Operation, word: str, why: str, source: tuple[str, ...]) -> Expected:
        """Expect a refusal: that there is one rests on `source`, its status and code on the contract."""
        expected = expect_refusal(operation, (word, *_LESS.get(word, ())), why or word)
        return replace(expected, source=source, outcome=find_tier(source, self.api.rulings)) if source else expected

    def expect_success(self, operation: Operation, request: Request, why: str = "") -> Expected:
        """Expect a success."""
        statuses = frozenset(status for status in operation.responses if status < 300)  # noqa: PLR2004 - HTTP's own range
        streamed = wants_stream(operation, request)
        return Expected(why or "the request is documented", statuses, refused=False, streamed=streamed)

    @contextmanager
    def open_stream(self, name: str, *, interrupted: bool = False, **values: Any) -> Iterator[Iterator[Event]]:
        """Request a stream and yield its events as they arrive, without those that may come anywhere (pings).

        `interrupted` says that its run is going to be stopped.
        """
        operation = self.api.operations[name]
        self.suite.apps.check_allowed(operation)
        request = self.build_request(operation, **values)
        ignored = operation.stream.anywhere if operation.stream else ()
        expected = replace(self.expect_success(operation, request), interrupted=interrupted)
        with self.suite.sender.open_stream(operation, request, expected) as events:
            yield (
                Event(
                    timed.at_s, timed.event.kind, self._wrap(operation, timed.event.payload, event=timed.event.number)
                )
                for timed in events
                if timed.event.kind not in ignored
            )

    def read_events(self, name: str, **values: Any) -> list[Event]:
        """Return the events of a whole stream."""
        with self.open_stream(name, **values) as events:
            return list(events)

    def _wrap(
        self, operation: Operation, value: Any, answer: Answer | None = None, event: int | None = None
    ) -> ResponseValue:
        def complain(violation: Violation) -> NoReturn:
            known = {(failure.operation, failure.violation.where) for failure in self.suite.record.failures}
            if (operation.name, violation.where) not in known:  # else the contract's own check found it
                self._add_failure(operation, replace(violation, source=operation.success.provenance))
            raise NotExercised(f"the answer of {operation.name} has no `{violation.where or 'value'}` as documented")

        return ResponseValue(value, complain, event=event, answer=answer)

    # Demands.

    def expect_equal(self, name: str, what: str, expected: Any, got: Any, *source: str) -> None:
        """Demand that two answers agree; `name` is the operation whose answer is `got`."""
        if expected != got:
            self.add_violation(name, "agree", f"{what} {show(expected)}", show(got), *source)

    def expect(self, name: str, what: str, got: Any, *source: str, condition: bool) -> None:
        """Demand a condition of an answer; `what` describes it."""
        if not condition:
            self.add_violation(name, "agree", what, show(got), *source)

    def add_violation(self, name: str, rule: str, expected: str, got: str, *source: str) -> None:
        """Record that an answer does not agree with earlier ones."""
        self._add_failure(self.api.operations[name], Violation(rule, expected, got, source=source))

    def _add_failure(self, operation: Operation, violation: Violation) -> None:
        (violation,) = rate([violation], self.api.rulings)
        self.suite.record.fail(operation, violation, self.api.rulings)

    # Values to send.

    def list_sample_texts(self) -> dict[str, str]:
        """Return a value for each control of the app's form that takes text."""
        taken = [control for control in self.list_controls() if control.takes("text")]
        return {control.variable: "contract test"[: control.longest or None] for control in taken}

    def list_controls(self) -> tuple[Control, ...]:
        """Return the controls of the app's form."""
        return read_form(self.suite.apps.read_parameters(self.api.name).get("user_input_form"))

    def create_user(self, name: str) -> str:
        """Return the name of a user that nothing else uses."""
        self.suite.users += 1
        return f"contract-tests-{self.run}-{self.suite.users}-{name}"

    def upload(self, operation: str, hint: str, filename: str = "", **fields: str) -> tuple[ResponseValue, bytes]:
        """Upload a small file of the sort that `hint` names; return the answer and the bytes.

        The bytes, and the name if none is given, are unique.
        """
        file = samples.upload(hint, self.create_user("file").removeprefix("contract-tests-"))
        file = replace(file, filename=filename or file.filename)
        return self.call(operation, body={"file": file, **fields}), file.content

    # Time.

    def wait_for_next_second(self, began: float) -> None:
        """Wait until the second after that of `began` (monotonic)."""
        time.sleep(max(0.0, began + _SECOND - time.monotonic()))

    def create_at_once(self, count: int, make: Callable[[int], str]) -> list[str]:
        """Create resources at the same time; return their ids."""
        with ThreadPoolExecutor(count) as workers:
            return list(workers.map(make, range(count)))

    def create_in_one_second(
        self, make: Callable[[int], str], list_rows: Callable[[], list[ResponseValue]], when: str
    ) -> list[str]:
        """Create resources until at least three share a second in their field `when`; return their ids.

        Raises NotExercised where the server is too slow to create three in one second.
        """
        made: list[str] = []
        for _ in range(_BURSTS):
            made += self.create_at_once(_AT_ONCE, make)
            seconds = Counter(int(row[when].number) for row in list_rows())
            if max(seconds.values(), default=0) >= _SHARED:
                return made
        raise NotExercised(f"no {_SHARED} of {len(made)} were created within a second")


def find_last_event(events: list[Event], kind: str) -> ResponseValue:
    """Return the payload of the last event of a kind; raise NotExercised if none came, which its judge has recorded."""
    found = [event.payload for event in events if event.kind == kind]
    if not found:
        raise NotExercised(f"the stream had no {kind}")
    return found[-1]
