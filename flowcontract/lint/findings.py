"""The finding: one mistake in our own data, with its place and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowcontract.errors import FlowContractError
from flowcontract.output.printable import make_printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One mistake: `path` and `line` (from 1) to open, `what` is wrong there, `todo` what to do.

    `vague` marks findings of a tool that does not know our lines, and consequences of other mistakes. They are dropped
    if there are definite findings in the same API (see `flowcontract.lint.run`).
    """

    path: Path
    line: int
    what: str
    todo: str
    vague: bool = False

    def __str__(self) -> str:
        """Return the line that is printed: `specs/dify-chat/openapi.yaml:123: what is wrong. What to do.`."""
        line = f"{display_path(self.path)}:{self.line}: {_end_sentence(self.what)} {_end_sentence(self.todo)}"
        return make_printable(" ".join(line.split()))


def run_guarded(what: str, place: Path, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings of a check; an exception becomes a vague one, since it mostly follows from another mistake."""
    try:
        yield from findings
    except FlowContractError:
        raise
    except Exception as error:  # noqa: BLE001 - a malformed file may do anything to a check
        text = " ".join(f"{type(error).__name__}: {error}".split())
        what = f"the check of {what} stopped: {text[:300]}"
        yield Finding(place, 1, what, "Mend the other findings first; if there are none, report this.", vague=True)


def display_path(path: Path) -> str:
    """Return a path for display: relative if it is below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _end_sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
