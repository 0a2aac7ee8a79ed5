"""What the page shows of the contract: operations with their lines, the orders of their events, requests to try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract.provenance.evidence import list_cited_rulings, list_quotes
from flowcontract.specs.examples import list_example_requests
from flowcontract.streams.order import Atom, Choice, Repeat, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowcontract.provenance.sources import Ruling
    from flowcontract.specs.examples import ExampleRequest
    from flowcontract.specs.model import Api, Operation
    from flowcontract.streams.contract import StreamContract
    from flowcontract.streams.order import Node

_MOST_SOURCES = 50


def list_operations(apis: Mapping[str, Api]) -> list[dict[str, Any]]:
    """Return every operation in a few words."""
    return [_summarize(api, operation) for api in apis.values() for operation in api.operations.values()]


def describe_operation(api: Api, operation: Operation) -> dict[str, Any]:
    """Return an operation with its parameters, responses, stream contract, documented requests and quoted lines."""
    examples = [_describe_example(api, each) for each in list_example_requests(api) if each.operation is operation]
    alternatives = [[_describe_scheme(api, name) for name in names] for names in operation.security]
    return {
        **_summarize(api, operation),
        "parameters": [
            {"name": each.name, "in": each.location, "required": each.required, "sources": each.provenance}
            for each in operation.parameters
        ],
        "responses": [
            {
                "status": response.status,
                "description": response.description,
                "media": list(response.media),
                "tier": response.tier,
                "sources": response.provenance,
            }
            for response in operation.responses.values()
        ],
        "stream": operation.stream and _describe_stream(operation.stream),
        "examples": examples,
        "keys": alternatives,
        **quote_sources(operation.provenance, api.rulings),
    }


def quote_sources(sources: Iterable[str], rulings: Mapping[str, Ruling]) -> dict[str, Any]:
    """Return the printed lines of sources, `001:25-58`, and the words of rulings, `ruling NAME`."""
    named = tuple(sources)[:_MOST_SOURCES]
    return {
        "quotes": [{"source": each.source, "title": each.title, "text": each.text} for each in list_quotes(named)],
        "rulings": [{"name": each.name, "decision": each.decision} for each in list_cited_rulings(named, rulings)],
    }


def _summarize(api: Api, operation: Operation) -> dict[str, Any]:
    return {
        "name": operation.name,
        "api": api.name,
        "method": operation.method,
        "path": api.base_path + operation.path,
        "summary": operation.summary,
        "deprecated": operation.deprecated,
        "streams": operation.stream is not None,
        "sources": operation.provenance,
    }


def _describe_example(api: Api, example: ExampleRequest) -> dict[str, Any]:
    return {
        "name": example.name,
        "method": example.operation.method,
        "path": api.base_path + example.path,
        "headers": dict(example.headers),
        "media_type": example.media_type,
        "body": example.body,
        "files": list(example.files),
    }


def _describe_scheme(api: Api, name: str) -> dict[str, str]:
    """Return where a key of the mock's is sent: it opens nothing else."""
    scheme = api.schemes[name]
    return {"in": scheme.location, "name": scheme.parameter, "prefix": scheme.prefix, "key": scheme.mock_key}


def _describe_stream(stream: StreamContract) -> dict[str, Any]:
    return {
        "framing": stream.framing,
        "when": stream.when,
        "anywhere": sorted(stream.anywhere),
        "end": sorted(stream.end),
        "silence_s": stream.silence_s,
        "orders": [
            {
                "name": each.name,
                "tier": each.tier,
                "sources": each.source,
                "text": each.order.text,
                "tree": draw_tree(each.order.tree),
            }
            for each in stream.alternatives
        ],
        "events": [{"kind": each.kind, "sources": each.source} for each in stream.events.values()],
    }


def draw_tree(node: Node) -> dict[str, Any]:
    """Return an order as JSON: `{kind, guard}`, `{series}`, `{choice}`, `{repeat, optional, many}`."""
    match node:
        case Atom(kind, guard):
            return {"kind": kind, "guard": ", ".join(map(str, guard))}
        case Series(parts):
            return {"series": [draw_tree(part) for part in parts]}
        case Choice(parts):
            return {"choice": [draw_tree(part) for part in parts]}
        case Repeat(part, optional, many):
            return {"repeat": draw_tree(part), "optional": optional, "many": many}
