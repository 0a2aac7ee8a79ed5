"""What an answer to an attack must never be, and the findings, grouped by cause."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcontract.validation.response import find_response_violations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from attack_wire import Attack, Outcome

    from flowcontract.specs.model import Api

_SHOWN = 700


class Judge:
    """Says what is wrong with an answer."""

    def __init__(self, apis: Mapping[str, Api]) -> None:
        """Judge the answers of some APIs."""
        self._apis = apis
        self._operations = {one.name: one for api in apis.values() for one in api.operations.values()}

    def faults(self, attack: Attack, outcome: Outcome) -> Iterator[str]:
        """Yield what is wrong, a few words each, the same words for the same cause."""
        if outcome.trouble:
            if outcome.trouble == "hang" or not attack.silence:
                yield outcome.trouble
            return
        if not outcome.status:
            return  # it left before an answer could come
        if attack.wanted and outcome.status not in attack.wanted:
            yield f"{outcome.status} where {' or '.join(map(str, attack.wanted))} is right"
        if outcome.status >= 500 and not _asked(attack):
            yield f"{outcome.status} that was not asked for: {_title(outcome)}"
        html = outcome.body and "html" in outcome.header("Content-Type")  # so Dify answers OPTIONS
        if html or outcome.body[:15].lower().startswith((b"<html", b"<!doctype")):
            yield "HTML"
        if b"Traceback (most recent" in outcome.body:
            yield "traceback in the answer"
        if outcome.header("X-Injected") or "injected" in outcome.header("Set-Cookie"):
            yield "a header that the client wrote"
        yield from self._odd_headers(outcome)
        if attack.method != "HEAD" and outcome.status >= 400:
            yield from self._odd_refusal(attack, outcome)

    def _odd_headers(self, outcome: Outcome) -> Iterator[str]:
        names = Counter(name.lower() for name, _ in outcome.headers)
        for name in ("content-type", "content-length", "access-control-allow-origin", "content-disposition"):
            if names[name] > 1:
                yield f"{name} twice"
        if outcome.header("Access-Control-Allow-Credentials"):
            yield "credentials of a browser are allowed"
        if outcome.header("Access-Control-Allow-Origin") not in ("", "*"):
            yield "an origin is reflected"
        if any(not value.isprintable() or not value.isascii() for _, value in outcome.headers):
            yield "a header with odd characters"

    def _odd_refusal(self, attack: Attack, outcome: Outcome) -> Iterator[str]:
        if "json" not in outcome.header("Content-Type"):
            yield f"{outcome.status} that is no JSON but {outcome.header('Content-Type') or 'nothing'}"
            return
        try:
            json.loads(outcome.body)
        except ValueError:
            yield f"{outcome.status} whose JSON cannot be read"
            return
        operation = self._operations.get(attack.operation)
        if operation is None or _asked(attack) or outcome.header("Content-Type") == "application/problem+json":
            return
        validators = self._apis[operation.api].validators
        headers = dict(outcome.headers)
        for found in find_response_violations(validators, operation, outcome.status, headers, outcome.body)[:1]:
            yield f"{outcome.status} against the contract: {found.rule} at {found.where or 'the answer'}"


def _asked(attack: Attack) -> bool:
    """Tell whether a request may ask for a scenario, which may be a 5xx, or may not exist, which is a 501."""
    return attack.asked or any(mark in attack.sent for mark in (b"#mock:", b"%23mock%3A", b"%23mock:"))


def _title(outcome: Outcome) -> str:
    try:
        content = json.loads(outcome.body)
        return str(content.get("title") or content.get("code") or content)[:80]
    except (ValueError, AttributeError):
        return ""


@dataclass(slots=True)
class Group:
    """Attacks of one class that failed in one way; the shortest of them is shown."""

    count: int = 0
    names: list[str] = field(default_factory=list)
    shortest: Attack | None = None
    outcome: Outcome | None = None


@dataclass
class Report:
    """What was asked and what came of it."""

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    slowest: dict[str, tuple[float, str]] = field(default_factory=dict)
    groups: dict[tuple[str, str], Group] = field(default_factory=lambda: defaultdict(Group))
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, attack: Attack, outcome: Outcome, faults: list[str]) -> None:
        """Count one attack."""
        self.kinds[attack.kind] += 1
        self.statuses[attack.kind][outcome.trouble.partition(":")[0] or str(outcome.status or "left")] += 1
        self.slowest[attack.kind] = max(
            self.slowest.get(attack.kind, (0.0, "")), (outcome.seconds, f"{attack.operation} {attack.name}")
        )
        for fault in faults:
            group = self.groups[fault, attack.kind]
            group.count += 1
            group.names.append(f"{attack.operation} {attack.name}")
            if group.shortest is None or len(attack.sent) < len(group.shortest.sent):
                group.shortest, group.outcome = attack, outcome

    def lines(self, address: tuple[str, int]) -> Iterator[str]:
        """Yield the whole report."""
        total = sum(self.kinds.values())
        yield f"{total:,} bad requests"
        for kind, count in sorted(self.kinds.items()):
            slow, what = self.slowest[kind]
            yield f"  {kind:<18} {count:>6}  {_counted(self.statuses[kind])}"
            yield f"  {'':<18}         longest {slow:.2f} s: {what[:80]}"
        yield from (f"  {note}" for note in self.notes)
        for (fault, kind), group in sorted(self.groups.items()):
            yield ""
            yield f"FOUND {fault} ({kind}, {group.count} times)"
            yield from (f"  {name[: _SHOWN * 2]}" for name in list(dict.fromkeys(group.names))[:5])
            yield from _reproduced(group, address)
        for failure in self.failures:
            yield ""
            yield f"FOUND {failure}"
        found = len(self.groups) + len(self.failures)
        yield ""
        yield f"{found} problem{'' if found == 1 else 's'} found by {total:,} bad requests"

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.groups and not self.failures


def _counted(statuses: Mapping[str, int]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))


def _reproduced(group: Group, address: tuple[str, int]) -> Iterator[str]:
    """Yield the shortest attack as Python, and what came back."""
    attack, outcome = group.shortest, group.outcome
    if attack is None or outcome is None:
        return
    yield "  again, from tests/fuzz:"
    more = "".join(f", {name}={value!r}" for name, value in _more(attack))
    sent = _literal(attack.sent)
    yield f"    attack_wire.send({address}, attack_wire.Attack('again', '', {sent}{more}))"
    got = (outcome.trouble, outcome.status, outcome.headers, outcome.body[:300])
    yield f"  got {got}"[: _SHOWN * 2]


def _more(attack: Attack) -> Iterator[tuple[str, Any]]:
    for name, usual in (("drip", 0), ("ending", "wait")):
        if (value := getattr(attack, name)) != usual:
            yield name, value


def _literal(raw: bytes) -> str:
    """Return a Python expression for bytes, with long runs of one byte written short."""
    if len(raw) <= _SHOWN * 4:
        return repr(raw)
    head, tail = raw[:_SHOWN], raw[-60:]
    return f"{head!r} + {raw[_SHOWN:-60][:20]!r} ... {len(raw)} bytes in all ... + {tail!r}"
