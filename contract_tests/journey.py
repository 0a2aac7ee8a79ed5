"""What a journey does: asks one operation after another, and demands that their answers agree."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from contract_tests import samples
from contract_tests.examples import examples, wants_stream
from contract_tests.exchange import Request
from contract_tests.judgement import ANYTHING, Expected, is_refusal
from contract_tests.refusals import refusal
from contract_tests.suite import NotExercised, Suite
from flowcontract.decoding import ABSENT
from flowcontract.evidence import rated, tier_of
from flowcontract.stream_rules import show
from flowcontract.violations import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contract_tests.exchange import Exchange, TimedEvent
    from flowcontract.specs import Operation


class Journey:
    """Asks one API. Values are sent as they are given; everything that comes back is judged by the contract."""

    def __init__(self, suite: Suite, api: str) -> None:
        """Begin at an API; raise NotExercised if it is not under test."""
        if api not in suite.target.apis:
            raise NotExercised(f"{api} is not under test")
        self.suite = suite
        self.api = suite.api(api)
        self.run = suite.target.run
        self.deterministic = suite.target.deterministic

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
        values = self.suite.clients[self.api.name].api.values
        known = {name: str(values.get(name, value)) for name, value in base.path_values.items()}
        media_type = "" if body is ABSENT else base.media_type
        return Request(
            operation.method, operation.path, {**known, **(path or {})}, query or {}, headers or {}, body, media_type
        )

    def call(self, name: str, *, refused: str = "", why: str = "", source: str = "", **values: Any) -> Exchange:
        """Ask an operation; demand that it is answered, or refused by the word of `x-problems`.

        `source` says which lines promise the refusal; without it nothing does but what the word itself rests on.
        The journey ends where the answer is another one: what follows could not be told from its consequences.
        """
        operation = self.api.operations[name]
        self.suite.may_call(operation, refused=bool(refused))
        request = self.request(operation, **values)
        if refused:
            expected = self.refusal(operation, refused, why or refused, source)
        else:
            expected = self.success(operation, request, why)
        exchange = self.suite.ask(operation, request, expected).exchange
        if exchange.answer is None or (not refused and is_refusal(operation, exchange)):
            raise NotExercised(f"{operation.name} was not answered, so the journey ended there")
        return exchange

    def ask_anyhow(self, name: str, **values: Any) -> None:
        """Ask an operation that may answer or refuse."""
        operation = self.api.operations[name]
        self.suite.may_call(operation)
        statuses = frozenset(status for status in operation.responses if status < 500)  # noqa: PLR2004 - HTTP's own range
        self.suite.ask(operation, self.request(operation, **values), replace(ANYTHING, statuses=statuses))

    def refusal(self, operation: Operation, word: str, why: str, source: str) -> Expected:
        """Return that a request is refused, demanded by the lines of `source` if there are any."""
        lines = tuple(source.split(", ")) if source else ()
        expected = refusal(operation, (word,), why)
        return replace(expected, outcome=tier_of(lines, self.api.rulings), source=lines) if lines else expected

    def success(self, operation: Operation, request: Request, why: str = "") -> Expected:
        """Return that a request is answered."""
        statuses = frozenset(status for status in operation.responses if status < 300)  # noqa: PLR2004 - HTTP's own range
        streamed = wants_stream(operation, request)
        return Expected(why or "the request is documented", statuses, refused=False, streamed=streamed)

    @contextmanager
    def stream(self, name: str, **values: Any) -> Iterator[Iterator[TimedEvent]]:
        """Ask for a stream and hand out its events while they come."""
        operation = self.api.operations[name]
        self.suite.may_call(operation)
        request = self.request(operation, **values)
        with self.suite.streaming(operation, request, self.success(operation, request)) as events:
            yield events

    def stopped(self, name: str, stop: str, body: dict[str, Any], source: str) -> list[Any]:
        """Ask for a stream and stop it at its first event; return its payloads.

        A stream that goes on as if nothing had happened breaks the promise; one that was over at once shows nothing.
        """
        came: list[float] = []
        payloads: list[Any] = []
        with self.stream(name, body=body) as events:
            for timed in events:
                came.append(timed.at_s)
                payloads.append(timed.event.payload)
                if len(came) == 1:
                    self.call(stop, path={"task_id": payloads[0]["task_id"]}, body={"user": body["user"]})
        finished = [one for one in payloads if one.get("event") == "workflow_finished"]
        if not finished or finished[-1]["data"]["status"] != "succeeded":
            return payloads
        went_on_s = came[-1] - came[1] if len(came) > 1 else 0.0  # since the first event that was read after the grant
        if went_on_s <= self.suite.target.stop_s:
            raise NotExercised(
                f"the stream was over {went_on_s:.1f} s after its first event: a slower app would show a stop"
            )
        expected = f"the end of the stream within {self.suite.target.stop_s:g} s after the stop was granted"
        self.fault(name, "stop", expected, f"{went_on_s:.1f} s more, and the run succeeded", source)
        raise NotExercised("the stop did not stop anything")

    def payloads(self, name: str, **values: Any) -> list[Any]:
        """Return the payloads of a whole stream."""
        with self.stream(name, **values) as events:
            return [timed.event.payload for timed in events]

    def same(self, name: str, what: str, expected: Any, got: Any, source: str) -> None:
        """Demand that two answers agree; `name` is the operation whose answer is `got`."""
        if expected != got:
            self.fault(name, "agree", f"{what} {show(expected)}", show(got), source)

    def holds(self, name: str, what: str, got: Any, source: str, *, so: bool) -> None:
        """Demand something of an answer, in words."""
        if not so:
            self.fault(name, "agree", what, show(got), source)

    def fault(self, name: str, rule: str, expected: str, got: str, source: str) -> None:
        """Note that an answer does not fit those before it."""
        violation = Violation(rule, expected, got, source=tuple(source.split(", ")))
        (violation,) = rated([violation], self.api.rulings)
        self.suite.record.fail(self.api.operations[name], violation, self.api.rulings)

    def texts(self) -> dict[str, str]:
        """Return a value for each control of the app's form that takes text."""
        form = self.suite.parameters(self.api.name).get("user_input_form", [])
        controls = [(kind, one) for item in form for kind, one in item.items() if kind in ("text-input", "paragraph")]
        return {one["variable"]: "contract test"[: one.get("max_length") or None] for _, one in controls}

    def user(self, name: str) -> str:
        """Return a user that nobody else uses."""
        self.suite.users += 1
        return f"contract-tests-{self.run}-{self.suite.users}-{name}"

    def upload(self, operation: str, hint: str, filename: str = "", **fields: str) -> tuple[Any, bytes]:
        """Upload a small file of the sort that `hint` names; return the answer's JSON and the bytes.

        Its bytes are those of no other file, and its name, where none is given, is no other's.
        """
        file = samples.upload(hint, self.user("file").removeprefix("contract-tests-"))
        file = replace(file, filename=filename or file.filename)
        exchange = self.call(operation, body={"file": file, **fields})
        return exchange.json, file.content


def last(payloads: list[Any], kind: str) -> Any:
    """Return the last payload of a kind; raise NotExercised if none came, which the stream's judge has told."""
    found = [payload for payload in payloads if isinstance(payload, dict) and payload.get("event") == kind]
    if not found:
        raise NotExercised(f"the stream had no {kind}")
    return found[-1]


def left_alone(app: Journey, name: str, stop: str, body: dict[str, Any], source: str) -> None:
    """Demand that a stream goes on to its end when another user asks to stop it, whatever that user is told."""
    app.suite.may_call(app.api.operations[stop])
    payloads: list[Any] = []
    with app.stream(name, body=body) as events:
        for timed in events:
            payloads.append(timed.event.payload)
            if len(payloads) == 1:
                app.ask_anyhow(stop, path={"task_id": payloads[0]["task_id"]}, body={"user": app.user("other")})
    status = last(payloads, "workflow_finished")["data"]["status"]
    app.holds(name, "a run that another user cannot stop", status, source, so=status != "stopped")


def uploaded(app: Journey, user: str, hint: str) -> dict[str, Any]:
    """Upload two files to a Dify app; demand that each is told as it was sent; return what was told of the first."""
    source = "001:411-417, 004:316-321"
    sent = [samples.upload(hint, f"{app.run}-{number}") for number in (1, 2)]
    told: list[dict[str, Any]] = []
    for file in sent:
        told.append(app.call("uploadFile", body={"file": file, "user": user}).json)
        expected = [file.filename, len(file.content), file.filename.rpartition(".")[2], file.content_type]
        got = [told[-1][name] for name in ("name", "size", "extension", "mime_type")]
        app.same("uploadFile", "name, size, ending and type as they were sent,", expected, got, source)
    first, second = told
    so = first["id"] != second["id"]
    app.holds("uploadFile", "another id for another file", second["id"], source, so=so)
    app.same("uploadFile", "the same owner for the same user,", first["created_by"], second["created_by"], source)
    return first
