"""One recorded exchange; the answer is read on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class RecordedAnswer:
    """A recorded answer.

    ``headers``  names in lower case
    ``notes``    remarks on how the body was recorded, for the reader of a verdict
    ``left``     why the client stopped reading before the end; empty if it did not
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    notes: tuple[str, ...] = ()
    left: str = ""

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

    @cached_property
    def answer(self) -> RecordedAnswer:
        """The answer; raises Unreadable if there is none, or if its body was not recorded."""
        return self.read_answer()
