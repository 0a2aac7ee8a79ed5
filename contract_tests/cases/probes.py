"""Single requests that no schema leads to: `probes.yaml`, read, and what their answers have to hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from contract_tests.cases.derive import Case
from contract_tests.cases.examples import examples, usual, wants_stream
from contract_tests.cases.refusals import refusal
from contract_tests.cases.sample_files import Oversize
from contract_tests.http.exchange import Upload
from contract_tests.judging.judge import Expected, is_refusal
from flowcontract import pointers, yamlio
from flowcontract.provenance.evidence import Tier, tier_of
from flowcontract.schemas.violations import Violation
from flowcontract.streams.rules import show

if TYPE_CHECKING:
    from contract_tests.http.exchange import Exchange, Request
    from flowcontract.specs.model import Api, Operation

_FORM = "inputs"


@cache
def written() -> tuple[Mapping[str, Any], ...]:
    """Return what `probes.yaml` says."""
    text = files("contract_tests.cases").joinpath("probes.yaml").read_text(encoding="utf-8")
    return tuple(yamlio.loads(text, name="contract_tests/cases/probes.yaml"))


def probes(api: Api) -> Iterator[Case]:
    """Yield the probes of an API as cases."""
    for probe in written():
        for name, source in probe["of"].items():
            its, _, operation = name.partition("/")
            if its == api.name:
                yield _case(api, api.operations[operation], probe, tuple(source))


def _case(api: Api, operation: Operation, probe: Mapping[str, Any], source: tuple[str, ...]) -> Case:
    request = _request(api, operation, probe)
    expected = _expected(api, operation, request, probe, source)
    keep = (*(f"query/{name}" for name in probe.get("query", ())), *_kept(probe.get("body", {})))
    holds, form = probe.get("holds", {}), probe.get("form", "")
    return Case("probes", probe["name"], operation, request, expected, frozenset(keep), holds=holds, form=form)


def _request(api: Api, operation: Operation, probe: Mapping[str, Any]) -> Request:
    named = {name: request for name, request, _ in examples(api, operation)}
    base = named[probe["example"]] if "example" in probe else usual(api, operation)[1]
    query = {**base.query, **probe.get("query", {})}
    body = base.body
    if isinstance(body, Mapping):
        body = {**body, **{name: _value(value) for name, value in probe.get("body", {}).items()}}
    left = {name: value for name, value in query.items() if name not in probe.get("leave_out", ())}
    return replace(base, query=left, body=body)


def _value(value: Any) -> Any:
    """Return what a probe sends: files in the places of their descriptions."""
    if isinstance(value, list):
        return [_value(item) for item in value]
    if not isinstance(value, Mapping) or "file" not in value:
        return value
    if set(value) == {"file"}:
        return Upload(value["file"], "text/plain", f"The contract tests call this {value['file']}.\n".encode())
    return Oversize(value["file"], value.get("megabytes", 0), value.get("over", ""))


def _kept(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the places in a body that are tested; files are made when the case runs."""
    for name, value in body.items():
        if not isinstance(_value(value), Oversize):
            yield f"/{pointers.escape(name)}"


def _expected(
    api: Api, operation: Operation, request: Request, probe: Mapping[str, Any], source: tuple[str, ...]
) -> Expected:
    fine = frozenset(status for status in operation.responses if status < 300)  # noqa: PLR2004 - HTTP's own range
    if "refused" not in probe:
        return Expected(probe["why"], fine, refused=False, streamed=wants_stream(operation, request), source=source)
    expected = refusal(operation, (probe["refused"], "invalid-request"), probe["why"], source)
    tier = Tier(probe["tier"]) if "tier" in probe else tier_of(source, api.rulings)
    expected = replace(expected, outcome=tier)
    if probe.get("or") != "success":
        return expected
    return replace(expected, statuses=expected.statuses | fine, refused=None)


# What an answer has to hold.


def unheld(case: Case, request: Request, exchange: Exchange) -> Iterator[Violation]:
    """Yield what an answer that is no refusal does not hold; `request` is what was asked."""
    if not case.holds or exchange.json is None or is_refusal(case.operation, exchange):
        return
    for pointer, wanted in case.holds.items():
        expected = _meant(wanted, request, exchange.json)
        for place, got in _places(exchange.json, pointer.split("/")[1:]):
            if got != expected:
                words = f"`{place}` {show(expected)}: {case.expected.because}"
                yield Violation("agree", words, show(got), place, source=case.expected.source)


def _meant(wanted: Any, request: Request, body: Any) -> Any:
    if not isinstance(wanted, str) or not wanted.startswith("$"):
        return wanted
    if wanted == "$file":
        sent = request.body.values() if isinstance(request.body, Mapping) else ()
        return next((value.filename for value in sent if isinstance(value, Upload)), None)
    if wanted.startswith("$asked."):
        return request.query.get(wanted.removeprefix("$asked."))
    found = [value for _, value in _places(body, wanted.removeprefix("$body/").split("/"))]
    return found[0] if found else None


def _places(value: Any, tokens: list[str], here: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the places that a pointer names, with what stands there; `*` is every item."""
    if not tokens:
        yield here, value
        return
    items: list[tuple[str, Any]] = []
    if isinstance(value, list) and tokens[0] == "*":
        items = [(str(index), item) for index, item in enumerate(value)]
    elif isinstance(value, Mapping) and tokens[0] in value:
        items = [(tokens[0], value[tokens[0]])]
    for name, item in items:
        yield from _places(item, tokens[1:], f"{here}/{name}")
