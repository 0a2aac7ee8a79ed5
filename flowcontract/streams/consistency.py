"""Checks the consistency of a stream contract: names, fields, values, and orders that lead to an end."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.streams.contract import StreamContract
    from flowcontract.streams.order import Atom, Order


def check(contract: StreamContract) -> list[str]:
    """Return the inconsistencies of a contract, each beginning with its place; empty if there are none."""
    return [*_find_unknown_names(contract), *_find_bad_paths(contract), *_find_bad_orders(contract)]


def _find_unknown_names(contract: StreamContract) -> Iterator[str]:
    """Yield unknown names, kinds that are listed twice, and kinds that no order allows."""
    known = set(contract.events) | contract.undocumented
    for place, kind in _list_named_kinds(contract):
        if kind not in known:
            there_is = ", ".join(sorted(known))
            yield f"{place}: no event is of the kind {kind}. There is: {there_is}."
    for kind in sorted(contract.undocumented & set(contract.events)):
        yield f"x-stream/undocumented: {kind} has a schema, so it is none of these."
    ordered = set(contract.orders.list_kinds())
    for kind in sorted((contract.anywhere | contract.undocumented) & ordered):
        yield f"x-stream/anywhere: {kind} stands in an order too. Let it stand in one of them."
    for kind in sorted(set(contract.events) - ordered - contract.anywhere):
        yield f"x-stream/order: {kind} has a schema, but no order lets it come."
    names = [alternative.name for alternative in contract.alternatives]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"x-stream/order: two alternatives are called {name}."
    for part in sorted(set(contract.when) - {"body", "query"}):
        yield f"x-stream/when: a request is told by body or query, not by {part}."


def _list_named_kinds(contract: StreamContract) -> Iterator[tuple[str, str]]:
    for word in ("anywhere", "end", "after_end"):
        yield from ((f"x-stream/{word}", kind) for kind in sorted(getattr(contract, word)))
    for number, alternative in enumerate(contract.alternatives):
        yield from ((f"x-stream/order/{number}/is", kind) for kind in alternative.order.list_kinds())
    for rule in contract.rules:
        kinds = dict.fromkeys((*rule.list_kinds(), *(atom.kind for atom in rule.list_guards())))
        yield from ((rule.place, kind) for kind in kinds)


def _find_bad_paths(contract: StreamContract) -> Iterator[str]:
    """Yield fields that the schema of an event does not have, and values that they cannot have."""
    for rule in contract.rules:
        for kind, path in rule.list_fields():
            yield from _check_path(contract, kind, path, rule.place)
        for atom in rule.list_guards():
            yield from _check_guard(contract, atom, rule.place if atom not in rule.unless else f"{rule.place}/unless")
    for number, alternative in enumerate(contract.alternatives):
        for atom in dict.fromkeys(alternative.order.atoms):
            yield from _check_guard(contract, atom, f"x-stream/order/{number}/is")


def _check_path(contract: StreamContract, kind: str, path: str, place: str) -> Iterator[str]:
    if kind == "*":
        having = [event for event in contract.events.values() if _find_subschemas(event.schema, path)]
        if len(having) < 2:  # noqa: PLR2004 - the rule compares two or more
            yield f"{place}: the field {path} stands in fewer than two kinds of events, so it cannot change."
    elif kind in contract.events and not _find_subschemas(contract.events[kind].schema, path):
        yield f"{place}: {kind} has no field {path}."


def _check_guard(contract: StreamContract, atom: Atom, place: str) -> Iterator[str]:
    event = contract.events.get(atom.kind)
    for test in atom.guard if event else ():
        schemas = _find_subschemas(event.schema, test.path) if event else []
        if not schemas:
            yield f"{place}: {atom.kind} has no field {test.path}."
        enums = [schema["enum"] for schema in schemas if "enum" in schema]
        known = {value if isinstance(value, str) else json.dumps(value) for enum in enums for value in enum}
        for value in test.values if known else ():
            if value not in known:
                yield f"{place}: {test.path} of {atom.kind} is never {value}. There is: {', '.join(sorted(known))}."
    if not atom.is_possible():
        yield f"{place}: {atom} contradicts itself."


def _find_subschemas(schema: Mapping[str, Any], path: str) -> list[Mapping[str, Any]]:
    """Return the schemas at a dotted path; an object whose fields are not described may have any."""
    here = [schema]
    for name in path.split("."):
        nested = [part for found_schema in here for part in _expand_branches(found_schema)]
        found = [part["properties"][name] for part in nested if name in part.get("properties", {})]
        found += [part["items"] for part in nested if name.isdecimal() and "items" in part]
        open_ended = any("properties" in part for part in nested)
        here = found if found or open_ended else [{}]
    return [part for found_schema in here for part in _expand_branches(found_schema)]


def _expand_branches(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for word in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(word, ()):
            yield from _expand_branches(part)


def _find_bad_orders(contract: StreamContract) -> Iterator[str]:
    """Yield orders that no stream can complete, and ends that no order reaches."""
    reached: set[tuple[str, bool]] = set()
    for number, alternative in enumerate(contract.alternatives):
        usable = _find_usable_kinds(contract, alternative.order)
        if alternative.order.is_empty() or not usable:
            ends = ", ".join(sorted(contract.end))
            yield f"x-stream/order/{number}/is: no stream can follow {alternative.name} and end with {ends}."
        for kind in alternative.order.list_kinds():
            if usable and not {(kind, False), (kind, True)} & usable:
                yield f"x-stream/order/{number}/is: {kind} can never come in {alternative.name}."
        reached |= usable
    for kind in sorted(contract.end):
        if (kind, False) not in reached:
            yield f"x-stream/end: no order lets {kind} end the answer."
    for kind in sorted(contract.after_end):
        if (kind, True) not in reached:
            yield f"x-stream/after_end: no order lets {kind} come after the end."


def _find_usable_kinds(contract: StreamContract, order: Order) -> set[tuple[str, bool]]:
    """Return the kinds that can occur in a complete stream, each with whether the answer had ended before it."""
    start = (order.start, False)
    moves: dict[tuple[frozenset[int], bool], list[tuple[str, tuple[frozenset[int], bool]]]] = {}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        if node not in moves:
            moves[node] = list(_list_transitions(contract, order, *node))
            waiting.extend(target for _, target in moves[node])
    good = {node for node in moves if node[1] and order.accepts(node[0])}
    while more := {node for node in moves if node not in good and any(to in good for _, to in moves[node])}:
        good |= more
    return {(kind, node[1]) for node in good for kind, to in moves[node] if to in good}


def _list_transitions(
    contract: StreamContract, order: Order, state: frozenset[int], ended: bool
) -> Iterator[tuple[str, tuple[frozenset[int], bool]]]:
    for atom in order.list_allowed(state):
        if atom.is_possible() and (not ended or atom.kind in contract.after_end):
            yield atom.kind, (order.step(state, atom.kind), ended or atom.kind in contract.end)
