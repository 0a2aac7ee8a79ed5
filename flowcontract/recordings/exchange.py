"""One recorded exchange; the answer is read on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class RecordedPiece(NamedTuple):
    """A piece of a body: when it came, in milliseconds after the request, and how many bytes it had."""

    at_ms: float
    size: int


@dataclass(frozen=True)
class RecordedAnswer:
    """A recorded answer.

    ``headers``  names in lower case
    ``notes``    remarks on how the body was recorded, for the reader of a verdict
    ``left``     why the client stopped reading before the end; empty if it did not
    ``cut``      why the answer ended before its end, the client still reading; empty if it did not
    ``wait_ms``  from the request to the first byte of the answer; 0 if that was not recorded
    ``pieces``   in which the body came; empty if that was not recorded
    ``rewritten``  whether other texts stand in place of some of the server's: they do not add up as those did
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    notes: tuple[str, ...] = ()
    left: str = ""
    cut: str = ""
    wait_ms: float = 0.0
    pieces: tuple[RecordedPiece, ...] = ()
    rewritten: bool = False

    @property
    def media_type(self) -> str:
        """The Content-Type without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Recorded:
    """One recorded exchange.

    ``number``   its place in the recording, from 1
    ``path``     the path of the URL
    ``asked``    the request's body; None if it was not recorded
    ``app``      a hint at the API
    ``name``     a name for people
    ``headers``  of the request, names in lower case; empty if they were not recorded
    ``at``       when it was sent, epoch seconds; None if that was not recorded
    """

    number: int
    method: str
    url: str
    path: str
    query: Mapping[str, tuple[str, ...]]
    asked: bytes | None = field(repr=False)
    read_answer: Callable[[], RecordedAnswer] = field(repr=False, compare=False)
    app: str = ""
    name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    at: float | None = None

    @cached_property
    def answer(self) -> RecordedAnswer:
        """The answer; raises Unreadable if there is none, or if its body was not recorded."""
        return self.read_answer()
