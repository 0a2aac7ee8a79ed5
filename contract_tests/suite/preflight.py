"""Checks before the run: that a server answers, whether it is the mock, and that key and flow are accepted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from contract_tests.cases.server_values import load_server_values
from contract_tests.http.client import CAUSES
from contract_tests.http.target import NobodyThereError, TargetError
from contract_tests.http.wire import Wire
from contract_tests.judging.error_codes import is_refusal, list_error_codes, read_error_code
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
    """Tell whether this project's mock answers at a URL: by its health page, or the refusal to show it.

    Sends no secrets. Raises NobodyThereError.
    """
    with httpx.Client(transport=Wire(clock), timeout=_PATIENCE_S, trust_env=False) as client:
        try:
            with client.stream("GET", f"{url}/__mock__/health") as response:
                health = _read_json(response)
        except httpx.ConnectError as error:
            raise NobodyThereError(f"{type(error).__name__}: {error}") from None
        except CAUSES:
            return False
    if response.status_code == httpx.codes.OK:
        return {"version", "apis", "worlds"} <= health.keys()
    return response.status_code in _NOT_OPEN and str(health.get("detail", "")).startswith("/__mock__ is closed")


def _read_json(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of a body; {} for one that is too large, or anything else."""
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
    """Raise TargetError, with what to correct, for every API whose documented requests are not accepted."""
    found = [advice for name in suite.sender.clients if (advice := _check_api(suite, name))]
    if found:
        raise TargetError("\n".join(hide(advice, suite.target.secrets) for advice in found))


def _check_api(suite: Suite, name: str) -> str:
    """Return what to correct so that an API accepts documented requests; '' where it does."""
    client = suite.sender.clients[name]
    if trouble := client.check_reachable():
        return (
            f"Nothing answers for {name} at {client.api.base_url}: {trouble}. Start the server, or correct --base-url."
        )
    for sort, operations in load_server_values().get(name, {}).get("probes", {}).items():
        refused = None
        for operation in (suite.get_api(name).operations[operation] for operation in operations):
            exchange = _send_example(suite, operation)
            if exchange is None:
                continue
            if not _is_rejected(operation, exchange, sort):
                refused = None
                if mode := _find_other_mode(name, exchange):
                    return f"The key for {name} opens an app whose mode is {mode}: correct `--key {name}=...`."
                break
            refused = refused or (operation, exchange)
        if refused:  # by all of them; a single refusal is for the tests to judge
            return _advise(suite, *refused, sort)
    return ""


def _send_example(suite: Suite, operation: Operation) -> Exchange | None:
    """Send a documented request; None where it must not, or cannot, be sent to this target."""
    try:
        suite.apps.check_allowed(operation)
        return suite.sender.send(operation, suite.values.build_example(operation))
    except NotExercised:
        return None


def _find_other_mode(name: str, exchange: Exchange) -> str:
    """Return the mode that an app says it has, if that belongs to another API."""
    mode = exchange.json.get("mode") if isinstance(exchange.json, dict) else None
    others = {mode for api, about in load_server_values().items() if api != name for mode in about.get("modes", ())}
    return str(mode) if mode in others else ""


def _is_rejected(operation: Operation, exchange: Exchange, sort: str) -> bool:
    """Tell whether an answer rejects the key and the address, or the flow."""
    if sort == _FLOW:
        return exchange.status < httpx.codes.INTERNAL_SERVER_ERROR and is_refusal(operation, exchange)
    return exchange.status in _NOT_OPEN | _NOT_THERE or read_error_code(operation, exchange) in _list_key_error_codes(
        operation
    )


def _list_key_error_codes(operation: Operation) -> set[str]:
    """Return the error codes of rejected keys, where the status does not show them."""
    keys = [operation.refusals[word] for word in _KEY_REFUSALS if word in operation.refusals]
    found = set()
    for status, name in (key.split("-", 1) for key in keys):
        response = operation.responses[int(status)]
        for media in response.media.values():
            example = media.examples.get(name)
            if example and isinstance(example.value, dict):
                found.add(str(example.value.get("code")))
    return found & set(list_error_codes(operation, httpx.codes.OK))


def _advise(suite: Suite, operation: Operation, exchange: Exchange, sort: str) -> str:
    api = operation.api
    body = exchange.answer.body[:200].decode("utf-8", "replace") if exchange.answer else ""
    code = read_error_code(operation, exchange)
    status = f"{exchange.status} {code}".strip() if exchange.status == httpx.codes.OK else str(exchange.status)
    if sort == _FLOW:
        advice = f"correct the flow, `values = {{ flow_id = ... }}` under [api.{api}] of a target file"
    elif exchange.status in _NOT_THERE:
        advice = f"correct --base-url, under which there is no {operation.method} {operation.path}"
    else:
        advice = f"correct `--key {api}=...`"
    where = suite.sender.clients[api].api.base_url
    head = f"{status} for a documented request ({operation.name} at {where}): {advice}."
    return f"{head}\n  {exchange.sent.to_curl()}\n  {body}"
