"""What a test asks of a running mock: a fresh world, an answer of its choice, whether the client kept the contract."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from flowcontract.errors import ConfigError
from flowcontract.output.printable import make_printable
from flowcontract.provenance.evidence import Tier, fails
from mockserver.core.controls import Controls
from mockserver.journal.curl import to_curl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mockserver.core.mock import Mock
    from mockserver.journal.entry import Entry, Problem
    from mockserver.proxy.tapping import Enforce, Tap
    from mockserver.torture.session import Session

_POLL_S = 0.005
_SHOWN = 600  # characters of a body in a failure


class TestingMixin:
    """What `MockServer` offers to a test."""

    mock: Mock
    fixtures: Path | None = None
    """The folder of scenarios of one's own, which come before a server that requests are passed on to."""
    suffix: str = ""
    """What every key ends with that `key` and `headers` return: the worlds of the test that runs."""
    _tap: Tap | None = None

    if TYPE_CHECKING:

        def url(self, api: str) -> str:
            """Return the base URL of an API; the server has it."""

    def key(self, api: str, suffix: str = "") -> str:
        """Return a key that opens an API; each `suffix` (`-a`) has a world of its own."""
        return next(iter(self.mock.get_api(api).schemes.values())).mock_key + suffix + self.suffix

    def headers(self, api: str, suffix: str = "") -> dict[str, str]:
        """Return the headers that authenticate a request to an API."""
        operation = next(iter(self.mock.get_api(api).operations.values()))
        schemes = [self.mock.get_api(api).schemes[name] for name in operation.security[0]]
        return {scheme.parameter: f"{scheme.prefix}{scheme.mock_key}{suffix}{self.suffix}" for scheme in schemes}

    def use(self, operation: str, scenario: str, *, times: int | None = None, world: str | None = None) -> None:
        """Let an operation answer with a scenario: always or so many times, in all worlds or in that of a key.

        `use("sendChatMessage", "400-provider-quota-exceeded", times=1)`; an operation whose name two APIs share may be
        qualified. Raise UnknownNameError, which lists what there is, and ConfigError for `times` below 1.
        """
        if times is not None and times < 1:
            raise ConfigError(f"times={times} is never. Say how often, from 1, or leave it out for always.")
        controls = Controls(self.mock)
        controls.add_override(
            operation, scenario, times=times, world=None if world is None else controls.find_world(world)
        )

    def requests(
        self, operation: str | None = None, *, world: str | None = None, status: int | None = None
    ) -> list[Entry]:
        """Return what was asked and answered, the newest last; raise UnknownNameError for a name that is none."""
        controls = Controls(self.mock)
        if operation is not None:
            controls.find_operations(operation)
        named = None if world is None else controls.find_world(world)
        return self.mock.journal.list_entries(world=named, operation=operation, status=status)

    def assert_no_violations(self, operation: str | None = None, *, world: str | None = None) -> None:
        """Raise AssertionError, saying what and where, if a request broke the contract, whatever was answered.

        Where requests are passed on, also if the server's answer did.
        """
        __tracebackhide__ = True
        entries = self.requests(operation, world=world)
        by_client = [entry for entry in entries if entry.violations]
        by_server = [entry for entry in entries if any(fails(Tier(each["tier"])) for each in entry.answer_violations)]
        wrong = sorted({entry.number: entry for entry in [*by_client, *by_server]}.items())
        if wrong:
            sides = [("client sent", by_client), ("server answered", by_server)]
            head = " ".join(
                f"The {side} what the contract forbids, in {len(found)} of {len(entries)} requests."
                for side, found in sides
                if found
            )
            raise AssertionError(
                "\n\n".join(
                    [
                        head,
                        *(
                            "\n".join(make_printable(line, lines=True) for line in _describe(entry))
                            for _, entry in wrong
                        ),
                    ]
                )
            )

    def torture(self, operation: str, faults: Sequence[str] = ()) -> Session:
        """Begin to torture a client with one fault after the other: all that fit a streaming operation, or some.

        `for case in mock_server.torture("sendChatMessage"):` ask with `case.key`, then tell `case.verdict(...)` what
        the client understood, and look at what it returns. Raise UnknownNameError, which lists what there is.
        """
        return self.mock.torture.begin(operation, faults)

    def proxy(self, api: str, *, to: str, enforce: Enforce = "") -> None:
        """Pass the requests of an API on to a server, `to` its base URL, until the test ends.

        What the server does against the contract `assert_no_violations` tells, too. Overrides and `Prefer` count as
        ever. Raise UnknownNameError, ServerError, or ConfigError where `enforce` is none, or another than before.
        """
        self._open_tap().pass_on(api, to, enforce)

    def record(self, folder: Path, *, max_mb: int = 256) -> None:
        """Record into a new or empty folder until the test ends: `recording.jsonl`, and HAR at the end.

        What passes is recorded, and what the mock answers itself. Raise RecordingError where that cannot be done.
        """
        self._open_tap().record(folder, {api: self.url(api) for api in self.mock.apis}, max_mb=max_mb)

    def _open_tap(self) -> Tap:
        if self._tap is None:
            from mockserver.proxy.tapping import Tap  # noqa: PLC0415 - a mock that passes nothing on starts sooner

            self._tap = Tap(self.mock, self.fixtures)
        return self._tap

    def end_proxy(self) -> None:
        """Answer all requests again, and end the recording."""
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.close()

    def release(self, name: str, *, wait_s: float = 5.0) -> int:
        """Let the streams go on that a scenario holds by this name, and return how many; wait for the first of them.

        Raise AssertionError, which lists what is held, if none comes there.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + wait_s
        while True:
            found = self.mock.journal.list_streams().values()
            held = [stream for stream in found if stream.held == name]
            for stream in held:
                stream.steer("continue")
            if held:
                return len(held)
            if time.monotonic() > deadline:
                there_is = ", ".join(sorted({stream.held for stream in found if stream.held})) or "none"
                raise AssertionError(f"No stream was held at {name} within {wait_s:g} s. Held now: {there_is}.")
            time.sleep(_POLL_S)

    def reset(self, world: str | None = None) -> None:
        """Forget what happened: a world's records, its overrides and its part of the journal, or all of it."""
        controls = Controls(self.mock)
        named = None if world is None else controls.find_world(world)
        controls.reset(named)
        self.mock.journal.clear(named)

    def renew(self, suffix: str) -> None:
        """Forget everything, and let keys end with `suffix`; so two tests that do that never share a world."""
        self.end_proxy()
        self.reset()
        self.suffix = suffix


def _describe(entry: Entry) -> Iterator[str]:
    """Yield the lines that tell what is wrong with one request."""
    query = f"?{entry.query}" if entry.query else ""
    asked = f"{entry.method} {entry.path}{query}"
    yield f"Request {entry.number}, {asked} ({entry.operation or 'no operation'}) -> {entry.scenario or entry.status}"
    for violation in [*entry.violations, *entry.answer_violations]:
        yield from _list_differences(violation)
    if entry.content or entry.form:
        body = json.dumps(entry.form, ensure_ascii=False) if entry.form else entry.content.decode("utf-8", "replace")
        yield f"  sent      {body if len(body) <= _SHOWN else body[:_SHOWN] + ' ...'}"
    yield f"  again     {to_curl(entry).rstrip()}"


def _list_differences(violation: Problem) -> Iterator[str]:
    yield f"  {violation['message']}"
    if "expected" in violation:
        source = f"  [{', '.join(violation['source'])}]" if violation["source"] else ""
        yield f"    expected  {violation['expected']}{source}"
        yield f"    got       {violation['got']}"
