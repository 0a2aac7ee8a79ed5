"""Requests as adapters read them, replies as adapters send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from werkzeug.datastructures import Headers

from flowcontract.errors import StateUnwritableError
from mockserver.blobs.blob import EMPTY, Blob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mockserver.http.forwarding import AnswerHead, Break, Failure, Outgoing
    from mockserver.http.incoming import BodyError, Incoming

End = Literal["complete", "stopped", "gone", "cut"]
"""All of a stream was sent, it was stopped, the client left, or a fault or a failure cut it off."""
Capability = Literal["pieces", "close", "reset", "forward"]
"""What faults need of an adapter. `pieces`: each piece of a stream is sent on its own, in its own chunk if there are
chunks. `close` and `reset`: a reply can end in its middle by closing or resetting the connection. And what a proxy
needs: `forward`, it can ask another server."""


class PlainHeaders(Headers):
    """Headers taken as they are, from a parser or from our own files: what every request needs must not cost much.

    Werkzeug's `Headers` keeps its pairs in `_list`, and looks at each character and at all other pairs whenever one is
    set: ten times what the rest of an answer's headers costs. Only this class knows of that list;
    `tests/mockserver/test_http.py` holds it to what Werkzeug does.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Keep names and values in their order."""
        self._list = list(pairs)

    def put(self, values: Mapping[str, str]) -> None:
        """Set several at once, behind the others; names are written as they always are, values need no check."""
        for name, _ in self._list:
            if name in values:
                self._list = [pair for pair in self._list if pair[0] not in values]
                break
        self._list += values.items()


def put(headers: Headers, values: Mapping[str, str]) -> None:
    """Set several headers at once, behind the others."""
    if isinstance(headers, PlainHeaders):
        headers.put(values)
        return
    for name, value in values.items():
        headers.remove(name)
        headers.add(name, value)


def join_fields(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return values by lower-case name; those of the same name are joined by commas (RFC 9110, 5.3)."""
    fields: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        fields[lower] = f"{fields[lower]}, {value}" if lower in fields else value
    return fields


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Request line and headers that have come before in the same bytes: clients send the same ones again and again.

    Whatever follows from them alone is worked out once per head, which is compared by identity.

    ``keep_alive``  the connection stays open after the answer
    ``chunks``      the client understands a chunked answer
    ``size``        bytes of the body that follows
    ``target``      path and query as on the wire
    """

    method: str
    path: str
    query: str
    headers: Headers
    fields: Mapping[str, str]
    keep_alive: bool
    chunks: bool
    size: int
    target: str = ""


@dataclass(slots=True)
class Request:
    """A request that has arrived whole, or its head where somebody wants the body while it comes.

    ``method``        upper case
    ``path``          percent-decoded; what is no UTF-8 is U+FFFD
    ``query``         as on the wire, without the question mark
    ``headers``       any number per name, names in any case
    ``fields``        the same as `join_fields` returns them; an adapter that has done so passes them on
    ``body``          everything after the headers, decoded from chunks
    ``capabilities``  what the adapter can do beyond answering
    ``peer``          the client's IP address; '' if the adapter does not know it
    ``scheme``        `http` or `https`, as the client addressed the server
    ``body_error``    why `body` is not what the client meant to send: larger than the limit, broken off, or too large
                      for this machine
    ``head``          everything but the body, where an adapter has recognised it
    ``target``        path and query as on the wire; '' if the adapter does not know them
    ``incoming``      the body instead, where the request is answered while it still arrives
    ``noted``         what the application has noted of it, where it is asked again with the body that was `incoming`
    """

    method: str
    path: str
    query: str = ""
    headers: Headers = field(default_factory=Headers)
    body: Blob = EMPTY
    body_error: BodyError = ""
    peer: str = ""
    capabilities: frozenset[Capability] = frozenset()
    fields: Mapping[str, str] = field(default_factory=dict)
    head: Head | None = None
    scheme: str = "http"
    target: str = ""
    incoming: Incoming | None = None
    noted: Any = None

    def __post_init__(self) -> None:
        self.fields = self.fields or join_fields(self.headers)

    def require_stored(self) -> Request:
        """Return this request; raise StateUnwritableError if there was no room for its body."""
        if isinstance(self.body_error, StateUnwritableError):
            raise self.body_error
        return self


class AbortConnection(Exception):  # noqa: N818 - an instruction, not an error
    """Raised by `advance` to end the reply in its middle: the connection is closed or reset.

    Adapters with the capability do exactly that; others break off as well as their server lets them.

    ``headless``  not even status line and headers are sent; only the first call of `advance` may ask for that
    """

    def __init__(self, how: Literal["close", "reset"], *, headless: bool = False) -> None:
        """Close or reset the connection."""
        super().__init__(f"the answer is broken off: {how}")
        self.how = how
        self.headless = headless


class Streamed(Protocol):
    """A body in pieces. The sender asks what is due and when to ask again; the stream itself never waits."""

    on_change: Callable[[], None]
    """Called from any thread when `advance` has to be called at once; the sender sets it."""

    @property
    def on_loop(self) -> bool:
        """Whether it has `on_arrival`, too, which is called on the sender's loop alone, and never inside `advance`."""

    @property
    def ended(self) -> End | None:
        """How it ended; None while it goes on."""

    @property
    def failure(self) -> str | None:
        """What went wrong in the mock itself, and cut it off."""

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return the pieces due at `now`, in seconds of a monotonic clock, and when to ask again; None at the end.

        May raise AbortConnection, after everything that was due before has been returned.
        """

    def stop(self) -> None:
        """Replace the rest by what a stopped stream ends with."""

    def close(self) -> None:
        """Note that nothing more is sent: the client has left, or everything was sent."""


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


@dataclass(slots=True)
class Reply:
    """What to send, `delay_s` seconds after the request. The length of bytes and blobs is known, of streams it is not.

    ``separate``  each piece of a stream is sent in a chunk of its own, even if several are due at once
    ``said``      the JSON value that `body` was made from, for behaviours that store it; not to be changed
    ``reason``    the reason phrase; '' for that of the status
    ``forward``   ask another server, and send what comes of that instead of all this
    """

    status: int
    headers: Headers
    body: bytes | Blob | Streamed = b""
    delay_s: float = 0.0
    separate: bool = False
    said: Any = None
    reason: str = ""
    forward: Forward | None = None

    def copy(self) -> Reply:
        """Return a reply of the same content, to whose headers others may be added."""
        return Reply(  # `dataclasses.replace` takes three times as long
            self.status,
            PlainHeaders(self.headers),
            self.body,
            self.delay_s,
            self.separate,
            self.said,
            self.reason,
            self.forward,
        )
