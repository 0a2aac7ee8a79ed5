"""`mockserver import`: writes scenarios that answer as a recording does, or HAR; says what could not be imported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from flowcontract.errors import ConfigError
from flowcontract.output.printable import make_printable
from mockserver.cli.terminal import MISUSE, OK, PROBLEMS, complain, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from mockserver.importing import Imported

_MOST_LINES = 50  # of what is the same for many entries: those of other hosts, and notes


def run_import(options: argparse.Namespace) -> int:
    """Write the folder, or HAR; return OK, PROBLEMS if an entry could not be imported, MISUSE if none could."""
    if options.out is None and options.har is None:
        raise ConfigError("say what to write: --out my-scenarios, or --har recording.har.")
    left_out: list[str] = []
    if options.har is not None:
        left_out = _save_har(options.recordings, options.har)
        _print_lines("not written", left_out)
        say(f"Written as HAR: {options.har}")
    status = OK if options.out is None else _import_scenarios(options)
    return status or (PROBLEMS if left_out else OK)


def _import_scenarios(options: argparse.Namespace) -> int:
    from flowcontract.specs.model import load_apis  # noqa: PLC0415 - `--help` is faster without
    from mockserver.importing import import_recordings  # noqa: PLC0415

    imported = import_recordings(options.recordings, options.out, load_apis(tuple(options.api)), options.server)
    for problem in imported.problems:
        complain(f"not imported: {problem}")
    _print_lines("not imported", imported.strangers)
    _print_lines("note", imported.notes)
    for line in _summarize(imported, options):
        say(line)
    if not imported.written:
        return MISUSE
    return PROBLEMS if imported.problems else OK


def _save_har(recordings: Sequence[Path], target: Path) -> list[str]:
    from flowcontract.recordings import jsonl  # noqa: PLC0415 - `--help` is faster without
    from flowcontract.recordings.har_writing import save_har  # noqa: PLC0415
    from flowcontract.recordings.untrusted import Unreadable  # noqa: PLC0415

    if len(recordings) != 1:
        raise ConfigError("--har takes one recording: the folder of `mockserver proxy --record`.")
    source = recordings[0] / jsonl.NAME if recordings[0].is_dir() else recordings[0]
    if not source.is_file():
        raise ConfigError(f"No such file: {source}. Name the folder of `mockserver proxy --record`.")
    if target.exists():
        raise ConfigError(f"{target} is there already. Name a new file with --har.")
    try:
        return save_har(source, target)
    except OSError as error:
        raise ConfigError(f"cannot write {source} as {target}: {error.strerror}.") from None
    except Unreadable as problem:
        raise ConfigError(
            f"{source} is no recording of a proxy: {problem}. Name the folder of `mockserver proxy --record`."
        ) from None


def _print_lines(word: str, lines: Sequence[str]) -> None:
    for line in lines[:_MOST_LINES]:
        print(make_printable(f"{word}: {line}"), file=sys.stderr)
    if len(lines) > _MOST_LINES:
        print(f"{word}: {len(lines) - _MOST_LINES} more of the kind", file=sys.stderr)


def _summarize(imported: Imported, options: argparse.Namespace) -> list[str]:
    left_out = len(imported.problems) + len(imported.strangers)
    rest = f", {left_out} {'entry' if left_out == 1 else 'entries'} not imported" if left_out else ""
    written, exchanges = _count(len(imported.written), "scenario"), _count(imported.exchanges, "exchange")
    lines = [f"{written} of {exchanges} in {options.out}{rest}."]
    if imported.forbidden:
        lines.append(
            f"The contract forbids {imported.forbidden} of them: they are kept, and `violations` in them says why."
        )
    if imported.written:
        lines.append(f"Serve them: mockserver serve --fixtures {options.out}")
    return lines


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
