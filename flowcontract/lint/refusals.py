"""Checks of `x-refusals`: known words, and scenarios for every operation that can refuse by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract.lint import scenarios
from flowcontract.lint.positions import walk
from flowcontract.lint.references import as_mapping, list_properties
from flowcontract.lint.sources import suggest
from flowcontract.pointers import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowcontract.lint.findings import Finding
    from flowcontract.lint.project import Project, View
    from flowcontract.specs.model import Operation


def _is_any(operation: Operation) -> bool:
    return bool(operation.id)


def _takes_body(operation: Operation) -> bool:
    return bool(operation.request)


def _takes_form(operation: Operation) -> bool:
    return "multipart/form-data" in operation.request


def _takes_any(operation: Operation) -> bool:
    return bool(operation.request or operation.parameters)


def _has_key(operation: Operation) -> bool:
    return bool(operation.security)


def _names_something(operation: Operation) -> bool:
    return any(parameter.location == "path" for parameter in operation.parameters)


# What can be wrong with a request -> the operations where it can occur. Beside these, with the name of a field or
# parameter, hyphenated: `missing-FIELD`, `invalid-FIELD` and, of a field or of what is in it, `wrong-type-FIELD`
# (`*.KEY` for FIELD: a key of an object in any field, `*.0` the first of a list); and any word with `-streaming`,
# where the request asks for a stream.
WORDS: dict[str, Callable[[Operation], bool]] = {
    "no-key": _has_key,
    "wrong-key": _has_key,
    "wrong-token": _has_key,
    "wrong-scheme": _has_key,
    "other-app": _has_key,
    "unknown-path": _is_any,
    "wrong-method": _is_any,
    "wrong-media-type": _takes_body,
    "malformed-body": _takes_body,
    "invalid-request": _takes_any,
    "missing-body": _takes_body,
    "no-content": _takes_body,
    "missing-parameter": _takes_any,
    "malformed-id": _takes_any,
    "invalid-json-text": _takes_form,
    "missing-file": _takes_form,
    "not-a-file": _takes_form,
    "no-object": _takes_body,
    "unnamed-file": _takes_form,
    "missing-boundary": _takes_form,
    "path-in-name": _is_any,
    "backslash-in-name": _takes_form,
    "long-name": _is_any,
    "unprintable-name": _names_something,
    "taken-name": _names_something,
    "never-used": _names_something,
    "other-account": _names_something,
    "too-many-files": _takes_form,
    "unsupported-file-type": _takes_form,
    "too-large": _takes_form,
    "unknown-id": _names_something,
    "unknown-file": _names_something,
    "unreadable-file": _takes_body,
    "input-value-twice": _takes_body,
    "wrong-input": _takes_body,
    "other-users-file": _takes_body,
    "switched-off": _is_any,
}

STREAMING = "-streaming"

# Words that every contract needs; the others are finer ones, used where a contract has them.
NEEDED = (
    "no-key",
    "wrong-key",
    "unknown-path",
    "wrong-method",
    "wrong-media-type",
    "malformed-body",
    "invalid-request",
    "unknown-id",
)


def _can_occur(word: str, operation: Operation, view: View) -> bool:
    """Tell whether a request to an operation can be refused by a word."""
    if word.endswith(STREAMING):
        plain = word.removesuffix(STREAMING)
        return operation.stream is not None and (plain in WORDS or _can_occur(plain, operation, view))
    if word in WORDS:
        return WORDS[word](operation)
    kind = next((kind for kind in ("missing-", "invalid-", "wrong-type-") if word.startswith(kind)), word)
    field = word.removeprefix(kind)
    return field.startswith("*.") or field in _list_fields(operation, view)


def _list_fields(operation: Operation, view: View) -> set[str]:
    names = {parameter.name for parameter in operation.parameters}
    for media in operation.request.values():
        names |= list_properties(view.document, media.schema)
    return {name.replace("_", "-") for name in names}


def check(project: Project, view: View) -> Iterator[Finding]:
    """Yield unknown words, and targets that are not scenarios of all operations that can refuse by the word."""
    for position in walk(view.document):
        if position.kind in ("document", "operation"):
            for word, target in as_mapping(as_mapping(position.value).get("x-refusals")).items():
                if view.api is not None:
                    yield from _check_entry(project, view, position.pointer, word, target)
    for operation in view.api.operations.values() if view.api else ():
        yield from _find_unanswered(view, operation)
        yield from _find_never_hanging(view, operation)


def _find_never_hanging(view: View, operation: Operation) -> Iterator[Finding]:
    """Find scenarios that are said to hang, and that refuse nothing."""
    for key in sorted(operation.stream.hangs if operation.stream else ()):
        if key not in operation.refusals.values():
            what = f'the stream of {operation.id} hangs with "{key}", which refuses nothing'
            yield view.build_finding(operation.pointer, what, "Name it in `x-refusals`, or drop it from `hangs`.")


def _find_unanswered(view: View, operation: Operation) -> Iterator[Finding]:
    """Find required words for which an operation has no scenario."""
    missing = [word for word in NEEDED if WORDS[word](operation) and word not in operation.refusals]
    if missing:
        yield view.build_finding(
            "/x-refusals",
            f"no scenario refuses a request to {operation.id} by {' or '.join(missing)}",
            "Map it to a scenario.",
        )


def _check_entry(project: Project, view: View, holder: str, word: str, target: Any) -> Iterator[Finding]:
    """Look the scenario up for each operation that the entry applies to: its own, or all without one of their own."""
    where = f"{holder}/x-refusals/{escape(word)}"
    operations = view.api.operations.values() if view.api else ()
    possible = [operation for operation in operations if _can_occur(word, operation, view)]
    if word not in WORDS and not possible:
        yield view.build_finding(where, f'"{word}" is not a word for a refusal', suggest(word, frozenset(WORDS)))
        return
    concerned = [
        operation
        for operation in possible
        if operation.pointer == holder or (not holder and operation.refusals.get(word) == target)
    ]
    missing = [
        operation for operation in concerned if target not in scenarios.list_scenario_keys(project, view, operation)
    ]
    if missing:
        names = ", ".join(operation.id for operation in missing)
        yield view.build_finding(
            where,
            f'"{word}" is answered by "{target}", which is no scenario of {names}',
            f"Name a scenario, or write {scenarios.describe_folder(project, view.name, missing[0].id)}/{target}.yaml.",
        )
