"""Derives cases of errors and streams that the target file says how to provoke."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from contract_tests.cases.case import Case, expect_success
from contract_tests.cases.examples import choose_example, choose_streaming_example
from contract_tests.judging.error_codes import list_error_codes
from contract_tests.judging.expectations import Expected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from contract_tests.http.exchange import Request
    from flowcontract.specs.model import Api, Operation


def derive_provoked(operation: Operation, base: Request) -> Iterator[Case]:
    """Yield a case for every documented status and error code; only the target knows which it can be provoked into."""
    for response in operation.responses.values():
        named = {example.name: example for media in response.media.values() for example in media.examples.values()}
        for name, example in named.items():
            code = example.value.get("code") if isinstance(example.value, dict) else None
            codes = frozenset({code}) if code in list_error_codes(operation, response.status) else frozenset()
            refused = response.status >= 400 or bool(codes)  # noqa: PLR2004 - HTTP's own range
            if refused:
                why = f"{name} was provoked"
                source = example.provenance or response.provenance
                expected = Expected(why, frozenset({response.status}), codes, refused=True, source=source)
                yield Case("provoked", f"{response.status} {name}", operation, base, expected, provoke=name)


def derive_successes(api: Api, operation: Operation, provocations: Iterable[str]) -> Iterator[Case]:
    """Yield a case for every further way to succeed that a target can be provoked into: `status:NUMBER`."""
    for code in [code for code in provocations if code.startswith("status:")]:
        _, request, source = choose_example(api, operation)
        status = int(code.removeprefix("status:"))
        expected = replace(expect_success(operation, request, source), statuses=frozenset({status}))
        if status in operation.responses:  # else it belongs to another release of the server
            yield Case("provoked", code, operation, request, expected, provoke=code)


def derive_streams(api: Api, operation: Operation, provocations: Iterable[str]) -> Iterator[Case]:
    """Yield a case for every stream that a target can be provoked into: `stream:NAME`, or `event:KIND`."""
    if operation.stream is None:
        return
    for code in [code for code in provocations if code.startswith(("stream:", "event:"))]:
        name, request, _ = choose_streaming_example(api, operation)
        kind = code.removeprefix("event:") if code.startswith("event:") else ""
        if kind and kind not in operation.stream.events:
            continue  # of another release
        source = operation.stream.events[kind].source if kind in operation.stream.events else operation.provenance
        expected = replace(
            expect_success(operation, request, source, f"{name} asks for a stream"), events=frozenset({kind} - {""})
        )
        yield Case("streams", code, operation, request, expected, provoke=code)
