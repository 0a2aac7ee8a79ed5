"""Derives cases from `probes.yaml`, requests that no schema leads to, and checks the values of their answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from contract_tests.cases.case import Case
from contract_tests.cases.examples import choose_example, list_examples, wants_stream
from contract_tests.cases.refusals import expect_refusal
from contract_tests.cases.sample_files import Oversize
from contract_tests.http.exchange import Upload
from contract_tests.judging.error_codes import is_refusal
from contract_tests.judging.expectations import Expected
from flowcontract import pointers, yamlio
from flowcontract.provenance.evidence import Tier, find_tier
from flowcontract.schemas.violations import Violation
from flowcontract.streams.showing import show

if TYPE_CHECKING:
    from contract_tests.http.exchange import Exchange, Request
    from flowcontract.specs.model import Api, Operation


@cache
def read_probes() -> tuple[Mapping[str, Any], ...]:
    """Return the content of `probes.yaml`."""
    text = files("contract_tests.cases").joinpath("probes.yaml").read_text(encoding="utf-8")
    return tuple(yamlio.loads(text, name="contract_tests/cases/probes.yaml"))


def derive_probes(api: Api) -> Iterator[Case]:
    """Yield the probes of an API as cases."""
    for probe in read_probes():
        for name, source in probe["of"].items():
            its, _, operation = name.partition("/")
            if its == api.name:
                yield _derive_case(api, api.operations[operation], probe, tuple(source))


def _derive_case(api: Api, operation: Operation, probe: Mapping[str, Any], source: tuple[str, ...]) -> Case:
    named = {example.name: example.request for example in list_examples(api, operation)}
    base = named[probe["example"]] if "example" in probe else choose_example(api, operation).request
    omitted = probe.get("leave_out", ())
    query = {name: text for name, text in {**base.query, **probe.get("query", {})}.items() if name not in omitted}
    changed = {name: _convert(value) for name, value in probe.get("body", {}).items()}
    request = replace(base, query=query, body={**base.body, **changed} if isinstance(base.body, Mapping) else base.body)
    expected = _expect(api, operation, request, probe, source)
    tested = {f"/{pointers.escape(name)}" for name, value in changed.items() if not isinstance(value, Oversize)}
    keep = frozenset({f"query/{name}" for name in probe.get("query", ())} | tested)
    holds, form = probe.get("holds", {}), probe.get("form", "")
    return Case("probes", probe["name"], operation, request, expected, keep, holds=holds, form=form)


def _convert(value: Any) -> Any:
    """Return what a probe sends: files in place of their descriptions; what is too large is made when it is sent."""
    if isinstance(value, list):
        return [_convert(item) for item in value]
    if not isinstance(value, Mapping) or "file" not in value:
        return value
    if set(value) == {"file"}:
        return Upload(value["file"], "text/plain", f"The contract tests call this {value['file']}.\n".encode())
    return Oversize(value["file"], value.get("megabytes", 0), value.get("over", ""))


def _expect(
    api: Api, operation: Operation, request: Request, probe: Mapping[str, Any], source: tuple[str, ...]
) -> Expected:
    success = frozenset(status for status in operation.responses if status < 300)  # noqa: PLR2004 - HTTP's own range
    if "refused" not in probe:
        return Expected(probe["why"], success, refused=False, streamed=wants_stream(operation, request), source=source)
    expected = expect_refusal(operation, (probe["refused"], "invalid-request"), probe["why"], source)
    tier = Tier(probe["tier"]) if "tier" in probe else find_tier(source, api.rulings)
    expected = replace(expected, outcome=tier)
    if probe.get("or") != "success":
        return expected
    return replace(expected, statuses=expected.statuses | success, refused=None)


# Values that an answer must have.


def check_answer(case: Case, request: Request, exchange: Exchange) -> Iterator[Violation]:
    """Yield where an answer that is no refusal does not have the values of the case; `request` was sent."""
    if not case.holds or exchange.json is None or is_refusal(case.operation, exchange):
        return
    for pointer, wanted in case.holds.items():
        expected = _resolve(wanted, request, exchange.json)
        for place, got in _find_places(exchange.json, pointer.split("/")[1:]):
            if got != expected:
                words = f"`{place}` {show(expected)}: {case.expected.because}"
                yield Violation("agree", words, show(got), place, source=case.expected.source)


def _resolve(wanted: Any, request: Request, body: Any) -> Any:
    """Return the value that an answer must have; `$file`, `$asked.NAME` and `$body/POINTER` refer to the exchange."""
    if not isinstance(wanted, str) or not wanted.startswith("$"):
        return wanted
    if wanted == "$file":
        sent = request.body.values() if isinstance(request.body, Mapping) else ()
        return next((value.filename for value in sent if isinstance(value, Upload)), None)
    if wanted.startswith("$asked."):
        return request.query.get(wanted.removeprefix("$asked."))
    found = [value for _, value in _find_places(body, wanted.removeprefix("$body/").split("/"))]
    return found[0] if found else None


def _find_places(value: Any, tokens: list[str], here: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the places that a pointer matches, with their values; `*` matches every item."""
    if not tokens:
        yield here, value
        return
    items: list[tuple[str, Any]] = []
    if isinstance(value, list) and tokens[0] == "*":
        items = [(str(index), item) for index, item in enumerate(value)]
    elif isinstance(value, Mapping) and tokens[0] in value:
        items = [(tokens[0], value[tokens[0]])]
    for name, item in items:
        yield from _find_places(item, tokens[1:], f"{here}/{name}")
