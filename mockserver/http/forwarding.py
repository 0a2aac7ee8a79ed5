"""What "forward this" says: where a request goes, and what comes back. No sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from mockserver.http.incoming import Incoming

Failure = Literal["refused", "late", "broken", "unreadable", "gone"]
"""Why no answer came: no connection; none in time; it broke off before; it was no HTTP; the client left."""
Break = Literal["close", "reset", "timeout", "gone"]
"""How an answer broke off in its middle: closed, reset, silent for too long, or nobody reads it any more."""


class Origin(NamedTuple):
    """A server: where to connect, and whether by TLS."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        """Return it as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = self.port == (443 if self.tls else 80)
        return f"http{'s' if self.tls else ''}://{host}{'' if default else f':{self.port}'}"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it is sent on.

    ``head``        request line and headers, to the blank line
    ``body``        what follows; an Incoming is sent while it comes, in chunks if ``chunked``
    ``idempotent``  it may be sent again on another connection, where the first one was closed without an answer
    ``silent_s``    how long the server may be silent
    ``patient``     that the server cannot be reached is told when the body has come: it may be recalled meanwhile
    """

    origin: Origin
    method: str
    head: bytes
    body: bytes | Incoming = b""
    chunked: bool = False
    idempotent: bool = False
    silent_s: float = 300.0
    patient: bool = False


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """Status, reason and headers of an answer, as they came.

    ``bodiless``  nothing follows, whatever the headers say: the answer to HEAD, a 204, a 304
    """

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    bodiless: bool = False
