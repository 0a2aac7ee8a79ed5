"""Before anything is judged: whether somebody is there, whether it is the mock, and whether key and flow get in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from contract_tests.cases.server_values import resources
from contract_tests.http.client import CAUSES
from contract_tests.http.target import NobodyThereError, TargetError
from contract_tests.http.wire import Wire
from contract_tests.judging.judge import error_code, error_codes, is_refusal
from contract_tests.report.hiding import hide
from contract_tests.suite.not_exercised import NotExercised

if TYPE_CHECKING:
    from contract_tests.http.clock import Clock
    from contract_tests.http.exchange import Exchange
    from contract_tests.suite.session import Suite
    from flowcontract.specs.model import Operation

_PATIENCE_S = 5.0
_HEALTH_BYTES = 1 << 20  # of what the mock says of itself, at most
_KEY, _FLOW = "key", "flow"
_NOT_OPEN = frozenset({401, 403})
_NOT_THERE = frozenset({404, 405})
_KEY_REFUSALS = ("wrong-key", "wrong-token", "no-key", "other-app")


def is_mock(url: str, clock: Clock) -> bool:
    """Tell whether the mock of this project answers at a URL: it says so itself, or that it tells only who may know.

    Sends nothing that is secret. Raises NobodyThereError.
    """
    with httpx.Client(transport=Wire(clock), timeout=_PATIENCE_S, trust_env=False) as client:
        try:
            with client.stream("GET", f"{url}/__mock__/health") as response:
                said = _json(response)
        except httpx.ConnectError as error:
            raise NobodyThereError(f"{type(error).__name__}: {error}") from None
        except CAUSES:
            return False
    if response.status_code == httpx.codes.OK:
        return {"version", "apis", "worlds"} <= said.keys()
    return response.status_code in _NOT_OPEN and str(said.get("detail", "")).startswith("/__mock__ is closed")


def _json(response: httpx.Response) -> dict[str, Any]:
    """Return a short JSON object; {} for everything else."""
    body = b""
    for piece in response.iter_raw():
        body += piece
        if len(body) > _HEALTH_BYTES:
            return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def check(suite: Suite) -> None:
    """Raise TargetError, with what to mend, for every API whose documented requests do not get in."""
    found = [problem for name in suite.clients if (problem := _problem(suite, name))]
    if found:
        raise TargetError("\n".join(hide(problem, suite.target.secrets) for problem in found))


def _problem(suite: Suite, name: str) -> str:
    client = suite.clients[name]
    if trouble := client.reach():
        return f"Nothing answers for {name} at {client.api.base_url}: {trouble}. Start the server, or mend --base-url."
    for sort, operations in resources().get(name, {}).get("probes", {}).items():
        refused = None
        for operation in (suite.api(name).operations[operation] for operation in operations):
            exchange = _ask(suite, operation)
            if exchange is None:
                continue
            if not _is_shut(operation, exchange, sort):
                refused = None
                if mode := _other_mode(name, exchange):
                    return f"The key for {name} opens an app whose mode is {mode}: mend `--key {name}=...`."
                break
            refused = refused or (operation, exchange)
        if refused:  # by all of them: of one it would be for its tests to tell that the server is wrong
            return _advice(suite, *refused, sort)
    return ""


def _ask(suite: Suite, operation: Operation) -> Exchange | None:
    """Send a documented request; None where this target must not be asked it."""
    try:
        suite.may_call(operation)
        return suite.clients[operation.api].send(suite.with_keys(operation, suite.example(operation)))
    except NotExercised:
        return None


def _other_mode(name: str, exchange: Exchange) -> str:
    """Return what an app says it is, where another API is about such apps."""
    mode = exchange.json.get("mode") if isinstance(exchange.json, dict) else None
    others = {mode for api, about in resources().items() if api != name for mode in about.get("modes", ())}
    return str(mode) if mode in others else ""


def _is_shut(operation: Operation, exchange: Exchange, sort: str) -> bool:
    """Tell whether an answer says that the key, or the address and the flow, are not right."""
    if sort == _FLOW:
        return exchange.status < httpx.codes.INTERNAL_SERVER_ERROR and is_refusal(operation, exchange)
    return exchange.status in _NOT_OPEN | _NOT_THERE or error_code(operation, exchange) in _codes(operation)


def _codes(operation: Operation) -> set[str]:
    """Return the error codes of keys that do not open, where they do not show in the status."""
    keys = [operation.refusals[word] for word in _KEY_REFUSALS if word in operation.refusals]
    found = set()
    for status, name in (key.split("-", 1) for key in keys):
        response = operation.responses[int(status)]
        for media in response.media.values():
            example = media.examples.get(name)
            if example and isinstance(example.value, dict):
                found.add(str(example.value.get("code")))
    return found & set(error_codes(operation, httpx.codes.OK))


def _advice(suite: Suite, operation: Operation, exchange: Exchange, sort: str) -> str:
    api = operation.api
    said = exchange.answer.body[:200].decode("utf-8", "replace") if exchange.answer else ""
    code = error_code(operation, exchange)
    status = f"{exchange.status} {code}".strip() if exchange.status == httpx.codes.OK else str(exchange.status)
    if sort == _FLOW:
        mend = f"mend the flow, `values = {{ flow_id = ... }}` under [api.{api}] of a target file"
    elif exchange.status in _NOT_THERE:
        mend = f"mend --base-url, under which there is no {operation.method} {operation.path}"
    else:
        mend = f"mend `--key {api}=...`"
    where = suite.clients[api].api.base_url
    return (
        f"{status} for a documented request ({operation.name} at {where}): {mend}.\n  {exchange.sent.curl()}\n  {said}"
    )
