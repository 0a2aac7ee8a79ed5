"""What answers look like, for later runs to compare with: fields and their types, texts of refusals, and times."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from flowcontract import pointers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contract_tests.judging.judge import Verdict
    from flowcontract.specs.model import Operation

_ERRORS: Final = 400
_MAX_FIELDS, _MAX_DEPTH, _MAX_TEXTS, _MAX_TIMES = 300, 8, 40, 2000
_LONGEST_TEXT: Final = 200
_TEXT_FIELDS: Final = {"message", "detail", "msg", "error", "description", "params"}
_VARYING = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\d+")
_VARYING_WORD = re.compile(r"contract-tests-[\w-]+|[\w-]*\d[\w-]*")  # invented users among them
_TYPES: Final = {str: "text", bool: "boolean", int: "number", float: "number", type(None): "null"}


def describe_answer(operation: Operation, verdict: Verdict) -> dict[str, Any]:
    """Return what one answer shows, as plain JSON.

    ``parts``    what a body, or each kind of event, has: `status` or `status, event KIND` -> pointer -> type
    ``texts``    those of a refusal, words with digits as `*`
    ``whole_s``  seconds from the request to the end; ``first_s`` to the first event, None without one
    """
    exchange = verdict.exchange
    status = str(exchange.status)
    parts: dict[str, dict[str, str]] = {}
    if exchange.events:
        for timed in exchange.events:
            kind = f"{status}, event {timed.event.kind[:_LONGEST_TEXT]}"
            if len(parts) < _MAX_TEXTS or kind in parts:
                parts.setdefault(kind, {}).update(_list_fields(timed.event.payload))
    else:
        parts[status] = dict(_list_fields(exchange.json))
    refused = exchange.status >= _ERRORS
    texts = list(dict.fromkeys(_list_texts(exchange.json)))[:_MAX_TEXTS] if refused else []
    first_s = round(exchange.events[0].at_s, 4) if exchange.events else None
    whole_s = round(exchange.answer.elapsed_s, 4) if exchange.answer else None
    succeeded = status.startswith("2")
    return {
        "operation": operation.name,
        "status": status,
        "parts": parts,
        "texts": texts,
        "whole_s": whole_s if succeeded else None,
        "first_s": first_s if succeeded else None,
    }


def _list_fields(value: Any) -> Iterator[tuple[str, str]]:
    """Yield every field of a value with its type; items of lists, and fields named by ids, as `*`."""
    for count, found in enumerate(_walk("", value, 0)):
        if count >= _MAX_FIELDS:
            return
        yield found


def _walk(pointer: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        yield pointer, "object"
        inner = {
            "*" if _VARYING.fullmatch(name) else pointers.escape(name[:_LONGEST_TEXT]): item
            for name, item in value.items()
        }
    elif isinstance(value, list):
        yield pointer, "list"
        inner = {"*": value[0]} if value else {}
    else:
        yield pointer, _TYPES.get(type(value), "")
        return
    for name, item in inner.items() if depth < _MAX_DEPTH else ():
        yield from _walk(f"{pointer}/{name}", item, depth + 1)


def _list_texts(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, str) and name in _TEXT_FIELDS:
        yield _VARYING_WORD.sub("*", value[: 2 * _LONGEST_TEXT])[:_LONGEST_TEXT]
    elif isinstance(value, dict):
        for inner, item in value.items():
            yield from _list_texts(item, inner)
    elif isinstance(value, list):
        for item in value[:_MAX_TEXTS]:
            yield from _list_texts(item, name)


@dataclass(slots=True)
class Shapes:
    """All that the answers of a run show; what fuzzing made up is not among it, since it is different each time."""

    fields: dict[str, dict[str, dict[str, set[str]]]] = field(default_factory=dict)
    texts: dict[str, dict[str, dict[str, None]]] = field(default_factory=dict)
    times: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, answer: Mapping[str, Any]) -> None:
        """Add what one answer shows."""
        operation = answer["operation"]
        for part, pairs in answer["parts"].items():
            known = self.fields.setdefault(operation, {}).setdefault(part, {})
            for pointer, kind in pairs.items():
                if pointer in known or len(known) < _MAX_FIELDS:
                    known.setdefault(pointer, set()).add(kind)
        for text in answer["texts"]:
            known_texts = self.texts.setdefault(operation, {}).setdefault(answer["status"], {})
            if len(known_texts) < _MAX_TEXTS:
                known_texts[text] = None
        for name in ("whole_s", "first_s"):
            seconds = self.times.setdefault(operation, {}).setdefault(name, [])
            if answer[name] is not None and len(seconds) < _MAX_TIMES:
                seconds.append(answer[name])

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON, sorted; of times how many, the quartiles and the median."""
        return {
            "fields": {
                operation: {
                    part: {pointer: sorted(kinds) for pointer, kinds in sorted(found.items())}
                    for part, found in sorted(parts.items())
                }
                for operation, parts in sorted(self.fields.items())
            },
            "texts": {
                operation: {status: sorted(found) for status, found in sorted(statuses.items())}
                for operation, statuses in sorted(self.texts.items())
            },
            "times": {
                operation: {name: _summarize(seconds) for name, seconds in found.items() if seconds}
                for operation, found in sorted(self.times.items())
                if any(found.values())
            },
        }


def _summarize(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    low, middle, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.25, 0.5, 0.75))
    return {"count": len(ordered), "low_s": low, "median_s": middle, "high_s": high}
