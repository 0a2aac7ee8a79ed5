"""The contract as Python sees it: bundle -> frozen Api, Operation, Parameter, Response, MediaType."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from flowcontract.sources import Ruling
    from flowcontract.streams import StreamContract
    from flowcontract.validation import Validators


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an operation, outside the body."""

    name: str
    location: str  # path | query | header
    required: bool
    schema: Mapping[str, Any]
    pointer: str  # of the schema, in the bundle
    provenance: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A named example of a media type."""

    name: str
    value: Any
    provenance: tuple[str, ...]
    observed: bool


@dataclass(frozen=True, slots=True)
class MediaType:
    """What a body may be. `pointer` points to its schema in the bundle (of one item, where `stream` is set); '' without one."""

    name: str  # as in the contract: application/json, multipart/form-data, text/event-stream, audio/*
    pointer: str
    schema: Mapping[str, Any]
    examples: Mapping[str, Example]
    stream: StreamContract | None
    encoding: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """What an operation answers under one status."""

    status: int
    description: str
    media: Mapping[str, MediaType]
    headers: Mapping[str, Mapping[str, Any]]
    provenance: tuple[str, ...]
    observed: bool  # no document names this status
    pointer: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path."""

    api: str
    id: str
    method: str  # upper case
    path: str  # template below the API's base path: /workflows/run/{workflow_run_id}
    summary: str
    deprecated: bool
    parameters: tuple[Parameter, ...]
    request: Mapping[str, MediaType]  # by media type; empty without a body
    request_required: bool
    responses: Mapping[int, Response]
    security: tuple[tuple[str, ...], ...]  # alternatives, each the names of schemes that are needed together
    problems: Mapping[str, str]  # what is wrong with a request -> "<status>-<scenario>"
    provenance: tuple[str, ...]
    pointer: str

    @property
    def name(self) -> str:
        """The qualified name, `dify-chat/sendChatMessage`."""
        return f"{self.api}/{self.id}"

    @property
    def success(self) -> Response:
        """The answer of a request that went well: the lowest documented 2xx status."""
        statuses = [status for status in self.responses if 200 <= status < 300]  # noqa: PLR2004 - HTTP's own ranges
        documented = [status for status in statuses if not self.responses[status].observed]
        return self.responses[min(documented or statuses)]

    @property
    def stream(self) -> StreamContract | None:
        """The stream contract of the successful answer, where it can be a stream."""
        return next((media.stream for media in self.success.media.values() if media.stream), None)


@dataclass(frozen=True, slots=True)
class SecurityScheme:
    """How a key is sent. `location` and `parameter` say where (`header`, `Authorization` for bearer tokens)."""

    name: str
    location: str  # header | query
    parameter: str
    prefix: str  # "Bearer " or ""
    mock_key: str


@dataclass(frozen=True, slots=True)
class Api:
    """One API: everything that its folder under `specs/` says."""

    name: str
    title: str
    base_path: str  # "/v1"
    bundle: Mapping[str, Any]
    operations: Mapping[str, Operation]
    schemes: Mapping[str, SecurityScheme]
    rulings: Mapping[str, Ruling]
    validators: Validators = field(repr=False, compare=False)


def available_apis(root: Path | None = None) -> tuple[str, ...]:
    """Return the names of all APIs: the folders of `root` (default: the packaged specs) with an `openapi.yaml`, sorted."""
    raise RuntimeError


def load_api(name: str, *, profile: str | None = None, root: Path | None = None) -> Api:
    """Read one API, as changed by a profile of it; raise UnknownNameError or SpecError."""
    raise RuntimeError


def load_apis(names: tuple[str, ...] = (), *, profiles: Mapping[str, str] = MappingProxyType({}), root: Path | None = None) -> dict[str, Api]:
    """Read several APIs (all by default), each with its profile, if one is named for it."""
    raise RuntimeError
