"""Compares two servers that were asked the same: where their answers differ, and which of the two the contract is with.

Both are read from the reports of a run: `exchanges.har` has the answers, `report.json` what the contract says of
them. Ids and times are matched, not compared: one id of the old server stands for one of the new.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from flowcontract import pointers
from flowcontract.recordings.operations import Operations
from flowcontract.recordings.reading import read
from flowcontract.recordings.untrusted import Unreadable
from flowcontract.streams.judge import StreamJudge

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from flowcontract.recordings.exchange import Recorded
    from flowcontract.specs.model import Api, Operation

_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T_ ]?\d\d[:-]\d\d[:-]\d\d(?:\.\d+)?|\b1[0-9]{9}(?:\.\d+)?\b")
_INVENTED = re.compile(r"contract-tests-[\w-]+|[\w-]*\d[\w-]*")  # names of folders, files and users
_PROVOKED = re.compile(r"[\w-]+/\w+/(?:provoked|streams)/")  # tests whose request a target file has (`[provoke]`)
_SHOWN: Final = 160  # characters of a value
_DEPTH: Final = 20
_ABSENT: Final = object()
_CAME: Final = {True: "an id that came before", False: "a new id"}
_FROM_TEXT: Final = ("answer", "agree")  # rules about what was said, without a place in an answer


class Difference(NamedTuple):
    """Where the answers to one request differ.

    ``status``  of the old answer
    ``what``    `status`, `media type`, `events`, or a JSON pointer: `body /data/0/id`, `event message /answer`
    ``rules``   the rules of the contract that speak about such a thing
    ``where``   its pointer in the answer, '' for the whole
    ``variant`` tells differences of the same thing apart: both statuses, orders or texts of refusals, or both types
    """

    operation: str
    status: str
    what: str
    old: str
    new: str
    rules: tuple[str, ...] = ()
    where: str = ""
    variant: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What is the same each time the servers differ so."""
        return self.operation, self.status, self.what, self.variant


@dataclass(slots=True)
class Finding:
    """A difference, how often and in which tests it was seen, and the contract's word.

    ``verdict``  `the new server is right`, `the old server is right`, `neither is right`, `the contract allows both`
    ``because``  what the contract demands, and by which lines
    """

    difference: Difference
    count: int = 0
    tests: dict[str, None] = field(default_factory=dict)
    verdict: str = ""
    because: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        shown = {name: getattr(self.difference, name) for name in ("operation", "status", "what", "old", "new")}
        told = {"verdict": self.verdict, "because": self.because}
        return {**shown, "count": self.count, "tests": list(self.tests), **told}


@dataclass(frozen=True, slots=True)
class Answered:
    """One server's answers by test and operation, in their order, and what the contract says against them."""

    answers: Mapping[tuple[str, str], list[Recorded]]
    failures: Mapping[tuple[str, str], list[Mapping[str, Any]]]


def read_run(folder: Path, apis: Sequence[Api]) -> tuple[Answered, Mapping[str, Operation]]:
    """Return what a run has seen, fuzzing aside, from its reports; and the operations by name."""
    operations = Operations(apis)
    answers: dict[tuple[str, str], list[Recorded]] = {}
    named: dict[str, Operation] = {}
    for entry in read(folder / "exchanges.har"):
        if isinstance(entry, Unreadable) or not entry.name or entry.name.startswith("fuzzing/"):
            continue
        found = operations.find(entry)
        if found:
            operation = min(found, key=lambda asked: len(asked.path)).operation
            named[operation.name] = operation
            answers.setdefault((entry.name, operation.name), []).append(entry)
    document = json.loads((folder / "report.json").read_bytes())
    failures: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for failure in (each for name in ("failures", "notes", "deviating") for each in document[name]):
        failures.setdefault((failure["test"], failure["operation"]), []).append(failure)
    return Answered(answers, failures), named


def compare_servers(old: Answered, new: Answered, operations: Mapping[str, Operation]) -> list[Finding]:
    """Return the differences between the answers to the same requests, each with the contract's word on it."""
    findings = _find_differences(old, new, operations)
    for finding in findings:
        _judge(finding, old, new)
    return sorted(findings, key=lambda finding: finding.difference.key)


def find_chance(runs: Sequence[Answered], operations: Mapping[str, Operation]) -> set[tuple[str, ...]]:
    """Return the keys of what one server answers differently from run to run: what a model says, a list's order."""
    again = (_find_differences(runs[0], other, operations) for other in runs[1:])
    return {finding.difference.key for findings in again for finding in findings}


def _find_differences(old: Answered, new: Answered, operations: Mapping[str, Operation]) -> list[Finding]:
    found: dict[tuple[str, ...], Finding] = {}
    for (test, name), one, other in _pair_answers(old, new):
        try:
            differences = list(_compare_answers(operations[name], one, other))
        except Unreadable:
            continue  # one of them has no answer: its own verdict says so
        for difference in differences:
            finding = found.setdefault(difference.key, Finding(difference))
            finding.count += 1
            finding.tests[test] = None
    return list(found.values())


def count_compared(old: Answered, new: Answered) -> tuple[int, int]:
    """Return how many requests both were asked, and how many only one of them: what an answer names may be next."""
    both = sum(1 for _ in _pair_answers(old, new))
    return both, sum(len(answers) for run in (old, new) for answers in run.answers.values()) - 2 * both


def _pair_answers(old: Answered, new: Answered) -> Iterator[tuple[tuple[str, str], Recorded, Recorded]]:
    """Yield both answers to each request that both were asked, with its test and operation."""
    for key, answers in old.answers.items():
        for one, other in _pair_requests(answers, new.answers.get(key, ())):
            yield key, one, other


def _pair_requests(old: Sequence[Recorded], new: Sequence[Recorded]) -> Iterator[tuple[Recorded, Recorded]]:
    """Yield the requests that are the same; of several in their order, which is chance where they were sent at once.

    Those that are the same to the letter come together first, then those that differ in ids, times and invented names.
    """
    pairs: dict[int, Recorded] = {}
    left = list(new)
    for tell in (str, _level):
        waiting: dict[tuple[str, ...], list[Recorded]] = {}
        for other in left:
            waiting.setdefault(_name_request(other, tell), []).append(other)
        for number, one in enumerate(old):
            others = waiting.get(_name_request(one, tell)) if number not in pairs else None
            if others:
                pairs[number] = others.pop(0)
        left = [other for others in waiting.values() for other in others]
    for number, other in sorted(pairs.items()):
        yield old[number], other


def _name_request(asked: Recorded, tell: Callable[[str], str]) -> tuple[str, ...]:
    url = urlsplit(asked.url)._replace(scheme="", netloc="").geturl()
    return asked.method, tell(url), tell((asked.asked or b"").decode("utf-8", "replace"))


def keep_repeated(runs: Sequence[Sequence[Finding]], chance: Container[tuple[str, ...]] = ()) -> list[Finding]:
    """Return the findings of the first run that every other has too, with the same verdict, and that are no chance."""
    others = [{finding.difference.key: finding.verdict for finding in findings} for findings in runs[1:]]
    return [
        finding
        for finding in (runs[0] if runs else ())
        if finding.difference.key not in chance
        and all(known.get(finding.difference.key) == finding.verdict for known in others)
    ]


# Where they differ


def _compare_answers(operation: Operation, one: Recorded, other: Recorded) -> Iterator[Difference]:
    old, new = one.answer, other.answer
    status = str(old.status)
    if old.status != new.status:
        rules = ("status", "outcome", "code", "answer")
        yield Difference(operation.name, status, "status", status, str(new.status), rules, variant=str(new.status))
        return
    if old.media_type != new.media_type:
        types = old.media_type, new.media_type
        yield Difference(operation.name, status, "media type", *types, ("media-type",), variant=" ".join(types))
        return
    for place in _compare_bodies(operation, one, other):
        about = ("order", "end", "unknown", "event") if place.what == "events" else ()
        yield Difference(operation.name, status, place.what, place.old, place.new, about, place.where, place.variant)


class _Place(NamedTuple):
    """A place where two answers differ: its pointer, both values as they are shown, and see `Difference`."""

    where: str
    old: str
    new: str
    variant: str
    what: str = ""


def _compare_bodies(operation: Operation, one: Recorded, other: Recorded) -> Iterator[_Place]:
    contract = operation.stream
    matching = _Matching(texts=one.answer.status >= HTTPStatus.BAD_REQUEST)
    bodies = [one.answer.body, other.answer.body]
    if contract is not None and one.answer.media_type in ("text/event-stream", ""):
        old, new = (_split(body, operation) for body in bodies)
        orders = [" ".join(_collapse(kind for kind, _ in events)) for events in (old, new)]
        if orders[0] != orders[1]:
            yield _Place("", orders[0], orders[1], " -> ".join(orders), "events")
        for kind in dict.fromkeys(kind for kind, _ in old):
            payloads = [next((payload for named, payload in events if named == kind), None) for events in (old, new)]
            if None not in payloads:
                for place in matching.compare("", payloads[0], payloads[1]):
                    yield place._replace(what=f"event {kind} {place.where}")
        return
    values = [_load(body) for body in bodies]
    if all(value is not None for value in values):
        for place in matching.compare("", values[0], values[1]):
            yield place._replace(what=f"body {place.where}".strip())


def _load(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _split(body: bytes, operation: Operation) -> list[tuple[str, Any]]:
    assert operation.stream is not None
    judge = StreamJudge(operation.stream)
    judge.feed(body)
    return [(event.kind, event.payload) for event in judge.fresh if event.kind not in operation.stream.anywhere]


def _collapse(kinds: Iterable[str]) -> list[str]:
    """Return kinds without repetitions: how many pieces a text has is chance."""
    found: list[str] = []
    for kind in kinds:
        if found[-1:] != [kind]:
            found.append(kind)
    return found


class _Matching:
    """Compares values of two answers; each id of the one is one of the other.

    ``texts``  whether other texts are other differences: those of refusals are the server's own, of others the run's
    """

    def __init__(self, *, texts: bool) -> None:
        self._texts = texts
        self._ids: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def compare(self, where: str, old: Any, new: Any, depth: int = 0) -> Iterator[_Place]:
        """Yield each place where two values differ, with both; items of lists as `*`."""
        if isinstance(old, dict) and isinstance(new, dict) and depth < _DEPTH:
            for name in dict.fromkeys([*old, *new]):
                inner = f"{where}/{'*' if _is_varying(name) else pointers.escape(name)}"
                if name in old and name in new:
                    yield from self.compare(inner, old[name], new[name], depth + 1)
                elif not _is_varying(name):
                    yield self._tell(inner, old.get(name, _ABSENT), new.get(name, _ABSENT))
        elif isinstance(old, list) and isinstance(new, list) and depth < _DEPTH:
            yield from self._compare_lists(where, old, new, depth)
        elif not _is_same(old, new):
            yield self._tell(where, old, new)
        elif isinstance(old, str):
            yield from self._match_ids(where, old, new)

    def _compare_lists(self, where: str, old: list[Any], new: list[Any], depth: int) -> Iterator[_Place]:
        """Yield where two lists differ: texts in any order, of others the first items."""
        if bool(old) != bool(new):
            yield self._tell(where, old, new)
        elif all(isinstance(item, str) for item in (*old, *new)):  # whose order is chance
            if len({tuple(sorted(set(map(_level, items)))) for items in (old, new)}) > 1:
                yield self._tell(where, old, new)
        elif old:
            yield from self.compare(f"{where}/*", old[0], new[0], depth + 1)

    def _match_ids(self, where: str, old: str, new: str) -> Iterator[_Place]:
        """Yield the place if an id of one text was at a place before where the other answer had another id."""
        for pair in zip(_UUID.findall(old), _UUID.findall(new), strict=False):
            came = pair[0] in self._ids, pair[1] in self._back
            known = self._ids.setdefault(pair[0], pair[1]), self._back.setdefault(pair[1], pair[0])
            if known != (pair[1], pair[0]):
                shown = f"{_show(old)}, {_CAME[came[0]]}", f"{_show(new)}, {_CAME[came[1]]}"
                yield _Place(where, shown[0], shown[1], f"ids {came}")
                return

    def _tell(self, where: str, old: Any, new: Any) -> _Place:
        level = self._texts and all(isinstance(value, str) for value in (old, new))
        sorts = [_level(value) if level else _name_sort(value) for value in (old, new)]
        return _Place(where, _show(old), _show(new), " -> ".join(sorts))


def _is_same(old: Any, new: Any) -> bool:
    """Tell whether two values that are no containers are the same, ids, times and invented names aside."""
    if type(old) is not type(new):
        return False
    if isinstance(old, int | float) and not isinstance(old, bool):
        return bool(old == new) or all(_TIME.fullmatch(str(value)) for value in (old, new))
    return bool(old == new) or (isinstance(old, str) and _level(old) == _level(new))


def _name_sort(value: Any) -> str:
    return "absent" if value is _ABSENT else type(value).__name__


def _level(text: str) -> str:
    """Return a text without ids, times and what a run invents."""
    return _INVENTED.sub("*", _TIME.sub("TIME", _UUID.sub("ID", text)))


def _is_varying(name: str) -> bool:
    return bool(_UUID.search(name) or _TIME.search(name))


def _show(value: Any) -> str:
    if value is _ABSENT:
        return ""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


# Who is right


def _judge(finding: Finding, old: Answered, new: Answered) -> None:
    """Say which server the contract is with: the one that breaks none of it where they differ."""
    against = [_find_violations(finding, run) for run in (old, new)]
    words = {
        (True, False): "the new server is right",
        (False, True): "the old server is right",
        (True, True): "neither is right",
        (False, False): "the contract allows both",
    }
    finding.verdict = words[bool(against[0]), bool(against[1])]
    for name, violations in zip(("old", "new"), against, strict=True):
        for violation, count in Counter(violations).most_common(3):
            finding.because.append(f"{name}: {violation}" + (f" ({count} times)" if count > 1 else ""))


def _find_violations(finding: Finding, run: Answered) -> list[str]:
    difference = finding.difference
    found = []
    for test in finding.tests:
        for failure in run.failures.get((test, difference.operation), ()):
            if _concerns(difference, failure) and not _is_claimed(test, failure):
                by = f", by {', '.join(failure['source'])}" if failure["source"] else ""
                found.append(f"expected {failure['expected']}, got {_cut(failure['got'])}{by} [{failure['tier']}]")
    return found


def _is_claimed(test: str, failure: Mapping[str, Any]) -> bool:
    """Tell whether the target file claims that an answer comes, not the contract: one release may not answer so."""
    return bool(_PROVOKED.match(test)) and failure["rule"] in ("status", "event") and failure["tier"] != "server-error"


def _concerns(difference: Difference, failure: Mapping[str, Any]) -> bool:
    """Tell whether a violation is about the place where the servers differ."""
    if difference.rules:
        return failure["rule"] in difference.rules
    if failure["rule"] in _FROM_TEXT:
        return False
    place = re.sub(r"/\d+(?=/|$)", "/*", failure["where"])
    missing = re.search(r"field `(.+?)`", failure["expected"])
    places = {place, f"{place}/{missing[1]}"} if missing else {place}
    return bool(difference.where) and difference.where in places


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
