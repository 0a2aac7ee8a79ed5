"""Two stream contracts compared: orders by inclusion of their automata, all other rules as data.

Whether every stream that one contract accepts is accepted by the other is decided, not sampled: both automata read the
same symbols, which are all kinds that either names, each with the values that a guard of either asks about, and one
symbol for a kind that neither names. Where the answer is no, the shortest stream that shows it is the example.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flowcontract.diff.change import Change, Effect, Level, get_answer_levels
from flowcontract.diff.fields import describe_answer
from flowcontract.diff.schemas import compare_schemas
from flowcontract.schemas.located import Located
from flowcontract.streams.machine import Machine, State, Symbol

if TYPE_CHECKING:
    from flowcontract.streams.contract import StreamContract

OTHER_KIND = "a_kind_that_neither_names"
_SENTENCES = {  # what a rule demands, by its keys: docs/reference/stream-contracts.md
    "constant": (("field", "{field} never changes"), ("fields", "{fields} agree")),
    "equal": (("fields", "{fields} of {events} agree"),),
    "pairs": (
        ("close", "each {close} closes a {open} of the same {by}"),
        ("agree", ", with the same {agree}"),
        ("before", ", before {before}"),
        ("waits_for", "; no {open} comes while another is open whose {waits_for}"),
        ("open_after", "; some may stay open after {open_after}"),
    ),
    "concatenates": (
        ("field", "{field} of {events}, joined, is {equals} of {of}"),
        ("by", ", for each {by}"),
        ("any_order", ", in any order after two {any_order}"),
    ),
    "counts": (("equals", "the number of {events} before {of} is its {equals}"),),
    "increasing": (("field", "{field} increases from each {events} to the next"),),
    "refers": (("field", "{field} of {events} is {its} of {to}"),),
}
_EACH_ALONE = frozenset({"equal", "refers"})  # what they demand of several kinds of event, they demand of each
_UNLESS = ("unless", ", unless {unless} has come")
_NOTES = frozenset({"source", "ruling"})
_END = "(end)"


def list_symbols(*contracts: StreamContract) -> tuple[Symbol, ...]:
    """Return every event that contracts tell apart, and one of a kind that none names."""
    asked: dict[str, dict[str, set[str]]] = {}
    for contract in contracts:
        for kind in (*contract.events, *contract.orders.list_kinds(), *contract.anywhere, *contract.undocumented):
            asked.setdefault(kind, {})
        for order in contract.orders.orders.values():
            for atom in order.atoms:
                for test in atom.guard:
                    asked.setdefault(atom.kind, {}).setdefault(test.path, set()).update(test.values)
    symbols = [Symbol(kind, values) for kind, paths in asked.items() for values in _list_valuations(paths)]
    return (*symbols, Symbol(OTHER_KIND))


def _list_valuations(paths: Mapping[str, set[str]]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Yield every choice of values for some paths; none stands for all values that no guard names, and for absence."""
    for chosen in itertools.product(*((None, *sorted(values)) for values in paths.values())):
        yield tuple((path, value) for path, value in zip(paths, chosen, strict=True) if value is not None)


def find_refused_streams(of: StreamContract, by: StreamContract) -> dict[str, tuple[Symbol, ...]]:
    """Return streams that the contract `of` accepts and `by` refuses: for each kind that is refused, a shortest one.

    Empty where all that the one accepts the other accepts, too. Under `(end)`: one that may not stop where it stops.
    """
    accepting, refusing = Machine(of), Machine(by)
    symbols = list_symbols(of, by)
    start: tuple[State, State | str] = (accepting.start, refusing.start)  # a name: the kind that was refused
    paths: dict[tuple[State, State | str], tuple[Symbol, ...]] = {start: ()}
    waiting = deque([start])
    found: dict[str, tuple[Symbol, ...]] = {}
    while waiting:
        here, other = waiting.popleft()
        path = paths[here, other]
        if accepting.accepts(here) and (isinstance(other, str) or not refusing.accepts(other)):
            found.setdefault(other if isinstance(other, str) else _END, path)
        for symbol in symbols:
            after = accepting.step(here, symbol)
            beside = other if isinstance(other, str) else refusing.step(other, symbol) or symbol.kind
            if after is not None and beside not in found and (after, beside) not in paths:
                paths[after, beside] = (*path, symbol)
                waiting.append((after, beside))
    return found


def compare_streams(
    operation: str, old: StreamContract, new: StreamContract, documents: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> Iterator[Change]:
    """Yield every change of a stream: kinds, fields, orders, ends, ids, pairs, counts. `documents` are the bundles."""
    yield from _compare_kinds(operation, old, new)
    for kind in [kind for kind in old.events if kind in new.events]:
        before, after = (
            Located(document, contract.events[kind].schema)
            for document, contract in zip(documents, (old, new), strict=True)
        )
        for difference in compare_schemas(before, after):
            yield describe_answer(operation, f"stream event {kind}", difference)
    yield from _compare_orders(operation, old, new)
    yield from _compare_rules(operation, old, new)
    yield from _compare_settings(operation, old, new)


def _compare_kinds(operation: str, old: StreamContract, new: StreamContract) -> Iterator[Change]:
    for kind in sorted(new.events.keys() - old.events.keys()):
        ignored = old.unknown_allowed or kind in old.undocumented
        clients = Level.SAFE if ignored else Level.BREAKING
        what = "a new kind of event" + (", of which clients were told to ignore unknown ones" if ignored else "")
        yield Change(operation, f"stream event {kind}", what, clients, Level.SAFE)
    for kind in sorted(old.events.keys() - new.events.keys()):
        yield Change(operation, f"stream event {kind}", "the kind is gone", Level.LOOK, Level.SAFE)


def _compare_orders(operation: str, old: StreamContract, new: StreamContract) -> Iterator[Change]:
    for kinds, stream in _merge_alike(find_refused_streams(of=new, by=old)):
        what = f"a stream may come that could not before: {_describe_refusal(kinds)}"
        yield Change(operation, "stream order", what, Level.BREAKING, Level.SAFE, tuple(map(str, stream)))
    for kinds, stream in _merge_alike(find_refused_streams(of=old, by=new)):
        what = f"a stream may come no more: {_describe_refusal(kinds)}"
        yield Change(operation, "stream order", what, Level.SAFE, Level.BREAKING, tuple(map(str, stream)))


def _merge_alike(found: Mapping[str, tuple[Symbol, ...]]) -> Iterator[tuple[list[str], tuple[Symbol, ...]]]:
    """Yield refused streams, with all kinds that are refused in the same place of the same stream told as one."""
    alike: dict[tuple[Symbol | None, ...], list[str]] = {}
    for kind, stream in found.items():
        alike.setdefault(tuple(None if symbol == Symbol(kind) else symbol for symbol in stream), []).append(kind)
    for kinds in alike.values():
        yield sorted(kinds), found[min(kinds)]


def _describe_refusal(kinds: list[str]) -> str:
    if kinds == [_END]:
        return "it ends here"
    return f"with {' or '.join(kinds)} in this place"


def _compare_rules(operation: str, old: StreamContract, new: StreamContract) -> Iterator[Change]:
    """Compare rules as sets of single demands: which kind, which field."""
    for word in _SENTENCES:
        before, after = (set(_describe_demands(word, contract.spec.get(word, ()))) for contract in (old, new))
        for demand in sorted(before - after):
            yield Change(operation, f"stream {word}", f"no longer promised: {demand}", Level.BREAKING, Level.SAFE)
        for demand in sorted(after - before):
            yield Change(operation, f"stream {word}", f"promised now: {demand}", Level.SAFE, Level.BREAKING)


def _describe_demands(word: str, rules: Any) -> Iterator[str]:
    """Yield what some rules demand, one kind of event at a time where it holds for each of them alone."""
    for rule in rules:
        said = {key: value for key, value in rule.items() if key not in _NOTES}
        if word in _EACH_ALONE and "events" in said:
            yield from (_describe_demand(word, said | {"events": kind}) for kind in said["events"])
        else:
            yield _describe_demand(word, said)


def _describe_demand(word: str, said: Mapping[str, Any]) -> str:
    """Return a rule as a sentence; what no template of its word mentions follows by its name."""
    values = {key: _describe_value(key, value) for key, value in said.items()}
    used = {key: template for key, template in (*_SENTENCES[word], _UNLESS) if key in said}
    rest = "".join(f", {key} {value}" for key, value in values.items() if f"{{{key}}}" not in "".join(used.values()))
    return "".join(template.format_map(values) for template in used.values()) + rest


def _describe_value(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        form = "{1} is its {0}" if key == "waits_for" else "{0}.{1}"
        value = [form.format(*item) for item in value.items()]
    if isinstance(value, list):
        *before, last = map(str, value)
        return f"{', '.join(before)} and {last}" if before else last
    return str(value).replace(" | ", " or ")


def _compare_settings(operation: str, old: StreamContract, new: StreamContract) -> Iterator[Change]:
    if old.framing != new.framing:
        what = f"{old.framing} became {new.framing}"
        yield Change(operation, "stream framing", what, Level.BREAKING, Level.BREAKING)
    if dict(old.when) != dict(new.when):
        what = f"{dict(old.when)} became {dict(new.when)}"
        yield Change(operation, "stream, which requests ask for it", what, Level.BREAKING, Level.BREAKING)
    if old.silence_s != new.silence_s:
        longer = new.silence_s is None or (old.silence_s is not None and new.silence_s > old.silence_s)
        clients, servers = get_answer_levels(Effect.WIDENED if longer else Effect.NARROWED)
        words = [
            "any silence" if value is None else f"at most {value:g} s of silence"
            for value in (old.silence_s, new.silence_s)
        ]
        yield Change(operation, "stream silence", " became ".join(words), clients, servers)
    first = [contract.first_line.field if contract.first_line else None for contract in (old, new)]
    if first[0] != first[1]:
        effect = Effect.NARROWED if first[0] is None else Effect.WIDENED if first[1] is None else Effect.REPLACED
        yield Change(
            operation, "stream, first line of a block", f"{first[0]} became {first[1]}", *get_answer_levels(effect)
        )
