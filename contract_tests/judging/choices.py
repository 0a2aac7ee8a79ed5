"""Finds which behaviour a server chose where a ruling accepts several."""

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
    """What a server did where a ruling accepts several behaviours.

    ``operation``  qualified: `dify-chat/deleteConversation`
    ``name``       what was to be chosen
    ``took``       the behaviour, in words
    ``ruling``     the ruling that accepts them all, qualified
    """

    operation: str
    name: str
    took: str
    ruling: str


def find_choices(operation: Operation, rulings: Mapping[str, Ruling], account: Mapping[str, Any]) -> Iterator[Choice]:
    """Yield what a server chose in an exchange, given its account (see `describe_exchange`)."""
    for name, ruling in rulings.items():
        for choice in ruling.choices if "/" in name else ():  # an API's own have a second entry, under a plain name
            if operation.name in choice.operations and _fits(choice.when, account):
                took = _find_option(choice, account)
                if took:
                    yield Choice(operation.name, choice.name, took, name)


def _find_option(choice: sources.Choice, account: Mapping[str, Any]) -> str:
    try:
        value = pointers.resolve(account, choice.at)
    except KeyError:
        return ""
    return next((words for words, schema in choice.options.items() if _fits(schema, value)), "")


def _fits(schema: Any, value: object) -> bool:
    return _compile_validator(json.dumps(schema)).is_valid(value)


@lru_cache(maxsize=512)
def _compile_validator(schema: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(schema))


def describe_exchange(exchange: Exchange, text: str, order: str) -> dict[str, Any]:
    """Return the account of an exchange: the JSON value that the pointers of a ruling's `choices` refer to.

    ``query``    the request's parameters
    ``status``   ``headers`` (names in small letters), ``body`` (JSON or null)
    ``text``     the body, or the beginning of the stream, as text
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
