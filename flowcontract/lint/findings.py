"""What a check says: one mistake in our own data, at its place, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowcontract.errors import FlowContractError
from flowcontract.output.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One mistake: `path` and `line` (from 1) to open, `what` is wrong there, `todo` what to do.

    `vague` marks the word of a tool that knows no line of ours, or what follows from another mistake. It is dropped
    where a check of ours has found something to mend in the same API (see `flowcontract.lint.run`).
    """

    path: Path
    line: int
    what: str
    todo: str
    vague: bool = False

    def __str__(self) -> str:
        """Return the line that is printed: `specs/dify-chat/openapi.yaml:123: what is wrong. What to do.`."""
        line = f"{display_path(self.path)}:{self.line}: {_sentence(self.what)} {_sentence(self.todo)}"
        return printable(" ".join(line.split()))


def run_guarded(what: str, place: Path, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield a check's findings. What stops it is one, too, and mostly follows from a mistake that has its own."""
    try:
        yield from findings
    except FlowContractError:
        raise
    except Exception as error:  # noqa: BLE001 - a malformed file may do anything to a check
        text = " ".join(f"{type(error).__name__}: {error}".split())
        what = f"the check of {what} stopped: {text[:300]}"
        yield Finding(place, 1, what, "Mend the other findings first; if there are none, report this.", vague=True)


def display_path(path: Path) -> str:
    """Return a path as it is printed: relative to the current folder where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
