"""`verdicts.yaml` -> the table in docs/explanation/clients.md: `python examples/torture/table.py` prints it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mockserver.faults import parse

VERDICTS = Path(__file__).with_name("verdicts.yaml")
SHORT = {"survived": "ok", "trusted a broken stream": "trusted it"}


def table(verdicts: dict[str, Any]) -> str:
    """Return a row for all faults with the same verdicts; those that everybody survives are only counted."""
    outcomes = {name: _by_fault(one) for name, one in verdicts.items()}
    faults = list(dict.fromkeys(fault for one in verdicts.values() for fault in _order(one)))
    rows: dict[tuple[str, ...], list[str]] = {}
    for fault in faults:
        key = (_harm(fault), *(outcomes[name][fault] for name in verdicts))
        rows.setdefault(key, []).append(fault)
    heads = ["fault", "", *(f"{name} {one['version'].partition(' ')[0]}" for name, one in verdicts.items())]
    lines = [heads, ["---"] * len(heads)]
    for (harm, *cells), names in sorted(rows.items(), key=lambda row: row[0][0] != "harmless"):
        many = set(cells) == {"survived"}
        label = f"{len(names)} others" if many else ", ".join(f"`{name}`" for name in names)
        lines.append([label, harm, *(SHORT.get(cell, f"**{cell}**") for cell in cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _order(verdict: dict[str, Any]) -> list[str]:
    return [fault for outcome, faults in verdict.items() if outcome != "version" for fault in faults]


def _by_fault(verdict: dict[str, Any]) -> dict[str, str]:
    return {fault: outcome for outcome, faults in verdict.items() if outcome != "version" for fault in faults}


def _harm(fault: str) -> str:
    return "breaking" if any(one.fault.harm == "breaking" for one in parse(fault)) else "harmless"


if __name__ == "__main__":
    print(table(yaml.safe_load(VERDICTS.read_text(encoding="utf-8"))))
