"""JSON values that contain expressions: parsed once, rendered to a value and to JSON text for each reply."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flowcontract.errors import ScenarioError
from flowcontract.scenarios.expressions import UnknownExpressionError, is_fixed, is_steady, parse_expression

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.scenarios.expressions import Context, Render

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_EMBEDDED = re.compile(r"\{(\$[^{}]+)\}")
_Build = Callable[[Sequence[Any]], Any]
_Dump = Callable[[Any], str]
_DUMP: Mapping[type, _Dump] = {str: encode_basestring_ascii, int: repr}  # faster than for any value


def _dump_json(value: Any) -> str:
    return _DUMP.get(type(value), _dump_any)(value)


def _dump_any(value: Any) -> str:
    """Return a value as JSON, which has no infinite numbers: `1e999`, that a client may send, becomes null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_drop_infinite(value))


def _drop_infinite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _drop_infinite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_drop_infinite(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


@dataclass(frozen=True, slots=True, eq=False)
class _Fixed:
    """Expressions that are constant within a reply: evaluated once for all events with the same ones."""

    holes: tuple[Render, ...]

    def evaluate(self, context: Context) -> tuple[list[Any], list[str]]:
        """Return the values of the expressions, which callers must not change, and the JSON of each."""
        found = context.rendered.get(self)
        if found is None:
            values = [hole(context) for hole in self.holes]
            found = context.rendered[self] = values, [_dump_json(value) for value in values]
        return found


@lru_cache(maxsize=4096)
def _compile_fixed(texts: tuple[str, ...]) -> _Fixed:
    return _Fixed(tuple(render for text in texts if (render := parse_expression(text, _NOTHING))))


@dataclass(frozen=True, slots=True)
class Template:
    """A value of a scenario, its expressions parsed. Rendered values share the constant parts: do not change them.

    Its expressions are evaluated once, in their order, for both the value and its JSON, whose constant parts are
    prepared.

    ``is_steady``  the same request to the same app renders the same
    """

    _value: Any
    _build: _Build | None = None  # None where the value holds no expression
    _json: str = "null"  # in ASCII, with %s for each hole
    _fixed: _Fixed = _Fixed(())
    _others: tuple[tuple[int, Render, _Dump], ...] = ()  # index of the hole, expression, serialiser
    is_steady: bool = True

    def render(self, context: Context) -> Any:
        """Return the value, its expressions evaluated."""
        return self.render_with_json(context)[0]

    def render_with_json(self, context: Context) -> tuple[Any, str]:
        """Return the value, its expressions evaluated, and its JSON in ASCII."""
        if self._build is None:
            return self._value, self._json
        values, written = self._fixed.evaluate(context)
        if self._others:
            values, written = values.copy(), written.copy()
            for place, hole, dump in self._others:
                value = hole(context)
                values.insert(place, value)
                written.insert(place, dump(value))
        return self._build(values), self._json % tuple(written)


def compile_value(value: Any, *, name: str = "scenario", sample: Mapping[str, Any] = _NOTHING) -> Template:
    """Parse the expressions in a JSON value; raise ScenarioError naming `name`, the expression and those that exist.

    ``sample`` has the values of `$world.NAME` and `$app.NAME` for names that the context does not have.
    """
    compiler = _Compiler(sample)
    try:
        marked = compiler.mark_holes(value)
    except UnknownExpressionError as error:
        raise ScenarioError(f"{name}: {error}") from None
    if not compiler.fixed and not compiler.others:
        return Template(value, _json=json.dumps(value))
    return Template(
        value,
        _make_builder(marked),
        "".join(_write_format(marked)),
        _compile_fixed(tuple(compiler.fixed)),
        tuple(compiler.others),
        compiler.is_steady,
    )


class _Hole(int):
    """The place of the expression of this number."""


class _Compiler:
    """Collects the expressions of a value in their order: `fixed` ones as texts, `others` parsed."""

    def __init__(self, sample: Mapping[str, Any]) -> None:
        self._sample = sample
        self.fixed: list[str] = []
        self.others: list[tuple[int, Render, _Dump]] = []
        self.is_steady = True

    def mark_holes(self, value: Any) -> Any:
        """Return a value with holes in place of its expressions."""
        if isinstance(value, str):
            return self._compile_text(value)
        if isinstance(value, Mapping):
            return {key: self.mark_holes(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.mark_holes(item) for item in value]
        return value

    def _compile_text(self, text: str) -> str | _Hole:
        place, render = len(self.fixed) + len(self.others), self._parse(text)
        if render is not None and is_fixed(text):
            self.fixed.append(text)
        elif render is not None:
            self.others.append((place, render, self._dump(text)))
        elif (mixed := self._parse_mixed(text)) is not None:
            self.others.append((place, mixed, _dump_json))
        else:
            return text
        return _Hole(place)

    def _parse(self, text: str) -> Render | None:
        render = parse_expression(text, self._sample)
        self.is_steady = self.is_steady and (render is None or is_steady(text))
        return render

    def _dump(self, text: str) -> _Dump:
        """Return a serialiser for an expression; it caches the JSON of values that do not change (app, sample)."""
        root, _, name = text.partition(".")
        sample = self._sample.get(name) if root in ("$world", "$app") else None
        return _dump_json if sample is None and root != "$app" else _CachedSerialiser(sample, follows=root == "$app")

    def _parse_mixed(self, text: str) -> Render | None:
        """Parse the expressions in braces inside a text; return None if there are none."""
        pieces = _EMBEDDED.split(text)  # text, expression, text, expression, ..., text
        expressions = [self._parse(piece) for piece in pieces[1::2]]
        if all(render is None for render in expressions):
            return None
        parts: list[str | Render] = [pieces[0]]
        for source, render, after in zip(pieces[1::2], expressions, pieces[2::2], strict=True):
            parts += [f"{{{source}}}" if render is None else render, after]
        return lambda context: "".join(part if isinstance(part, str) else _to_text(part(context)) for part in parts)


class _CachedSerialiser:
    """Serialises values, and caches the JSON of one that does not change."""

    def __init__(self, known: Any, *, follows: bool) -> None:
        """Cache the JSON of `known`, or, if it `follows`, of the value that was serialised last."""
        self._follows = follows
        self._known = known, json.dumps(known)

    def __call__(self, value: Any) -> str:
        known, text = self._known
        if value is known:
            return text
        text = _dump_json(value)
        if self._follows:
            self._known = value, text
        return text


def _to_text(value: Any) -> str:
    """Return a value as text inside a longer text; null is empty."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _make_builder(marked: Any) -> _Build | None:
    """Return a function that fills the holes of a value, or None if it has none."""
    if isinstance(marked, _Hole):
        number = int(marked)
        return lambda values: values[number]
    if isinstance(marked, dict):
        return _make_mapping_builder(marked)
    if isinstance(marked, list):
        parts = [(item, _make_builder(item)) for item in marked]
        if all(part is None for _, part in parts):
            return None
        return lambda values: [item if part is None else part(values) for item, part in parts]
    return None


def _make_mapping_builder(marked: dict[Any, Any]) -> _Build | None:
    direct = [(key, int(item)) for key, item in marked.items() if isinstance(item, _Hole)]
    deeper = [(key, part) for key, item in marked.items() if key not in dict(direct) and (part := _make_builder(item))]
    if not direct and not deeper:
        return None

    def build(values: Sequence[Any]) -> dict[str, Any]:
        built = marked.copy()
        for key, number in direct:
            built[key] = values[number]
        for key, part in deeper:
            built[key] = part(values)
        return built

    return build


def _write_format(marked: Any) -> Iterator[str]:
    """Yield the JSON of a value as a format for `%`, with `%s` for each hole."""
    if isinstance(marked, _Hole):
        yield "%s"
    elif isinstance(marked, dict):
        for number, (key, item) in enumerate(marked.items()):
            yield ", " if number else "{"
            yield json.dumps({key: 0})[1:-2].replace("%", "%%")  # converts any key to text
            yield from _write_format(item)
        yield "}" if marked else "{}"
    elif isinstance(marked, list):
        for number, item in enumerate(marked):
            yield ", " if number else "["
            yield from _write_format(item)
        yield "]" if marked else "[]"
    else:
        yield json.dumps(marked).replace("%", "%%")
