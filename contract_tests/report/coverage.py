"""The coverage matrix: for each operation the status codes, error codes, events and transitions, with their outcome."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from contract_tests.http.target import TargetError
from contract_tests.judging.error_codes import list_error_codes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.specs.model import Api
    from flowcontract.streams.contract import StreamContract

Outcome = Literal["passed", "failed", "deviating", "not exercised"]
SORTS = ("status", "code", "event", "transition")
_PLURALS = {"statuses": "status", "codes": "code", "events": "event", "transitions": "transition"}
_NEVER_SEEN = {
    "status": "no request was answered with it",
    "code": "no request was answered with it",
    "event": "no stream had it",
    "transition": "no stream had it",
}


class Key(NamedTuple):
    """A line of the matrix: `dify-chat/sendChatMessage`, `code`, `400 invalid_param`."""

    operation: str
    sort: str
    name: str


@dataclass(slots=True)
class Row:
    """The outcomes of a line of the matrix, and why it was not exercised."""

    documented: bool = True
    counts: dict[Outcome, int] = field(default_factory=lambda: {"passed": 0, "failed": 0, "deviating": 0})
    reason: str = ""

    @property
    def outcome(self) -> Outcome:
        """The worst outcome that was counted."""
        worst: tuple[Outcome, ...] = ("failed", "deviating", "passed")
        return next((outcome for outcome in worst if self.counts[outcome]), "not exercised")


class Coverage:
    """The matrix of one run."""

    def __init__(self, apis: Mapping[str, Api], require: str | None = None) -> None:
        """List every line of the contracts, and parse the required level."""
        self.rows: dict[Key, Row] = {key: Row() for api in apis.values() for key in list_lines(api)}
        self._required = read_level(require) if require else {}

    def count(self, key: Key, outcome: Outcome) -> None:
        """Count an outcome of a line; an undocumented line is added."""
        self.rows.setdefault(key, Row(documented=False)).counts[outcome] += 1

    def explain(self, subject: str, reason: str) -> None:
        """Note why something was not exercised: a line (`operation|sort|name`), or an operation with all its lines."""
        key = Key(*subject.split("|")) if subject.count("|") == 2 else None  # noqa: PLR2004 - the parts of a key
        for found, row in self.rows.items():
            if found == key or (not key and found.operation == subject):
                row.reason = row.reason or reason

    def find_reason(self, key: Key) -> str:
        """Return why a line was not exercised."""
        return self.rows[key].reason or _NEVER_SEEN[key.sort]

    def share(self, sort: str = "") -> float:
        """Return the percentage of documented lines, or of one sort of them, that were exercised."""
        rows = [row for key, row in self.rows.items() if row.documented and sort in ("", key.sort)]
        return 100 * sum(row.outcome != "not exercised" for row in rows) / len(rows) if rows else 100.0

    def find_shortfalls(self) -> list[str]:
        """Return what is below the required level, in words."""
        shares = {sort: self.share(sort) for sort in self._required}
        return [
            f"{sort or 'all lines'}: {shares[sort]:.1f} % exercised, {level:g} % required"
            for sort, level in self._required.items()
            if shares[sort] < level
        ]


def read_level(text: str) -> dict[str, float]:
    """Parse `80` or `codes=100,events=50`; raise TargetError for anything else."""
    levels: dict[str, float] = {}
    for part in text.split(","):
        name, equals, level = part.rpartition("=")
        sort = _PLURALS.get(name.strip(), name.strip())
        if (equals and sort not in SORTS) or not level.strip().replace(".", "", 1).isdecimal() or float(level) > 100:  # noqa: PLR2004
            raise TargetError(
                f"--require {text}: expected a percentage, or {'=N,'.join(_PLURALS)}=N, in any selection."
            )
        levels[sort] = float(level)
    return levels


def list_lines(api: Api) -> Iterator[Key]:
    """Yield every line of an API's contract."""
    for operation in api.operations.values():
        for status in operation.responses:
            yield Key(operation.name, "status", str(status))
            for code in list_error_codes(operation, status):
                yield Key(operation.name, "code", f"{status} {code}")
        if operation.stream is not None:
            for kind in operation.stream.events:
                yield Key(operation.name, "event", kind)
            for before, after in sorted(_list_transitions(operation.stream)):
                yield Key(operation.name, "transition", f"{before} > {after}")


def _list_transitions(contract: StreamContract) -> set[tuple[str, str]]:
    """Return which kind may follow which, in any of the orders; `start` is the beginning."""
    found: set[tuple[str, str]] = set()
    for alternative in contract.alternatives:
        order = alternative.order
        waiting = deque([("start", order.start)])
        visited = set()
        while waiting:
            before, state = waiting.popleft()
            if (before, state) in visited:
                continue
            visited.add((before, state))
            for atom in order.list_allowed(state):
                found.add((before, atom.kind))
                waiting.append((atom.kind, order.step(state, atom.kind)))
    return found
