"""Output for GitHub Actions: annotations at lines of the specs, and a summary of the step.

https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract_tests.report.rendering import get_environment
from contract_tests.report.terminal import format_headline, select_causes
from flowcontract.output.printable import make_printable
from flowcontract.provenance.locations import find_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_MOST = 10  # annotations of one sort that GitHub shows of a step
_SUMMARIZED = 100  # causes: a summary has at most a megabyte
_ENDS = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTIES = {**_ENDS, ":": "%3A", ",": "%2C"}


def is_running() -> bool:
    """Tell whether this runs in GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


@contextmanager
def suspend_commands(write: Callable[[str], None]) -> Iterator[None]:
    """Suspend GitHub's workflow commands, so that no text from a server is taken for one."""
    token = secrets.token_hex(16)
    write(f"::stop-commands::{token}")
    try:
        yield
    finally:
        write(f"::{token}::")


def annotate(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield an annotation command for each cause, the most severe first."""
    for cause in select_causes(dict(document), "failure")[:_MOST]:
        file, line = find_place(cause["operation"], cause["source"], cause["where"])
        title = _escape(f"{cause['operation']}: {cause['rule']}", _IN_PROPERTIES)
        message = _escape(f"expected {cause['expected']}\ngot {cause['got']}", _ENDS)
        yield f"::error file={_escape(file, _IN_PROPERTIES)},line={line},title={title}::{message}"


def _escape(text: str, escapes: Mapping[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in make_printable(text, lines=True))


def render_summary(document: Mapping[str, Any]) -> str:
    """Return the summary of a step, in Markdown."""
    template = get_environment().get_template("summary.md.j2")
    failures = select_causes(dict(document), "failure")
    return template.render(
        document=document,
        headline=format_headline(dict(document)),
        causes=failures[:_SUMMARIZED],
        all_causes=len(failures),
    )


def append_summary(document: Mapping[str, Any]) -> None:
    """Append the summary to the file that GitHub shows as the step's summary, if there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with Path(path).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(render_summary(document))
