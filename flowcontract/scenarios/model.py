"""The content of a scenario file: Scenario, its Reply, the Events of a stream; all frozen."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from flowcontract.scenarios.templates import Template

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flowcontract.scenarios.matching import Match

OBSERVED = "observed: "
"""The beginning of a provenance that is not a line of a document."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NOTHING_SAID = Template(_NOTHING)


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event, or one JSON value of `lines`. `data` is as in the file, `template` renders it.

    With `each`, which renders to a list, it is sent once per item; `$each` in its data is the item.
    """

    data: Any = None
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None
    delay_ms: int = 0
    hold: str = ""  # the name by which a test lets the stream go on, which waits before this event
    template: Template | None = None  # None where there is no data
    each: Template | None = None

    @property
    def plain(self) -> bool:
        """Whether it has data and no other field, as nearly all events."""
        return (
            self.template is not None
            and self.event is None
            and self.id is None
            and self.retry is None
            and self.comment is None
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of a scenario. `kind` tells which of `body`, `events` and `file` it has (`lines` are in `events`).

    ``speaks``   the text that decides how the frames of `file` follow each other; None where it is sent as it is
    ``stopped``  replaces the remaining events when the stream is stopped; None if the file does not define it.
    """

    kind: Literal["body", "events", "lines", "file"]
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_ms: int = 0
    body: Any = None
    events: tuple[Event, ...] = ()
    stopped: tuple[Event, ...] | None = None
    file: Path | None = None
    speaks: Template | None = None
    template: Template = _NOTHING_SAID  # of the body
    header_template: Template = _NOTHING_SAID

    @property
    def streamed(self) -> bool:
        """Whether the reply comes in pieces: `events` or `lines`."""
        return self.kind in ("events", "lines")

    @property
    def media_type(self) -> str:
        """The Content-Type: from `headers`, else by kind (JSON, text, stream, the file's suffix); '' without a body."""
        for name, value in self.headers.items():
            if name.lower() == "content-type":
                return value
        if self.streamed:
            return "text/event-stream; charset=utf-8"
        if self.file is not None:
            return _guess_media_type(self.file.suffix.lower())
        if isinstance(self.body, str):
            return "text/plain; charset=utf-8" if self.body else ""
        return "application/json"


_MEDIA_TYPES = {
    ".wav": "audio/wav",
    ".webp": "image/webp",
    ".md": "text/markdown",
}  # as registered at IANA, or close to it


@cache
def _guess_media_type(suffix: str) -> str:
    # A separate instance has Python's table only, not the machine's, so that replies are the same everywhere.
    known = _MEDIA_TYPES.get(suffix) or mimetypes.MimeTypes(filenames=()).guess_type(f"file{suffix}")[0]
    return known or "application/octet-stream"


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Scenario:
    """One scenario file. `operation` is None for those in `every-operation`."""

    api: str
    operation: str | None
    status: int
    name: str  # without the status: provider-quota-exceeded
    path: Path
    description: str
    provenance: tuple[str, ...]
    rulings: tuple[str, ...]
    sample: Mapping[str, Any]  # values of `$world.NAME` and `$app.NAME` that the context does not have
    request: Match | None
    reply: Reply
    undocumented: bool = False  # a user's own, with a status that no document has
    faults: str = ""  # what the mock does wrong on purpose; parsed by the mock
    verbatim: bool = False  # answers what it matches before the contract refuses it, and without acting upon the world
    violations: tuple[str, ...] = ()  # what the contract forbids of it, known and kept

    @property
    def observed(self) -> bool:
        """Whether it shows undocumented behaviour of real servers."""
        return any(source.startswith(OBSERVED) for source in self.provenance)

    @property
    def key(self) -> str:
        """`<status>-<name>`, the file's name without suffix."""
        return f"{self.status}-{self.name}"
