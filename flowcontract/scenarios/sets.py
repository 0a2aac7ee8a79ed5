"""The scenarios of some APIs: finds those of an operation, one by name, and the one that matches a request."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowcontract import paths
from flowcontract.errors import ScenarioError, UnknownNameError
from flowcontract.scenarios.matching import Match
from flowcontract.scenarios.model import Scenario
from flowcontract.scenarios.reading import FILE_NAME, NAME_WANTED, SHARED, read_scenario
from flowcontract.specs.profiles import Profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from flowcontract.scenarios.expressions import RequestView
    from flowcontract.specs.model import Operation

PROFILES = "profiles"  # in an API's folder: a folder of scenarios for each profile that has some
Profiles = Mapping[str, Profile]  # by API
_NO_PROFILES: Profiles = MappingProxyType({})
_ERRORS = 400  # the first status that refuses


def is_documented(operation: Operation, key: str) -> bool:
    """Tell whether an operation documents the status and the example that a shared scenario is named after.

    What follows an example's name tells one of several scenarios of it: `401-unauthorized-no-header`.
    """
    match = FILE_NAME.fullmatch(key)
    response = operation.responses.get(int(match["status"])) if match else None
    if match is None or response is None:
        return False
    examples = {name.replace("_", "-").lower() for media in response.media.values() for name in media.examples}
    return not examples or any(f"{match['name']}-".startswith(f"{example}-") for example in examples)


@dataclass(frozen=True, slots=True)
class _File:
    """A scenario file that is read when it is first needed."""

    path: Path
    api_folder: Path
    ours: bool
    stamp: tuple[int, int] = (0, 0)  # modification time in ns, and size; changes with the content

    def read(self) -> Scenario:
        """Return the scenario; raise ScenarioError."""
        return _read_once(self.path, self.api_folder, self.stamp)

    def counts_for(self, operation: Operation) -> bool:
        """Tell whether it is one of an operation's, as a scenario of every operation."""
        unheard = not self.ours and int(self.path.stem[:3]) not in operation.responses and self.read().undocumented
        return is_documented(operation, self.path.stem) or unheard

    @property
    def api(self) -> str:
        """The name of its API."""
        return self.api_folder.name

    @property
    def folder(self) -> str:
        """The name of its operation, or `every-operation`."""
        return self.path.parent.name


class _LazyScenarios(Mapping[str, Scenario]):
    """Scenarios by `<status>-<name>`, each read on first access."""

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
    """The scenarios of one operation that match requests, indexed by the first text that each demands of the body.

    Of ten thousand, one that demands `query: hello` is compared only with requests that have that query.
    """

    def __init__(self, pairs: Iterable[tuple[Scenario, Match]]) -> None:
        self.pairs = tuple(pairs)
        self.counts = any(match.times is not None or match.after is not None for _, match in self.pairs)
        self._others: list[int] = []
        self._by_text: dict[tuple[str, ...], dict[str, list[int]]] = {}
        for number, (_, match) in enumerate(self.pairs):
            telling = match.find_telling_text()
            if telling is None:
                self._others.append(number)
            else:
                self._by_text.setdefault(telling[0], {}).setdefault(telling[1], []).append(number)

    def find_for(self, request: RequestView) -> Iterator[tuple[Scenario, Match]]:
        """Yield the scenarios that may match a request, in their order."""
        numbers = list(self._others)
        for where, texts in self._by_text.items():
            value = request.body
            for name in where:
                value = value.get(name) if isinstance(value, dict) else None
            numbers += texts.get(value, ()) if isinstance(value, str) else ()
        return (self.pairs[number] for number in sorted(numbers))


class ScenarioSet:
    """All scenarios of some APIs; files are read when they are first needed."""

    def __init__(self, files: Iterable[_File], profiles: Profiles = _NO_PROFILES) -> None:
        """Keep the files; of one path, later ones win: a profile's replace the documents', a user's replace ours."""
        self.profiles = profiles
        self._folders: dict[tuple[str, str], dict[str, _File]] = {}
        self._indexes: dict[Operation, dict[str, _File]] = {}
        self._keys: dict[Operation, tuple[str, ...]] = {}
        self._candidate_cache: dict[tuple[Operation, bool], _Candidates] = {}
        self._verbatim: dict[Operation, _Candidates] = {}
        self._defaults: dict[tuple[Operation, bool], Scenario] = {}
        self.files = {file.path: file for file in files}
        for file in self.files.values():
            self._folders.setdefault((file.api, file.folder), {})[file.path.stem] = file

    def read_scenarios(self, operation: Operation) -> Mapping[str, Scenario]:
        """Return an operation's scenarios by `<status>-<name>`: its own, then the shared ones, each sorted."""
        return _LazyScenarios(self._index_files(operation))

    def list_keys(self, operation: Operation) -> tuple[str, ...]:
        """Return the names (`<status>-<name>`) of an operation's scenarios without reading the files, sorted."""
        if operation not in self._keys:
            self._keys[operation] = tuple(sorted(self._index_files(operation)))
        return self._keys[operation]

    def _index_files(self, operation: Operation) -> dict[str, _File]:
        known = self._indexes.get(operation)
        if known is not None:
            return known
        own = self._folders.get((operation.api, operation.id), {})
        shared = self._folders.get((operation.api, SHARED), {})
        index = {
            key: own[key]
            for key in sorted(own)  # of ours, not those of a status that the release does not have
            if not own[key].ours or int(key.partition("-")[0]) in operation.responses
        }
        index |= {key: shared[key] for key in sorted(shared) if key not in own and shared[key].counts_for(operation)}
        self._indexes[operation] = index
        return index

    def find(
        self, operation: Operation, status: int | None = None, name: str | None = None, *, streaming: bool = False
    ) -> Scenario:
        """Return the scenario of a status and a name; raise UnknownNameError, which lists what there is.

        Without a name, the default of that status or else its first by name; without a status, the first of that name.
        Underscores in a name equal hyphens.
        """
        index = self._index_files(operation)
        asked = "-".join(str(part) for part in (status, name and name.replace("_", "-").lower()) if part is not None)
        if asked in index:
            return index[asked].read()
        keys = [key for key in index if key == asked or (name is None and key.startswith(f"{asked}-"))]
        if status is None:
            keys = [key for key in index if key.partition("-")[2] == asked]
        if not keys:
            raise self._build_unknown_error(operation, asked)
        if name is None:
            default = f"{status}-default-streaming" if streaming else f"{status}-default"
            keys = [key for key in (default, f"{status}-default") if key in index] or keys
        return index[keys[0]].read()

    def _build_unknown_error(self, operation: Operation, asked: str) -> UnknownNameError:
        hint = f"New scenarios go in fixtures/{operation.name}/."
        return UnknownNameError(f"{operation.name} scenario", asked, self._index_files(operation), hint=hint)

    def select_default(self, operation: Operation, *, streaming: bool = False) -> Scenario:
        """Return the scenario that answers by default; if there is no streaming default, the plain one."""
        known = self._defaults.get((operation, streaming))
        if known is None:
            known = self._defaults[operation, streaming] = self._find_default(operation, streaming=streaming)
        return known

    def _find_default(self, operation: Operation, *, streaming: bool) -> Scenario:
        index = self._index_files(operation)
        profile = self.profiles.get(operation.api)
        chosen = profile.defaults.get(operation.id) if profile else None
        plain = chosen or f"{operation.success.status}-default"
        file = (index.get(f"{plain}-streaming") if streaming else None) or index.get(plain)
        if file is None:
            raise self._build_unknown_error(operation, plain)
        return file.read()

    def find_matching(
        self,
        operation: Operation,
        request: RequestView,
        *,
        streaming: bool = False,
        may: Callable[[Scenario], bool] = lambda _scenario: True,
    ) -> Scenario | None:
        """Return the first scenario (a user's before ours, then by name) that `may` answer and matches the request."""
        candidates = self._find_candidates(operation, streaming=streaming).find_for(request)
        return next((scenario for scenario, match in candidates if may(scenario) and match.fits(request)), None)

    def has_verbatim(self, operation: Operation) -> bool:
        """Tell whether an operation has scenarios that come before all that the contract says of a request."""
        return bool(self._find_verbatim_candidates(operation).pairs)

    def find_verbatim(
        self, operation: Operation, request: RequestView, *, may: Callable[[Scenario], bool]
    ) -> Scenario | None:
        """Return the verbatim scenario that `may` answer and matches the request.

        The most particular one counts, of those the one that waited for another operation, of those the first by name.
        """
        candidates = self._find_verbatim_candidates(operation).find_for(request)
        return next((scenario for scenario, match in candidates if may(scenario) and match.fits(request)), None)

    def _find_verbatim_candidates(self, operation: Operation) -> _Candidates:
        known = self._verbatim.get(operation)
        if known is None:
            files = (file for file in self._index_files(operation).values() if not file.ours)
            scenarios = (scenario for scenario in map(_File.read, files) if scenario.verbatim)
            pairs = [(scenario, scenario.request or Match()) for scenario in scenarios]
            known = self._verbatim[operation] = _Candidates(sorted(pairs, key=_rank_verbatim))
        return known

    def depends_on_usage(self, operation: Operation) -> bool:
        """Tell whether which scenario answers also depends on what was answered before (`times`, `after`)."""
        return any(self._find_candidates(operation, streaming=streaming).counts for streaming in (False, True))

    def find_differences(
        self, operation: Operation, request: RequestView, *, streaming: bool = False
    ) -> dict[str, list[str]]:
        """Return, by `<status>-<name>` of the scenarios with a `request`, what this request lacks to match each."""
        pairs = self._find_candidates(operation, streaming=streaming).pairs
        return {scenario.key: match.find_differences(request) for scenario, match in pairs}

    def _find_candidates(self, operation: Operation, *, streaming: bool) -> _Candidates:
        if (operation, streaming) not in self._candidate_cache:
            self._candidate_cache[operation, streaming] = _Candidates(
                self._list_with_request(operation, streaming=streaming)
            )
        return self._candidate_cache[operation, streaming]

    def _list_with_request(self, operation: Operation, *, streaming: bool) -> Iterator[tuple[Scenario, Match]]:
        """Yield scenarios with a `request` that are streamed or not, as asked; errors, which never stream, always.

        Only the defaults among ours may have a `request`, so that the others need not be read here.
        """
        index = self._index_files(operation)
        files = [file for key, file in index.items() if not file.ours or "-default" in key]
        for file in sorted(files, key=lambda file: file.ours):
            scenario = file.read()
            fits = scenario.reply.streamed == streaming or scenario.status >= _ERRORS
            if scenario.request is not None and fits and not scenario.verbatim:
                yield scenario, scenario.request


def _rank_verbatim(pair: tuple[Scenario, Match]) -> tuple[int, bool, str, int]:
    scenario, match = pair
    return -match.size, match.after is None, scenario.name, scenario.status


def load_scenarios(
    api_names: Sequence[str],
    extra: Path | None = None,
    *,
    root: Path | None = None,
    profiles: Profiles = _NO_PROFILES,
) -> ScenarioSet:
    """Load the scenarios of some APIs from `root` (default: the packaged ones) and a user's from `extra`.

    A profile's scenarios replace the documents' of the same name, a user's replace ours. Raises ScenarioError for a
    wrong file in `extra` at once, for one of ours when it is first read.
    """
    files: list[_File] = []
    for file in _find_files(api_names, extra, root or paths.find_fixtures_root(), profiles):
        if isinstance(file, ScenarioError):
            raise file
        files.append(file)
    for file in files:
        if not file.ours:
            _check_after(file.read(), files)
    return ScenarioSet(files, profiles)


def reload_scenarios(
    last: ScenarioSet, api_names: Sequence[str], extra: Path | None = None, *, root: Path | None = None
) -> tuple[ScenarioSet, list[ScenarioError]]:
    """Reload the scenarios that have changed since `last`; return all of them, and the errors of some.

    A scenario that cannot be read keeps its last content, or is left out if it is new.
    """
    files: list[_File] = []
    broken: list[ScenarioError] = []
    for file in _find_files(api_names, extra, root or paths.find_fixtures_root(), last.profiles):
        if isinstance(file, ScenarioError):
            broken.append(file)
            continue
        before = last.files.get(file.path)
        try:
            if before is None or before.stamp != file.stamp:
                _check_after(file.read(), files)
            files.append(file)
        except ScenarioError as error:
            broken.append(error)
            files += [before] if before else []
    return ScenarioSet(files, last.profiles), broken


def _check_after(scenario: Scenario, files: Iterable[_File]) -> None:
    """Raise ScenarioError for a scenario that waits for an unknown operation: it would never answer."""
    after = scenario.request.after if scenario.request else None
    known = {file.folder for file in files if file.ours and file.api == scenario.api} - {SHARED}
    if after is not None and after not in known:
        hint = "Name one in `request: after:`."
        raise ScenarioError(f"{scenario.path}: {UnknownNameError('operation', after, known, hint=hint)}")


def _find_files(
    api_names: Sequence[str], extra: Path | None, root: Path, profiles: Profiles
) -> Iterator[_File | ScenarioError]:
    """Yield our scenario files, those of the profiles, the user's, and an error for each wrong name among the last."""
    folders: dict[str, set[str]] = {name: set() for name in api_names}
    for file in (file for name in api_names for file in _list_files(root, name, ours=True)):
        if isinstance(file, _File):
            folders[file.api].add(file.folder)  # every operation has scenarios of ours
        yield file
    for api, profile in profiles.items():
        for release in profile.chain if api in api_names else ():
            yield from _list_files(root, api, ours=True, below=f"{PROFILES}/{release}")
    for name in _list_apis(extra) if extra is not None else ():
        if isinstance(name, ScenarioError):
            yield name
        elif extra is not None and name in api_names:
            yield from (_check_folder(file, folders[name]) for file in _list_files(extra, name, ours=False))


def _check_folder(file: _File | ScenarioError, folders: set[str]) -> _File | ScenarioError:
    if isinstance(file, ScenarioError) or file.folder in folders:
        return file
    error = UnknownNameError("operation", file.folder, folders, hint="Rename the folder.")
    return ScenarioError(f"{file.path.parent}: {error}")


def _list_apis(extra: Path) -> Iterator[str | ScenarioError]:
    """Yield the APIs that a user's folder has scenarios for, and an error for each of its other folders."""
    if not extra.is_dir():
        yield ScenarioError(
            f"{extra}: there is no such folder. Name one with <api>/<operationId>/<status>-<name>.yaml."
        )
        return
    known = {path.parent.name for path in paths.find_specs_root().glob("*/openapi.yaml")}
    for name in sorted(path.name for path in extra.iterdir() if not path.name.startswith(".")):
        if name in known:
            yield name
        elif (extra / name).is_dir():
            yield ScenarioError(f"{extra / name}: {UnknownNameError('API', name, known, hint='Rename the folder.')}")


def _list_files(root: Path, api: str, *, ours: bool, below: str = "") -> Iterator[_File | ScenarioError]:
    """Yield the scenario files of an API by path; in a user's folder also an error for each wrong name."""
    folder = root / api
    for path in sorted((folder / below).glob("*/*")):
        if path.suffix not in (".yaml", ".yml") or path.parent.name == "files":
            continue
        try:
            about = path.stat()
        except OSError:  # deleted meanwhile
            continue
        if not stat.S_ISREG(about.st_mode):
            continue
        if path.suffix == ".yaml" and FILE_NAME.fullmatch(path.stem):
            yield _File(path, folder, ours, (about.st_mtime_ns, about.st_size))
        elif not ours:
            yield ScenarioError(f"{path}: {NAME_WANTED}")


@lru_cache(maxsize=1 << 14)
def _read_once(path: Path, api_folder: Path, _stamp: tuple[int, int]) -> Scenario:
    return read_scenario(path, api_folder=api_folder)
