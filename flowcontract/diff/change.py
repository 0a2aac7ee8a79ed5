"""What a change of a contract is, and whom it breaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """What a change means for one side: nothing to do, something to look at, or something that stops working."""

    SAFE = "safe"
    LOOK = "look"
    BREAKING = "breaking"


class Effect(StrEnum):
    """What a change does to the set of messages that are allowed."""

    NARROWED = "narrowed"  # some are no longer allowed
    WIDENED = "widened"  # some are allowed that were not
    REPLACED = "replaced"  # both
    UNCLEAR = "unclear"  # no rule tells which


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between an old contract and a new one.

    ``operation``  `dify-chat/sendChatMessage`, or the API's name where it concerns all of them
    ``place``      where in the operation, in words: `response 200 field mode`, `stream event opened field id`
    ``what``       what has changed, in words
    ``clients``    what it means for a client of the old contract that meets a server of the new one
    ``servers``    what it means for a server of the old contract that has to fulfil the new one
    ``example``    kinds of events, with the values that matter: the shortest stream that shows the change
    ``schema``     the named schema that has changed, where `place` only uses it: `Error`
    ``field``      where in that schema; empty for the schema as a whole
    ``user``       where in the operation the schema is used: `response 401`
    """

    operation: str
    place: str
    what: str
    clients: Level
    servers: Level
    example: tuple[str, ...] = ()
    schema: str = ""
    field: str = ""
    user: str = ""

    @property
    def level(self) -> Level:
        """The worse of the two sides."""
        return max((self.clients, self.servers), key=list(Level).index)


_SENT_BY_CLIENTS = {
    Effect.NARROWED: (Level.BREAKING, Level.SAFE),
    Effect.WIDENED: (Level.SAFE, Level.BREAKING),
    Effect.REPLACED: (Level.BREAKING, Level.BREAKING),
    Effect.UNCLEAR: (Level.LOOK, Level.LOOK),
}


def get_request_levels(effect: Effect) -> tuple[Level, Level]:
    """Return what a change of requests means for clients and for servers: a server must take all that is allowed."""
    return _SENT_BY_CLIENTS[effect]


def get_answer_levels(effect: Effect) -> tuple[Level, Level]:
    """Return what a change of answers means for clients and for servers: a client must take all that is allowed."""
    servers, clients = _SENT_BY_CLIENTS[effect]
    return clients, servers
