"""What `mockserver serve` shows: a line for each request as it is answered, for people or as JSON.

No request waits for it (`line_writer`). Rich takes as long to draw such a line as the mock takes to answer the request.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO

from flowcontract.output.printable import make_printable
from mockserver.journal.line_writer import LineWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mockserver.journal.entry import Entry

Format = Literal["text", "json"]
Event = Literal["answered", "begins", "ended"]
"""What streams begins and ends; the moment of it is that of `time.perf_counter`."""
_LONGEST = 200  # characters of a path, a world, a violation
_MOST = 5  # violations of a request
_RESET = "\x1b[0m"
_ID = re.compile(r"(?<=/)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=/|\Z)")
_CYAN, _RED = "\x1b[36m", "\x1b[31m"
_MILLISECONDS = tuple(f"{number:03}" for number in range(1000))
_BY_STATUS = {"2": "\x1b[32m", "3": _CYAN, "4": "\x1b[33m", "5": _RED}


class RequestLog:
    """Tells of each exchange once, or where the answer streams when it begins and when it ends."""

    def __init__(
        self, stream: TextIO, form: Format = "text", *, plain_paths: Iterable[str] = (), alone: bool = True
    ) -> None:
        """Write to a stream with a descriptor, `alone` or beside others.

        ``plain_paths``  have no secret in them; `*` stands for an id
        """
        self._stream = stream  # as long as it lives, its descriptor does
        plain = frozenset(plain_paths)
        lines = _Json(plain) if form == "json" else _Text(plain, colours=_takes_colours(stream))
        self._plain = plain
        self._writer: LineWriter[Entry | _Note] = LineWriter(
            stream.fileno(), lines.tell_dropped, form=lines.tell, encoding=stream.encoding, alone=alone
        )
        self._put = self._writer.put

    def note_answer(self, entry: Entry, delay_s: float = 0.0) -> None:
        """Tell that a request was answered, or that the answer begins."""
        if entry.stream is None:  # nothing in it changes any more
            self._put(entry)
        else:
            self._put(_note("begins", entry, perf_counter() + delay_s, self._plain))

    def note_end(self, entry: Entry) -> None:
        """Tell that an answer which streamed has ended."""
        self._put(_note("ended", entry, perf_counter(), self._plain))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class _Note(NamedTuple):
    """What a line is made of; of an answer that streams it is noted when it begins and when it ends.

    ``moment``    of the event, as `entry.began` that of the request: seconds of `time.perf_counter`
    ``path``      without secrets, at most 200 characters
    ``problems``  violations and hints of the request, the failure of the mock, and another server's violations; None
                  if there are none
    """

    event: Event
    entry: Entry
    moment: float
    path: str
    problems: tuple[list[str], list[str], str | None, list[str]] | None


_new = tuple.__new__  # a named tuple's own constructor takes half as long again


def _note(event: Event, entry: Entry, moment: float, plain_paths: frozenset[str]) -> _Note:
    """Note what may change before the line is made."""
    path, problems = entry.raw_path, None
    if path not in plain_paths:
        ids = _ID.findall(path)
        if not ids or _ID.sub("*", path) not in plain_paths or entry.may_hide(ids):
            path = entry.path[:_LONGEST]
    if entry.violations or entry.hints or entry.failure or entry.answer_violations:
        failure = entry.failure and entry.failure[:_LONGEST]
        hints, answered = [hint[:_LONGEST] for hint in entry.hints], _shorten(entry.answer_violations)
        problems = (_shorten(entry.violations), hints, failure, answered)
    return _new(_Note, (event, entry, moment, path, problems))


def _note_answered(entry: Entry, plain_paths: frozenset[str]) -> _Note:
    return _note("answered", entry, entry.began + (entry.duration_ms or 0) / 1000, plain_paths)


def _shorten(violations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the messages of the first violations, and how many more there are."""
    shown = [violation["message"][:_LONGEST] for violation in violations[:_MOST]]
    more = len(violations) - _MOST
    return [*shown, f"and {more} more"] if more > 0 else shown


def _count_sent(entry: Entry, pieces: int) -> str:
    """Say how much of a stream was sent; each piece is an event unless a fault or a real server made the pieces."""
    noun = "piece" if entry.faults or entry.scenario is None else "event"
    return f"{pieces} {noun}{'' if pieces == 1 else 's'}"


class _Lines:
    """What both formats need of a line."""

    def __init__(self, plain_paths: frozenset[str], clock: str, split: Callable[[float], time.struct_time]) -> None:
        self._plain = plain_paths
        self._form, self._split = clock, split
        self._second, self._clock = 0, ""
        self._epoch = time.time() - perf_counter()

    def _format_time(self, moment: float) -> str:
        """Format a moment; within a second nearly all of it is the same."""
        second = int(moment)
        if second != self._second:
            self._second, self._clock = second, time.strftime(self._form, self._split(second))
        return self._clock


class _Text(_Lines):
    """Lines for people."""

    def __init__(self, plain_paths: frozenset[str], *, colours: bool) -> None:
        super().__init__(plain_paths, "%H:%M:%S", time.localtime)
        self._colours = colours
        self._answer = lru_cache(maxsize=1024)(self._tell_answer)

    def tell(self, noted: Entry | _Note) -> str:
        """Return the line, and below it what is wrong with the request, and what may have been meant."""
        event, entry, moment, path, problems = noted if isinstance(noted, _Note) else _note_answered(noted, self._plain)
        took = (moment - entry.began) * 1000
        if event == "answered":
            what = f"{took:.1f} ms"
        elif event == "ended" and entry.stream is not None:
            what = f"{_count_sent(entry, entry.stream.pieces)} in {took:.0f} ms, {entry.stream.ended}"
        else:
            what = "stream begins"
        answer, world = self._answer(entry.method, path, entry.status, entry.scenario, entry.world)
        if entry.faults:
            answer = f"{answer} fault={','.join(entry.faults)}"
        line = f"{self._format_time(self._epoch + moment)} {answer} {what} {world} #{entry.number}"
        return line if problems is None else "\n".join([line, *self._render_below(event, *problems)])

    def _tell_answer(
        self, method: str, path: str, status: int | None, scenario: str | None, world: str | None
    ) -> tuple[str, str]:
        """Return what many lines have in common, and the world; without a scenario a gateway answers."""
        shown = path if path in self._plain else make_printable(path)
        coloured = f"{_BY_STATUS.get(str(status)[0], '')}{status}{_RESET}" if self._colours else status
        where = make_printable(world[:_LONGEST]) if world else "-"
        return f"{method} {shown} {coloured} {scenario or '-'}", where

    def _render_below(
        self, event: Event, violations: list[str], hints: list[str], failure: str | None, answered: list[str]
    ) -> Iterator[str]:
        if event != "ended":  # they were shown when it began
            for violation in violations:
                yield self._render_line("violation", violation, _RED)
            for hint in hints:
                if hint not in violations:
                    yield self._render_line("hint", hint, _CYAN)
        if event != "begins":
            for violation in answered:
                yield self._render_line("server", violation, _RED)
        if failure:
            yield self._render_line("failure", failure, _RED)

    def _render_line(self, kind: str, text: str, colour: str) -> str:
        line = f"  {kind}: {make_printable(text)}"
        return f"{colour}{line}{_RESET}" if self._colours else line

    def tell_dropped(self, count: int) -> str:
        """Say that lines are missing."""
        return f"({count} lines are missing here: the output was not read)"


class _Json(_Lines):
    """Lines for programs, put together by hand: a general encoder takes three times as long."""

    def __init__(self, plain_paths: frozenset[str]) -> None:
        super().__init__(plain_paths, "%Y-%m-%dT%H:%M:%S", time.gmtime)

    def tell(self, noted: Entry | _Note) -> str:
        """Return an object; every character that is not ASCII is escaped."""
        note = noted if isinstance(noted, _Note) else _note_answered(noted, self._plain)
        event, entry, moment, path, problems = note
        at = self._epoch + moment
        more = "" if event != "ended" and not entry.faults and problems is None else _render_further(note)
        fields = _render_fields(entry.method, path, entry.status, entry.operation, entry.scenario, entry.world)
        return (
            f'{{"time": "{self._format_time(at)}.{_MILLISECONDS[int(at % 1 * 1000)]}Z", "event": "{event}", '
            f'"number": {entry.number}, {fields}, "ms": {(moment - entry.began) * 1000:.1f}{more}}}'
        )

    def tell_dropped(self, count: int) -> str:
        """Say that lines are missing."""
        return json.dumps({"event": "dropped", "lines": count})


@lru_cache(maxsize=1024)
def _render_fields(  # noqa: PLR0913, PLR0917 - what a cache tells apart
    method: str, path: str, status: int | None, operation: str | None, scenario: str | None, world: str | None
) -> str:
    """Return the fields that many lines have in common."""
    return (
        f'"method": {_quote(method)}, "path": {_quote(path)}, "status": {status or 0}, '
        f'"operation": {_quote(operation)}, "scenario": {_quote(scenario)}, '
        f'"world": {_quote(world and world[:_LONGEST])}'
    )


def _render_further(note: _Note) -> str:
    """Return the fields that few lines have: of a stream that has ended, of faults, of what is wrong."""
    more, (violations, hints, failure, answered) = "", note.problems or ((), (), None, ())
    stream, faults = note.entry.stream, note.entry.faults
    if note.event == "ended" and stream is not None:
        more = f', "events": {stream.pieces}, "ended": {_quote(stream.ended)}'
    elif violations or hints:
        more = f', "violations": {json.dumps(violations)}, "hints": {json.dumps(hints)}'
    more += f', "faults": {json.dumps(faults)}' if faults else ""
    more += f', "answer_violations": {json.dumps(answered)}' if answered and note.event != "begins" else ""
    return more + (f', "failure": {_quote(failure)}' if failure else "")


def _quote(text: str | None) -> str:
    return "null" if text is None else encode_basestring_ascii(text)


def _takes_colours(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal whose user wants colours (https://no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.platform != "win32" and stream.isatty()
