"""What goes into the application and what comes out: a request as an adapter read it, and the reply it has to send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from werkzeug.datastructures import Headers

from mockserver.blobs import EMPTY, Blob

if TYPE_CHECKING:
    from collections.abc import Callable

Damage = Literal["", "too large", "cut short"]


@dataclass(slots=True)
class Request:
    """A request that has arrived whole.

    ``method``   upper case
    ``path``     percent-decoded; what is no UTF-8 is U+FFFD
    ``query``    as on the wire, without the question mark
    ``headers``  any number per name, names in any case
    ``body``     everything behind the headers, transfer encoding removed
    ``damage``   why `body` is not what the client meant to send: beyond the limit of bytes, or broken off
    """

    method: str
    path: str
    query: str = ""
    headers: Headers = field(default_factory=Headers)
    body: Blob = EMPTY
    damage: Damage = ""


class Streamed(Protocol):
    """A body that comes in pieces. Who sends it asks it what is due and when to ask again; it never waits itself."""

    on_change: Callable[[], None]
    """Called from any thread when `advance` has to be asked at once; the sender sets it."""

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return what is due at `now` (of a clock that only goes forward, in seconds) and when to ask again."""

    def stop(self) -> None:
        """End it as a stopped one ends: what remains is replaced by the ending."""

    def gone(self) -> None:
        """Say that nothing more is sent: the client has left, or everything was sent."""


@dataclass(slots=True)
class Reply:
    """What to send, `delay_s` after it was asked for; a Blob's length is known, that of a stream is not."""

    status: int
    headers: Headers
    body: bytes | Blob | Streamed = b""
    delay_s: float = 0.0
