"""Reads a target file (TOML), puts in values of environment variables, and checks every name in it."""

from __future__ import annotations

import os
import re
import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from contract_tests.cases.examples import choose_example, list_examples
from contract_tests.cases.provoked import derive_provoked
from contract_tests.cases.server_values import load_server_values
from contract_tests.http.target import TargetError
from flowcontract import pointers, yamlio
from flowcontract.errors import FlowContractError, UnknownNameError
from flowcontract.schemas.validators import Validators
from flowcontract.specs.model import list_apis, load_api

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from flowcontract.specs.model import Api, Operation

HERE = files("contract_tests.config")


def read_target(path: Path, apis: Collection[str] | None = None) -> dict[str, Any]:
    """Read a target file, `${NAME}` replaced by environment variables; raise TargetError naming file, key and mistake.

    Variables that only other APIs than `apis` (by default all) ask for need not be set.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TargetError(f"{path}: cannot be read: {error.strerror}. Name a target file with --target.") from None
    except UnicodeDecodeError as error:
        raise TargetError(f"{path}: cannot be read: {error}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise TargetError(f"{path}: {error}. Correct the TOML.") from None
    schema = yamlio.loads((HERE / "target.schema.yaml").read_text(encoding="utf-8"))
    try:
        _check_keys(settings, schema, schema, "")
        settings = _substitute_for_apis(settings, list_apis() if apis is None else apis)
        _check_form(settings, schema)
        _check_names(settings)
    except FlowContractError as error:
        error.args = (f"{path}: {error}",)
        raise
    return settings


def _check_keys(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], place: str) -> None:
    """Raise TargetError for an unknown setting, with a similar name that exists."""
    if "$ref" in schema:
        schema = pointers.resolve(root, schema["$ref"].removeprefix("#"))
    if not isinstance(value, dict):
        return
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, inner in value.items():
        if name in known:
            _check_keys(inner, known[name], root, f"{place}{name}.")
        elif isinstance(others, dict):
            _check_keys(inner, others, root, f"{place}{name}.")
        elif others is False:
            raise TargetError(str(UnknownNameError(f"setting in {place.rstrip('.') or 'a target file'}", name, known)))


def _substitute_for_apis(settings: Mapping[str, Any], apis: Collection[str]) -> dict[str, Any]:
    """Substitute environment variables, except in the tables of other APIs."""
    others = set(list_apis()) - set(apis)

    def substitute(section: str, name: str, value: Any) -> Any:
        is_foreign = section in ("api", "provoke") and name.partition("/")[0] in others
        return value if is_foreign else _substitute(value)

    return {
        section: {name: substitute(section, name, inner) for name, inner in value.items()}
        if isinstance(value, dict)
        else _substitute(value)
        for section, value in settings.items()
    }


def _check_form(settings: dict[str, Any], schema: Mapping[str, Any]) -> None:
    for wrong in Validators(schema).find_violations("", settings)[:1]:
        place = wrong.where.strip("/").replace("~1", "/").replace("/", ".") or "the file"
        raise TargetError(f"{place}: expected {wrong.expected}, got {wrong.got}. See `contract-tests --help`.")


def _substitute(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _substitute(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item) for item in value]
    return re.sub(r"\$\{(\w+)\}", lambda match: _read_variable(match[1]), value) if isinstance(value, str) else value


def _read_variable(name: str) -> str:
    if name not in os.environ:
        raise TargetError(f"${{{name}}} is not set. Set the environment variable {name}.")
    return os.environ[name]


# Names.


def _check_names(settings: Mapping[str, Any]) -> None:
    """Raise UnknownNameError for a field, feature, operation, example or error code that no contract has."""
    for name, table in settings.get("api", {}).items():
        _check_known("API in the target file", name, list_apis())
        api = load_contract(name)
        for feature in table.get("features", {}):
            _check_known(f"feature of {name}", feature, load_server_values().get(name, {}).get("features", {}))
        flows = [table, *(table[flow] for flow in ("second", "failing") if flow in table)]
        for operation, named in table.get("examples", {}).items():
            _check_known(f"operation of {name}", operation, api.operations)
            known = [example.name for example in list_examples(api, api.operations[operation])]
            for example in named:
                _check_known(f"example of {name}/{operation}", example, known)
            flows += named.values()
        for flow in flows:
            _check_flow(api, flow)
    for qualified, ways in settings.get("provoke", {}).items():
        _check_provocations(qualified, ways)


def _check_flow(api: Api, flow: Mapping[str, Any]) -> None:
    for field in flow.get("values", {}):
        _check_known(f"field or parameter of {api.name}", field, list_fields(api.name))
    for scheme in flow.get("keys", {}):
        _check_known(f"security scheme of {api.name}", scheme, api.schemes)


def _check_provocations(qualified: str, ways: Mapping[str, Any]) -> None:
    name, _, operation = qualified.partition("/")
    if qualified == "*":
        known = {
            code
            for api in list_apis()
            for name in load_contract(api).operations
            for code in list_provocations(api, name)
        }
    else:
        _check_known("API", name, list_apis())
        _check_known(f"operation of {name}", operation, load_contract(name).operations)
        known = set(list_provocations(name, operation))
    for code, way in ways.items():
        if code != "*" and not code.startswith("stream:"):
            _check_known(f"error code, event or status of {qualified}", code, known)
        for scheme in way.get("keys", {}) if qualified != "*" else ():
            _check_known(f"security scheme of {name}", scheme, load_contract(name).schemes)


def _check_known(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise UnknownNameError(what, name, known)


@lru_cache
def load_contract(api: str) -> Api:
    """Return the contract of an API, whose names a target file may use; a profile changes none of them."""
    return load_api(api)


@lru_cache
def list_provocations(api: str, operation: str) -> frozenset[str]:
    """Return what an operation may be provoked into: its errors by name, `event:KIND`, `status:NUMBER`."""
    found = load_contract(api).operations[operation]
    errors = {case.provoke for case in derive_provoked(found, choose_example(load_contract(api), found).request)}
    events = {f"event:{kind}" for kind in (found.stream.events if found.stream else ())}
    return frozenset({*errors, *events, *(f"status:{status}" for status in found.responses)})


@lru_cache
def list_fields(api: str) -> frozenset[str]:
    """Return the names of all fields and parameters that a request to an API may have."""
    known = set(load_server_values().get(api, {}).get("fields", {}))
    for operation in load_contract(api).operations.values():
        known |= set(_list_operation_fields(load_contract(api), operation))
    return frozenset(known)


def _list_operation_fields(api: Api, operation: Operation) -> Iterator[str]:
    yield from (parameter.name for parameter in operation.parameters)
    for media in operation.request.values():
        yield from _list_properties(api.bundle, media.schema, set())
    for example in list_examples(api, operation):
        yield from example.request.path_values
        yield from example.request.body if isinstance(example.request.body, dict) else ()


def _list_properties(bundle: Mapping[str, Any], schema: Any, seen: set[str]) -> Iterator[str]:
    """Yield the names of all properties in a schema, and in those that it refers to."""
    if isinstance(schema, list):
        for item in schema:
            yield from _list_properties(bundle, item, seen)
    if not isinstance(schema, dict):
        return
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        seen.add(reference)
        yield from _list_properties(bundle, pointers.resolve(bundle, reference.removeprefix("#")), seen)
    yield from schema.get("properties", {}) if isinstance(schema.get("properties"), dict) else ()
    for inner in schema.values():
        yield from _list_properties(bundle, inner, seen)
