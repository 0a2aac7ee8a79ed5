"""Every exception of the toolkit.

FlowContractError          what a user can mend; programs print it and exit 2, never a traceback
├── SpecError              a contract file cannot be read or does not hold together
│   ├── UnknownNameError   an API, operation, profile or scenario that does not exist; says what there is
│   └── OrderSyntaxError   an order of events that cannot be read; says where
├── ScenarioError          a scenario file cannot be read or does not follow the format
├── StateError             what keeps what the mock knows, a file or Redis, is broken, foreign or in use
│   ├── StateUnreachableError  Redis cannot be reached for now; the next request may be answered again
│   └── StateUnwritableError   there is no room, or no leave to write: what was asked for has changed nothing
├── AppError               a file that says what an app is cannot be read or does not follow the format
└── StreamError            a stream cannot be read, or bytes cannot be written as one
    └── BlockTooLargeError  a block is larger than the reader was told to hold
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from flowcontract.sorting import natural_key

if TYPE_CHECKING:
    from collections.abc import Iterable


class FlowContractError(Exception):
    """What a user can mend: the message says what was asked, what there is, what to do."""


class SpecError(FlowContractError):
    """A contract file cannot be read or does not hold together."""


class UnknownNameError(SpecError):
    """A name was asked for that does not exist; the message lists what there is.

    >>> print(UnknownNameError("API", "dify-chatt", ["dify-chat", "cybertron"]))
    No API "dify-chatt". There is: cybertron, dify-chat. Did you mean "dify-chat"?
    """

    def __init__(self, what: str, asked: str, known: Iterable[str], *, hint: str = "") -> None:
        """Name the sort of thing, what was asked, and everything that exists."""
        names = sorted(known, key=natural_key)
        there_is = ", ".join(names) if names else "none"
        close = difflib.get_close_matches(asked, names, n=1)
        guess = f' Did you mean "{close[0]}"?' if close else ""
        super().__init__(f'No {what} "{asked}". There is: {there_is}.{guess}{" " + hint if hint else ""}')


class ScenarioError(FlowContractError):
    """A scenario file cannot be read or does not follow the format."""


class AppError(FlowContractError):
    """A file that says what an app is cannot be read or does not follow the format."""


class StateError(FlowContractError):
    """What keeps what the mock knows, a file or Redis, is broken, foreign or in use."""


class StateUnreachableError(StateError):
    """Redis cannot be reached for now; the next request may be answered again."""


class StateUnwritableError(StateError):
    """There is no room for what has to be kept, or no leave to write it; what was asked for has changed nothing."""


class OrderSyntaxError(SpecError):
    """An order of events cannot be read; `position` is the character, from 0, where it stops making sense."""

    def __init__(self, order: str, position: int, problem: str) -> None:
        """Say what is wrong, and point at the place."""
        self.position = position
        super().__init__(f"{problem}, at character {position + 1}: {order[:position]}>>>{order[position:]}")


class StreamError(FlowContractError):
    """A stream cannot be read, or bytes cannot be written as one."""


class BlockTooLargeError(StreamError):
    """A block is larger than the reader was told to hold; `before` are the blocks that the same bytes completed."""

    def __init__(self, limit: int) -> None:
        """Name the limit in bytes."""
        self.before: list[Any] = []  # of `streams.sse.Block`
        super().__init__(
            f"A block of the stream is larger than {limit} bytes. Either its blank line is missing, or raise the limit."
        )
