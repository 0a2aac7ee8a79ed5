"""Reads recordings and writes the folder of scenarios that answers as they were answered."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcontract import yamlio
from flowcontract.errors import FlowContractError
from flowcontract.lint import replies as lint
from flowcontract.lint.project import YamlFile
from flowcontract.recordings.reading import read
from flowcontract.recordings.untrusted import Unreadable
from flowcontract.scenarios import MAX_FILE_BYTES, read_scenario, render_events
from flowcontract.scenarios.expressions import Context, RequestView
from mockserver.faults import parse
from mockserver.faults.context import FaultContext
from mockserver.importing.exchanges import Entry, find_exchanges
from mockserver.importing.ordering import order
from mockserver.importing.streams import fit_pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from flowcontract.scenarios import Scenario
    from flowcontract.specs.model import Api
    from mockserver.importing.exchanges import Exchange, Found
    from mockserver.importing.ordering import Turn

_MOST_VIOLATIONS, _LONGEST_VIOLATION = 20, 300
_MOST_SOURCES = 5


@dataclass(slots=True)
class Imported:
    """What became of recordings.

    ``written``    the scenarios' files
    ``forbidden``  how many of them the contract forbids
    ``exchanges``  how many exchanges they answer
    ``problems``   entries that could not be imported, each with the reason
    ``strangers``  entries of other servers, and of no operation
    ``notes``      what of an imported entry could not be kept
    """

    written: list[Path] = field(default_factory=list)
    forbidden: int = 0
    exchanges: int = 0
    problems: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def import_recordings(
    recordings: Iterable[Path], out: Path, apis: Mapping[str, Api], servers: Sequence[str] = ()
) -> Imported:
    """Write scenarios of recordings into the folder `out`, which must be empty or absent.

    Raise FlowContractError where it is not, where it cannot be written, or where a recording cannot be read at all.
    """
    _check_folder(out)
    entries, broken = _read_all(recordings)
    found = find_exchanges(entries, apis, servers)
    result = Imported(problems=[*broken, *found.problems], strangers=found.strangers, notes=found.notes)
    try:
        _write_all(found, out, apis, result)
    except OSError as error:
        raise FlowContractError(f"Cannot write into {out}: {error.strerror}. Name another folder with --out.") from None
    return result


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise FlowContractError(f"{out} is a file. Name a folder with --out.")
    if out.is_dir() and any(out.iterdir()):
        raise FlowContractError(f"{out} is not empty. Name a new folder with --out, or empty it.")


def _read_all(recordings: Iterable[Path]) -> tuple[list[Entry], list[str]]:
    """Return the entries of recordings, and what is wrong with others; a folder is that of a proxy's recording."""
    entries, broken = [], []
    for path in recordings:
        file = path / "recording.jsonl" if path.is_dir() else path
        try:
            found = read(file)
        except OSError as error:
            todo = "Name a recording: a HAR file, or the folder of `mockserver proxy --record`."
            raise FlowContractError(f"Cannot read {file}: {error.strerror}. {todo}") from None
        except Unreadable as problem:
            broken.append(str(problem))
            continue
        for each in found:
            if isinstance(each, Unreadable):
                broken.append(f"{file.name}: {each}")
            else:
                source = f"{path.name}/{file.name}" if path.is_dir() else file.name
                entries.append(Entry(source, each, several=len(found) > 1))
    return entries, broken


def _write_all(found: Found, out: Path, apis: Mapping[str, Api], result: Imported) -> None:
    out.mkdir(parents=True, exist_ok=True)
    taken: set[tuple[str, str]] = set()
    name = ""
    for turn in order(found.exchanges):
        first = turn.exchanges[0]
        if turn.number == 1:
            name = _choose_name(first, taken)
        suffix = f"-{turn.number:0{len(str(turn.count))}}" if turn.count > 1 else ""
        folder = out / first.operation.api / first.operation.id
        path = folder / f"{first.status}-recorded-{name}{suffix}.yaml"
        try:
            forbidden = _Writer(apis[first.operation.api], out, path, turn).write()
        except FlowContractError as problem:
            path.unlink(missing_ok=True)
            result.problems.append(f"{first.entry.place}: {problem}")
            continue
        result.written.append(path)
        result.forbidden += forbidden
        result.exchanges += len(turn.exchanges)


def _choose_name(exchange: Exchange, taken: set[tuple[str, str]]) -> str:
    """Return a name that no other request of the operation has."""
    number = 1
    while (exchange.operation.name, name := f"{exchange.slug}{f'-v{number}' if number > 1 else ''}") in taken:
        number += 1
    taken.add((exchange.operation.name, name))
    return name


class _Writer:
    """Writes the scenario of one answer, and reads it again: what it sends tells which faults and marks it needs."""

    def __init__(self, api: Api, out: Path, path: Path, turn: Turn) -> None:
        self._api, self._out, self._path, self._turn = api, out, path, turn
        self._exchange = turn.exchanges[0]
        self._faults = list(self._exchange.draft.faults)
        self._marks: list[str] = []

    def write(self) -> bool:
        """Write the file; return whether the contract forbids what is in it; raise FlowContractError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        reply = dict(self._exchange.reply)
        if self._exchange.draft.file:
            reply["file"] = self._write_file(*self._exchange.draft.file)
        scenario = self._save(reply)
        if self._exchange.draft.stream is not None:
            self._faults += self._find_travel(scenario)
        self._marks = self._find_marks(scenario)
        self._save(reply)
        return bool(self._marks)

    def _write_file(self, ending: str, content: bytes) -> str:
        name = f"{self._exchange.operation.id}-{self._path.stem}{ending}"
        folder = self._out / self._exchange.operation.api / "files"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        return f"../files/{name}"

    def _save(self, reply: Mapping[str, Any]) -> Scenario:
        """Write the scenario, and return it as it reads."""
        content = self._describe(reply)
        text = yamlio.dumps(content)
        if len(text.encode()) > MAX_FILE_BYTES:
            raise FlowContractError(f"its scenario would have more than {MAX_FILE_BYTES} bytes")
        if yamlio.loads(text) != content:
            raise FlowContractError("YAML cannot hold its answer as it is")
        self._path.write_text(text, encoding="utf-8")
        return read_scenario(self._path, api_folder=self._out / self._api.name)

    def _describe(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        exchange, turn = self._exchange, self._turn
        request: dict[str, Any] = dict(exchange.request)
        request |= {"times": turn.times} if turn.times else {}
        request |= {"after": turn.after} if turn.after else {}
        undocumented = exchange.status not in exchange.operation.responses
        return {
            "description": self._summarize(),
            "observed": _tell_sources(turn.exchanges),
            "verbatim": True,
            **({"undocumented": True} if undocumented else {}),
            **({"violations": self._marks} if self._marks else {}),
            **({"faults": ", ".join(self._faults)} if self._faults else {}),
            **({"sample": exchange.sample} if exchange.sample else {}),
            **({"request": request} if request else {}),
            "reply": dict(reply),
        }

    def _summarize(self) -> str:
        exchange, turn = self._exchange, self._turn
        order = f", answer {turn.number} of {turn.count} to the same request" if turn.count > 1 else ""
        stream = exchange.draft.stream
        what = f"a stream of {len(stream.events)} events" if stream and stream.events else str(exchange.status)
        return f"{exchange.operation.id}, as recorded: {what}{order}."

    def _find_travel(self, scenario: Scenario) -> list[str]:
        """Return the faults that let the events of a stream travel, and end, as they were recorded."""
        exchange, stream = self._exchange, self._exchange.draft.stream
        assert stream is not None
        view = RequestView(exchange.operation.method, **_list_parts(exchange.request))
        pieces = render_events(scenario.reply, Context(request=view, now=1_700_000_000))
        context = FaultContext(contract=exchange.operation.stream)
        for chosen in parse(", ".join(self._faults)) if self._faults else ():
            if chosen.fault.change is not None:
                pieces = chosen.fault.change(pieces, context, chosen.value)
        sent = [piece.data for piece in pieces]
        pieces_fault = fit_pieces(stream, exchange.answer, [len(data) for data in sent])
        total = sum(map(len, sent)) - (len(sent[-1]) - len(sent[-1].rstrip(b"\r\n")) if stream.partial and sent else 0)
        found = [pieces_fault] if pieces_fault else []
        if exchange.answer.cut:
            found.append(f"cut={total}")
        elif stream.partial:
            found.append(f"close={total}")
        return found

    def _find_marks(self, scenario: Scenario) -> list[str]:
        """Return what the contract forbids of the scenario, as `mockserver check` finds it."""
        if scenario.status not in self._exchange.operation.responses:
            return []
        text = self._path.read_text(encoding="utf-8")
        file = YamlFile(self._path, text, yamlio.loads(text), {})
        case = lint.Case(file, scenario, self._exchange.operation, self._api.validators)
        found = [finding.what for finding in lint.check(case) if finding.todo in lint.BY_CONTRACT]
        return [_shorten(what) for what in dict.fromkeys(found)][:_MOST_VIOLATIONS]


def _list_parts(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: request[name] for name in ("body", "query", "path") if name in request}


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_VIOLATION else f"{text[: _LONGEST_VIOLATION - 3]}..."


def _tell_sources(exchanges: Sequence[Exchange]) -> str:
    """Return where an answer was recorded: the first entries of it, and when the first was."""
    places = [exchange.entry.place for exchange in exchanges[:_MOST_SOURCES]]
    more = f" and {len(exchanges) - _MOST_SOURCES} more" if len(exchanges) > _MOST_SOURCES else ""
    at = exchanges[0].entry.recorded.at
    when = f", {_write_moment(at)}" if at is not None else ""
    return f"{', '.join(places)}{more}{when}"


def _write_moment(at: float) -> str:
    try:
        return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
