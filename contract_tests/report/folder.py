"""The folder of `--report`: what is written there, each file as a whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contract_tests.report import hiding
from contract_tests.report.document import json_text, version
from contract_tests.report.files import write_whole
from contract_tests.report.har import Recorder, merge_har
from contract_tests.report.html import render_page
from contract_tests.report.sarif import render_sarif
from flowcontract.errors import FlowContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from flowcontract.output.secrets import Secrets

FILES = ("report.html", "report.json", "report.sarif", "exchanges.har", "junit.xml")
_PROBE = ".writable"
_RECORDED = ".exchanges-*.jsonl"
JUNIT = ".junit.xml"
"""Where pytest writes JUnit XML, until it is moved to its place."""


class ReportError(FlowContractError):
    """Reports cannot be written where they are wanted."""


def prepare(folder: Path) -> None:
    """Make the folder and see that files can be written there; raise ReportError where they cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _PROBE, [])
        others = (folder / name for name in FILES)  # nobody is to take them for those of a run that is ended at once
        for left in [folder / _PROBE, folder / JUNIT, *folder.glob(_RECORDED), *others]:
            left.unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(f"--report {folder}: cannot be written: {error.strerror}. Name another folder.") from None


def create_recorder(folder: Path, worker: str, secrets: Secrets) -> Recorder:
    """Return what records the exchanges of one process."""
    return Recorder(folder / _RECORDED.replace("*", worker), secrets)


def write(folder: Path, document: Mapping[str, Any]) -> None:
    """Write all reports of a run; raise ReportError naming those that could not be written, after all others."""
    recorded = sorted(folder.glob(_RECORDED))
    made: dict[str, Callable[[], Iterable[str]]] = {
        "report.json": lambda: [json_text(document)],
        "report.html": lambda: [render_page(document)],
        "report.sarif": lambda: [render_sarif(document)],
        "exchanges.har": lambda: merge_har(recorded, version()),
    }
    failed = [trouble for name, make in made.items() if (trouble := _write_report(folder / name, make))]
    for path in recorded:
        path.unlink(missing_ok=True)
    if (folder / JUNIT).exists():
        (folder / JUNIT).replace(folder / "junit.xml")
    if failed:
        raise ReportError("\n".join(failed))


def hide(folder: Path, secrets: Secrets) -> None:
    """Hide secrets in what pytest itself has written, which may tell more than the tests have."""
    path = folder / "junit.xml"
    if path.exists():
        write_whole(path, [hiding.hide(path.read_text(encoding="utf-8"), secrets)])


def _write_report(path: Path, make: Callable[[], Iterable[str]]) -> str:
    try:
        write_whole(path, make())
    except OSError as error:
        return f"{path}: cannot be written: {error.strerror}."
    except Exception as error:  # noqa: BLE001 - a fault of ours in one report costs no other
        return f"{path}: cannot be made: {type(error).__name__}: {error}. Please report it."
    return ""
