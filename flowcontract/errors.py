"""Every exception of the toolkit.

FlowContractError          a mistake that a user can correct; programs print it and exit 2, without a traceback
├── SpecError              a contract file cannot be read or does not hold together
│   ├── UnknownNameError   an API, operation, profile or scenario that does not exist; says what there is
│   └── OrderSyntaxError   an order of events that cannot be read; says where
├── ScenarioError          a scenario file cannot be read or does not follow the format
├── StateError             the mock's storage, a file or Redis, is broken, belongs to something else or is in use
│   ├── StateUnreachableError  Redis cannot be reached at the moment; a later request may succeed
│   └── StateUnwritableError   no space left, or no permission to write; the request has changed nothing
├── AppError               an app's configuration file cannot be read or does not follow the format
└── StreamError            a stream cannot be read, or bytes cannot be written as one
    └── BlockTooLargeError  a block is larger than the decoder may buffer
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from flowcontract.sorting import build_natural_key

if TYPE_CHECKING:
    from collections.abc import Iterable


class FlowContractError(Exception):
    """A mistake that a user can correct: the message says what was asked, what there is, what to do."""


class SpecError(FlowContractError):
    """A contract file cannot be read or does not hold together."""


class UnknownNameError(SpecError):
    """A name that does not exist; the message lists those that do.

    >>> print(UnknownNameError("API", "dify-chatt", ["dify-chat", "cybertron"]))
    No API "dify-chatt". There is: cybertron, dify-chat. Did you mean "dify-chat"?
    """

    def __init__(self, what: str, asked: str, known: Iterable[str], *, hint: str = "") -> None:
        """Describe what kind of thing was asked for, under which name, and which names exist."""
        names = sorted(known, key=build_natural_key)
        there_is = ", ".join(names) if names else "none"
        close = difflib.get_close_matches(asked, names, n=1)
        guess = f' Did you mean "{close[0]}"?' if close else ""
        super().__init__(f'No {what} "{asked}". There is: {there_is}.{guess}{" " + hint if hint else ""}')


class ScenarioError(FlowContractError):
    """A scenario file cannot be read or does not follow the format."""


class ConfigError(FlowContractError):
    """Options, in a file or on the command line, that are broken: a name or a value that no option has."""


class AppError(FlowContractError):
    """An app's configuration file cannot be read or does not follow the format."""


class StateError(FlowContractError):
    """The mock's storage, a file or Redis, is broken, belongs to something else or is in use."""


class StateUnreachableError(StateError):
    """Redis cannot be reached at the moment; a later request may succeed."""


class StateUnwritableError(StateError):
    """There is no space left, or no permission to write; the request has changed nothing."""


class OrderSyntaxError(SpecError):
    """An order of events has a syntax error at the character `position`, counted from 0."""

    def __init__(self, order: str, position: int, problem: str) -> None:
        """Describe the error and mark its place."""
        self.position = position
        super().__init__(f"{problem}, at character {position + 1}: {order[:position]}>>>{order[position:]}")


class StreamError(FlowContractError):
    """A stream cannot be read, or bytes cannot be written as one."""


class BlockTooLargeError(StreamError):
    """A block is larger than the decoder may buffer; `before` holds the blocks completed by the same bytes."""

    def __init__(self, limit: int) -> None:
        """Name the limit in bytes."""
        self.before: list[Any] = []  # of `streams.sse.Block`
        super().__init__(
            f"A block of the stream is larger than {limit} bytes. Either its blank line is missing, or raise the limit."
        )
