"""What a journey does: asks one operation after another, and demands that their answers agree."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from contract_tests.cases import sample_files as samples
from contract_tests.cases.app_inputs import controls
from contract_tests.cases.examples import examples, wants_stream
from contract_tests.cases.refusals import refusal
from contract_tests.http.client import keys_for
from contract_tests.http.exchange import Request
from contract_tests.http.target import Flow
from contract_tests.journeys.said import Event, Said
from contract_tests.judging.judge import ANYTHING, Expected, is_refusal
from contract_tests.suite.session import NotExercised, Suite
from flowcontract.provenance.evidence import tier_of
from flowcontract.schemas.decoding import ABSENT
from flowcontract.schemas.violations import Violation, rate
from flowcontract.streams.rules import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import NoReturn

    from contract_tests.cases.app_inputs import Control
    from contract_tests.http.exchange import Answer
    from flowcontract.specs.model import Operation

_SECOND = 1.1  # times are whole seconds: what is to show an order lies so far apart
_LESS = {"wrong-input": ("invalid-request",), "other-users-file": ("wrong-input", "invalid-request")}
"""What else says of a request what a word of `x-refusals` says, the more particular first; a contract may lack it."""
_AT_ONCE, _SHARED, _BURSTS = 6, 3, 3  # made at a time, of which so many share a second, within so many attempts


class Journey:
    """Asks one API. Values are sent as they are given; everything that comes back is judged by the contract.

    What a journey demands beyond the contract names what it rests on: lines of a document, rulings (`ruling NAME`),
    or what was observed (`observed: ...`), from which the tier of the violation follows.
    """

    def __init__(self, suite: Suite, api: str, flow: Flow | None = None) -> None:
        """Begin at an API, or at one of its other flows; raise NotExercised if it is not under test."""
        if api not in suite.target.apis:
            raise NotExercised(f"{api} is not under test")
        target = suite.target.apis[api]
        self.flow = flow or Flow(target.keys, target.values)
        self.suite = suite
        self.api = suite.api(api)
        self.run = suite.target.run
        self.deterministic = suite.target.deterministic

    # Asking.

    def request(
        self,
        operation: Operation,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = ABSENT,
    ) -> Request:
        """Return a request with the values given, and with the target file's own for what a path still lacks."""
        _, base, _ = next(examples(self.api, operation))
        known = {name: str(self.flow.values.get(name, value)) for name, value in base.path_values.items()}
        return Request(
            operation.method,
            operation.path,
            {**known, **(path or {})},
            query or {},
            headers or {},
            body,
            media_type="" if body is ABSENT else base.media_type,
            keys=keys_for(operation.security, self.flow.keys),
        )

    def second(self) -> Journey:
        """Return a journey of another account, or app, from which the first one's is hidden."""
        flow = self.suite.target.apis[self.api.name].second
        if flow is None:
            raise NotExercised("no second account or app: a target file may name one as `second` of an API")
        return Journey(self.suite, self.api.name, flow)

    def failing(self) -> Journey:
        """Return a journey of a flow whose runs fail."""
        flow = self.suite.target.apis[self.api.name].failing
        if flow is None:
            raise NotExercised("no flow that fails: a target file may name one as `failing` of an API")
        return Journey(self.suite, self.api.name, flow)

    def of_example(self, name: str, example: str) -> Journey:
        """Return a journey of the flow that has the components of an operation's example."""
        return Journey(self.suite, self.api.name, self.suite.flow_for(self.api.operations[name], example))

    def example(self, name: str, example: str) -> Request:
        """Return a documented request with this flow's values."""
        return self.suite.example(self.api.operations[name], example, self.flow.values)

    def call(self, name: str, *, refused: str = "", why: str = "", source: tuple[str, ...] = (), **values: Any) -> Said:
        """Ask an operation; return what it said. Demand that it answers, or refuses by the word of `x-refusals`.

        The journey ends where the answer is another one: what follows could not be told from its consequences.
        """
        operation = self.api.operations[name]
        self.suite.may_call(operation, refused=bool(refused))
        request = self.request(operation, **values)
        expected = self.refusal(operation, refused, why, source) if refused else self.success(operation, request, why)
        exchange = self.suite.ask(operation, request, expected).exchange
        if exchange.answer is None or (not refused and is_refusal(operation, exchange)):
            raise NotExercised(f"{operation.name} was not answered, so the journey ended there")
        return self._said(operation, exchange.json, exchange.answer)

    def ask_anyhow(self, name: str, *, may_fail: bool = False, **values: Any) -> Said:
        """Ask an operation that may answer or refuse, or fail where it `may_fail`; return what it said."""
        operation = self.api.operations[name]
        self.suite.may_call(operation)
        statuses = frozenset(status for status in operation.responses if may_fail or status < 500)  # noqa: PLR2004 - HTTP's own range
        expected = replace(ANYTHING, statuses=statuses)
        exchange = self.suite.ask(operation, self.request(operation, **values), expected).exchange
        return self._said(operation, exchange.json, exchange.answer)

    def refusal(self, operation: Operation, word: str, why: str, source: tuple[str, ...]) -> Expected:
        """Return that a request is refused: whether it is rests on `source`, by which status on the contract."""
        expected = refusal(operation, (word, *_LESS.get(word, ())), why or word)
        return replace(expected, source=source, outcome=tier_of(source, self.api.rulings)) if source else expected

    def success(self, operation: Operation, request: Request, why: str = "") -> Expected:
        """Return that a request is answered."""
        statuses = frozenset(status for status in operation.responses if status < 300)  # noqa: PLR2004 - HTTP's own range
        streamed = wants_stream(operation, request)
        return Expected(why or "the request is documented", statuses, refused=False, streamed=streamed)

    @contextmanager
    def stream(self, name: str, **values: Any) -> Iterator[Iterator[Event]]:
        """Ask for a stream and hand out its events while they come, without those that may stand anywhere (pings)."""
        operation = self.api.operations[name]
        self.suite.may_call(operation)
        request = self.request(operation, **values)
        aside = operation.stream.anywhere if operation.stream else ()
        with self.suite.streaming(operation, request, self.success(operation, request)) as timed:
            yield (
                Event(each.at_s, each.event.kind, self._said(operation, each.event.payload, event=each.event.number))
                for each in timed
                if each.event.kind not in aside
            )

    def events(self, name: str, **values: Any) -> list[Event]:
        """Return the events of a whole stream."""
        with self.stream(name, **values) as coming:
            return list(coming)

    def _said(self, operation: Operation, value: Any, answer: Answer | None = None, event: int | None = None) -> Said:
        def complain(violation: Violation) -> NoReturn:
            known = {(each.operation, each.violation.where) for each in self.suite.record.failures}
            if (operation.name, violation.where) not in known:  # else the contract has told it already
                self._fail(operation, replace(violation, source=operation.success.provenance))
            raise NotExercised(f"{operation.name} did not say `{violation.where or 'anything'}` as documented")

        return Said(value, complain, event=event, answer=answer)

    # Demanding.

    def same(self, name: str, what: str, expected: Any, got: Any, *source: str) -> None:
        """Demand that two answers agree; `name` is the operation whose answer is `got`."""
        if expected != got:
            self.fault(name, "agree", f"{what} {show(expected)}", show(got), *source)

    def expect(self, name: str, what: str, got: Any, *source: str, condition: bool) -> None:
        """Demand something of an answer, in words."""
        if not condition:
            self.fault(name, "agree", what, show(got), *source)

    def fault(self, name: str, rule: str, expected: str, got: str, *source: str) -> None:
        """Note that an answer does not fit those before it."""
        self._fail(self.api.operations[name], Violation(rule, expected, got, source=source))

    def _fail(self, operation: Operation, violation: Violation) -> None:
        (violation,) = rate([violation], self.api.rulings)
        self.suite.record.fail(operation, violation, self.api.rulings)

    # What a journey sends.

    def texts(self) -> dict[str, str]:
        """Return a value for each control of the app's form that takes text."""
        taken = [control for control in self.controls() if control.takes("text")]
        return {control.variable: "contract test"[: control.longest or None] for control in taken}

    def controls(self) -> tuple[Control, ...]:
        """Return the controls of the app's form."""
        return controls(self.suite.parameters(self.api.name).get("user_input_form"))

    def user(self, name: str) -> str:
        """Return a user that nobody else uses."""
        self.suite.users += 1
        return f"contract-tests-{self.run}-{self.suite.users}-{name}"

    def upload(self, operation: str, hint: str, filename: str = "", **fields: str) -> tuple[Said, bytes]:
        """Upload a small file of the sort that `hint` names; return what was said and the bytes.

        Its bytes are those of no other file, and its name, where none is given, is no other's.
        """
        file = samples.upload(hint, self.user("file").removeprefix("contract-tests-"))
        file = replace(file, filename=filename or file.filename)
        return self.call(operation, body={"file": file, **fields}), file.content

    # Time.

    def apart(self, began: float) -> None:
        """Wait until what happens now lies in another second than what began at `began` (monotonic)."""
        time.sleep(max(0.0, began + _SECOND - time.monotonic()))

    def at_once(self, count: int, make: Callable[[int], str]) -> list[str]:
        """Return the ids of things that are made at the same time."""
        with ThreadPoolExecutor(count) as workers:
            return list(workers.map(make, range(count)))

    def in_one_second(self, make: Callable[[int], str], told: Callable[[], list[Said]], when: str) -> list[str]:
        """Return the ids of things of which at least three share a second in `when`, as a list tells them.

        Raises NotExercised where the server is too slow to make three of them in one second.
        """
        made: list[str] = []
        for _ in range(_BURSTS):
            made += self.at_once(_AT_ONCE, make)
            seconds = Counter(int(row[when].number) for row in told())
            if max(seconds.values(), default=0) >= _SHARED:
                return made
        raise NotExercised(f"no {_SHARED} of {len(made)} were made in one second")


def last(events: list[Event], kind: str) -> Said:
    """Return what the last event of a kind says; raise NotExercised if none came, which the stream's judge has told."""
    found = [event.said for event in events if event.kind == kind]
    if not found:
        raise NotExercised(f"the stream had no {kind}")
    return found[-1]
