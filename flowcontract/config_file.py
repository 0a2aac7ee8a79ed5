"""Options in a file: `flowcontract.toml`, or `[tool.flowcontract]` in `pyproject.toml`, found by itself.

    [mockserver]
    port = 9000
    api = ["dify-chat"]
    fixtures = "my-scenarios"

    [contract-tests]
    report = "out"

The names are those of the options, with hyphens or underscores. The command line comes first, then the environment,
then the file. Paths are relative to the file. It is looked for in the current folder and in those above it, up to the
first that has one or is the root of a git repository.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcontract.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NAME, SHARED = "flowcontract.toml", "pyproject.toml"
PROGRAMS = ("mockserver", "contract-tests")
_CLOSE = 0.75  # of a variable's name, from which on it is a slip
Options = Mapping[str, Mapping[str, Any]]
"""An option -> what argparse is told of it: `{"--port": {"type": int, "help": ...}}`."""


class ConfigFile(NamedTuple):
    """A file that was found: where it is, and program -> name -> value."""

    path: Path
    tables: Mapping[str, Any]


class Given(NamedTuple):
    """Arguments that were not typed, and option -> where it stands: a variable, or a file and the key in it."""

    arguments: list[str]
    sources: dict[str, str]


def find_config(start: Path | None = None) -> ConfigFile | None:
    """Return the file that holds for a folder, by default the current one; raise ConfigError for one that is broken."""
    folder = (start or Path.cwd()).resolve()
    for place in (folder, *folder.parents):
        found = _read(place / NAME, ()) or _read(place / SHARED, ("tool", "flowcontract"))
        if found is not None or (place / ".git").exists():
            return found
    return None


def _read(path: Path, keys: Sequence[str]) -> ConfigFile | None:
    if not path.is_file():
        return None
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if keys:  # of somebody else's, who will hear of it elsewhere
            return None
        raise ConfigError(f"{path}: {error}. Correct the TOML.") from None
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
        if table is None:
            return None
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {'.'.join(keys)} is not a table.")
    for name, content in table.items():
        if name not in (*PROGRAMS, "$schema"):
            raise ConfigError(f"{path}: {UnknownNameError('program', name, PROGRAMS)}")
        if name in PROGRAMS and not isinstance(content, dict):
            raise ConfigError(f"{path}: {name} is not a table of options.")
    return ConfigFile(path, table)


def read_arguments(
    program: str, options: Options, typed: Sequence[str], *, variable: Callable[[str], str] | None = None
) -> Given:
    """Return the options of the environment and of the file that holds here, without those that are `typed`.

    ``options``   of the command that runs
    ``variable``  the environment variable of an option, where the program reads some
    """
    named = {argument.partition("=")[0] for argument in typed}
    given = Given([], {})
    every = [*(_read_environment(options, variable) if variable else ()), *_read_file(program, options)]
    for option, source, value in every:
        if option not in named and option not in given.sources:
            given.arguments.extend(_write(option, options[option], source, value))
            given.sources[option] = source
    return given


def find_misspelt(options: Options, variable: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield variables of the environment that are close to one of an option, and that one.

    Others of the prefix may be somebody else's: MockServer, the Java program, has many.
    """
    prefix = variable("")
    known = [variable(option).removeprefix(prefix) for option in options]
    for name in sorted(os.environ):
        rest = name.removeprefix(prefix)
        if rest != name and rest not in known:
            yield from ((name, f"{prefix}{close}") for close in difflib.get_close_matches(rest, known, 1, _CLOSE))


def _read_environment(options: Options, variable: Callable[[str], str]) -> Iterator[tuple[str, str, Any]]:
    """Yield option, variable and value of what the environment says; an empty variable says nothing."""
    for option, settings in options.items():
        name = variable(option)
        text = os.environ.get(name, "")
        value: Any = text
        if settings.get("action") == "append":
            value = [item for item in text.split(",") if item]
        elif settings.get("action") == "store_true":
            value = text.lower() not in ("0", "false", "no")
        if text:
            yield option, name, value


def _read_file(program: str, options: Options) -> Iterator[tuple[str, str, Any]]:
    """Yield option, place and value of what the file says; raise ConfigError for a name that is none."""
    found = find_config()
    if found is None:
        return
    every = {name.removeprefix("--"): name for name in options}
    for key, value in found.tables.get(program, {}).items():
        name = key.replace("_", "-")
        if name not in every:
            raise ConfigError(f"{found.path}: {UnknownNameError(f'option of {program}', key, every)}")
        option = every[name]
        is_path = _is_path(options[option], value)
        yield option, f"{found.path}: {program}.{name}", found.path.parent / value if is_path else value


def _is_path(settings: Mapping[str, Any], value: Any) -> bool:
    """Tell whether a value is a path, which is relative to where it stands."""
    takes = settings.get("type") is Path or (settings.get("metavar") == "WHERE" and "://" not in str(value))
    return takes and isinstance(value, str)


def _write(option: str, settings: Mapping[str, Any], source: str, value: Any) -> Iterator[str]:
    """Yield the arguments that an option's value stands for."""
    action = settings.get("action")
    if action == "store_true":
        if not isinstance(value, bool):
            raise ConfigError(f"{source} has to be true or false, not {value}.")
        if value:
            yield option
        return
    values = value if action == "append" and isinstance(value, list) else [value]
    for each in values:
        if isinstance(each, bool) or not isinstance(each, str | int | float | Path):
            wanted = "a list of texts" if action == "append" else "a text or a number"
            raise ConfigError(f"{source} has to be {wanted}, not {each}.")
        yield f"{option}={each}"
