"""One recorded exchange: the request at once, the answer when it is asked for."""

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
    ``notes``    what a reader of a verdict should know of how the body was recorded
    ``left``     why the client did not wait for the end; empty where it did
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
    ``asked``    the request's body; None where it was not recorded
    ``app``      a word that may tell which API it was
    ``name``     what people call it
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
        """The answer; raises Unreadable where there is none, or where what is to be judged was not recorded."""
        return self.read_answer()
