"""The requests that the documents print, ready to be sent: for the greeting's `curl`, and to prove that each works."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from mockserver.request import parameters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.specs.model import Api, Operation


@dataclass(frozen=True, slots=True)
class ExampleRequest:
    """One request: `path` is below the API's base URL and has its query; `files` are those fields of `body`."""

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
        return 1 if self.media_type == "application/json" else 2

    def curl(self, base_url: str, headers: Mapping[str, str]) -> str:
        """Return it as a command for a POSIX shell."""
        words = ["curl", "-N"] if self.operation.stream else ["curl"]
        if self.operation.method not in ("GET", "POST") or (self.operation.method == "POST" and self.body is None):
            words += ["-X", self.operation.method]
        words.append(base_url + self.path)
        for name, value in {**headers, **self.headers}.items():
            words += ["-H", f"{name}: {value}"]
        if self.media_type == "application/json":
            words += ["-H", "Content-Type: application/json", "-d", json.dumps(self.body, ensure_ascii=False)]
        elif self.media_type:
            words += [word for name, value in self.body.items() for word in ("-F", f"{name}={value}")]
        return shlex.join(words)


def example_requests(api: Api) -> Iterator[ExampleRequest]:
    """Yield every named example of a request body, and one request of each operation without a body."""
    for operation in api.operations.values():
        path, headers = _place(api, operation)
        bodies = [(media, example) for media in operation.request.values() for example in media.examples.values()]
        if not bodies:
            yield ExampleRequest(operation, "default", path, headers, "", None, ())
        for media, example in bodies:
            files = (
                tuple(name for name in example.value if _is_file(media.schema, name))
                if "multipart" in media.name
                else ()
            )
            yield ExampleRequest(operation, example.name, path, headers, media.name, example.value, files)


def find_typical_example(api: Api) -> ExampleRequest:
    """Return the request that shows an API best."""
    return min(example_requests(api), key=lambda example: example.rank)


def _is_file(schema: Mapping[str, Any], name: str) -> bool:
    field = schema.get("properties", {}).get(name, {})
    return bool(
        field.get("format") == "binary"
        or ("contentMediaType" in field and field.get("contentMediaType") != "application/json")
    )


def _place(api: Api, operation: Operation) -> tuple[str, dict[str, str]]:
    """Return path and query, and the headers, of an operation with the examples of its parameters."""
    values: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}}
    for node in parameters.nodes(api, operation):
        value = parameters.example(node)
        if value is not None:
            values[node["in"]][node["name"]] = value
    path = operation.path
    for name, value in values["path"].items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    query = urlencode(values["query"])
    return path + (f"?{query}" if query else ""), {name: str(value) for name, value in values["header"].items()}
