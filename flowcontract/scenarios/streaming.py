"""Which request gets the stream, by `x-stream.when`: whether it asks for it, and how to make it ask."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowcontract.scenarios.matching import Match

if TYPE_CHECKING:
    from flowcontract.scenarios.expressions import RequestView
    from flowcontract.specs.model import Operation


def asks_for_stream(operation: Operation, request: RequestView) -> bool:
    """Tell whether a request asks for the stream rather than for the whole body; False where there is no stream."""
    return operation.stream is not None and _build_condition(operation).fits(request)


@lru_cache(maxsize=1024)
def _build_condition(operation: Operation) -> Match:
    when = operation.stream.when if operation.stream else {}
    return Match(body=when.get("body"), query=when.get("query", {}))


def ask_for_stream(operation: Operation, query: Mapping[str, Any], body: Any) -> tuple[dict[str, Any], Any]:
    """Return a query and a body, changed so that they ask for the stream."""
    when = operation.stream.when if operation.stream else {}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in when.get("query", {}).items()
    }
    return {**query, **texts}, {**body, **when.get("body", {})} if isinstance(body, Mapping) else body
