"""A scenario's reply -> bytes, or a stream that knows what is due when."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowcontract.pointers import build_reader
from flowcontract.scenarios import render_body_and_value, render_events, render_headers
from flowcontract.scenarios.releases import keep_alive_kind
from flowcontract.schemas.media_types import find_media
from flowcontract.streams import sse
from mockserver.blobs.blob import Blob
from mockserver.http.messages import PlainHeaders, Reply
from mockserver.http.stream import Ending, KeepAlive, Stream
from mockserver.scenarios.speech import speak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flowcontract.scenarios import Piece, Scenario
    from flowcontract.scenarios.expressions import Context
    from flowcontract.specs.model import Operation
    from mockserver.http.stream import Transaction

_UNSENDABLE = re.compile(r"[^\t -~\xa0-\xff]")  # a client's line break in a header would begin a header of its own


@dataclass(frozen=True, slots=True)
class Playback:
    """How to play: `pace` multiplies delays, the world hears it in a `transaction`, `ending` ends a stopped stream."""

    pace: float
    transaction: Transaction
    ending: Scenario | None = None


def replay(scenario: Scenario, operation: Operation, context: Context, playback: Playback) -> Reply:
    """Render a scenario for one request."""
    content = scenario.reply
    headers = PlainHeaders(_list_added_headers(scenario, operation).items())
    if content.headers:
        own = render_headers(content, context).items()
        headers = PlainHeaders([*((name, _UNSENDABLE.sub("?", value)) for name, value in own), *headers])
    reply = Reply(scenario.status, headers, delay_s=content.delay_ms / 1000 * playback.pace)
    if content.streamed:
        context.fix_seed()  # events are rendered later, in between other requests
        reply.body = _build_stream(scenario, operation, context, playback)
    elif content.kind == "file" and content.file is not None:
        speaks = content.speaks
        reply.body = Blob(content.file) if speaks is None else speak(content.file, str(speaks.render(context)))
    else:
        reply.said, reply.body = render_body_and_value(content, context)
    return reply


def _build_stream(scenario: Scenario, operation: Operation, context: Context, playback: Playback) -> Stream:
    own = scenario.reply.stopped is not None or playback.ending is None
    last = scenario if own or playback.ending is None else playback.ending
    final, kind_of = _find_final_kinds(last, operation)

    def render_ending(values: Mapping[str, Any]) -> Iterator[Piece]:
        later = copy.copy(context)  # it goes on where the events have come to, and knows more of the world
        later.world = {**context.world, **values}
        return render_events(last.reply, later, stopped=True)

    ending = Ending(render_ending, lambda said: kind_of(said) in final)
    own_pings = scenario.reply.kind == "events" and not scenario.verbatim
    keep_alive = _keep_alive(operation) if own_pings else None
    return Stream(
        render_events(scenario.reply, context),
        pace=playback.pace,
        ending=ending,
        keep_alive=keep_alive,
        transaction=playback.transaction,
    )


@lru_cache(maxsize=4096)
def _find_final_kinds(last: Scenario, operation: Operation) -> tuple[frozenset[str], Callable[[Any], Any]]:
    """Return the kinds of event with which a stopped stream ends, and what tells the kind of a payload."""
    kind_of = build_reader(operation.stream.kind if operation.stream else "")
    kinds = (kind_of(event.data) for event in last.reply.stopped or ())
    return frozenset(kind for kind in kinds if kind is not None), kind_of


@lru_cache(maxsize=1024)
def _keep_alive(operation: Operation) -> KeepAlive | None:
    """Return the block that keeps a connection alive and the silence before it, where the contract has them."""
    contract = operation.stream
    kind = keep_alive_kind(contract) if contract else ""
    if contract is None or contract.framing != "sse" or not kind or not contract.silence_s:
        return None
    return KeepAlive(sse.encode(event=kind), contract.silence_s)


@lru_cache(maxsize=4096)
def _list_added_headers(scenario: Scenario, operation: Operation) -> Mapping[str, str]:
    """Return the headers that a reply has unless its scenario says otherwise."""
    media_type = _find_media_type(scenario, operation)
    added = {"Content-Type": media_type} if media_type else {}
    if scenario.reply.streamed:
        added |= {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # proxies would hold the events back
    own = {name.lower() for name in scenario.reply.headers}
    return {name: value for name, value in added.items() if name.lower() not in own}


def _find_media_type(scenario: Scenario, operation: Operation) -> str:
    """Return the Content-Type that the contract has for a reply, else the reply's own guess."""
    response = operation.responses.get(scenario.status)
    media = response.media if response else {}
    guess = scenario.reply.media_type
    if scenario.reply.streamed:
        name = next((name for name, each in media.items() if each.stream), guess)
        return name if "charset" in name else f"{name}; charset=utf-8"
    whole = {name: each for name, each in media.items() if not each.stream}
    if not guess or not whole or find_media(whole, guess) is not None:
        return guess
    return next((name for name in whole if "*" not in name), guess)
