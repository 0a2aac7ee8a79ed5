"""`mockserver list`, `init` and `check`: what can be asked for, and what is wrong with scenarios of one's own."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from flowcontract.errors import ConfigError, UnknownNameError
from flowcontract.output.printable import make_printable
from mockserver.cli.terminal import OK, PROBLEMS, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from flowcontract.lint.findings import Finding
    from flowcontract.lint.project import Project


def _list_faults() -> int:
    from mockserver.faults import FAULTS  # noqa: PLC0415

    for fault in FAULTS.values():
        print(f"{fault.usage:<24} {fault.harm:<9} {fault.needs:<7} {fault.summary}")
    return OK


def _list_profiles(names: Sequence[str]) -> int:
    from flowcontract import paths  # noqa: PLC0415
    from flowcontract.specs.model import list_apis  # noqa: PLC0415
    from flowcontract.specs.profiles import list_profiles, load_profile  # noqa: PLC0415

    for api in names or list_apis():
        if api not in list_apis():
            raise UnknownNameError("API", api, list_apis())
        folder = paths.find_specs_root() / api
        for name in list_profiles(folder):
            print(f"{api:<14} {name:<6} {load_profile(folder, name).release}")
    return OK


def init(options: argparse.Namespace) -> int:
    """Print what the apps are by default."""
    from flowcontract.specs.model import list_apis  # noqa: PLC0415
    from mockserver.config import apps  # noqa: PLC0415

    for name in options.api:
        if name not in list_apis():
            raise UnknownNameError("API", name, list_apis())
    print(apps.read_defaults(options.api or list_apis()), end="")
    return OK


def list_scenarios(options: argparse.Namespace) -> int:
    """Print every scenario by operation, or every fault, or every profile."""
    if options.faults:
        return _list_faults()
    if options.profiles:
        return _list_profiles(options.api)
    from flowcontract.scenarios import load_scenarios  # noqa: PLC0415
    from flowcontract.specs.model import load_apis  # noqa: PLC0415

    apis = load_apis(tuple(options.api))
    scenarios = load_scenarios(tuple(apis), options.fixtures)
    for api in apis.values():
        for operation in api.operations.values():
            say(f"{operation.name}  {operation.method} {api.base_path}{operation.path}")
            for key, scenario in sorted(scenarios.read_scenarios(operation).items()):
                say(f"  {key:<36} {scenario.description}")
    return OK


def check(options: argparse.Namespace) -> int:
    """Print what is wrong with a folder of scenarios, and where."""
    from flowcontract import paths  # noqa: PLC0415
    from flowcontract.lint import project, scenarios  # noqa: PLC0415

    if options.fixtures is None:
        raise ConfigError("say which folder to check: --fixtures DIR.")
    if not options.fixtures.is_dir():
        raise ConfigError(f"there is no folder {options.fixtures}. Name one with --fixtures DIR.")
    # A user's folder need not name its errors after documented codes.
    loaded = replace(project.load(paths.find_specs_root(), options.fixtures, options.api), ours=False)
    findings = {
        *_find_wrong_faults(loaded),
        *loaded.broken,
        *scenarios.check(loaded),
        *scenarios.check_other_files(loaded),
    }
    for finding in sorted(findings):
        print(finding)
    if not findings and not any(options.fixtures.rglob("*.yaml")):  # most likely another folder was meant
        raise ConfigError(f"no scenario in {options.fixtures}. Name a folder with <api>/<operationId>/....yaml.")
    count = f"{len(findings)} problem{'' if len(findings) == 1 else 's'}"
    print(make_printable(f"{count} in {options.fixtures}"), file=sys.stderr)
    return PROBLEMS if findings else OK


def _find_wrong_faults(loaded: Project) -> Iterator[Finding]:
    """Yield what is wrong with the faults that scenarios name, which only the mock knows."""
    from flowcontract.lint.findings import Finding  # noqa: PLC0415
    from mockserver.faults import FaultError, parse  # noqa: PLC0415

    for file in loaded.files.values():
        faults = file.data.get("faults") if isinstance(file.data, dict) else None
        try:
            parse(faults) if isinstance(faults, str) else None
        except FaultError as error:
            yield Finding(file.path, file.lines["/faults"], str(error), "`mockserver list --faults` prints them")
