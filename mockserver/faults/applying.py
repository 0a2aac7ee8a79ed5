"""Faults -> the reply that they leave."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from mockserver.faults.parsing import FaultError
from mockserver.faults.replies import as_stream
from mockserver.http.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mockserver.faults.context import FaultContext
    from mockserver.faults.parsing import Chosen
    from mockserver.http.messages import Capability, Reply
    from mockserver.state.worlds import World


def apply(reply: Reply, faults: Sequence[Chosen], context: FaultContext, abilities: Collection[Capability]) -> None:
    """Change a reply; faults of streams leave a refusal alone.

    Raises FaultError where a fault was meant for a stream and there is none, or where no adapter could send it.
    """
    fitting = [one for one in faults if _fits(one, reply, context)]
    for one in fitting:
        _guard(one, abilities)
    for one in fitting:
        _put(one, reply, context)


def _put(one: Chosen, reply: Reply, context: FaultContext) -> None:
    """Put one fault in its place."""
    change, alter = one.fault.change, one.fault.alter
    if change:
        stream = as_stream(reply)
        stream.through(lambda pieces: change(pieces, context, one.value), mute=one.fault.mute)
        reply.separate = True
    if alter:
        alter(reply, context, one.value)


def _fits(one: Chosen, reply: Reply, context: FaultContext) -> bool:
    """Tell whether a fault concerns a reply; raise FaultError where it was meant for a stream and there is none."""
    name, needs = one.fault.name, one.fault.needs
    if needs == "any":
        return True
    if not isinstance(reply.body, Stream):
        if reply.status >= HTTPStatus.BAD_REQUEST:
            return False
        raise FaultError(
            f"The fault {name} needs a stream, but this reply is none. Ask for the stream, or for another fault."
        )
    if needs == "sse" and context.framing != "sse":
        raise FaultError(
            f"The fault {name} needs server-sent events, but these are {context.framing}. Ask for another fault."
        )
    return True


def _guard(one: Chosen, abilities: Collection[Capability]) -> None:
    if one.fault.able and one.fault.able not in abilities:
        there_is = ", ".join(sorted(abilities)) or "nothing of the kind"
        raise FaultError(
            f'The fault {one.fault.name} needs a server that can do "{one.fault.able}"; this one can do {there_is}. '
            "Serve with `mockserver serve`, or ask for another fault."
        )


def wait_s(faults: Sequence[Chosen], world: World, name: str, now: int) -> int | None:
    """Count a request to operation `name` at `now`; return the seconds to wait if it is one too many, else None."""
    for one in faults:
        if one.fault.name == "rate-limit":
            limit, window = one.value
            record = world.store.get("rate limits", name)
            if record is None or now >= record["since"] + window:
                record = {"id": name, "since": now, "count": 0}
            world.store.put("rate limits", name, {**record, "count": record["count"] + 1})
            if record["count"] >= limit:
                return max(1, int(record["since"] + window - now))
    return None
