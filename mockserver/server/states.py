"""What a connection does, and what it may do next: a table for reading requests and one for answering them.

The two run side by side: a client may send its next request while the last one is still being answered. As in h11
(https://h11.readthedocs.io/en/latest/api.html#the-state-machine), whatever is not in a table is a mistake of ours.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    Table = Mapping["State", tuple["State", ...]]


class State(Enum):
    """One state; its value says in words what it means.

    ``followers``  the states that may come next, from the table below
    """

    followers: tuple[State, ...]


class Reading(State):
    """What has arrived of the next request."""

    IDLE = "nothing"
    HEAD = "a part of its request line and headers"
    BODY = "its head, and perhaps a part of its body"
    REFUSED = "something that is no request; whatever else comes is ignored"
    ENDED = "nothing, and nothing will: the client sends no more; it may still read"


class Answering(State):
    """What becomes of the requests that have arrived."""

    IDLE = "none has to be answered"
    QUEUED = "the next one waits for its turn, and until the client has read the answers before it"
    ASKING = "the application is asked for the reply, in a thread if the body is large"
    DELAYED = "the reply is known and has to be held back for a while"
    SENDING = "the reply is being written"
    CLOSING = "no more will be answered: the connection is being closed"
    CLOSED = "the connection is closed"


READING: Table = {
    Reading.IDLE: (Reading.HEAD, Reading.REFUSED, Reading.ENDED),
    # A head that offers another protocol is read a second time, without the offer.
    Reading.HEAD: (Reading.HEAD, Reading.BODY, Reading.REFUSED, Reading.ENDED),
    Reading.BODY: (Reading.IDLE, Reading.REFUSED, Reading.ENDED),
    Reading.REFUSED: (Reading.ENDED,),
    Reading.ENDED: (),
}
ANSWERING: Table = {
    # What is no request is refused without asking the application: it is sent at once.
    Answering.IDLE: (Answering.QUEUED, Answering.ASKING, Answering.SENDING, Answering.CLOSING, Answering.CLOSED),
    Answering.QUEUED: (Answering.ASKING, Answering.CLOSING, Answering.CLOSED),
    Answering.ASKING: (Answering.DELAYED, Answering.SENDING, Answering.CLOSING, Answering.CLOSED),
    Answering.DELAYED: (Answering.SENDING, Answering.CLOSING, Answering.CLOSED),
    Answering.SENDING: (Answering.IDLE, Answering.QUEUED, Answering.CLOSING, Answering.CLOSED),
    Answering.CLOSING: (Answering.CLOSED,),
    Answering.CLOSED: (),
}
for _table in (READING, ANSWERING):
    for _state, _followers in _table.items():
        _state.followers = _followers  # looked up for each request: an attribute costs less than the hash of a member

_S = TypeVar("_S", bound=State)


class IllegalTransitionError(RuntimeError):
    """A connection was about to do what its table does not allow."""

    def __init__(self, state: State, following: State) -> None:
        """Name both states, and what may follow the first."""
        allowed = ", ".join(follower.name for follower in state.followers) or "nothing"
        super().__init__(f"{type(state).__name__}: {following.name} cannot follow {state.name}; {allowed} can.")


def move(state: _S, following: _S) -> _S:
    """Return the following state; raise IllegalTransitionError unless the table lets it follow."""
    if following not in state.followers:
        raise IllegalTransitionError(state, following)
    return following
