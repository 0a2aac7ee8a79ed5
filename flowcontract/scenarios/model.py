"""What a scenario file says: Scenario, its Reply, the Events of a stream; all frozen."""

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
"""What a provenance begins with that is no line of a document."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NOTHING_SAID = Template(_NOTHING)


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event, or one JSON value of `lines`. `data` is as in the file, `template` gives it values.

    With `each`, which gives a list, it is sent once for every item; `$each` in its data is the item.
    """

    data: Any = None
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None
    delay_ms: int = 0
    template: Template | None = None  # None where there is no data
    each: Template | None = None

    @property
    def plain(self) -> bool:
        """Whether it has data and nothing else, as nearly all have."""
        others = (self.event, self.id, self.retry, self.comment)
        return self.template is not None and others == (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. `kind` tells which of `body`, `events` and `file` counts (`lines` stand in `events`).

    ``stopped`` comes instead of what remains when the stream is stopped; None where the file does not say.
    """

    kind: Literal["body", "events", "lines", "file"]
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_ms: int = 0
    body: Any = None
    events: tuple[Event, ...] = ()
    stopped: tuple[Event, ...] | None = None
    file: Path | None = None
    template: Template = _NOTHING_SAID  # of the body
    header_template: Template = _NOTHING_SAID

    @property
    def streamed(self) -> bool:
        """Whether the reply comes in pieces: `events` or `lines`."""
        return self.kind in ("events", "lines")

    @property
    def media_type(self) -> str:
        """The Content-Type: from `headers`, else by kind (JSON, text, stream, a file's ending); '' for no body."""
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


_MEDIA_TYPES = {".wav": "audio/wav", ".webp": "image/webp", ".md": "text/markdown"}  # as IANA has them, or near


@cache
def _guess_media_type(suffix: str) -> str:
    # An instance of its own knows Python's table only, not the machine's: the same reply everywhere.
    known = _MEDIA_TYPES.get(suffix) or mimetypes.MimeTypes(filenames=()).guess_type(f"file{suffix}")[0]
    return known or "application/octet-stream"


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Scenario:
    """One scenario file. `operation` is None for those of `every-operation`."""

    api: str
    operation: str | None
    status: int
    name: str  # without the status: provider-quota-exceeded
    path: Path
    description: str
    provenance: tuple[str, ...]
    rulings: tuple[str, ...]
    sample: Mapping[str, Any]  # `$world.NAME` and `$app.NAME` where the context does not know them
    request: Match | None
    reply: Reply
    faults: str = ""  # what the mock does wrong on purpose; only who serves the scenario understands it

    @property
    def observed(self) -> bool:
        """Whether it shows what real servers do beyond the documents."""
        return any(source.startswith(OBSERVED) for source in self.provenance)

    @property
    def key(self) -> str:
        """`<status>-<name>`, the file's name without ending."""
        return f"{self.status}-{self.name}"
