"""Which error codes an operation documents, which one an answer has, and whether the answer is a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contract_tests.http.exchange import Exchange
    from flowcontract.specs.model import Operation, Response


def is_refusal(operation: Operation, exchange: Exchange) -> bool:
    """Tell whether a request was refused: by its status, or, where all is status 200, by the code in the body."""
    return exchange.status >= 400 or bool(read_error_code(operation, exchange))  # noqa: PLR2004 - HTTP's own range


def read_error_code(operation: Operation, exchange: Exchange) -> str:
    """Return the error code of an answer as on the wire; '' where it has none or is no refusal."""
    code = exchange.json.get("code") if isinstance(exchange.json, dict) else None
    response = operation.responses.get(exchange.status)
    if not isinstance(code, str) or (response and code == _read_success_code(response)):
        return ""
    return code


def list_error_codes(operation: Operation, status: int) -> dict[str, dict[str, Any]]:
    """Return the documented error codes of a status, as on the wire, each with the body of its example."""
    response = operation.responses.get(status)
    if response is None:
        return {}
    examples = [example.value for media in response.media.values() for example in media.examples.values()]
    bodies = [value for value in examples if isinstance(value, dict) and isinstance(value.get("code"), str)]
    return {body["code"]: body for body in bodies if body["code"] != _read_success_code(response)}


def _read_success_code(response: Response) -> str | None:
    """Return the `code` in the body of a success: that of the first example of a 2xx."""
    if response.status >= 300:  # noqa: PLR2004 - HTTP's own range
        return None
    first = next((example.value for media in response.media.values() for example in media.examples.values()), None)
    return first.get("code") if isinstance(first, dict) else None
