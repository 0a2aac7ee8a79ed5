"""What a test asks of a running mock: a fresh world, an answer of its choice, whether the client kept the contract."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flowcontract.output.printable import printable
from mockserver.core.controls import Controls
from mockserver.journal.curl import curl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mockserver.core.mock import Mock
    from mockserver.journal.entry import Entry, Problem
    from mockserver.torture.session import Session

_SHOWN = 600  # characters of a body in a failure


class TestingMixin:
    """What `MockServer` offers to a test."""

    mock: Mock
    suffix: str = ""
    """What every key ends with that `key` and `headers` return: the worlds of the test that runs."""

    def key(self, api: str, suffix: str = "") -> str:
        """Return a key that opens an API; each `suffix` (`-a`) has a world of its own."""
        return next(iter(self.mock.apis[api].schemes.values())).mock_key + suffix + self.suffix

    def headers(self, api: str, suffix: str = "") -> dict[str, str]:
        """Return the headers that authenticate a request to an API."""
        operation = next(iter(self.mock.apis[api].operations.values()))
        schemes = [self.mock.apis[api].schemes[name] for name in operation.security[0]]
        return {scheme.parameter: f"{scheme.prefix}{scheme.mock_key}{suffix}{self.suffix}" for scheme in schemes}

    def use(self, operation: str, scenario: str, *, times: int | None = None, world: str | None = None) -> None:
        """Let an operation answer with a scenario: always or so many times, in all worlds or in that of a key.

        `use("sendChatMessage", "400-provider-quota-exceeded", times=1)`; an operation whose name two APIs share may be
        qualified. Raise UnknownNameError, which lists what there is.
        """
        controls = Controls(self.mock)
        controls.order(operation, scenario, times=times, world=None if world is None else controls.world(world))

    def requests(
        self, operation: str | None = None, *, world: str | None = None, status: int | None = None
    ) -> list[Entry]:
        """Return what was asked and answered, the newest last; raise UnknownNameError for a name that is none."""
        controls = Controls(self.mock)
        if operation is not None:
            controls.operations(operation)
        named = None if world is None else controls.world(world)
        return self.mock.journal.entries(world=named, operation=operation, status=status)

    def assert_no_violations(self, operation: str | None = None, *, world: str | None = None) -> None:
        """Raise AssertionError, saying what and where, if a request broke the contract, whatever was answered."""
        __tracebackhide__ = True
        entries = self.requests(operation, world=world)
        wrong = [entry for entry in entries if entry.violations]
        if wrong:
            head = f"The client sent what the contract forbids, in {len(wrong)} of {len(entries)} requests."
            raise AssertionError(
                "\n\n".join(
                    [head, *("\n".join(printable(line, lines=True) for line in _describe(entry)) for entry in wrong)]
                )
            )

    def torture(self, operation: str, faults: Sequence[str] = ()) -> Session:
        """Begin to torture a client with one fault after the other: all that fit a streaming operation, or some.

        `for case in mock_server.torture("sendChatMessage"):` ask with `case.key`, then tell `case.verdict(...)` what
        the client understood, and look at what it returns. Raise UnknownNameError, which lists what there is.
        """
        return self.mock.torture.begin(operation, faults)

    def reset(self, world: str | None = None) -> None:
        """Forget what happened: a world's records, its overrides and its part of the journal, or all of it."""
        controls = Controls(self.mock)
        named = None if world is None else controls.world(world)
        controls.reset(named)
        self.mock.journal.clear(named)

    def renew(self, suffix: str) -> None:
        """Forget everything, and let keys end with `suffix`; so two tests that do that never share a world."""
        self.reset()
        self.suffix = suffix


def _describe(entry: Entry) -> Iterator[str]:
    """Yield the lines that tell what is wrong with one request."""
    query = f"?{entry.query}" if entry.query else ""
    asked = f"{entry.method} {entry.path}{query}"
    yield f"Request {entry.number}, {asked} ({entry.operation or 'no operation'}) -> {entry.scenario or entry.status}"
    for violation in entry.violations:
        yield from _difference(violation)
    if entry.content or entry.form:
        body = json.dumps(entry.form, ensure_ascii=False) if entry.form else entry.content.decode("utf-8", "replace")
        yield f"  sent      {body if len(body) <= _SHOWN else body[:_SHOWN] + ' ...'}"
    yield f"  again     {curl(entry).rstrip()}"


def _difference(violation: Problem) -> Iterator[str]:
    yield f"  {violation['message']}"
    if "expected" in violation:
        source = f"  [{', '.join(violation['source'])}]" if violation["source"] else ""
        yield f"    expected  {violation['expected']}{source}"
        yield f"    got       {violation['got']}"
