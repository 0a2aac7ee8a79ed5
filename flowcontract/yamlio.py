"""YAML restricted to JSON's types, so that `no`, `12:30` and dates stay text; and the line of every value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from flowcontract.errors import SpecError
from flowcontract.pointers import escape

if TYPE_CHECKING:
    from pathlib import Path

try:
    from yaml import CSafeDumper as _BaseDumper
    from yaml import CSafeLoader as _Base  # six times faster than the pure Python loader
except ImportError:  # pragma: no cover - PyYAML built without libyaml
    from yaml import SafeDumper as _BaseDumper  # type: ignore[assignment]
    from yaml import SafeLoader as _Base  # type: ignore[assignment]


class _JsonLoader(_Base):
    """A loader whose plain scalars become null, booleans and numbers exactly where JSON would have them."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key that is not text", key_node.start_mark)
            key = key_node.value  # JSON's keys are text: a status `200` is "200"
            if key in mapping:
                raise yaml.constructor.ConstructorError(None, None, f'key "{key}" twice', key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping


_JsonLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"-?(?:0|[1-9][0-9]*)", list("-0123456789")),
    ("float", r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", list("-0123456789")),
):
    _JsonLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


class _JsonDumper(_BaseDumper):
    """A dumper that quotes exactly those texts that the loader would take for something else."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


_JsonDumper.yaml_implicit_resolvers = _JsonLoader.yaml_implicit_resolvers


def dumps(value: Any) -> str:
    """Return JSON's types as YAML text in block style, small lists and objects on one line; `loads` reads it back.

    Raise SpecError for a text that YAML cannot hold (half a surrogate pair).
    """
    try:
        return yaml.dump(value, Dumper=_JsonDumper, allow_unicode=True, sort_keys=False, width=120)
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise SpecError(f"a value cannot be written as YAML: {error}") from None


def loads(text: str, *, name: str = "YAML text") -> Any:
    """Parse YAML text into JSON's types; raise SpecError naming `name` and the line."""
    _refuse_deep_nesting(text, name)
    try:
        root = _compose(text, name)
        return None if root is None else _JsonLoader("").construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = f", line {mark.line + 1}" if (mark := error.problem_mark) else ""
        raise SpecError(f"{name}{line}: {error.problem}. Mend the YAML.") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{name}: {error}. Mend the YAML.") from None


_MAX_DEPTH = 200


def _refuse_deep_nesting(text: str, name: str) -> None:
    """Raise SpecError for a text nested too deeply: libyaml recurses in C and would crash."""
    # Nesting needs a bracket, a dash, a question mark or an indent per level; almost no file has as many of any.
    if max(map(text.count, ("[", "{", "- ", "? "))) <= _MAX_DEPTH and " " * _MAX_DEPTH not in text:
        return
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_JsonLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                line = event.start_mark.line + 1  # type: ignore[union-attr]
                raise SpecError(f"{name}, line {line}: nested more than {_MAX_DEPTH} deep. Flatten the YAML.")
    except yaml.YAMLError:
        return  # the parser reports it with its line


_MAX_REPEATED = 100_000
"""Values that aliases may repeat in all; nine lines of nested aliases can expand to a billion."""
_CHARACTERS_PER_VALUE = 100  # of a long text, which counts as so many values


def _compose(text: str, name: str) -> yaml.Node | None:
    """Return the root node of a text; raise SpecError where its aliases expand too far, or contain themselves."""
    root: yaml.Node | None = yaml.compose(text, Loader=_JsonLoader)
    if root is not None and "&" in text and "*" in text:
        _AliasMeter(name).measure(root)
    return root


class _AliasMeter:
    """Measures how far aliases expand a document; each node is measured once, however often it is repeated."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._measured: dict[int, tuple[int, int]] = {}  # weight and depth of a node, by its id
        self._open: set[int] = set()
        self._repeated = 0

    def measure(self, node: yaml.Node) -> tuple[int, int]:
        """Return the weight of a node with its content, and its depth; raise SpecError where either is too large."""
        known = self._measured.get(id(node))
        if known is not None:
            self._repeated += known[0]
            self._refuse(node, self._repeated > _MAX_REPEATED, f"aliases repeat more than {_MAX_REPEATED} values")
            return known
        self._refuse(node, id(node) in self._open, "an alias contains itself")
        if isinstance(node, yaml.ScalarNode):
            return self._note(node, 1 + len(node.value) // _CHARACTERS_PER_VALUE, 0)
        self._open.add(id(node))
        children = (child if isinstance(child, tuple) else (child,) for child in node.value)  # of a mapping: pairs
        parts = [self.measure(part) for child in children for part in child]
        self._open.remove(id(node))
        depth = 1 + max((deep for _, deep in parts), default=0)
        self._refuse(node, depth > _MAX_DEPTH, f"aliases nest more than {_MAX_DEPTH} deep")
        return self._note(node, 1 + sum(weight for weight, _ in parts), depth)

    def _note(self, node: yaml.Node, weight: int, depth: int) -> tuple[int, int]:
        self._measured[id(node)] = weight, depth
        return weight, depth

    def _refuse(self, node: yaml.Node, too_much: bool, what: str) -> None:
        if too_much:
            raise SpecError(f"{self._name}, line {node.start_mark.line + 1}: {what}. Mend the YAML.")


def load(path: Path) -> Any:
    """Read a YAML file into JSON's types; raise SpecError naming the file and the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    return loads(text, name=str(path))


def locate_lines(text: str) -> dict[str, int]:
    """Map the JSON pointer of every value in a YAML text to the line (from 1) on which the value or its key begins."""
    _refuse_deep_nesting(text, "YAML text")
    lines: dict[str, int] = {}
    root = _compose(text, "YAML text")
    if root is not None:
        _note(root, "", root.start_mark.line + 1, lines)
    return lines


def _note(node: yaml.Node, pointer: str, line: int, lines: dict[str, int]) -> None:
    lines[pointer] = line
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _note(value, f"{pointer}/{escape(key.value)}", key.start_mark.line + 1, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note(item, f"{pointer}/{index}", item.start_mark.line + 1, lines)
