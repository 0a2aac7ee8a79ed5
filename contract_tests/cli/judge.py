"""`contract-tests judge`: judges streams and recordings, from files or while they arrive."""

from __future__ import annotations

import argparse
import os
import select
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract_tests.cli.run import MISUSE, PROBLEMS, WELL
from contract_tests.config.options import OPTIONS
from contract_tests.judging import recordings
from contract_tests.report.printing import Printer
from contract_tests.report.streams import StreamReport
from flowcontract.errors import FlowContractError, UnknownNameError
from flowcontract.paths import find_specs_root
from flowcontract.provenance.evidence import Tier, fails
from flowcontract.recordings.jsonl import NAME
from flowcontract.recordings.opening import Opening
from flowcontract.recordings.untrusted import Unreadable
from flowcontract.specs.model import list_apis, load_api
from flowcontract.specs.profiles import list_profiles
from flowcontract.streams.judge import StreamBudget, StreamJudge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from contract_tests.judging.recordings import Judged
    from contract_tests.report.streams import Line
    from flowcontract.specs.model import Api
    from flowcontract.streams.contract import StreamContract

PIECE = 64 * 1024
_WAKE_S = 0.5  # how often a silent pipe is checked, so that silence is reported while it lasts
_FITTED_BYTES = 1024 * 1024  # of a stream for which other operations and profiles are tried
_STDIN, _STDIN_FD = "standard input", 0

_EPILOG = """\
examples:
  contract-tests judge --operation dify-chat/sendChatMessage answer.sse
  contract-tests judge --quiet captured.har
  curl -N ... | contract-tests judge --operation dify-workflow/runWorkflow -

Without --operation a file is judged by every streaming operation, and the verdict of the one that fits best is told.
Silence and --seconds are judged only on what comes through a pipe.

exit status: 0 well, 1 violations, 2 no sound verdict: something could not be read, or nothing was there to judge.
"""


def add_parser(commands: Any) -> None:
    """Add the command to the others."""
    command = commands.add_parser(
        "judge",
        help="judge recorded exchanges and streams, or a running stream",
        description="Judge recordings (HAR, or our own JSON), and raw streams: what a server sent, without the head.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "streams",
        nargs="+",
        metavar="FILE",
        help="a .har or .json recording, or the bytes of one stream; - is standard input",
    )
    command.add_argument("--operation", metavar="API/OPERATION", help="what was asked: dify-chat/sendChatMessage")
    command.add_argument(
        "--profile",
        metavar="[API=]NAME",
        action="append",
        default=[],
        help="judge by the contract as a profile of an API changes it; without API=, of that of --operation",
    )
    command.add_argument("--quiet", action="store_true", help="print violations and verdicts, but not every event")
    command.add_argument("--events", type=int, metavar="N", help="give up a stream after N events")
    command.add_argument("--bytes", type=int, metavar="N", help="give up a stream after N bytes")
    command.add_argument("--seconds", type=float, metavar="N", help="give up a stream after N seconds")
    command.add_argument("--demand", **OPTIONS["--demand"])
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Judge everything that was named; return the exit status."""
    return _Session(arguments).run()


def _read_profiles(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the profile of each API that has one, from `API=NAME`, or `NAME` for the API of the operation."""
    asked = (arguments.operation or "").partition("/")[0]
    profiles = {}
    for text in arguments.profile:
        api, equals, name = text.rpartition("=")
        if not equals and not asked:
            raise FlowContractError("A profile belongs to one API. Name it: --profile API=NAME.")
        if equals and api not in list_apis():
            raise UnknownNameError("API", api, list_apis())
        profiles[api if equals else asked] = name
    return profiles


def _list_stream_contracts(apis: Iterable[Api]) -> dict[str, StreamContract]:
    """Return the stream contracts of some APIs, by operation."""
    operations = [operation for api in apis for operation in api.operations.values()]
    return {operation.name: operation.stream for operation in operations if operation.stream}


class _Session:
    """A call of the command: what to judge by, and the outcome."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._sources: list[str] = arguments.streams
        self._asked: str = arguments.operation or ""
        api, profiles = self._asked.partition("/")[0], _read_profiles(arguments)
        self._profile = profiles.get(api)
        self._apis = [load_api(name, profile=profiles.get(name)) for name in ([api] if api else list_apis())]
        self._contracts = self._choose_stream_contracts()
        self._budget = StreamBudget(arguments.events, arguments.bytes, arguments.seconds)
        self._demand = Tier(arguments.demand)
        self._quiet: bool = arguments.quiet
        self._printer = Printer(quiet=arguments.quiet)
        self._broken = False
        self._unsound = False

    def run(self) -> int:
        """Judge all sources; one that cannot be read does not affect the others."""
        for name in self._sources:
            try:
                self._judge(name)
            except FlowContractError as error:
                self._report_unsound(str(error))
            except OSError as error:
                self._report_unsound(f"{error.filename or _display_name(name)} cannot be read: {error.strerror}.")
            except KeyboardInterrupt:
                self._report_unsound(f"{_display_name(name)}: interrupted before its end.")
                return MISUSE
        return PROBLEMS if self._broken else MISUSE if self._unsound else WELL

    def _choose_stream_contracts(self) -> dict[str, StreamContract]:
        """Return the stream contracts to judge raw streams by: of the operation that was asked for, or all."""
        operations = {operation.name: operation for api in self._apis for operation in api.operations.values()}
        if self._asked and self._asked not in operations:
            raise UnknownNameError("operation", self._asked, operations)
        found = _list_stream_contracts(self._apis)
        return {name: contract for name, contract in found.items() if self._asked in ("", name)}

    def _report_unsound(self, reason: str) -> None:
        """Note that there is no sound verdict, and print why."""
        self._unsound = True
        self._printer.print_error(reason)

    def _judge(self, name: str) -> None:
        if name == "-":
            self._judge_pipe()
        elif Path(name).suffix.lower() in (".har", ".json"):
            self._judge_recording(recordings.judge(Path(name), self._apis, self._asked), name)
        else:
            self._judge_file(Path(name) / NAME if Path(name).is_dir() else Path(name))

    def _create_reports(self, started: float | None = None) -> list[StreamReport]:
        if not self._contracts:
            raise self._build_missing_error()
        return [
            StreamReport(name, contract, self._budget, started=started, demand=self._demand)
            for name, contract in self._contracts.items()
        ]

    def _judge_file(self, path: Path) -> None:
        """Judge a file by each contract; print the verdict that fits best."""
        reports, opening = self._create_reports(), self._create_opening()
        with path.open("rb") as file:
            for piece in iter(lambda: file.read(PIECE), b""):
                stream = opening.feed(piece)
                for report in reports:
                    report.feed(stream, None)
                if opening.other or all(report.finished for report in reports):
                    break
        rest = opening.close()
        if self._handle_other(opening, str(path), path.parent):
            return
        for report in reports:
            report.feed(rest, None)
            report.close(None)
        best = min(reports, key=_rank)
        self._printer.print_line(f"{path}: {best.operation}")
        self._print_notes(opening)
        self._print_report(best)
        if best.broken and self._asked and (fitting := self._find_fitting(path)):
            self._printer.print_line(f"  note: the stream does follow {fitting}")

    def _judge_pipe(self) -> None:
        """Judge standard input while it arrives; a HAR file once it is complete."""
        if not self._asked and os.isatty(_STDIN_FD):
            raise self._build_missing_error()
        reports = self._create_reports(time.monotonic()) if self._asked and self._contracts else []
        opening, head = self._create_opening(), f"{_STDIN}: {self._asked}"
        for piece in _read_pieces(_STDIN_FD):
            stream = opening.feed(piece)
            for report in reports:
                report.feed(stream, time.monotonic())
                head = self._print_running(report, head, begun=bool(stream))
            if (
                opening.other
                or self._printer.closed
                or (stream and not reports)
                or any(report.finished for report in reports)
            ):
                break
        rest = opening.close()
        if self._handle_other(opening, _STDIN, None):
            return
        if not reports:
            raise self._build_missing_error()
        for report in reports:
            report.feed(rest, time.monotonic())
            if not self._printer.closed:  # else the end was not read
                report.close(time.monotonic())
            self._print_running(report, head, begun=True)
            self._print_report(report)
            self._print_notes(opening)

    def _create_opening(self) -> Opening:
        return Opening({contract.framing for contract in self._contracts.values()})

    def _build_missing_error(self) -> FlowContractError:
        """Return an error that says why there is no contract to judge a stream by."""
        if self._asked:
            return FlowContractError(f"{self._asked} has no streams. Only recordings of it (HAR) can be judged.")
        known = ", ".join(self._contracts)
        return FlowContractError(f"Standard input is judged as it arrives. Give --operation, one of {known}.")

    def _print_running(self, report: StreamReport, head: str, *, begun: bool) -> str:
        """Print the new lines of a running stream; return its head, empty once that was printed."""
        lines = report.take_lines()
        if head and (lines or begun):
            self._printer.print_line(head)
            head = ""
        self._printer.print_lines(self._select_texts(lines))
        return head

    def _print_notes(self, opening: Opening) -> None:
        self._printer.print_lines(f"  note: {note}" for note in opening.notes)

    def _print_report(self, report: StreamReport) -> None:
        """Print the rest of a report, and note its verdict."""
        self._printer.print_lines(self._select_texts(report.take_lines()))
        self._broken |= report.broken > 0
        self._unsound |= bool(report.unjudged)

    def _select_texts(self, lines: Iterable[Line]) -> Iterator[str]:
        return (line.text for line in lines if not (self._quiet and line.event))

    def _handle_other(self, opening: Opening, source: str, folder: Path | None) -> bool:
        """Handle input that is no stream: judge a recording, reject the rest; tell whether it was no stream."""
        if opening.other:
            self._report_unsound(f"{source} is no stream: it is {opening.other}")
        elif opening.recording:
            entries = recordings.parse(opening.whole, source, folder)
            self._judge_recording(recordings.judge_all(entries, self._apis, self._asked), source)
        return bool(opening.other) or opening.recording

    def _find_fitting(self, path: Path) -> str:
        """Return the operation, and profile, whose contract a broken stream follows; '' where there is none."""
        if not path.is_file() or path.stat().st_size > _FITTED_BYTES:
            return ""
        for api in list_apis():
            for profile in (None, *list_profiles(find_specs_root() / api)):
                for name, contract in _list_stream_contracts([load_api(api, profile=profile)]).items():
                    if (name, profile) != (self._asked, self._profile) and _is_well(path, contract):
                        return f"{name}: --operation {name}" + (f" --profile {profile}" if profile else "")
        return ""

    def _judge_recording(self, entries: Iterable[Judged | Unreadable], source: str) -> None:
        """Print the verdict on every entry of a recording, or why there is none."""
        counts: Counter[str] = Counter()
        for entry in entries:
            if isinstance(entry, Unreadable):
                self._printer.print_line(f"{source}: {entry}: not judged")
                counts["unread"] += 1
            else:
                counts[self._print_exchange(entry)] += 1
        self._unsound |= counts["unread"] > 0
        if counts["judged"] and counts["unread"]:
            self._printer.print_line(f"{source}: {counts['judged']} judged, {counts['unread']} not")
        elif not counts["judged"]:
            wanted = self._asked or "an operation that a document names"
            foreign = f"none of them is a request for {wanted}"
            why = "what was to be judged could not be read" if counts["unread"] else foreign
            self._report_unsound(f"{source}: nothing was judged. Its entries: {counts.total()}; {why}.")

    def _print_exchange(self, judged: Judged) -> str:
        """Print a judged exchange; return whether it was `judged`, `unread` or `foreign`."""
        recorded, operation = judged.recorded, judged.operation
        if operation is None:
            if not self._asked:
                self._printer.print_detail(f"{recorded.method} {recorded.url}: no operation that a document names")
            return "foreign"
        if judged.unjudged:
            self._printer.print_line(
                f"{recorded.method} {recorded.url}: {operation.name}: not judged: {judged.unjudged}"
            )
            return "unread"
        head = f"{recorded.method} {recorded.url} {recorded.answer.status}: {operation.name}"
        tell = self._printer.print_line if judged.violations else self._printer.print_detail
        tell(head)
        for violation in judged.violations:
            red = fails(violation.tier, self._demand)
            tell(f"  {'WRONG' if red else 'note:'} {violation} [{violation.tier}]")
            self._broken |= red
        for note in judged.notes:
            tell(f"  note: {note}")
        return "judged"


def _display_name(name: str) -> str:
    return _STDIN if name == "-" else name


def _rank(report: StreamReport) -> tuple[int, int, int]:
    """Return how badly a stream fits a contract: the one that names most of its events fits best.

    Otherwise a broken chat would be a fine workflow with events that nobody knows. A foreign stream fits better than a
    broken one.
    """
    wrong = report.broken + report.notes
    return -report.known, (1 if report.unjudged else 2 if wrong else 0), wrong


def _is_well(path: Path, contract: StreamContract) -> bool:
    """Tell whether the stream in a file follows a contract."""
    judge, opening = StreamJudge(contract), Opening({contract.framing})
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(PIECE), b""):
            if judge.feed(opening.feed(piece)) or opening.other or opening.recording:
                return False
    return not (judge.feed(opening.close()) or opening.other or judge.close() or judge.unknown)


def _read_pieces(source: int) -> Iterator[bytes]:
    """Yield input as it arrives, and b"" now and then while nothing arrives."""
    while True:
        if not select.select([source], [], [], _WAKE_S)[0]:
            yield b""
        elif piece := os.read(source, PIECE):
            yield piece
        else:
            return
