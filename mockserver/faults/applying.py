"""Faults -> the reply that they leave. Those that would leave it as it is are refused: nobody shall rely on them."""

from __future__ import annotations

import copy
from dataclasses import replace
from http import HTTPStatus
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import Headers

from mockserver.faults.parsing import FaultError
from mockserver.faults.replies import answer_as_gateway, as_stream, none
from mockserver.http.messages import Reply
from mockserver.http.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from mockserver.faults.context import FaultContext
    from mockserver.faults.parsing import Chosen
    from mockserver.http.messages import Capability
    from mockserver.state.worlds import World

_COMPARED = 50_000
"""Pieces after which two streams that were the same until there are taken for different ones."""
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def apply(  # noqa: PLR0913 - each by name
    reply: Reply,
    faults: Sequence[Chosen],
    context: FaultContext,
    abilities: Collection[Capability],
    *,
    asked: Collection[Chosen] | None = None,
    refused: bool = False,
    head: bool = False,
) -> tuple[Chosen, ...]:
    """Change a reply, and return the faults that did; those of streams leave alone what is `refused`.

    Raises FaultError where a fault was meant for a stream and there is none, where no adapter could send it, and where
    one that was `asked` for (None: all were) changes nothing of what the client gets, which is no body where only the
    `head` is wanted. One of a scenario's own (raw UTF-8, say) may happen to change nothing.
    """
    fitting = tuple(
        chosen
        for chosen in faults
        if _fits(chosen, reply, context, refused=refused) and not _is_beyond(chosen, abilities, asked)
    )
    for chosen in fitting:
        _guard(chosen, abilities)
    later = [chosen for chosen in fitting if chosen.fault.alter is not none]  # the others have had their say already
    if any(chosen.fault.change for chosen in later):
        as_stream(reply)
    idle = _find_idle(later, reply, context, head=head or reply.status in _BODILESS)
    if idle and (wrong := next((chosen for chosen in idle if asked is None or chosen in asked), None)):
        raise _build_no_effect(wrong, reply, context, head=head)
    for chosen in later:
        _put(chosen, reply, context)
    return tuple(chosen for chosen in fitting if chosen not in idle)


def apply_live(
    reply: Reply, faults: Sequence[Chosen], context: FaultContext, abilities: Collection[Capability]
) -> tuple[Chosen, ...]:
    """Change a stream that comes from elsewhere while it is sent; return the faults, which all count.

    Whether one of them changes anything is not known before all of it has come. Raises FaultError as `apply` does.
    """
    for chosen in faults:
        _fits(chosen, reply, context, refused=False)
        _guard(chosen, abilities)
    later = [chosen for chosen in faults if chosen.fault.alter is not none]
    for chosen in later:
        _put(chosen, reply, context)
    return tuple(faults)


def _find_idle(faults: Sequence[Chosen], reply: Reply, context: FaultContext, *, head: bool) -> list[Chosen]:
    """Return the faults without which the client would get the same, whatever the others do."""
    aside, idle = replace(context, gave_up=lambda: None), []
    for number, chosen in enumerate(faults):
        others = [*faults[:number], *faults[number + 1 :]]
        with_it, without = _rehearse(reply, faults, aside), _rehearse(reply, others, aside)
        if _read_head(with_it) == _read_head(without) and (head or _is_same(with_it, without)):
            idle.append(chosen)
    return idle


def _build_no_effect(chosen: Chosen, reply: Reply, context: FaultContext, *, head: bool) -> FaultError:
    aside = replace(context, gave_up=lambda: None)
    sent = [] if head else [data for _, data in _list_sent(_rehearse(reply, (), aside)) if data]
    there_is = f"of {sum(map(len, sent))} bytes in {len(sent)} piece{'' if len(sent) == 1 else 's'}"
    return FaultError(
        f"The fault {chosen} changes nothing in this reply {there_is}. Ask for another value or another fault."
    )


def _rehearse(reply: Reply, faults: Sequence[Chosen], context: FaultContext) -> Reply:
    """Return what faults would make of a reply, which stays as it is."""
    body = reply.body.rehearse() if isinstance(reply.body, Stream) else reply.body
    rehearsed = Reply(reply.status, Headers(list(reply.headers)), body, reply.delay_s)
    for chosen in faults:
        _put(chosen, rehearsed, context)
    return rehearsed


def _read_head(reply: Reply) -> tuple[Any, ...]:
    """Return what a client gets before the body, and when; the length is that of the body, which is compared itself."""
    headers = [(name, value) for name, value in reply.headers if name != "Content-Length"]
    cut = reply.body.cut if isinstance(reply.body, Stream) else None
    return reply.status, reply.delay_s, headers, cut is not None and cut.headless


def _is_same(reply: Reply, other: Reply) -> bool:
    pairs = enumerate(zip_longest(_list_sent(reply), _list_sent(other)))
    return not any(mine != others or count >= _COMPARED for count, (mine, others) in pairs)


def _list_sent(reply: Reply) -> Iterator[tuple[float, bytes]]:
    """Yield what arrives and how long after what came before; at last how long an end is waited for, if it is."""
    waited = 0.0
    for piece in as_stream(reply).take_rest():
        waited += piece.delay_ms
        if piece.data:
            yield waited, piece.data
            waited = 0.0
    if "Content-Length" not in reply.headers:
        yield waited, b""


def _put(chosen: Chosen, reply: Reply, context: FaultContext) -> None:
    """Put one fault in its place; what it leaves to chance does not depend on the others."""
    change, alter = chosen.fault.change, chosen.fault.alter
    context = replace(context, random=copy.copy(context.random))
    if change:
        stream = as_stream(reply)
        stream.transform(lambda pieces: change(pieces, context, chosen.value), mute=chosen.fault.mute)
        reply.separate = True
    if alter:
        alter(reply, context, chosen.value)


def _fits(chosen: Chosen, reply: Reply, context: FaultContext, *, refused: bool) -> bool:
    """Tell whether a fault concerns a reply; raise FaultError where it was meant for a stream and there is none."""
    name, needs = chosen.fault.name, chosen.fault.needs
    if needs == "any":
        return True
    if not isinstance(reply.body, Stream):
        if refused:
            return False
        raise FaultError(
            f"The fault {name} needs a stream, but this reply is none. Ask for the stream, or for another fault."
        )
    if needs == "sse" and context.framing != "sse":
        raise FaultError(
            f"The fault {name} needs server-sent events, but these are {context.framing}. Ask for another fault."
        )
    return True


def _is_beyond(chosen: Chosen, abilities: Collection[Capability], asked: Collection[Chosen] | None) -> bool:
    """Tell whether a scenario's own fault is only about pieces, which this adapter joins: what is said stays."""
    own = asked is not None and chosen not in asked
    return own and chosen.fault.able == "pieces" and "pieces" not in abilities


def _guard(chosen: Chosen, abilities: Collection[Capability]) -> None:
    if chosen.fault.able and chosen.fault.able not in abilities:
        there_is = ", ".join(sorted(abilities)) or "nothing of the kind"
        fault = chosen.fault
        raise FaultError(
            f'The fault {fault.name} needs a server that can do "{fault.able}"; this one can do {there_is}. '
            "Serve with `mockserver serve`, or ask for another fault."
        )


def find_gateway_reply(faults: Sequence[Chosen]) -> Reply | None:
    """Return what a gateway answers instead of the API, where a fault wants that."""
    return next((answer_as_gateway(*chosen.value) for chosen in faults if chosen.fault.name == "status"), None)


def find_retry_after_s(faults: Sequence[Chosen], world: World, name: str, now: int) -> int | None:
    """Count a request to operation `name` at `now`; return the seconds to wait if it is one too many, else None."""
    for chosen in faults:
        if chosen.fault.name == "rate-limit":
            limit, window = chosen.value
            record = world.store.get("rate limits", name)
            if record is None or now >= record["since"] + window:
                record = {"id": name, "since": now, "count": 0}
            world.store.put("rate limits", name, {**record, "count": record["count"] + 1})
            if record["count"] >= limit:
                return max(1, int(record["since"] + window - now))
    return None
