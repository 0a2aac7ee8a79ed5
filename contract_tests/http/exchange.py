"""A request and its answer as they were sent and received, and the `curl` command that repeats the request."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcontract.output.curl import CurlCommand, quote_with_variables
from flowcontract.output.secrets import Secrets
from flowcontract.schemas.decoding import ABSENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.streams.judge import JudgedEvent

_KEPT_BYTES, _KEPT_PIECES = 256 * 1024, 10_000  # of an answer that is recorded
MAX_JSON_BYTES = 16 * 1024 * 1024  # that are read as JSON: in memory it takes thirty times as much
_LONGEST_CURL = 6000  # bytes of a body that a terminal can still paste
_KEY, _OTHER_KEY = "\x00", "\x01"  # no request that a shell can send has these


@dataclass(frozen=True, slots=True)
class Upload:
    """A file in a form."""

    filename: str
    content_type: str
    content: bytes = field(repr=False)

    def as_part(self) -> dict[str, Any]:
        """Return what the contract's validation sees of an uploaded part."""
        return {"filename": self.filename, "content_type": self.content_type, "size": len(self.content)}


@dataclass(frozen=True, slots=True)
class Request:
    """A request to send. `path` is a template below the API's base path; `body` is JSON, a form's fields, or raw bytes.

    ``keys``  credentials by security scheme; None stands for those that the target has for the operation
    """

    method: str
    path: str
    path_values: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = ABSENT
    media_type: str = ""
    keys: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request as it was sent."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(default=b"", repr=False)
    keys: Secrets = field(default_factory=Secrets, repr=False)  # of the API
    secrets: Secrets = field(default_factory=Secrets, repr=False)  # of the whole run
    max_bytes: int = 64 << 20  # that an answer may have

    def to_curl(self) -> str:
        """Return a `curl` command that repeats it, the API's keys replaced by `$KEY`, all others by `$OTHER_KEY`."""
        command = CurlCommand("-sS", "-i", "-N", quote=self._quote)
        command.add_method(self.method, implied="GET")
        for name, value in self.headers:
            command.add_header(name, value)
        command.add_url(self.url)
        if not self.body:
            return str(command)
        try:
            text = self.body.decode("utf-8")
        except UnicodeDecodeError:
            text = ""
        if text.isprintable() and text and len(text) <= _LONGEST_CURL:
            command.add_raw_data(text)
            return str(command)
        command.add("--data-binary", "@-")
        if len(self.body) > _LONGEST_CURL or self.secrets.mask_bytes(self.body) != self.body:
            return f"{command}  # with a body of {len(self.body)} bytes"
        return f"echo {base64.b64encode(self.body).decode()} | base64 -d | {command}"

    def _quote(self, text: str) -> str:
        """Quote a text for a shell; secrets become variables, which the shell fills in."""
        hidden = self.secrets.mask(self.keys.mask(text, _KEY), _OTHER_KEY)
        return quote_with_variables(hidden, {_KEY: "KEY", _OTHER_KEY: "OTHER_KEY"})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `body` is empty where a stream was read event by event; `trouble` says why it broke off."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes = field(default=b"", repr=False)
    elapsed_s: float = 0
    trouble: str = ""

    @property
    def media_type(self) -> str:
        """The Content-Type without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def json(self) -> Any:
        """The body as JSON; None where it is not JSON."""
        if len(self.body) > MAX_JSON_BYTES:
            return None
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(slots=True)
class ReceivedBody:
    """What is recorded of an answer's body.

    ``beginning``  the first bytes
    ``size``       the number of all bytes
    ``pieces``     when each piece arrived, in seconds after the request, and its length
    """

    beginning: bytearray = field(default_factory=bytearray, repr=False)
    size: int = 0
    pieces: list[tuple[float, int]] = field(default_factory=list)

    def add(self, at_s: float, piece: bytes) -> None:
        """Add a piece."""
        self.beginning += piece[: _KEPT_BYTES - len(self.beginning)]
        self.size += len(piece)
        if len(self.pieces) < _KEPT_PIECES:
            self.pieces.append((at_s, len(piece)))


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event of a stream and when it arrived, in seconds after the request."""

    at_s: float
    event: JudgedEvent


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer, with `events` where it was a stream; without one `trouble` says why."""

    sent: SentRequest
    answer: Answer | None
    events: tuple[TimedEvent, ...] = ()
    trouble: str = ""

    @property
    def status(self) -> int:
        """The answer's status; 0 without an answer."""
        return self.answer.status if self.answer else 0

    @property
    def json(self) -> Any:
        """The answer's JSON; None where there is none."""
        return self.answer.json if self.answer else None

    @property
    def payloads(self) -> list[Any]:
        """The JSON values of the answer: of each event of a stream, else of the body."""
        return [timed.event.payload for timed in self.events] or [self.json]
