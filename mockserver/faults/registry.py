"""Every fault of `faults.yaml`: its name, what it does, whether a correct client survives it, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from flowcontract import yamlio
from mockserver.faults import blocks, chunks, events, replies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mockserver.faults.context import Change
    from mockserver.faults.replies import Alter
    from mockserver.http.messages import Capability

Harm = Literal["harmless", "breaking"]
Needs = Literal["any", "stream", "sse"]
_CHANGES: dict[str, Any] = {
    "reply": None,
    "events": events,
    "text": blocks,
    "fields": blocks,
    "inside": blocks,
    "line ends": blocks,
    "chunks": chunks,
    "length": chunks,
}
"""Where the functions of each stage are; the stages are applied in this order."""


class Value(NamedTuple):
    """What stands behind the equals sign: its name, what it is if left out, a number's bounds, how it is read."""

    name: str
    default: Any
    low: float
    high: float
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to misbehave.

    ``harm``    after `harmless` ones a correct client reads the same events, after `breaking` ones it must notice
    ``needs``   any reply, a stream, or a stream of server-sent events
    ``stage``   when it is applied, from 0
    ``change``  what it makes of a stream's pieces
    ``alter``   what it does to the reply, `change` being in its place
    ``able``    what the adapter must be able to do
    ``mute``    whether the server's own pings stay away
    ``also``    the fault without which it would change nothing
    """

    name: str
    harm: Harm
    summary: str
    needs: Needs
    stage: int
    value: Value | None
    change: Change | None
    alter: Alter | None
    able: Capability | None
    mute: bool
    also: str | None

    @property
    def usage(self) -> str:
        """How it is written: `split=SIZE`, or `bom`."""
        return f"{self.name}={self.value.name}" if self.value else self.name


def _read_faults() -> Iterator[Fault]:
    stages = yamlio.load(Path(__file__).with_name("faults.yaml"))
    for stage, module in enumerate(_CHANGES.items()):
        for name, row in stages[module[0]].items():
            yield _read_fault(name, row, stage, module[1])


def _read_fault(name: str, row: dict[str, Any], stage: int, module: Any) -> Fault:
    own = name.replace("-", "_")
    change = getattr(module, row.get("change", own)) if module else None
    alter = row.get("alter", None if module else own)
    harm: Harm = "harmless" if "harmless" in row else "breaking"
    return Fault(
        name=name,
        harm=harm,
        summary=row[harm],
        needs=row.get("needs", "stream"),
        stage=stage,
        value=_read_value(row) if "value" in row else None,
        change=change,
        alter=getattr(replies, alter) if alter else None,
        able=row.get("able"),
        mute=row.get("mute", False),
        also=row.get("also"),
    )


def _read_value(row: dict[str, Any]) -> Value:
    name, default, *bounds = row["value"]
    if bounds:
        low, high = bounds
        return Value(name, default, low, high, float if isinstance(default, float) else int)
    return Value(name, default, 0, 0, getattr(replies, row["read"]))


FAULTS = {fault.name: fault for fault in _read_faults()}
"""Every fault by name."""
