"""What "forward this" says: where a request goes, and who is told what comes back. No sockets."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from mockserver.blobs.blob import EMPTY, Blob

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.http.messages import BodyError, Reply

HELD = 256 << 10
"""Bytes that wait for a slower side before the faster one has to wait."""
Failure = Literal["refused", "late", "broken", "unreadable", "gone"]
"""Why no answer came: no connection; none in time; it broke off before; it was no HTTP; the client left."""
Break = Literal["close", "reset", "timeout", "gone"]
"""How an answer broke off in its middle: closed, reset, silent for too long, or nobody reads it any more."""


def _ignore(*_: object) -> None:
    """Do nothing: the default of callbacks."""


class Incoming:
    """A request's body that is still arriving. The adapter feeds it; whoever takes it is told when there is more.

    ``on_data``   called when there is something to take, or the end
    ``on_flow``   called with whether the client may go on sending
    ``whole``     None while more may come; then whether all of it has come
    ``size``      bytes that have come
    ``copy``      what has come, for judging it afterwards; ``copy_error`` tells why it is not all
    ``recalled``  it must not be passed on while it comes: the adapter has the request answered when it is whole
    """

    def __init__(self) -> None:
        self.on_data: Callable[[], None] = _ignore
        self.on_flow: Callable[[bool], None] = _ignore
        self.on_end: Callable[[], None] = _ignore
        self.on_recall: Callable[[], None] = _ignore
        self.recalled = False
        self.whole: bool | None = None
        self.size = 0
        self.copy: Blob = EMPTY
        self.copy_error: BodyError = ""
        self._look: Callable[[bytes], bool] | None = None
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._stopped = self._dropped = False

    def feed(self, data: bytes) -> None:
        """Add the next bytes, unless nobody wants them any more."""
        self.size += len(data)
        if self._look is not None and self._look(data):
            self._recall()
        if self._dropped:
            return
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting > HELD and not self._stopped:
            self._stopped = True
            self.on_flow(False)
        self.on_data()

    def watch(self, look: Callable[[bytes], bool]) -> None:
        """Look at each piece before it is taken, and at those that wait."""
        self._look = look
        if any(look(piece) for piece in self._pieces):
            self._recall()

    def _recall(self) -> None:
        self.recalled, self._look = True, None
        self.drop()
        self.on_recall()

    def finish(self, copy: Blob, error: BodyError, *, whole: bool) -> None:
        """Note the end, or that it broke off."""
        self.whole, self.copy, self.copy_error = whole, copy, error
        self.on_end()
        self.on_data()

    def take(self) -> list[bytes]:
        """Return what has come since the last time, each piece as it came."""
        pieces = list(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        if self._stopped:
            self._stopped = False
            self.on_flow(True)
        return pieces

    def drop(self) -> None:
        """Take no more: what still comes is for nobody."""
        self._dropped = True
        self.on_data = _ignore
        self.take()


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


class Forward(Protocol):
    """One request that is forwarded. An adapter sends `outgoing` and tells what comes back, in this order."""

    @property
    def outgoing(self) -> Outgoing:
        """What to send, and where."""

    def begin(self, flow: Callable[[bool], None], cancel: Callable[[], None]) -> None:
        """Take what controls the server's side: whether it may go on sending, and that nobody wants more of it."""

    def answer(self, head: AnswerHead) -> Reply | None:
        """Hear that the answer begins; return what the client gets, None where it waits for the whole body."""

    def feed(self, data: bytes) -> Reply | None:
        """Hear the next bytes of the body; return what the client gets where it is not to wait for the rest."""

    def finish(self) -> Reply | None:
        """Hear that the answer is complete; return what the client gets where it has waited for that."""

    def break_off(self, how: Break) -> Reply | None:
        """Hear that the answer broke off in its middle; return what the client gets where it has got nothing yet."""

    def fail(self, why: Failure, detail: str) -> Reply:
        """Hear that there is no answer; return what the client gets."""
