"""Sources of the contract: `001:25-58` is lines of a document; a ruling decides between contradicting ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from flowcontract import yamlio
from flowcontract.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RULING = "ruling "  # prefix of a ruling in a provenance
_SOURCE = re.compile(r"(?P<document>\d{3}):(?P<first>[1-9]\d*)(?:-(?P<last>[1-9]\d*))?")


@dataclass(frozen=True, slots=True)
class Source:
    """Physical lines `first` to `last` (from 1, both included) of a document."""

    document: str
    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> Source:
        """Parse `001:25` or `001:25-58`; raise SpecError for anything else."""
        match = _SOURCE.fullmatch(text)
        if match is None:
            raise SpecError(f'"{text}" is not a source. Write document and lines, for instance 001:25-58.')
        first = int(match["first"])
        last = int(match["last"] or first)
        if last < first:
            raise SpecError(f'"{text}" ends before it begins. Write the smaller line first.')
        return cls(match["document"], first, last)

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        return f"{self.document}:{self.first}" + (f"-{self.last}" if self.last > self.first else "")


def as_list(value: Any) -> list[Any]:
    """Return a value that may be single or a list, as a list; None is an empty list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def read_provenance(node: Any) -> tuple[str, ...]:
    """Return the sources of a part of the contract: its `x-source`, `x-ruling` and `x-observed`, in that order."""
    if not isinstance(node, dict):
        return ()
    return (
        *(str(source) for source in as_list(node.get("x-source"))),
        *(f"{RULING}{name}" for name in as_list(node.get("x-ruling"))),
        *(f"observed: {where}" for where in as_list(node.get("x-observed"))),
    )


Basis = Literal["contradiction", "gap"]
BASES = ("contradiction", "gap")


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice that a ruling leaves to the server, and how to recognise the option in an exchange.

    ``name``        of the choice
    ``operations``  concerned, qualified; in the file the ruling's own API may be left out
    ``at``          JSON pointer into the account of an exchange (`contract_tests.judging.choices.describe_exchange`)
    ``options``     description of an option -> JSON Schema of the value at `at`; the first that matches was taken
    ``when``        JSON Schema of the accounts in which there is a choice
    """

    name: str
    operations: tuple[str, ...]
    at: str
    options: Mapping[str, Any]
    when: Mapping[str, Any] | bool = True


CHOICE_FIELDS = {"name", "operations", "at", "options"}


@dataclass(frozen=True, slots=True)
class Ruling:
    """A decision where documents contradict themselves or each other, or say nothing, with the reason.

    ``basis``    `contradiction` between lines, or `gap`
    ``derives``  the lines from which a ruling on a gap derives its demand
    ``choices``  alternatives that it accepts; a run notes the one that a server takes
    """

    number: int
    name: str
    lines: tuple[Source, ...]
    readings: tuple[str, ...]
    decision: str
    why: str
    basis: Basis
    derives: tuple[Source, ...] = ()
    choices: tuple[Choice, ...] = ()


_RULING_FIELDS = {"number", "name", "lines", "readings", "decision", "why", "basis"}
_OPTIONAL_RULING_FIELDS = {"derives", "choices"}


def load_rulings(path: Path) -> tuple[Ruling, ...]:
    """Read a `rulings.yaml`; a missing file has none. Raise SpecError naming file, entry and error."""
    return parse_rulings(yamlio.load(path), path) if path.is_file() else ()


def parse_rulings(entries: Any, path: Path) -> tuple[Ruling, ...]:
    """Parse the content of a `rulings.yaml`; raise SpecError naming file, entry and error."""
    if not isinstance(entries, list):
        raise SpecError(f"{path}: this is not a list of rulings.")
    return tuple(_read_ruling(path, index, entry) for index, entry in enumerate(entries))


def _read_ruling(path: Path, index: int, entry: Any) -> Ruling:
    if not isinstance(entry, dict) or set(entry) - _OPTIONAL_RULING_FIELDS != _RULING_FIELDS:
        raise SpecError(f"{path}: ruling {index} needs exactly the fields {', '.join(sorted(_RULING_FIELDS))}.")
    return Ruling(
        number=entry["number"],
        name=entry["name"],
        lines=tuple(Source.parse(str(line)) for line in as_list(entry["lines"])),
        readings=tuple(as_list(entry["readings"])),
        decision=entry["decision"],
        why=entry["why"],
        basis=entry["basis"],
        derives=tuple(Source.parse(str(line)) for line in as_list(entry.get("derives"))),
        choices=tuple(_read_choice(path, entry["name"], choice) for choice in as_list(entry.get("choices"))),
    )


def _read_choice(path: Path, ruling: str, entry: Any) -> Choice:
    if not isinstance(entry, dict) or set(entry) - {"when"} != CHOICE_FIELDS:
        names = ", ".join(sorted(CHOICE_FIELDS))
        raise SpecError(f"{path}: a choice of the ruling {ruling} needs the fields {names}, and may have `when`.")
    operations = tuple(name if "/" in name else f"{path.parent.name}/{name}" for name in entry["operations"])
    return Choice(entry["name"], operations, entry["at"], entry["options"], entry.get("when", True))
