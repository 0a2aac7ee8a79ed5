"""Faults of what is said, and when: events dropped, repeated, exchanged, added, delayed; the stream broken off."""

from __future__ import annotations

import copy
import itertools
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flowcontract.pointers import get_value
from mockserver.faults.context import make_silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowcontract.scenarios import Piece
    from mockserver.faults.context import FaultContext, Pieces

MIDDLE = 3
"""After how many events "in the middle" is where nothing else is said."""
BARE_PING = b"event: ping\n\n"
"""As real servers send it (Dify 0.14.0, 1.4.1, 1.14.2): a block without data, which no client is told of."""


def drop(pieces: Pieces, _ground: FaultContext, number: int) -> Pieces:
    """Leave event `number` out."""
    for count, piece in enumerate(pieces, 1):
        yield make_silent(piece) if count == number else piece


def duplicate(pieces: Pieces, _ground: FaultContext, number: int) -> Pieces:
    """Send event `number` twice."""
    for count, piece in enumerate(pieces, 1):
        yield piece
        if count == number:
            yield piece._replace(delay_ms=0, payload=None)


def swap(pieces: Pieces, _ground: FaultContext, number: int) -> Pieces:
    """Send event `number` after the one that follows it."""
    held: Piece | None = None
    for count, piece in enumerate(pieces, 1):
        if count == number:
            held = piece._replace(delay_ms=0, payload=None)
            yield make_silent(piece)
        else:
            yield piece
            if held:
                yield held
                held = None
    if held:
        yield held


def reorder(pieces: Pieces, context: FaultContext, _value: None) -> Pieces:
    """Send all events at the end, in an order that the seed decides and that is not theirs."""
    held: list[Piece] = []
    for piece in pieces:
        yield make_silent(piece)
        held.append(piece._replace(delay_ms=0, payload=None))
    mixed = held[:]
    context.random.shuffle(mixed)
    yield from mixed if mixed != held else held[::-1]


def no_end(pieces: Pieces, context: FaultContext, _value: None) -> Pieces:
    """Leave out the event that ends the answer, and what follows it."""
    over = False
    for piece in pieces:
        over = over or context.ends(piece.payload)
        yield make_silent(piece) if over else piece


def close_events(pieces: Pieces, _ground: FaultContext, number: int) -> Pieces:
    """Send `number` events and no more."""
    return itertools.islice(pieces, number)


def ping(pieces: Pieces, context: FaultContext, number: int) -> Pieces:
    """Put a bare ping behind event `number`."""
    return _add_after(pieces, number, lambda _said: _make_bare_ping(context))


def _make_bare_ping(context: FaultContext) -> Piece:
    return context.make_event({})._replace(data=BARE_PING)


def pings(pieces: Pieces, context: FaultContext, count: int) -> Pieces:
    """Put `count` bare pings behind every event."""
    for piece in pieces:
        yield piece
        yield from [_make_bare_ping(context)] * count


def unknown_event(pieces: Pieces, context: FaultContext, number: int) -> Pieces:
    """Put an event of a kind that no document names behind event `number`."""
    return _add_after(pieces, number, lambda _said: context.make_stranger(data={"note": "no document names this kind"}))


def tiny(pieces: Pieces, context: FaultContext, count: int) -> Pieces:
    """Put `count` empty pieces of text behind the first one; where no text comes, unknown events before the end."""
    done = False
    for piece in pieces:
        small = _empty_text(piece.payload, context)
        if not done and small is None and context.ends(piece.payload):
            done = True
            yield from itertools.repeat(context.make_stranger(), count)
        yield piece
        if not done and small is not None:
            done = True
            yield from itertools.repeat(context.make_event(small), count)


def _empty_text(payload: Any, context: FaultContext) -> Mapping[str, Any] | None:
    """Return a piece of text with its text taken out; None for any other event."""
    for rule in context.contract.spec.get("concatenates", []) if context.contract else []:
        if context.get_kind(payload) in rule["events"] and isinstance(get_value(payload, rule["field"]), str):
            small: dict[str, Any] = copy.deepcopy(payload)
            *parents, name = rule["field"].split(".")
            inner = small
            for parent in parents:
                inner = inner[parent]
            inner[name] = ""
            return small
    return None


def error_middle(pieces: Pieces, context: FaultContext, number: int) -> Pieces:
    """Report an error behind event `number`, and end."""
    return _add_after(itertools.islice(pieces, number), number, lambda said: _make_error(context, said))


def error_429(pieces: Pieces, context: FaultContext, number: int) -> Pieces:
    """Report behind event `number` that there were too many requests, and end."""
    words = context.get_contents(HTTPStatus.TOO_MANY_REQUESTS)
    return _add_after(itertools.islice(pieces, number), number, lambda said: _make_error(context, said, words))


def error_end(pieces: Pieces, context: FaultContext, _value: None) -> Pieces:
    """Report an error where the answer would have ended."""
    said: dict[str, Any] = {}
    for piece in pieces:
        if context.ends(piece.payload):
            yield _make_error(context, said)
            return
        yield piece
        said |= piece.payload if isinstance(piece.payload, dict) else {}


def error_silence(pieces: Pieces, context: FaultContext, seconds: float) -> Pieces:
    """Report an error in the middle, and say nothing for `seconds` before the end."""
    yield from error_middle(pieces, context, MIDDLE)
    yield _make_silence(context, seconds)


def silence(pieces: Pieces, _ground: FaultContext, seconds: float) -> Pieces:
    """Say nothing for `seconds` in the middle, then go on."""
    for count, piece in enumerate(pieces, 1):
        yield _delay(piece, seconds) if count == MIDDLE + 1 else piece


def hang(pieces: Pieces, context: FaultContext, seconds: float) -> Pieces:
    """Say nothing more after the middle, and end after `seconds`."""
    yield from itertools.islice(pieces, MIDDLE)
    yield _make_silence(context, seconds)


def slow_first(pieces: Pieces, _ground: FaultContext, seconds: float) -> Pieces:
    """Wait `seconds` with the first event, the headers being sent."""
    for count, piece in enumerate(pieces):
        yield piece if count else _delay(piece, seconds)


def jitter(pieces: Pieces, context: FaultContext, milliseconds: float) -> Pieces:
    """Delay each event by as much again as chance says: lognormal, half of the delays below `milliseconds`."""
    for piece in pieces:
        yield _delay(piece, draw_lognormal(context, milliseconds) / 1000)


def draw_lognormal(context: FaultContext, median: float) -> float:
    """Return a delay such as networks have: never negative, sometimes many times its median."""
    return median * context.random.lognormvariate(0.0, 0.75)


def endless(pieces: Pieces, context: FaultContext, milliseconds: float) -> Pieces:
    """Repeat the last event before the end for ever, or as long as the context lets it."""
    last = context.make_stranger()
    for piece in pieces:
        if context.ends(piece.payload):
            break
        yield piece
        last = piece if piece.data else last
    again = last._replace(delay_ms=milliseconds, payload=None)
    if context.longest_s is None:
        yield from itertools.repeat(again)
    else:
        count, rest = divmod(context.longest_s * 1000, milliseconds)
        yield from itertools.repeat(again, int(count))
        yield _make_silence(context, rest / 1000)
        context.gave_up()


def _add_after(pieces: Pieces, number: int, added: Callable[[Mapping[str, Any]], Piece]) -> Pieces:
    """Add behind event `number`, or at the end where there are fewer, what `added` makes of the fields said so far."""
    said: dict[str, Any] = {}
    done = False
    for count, piece in enumerate(pieces, 1):
        yield piece
        said |= piece.payload if isinstance(piece.payload, dict) else {}
        if count == number:
            done = True
            yield added(said)
    if not done:
        yield added(said)


def _make_error(context: FaultContext, said: Mapping[str, Any], words: Mapping[str, Any] | None = None) -> Piece:
    """Return the event that reports an error, with the ids of this stream."""
    error = dict(context.error())
    known = {name: words[name] for name in words if name in error} or words if words else {}
    rules = context.contract.spec.get("constant", []) if context.contract else []
    names = [rule["field"] for rule in rules if "field" in rule]
    return context.make_event(
        {**error, **known, **{name: said[name] for name in names if name in error and name in said}}
    )


def _delay(piece: Piece, seconds: float) -> Piece:
    return piece._replace(delay_ms=piece.delay_ms + seconds * 1000)


def _make_silence(context: FaultContext, seconds: float) -> Piece:
    return make_silent(_delay(context.make_event({}), seconds))
