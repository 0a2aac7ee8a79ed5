"""What the contract says of parameters beyond their schemas: their examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract import pointers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.specs.model import Api, Operation


def nodes(api: Api, operation: Operation) -> Iterator[Mapping[str, Any]]:
    """Yield the parameters of an operation as the contract writes them."""
    for holder in (operation.pointer.rpartition("/")[0], operation.pointer):
        for node in pointers.resolve(api.bundle, holder).get("parameters", []):
            yield pointers.resolve(api.bundle, node["$ref"].removeprefix("#")) if "$ref" in node else node


def example(node: Mapping[str, Any]) -> Any:
    """Return a parameter's first example, None without one."""
    if "example" in node:
        return node["example"]
    named = next(iter(node.get("examples", {}).values()), None)
    return named and next((named[key] for key in ("dataValue", "value", "serializedValue") if key in named), None)
