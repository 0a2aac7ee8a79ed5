"""What the mock's apps are: `fixtures/<api>/app.yaml`, changed by the file of `--app` once that has been checked."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcontract import paths, pointers, yamlio
from flowcontract.errors import AppError, FlowContractError, UnknownNameError
from flowcontract.scenarios import APP, read_default_app
from flowcontract.scenarios.templates import compile_value
from flowcontract.schemas.validators import MAX_DEPTH, Validators, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flowcontract.scenarios import ScenarioSet
    from flowcontract.specs.model import Api, MediaType

Table = Mapping[str, Any]
"""What an app is: `parameters`, `info`, `meta`, `site` as they are served; `texts` and more, as `app.yaml` explains."""
_REMEMBERED = 1024  # keys, of which there may be any number
_SCHEMA = Path(__file__).with_name("apps.schema.yaml")


class Apps:
    """The apps of some APIs. A key's suffix tells which of an API's apps it opens."""

    def __init__(self, apis: Mapping[str, Api], scenarios: ScenarioSet, file: Path | None = None, **over: Any) -> None:
        """Read our defaults and, over them, `file`; `over` is what every app of every API says before anything else.

        Raise AppError saying file, line and field, and UnknownNameError for `answers` that no app has.
        """
        given = _File(file) if file else None
        self._tables = {name: _merge(_read_default(name), given.tables.get(name, {}) if given else {}) for name in apis}
        self._over = {name: value for name, value in over.items() if value}
        if given:
            _refuse([*given.find_problems(), *_Check(apis, scenarios, self._tables).find_problems()], given)
        chat = [table["texts"] for table in self._tables.values() if "texts" in table]
        answers = over.get("answers")
        if answers and chat and all(answers not in texts for texts in chat):
            raise UnknownNameError("answers", answers, {name for texts in chat for name in texts})
        self.of = lru_cache(_REMEMBERED)(self._find)

    def _find(self, api: str, suffix: str) -> Table:
        """Return the app that is opened by an API's key with this suffix."""
        table = self._tables[api]
        keys: Mapping[str, Any] = table.get("keys", {})
        fitting = [name for name in keys if suffix == name or suffix.startswith(f"{name}-")]
        app = _merge(table, keys[max(fitting, key=len)]) if fitting else table
        return {**app, **self._over}

    def list_flows(self, api: str) -> Sequence[Mapping[str, Any]]:
        """Return the flows that an API's worlds have beside the printed ones; one that is a text is its id."""
        flows = self._tables[api].get("flows", ())
        return [{"id": flow} if isinstance(flow, str) else flow for flow in flows]


def read_defaults(names: Iterable[str]) -> str:
    """Return our defaults for some APIs as one file: what `--app` takes."""
    return "\n".join(f"{name}:\n{_indent(name)}" for name in names)


def _indent(name: str) -> str:
    lines = (paths.find_fixtures_root() / name / APP).read_text(encoding="utf-8").splitlines()
    return "".join(f"  {line}\n" if line else "\n" for line in lines)


def _read_default(name: str) -> Table:
    return read_default_app(paths.find_fixtures_root() / name)


def _merge(below: Table, above: Any) -> dict[str, Any]:
    """Lay a mapping over another; what is no mapping, a list for instance, replaces what is below it."""
    if not isinstance(above, Mapping):
        return dict(below)
    both = {
        name: _merge(below[name], value) if isinstance(below.get(name), Mapping) and _is_table(value) else value
        for name, value in above.items()
    }
    return {**below, **both}


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


class _Problem(NamedTuple):
    """What is wrong at a JSON pointer into the file."""

    where: str
    what: str


class _File:
    """A file of `--app` as it was written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._text = path.read_text(encoding="utf-8")
            self.tables = self._parse()
        except OSError as error:
            why = error.strerror
            raise AppError(f"{path}: cannot be read: {why}. `mockserver init` prints one that can.") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise AppError(f"{path}: cannot be read: {error}. `mockserver init` prints one that can.") from None
        except FlowContractError as error:
            raise AppError(str(error)) from None

    def _parse(self) -> Mapping[str, Any]:
        if self.path.suffix == ".toml":
            tables: Any = json.loads(json.dumps(tomllib.loads(self._text), default=str))  # TOML's dates become text
        else:
            tables = yamlio.loads(self._text, name=str(self.path))
        if is_too_deep(tables):
            raise AppError(f"{self.path}: cannot be read: nested more than {MAX_DEPTH} deep.")
        if not isinstance(tables, Mapping):
            raise AppError(f"{self.path}: one table per API is wanted. `mockserver init` prints an example.")
        return tables

    def find_problems(self) -> Iterator[_Problem]:
        """Yield what its own format says against it."""
        validators = _format()
        for found in validators.find_violations("", self.tables):
            yield _Problem(found.where, f"must be {found.expected}, is {found.got}")
        yield from _find_unknown(validators, "", self.tables, "")

    def find_line(self, pointer: str) -> int:
        """Return the line of a value, or of the nearest thing around it."""
        lines = _map_toml_lines(self._text) if self.path.suffix == ".toml" else yamlio.locate_lines(self._text)
        while pointer and pointer not in lines:
            pointer = pointer.rpartition("/")[0]
        return lines.get(pointer, 1)


@cache
def _format() -> Validators:
    return Validators(yamlio.load(_SCHEMA))


def _refuse(problems: Iterable[_Problem], file: _File) -> None:
    """Raise AppError with every problem, one a line."""
    reported = {problem.where: problem.what for problem in problems}
    if reported:
        lines = [
            f"{file.path}, line {file.find_line(where)}: {_name_field(where)} {what}"
            for where, what in reported.items()
        ]
        raise AppError("\n".join([*lines, "Mend it; `mockserver init` prints what is possible."]))


def _name_field(pointer: str) -> str:
    return ".".join(pointers.split(pointer)) or "the file"


def _find_unknown(validators: Validators, pointer: str, value: Any, where: str) -> Iterator[_Problem]:
    """Yield every name in a value that its schema does not name, where the schema names any."""
    fields = _find_fields(validators, pointer)
    if isinstance(value, Mapping) and fields:
        for name, inner in value.items():
            here = f"{where}/{pointers.escape(name)}"
            if name in fields:
                yield from _find_unknown(validators, fields[name], inner, here)
            else:
                yield _Problem(here, f"is unknown. {UnknownNameError('field', name, fields)}")
    elif isinstance(value, Mapping):
        more = f"{validators.follow(pointer).pointer}/additionalProperties"
        for name, inner in value.items() if _has(validators, more) else ():
            yield from _find_unknown(validators, more, inner, f"{where}/{pointers.escape(name)}")
    elif isinstance(value, list) and _has(validators, items := f"{validators.follow(pointer).pointer}/items"):
        for index, inner in enumerate(value):
            yield from _find_unknown(validators, items, inner, f"{where}/{index}")


def _has(validators: Validators, pointer: str) -> bool:
    try:
        return isinstance(pointers.resolve(validators.bundle, pointer), Mapping)
    except KeyError:
        return False


def _find_fields(validators: Validators, pointer: str) -> dict[str, str]:
    """Return where the schemas of an object's fields are, by name; also of those behind a `$ref` that is not alone."""
    here = validators.follow(pointer)
    own = {name: step.pointer for name, step in validators.find_form_fields(here.pointer).items()}
    reference = here.schema.get("$ref") if isinstance(here.schema, Mapping) else None
    return {**_find_fields(validators, reference.removeprefix("#")), **own} if isinstance(reference, str) else own


class _Check:
    """Whether what some apps serve is what the contract allows, and what they name is there."""

    def __init__(self, apis: Mapping[str, Api], scenarios: ScenarioSet, tables: Mapping[str, Table]) -> None:
        self._apis, self._scenarios, self._tables = apis, scenarios, tables

    def find_problems(self) -> Iterator[_Problem]:
        for name, api in self._apis.items():
            table = self._tables[name]
            yield from self._check_table(api, table, f"/{name}", table)
            others = table.get("keys") or {}
            for suffix, other in others.items() if _is_table(others) else ():
                yield from self._check_table(
                    api, _merge(table, other), f"/{name}/keys/{pointers.escape(suffix)}", other
                )

    def _check_table(self, api: Api, table: Table, where: str, said: Any) -> Iterator[_Problem]:
        """Judge what is said of an app, which together with what is below it is `table`."""
        if not isinstance(said, Mapping):
            return
        for section, media in _find_served(api, self._scenarios).items():
            if section in said:
                here = f"{where}/{section}"
                for found in api.validators.find_violations(media.pointer, table[section]):
                    yield _Problem(f"{here}{found.where}", f"must be {found.expected}, is {found.got}")
                yield from _find_unknown(api.validators, media.pointer, table[section], here)
        if {"answers", "texts"} & said.keys():
            yield from _check_texts(table, where)
        scenarios = said.get("scenarios")
        for operation_id, key in scenarios.items() if isinstance(scenarios, Mapping) else ():
            yield from self._check_scenario(
                api, operation_id, key, f"{where}/scenarios/{pointers.escape(operation_id)}"
            )

    def _check_scenario(self, api: Api, operation_id: str, key: str, where: str) -> Iterator[_Problem]:
        operation = api.operations.get(operation_id)
        if operation is None:
            yield _Problem(where, f"is unknown. {UnknownNameError('operation', operation_id, api.operations)}")
        elif key not in (known := self._scenarios.list_keys(operation)):
            yield _Problem(where, f"is wrong. {UnknownNameError(f'{operation.name} scenario', str(key), known)}")


def _find_served(api: Api, scenarios: ScenarioSet) -> dict[str, MediaType]:
    """Return what an app's tables are served as: the name of the table is the operation's path, `/parameters`.

    A release that says it in another way is none of them.
    """
    plain = (
        operation
        for operation in api.operations.values()
        if operation.method == "GET" and operation.path.count("/") == 1
    )
    whole = (
        operation
        for operation in plain
        if "{" not in operation.path and scenarios.select_default(operation).reply.body == f"$app.{operation.path[1:]}"
    )
    found = {operation.path[1:]: operation.success.media.get("application/json") for operation in whole}
    return {name: media for name, media in found.items() if media and name in _read_default(api.name)}


def _check_texts(table: Table, where: str) -> Iterator[_Problem]:
    """Yield `answers` that are not among the texts, and expressions that are none."""
    texts = table.get("texts")
    if not isinstance(texts, Mapping):
        return
    if table.get("answers") not in texts:
        asked = str(table.get("answers"))
        yield _Problem(f"{where}/answers", f"is wrong. {UnknownNameError('list of texts', asked, texts)}")
    for name, choices in texts.items():
        for index, text in enumerate(choices if isinstance(choices, list) else ()):
            try:
                compile_value(text, name="it")
            except FlowContractError as error:
                yield _Problem(f"{where}/texts/{pointers.escape(name)}/{index}", f"is wrong: {error}")


def _map_toml_lines(text: str) -> dict[str, int]:
    """Map the JSON pointer of every key and table of a TOML file to its line; what is inside of a value has none."""
    lines: dict[str, int] = {}
    table, counts = "", dict[str, int]()
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("[") and (header := _parse_alone(line)) is not None:
            table = _build_pointer(header)
            if line.lstrip().startswith("[["):
                counts[table] = counts.get(table, -1) + 1
            table = _count_tables(table, counts)
            lines.setdefault(table, number)
        elif (key := _parse_alone(f"{line.partition('=')[0]} = 0")) is not None and "=" in line:
            lines.setdefault(f"{table}{_build_pointer(key)}", number)
    return lines


def _parse_alone(line: str) -> Any:
    """Return what a line says on its own, None where it is no TOML or says nothing."""
    try:
        return tomllib.loads(line) or None if line.strip() else None
    except tomllib.TOMLDecodeError:
        return None


def _build_pointer(nested: Any) -> str:
    """Return the pointer to the innermost of nested mappings that have one key each."""
    pointer = ""
    while isinstance(nested, dict | list) and nested:
        if isinstance(nested, list):
            nested = nested[0]
            continue
        name, nested = next(iter(nested.items()))
        pointer += f"/{pointers.escape(name)}"
    return pointer


def _count_tables(table: str, counts: Mapping[str, int]) -> str:
    """Put the index of the last table into the pointer of each array of tables that it leads through."""
    counted, plain = "", ""
    for token in table.split("/")[1:]:
        plain, counted = f"{plain}/{token}", f"{counted}/{token}"
        if plain in counts:
            counted += f"/{counts[plain]}"
    return counted
