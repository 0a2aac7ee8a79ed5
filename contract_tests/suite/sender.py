"""Sends a run's requests with the right credentials, waits no longer than it pays, and has each answer judged."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from contract_tests.cases.examples import wants_stream
from contract_tests.http.client import CAUSES, Client, Rate
from contract_tests.http.patience import MAX_HANGS, Patience, Sort
from contract_tests.judging import judge as judgement
from contract_tests.judging.expectations import ANYTHING, Expected
from contract_tests.judging.judge import Judge, Verdict
from contract_tests.suite.not_exercised import NotExercised
from contract_tests.suite.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contract_tests.http.clock import Clock
    from contract_tests.http.exchange import Exchange, Request, TimedEvent
    from contract_tests.http.target import Target
    from contract_tests.suite.created import CreatedResources
    from flowcontract.specs.model import Operation

_HANGS_S = 2.0  # how long a stream is waited for that is known to hang


@dataclass(slots=True)
class _Wait:
    """How many seconds of silence to allow, and the verdict that resulted."""

    seconds: float
    verdict: Verdict = field(init=False)


class Sender:
    """Sends requests to the APIs under test. What comes back goes into ``record`` and ``created``."""

    def __init__(self, target: Target, clock: Clock, created: CreatedResources) -> None:
        """Prepare clients; nothing is sent yet."""
        self.target = target
        self.record = Record()
        rate = Rate(target.rate)
        self.clients = {name: Client(target, api, rate, clock) for name, api in target.apis.items()}
        self._created = created
        self.patience = Patience()

    def close(self) -> None:
        """Close all connections."""
        for client in self.clients.values():
            client.close()

    def send(self, operation: Operation, request: Request) -> Exchange:
        """Send a request with the target's credentials; its answer is neither judged nor recorded."""
        return self.clients[operation.api].send(self.add_keys(operation, request))

    def ask(
        self, operation: Operation, request: Request, expected: Expected = ANYTHING, *, provoked: bool = False
    ) -> Verdict:
        """Send a request, whose values are final, and judge the answer; raise NotExercised if the mock has none."""
        client = self.clients[operation.api]
        sent = client.prepare(request if request.keys is not None else self.add_keys(operation, request))
        judge = Judge(client.api.api, operation, expected)
        with self._wait(operation, request, expected) as wait:
            try:
                wait.verdict = judgement.ask(client, sent, judge, wait.seconds)
            except CAUSES as error:
                wait.verdict = judgement.judge_unanswered(client.fail(sent, error), expected)
            if provoked and wait.verdict.exchange.status == HTTPStatus.NOT_IMPLEMENTED:
                raise NotExercised("the mock, as it was started, has no such answer")
        return wait.verdict

    @contextmanager
    def open_stream(self, operation: Operation, request: Request, expected: Expected) -> Iterator[Iterator[TimedEvent]]:
        """Send a request and yield the events of its stream as they arrive; judge the stream when the block ends.

        Where the block raises NotExercised, the rest of the stream is still read and judged.
        """
        client = self.clients[operation.api]
        sent = client.prepare(request if request.keys is not None else self.add_keys(operation, request))
        judge = Judge(client.api.api, operation, expected)
        reason: NotExercised | None = None
        with self._wait(operation, request, expected) as wait, ExitStack() as stack:
            try:
                live = stack.enter_context(client.open(sent, read_s=wait.seconds))
            except CAUSES as error:
                wait.verdict = judgement.judge_unanswered(client.fail(sent, error), expected)
                yield iter(())
                return
            limit_s = self.target.stream_s
            streamed = judge.begin(live, limit_s)
            events = judgement.follow(judge, live, limit_s, wait.seconds) if streamed else iter(())
            try:
                yield events
            except NotExercised as error:
                reason = error
            for _ in events:
                pass
            body = b"" if streamed else b"".join(piece for _, piece in live.read_pieces(limit_s))
            if streamed:
                judge.end(live.now, broken=bool(live.trouble))
            wait.verdict = judge.conclude(sent, live.to_answer(body))
        if reason:
            raise reason

    @contextmanager
    def _wait(self, operation: Operation, request: Request, expected: Expected) -> Iterator[_Wait]:
        """Yield how long to wait for the answer; afterwards record the verdict, and whether the request hung."""
        sort = Sort(operation.name, expected.refused is True, bool(wants_stream(operation, request)))
        full_s = self.target.answer_s
        if sort.streamed:
            full_s = self.target.stream_s if self.target.apis[operation.api].slow else self.target.silence_s
        if self.patience.is_exhausted(sort):
            raise NotExercised(f"{operation.name} hung on such requests {MAX_HANGS} times, so it was not asked again")
        wait = _Wait(min(self.patience.choose_seconds(sort, full_s), _HANGS_S if expected.hangs else full_s))
        started = time.monotonic()
        yield wait
        exchange = wait.verdict.exchange
        trouble = exchange.trouble or (exchange.answer and exchange.answer.trouble)
        if not expected.hangs:
            self.patience.note(sort, hung=bool(trouble) and time.monotonic() - started >= wait.seconds)
        self.note(operation, request, wait.verdict)

    def note(self, operation: Operation, request: Request, verdict: Verdict) -> None:
        """Record an exchange, and what it created and removed."""
        self.record.note(operation, verdict)
        self._created.note(operation, request, verdict.exchange)

    def add_keys(self, operation: Operation, request: Request, auth: str = "own") -> Request:
        """Return a request with credentials: own, none, `wrong:SCHEME`, `only:SCHEME`, `other:API`."""
        client = self.clients[operation.api]
        own = client.find_keys(operation.security)
        how, _, name = auth.partition(":")
        if how == "none":
            return replace(request, keys={})
        if how == "wrong":
            needed = next((schemes for schemes in operation.security if name in schemes), ())
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
