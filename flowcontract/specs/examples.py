"""What the contract shows of requests: the examples that the documents print, and values of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from flowcontract.output.curl import CurlCommand
from flowcontract.schemas.media_types import JSON, is_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.specs.model import Api, Operation, Parameter


@dataclass(frozen=True, slots=True)
class ExampleRequest:
    """One request, ready to be sent.

    ``path``   below the API's base URL, with its query
    ``files``  which fields of `body` are files
    """

    operation: Operation
    name: str
    path: str
    headers: Mapping[str, str]
    media_type: str
    body: Any
    files: tuple[str, ...]

    @property
    def rank(self) -> int:
        """How well it shows an API, the smallest best: a stream, then plain JSON, then what needs no file."""
        if self.files or self.operation.deprecated or self.operation.method in ("PUT", "DELETE"):
            return 9
        if self.operation.stream and self.media_type:
            return 0
        return 1 if self.media_type == JSON else 2

    def to_curl(self, base_url: str, headers: Mapping[str, str]) -> str:
        """Return it as a command for a POSIX shell."""
        command = CurlCommand(*(["-N"] if self.operation.stream else []))
        posts = self.operation.method == "POST" and self.body is not None
        command.add_method(self.operation.method, implied="POST" if posts else "GET")
        command.add_url(base_url + self.path)
        for name, value in {**headers, **self.headers}.items():
            command.add_header(name, value)
        if self.media_type == JSON:
            command.add_json(self.body)
        elif self.media_type:
            for name, value in self.body.items():
                command.add_form_field(name, value)
        return str(command)


def list_example_requests(api: Api) -> Iterator[ExampleRequest]:
    """Yield every named example of a request body, and one request of each operation without a body."""
    for operation in api.operations.values():
        path, headers = _fill_in_parameters(operation)
        bodies = [(media, example) for media in operation.request.values() for example in media.examples.values()]
        if not bodies:
            yield ExampleRequest(operation, "default", path, headers, "", None, ())
        for media, example in bodies:
            fields = media.schema.get("properties", {}) if "multipart" in media.name else {}
            files = tuple(name for name in fields and example.value if is_file(fields.get(name)))
            yield ExampleRequest(operation, example.name, path, headers, media.name, example.value, files)


def choose_typical_request(api: Api) -> ExampleRequest:
    """Return the request that shows an API best."""
    return min(list_example_requests(api), key=lambda example: example.rank)


def _fill_in_parameters(operation: Operation) -> tuple[str, dict[str, str]]:
    """Return path and query, and the headers, of an operation with the examples of its parameters."""
    values: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}}
    for parameter in operation.parameters:
        if parameter.examples:
            values[parameter.location][parameter.name] = parameter.examples[0]
    path = operation.path
    for name, value in values["path"].items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    query = urlencode(values["query"])
    return path + (f"?{query}" if query else ""), {name: str(value) for name, value in values["header"].items()}


def list_parameter_values(parameter: Parameter) -> list[Any]:
    """Return values of a parameter that its contract shows or bounds, the documents' own first."""
    schema, clamp = parameter.schema, parameter.clamp
    values = list(parameter.examples)
    values += [schema[key] for key in ("default", "minimum", "maximum") if schema.get(key) is not None]
    values += [] if clamp is None else [clamp, clamp + 1]  # more is answered as the maximum
    values += schema.get("enum", [])
    values += [False, True] if schema.get("type") == "boolean" else []
    return values
