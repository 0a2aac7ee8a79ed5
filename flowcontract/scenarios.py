"""Scenario files -> frozen Scenario, Reply and Event; which scenarios an operation has, and which one fits a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from flowcontract.errors import ScenarioError
from flowcontract.expressions import Context, RequestView, Template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowcontract.specs import Operation

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Match:
    """The request that a scenario belongs to: every part is a subset of what must come; absent parts demand nothing."""

    body: Any = None
    query: Mapping[str, Any] = _NOTHING
    headers: Mapping[str, Any] = _NOTHING
    files: Mapping[str, Any] = _NOTHING  # form field -> filename

    def difference(self, request: RequestView) -> list[str]:
        """Return what a request lacks, one sentence each; empty where it matches."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event, or one JSON object of `lines`. `data` is as in the file, `template` gives it its values."""

    data: Any = None
    has_data: bool = False
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None
    delay_ms: int = 0
    template: Template | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. `kind` tells which of `body`, `events` and `file` counts (`lines` stand in `events`)."""

    kind: Literal["body", "events", "lines", "file"]
    headers: Mapping[str, Any] = _NOTHING
    delay_ms: int = 0
    body: Any = None
    events: tuple[Event, ...] = ()
    file: Path | None = None

    @property
    def streamed(self) -> bool:
        """Whether the reply comes in pieces: `events` or `lines`."""
        raise NotImplementedError

    @property
    def media_type(self) -> str:
        """Return the Content-Type: from `headers`, else by kind (JSON, text, event stream, the file's ending); '' if empty."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
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
    request: Match | None
    reply: Reply

    @property
    def key(self) -> str:
        """`<status>-<name>`, the file's name without ending."""
        return f"{self.status}-{self.name}"


class Piece(NamedTuple):
    """What is sent at once: `data` bytes, `delay_ms` after the piece before it; `payload` is the JSON value in it, or None."""

    delay_ms: int
    data: bytes
    payload: Any


class ScenarioSet:
    """All scenarios of some APIs; files are read when they are first needed."""

    def for_operation(self, operation: Operation) -> Mapping[str, Scenario]:
        """Return an operation's scenarios by `<status>-<name>`: its own first, then those of every operation, by name."""
        raise NotImplementedError

    def keys(self, operation: Operation) -> tuple[str, ...]:
        """Return the names (`<status>-<name>`) of an operation's scenarios without reading the files, sorted."""
        raise NotImplementedError

    def find(
        self, operation: Operation, status: int | None = None, name: str | None = None, *, streaming: bool = False
    ) -> Scenario:
        """Return the scenario that was asked for; raise UnknownNameError saying what there is.

        Without a name the default of that status, else its first by name; without a status the first with that name.
        Underscores and hyphens are the same in a name.
        """
        raise NotImplementedError

    def default(self, operation: Operation, *, streaming: bool = False) -> Scenario:
        """Return what answers when nothing is chosen; without a streaming default the plain one."""
        raise NotImplementedError

    def matching(self, operation: Operation, request: RequestView, *, streaming: bool = False) -> Scenario | None:
        """Return the first scenario (a user's before ours, then by name) whose `request` a request contains."""
        raise NotImplementedError

    def misses(self, operation: Operation, request: RequestView, *, streaming: bool = False) -> dict[str, list[str]]:
        """Return for each scenario with a `request` of its own what a request lacks, by `<status>-<name>`."""
        raise NotImplementedError

    def problems(self, operations: Mapping[str, Mapping[str, Operation]]) -> list[ScenarioError]:
        """Read every file and return all that is wrong, in the order of the files; operations by API and id."""
        raise NotImplementedError


def load_scenarios(api_names: Sequence[str], extra: Path | None = None, *, root: Path | None = None) -> ScenarioSet:
    """Find the scenarios of some APIs in `root` (default: the packaged ones), and a user's in `extra` (the same layout).

    A user's scenario adds to ours or replaces the one of the same name. Raise ScenarioError for a wrong file in `extra`
    at once, for one of ours when it is first needed.
    """
    raise NotImplementedError


def read_scenario(path: Path, *, api_folder: Path) -> Scenario:
    """Read one scenario file below an API's folder; raise ScenarioError naming file, line, what is wrong, what to do."""
    raise NotImplementedError


def render_headers(reply: Reply, context: Context) -> dict[str, str]:
    """Return the reply's own headers with their values; Content-Type is not added."""
    raise NotImplementedError


def render_body(reply: Reply, context: Context) -> bytes:
    """Return the bytes of a reply of kind `body` (JSON with ASCII escapes, or text as it stands) or `file`."""
    raise NotImplementedError


def render_events(reply: Reply, context: Context) -> Iterator[Piece]:
    """Yield the pieces of a streamed reply, each rendered when it is asked for."""
    raise NotImplementedError
