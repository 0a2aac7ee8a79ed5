"""Writes the reports into the folder of `--report`, each file atomically."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contract_tests.report import hiding
from contract_tests.report.document import to_json_text
from contract_tests.report.files import write_whole
from contract_tests.report.har import Recorder, merge_har
from contract_tests.report.html import render_page
from contract_tests.report.sarif import render_sarif
from flowcontract.errors import FlowContractError
from flowcontract.output.version import read_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from flowcontract.output.secrets import Secrets

FILES = ("report.html", "report.json", "report.sarif", "exchanges.har", "junit.xml")
_PROBE = ".writable"
_RECORDED = ".exchanges-*.jsonl"
JUNIT = ".junit.xml"
"""Where pytest writes JUnit XML, until it is renamed to junit.xml."""


class ReportError(FlowContractError):
    """Reports cannot be written into the folder."""


def prepare(folder: Path) -> None:
    """Create the folder, check that it is writable, and remove old reports; raise ReportError if it is not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _PROBE, [])
        others = (folder / name for name in FILES)  # else a run that is killed would seem to have written them
        for left in [folder / _PROBE, folder / JUNIT, *folder.glob(_RECORDED), *others]:
            left.unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(f"--report {folder}: cannot be written: {error.strerror}. Name another folder.") from None


def create_recorder(folder: Path, worker: str, secrets: Secrets) -> Recorder:
    """Return a recorder for the exchanges of one process."""
    return Recorder(folder / _RECORDED.replace("*", worker), secrets)


def write(folder: Path, document: Mapping[str, Any]) -> None:
    """Write all reports of a run; raise ReportError naming those that failed, after writing the others."""
    recorded = sorted(folder.glob(_RECORDED))
    made: dict[str, Callable[[], Iterable[str]]] = {
        "report.json": lambda: [to_json_text(document)],
        "report.html": lambda: [render_page(document)],
        "report.sarif": lambda: [render_sarif(document)],
        "exchanges.har": lambda: merge_har(recorded, read_version()),
    }
    failed = [trouble for name, make in made.items() if (trouble := _write_report(folder / name, make))]
    for path in recorded:
        path.unlink(missing_ok=True)
    if (folder / JUNIT).exists():
        (folder / JUNIT).replace(folder / "junit.xml")
    if failed:
        raise ReportError("\n".join(failed))


def hide(folder: Path, secrets: Secrets) -> None:
    """Hide secrets in the file that pytest itself has written, which may contain more than the tests reported."""
    path = folder / "junit.xml"
    if path.exists():
        write_whole(path, [hiding.hide(path.read_text(encoding="utf-8"), secrets)])


def _write_report(path: Path, make: Callable[[], Iterable[str]]) -> str:
    """Write a report; return why it could not be written, '' if it was."""
    try:
        write_whole(path, make())
    except OSError as error:
        return f"{path}: cannot be written: {error.strerror}."
    except Exception as error:  # noqa: BLE001 - a bug in one report must not prevent the others
        return f"{path}: cannot be made: {type(error).__name__}: {error}. Please report it."
    return ""
