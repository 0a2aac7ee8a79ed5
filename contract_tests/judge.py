"""`contract-tests judge`: reads streams, from files or while they come through a pipe, and says what is wrong."""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract_tests import recordings
from flowcontract.errors import FlowContractError, UnknownNameError
from flowcontract.specs import available_apis, load_api
from flowcontract.streams import StreamBudget, StreamJudge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.stream_contract import StreamContract
    from flowcontract.violations import Violation

PIECE = 64 * 1024
_WAKE_S = 0.5  # how often a silent pipe is looked at, so that silence is told while it lasts

_EPILOG = """\
examples:
  contract-tests judge --operation dify-chat/sendChatMessage answer.sse
  contract-tests judge --quiet captured.har
  curl -N ... | contract-tests judge --operation dify-workflow/runWorkflow -

Without --operation a file is judged by every streaming operation, and the verdict of the one that fits best is told.
Silence and --seconds are judged only on what comes through a pipe.
"""


def add_to(commands: Any) -> None:
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
    command.add_argument("--profile", metavar="NAME", help="judge by the contract as a profile of the API changes it")
    command.add_argument("--quiet", action="store_true", help="print violations and verdicts, but not every event")
    command.add_argument("--events", type=int, metavar="N", help="give up a stream after N events")
    command.add_argument("--bytes", type=int, metavar="N", help="give up a stream after N bytes")
    command.add_argument("--seconds", type=float, metavar="N", help="give up a stream after N seconds")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> bool:
    """Judge every stream that was named; return whether any is broken."""
    contracts = _contracts(arguments)
    budget = StreamBudget(arguments.events, arguments.bytes, arguments.seconds)
    broken = False
    for name in arguments.streams:
        if name == "-":
            broken |= _judge_pipe(contracts, budget, quiet=arguments.quiet)
        elif Path(name).suffix in (".har", ".json"):
            broken |= _judge_recording(Path(name), arguments)
        else:
            broken |= _judge_file(Path(name), contracts, budget, quiet=arguments.quiet)
    return broken


def _contracts(arguments: argparse.Namespace) -> dict[str, StreamContract]:
    """Return the stream contracts to judge by: that of one operation, or all."""
    asked = arguments.operation
    apis = [asked.partition("/")[0]] if asked else [api for api in available_apis() if not arguments.profile]
    if not apis:
        raise FlowContractError("A profile belongs to one API. Name the operation too: --operation API/OPERATION.")
    found = {
        operation.name: operation.stream
        for api in apis
        for operation in load_api(api, profile=arguments.profile).operations.values()
        if operation.stream
    }
    if asked and asked not in found:
        raise UnknownNameError("streaming operation", asked, found)
    return {asked: found[asked]} if asked else found


def _judge_file(path: Path, contracts: dict[str, StreamContract], budget: StreamBudget, *, quiet: bool) -> bool:
    """Judge a file by each contract; report the verdict with the fewest violations."""
    stream = path.read_bytes()
    reports = [_Report(name, contract, budget) for name, contract in contracts.items()]
    for report in reports:
        for at in range(0, len(stream), PIECE):
            report.feed(stream[at : at + PIECE], None)
        report.close(None)
    best = min(reports, key=lambda report: report.broken)
    _print(f"{path}: {best.operation}")
    _print_all(best.told, quiet=quiet)
    return best.broken > 0


def _judge_recording(path: Path, arguments: argparse.Namespace) -> bool:
    """Judge every exchange of a HAR file or a recording; report what is wrong, and what no document names."""
    names = [arguments.operation.partition("/")[0]] if arguments.operation else available_apis()
    broken = False
    for found in recordings.judge(path, [load_api(name, profile=arguments.profile) for name in names]):
        if arguments.operation and (found.operation is None or found.operation.name != arguments.operation):
            continue
        recorded = found.recorded
        verdict = "no operation that a document names" if found.operation is None else found.operation.name
        if not arguments.quiet or found.violations:
            _print(f"{recorded.method} {recorded.url} {recorded.answer.status}: {verdict}")
        for violation in found.violations:
            _print(f"  WRONG {violation}")
        broken |= bool(found.violations)
    return broken


def _judge_pipe(contracts: dict[str, StreamContract], budget: StreamBudget, *, quiet: bool) -> bool:
    """Judge standard input while it comes."""
    if len(contracts) > 1:
        known = ", ".join(contracts)
        raise FlowContractError(f"Standard input is judged while it comes. Say by what: --operation, one of {known}.")
    name, contract = next(iter(contracts.items()))
    _print(f"standard input: {name}")
    report = _Report(name, contract, budget, started=time.monotonic())
    for piece in _pieces(sys.stdin.fileno()):
        report.feed(piece, time.monotonic())
        _print_all(report.taken(), quiet=quiet)
        if report.finished:
            break
    report.close(time.monotonic())
    _print_all(report.taken(), quiet=quiet)
    return report.broken > 0


def _pieces(source: int) -> Iterator[bytes]:
    """Yield what comes, as soon as it comes, and nothing now and then while nothing comes."""
    while True:
        if not select.select([source], [], [], _WAKE_S)[0]:
            yield b""
        elif piece := os.read(source, PIECE):
            yield piece
        else:
            return


class _Report:
    """A judge, and what is to be printed: pairs of (is an event's line, text)."""

    def __init__(
        self, operation: str, contract: StreamContract, budget: StreamBudget, *, started: float | None = None
    ) -> None:
        self.operation = operation
        self.told: list[tuple[bool, str]] = []
        self.broken = 0
        self._judge = StreamJudge(contract, budget=budget, started=started)

    @property
    def finished(self) -> bool:
        return self._judge.finished

    def feed(self, data: bytes, now: float | None) -> None:
        found = self._judge.feed(data, now)
        for event in self._judge.fresh:
            note = "" if event.known else "  (no document names it)"
            self.told.append((True, f"{event.number:>6}  byte {event.offset:<8} {event.kind}{note}"))
            self._tell([one for one in found if one.event == event.number])
        numbers = {event.number for event in self._judge.fresh}
        self._tell([one for one in found if one.event not in numbers])

    def close(self, now: float | None) -> None:
        self._tell(self._judge.close(now))
        self.told.append((False, f"{self._verdict()} ({self._judge.count} events)"))

    def taken(self) -> list[tuple[bool, str]]:
        """Return what is to be printed since the last time."""
        told, self.told = self.told, []
        return told

    def _tell(self, found: list[Violation]) -> None:
        self.broken += len(found)
        for one in found:
            place = "" if one.event is None else f" at event {one.event}"
            place += "" if one.offset is None else f", byte {one.offset}"
            lines = [f"  WRONG {one.rule}{place}{f', {one.where}' if one.where else ''}"]
            lines += [f"        expected  {one.expected}", f"        got       {one.got}"]
            lines += [f"        source    {'; '.join(one.source)}"] if one.source else []
            self.told.append((False, "\n".join(lines)))

    def _verdict(self) -> str:
        matched = self._judge.matched
        if self.broken or matched is None:
            return f"broken: {self.broken} violation{'s' if self.broken > 1 else ''}"
        noted = f"; no document names {', '.join(self._judge.unknown)}" if self._judge.unknown else ""
        return f'well: follows the {matched.tier} order "{matched.name}"{noted}'


def _print_all(told: list[tuple[bool, str]], *, quiet: bool) -> None:
    for is_event, text in told:
        if not (quiet and is_event):
            _print(text)


def _print(text: str) -> None:
    """Print a line; a server may send what no terminal can show, a lone surrogate for instance."""
    encoding = sys.stdout.encoding or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    print(text, flush=True)  # noqa: T201 - a command's own output
