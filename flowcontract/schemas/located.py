"""A schema within its bundle: its references followed, and the parts that bind without a condition folded into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowcontract import pointers

REMARKS = frozenset({"title", "description", "example", "examples", "deprecated", "$comment", "default"})
"""Keywords that forbid no value."""
DEPTH = 40
"""How many references are followed: a schema may contain itself."""
_CONDITIONS = frozenset({"if", "allOf", "anyOf", "oneOf", "not"})
_BOOLEANS: dict[bool, dict[str, Any]] = {True: {}, False: {"not": {}}}


@dataclass(frozen=True, slots=True)
class Located:
    """A schema within its bundle, so that references can be followed."""

    document: Mapping[str, Any]
    node: Any

    @property
    def name(self) -> str:
        """The name under which the bundle has the schema, or what it refers to; empty for a schema that has none."""
        if isinstance(self.node, Mapping) and "$ref" in self.node:
            return str(self.node["$ref"]).rpartition("/")[2]
        named = self.document.get("components", {}).get("schemas", {})
        return next((name for name, schema in named.items() if schema is self.node), "")

    def resolve(self) -> Located:
        """Return the schema that stands behind references; what stands beside a `$ref` holds as well."""
        node, steps = self.node, 0
        while isinstance(node, Mapping) and "$ref" in node and steps < DEPTH:
            beside = {key: value for key, value in node.items() if key != "$ref"}
            target = pointers.resolve(self.document, str(node["$ref"]).removeprefix("#"))
            node = {"allOf": [target, beside]} if beside and isinstance(target, Mapping) else target
            steps += 1
        return Located(self.document, self._fold(_BOOLEANS[node] if isinstance(node, bool) else node))

    def _fold(self, node: Any) -> Any:
        """Return a schema with the parts of its `allOf` that bind without a condition written into itself."""
        if not isinstance(node, Mapping) or "allOf" not in node:
            return node
        whole, left = {key: value for key, value in node.items() if key != "allOf"}, []
        for part in node["allOf"]:
            inner = self.wrap(part).resolve().node
            if isinstance(inner, Mapping) and not _CONDITIONS & inner.keys() and _merge(whole, inner):
                continue
            left.append(part)
        return {**whole, "allOf": left} if left else whole

    def get_keyword(self, name: str) -> Any:
        """Return a keyword's value; None where the schema has none."""
        return self.node.get(name) if isinstance(self.node, Mapping) else None

    def wrap(self, node: Any) -> Located:
        """Return a schema of the same bundle."""
        return Located(self.document, node)


def _merge(whole: dict[str, Any], part: Mapping[str, Any]) -> bool:
    """Add a part's keywords to a schema; change nothing and return False where the two define a keyword differently."""
    said = {key: value for key, value in part.items() if key not in REMARKS and key not in ("properties", "required")}
    if any(key in whole and whole[key] != value for key, value in said.items() if not key.startswith("x-")):
        return False
    properties = dict(whole.get("properties", {}))
    for name, schema in part.get("properties", {}).items():
        properties[name] = {"allOf": [properties[name], schema]} if properties.get(name, schema) != schema else schema
    required = sorted({*whole.get("required", ()), *part.get("required", ())})
    whole.update({**said, **({"properties": properties} if properties else {})})
    whole.update({"required": required} if required else {})
    return True
