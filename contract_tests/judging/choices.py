"""Where a ruling accepts one of several behaviours: which one a server took."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import jsonschema_rs

from flowcontract import pointers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contract_tests.http.exchange import Exchange
    from flowcontract.provenance import sources
    from flowcontract.provenance.sources import Ruling
    from flowcontract.specs.model import Operation


class Choice(NamedTuple):
    """What a server did where a ruling leaves it the choice.

    ``operation``  qualified: `dify-chat/deleteConversation`
    ``name``       what there was to choose
    ``took``       which way the server went, in words
    ``ruling``     the ruling that accepts them all, qualified
    """

    operation: str
    name: str
    took: str
    ruling: str


def choices(operation: Operation, rulings: Mapping[str, Ruling], told: Mapping[str, Any]) -> Iterator[Choice]:
    """Yield what a server chose in an exchange, of which `told` is the account."""
    for ruling, choice in _declared(rulings):
        if operation.name in choice.operations and _fits(choice.when, told):
            took = _taken(choice, told)
            if took:
                yield Choice(operation.name, choice.name, took, ruling)


def _declared(rulings: Mapping[str, Ruling]) -> Iterator[tuple[str, sources.Choice]]:
    for name, ruling in rulings.items():
        if "/" in name:  # an API's own stand there by their plain names, too
            yield from ((name, choice) for choice in ruling.choices)


def _taken(choice: sources.Choice, told: Mapping[str, Any]) -> str:
    try:
        value = pointers.resolve(told, choice.at)
    except KeyError:
        return ""
    return next((words for words, schema in choice.options.items() if _fits(schema, value)), "")


def _fits(schema: Any, value: object) -> bool:
    return _validator(json.dumps(schema)).is_valid(value)


@lru_cache(maxsize=512)
def _validator(schema: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(schema))


def account(exchange: Exchange, text: str, order: str) -> dict[str, Any]:
    """Return an exchange as one JSON value, in which a ruling's `choices` say where to look.

    ``query``    the request's parameters
    ``status``   ``headers`` (names in small letters), ``body`` (JSON or null)
    ``text``     what came, as text: a body or the beginning of a stream
    ``kinds``    those of a stream's events, in order; ``first``: kind -> payload of the first event of it
    ``order``    the name of the order that the stream followed, or ''
    """
    first: dict[str, Any] = {}
    for timed in exchange.events:
        first.setdefault(timed.event.kind, timed.event.payload)
    return {
        "query": dict(parse_qsl(urlsplit(exchange.sent.url).query, keep_blank_values=True)),
        "status": exchange.status,
        "headers": dict(exchange.answer.headers) if exchange.answer else {},
        "body": exchange.json,
        "text": text,
        "kinds": [timed.event.kind for timed in exchange.events],
        "first": first,
        "order": order,
    }
