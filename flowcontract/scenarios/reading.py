"""Reads a scenario file; errors name the file, the line, what is wrong and what to do."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from flowcontract import paths, pointers, yamlio
from flowcontract.errors import ScenarioError, SpecError
from flowcontract.provenance.sources import as_list
from flowcontract.scenarios.matching import Match
from flowcontract.scenarios.model import OBSERVED, Event, Reply, Scenario
from flowcontract.scenarios.templates import Template, compile_value
from flowcontract.schemas.validators import Validators

if TYPE_CHECKING:
    from collections.abc import Mapping

APP = "app.yaml"  # in an API's folder: the values of `$app.NAME` for an app that is not configured
SHARED = "every-operation"  # an API's folder of scenarios for all operations that document them
MAX_FILE_BYTES = 16 << 20
MAX_VALUES = 1_000_000  # values in one file, its YAML aliases expanded
FILE_NAME = re.compile(r"(?P<status>[1-5][0-9]{2})-(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)")
NAME_WANTED = "this is not a scenario's name. Name it <status>-<name>.yaml, for instance 429-rate-limited.yaml."


def read_scenario(path: Path, *, api_folder: Path) -> Scenario:
    """Read a scenario file below an API's folder; raise ScenarioError naming file, line, what is wrong, what to do."""
    name = FILE_NAME.fullmatch(path.stem)
    if name is None:
        raise ScenarioError(f"{path}: {NAME_WANTED}")
    text = _read_text(path)
    try:
        raw = yamlio.loads(text, name=str(path))
    except SpecError as error:
        raise ScenarioError(str(error)) from None
    _check_aliases(path, text, raw)
    _check_format(path, text, raw)
    folder = path.parent.name
    return Scenario(
        api=api_folder.name,
        operation=None if folder == SHARED else folder,
        status=int(name["status"]),
        name=name["name"],
        path=path,
        description=raw["description"],
        provenance=(*as_list(raw.get("source")), *(f"{OBSERVED}{where}" for where in as_list(raw.get("observed")))),
        rulings=tuple(raw.get("rulings", ())),
        sample=raw.get("sample", {}),
        request=Match(**raw["request"]) if "request" in raw else None,
        reply=_Builder(path, text, raw, api_folder).build_reply(),
        undocumented=raw.get("undocumented", False),
        faults=raw.get("faults", ""),
        verbatim=raw.get("verbatim", False),
        violations=tuple(raw.get("violations", ())),
    )


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            what = f"{size} bytes are more than the {MAX_FILE_BYTES} that a scenario may have"
            todo = "Put large content into a file of its own, and name it in `reply: file:`."
            raise ScenarioError(f"{path}: {what}. {todo}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read as UTF-8 text: {error}. Save it as UTF-8.") from None


def _check_aliases(path: Path, text: str, raw: Any) -> None:
    """Raise ScenarioError for YAML aliases that contain themselves or expand to millions of values."""
    if "*" not in text:
        return
    sizes: dict[int, int] = {}

    def count_values(value: Any) -> int:
        if not isinstance(value, dict | list):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = MAX_VALUES + 1  # while its content is counted, so that a cycle is too large
            sizes[id(value)] = 1 + sum(map(count_values, value.values() if isinstance(value, dict) else value))
        return sizes[id(value)]

    if count_values(raw) > MAX_VALUES:
        raise ScenarioError(f"{path}: its YAML aliases expand to more than {MAX_VALUES} values. Use fewer.")


@cache
def _load_format() -> Validators:
    schema = json.loads((paths.find_fixtures_root() / "scenario.schema.json").read_text(encoding="utf-8"))
    return Validators(schema)


def _check_format(path: Path, text: str, raw: Any) -> None:
    for violation in _load_format().find_violations("", raw, limit=1):
        place = violation.where.removeprefix("/").replace("/", ".") or "the scenario"
        what = f"{place} must be {violation.expected}, is {violation.got}"
        raise ScenarioError(
            f"{_locate(path, text, violation.where)}: {what}. Mend it; fixtures/scenario.schema.json is the format."
        )


def _locate(path: Path, text: str, pointer: str) -> str:
    """Return the file and the line of a value, or of the nearest one around it."""
    lines = yamlio.locate_lines(text)
    while pointer not in lines and pointer:
        pointer = pointer.rpartition("/")[0]
    return f"{path}, line {lines.get(pointer, 1)}"


def read_default_app(api_folder: Path) -> Mapping[str, Any]:
    """Return the default configuration of an API's app: `app.yaml` in its folder, or else ours."""
    own = api_folder / APP
    return _read_app(own if own.is_file() else paths.find_fixtures_root() / api_folder.name / APP)


@cache
def _read_app(path: Path) -> Mapping[str, Any]:
    app = yamlio.load(path) if path.is_file() else {}
    return app if isinstance(app, dict) else {}


class _Builder:
    """Builds the reply of one file, its expressions parsed."""

    def __init__(self, path: Path, text: str, raw: Mapping[str, Any], api_folder: Path) -> None:
        self.path = path
        self.text = text
        self.raw: Mapping[str, Any] = raw["reply"]
        self.api_folder = api_folder
        self.compile = partial(compile_value, sample={**read_default_app(api_folder), **raw.get("sample", {})})

    def build_reply(self) -> Reply:
        raw = self.raw
        kinds: tuple[Literal["body", "events", "lines", "file"], ...] = ("body", "events", "lines", "file")
        kind = next(kind for kind in kinds if kind in raw)
        return Reply(
            kind=kind,
            headers=raw.get("headers", {}),
            delay_ms=raw.get("delay_ms", 0),
            body=raw.get("body"),
            events=self._build_events(kind),
            stopped=self._build_events("stopped") if "stopped" in raw else None,
            file=self._find_file() if kind == "file" else None,
            speaks=self._compile("/speaks", raw["speaks"]) if "speaks" in raw else None,
            template=self._compile("/body", raw.get("body")),
            header_template=self._compile("/headers", raw.get("headers", {})),
        )

    def _build_events(self, key: str) -> tuple[Event, ...]:
        listed = self.raw[key] if key in ("events", "lines", "stopped") else []
        built: list[Event] = []
        hold = ""
        for index, raw in enumerate(listed):
            if set(raw) == {"hold"}:  # an item of its own: before the next event
                hold = raw["hold"]
                continue
            event = self._build_event(f"/{key}/{index}", raw)
            built.append(replace(event, hold=hold) if hold else event)
            hold = ""
        if hold:
            raise ScenarioError(f"{self.path}: nothing follows the hold {hold}. Put it before an event.")
        return tuple(built)

    def _build_event(self, pointer: str, raw: Mapping[str, Any]) -> Event:
        template = self._compile(f"{pointer}/data", raw["data"]) if "data" in raw else None
        each = self._compile(f"{pointer}/each", raw["each"]) if "each" in raw else None
        return Event(**{**raw, "each": each}, template=template)

    def _compile(self, pointer: str, value: Any) -> Template:
        try:
            return self.compile(value)
        except ScenarioError:
            for inner, text in pointers.list_texts(value, pointer):
                self.compile(text, name=_locate(self.path, self.text, f"/reply{inner}"))
            raise

    def _find_file(self) -> Path:
        """Return the path of the file to send; raise ScenarioError if it is not inside the API's folder."""
        name = self.raw["file"]
        path: Path = self.path.parent / name
        allowed = not PurePosixPath(name).is_absolute() and "\\" not in name and "\0" not in name
        if not allowed or not path.resolve().is_relative_to(self.api_folder.resolve()):  # symbolic links are followed
            what = f'the file "{name}" is not inside {self.api_folder.name}/'
            raise ScenarioError(f"{self._locate_file()}: {what}. Copy it there, into files/.")
        if not path.is_file():
            raise ScenarioError(f'{self._locate_file()}: there is no file "{name}" beside the scenario. Mend the path.')
        return path

    def _locate_file(self) -> str:
        return _locate(self.path, self.text, "/reply/file")
