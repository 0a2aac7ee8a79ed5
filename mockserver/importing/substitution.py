"""Puts expressions in place of what a recorded answer has from its request, its moment and its server's own ids."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any, Final

from flowcontract import pointers
from flowcontract.errors import ScenarioError
from flowcontract.scenarios.expressions import Context
from flowcontract.scenarios.templates import compile_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""The form of an id that becomes `$id.NAME`."""
_NAMES = {"workflow_run_id": "run", "task_id": "task", "message_id": "message", "conversation_id": "conversation"}
_BEFORE_S, _AFTER_S = 3, 5  # what a server's clock may differ from the recorder's
_SHORTEST, _SHORTEST_INSIDE = (
    3,
    8,
)  # characters of a text that is taken for the request's own, alone and in a longer one
_PLAIN = re.compile(r"[^\s{}]+")
_CLOCK_FORMS = {
    "$now.iso": "%Y-%m-%dT%H:%M:%SZ",
    "$now.offset": "%Y-%m-%dT%H:%M:%S+00:00",
    "$now.utc": "%Y-%m-%d %H:%M:%S UTC",
    "$now.utc_us": "%Y-%m-%d %H:%M:%S.000000 UTC",
}


class Substitution:
    """The expressions of one answer. `sample` has the texts that would be expressions and are none.

    ``request``   the scenario's `request`
    ``shared``    ids that other exchanges have, too: they stay as they are, so that all agree
    ``reserved``  texts that the contract gives a meaning, which are nobody's words
    ``began``     epoch seconds of the request; None if not known
    ``lasted_s``  until the end of the answer
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        *,
        shared: frozenset[str],
        reserved: frozenset[str],
        began: float | None,
        lasted_s: float,
    ) -> None:
        self.sample: dict[str, str] = {}
        self._texts = {text: place for text, place in _list_texts(request) if text not in reserved}
        self._shared = shared
        self._span = (began - _BEFORE_S, began + lasted_s + _AFTER_S) if began is not None else (1.0, 0.0)
        self._base: int | None = None
        self._ids: dict[str, str] = {}

    def look(self, value: Any) -> None:
        """Learn from a value, before any is replaced: its ids, and the earliest moment."""
        for name, found in _list_leaves("", value):
            if isinstance(found, str) and UUID.fullmatch(found):
                self._name_id(name, found)
            elif isinstance(found, int) and not isinstance(found, bool) and self._span[0] <= found <= self._span[1]:
                self._base = found if self._base is None else min(found, self._base)

    def _name_id(self, field: str, found: str) -> None:
        if found in self._shared or found in self._texts or found in self._ids:
            return
        stem = _NAMES.get(field) or re.sub(r"\W+", "-", re.sub(r"_?ids?$", "", field)) or "this"
        taken = set(self._ids.values())
        names = (f"$id.{stem}{f'-{number}' if number else ''}" for number in range(len(taken) + 1))
        self._ids[found] = next(name for name in names if name not in taken)

    def replace(self, value: Any) -> Any:
        """Return a value with expressions; texts that look like some are put into `sample`."""
        if isinstance(value, dict):
            return {name: self.replace(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.replace(item) for item in value]
        if isinstance(value, str):
            return self._replace_text(value)
        if isinstance(value, int) and not isinstance(value, bool) and self._base is not None:
            return self._replace_moment(value)
        return value

    def keep(self, text: str) -> str:
        """Return a text that is to be sent as it is."""
        return self._escape(text) if _is_expression(text) else text

    def _replace_moment(self, value: int) -> Any:
        assert self._base is not None
        if not self._base <= value <= self._span[1]:
            return value
        return "$now" if value == self._base else f"$now+{value - self._base}"

    def _replace_text(self, text: str) -> str:
        if text in self._ids:
            return self._ids[text]
        if text in self._texts:
            return self._texts[text]
        if self._base is not None and (form := _find_clock_form(text, self._base)):
            return form
        if _is_expression(text):
            return self._escape(text)
        replaced = self._replace_inside(text)
        return replaced if replaced == text or "{$" not in text else text

    def _replace_inside(self, text: str) -> str:
        for found in dict.fromkeys(UUID.findall(text)):
            if place := self._ids.get(found) or self._texts.get(found):
                text = text.replace(found, f"{{{place}}}")
        for said, place in self._texts.items():
            if len(said) >= _SHORTEST_INSIDE and said in text and "{" not in text and _is_whole(said, text):
                text = text.replace(said, f"{{{place}}}")
        return text

    def _escape(self, text: str) -> str:
        known = next((name for name, said in self.sample.items() if said == text), None)
        name = known or f"literal_{len(self.sample) + 1}"
        self.sample[name] = text
        return f"$world.{name}"


def _is_whole(said: str, text: str) -> bool:
    """Tell whether a text stands in a longer one as words of its own."""
    return re.search(rf"(?<!\w){re.escape(said)}(?!\w)", text) is not None


def _is_expression(text: str) -> bool:
    """Tell whether a scenario would not send a text as it is."""
    if "$" not in text:
        return False
    try:
        return bool(compile_value(text).render(Context()) != text)
    except ScenarioError:
        return True


def _find_clock_form(text: str, moment: int) -> str:
    at = dt.datetime.fromtimestamp(moment, dt.UTC)
    return next((name for name, form in _CLOCK_FORMS.items() if at.strftime(form) == text), "")


def _list_texts(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the texts of a request that are long enough to be its own, each with its expression; later ones count."""
    for pointer, text in pointers.list_texts(request.get("body")):
        if pointer and _is_own(text) and _PLAIN.fullmatch(pointer):
            yield text, f"$request.body#{pointer}"
    for part in ("query", "path"):
        for name, text in request.get(part, {}).items():
            if isinstance(text, str) and _is_own(text) and _PLAIN.fullmatch(name):
                yield text, f"$request.{part}.{name}"


def _is_own(text: str) -> bool:
    return len(text) >= _SHORTEST and not text.isdecimal() and text.lower() not in ("true", "false", "null")


def _list_leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value that is no object and no list, with the name of the field that it is in."""
    if isinstance(value, dict):
        for inner, item in value.items():
            yield from _list_leaves(inner, item)
    elif isinstance(value, list):
        for item in value:
            yield from _list_leaves(name, item)
    else:
        yield name, value


def list_reserved(document: Any) -> frozenset[str]:
    """Return the texts that a contract lists as the only values of something."""
    found: set[str] = set()
    _collect_reserved(document, found)
    return frozenset(found)


def _collect_reserved(value: Any, found: set[str]) -> None:
    if isinstance(value, dict):
        listed = value.get("enum")
        found.update(item for item in listed if isinstance(item, str)) if isinstance(listed, list) else None
        found.update([value["const"]] if isinstance(value.get("const"), str) else ())
        for item in value.values():
            _collect_reserved(item, found)
    elif isinstance(value, list):
        for item in value:
            _collect_reserved(item, found)


def write_canonical(value: Any) -> str:
    """Return JSON by which values are compared."""
    return json.dumps(value, sort_keys=True, default=str)
