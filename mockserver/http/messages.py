"""What goes into the application and what comes out: a request as an adapter read it, and the reply it has to send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from werkzeug.datastructures import Headers

from flowcontract.errors import StateUnwritableError
from mockserver.blobs.blob import EMPTY, Blob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

BodyError = Literal["", "too large", "cut short"] | StateUnwritableError
End = Literal["complete", "stopped", "gone", "cut"]
"""All of a stream was sent, it was stopped, the client left, or a fault or a failure cut it off."""
Capability = Literal["pieces", "close", "reset"]
"""What faults need of an adapter: each piece of a stream leaves alone, in a chunk of its own where there are chunks; an
answer can end in the middle, by closing the connection or by resetting it."""


class PlainHeaders(Headers):
    """Headers taken as they are, from a parser or from our own files: what every request needs must not cost much.

    Werkzeug's `Headers` keeps its pairs in `_list`, and looks at each character and at all other pairs whenever one is
    set: ten times what the rest of an answer's headers costs. Only this class knows of that list;
    `tests/mockserver/test_http.py` holds it to what Werkzeug does.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Take names and values in their order."""
        self._list = list(pairs)

    def put(self, values: Mapping[str, str]) -> None:
        """Set several at once, behind the others; names are written as they always are, values need no check."""
        self._list = [*(pair for pair in self._list if pair[0] not in values), *values.items()]


def put(headers: Headers, values: Mapping[str, str]) -> None:
    """Set several headers at once, behind the others."""
    if isinstance(headers, PlainHeaders):
        headers.put(values)
        return
    for name, value in values.items():
        headers.remove(name)
        headers.add(name, value)


@dataclass(slots=True)
class Request:
    """A request that has arrived whole.

    ``method``        upper case
    ``path``          percent-decoded; what is no UTF-8 is U+FFFD
    ``query``         as on the wire, without the question mark
    ``headers``       any number per name, names in any case
    ``fields``        the same by lower-case name, those of one name joined by commas (RFC 9110, 5.3)
    ``body``          everything behind the headers, transfer encoding removed
    ``capabilities``  what the adapter is able to do beyond answering
    ``peer``          the address that it came from, as IP; '' where the adapter does not know it
    ``body_error``    why `body` is not what the client meant to send: beyond the limit of bytes, broken off, or
                      without room for it on this machine
    """

    method: str
    path: str
    query: str = ""
    headers: Headers = field(default_factory=Headers)
    body: Blob = EMPTY
    body_error: BodyError = ""
    peer: str = ""
    capabilities: frozenset[Capability] = frozenset()
    fields: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        fields: dict[str, str] = {}
        for name, value in self.headers:
            lower = name.lower()
            fields[lower] = f"{fields[lower]}, {value}" if lower in fields else value
        self.fields = fields

    def whole(self) -> Request:
        """Return a request for whose body there was room; raise StateUnwritableError otherwise."""
        if isinstance(self.body_error, StateUnwritableError):
            raise self.body_error
        return self


class AbortConnection(Exception):  # noqa: N818 - what is to be done, not what went wrong
    """Raised by `advance` where the answer ends in its middle: the connection is closed without its end, or reset.

    Only an adapter whose `CAPABILITIES` name it does exactly that; the others break off as well as their server lets.
    ``headless`` ones, which `advance` raises when it is first asked, end it before a byte of status line and headers.
    """

    def __init__(self, how: Literal["close", "reset"], *, headless: bool = False) -> None:
        """Break off in this way."""
        super().__init__(f"the answer is broken off: {how}")
        self.how = how
        self.headless = headless


class Streamed(Protocol):
    """A body that comes in pieces. Who sends it asks it what is due and when to ask again; it never waits itself."""

    on_change: Callable[[], None]
    """Called from any thread when `advance` has to be asked at once; the sender sets it."""

    @property
    def ended(self) -> End | None:
        """How it ended; None while it goes on."""

    @property
    def failure(self) -> str | None:
        """What went wrong in the mock itself, and cut it off."""

    def advance(self, now: float) -> tuple[list[bytes], float | None]:
        """Return what is due at `now` (of a clock that only goes forward, in seconds) and when to ask again.

        May raise AbortConnection; what was due before has then been returned.
        """

    def stop(self) -> None:
        """End it as a stopped one ends: what remains is replaced by the ending."""

    def close(self) -> None:
        """Say that nothing more is sent: the client has left, or everything was sent."""


@dataclass(slots=True)
class Reply:
    """What to send, `delay_s` after it was asked for; a Blob's length is known, that of a stream is not.

    ``separate``  each piece of a stream leaves in a chunk of its own, even if several are due at once
    ``said``      the JSON value that `body` was written from, for who keeps what was said; not to be changed
    """

    status: int
    headers: Headers
    body: bytes | Blob | Streamed = b""
    delay_s: float = 0.0
    separate: bool = False
    said: Any = None
