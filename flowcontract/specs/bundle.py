"""Bundles an API's files under `specs/` into one OpenAPI document without external references.

Each referenced file moves to `components/<section>/<stem>`, where the section is its folder; events are among the
schemas, with the prefix `event.`. Validators, openapi-spec-validator and Schemathesis read the bundle, because none of
them follows references into other files reliably.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcontract import pointers, yamlio
from flowcontract.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECTIONS = {
    "schemas": "schemas",
    "events": "schemas",
    "responses": "responses",
    "parameters": "parameters",
    "headers": "headers",
    "examples": "examples",
    "request-bodies": "requestBodies",
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """One API's document, and the file that each part of it comes from."""

    document: dict[str, Any]
    root: Path  # the openapi.yaml
    files: Mapping[str, Path]  # JSON pointer of a component -> the file it came from

    def find_origin(self, pointer: str) -> tuple[Path, str]:
        """Return the file that a part of the document comes from, and the JSON pointer of the part in that file."""
        tokens = pointer.split("/")
        component = "/".join(tokens[:4])
        if component in self.files:
            return self.files[component], "/".join(["", *tokens[4:]])
        return self.root, pointer


def bundle(openapi: Path, *, specs: Path) -> Bundle:
    """Bundle an `openapi.yaml` and the files under `specs` that it refers to; raise SpecError naming the file."""
    bundler = _Bundler(specs.resolve())
    document = bundler.rewrite(yamlio.load(openapi), openapi, "")
    if not isinstance(document, dict):
        raise SpecError(f"{openapi}: an OpenAPI document has to be a mapping.")
    while bundler.waiting:
        component, path = bundler.waiting.popitem()
        _, _, section, stem = component.split("/")
        content = bundler.rewrite(yamlio.load(path), path, component)
        document.setdefault("components", {}).setdefault(section, {})[pointers.unescape(stem)] = content
    return Bundle(document, openapi, dict(bundler.placed))


@dataclass(slots=True)
class _Bundler:
    specs: Path
    placed: dict[str, Path] = field(default_factory=dict)
    waiting: dict[str, Path] = field(default_factory=dict)

    def rewrite(self, node: Any, path: Path, component: str) -> Any:
        """Return a node whose references point into the bundle; `component` is the place of the node's file there."""
        if isinstance(node, list):
            return [self.rewrite(item, path, component) for item in node]
        if not isinstance(node, dict):
            return node
        rewritten = {key: self.rewrite(value, path, component) for key, value in node.items()}
        reference = node.get("$ref")
        if isinstance(reference, str):
            name, _, fragment = reference.partition("#")
            place = self._place_file(name, path, reference) if name else component
            rewritten["$ref"] = f"#{place}{fragment}"
        return rewritten

    def _place_file(self, name: str, path: Path, reference: str) -> str:
        target = (path.parent / name).resolve()
        if not target.is_relative_to(self.specs) or not target.is_file():
            raise SpecError(f'{path}: "$ref: {reference}" names no file under {self.specs}. Mend the path.')
        section = SECTIONS.get(target.parent.name)
        if section is None:
            raise SpecError(
                f"{path}: {target} is in none of the folders of parts. There is: {', '.join(sorted(SECTIONS))}."
            )
        prefix = "event." if target.parent.name == "events" else ""
        component = f"/components/{section}/{prefix}{pointers.escape(target.stem)}"
        if component not in self.placed:
            self.placed[component] = self.waiting[component] = target
        if self.placed[component] != target:
            raise SpecError(f"{target} and {self.placed[component]} would share one name. Rename one of them.")
        return component
