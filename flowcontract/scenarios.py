"""Scenario files -> frozen Scenario, Reply, Event; which scenarios an operation has, and which one fits a request."""

from __future__ import annotations

import json
import mimetypes
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from flowcontract import data, sse, yamlio
from flowcontract.errors import ScenarioError, SpecError, UnknownNameError
from flowcontract.expressions import Context, RequestView, Template, compile_value, dump_json
from flowcontract.sources import as_list
from flowcontract.validation import Validators
from flowcontract.wording import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowcontract.specs import Operation

APP = "app.yaml"  # in an API's folder: what `$app.NAME` is where nobody configures the app
SHARED = "every-operation"  # the folder of an API's scenarios that count for each operation that documents them
MAX_FILE_BYTES = 16 << 20
MAX_VALUES = 1_000_000  # values in one file after its YAML aliases are written out
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NOTHING_SAID = Template(_NOTHING, None, None)
_FILE_NAME = re.compile(r"(?P<status>[1-5][0-9]{2})-(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)")
_ERRORS = 400  # the first status that refuses


def difference(expected: Any, actual: Any, where: str = "body") -> list[str]:
    """Return how a value fails to contain what is expected, one sentence each; empty where it matches.

    Objects are subsets; lists and scalars are equal, `true` is not 1.
    """
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping):
            return [f"{where} must be {describe(expected)}, is {describe(actual)}"]
        return [
            sentence
            for name, inner in expected.items()
            for sentence in (
                difference(inner, actual[name], f"{where}.{name}") if name in actual else [f"{where}.{name} is missing"]
            )
        ]
    if _same(expected, actual):
        return []
    return [f"{where} must be {describe(expected)}, is {describe(actual)}"]


def _same(expected: Any, actual: Any) -> bool:
    if isinstance(expected, list):
        return isinstance(actual, list) and len(expected) == len(actual) and all(map(_same, expected, actual))
    if isinstance(expected, dict):
        return (
            isinstance(actual, dict)
            and expected.keys() == actual.keys()
            and all(_same(value, actual[name]) for name, value in expected.items())
        )
    return bool(expected == actual) and isinstance(expected, bool) == isinstance(actual, bool)


@dataclass(frozen=True, slots=True)
class Match:
    """The request that a scenario belongs to: every part is a subset of what must come; absent parts demand nothing.

    ``files``  form field -> name of the uploaded file
    ``times``  how often the scenario answers, None always
    ``after``  an operation of the same API that must have succeeded before; who serves scenarios knows about both
    """

    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)
    times: int | None = None
    after: str | None = None

    def difference(self, request: RequestView) -> list[str]:
        """Return what a request lacks, one sentence each; empty where it matches."""
        files = request.body if isinstance(request.body, Mapping) else {}
        names = {
            name: part["filename"] for name, part in files.items() if isinstance(part, Mapping) and "filename" in part
        }
        found = difference(self.body, request.body) if self.body is not None else []
        if self.query:
            found += difference(*_as_sent(self.query, request.query), "query")
        if self.headers:
            expected = {name.lower(): value for name, value in self.headers.items()}
            found += difference(expected, request.headers, "headers")
        return found + difference(self.files, names, "files") if self.files else found

    def telling_text(self) -> tuple[tuple[str, ...], str] | None:
        """Return the first text in the body that is demanded, and where; None where no text is."""
        return _first_text(self.body, ())


def _first_text(value: Any, where: tuple[str, ...]) -> tuple[tuple[str, ...], str] | None:
    if isinstance(value, str):
        return where, value
    if not isinstance(value, Mapping):
        return None
    return next((found for name, inner in value.items() if (found := _first_text(inner, (*where, name)))), None)


def _as_sent(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both as text, since a query carries nothing else."""
    return {name: _text(value) for name, value in expected.items()}, {name: _text(actual[name]) for name in actual}


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event, or one JSON value of `lines`. `data` is as in the file, `template` gives it values.

    With `each`, which gives a list, it is sent once for every item; `$each` in its data is the item.
    """

    data: Any = None
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None
    delay_ms: int = 0
    template: Template | None = None  # None where there is no data
    each: Template | None = None

    @property
    def plain(self) -> bool:
        """Whether it has data and nothing else, as nearly all have."""
        others = (self.event, self.id, self.retry, self.comment)
        return self.template is not None and others == (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. `kind` tells which of `body`, `events` and `file` counts (`lines` stand in `events`).

    ``stopped`` comes instead of what remains when the stream is stopped; None where the file does not say.
    """

    kind: Literal["body", "events", "lines", "file"]
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_ms: int = 0
    body: Any = None
    events: tuple[Event, ...] = ()
    stopped: tuple[Event, ...] | None = None
    file: Path | None = None
    template: Template = _NOTHING_SAID  # of the body
    header_template: Template = _NOTHING_SAID

    @property
    def streamed(self) -> bool:
        """Whether the reply comes in pieces: `events` or `lines`."""
        return self.kind in ("events", "lines")

    @property
    def media_type(self) -> str:
        """The Content-Type: from `headers`, else by kind (JSON, text, stream, a file's ending); '' for no body."""
        for name, value in self.headers.items():
            if name.lower() == "content-type":
                return value
        if self.streamed:
            return "text/event-stream; charset=utf-8"
        if self.file is not None:
            return _media_type_of(self.file.suffix.lower())
        if isinstance(self.body, str):
            return "text/plain; charset=utf-8" if self.body else ""
        return "application/json"


_MEDIA_TYPES = {".wav": "audio/wav", ".webp": "image/webp", ".md": "text/markdown"}  # as IANA has them, or near


@cache
def _media_type_of(suffix: str) -> str:
    # An instance of its own knows Python's table only, not the machine's: the same reply everywhere.
    known = _MEDIA_TYPES.get(suffix) or mimetypes.MimeTypes(filenames=()).guess_type(f"file{suffix}")[0]
    return known or "application/octet-stream"


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Scenario:
    """One scenario file. `operation` is None for those of `every-operation`."""

    api: str
    operation: str | None
    status: int
    name: str  # without the status: provider-quota-exceeded
    path: Path
    description: str
    provenance: tuple[str, ...]
    rulings: tuple[str, ...]
    sample: Mapping[str, Any]  # `$world.NAME` and `$app.NAME` where the context does not know them
    request: Match | None
    reply: Reply
    faults: str = ""  # what the mock does wrong on purpose; only who serves the scenario understands it

    @property
    def key(self) -> str:
        """`<status>-<name>`, the file's name without ending."""
        return f"{self.status}-{self.name}"


class Piece(NamedTuple):
    """What is sent at once: `data`, `delay_ms` after the piece before it; `payload` is the JSON value in it, if any.

    ``place``  of the event in the scenario, from 0
    """

    delay_ms: float
    data: bytes
    payload: Any
    place: int = 0


def documents(operation: Operation, key: str) -> bool:
    """Tell whether an operation documents the status and the example that a shared scenario is named after."""
    match = _FILE_NAME.fullmatch(key)
    response = operation.responses.get(int(match["status"])) if match else None
    if match is None or response is None:
        return False
    examples = {name.replace("_", "-").lower() for media in response.media.values() for name in media.examples}
    return not examples or match["name"] in examples


@dataclass(frozen=True, slots=True)
class _File:
    """A scenario file that is read when it is first needed."""

    path: Path
    api_folder: Path
    ours: bool
    stamp: tuple[int, int] = (0, 0)  # when it was written, in ns, and how long it is: another stamp is another content

    def read(self) -> Scenario:
        """Return the scenario; raise ScenarioError."""
        return _read_once(self.path, self.api_folder, self.stamp)

    @property
    def api(self) -> str:
        """The API that it belongs to."""
        return self.api_folder.name

    @property
    def folder(self) -> str:
        """The operation that it belongs to, or `every-operation`."""
        return self.path.parent.name


class _Lazy(Mapping[str, Scenario]):
    """Scenarios by `<status>-<name>`, each read when it is looked at."""

    def __init__(self, files: Mapping[str, _File]) -> None:
        self.files = files

    def __getitem__(self, key: str) -> Scenario:
        return self.files[key].read()

    def __contains__(self, key: object) -> bool:
        return key in self.files

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


class _Candidates:
    """The scenarios of one operation that belong to a request, found by the first text that each demands of the body.

    With ten thousand of them, one that asks for `query: hello` is looked at only for that query.
    """

    def __init__(self, pairs: Iterable[tuple[Scenario, Match]]) -> None:
        self.pairs = tuple(pairs)
        self._others: list[int] = []
        self._by_text: dict[tuple[str, ...], dict[str, list[int]]] = {}
        for number, (_, match) in enumerate(self.pairs):
            telling = match.telling_text()
            if telling is None:
                self._others.append(number)
            else:
                self._by_text.setdefault(telling[0], {}).setdefault(telling[1], []).append(number)

    def among(self, request: RequestView) -> Iterator[tuple[Scenario, Match]]:
        """Yield those that a request may contain, in their order."""
        numbers = list(self._others)
        for where, texts in self._by_text.items():
            value = request.body
            for name in where:
                value = value.get(name) if isinstance(value, Mapping) else None
            numbers += texts.get(value, ()) if isinstance(value, str) else ()
        return (self.pairs[number] for number in sorted(numbers))


class ScenarioSet:
    """All scenarios of some APIs; files are read when they are first needed."""

    def __init__(self, files: Iterable[_File]) -> None:
        """Keep files in the order in which they count: a user's replace ours."""
        self._folders: dict[tuple[str, str], dict[str, _File]] = {}
        self._indexes: dict[Operation, dict[str, _File]] = {}
        self._keys: dict[Operation, tuple[str, ...]] = {}
        self._found: dict[tuple[Operation, bool], _Candidates] = {}
        self._defaults: dict[tuple[Operation, bool], Scenario] = {}
        self.files = {file.path: file for file in files}
        for file in self.files.values():
            self._folders.setdefault((file.api, file.folder), {})[file.path.stem] = file

    def for_operation(self, operation: Operation) -> Mapping[str, Scenario]:
        """Return an operation's scenarios by `<status>-<name>`: its own, then those of every operation, by name."""
        return _Lazy(self._index(operation))

    def keys(self, operation: Operation) -> tuple[str, ...]:
        """Return the names (`<status>-<name>`) of an operation's scenarios without reading the files, sorted."""
        if operation not in self._keys:
            self._keys[operation] = tuple(sorted(self._index(operation)))
        return self._keys[operation]

    def _index(self, operation: Operation) -> dict[str, _File]:
        known = self._indexes.get(operation)
        if known is not None:
            return known
        own = self._folders.get((operation.api, operation.id), {})
        shared = self._folders.get((operation.api, SHARED), {})
        index = {key: own[key] for key in sorted(own)}
        index |= {key: shared[key] for key in sorted(shared) if key not in own and documents(operation, key)}
        self._indexes[operation] = index
        return index

    def find(
        self, operation: Operation, status: int | None = None, name: str | None = None, *, streaming: bool = False
    ) -> Scenario:
        """Return the scenario that was asked for; raise UnknownNameError saying what there is.

        Without a name the default of that status, else its first by name; without a status the first with that name.
        Underscores and hyphens are the same in a name.
        """
        index = self._index(operation)
        asked = "-".join(str(part) for part in (status, _hyphened(name)) if part is not None)
        if asked in index:
            return index[asked].read()
        keys = [key for key in index if key == asked or (name is None and key.startswith(f"{asked}-"))]
        if status is None:
            keys = [key for key in index if key.partition("-")[2] == asked]
        if not keys:
            raise self._unknown(operation, asked)
        if name is None:
            default = f"{status}-default-streaming" if streaming else f"{status}-default"
            keys = [key for key in (default, f"{status}-default") if key in index] or keys
        return index[keys[0]].read()

    def _unknown(self, operation: Operation, asked: str) -> UnknownNameError:
        hint = f"New scenarios go in fixtures/{operation.name}/."
        return UnknownNameError(f"{operation.name} scenario", asked, self._index(operation), hint=hint)

    def default(self, operation: Operation, *, streaming: bool = False) -> Scenario:
        """Return what answers when nothing is chosen; without a streaming default the plain one."""
        known = self._defaults.get((operation, streaming))
        if known is None:
            known = self._defaults[operation, streaming] = self._default(operation, streaming=streaming)
        return known

    def _default(self, operation: Operation, *, streaming: bool) -> Scenario:
        index = self._index(operation)
        plain = f"{operation.success.status}-default"
        file = (index.get(f"{plain}-streaming") if streaming else None) or index.get(plain)
        if file is None:
            raise self._unknown(operation, plain)
        return file.read()

    def matching(
        self,
        operation: Operation,
        request: RequestView,
        *,
        streaming: bool = False,
        may: Callable[[Scenario], bool] = lambda _scenario: True,
    ) -> Scenario | None:
        """Return the first scenario (a user's before ours, then by name) that `may` and whose `request` fits."""
        candidates = self._candidates(operation, streaming=streaming).among(request)
        return next((one for one, match in candidates if may(one) and not match.difference(request)), None)

    def misses(self, operation: Operation, request: RequestView, *, streaming: bool = False) -> dict[str, list[str]]:
        """Return for each scenario with a `request` of its own what a request lacks, by `<status>-<name>`."""
        pairs = self._candidates(operation, streaming=streaming).pairs
        return {one.key: match.difference(request) for one, match in pairs}

    def _candidates(self, operation: Operation, *, streaming: bool) -> _Candidates:
        if (operation, streaming) not in self._found:
            self._found[operation, streaming] = _Candidates(self._with_request(operation, streaming=streaming))
        return self._found[operation, streaming]

    def _with_request(self, operation: Operation, *, streaming: bool) -> Iterator[tuple[Scenario, Match]]:
        """Yield the scenarios that belong to a request, of the kind asked for: refusals never stream.

        Of ours only the defaults may have a request, so that the others need not be read here.
        """
        index = self._index(operation)
        files = [file for key, file in index.items() if not file.ours or "-default" in key]
        for file in sorted(files, key=lambda one: one.ours):
            scenario = file.read()
            fits = scenario.reply.streamed == streaming or scenario.status >= _ERRORS
            if scenario.request is not None and fits:
                yield scenario, scenario.request


def _hyphened(name: str | None) -> str | None:
    return None if name is None else name.replace("_", "-").lower()


def load_scenarios(api_names: Sequence[str], extra: Path | None = None, *, root: Path | None = None) -> ScenarioSet:
    """Find the scenarios of some APIs in `root` (default: the packaged ones) and a user's in `extra` (the same layout).

    A user's scenario adds to ours or replaces the one of the same name. Raise ScenarioError for a wrong file in `extra`
    at once, for one of ours when it is first needed.
    """
    files: list[_File] = []
    for file in _found(api_names, extra, root or data.fixtures_root()):
        if isinstance(file, ScenarioError):
            raise file
        files.append(file)
    for file in files:
        if not file.ours:
            _guard_after(file.read(), files)
    return ScenarioSet(files)


def reload_scenarios(
    last: ScenarioSet, api_names: Sequence[str], extra: Path | None = None, *, root: Path | None = None
) -> tuple[ScenarioSet, list[ScenarioError]]:
    """Find the scenarios again and read those that have changed since `last`; return them, and what is wrong with some.

    A scenario that cannot be read stays as it was, or is left out if it is new.
    """
    files: list[_File] = []
    broken: list[ScenarioError] = []
    for file in _found(api_names, extra, root or data.fixtures_root()):
        if isinstance(file, ScenarioError):
            broken.append(file)
            continue
        before = last.files.get(file.path)
        try:
            if before is None or before.stamp != file.stamp:
                _guard_after(file.read(), files)
            files.append(file)
        except ScenarioError as error:
            broken.append(error)
            files += [before] if before else []
    return ScenarioSet(files), broken


def _guard_after(scenario: Scenario, files: Iterable[_File]) -> None:
    """Refuse a scenario that waits for an operation that there is not: it would never answer."""
    after = scenario.request.after if scenario.request else None
    known = {file.folder for file in files if file.ours and file.api == scenario.api} - {SHARED}
    if after is not None and after not in known:
        hint = "Name one in `request: after:`."
        raise ScenarioError(f"{scenario.path}: {UnknownNameError('operation', after, known, hint=hint)}")


def _found(api_names: Sequence[str], extra: Path | None, root: Path) -> Iterator[_File | ScenarioError]:
    """Yield our scenario files and then the user's; for a wrong name in the user's folder what is wrong with it."""
    folders: dict[str, set[str]] = {name: set() for name in api_names}
    for file in (file for name in api_names for file in _files(root, name, ours=True)):
        if isinstance(file, _File):
            folders[file.api].add(file.folder)  # every operation has scenarios of ours
        yield file
    for name in _apis_of(extra) if extra is not None else ():
        if isinstance(name, ScenarioError):
            yield name
        elif extra is not None and name in api_names:
            yield from (_checked(file, folders[name]) for file in _files(extra, name, ours=False))


def _checked(file: _File | ScenarioError, folders: set[str]) -> _File | ScenarioError:
    if isinstance(file, ScenarioError) or file.folder in folders:
        return file
    error = UnknownNameError("operation", file.folder, folders, hint="Rename the folder.")
    return ScenarioError(f"{file.path.parent}: {error}")


def _apis_of(extra: Path) -> Iterator[str | ScenarioError]:
    """Yield the APIs that a user's folder has scenarios for, and what is wrong with its other folders."""
    if not extra.is_dir():
        yield ScenarioError(
            f"{extra}: there is no such folder. Name one with <api>/<operationId>/<status>-<name>.yaml."
        )
        return
    known = {path.parent.name for path in data.specs_root().glob("*/openapi.yaml")}
    for name in sorted(path.name for path in extra.iterdir() if not path.name.startswith(".")):
        if name in known:
            yield name
        elif (extra / name).is_dir():
            yield ScenarioError(f"{extra / name}: {UnknownNameError('API', name, known, hint='Rename the folder.')}")


def _files(root: Path, api: str, *, ours: bool) -> Iterator[_File | ScenarioError]:
    """Yield the scenario files of an API by path; in a user's folder also what is wrong with a name."""
    folder = root / api
    for path in sorted(folder.glob("*/*")):
        if path.suffix not in (".yaml", ".yml") or path.parent.name == "files":
            continue
        try:
            about = path.stat()
        except OSError:  # it has just been deleted
            continue
        if not stat.S_ISREG(about.st_mode):
            continue
        if path.suffix == ".yaml" and _FILE_NAME.fullmatch(path.stem):
            yield _File(path, folder, ours, (about.st_mtime_ns, about.st_size))
        elif not ours:
            yield ScenarioError(f"{path}: {_NAME_WANTED}")


_NAME_WANTED = "this is no scenario's name. Name it <status>-<name>.yaml, for instance 429-rate-limited.yaml."


@lru_cache(maxsize=1 << 14)
def _read_once(path: Path, api_folder: Path, _stamp: tuple[int, int]) -> Scenario:
    return read_scenario(path, api_folder=api_folder)


def read_scenario(path: Path, *, api_folder: Path) -> Scenario:
    """Read a scenario file below an API's folder; raise ScenarioError naming file, line, what is wrong, what to do."""
    name = _FILE_NAME.fullmatch(path.stem)
    if name is None:
        raise ScenarioError(f"{path}: {_NAME_WANTED}")
    text = _text_of(path)
    try:
        raw = yamlio.loads(text, name=str(path))
    except SpecError as error:
        raise ScenarioError(str(error)) from None
    _guard_aliases(path, text, raw)
    _guard_format(path, text, raw)
    folder = path.parent.name
    return Scenario(
        api=api_folder.name,
        operation=None if folder == SHARED else folder,
        status=int(name["status"]),
        name=name["name"],
        path=path,
        description=raw["description"],
        provenance=(*as_list(raw.get("source")), *(f"observed: {where}" for where in as_list(raw.get("observed")))),
        rulings=tuple(raw.get("rulings", ())),
        sample=raw.get("sample", {}),
        request=Match(**raw["request"]) if "request" in raw else None,
        reply=_Builder(path, text, raw, api_folder).reply(),
        faults=raw.get("faults", ""),
    )


def _text_of(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            what = f"{size} bytes are more than the {MAX_FILE_BYTES} that a scenario may have"
            todo = "Put large content into a file of its own, and name it in `reply: file:`."
            raise ScenarioError(f"{path}: {what}. {todo}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read as UTF-8 text: {error}. Save it as UTF-8.") from None


def _guard_aliases(path: Path, text: str, raw: Any) -> None:
    """Refuse YAML aliases that contain themselves, or that write out a few lines to millions of values."""
    if "*" not in text:
        return
    sizes: dict[int, int] = {}

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = MAX_VALUES + 1  # what counts while its inside is counted: one that contains itself
            sizes[id(value)] = 1 + sum(map(size, value.values() if isinstance(value, dict) else value))
        return sizes[id(value)]

    if size(raw) > MAX_VALUES:
        raise ScenarioError(f"{path}: its YAML aliases write out to more than {MAX_VALUES} values. Write fewer.")


@cache
def _format() -> Validators:
    schema = json.loads((data.fixtures_root() / "scenario.schema.json").read_text(encoding="utf-8"))
    return Validators(schema)


def _guard_format(path: Path, text: str, raw: Any) -> None:
    for violation in _format().violations("", raw, limit=1):
        place = violation.where.removeprefix("/").replace("/", ".") or "the scenario"
        what = f"{place} must be {violation.expected}, is {violation.got}"
        raise ScenarioError(
            f"{_place(path, text, violation.where)}: {what}. Mend it; fixtures/scenario.schema.json is the format."
        )


def _place(path: Path, text: str, pointer: str) -> str:
    """Return file and line of a value, or of the nearest that is there."""
    lines = yamlio.lines_of(text)
    while pointer not in lines and pointer:
        pointer = pointer.rpartition("/")[0]
    return f"{path}, line {lines.get(pointer, 1)}"


def default_app(api_folder: Path) -> Mapping[str, Any]:
    """Return what the app of an API is unless it is configured: `app.yaml` of the folder, else of ours."""
    own = api_folder / APP
    return _read_app(own if own.is_file() else data.fixtures_root() / api_folder.name / APP)


@cache
def _read_app(path: Path) -> Mapping[str, Any]:
    app = yamlio.load(path) if path.is_file() else {}
    return app if isinstance(app, dict) else {}


class _Builder:
    """Makes the reply of one file, its expressions parsed."""

    def __init__(self, path: Path, text: str, raw: Mapping[str, Any], api_folder: Path) -> None:
        self.path = path
        self.text = text
        self.raw: Mapping[str, Any] = raw["reply"]
        self.api_folder = api_folder
        self.compile = partial(compile_value, sample={**default_app(api_folder), **raw.get("sample", {})})

    def reply(self) -> Reply:
        raw = self.raw
        kinds: tuple[Literal["body", "events", "lines", "file"], ...] = ("body", "events", "lines", "file")
        kind = next(kind for kind in kinds if kind in raw)
        return Reply(
            kind=kind,
            headers=raw.get("headers", {}),
            delay_ms=raw.get("delay_ms", 0),
            body=raw.get("body"),
            events=self._events(kind),
            stopped=self._events("stopped") if "stopped" in raw else None,
            file=self._file() if kind == "file" else None,
            template=self._compiled("/body", raw.get("body")),
            header_template=self._compiled("/headers", raw.get("headers", {})),
        )

    def _events(self, key: str) -> tuple[Event, ...]:
        listed = self.raw[key] if key in ("events", "lines", "stopped") else []
        return tuple(self._event(f"/{key}/{index}", raw) for index, raw in enumerate(listed))

    def _event(self, pointer: str, raw: Mapping[str, Any]) -> Event:
        template = self._compiled(f"{pointer}/data", raw["data"]) if "data" in raw else None
        each = self._compiled(f"{pointer}/each", raw["each"]) if "each" in raw else None
        return Event(**{**raw, "each": each}, template=template)

    def _compiled(self, pointer: str, value: Any) -> Template:
        try:
            return self.compile(value)
        except ScenarioError:
            for inner, text in _texts(pointer, value):
                self.compile(text, name=_place(self.path, self.text, f"/reply{inner}"))
            raise

    def _file(self) -> Path:
        """Return the file that is sent; raise ScenarioError where it is not inside the API's folder."""
        name = self.raw["file"]
        path: Path = self.path.parent / name
        allowed = not PurePosixPath(name).is_absolute() and "\\" not in name and "\0" not in name
        if not allowed or not path.resolve().is_relative_to(self.api_folder.resolve()):  # symbolic links are followed
            what = f'the file "{name}" is not inside {self.api_folder.name}/'
            raise ScenarioError(f"{self._file_place()}: {what}. Copy it there, into files/.")
        if not path.is_file():
            raise ScenarioError(f'{self._file_place()}: there is no file "{name}" beside the scenario. Mend the path.')
        return path

    def _file_place(self) -> str:
        return _place(self.path, self.text, "/reply/file")


def _texts(pointer: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield every text in a value, with its JSON pointer."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(f"{pointer}/{yamlio.escape(name)}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(f"{pointer}/{index}", inner)


def render_headers(reply: Reply, context: Context) -> dict[str, str]:
    """Return the reply's own headers with their values; Content-Type is not added."""
    rendered = reply.header_template.render(context)
    return {
        name: value if isinstance(value, str) else "" if value is None else str(value)
        for name, value in rendered.items()
    }


def render_body(reply: Reply, context: Context) -> bytes:
    """Return the bytes of a reply of kind `body` (JSON with ASCII escapes, or text as it stands) or `file`."""
    if reply.file is not None:
        return reply.file.read_bytes()
    return write_body(reply, reply.template.render(context))


def write_body(reply: Reply, rendered: Any) -> bytes:
    """Return the bytes of a body whose template has been rendered."""
    if isinstance(reply.body, str):
        return rendered.encode("utf-8", "replace") if isinstance(rendered, str) else dump_json(rendered)
    return reply.template.write(rendered)


def render_events(reply: Reply, context: Context, *, stopped: bool = False) -> Iterator[Piece]:
    """Yield the pieces of a streamed reply, or those of its `stopped`, each rendered when it is asked for."""
    encode = _line if reply.kind == "lines" else _block
    for index, event in enumerate((reply.stopped or ()) if stopped else reply.events):
        for item in _items(event, context):
            context.each = item
            value = event.template.render(context) if event.template else None
            yield Piece(event.delay_ms, encode(event, value), None if isinstance(value, str) else value, index)


def _items(event: Event, context: Context) -> list[Any]:
    """Return what an event is sent for: once, or once for each item of a list that may be empty."""
    if event.each is None:
        return [None]
    items = event.each.render(context)
    return items if isinstance(items, list) else [items]


def _block(event: Event, value: Any) -> bytes:
    if event.plain and not isinstance(value, str):
        return b"data: %b\n\n" % json.dumps(value).encode()  # JSON stands on one line
    text = None if event.template is None else _sendable(value) if isinstance(value, str) else json.dumps(value)
    return sse.encode(text, event=event.event, id=event.id, retry=event.retry, comment=event.comment)


def _line(_event: Event, value: Any) -> bytes:
    return sse.encode_json(_sendable(value) if isinstance(value, str) else json.dumps(value))


def _sendable(text: str) -> str:
    """Return a text without lone surrogates, which JSON may bring and UTF-8 cannot carry."""
    return text.encode("utf-8", "replace").decode("utf-8")
