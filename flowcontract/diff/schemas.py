"""Two JSON Schemas compared, keyword by keyword: what the new one no longer allows, and what besides.

Properties are compared by name, since every object of the contracts is open: a new property that may be left out
forbids nothing that anybody sends, and one that is gone may still come. What no rule orders (patterns, conditions)
counts as unclear, never as harmless.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowcontract.diff.change import Effect
from flowcontract.schemas import absence
from flowcontract.schemas.located import DEPTH, REMARKS, Located

_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_DEMANDS = ("x-not-before", "x-sum")  # keywords of ours that forbid values, as the others do
_EXACT = ("pattern", "format", "contentMediaType", "contentEncoding", "uniqueItems", "multipleOf", *_DEMANDS)


# What happens to a property that may be left out. A schema that is `false` forbids it.
ADDED, REMOVED, FORBIDDEN = "added", "removed", "may not stand there any more"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference of two schemas: where (a path of names), what in words, and what it does to the allowed values.

    ``effect``  None for a property that came or went without being required: each side reads that in its own way
    ``schema``  the innermost schema with a name that has changed, and ``within`` the path from there
    """

    path: tuple[str, ...]
    what: str
    effect: Effect | None
    schema: str = ""
    within: tuple[str, ...] = ()


def compare_schemas(old: Located, new: Located, path: tuple[str, ...] = ()) -> Iterator[Difference]:
    """Yield every difference of two schemas, the place first."""
    name = old.name if old.name == new.name else ""
    for difference in _compare(old, new, path):
        named = difference.schema or not name
        yield difference if named else replace(difference, schema=name, within=difference.path[len(path) :])


def _compare(old: Located, new: Located, path: tuple[str, ...]) -> Iterator[Difference]:
    if len(path) > DEPTH:  # a schema that contains itself: everything in it was compared further up
        return
    old, new = old.resolve(), new.resolve()
    if _canonicalize(old) == _canonicalize(new):
        return
    if not (isinstance(old.node, Mapping) and isinstance(new.node, Mapping)):
        yield Difference(path, f"{_show(old.node)} became {_show(new.node)}", Effect.UNCLEAR)
        return
    before, after = _list_types(old), _list_types(new)
    if before != after:
        effect = Effect.NARROWED if after < before else Effect.WIDENED if before < after else Effect.REPLACED
        yield Difference(path, f"type {_describe_types(old)} became {_describe_types(new)}", effect)
    if (before & after) - {"null"}:  # else nothing that the other keywords say has a counterpart
        for compare in _COMPARISONS:
            yield from compare(old, new, path)


def _list_types(schema: Located) -> frozenset[str]:
    said = schema.get_keyword("type")
    if said is None:
        return frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
    names = frozenset([said] if isinstance(said, str) else said)
    names |= _find_null(schema)
    return names | {"integer"} if "number" in names else names


def _describe_types(schema: Located) -> str:
    said = schema.get_keyword("type")
    return "any" if said is None else " or ".join([*([said] if isinstance(said, str) else said), *_find_null(schema)])


def _find_null(schema: Located) -> frozenset[str]:
    """Return the type null where it stands for a field that is left out."""
    return frozenset({"null"} if schema.get_keyword(absence.KEYWORD) == absence.ABSENT else ())


def _compare_values(old: Located, new: Located, path: tuple[str, ...]) -> Iterator[Difference]:
    before, after = _list_values(old), _list_values(new)
    if before == after:
        return
    if before is None or after is None:
        words = f"{_describe_allowed(before)} became {_describe_allowed(after)}"
        yield Difference(path, words, Effect.NARROWED if after else Effect.WIDENED)
        return
    for value in sorted(before - after):
        yield Difference(path, f"the value {value} is gone", Effect.NARROWED)
    for fresh in sorted(after - before):
        yield Difference(path, f"the value {fresh} is new", Effect.WIDENED)


def _list_values(schema: Located) -> frozenset[str] | None:
    node = schema.node
    if "const" in node:
        return frozenset({json.dumps(node["const"])})
    return frozenset(map(json.dumps, node["enum"])) if "enum" in node else None


def _describe_allowed(values: frozenset[str] | None) -> str:
    if values is None:
        return "any value"
    return f"{'one of' if len(values) > 1 else 'always'} {', '.join(sorted(values))}"


def _compare_bounds(old: Located, new: Located, path: tuple[str, ...]) -> Iterator[Difference]:
    for names, stricter in ((_LOWER_BOUNDS, 1), (_UPPER_BOUNDS, -1)):
        for name in names:
            before, after = old.get_keyword(name), new.get_keyword(name)
            if before == after:
                continue
            tighter = after is not None and (before is None or (after - before) * stricter > 0)
            effect = Effect.NARROWED if tighter else Effect.WIDENED
            yield Difference(path, f"{name} {_show(before)} became {_show(after)}", effect)


def _compare_exact(old: Located, new: Located, path: tuple[str, ...]) -> Iterator[Difference]:
    for name in _EXACT:
        before, after = old.get_keyword(name), new.get_keyword(name)
        if before != after:
            effect = Effect.NARROWED if before is None else Effect.WIDENED if after is None else Effect.UNCLEAR
            yield Difference(path, f"{name} {_show(before)} became {_show(after)}", effect)


def _compare_properties(old: Located, new: Located, path: tuple[str, ...]) -> Iterator[Difference]:
    before, after = old.get_keyword("properties") or {}, new.get_keyword("properties") or {}
    needed_before, needed_after = set(old.get_keyword("required") or ()), set(new.get_keyword("required") or ())
    for name in dict.fromkeys((*before, *after, *sorted(needed_before | needed_after))):
        here = (*path, name)
        was, is_now = name in before or name in needed_before, name in after or name in needed_after
        required = (name in needed_before, name in needed_after)
        if not was or before.get(name) is False:
            effect = Effect.NARROWED if required[1] else None
            if after.get(name) is not False:
                yield Difference(here, f"{ADDED}{', and required' if required[1] else ''}", effect)
        elif after.get(name) is False:
            effect = Effect.REPLACED if required[0] else None
            yield Difference(here, f"{FORBIDDEN}{'; it was required' if required[0] else ''}", effect)
        elif not is_now:
            effect = Effect.WIDENED if required[0] else None
            yield Difference(here, f"{REMOVED}{'; it was required' if required[0] else ''}", effect)
        else:
            if required == (True, False):
                yield Difference(here, "no longer required", Effect.WIDENED)
            if required == (False, True):
                yield Difference(here, "required now", Effect.NARROWED)
            yield from compare_schemas(old.wrap(before.get(name, True)), new.wrap(after.get(name, True)), here)


def _compare_items(old: Located, new: Located, path: tuple[str, ...]) -> Iterator[Difference]:
    for name, step in (("items", "[]"), ("additionalProperties", "*"), ("contentSchema", "(content)")):
        before, after = old.get_keyword(name), new.get_keyword(name)
        if before is not None or after is not None:
            yield from compare_schemas(
                old.wrap(True if before is None else before),
                new.wrap(True if after is None else after),
                (*path, step),
            )


def _compare_combinations(old: Located, new: Located, path: tuple[str, ...]) -> Iterator[Difference]:
    for name in ("allOf", "anyOf", "oneOf"):
        before, after = old.get_keyword(name) or [], new.get_keyword(name) or []
        if len(before) == len(after):
            for left, right in zip(before, after, strict=True):
                yield from compare_schemas(old.wrap(left), new.wrap(right), path)
        else:
            what = f"{name} has {len(after) or 'no'} alternatives, it had {len(before) or 'none'}"
            yield Difference(path, what if name != "allOf" else what.replace("alternatives", "parts"), Effect.UNCLEAR)
    for name in ("if", "then", "else", "not", "prefixItems", "dependentRequired", "dependentSchemas", "contains"):
        left, right = old.wrap(old.get_keyword(name)), new.wrap(new.get_keyword(name))
        if _canonicalize(left) != _canonicalize(right):
            yield Difference(path, f"the condition `{name}` has changed", Effect.UNCLEAR)


_COMPARISONS: tuple[Callable[[Located, Located, tuple[str, ...]], Iterator[Difference]], ...] = (
    _compare_values,
    _compare_bounds,
    _compare_exact,
    _compare_properties,
    _compare_items,
    _compare_combinations,
)


def _canonicalize(schema: Located, depth: int = 0) -> Any:
    """Return the part of a schema that constrains values, with references followed a few levels deep."""
    node = schema.resolve().node if depth < DEPTH else schema.node
    if isinstance(node, Mapping):
        return {
            key: _canonicalize(schema.wrap(value), depth + 1)
            for key, value in node.items()
            if key not in REMARKS and (not key.startswith("x-") or key in (*_DEMANDS, absence.KEYWORD))
        }
    return [_canonicalize(schema.wrap(item), depth + 1) for item in node] if isinstance(node, list) else node


def _show(value: Any) -> str:
    text = "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - what fits a line
