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
Options = Mapping[str, Mapping[str, Any]]
"""An option -> what argparse is told of it: `{"--port": {"type": int, "help": ...}}`."""


class ConfigFile(NamedTuple):
    """A file that was found: where it is, and program -> name -> value."""

    path: Path
    tables: Mapping[str, Any]


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
    program: str, options: Options, given: Sequence[str], *, variable: Callable[[str], str] | None = None
) -> list[str]:
    """Return the options of the file that holds here as arguments, without those that are `given` otherwise.

    ``options``   of the command that runs
    ``variable``  the environment variable of an option, where the program reads some
    """
    found = find_config()
    if found is None or program not in found.tables:
        return []
    every = {name.removeprefix("--"): name for name in options}
    named = {argument.partition("=")[0] for argument in given}
    arguments: list[str] = []
    for key, value in found.tables[program].items():
        name = key.replace("_", "-")
        if name not in every:
            raise ConfigError(f"{found.path}: {UnknownNameError(f'option of {program}', key, every)}")
        option = every[name]
        if option not in named and not (variable and variable(option) in os.environ):
            arguments += _write(found, program, option, options[option], value)
    return arguments


def _write(found: ConfigFile, program: str, option: str, settings: Mapping[str, Any], value: Any) -> Iterator[str]:
    """Yield the arguments that an option's value stands for."""
    action = settings.get("action")
    place = f"{found.path}: {program}.{option.removeprefix('--')}"
    if action == "store_true":
        if not isinstance(value, bool):
            raise ConfigError(f"{place} is true or false, not {value}.")
        if value:
            yield option
        return
    values = value if action == "append" and isinstance(value, list) else [value]
    for each in values:
        if isinstance(each, bool) or not isinstance(each, str | int | float):
            wanted = "a list of texts" if action == "append" else "a text or a number"
            raise ConfigError(f"{place} is {wanted}, not {each}.")
        is_path = settings.get("type") is Path or (settings.get("metavar") == "WHERE" and "://" not in str(each))
        yield f"{option}={found.path.parent / str(each) if is_path else each}"
