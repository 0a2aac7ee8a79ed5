"""Reads a bundle into frozen dataclasses: Api, Operation, Parameter, Response, MediaType."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowcontract import paths, pointers, yamlio
from flowcontract.errors import SpecError, UnknownNameError
from flowcontract.provenance.evidence import Tier, find_tier
from flowcontract.provenance.sources import Ruling, parse_rulings, read_provenance
from flowcontract.schemas.validators import Validators
from flowcontract.specs.bundle import Bundle, bundle
from flowcontract.specs.cache import FolderCache
from flowcontract.specs.event_schemas import follow, read_event_schemas
from flowcontract.specs.profiles import Profile, apply_profile, load_profile
from flowcontract.streams.contract import StreamContract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an operation, outside the body."""

    name: str
    location: str  # path | query | header | cookie
    required: bool
    schema: Mapping[str, Any]
    pointer: str  # of the schema, in the bundle
    provenance: tuple[str, ...]
    clamp: float | None = None  # a larger value is answered as this one
    examples: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """A named example of a media type."""

    name: str
    value: Any
    provenance: tuple[str, ...]
    observed: bool
    tier: Tier = Tier.DOCUMENT


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type of a body. `pointer` is its schema's place in the bundle (of a stream's item schema), or ''."""

    name: str  # as in the contract: application/json, multipart/form-data, text/event-stream, audio/*
    pointer: str
    schema: Mapping[str, Any]
    examples: Mapping[str, Example]
    stream: StreamContract | None
    encoding: Mapping[str, Any]
    provenance: tuple[str, ...] = ()  # its own, else that of its schema


@dataclass(frozen=True, slots=True)
class Response:
    """A response of an operation."""

    status: int
    description: str
    media: Mapping[str, MediaType]
    headers: Mapping[str, Mapping[str, Any]]
    provenance: tuple[str, ...]
    observed: bool  # no document names this status
    pointer: str
    tier: Tier = Tier.DOCUMENT


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One method on one path. Compared by identity, so that results can be cached per operation.

    ``name``     qualified: `dify-chat/sendChatMessage`
    ``success``  the response of success: the lowest documented 2xx status
    ``stream``   the stream contract of that response, if it can be a stream
    """

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
    refusals: Mapping[str, str]  # what is wrong with a request -> "<status>-<scenario>"
    provenance: tuple[str, ...]
    pointer: str
    name: str = field(init=False)
    success: Response = field(init=False)
    stream: StreamContract | None = field(init=False)

    def __post_init__(self) -> None:
        statuses = [status for status in self.responses if 200 <= status < 300]  # noqa: PLR2004 - HTTP's own ranges
        documented = [status for status in statuses if not self.responses[status].observed]
        success = self.responses[min(documented or statuses)]
        stream = next((media.stream for media in success.media.values() if media.stream), None)
        for name, value in (("name", f"{self.api}/{self.id}"), ("success", success), ("stream", stream)):
            object.__setattr__(self, name, value)  # derived fields of a frozen dataclass


@dataclass(frozen=True, slots=True)
class SecurityScheme:
    """How a key is sent: in `parameter` at `location` (for bearer tokens `Authorization` in the `header`)."""

    name: str
    location: str  # header | query
    parameter: str
    prefix: str  # "Bearer " or ""
    mock_key: str
    provenance: tuple[str, ...] = ()
    tier: Tier = Tier.DOCUMENT

    @property
    def is_token(self) -> bool:
        """Whether what is sent is a token (a bearer's, or by its name), so that a wrong one may be refused as such."""
        return bool(self.prefix) or "token" in self.name.lower()


@dataclass(frozen=True, slots=True)
class Api:
    """One API: the content of its folder under `specs/`."""

    name: str
    title: str
    base_path: str  # "/v1"
    bundle: Mapping[str, Any]
    operations: Mapping[str, Operation]
    schemes: Mapping[str, SecurityScheme]
    refusals: Mapping[str, str]  # of requests to no particular operation, such as an unknown path
    rulings: Mapping[str, Ruling]  # its own by name, and those of all APIs as `dify-workflow/ids-are-strings`
    validators: Validators = field(repr=False, compare=False)
    profile: Profile | None = None  # the release of this contract; None for the documents


def list_apis(root: Path | None = None) -> tuple[str, ...]:
    """Return the names of all APIs: the folders of `root` (default: the packaged specs) with an `openapi.yaml`."""
    root = root or paths.find_specs_root()
    return tuple(sorted(path.parent.name for path in root.glob("*/openapi.yaml")))


def load_api(name: str, *, profile: str | None = None, root: Path | None = None) -> Api:
    """Read one API, changed by a profile if one is named; raise UnknownNameError or SpecError."""
    return load_apis([name], profiles={name: profile} if profile else {}, root=root)[name]


def load_apis(
    names: Sequence[str] = (), *, profiles: Mapping[str, str] = MappingProxyType({}), root: Path | None = None
) -> dict[str, Api]:
    """Read several APIs (all by default), each with its profile, if one is named; raise as `load_api` does."""
    root = root or paths.find_specs_root()
    known = list_apis(root)
    wanted = tuple(names) or known
    for name in wanted:
        if name not in known:
            raise UnknownNameError("API", name, known)
    for name in profiles:
        if name not in wanted:
            raise UnknownNameError("API to put a profile on", name, wanted)
    ours = root == paths.find_specs_root()  # others are not cached
    load = FolderCache(root).load_or_compute if ours else _compute
    rulings = _read_rulings(root, load)
    return {name: _load_api(root / name, profiles.get(name), rulings, load) for name in wanted}


_Load = Callable[[str, Callable[[], Any]], Any]  # a value by its name, and what computes it


def _compute(_name: str, compute: Callable[[], Any]) -> Any:
    return compute()


def _read_rulings(root: Path, load: _Load) -> dict[str, tuple[Ruling, ...]]:
    """Return the rulings of each API."""
    files = {path.parent.name: path for path in sorted(root.glob("*/rulings.yaml"))}
    entries = load("rulings", lambda: {api: yamlio.load(path) for api, path in files.items()})
    return {api: parse_rulings(entries[api], path) for api, path in files.items()}


def _load_api(folder: Path, profile: str | None, rulings: Mapping[str, tuple[Ruling, ...]], load: _Load) -> Api:
    def read() -> Any:
        named = load_profile(folder, profile).as_json() if profile else None
        return {"document": load_bundle(folder, profile=profile).document, "profile": named}

    contract = load(f"{folder.name}@{profile}", read)
    by_name = {f"{api}/{ruling.name}": ruling for api, each in rulings.items() for ruling in each}
    by_name |= {ruling.name: ruling for ruling in rulings.get(folder.name, ())}  # an API's own by plain names, too
    api = _Reader(folder.name, contract["document"], by_name).read_api()
    return replace(api, profile=Profile.from_json(contract["profile"])) if contract["profile"] else api


def load_bundle(folder: Path, *, profile: str | None = None) -> Bundle:
    """Bundle the API in a folder of the specs and apply a profile, if named; raise UnknownNameError or SpecError."""
    bundled = bundle(folder / "openapi.yaml", specs=folder.parent)
    if profile is None:
        return bundled
    changed = apply_profile(bundled.document, folder, load_profile(folder, profile))
    return replace(bundled, document=changed)


class _Reader:
    """Reads one bundle into an Api. Methods take the JSON pointer of the node that they read."""

    def __init__(self, name: str, document: Mapping[str, Any], rulings: Mapping[str, Ruling] | None = None) -> None:
        self.name = name
        self.document = document
        self.rulings = rulings or {}
        self.validators = Validators(document)

    def read_api(self) -> Api:
        document = self.document
        try:
            operations = {operation.id: operation for operation in self._read_operations()}
            return Api(
                name=self.name,
                title=document["info"]["title"],
                base_path=_read_base_path(document["servers"][0]),
                bundle=document,
                operations=MappingProxyType(operations),
                schemes=MappingProxyType(dict(self._read_schemes())),
                refusals=MappingProxyType(document.get("x-refusals", {})),
                rulings=MappingProxyType(self.rulings),
                validators=self.validators,
            )
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise SpecError(
                f"specs/{self.name}/openapi.yaml does not read as OpenAPI: {type(error).__name__}: {error}. "
                "`nox -s specs` tells where."
            ) from error

    def _read_schemes(self) -> Iterator[tuple[str, SecurityScheme]]:
        for name, scheme in self.document.get("components", {}).get("securitySchemes", {}).items():
            bearer = scheme["type"] == "http"
            yield (
                name,
                SecurityScheme(
                    name=name,
                    location="header" if bearer else scheme["in"],
                    parameter="Authorization" if bearer else scheme["name"],
                    prefix="Bearer " if bearer else "",
                    mock_key=scheme.get("x-mock-key", ""),
                    provenance=read_provenance(scheme),
                    tier=find_tier(read_provenance(scheme), self.rulings),
                ),
            )

    def _read_operations(self) -> Iterator[Operation]:
        for path in self.document["paths"]:
            item_pointer, item = follow(self.document, f"/paths/{pointers.escape(path)}")
            for method in _METHODS:
                if method in item:
                    yield self._read_operation(path, method, item_pointer)

    def _read_operation(self, path: str, method: str, item_pointer: str) -> Operation:
        pointer = f"{item_pointer}/{method}"
        node = pointers.resolve(self.document, pointer)
        has_body = "requestBody" in node
        request_pointer, request = follow(self.document, f"{pointer}/requestBody") if has_body else (pointer, {})
        security = node.get("security", self.document.get("security", []))
        return Operation(
            api=self.name,
            id=node["operationId"],
            method=method.upper(),
            path=path,
            summary=node.get("summary", ""),
            deprecated=node.get("deprecated", False),
            parameters=tuple(self._read_parameters(item_pointer, pointer)),
            request=MappingProxyType(dict(self._read_media(request_pointer, request))),
            request_required=request.get("required", False),
            responses=MappingProxyType(dict(self._read_responses(pointer, node))),
            security=tuple(tuple(alternative) for alternative in security),
            refusals=MappingProxyType({**self.document.get("x-refusals", {}), **node.get("x-refusals", {})}),
            provenance=read_provenance(node),
            pointer=pointer,
        )

    def _read_parameters(self, *holders: str) -> Iterator[Parameter]:
        """Yield the parameters of the path item, then those of the operation."""
        for holder in holders:
            for index in range(len(pointers.resolve(self.document, holder).get("parameters", []))):
                pointer, node = follow(self.document, f"{holder}/parameters/{index}")
                schema_pointer, schema = follow(self.document, f"{pointer}/schema")
                yield Parameter(
                    name=node["name"],
                    location=node["in"],
                    required=node.get("required", False),
                    schema=schema,
                    pointer=schema_pointer,
                    provenance=read_provenance(node),
                    clamp=node.get("x-clamp"),
                    examples=tuple(self._read_parameter_examples(pointer, node)),
                )

    def _read_parameter_examples(self, pointer: str, node: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the values that the contract shows of a parameter, in their order."""
        if node.get("example") is not None:
            yield node["example"]
        for name in node.get("examples", {}):
            value = _read_example_value(follow(self.document, f"{pointer}/examples/{pointers.escape(name)}")[1])
            if value is not None:
                yield value

    def _read_responses(self, pointer: str, node: Mapping[str, Any]) -> Iterator[tuple[int, Response]]:
        for status in node["responses"]:
            where, response = follow(self.document, f"{pointer}/responses/{status}")
            named = response.get("headers", {})
            headers = {name: follow(self.document, f"{where}/headers/{name}")[1] for name in named}
            yield (
                int(status),
                Response(
                    status=int(status),
                    description=response["description"],
                    media=MappingProxyType(dict(self._read_media(where, response))),
                    headers=MappingProxyType(headers),
                    provenance=read_provenance(response),
                    observed="x-source" not in response,
                    pointer=where,
                    tier=find_tier(read_provenance(response), self.rulings),
                ),
            )

    def _read_media(self, holder: str, node: Mapping[str, Any]) -> Iterator[tuple[str, MediaType]]:
        for name in node.get("content", {}):
            pointer, media = follow(self.document, f"{holder}/content/{pointers.escape(name)}")
            schema_pointer = next((f"{pointer}/{key}" for key in ("itemSchema", "schema") if key in media), "")
            schema_pointer, schema = follow(self.document, schema_pointer) if schema_pointer else ("", {})
            yield (
                name,
                MediaType(
                    name=name,
                    pointer=schema_pointer,
                    schema=schema,
                    examples=MappingProxyType(dict(self._read_examples(pointer, media))),
                    stream=self._read_stream(media, schema_pointer, node) if "x-stream" in media else None,
                    encoding=media.get("encoding", {}),
                    provenance=read_provenance(media) or read_provenance(schema),
                ),
            )

    def _read_examples(self, pointer: str, media: Mapping[str, Any]) -> Iterator[tuple[str, Example]]:
        for name in media.get("examples", {}):
            _, example = follow(self.document, f"{pointer}/examples/{pointers.escape(name)}")
            origin = read_provenance(example)
            yield (
                name,
                Example(
                    name, _read_example_value(example), origin, "x-observed" in example, find_tier(origin, self.rulings)
                ),
            )

    def _read_stream(self, media: Mapping[str, Any], item: str, around: Mapping[str, Any]) -> StreamContract:
        source = read_provenance(media) or read_provenance(around)
        events = read_event_schemas(self.validators, item)
        return StreamContract.from_spec(media["x-stream"], events, source, self.rulings)


def _read_example_value(example: Mapping[str, Any]) -> Any:
    """Return the value of an Example Object (OpenAPI 3.2, 4.19.1); None where it has none."""
    return next((example[key] for key in ("dataValue", "value", "serializedValue") if key in example), None)


def _read_base_path(server: Mapping[str, Any]) -> str:
    url = server["url"]
    for name, variable in server.get("variables", {}).items():
        url = url.replace(f"{{{name}}}", str(variable["default"]))
    return str(urlsplit(url).path).rstrip("/")
