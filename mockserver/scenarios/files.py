"""The scenarios that are served: read again when a file changes; a broken file leaves the last good one in place.

Who reads more of the same files, or of the file of the apps, sees by a new set of scenarios that something changed.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowcontract import paths
from flowcontract.output.printable import make_printable
from flowcontract.scenarios import load_scenarios, reload_scenarios

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from flowcontract.errors import FlowContractError
    from flowcontract.scenarios import ScenarioSet
    from flowcontract.specs.profiles import Profile

_PAUSE_S = 1.0  # between two looks at the files, however many requests come
_SHARE = 20  # looking takes a twentieth of the time at most: with ten thousand files the pauses are longer
_Stamp = tuple[str, int, int]


class ScenarioFiles:
    """The scenarios of some APIs, ours and a user's. May be used from several threads."""

    def __init__(
        self,
        api_names: Sequence[str],
        extra: Path | None = None,
        *,
        root: Path | None = None,
        profiles: Mapping[str, Profile] = MappingProxyType({}),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the scenarios; `clock` gives seconds. Raise ScenarioError for a wrong file in `extra`."""
        self.broken: list[str] = []
        self._names, self._extra, self._root = tuple(api_names), extra, root or paths.find_fixtures_root()
        self._watched: tuple[Path, ...] = ()
        self._clock = clock
        self._lock = threading.Lock()
        self._stamps = self._look()
        self._looked, self._pause_s = clock(), _PAUSE_S
        self._scenarios = load_scenarios(self._names, extra, root=self._root, profiles=profiles)

    def watch(self, path: Path) -> None:
        """Look at one more file: when it changes, the scenarios are another set, though they may say the same."""
        with self._lock:
            self._watched += (path,)
            self._stamps = self._look()

    def load_current(self, *, at_once: bool = False) -> ScenarioSet:
        """Return the scenarios as the files have them now, or had them a moment ago unless `at_once`."""
        if (at_once or self._clock() - self._looked >= self._pause_s) and self._lock.acquire(blocking=at_once):
            try:
                self._reload_if_changed()
            finally:
                self._lock.release()
        return self._scenarios

    def _reload_if_changed(self) -> None:
        begun = self._clock()
        stamps = self._look()
        self._looked = self._clock()
        self._pause_s = max(_PAUSE_S, (self._looked - begun) * _SHARE)
        if stamps == self._stamps:
            return
        self._stamps = stamps
        self._scenarios, errors = reload_scenarios(self._scenarios, self._names, self._extra, root=self._root)
        self.broken = []
        for error in errors:
            self.complain(error)

    def complain(self, error: FlowContractError) -> None:
        """Tell that a file is broken, in the terminal and to who asks."""
        self.broken.append(str(error))
        text = make_printable(str(error), lines=True)
        sys.stderr.write(f"mockserver: {text} What was read of it last still answers.\n")

    def _look(self) -> frozenset[_Stamp]:
        """Return what tells the files from any earlier state of theirs."""
        folders = [self._root / name for name in self._names]
        folders += [self._extra] if self._extra is not None else []
        stamps = (stamp for folder in folders for stamp in _stamp_folder(str(folder)))
        return frozenset([*stamps, *map(_stamp_file, self._watched)])


def _stamp(name: str, file: Path | os.DirEntry[str]) -> _Stamp:
    about = file.stat()
    return name, about.st_mtime_ns, about.st_size


def _stamp_file(path: Path) -> _Stamp:
    try:
        return _stamp(str(path), path)
    except OSError:  # deleted meanwhile: reading it says so
        return str(path), 0, 0


def _stamp_folder(folder: str) -> Iterator[_Stamp]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # deleted meanwhile, or not to be read
        return
    for entry in entries:
        try:
            if entry.is_dir():
                yield from _stamp_folder(entry.path)
            else:
                yield _stamp(entry.path, entry)
        except OSError:
            continue
