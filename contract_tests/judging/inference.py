"""Proposes an `x-stream` from recorded streams: an order, ids that agree, pairs, the end; each with its support.

Only what holds in every stream is proposed, and only what at least three of them show.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from flowcontract.streams.contract import StreamContract

FEWEST: Final = 3
"""Streams that have to support a rule."""
_DEPTH: Final = 3  # of fields that are compared
_ID = re.compile(r"(?:.*[._])?id")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WORD = re.compile(r"[A-Za-z_-]{1,40}")
_MOST_FIELDS: Final = 60  # of one event


class Seen(NamedTuple):
    """One event of a stream: its kind, and its fields by dotted path, lists aside."""

    kind: str
    fields: Mapping[str, Any]


Stream = tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rule that streams support.

    ``part``     of an `x-stream`: order, constant, equal, pairs, end
    ``rule``     as it stands there, `source` aside
    ``support``  how many streams show it
    ``known``    whether the contract has it
    ``lacks``    fields that agree and of which the contract's own rule says nothing
    """

    part: str
    rule: Any
    support: int
    known: bool
    lacks: tuple[str, ...] = ()


def make_stream(events: Iterable[tuple[str, Any]], ignored: Collection[str]) -> Stream:
    """Return a stream of kinds and payloads, without the kinds that may stand anywhere."""
    return tuple(Seen(kind, dict(_list_fields(payload))) for kind, payload in events if kind not in ignored)


def _list_fields(payload: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the texts and numbers of a payload by dotted path."""
    items = payload.items() if isinstance(payload, dict) else ()
    for name, value in list(items)[:_MOST_FIELDS]:
        inner = f"{path}.{name}" if path else name
        if isinstance(value, dict) and depth < _DEPTH:
            yield from _list_fields(value, inner, depth + 1)
        elif isinstance(value, str | int) and not isinstance(value, bool) and "." not in name and value != "":
            yield inner, value


def infer(streams: Sequence[Stream], contract: StreamContract) -> list[Proposal]:
    """Return what at least three streams show and none contradicts."""
    ids = _find_ids(streams)
    found = [
        _infer_order(streams, contract),
        *_infer_constants(streams, ids, contract),
        *_infer_equals(streams, ids, contract),
        *_infer_pairs(streams, ids, contract),
        _infer_end(streams, contract),
    ]
    return [proposal for proposal in found if proposal.support >= FEWEST]


def _find_ids(streams: Sequence[Stream]) -> set[str]:
    """Return the paths of ids: they are named or written so, and differ from stream to stream."""
    values: dict[str, dict[Any, set[int]]] = {}
    for number, stream in enumerate(streams):
        for event in stream:
            for path, value in event.fields.items():
                values.setdefault(path, {}).setdefault(value, set()).add(number)
    least = FEWEST - 1
    telling = {path for path, found in values.items() if sum(len(where) == 1 for where in found.values()) >= least}
    return {
        path for path in telling if _ID.fullmatch(path) or all(_UUID.fullmatch(str(value)) for value in values[path])
    }


# Order and end


def _infer_order(streams: Sequence[Stream], contract: StreamContract) -> Proposal:
    """Return an order that all streams follow: kinds that interleave are repeated together."""
    sequences = [[event.kind for event in stream] for stream in streams]
    followed = all(_follows(contract, stream) for stream in streams)
    return Proposal("order", " ".join(_write_groups(sequences)), len(streams), followed)


def _follows(contract: StreamContract, stream: Stream) -> bool:
    progress = contract.orders.start
    for event in stream:
        payload: dict[str, Any] = {}
        for path, value in event.fields.items():
            _put(payload, path.split("."), value)
        progress = contract.orders.step(progress, event.kind, payload)
    return bool(contract.orders.complete(progress))


def _put(payload: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        payload = payload.setdefault(name, {})
    payload[path[-1]] = value


def _write_groups(sequences: Sequence[Sequence[str]]) -> Iterator[str]:
    groups = _sort_groups(sequences)
    while groups:
        group = groups.pop(0)
        if len(group) > 1:
            sign = "+" if all(set(group) & set(sequence) for sequence in sequences) else "*"
            yield f"({' | '.join(group)}){sign}"
        elif others := _take_alternatives(group[0], groups, sequences):
            yield f"({' | '.join([group[0], *others])})"
        else:
            yield group[0] + _count_sign([Counter(sequence)[group[0]] for sequence in sequences])


def _take_alternatives(kind: str, groups: list[list[str]], sequences: Sequence[Sequence[str]]) -> list[str]:
    """Remove the next kinds from `groups` and return them, if each stream has exactly one of `kind` and them."""
    taken: list[str] = []
    for count in range(1, len(groups) + 1):
        if len(groups[count - 1]) > 1:
            return []
        taken = [group[0] for group in groups[:count]]
        if all(sum(sequence.count(each) for each in [kind, *taken]) == 1 for sequence in sequences):
            break
    else:
        return []
    if all(sequence.count(kind) == 1 for sequence in sequences):
        return []
    del groups[: len(taken)]
    return taken


def _count_sign(counts: Sequence[int]) -> str:
    if max(counts) > 1:
        return "+" if min(counts) else "*"
    return "" if min(counts) else "?"


def _sort_groups(sequences: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return groups of kinds in an order that all sequences follow; the kinds of a group come in any order."""
    kinds = list(dict.fromkeys(kind for sequence in sequences for kind in sequence))
    before = {(a, b) for sequence in sequences for place, a in enumerate(sequence) for b in set(sequence[place + 1 :])}
    group_of = {kind: {kind} for kind in kinds}
    for a, b in combinations(kinds, 2):
        if (a, b) in before and (b, a) in before and group_of[a] is not group_of[b]:
            joined = group_of[a] | group_of[b]
            for kind in joined:
                group_of[kind] = joined
    while True:
        groups = [sorted(group, key=kinds.index) for group in {id(each): each for each in group_of.values()}.values()]
        names = {kind: number for number, group in enumerate(groups) for kind in group}
        graph: dict[int, set[int]] = {number: set() for number in range(len(groups))}
        for a, b in before:
            if names[a] != names[b]:
                graph[names[b]].add(names[a])
        try:
            return [groups[number] for number in TopologicalSorter(graph).static_order()]
        except CycleError as error:  # kinds that interleave only by way of others
            joined = {kind for number in error.args[1] for kind in groups[number]}
            for kind in joined:
                group_of[kind] = joined


def _infer_end(streams: Sequence[Stream], contract: StreamContract) -> Proposal:
    """Return the kinds that end the streams; what the contract lets follow the end is not among them."""
    follows = contract.after_end - contract.end
    last: Counter[str] = Counter()
    for stream in streams:
        ended = any(event.kind in contract.end for event in stream)
        last.update([event.kind for event in stream if not ended or event.kind not in follows][-1:])
    return Proposal("end", list(last), sum(last.values()), set(last) <= contract.end)


# Ids


def _infer_constants(streams: Sequence[Stream], ids: Collection[str], contract: StreamContract) -> Iterator[Proposal]:
    """Yield fields that have one value in a stream, in at least two of its events."""
    has = [dict(rule.get("fields", {"*": rule.get("field")})) for rule in contract.spec.get("constant", ())]
    for path in sorted(ids):
        support = 0
        for stream in streams:
            values = [event.fields[path] for event in stream if path in event.fields]
            if len(set(values)) > 1:
                break
            support += len(values) > 1
        else:
            known = any(path in paths.values() for paths in has)
            yield Proposal("constant", {"field": path}, support, known)


def _infer_equals(streams: Sequence[Stream], ids: Collection[str], contract: StreamContract) -> Iterator[Proposal]:
    """Yield fields that agree in every event of a kind, and are ids."""
    has = [(set(rule["events"]), set(rule["fields"])) for rule in contract.spec.get("equal", ())]
    found: dict[tuple[str, str], dict[str, int]] = {}
    for kind in dict.fromkeys(event.kind for stream in streams for event in stream):
        of_kind = [[event.fields for event in stream if event.kind == kind] for stream in streams]
        paths = sorted({path for events in of_kind for fields in events for path in fields} & set(ids))
        for pair in combinations(paths, 2):
            both = [[fields for fields in events if all(path in fields for path in pair)] for events in of_kind]
            if all(fields[pair[0]] == fields[pair[1]] for events in both for fields in events):
                found.setdefault(pair, {})[kind] = sum(bool(events) for events in both)
    for pair, kinds in found.items():
        supported = {kind: count for kind, count in kinds.items() if count >= FEWEST}
        if supported:
            known = all(any(kind in events and set(pair) <= fields for events, fields in has) for kind in supported)
            rule = {"events": list(supported), "fields": list(pair)}
            yield Proposal("equal", rule, min(supported.values()), known)


def _infer_pairs(streams: Sequence[Stream], ids: Collection[str], contract: StreamContract) -> Iterator[Proposal]:
    """Yield kinds of which each event of the one is followed by one of the other with the same id."""
    has = {(rule["open"], rule["close"], rule["by"]): rule for rule in contract.spec.get("pairs", ())}
    kinds = list(dict.fromkeys(event.kind for stream in streams for event in stream))
    for opens, closes in permutations(kinds, 2):
        for path in sorted(ids):
            found = _follow_pairs(streams, opens, closes, path)
            if found is None:
                continue
            whole, exception = found
            agree = _list_agreeing(whole, opens, closes, path)
            rule: dict[str, Any] = {"open": opens, "close": closes, "by": path}
            rule |= {"agree": agree} if agree else {}
            rule |= {"unless": exception} if exception else {}
            known = has.get((opens, closes, path))
            lacks = sorted(set(agree) - set(known.get("agree", ()))) if known else []
            yield Proposal("pairs", rule, len(whole), known is not None, tuple(lacks))


def _follow_pairs(streams: Sequence[Stream], opens: str, closes: str, path: str) -> tuple[list[Stream], str] | None:
    """Return the streams whose pairs are all closed, and what only streams with open ones have, '' for none.

    None where an event contradicts such pairs, where no stream has two of them, or where nothing excepts the open ones.
    """
    whole: list[Stream] = []
    unfinished: list[Stream] = []
    most = 0
    for stream in streams:
        counted = _count_pairs(stream, opens, closes, path)
        if counted is None:
            return None
        closed, left_open = counted
        most = max(most, closed)
        if left_open:
            unfinished.append(stream)
        elif closed:
            whole.append(stream)
    if most < 2 or not whole:  # noqa: PLR2004 - a single one may be anything
        return None
    exception = _find_exception(unfinished, whole) if unfinished else ""
    return (whole, exception) if exception or not unfinished else None


def _count_pairs(stream: Stream, opens: str, closes: str, path: str) -> tuple[int, int] | None:
    """Return how many pairs a stream closes, and how many it leaves open; None where an event contradicts them."""
    waiting: set[Any] = set()
    seen: set[Any] = set()
    for event in stream:
        value = event.fields.get(path)
        if event.kind == opens:
            if value is None or value in seen:
                return None
            waiting.add(value)
            seen.add(value)
        elif event.kind == closes:
            if value not in waiting:
                return None
            waiting.remove(value)
    return len(seen) - len(waiting), len(waiting)


def _find_exception(streams: Sequence[Stream], others: Sequence[Stream]) -> str:
    """Return an event that all of some streams have and none of the others, as an order writes it; '' for none."""
    common = set.intersection(*(set(_list_atoms(stream)) for stream in streams))
    common -= {atom for stream in others for atom in _list_atoms(stream)}
    return min(common, key=lambda atom: ("{" in atom, "status" not in atom, atom), default="")


def _list_atoms(stream: Stream) -> Iterator[str]:
    for event in stream:
        yield event.kind
        for path, value in event.fields.items():
            if isinstance(value, str) and _WORD.fullmatch(value):
                yield f"{event.kind}{{{path}={value}}}"


def _list_agreeing(streams: Sequence[Stream], opens: str, closes: str, by: str) -> list[str]:
    """Return the other fields that are the same in both events of every pair, and differ within a stream."""
    pairs: list[list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = []
    for stream in streams:
        opened = {event.fields[by]: event.fields for event in stream if event.kind == opens}
        pairs.append([(opened[event.fields[by]], event.fields) for event in stream if event.kind == closes])
    flat = [pair for of_stream in pairs for pair in of_stream]
    paths = set.intersection(*({*one} & {*other} for one, other in flat)) - {by}
    agreeing = [path for path in sorted(paths) if all(one[path] == other[path] for one, other in flat)]
    return [path for path in agreeing if any(len({one[path] for one, _ in of_stream}) > 1 for of_stream in pairs)]
